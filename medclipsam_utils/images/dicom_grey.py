"""The grey-scale pipeline of DICOM (PS3.3 C.7.6.3.1.2, C.11.1, C.11.2; PS3.4 annex N).

stored values → modality LUT or rescale → VOI LUT or window → inverted if MONOCHROME1 → uint8.
"""

from __future__ import annotations

import numpy as np
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRBigEndian

from .dicom_header import groups, numbers
from .intensity import apply_window, percentile_window, to_uint8


def grey_levels(
    stored: np.ndarray, dataset: Dataset, frame: int, window: tuple[float, float] | None
) -> tuple[np.ndarray, tuple[float, float] | None]:
    """Turn stored values [H, W] into grey levels, uint8 [H, W], and return the window used with them.

    The window is None where a look-up table was used, or where 8-bit values stayed as they are.
    """
    padding = _is_padding(stored, dataset)
    values, changed = _modality_values(stored, dataset, frame)
    if window is not None:
        grey = apply_window(values, window)
    elif dataset.get("VOILUTSequence"):
        table, first, bits = _look_up_table(dataset.VOILUTSequence[0], dataset)
        grey = to_uint8(_look_up(values, table, first) / (2.0**bits - 1))
    else:
        grey, window = _windowed(values, dataset, frame, changed, padding)
    if dataset.PhotometricInterpretation == "MONOCHROME1":
        grey = 255 - grey
    grey[padding] = 0
    return grey, window


def _windowed(
    values: np.ndarray, dataset: Dataset, frame: int, changed: bool, padding: np.ndarray
) -> tuple[np.ndarray, tuple[float, float] | None]:
    """Apply the file's first window; without one, keep 8-bit values as they are and stretch others by percentiles."""
    for group in groups(dataset, frame, "FrameVOILUTSequence"):
        centres, widths = numbers(group, "WindowCenter"), numbers(group, "WindowWidth")
        if not centres or not widths or widths[0] <= 0:
            continue
        centre, width = centres[0], widths[0]
        function = group.get("VOILUTFunction") or "LINEAR"
        if function == "SIGMOID":
            exponent = np.clip(-4 * (values - centre) / width, -700, 700)
            return to_uint8(1 / (1 + np.exp(exponent))), (centre, width)
        if function == "LINEAR" and width == 1:
            return to_uint8(np.where(values > centre - 0.5, 1.0, 0.0)), (centre, width)
        if function == "LINEAR" and width > 1:
            # From centre - width / 2 as LINEAR_EXACT, but the last of the `width` values is already white.
            return apply_window(values, (centre - 0.5, width - 1)), (centre, width)
        return apply_window(values, (centre, width)), (centre, width)
    if values.dtype == np.uint8 and dataset.get("BitsStored") == 8 and not changed:
        return values.copy(), None
    counted = values[~padding] if not padding.all() else values
    window = percentile_window(counted)
    return apply_window(values, window), window


def _modality_values(stored: np.ndarray, dataset: Dataset, frame: int) -> tuple[np.ndarray, bool]:
    """Return the values in the modality's units (Hounsfield for CT), and whether that changed them."""
    if dataset.get("ModalityLUTSequence"):
        table, first, _ = _look_up_table(dataset.ModalityLUTSequence[0], dataset)
        return _look_up(stored, table, first), True
    for group in groups(dataset, frame, "PixelValueTransformationSequence"):
        slope, intercept = numbers(group, "RescaleSlope"), numbers(group, "RescaleIntercept")
        if slope and intercept:
            scale = (slope[0] or 1.0, intercept[0])  # a slope of 0 is a header left blank
            if scale == (1, 0):
                return stored, False
            values = stored * scale[0] + scale[1]
            if not np.isfinite(values).all():
                raise OverflowError(f"rescaled by {scale}, values overflow")
            return values, True
    return stored, False


def _look_up_table(item: Dataset, dataset: Dataset) -> tuple[np.ndarray, int, int]:
    """Return a table's entries, the value mapped to the first, and the number of bits per entry."""
    n_entries, first, bits = (int(number) for number in numbers(item, "LUTDescriptor"))
    n_entries = n_entries % 2**16 or 2**16
    data = item.LUTData
    if isinstance(data, bytes):
        order = ">" if dataset.file_meta.TransferSyntaxUID == ExplicitVRBigEndian else "<"
        data = np.frombuffer(data, f"{order}u2")
    table = np.atleast_1d(np.asarray(data))
    if len(table) < n_entries:
        raise ValueError(f"a look-up table of {n_entries} entries has only {len(table)}")
    return table[:n_entries], first, bits


def _look_up(values: np.ndarray, table: np.ndarray, first: int) -> np.ndarray:
    return table[np.clip(np.rint(values).astype(np.int64) - first, 0, len(table) - 1)]


def _is_padding(stored: np.ndarray, dataset: Dataset) -> np.ndarray:
    """Find the pixels outside the image proper, bool [H, W] (PS3.3 C.7.5.1.1.2).

    The limits are 16 bits, which many files mark as unsigned although the pixels are signed, or the other way round.
    """
    value = numbers(dataset, "PixelPaddingValue")
    if not value:
        return np.zeros(stored.shape, bool)
    ends = np.array([value[0], (numbers(dataset, "PixelPaddingRangeLimit") or value)[0]], np.int64)
    low, high = np.sort(ends.astype(np.uint16 if stored.dtype.kind == "u" else np.int16))
    return (stored >= low) & (stored <= high)
