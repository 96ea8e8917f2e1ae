"""From the grid of patches to a map of the image, and how well a map finds its target."""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional

#: A map that varies by less than this share of its largest value is constant up to rounding, and says nothing.
FLAT = 1e-5

_THRESHOLDS = np.arange(1, 32) / 32


def upsample(grid: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Draw a grid of patches [rows, columns] on the pixels of the image: float32 [H, W], from 0 to 1 (min-max).

    A grid without contrast becomes a map of zeros.
    """
    low, spread = float(grid.min()), float(np.ptp(grid))
    if spread <= FLAT * float(np.abs(grid).max()):
        return np.zeros(size, dtype=np.float32)
    scaled = torch.as_tensor((grid - low) / spread, dtype=torch.float32, device="cpu")[None, None]
    return stretch(functional.interpolate(scaled, size, mode="bilinear", align_corners=False)[0, 0].numpy())


def stretch(saliency: np.ndarray) -> np.ndarray:
    """Shift and scale a map to 0 … 1; zeros if it is constant, as that of an image of one pixel is."""
    saliency = saliency - saliency.min()
    return saliency / max(float(saliency.max()), np.finfo(np.float32).tiny)


def points_at(saliency: np.ndarray, mask: np.ndarray) -> bool:
    """Play the pointing game (Zhang et al. 2018): tell whether the peak of a map lies in the mask.

    Args:
        saliency: [H, W], 0 or above. A map of zeros has no peak and points at nothing.
        mask: bool [H, W].
    """
    return bool(saliency.any() and _fitting(saliency, mask).flat[saliency.argmax()])


def coverage(saliency: np.ndarray, mask: np.ndarray) -> float:
    """Share of a map that lies in the mask, from 0 to 1; 0 of a map of zeros.

    Args:
        saliency: [H, W], 0 or above.
        mask: bool [H, W].
    """
    total = saliency.sum(dtype=np.float64)
    return float(saliency[_fitting(saliency, mask)].sum(dtype=np.float64) / total) if total else 0.0


def best_dice(saliency: np.ndarray, mask: np.ndarray) -> float:
    """DSC of the map cut at the threshold that suits it best: what a perfect way to binarise it would reach.

    Thresholds are 1/32, 2/32 … 31/32. An empty mask is met by a map of zeros only, which then scores 1.

    Args:
        saliency: [H, W], from 0 to 1.
        mask: bool [H, W].
    """
    inside = np.sort(saliency[_fitting(saliency, mask)])
    everywhere = np.sort(saliency, axis=None)
    hits = len(inside) - np.searchsorted(inside, _THRESHOLDS)
    found = len(everywhere) - np.searchsorted(everywhere, _THRESHOLDS)
    total = found + len(inside)
    return float(np.where(total == 0, 1.0, 2 * hits / np.maximum(total, 1)).max())


def _fitting(saliency: np.ndarray, mask: np.ndarray) -> np.ndarray:
    if mask.dtype != bool or mask.shape != saliency.shape:
        raise ValueError(f"the mask is {mask.dtype} {mask.shape}: give bool {saliency.shape}, the size of the map")
    return mask
