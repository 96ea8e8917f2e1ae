"""What takes the place of air in a diseased lung: filled alveoli, or pleural fluid."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..fields import GRID, smooth_noise
from .chest import Chest
from .lungs import Lung
from .projection import LEFT, RIGHT

_SIDES = {"right": (RIGHT,), "left": (LEFT,), "both": (RIGHT, LEFT)}


def add_opacity(rng: np.random.Generator, chest: Chest, lungs: dict[int, Lung]) -> tuple[np.ndarray, dict[str, str]]:
    """Return the path length through filled in place of aerated lung, mm, float64 [GRID, GRID], with side and zone.

    Four patterns: patches, consolidation along the chest wall, a lobe with a straight border, and ground glass, which
    is faint and wide and mostly bilateral.
    """
    pattern = str(rng.choice(["patchy", "peripheral", "lobar", "ground glass"], p=[0.3, 0.25, 0.15, 0.3]))
    bilateral = {"patchy": 0.5, "peripheral": 0.75, "lobar": 0.0, "ground glass": 0.85}[pattern]
    one_side = str(rng.choice(["left", "right"]))
    side = "both" if rng.random() < bilateral else one_side
    zone = str(rng.choice(["upper", "middle", "lower"], p=[0.25, 0.3, 0.45]))
    row = chest.height * ({"upper": -0.29, "middle": 0.02, "lower": 0.36}[zone] + rng.uniform(-0.02, 0.02))
    spread = chest.height * rng.uniform(0.12, 0.18)
    centre, radius = rng.uniform(-0.4, 0.6, 2), rng.uniform(0.45, 0.85, 2)
    level = rng.uniform(0.35, 0.6) if pattern == "ground glass" else rng.uniform(0.6, 0.95)
    fissure = 1 if zone == "upper" else -1  # the straight border is the lower one of an upper lobe
    clouds, grain = 0.8 * smooth_noise(rng, 9) + 0.6 * smooth_noise(rng, 17), smooth_noise(rng, 30)
    strength, shift = rng.uniform(0.65, 1.0, 2), rng.normal(0, 0.04 * chest.height, 2)
    fluid = np.zeros((GRID, GRID))
    for sign in _SIDES[side]:
        lung, k = lungs[sign], int(sign == LEFT)
        y = (lung.y - row - shift[k]) / spread
        cloud = clouds[lung.where]
        if pattern == "lobar":
            straight = np.clip((1.0 - fissure * (y + 0.25 * lung.across)) / 0.12, 0, 1)
            weight = straight * np.clip(2.0 + fissure * y + 0.4 * cloud, 0, 1)
        elif pattern == "ground glass":
            weight = np.exp(-0.5 * y * y) * np.clip(0.85 + 0.3 * cloud, 0, 1.2)
        else:
            outwards = lung.across - centre[k] if pattern == "patchy" else np.minimum(lung.across - 0.95, 0)
            near = np.exp(-0.5 * (y * y + (outwards / radius[k]) ** 2))
            patches = np.clip(1.9 * near + 0.95 * cloud * np.sqrt(near) - 0.6, 0, 1)
            weight = np.maximum(patches, 0.45 * near)
        fluid[lung.where] += np.clip(strength[k] * level * weight * (1 + 0.13 * grain[lung.where]), 0, 0.97) * lung.air
    return fluid, {"side": side, "zone": zone}


def add_effusion(
    rng: np.random.Generator, chest: Chest, lungs: dict[int, Lung]
) -> tuple[dict[int, Lung], np.ndarray, dict[str, str]]:
    """Add pleural fluid: it lies lowest, climbs the chest wall as a meniscus and fills the angle of wall and dome.

    Returns:
        The lungs above the fluid, the path length through fluid in mm, and the side.
    """
    side = str(rng.choice(["left", "right", "both"], p=[0.35, 0.35, 0.3]))
    amounts, rises, edge = rng.uniform(0.0, 1.0, 2), rng.uniform(16, 42, 2), rng.uniform(7, 16)
    fluid, above = np.zeros((GRID, GRID)), dict(lungs)
    for sign, top, amount, rise in zip((RIGHT, LEFT), chest.dome, amounts, rises, strict=True):
        if sign not in _SIDES[side]:
            continue
        lung = lungs[sign]
        level = top - 2 - chest.height * 0.42 * amount**1.5
        surface = level - rise * np.clip(0.35 + 0.65 * lung.across, 0, 1) ** 2
        share = np.clip((lung.y - surface) / edge + 0.5, 0, 1)
        fluid[lung.where] += share * lung.air
        above[sign] = replace(lung, air=lung.air * (1 - share), field=lung.field & (lung.y < surface))
    return above, fluid, {"side": side}
