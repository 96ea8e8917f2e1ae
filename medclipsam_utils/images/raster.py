"""PNG and JPEG through Pillow, TIFF through tifffile; what one of them does not decode, the other may."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tifffile
from PIL import Image, ImageOps, UnidentifiedImageError

from .errors import check_size, choose_frame, decoding, image_error
from .intensity import apply_window, check_finite, drop_alpha, grey_to_rgb, percentile_window, to_uint8
from .limits import check_jpeg
from .medical_image import MedicalImage

_JPEG_FRAME = re.compile(rb"\xff[\xc0-\xc3\xc5-\xc7\xc9-\xcb\xcd-\xcf]\x00.(.)", re.DOTALL)  # and its bits per sample
_ALPHA_MODES = ("PA", "LA", "RGBA", "La", "RGBa")
_LOSSY = ("jpeg", "tiff_jpeg", "webp")  # compressions of TIFF, as Pillow names them
_ORIENTATION, _UPRIGHT = 274, 1
_LOSSLESS = (1, 5, 8, 32771, 32773, 32946, 34925, 50000)  # compressions whose sizes come from the TIFF file


@dataclass(frozen=True, eq=False)
class Raster:
    """A page of a raster file.

    Attributes:
        stored: the numbers in the file, [H, W] or [H, W, S]; of a palette image the indices.
        shown: what they mean: grey values [H, W] of any type, or colours, uint8 [H, W, 3 or 4].
        alpha: whether the last of the stored channels is transparency.
        lossy: whether compression changed the numbers.
        frame: which page this is, of ``n_frames``.
    """

    stored: np.ndarray
    shown: np.ndarray
    alpha: bool
    lossy: bool
    frame: int
    n_frames: int


class _LeftToPillow(Exception):
    """What tifffile does not decode, or not safely; the message says what is special about the file."""


def read_raster(path: Path, kind: str, window: tuple[float, float] | None, frame: int | None) -> MedicalImage:
    """Read a file of ``kind`` ``"PNG"``, ``"JPEG"`` or ``"TIFF"``; see :func:`medclipsam_utils.images.read_image`."""
    page = raster_page(path, kind, frame)
    with decoding(path, "its values cannot be shown", "Export it again, as PNG"):
        pixels, used = _to_pixels(path, page.shown, window)
    return MedicalImage(pixels, path, kind, window=used, frame=page.frame, n_frames=page.n_frames)


def raster_page(path: Path, kind: str, frame: int | None) -> Raster:
    """Decode one page, the first if ``frame`` is None."""
    remedy = "The file is damaged or cut short: export it again, as PNG"
    with decoding(path, f"this {kind} file cannot be decoded", remedy):
        if kind != "TIFF":
            try:
                return _with_pillow(path, kind, frame)
            except UnidentifiedImageError:
                found = _JPEG_FRAME.search(path.read_bytes())
                if kind == "JPEG" and found and found[1] != b"\x08":
                    raise image_error(path, f"a JPEG of {found[1][0]} bits a sample", "Export it as PNG") from None
                raise
        try:
            return _with_tifffile(path, frame)
        except _LeftToPillow as error:  # Pillow has libtiff
            try:
                return _with_pillow(path, kind, frame)
            except Exception:
                remedy = "Export it again, as PNG"
                if "imagecodecs" in str(error.__context__):
                    remedy = "Install its decoder: pip install imagecodecs"
                raise image_error(path, f"this TIFF file is {error}", remedy) from None


def _with_pillow(path: Path, kind: str, frame: int | None) -> Raster:
    # An open file and not its path: from a path, Pillow maps TIFF files into memory and then turns them wrongly.
    with path.open("rb") as file, Image.open(file, formats=(kind,)) as image:
        n_frames = getattr(image, "n_frames", 1)
        chosen = choose_frame(path, frame, n_frames, default=0)
        image.seek(chosen)
        check_size(path, image.height, image.width)
        if kind == "JPEG":
            check_jpeg(path, path.stat().st_size, image.height, image.width)
        image.load()
        upright = ImageOps.exif_transpose(image)
        stored, alpha = np.asarray(upright), upright.mode in _ALPHA_MODES
        whole = _whole_png(path) if kind == "PNG" else stored
        if kind == "PNG" and whole.dtype == np.uint16 and whole.shape[2:] == (2,):
            stored, shown = whole if alpha else stored, whole[..., 0] * (whole[..., 1] / 65535)
        elif kind == "PNG" and whole.dtype == np.uint16 and whole.shape[2:] == (4,):
            shown = (whole >> 8).astype(np.uint8)
        elif upright.mode in ("I", "F") or upright.mode.startswith("I;16"):
            shown = stored
        elif alpha or "transparency" in upright.info:
            shown = np.asarray(upright.convert("RGBA"))
        else:
            shown = np.asarray(upright.convert("L" if upright.mode in ("1", "L") else "RGB"))
        lossy = kind == "JPEG" or image.info.get("compression") in _LOSSY
    return Raster(stored, shown, alpha, lossy, chosen, n_frames)


def _whole_png(path: Path) -> np.ndarray:
    """Decode a PNG file with libpng, which says when rows are missing, and keeps 16 bits beside transparency."""
    import imagecodecs

    return imagecodecs.png_decode(path.read_bytes())


def _with_tifffile(path: Path, frame: int | None) -> Raster:
    """Decode a page of a TIFF file, or raise :class:`_LeftToPillow`."""
    with tifffile.TiffFile(path) as file:
        n_frames, stack = len(file.pages), file.series[0] if len(file.pages) == 1 else None
        if stack is not None and stack.ndim > 2 and stack.shape != file.pages[0].shape:  # a stack behind one page
            n_frames = math.prod(stack.shape[:-2])
        else:
            stack = None
        chosen = choose_frame(path, frame, n_frames, default=0)
        page = file.pages[chosen if stack is None else 0].aspage()
        check_size(path, page.imagelength, page.imagewidth)
        photometric, compression = page.photometric, page.compression
        if compression not in _LOSSLESS:  # libtiff compares the sizes; others believe those in the compressed data
            raise _LeftToPillow(f"compressed with {tifffile.COMPRESSION(compression).name}")
        if photometric not in (0, 1, 2, 3):
            raise _LeftToPillow(f"in colours of the kind {tifffile.PHOTOMETRIC(photometric).name}")
        if page.bitspersample == 24 and file.byteorder == ">":  # taken for floats
            raise _LeftToPillow("of 24 bits a sample in big-endian order")
        if stack is None and len(page.dataoffsets) < math.prod(page.chunked):
            raise image_error(path, "strips or tiles of this TIFF file are missing", "Copy or export it again")
        try:
            stored = page.asarray() if stack is None else stack.asarray().reshape(-1, *stack.shape[-2:])[chosen]
        except ValueError as error:
            if "not supported" not in str(error) and "imagecodecs" not in str(error):
                raise
            raise _LeftToPillow(f"compressed with {tifffile.COMPRESSION(compression).name}") from error
        if not stored.size:
            raise image_error(path, "this TIFF page has no pixels", "The file is damaged: export it again, as PNG")
        axes = page.axes if stack is None else "YX"
        n_extra = page.samplesperpixel - (1 if photometric in (0, 1, 3) else 3)
        if axes not in ("YX", "YXS", "SYX") or n_extra > 1 or (n_extra and photometric < 2 and not page.extrasamples):
            reason = f"a TIFF page with axes {page.axes} and shape {page.shape}"
            raise image_error(path, reason, "Export one grey or RGB image from it")
        stored = np.moveaxis(stored, 0, 2) if axes == "SYX" else stored
        stored = _upright(stored, page.tags.valueof(_ORIENTATION, _UPRIGHT))
        extra = page.extrasamples[0] if page.extrasamples else None
        shown = _shown(path, stored, page.bitspersample, photometric, page.colormap, extra)
        labels = stored[..., : page.samplesperpixel - (extra == 0)] if stored.ndim == 3 else stored
    return Raster(labels, shown, extra in (1, 2), False, chosen, n_frames)


def _upright(values: np.ndarray, orientation: int) -> np.ndarray:
    """Turn [H, W, ...] as the orientation of TIFF and EXIF says (TIFF 6.0, page 36)."""
    if orientation >= 5:
        values = np.swapaxes(values, 0, 1)
    flips = {2: (1,), 3: (0, 1), 4: (0,), 6: (1,), 7: (0, 1), 8: (0,)}.get(orientation, ())
    return np.flip(values, flips)


def _shown(
    path: Path, stored: np.ndarray, bits: int, photometric: int, colours: np.ndarray | None, extra: int | None
) -> np.ndarray:
    """Return what the numbers of a TIFF page mean: grey values [H, W], or uint8 [H, W, 3]."""
    if photometric == 3 and colours is not None:
        colours = colours if colours.max() > 255 else colours * 257  # some files have 8 bits where 16 are asked for
        return np.moveaxis((colours >> 8).astype(np.uint8)[:, stored], 0, 2)
    unsigned, white = stored.dtype.kind in "bu", 2**bits - 1
    values = stored if stored.ndim == 3 else stored[..., None]
    if photometric == 0:
        values = white - values.astype(np.uint64) if unsigned else ~values if values.dtype.kind == "i" else -values
    if unsigned and bits <= 8:
        values = to_uint8(values / white)
    elif unsigned and photometric == 2:
        values = (values >> (bits - 8)).astype(np.uint8)
    elif photometric == 2:
        check_finite(path, values)
        values = apply_window(values, percentile_window(values))
    n_channels = 1 if photometric < 2 else 3
    if extra == 2:  # transparency, not yet multiplied
        opaque = 255 if values.dtype == np.uint8 else white if unsigned else 1
        product = values[..., :n_channels] * (values[..., n_channels:] / opaque)
        values = np.rint(product).astype(np.uint8) if values.dtype == np.uint8 else product
    return values[..., :3] if n_channels == 3 else values[..., 0]


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
