"""The tissue of a simulated breast as a sonogram sees it: layers that scatter sound, and sheets that reflect it.

Everything lies on the beam grid of :mod:`.sonography`: rows are depth below the probe's face, columns are beams.

* Layers from the probe inwards: skin, subcutaneous fat with lobules, fibroglandular tissue, pectoral muscle, and in
  some images the chest wall (bright, and dark behind) or a rib with its shadow. Each scatters at its own level, with
  patches and streaks.
* Thin sheets (Cooper's ligaments, walls of ducts, fasciae, muscle fibres) reflect like mirrors: bright where they lie
  across the beam and nearly invisible where they run along it.
* Patches of tissue that attenuate more than their surroundings cast soft shadows.

Layers are drawn flat and bent together, so that streaks and fibres follow them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .fields import COLS, GRID, ROWS, _smoother, smooth_curve, smooth_noise


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


def texture(rng: np.random.Generator, rows: int, cols: int) -> np.ndarray:
    """Gaussian random field like ``smooth_noise``, float32, with different correlation lengths down and across."""
    return (_smoother(rows) @ rng.standard_normal((rows, cols)) @ _smoother(cols).T).astype(np.float32)


def bell(x: np.ndarray) -> np.ndarray:
    """``exp(-x ** 2)``, cut off where it underflows, because denormal numbers are slow."""
    return np.exp(-np.minimum(x * x, 30))


def _sheets(field: np.ndarray, width: float) -> np.ndarray:
    """Mirror-like echo of sheets lying on the zero level of a field, 0 to 1: strongest where they cross the beam."""
    down, across = np.gradient(field)
    steep = down * down + across * across + np.float32(1e-8)
    facing = down * down / steep
    return np.exp(-np.minimum(field * field / (width * width * steep), 30)) * facing * facing * facing


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
    levels = rng.uniform((-14, -22, -14, -23, -36), (-4, -13, -6, -14, -25))

    straight = (ROWS + 0.5) / GRID
    tilt, wave, ripple = rng.normal(0, 0.04), rng.uniform(0.005, 0.035), rng.uniform(0.005, 0.014)
    bent = tilt * (2 * COLS / GRID - 1) + wave * smooth_noise(rng, 3) + ripple * smooth_noise(rng, 8)
    bent = straight + np.clip((straight - 0.02) / 0.2, 0, 1) * bent

    edges = (0.01, 0.03, 0.05, 0.01)
    blends = zip(ends, edges, strict=True)
    steps = [np.clip((straight - end) / edge + 0.5, 0, 1).astype(np.float32) for end, edge in blends]
    skin, fat, gland, muscle = (a - b for a, b in zip([1 + 0 * steps[0], *steps[:3]], steps, strict=True))
    echo = levels[0] + sum((levels[k + 1] - levels[k]) * step for k, step in enumerate(steps))
    echo = echo - 30 * np.clip(straight - ends[3], 0, None)  # nothing but reverberation comes back from beyond the ribs

    lobules = texture(rng, int(rng.integers(5, 11)), int(rng.integers(3, 6)))
    ducts = texture(rng, int(rng.integers(14, 26)), int(rng.integers(5, 9)))
    streaks = texture(rng, int(rng.integers(44, 76)), int(rng.integers(14, 32)))
    fibres = texture(rng, int(rng.integers(40, 66)), int(rng.integers(2, 6)))
    stripes = texture(rng, 60, 2)
    patches, wide = texture(rng, 14, 9), texture(rng, 4, 4)
    rough = rng.uniform((1.5, 2.0, 2.0), (3.5, 5.0, 5.0))
    echo = echo + 1.8 * wide + (fat + gland) * (0.4 * rough[1] * fibres) + (0.9 * fat + 2.6 * gland) * patches
    echo = echo + fat * (1.5 * np.tanh(lobules) + rough[0] * streaks) + gland * (2.2 * ducts + rough[1] * streaks)
    echo = echo + muscle * (rough[2] * fibres + 1.5 * streaks) + skin * 3 * stripes + 2.5 * steps[3] * fibres
    broken = np.clip(0.6 + 0.6 * patches, 0, 1.6) * np.clip(0.8 + 0.5 * wide, 0, 1.6)
    strength = rng.uniform((0.3, 0.1, 0.3, 0.3, 0.1), (1.8, 1.0, 1.0, 1.2, 0.7))
    glints = np.clip(streaks - 0.8, 0, None)
    specular = broken * (
        strength[0] * fat * _sheets(np.sin(2.2 * lobules), 1.1)
        + strength[1] * gland * _sheets(np.sin(1.6 * ducts), 0.9)
        + strength[2] * muscle * (_sheets(fibres, 0.9) + 0.6 * np.clip(fibres - 0.7, 0, None))
        + strength[4] * (0.6 * fat + gland + 0.5 * muscle) * glints
    )
    specular += strength[3] * _interfaces(straight, ends, broken)
    shadows = rng.uniform(-0.1, 0.22) * np.clip(texture(rng, 4, 11) - 0.7, 0, None)
    loss = (fat + gland) * (np.maximum(shadows, 0) + rng.uniform(0, 0.05) * texture(rng, 9, 24))
    _add_lobules(rng, echo, specular, straight, ends, max(levels[2] - levels[1], 2.0))
    _add_ribs(rng, echo, specular, loss, straight, ends)
    echo, specular, loss = _bend([echo, specular, loss], bent)
    return Tissue(echo, specular, loss, bent, ends, levels)


def _interfaces(depth: np.ndarray, ends: np.ndarray, broken: np.ndarray) -> np.ndarray:
    """Bright lines where layers meet: both faces of the skin, and the fasciae below fat, gland and muscle."""
    depth, ends = depth.astype(np.float32), ends.astype(np.float32)
    lines = bell((depth - 0.004) / 0.006) + bell((depth - ends[0]) / 0.005)
    for end, strength in zip(ends[1:], (0.35, 0.5, 1.2), strict=True):
        lines += strength * bell((depth - end) / 0.006) * np.clip(broken, 0.1, None)
    return lines


def _add_lobules(rng, echo, specular, depth, ends, step_db) -> None:
    """Up to three islands of fat within the gland, in place: darker than it by ``step_db`` and flatter than a mass."""
    for _ in range(3):
        drawn, across, down = rng.random() < 0.45, rng.uniform(0, 1), rng.uniform(0.15, 0.85)
        half_depth, flatness, edge = rng.uniform(0.02, 0.05), rng.uniform(2.4, 5.0), rng.uniform(0, 0.3)
        if drawn:
            centre = ends[1].mean() + down * (ends[2].mean() - ends[1].mean())
            y, x = (depth - centre) / half_depth, ((COLS + 0.5) / GRID - across) / (flatness * half_depth)
            radius = np.sqrt(x**2 + y**2)
            inside = np.clip((1 - radius) / 0.6 + 0.5, 0, 1)
            echo -= (inside * step_db).astype(np.float32)
            rim = bell((radius - 1) / 0.12) * y**2 / (radius**2 + 1e-6)
            specular *= (1 - 0.6 * inside).astype(np.float32)
            specular += (edge * rim).astype(np.float32)


def _add_ribs(rng, echo, specular, loss, depth, ends) -> None:
    """At times a rib in the muscle, in place: a bright cap that lets hardly any sound through."""
    drawn, across = rng.random() < 0.07, rng.uniform(0.1, 0.9)
    wide, high = rng.uniform(0.10, 0.2), rng.uniform(0.05, 0.08)
    if drawn:
        centre = min(ends[2].mean() + 0.10, 0.9)
        y, x = (depth - centre) / high, ((COLS + 0.5) / GRID - across) / wide
        radius = np.hypot(y, x)
        inside = np.clip(4 * (1 - radius), 0, 1)
        specular *= (1 - inside).astype(np.float32)
        echo -= (10 * inside).astype(np.float32)
        specular += (0.6 * bell((radius - 1) / 0.15) * np.clip(-y, 0, 1) ** 3).astype(np.float32)
        loss += (0.7 * np.clip(4 * (1 - radius), 0, 1)).astype(np.float32)


def _bend(fields: list[np.ndarray], depth: np.ndarray) -> list[np.ndarray]:
    """Show each field at the given depths, float32; linear interpolation along the beam."""
    position = np.clip(GRID * depth - 0.5, 0, GRID - 1.001)
    above = position.astype(np.intp)
    share = (position - above).astype(np.float32)
    upper = above * GRID + np.arange(GRID)
    flat = [np.ascontiguousarray(field, np.float32).ravel() for field in fields]
    return [(1 - share) * field[upper] + share * field[upper + GRID] for field in flat]
