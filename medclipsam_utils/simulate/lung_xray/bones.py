"""The bones of a radiograph: ribs, clavicles, shoulders and spine, hollow with a cortex around marrow."""

from __future__ import annotations

import numpy as np

from ..fields import GRID
from .chest import Chest, rib_cage
from .projection import (
    BONE,
    LEFT,
    RIGHT,
    SOFT,
    TRABECULAR,
    Frame,
    add_ellipsoid,
    heights,
    hollow_tubes,
    slice_chord,
)


def rib_tubes(chest: Chest) -> list[tuple]:
    """Make eleven pairs of ribs: tubes along hoops around the chest that descend from the spine to the sternum.

    Seen from the front, the hoop's back half slopes down sideways and its front half slopes down towards the
    middle, where bone turns to cartilage and the shadow fades.
    """
    _, outer = rib_cage(chest)
    tubes = []
    for k in range(11):
        row = chest.height * (-0.505 + 0.093 * k + chest.rib_unevenness * (k - 5) * np.sin(k))
        drop = chest.rib_drop * chest.height / 220 * np.interp(k, [0, 1, 3, 6, 10], [40, 66, 96, 116, 118])
        width = np.interp(row + 0.5 * drop, heights(), outer) + 4
        if k == 0:
            width *= 0.86
        depth = chest.depth * np.interp(k, [0, 3, 8], [45, 85, 105])
        for back in (True, False):
            angle = np.linspace(0.16, 0.5 * np.pi, 40) if back else np.linspace(0.5 * np.pi, 0.8 * np.pi, 40)
            x = width * np.sin(angle)
            y = row + drop * (0.42 * (1 - np.cos(angle)) + 0.16 * np.sin(angle)) - 5 * np.sin(2 * angle)
            z = -depth * np.cos(angle)
            fade = chest.bone * np.clip((0.8 * np.pi - angle) / 0.5, 0, 1) * (1.0 if back else chest.rib_front)
            if not back and k > 6:
                continue
            height = chest.rib_size * (6.2 if back else 6.8)
            for side in (RIGHT, LEFT):
                points = np.stack([side * x, y, z], axis=1)
                tubes.append((points, height, chest.rib_size * 3.8, fade))
    return tubes


def clavicle_tubes(chest: Chest) -> list[tuple]:
    """Make two S-shaped bones from the breastbone to the shoulders."""
    t = np.linspace(0, 1, 50)
    x = 20 + t * (1.18 * chest.half_width - 20)
    y = chest.height * (-0.5 + chest.clavicle_row) + 22 - 44 * t + 7 * np.sin(2 * np.pi * t)
    size = 6.0 + 2.5 * np.abs(2 * t - 1) ** 2
    return [
        (np.stack([side * x, y, np.full_like(t, 60.0)], axis=1), size, 5.0, np.full_like(t, 1.3 * chest.bone))
        for side in (RIGHT, LEFT)
    ]


def add_shoulders(total: np.ndarray, frame: Frame, chest: Chest) -> None:
    """Add scapulae (thin plates with a thick outer border), humeral heads, and arms that hang or are held away."""
    apex, width = -0.5 * chest.height, chest.half_width
    bone = (BONE - SOFT) * chest.bone
    corners = [(chest.scapula - 0.06, 0.10), (1.22, 0.02), (chest.scapula + 0.14, 0.55)]
    corners = [(fx * width, apex + fy * chest.height) for fx, fy in corners]
    tip, socket = corners[2], corners[1]
    t, flat = np.linspace(0, 1, 30), np.zeros(30)
    tubes = []
    for side in (RIGHT, LEFT):
        edges = sorted((side * 0.5 * width, side * 2.5 * width))
        where = frame.strip(*edges)
        x, y = side * frame.x[where], frame.y[where]
        inside = np.full(x.shape, np.inf)
        for (x0, y0), (x1, y1) in zip(corners, corners[1:] + corners[:1], strict=True):
            norm = np.hypot(x1 - x0, y1 - y0)
            np.minimum(
                inside, x * ((y0 - y1) / norm) + (y * ((x1 - x0) / norm) + (x0 * y1 - x1 * y0) / norm), out=inside
            )
        total[where] += bone * 3.4 * np.clip(inside / 5 + 0.5, 0, 1)
        head = (side * 1.36 * width, apex + 0.10 * chest.height, 0.0)
        add_ellipsoid(total, frame, head, (24, 25, 22), bone * 0.9, 0.0, 2.2)
        border = np.stack([side * (tip[0] + t * (socket[0] - tip[0])), tip[1] + t * (socket[1] - tip[1]), flat], axis=1)
        ridge_y = apex + chest.height * (0.10 - 0.13 * t)
        ridge = np.stack([side * width * (chest.scapula + t * (1.3 - chest.scapula)), ridge_y, flat], axis=1)
        tubes += [(border, 4.5, 3.0, 1.1 * chest.bone), (ridge, 4.5, 3.0, 0.7 * chest.bone * np.minimum(4 * t, 1))]
        away = width * (1.36 + 0.5 * chest.arm) + np.maximum(y - head[1], 0) * (0.1 + 0.5 * chest.arm)
        arm = SOFT * slice_chord((x - away - 8) / 46, 42) + bone * 0.5 * slice_chord((x - away) / 12, 9)
        total[where] += np.clip((y - head[1]) / 20, 0, 1) * arm
    total += hollow_tubes(frame, tubes, 1.4)


def add_spine(total, frame: Frame, bend: np.ndarray, top: tuple, bottom: tuple, bone: float) -> np.ndarray:
    """Add vertebral bodies with endplates and discs, pedicles and spinous processes; return the column's shadow.

    Args:
        total: accumulated mu times l, changed in place.
        frame: where the detector sees the body.
        bend: sideways shift of the column by height, mm.
        top, bottom: (height, vertebra plus disc, half-width) at the column's ends, mm; linear in between.
        bone: attenuation relative to an average bone.
    """
    y = heights()
    pitch = np.interp(y, (top[0], bottom[0]), (top[1], bottom[1]))
    half = np.interp(y, (top[0], bottom[0]), (top[2], bottom[2]))
    phase = np.cumsum(0.5 / pitch)
    position = np.abs((phase % 1) - 0.5)  # 0 amid a body, 0.5 amid a disc
    body = np.clip((0.40 - position) / 0.03, 0, 1)
    endplate = np.exp(-(((position - 0.385) / 0.025) ** 2))
    waist = half * (1.0 + 0.22 * (position / 0.5) ** 2 - 0.06)
    inside = (y >= top[0]) & (y <= bottom[0])
    where = frame.strip(
        *(np.array([-1.4, 1.4]) * bottom[2] + 60 * frame.yaw * np.array([-1, 1]) + [bend.min(), bend.max()])
    )
    x = np.abs(frame.x[where] - frame.lookup(bend, where) + 60 * frame.yaw)
    half_field, present = frame.lookup(waist, where), frame.lookup(inside * bone, where)
    filling = (TRABECULAR - SOFT) * (30 * body + 8) + (BONE - SOFT) * 3.0 * endplate
    column = slice_chord(x / half_field, 0.5) * frame.lookup(filling, where)
    near = np.clip((half_field - x) / 1.2 + 0.5, 0, 1) * np.clip((x - half_field + 2.5) / 1.2, 0, 1)
    column += near * frame.lookup((BONE - SOFT) * 2.2 * body, where)
    along = frame.lookup(((phase - 0.10) % 1 - 0.5) * pitch, where)
    pedicle = ((x - 0.62 * half_field) / 4.2) ** 2 + (along / 6.0) ** 2
    column += (BONE - SOFT) * 3.5 * np.exp(-(((pedicle - 0.8) / 0.35) ** 2))
    spinous = (x / 3.5) ** 2 + ((along - 7) / 7.5) ** 2
    column += (BONE - SOFT) * 4.0 * np.clip(1.3 - spinous, 0, 1)
    total[where] += present * column
    shadow = np.zeros((GRID, GRID), bool)
    shadow[where] = (x < half_field) & (present > 0)
    return shadow
