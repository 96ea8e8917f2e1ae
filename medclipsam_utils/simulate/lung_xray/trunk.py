"""The chest as if it had no lungs: trunk, breasts, airway, gas in the stomach, and the bones."""

from __future__ import annotations

import numpy as np

from .bones import add_shoulders, add_spine, clavicle_tubes, rib_tubes
from .chest import Chest
from .projection import (
    LEFT,
    RIGHT,
    SOFT,
    Frame,
    add_ellipsoid,
    ellipsoid_chord,
    heights,
    hollow_tubes,
    slice_chord,
)


def project_trunk(chest: Chest, frame: Frame) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Project the body as if it had no lungs: attenuation, float64 [GRID, GRID], and the bones' shadows by name."""
    apex, dome, width = -chest.height / 2, chest.dome[0], chest.half_width
    wall = width + chest.fat
    rows = [apex - 85, apex - 55, apex - 35, apex - 15, apex + 10, apex + 60, apex + 110, dome, dome + 90]
    half = frame.profile(rows, [54, 58, 88, 150, 188, wall + 34, wall + 6, wall, wall + 4], 6)
    depth = frame.profile(rows, [58, 55, 52, 56, 66, 92 + chest.fat / 2, 106 + chest.fat / 2, 112, 122], 12)
    total = SOFT * slice_chord(frame.x / half, chest.depth * depth)
    for side in (RIGHT, LEFT):
        centre = (side * 0.60 * width, 0.66 * dome, 90.0)
        add_ellipsoid(total, frame, centre, (0.52 * width, 1.6 * chest.breast + 36, chest.breast), SOFT)
    _add_airway(total, frame, chest)
    ribs, clavicles = hollow_tubes(frame, rib_tubes(chest)), hollow_tubes(frame, clavicle_tubes(chest), 1.6)
    total += ribs
    total += clavicles
    add_shoulders(total, frame, chest)
    amplitude, phase = chest.curve
    bend = amplitude * np.sin(heights() / 90 + phase)
    spine = add_spine(total, frame, bend, (apex - 120, 22.0, 15.0), (dome + 120, 33.0, 23.0), 0.5 * chest.bone)
    return total, {"spine": spine, "clavicles": clavicles > 0.06 * chest.bone, "ribs": ribs > 0.045 * chest.bone}


def _add_airway(total: np.ndarray, frame: Frame, chest: Chest) -> None:
    """Add the trachea's air column to the carina, the main bronchi, and the gastric bubble, with a fluid level."""
    carina = -0.14 * chest.height
    where = frame.strip(-20, 20)
    x, y = frame.x[where] + 3, frame.y[where]
    x += 2 * np.clip((y - carina + 60) / 60, -1, 1)
    length = np.clip((carina - y) / 6, 0, 1) * np.clip((y + chest.height * 0.5 + 90) / 30, 0, 1)
    total[where] -= SOFT * slice_chord(x / 9.0, 11.0) * length
    for side, steep in ((RIGHT, 0.9), (LEFT, 0.6)):
        centre: tuple[float, float, float] = (side * 16 - 2, carina + 4 + 10 * steep, 0)
        add_ellipsoid(total, frame, centre, (19, 6.5, 6), -SOFT, side * steep)
    for k, (across, down, size, flatness, tilt) in enumerate(chest.gas):
        wide, tall = 10 + 22 * size, (10 + 22 * size) * (0.45 + 0.4 * flatness)
        centre = ((0.3 + 0.4 * across) * chest.half_width, chest.dome[1] + 10 + tall + 45 * down * (k + 1) / 2, 20.0)
        if k == 0:  # the stomach: the fluid in it has a level surface
            _add_level_gas(total, frame, centre, (wide, tall, wide))
        elif size > 0.3:
            add_ellipsoid(total, frame, centre, (0.8 * wide, 0.7 * tall, 0.8 * wide), -SOFT, 2 * tilt - 1)


def _add_level_gas(
    total: np.ndarray, frame: Frame, centre: tuple[float, float, float], semi_axes: tuple[float, float, float]
) -> None:
    where = frame.window(*centre[:2], max(semi_axes[:2]))
    x, y = frame.x[where], frame.y[where]
    gas = ellipsoid_chord(x, y, centre[:2], semi_axes)
    total[where] -= SOFT * gas * np.clip((centre[1] + 0.5 * semi_axes[1] - y) / 2, 0, 1)
