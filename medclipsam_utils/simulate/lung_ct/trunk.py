"""What chest and abdomen have in common: the wall of the trunk, its vertebra, and contrast medium in the blood.

The wall is a set of closed curves: skin, fat, muscle with fat planes, ribs cut obliquely. Around it lie air, clothes
and the table.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..fields import smooth_noise
from .plane import ANGLES, FAT, LEFT, MUSCLE, RIGHT, Patch, Plane, bump
from .scanner import Scan


@dataclass(frozen=True)
class Trunk:
    """The wall of chest or abdomen: tables of radius over ANGLES, mm, from inside to outside."""

    inner: np.ndarray  # of the cavity
    muscle: np.ndarray  # outside of the muscles
    skin: np.ndarray
    spine_y: float  # centre of the vertebral body
    spine_radius: float
    ribs: tuple[tuple[float, float, float, float], ...]  # angle, half length, half thickness in mm, slope
    breast: float  # thickness of the breasts, mm; 0 where there are none
    layers: float  # how many layers of muscle the wall has
    seam: float  # half the thickness of the fat between them, mm
    groups: tuple[float, ...]  # angles between the groups of muscles, degrees, on the left; mirrored on the right
    bone_hu: float


def draw_ribs(
    rng: np.random.Generator, inner: np.ndarray, front: float
) -> tuple[tuple[float, float, float, float], ...]:
    """Draw five to seven arcs per side, nearly alike on both; none lies before the angle ``front``, in degrees."""
    ribs = []
    count, start = int(rng.integers(5, 8)), rng.uniform(0, 1)
    for k in range(count):
        degrees = front + (62 - front) * (k + start) / count
        half_length, half_thickness = rng.uniform(9, 27), rng.uniform(3.0, 4.4)
        for side in (RIGHT, LEFT):
            angle = np.deg2rad(degrees + rng.normal(0, 2.5))
            angle = angle if side == LEFT else np.pi - angle
            length = half_length * rng.uniform(0.8, 1.2)
            ribs.append((angle, length, half_thickness, -side * rng.uniform(-1.5, 2.5)))
    return tuple(ribs)


def draw_contrast(rng: np.random.Generator) -> dict[str, float]:
    """Draw None, or medium that is just passing the veins, the lungs or the arteries."""
    phase, dose = int(rng.choice(4, p=[0.4, 0.15, 0.25, 0.2])), rng.uniform(0.75, 1.25)
    arteries, veins, pulmonary = ((44, 42, 43), (150, 420, 330), (300, 260, 210), (150, 145, 148))[phase]
    scale = dose if phase else 1.0
    return {"artery": arteries * scale, "vein": veins * scale, "pulmonary": pulmonary * scale}


def paint_surroundings(plane: Plane, trunk: Trunk, scan: Scan) -> dict[str, np.ndarray]:
    """Paint a table with a bright shell, clothes as faint lines, and the body as skin over fat."""
    outside = -plane.within(trunk.skin)
    if scan.table > 0:
        back = float((trunk.skin * np.sin(ANGLES)).max())
        below = plane.y - back - scan.table + scan.table_curve * plane.x**2
        half_width = 0.9 * float(trunk.skin.max())
        shell = np.minimum(np.abs(below - 12) - 10.5, half_width - np.abs(plane.x))
        plane.paint(np.minimum(12.0 - np.abs(below - 12), half_width - np.abs(plane.x)), -930.0)
        plane.paint(np.minimum(shell, 12.5 - np.abs(below - 12)), 60.0)
        plane.paint(np.minimum(1.6 - np.abs(below - 40), 0.45 * half_width - np.abs(plane.x)), 300.0)
    if scan.clothes > 0:
        folds = scan.clothes * (1 + 0.5 * bump(-120, 14) + 0.8 * bump(-60, 18)) + 3 * np.sin(5 * ANGLES)
        plane.paint(0.8 - np.abs(outside - plane.around(folds)), -820.0)
    plane.paint(-outside, 10.0)
    plane.paint(-outside - 1.8, FAT)
    return {"body": outside < 0}


def paint_trunk(plane: Plane, trunk: Trunk, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Paint fat septa, breast tissue, muscles with fat planes between them, ribs, cavity fat and the vertebra."""
    web = smooth_noise(rng, 40)
    below_skin = plane.within(trunk.skin)
    plane.hu += 9 * web * (below_skin > 2)
    if trunk.breast > 0:
        gland = (web + 1.2 * smooth_noise(rng, 16) - 0.6) * 6
        plane.paint(np.minimum(gland, plane.cover(below_skin - 8) * 8 - 4) - 60 * (plane.y > 0), 30.0)
    outer, inner = plane.within(trunk.muscle), -plane.within(trunk.inner)
    waves = smooth_noise(rng, 12)
    plane.paint(outer, MUSCLE + 5 * web)
    plane.paint(np.minimum(np.minimum(_fat_planes(plane, trunk, inner, waves), inner - 11), outer - 1.5), FAT + 12)
    ribs = _paint_ribs(plane, trunk)
    plane.paint(-inner, FAT + 6 * web)
    return {"ribs": ribs, "vertebra": _paint_vertebra(plane, trunk, rng)}


def _fat_planes(plane: Plane, trunk: Trunk, outward: np.ndarray, waves: np.ndarray) -> np.ndarray:
    """Measure the depth within the fat between muscles: sheets between their layers, and gaps between groups.

    Both are zeros of a sine: of the distance from the cavity (``outward``, mm), and of a phase that counts the groups.
    """
    thickness = np.maximum((trunk.muscle - trunk.inner - 11) / trunk.layers, 5)
    between_layers = np.sin(np.pi * (outward - 11) / plane.around(thickness) + 0.9 * waves)
    between_layers *= plane.around(thickness / np.pi)
    degrees = np.rad2deg(ANGLES)
    mirrored = np.where(np.abs(degrees) > 90, np.sign(degrees) * (180 - np.abs(degrees)), degrees)
    phase = np.interp(mirrored, trunk.groups, np.arange(len(trunk.groups)))
    width = trunk.muscle / np.maximum(np.abs(np.gradient(phase, ANGLES)), 0.5) / np.pi
    between_groups = np.sin(np.pi * plane.around(phase) + 0.02 * outward + 0.5 * waves)
    between_groups *= plane.around(width)
    seam = plane.around(np.minimum(trunk.seam, 0.13 * thickness))  # a thin wall has thin planes
    return seam - np.minimum(np.abs(between_layers), 0.6 * np.abs(between_groups))


def _paint_ribs(plane: Plane, trunk: Trunk) -> np.ndarray:
    """Paint arcs of the rib cage: compact bone around marrow. Ribs run obliquely, so a slice cuts them long."""
    thickness = np.full(ANGLES.shape, -4.0)
    middle = trunk.inner + 7.0
    for angle, half_length, half_thickness, slope in trunk.ribs:
        along = ((ANGLES - angle + np.pi) % (2 * np.pi) - np.pi) * trunk.inner / half_length
        arc = half_thickness * np.sqrt(np.clip(1 - np.abs(along) ** 2.6, 0, 1)) - 4 * (np.abs(along) > 1)
        middle = np.where(arc > thickness, trunk.inner + 7.0 + slope * np.clip(along, -1, 1), middle)
        thickness = np.maximum(thickness, arc)
    depth = plane.around(thickness) - np.abs(plane.radius - plane.around(middle))
    plane.paint(depth, trunk.bone_hu)
    plane.paint(depth - 1.7, 0.35 * trunk.bone_hu)
    return depth > 0


def _paint_vertebra(plane: Plane, trunk: Trunk, rng: np.random.Generator) -> np.ndarray:
    """Paint body, pedicles, laminae, transverse and spinous processes around the canal."""
    y, radius, bone = trunk.spine_y, trunk.spine_radius, trunk.bone_hu
    canal = y + 0.72 * radius + 8
    marrow = 0.32 * bone + 25 * smooth_noise(rng, 56)
    jitter = rng.normal(0, 1, 6)
    span = rng.uniform(20, 36)  # of the transverse processes; a slice between two vertebrae cuts them short
    shapes = [(plane.ellipse(0, y, 1.12 * radius, 0.86 * radius), 1.4)]
    for side, wobble, turn in ((RIGHT, jitter[0], jitter[1]), (LEFT, jitter[2], jitter[3])):
        transverse = (side * (span + 2 * wobble), canal + 11 + 2 * turn)
        shapes += [
            (plane.rod((side * 12, canal - 8), (side * 13.5, canal + 3), 4.2), 1.5),
            (plane.rod((side * 13, canal + 4), (0, canal + 15), 3.8), 1.6),
            (plane.rod((side * 13, canal + 2), transverse, 4.6, 0.9), 1.6),
        ]
    shapes.append((plane.rod((0, canal + 14), (1.5 * jitter[4], canal + 31 + 7 * jitter[5]), 3.6, 0.8), 1.7))
    for shape, _ in shapes:
        plane.paint(shape, bone)
    for shape, cortex in shapes:
        plane.paint(Patch(shape.window, shape.depth - cortex), marrow)
    plane.paint(plane.ellipse(0, canal, 10.5, 8.8), 0.8 * bone)
    plane.paint(plane.ellipse(0, canal, 9.2, 7.6), -20.0)
    plane.paint(plane.ellipse(0, canal, 6.2, 4.8), 38.0)
    return np.logical_or.reduce([plane.inside(shape) for shape, _ in shapes])
