"""The grey-scale pipeline of DICOM (PS3.3 C.7.6.3.1.2, C.11.1, C.11.2; PS3.4 annex N).

stored values → modality LUT or rescale → VOI LUT or window → inverted if MONOCHROME1 → uint8.

pydicom applies the windows. For the other steps it has functions, too, and highdicom has the whole; on a well-formed
header they agree with this module, as tests show, but they fail on headers that people have: an intercept without a
slope, entries packed as bytes, an empty item, a first value with the wrong sign.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset
from pydicom.pixels import apply_windowing
from pydicom.uid import ExplicitVRBigEndian

from .dicom_header import named, numbers, unclear
from .errors import image_error
from .intensity import apply_window, percentile_window, to_uint8

_X_RAY_FILMS = ("1.2.840.10008.5.1.4.1.1.12.1", "1.2.840.10008.5.1.4.1.1.12.2")  # angiography, fluoroscopy
_FUNCTIONS = ("LINEAR", "LINEAR_EXACT", "SIGMOID")


def grey_levels(
    path: Path, stored: np.ndarray, header: Dataset, window: tuple[float, float] | None, notes: list[str]
) -> tuple[np.ndarray, tuple[float, float] | None]:
    """Turn stored values [H, W] into grey levels, uint8 [H, W], and return the window used with them.

    The window is None where a look-up table was used, or where 8-bit values stayed as they are. ``notes`` gets a
    sentence for each element that is there and was not used.
    """
    padding = _is_padding(path, stored, header)
    values = modality_values(path, stored, header, notes)
    table = None if window is not None else _look_up_table(path, header, "VOILUTSequence", values)
    if window is not None:
        grey = apply_window(values, window)
    elif table is not None:
        # The bits that the entries need, because many tables say 16 and have 12. A table of 8 bits needs 8.
        white = 2 ** int(table[0].max()).bit_length() - 1
        grey = to_uint8(_look_up(values, *table) / max(white, 1))
    else:
        grey, window = _windowed(path, values, header, padding, notes)
    if header.PhotometricInterpretation == "MONOCHROME1" or header.get("PresentationLUTShape") == "INVERSE":
        grey = 255 - grey
    grey[padding] = 0
    return grey, window


def modality_values(path: Path, stored: np.ndarray, header: Dataset, notes: list[str]) -> np.ndarray:
    """Return the values in the modality's units (Hounsfield for CT); ``stored`` itself where nothing changes them."""
    # That of X-ray films leads back to the intensity of the beam, and is not for display (PS3.3 C.8.7.1.1.2).
    if header.get("SOPClassUID") not in _X_RAY_FILMS:
        table = _look_up_table(path, header, "ModalityLUTSequence", stored)
        if table is not None:
            return _look_up(stored, *table)
    slopes, intercepts = (numbers(path, header, f"Rescale{name}") for name in ("Slope", "Intercept"))
    if slopes == [0]:  # a header left blank
        notes.append(f"{named('RescaleSlope')} is 0 and taken for 1")
    if slopes and not intercepts:
        notes.append(f"{named('RescaleIntercept')} is missing and taken for 0")
    slope, intercept = (slopes or [1.0])[0] or 1.0, (intercepts or [0.0])[0]
    if (slope, intercept) == (1, 0):
        return stored
    values = stored * slope + intercept
    if not np.isfinite(values).all():
        raise OverflowError(f"rescaled by {slope} and {intercept}, values overflow")
    return values


def _windowed(
    path: Path, values: np.ndarray, header: Dataset, padding: np.ndarray, notes: list[str]
) -> tuple[np.ndarray, tuple[float, float] | None]:
    """Apply the file's first window; without one, keep 8-bit values as they are and stretch others by percentiles."""
    centres, widths = (numbers(path, header, keyword) for keyword in ("WindowCenter", "WindowWidth"))
    if centres and widths and widths[0] > 0:
        centre, width = centres[0], widths[0]
        function = str(header.get("VOILUTFunction") or "LINEAR").strip().upper()
        if function not in _FUNCTIONS:
            raise unclear(path, "VOILUTFunction", f"is none of {', '.join(_FUNCTIONS)}")
        if function == "LINEAR" and width < 1:  # which only the others may have
            function = "LINEAR_EXACT"
        to_grey = Dataset()  # what pydicom needs for values from 0 to 255
        to_grey.WindowCenter, to_grey.WindowWidth, to_grey.VOILUTFunction = centre, width, function
        to_grey.PhotometricInterpretation, to_grey.BitsStored, to_grey.PixelRepresentation = "MONOCHROME2", 8, 0
        return np.rint(apply_windowing(values, to_grey)).astype(np.uint8), (centre, width)
    if centres or widths:
        notes.append(f"{named('WindowWidth')} is missing or not positive, and its window is not used")
    if values.dtype == np.uint8 and header.get("BitsStored") == 8:
        return values.copy(), None
    counted = values[~padding] if not padding.all() else values
    window = percentile_window(counted)
    return apply_window(values, window), window


def _look_up_table(path: Path, header: Dataset, sequence: str, values: np.ndarray) -> tuple[np.ndarray, int] | None:
    """Return a table's entries, and which of ``values`` is mapped to the first; None if there is no table.

    Entries of 8 bits may be packed as bytes (PS3.3 C.11.1.1). The first value is signed if the values are; many files
    mark it as unsigned.
    """
    item = next(iter(header.get(sequence) or []), Dataset())
    descriptor, data = numbers(path, item, "LUTDescriptor"), item.get("LUTData")
    if not descriptor and not data:
        return None  # an empty item is no table
    if not descriptor or not data:
        raise unclear(path, "LUTData" if descriptor else "LUTDescriptor", f"is missing in {sequence}")
    n_entries, first = int(descriptor[0]) % 2**16 or 2**16, int(descriptor[1])
    first -= 2**16 * (first >= 2**15 and values.min() < 0)
    first += 2**16 * (first < 0 and values.dtype.kind == "u")
    if isinstance(data, bytes):
        order = ">" if header.file_meta.TransferSyntaxUID == ExplicitVRBigEndian else "<"
        data = np.frombuffer(data, f"{order}u2")
    words = np.atleast_1d(np.asarray(data)).astype("<u2")
    packed = len(words) == (n_entries + 1) // 2 and words.max() > 255
    table = words.view(np.uint8).astype(np.uint16) if packed else words
    if len(table) < n_entries:
        what = f"{sequence} has {len(table)} of {n_entries} entries"
        reason = f"the image's grey scale or look-up tables are inconsistent: {what}"
        raise image_error(path, reason, "Export the file again, or as PNG")
    return table[:n_entries], first


def _look_up(values: np.ndarray, table: np.ndarray, first: int) -> np.ndarray:
    return table[np.clip(np.rint(values).astype(np.int64) - first, 0, len(table) - 1)]


def _is_padding(path: Path, stored: np.ndarray, header: Dataset) -> np.ndarray:
    """Find the pixels outside the image proper, bool [H, W] (PS3.3 C.7.5.1.1.2, C.7.6.24).

    The limits of integers are 16 bits, which many files mark as unsigned although the pixels are signed, or the other
    way round.
    """
    kind = {"f4": "Float", "f8": "DoubleFloat"}.get(stored.dtype.str[1:], "")
    value = numbers(path, header, f"{kind}PixelPaddingValue")
    if not value:
        return np.zeros(stored.shape, bool)
    ends = np.array([value[0], (numbers(path, header, f"{kind}PixelPaddingRangeLimit") or value)[0]])
    if not kind:
        ends = ends.astype(np.int64).astype(np.uint16 if stored.dtype.kind == "u" else np.int16)
    low, high = np.sort(ends)
    return (stored >= low) & (stored <= high)
