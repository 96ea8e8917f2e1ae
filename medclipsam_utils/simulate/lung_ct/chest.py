"""One chest: its level from apex to base, its build, and the bones of the shoulder girdle and breastbone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from .plane import ANGLES, LEFT, RIGHT, Plane, both_bumps, bump, closed_curve
from .trunk import Trunk, draw_contrast, draw_ribs

_LEVELS = {"apex": (0.02, 0.2), "arch": (0.2, 0.36), "carina": (0.36, 0.54), "heart": (0.54, 0.8), "base": (0.8, 1.0)}


@dataclass(frozen=True)
class Chest:
    """One chest at one level; lengths in mm."""

    level: str
    down: float  # 0 at the apex of the lungs, 1 at their base
    half_width: float  # of the rib cage at this level
    half_depth: float
    size: float  # of the organs, relative to an average adult
    trunk: Trunk
    heart: float  # size relative to the chest
    heart_shift: float  # to the left, mm
    heart_turn: float  # of its long axis, radians
    contrast: dict[str, float]  # HU of the blood in arteries, veins and pulmonary vessels
    vessel_hu: float  # of the vessels in the lung
    vessels: float  # how many of them the slice shows; thin slices and sharp windows show few
    density: float  # HU of the lung halfway from front to back
    gravity: float  # rise of the lung's density towards the back, HU per mm
    core: float  # half the width of the mediastinum where no organ is, mm

    @property
    def shoulders(self) -> float:
        """How much of the beam the shoulders absorb, 0 below them to 1 at the apex."""
        return float(np.interp(self.down, [0.0, 0.25, 0.45], [1.0, 0.8, 0.0]))


def draw_chest(rng: np.random.Generator) -> Chest:
    level = str(rng.choice(list(_LEVELS), p=[0.16, 0.2, 0.22, 0.28, 0.14]))
    down = float(rng.uniform(*_LEVELS[level]))
    size = rng.uniform(0.88, 1.1)
    full_width, full_depth = 132 * size, 132 * size * rng.uniform(0.66, 0.82)
    half_width = full_width * np.interp(down, [0, 0.12, 0.25, 0.45, 0.75], [0.52, 0.68, 0.85, 0.96, 1.0])
    half_depth = full_depth * np.interp(down, [0, 0.12, 0.25, 0.45, 0.75], [0.52, 0.66, 0.82, 0.94, 1.0])
    powers = rng.uniform(1.85, 2.25), rng.uniform(2.2, 2.8)
    inner = closed_curve(half_width, half_depth, 0.98 * half_depth, powers)
    contrast = draw_contrast(rng)
    trunk = _draw_chest_trunk(rng, inner, down, full_width, full_depth, half_depth)
    return Chest(
        level=level,
        down=down,
        half_width=half_width,
        half_depth=half_depth,
        size=size,
        trunk=trunk,
        heart=rng.uniform(0.86, 1.14),
        heart_shift=rng.normal(0, 5),
        heart_turn=rng.uniform(-0.75, -0.2),
        contrast=contrast,
        vessel_hu=0.85 * contrast["pulmonary"] + rng.uniform(-40, 10),
        vessels=rng.uniform(0.25, 1.0),
        density=rng.uniform(-905, -815),
        gravity=rng.uniform(0.1, 0.6),
        core=rng.uniform(3.0, 7.0),
    )


def _draw_chest_trunk(
    rng: np.random.Generator,
    inner: np.ndarray,
    down: float,
    full_width: float,
    full_depth: float,
    half_depth: float,
) -> Trunk:
    """Draw a chest wall: wide at the shoulders; pectoral, latissimus and paraspinal muscles; more fat at the sides."""
    fat = float(np.exp(rng.normal(np.log(9), 0.5)))
    strength = rng.uniform(0.6, 1.3)
    wide = np.interp(down, [0, 0.15, 0.3, 0.45], [1.3, 1.22, 1.07, 1.0])
    deep = np.interp(down, [0, 0.2, 0.4], [0.86, 0.92, 1.0])
    muscle = closed_curve(
        full_width * wide + 11,
        full_depth * deep + 11,
        full_depth * deep + 11,
        (rng.uniform(2.1, 2.7), rng.uniform(2.3, 3.2)),
    )
    shoulders = np.interp(down, [0, 0.2, 0.4, 0.65], [36, 30, 16, 0]) * rng.uniform(0.6, 1.4)
    pectorals = np.interp(down, [0, 0.12, 0.3, 0.5, 0.65], [14, 24, 26, 12, 0]) * strength
    latissimus = np.interp(down, [0.1, 0.3, 0.6, 0.9], [4, 16, 12, 5]) * strength
    muscle += _uneven_bumps(rng, shoulders, 20, 20) + _uneven_bumps(rng, pectorals, -52, 16)
    muscle += _uneven_bumps(rng, latissimus, 20, 12) + _uneven_bumps(rng, 14 * strength, 72, 9)
    muscle += _uneven_bumps(rng, np.interp(down, [0.1, 0.3, 0.5], [0, 14, 0]) * strength, 46, 9)
    muscle -= np.interp(down, [0.1, 0.2, 0.5, 0.65], [0, 10, 10, 0]) * strength * both_bumps(-14, 9)  # the armpits
    muscle -= (5 + 3 * strength) * bump(90, 5)
    muscle = np.maximum(muscle, inner + 13)
    breast: float
    woman, breast = rng.uniform() < 0.4, rng.uniform(14, 56) * np.interp(down, [0.3, 0.5, 0.75, 0.95], [0, 1, 1, 0.3])
    breast = float(breast) if woman else 0.0
    skin = ndimage.gaussian_filter1d(muscle, 6 * len(ANGLES) / 360, mode="wrap")  # fat levels the hollows
    skin += fat * (0.75 + 0.5 * both_bumps(15, 35) + 0.25 * bump(90, 25)) + 2.5
    aside = rng.uniform(0, 1)  # breasts of a patient who lies fall to the sides
    skin += _uneven_bumps(rng, (0.9 - 0.3 * aside) * breast, -58 + 20 * aside, 15)
    skin += _uneven_bumps(rng, 0.5 * breast, -40 + 22 * aside, 17) - rng.uniform(0, 4) * bump(-90, 9)
    skin += sum(rng.normal(0, 2.2) * np.cos(k * ANGLES + rng.uniform(0, 6.3)) for k in range(2, 6))
    skin += sum(rng.normal(0, 0.5) * np.cos(k * ANGLES + rng.uniform(0, 6.3)) for k in range(6, 15))
    skin = np.maximum(skin, muscle + 3)
    spine_radius = 16.5 * full_width / 132 * rng.uniform(0.92, 1.1)
    return Trunk(
        inner=inner,
        muscle=muscle,
        skin=skin,
        spine_y=0.5 * half_depth + 3,
        spine_radius=spine_radius,
        ribs=draw_ribs(rng, inner, -62 if down > 0.2 else -40),
        breast=breast,
        layers=rng.uniform(1.6, 3.2),
        seam=rng.uniform(0.3, 1.4),
        groups=(-90, -80, *(np.array([-20, 4, 38, 60, 78]) + rng.normal(0, 4, 5)), 90),
        bone_hu=rng.uniform(480, 720),
    )


def _uneven_bumps(rng: np.random.Generator, height: float, degrees: float, width: float) -> np.ndarray:
    """Do as :func:`both_bumps` does, with a height in mm, but no two sides of a body are quite alike."""
    scale, turn = rng.uniform(0.75, 1.25, 2), rng.normal(0, 2.5, 2)
    left, right = bump(degrees + turn[0], width), bump(180 - degrees + turn[1], width)
    return height * (scale[0] * left + scale[1] * right)


def paint_shoulders(plane: Plane, chest: Chest, rng: np.random.Generator) -> None:
    """Paint the sternum or clavicles in front; in upper slices the fat of the armpit, scapulae and humeral heads."""
    bone, front = chest.trunk.bone_hu, -chest.half_depth - 9
    jitter = rng.normal(0, 1, 12)
    if chest.down > 0.1:
        width = np.interp(chest.down, [0.1, 0.3, 0.4], [30, 27, 17]) * chest.size
        sternum = plane.ellipse(jitter[0], front, width, 6.5, 0.03 * jitter[1])
        plane.paint_bone(sternum, 1.6, 0.75 * bone, 0.25 * bone)
    if chest.down > 0.3:  # costal cartilage beside the sternum
        for side in (RIGHT, LEFT):
            cartilage = plane.rod((side * 24, front + 1), (side * (52 + 4 * jitter[2]), front + 11), 4.5)
            plane.paint(cartilage, 115.0)
    if chest.down < 0.2:
        for side, wobble in ((RIGHT, jitter[3]), (LEFT, jitter[4])):
            start = (side * 22, front - 9 + wobble)
            end = (side * (78 + 12 * jitter[5]), front - 2 + 4 * wobble)
            plane.paint_bone(plane.rod(start, end, 7.5, 0.75), 2.0, bone, 0.35 * bone)
    if chest.down < 0.52:
        _paint_scapulae(plane, chest, jitter[6:], bone)


def _paint_scapulae(plane: Plane, chest: Chest, jitter: np.ndarray, bone: float) -> None:
    """Paint a thin blade behind the ribs with a thick outer border; higher up its spine and the head of the humerus."""
    raised = float(np.clip(0.5 + 0.5 * jitter[5], 0, 1))  # arms above the head draw the scapulae sideways
    wall = np.interp(np.deg2rad([0, 10, 30, 50, 60]), ANGLES, chest.trunk.inner)
    room = float(np.interp(np.deg2rad(14), ANGLES, chest.trunk.muscle)) - wall[1]

    def behind_ribs(side: int, degrees: float, radius: float) -> tuple[float, float]:
        return side * radius * np.cos(np.deg2rad(degrees)), radius * np.sin(np.deg2rad(degrees))

    for side, wobble, turn in ((RIGHT, jitter[0], jitter[1]), (LEFT, jitter[2], jitter[3])):
        plane.paint(plane.ellipse(side * (wall[0] + 24), -10 + 3 * wobble, 11, 20, -side * 0.3), -95.0)
        medial = behind_ribs(side, 56 + 5 * turn - 14 * raised, wall[3] + 19 + wobble)
        middle = behind_ribs(side, 34 + 5 * turn - 12 * raised, wall[2] + 21 + 3 * raised + wobble)
        tip = behind_ribs(side, 13 + 5 * turn - 12 * raised, wall[1] + float(np.clip(0.55 * room, 20, 48)))
        inner_third = behind_ribs(side, 45 + 5 * turn - 13 * raised, 0.5 * (wall[2] + wall[3]) + 17 + wobble)
        blades = [(medial, inner_third, 3.2, 0.5), (inner_third, middle, 1.7, 1.0), (middle, tip, 1.8, 2.6)]
        for blade in blades:
            plane.paint_bone(plane.rod(*blade), 1.3, bone, 0.45 * bone)
        if chest.down < 0.3:
            spine = behind_ribs(side, 36 + 4 * turn - 12 * raised, wall[2] + 46)
            plane.paint_bone(plane.rod(middle, spine, 2.2, 1.7), 1.4, bone, 0.4 * bone)
        if chest.down < 0.14 and room > 62:
            head = plane.ellipse(tip[0] + side * 25, tip[1] - 8, 20, 22)
            plane.paint_bone(head, 2.2, 0.9 * bone, 0.33 * bone)
