"""The mediastinum: for every level from apex to base, the organs that a slice cuts, as ellipses."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..fields import GRID
from .chest import Chest
from .plane import AIR, FAT, MUSCLE, Patch, Plane


@dataclass(frozen=True)
class Organ:
    """One ellipse of the mediastinum; mm, the angle turns x_radius from the patient's left towards the back."""

    kind: str  # "artery", "vein", "pulmonary", "airway", "gullet", "heart", "chamber", "tissue" or "spine"
    x: float
    y: float
    x_radius: float
    y_radius: float
    angle: float = 0.0
    chamber: str = ""


def draw_mediastinum(chest: Chest, rng: np.random.Generator) -> list[Organ]:
    """Draw the organs that a slice at this level cuts, in the order in which they are painted."""
    down = chest.down
    if down < 0.2:
        organs = _at_the_apex(down)
    elif down < 0.36:
        organs = _at_the_arch(down)
    elif down < 0.54:
        organs = _at_the_carina(down)
    else:
        organs = _at_the_heart(chest)
    placed = []
    for organ in organs:
        (x, y), scale = rng.normal(0, 1.8, 2), rng.uniform(0.9, 1.1)
        x, y = (0.0, 0.0) if organ.kind in ("chamber", "heart", "fat") else (x, y)
        scale = 1.0 if organ.kind in ("chamber", "heart", "fat") else scale
        size = chest.size * scale
        placed.append(
            Organ(
                organ.kind,
                chest.size * organ.x + x,
                chest.half_depth * organ.y / 95 + y,
                size * organ.x_radius,
                size * organ.y_radius,
                organ.angle,
                organ.chamber,
            )
        )
    return placed


def _at_the_apex(down: float) -> list[Organ]:
    """Draw trachea and oesophagus among the great arteries and veins of head and arms."""
    spread = 1 + 1.2 * down
    return [
        Organ("tissue", 0, -30, 33, 32),
        Organ("tissue", 0, 6, 27, 34),
        Organ("vein", -22 * spread, -46, 8, 6.5),
        Organ("vein", 20 * spread, -50, 9, 5.5, 0.4),
        Organ("artery", -14, -32, 6, 6),
        Organ("artery", 14, -22, 4.5, 4.5),
        Organ("artery", 24, -4, 5, 6.5),
        Organ("gullet", 7, 16, 7, 5),
        Organ("airway", -2, -4, 9.5, 9),
    ]


def _at_the_arch(down: float) -> list[Organ]:
    """Draw the arch of the aorta, running from front right to back left beside the trachea."""
    return [
        Organ("tissue", 2, -42, 17, 26),
        Organ("vein", -25, -28, 8.5, 8),
        Organ("artery", 14, -6, 36, 12.5, 1.08),
        Organ("artery", 23, 20, 12, 13),
        Organ("gullet", 5, 22, 7, 5),
        Organ("airway", -7 - 4 * down, -1, 9.5, 9.5),
    ]


def _at_the_carina(down: float) -> list[Organ]:
    """Draw ascending and descending aorta, pulmonary arteries, and the trachea's division."""
    apart = np.interp(down, [0.36, 0.41, 0.54], [0, 10, 27])
    organs = [
        Organ("tissue", 4, -52, 15, 26),
        Organ("tissue", 0, 6, 30, 20),
        Organ("tissue", -34, 8, 10, 15),
        Organ("tissue", 36, 10, 10, 14),
        Organ("pulmonary", -22, -8, 27, 8.5, -0.15),
        Organ("pulmonary", 24, -26, 13, 16, 0.5),
        Organ("pulmonary", 34, -3, 11, 20, -0.45),
        Organ("pulmonary", -42, 6, 8, 11),
        Organ("artery", -10, -30, 15.5, 15.5),
        Organ("vein", -34, -22, 8.5, 9),
        Organ("artery", 24, 39, 12, 12),
        Organ("gullet", 6, 26, 7, 5),
    ]
    if apart < 1:
        return [*organs, Organ("airway", -3, 4, 12, 9)]
    return [
        *organs,
        Organ("airway", -3 - apart, 8, 6 + 0.25 * apart, 7.5, -0.25),
        Organ("airway", -1 + apart, 10, 5 + 0.25 * apart, 6.5, 0.3),
    ]


def _at_the_heart(chest: Chest) -> list[Organ]:
    """Draw the heart with its chambers, descending aorta, oesophagus, lung roots; lower down the inferior vena cava."""
    down, size = chest.down, chest.heart
    long = size * np.interp(down, [0.54, 0.62, 0.72, 0.82, 0.92, 1.0], [48, 57, 63, 60, 50, 40])
    short = size * np.interp(down, [0.54, 0.62, 0.72, 0.82, 0.92, 1.0], [40, 45, 48, 43, 30, 20])
    x = np.interp(down, [0.54, 0.75, 1.0], [13, 25, 26]) + chest.heart_shift
    y = np.interp(down, [0.54, 0.75, 1.0], [-24, -26, -56])
    turn = chest.heart_turn
    organs = [
        Organ("artery", 23, 42, 11.5, 11.5),
        Organ("gullet", 6, 28, 7.5, 5.5),
        Organ("tissue", 4, -62, 14, 24),
    ]
    if down < 0.7:
        organs += [Organ("tissue", -38, 10, 12, 16), Organ("tissue", 42, 12, 10, 14)]
        organs += [Organ("pulmonary", -42, 14, 8, 9), Organ("pulmonary", 46, 14, 7, 8)]
    if down > 0.78:
        organs.append(Organ("vein", -27, -2, 12, 10))
    organs.append(Organ("heart", x, y, long, short, turn))
    organs.append(Organ("fat", x + 0.62 * long, y - 0.35 * long, 0.4 * long, 0.2 * long, turn + 0.9))
    if down < 0.82:  # the right atrium bulges to the right
        organs.append(Organ("heart", x - 0.6 * long, y + 4, 0.34 * long, 0.62 * short, 0.1))
    if down < 0.9:
        cos, sin = np.cos(turn), np.sin(turn)
        chambers = [("artery", 0.30, 0.28, 0.44, 0.36), ("vein", 0.18, -0.45, 0.58, 0.34)]  # ventricles, left and right
        if down < 0.8:
            chambers += [("artery", -0.36, 0.46, 0.42, 0.33), ("vein", -0.62, -0.12, 0.28, 0.44)]  # atria
        if down < 0.66:
            chambers.append(("artery", -0.15, -0.03, 0.24, 0.28))  # root of the aorta
        squeeze = 95 / chest.half_depth * chest.size  # undoes the depth that an organ's y is scaled with
        for blood, along, across, first, second in chambers:
            cx, cy = along * long, across * short
            place = x + cos * cx - sin * cy, y + (sin * cx + cos * cy) * squeeze
            organs.append(Organ("chamber", *place, first * long, second * short, turn, blood))
    return organs


def paint_mediastinum(plane: Plane, chest: Chest, organs: list[Organ]) -> dict[str, np.ndarray]:
    structures = {name: np.zeros((GRID, GRID), bool) for name in ("heart", "aorta", "trachea")}
    blood = chest.contrast
    muscle = MUSCLE + 0.25 * (blood["artery"] - 44)
    for organ in organs:
        shape = plane.ellipse(organ.x, organ.y, organ.x_radius, organ.y_radius, organ.angle)
        if organ.kind in blood:
            plane.paint(shape, blood[organ.kind])
            if organ.kind == "artery" and organ.x_radius > 10:
                structures["aorta"] |= plane.inside(shape)
        elif organ.kind == "heart":
            plane.paint(shape, muscle)
            structures["heart"] |= plane.inside(shape)
        elif organ.kind == "chamber":
            plane.paint(shape, blood[organ.chamber])
        elif organ.kind == "airway":
            plane.paint(Patch(shape.window, shape.depth + 1.8), 35.0)
            plane.paint(shape, AIR)
            structures["trachea"] |= plane.inside(shape)
        elif organ.kind == "gullet":
            plane.paint(shape, 42.0)
        elif organ.kind == "fat":
            plane.paint(shape, FAT)
        else:
            plane.paint(shape, -55.0)
    return structures
