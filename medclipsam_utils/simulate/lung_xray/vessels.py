"""The lung's vessels, which branch from the hila and taper, and the unevenness of its tissue."""

from __future__ import annotations

import numpy as np

from ..fields import smooth_noise
from .chest import Chest
from .projection import LEFT, RIGHT, Frame, add_ellipsoid, thin_tubes


def project_vessels(chest: Chest, frame: Frame) -> tuple[np.ndarray, np.ndarray]:
    """Return the path length through the lungs' vessels in mm, and the relative unevenness of the lung tissue.

    From each hilum branches fan out; every generation is shorter, thinner and more numerous than its parent.
    """
    rng = np.random.default_rng(chest.detail)
    steps = np.linspace(0, 1, 26)
    scale = chest.height / 210
    all_points, all_radii, all_steps, hila = [], [], [], []
    for side in (RIGHT, LEFT):
        hilum = np.array([side * 0.25 * chest.half_width, (-0.02 - 0.03 * side) * chest.height])
        hila.append(hilum)
        count = 12
        start = hilum + rng.normal(0, [6, 11], (count, 2))
        angle = np.linspace(-1.6, 1.7, count) + rng.normal(0, 0.2, count)
        length = scale * rng.uniform(35, 85, count)
        radius = rng.uniform(1.2, 3.0, count)
        for children in (30, 70, 150, 0):
            bend = rng.normal(0, 0.3, len(angle))
            heading = angle[:, None] + bend[:, None] * steps
            pace = length[:, None] / (len(steps) - 1)
            x = start[:, :1] + side * np.cumsum(np.cos(heading) * pace, axis=1)
            y = start[:, 1:] + np.cumsum(np.sin(heading) * pace, axis=1)
            taper = radius[:, None] * (1 - 0.45 * steps)
            all_points.append(np.stack([x, y, np.zeros_like(x)], axis=-1).reshape(-1, 3))
            all_radii.append(taper.ravel())
            all_steps.append(np.broadcast_to(pace, x.shape).ravel())
            if not children:
                break
            parent = np.arange(children) % len(angle)
            at = rng.integers(6, len(steps), children)
            start = np.stack([x[parent, at], y[parent, at]], axis=1)
            turn = rng.uniform(0.2, 0.75, children) * np.where(np.arange(children) // len(angle) % 2, 1, -1)
            angle = heading[parent, at] + turn
            length = length[parent] * rng.uniform(0.5, 0.85, children)
            radius = taper[parent, at] * rng.uniform(0.6, 0.9, children)
    vessels = thin_tubes(frame, np.concatenate(all_points), np.concatenate(all_radii), np.concatenate(all_steps))
    for hilum in hila:
        add_ellipsoid(vessels, frame, (*hilum, 0.0), (13, 26, 5), 0.9, 0.25 * np.sign(hilum[0]))
    texture = 0.025 * smooth_noise(rng, 85) + 0.008 * smooth_noise(rng, 30) + 0.03 * smooth_noise(rng, 5)
    return vessels, texture
