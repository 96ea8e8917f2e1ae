"""Tumours of the brain and its coverings, placed into a slice.

* **Glioma** grows inside the brain, mostly in white matter, with an irregular outline. High-grade ones break the
  blood–brain barrier: a ring or an uneven mass takes contrast agent up around a dead core, and water (oedema) spreads
  along the white matter and leaves the cortex out. Low-grade ones are even, soft-edged and hardly take agent up.
* **Meningioma** grows outside the brain from the dura of skull or falx, smooth and even, takes agent up strongly, often
  with a tail along the dura and with oedema beside it.
* **Pituitary adenoma** grows in the sella and upwards out of it, in the midline, well-defined, at times with a cyst.

A tumour is a relative radius ``u`` in the image (1 on its outline) and tissues with relaxation times of their own; how
bright they are is left to the sequence. It takes a share ``m`` of its area by pushing: a pixel outside shows what lay
at ``sqrt(u^2 - m exp(-(u - 1) / f))`` before, less so towards the skull, which stays.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from ..fields import COLS, GRID, ROWS, ellipse_radius, smooth_noise, wavy_outline
from .signal import Canvas, Tissue
from .slices import Slice

#: Where the pituitary gland lies, in atlas mm.
SELLA = np.array([0.0, 4.0, -33.0])

#: The pixels that a tumour's seat is chosen from: every second row and column.
SEATS = (slice(0, GRID, 2), slice(0, GRID, 2))

_OEDEMA = Tissue(0.84, 1150, 145)
_NECROSIS = Tissue(0.95, 2600, 420)


@dataclass(frozen=True, eq=False)
class Site:
    """A slice of a healthy person as far as it matters for a tumour; arrays [GRID, GRID], shares in [0, 1].

    Attributes:
        view: the slice.
        points: atlas coordinates, float64 [3, GRID, GRID].
        depth: distance from the inside of the skull in mm, negative inside.
        white, brain: share of white matter, of grey or white matter; known in the pixels of SEATS, 0 elsewhere.
        allowed: bool, where a tumour's seat may be.
    """

    view: Slice
    points: np.ndarray
    depth: np.ndarray
    white: np.ndarray
    brain: np.ndarray
    allowed: np.ndarray


@dataclass(frozen=True, eq=False)
class Tumour:
    """A tumour's shape and make-up; arrays [GRID, GRID].

    Attributes:
        radius: relative radius, 1 on the outline.
        centre: row and column.
        size_px: mean radius in pixels.
        edge_px: width of the edge.
        push: m and f of the displacement.
        within: ``"brain"`` (without ventricles), ``"skull"`` or ``"head"``: what the tumour does not leave.
        solid, texture: its tissue and a factor on that tissue's signal.
        core, core_tissue, core_texture: share of a dead or cystic core within the tumour, and what it is made of.
        oedema_mm: how far oedema reaches in white matter; 0 without.
        tail: share of tumour beyond the outline, along the dura.
        attachment: the dura it grows from, ``"skull"`` or ``"falx"``; empty for none.
    """

    radius: np.ndarray
    centre: tuple[float, float]
    size_px: float
    edge_px: float
    push: tuple[float, float]
    within: str
    solid: Tissue
    texture: np.ndarray
    core: np.ndarray
    core_tissue: Tissue
    core_texture: np.ndarray | float
    oedema_mm: np.ndarray | float = 0.0
    tail: np.ndarray | float = 0.0
    attachment: str = ""

    def displaced(self, points: np.ndarray, depth: np.ndarray) -> np.ndarray:
        """Return each pixel's atlas coordinates once the tumour has pushed tissue away, float64 [3, GRID, GRID]."""
        amount, reach = self.push
        span = 1.4 * self.size_px * (1 + 4 * reach)
        where = tuple(slice(int(np.clip(c - span, 0, GRID)), int(np.clip(c + span, 0, GRID))) for c in self.centre)
        radius = np.maximum(self.radius[where], 1e-3)
        square = radius**2 - amount * np.exp(-np.maximum(radius - 1, 0) / reach)
        source = np.sqrt(np.maximum(square, 0.02 * radius**2))
        factor = 1 - (1 - source / radius) * np.clip(-depth[where] / 8, 0, 1)
        row, col = self.centre
        at = row + (ROWS[where] - row) * factor, col + (COLS[where] - col) * factor
        moved = points.copy()
        for old, new in zip(points, moved, strict=True):
            new[where] = ndimage.map_coordinates(old, at, order=1, mode="nearest")
        return moved

    def share(self, within: np.ndarray) -> np.ndarray:
        """Return the share of every pixel that the tumour covers, tail included, given the share of where it may be."""
        inside = np.clip(0.5 + (1 - self.radius) * (self.size_px / self.edge_px), 0, 1)
        return np.maximum(inside, self.tail) * within

    def oedema_share(self, white: np.ndarray, tissue: np.ndarray, pixel_mm: float) -> np.ndarray:
        """Return each pixel's share that is oedema: far along white matter, hardly into cortex, not into fluid."""
        away = np.maximum(self.radius - 1, 0) * (self.size_px * pixel_mm)
        spread = np.clip((self.oedema_mm * (0.25 + 0.75 * white) - away) / 5 + 0.5, 0, 1)
        return spread * (self.oedema_mm > 0) * np.clip(0.15 + white, 0, 1) * tissue

    def paint(self, canvas: Canvas, share: np.ndarray, oedema: np.ndarray) -> None:
        """Paint oedema, then the tumour with its core."""
        canvas.paint(oedema, _OEDEMA)
        signal = canvas.sequence.signal
        tumour = signal(self.solid) * self.texture
        tumour += self.core * (signal(self.core_tissue) * self.core_texture - tumour)
        canvas.signal += share * (tumour - canvas.signal)


def draw_tumour(rng: np.random.Generator, finding: str, site: Site) -> Tumour:
    """Place a tumour of a kind, ``"glioma"``, ``"meningioma"`` or ``"pituitary"``, where such tumours grow."""
    return {"glioma": _glioma, "meningioma": _meningioma, "pituitary": _pituitary}[finding](rng, site)


def _size_mm(rng: np.random.Generator, small: float, middle: float, large: float) -> float:
    return float(np.interp(rng.random(), (0, 0.45, 1), (small, middle, large)))


def _choose(rng: np.random.Generator, area: np.ndarray) -> tuple[int, int]:
    """Choose a pixel of an area at random, among SEATS."""
    rows, cols = np.nonzero(area[SEATS])
    k = int(rng.random() * len(rows))
    return 2 * int(rows[k]), 2 * int(cols[k])


def _unevenness(*fields: np.ndarray, lowest: float = 0.4) -> np.ndarray:
    return np.clip(1 + sum(fields), lowest, 1.8)


def _oedema_reach(rng: np.random.Generator, reach_mm: float, fine: np.ndarray) -> np.ndarray:
    return reach_mm * np.clip(1 + 0.45 * smooth_noise(rng, 9) + 0.15 * fine, 0.1, 1.7)


def _glioma(rng: np.random.Generator, site: Site) -> Tumour:
    size_mm, high_grade = _size_mm(rng, 8, 18, 33), rng.random() < 0.6
    seat = site.allowed & (site.depth < -min(0.55 * size_mm, 12)) & (site.white > 0.35)
    if not seat.any():
        seat = site.allowed & (site.depth < -4) & (site.brain > 0.5)
    row, col = _choose(rng, seat)
    size, stretch = size_mm / site.view.pixel_mm, np.exp(rng.normal(0, 0.18))
    outline = wavy_outline(rng, rng.uniform(0.04, 0.10), 4)
    radius = ellipse_radius(row, col, size / stretch, size * stretch, rng.uniform(-1.5, 1.5), 2, outline)
    lobes, coarse, fine = (smooth_noise(rng, cells) for cells in (12, 24, 56))
    radius = radius * np.exp(rng.uniform(0.04, 0.12) * lobes + rng.uniform(0.03, 0.09) * coarse + 0.03 * fine)
    # The falx parts the hemispheres: neither tumour nor oedema crosses it above the corpus callosum's height.
    x, _, z = site.points
    across = np.maximum(-np.sign(x[row, col]) * x - 1, 0) * (abs(x[row, col]) > 5)
    radius += across * np.clip((z - 4) / 8, 0, 1) / 10
    t1, t2, wet_1, wet_2 = np.exp(rng.normal(0, 0.12, 4))
    if high_grade:
        solid = Tissue(0.84, 1250 * t1, 125 * t2, rng.uniform(0.5, 2.6))
        texture = _unevenness(rng.uniform(0.08, 0.2) * (coarse + 0.6 * lobes), 0.07 * fine)
        rim = rng.uniform(0.10, 0.4) * np.exp(0.5 * coarse + 0.3 * lobes)
        core = np.clip((1 - rim - radius * np.exp(0.2 * lobes)) / rng.uniform(0.12, 0.4) + 0.5, 0, 1)
        core *= rng.uniform(0.6, 1) * (rng.random() < 0.75)
        edge, reach = rng.uniform(1.5, 3.5), rng.uniform(4, 24)
    else:
        solid = Tissue(0.87, 1500 * wet_1, 170 * wet_2, rng.uniform(0, 0.25))
        texture = _unevenness(0.06 * coarse + 0.06 * lobes, 0.03 * fine)
        core = np.zeros((GRID, GRID))
        edge, reach = rng.uniform(3, 8), rng.uniform(0, 8)
    return Tumour(
        radius=radius,
        centre=(row, col),
        size_px=size,
        edge_px=edge,
        push=(rng.uniform(0.15, 0.75), rng.uniform(0.5, 1.1)),
        within="brain",
        solid=solid,
        texture=texture,
        core=core,
        core_tissue=_NECROSIS,
        core_texture=_unevenness(0.2 * fine),
        oedema_mm=_oedema_reach(rng, reach, fine) - 3 * across,
    )


def _meningioma(rng: np.random.Generator, site: Site) -> Tumour:
    size = _size_mm(rng, 7, 17, 31) / site.view.pixel_mm
    x, _, z = site.points
    at_skull = site.allowed & (np.abs(site.depth + 1) < 1.5) & (z > -48)
    at_falx = site.allowed & (np.abs(x) < 1.5) & (site.depth < -3) & (site.depth > -22) & (z > 12)
    falx, side = rng.random() < 0.2 and at_falx.any(), 1 if rng.random() < 0.5 else -1
    row, col = _choose(rng, at_falx if falx else at_skull)
    down, right = _direction(side * x if falx else site.depth, row, col)
    flat = rng.uniform(1.0, 1.5)
    high, wide = size / np.sqrt(flat), size * np.sqrt(flat)
    inward = rng.uniform(0.4, 0.8) * high
    centre = row - inward * down, col - inward * right
    outline = wavy_outline(rng, rng.uniform(0.01, 0.05), 5)
    radius = ellipse_radius(*centre, high, wide, float(np.arctan2(right, -down)), 2, outline)
    if falx and rng.random() < 0.7:  # most stay on their side
        radius = radius + 8 * np.clip(side * x / 4 - 0.2, 0, 1)
    coarse, fine = smooth_noise(rng, 26), smooth_noise(rng, 70)
    reach, has_tail = rng.uniform(0.15, 0.55), rng.random() < 0.7 and not falx
    thick_mm = 2.6 * np.clip(1 - (radius - 1) / reach, 0, 1) ** 1.5 * (radius >= 1)
    tail = np.clip((thick_mm + site.depth) / site.view.pixel_mm + 0.5, 0, 1) * (thick_mm > 0.3) * (site.depth < 0.5)
    return Tumour(
        radius=radius,
        centre=centre,
        size_px=size,
        edge_px=rng.uniform(1.0, 1.8),
        push=(rng.uniform(0.7, 0.95), rng.uniform(0.5, 0.9)),
        within="skull",
        solid=Tissue(0.82, 1050 * np.exp(rng.normal(0, 0.1)), rng.uniform(80, 125), rng.uniform(1.1, 2.8)),
        texture=_unevenness(rng.uniform(0.02, 0.06) * coarse, 0.04 * fine),
        core=np.zeros((GRID, GRID)),
        core_tissue=_NECROSIS,
        core_texture=1.0,
        oedema_mm=_oedema_reach(rng, rng.uniform(3, 16), fine) * (rng.random() < 0.5),
        tail=tail * has_tail,
        attachment="falx" if falx else "skull",
    )


def _direction(field: np.ndarray, row: int, col: int) -> tuple[float, float]:
    """Return the unit vector (rows, columns) along which a field grows, around a pixel."""
    patch = field[max(row - 4, 0) : row + 5, max(col - 4, 0) : col + 5]
    down, right = (float(slope.mean()) for slope in np.gradient(patch))
    length = np.hypot(down, right) + 1e-9
    return down / length, right / length


def _pituitary(rng: np.random.Generator, site: Site) -> Tumour:
    size = _size_mm(rng, 6, 10, 17) / site.view.pixel_mm
    row, col, _ = site.view.locate(SELLA)
    row, col = row + rng.normal(0, 0.12) * size, col + rng.normal(0, 0.12) * size
    outline = wavy_outline(rng, rng.uniform(0.02, 0.07), 5)
    stretch, lean, lift = np.exp(rng.normal(0, 0.12)), rng.normal(0, 0.2), rng.uniform(0.3, 1.0) * size
    if site.view.plane == "axial":
        radius = ellipse_radius(row, col, size / stretch, size * stretch, lean, 2, outline)
    else:  # a waist where the tumour leaves the sella
        row -= 0.35 * lift
        lower = ellipse_radius(row, col, size / stretch, size * stretch, lean, 2, outline)
        radius = np.minimum(
            lower, ellipse_radius(row - lift, col + lean * lift, 0.72 * size, 0.72 * size, 0, 2, outline)
        )
    coarse, fine = smooth_noise(rng, 30), smooth_noise(rng, 70)
    cyst_row, cyst_col = row + rng.normal(0, 0.25) * size, col + rng.normal(0, 0.25) * size
    cyst_height, cyst_width = rng.uniform(0.25, 0.6, 2) * size
    cyst = ellipse_radius(cyst_row, cyst_col, cyst_height, cyst_width, rng.uniform(-1, 1))
    return Tumour(
        radius=radius,
        centre=(row, col),
        size_px=size,
        edge_px=rng.uniform(1.0, 1.8),
        push=(rng.uniform(0.6, 0.95), 0.6),
        within="head",
        solid=Tissue(0.83, 900 * np.exp(rng.normal(0, 0.12)), rng.uniform(80, 130), rng.uniform(0.7, 2.4)),
        texture=_unevenness(rng.uniform(0.03, 0.1) * coarse, 0.04 * fine),
        core=np.clip((1 - cyst - 0.15 * coarse) * 4 + 0.5, 0, 1) * (rng.random() < 0.22),
        core_tissue=Tissue(0.95, rng.uniform(700, 2600), 350),
        core_texture=1.0,
    )
