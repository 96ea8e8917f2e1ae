"""The tissue of a simulated breast as a sonogram sees it: layers that scatter sound, and sheets that reflect it.

Everything lies on the beam grid of :mod:`.scanner`: rows are depth below the probe's face, columns
are beams.

* Layers from the probe inwards: skin, subcutaneous fat with lobules, fibroglandular tissue, pectoral muscle, and in
  some images the chest wall (bright, and dark behind) or a rib with its shadow. Each scatters at its own level, with
  patches and streaks.
* Thin sheets (Cooper's ligaments, walls of ducts, fasciae, muscle fibres) reflect like mirrors: bright where they lie
  across the beam and nearly invisible where they run along it.
* Patches and strands of tissue that attenuate more than their surroundings cast shadows.
* Islands of fat and ducts within the gland are dark, so that a dark spot alone does not make a mass.

Layers are drawn flat and bent together, so that streaks and fibres follow them.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np

from ..fields import COLS, GRID, ROWS, bell, smooth_curve, smooth_noise, texture

DEPTH = (ROWS + 0.5) / GRID  # of every sample below the probe's face, 0 to 1, float64 [GRID, GRID]


@dataclass(frozen=True)
class Tissue:
    """The breast on the beam grid.

    Attributes:
        echo_db: level of the diffuse echo in dB, float32 [GRID, GRID].
        specular: amplitude of the mirror-like echo, float32 [GRID, GRID].
        loss_db: attenuation beyond what is compensated, in dB per sample, float32 [GRID, GRID].
        depth: depth of every sample before the layers were bent, 0 to 1 and a little beyond, float64 [GRID, GRID].
        ends: depth where skin, fat, gland and muscle end on every beam, float64 [4, GRID]; above 1 if out of view.
        levels_db: mean level of skin, fat, gland, muscle and what lies behind, float64 [5].
    """

    echo_db: np.ndarray
    specular: np.ndarray
    loss_db: np.ndarray
    depth: np.ndarray
    ends: np.ndarray
    levels_db: np.ndarray


def draw_tissue(rng: np.random.Generator) -> Tissue:
    """Draw a breast: thickness, shape and levels of its layers, their texture, and what lies within them."""
    chest_wall = rng.random() < 0.45
    thickness = rng.uniform((0.02, 0.05, 0.15, 0.12), (0.05, 0.30, 0.45, 0.30))
    bends = rng.uniform((0.0, 0.005, 0.01, 0.005), (0.004, 0.03, 0.05, 0.02))
    frays = np.array([0, 0.006, 0.015, 0.004]) * rng.uniform(0.3, 1.5)
    pairs = zip(bends, frays, strict=True)
    curves = np.stack([bend * smooth_curve(rng, 4) + fray * smooth_curve(rng, 18) for bend, fray in pairs])
    ends = np.maximum.accumulate(np.cumsum(thickness)[:, None] + curves, axis=0)
    ends[3] += 0 if chest_wall else 1.5
    levels = rng.uniform((-14, -24, -14, -24, -38), (-4, -13, -6, -14, -25))
    layers = _layers(ends)

    tilt, wave, ripple = rng.normal(0, 0.04), rng.uniform(0.005, 0.035), rng.uniform(0.005, 0.014)
    bent = tilt * (2 * COLS / GRID - 1) + wave * smooth_noise(rng, 3) + ripple * smooth_noise(rng, 8)
    bent = DEPTH + np.clip((DEPTH - 0.02) / 0.2, 0, 1) * bent

    echo, specular = _scatter(rng, levels.astype(np.float32), layers)
    echo -= 30 * np.maximum(DEPTH - ends[3], 0).astype(np.float32)  # only reverberation comes from beyond the ribs
    specular += np.float32(rng.uniform(0.3, 1.2)) * _interfaces(ends, rng)
    loss = (layers["fat"] + layers["gland"]) * _uneven_loss(rng)
    _add_lobules(rng, echo, specular, ends, max(levels[2] - levels[1], 2.0))
    _add_ducts(rng, echo, specular, ends)
    _add_rib(rng, echo, specular, loss, ends)
    echo, specular, loss = _bend([echo, specular, loss], bent)
    return Tissue(echo, specular, loss, bent, ends, levels)


def _layers(ends: np.ndarray) -> dict[str, np.ndarray]:
    """Return the share of each layer in every sample, float32 [GRID, GRID]; neighbours blend into each other."""
    blends = zip(ends, (0.01, 0.03, 0.05, 0.01), strict=True)
    steps = [np.clip((DEPTH - end) / edge + 0.5, 0, 1).astype(np.float32) for end, edge in blends]
    shares = [np.float32(1) - steps[0], *(above - below for above, below in itertools.pairwise(steps)), steps[3]]
    return dict(zip(("skin", "fat", "gland", "muscle", "beyond"), shares, strict=True))


def _scatter(
    rng: np.random.Generator, levels: np.ndarray, layers: dict[str, np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Draw the diffuse echo's level in dB and the mirror-like echo's amplitude, float32 [GRID, GRID] each."""
    skin, fat, gland, muscle, beyond = layers.values()
    lobules = texture(rng, int(rng.integers(4, 9)), int(rng.integers(3, 6)))
    ducts = texture(rng, int(rng.integers(14, 26)), int(rng.integers(5, 9)))
    ligaments = texture(rng, int(rng.integers(9, 22)), int(rng.integers(4, 10)))
    streaks = texture(rng, int(rng.integers(44, 90)), int(rng.integers(12, 30)))
    fibres = texture(rng, int(rng.integers(36, 66)), int(rng.integers(2, 6)))
    patches, wide = texture(rng, 14, 9), texture(rng, 4, 4)
    rough = rng.uniform((1.5, 2.0, 2.0, 1.0), (4.0, 5.5, 5.5, 3.5)).astype(np.float32)

    echo = sum(level * share for level, share in zip(levels, layers.values(), strict=True))
    echo += 1.8 * wide + skin * (2 * streaks)
    echo += fat * (rough[3] * np.tanh(2 * lobules) + rough[0] * streaks + 0.9 * patches)
    echo += gland * (2.6 * patches + 2.2 * ducts + rough[1] * (streaks + 0.4 * fibres))
    echo += muscle * (rough[2] * fibres + 1.5 * streaks) + 2.5 * beyond * fibres

    strength = rng.uniform((0.3, 0.1, 0.1, 0.3, 0.2), (2.0, 1.0, 1.6, 1.5, 1.2)).astype(np.float32)
    broken = np.clip(0.6 + 0.6 * patches, 0, 1.6) * np.clip(0.8 + 0.5 * wide, 0, 1.6)
    specular = strength[0] * fat * _sheets(np.sin(2.2 * lobules), 1.1)
    specular += strength[1] * gland * _sheets(np.sin(1.6 * ducts), 0.9)
    specular += strength[2] * (fat + 0.6 * gland) * _sheets(ligaments, 0.6) * np.clip(0.5 + lobules, 0, 1.5)
    specular += strength[3] * muscle * (_sheets(fibres, 0.6) + 0.6 * np.clip(fibres - 0.7, 0, None))
    specular += strength[4] * (0.6 * fat + gland + 0.5 * muscle) * np.clip(streaks - 0.9, 0, None)
    specular *= broken
    return echo, specular


def _sheets(field: np.ndarray, width: float) -> np.ndarray:
    """Return mirror-like echoes of sheets on the zero level of a field, 0 to 1: strongest where they cross the beam."""
    down, across = np.gradient(field)
    down *= down
    across *= across
    across += down
    across += np.float32(1e-8)
    facing = down / across
    across *= np.float32(width * width)
    return np.exp(-np.minimum(field * field / across, 30)) * facing * facing * facing


def _uneven_loss(rng: np.random.Generator) -> np.ndarray:
    """Draw attenuation in dB per sample: patches and strands that shadow what lies below them, float32 [GRID, GRID]."""
    soft, sharp = rng.uniform(-0.1, 0.22), rng.uniform(-0.3, 0.3)
    loss = np.float32(max(soft, 0)) * np.clip(texture(rng, 4, 11) - 0.7, 0, None)
    loss += np.float32(max(sharp, 0)) * np.clip(texture(rng, 10, 34) - 1.5, 0, None)
    loss += np.float32(rng.uniform(0, 0.05)) * texture(rng, 9, 24)
    return loss


def _interfaces(ends: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw bright lines where layers meet: both faces of the skin, and the fasciae below fat, gland and muscle."""
    depth, ends = DEPTH.astype(np.float32), ends.astype(np.float32)
    broken = np.clip(0.7 + 0.7 * texture(rng, 5, 12), 0.1, 1.8)
    lines = bell((depth - 0.004) / 0.006) + bell((depth - ends[0]) / 0.005)
    for end, strength in zip(ends[1:], (0.35, 0.5, 1.2), strict=True):
        lines += strength * bell((depth - end) / 0.006) * broken
    return lines


def _add_lobules(rng, echo, specular, ends, step_db) -> None:
    """Add up to four islands of fat within the gland, in place: darker than it and mostly flatter than a mass."""
    for _ in range(4):
        drawn, across, down = rng.random() < 0.5, rng.uniform(0, 1), rng.uniform(0.1, 0.9)
        half_depth, flatness, edge = rng.uniform(0.02, 0.06), rng.uniform(1.8, 5.0), rng.uniform(0, 0.4)
        deeper = rng.uniform(0.7, 1.4)
        if drawn:
            centre = ends[1].mean() + down * (ends[2].mean() - ends[1].mean())
            where, y, x = _around(centre, across, half_depth, flatness * half_depth)
            radius = np.sqrt(x**2 + y**2)
            inside = np.clip((1 - radius) / 0.6 + 0.5, 0, 1)
            echo[where] -= inside * np.float32(deeper * step_db)
            rim = bell((radius - 1) / np.float32(0.12)) * y**2 / (radius**2 + np.float32(1e-6))
            specular[where] *= 1 - np.float32(0.6) * inside
            specular[where] += np.float32(edge) * rim


def _add_ducts(rng, echo, specular, ends) -> None:
    """Add up to three ducts or veins in the gland, in place: thin, nearly black tubes with two bright walls."""
    for _ in range(3):
        drawn, across, down = rng.random() < 0.3, rng.uniform(0, 1), rng.uniform(0.05, 0.95)
        half_depth, length, bend = rng.uniform(0.006, 0.014), rng.uniform(0.04, 0.16), rng.normal(0, 0.02)
        dark, wall = rng.uniform(5, 14), rng.uniform(0, 0.5)
        if drawn:
            centre = ends[1].mean() + down * (ends[2].mean() - ends[1].mean())
            where, y, x = _around(centre, across, 0.06, length)
            y = (y * np.float32(0.06) - np.float32(bend) * (x**2 - 1)) / np.float32(half_depth)
            ending = np.clip(4 - 4 * np.abs(x), 0, 1)
            echo[where] -= np.float32(dark) * np.clip(1.5 - np.abs(y), 0, 1) * ending
            specular[where] += np.float32(wall) * bell((np.abs(y) - np.float32(1.6)) / np.float32(0.5)) * ending


def _add_rib(rng, echo, specular, loss, ends) -> None:
    """Add a rib in the muscle at times, in place: a bright cap that lets hardly any sound through."""
    drawn, across = rng.random() < 0.07, rng.uniform(0.1, 0.9)
    wide, high = rng.uniform(0.10, 0.2), rng.uniform(0.05, 0.08)
    if drawn:
        where, y, x = _around(min(ends[2].mean() + 0.10, 0.9), across, high, wide)
        radius = np.sqrt(x**2 + y**2)
        inside = np.clip(4 * (1 - radius), 0, 1)
        specular[where] *= 1 - inside
        echo[where] -= 10 * inside
        specular[where] += np.float32(0.6) * bell((radius - 1) / np.float32(0.15)) * np.clip(-y, 0, 1) ** 3
        loss[where] += np.float32(0.7) * inside


def _around(
    depth: float, across: float, half_depth: float, half_width: float
) -> tuple[tuple[slice, slice], np.ndarray, np.ndarray]:
    """Find the samples near a point of the flat tissue, and their offsets in units of the two half sizes, float32.

    All lengths are shares of the depth or of the width of the grid.
    """
    spans = ((depth, half_depth), (across, half_width))
    rows, cols = (
        slice(*(int(np.clip(GRID * (middle + sign * 1.6 * half), 0, GRID)) for sign in (-1, 1)))
        for middle, half in spans
    )
    y = ((np.arange(GRID)[rows, None] + 0.5) / GRID - depth) / half_depth
    x = ((np.arange(GRID)[None, cols] + 0.5) / GRID - across) / half_width
    return (rows, cols), y.astype(np.float32), x.astype(np.float32)


def _bend(fields: list[np.ndarray], depth: np.ndarray) -> list[np.ndarray]:
    """Show each field at the given depths, float32; linear interpolation along the beam."""
    position = np.clip(GRID * depth - 0.5, 0, GRID - 1.001)
    above = position.astype(np.intp)
    share = (position - above).astype(np.float32)
    upper = above * GRID + np.arange(GRID)
    flat = [np.ascontiguousarray(field, np.float32).ravel() for field in fields]
    return [(1 - share) * field[upper] + share * field[upper + GRID] for field in flat]
