"""Where the lungs are: inside the ribs, beside the mediastinum, above the domes of the diaphragm.

The outline of the mediastinum towards a lung follows from the widest organ in every row.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from ..fields import largest_component
from .chest import Chest
from .mediastinum import Organ
from .plane import FAT, LEFT, MUSCLE, RIGHT, Plane, smooth_min

_HEIGHTS = np.arange(-250.0, 250.0, 0.5)  # y of the tables that give the mediastinum's width in every row, mm


def lung_depths(plane: Plane, chest: Chest, organs: list[Organ]) -> dict[int, np.ndarray]:
    """Measure the depth below each lung's surface, mm: inside the ribs, beside the mediastinum, above the domes."""
    y, radius = chest.trunk.spine_y, chest.trunk.spine_radius
    canal = y + 0.72 * radius + 8
    spine = [Organ("spine", 0, y, 1.15 * radius, 0.92 * radius), Organ("spine", 0, canal + 14, 38, 18)]
    spine.append(Organ("spine", 0, canal, 23, 18))
    ribs = plane.within(chest.trunk.inner) - 1.0
    rows = np.clip((plane.y - _HEIGHTS[0]) * 2, 0, len(_HEIGHTS) - 1).astype(np.intp)
    lungs = {}
    for side in (RIGHT, LEFT):
        margins = {"airway": 3.2, "tissue": 0.5, "spine": 1.5}
        solid = [organ for organ in organs if organ.kind != "chamber"] + spine
        reaches = [_reach(organ, side) + margins.get(organ.kind, 2.2) for organ in solid]
        reach = ndimage.gaussian_filter1d(np.maximum(np.max(reaches, axis=0), chest.core), 5.0)
        depth = smooth_min(ribs, side * plane.x - reach[rows], 9.0)
        for dome in _domes(chest, side):
            depth = smooth_min(depth, -plane.ellipse_depth(*dome) - 1.0, 5.0)
        lungs[side] = without_slivers(depth)
    return lungs


def _reach(organ: Organ, side: int) -> np.ndarray:
    """Measure how far an organ reaches to one side in every row of ``_HEIGHTS``, mm from the midline; -inf off it."""
    cos, sin = np.cos(organ.angle), np.sin(organ.angle)
    inverse, other = 1 / organ.x_radius**2, 1 / organ.y_radius**2
    xx = cos**2 * inverse + sin**2 * other
    xy = cos * sin * (inverse - other)
    dy = _HEIGHTS - organ.y
    within = xx - dy**2 * inverse * other
    edge = side * organ.x + (-side * xy * dy + np.sqrt(np.maximum(within, 0))) / xx
    return np.where(within > 0, edge, -np.inf)


def _domes(chest: Chest, side: int) -> list[tuple[float, float, float, float, float]]:
    """Return liver and right half of the diaphragm, or the left half: ellipses that grow towards the base."""
    width, depth = chest.half_width, chest.half_depth
    risen = np.sqrt(np.clip((chest.down - (0.75 if side == RIGHT else 0.81)) / 0.25, 0, 1))
    if risen == 0:
        return []
    if side == RIGHT:
        return [(-0.5 * width, -0.2 * depth, (0.06 + 0.5 * risen) * width, (0.05 + 0.82 * risen) * depth, 0.0)]
    return [(0.5 * width, -0.15 * depth, (0.06 + 0.5 * risen) * width, (0.05 + 0.78 * risen) * depth, 0.0)]


def paint_domes(plane: Plane, chest: Chest, rng: np.random.Generator) -> None:
    """Paint what the diaphragm covers: liver on the right; fat, stomach with its gas bubble and spleen on the left."""
    cavity = plane.within(chest.trunk.inner) - 1.0
    liver, spleen = 58 + 0.3 * (chest.contrast["vein"] - 42), 52 + 0.35 * (chest.contrast["artery"] - 44)
    share, gas, full = rng.uniform(0.2, 0.55), rng.uniform(-0.7, 0.9), rng.uniform(0.75, 1.3, 2)
    for dome in _domes(chest, RIGHT):
        plane.paint(np.minimum(plane.ellipse_depth(*dome) + 2, cavity), min(liver, 125.0))
    for x, y, x_radius, y_radius, _ in _domes(chest, LEFT):
        inside = np.minimum(plane.ellipse_depth(x, y, x_radius, y_radius) + 2, cavity)
        plane.paint(inside, MUSCLE)
        plane.paint(inside - 3, FAT)
        plane.paint(
            np.minimum(inside - 2, plane.ellipse_depth(x + 0.35 * x_radius, y + 0.6 * y_radius, 0.6 * x_radius,
                                                       0.5 * y_radius, -0.6)), min(spleen, 140.0))  # fmt: skip
        stomach = plane.ellipse_depth(
            x - 0.1 * full[1] * x_radius,
            y - 0.25 * y_radius,
            0.6 * full[0] * x_radius,
            share * 1.3 * y_radius,
            full[1] - 1,
        )
        stomach = np.minimum(stomach, inside - 3)
        plane.paint(stomach, 45.0)
        plane.paint(stomach - 3, 20.0)
        level = y - 0.25 * y_radius - gas * share * y_radius
        plane.paint(np.minimum(stomach - 3, level - plane.y), -985.0)


def without_slivers(depth: np.ndarray) -> np.ndarray:
    """Keep the largest connected part of a lung; the rest, with its rim of partial volume, becomes tissue around it."""
    depth = np.where((depth > 0) & ~largest_component(depth > 0), -50.0, depth)
    labels, _ = ndimage.label(depth > -1)
    return np.where((depth > -1) & (labels != labels.flat[np.argmax(depth)]), -50.0, depth)
