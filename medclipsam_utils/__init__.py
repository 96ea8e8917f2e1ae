"""MedCLIP-SAMv2 as a book you can run: the package behind the notebooks."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .images import ImageError, MedicalImage, read_image, write_mask
from .metrics import dice, nsd
from .simulate import Sample
from .tasks import TASKS, Task

if TYPE_CHECKING:
    from .models import Clip, load_clip, load_sam
    from .pipeline import Segmentation, Segmenter
    from .simulate import simulate
else:
    from . import simulate  # the module, which can be called like its function

__all__ = [
    "TASKS",
    "Clip",
    "ImageError",
    "MedicalImage",
    "Sample",
    "Segmentation",
    "Segmenter",
    "Task",
    "dice",
    "load_clip",
    "load_sam",
    "nsd",
    "read_image",
    "simulate",
    "write_mask",
]


_LATER = dict.fromkeys(("Clip", "load_clip", "load_sam"), "models") | dict.fromkeys(
    ("Segmentation", "Segmenter"), "pipeline"
)


def __getattr__(name: str) -> Any:
    """The models' names when they are first used (PEP 562): importing torch, open_clip and the like takes seconds."""
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_LATER[name]}", __name__), name)


def __dir__() -> list[str]:
    return [*globals(), *_LATER]
