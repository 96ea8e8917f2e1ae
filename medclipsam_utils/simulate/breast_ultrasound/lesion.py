"""A benign or malignant mass: its outline, place and echoes, what lies behind it, and its description."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import ndimage

from ..fields import COLS, GRID, ROWS, bell, texture, wavy_outline
from .probe import Probe
from .tissue import Tissue

_ANGLES = np.linspace(-np.pi, np.pi, 512, endpoint=False)  # the bins of every outline


@dataclass(frozen=True)
class Lesion:
    """A mass on the screen; lengths in pixels, levels in dB.

    ``posterior_db`` is what the mass attenuates more than its surroundings over its whole height: negative for
    enhancement. ``spicules`` float32 [bins] is their strength by angle, ``capsule`` the echo of the smooth wall.
    """

    finding: str
    row: float
    col: float
    row_radius: float
    col_radius: float
    angle: float
    outline: np.ndarray
    level_db: float
    texture_db: float
    strands: float
    haze_db: float
    edge: float
    halo_db: float
    capsule: float
    posterior_db: float
    spicules: np.ndarray
    calcifications: int

    @property
    def reach(self) -> float:
        """An upper bound of the distance of the outline from the centre."""
        return float(self.outline.max() * max(self.row_radius, self.col_radius))

    @property
    def half_height(self) -> float:
        return math.hypot(self.row_radius * math.cos(self.angle), self.col_radius * math.sin(self.angle))

    def radius(self, row: np.ndarray, col: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return normalised radius (1 on the outline), distance from it in pixels (positive outside), and angle bin."""
        cos, sin, bins = math.cos(self.angle), math.sin(self.angle), len(self.outline)
        dx, dy = col - self.col, row - self.row
        u, v = (cos * dx + sin * dy) / self.col_radius, (cos * dy - sin * dx) / self.row_radius
        index = ((np.arctan2(v, u) + np.pi) * (bins / (2 * np.pi))).astype(np.intp) % bins
        radius = np.hypot(u, v) / self.outline.astype(row.dtype)[index]
        return radius, np.hypot(dx, dy) * (1 - 1 / np.maximum(radius, 1e-3)), index

    def ends(self, across: bool) -> tuple[tuple[float, float], tuple[float, float]]:
        """Find the screen positions (row, col) at the ends of the mass's width or (``across``) height, before tilt."""
        points = []
        for turn in (np.pi, 0.0) if not across else (-np.pi / 2, np.pi / 2):
            reach = self.outline[int((turn + np.pi) / (2 * np.pi) * len(self.outline)) % len(self.outline)]
            u, v = reach * self.col_radius * np.cos(turn), reach * self.row_radius * np.sin(turn)
            cos, sin = np.cos(self.angle), np.sin(self.angle)
            points.append((self.row + sin * u + cos * v, self.col + cos * u - sin * v))
        return points[0], points[1]


def draw_lesion(rng: np.random.Generator, finding: str, tissue: Tissue, probe: Probe) -> Lesion:
    """Draw size, place and kind; the place is a share of fat and gland and kept inside the field of view."""
    size = rng.random()
    radius = np.interp(size, (0, 0.3, 0.7, 1), (10.0, 22.0, 42.0, 75.0))
    down, across = rng.uniform(0.15, 1.0), rng.uniform(-0.4, 0.4, 2).sum()
    stretch, upright, tilt = rng.random(), rng.random(), rng.normal(0, 0.16)
    surrounding = float(min(tissue.levels_db[1], tissue.levels_db[2]))
    if finding == "benign":
        cyst = rng.random() < 0.35
        aspect = 1.0 + 0.12 * stretch if upright < 0.22 else 1.3 + 0.9 * stretch
        lobulated = rng.random() < 0.4
        outline = wavy_outline(rng, rng.uniform(0.06, 0.1) if lobulated else rng.uniform(0.01, 0.06), lobes=4)
        kind: dict[str, Any] = {
            "level_db": surrounding - (rng.uniform(12, 24) if cyst else rng.uniform(4, 12)),
            "texture_db": 1.5 if cyst else rng.uniform(1.5, 5),
            "strands": 0.0 if cyst else rng.uniform(0, 1.5),
            "haze_db": 9.0 if cyst else 0.0,
            "edge": rng.uniform(1.0, 4.0),
            "halo_db": rng.uniform(0, 2),
            "capsule": rng.uniform(0.05, 0.5),
            "posterior_db": -(rng.uniform(4, 9) if cyst else rng.uniform(0, 6)),
            "spicules": np.zeros(len(_ANGLES), np.float32),
            "calcifications": 0,
        }
    else:
        aspect = 0.72 + 0.2 * stretch if upright < 0.35 else 1.0 + 0.8 * stretch
        outline = wavy_outline(rng, rng.uniform(0.10, 0.18), 4, int(rng.integers(2, 9)), rng.uniform(0.1, 0.4))
        outline *= wavy_outline(rng, rng.uniform(0.02, 0.05), 16)
        corners, turn = int(rng.integers(3, 7)), rng.uniform(0, 2 * np.pi)
        outline *= 1 + rng.uniform(0, 0.35) * (0.64 - np.abs(np.cos(corners * _ANGLES / 2 + turn)))  # angular
        spiculated, calcified = rng.random() < 0.5, rng.random() < 0.35
        kind = {
            "level_db": surrounding - rng.uniform(5, 14),
            "texture_db": rng.uniform(3, 7.5),
            "strands": rng.uniform(0, 2),
            "haze_db": 0.0,
            "edge": rng.uniform(2.0, 9.0),
            "halo_db": rng.uniform(0, 7),
            "capsule": 0.0,
            "posterior_db": rng.uniform(-1, 15),
            "spicules": _draw_spicules(rng) * spiculated,
            "calcifications": int(rng.integers(4, 13)) * calcified,
        }
    outline /= np.sqrt(np.mean(outline**2))
    high, wide = radius / np.sqrt(aspect), radius * np.sqrt(aspect)
    reach = (outline * np.hypot(wide * np.cos(_ANGLES), high * np.sin(_ANGLES))).max()
    row, col, shrink = _place(tissue, probe, down, across, reach, min(1.0, 1.25 * high / reach))
    return Lesion(finding, row, col, float(high * shrink), float(wide * shrink), float(tilt), outline, **kind)


def _draw_spicules(rng: np.random.Generator) -> np.ndarray:
    """Draw the strength by angle of fine lines that run outwards from the margin."""
    strength = np.zeros(len(_ANGLES))
    for _ in range(int(rng.integers(9, 18))):
        centre, width = rng.uniform(-np.pi, np.pi), rng.uniform(0.02, 0.045)
        distance = np.angle(np.exp(1j * (_ANGLES - centre)))
        strength += rng.uniform(0.5, 1) * np.exp(-0.5 * (distance / width) ** 2)
    return strength.astype(np.float32)


def _place(
    tissue: Tissue, probe: Probe, down: float, across: float, reach: float, flatness: float
) -> tuple[float, float, float]:
    """Find row and column on the screen, and the factor by which the mass must shrink to stay in the field of view."""
    top, bottom = float(tissue.ends[0].mean()) + 0.01, 0.88
    needed = reach * flatness / probe.depth
    shrink = min(1.0, 0.46 * (bottom - top) / needed)
    low, high = top + needed * shrink, bottom - needed * shrink
    target = float(np.interp(down, (0, 1), (top, min(float(tissue.ends[2].mean()), bottom))))
    depth = float(np.clip(target, low, high))
    row, col = probe.to_screen(depth, across)
    # Half of the width in view at the mass's shallow end, where beams of a curved probe are closest together.
    _, left = probe.to_screen(depth - needed * shrink, -1.0)
    _, right = probe.to_screen(depth - needed * shrink, 1.0)
    left, right = max(left, probe.left), min(right, probe.left + probe.width - 1)
    shrink = min(shrink, 0.46 * (right - left) / reach)
    col = np.clip(col, left + reach * shrink + 1, right - reach * shrink - 1)
    return float(row), float(col), float(shrink)


def insert_lesion(
    lesion: Lesion, rng: np.random.Generator, probe: Probe, echo: np.ndarray, specular: np.ndarray, loss: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return echo, mirror-like echo and attenuation of the tissue with the mass in it, float32 [GRID, GRID] each."""
    where, row, col = _nearby(lesion, probe)
    uneven, cloudy, streaky = (texture(rng, *cells)[where] for cells in ((36, 24), (7, 7), (30, 9)))
    before = echo[where], specular[where], loss[where]
    _, distance, index = lesion.radius(row, col)
    outside = np.maximum(distance, 0)
    # The bright surroundings spread into the dark mass, so its echo must end outside of where its edge is seen.
    seen = distance - (0.8 + 0.25 * lesion.edge)
    inside = np.clip(0.5 - seen / lesion.edge + 0.3 * uneven * (lesion.edge > 2), 0, 1)
    size = math.sqrt(lesion.row_radius * lesion.col_radius)

    halo = lesion.halo_db * bell(outside / (0.28 * size + 2)) * np.clip(1 + 0.4 * uneven, 0, 2)
    spicules = lesion.spicules[index] * np.exp(-np.minimum(outside / (0.35 * size), 30)) * (distance > 0)
    grain = 0.5 * uneven + 0.7 * cloudy + lesion.strands * np.maximum(streaky - 0.5, 0)
    content = lesion.level_db + lesion.texture_db * grain
    # Echoes bouncing between the probe and the front wall haze the near part of a mass without echoes of its own.
    if lesion.haze_db:
        near = np.clip((lesion.row - row) / lesion.half_height, 0, 1)
        content += lesion.haze_db * np.exp(np.clip(distance / 5, -30, 0)) * near
    changed_echo = (1 - inside) * (before[0] + halo + 6 * spicules) + inside * content
    mirrors = (1 - inside) * before[1] + 0.25 * spicules
    samples = 2 * lesion.half_height * GRID / probe.depth
    changed_loss = before[2] * (1 - inside) + inside * (lesion.posterior_db / samples)

    if lesion.capsule:  # the wall of a smooth mass reflects like a mirror where it lies across the beam
        upright = ((row - lesion.row) / lesion.row_radius**2) ** 2
        across_beam = upright / (upright + ((col - lesion.col) / lesion.col_radius**2) ** 2 + np.float32(1e-9))
        mirrors += lesion.capsule * bell((distance - 1.5) / 1.3) * across_beam**2 * np.clip(0.7 + 0.5 * uneven, 0, 2)
        # Sound that grazes the curved wall is bent away: thin shadows below both sides.
        changed_loss += 0.5 * bell(distance / 1.5) * ((1 - across_beam) ** 2) ** 2
    for _ in range(lesion.calcifications):
        turn, out = rng.uniform(0, 2 * np.pi), 0.8 * rng.random()
        dy = row - float(lesion.row + out * lesion.row_radius * math.sin(turn))
        dx = col - float(lesion.col + out * lesion.col_radius * math.cos(turn))
        mirrors += rng.uniform(0.4, 1.2) * bell(np.hypot(dy, dx) / 0.95)
    after = echo.copy(), specular.copy(), loss.copy()
    for field, changed in zip(after, (changed_echo, mirrors, changed_loss), strict=True):
        field[where] = changed
    return after


def _nearby(lesion: Lesion, probe: Probe) -> tuple[tuple[slice, slice], np.ndarray, np.ndarray]:
    """Find the part of the beam grid that a mass changes, and where its samples lie on the screen, float32."""
    row, col = probe.to_screen((ROWS[:, :1] + 0.5) / GRID, 2 * (COLS[:1] + 0.5) / GRID - 1)
    reach = lesion.reach + 2.2 * math.sqrt(lesion.row_radius * lesion.col_radius) + 12
    near = (np.abs(row - lesion.row) < reach) & (np.abs(col - lesion.col) < reach)
    rows, cols = (np.flatnonzero(near.any(axis=axis)) for axis in (1, 0))
    where = slice(rows[0], rows[-1] + 1), slice(cols[0], cols[-1] + 1)
    row, col = (np.broadcast_to(place, near.shape)[where].astype(np.float32) for place in (row, col))
    return where, row, col


def lesion_mask(lesion: Lesion, visible: np.ndarray) -> np.ndarray:
    """Mark all pixels inside the outline that are in view and hang together with the centre: the mask."""
    box = tuple(
        slice(int(np.clip(centre - lesion.reach - 2, 0, GRID)), int(np.clip(centre + lesion.reach + 3, 0, GRID)))
        for centre in (lesion.row, lesion.col)
    )
    inside = np.zeros((GRID, GRID), bool)
    inside[box] = lesion.radius(ROWS[box], COLS[box])[0] < 1
    labels, _ = ndimage.label(inside & visible)
    return labels == labels[round(lesion.row), round(lesion.col)]


def describe_lesion(lesion: Lesion, mask: np.ndarray, probe: Probe, expected: np.ndarray) -> dict[str, str]:
    """State what the caption may say, measured on the mask; ``expected`` is grey without the mass, in the beam grid."""
    rows, cols = np.nonzero(mask)
    row, col, share = rows.mean(), cols.mean(), mask.mean()
    depth, beam = probe.to_beam(row, col)
    moments = np.linalg.eigvalsh(np.cov(rows, cols))
    facts = {
        "size": "small" if share < 0.025 else "medium" if share < 0.08 else "large",
        "side": "left" if col < GRID / 3 else "right" if col > 2 * GRID / 3 else "centre",
        "depth": "superficial" if depth < 1 / 3 else "middle" if depth < 2 / 3 else "deep",
    }
    if lesion.finding == "benign":
        facts |= {"shape": "round" if moments[1] < 1.22**2 * moments[0] else "oval", "margin": "smooth"}
    else:
        facts |= {"shape": "irregular", "margin": "spiculated" if lesion.spicules.any() else "irregular"}
    start = (depth + 1.15 * lesion.half_height / probe.depth) * GRID
    stop, column = min(start + 0.15 * GRID, GRID), GRID * (beam + 1) / 2
    if start < 0.9 * GRID:
        half = 0.5 * lesion.col_radius / probe.lateral_scale
        below = expected[round(start) : round(stop), round(max(column - half, 0)) : round(column + half) + 1].mean()
        if lesion.posterior_db <= -3.5 and 0.15 < below < 0.9:
            facts["posterior"] = "enhancement"
        if lesion.posterior_db >= 7 and below > 0.25:
            facts["posterior"] = "shadowing"
    return facts
