"""One slice of a body as a plane of Hounsfield units, and shapes in millimetres to paint into it.

A CT image is a map of attenuation mu relative to water, ``HU = 1000 (mu - mu_water) / mu_water``: air -1000, fat about
-100, water 0, muscle about 50, cortical bone beyond 500. A :class:`Plane` holds one slice. Its coordinates are the
patient's: x towards the patient's left (the right of the image), y backwards (down), the origin near the middle of the
trunk. A shape is a depth, the distance in mm below its surface; a pixel that a surface cuts mixes both sides (partial
volume). Layers of the trunk wall are closed curves around the origin, tables of radius over angle.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ..fields import COLS, GRID, ROWS

AIR, FAT, WATER, MUSCLE = -1000.0, -102.0, 5.0, 54.0
RIGHT, LEFT = -1, 1  # the patient's sides, as the sign of x: the patient's left is on the right of the image
SIDE_NAMES = {RIGHT: "right", LEFT: "left"}
#: Angles of the tables that describe closed curves: 0 is the patient's left, pi / 2 the back.
ANGLES = (np.arange(2048) + 0.5) * (2 * np.pi / 2048) - np.pi
ANGLES.setflags(write=False)
WHOLE = (slice(None), slice(None))


def closed_curve(half_width: float, front: float, back: float, power: tuple[float, float]) -> np.ndarray:
    """Return the radius over :data:`ANGLES` of a superellipse whose front and back half differ, mm."""
    cos, sin = np.abs(np.cos(ANGLES)), np.sin(ANGLES)
    halves = []
    for half_depth, exponent in zip((front, back), power, strict=True):
        total = (cos / half_width) ** exponent + (np.abs(sin) / half_depth) ** exponent
        halves.append(total ** (-1 / exponent))
    return np.where(sin < 0, *halves)


def bump(degrees: float, width: float) -> np.ndarray:
    """Make a table that is 1 at an angle and falls off with the given standard deviation, both in degrees."""
    distance = (ANGLES - np.deg2rad(degrees) + np.pi) % (2 * np.pi) - np.pi
    return np.exp(-0.5 * (distance / np.deg2rad(width)) ** 2)


def both_bumps(degrees: float, width: float) -> np.ndarray:
    """Make a :func:`bump` on the patient's left and its mirror image on the right."""
    return bump(degrees, width) + bump(180 - degrees, width)


def smooth_min(first: np.ndarray, second: np.ndarray, rounding: float) -> np.ndarray:
    """Intersect two depths and round the edge over ``rounding`` mm."""
    gap = second - first
    share = gap * (0.5 / rounding)
    share += 0.5
    np.clip(share, 0, 1, out=share)
    gap *= share
    share *= rounding * (1 - share)
    return second - gap - share


class Patch(NamedTuple):
    """The depth of a small shape within a window of the plane."""

    window: tuple[slice, slice]
    depth: np.ndarray


@dataclass(frozen=True)
class Frame:
    """Where the plane's pixels lie: mm per row and column, pixel of the patient's origin, tilt of the patient."""

    mm_row: float
    mm_col: float
    row: float
    col: float
    tilt: float


class Plane:
    """One slice in Hounsfield units.

    Attributes:
        x, y: patient coordinates of the pixel centres in mm, float64 [GRID, GRID].
        radius: distance from the patient's origin in mm.
        hu: Hounsfield units, float64 [GRID, GRID]; air at first.
    """

    def __init__(self, frame: Frame) -> None:
        self.frame = frame
        self._cos, self._sin = np.cos(frame.tilt), np.sin(frame.tilt)
        right, down = (COLS - frame.col) * frame.mm_col, (ROWS - frame.row) * frame.mm_row
        self.x = self._cos * right + self._sin * down
        self.y = self._cos * down - self._sin * right
        self.radius = np.hypot(self.x, self.y)
        turns = (np.arctan2(self.y, self.x) + np.pi) / (2 * np.pi)
        self._bin = (turns * len(ANGLES)).astype(np.intp) % len(ANGLES)
        self._pixel = max(frame.mm_row, frame.mm_col)
        self.hu = np.full((GRID, GRID), AIR)

    def around(self, table: np.ndarray) -> np.ndarray:
        """Lay a table over :data:`ANGLES` out as an image."""
        return table[self._bin]

    def within(self, table: np.ndarray) -> np.ndarray:
        """Measure the depth below a closed curve, measured towards the origin."""
        return self.around(table) - self.radius

    def pixel_of(self, x: np.ndarray | float, y: np.ndarray | float) -> tuple[np.ndarray, np.ndarray]:
        """Find row and column of a point in mm."""
        right, down = self._cos * x - self._sin * y, self._sin * x + self._cos * y
        return self.frame.row + down / self.frame.mm_row, self.frame.col + right / self.frame.mm_col

    def ellipse(self, x: float, y: float, x_radius: float, y_radius: float, angle: float = 0.0) -> Patch:
        """Make an ellipse; the angle turns its first half-axis from the patient's left towards the back."""
        window = self._window(x, y, max(x_radius, y_radius))
        return Patch(window, self._ellipse_depth(window, x, y, x_radius, y_radius, angle))

    def ellipse_depth(self, x: float, y: float, x_radius: float, y_radius: float, angle: float = 0.0) -> np.ndarray:
        """Return the depth of :meth:`ellipse` in every pixel, negative outside."""
        return self._ellipse_depth(WHOLE, x, y, x_radius, y_radius, angle)

    def rod(self, start: tuple[float, float], end: tuple[float, float], radius: float, taper: float = 1.0) -> Patch:
        """Make a thick line with round ends; its radius at the end is ``taper`` times that at the start."""
        (x0, y0), (x1, y1) = start, end
        along = np.array([x1 - x0, y1 - y0])
        length = max(float(np.hypot(*along)), 1e-6)
        window = self._window((x0 + x1) / 2, (y0 + y1) / 2, length / 2 + radius * max(1.0, taper))
        dx, dy = self.x[window] - x0, self.y[window] - y0
        share = np.clip((dx * along[0] + dy * along[1]) / length**2, 0, 1)
        distance = np.hypot(dx - share * along[0], dy - share * along[1])
        return Patch(window, radius * (1 + (taper - 1) * share) - distance)

    def tubes(self, lines: np.ndarray) -> np.ndarray:
        """Return the share of each pixel that many thin tapering tubes cover, [GRID, GRID] in [0, 1].

        Args:
            lines: [N, 6], start x and y, end x and y, radius at the start and at the end, in mm.
        """
        covered = np.zeros(GRID * GRID)
        steps = np.ceil(np.hypot(lines[:, 2] - lines[:, 0], lines[:, 3] - lines[:, 1]) / (0.9 * self._pixel)) + 1
        index = np.repeat(np.arange(len(lines)), steps.astype(int))
        position = np.arange(len(index)) - np.searchsorted(index, index)
        share = position / np.maximum(steps[index] - 1, 1)
        line = lines[index]
        row, col = self.pixel_of(*(line[:, k] + share * (line[:, k + 2] - line[:, k]) for k in (0, 1)))
        radius = line[:, 4] + share * (line[:, 5] - line[:, 4])
        finest = min(self.frame.mm_row, self.frame.mm_col)
        for reach, these in ((2, radius <= 1.6 * finest), (6, radius > 1.6 * finest)):
            offset = np.arange(-reach, reach + 1)
            rows = np.round(row[these]).astype(int)[:, None, None] + offset[:, None]
            cols = np.round(col[these]).astype(int)[:, None, None] + offset
            distance = np.hypot(
                (rows - row[these, None, None]) * self.frame.mm_row, (cols - col[these, None, None]) * self.frame.mm_col
            )
            cover = np.clip((radius[these, None, None] - distance) / self._pixel + 0.5, 0, 1)
            inside = (rows >= 0) & (rows < GRID) & (cols >= 0) & (cols < GRID) & (cover > 0)
            flat = np.broadcast_to(rows * GRID + cols, inside.shape)[inside]
            np.maximum.at(covered, flat, cover[inside])
        return covered.reshape(GRID, GRID)

    def cover(self, depth: np.ndarray) -> np.ndarray:
        """Return the share of each pixel inside a shape: 0 outside, 1 inside, between where the surface cuts it."""
        share = depth / self._pixel
        share += 0.5
        return np.clip(share, 0, 1, out=share)

    def paint(self, shape: Patch | np.ndarray, value: float | np.ndarray) -> None:
        """Fill a shape with Hounsfield units, a number or an image."""
        window, depth = shape if isinstance(shape, Patch) else (WHOLE, shape)
        target = self.hu[window]
        share = self.cover(depth)
        share *= (value[window] if isinstance(value, np.ndarray) else value) - target
        target += share

    def paint_bone(self, shape: Patch, cortex_mm: float, cortex: float, marrow: float) -> None:
        """Paint a shell of compact bone filled with marrow."""
        self.paint(shape, cortex)
        self.paint(Patch(shape.window, shape.depth - cortex_mm), marrow)

    def inside(self, shape: Patch) -> np.ndarray:
        """Return a patch as bool [GRID, GRID]."""
        mask = np.zeros((GRID, GRID), bool)
        mask[shape.window] = shape.depth > 0
        return mask

    def _ellipse_depth(
        self, window: tuple[slice, slice], x: float, y: float, x_radius: float, y_radius: float, angle: float
    ) -> np.ndarray:
        """Measure the depth below an ellipse; works in place, because fresh memory costs more than the sums."""
        cos, sin = np.cos(angle), np.sin(angle)
        dx, dy = self.x[window] - x, self.y[window] - y
        along = dx * (cos / x_radius)
        along += dy * (sin / x_radius)
        dy *= cos / y_radius
        dx *= sin / y_radius
        dy -= dx
        depth = np.hypot(along, dy, out=along)
        np.subtract(1, depth, out=depth)
        depth *= min(x_radius, y_radius)
        return depth

    def _window(self, x: float, y: float, reach: float) -> tuple[slice, slice]:
        spans = zip(self.pixel_of(x, y), (self.frame.mm_row, self.frame.mm_col), strict=True)
        rows, cols = (
            slice(*(int(np.clip(centre + sign * (reach / mm + 2) + (sign > 0), 0, GRID)) for sign in (-1, 1)))
            for centre, mm in spans
        )
        return rows, cols
