"""DICOM through pydicom: from a file to grey levels or colours. Overlays are not burned in."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset
from pydicom.pixels import apply_color_lut, get_decoder, pixel_array
from pydicom.pixels.utils import get_nr_frames
from pydicom.uid import UID

from .dicom_grey import grey_levels
from .dicom_header import modality, read_header, spacing_mm
from .errors import check_size, choose_frame, decoding, image_error
from .intensity import check_finite, grey_to_rgb, to_uint8
from .medical_image import MedicalImage

_PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
_DESCRIBED_BY = ("Rows", "Columns", "BitsAllocated", "SamplesPerPixel", "PhotometricInterpretation")
_DECODERS = 'Install more decoders: pip install "pylibjpeg[all]"'


def read_dicom(path: Path, window: tuple[float, float] | None, frame: int | None) -> MedicalImage:
    """Read one frame of a DICOM file; see :func:`medclipsam_utils.images.read_image`."""
    with decoding(path, "this DICOM header cannot be read", "The file is damaged or cut short: export it again"):
        dataset = read_header(path)
        _check_header(path, dataset)
        n_frames = get_nr_frames(dataset, warn=False)
        chosen = choose_frame(path, frame, n_frames, default=n_frames // 2)
        check_size(path, dataset.Rows, dataset.Columns)
    stored = _decode(path, dataset, chosen)
    with decoding(
        path, "the image's grey scale or look-up tables are inconsistent", "Export the file again, or as PNG"
    ):
        if stored.ndim == 3 or dataset.PhotometricInterpretation == "PALETTE COLOR":
            if window is not None:
                raise image_error(path, "this is a colour image, which has no window", "Leave window out")
            pixels, used = _colours(path, stored, dataset), None
        else:
            check_finite(path, stored)
            grey, used = grey_levels(stored, dataset, chosen, window)
            pixels = grey_to_rgb(grey)
        spacing, code = spacing_mm(dataset, chosen), modality(dataset)
    return MedicalImage(pixels, path, "DICOM", spacing, code, used, chosen, n_frames)


def _check_header(path: Path, dataset: Dataset) -> None:
    if not any(keyword in dataset for keyword in _PIXELS):
        what = modality(dataset) or UID(dataset.file_meta.get("MediaStorageSOPClassUID", "")).name
        reason = "this DICOM file holds no pixel data" + (f" ({what})" if what else "")
        raise image_error(path, reason, "Give one of the study's image files; if it is one, it is cut short")
    missing = [keyword for keyword in _DESCRIBED_BY if dataset.get(keyword) is None]
    if missing:
        raise image_error(path, f"the DICOM header lacks {', '.join(missing)}", "Export the file again")


def _decode(path: Path, dataset: Dataset, frame: int) -> np.ndarray:
    """Decode one frame: stored values [H, W], or colours [H, W, 3] in RGB."""
    with decoding(path, "the transfer syntax of this DICOM file cannot be read", "Export the file again"):
        syntax = UID(dataset.file_meta.TransferSyntaxUID)
        try:
            decoder = get_decoder(syntax)
        except NotImplementedError:
            reason = f"its transfer syntax ({syntax.name}) is not a way to store single images"
            raise image_error(path, reason, "Export a frame of it as PNG") from None
    if not decoder.is_available:
        raise image_error(path, f"the pixels are compressed as {syntax.name}, without a decoder here", _DECODERS)
    reason = "the pixel data are cut short or do not fit the header"
    remedy = "Copy or export the file again"
    if syntax.is_encapsulated:
        reason = f"the pixels, compressed as {syntax.name}, cannot be decoded"
        remedy = f"{_DECODERS}; if it still fails, the file is damaged"
    with decoding(path, reason, remedy):
        return pixel_array(dataset, index=frame)


def _colours(path: Path, stored: np.ndarray, dataset: Dataset) -> np.ndarray:
    """Bring colours [H, W, 3], or palette indices [H, W], to uint8 [H, W, 3]; the stored bits keep their full range."""
    if dataset.PhotometricInterpretation == "PALETTE COLOR":
        colours = apply_color_lut(stored, dataset)
        bits = int(dataset.RedPaletteColorLookupTableDescriptor[2])
        if colours.max() >= 2**bits:  # some files say 8 bits and use the upper half of 16
            bits = 8 * colours.dtype.itemsize
    else:
        colours, bits = stored, dataset.BitsStored
    if colours.shape[2] != 3 or not np.issubdtype(colours.dtype, np.unsignedinteger):
        reason = f"colours of photometric interpretation {dataset.PhotometricInterpretation}"
        raise image_error(path, f"{reason} are not supported", "Export the image as PNG")
    return colours.copy() if bits == 8 and colours.dtype == np.uint8 else to_uint8(colours / (2.0**bits - 1))
