"""How well a predicted mask P agrees with a true mask T: by area (Dice) and by outline (normalised surface Dice).

    Dice = 2 |P ∩ T| / (|P| + |T|)                                                            (Dice 1945)
    NSD  = (length of ∂P within τ of ∂T + length of ∂T within τ of ∂P) / (|∂P| + |∂T|)        (Nikolov et al. 2018)

Dice forgives a wrong outline around a large structure and punishes it around a small one; NSD asks which part of the
outline a reader would have to redraw. Both are 1 when P and T are empty (there was nothing to find, and nothing was
found) and 0 when only one of them is.

The outline runs between pixels. MONAI measures it as the reference implementation of NSD does: every corner where
four pixels meet holds a piece of outline if the four are not all alike; the piece's length follows from their
pattern (marching squares) and its distance to the other outline is taken from corner to corner. A mask that touches
the border of the image is closed along the border.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from ..masks import as_mask


def dice(pred: ArrayLike, true: ArrayLike) -> float:
    """Compute the Dice similarity coefficient of two masks.

    Args:
        pred: predicted mask [H, W], bool or numbers that are all 0 or 1.
        true: reference mask, alike.

    Returns:
        ``2 |P ∩ T| / (|P| + |T|)``, from 0 to 1. Both empty: 1.0; one empty: 0.0.

    Raises:
        ValueError: a mask is not [H, W], has other values than 0 and 1, or the two differ in shape.
    """
    pred, true = _masks(pred, true)
    n_pixels = int(pred.sum()) + int(true.sum())
    return 2 * int((pred & true).sum()) / n_pixels if n_pixels else 1.0


def nsd(pred: ArrayLike, true: ArrayLike, tolerance_mm: float = 2.0, spacing_mm: Sequence[float] = (1.0, 1.0)) -> float:
    """Compute the normalised surface Dice (NSD): the fraction of both outlines that lies within a tolerance.

    Args:
        pred: predicted mask [H, W], bool or numbers that are all 0 or 1.
        true: reference mask, alike.
        tolerance_mm: how far apart two outlines may be and still count as equal, in mm; 0 is allowed.
        spacing_mm: distance of neighbouring pixels in mm, (between rows, between columns). With the default (1, 1)
            the tolerance is in pixels: the paper uses 2.

    Returns:
        From 0 (no part of the outlines agrees) to 1. Both empty: 1.0; one empty: 0.0.

    Raises:
        ValueError: as :func:`dice`; negative or infinite tolerance; spacing that is not two positive numbers.
    """
    pred, true = _masks(pred, true)
    return _surface_dice(pred, true, _tolerance("tolerance_mm", tolerance_mm), _spacing(spacing_mm))


def volume_dice(pred: ArrayLike, true: ArrayLike) -> float:
    """Compute the Dice similarity coefficient of two masks of a volume: of all its voxels, not slice by slice.

    Args:
        pred: predicted mask [S, H, W], bool or numbers that are all 0 or 1.
        true: reference mask, alike.

    Returns, Raises:
        As :func:`dice`.
    """
    pred, true = _masks(pred, true, volume=True)
    n_voxels = int(pred.sum()) + int(true.sum())
    return 2 * int((pred & true).sum()) / n_voxels if n_voxels else 1.0


def volume_nsd(
    pred: ArrayLike,
    true: ArrayLike,
    tolerance_mm: float = 2.0,
    spacing_mm: Sequence[float] = (1.0, 1.0, 1.0),
) -> float:
    """Compute the normalised surface Dice of two masks of a volume: the part of both surfaces within a tolerance.

    Args:
        pred: predicted mask [S, H, W], bool or numbers that are all 0 or 1.
        true: reference mask, alike.
        tolerance_mm: how far apart two surfaces may be and still count as equal, in mm; 0 is allowed.
        spacing_mm: distance of neighbouring voxels in mm: between slices, rows and columns.

    Returns:
        From 0 (no part of the surfaces agrees) to 1. Both empty: 1.0; one empty: 0.0.

    Raises:
        ValueError: as :func:`nsd`.
    """
    pred, true = _masks(pred, true, volume=True)
    return _surface_dice(pred, true, _tolerance("tolerance_mm", tolerance_mm), _spacing(spacing_mm, 3))


def nsd_released(pred: ArrayLike, true: ArrayLike, tolerance: float = 2.0) -> float:
    """Compute the NSD as the paper's released code does. **Not a correct measure**: only to compare with its tables.

    The released evaluation hands a 2-D mask, as a volume of one slice, to a definition for volumes. There the mask is
    a slab one voxel thick, and nearly all its surface is its two faces: pixels in the middle of the structure count
    as outline. Where the masks overlap, their faces coincide, so that the score follows the overlap, as Dice does,
    and hardly knows where the outlines are. Two concentric discs of radius 30 and 36 pixels, whose outlines are 6
    pixels apart everywhere, get 0.884 at a tolerance of 2 pixels; :func:`nsd` gives 0.

    Args:
        pred: predicted mask [H, W], bool or numbers that are all 0 or 1.
        true: reference mask, alike.
        tolerance: how far apart two outlines may be, in pixels, because the released code takes every spacing for 1.

    Returns:
        From 0 to 1. Both empty: 1.0; one empty: 0.0.

    Raises:
        ValueError: as :func:`nsd`.
    """
    pred, true = _masks(pred, true)
    return _surface_dice(pred[..., None], true[..., None], _tolerance("tolerance", tolerance), (1.0, 1.0, 1.0))


def _surface_dice(pred: np.ndarray, true: np.ndarray, tolerance: float, spacing: tuple[float, ...]) -> float:
    """Return MONAI's surface Dice of two bool arrays [H, W] or [H, W, D], and 1 or 0 where a mask is empty."""
    if not (pred.any() and true.any()):
        return float(pred.any() == true.any())
    # Imported here, because it takes seconds and Dice does without.
    import torch
    from monai.metrics import compute_surface_dice

    pred_batch, true_batch = (torch.from_numpy(mask.copy())[None, None] for mask in (pred, true))  # (1, 1, H, W)
    with warnings.catch_warnings():
        # MONAI 1.5 and 1.6 warn about an argument that they pass to themselves.
        warnings.filterwarnings("ignore", ".*always_return_as_numpy", FutureWarning)
        score = compute_surface_dice(
            pred_batch, true_batch, [tolerance], include_background=True, spacing=spacing, use_subvoxels=True
        )
    return score.item()


def _masks(pred: ArrayLike, true: ArrayLike, volume: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Return both masks as bool [H, W], or [S, H, W] of a volume."""
    pred = as_mask(pred, "pred", "threshold it", volume=volume)
    true = as_mask(true, "true", "threshold it", volume=volume)
    if pred.shape != true.shape:
        raise ValueError(
            f"pred has shape {pred.shape} and true has shape {true.shape}: bring the prediction back to the size of "
            "the reference with nearest neighbours"
        )
    return pred, true


def _tolerance(name: str, value: float) -> float:
    if not (isinstance(value, int | float | np.integer | np.floating) and math.isfinite(value) and value >= 0):
        raise ValueError(f"{name} is {value!r}: give a finite number, 0 or more")
    return float(value)


def _spacing(spacing_mm: Sequence[float], n_axes: int = 2) -> tuple[float, ...]:
    try:
        sizes = tuple(float(number) for number in spacing_mm)
        valid = len(sizes) == n_axes and all(math.isfinite(number) and number > 0 for number in sizes)
    except (TypeError, ValueError):
        valid = False
    if not valid:
        numbers, order = ("two", "between rows") if n_axes == 2 else ("three", "between slices, between rows")
        raise ValueError(
            f"spacing_mm is {spacing_mm!r}: give {numbers} positive numbers, ({order}, between columns); where a file "
            f"does not say, {(1,) * n_axes} measures in pixels"
        )
    return sizes
