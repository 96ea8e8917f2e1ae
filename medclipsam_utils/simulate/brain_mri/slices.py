"""Where a slice lies in the atlas, and the cross-sections of simple bodies in it.

The image's rows and columns step through the atlas along two directions, which the patient's size, the pixel and the
turns of the head decide. Axial and coronal slices follow the radiological convention: the patient's left is on the
image's right. Sagittal slices show the face on the left.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from ..fields import COLS, GRID, ROWS
from .signal import Canvas

#: Atlas axis that a plane is perpendicular to.
NORMAL_AXIS = {"axial": 2, "coronal": 1, "sagittal": 0}

#: Directions of columns and rows in the atlas (x to the patient's right, y to the front, z to the top).
_DIRECTIONS = {
    "axial": ((-1.0, 0.0, 0.0), (0.0, -1.0, 0.0)),
    "coronal": ((-1.0, 0.0, 0.0), (0.0, 0.0, -1.0)),
    "sagittal": ((0.0, -1.0, 0.0), (0.0, 0.0, -1.0)),
}
_MIDDLE = (GRID - 1) / 2
_MARGIN_MM = 8.0  # how far warping may move a body out of its place


@dataclass(frozen=True, eq=False)
class Slice:
    """A plane through the atlas and the grid of pixels on it.

    Attributes:
        plane: ``"axial"``, ``"coronal"`` or ``"sagittal"``, as far as turned heads allow.
        centre: atlas coordinates of the image's centre, mm.
        turns: rotations in radians in the plane, about its columns' direction and about its rows'.
        pixel_mm: size of a pixel in the patient, mm.
        scale: size of the patient relative to the atlas along its three axes.
        upside_down: the rows run the other way (some data sets store axial slices with the face at the bottom).
        points: atlas coordinates of every pixel, float64 [3, GRID, GRID].
    """

    plane: str
    centre: np.ndarray
    turns: tuple[float, float, float]
    pixel_mm: float
    scale: np.ndarray
    upside_down: bool = False
    points: np.ndarray = field(init=False, repr=False)
    _steps: np.ndarray = field(init=False, repr=False)  # [3, 2], atlas mm for a step of one row, one column
    _inverse: np.ndarray = field(init=False, repr=False)

    def __post_init__(self) -> None:
        right, down = (np.array(direction) for direction in _DIRECTIONS[self.plane])
        normal = np.cross(right, down)
        spin, pitch, roll = self.turns
        right, down = _turn(right, down, spin)
        down, normal = _turn(down, normal, pitch)
        right, normal = _turn(right, normal, roll)
        steps = self.pixel_mm * np.stack([-down if self.upside_down else down, right], axis=1) / self.scale[:, None]
        points = self.centre[:, None, None] + steps[:, 0, None, None] * (ROWS - _MIDDLE)
        object.__setattr__(self, "points", points + steps[:, 1, None, None] * (COLS - _MIDDLE))
        object.__setattr__(self, "_steps", steps)
        object.__setattr__(self, "_inverse", np.linalg.pinv(steps))

    def through(self, point: np.ndarray) -> Slice:
        """Return the parallel slice that contains a point, shifted along the axis perpendicular to the plane."""
        normal, axis = np.cross(*self._steps.T), NORMAL_AXIS[self.plane]
        centre = self.centre.copy()
        centre[axis] += (point - centre) @ normal / normal[axis]
        return replace(self, centre=centre)

    def locate(self, point: np.ndarray) -> tuple[float, float, float]:
        """Find the row and column nearest to a point of the atlas, and its distance from the plane in atlas mm."""
        offset = np.asarray(point, float) - self.centre
        row, col = self._inverse @ offset
        away = offset - self._steps @ (row, col)
        return float(row + _MIDDLE), float(col + _MIDDLE), float(np.sqrt(away @ away))


def _turn(first: np.ndarray, second: np.ndarray, angle: float) -> tuple[np.ndarray, np.ndarray]:
    cos, sin = np.cos(angle), np.sin(angle)
    return cos * first + sin * second, cos * second - sin * first


class Bodies:
    """Paints cross-sections of ellipsoids given in atlas coordinates.

    Args:
        canvas: painted on.
        view: the slice.
        points: atlas coordinates of its pixels, float64 [3, GRID, GRID], warped.
        rough: added to every distance from a surface, in mm, so that no outline is a perfect ellipse.
    """

    def __init__(self, canvas: Canvas, view: Slice, points: np.ndarray, rough: np.ndarray) -> None:
        self.canvas, self.view, self.points, self.rough = canvas, view, points, rough

    def distance(self, centre, axes, where: tuple[slice, slice]) -> np.ndarray:
        """Estimate the signed distance from an ellipsoid's surface in mm, roughly, in a window; negative inside."""
        total = 0.0
        for points, middle, axis in zip(self.points, centre, axes, strict=True):
            square = points[where] - middle
            square *= 1 / axis
            square *= square
            total = total + square
        return (np.sqrt(total) - 1) * min(axes) + self.rough[where]

    def window(self, centre, axes) -> tuple[slice, slice] | None:
        """Find the pixels that may show an ellipsoid; None where the slice misses it."""
        row, col, away = self.view.locate(centre)
        reach = max(axes) + _MARGIN_MM
        if away >= reach:
            return None
        size = reach * float(self.view.scale.max()) / self.view.pixel_mm
        rows, cols = (slice(max(int(c - size), 0), max(min(int(c + size), GRID), 0)) for c in (row, col))
        return (rows, cols) if rows.start < rows.stop and cols.start < cols.stop else None

    def ellipsoid(
        self, centre, axes, tissue: str, edge_mm: float = 1.0, texture: np.ndarray | None = None
    ) -> tuple[tuple[slice, slice], np.ndarray] | None:
        """Paint an ellipsoid.

        Args:
            centre, axes: atlas mm.
            tissue: a name in ``TISSUES``.
            edge_mm: width of its edge.
            texture: factor on its signal, [GRID, GRID].

        Returns:
            Its window and its share of every pixel there; None where the slice misses it.
        """
        where = self.window(centre, axes)
        if where is None:
            return None
        share = np.clip(0.5 - self.distance(centre, axes, where) / edge_mm, 0, 1)
        self.canvas.paint(share, tissue, where, 1.0 if texture is None else texture[where])
        return where, share

    def pair(self, centre, axes, tissue: str, edge_mm: float = 1.0, texture: np.ndarray | None = None) -> list:
        """Paint the same on both sides of the midline, or once on it; return what :meth:`ellipsoid` did if in view."""
        sides = (1, -1) if centre[0] else (1,)
        painted = [self.ellipsoid((s * centre[0], *centre[1:]), axes, tissue, edge_mm, texture) for s in sides]
        return [found for found in painted if found]
