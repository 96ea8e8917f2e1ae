"""How an ultrasound scanner makes a picture: beams, attenuation, speckle and display.

A scanner listens along many beams. Every array here called *echo* or *beam* is a **beam grid** [GRID, GRID]: rows are
depth below the probe's face, columns are beams, whatever the probe. The steps are those of B-mode:

1. Each resolution cell holds many scatterers with random phase, so the received field is complex Gaussian,
   ``field = PSF * (amplitude · (n1 + i n2) / sqrt 2 + specular)``; its magnitude is Rayleigh distributed and is what is
   called speckle (mean / standard deviation 1.91). The point spread function is short along the beam and wide across,
   widest away from the focus. Smooth interfaces (``specular``) reflect coherently and hardly speckle.
2. Sound is attenuated on its way: losses add up in dB along each beam, so whatever attenuates more than the time-gain
   compensation expects casts a shadow, and whatever attenuates less is followed by enhancement.
3. The envelope is log-compressed: ``grey = 1 + 20 log10(envelope) / dynamic_range``.
4. Beams are scan-converted to where they lie on the screen: a rectangle, a trapezoid or a sector.

Averaging independent looks (spatial compounding) raises the ratio 1.91 by the square root of their number.
Not simulated: the carrier wave, beam steering, side lobes, multiple scattering and the change of speed of sound.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from ..fields import GRID, blur
from .probe import Probe


@dataclass(frozen=True)
class Scanner:
    """Settings that shape the echo; widths in pixels of the screen.

    Attributes:
        axial: standard deviation of the point spread function along the beam.
        lateral: the same across the beam, at the focus; always wider than ``axial``.
        focus: depth of the focus, 0 to 1.
        defocus: by how much the lateral width grows a full depth away from the focus, relative to ``lateral``.
        looks: how many independent images are averaged.
        noise_db: level of the electronic noise at the full depth; 0 would be white on the display.
        dynamic_range_db: what the display spreads from black to white.
        smoothing: share of the grey value that comes from a blurred copy, as speckle-reduction filters give.
        gamma: exponent of the display's grey map.
        pedestal: grey value of the weakest echo; below zero the weakest are cut off.
    """

    axial: float
    lateral: float
    focus: float
    defocus: float
    looks: int
    noise_db: float
    dynamic_range_db: float
    smoothing: float
    gamma: float
    pedestal: float


def envelope(
    amplitude: np.ndarray, specular: np.ndarray, scanner: Scanner, rng: np.random.Generator, probe: Probe
) -> np.ndarray:
    """Compute the received envelope of a tissue.

    Args:
        amplitude: root mean square amplitude of the diffuse echo, float [GRID, GRID], beam grid.
        specular: amplitude of the coherent echo of smooth interfaces, same shape.
        scanner: widths of the point spread function and number of looks.
        rng: draws the scatterers; the count of draws depends on ``scanner.looks`` alone.
        probe: gives the size of a sample on the screen.

    Returns:
        The envelope, float32 [GRID, GRID]; where ``amplitude`` is constant and ``specular`` zero, its mean square is
        ``amplitude ** 2``.
    """
    axial, lateral = scanner.axial * GRID / probe.depth, scanner.lateral / probe.lateral_scale
    depth = (np.arange(GRID)[:, None] + 0.5) / GRID
    # Far from the focus the beam is a mixture of a narrow and a wide one made from the same scatterers.
    wide = np.clip(scanner.defocus * np.abs(depth - scanner.focus), 0, 1).astype(np.float32)
    response = _gaussian(lateral) * (1 - wide) + _gaussian(2.2 * lateral) * wide  # (depth, lag)
    gain = np.float32(1 / np.linalg.norm(_gaussian(axial))) / np.linalg.norm(response, axis=1, keepdims=True)

    def received(field: np.ndarray) -> np.ndarray:
        along = _blur(field, axial, 0)
        return (1 - wide) * _blur(along, lateral, 1) + wide * _blur(along, 2.2 * lateral, 1)

    amplitude = np.asarray(amplitude, np.float32) * np.float32(np.sqrt(0.5))
    # A mirror returns one wavefront, which the array focuses better than scattered sound.
    coherent = _blur(_blur(np.asarray(specular, np.float32), 0.8 * axial, 0), 0.5 * lateral, 1)
    power = np.zeros((GRID, GRID), np.float32)
    for _ in range(scanner.looks):
        for mirrored in (coherent, 0):  # in phase with the mirrors' echo, and in quadrature to it
            scattered = received(amplitude * rng.standard_normal((GRID, GRID), dtype=np.float32))
            power += (gain * scattered + mirrored) ** 2
    return np.sqrt(power / scanner.looks)


def _gaussian(sigma: float, reach: int = 24) -> np.ndarray:
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    return (weights / weights.sum()).astype(np.float32)


def _blur(field: np.ndarray, sigma: float, axis: int) -> np.ndarray:
    return ndimage.gaussian_filter1d(field, sigma, axis=axis, truncate=2.5)


def two_way_loss(attenuation_db: np.ndarray) -> np.ndarray:
    """Sum what is lost on the way to each sample and back, in dB.

    The running sum of the loss per sample, float [GRID, GRID], along each beam; a beam is wider than a sample, which
    softens the sides of shadows.
    """
    return _blur(np.cumsum(attenuation_db, axis=0) - attenuation_db, 2.5, 1)


def compress(received: np.ndarray, scanner: Scanner) -> np.ndarray:
    """Turn an envelope into grey values in [0, 1]: its logarithm within the dynamic range, as on the display."""
    floor = np.float32(10 ** (-scanner.dynamic_range_db / 20))
    grey = 1 + np.log10(np.maximum(received, floor)) * (20 / scanner.dynamic_range_db)
    grey = np.clip(grey, 0, 1)
    if scanner.smoothing > 0:
        grey = (1 - scanner.smoothing) * grey + scanner.smoothing * blur(grey, (0.7, 1.2))
    return np.clip(scanner.pedestal + (1 - scanner.pedestal) * grey**scanner.gamma, 0, 1)
