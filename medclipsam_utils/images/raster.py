"""PNG, JPEG and TIFF through Pillow, and the TIFF kinds that Pillow does not know through tifffile."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from PIL import Image, ImageOps, UnidentifiedImageError
from PIL.TiffImagePlugin import TiffImageFile

from .errors import check_size, choose_frame, decoding, image_error
from .intensity import (
    apply_window,
    check_finite,
    drop_alpha,
    grey_to_rgb,
    percentile_window,
)
from .medical_image import MedicalImage

_BITS_PER_SAMPLE, _PHOTOMETRIC, _ORIENTATION, _PLANAR_CONFIGURATION, _SAMPLE_FORMAT = 258, 262, 274, 284, 339
_WHITE_IS_ZERO, _UPRIGHT, _SEPARATE_PLANES, _UNSIGNED, _SIGNED = 0, 1, 2, 1, 2


def read_raster(path: Path, kind: str, window: tuple[float, float] | None, frame: int | None) -> MedicalImage:
    """Read a file of ``kind`` ``"PNG"``, ``"JPEG"`` or ``"TIFF"``; see :func:`medclipsam_utils.images.read_image`."""
    remedy = "The file is damaged or cut short: export it again, as PNG"
    with decoding(path, f"this {kind} file cannot be decoded", remedy):
        try:
            values, chosen, n_frames = _with_pillow(path, kind, frame)
        except UnidentifiedImageError:
            if kind != "TIFF":
                raise
            values, chosen, n_frames = _with_tifffile(path, frame)
        pixels, used = _to_pixels(path, values, window)
    return MedicalImage(pixels, path, kind, window=used, frame=chosen, n_frames=n_frames)


def _with_pillow(path: Path, kind: str, frame: int | None) -> tuple[np.ndarray, int, int]:
    """Read values [H, W] (of any type) or colours, uint8 [H, W, 3 or 4], the frame and the number of frames."""
    # An open file and not its path: from a path, Pillow maps TIFF files into memory and then turns them wrongly.
    with path.open("rb") as file, Image.open(file, formats=(kind,)) as image:
        n_frames = getattr(image, "n_frames", 1)
        chosen = choose_frame(path, frame, n_frames, default=0)
        image.seek(chosen)
        check_size(path, image.height, image.width)
        tags: Mapping[int, Any] = image.tag_v2 if isinstance(image, TiffImageFile) else {}
        if _is_misread(tags):
            raise UnidentifiedImageError
        white_is_zero = tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO
        if kind == "TIFF":
            boxes = np.array([tile[1] for tile in image.tile])  # left, upper, right, lower
            _check_coverage(path, np.prod(boxes[:, 2:] - boxes[:, :2], axis=1).sum(), image.height * image.width)
        image.load()
        upright = ImageOps.exif_transpose(image)
        has_alpha = upright.mode in ("PA", "LA", "RGBA", "La", "RGBa") or "transparency" in upright.info
        if upright.mode in ("I", "F") or upright.mode.startswith("I;16"):
            values = np.asarray(upright)
            # Pillow inverts WhiteIsZero images of up to 8 bits itself.
            return (_inverted(values) if white_is_zero else values), chosen, n_frames
        if has_alpha:
            return np.asarray(upright.convert("RGBA")), chosen, n_frames
        return np.asarray(upright.convert("L" if upright.mode in ("1", "L") else "RGB")), chosen, n_frames


def _is_misread(tags: Mapping[int, Any]) -> bool:
    """Recognise what Pillow misreads: signed bytes, unsigned 32 bits, and more than 8 bits in separate planes."""
    bits, sign = tags.get(_BITS_PER_SAMPLE, (1,)), tags.get(_SAMPLE_FORMAT, (_UNSIGNED,))[0]
    separate = len(bits) > 1 and tags.get(_PLANAR_CONFIGURATION) == _SEPARATE_PLANES
    return (bits[0], sign) in ((8, _SIGNED), (32, _UNSIGNED)) or (bits[0] > 8 and separate)


def _with_tifffile(path: Path, frame: int | None) -> tuple[np.ndarray, int, int]:
    """Do as :func:`_with_pillow` does, for the kinds of TIFF that Pillow does not know or misreads."""
    with tifffile.TiffFile(path) as file:
        n_frames = len(file.pages)
        chosen = choose_frame(path, frame, n_frames, default=0)
        page = file.pages[chosen].aspage()
        check_size(path, page.imagelength, page.imagewidth)
        if page.tags.valueof(_ORIENTATION, _UPRIGHT) != _UPRIGHT:
            raise image_error(path, "this kind of TIFF file has an orientation", "Export it upright, as PNG")
        _check_coverage(path, len(page.dataoffsets), math.prod(page.chunked))
        try:
            values = page.asarray()
        except ValueError as error:
            if "imagecodecs" not in str(error):
                raise
            reason = f"this TIFF file is compressed with {tifffile.COMPRESSION(page.compression).name}"
            raise image_error(path, reason, "Install its decoder: pip install imagecodecs") from None
        if page.axes == "SYX":
            values = np.moveaxis(values, 0, 2)  # (3 or 4, H, W) to (H, W, 3 or 4)
        if values.ndim == 3 and values.shape[2] == 1:
            values = values[..., 0]
        if page.photometric == tifffile.PHOTOMETRIC.MINISWHITE and values.ndim == 2:
            values = _inverted(values)
        if values.ndim == 2:
            return values, chosen, n_frames
        if page.axes not in ("YXS", "SYX") or values.shape[2] not in (3, 4):
            reason = f"a TIFF page with axes {page.axes} and shape {page.shape}"
            raise image_error(path, reason, "Export one grey or RGB image from it")
        return _colours_to_uint8(path, values), chosen, n_frames


def _check_coverage(path: Path, covered: int, expected: int) -> None:
    """Refuse TIFF files that lack some of their strips or tiles: decoders leave black what is missing."""
    if covered < expected:
        raise image_error(path, "strips or tiles of this TIFF file are missing", "Copy or export it again")


def _colours_to_uint8(path: Path, values: np.ndarray) -> np.ndarray:
    """Bring colours to uint8: integers keep their full range, floats are stretched, all channels by the same window."""
    if np.issubdtype(values.dtype, np.unsignedinteger):
        return (values >> (8 * values.dtype.itemsize - 8)).astype(np.uint8)
    check_finite(path, values)
    return apply_window(values, percentile_window(values))


def _inverted(values: np.ndarray) -> np.ndarray:
    return np.iinfo(values.dtype).max - values if np.issubdtype(values.dtype, np.integer) else -values


def _to_pixels(
    path: Path, values: np.ndarray, window: tuple[float, float] | None
) -> tuple[np.ndarray, tuple[float, float] | None]:
    """Return pixels, uint8 [H, W, 3], and the window used."""
    if values.ndim == 3:
        if window is not None:
            raise image_error(path, "this is a colour image, which has no window", "Leave window out")
        return (drop_alpha(values) if values.shape[2] == 4 else np.array(values)), None
    check_finite(path, values)
    if values.dtype == np.uint8 and window is None:
        return grey_to_rgb(values), None
    window = percentile_window(values) if window is None else window
    return grey_to_rgb(apply_window(values, window)), window
