"""A film without lungs: abdomen and pelvis."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..fields import GRID, smooth_noise
from .bones import add_spine
from .projection import (
    BONE,
    LEFT,
    RIGHT,
    SOFT,
    Frame,
    add_ellipsoid,
    ellipsoid_radius,
    heights,
    hollow_tubes,
    slice_chord,
)


def project_abdomen(rng: np.random.Generator, frame: Frame) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Project an abdomen and pelvis: attenuation, float64 [GRID, GRID], and structures; the origin is at the navel."""
    width, shift, bone = rng.uniform(150, 185), rng.uniform(-90, 70), rng.uniform(1.3, 2.4)
    depth, crest, tilt = rng.uniform(95, 130), rng.uniform(18, 30), rng.uniform(0.45, 0.75)
    y = frame.y + shift
    local = replace(frame, row=frame.row - shift * np.cos(frame.roll) / frame.pixel_mm)
    half = local.profile([-150, -60, 0, 110, 200], [width, 0.96 * width, width, 1.07 * width, 1.05 * width], 25)
    thickness = local.profile([-150, 0, 110, 200], [depth, 1.04 * depth, depth, 0.85 * depth], 20)
    total = SOFT * slice_chord(local.x / half, thickness)
    _add_viscera(total, local, rng, width)
    bend = rng.normal(0, 5) * np.sin(heights() / 110 + rng.uniform(0, 6))
    spine = add_spine(total, local, bend, (-260, 30.0, 20.0), (crest + 45, 38.0, 26.0), 1.25 * bone)
    before = total.copy()
    _add_pelvis(total, local, bone, crest, tilt)
    pelvis = total - before > 0.12 * bone
    ribs = []
    for k, row in enumerate((-215, -185, -150)):
        t = np.linspace(0, 1, 40)
        x = 22 + t * (0.86 - 0.2 * (k == 2)) * width
        points = np.stack([x, row + 75 * t**1.6, -80 + 60 * t], axis=1)
        ribs += [(points * [side, 1, 1], 6.0, 3.6, bone * np.clip((1 - t) / 0.1, 0, 1)) for side in (RIGHT, LEFT)]
    total += hollow_tubes(local, ribs)
    return total, {"spine": spine & (y < crest + 45), "pelvis": pelvis}


def _add_viscera(total: np.ndarray, frame: Frame, rng: np.random.Generator, width: float) -> None:
    """Add organs outlined by fat (liver, spleen, kidneys, psoas, bladder), and gas in the bowel."""
    outlined: list[tuple[tuple[float, ...], tuple[float, ...], float]] = [
        ((-0.5 * width, -135, 20), (0.48 * width, 78, 16), 0.35),
        ((0.62 * width, -150, -20), (30, 48, 12), -0.3),
        ((-62, -62, -40), (28, 54, 9), -0.2),
        ((62, -74, -40), (28, 54, 9), 0.2),
        ((-42, 5, -30), (20, 105, 9), 0.22),
        ((42, 5, -30), (20, 105, 9), -0.22),
        ((0, 165, 20), (42, 30, 16), 0.0),
    ]
    for centre, axes, tilt in outlined:
        centre = tuple(c + rng.normal(0, 5) for c in centre)
        add_ellipsoid(total, frame, centre, axes, SOFT * rng.uniform(0.4, 1.0), tilt)
    t = rng.uniform(0, 1, 34)
    path = np.array([0, 0.22, 0.3, 0.5, 0.7, 0.78, 0.93, 1.0])
    colon_x = np.interp(t, path, np.array([-0.62, -0.66, -0.55, 0.0, 0.58, 0.68, 0.6, 0.05]) * width)
    colon_y = np.interp(t, path, [95, -30, -55, -25, -85, -30, 85, 130])
    small = np.arange(34) % 3 == 0
    x = np.where(small, rng.normal(0, 0.33 * width, 34), colon_x) + rng.normal(0, 6, 34)
    y = np.where(small, rng.normal(25, 45, 34), colon_y) + rng.normal(0, 6, 34)
    size = np.where(small, rng.uniform(6, 12, 34), rng.uniform(9, 20, 34))
    gassy = rng.random(34) < rng.uniform(0.25, 0.95)
    stretch, angle = rng.uniform(1.0, 1.7, 34), rng.uniform(-1.5, 1.5, 34)
    gas = np.zeros((GRID, GRID))
    for k in np.nonzero(gassy)[0]:
        axes = (size[k] * stretch[k], size[k], 0.8 * size[k])
        add_ellipsoid(gas, frame, (x[k], y[k], 20.0), axes, 1.0, angle[k])
    total -= SOFT * 45 * np.tanh(gas / 45) * (1 + 0.12 * smooth_noise(rng, 40))
    total *= 1 + 0.012 * smooth_noise(rng, 7) + 0.008 * smooth_noise(rng, 26)


def _add_pelvis(total: np.ndarray, frame: Frame, bone: float, crest: float, tilt: float) -> None:
    """Add sacrum, iliac wings, hip joints with femoral heads and shafts, and the pubic and ischial rami."""
    extra = (BONE - SOFT) * bone
    sacrum = np.clip(1 - np.abs(frame.y - crest - 92) / 50, 0, 1)
    span = 12 + 38 * np.clip((crest + 142 - frame.y) / 100, 0, 1)
    ripple = 1 + 0.25 * np.cos((frame.y - crest) / 3.6)
    total += extra * 9 * np.clip((span - np.abs(frame.x)) / 9, 0, 1) * np.clip(2.5 * sacrum, 0, 1) * ripple
    for side in (RIGHT, LEFT):
        wing = ((side * 88, crest + 62, -10), (62, 46, 5), side * -tilt)
        add_ellipsoid(total, frame, *wing[:2], extra, wing[2])
        radius = ellipsoid_radius(frame.x, frame.y, wing[0], wing[1], wing[2])
        total += extra * 4.5 * np.exp(-(((radius - 0.95) / 0.055) ** 2)) * (frame.y < crest + 92)
        add_ellipsoid(total, frame, (side * 92, crest + 128, 0), (27, 25, 8), extra, 0.0)
        add_ellipsoid(total, frame, (side * 96, crest + 138, 0), (24, 24, 22), extra * 0.8, 0.0, 3.0)
        add_ellipsoid(total, frame, (side * 126, crest + 156, 0), (34, 16, 14), extra * 0.7, side * 0.6, 3.0)
        add_ellipsoid(total, frame, (side * 150, crest + 160, 0), (15, 22, 12), extra * 0.7, side * -0.5, 2.5)
        add_ellipsoid(total, frame, (side * 146, crest + 245, 0), (16, 95, 14), extra, side * -0.06, 5.0)
        # The pubic and ischial rami run round the obturator foramen.
        where = frame.window(side * 46, crest + 186, 62)
        ring = ellipsoid_radius(frame.x[where], frame.y[where], (side * 46, crest + 186), (31, 27), side * -0.5)
        total[where] += extra * 9 * np.exp(-(((np.sqrt(ring) - 1) / 0.27) ** 2))
