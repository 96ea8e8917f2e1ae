"""What a rule without words or training reaches: the target is the largest dark spot that no border cuts."""

from __future__ import annotations

import numpy as np
from skimage.filters import gaussian, threshold_otsu
from skimage.segmentation import clear_border

from medclipsam_utils.postprocess import largest_components

from ..data.cases import LEAST_SHARE


def largest_dark_spots(image: np.ndarray, count: int) -> np.ndarray:
    """Mask bool [H, W] of the ``count`` largest regions that Otsu's threshold calls dark and no border cuts.

    Args:
        image: uint8 [H, W, 3]; the first channel is used.
        count: how many structures the target has. The mask is empty where there is no such region.
    """
    smooth = gaussian(image[..., 0].astype(float), sigma=3)
    return largest_components(clear_border(smooth < threshold_otsu(smooth)), count, LEAST_SHARE)
