"""What fills a diseased lung: a nodule, ground glass or consolidation, or fluid behind it."""

from __future__ import annotations

import numpy as np

from ..fields import smooth_noise
from .chest import Chest
from .lungs import without_slivers
from .plane import LEFT, RIGHT, SIDE_NAMES, WATER, Plane, smooth_min


def _sides(rng: np.random.Generator, both: float) -> tuple[tuple[int, ...], str]:
    """Draw the sides of a finding, and return them with their name."""
    pick = rng.uniform()
    if pick < both:
        return (RIGHT, LEFT), "both"
    side = RIGHT if pick < (1 + both) / 2 else LEFT
    return (side,), SIDE_NAMES[side]


def add_nodule(
    plane: Plane, lungs: dict[int, np.ndarray], tissue: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, dict[str, str]]:
    """Add one round lump of soft tissue, 6 to 30 mm across, some with a halo of ground glass."""
    (side, *_), name = _sides(rng, both=0.0)
    radius = rng.uniform(*((3.0, 5.0), (5.2, 9.5), (10.5, 15.0))[int(rng.integers(3))])
    wish, density, halo = smooth_noise(rng, 9), rng.uniform(15, 60), rng.uniform()
    depth = lungs[side]
    # The largest value of a continuous random field, so that rounding cannot move the nodule to another place.
    at = np.unravel_index(np.argmax(wish - 2 * np.maximum(radius + 3 - depth, 0) - 1e3 * (depth <= 0)), depth.shape)
    radius = float(np.clip(0.9 * depth[at], 3.0, radius))
    stretch, turn, lobes = rng.uniform(0.82, 1.0), rng.uniform(0, np.pi), rng.uniform(0, 6.3, 3)
    dx, dy = plane.x - plane.x[at], plane.y - plane.y[at]
    cos, sin = np.cos(turn), np.sin(turn)
    angle = np.arctan2(dy, dx)
    wave = 1 + 0.05 * (np.cos(2 * angle + lobes[0]) + np.cos(3 * angle + lobes[1]) + np.cos(5 * angle + lobes[2]))
    distance = np.hypot(cos * dx + sin * dy, (cos * dy - sin * dx) / stretch) / wave
    if halo < 0.3:
        tissue = tissue + plane.cover(radius - distance) * np.maximum(-560 - tissue, 0)
        tissue = tissue + plane.cover(0.55 * radius - distance) * np.maximum(density - tissue, 0)
    else:
        tissue = tissue + plane.cover(radius - distance) * np.maximum(density - tissue, 0)
    size = "small" if radius < 5.1 else "medium" if radius < 10 else "large"
    return tissue, {"side": name, "size": size}


def add_opacity(
    plane: Plane, lungs: dict[int, np.ndarray], tissue: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, dict[str, str]]:
    """Add patches, mostly below the pleura and at the back: fluid replaces part of the air (ground glass) or all."""
    sides, name = _sides(rng, both=0.45)
    patches = smooth_noise(rng, 7) + 0.5 * smooth_noise(rng, 22) + rng.uniform(0, 0.012) * plane.y
    solid = smooth_noise(rng, 12) + rng.choice([-4.0, -0.5, 0.5])
    rim, glass = rng.uniform(0, 2.5), rng.uniform(-620, -420)
    for side in sides:
        depth = lungs[side]
        score = patches + rim * np.exp(-np.maximum(depth, 0) / 14)
        edge = np.quantile(score[depth > 0], 1 - rng.uniform(0.12, 0.4))
        weight = np.clip((score - edge) / 0.7, 0, 1) * (side * plane.x > 0)
        filled = np.where(solid > 0, np.minimum(solid / 0.5, 1), 0)
        dense = glass + filled * (20 - glass)
        tissue = tissue + weight * np.maximum(dense - tissue, 0)
    return tissue, {"side": name}


def add_effusion(
    plane: Plane, chest: Chest, lungs: dict[int, np.ndarray], rng: np.random.Generator
) -> tuple[dict[int, np.ndarray], dict[str, str]]:
    """Add fluid between lung and ribs: it runs to a lying patient's back, as a crescent, and the lung floats up."""
    sides, name = _sides(rng, both=0.35)
    lungs = dict(lungs)
    top, fluid = rng.uniform(-0.25, 0.3), WATER + rng.uniform(-3, 14)
    for side in sides:
        depth, share = lungs[side], rng.uniform(0.12, 0.4)
        inside = depth > 0
        lowest, highest = np.quantile(plane.y[inside], [0.02, 0.98])
        rise = np.clip((plane.y - lowest) / (highest - lowest) - 0.35 - 0.5 * top, 0.02, 1)
        wall = plane.within(chest.trunk.inner)
        # The crescent's thickness at the back that covers the wanted share of the lung.
        thickness = np.quantile((wall / rise)[inside], share)
        plane.paint(np.where(side * plane.x > 0, depth, -50.0), fluid)
        lungs[side] = without_slivers(smooth_min(depth, wall - thickness * rise, 4.0))
    return lungs, {"side": name}
