"""From the grid of patches to a map of the image."""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional

from ..images import MedicalImage
from ..models.clip import Image

#: A map that varies by less than this share of its largest value is constant up to rounding, and says nothing.
FLAT = 1e-5


def image_size(image: Image) -> tuple[int, int]:
    """Height and width of an image, array [H, W, 3] or tensor [3, H, W]."""
    if isinstance(image, MedicalImage):
        image = image.pixels
    return tuple(image.shape[:2]) if isinstance(image, np.ndarray) else tuple(image.shape[-2:])


def upsample(grid: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A grid of patches [rows, columns], bilinearly on the pixels of the image: float32 [H, W], from 0 to 1 (min-max).

    A grid without contrast becomes a map of zeros.
    """
    low, spread = float(grid.min()), float(np.ptp(grid))
    if spread <= FLAT * float(np.abs(grid).max()):
        return np.zeros(size, dtype=np.float32)
    scaled = torch.as_tensor((grid - low) / spread, dtype=torch.float32)[None, None]
    fine = functional.interpolate(scaled, size, mode="bilinear", align_corners=False)[0, 0].numpy()
    fine = fine - fine.min()
    return fine / max(float(fine.max()), np.finfo(np.float32).tiny)  # an image of one pixel has no contrast
