"""Shadows of solid bodies: path lengths along parallel rays in closed form, and Beer–Lambert.

A radiograph is a shadow. Along each ray the intensity falls as ``I = I0 exp(-sum_k mu_k l_k)``, with the attenuation
coefficient ``mu_k`` (per mm) and the path length ``l_k`` (mm) of every organ on the way. Bodies here are simple enough
for ``l`` to have a closed form, so no volume is ever sampled:

* ellipsoid: chord ``2 c sqrt(1 - u^2 - v^2)``;
* stack of slices (trunk, lung): at each height a superellipse ``u^4 + (z/c)^2 = 1``, chord ``2 c sqrt(1 - u^4)``;
* hollow tube along a curve (rib, clavicle): outer minus inner chord of its elliptic cross-section;
* thin tube (vessel, wire): its cross-section area per unit length, spread over its width.

Rays are parallel, along the patient's front–back axis. Body coordinates in mm: x to the right of the image (the
patient's left), y downwards, z towards the patient's front. Small turns of the patient displace a point by its depth:
``x + yaw z``, ``y + pitch z``. Not simulated: divergence of the beam, its spectrum (beam hardening), focal-spot size
by depth, detector lag and anti-scatter grid lines.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from scipy import ndimage

from ..fields import COLS, GRID, ROWS, blur

#: Linear attenuation coefficients at an effective energy of about 60 keV, per mm (NIST XCOM, rounded).
SOFT, BONE, TRABECULAR, METAL = 0.0195, 0.055, 0.028, 0.9
RIGHT, LEFT = -1, 1  # the patient's sides, as the sign of x: the patient's left is on the right of the image
#: Heights at which profiles along the body axis are tabulated, in mm.
_HEIGHTS = np.arange(-500.0, 500.0, 0.5)
_HALF_REACH = 13  # rows above and below a tube's axis that are drawn, in pixels


@dataclass(frozen=True, eq=False)
class Frame:
    """Where the detector sees the body.

    Attributes:
        row, col: pixel on which the body's origin falls.
        pixel_mm: distance between neighbouring pixels.
        roll: in-plane rotation of the patient in radians, from columns towards rows.
        yaw, pitch: sideways and downward displacement per mm of depth towards the front (tangents of small angles).
        x, y: body coordinates of every pixel centre in mm, float64 [GRID, GRID].
    """

    row: float
    col: float
    pixel_mm: float
    roll: float = 0.0
    yaw: float = 0.0
    pitch: float = 0.0
    x: np.ndarray = field(init=False, repr=False)
    y: np.ndarray = field(init=False, repr=False)
    _height_index: np.ndarray = field(init=False, repr=False)

    def __post_init__(self) -> None:
        cos, sin = np.cos(self.roll) * self.pixel_mm, np.sin(self.roll) * self.pixel_mm
        dx, dy = COLS - self.col, ROWS - self.row
        object.__setattr__(self, "x", cos * dx + sin * dy)
        object.__setattr__(self, "y", cos * dy - sin * dx)
        # A table looked up by index costs a tenth of np.interp over the grid.
        index = np.clip((self.y - _HEIGHTS[0]) * 2, 0, len(_HEIGHTS) - 1)
        object.__setattr__(self, "_height_index", index.astype(np.intp))

    def pixels(
        self, x: np.ndarray | float, y: np.ndarray | float, z: np.ndarray | float = 0.0
    ) -> tuple[np.ndarray, np.ndarray]:
        """Find the rows and columns (continuous) of points of the body in mm."""
        x, y = x + self.yaw * z, y + self.pitch * z
        cos, sin = np.cos(self.roll) / self.pixel_mm, np.sin(self.roll) / self.pixel_mm
        return self.row + sin * x + cos * y, self.col + cos * x - sin * y

    def window(self, x: float, y: float, reach: float) -> tuple[slice, slice]:
        """Find the pixels within ``reach`` mm of a projected point, a square; empty where it lies off the detector."""
        row, col = self.pixels(x, y)
        size = reach / self.pixel_mm + 1
        bounds = [(int(np.clip(c - size, 0, GRID)), int(np.clip(c + size + 1, 0, GRID))) for c in (row, col)]
        return slice(*bounds[0]), slice(*bounds[1])

    def profile(self, heights: list[float], values: list[float], smooth_mm: float = 0.0) -> np.ndarray:
        """Lay out what depends on the height in the body alone, float64 [GRID, GRID], interpolated linearly.

        Args:
            heights: increasing, mm.
            values: one a height; held constant beyond the ends.
            smooth_mm: standard deviation of a Gaussian that rounds the corners.
        """
        table = np.interp(_HEIGHTS, heights, values)
        if smooth_mm:
            table = ndimage.gaussian_filter1d(table, 2 * smooth_mm, mode="nearest", truncate=3)
        return self.lookup(table)

    def lookup(self, table: np.ndarray, where: tuple[slice, slice] = (slice(None), slice(None))) -> np.ndarray:
        """Do the same for a table over :func:`heights`, for the pixels of a window."""
        return table[self._height_index[where]]

    def strip(self, left: float, right: float) -> tuple[slice, slice]:
        """Find the columns that show any part of the body between two values of x, in mm, over all rows."""
        lean = abs(np.sin(self.roll)) * GRID + 2
        cols = [self.col + left / self.pixel_mm - lean, self.col + right / self.pixel_mm + lean]
        return slice(0, GRID), slice(*(int(np.clip(c, 0, GRID)) for c in cols))


def heights() -> np.ndarray:
    """Return the tabulated heights in mm, float64 [n]."""
    return _HEIGHTS


def ellipsoid_radius(x, y, centre, semi_axes, angle: float = 0.0) -> np.ndarray:
    """Return the squared normalised distance of rays from an ellipsoid's axis: below 1 where the ray hits it.

    Args:
        x, y: where the rays pass, mm, any equal shape.
        centre: (x, y) of the centre, mm.
        semi_axes: first two semi-axes in the image plane before the rotation, mm.
        angle: rotation in radians, from x towards y.
    """
    cos, sin = np.cos(angle), np.sin(angle)
    dx, dy = x - centre[0], y - centre[1]
    u = dx * (cos / semi_axes[0])
    u += dy * (sin / semi_axes[0])
    dy *= cos / semi_axes[1]
    dx *= sin / semi_axes[1]
    dy -= dx
    u *= u
    dy *= dy
    u += dy
    return u


def ellipsoid_chord(x, y, centre, semi_axes, angle: float = 0.0) -> np.ndarray:
    """Return the path length in mm through an ellipsoid, 0 where rays miss it; ``semi_axes[2]`` lies along the ray."""
    return _root_of_rest(ellipsoid_radius(x, y, centre, semi_axes, angle), 2 * semi_axes[2])


def slice_chord(u: np.ndarray, half_depth: np.ndarray | float) -> np.ndarray:
    """Return the path length in mm through the superellipse ``u^4 + (z / half_depth)^2 = 1`` at the offset ``u``."""
    chord = u * u
    chord *= chord
    return _root_of_rest(chord, 2 * half_depth)


def _root_of_rest(square: np.ndarray, scale: np.ndarray | float) -> np.ndarray:
    """Compute ``scale * sqrt(1 - square)``, 0 where not real; overwrites ``square`` (fresh memory is slow)."""
    np.subtract(1, square, out=square)
    np.maximum(square, 0, out=square)
    np.sqrt(square, out=square)
    square *= scale
    return square


def add_ellipsoid(total, frame: Frame, centre, semi_axes, mu: float, angle: float = 0.0, shell: float = 0.0) -> None:
    """Add an ellipsoid's attenuation to ``total`` in place.

    Args:
        total: accumulated mu times l, float64 [GRID, GRID].
        frame: where the detector sees the body.
        centre: (x, y, z), mm.
        semi_axes: as in :func:`ellipsoid_chord`, mm.
        mu: difference of its attenuation coefficient from what it displaces, per mm.
        angle: rotation in the image plane, radians.
        shell: wall thickness in mm of a hollow ellipsoid (a bone's cortex); 0 is solid.
    """
    x, y = centre[0] + frame.yaw * centre[2], centre[1] + frame.pitch * centre[2]
    where = frame.window(x, y, max(semi_axes[:2]))
    chord = ellipsoid_chord(frame.x[where], frame.y[where], (x, y), semi_axes, angle)
    if shell:
        inner = [max(axis - shell, 0.3 * axis) for axis in semi_axes]
        chord -= 0.75 * ellipsoid_chord(frame.x[where], frame.y[where], (x, y), inner, angle)
    total[where] += mu * chord


def hollow_tubes(frame: Frame, tubes, cortex: float = 1.1) -> np.ndarray:
    """Project the attenuation of hollow bones that run along curves, float64 [GRID, GRID].

    A bone is drawn column by column: at each column its cross-section is an ellipse of half-height ``h`` across the
    curve and half-depth ``t`` along the ray (longer where the curve runs obliquely to the detector), with a cortex
    of bone around a marrow of trabecular bone.

    Args:
        frame: where the detector sees the body.
        tubes: list of (points, half_height, half_depth, density); points float64 [n, 3] in mm with x monotone, the
            others numbers or float64 [n]; density scales the attenuation (0 for cartilage).
        cortex: thickness of the cortex, mm.
    """
    parts = []
    for points, *sizes in tubes:
        row, col = frame.pixels(*points.T)
        if col[0] > col[-1]:
            row, col, points = row[::-1], col[::-1], points[::-1]
            sizes = [value[::-1] if np.ndim(value) else value for value in sizes]
        col = np.maximum.accumulate(col)
        squares = np.gradient(points, axis=0) ** 2
        steps = np.sqrt(squares[:, 0] + squares[:, 1])
        obliqueness = np.sqrt(squares.sum(axis=1)) / np.maximum(steps, 1e-6)
        columns = np.arange(np.ceil(max(col[0], 0)), np.floor(min(col[-1], GRID - 1)) + 1)
        if len(columns) < 2:
            continue
        axis_row = np.interp(columns, col, row)
        steepness = np.sqrt(1 + np.gradient(axis_row) ** 2)
        sizes[1] = sizes[1] * np.minimum(obliqueness, 2.2)
        sizes = [np.interp(columns, col, value) if np.ndim(value) else np.full(len(columns), value) for value in sizes]
        # Columns cannot follow a curve that runs straight down: it fades where it would leave the drawn reach.
        sizes[2] = sizes[2] * np.clip((2.6 - steepness) / 1.2, 0, 1)
        parts.append(np.stack([columns, axis_row, steepness, *sizes]))
    if not parts:
        return np.zeros((GRID, GRID))
    columns, axis_row, steepness, half_height, half_depth, density = np.concatenate(parts, axis=1)
    offsets = np.arange(-_HALF_REACH, _HALF_REACH + 1)[:, None]
    rows = np.round(axis_row) + offsets
    across = (rows - axis_row) * (frame.pixel_mm / steepness)
    across *= across
    value = _root_of_rest(across / half_height**2, 2 * density * (BONE - SOFT) * half_depth)
    marrow = 2 * density * (BONE - TRABECULAR) * np.maximum(half_depth - cortex, 0)
    value -= _root_of_rest(across / (half_height - cortex) ** 2, marrow)
    inside = (rows >= 0) & (rows < GRID) & (value != 0)
    index = (rows * GRID + columns)[inside].astype(np.intp)
    return np.bincount(index, value[inside], GRID * GRID).reshape(GRID, GRID)


def thin_tubes(frame: Frame, points: np.ndarray, radius: np.ndarray, step: np.ndarray) -> np.ndarray:
    """Return the path length in mm through many thin tubes, float64 [GRID, GRID].

    A tube of radius r carries the area pi r^2 per unit length. Each sample puts its share on the four nearest
    pixels; tubes of like radius are then blurred together to their width.

    Args:
        frame: where the detector sees the body.
        points: float64 [n, 3], samples along the tubes' axes in mm, closer than a pixel or two.
        radius: float64 [n], mm.
        step: float64 [n], length of tube that each sample stands for, mm.
    """
    row, col = frame.pixels(*points.T)
    volume = np.pi * radius**2 * step / frame.pixel_mm**2
    total = np.zeros((GRID, GRID))
    edges = np.array([0.0, 1.1, np.inf])
    group = np.searchsorted(edges, radius) - 1
    for k, sigma_mm in enumerate((0.5, 1.2)):
        chosen = (group == k) & (row > 0) & (row < GRID - 1) & (col > 0) & (col < GRID - 1)
        if not chosen.any():
            continue
        top, left = np.floor(row[chosen]), np.floor(col[chosen])
        down, right = row[chosen] - top, col[chosen] - left
        corner = (top * GRID + left).astype(np.intp)
        index = np.concatenate([corner, corner + 1, corner + GRID, corner + GRID + 1])
        weight = np.concatenate([(1 - down) * (1 - right), (1 - down) * right, down * (1 - right), down * right])
        layer = np.bincount(index, weight * np.tile(volume[chosen], 4), GRID * GRID).reshape(GRID, GRID)
        total += blur(layer, max(sigma_mm / frame.pixel_mm, 0.35))
    return total


def transmission(attenuation: np.ndarray | float) -> np.ndarray:
    """Return the share of the primary beam that passes, ``exp(-sum mu l)`` (Beer–Lambert); 1 is an empty beam."""
    return np.exp(-np.asarray(attenuation))
