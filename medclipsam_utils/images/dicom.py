"""DICOM through pydicom: from a file to grey levels or colours. Overlays are not burned in."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.encaps import get_frame, parse_basic_offsets
from pydicom.pixels import apply_color_lut, get_decoder, pixel_array
from pydicom.pixels.utils import get_j2k_parameters
from pydicom.uid import UID

from .dicom_grey import grey_levels
from .dicom_header import SEGMENTED, modality, numbers, of_frame, read_header, spacing_mm, unclear
from .errors import check_size, choose_frame, decoding, image_error
from .intensity import check_finite, grey_to_rgb, to_uint8
from .limits import check_jpeg, segments_are_long
from .medical_image import MedicalImage

_PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
_COLOURS = ("PALETTE COLOR", "RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT")
_DESCRIBED_BY: dict[str, tuple] = {
    **{"Rows": (), "Columns": (), "BitsAllocated": (1, 8, 16, 32, 64), "SamplesPerPixel": ()},
    "PhotometricInterpretation": ("MONOCHROME1", "MONOCHROME2", *_COLOURS),
}
"""Elements that every image needs, and the values that they may have."""
_INTEGERS_DESCRIBED_BY: dict[str, tuple] = {"BitsStored": (), "PixelRepresentation": (0, 1)}
_CUT_SHORT = "the pixel data are cut short or do not fit the header"
_DECODERS = 'Install more decoders: pip install "pylibjpeg[all]"'


def read_dicom(path: Path, window: tuple[float, float] | None, frame: int | None) -> MedicalImage:
    """Read one frame of a DICOM file; see :func:`medclipsam_utils.images.read_image`."""
    dataset, n_frames = open_dicom(path)
    chosen = choose_frame(path, frame, n_frames, default=n_frames // 2)
    stored, header = decode(path, dataset, chosen), of_frame(path, dataset, chosen)
    notes: list[str] = []
    reason = "the image's grey scale or look-up tables are inconsistent"
    with decoding(path, reason, "Export the file again, or as PNG"):
        if stored.ndim == 3 or dataset.PhotometricInterpretation == "PALETTE COLOR":
            if window is not None:
                raise image_error(path, "this is a colour image, which has no window", "Leave window out")
            pixels, used = _colours(path, stored, dataset), None
        else:
            check_finite(path, stored)
            grey, used = grey_levels(path, stored, header, window, notes)
            pixels = grey_to_rgb(grey)
        spacing, note = spacing_mm(path, header)
    said = (*notes, note) if note else tuple(notes)
    return MedicalImage(pixels, path, "DICOM", spacing, modality(dataset), used, chosen, n_frames, notes=said)


def open_dicom(path: Path) -> tuple[Dataset, int]:
    """Read the header of a file that holds whole images, and count them."""
    with decoding(path, "this DICOM header cannot be read", "The file is damaged or cut short: export it again"):
        dataset = read_header(path)
        if not any(keyword in dataset for keyword in _PIXELS):
            what = modality(dataset) or UID(dataset.file_meta.get("MediaStorageSOPClassUID", "")).name
            reason = "this DICOM file holds no pixel data" + (f" ({what})" if what else "")
            raise image_error(path, reason, "Give one of the study's image files; if it is one, it is cut short")
        integers = _INTEGERS_DESCRIBED_BY if "PixelData" in dataset else {}
        missing = [keyword for keyword in (*_DESCRIBED_BY, *integers) if dataset.get(keyword) is None]
        if missing:
            raise image_error(path, f"the DICOM header lacks {', '.join(missing)}", "Export the file again")
        photometric = " ".join(dataset.PhotometricInterpretation.upper().split()).replace("MONOCHROME ", "MONOCHROME")
        dataset.PhotometricInterpretation = photometric
        for keyword, known in (_DESCRIBED_BY | integers).items():
            if known and dataset[keyword].value not in known:
                raise unclear(path, keyword, f"is none of {', '.join(map(str, known))}")
        check_size(path, dataset.Rows, dataset.Columns)
        dataset.NumberOfFrames = n_frames = int((numbers(path, dataset, "NumberOfFrames") or [1])[0]) or 1
        whole = [int((numbers(path, dataset, f"TotalPixelMatrix{axis}") or [0])[0]) for axis in ("Rows", "Columns")]
        if whole[0] > dataset.Rows or whole[1] > dataset.Columns:
            reason = f"a slide of {whole[0]} × {whole[1]} pixels, stored as {n_frames} tiles"
            raise image_error(path, reason, "Export the region that you need, as one image")
        n_there, n_possible = _frames_there(path, dataset)
        if n_frames == 1 < n_there:
            raise unclear(path, "NumberOfFrames", f"is missing or 1, and there are pixels of {n_there} frames")
        if n_frames > max(n_possible, 1):
            raise image_error(path, f"{_CUT_SHORT}: {n_frames:,} frames are too many", "Copy or export the file again")
    return dataset, n_frames


def _frames_there(path: Path, dataset: Dataset) -> tuple[int, int]:
    """Count the frames in the pixel data, as far as they say: those that are there, and how many may be."""
    pixels = next(dataset[keyword].value for keyword in _PIXELS if keyword in dataset) or b""
    if _syntax(path, dataset).is_encapsulated:
        n_offsets = len(parse_basic_offsets(pixels)) or len(dataset.get("ExtendedOffsetTable") or b"") // 8
        return n_offsets, len(pixels) // 8  # each begins with a tag and a length
    n_samples = 2 if dataset.PhotometricInterpretation == "YBR_FULL_422" else dataset.SamplesPerPixel
    n_there = 8 * len(pixels) // (dataset.Rows * dataset.Columns * n_samples * dataset.BitsAllocated)
    return n_there, n_there


def _syntax(path: Path, dataset: Dataset) -> UID:
    """Return how the pixels are encoded, if there is a decoder for it."""
    with decoding(path, "the transfer syntax of this DICOM file cannot be read", "Export the file again"):
        syntax = UID(dataset.file_meta.TransferSyntaxUID)
        try:
            decoder = get_decoder(syntax)
        except NotImplementedError:
            reason = f"its transfer syntax ({syntax.name}) is not a way to store single images"
            raise image_error(path, reason, "Export a frame of it as PNG") from None
    if not decoder.is_available:
        raise image_error(path, f"the pixels are compressed as {syntax.name}, without a decoder here", _DECODERS)
    return syntax


def decode(path: Path, dataset: Dataset, frame: int) -> np.ndarray:
    """Decode one frame: stored values [H, W], or colours [H, W, 3] in RGB."""
    syntax = _syntax(path, dataset)
    reason = _CUT_SHORT
    remedy = "Copy or export the file again"
    if syntax.is_encapsulated:
        reason = f"the pixels, compressed as {syntax.name}, cannot be decoded"
        remedy = f"{_DECODERS}; if it still fails, the file is damaged"
        if dataset.NumberOfFrames > 1:
            reason += ", or the table of the frames' offsets is wrong"
    below = _bits_below(path, dataset)
    if below and syntax.is_encapsulated:
        raise unclear(path, "HighBit", "does not fit compressed pixels")
    with decoding(path, reason, remedy):
        if syntax.is_encapsulated:
            _check_codestream(path, dataset, syntax, frame)
        if dataset.BitsAllocated == 1:  # frames may begin inside a byte, where pydicom looks for one in the wrong place
            return pixel_array(dataset).reshape(-1, dataset.Rows, dataset.Columns)[frame]
        if not below:
            return pixel_array(dataset, index=frame)
        return pixel_array(dataset, index=frame, bits_stored=dataset.BitsStored + below) >> below


def _check_codestream(path: Path, dataset: Dataset, syntax: UID, frame: int) -> None:
    """Refuse compressed pixels of another size than the header says, and take their sign, which they know better."""
    codestream = get_frame(dataset.PixelData, frame, number_of_frames=dataset.NumberOfFrames)
    try:
        with Image.open(io.BytesIO(codestream), formats=("JPEG", "JPEG2000")) as image:
            fits, kind = image.size == (dataset.Columns, dataset.Rows), image.format
    except Image.DecompressionBombError:
        fits, kind = False, ""
    except Exception:  # another compression, whose decoder goes by the header, or damaged: decoding will tell
        return
    if not fits:
        reason = f"the pixels, compressed as {syntax.name}, cannot be decoded: their size is not that of the header"
        raise image_error(path, reason, "Export the file again")
    if kind == "JPEG":
        check_jpeg(path, len(codestream), dataset.Rows, dataset.Columns)
    dataset.PixelRepresentation |= int(get_j2k_parameters(codestream).get("is_signed", False))


def _bits_below(path: Path, dataset: Dataset) -> int:
    """Count the bits below the lowest one of a sample: 4 in samples of 12 bits that are aligned to the left in 16."""
    high = dataset.get("HighBit")
    if dataset.get("BitsStored", 0) > dataset.BitsAllocated:
        raise unclear(path, "BitsStored", f"is {dataset.BitsStored}, of {dataset.BitsAllocated} bits allocated")
    if "PixelData" not in dataset or high is None or high == dataset.BitsStored - 1:
        return 0
    if not dataset.BitsStored <= high + 1 <= dataset.BitsAllocated:
        raise unclear(path, "HighBit", f"is {high}, with {dataset.BitsStored} of {dataset.BitsAllocated} bits stored")
    return high + 1 - dataset.BitsStored


def _colours(path: Path, stored: np.ndarray, dataset: Dataset) -> np.ndarray:
    """Bring colours [H, W, 3], or palette indices [H, W], to uint8 [H, W, 3]; the stored bits keep their full range."""
    if dataset.PhotometricInterpretation == "PALETTE COLOR":
        bits = int(numbers(path, dataset, "RedPaletteColorLookupTableDescriptor")[2])
        for keyword in SEGMENTED:  # of which pydicom makes lists
            if segments_are_long(np.frombuffer(dataset.get(keyword) or b"", f"<u{1 + (bits > 8)}")):
                raise unclear(path, keyword, "is a look-up table of more than a million colours")
        colours = apply_color_lut(stored, dataset)
        if colours.max() >= 2**bits:  # some files say 8 bits and use the upper half of 16
            bits = 8 * colours.dtype.itemsize
    else:
        colours, bits = stored, dataset.BitsStored
    if colours.shape[2] != 3 or not np.issubdtype(colours.dtype, np.unsignedinteger):
        reason = f"colours of photometric interpretation {dataset.PhotometricInterpretation}"
        raise image_error(path, f"{reason} are not supported", "Export the image as PNG")
    return colours.copy() if bits == 8 and colours.dtype == np.uint8 else to_uint8(colours / (2.0**bits - 1))
