"""A slice below the lungs: liver, spleen, kidneys, stomach and bowel in the fat of the belly."""

from __future__ import annotations

import numpy as np

from ..fields import GRID, smooth_noise
from .plane import ANGLES, FAT, LEFT, MUSCLE, RIGHT, Patch, Plane, both_bumps, bump, closed_curve, smooth_min
from .trunk import Trunk, draw_contrast, draw_ribs


def draw_abdomen_trunk(rng: np.random.Generator) -> tuple[Trunk, float]:
    """Draw the wall of the belly, and the level: 0 below the diaphragm, 1 below the kidneys."""
    down, size = float(rng.uniform()), rng.uniform(0.88, 1.12)
    half_width, front, back = 132 * size, 100 * size * rng.uniform(0.8, 1.15), 88 * size
    inner = closed_curve(half_width, front, back, (rng.uniform(2.1, 2.5), 2.4))
    strength, fat = rng.uniform(0.6, 1.2), float(np.exp(rng.normal(np.log(17), 0.5)))
    muscle = inner + 11 + strength * (5 * both_bumps(-78, 7) + 4 * both_bumps(-5, 25) + 16 * both_bumps(73, 10))
    skin = muscle + fat * (0.8 + 0.35 * both_bumps(20, 30) + 0.4 * bump(-90, 40)) + 2.5
    skin += sum(rng.normal(0, 1.8) * np.cos(k * ANGLES + rng.uniform(0, 6.3)) for k in range(2, 6))
    ribs = tuple(rib for rib in draw_ribs(rng, inner, -40) if rng.uniform() < 0.95 - 1.1 * down)
    trunk = Trunk(
        inner=inner,
        muscle=muscle,
        skin=np.maximum(skin, muscle + 4),
        spine_y=0.42 * back,
        spine_radius=19 * size,
        ribs=ribs,
        breast=0.0,
        layers=rng.uniform(1.6, 3.2),
        seam=rng.uniform(0.3, 1.4),
        groups=(-90, -86, *(np.array([-52, 40, 58]) + rng.normal(0, 4, 3)), 90),
        bone_hu=rng.uniform(420, 650),
    )
    return trunk, down


def paint_abdomen(plane: Plane, trunk: Trunk, down: float, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Paint organs from back to front in the fat of the cavity; gas in bowel and stomach is as dark as lung."""
    blood = draw_contrast(rng)
    width, depth = float(trunk.inner.max()) * 0.94, float(trunk.inner[len(ANGLES) // 4])
    scale, back = width / 125, trunk.spine_y
    cavity = plane.within(trunk.inner) - 2.0
    texture = 5 * smooth_noise(rng, 60)
    structures = {name: np.zeros((GRID, GRID), bool) for name in ("liver", "spleen", "kidneys", "aorta")}
    jitter = rng.normal(0, 1, 24)

    def organ(x: float, y: float, x_radius: float, y_radius: float, angle: float, wobble: float) -> np.ndarray:
        """Return the depth below a wavy ellipse within the cavity; x and y relative to its half width and depth."""
        shape = plane.ellipse_depth(x * width, y * depth, x_radius * scale, y_radius * scale, angle)
        return smooth_min(shape + wobble * waves, cavity, 5.0)

    waves = smooth_noise(rng, 7)
    for side in (RIGHT, LEFT):  # psoas and the crura
        plane.paint(plane.ellipse(side * (26 + 6 * down) * scale, back - 2, (8 + 10 * down) * scale, 15 * scale),
                    MUSCLE)  # fmt: skip
    _paint_bowel(plane, cavity, width, depth, down, rng)
    liver_size = np.interp(down, [0, 0.35, 0.8, 1], [1.05, 1.0, 0.62, 0.3])
    if down < 0.85:
        lobe = organ(-0.52, -0.1, 66 * liver_size, 80 * liver_size, 0.15 * jitter[0], 4.0)
        if down < 0.4:
            left_lobe = organ(-0.05, -0.52, 58 * (1 - down), 30, 0.15 + 0.1 * jitter[1], 3.0)
            lobe = -smooth_min(-lobe, -left_lobe, 14.0)
        liver = min(60 + 7 * jitter[2] + 0.38 * (blood["vein"] - 42), 130.0)
        plane.paint(lobe, liver + texture)
        vessels = plane.tubes(_liver_vessels(width, depth, rng))
        plane.hu += vessels * plane.cover(lobe - 6) * (min(blood["vein"], 190.0) - liver - 10)
        structures["liver"] |= lobe > 0
        if down > 0.3 and jitter[3] > -0.3:
            plane.paint(organ(-0.36, -0.5, 13, 19, 0.3, 1.0), 8.0)
    if down < 0.6:
        spleen = organ(0.72, 0.25 + 0.05 * jitter[4], 24, 48 * (1 - 0.7 * down), -0.45, 3.0)
        plane.paint(spleen, min(50 + 0.42 * (blood["artery"] - 44), 150.0) + texture)
        structures["spleen"] |= spleen > 0
    if down < 0.55:
        stomach = organ(0.36, -0.35 + 0.04 * jitter[5], 44, 31 + 6 * jitter[6], 0.35, 5.0)
        plane.paint(stomach, 55.0 + 0.2 * (blood["artery"] - 44))
        plane.paint(stomach - 3.5, 22 + 12 * waves + 60 * (jitter[7] > 1))
        level = (-0.35 - 0.12 + 0.1 * jitter[8]) * depth
        plane.paint(np.minimum(stomach - 3.5, level - plane.y), -990.0)
    for side, name in ((RIGHT, 9), (LEFT, 12)):
        if (0.2 if side == LEFT else 0.28) < down < 0.93:
            _paint_kidney(plane, (side * (0.47 + 0.02 * jitter[name]) * width, back - 4 + 4 * jitter[name + 1]),
                          (22 * scale, 28 * scale), -side * 0.5, blood["artery"], structures)  # fmt: skip
    if 0.12 < down < 0.75:
        pancreas = plane.rod(
            (-30 * scale, back - 46 * scale), (52 * scale, back - 62 * scale + 5 * jitter[15]), 10, 0.7
        )
        plane.paint(Patch(pancreas.window, pancreas.depth + 2.5 * waves[pancreas.window]), 42 + 0.2 * blood["artery"])
    for x, y, radius, kind in (
        (9, -33, 10, "artery"),
        (-20, -32, 11, "vein"),
        (0, -52, 4.5, "vein"),
        (12, -50, 3.5, "artery"),
    ):
        vessel = plane.ellipse(x * scale + jitter[16], back + y * scale, radius, radius * (0.8 if x < 0 else 1.0))
        plane.paint(vessel, blood[kind])
        if (x, kind) == (9, "artery"):
            structures["aorta"] |= plane.inside(vessel)
    return structures


def _paint_kidney(
    plane: Plane,
    centre: tuple[float, float],
    radii: tuple[float, float],
    angle: float,
    blood: float,
    structures: dict[str, np.ndarray],
) -> None:
    """Paint a capsule of fat, bright cortex, darker medulla, and the fat of the sinus that opens towards the spine."""
    inward = -np.sign(centre[0])
    plane.paint(plane.ellipse(*centre, radii[0] + 7, radii[1] + 7, angle), FAT)
    kidney = plane.ellipse(*centre, *radii, angle)
    plane.paint(kidney, 32 + 0.7 * (blood - 44) + 8)
    plane.paint(plane.ellipse(*centre, radii[0] - 7, radii[1] - 7, angle), 34 + 0.35 * (blood - 44))
    sinus = plane.ellipse(centre[0] + 0.45 * inward * radii[0], centre[1] - 2, 0.6 * radii[0], 0.33 * radii[1], angle)
    plane.paint(sinus, -70.0)
    structures["kidneys"] |= plane.inside(kidney)


def _liver_vessels(width: float, depth: float, rng: np.random.Generator) -> np.ndarray:
    """Draw portal and hepatic veins as lines for :meth:`Plane.tubes`."""
    count = 16
    start = np.stack([rng.uniform(-0.85, -0.1, count) * width, rng.uniform(-0.55, 0.35, count) * depth], axis=1)
    angle, length = rng.uniform(0, np.pi, count), rng.uniform(0, 22, count)
    end = start + length[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    radius = rng.uniform(1.0, 3.6, count)
    return np.column_stack([start, end, radius, 0.6 * radius])


def _paint_bowel(
    plane: Plane, cavity: np.ndarray, width: float, depth: float, down: float, rng: np.random.Generator
) -> None:
    """Paint loops of small bowel, then the colon at the flanks and in front: wall, contents, and gas that rises."""
    loops = int(np.round(np.interp(down, [0, 0.4, 1], [3, 13, 22])))
    for k in range(loops + 5):
        colon = k >= loops
        if colon:
            place = ((-0.72, 0.15), (0.74, 0.1), (-0.35, -0.68), (0.1, -0.72), (0.5, -0.58))[k - loops]
            x, y = place + rng.normal(0, 0.05, 2)
            radii = rng.uniform(12, 24, 2)
        else:
            x, y = rng.uniform(-0.65, 0.72), rng.uniform(-0.75, 0.12)
            radii = rng.uniform(8, 15, 2) * (rng.uniform(1.0, 1.9), 1.0)
        angle, content, gas, folds = rng.uniform(-1.2, 1.2), rng.uniform(5, 60), rng.uniform(), rng.uniform(0, 6.3)
        shape = plane.ellipse(x * width, y * depth, radii[0], radii[1], angle)
        turn = np.arctan2(plane.y[shape.window] - y * depth, plane.x[shape.window] - x * width)
        loop = np.minimum(shape.depth + 1.2 * np.cos((5 if colon else 3) * turn + folds), cavity[shape.window])
        plane.paint(Patch(shape.window, loop), 50.0)
        plane.paint(Patch(shape.window, loop - 2.2), content)
        if gas < (0.7 if colon else 0.2):
            level = y * depth + (0.9 - 2.2 * rng.uniform()) * 0.6 * radii.min()
            plane.paint(Patch(shape.window, np.minimum(loop - 2.2, level - plane.y[shape.window])), -985.0)
