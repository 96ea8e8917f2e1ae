"""MedCLIP-SAMv2 as a book you can run: the package behind the notebooks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .images import ImageError, MedicalImage, read_image, write_mask
from .metrics import dice, nsd
from .simulate import Sample, simulate
from .tasks import TASKS, Task

if TYPE_CHECKING:
    from .models import Clip, load_clip, load_sam

__all__ = [
    "TASKS",
    "Clip",
    "ImageError",
    "MedicalImage",
    "Sample",
    "Task",
    "dice",
    "load_clip",
    "load_sam",
    "nsd",
    "read_image",
    "simulate",
    "write_mask",
]


def __getattr__(name: str) -> Any:
    """The models' names when they are first used (PEP 562): importing torch, open_clip and the like takes seconds."""
    if name not in ("Clip", "load_clip", "load_sam"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from . import models

    return getattr(models, name)


def __dir__() -> list[str]:
    return [*globals(), "Clip", "load_clip", "load_sam"]
