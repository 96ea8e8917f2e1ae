"""Writing a mask: as a picture of 0 and 255, or back into the volume that its slice came from."""

from __future__ import annotations

import gzip
import io
import os
import uuid
from pathlib import Path

import numpy as np
from PIL import Image

from medclipsam_utils.images.errors import image_error
from medclipsam_utils.images.medical_image import MedicalImage
from medclipsam_utils.images.nifti import mask_volume

_PICTURES = {".png": "PNG", ".tif": "TIFF", ".tiff": "TIFF"}
_VOLUMES = (".nii", ".nii.gz")


def write_mask(path: str | os.PathLike, mask: np.ndarray, like: MedicalImage) -> None:
    """Write ``mask`` for the picture ``like``; the file appears only when it is complete, and replaces an older one.

    ``.png``, ``.tif`` and ``.tiff`` get one channel of 0 and 255. ``.nii`` and ``.nii.gz`` get a uint8 volume of 0 and
    1 with the shape, orientation and affine of the NIfTI file that ``like`` came from, the mask in its slice and 0 in
    all others. The same mask gives the same bytes.

    Args:
        path: where to write; the extension chooses the format.
        mask: [H, W] of ``like.pixels``, bool or numbers that are all 0 or 1. It may be empty (all 0).
        like: the picture in which the mask was drawn.

    Raises:
        ImageError: wrong shape, other values, an extension that does not fit, a place that cannot be written, or the
            picture itself as the place.
    """
    path = Path(path)
    if path.exists() and like.path.exists() and path.samefile(like.path):
        raise image_error(path, "the mask would replace the picture it belongs to", "Give the mask another name")
    mask = _checked(path, mask, like)
    name = path.name.lower()
    if name.endswith(_VOLUMES):
        if like.volume is None:
            reason = f"{like.path.name} is {like.format}, so there is no volume for its mask"
            raise image_error(path, reason, "Use the extension .png")
        content = mask_volume(mask, like.volume)
        if name.endswith(".gz"):
            content = gzip.compress(content, compresslevel=6, mtime=0)
    elif path.suffix.lower() in _PICTURES:
        buffer = io.BytesIO()
        compression = {"compression": "tiff_adobe_deflate"} if _PICTURES[path.suffix.lower()] == "TIFF" else {}
        Image.fromarray(mask.astype(np.uint8) * 255).save(buffer, _PICTURES[path.suffix.lower()], **compression)
        content = buffer.getvalue()
    else:
        reason = f"masks are not written as {path.suffix or 'a file without extension'}"
        raise image_error(path, reason, f"Use {', '.join((*_PICTURES, *_VOLUMES))}")
    _write_atomically(path, content)


def _checked(path: Path, mask: np.ndarray, like: MedicalImage) -> np.ndarray:
    """``mask`` as bool [H, W]."""
    mask = np.asarray(mask)
    expected = like.pixels.shape[:2]
    if mask.shape != expected:
        reason = f"the mask has shape {mask.shape}, the picture {like.path.name} has {expected}"
        raise image_error(path, reason, "Resize the mask to the picture with nearest neighbours")
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
