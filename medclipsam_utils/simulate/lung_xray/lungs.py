"""Both lungs as projected: slices of air, less what the heart, the great vessels and the diaphragm displace."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..fields import GRID
from .chest import Chest, rib_cage
from .projection import LEFT, RIGHT, SOFT, Frame, ellipsoid_radius, heights, slice_chord


@dataclass(frozen=True)
class Lung:
    """One lung as projected; every field covers the window ``where``, float64 or bool."""

    where: tuple[slice, slice]
    air: np.ndarray  # path length through aerated lung, mm
    field: np.ndarray  # the visible lung field
    across: np.ndarray  # -1 at the inner, 1 at the outer border
    y: np.ndarray  # height in the body, mm

    def whole(self, values: np.ndarray) -> np.ndarray:
        """Put values of the window on the whole grid."""
        grid = np.zeros((GRID, GRID), values.dtype)
        grid[self.where] = values
        return grid


def heart_ellipsoids(chest: Chest, ratio: float) -> list[tuple]:
    """List the ellipsoids (centre, semi-axes, angle) of the heart (two chambers' outlines first) and great vessels.

    The left ventricle's ellipse and the right atrium's are placed so that together they are ``ratio`` times the
    inside of the chest wide.
    """
    width = ratio * 2 * chest.half_width
    slimness, thickness, below = chest.heart_shape
    long, short, thick = 0.53 * width, 0.53 * slimness * width, thickness * width
    cos, sin = np.cos(chest.heart_angle), np.sin(chest.heart_angle)
    reach, drop = np.hypot(long * cos, short * sin), np.hypot(long * sin, short * cos)
    left, right = (1 - chest.heart_right) * width, -chest.heart_right * width
    bottom = max(chest.dome) + below
    row = bottom - drop
    radius, unfolded = chest.aorta
    knob = -chest.height * (0.25 - 0.05 * unfolded)
    return [
        ((left - reach, row), (long, short, thick), chest.heart_angle),
        ((right + 0.27 * width, row + 0.06 * width), (0.27 * width, 0.37 * width, 0.8 * thick), -0.12),
        ((0.10 * chest.half_width, knob + 48), (20 + 8 * slimness, 50, 26), -0.15),
        (((0.07 + 0.1 * unfolded) * chest.half_width, knob), (radius, radius + 2, 28), 0.0),
        (((0.04 + 0.1 * unfolded) * chest.half_width, knob + 70), (14, 80, 14), 0.1),
        ((-0.06 * chest.half_width, knob + 34), (13 + 9 * unfolded, 48, 24), -0.05),
    ]


def project_lungs(chest: Chest, frame: Frame, organs: list[tuple]) -> tuple[dict[int, Lung], np.ndarray]:
    """Project both lungs, slices minus what heart, great vessels and domes displace, and the heart's shadow."""
    inner, outer = rib_cage(chest)
    t = heights() / chest.height + 0.5
    half_depth = chest.depth * np.interp(t, [0, 0.2, 0.5, 0.85, 1.3], [16.0, 46.0, 72.0, 80.0, 72.0])
    middle, half = (inner + outer) / 2, np.maximum((outer - inner) / 2, 1e-3)
    nearest, displaced = np.full((GRID, GRID), 9.0), np.zeros((GRID, GRID))
    for k, (centre, semi_axes, angle) in enumerate(organs):
        centre = centre[0] + 30 * frame.yaw, centre[1] + 30 * frame.pitch
        where = frame.window(*centre, max(semi_axes[:2]))
        radius = ellipsoid_radius(frame.x[where], frame.y[where], centre, semi_axes, angle)
        nearest[where] = np.minimum(nearest[where], radius)
        chord = 2 * semi_axes[2] * np.sqrt(np.maximum(1 - radius, 0))
        displaced[where] = np.maximum(displaced[where], chord)
        if k == 1:
            heart = nearest < 1
    lungs = {}
    domes = zip((RIGHT, LEFT), chest.dome, chest.dome_bulge, chest.dome_peak, chest.dome_tent, strict=True)
    for side, top, bulge, peak, tent in domes:
        edges = sorted((0, side * 1.05 * chest.half_width))
        where = frame.strip(*edges)
        x, y = side * frame.x[where], frame.y[where]
        across = (x - frame.lookup(middle, where)) / frame.lookup(half, where)
        dome_row = top + bulge
        off_peak = x / chest.half_width - peak
        dome = (off_peak / np.where(off_peak > 0, 1.01 - peak, 0.58)) ** 2
        dome += (np.minimum(y - dome_row + tent * np.cos(16 * off_peak), 0) / bulge) ** 2
        above = y < dome_row
        depth = frame.lookup(half_depth, where)
        air = slice_chord(across, depth) - displaced[where]
        air -= 2.6 * depth * np.sqrt(np.maximum(1 - dome, 0))
        air = np.maximum(air, 0) * above
        field = (np.abs(across) < 1) & (dome > 1) & above & (nearest[where] > 1)
        heart[where] &= (dome > 0.8) | (x < 0)
        lungs[side] = Lung(where, air, field, across, y)
    return lungs, heart


def lung_deficit(chest: Chest, lungs: dict[int, Lung], markings: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """Return the attenuation that the lungs lack against soft tissue; vessels and interstitium give some of it back."""
    vessels, texture = markings
    deficit = np.zeros((GRID, GRID))
    for lung in lungs.values():
        share = np.minimum(lung.air / 60, 1) * vessels[lung.where]
        tissue = (1 - chest.lung_density) * lung.air * (1 - texture[lung.where])
        deficit[lung.where] += SOFT * (tissue - 1.9 * share)
    return deficit
