"""From stored values to the 256 grey levels of an image: windows.

A window (c, w) maps v to 255 · clip((v − (c − w/2)) / w, 0, 1), rounded (DICOM PS3.3 C.11.2.1.3.2, ``LINEAR_EXACT``).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from .errors import image_error

PERCENTILES = (0.5, 99.5)


def check_window(path: Path, window: Sequence[float] | None) -> tuple[float, float] | None:
    """Return the window as two floats, or None for None.

    Raises:
        ImageError: the window is not a finite centre and a finite positive width.
    """
    if window is None:
        return None
    remedy = "Give (centre, width) with a positive width, for example (40, 400)"
    try:
        centre, width = (float(number) for number in window)
    except (TypeError, ValueError):
        raise image_error(path, f"window is {window!r}", remedy) from None
    if not (np.isfinite(centre) and np.isfinite(width) and width > 0):
        raise image_error(path, f"window is {window!r}", remedy)
    return centre, width


def check_finite(path: Path, values: np.ndarray) -> None:
    """Refuse NaN and infinity: a program that reads a file must not guess which grey they should get."""
    if not np.issubdtype(values.dtype, np.floating) or np.isfinite(float(values.max()) - float(values.min())):
        return
    n_bad = int(values.size - np.isfinite(values).sum())
    how_many = "all" if n_bad == values.size else f"{n_bad} of {values.size}"
    reason = f"{how_many} values are NaN or infinite" if n_bad else "the range of values is too large for a float"
    raise image_error(path, reason, "Replace them first, for example with numpy.nan_to_num or numpy.clip")


def percentile_window(values: np.ndarray) -> tuple[float, float]:
    """Return the window between the 0.5th and 99.5th percentiles of ``values`` (any shape, finite, not empty).

    Where these coincide (a small structure on an even background) it is the window between the extremes; a constant
    image gives a window of width 1 above it, which shows it black.
    """
    low, high = (float(value) for value in np.percentile(values, PERCENTILES))
    if low == high:
        low, high = float(values.min()), float(values.max())
    if low == high:
        return low + 0.5, 1.0
    return low + (high - low) / 2, high - low


def apply_window(values: np.ndarray, window: tuple[float, float]) -> np.ndarray:
    """Map ``values`` [...] through ``window`` (centre, width > 0) to uint8 [...]."""
    centre, width = window
    return to_uint8((values.astype(np.float64) - (centre - width / 2)) / width)


def to_uint8(values: np.ndarray) -> np.ndarray:
    """Map floats [0, 1] to uint8, rounded; what lies outside is clipped."""
    return np.rint(np.clip(values, 0, 1) * 255).astype(np.uint8)


def grey_to_rgb(grey: np.ndarray) -> np.ndarray:
    """Repeat uint8 [H, W] as uint8 [H, W, 3]."""
    return np.repeat(grey[..., None], 3, axis=2)


def drop_alpha(rgba: np.ndarray) -> np.ndarray:
    """Composite uint8 [H, W, 4] on black: uint8 [H, W, 3]."""
    return np.rint(rgba[..., :3] * (rgba[..., 3:] / 255.0)).astype(np.uint8)
