"""One rule for what counts as a mask: bool [H, W], or numbers that are all 0 or 1.

Other numbers are refused, because nobody can tell what they mean. 255 may be white; 2 and 3 may be other structures;
0.3 may be a probability. And numpy takes ``~mask`` of uint8 for 255 and 254, which are both true.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike


def as_mask(mask: ArrayLike, name: str = "the mask", remedy: str = "give bool", *, volume: bool = False) -> np.ndarray:
    """Return a mask as bool [H, W]; one that is bool already comes back as it is.

    Args:
        mask: [H, W], bool or numbers that are all 0 or 1.
        name: what a message calls the mask.
        remedy: what a message asks you to do where there are other values.
        volume: ask for the mask of a volume, [S, H, W], instead.

    Raises:
        ValueError: the mask is not [H, W], has no pixels, or has other values.
    """
    mask = np.asarray(mask)
    if volume and mask.ndim != 3:
        raise ValueError(f"{name} has shape {mask.shape}, the mask of a volume is [S, H, W]: give all its slices")
    if not volume and mask.ndim != 2:
        raise ValueError(f"{name} has shape {mask.shape}, a mask is [H, W]: take one image and one channel, as mask[0]")
    if not mask.size:
        raise ValueError(f"{name} has shape {mask.shape}, so no pixels: check how it was cropped")
    if mask.dtype == bool:
        return mask
    if mask.dtype.kind not in "iuf":
        raise ValueError(f"{name} has values of type {mask.dtype}: give bool, or numbers that are all 0 or 1")
    if np.isnan(mask).any():
        raise ValueError(
            f"{name} has {np.isnan(mask).sum()} NaN values: find out where they come from, or take them for background "
            "with np.nan_to_num(mask)"
        )
    others = np.unique(mask[(mask != 0) & (mask != 1)])
    if others.size:
        examples = ", ".join(f"{value:.4g}" for value in others[:3].tolist()) + (", …" if others.size > 3 else "")
        example = "mask > 0"
        if others.min() > 0 and others.max() < 1:
            remedy, example = f"probabilities are not a mask, {remedy}", "mask > 0.5"
        raise ValueError(f"{name} has other values than 0 and 1 ({examples}): {remedy}: {example}")
    return mask.astype(bool)
