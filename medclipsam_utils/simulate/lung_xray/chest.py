"""One simulated chest in numbers, and the rib cage that they make."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from .projection import heights


@dataclass(frozen=True)
class Chest:
    """One simulated chest; lengths in mm. The origin lies on the midline, halfway from lung apex to dome."""

    half_width: float  # of the inside of the rib cage
    height: float  # from the lungs' apices to the right dome
    depth: float  # of a lung, front to back, relative to an average one
    fat: float  # thickness of the chest wall
    breast: float  # semi-axis front to back; 0 in men
    lung_density: float  # relative to soft tissue
    heart_ratio: float  # heart width over inner chest width
    heart_right: float  # share of the heart's width to the patient's right of the midline
    heart_angle: float
    heart_shape: tuple[float, float, float]  # short over long axis, thickness over width, mm below the domes
    aorta: tuple[float, float]  # radius of the arch's knob, mm, and how far it unfolds to the left, 0 to 1
    mediastinum: float  # width between the lungs where no organ bulges, relative to an average one
    apex: float  # width of the rib cage's top, relative to an average one
    dome: tuple[float, float]  # height of the domes' tops below the origin, right and left
    dome_bulge: tuple[float, float]  # how far they rise above the angle between dome and chest wall, mm
    dome_peak: tuple[float, float]  # where their tops lie, share of the half width
    dome_tent: tuple[float, float]  # height of their ripples, mm
    rib_drop: float
    rib_unevenness: float
    rib_size: float
    rib_front: float  # density of the ribs' front halves, relative to their backs
    bone: float
    clavicle_row: float
    scapula: float
    arm: float
    gas: np.ndarray  # [3, 5] in [0, 1): place, size and shape of the gas below the left dome
    curve: tuple[float, float]  # scoliosis: amplitude, phase
    detail: int  # seed of vessels and tissue texture


def draw_chest(rng: np.random.Generator) -> Chest:
    height, width = rng.uniform(175, 250), rng.uniform(130, 154)
    female, level = rng.random() < 0.45, rng.normal(8, 8)
    return Chest(
        half_width=width,
        height=height,
        depth=rng.uniform(0.85, 1.1),
        fat=rng.uniform(16, 42),
        breast=rng.uniform(5, 20) * female,
        lung_density=rng.uniform(0.2, 0.36),
        heart_ratio=rng.uniform(0.40, 0.475),
        heart_right=rng.uniform(0.22, 0.38),
        heart_angle=rng.uniform(0.45, 1.1),
        heart_shape=(rng.uniform(0.55, 0.74), rng.uniform(0.23, 0.32), rng.uniform(2, 16)),
        aorta=(rng.uniform(13, 23), rng.random()),
        mediastinum=rng.uniform(0.75, 1.35),
        apex=rng.uniform(0.82, 1.08),
        dome=(height / 2, height / 2 + level),
        dome_bulge=tuple(rng.uniform(34, 74, 2)),
        dome_peak=tuple(rng.uniform(0.36, 0.55, 2)),
        dome_tent=tuple(4 * rng.uniform(-1, 1, 2) ** 3),
        rib_drop=rng.uniform(0.75, 1.3),
        rib_unevenness=rng.uniform(-0.006, 0.006),
        rib_size=rng.uniform(0.85, 1.15),
        rib_front=rng.uniform(0.25, 0.75),
        bone=rng.uniform(0.65, 1.45),
        clavicle_row=rng.uniform(0.02, 0.2),
        scapula=rng.uniform(0.66, 0.95),
        arm=rng.uniform(0, 1),
        gas=rng.random((3, 5)),
        curve=(rng.normal(0, 4), rng.uniform(0, 2 * np.pi)),
        detail=int(rng.integers(0, 2**63)),
    )


def rib_cage(chest: Chest) -> tuple[np.ndarray, np.ndarray]:
    """Return a lung's inner and outer border by height (distance from the midline, mm), tables over ``heights()``.

    The apex is round: the width between the borders grows like a circle's over the first eighth of the height.
    """
    t = heights() / chest.height + 0.5
    outer = np.interp(t, [0, 0.1, 0.25, 0.45, 0.7, 0.9, 1.2, 1.5], [0.60, 0.68, 0.80, 0.90, 0.98, 1.0, 1.0, 0.97])
    outer = 1 - (1 - outer) * (2 - chest.apex) if chest.apex > 1 else outer * np.interp(t, [0, 0.6], [chest.apex, 1])
    inner = chest.mediastinum * np.interp(t, [0, 0.1, 0.25, 0.6, 1.0, 1.3], [0.20, 0.19, 0.16, 0.14, 0.13, 0.16])
    outer, inner = (chest.half_width * ndimage.gaussian_filter1d(table, 30) for table in (outer, inner))
    roundness = np.sqrt(np.clip(1 - (1 - np.clip(t / 0.14, 0, 1)) ** 2, 0, 1))
    apex = inner + 0.46 * (outer - inner)
    return apex + (inner - apex) * roundness, apex + (outer - apex) * roundness
