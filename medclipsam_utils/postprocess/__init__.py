"""Stage 2b: from a saliency map to a coarse mask.

::

    from medclipsam_utils.postprocess import coarse_mask

    coarse = coarse_mask(saliency, n_structures=1)

Section 3.3 of Koleilat et al. 2025: k-means with two clusters on the values of the map (its ablation names Otsu, which
finds the same border), then the largest connected components, one for a tumour and two for the lungs. The first version
of the method used a dense CRF.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from skimage.filters import threshold_otsu

from .connected import component_at, components, largest_components
from .crf import CrfSettings, dense_crf
from .kmeans import highest_cluster

METHODS = ("kmeans", "otsu", "threshold", "crf")

__all__ = [
    "METHODS",
    "CrfSettings",
    "binarize",
    "coarse_mask",
    "component_at",
    "components",
    "dense_crf",
    "highest_cluster",
    "largest_components",
]


def binarize(
    saliency: np.ndarray,
    method: str = "kmeans",
    *,
    clusters: int = 2,
    threshold: float = 0.5,
    image: np.ndarray | None = None,
    crf: CrfSettings | None = None,
) -> np.ndarray:
    """Find the pixels of a map that are high.

    Args:
        saliency: float [H, W], from 0 to 1.
        method: ``"kmeans"``, the highest of ``clusters``, exactly; ``"otsu"``, above Otsu's threshold on 256 bins;
            ``"threshold"``, at least ``threshold``; ``"crf"``, where a dense CRF believes in the target.
        clusters: number of clusters of k-means, 2 or more. With two, a small bright peak drowns in what is half bright.
        threshold: value of the fixed threshold.
        image: uint8 [H, W, 3], for the CRF.
        crf: settings of the CRF.

    Returns:
        bool [H, W]; all False for a map that is constant, as one of zeros is.

    Raises:
        ValueError: an unknown method, a map that is not [H, W] or not finite, or a CRF without an image of that size.
    """
    if method not in METHODS:
        raise ValueError(f"method is {method!r}: choose from {', '.join(METHODS)}")
    saliency = np.asarray(saliency)
    if saliency.ndim != 2 or not np.isfinite(saliency).all():
        raise ValueError(f"the saliency has shape {saliency.shape}: give a finite map [H, W]")
    if np.ptp(saliency) == 0:
        return np.zeros(saliency.shape, dtype=bool)
    if method == "kmeans":
        return highest_cluster(saliency, clusters)
    if method == "otsu":
        return saliency > threshold_otsu(saliency)
    if method == "threshold":
        return saliency >= threshold
    if image is None or image.shape[:2] != saliency.shape:
        given = "none" if image is None else f"one of {image.shape[:2]}"
        raise ValueError(f"the CRF needs the image of the map, {saliency.shape} pixels, and was given {given}")
    return dense_crf(saliency, image, crf) > 0.5


def coarse_mask(saliency: np.ndarray, n_structures: int, *, min_fraction: float = 0.1, **settings: Any) -> np.ndarray:
    """Keep what is high in a map and belongs to a component that fits the target.

    Args:
        saliency: float [H, W], from 0 to 1; a constant map gives an empty mask.
        n_structures: 1 keeps the component that holds the peak of the map, more keep that many of the largest.
        min_fraction: of those, leave out what is smaller than this fraction of the largest, from 0 to 1.
        settings: settings of :func:`binarize`.

    Returns:
        bool [H, W].

    Raises:
        ValueError: as :func:`binarize`.
    """
    high = binarize(saliency, **settings)
    if n_structures > 1:
        return largest_components(high, n_structures, min_fraction)
    row, column = np.unravel_index(saliency.argmax(), high.shape)
    return component_at(high, int(row), int(column))
