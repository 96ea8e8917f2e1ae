"""How an ultrasound scanner makes a picture: beams, attenuation, speckle, display, and what is burned in.

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
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

from .fields import COLS, GRID, ROWS, blur


@dataclass(frozen=True)
class Probe:
    """Where the beams lie on the screen; lengths in pixels, angles in radians.

    Attributes:
        kind: ``"rectangle"`` or ``"trapezoid"`` (linear probes), or ``"sector"`` (curved probe).
        top, left, height, width: the window that the field of view is clipped to.
        apex: distance from the probe's face up to the point where all beams would meet; unused for a rectangle.
        spread: half-width of the face for linear probes; half of the opening angle for a sector.
    """

    kind: str
    top: float
    left: float
    height: float
    width: float
    apex: float
    spread: float

    @property
    def _centre(self) -> float:
        return self.left + self.width / 2 - 0.5

    @property
    def _apex_row(self) -> float:
        return self.top - 0.5 - self.apex * np.cos(self.spread)

    @property
    def depth(self) -> float:
        """Length of the central beam in pixels."""
        return self.height if self.kind != "sector" else self.top + self.height - 0.5 - self._apex_row - self.apex

    @property
    def lateral_scale(self) -> float:
        """Pixels on the screen from one beam to the next, at half of the depth."""
        if self.kind == "sector":
            return 2 * self.spread * (self.apex + self.depth / 2) / GRID
        return 2 * self.spread * (1 + self.depth / 2 / self.apex * (self.kind == "trapezoid")) / GRID

    def to_beam(self, row: np.ndarray, col: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Depth (0 at the face, 1 at the end) and beam (-1 leftmost, 1 rightmost) of screen positions."""
        dx = col - self._centre
        if self.kind == "sector":
            dy = row - self._apex_row
            return (np.hypot(dx, dy) - self.apex) / self.depth, np.arctan2(dx, dy) / self.spread
        down = row + 0.5 - self.top
        widening = 1 + down / self.apex if self.kind == "trapezoid" else 1.0
        return down / self.height, dx / (self.spread * widening)

    def to_screen(self, depth: np.ndarray, beam: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Row and column of positions in the beam grid; the inverse of :meth:`to_beam`."""
        if self.kind == "sector":
            radius, angle = self.apex + depth * self.depth, beam * self.spread
            return self._apex_row + radius * np.cos(angle), self._centre + radius * np.sin(angle)
        down = depth * self.height
        widening = 1 + down / self.apex if self.kind == "trapezoid" else 1.0
        return self.top - 0.5 + down, self._centre + beam * self.spread * widening

    def visible(self) -> np.ndarray:
        """Pixels of the screen that show tissue, bool [GRID, GRID]."""
        depth, beam = self.to_beam(ROWS, COLS)
        middle = self.top + self.height / 2 - 0.5
        window = (np.abs(COLS - self._centre) <= self.width / 2) & (np.abs(ROWS - middle) <= self.height / 2)
        return window & (depth >= 0) & (depth <= 1) & (np.abs(beam) <= 1)

    def scan_convert(self, beam_image: np.ndarray) -> np.ndarray:
        """Carry a beam grid to the screen by linear interpolation; outside the field of view it means nothing."""
        depth, beam = self.to_beam(ROWS, COLS)
        where = [GRID * depth - 0.5, GRID * (beam + 1) / 2 - 0.5]
        return ndimage.map_coordinates(beam_image, where, order=1, mode="nearest")


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
    """Received envelope of a tissue.

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
    """What is lost on the way to each sample and back, in dB.

    The running sum of the loss per sample, float [GRID, GRID], along each beam; a beam is wider than a sample, which
    softens the sides of shadows.
    """
    return _blur(np.cumsum(attenuation_db, axis=0) - attenuation_db, 2.5, 1)


def compress(received: np.ndarray, scanner: Scanner) -> np.ndarray:
    """Grey value in [0, 1] of an envelope: its logarithm within the dynamic range, as on the display."""
    floor = np.float32(10 ** (-scanner.dynamic_range_db / 20))
    grey = 1 + np.log10(np.maximum(received, floor)) * (20 / scanner.dynamic_range_db)
    grey = np.clip(grey, 0, 1)
    if scanner.smoothing > 0:
        grey = (1 - scanner.smoothing) * grey + scanner.smoothing * blur(grey, (0.7, 1.2))
    return np.clip(scanner.pedestal + (1 - scanner.pedestal) * grey**scanner.gamma, 0, 1)


def burn_text(grey: np.ndarray, row: float, col: float, text: str, brightness: float) -> None:
    """Write a line of text into a picture, in place; ``row`` and ``col`` are its upper left corner."""
    font = ImageFont.load_default_imagefont()
    left, top, right, bottom = font.getbbox(text)
    strip = Image.new("L", (int(right - left), int(bottom - top)))
    ImageDraw.Draw(strip).text((-left, -top), text, fill=255, font=font)
    letters = np.asarray(strip) > 127
    row, col = round(row), round(col)
    letters = letters[max(-row, 0) : max(GRID - row, 0), max(-col, 0) : max(GRID - col, 0)]
    row, col = max(row, 0), max(col, 0)
    grey[row : row + letters.shape[0], col : col + letters.shape[1]][letters] = brightness


def burn_caliper(
    grey: np.ndarray, start: tuple[float, float], end: tuple[float, float], brightness: float, arm: int, kind: str,
    dotted: bool,
) -> None:  # fmt: skip
    """Mark a measured distance, in place: ``kind`` (``"+"`` or ``"x"``) at both ends, and dots between them."""
    slant = 1 if kind == "x" else 0
    for row, col in (start, end):
        for step in range(-arm, arm + 1):
            _dot(grey, row + step, col + slant * step, brightness)
            _dot(grey, row - slant * step, col + step, brightness)
    if dotted:
        count = int(np.hypot(end[0] - start[0], end[1] - start[1]) // 3)
        for share in np.linspace(0, 1, max(count, 2)):
            row, col = start[0] + share * (end[0] - start[0]), start[1] + share * (end[1] - start[1])
            _dot(grey, row, col, 0.7 * brightness)


def _dot(grey: np.ndarray, row: float, col: float, brightness: float) -> None:
    row, col = round(row), round(col)
    if 0 <= row < GRID and 0 <= col < GRID:
        grey[row, col] = max(grey[row, col], brightness)
