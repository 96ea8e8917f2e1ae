"""What is inside a lung: parenchyma that is denser towards the back, branching vessels, bronchi and fissures."""

from __future__ import annotations

import numpy as np

from ..fields import smooth_noise
from .chest import Chest
from .plane import LEFT, RIGHT, Plane


def lung_tissue(plane: Plane, chest: Chest, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return the HU of the lung without vessels, and the share of each pixel that vessels and bronchial walls cover."""
    tissue = chest.density + chest.gravity * plane.y + 14 * smooth_noise(rng, 9) + 18 * smooth_noise(rng, 52)
    lines, bronchi = [], []
    for side in (RIGHT, LEFT):
        hilum = np.array([side * 44.0 * chest.size, 0.1 * chest.half_depth])
        tree, airways = _vessel_tree(chest, hilum, side, rng)
        lines += [tree, _crossing_vessels(chest, hilum, side, rng)]
        bronchi += airways
        offset, slope, bend = rng.uniform(0.1, 0.5), rng.uniform(-0.5, 0.5), rng.normal(0, 0.002)
        across = side * plane.x - 40
        fissure = plane.y - offset * chest.half_depth - slope * across - bend * across**2
        strength = rng.uniform(0, 130) * np.interp(chest.down, [0.2, 0.4, 0.8], [0, 1, 1])
        tissue += strength * np.clip(1.1 - np.abs(fissure) / 1.6, 0, 1) * (side * plane.x > 0)
    covered = plane.tubes(np.concatenate(lines))
    for x, y, radius in bronchi:
        window, depth = plane.ellipse(x, y, radius, radius)
        wall, lumen = plane.cover(depth), plane.cover(depth - 1.5)
        covered[window] = np.maximum(covered[window], 0.8 * wall) * (1 - lumen)
        tissue[window] += lumen * (-960 - tissue[window])
    return tissue, covered


def _vessel_tree(
    chest: Chest, hilum: np.ndarray, side: int, rng: np.random.Generator
) -> tuple[np.ndarray, list[tuple[float, float, float]]]:
    """Draw vessels that branch and taper in the plane, with gaps where they leave it, and bronchi beside some.

    Returns lines as :meth:`Plane.tubes` takes them and bronchi as x, y and outer radius.
    """
    roots = int(np.round(np.interp(chest.down, [0, 0.2, 0.45, 0.7, 1], [1, 3, 6, 5, 3])))
    angle = np.linspace(-1.25, 1.25, roots) + rng.normal(0, 0.16, roots)
    start = np.repeat(hilum[None], roots, axis=0)
    radius = rng.uniform(2.0, 3.9, roots) * np.interp(chest.down, [0, 0.3, 0.5, 1], [0.5, 0.75, 1, 0.8])
    lines, bronchi = [], []
    for generation in range(5):
        length = rng.uniform(9, 22, len(angle)) * (0.9**generation) * chest.size
        end = start + length[:, None] * np.stack([side * np.cos(angle), np.sin(angle)], axis=1)
        thinner = radius * rng.uniform(0.72, 0.9, len(angle))
        shown = rng.uniform(size=len(angle)) < (0.8, 0.6, 0.45, 0.36, 0.3)[generation] * min(chest.vessels + 0.1, 1)
        lines.append(np.column_stack([start, end, radius, thinner])[shown])
        if generation == 1:
            for k in np.flatnonzero(rng.uniform(size=len(angle)) < 0.35)[:5]:
                away = np.array([-np.sin(angle[k]) * side, np.cos(angle[k])]) * (1.7 * radius[k] + 1.8)
                bronchi.append((*(start[k] + away), 1.0 * radius[k] + 1.6))
        start, angle, radius = (np.repeat(value, 2, axis=0) for value in (end, angle, thinner))
        turn = rng.uniform(0.15, 0.55, len(angle))
        angle = angle + np.where(np.arange(len(angle)) % 2, turn, -turn)
        radius = np.maximum(radius * rng.uniform(0.62, 0.9, len(angle)), 0.45)
    return np.concatenate(lines), bronchi


def _crossing_vessels(chest: Chest, hilum: np.ndarray, side: int, rng: np.random.Generator) -> np.ndarray:
    """Draw vessels that cross the plane: dots, stretched away from the hilum, smaller towards the pleura."""
    count = int(100 * chest.vessels)
    angle = rng.uniform(-np.pi, np.pi, count)
    distance = 120 * chest.size * np.sqrt(rng.uniform(0, 1, count))
    middle = hilum + distance[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    outward = angle + rng.normal(0, 0.5, count)
    half = np.minimum(rng.exponential(2.2, count), 8)[:, None] * np.stack([np.cos(outward), np.sin(outward)], axis=1)
    radius = (0.45 + 2.2 * np.clip(1 - distance / 85, 0, 1) ** 1.4) * rng.uniform(0.4, 1.4, count)
    return np.column_stack([middle - half, middle + half, radius, 0.85 * radius])
