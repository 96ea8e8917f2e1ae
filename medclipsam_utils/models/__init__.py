"""One door to every model: :func:`load_clip` and :func:`load_sam`.

Small models that come with the package and the real ones differ in weights and sizes, never in code: every CLIP is an
open_clip model inside a :class:`Clip`, every SAM a ``segment_anything`` model inside its ``SamPredictor``. Whatever is
wrong with a name, a file or an input is one :class:`ModelError`, which says what to do.

The names below are imported when they are first used (PEP 562), because open_clip and segment_anything take seconds to
import, and whoever asks for the one should not wait for the other.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .checkpoints import save_tiny_clip, save_tiny_sam
    from .clip import Clip
    from .errors import ModelError
    from .loading import load_clip
    from .sam import load_sam
    from .saving import save_clip
    from .words import UnknownWordWarning

__all__ = [
    "Clip",
    "ModelError",
    "UnknownWordWarning",
    "load_clip",
    "load_sam",
    "save_clip",
    "save_tiny_clip",
    "save_tiny_sam",
]

_HOMES = {
    "Clip": "clip",
    "ModelError": "errors",
    "UnknownWordWarning": "words",
    "load_clip": "loading",
    "load_sam": "sam",
    "save_clip": "saving",
    "save_tiny_clip": "checkpoints",
    "save_tiny_sam": "checkpoints",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)


def __dir__() -> list[str]:
    return [*globals(), *_HOMES]
