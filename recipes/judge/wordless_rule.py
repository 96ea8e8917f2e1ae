"""Segment by a rule that knows no words and no training: the target is the largest dark spot that no border cuts."""

from __future__ import annotations

import numpy as np
from skimage.filters import gaussian, threshold_otsu
from skimage.segmentation import clear_border

from medclipsam_utils.postprocess import largest_components

from ..data.cases import LEAST_FRACTION


def largest_dark_spots(image: np.ndarray, count: int) -> np.ndarray:
    """Mark the ``count`` largest regions that Otsu's threshold calls dark and no border cuts: bool [H, W].

    Args:
        image: uint8 [H, W, 3]; the first channel is used.
        count: number of structures of the target. The mask is empty where there is no such region.
    """
    smooth = gaussian(image[..., 0].astype(float), sigma=3)
    return largest_components(clear_border(smooth < threshold_otsu(smooth)), count, LEAST_FRACTION)
