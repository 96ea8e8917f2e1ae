"""Names of image files: which files of a folder are images, and how they are listed in a message."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from .formats import why_no_image

#: What :func:`~medclipsam_utils.pipeline.segment_folder` writes into the folder of a question.
RESULTS = ("masks", "overlays", "records", "slices", "question.json", "results.csv", "failures.csv", "ignored.csv")
EXTENSIONS = (".nii.gz", ".nii", ".png", ".jpg", ".jpeg", ".tif", ".tiff", ".dcm", ".dicom")


@dataclass
class Listing:
    """What is in a folder and its subfolders, by names relative to it with ``/``.

    Attributes:
        images: files that are images, or may be meant as images, in alphabetical order.
        ignored: why other files are none.
        unread: why some folders were not looked into.
    """

    images: list[str] = field(default_factory=list)
    ignored: dict[str, str] = field(default_factory=dict)
    unread: dict[str, str] = field(default_factory=dict)


def list_images(folder: Path, leave_out: Path | None = None, deep: bool = True, results: bool = False) -> Listing:
    """List the images of a folder and its subfolders.

    A file is an image by its content: one without an extension, or with that of a scanner (``IM0001.IMA``), is. Text,
    documents and what this program wrote itself (masks, overlays, the folder of an earlier question) are not images.
    Links are followed, each folder once. Hidden files and folders, whose names begin with a dot, are ignored.

    Args:
        folder: the folder.
        leave_out: a folder in it that is not looked into.
        deep: look into subfolders as well.
        results: masks and overlays of this program count as images, as they do where masks are evaluated.

    Raises:
        ValueError: there is no such folder, or no image in it.
    """
    if not folder.is_dir():
        raise ValueError(f"{folder} is no folder: give one with images in it")
    found = Listing()
    own = leave_out and _place(leave_out)
    seen = {_place(folder): ""}

    folders = [folder]
    while folders:  # os.walk calls itself, and Python ends that below some thousand folders
        here = folders.pop()
        try:
            names = sorted(os.listdir(here))
        except OSError as error:
            found.unread[_relative(here, folder)] = f"it cannot be listed ({error.strerror})"
            continue
        written = RESULTS if not results and {"question.json", "records"} <= set(names) else ()
        for name in names:
            path, named = here / name, _relative(here / name, folder)
            place = _place(path)
            is_folder = place is not None and path.is_dir()
            if is_folder and (place == own or not deep):
                continue
            if name.startswith(".") or name in written:
                found.ignored[named] = "hidden" if name.startswith(".") else "a result of this program"
            elif is_folder and place in seen:
                found.ignored[named] = f"a link to a folder that is listed: {seen[place] or '.'}"
            elif is_folder:
                seen[place] = named
                folders.append(path)
            elif (
                reason := why_no_image(path, name.lower().endswith(EXTENSIONS), results)
                if place and path.is_file()
                else ""
            ):
                found.ignored[named] = reason
            else:
                found.images.append(named)
    if not found.images and not found.unread:
        ignored = f" (ignored: {some(found.ignored)})" if found.ignored else ""
        raise ValueError(f"{folder} has no images{ignored}: it should hold {', '.join(EXTENSIONS)} or DICOM files")
    found.images.sort()
    return found


def _place(path: Path) -> tuple[int, int] | None:
    """Return what is the same for all names and links of a file or folder; None if there is nothing."""
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_dev, stat.st_ino


def _relative(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix()


def image_stem(name: str) -> str:
    """Return a file's name without the extension of an image, in the composed form of Unicode (NFC).

    ``1.2.840.113619.2`` and ``slice.0001`` are names of DICOM files and have no extension.
    """
    name = unicodedata.normalize("NFC", name)
    for extension in EXTENSIONS:
        if name.lower().endswith(extension) and len(name) > len(extension):
            return name[: -len(extension)]
    return name


def some(names: Iterable[str | Path], limit: int = 5) -> str:
    """List the first few names for a message, and say how many more there are."""
    listed = [str(name) for name in names]
    more = f" and {len(listed) - limit} more" if len(listed) > limit else ""
    return ", ".join(listed[:limit]) + more
