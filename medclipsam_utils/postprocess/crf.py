"""A fully connected conditional random field: the edges of the image correct the edges of the mask.

Krähenbühl & Koltun 2011; what the first version of MedCLIP-SAM cleaned its saliency with. Every pixel i has evidence
for the target, from its saliency s_i, and every *pair* of pixels prefers to agree, the more the nearer they are and the
more alike they look::

    k(i, j) = w_s exp(−|x_i − x_j|² / 2 s_s²) + w_b exp(−|x_i − x_j|² / 2 s_b² − |I_i − I_j|² / 2 s_c²),

each of the two parts normalised so that the weights of all others add up to w_s and w_b. A step of mean-field inference
replaces the belief b of a pixel by what follows from its own evidence and the beliefs of all others::

    b_i = sigmoid( e_i + Σ_j k(i, j) (2 b_j − 1) ).

The evidence and the settings are those of the released code of the first version:
e = log(s + ε) / (τ sigmoid(s)) − log(1 − s + ε) / (τ sigmoid(1 − s)).

Here the sums over all pairs are exact, which is affordable on a small grid: image and saliency are brought to at most
64 × 64 pixels, and the belief is brought back. The released code works on all pixels, with an approximate filter.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from skimage.transform import resize

_LARGEST_SIDE = 64


@dataclass(frozen=True)
class CrfSettings:
    """How much pixels prefer to agree. Lengths are in pixels of an image of 256 × 256 and scale with it.

    Attributes:
        smooth_weight: w_s, weight of pixels that are near.
        smooth_px: s_s, how near.
        bilateral_weight: w_b, weight of pixels that are near and alike.
        bilateral_px: s_b, how near.
        bilateral_grey: s_c, how alike, in grey levels from 0 to 255.
        tau: τ, by which the evidence is divided.
        epsilon: ε, so that a saliency of 0 or 1 leaves a doubt.
        steps: number of steps of mean-field inference.
    """

    smooth_weight: float = 3.0
    smooth_px: float = 3.0
    bilateral_weight: float = 5.0
    bilateral_px: float = 60.0
    bilateral_grey: float = 5.0
    tau: float = 1.05
    epsilon: float = 1e-8
    steps: int = 1


def dense_crf(saliency: np.ndarray, image: np.ndarray, settings: CrfSettings | None = None) -> np.ndarray:
    """Compute the belief that each pixel is target.

    Args:
        saliency: float [H, W] from 0 to 1, read as the probability of the target.
        image: uint8 [H, W, 3].
        settings: None takes the defaults.

    Returns:
        float32 [H, W] from 0 to 1; a mask is where it is above ½.
    """
    settings = settings or CrfSettings()
    height, width = saliency.shape
    shrink = min(1.0, _LARGEST_SIDE / max(height, width))
    small = (max(1, round(height * shrink)), max(1, round(width * shrink)))
    probability = resize(saliency.astype(np.float64), small, order=1, anti_aliasing=shrink < 1).ravel()  # (N,)
    colour = resize(image.astype(np.float64), small, order=1, anti_aliasing=shrink < 1).reshape(-1, 3)
    place = np.moveaxis(np.mgrid[: small[0], : small[1]], 0, -1).reshape(-1, 2) * (256 / max(small))  # (N, 2)
    near, alike = _squared_distances(place), _squared_distances(colour)  # (N, N)
    affinity = _normalised(-near / (2 * settings.smooth_px**2), settings.smooth_weight)
    nearness = -near / (2 * settings.bilateral_px**2) - alike / (2 * settings.bilateral_grey**2)
    affinity += _normalised(nearness, settings.bilateral_weight)
    evidence = _energy(1 - probability, settings) - _energy(probability, settings)
    belief = _sigmoid(evidence)  # (N,)
    for _ in range(settings.steps):
        belief = _sigmoid(evidence + affinity @ (2 * belief - 1))
    return resize(belief.reshape(small), (height, width), order=1, anti_aliasing=False).astype(np.float32)


def _squared_distances(points: np.ndarray) -> np.ndarray:
    """Return the squared distances [N, N] of points [N, D]."""
    squared = (points**2).sum(axis=1)
    return (squared[:, None] + squared - 2 * points @ points.T).clip(min=0)


def _normalised(exponent: np.ndarray, weight: float) -> np.ndarray:
    """Return exp of [N, N] without the diagonal; rows add up to ``weight`` (or to 0, where nobody is near)."""
    kernel = np.exp(exponent)
    np.fill_diagonal(kernel, 0)
    return kernel * (weight / kernel.sum(axis=1, keepdims=True).clip(np.finfo(float).tiny))


def _energy(probability: np.ndarray, settings: CrfSettings) -> np.ndarray:
    return -np.log(probability + settings.epsilon) / (settings.tau * _sigmoid(probability))


def _sigmoid(values: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-values))
