"""Names of image files: which files of a folder are images, and how they are listed in a message."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

EXTENSIONS = (".nii.gz", ".nii", ".png", ".jpg", ".jpeg", ".tif", ".tiff", ".dcm", ".dicom")


def image_names(folder: Path, ignore: Path | None = None) -> list[str]:
    """List the images of a folder and its subfolders, as paths relative to it with ``/``, in alphabetical order.

    :class:`~medclipsam_utils.datasets.MaskFolder` says what counts as an image. The folder ``ignore`` is not looked
    into.

    Raises:
        ValueError: there is no such folder, or no image in it.
    """
    if not folder.is_dir():
        raise ValueError(f"{folder} is no folder: give one with images in it")
    left_out, names = ignore and ignore.resolve(), []
    for place, inner, files in os.walk(folder):
        here = Path(place)
        inner[:] = [name for name in inner if not name.startswith(".") and (here / name).resolve() != left_out]
        images = [name for name in files if not name.startswith(".") and image_stem(name) is not None]
        names += [(here / name).relative_to(folder).as_posix() for name in images]
    if not names:
        raise ValueError(f"{folder} has no images: it should hold {', '.join(EXTENSIONS)}")
    return sorted(names)


def image_stem(name: str) -> str | None:
    """Return a file's name without the extension of an image; None if the extension is not an image's.

    ``1.2.840.113619.2`` is the name of a DICOM file and has no extension.
    """
    for extension in EXTENSIONS:
        if name.lower().endswith(extension):
            return name[: -len(extension)]
    return name if re.fullmatch(r"[^.]+|[\d.]+", name) else None


def some(names: Iterable[str | Path], limit: int = 5) -> str:
    """List the first few names for a message, and say how many more there are."""
    listed = [str(name) for name in names]
    more = f" and {len(listed) - limit} more" if len(listed) > limit else ""
    return ", ".join(listed[:limit]) + more
