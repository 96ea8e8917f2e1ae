"""Masks in files: read as an image, written as an image of 0 and 255, or back into the volume of the slice."""

from __future__ import annotations

import gzip
import io
import os
import uuid
from pathlib import Path

import numpy as np
from PIL import Image

from .errors import image_error
from .medical_image import MedicalImage
from .reading import read_image

_IMAGE_FORMATS = {".png": "PNG", ".tif": "TIFF", ".tiff": "TIFF"}
_VOLUMES = (".nii", ".nii.gz")
# Above this the largest value of an 8-bit mask is white; below, the values are labels: 1, 2, 3 ...
_WHITE = 128


def read_mask(path: str | os.PathLike) -> np.ndarray:
    """Read the mask in a file as bool [H, W], by the rules of :class:`~medclipsam_utils.datasets.MaskFolder`.

    Raises:
        ImageError: the file cannot be read, or has NaN values.
    """
    image = read_image(path)
    if image.window is not None:  # not 8-bit: the grey levels are stretched, so ask for the values around 0.5
        return read_image(path, window=(0.5, 1.0)).pixels[..., 0] >= _WHITE
    grey = image.pixels.max(axis=2)
    largest = int(grey.max())
    return grey > (largest / 2 if largest >= _WHITE else 0)


def write_mask(path: str | os.PathLike, mask: np.ndarray, like: MedicalImage) -> None:
    """Write ``mask`` for the image ``like``; the file appears only when it is complete, and replaces an older one.

    ``.png``, ``.tif`` and ``.tiff`` get one channel of 0 and 255. ``.nii`` and ``.nii.gz`` get a uint8 volume of 0 and
    1 with the shape, orientation and affine of the NIfTI file that ``like`` came from, the mask in its slice and 0 in
    all others. The same mask gives the same bytes.

    Args:
        path: where to write; the extension chooses the format.
        mask: [H, W] of ``like.pixels``, bool or numbers that are all 0 or 1. It may be empty (all 0).
        like: the image in which the mask was drawn.

    Raises:
        ImageError: wrong shape, other values, an extension that does not fit, a place that cannot be written, or the
            image itself as the place.
    """
    path = Path(path)
    if path.exists() and like.path.exists() and path.samefile(like.path):
        raise image_error(path, "the mask would replace the image it belongs to", "Give the mask another name")
    mask = _checked(path, mask, like)
    name = path.name.lower()
    if name.endswith(_VOLUMES):
        if like.volume is None:
            reason = f"{like.path.name} is {like.format}, so there is no volume for its mask"
            raise image_error(path, reason, "Use the extension .png")
        from .nifti import mask_volume  # a mask in a picture needs no nibabel

        content = mask_volume(mask, like.volume)
        if name.endswith(".gz"):
            content = gzip.compress(content, compresslevel=6, mtime=0)
    elif path.suffix.lower() in _IMAGE_FORMATS:
        buffer = io.BytesIO()
        compression = {"compression": "tiff_adobe_deflate"} if _IMAGE_FORMATS[path.suffix.lower()] == "TIFF" else {}
        Image.fromarray(mask.astype(np.uint8) * 255).save(buffer, _IMAGE_FORMATS[path.suffix.lower()], **compression)
        content = buffer.getvalue()
    else:
        reason = f"masks are not written as {path.suffix or 'a file without extension'}"
        raise image_error(path, reason, f"Use {', '.join((*_IMAGE_FORMATS, *_VOLUMES))}")
    _write_atomically(path, content)


def _checked(path: Path, mask: np.ndarray, like: MedicalImage) -> np.ndarray:
    """Return ``mask`` as bool [H, W], if it fits the image."""
    mask = np.asarray(mask)
    expected = like.pixels.shape[:2]
    if mask.shape != expected:
        reason = f"the mask has shape {mask.shape}, the image {like.path.name} has {expected}"
        raise image_error(path, reason, "Resize the mask to the image with nearest neighbours")
    if mask.dtype.kind not in "biuf" or not np.isin(mask, (0, 1)).all():
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
