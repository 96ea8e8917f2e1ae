"""What a detector and a display make of the rays that arrive: scatter, photon noise, logarithm, contrast, grey."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from ..fields import GRID, blur
from .projection import transmission


@dataclass(frozen=True)
class Exposure:
    """Settings of the detector and the display.

    Attributes:
        scatter: scattered over primary intensity, about 0.3 behind a grid, above 1 without.
        scatter_px: spread of the scatter veil, pixels.
        noise: standard deviation of the log signal from counting photons, at the mean intensity.
        sharpness_px: Gaussian blur of detector and compression, pixels.
        local_contrast: 0 shows the log signal as it is; up to 1 flattens its slow variations.
        detail: gain of variations finer than a rib (unsharp masking); 0 leaves them as they are.
        low, high: shares of the reference's pixels that map to black and to white.
        gamma: exponent of the lookup table; above 1 is darker.
        curve: 0 is a straight lookup table, 1 an S-shaped one.
        black, white: darkest and brightest grey of the display, in [0, 1].
    """

    scatter: float
    scatter_px: float
    noise: float
    sharpness_px: float
    local_contrast: float
    detail: float
    low: float
    high: float
    gamma: float
    curve: float
    black: float
    white: float


def radiograph(attenuation, reference, exposure: Exposure, noise: np.ndarray) -> np.ndarray:
    """Return what the display shows, bone white and air black, float64 [GRID, GRID] in [0, 1].

    Primary and scattered photons reach the detector, their count fluctuates, the logarithm is taken, slow variations
    are compressed, and a lookup table maps the range to grey.

    Args:
        attenuation: sum of mu times l, float64 [GRID, GRID].
        reference: the same before the finding was drawn. Scatter, shading correction and the display's range come
            from it, so that a finding changes the grey around it and not that of the whole film.
        exposure: settings of detector and display.
        noise: standard normal field [GRID, GRID] for the quantum noise.
    """
    expected = transmission(np.minimum(reference[2::4, 2::4], 9.0))
    in_body = expected < transmission(0.8)
    veil = exposure.scatter * _spread(np.minimum(expected, 0.25), exposure.scatter_px)
    expected = -np.log((expected + veil) / (1 + exposure.scatter))
    shading = exposure.local_contrast * _spread(expected, 22.0)

    intensity = transmission(np.minimum(attenuation, 9.0))
    intensity += _refine(veil)
    intensity /= 1 + exposure.scatter
    signal = -np.log(intensity)
    coarse = _coarsen(signal)
    relative_noise = np.sqrt(np.exp(np.minimum(coarse - expected.mean(), 1.8)))
    signal += exposure.noise * _refine(relative_noise) * noise
    if exposure.sharpness_px > 0.2:
        signal = blur(signal, exposure.sharpness_px)
    signal *= 1 + exposure.detail
    signal -= _refine(shading + exposure.detail * _spread(coarse, 7.0))

    expected = (1 + exposure.detail) * expected - shading - exposure.detail * _spread(expected, 7.0)
    low, high = np.quantile(expected[in_body], [exposure.low, exposure.high])
    value = np.maximum((signal - low) / (high - low), 0)
    value += exposure.curve * (np.minimum(value, 1) ** 2 * (3 - 2 * np.minimum(value, 1)) - np.minimum(value, 1))
    over = np.maximum(value - 0.88, 0)  # film and displays saturate gently
    value += over * (0.28 / (0.28 + over) - 1)
    grey = exposure.black + (exposure.white - exposure.black) * value**exposure.gamma
    return np.clip(grey * np.clip(attenuation / 0.6, 0, 1), 0, 1)


def _coarsen(image: np.ndarray) -> np.ndarray:
    return image.reshape(GRID // 4, 4, GRID // 4, 4).mean(axis=(1, 3))


def _refine(coarse: np.ndarray) -> np.ndarray:
    return _UPSAMPLE @ coarse @ _UPSAMPLE.T


def _upsampling() -> np.ndarray:
    """Interpolate linearly from GRID / 4 cell centres to GRID positions, float64 [GRID, GRID // 4]."""
    position = np.clip((np.arange(GRID) + 0.5) / 4 - 0.5, 0, GRID // 4 - 1)
    return np.maximum(1 - np.abs(position[:, None] - np.arange(GRID // 4)), 0)


_UPSAMPLE = _upsampling()


def _spread(coarse: np.ndarray, sigma_px: float) -> np.ndarray:
    """Blur a coarse field by a Gaussian; sigma in fine pixels."""
    return ndimage.gaussian_filter(coarse, sigma_px / 4, mode="nearest", truncate=2.5)
