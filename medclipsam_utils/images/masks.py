"""Masks into files: an image of 0 and 255, or back into the volume of the slice."""

from __future__ import annotations

import gzip
import io
import os
import uuid
from pathlib import Path

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from .errors import image_error
from .formats import MARK
from .medical_image import MedicalImage
from .volume import VolumeSlice

_IMAGES = (".png", ".tif", ".tiff")
_VOLUMES = (".nii", ".nii.gz")


def write_mask(path: str | os.PathLike, mask: np.ndarray, like: MedicalImage) -> None:
    """Write ``mask`` for the image ``like``; the file appears only when it is complete, and replaces an older one.

    ``.png``, ``.tif`` and ``.tiff`` get one channel of 0 and 255. ``.nii`` and ``.nii.gz`` get a uint8 volume of 0 and
    1 with the shape and the geometry of the NIfTI file that ``like`` came from (both transforms, as they are). The mask
    of one slice is 0 in all others, and the header's ``descrip`` says which slice it is of. The same mask gives the
    same bytes.

    Args:
        path: where to write; the extension chooses the format.
        mask: [H, W] of ``like.pixels``, bool or numbers that are all 0 or 1. It may be empty (all 0). Or [S, H, W], all
            slices of the volume of ``like`` in its plane, from the inferior, posterior or left end.
        like: the image in which the mask was drawn; of a whole volume any slice.

    Raises:
        ImageError: wrong shape, other values, an extension that does not fit, a place that cannot be written, or the
            image itself as the place.
    """
    path = Path(path)
    if path.exists() and like.path.exists() and path.samefile(like.path):
        raise image_error(path, "the mask would replace the image it belongs to", "Give the mask another name")
    mask = _checked(path, mask, like)
    extension = next((each for each in (*_VOLUMES, *_IMAGES) if path.name.lower().endswith(each)), None)
    if extension is None:
        reason = f"masks are not written as {path.suffix or 'a file without extension'}"
        raise image_error(path, reason, f"Use {', '.join((*_IMAGES, *_VOLUMES))}")
    if extension in _VOLUMES:
        if like.volume is None:
            reason = f"{like.path.name} is {like.format}, so there is no volume for its mask"
            raise image_error(path, reason, "Use the extension .png")
        content = _volume(mask, like.volume)
        content = gzip.compress(content, compresslevel=6, mtime=0) if extension == ".nii.gz" else content
    elif mask.ndim == 3:
        raise image_error(path, f"the mask has {len(mask)} slices", "Use the extension .nii.gz, or choose one slice")
    else:
        content = picture(mask.astype(np.uint8) * 255, extension)
    _write_atomically(path, content)


def write_picture(path: Path, pixels: np.ndarray) -> None:
    """Write pixels, uint8 [H, W, 3], as an image of the kind that the extension names, all of it or nothing.

    Raises:
        ImageError: no such kind is known, or the place cannot be written.
    """
    check_picture(path)
    _write_atomically(path, picture(pixels, path.suffix.lower()))


def check_picture(path: Path) -> None:
    """Refuse a path whose extension names no kind of image."""
    if path.suffix.lower() not in Image.registered_extensions():
        raise image_error(path, f"images are not written as {path.suffix or 'a file without extension'}", "Use .png")


def picture(pixels: np.ndarray, extension: str) -> bytes:
    """Make a file of pixels, uint8 [H, W] or [H, W, 3], with the mark by which this program knows its own files."""
    buffer = io.BytesIO()
    if extension in (".tif", ".tiff"):
        import tifffile

        photometric = "rgb" if pixels.ndim == 3 else "minisblack"
        tifffile.imwrite(buffer, pixels, photometric=photometric, compression="zlib", software=MARK, metadata=None)
    else:
        info = PngInfo()
        info.add_text("Software", MARK)
        kind = Image.registered_extensions()[extension]
        Image.fromarray(pixels).save(buffer, kind, pnginfo=info, comment=MARK)
    return buffer.getvalue()


def _volume(mask: np.ndarray, where: VolumeSlice) -> bytes:
    """Make a NIfTI file (not zipped) with the geometry of the volume that ``where`` is a slice of."""
    import nibabel  # a mask in an image needs none

    voxels, header = np.zeros(where.shape, np.uint8), where.header.copy()
    for index, part in enumerate(mask) if mask.ndim == 3 else [(where.slice_index, mask)]:
        here = where.neighbour(index)
        here.displayed(here.stored(voxels))[...] = part
    header.set_data_dtype(np.uint8)
    header["cal_max"] = 1
    only = mask.ndim == 2 and where.n_slices > 1
    part = f": {where.plane} slice {where.slice_index} of {where.n_slices} only" if only else ""
    header["descrip"] = f"{MARK}{part}".encode()
    kind = nibabel.Nifti2Image if isinstance(header, nibabel.Nifti2Header) else nibabel.Nifti1Image
    return kind(voxels, None, header).to_bytes()


def _checked(path: Path, mask: np.ndarray, like: MedicalImage) -> np.ndarray:
    """Return ``mask`` as bool, if it fits the image or its volume."""
    mask = np.asarray(mask)
    expected: tuple[int, ...] = like.pixels.shape[:2]
    if mask.ndim == 3 and like.volume is not None:
        expected = (like.volume.n_slices, *expected)
    if mask.shape != expected:
        reason = f"the mask has shape {mask.shape}, the image {like.path.name} has {expected}"
        raise image_error(path, reason, "Resize the mask to the image with nearest neighbours")
    if mask.dtype.kind not in "biuf" or not ((mask == 0) | (mask == 1)).all():
        raise image_error(path, f"the mask ({mask.dtype}) has other values than 0 and 1", "Threshold it: mask > 0")
    return mask.astype(bool)


def _write_atomically(path: Path, content: bytes) -> None:
    temporary = path.with_name(f".{uuid.uuid4().hex}.part")
    try:
        try:
            temporary.write_bytes(content)
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise image_error(
            path, f"it cannot be written ({error.strerror})", "Choose a folder that exists and is yours"
        ) from None
