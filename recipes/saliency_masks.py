"""From a saliency map to a coarse mask.

After the paper: k-means on the values of the map, the highest cluster, and of that the connected component
that holds the peak (one tumour) or the two largest ones (two lungs). With 2 clusters a small bright peak drowns in what
is half bright; 3 clusters keep them apart.
"""

from __future__ import annotations

import numpy as np
from scipy.cluster.vq import kmeans2
from skimage.measure import label

from .evaluation_cases import largest_parts

# Of k-means: later ones move no pixel of a map of 256 × 256, or very few.
ITERATIONS = 30


def coarse_mask(saliency: np.ndarray, clusters: int, n_structures: int) -> np.ndarray:
    """Mask bool [H, W] of a map [H, W] of zeros and more; empty for a map of zeros.

    Args:
        saliency: the map.
        clusters: of k-means; the highest one is kept.
        n_structures: 1 keeps the component that holds the peak, more keeps that many of the largest.
    """
    if not saliency.any():
        return np.zeros(saliency.shape, dtype=bool)
    high = highest_cluster(saliency, clusters)
    if n_structures > 1:
        return np.any(largest_parts(high, n_structures), axis=0)
    parts = label(high)
    return parts == parts.flat[saliency.argmax()]


def highest_cluster(values: np.ndarray, clusters: int) -> np.ndarray:
    """Which values, not all equal, are in the highest cluster of k-means: bool of their shape.

    The first means are spread evenly between the lowest and the highest value, so that the result is always the same.
    """
    first = values.min() + (np.arange(clusters) + 0.5) / clusters * np.ptp(values)
    _, labels = kmeans2(values.reshape(-1, 1).astype(np.float64), first[:, None], iter=ITERATIONS, minit="matrix")
    return (labels == clusters - 1).reshape(values.shape)
