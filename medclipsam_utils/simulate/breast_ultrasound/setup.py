"""What the sonographer chooses: probe, scanner settings and gain."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..fields import COLS, GRID, ROWS, smooth_curve
from .probe import Probe
from .scanner import Scanner


@dataclass(frozen=True)
class Setup:
    """Everything the sonographer and the data set choose; ``gain_db`` [GRID, GRID] lies in the beam grid."""

    probe: Probe
    scanner: Scanner
    gain_db: np.ndarray
    spacing_mm: float
    padding: float
    marks: np.ndarray  # uniform numbers that decide what is burned in, and where


def draw_setup(rng: np.random.Generator) -> Setup:
    probe = _draw_probe(rng)
    reduced = rng.random() < 0.65  # newer scanners average more looks and smooth the speckle
    scanner = Scanner(
        axial=rng.uniform(0.6, 1.0),
        lateral=rng.uniform(1.3, 2.4),
        focus=rng.uniform(0.25, 0.6),
        defocus=rng.uniform(0.4, 1.6),
        looks=int(rng.integers(2, 4)) if reduced else int(rng.integers(1, 4)),
        noise_db=rng.uniform(-68, -46),
        dynamic_range_db=rng.uniform(48, 70),
        smoothing=rng.uniform(0.2, 0.8) * reduced,
        gamma=rng.uniform(0.9, 1.5),
        pedestal=rng.uniform(0.0, 0.12),
    )
    return Setup(
        probe=probe,
        scanner=scanner,
        gain_db=_draw_gain(rng),
        spacing_mm=float(rng.uniform(0.12, 0.2)),
        padding=float(rng.uniform(0.35, 0.65)) * (rng.random() < 0.08) * (probe.kind == "rectangle"),
        marks=rng.random(20),
    )


def _draw_probe(rng: np.random.Generator) -> Probe:
    """Draw a rectangle that fills the picture or leaves bars beside or above and below it; a trapezoid; or a sector."""
    kind = ("rectangle", "trapezoid", "sector")[int(np.searchsorted([0.90, 0.94], rng.random()))]
    framing = ("full", "side bars", "letterbox")[int(np.searchsorted([0.25, 0.65], rng.random()))]
    share, shift, apex, spread = rng.uniform(0.74, 0.98), rng.uniform(0.3, 0.7), rng.random(), rng.random()
    height = GRID * (share if framing == "letterbox" else 1.0)
    width = GRID * (share if framing == "side bars" else 1.0)
    if kind == "rectangle":
        return Probe(kind, shift * (GRID - height), shift * (GRID - width), height, width, np.inf, width / 2)
    if kind == "trapezoid":
        half_face, distance = width * (0.24 + 0.12 * spread), GRID * (0.8 + 1.2 * apex)
        return Probe(kind, shift * (GRID - height), shift * (GRID - width), height, width, distance, half_face)
    half_angle, face = 0.42 + 0.23 * spread, 0.28 + 0.22 * apex
    reach = min(0.97 * GRID / (1 - face * np.cos(half_angle)), 0.99 * GRID / (2 * np.sin(half_angle)))
    height, width = reach * (1 - face * np.cos(half_angle)), 2 * reach * np.sin(half_angle)
    top, left = shift * (GRID - height), (GRID - width) / 2
    return Probe(kind, top, left, height, width, face * reach, half_angle)


def _draw_gain(rng: np.random.Generator) -> np.ndarray:
    """Draw the gain after time-gain compensation, in dB: too little, uneven with depth, or lost at poor contact."""
    depth = ROWS / GRID
    gain = rng.uniform(-20, -11) - rng.uniform(-1, 15) * depth + rng.uniform(0, 1.5) * smooth_curve(rng, 4)[:, None]
    weak, reach, start = rng.random() < 0.4, rng.uniform(6, 18), rng.uniform(0.3, 0.6)
    gain -= weak * reach * np.clip((depth - start) / 0.35, 0, 1)
    lifted, edge, width, side = rng.random() < 0.14, rng.uniform(4, 16), rng.uniform(0.05, 0.3), rng.integers(2)
    from_edge = np.abs(side - (COLS + 0.5) / GRID)
    gain -= lifted * edge * np.clip((width - from_edge) / 0.12 + 0.5, 0, 1) * np.clip(depth / 0.05, 0, 1)
    focus, bump = rng.uniform(0.2, 0.6), rng.uniform(0, 3)
    return gain + bump * np.exp(-0.5 * ((depth - focus) / 0.15) ** 2)
