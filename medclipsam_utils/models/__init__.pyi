from .checkpoints import save_tiny_clip, save_tiny_sam
from .clip import Clip
from .errors import ModelError
from .loading import load_clip
from .sam import embed, load_sam
from .saving import save_clip
from .words import UnknownWordWarning

__all__ = [
    "Clip",
    "ModelError",
    "UnknownWordWarning",
    "embed",
    "load_clip",
    "load_sam",
    "save_clip",
    "save_tiny_clip",
    "save_tiny_sam",
]
