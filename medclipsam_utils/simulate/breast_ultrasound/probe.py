"""Where a probe's beams lie on the screen: a rectangle, a trapezoid or a sector."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from scipy import ndimage

from ..fields import COLS, GRID, ROWS

ROW, COL = ROWS[:, :1], COLS[:1]  # of the screen's pixels, as a column and a row that broadcast

Place = TypeVar("Place", float, np.ndarray)  # of one point or of many


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

    def to_beam(self, row: Place, col: Place) -> tuple[Place, Place]:
        """Turn screen positions into depth (0 at the face, 1 at the end) and beam (-1 leftmost, 1 rightmost)."""
        dx = col - self._centre
        if self.kind == "sector":
            dy = row - self._apex_row
            return (np.hypot(dx, dy) - self.apex) / self.depth, np.arctan2(dx, dy) / self.spread
        down = row + 0.5 - self.top
        widening = 1 + down / self.apex if self.kind == "trapezoid" else 1.0
        return down / self.height, dx / (self.spread * widening)

    def to_screen(self, depth: Place, beam: Place) -> tuple[Place, Place]:
        """Turn positions in the beam grid into row and column; the inverse of :meth:`to_beam`."""
        if self.kind == "sector":
            radius, angle = self.apex + depth * self.depth, beam * self.spread
            return self._apex_row + radius * np.cos(angle), self._centre + radius * np.sin(angle)
        down = depth * self.height
        widening = 1 + down / self.apex if self.kind == "trapezoid" else 1.0
        return self.top - 0.5 + down, self._centre + beam * self.spread * widening

    def visible(self) -> np.ndarray:
        """Mark the pixels of the screen that show tissue, bool [GRID, GRID]."""
        depth, beam = self.to_beam(ROW, COL)
        middle = self.top + self.height / 2 - 0.5
        window = (np.abs(COL - self._centre) <= self.width / 2) & (np.abs(ROW - middle) <= self.height / 2)
        return window & (depth >= 0) & (depth <= 1) & (np.abs(beam) <= 1)

    def scan_convert(self, beam_image: np.ndarray) -> np.ndarray:
        """Carry a beam grid to the screen by linear interpolation; outside the field of view it means nothing."""
        depth, beam = self.to_beam(ROW, COL)
        where: Sequence[np.ndarray] = [GRID * depth - 0.5, GRID * (beam + 1) / 2 - 0.5]
        if self.kind == "rectangle":  # rows and columns one after the other, which is much faster
            return _stretch(_stretch(beam_image, where[0].ravel()).T, where[1].ravel()).T
        where = np.broadcast_arrays(*where)
        return ndimage.map_coordinates(beam_image, where, order=1, mode="nearest")


def _stretch(image: np.ndarray, position: np.ndarray) -> np.ndarray:
    """Interpolate the rows of an image linearly at fractional positions; the ends are held."""
    position = np.clip(position, 0, len(image) - 1)
    above = np.minimum(position.astype(np.intp), len(image) - 2)
    share = (position - above).astype(image.dtype)[:, None]
    return (1 - share) * image[above] + share * image[above + 1]
