"""The MRI scanner: from the signal of a slice to the picture, by way of coil, k-space, noise and display.

A scanner samples the Fourier transform of the slice (k-space), up to a limit only: hence blur, and ripples beside sharp
edges (Gibbs) where sampling stops abruptly. Noise is complex and Gaussian there; the picture is the magnitude, so that
noise in air has a mean above zero (Rician). Coils receive what is near them louder. Not simulated: motion, several
coils with accelerated sampling, distortion.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import fft

from ..fields import COLS, GRID, ROWS, smooth_noise

_MIDDLE = (GRID - 1) / 2
_OFF_CENTRE = ((ROWS - _MIDDLE) ** 2 + (COLS - _MIDDLE) ** 2) / _MIDDLE**2


@dataclass(frozen=True)
class Scanner:
    """Coil, sampling and display.

    Attributes:
        matrix: samples along rows and columns of k-space, at most GRID.
        apodisation: 0 cuts k-space off hard (Gibbs ripples), 1 fades it out (soft image).
        noise: standard deviation of each part of the complex noise relative to white matter.
        shading: amplitude of the coil's smooth unevenness.
        surface: how much louder the coils receive the surface than the centre.
        brightness: grey level at which white matter is shown, 0 to 1; what is beyond 1 is clipped.
        black: grey level of no signal.
        gamma: exponent of the display.
    """

    matrix: tuple[int, int]
    apodisation: float
    noise: float
    shading: float
    surface: float
    brightness: float
    black: float
    gamma: float


def acquire(signal: np.ndarray, scanner: Scanner, rng: np.random.Generator) -> np.ndarray:
    """Make the picture that a scanner makes of a slice.

    Args:
        signal: float64 [GRID, GRID], relative to white matter.
        scanner: coil, sampling and display.
        rng: draws a fixed count of numbers.

    Returns:
        float64 [GRID, GRID] in [0, 1].
    """
    sensitivity = np.exp(scanner.shading * smooth_noise(rng, 3)) * (1 + scanner.surface * _OFF_CENTRE)
    received = (signal * sensitivity).astype(np.complex64)
    noise = rng.standard_normal((2, GRID, GRID), dtype=np.float32)
    noise *= scanner.noise
    received += noise[0]
    received.imag += noise[1]
    spectrum = fft.fft2(received, overwrite_x=True)
    for axis, samples in enumerate(scanner.matrix):
        window = _sampled(samples, scanner.apodisation)
        spectrum *= window[:, None] if axis == 0 else window
    magnitude = np.abs(fft.ifft2(spectrum, overwrite_x=True)).astype(np.float64)
    level = np.clip(scanner.brightness * magnitude, 0, 1) ** scanner.gamma
    return scanner.black + (1 - scanner.black) * level


def _sampled(samples: int, apodisation: float) -> np.ndarray:
    """Weight every spatial frequency, float32 [GRID]: 0 beyond the matrix, faded out towards its edge."""
    position = np.abs(np.fft.fftfreq(GRID)) * GRID / (samples / 2)
    fade = 1 - apodisation * np.sin(np.pi / 2 * np.minimum(position, 1)) ** 2
    return (fade * (position < 1)).astype(np.float32)
