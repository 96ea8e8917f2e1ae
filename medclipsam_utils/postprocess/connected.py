"""Connected components of a mask: one tumour, two lungs, and specks that are neither."""

from __future__ import annotations

import numpy as np
from skimage.measure import label

from ..masks import as_mask


def components(mask: np.ndarray, n: int | None = None, min_fraction: float = 0.0) -> list[np.ndarray]:
    """Find the connected components of a mask, the largest first; pixels that touch at a corner are connected.

    Args:
        mask: [H, W], bool or numbers that are all 0 or 1.
        n: largest number of components; None for all.
        min_fraction: leave out those smaller than this fraction of the largest, from 0 to 1.

    Returns:
        A list of masks, bool [H, W] each; no mask for an empty one. Of equal ones the one further up comes first.

    Raises:
        ValueError: the mask is not [H, W], or has other values.
    """
    parts = label(as_mask(mask))  # int [H, W]: 0 outside, then 1, 2, ... by component
    sizes = np.bincount(parts.ravel())[1:]
    order = np.argsort(-sizes, kind="stable")[:n]
    return [parts == 1 + part for part in order if sizes[part] >= min_fraction * sizes.max()]


def largest_components(mask: np.ndarray, n: int, min_fraction: float = 0.0) -> np.ndarray:
    """Keep the ``n`` largest connected components of a mask: bool [H, W]. An empty mask stays empty.

    Section 3.3 of Koleilat et al. 2025: one for a tumour, two for the lungs. ``min_fraction`` as in :func:`components`.

    Raises:
        ValueError: ``n`` is below 1, or :func:`components` refuses the mask.
    """
    if n < 1:
        raise ValueError(f"n is {n}: keep 1 component or more")
    parts = components(mask, n, min_fraction)
    return np.any([np.zeros(np.shape(mask), dtype=bool), *parts], axis=0)


def component_at(mask: np.ndarray, row: int, column: int) -> np.ndarray:
    """Return the connected component of a mask that holds a pixel: bool [H, W], empty if the pixel is not in the mask.

    Raises:
        ValueError: :func:`components` refuses the mask.
        IndexError: the pixel lies beyond the last row or column.
    """
    mask = as_mask(mask)
    parts = label(mask)
    return (parts == parts[row, column]) & mask
