"""Which models there are by name, and which of them are on this machine."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from .errors import ModelError
from .hub import BIOMEDCLIP, cached
from .loading import SHIPPED
from .local import models_folder
from .sam import SIZES, TINY, URL
from .weights import shipped


@dataclass(frozen=True)
class ModelInfo:
    """One model that :func:`load_clip` or :func:`load_sam` knows by name.

    Attributes:
        name: what the function takes.
        kind: ``"CLIP"`` or ``"SAM"``.
        where: the file or folder on this machine; None where it is not here.
        remedy: how to get it, where it is not here or damaged; otherwise empty.
    """

    name: str
    kind: str
    where: Path | None
    remedy: str = ""


def list_models() -> list[ModelInfo]:
    """List every model with a name of its own. The network is not used; shipped files are checked by SHA-256."""
    found = [_shipped(name, "CLIP", file) for name, file in SHIPPED.items()]
    own = models_folder() / "biomedclip"
    where = own if own.is_dir() else cached(BIOMEDCLIP)
    fetch = f"load_clip('biomedclip') fetches it, or: hf download {BIOMEDCLIP} --local-dir {own}"
    found.append(ModelInfo("biomedclip", "CLIP", where, "" if where else fetch))
    found.append(_shipped("tiny", "SAM", TINY))
    for name, size in SIZES.items():
        path = models_folder() / size.file
        remedy = f"put {URL}{path.name} into {path.parent}"
        found.append(ModelInfo(name, "SAM", path) if path.is_file() else ModelInfo(name, "SAM", None, remedy))
    return found


def _shipped(name: str, kind: str, file: str) -> ModelInfo:
    try:
        return ModelInfo(name, kind, shipped(file))
    except ModelError as error:
        return ModelInfo(name, kind, None, str(error))
