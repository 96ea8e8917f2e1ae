"""The inside of the skull: brain, fluid, vessels and membranes, painted from the sampled tissue maps.

The template's probabilities become one person's tissue by thresholds that a random field shifts, so that sulci are
crisp, and wide or narrow as the person's age asks. On top comes what the template lacks: dura and falx, venous sinuses,
arteries and veins, choroid plexus, the pituitary gland with its stalk, and what is common in healthy people and looks a
little like disease: bright vessels, small patches in the white matter and a bright seam along the ventricles.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..fields import COLS, GRID, ROWS, smooth_noise
from .signal import Canvas, Tissue
from .slices import Bodies
from .template import CHANNELS, sample_tissue

#: White matter that has lost some of its myelin, as in the patches and the seam.
_WORN = Tissue(0.78, 900, 115)

#: Bodies at the base of the brain: (centre, half-axes, tissue), in the order of painting.
_BASE = (
    ((0, -1, -21), (15, 14, 9), "fluid"),  # suprasellar cistern
    ((12, 4, -35), (4, 9, 6), "vein"),  # cavernous sinus
    ((0, 4, -36), (9, 6, 5), "pituitary"),
    ((0, 2, -27), (1.4, 1.6, 7), "pituitary"),  # stalk
    ((0, 8, -20), (9, 4, 2), "white matter"),  # optic chiasm
    ((13, 5, -33), (2.6, 4, 5), "artery"),  # internal carotid
    ((18, 2, -19), (9, 2, 2), "artery"),  # middle cerebral
    ((0, -15, -28), (2, 2, 14), "artery"),  # basilar
    ((0, -58, 2), (2.2, 16, 3), "vein"),  # straight sinus
)


@dataclass(frozen=True, eq=False)
class Matter:
    """How one person's brain differs from the template; textures are [GRID, GRID] of unit variance."""

    sulci: float  # fluid probability above which a pixel is fluid
    ventricles: float  # the same in the ventricles; a lower one makes them larger
    ribbon: float  # white-matter probability that separates grey from white
    folds: np.ndarray  # [2, GRID, GRID], shift the thresholds
    grain: np.ndarray  # unevenness of the tissue
    spots: np.ndarray  # [n, 3] in [0, 1): place, size and shape of patches in white matter
    patch: float  # how worn they are; 0 for none
    seam: float  # how worn the seam along the ventricles is
    vessels: float  # how many vessels in the sulci are seen


def draw_matter(rng: np.random.Generator) -> Matter:
    age = rng.random()
    return Matter(
        sulci=0.42 - 0.2 * age + rng.normal(0, 0.02),
        ventricles=rng.uniform(0.25, 0.6) - 0.15 * age,
        ribbon=rng.uniform(0.42, 0.58),
        folds=np.stack([smooth_noise(rng, 26), smooth_noise(rng, 64)]),
        grain=0.6 * smooth_noise(rng, 44) + 0.5 * smooth_noise(rng, 110) + 0.6 * smooth_noise(rng, 12),
        spots=rng.random((9, 3)),
        patch=rng.uniform(0.3, 1) * (rng.random() < 0.25 + 0.5 * age),
        seam=rng.uniform(0, 1) * (0.3 + 0.7 * age),
        vessels=rng.uniform(0.3, 1.0),
    )


@dataclass(frozen=True, eq=False)
class Shares:
    """Share of every pixel that a tissue has, over the window ``where``, [rows, cols] in [0, 1]."""

    where: tuple[slice, slice]
    inside: np.ndarray  # of the hull
    white: np.ndarray
    fluid: np.ndarray
    ventricles: np.ndarray
    beside: np.ndarray  # next to the ventricles

    def whole(self, values: np.ndarray) -> np.ndarray:
        """Put values of the window on the whole grid, 0 outside."""
        grid = np.zeros((GRID, GRID), values.dtype)
        grid[self.where] = values
        return grid

    def masks(self) -> dict[str, np.ndarray]:
        """Return masks ``"brain"``, ``"white matter"``, ``"grey matter"`` and ``"ventricles"``, bool [GRID, GRID]."""
        inside, fluid, white = self.inside > 0.5, self.fluid > 0.5, self.white > 0.5
        masks = {
            "brain": inside & ~fluid,
            "white matter": inside & ~fluid & white,
            "grey matter": inside & ~fluid & ~white,
            "ventricles": inside & fluid & (self.ventricles > 0.3),
        }
        return {name: self.whole(mask) for name, mask in masks.items()}


def tissue_shares(
    points: np.ndarray, hull: np.ndarray, matter: Matter, thickness_mm: float, where: tuple[slice, slice]
) -> Shares:
    """Find the tissue of one person in the pixels of a window.

    Args:
        points: atlas coordinates, float64 [3, GRID, GRID], warped.
        hull: distance from the hull in mm, float64 [GRID, GRID].
        matter: the person.
        thickness_mm: of the slice; a thick one mixes tissues across it, which is imitated by softer thresholds.
        where: the window.
    """
    inside = np.clip(0.5 - hull[where], 0, 1)
    sampled = sample_tissue(points[:, where[0], where[1]].reshape(3, -1))
    grey, white, fluid, near = sampled.reshape(len(CHANNELS), *inside.shape)
    coarse, fine = matter.folds[:, where[0], where[1]]
    ventricles = fluid * np.clip(5 * near - 0.7, 0, 1)
    fluid = np.maximum(1 - grey - white - 0.12, fluid)  # beyond the template's brain there is fluid too
    threshold = matter.sulci + (matter.ventricles - matter.sulci) * np.minimum(3 * ventricles, 1)
    softness = 0.8 + 0.1 * thickness_mm
    return Shares(
        where=where,
        inside=inside,
        white=np.clip((white + 0.05 * fine - matter.ribbon) * (1.9 / softness) + 0.5, 0, 1),
        fluid=np.clip((fluid + 0.07 * coarse + 0.04 * fine - threshold) / (0.22 * softness) + 0.5, 0, 1),
        ventricles=ventricles,
        beside=np.minimum(2 * near, 1),
    )


def paint_brain(canvas: Canvas, shares: Shares, matter: Matter) -> None:
    """Paint grey and white matter, what is worn in it, and fluid."""
    where, inside = shares.where, shares.inside
    grain = 1 + 0.03 * matter.grain[where]
    canvas.paint(inside, "grey matter", where, grain)
    canvas.paint(inside * shares.white, "white matter", where, grain)
    canvas.paint((0.6 * matter.seam) * inside * shares.beside * shares.white, _WORN, where)
    if matter.patch:
        _paint_patches(canvas, shares.whole(shares.white * inside), matter)
    canvas.paint(inside * shares.fluid, "fluid", where)


def _paint_patches(canvas: Canvas, white: np.ndarray, matter: Matter) -> None:
    rows, cols = np.nonzero(white[::2, ::2] > 0.85)
    for place, size, shape in matter.spots if len(rows) else ():
        k = int(place * len(rows))
        row, col = 2 * rows[k], 2 * cols[k]
        where = tuple(slice(max(c - 9, 0), c + 10) for c in (row, col))
        away = np.hypot((ROWS[where] - row) / (0.7 + 0.6 * shape), COLS[where] - col)
        canvas.paint(matter.patch * np.clip((1.2 + 3 * size**2 - away) / 1.5 + 0.5, 0, 1) * white[where], _WORN, where)


def paint_vessels(bodies: Bodies, shares: Shares, depth: np.ndarray, matter: Matter) -> None:
    """Paint dura, falx, venous sinuses, vessels in the sulci, choroid plexus, and the bodies at the base.

    Args:
        bodies: canvas, slice and warped coordinates.
        shares: the tissue painted so far.
        depth: distance from the inside of the skull in mm, negative inside, float64 [GRID, GRID].
        matter: the person.
    """
    canvas, where = bodies.canvas, shares.where
    x, y, z = bodies.points[:, where[0], where[1]]
    depth, fine = depth[where], matter.folds[1][where]
    canvas.paint(0.7 * np.clip(1.2 - np.abs(depth + 0.6), 0, 1), "dura", where)
    falx = np.clip(1.1 - np.abs(x) / 0.8, 0, 1) * np.clip((z + 0.35 * y - 8) / 5, 0, 1) * np.clip(depth / 10 + 4, 0, 1)
    canvas.paint(0.65 * falx * shares.inside, "dura", where)
    specks = np.clip((fine - 2.0 + 1.2 * matter.vessels) / 0.5, 0, 1) * (shares.ventricles < 0.2)
    canvas.paint(0.8 * shares.inside * shares.fluid * specks, "vein", where)
    sagittal = (
        np.hypot(x / 4.5, (depth + 1.5) / 3.2) + np.clip((-8 - z) / 4, 0, 9) + np.clip((y + 0.3 * z - 45) / 8, 0, 9)
    )
    transverse = np.hypot((z + 14 - 0.1 * y) / 4.5, (depth + 1.5) / 3.2) + np.clip((y + 32) / 6, 0, 9)
    for sinus in (sagittal, transverse):
        canvas.paint(np.clip((1 - sinus) * 2.5, 0, 1), "vein", where)
    atria = np.clip((-14 - y) / 8, 0, 1) * (np.hypot((np.abs(x) - 20) / 14, (z - 6) / 16) < 1)
    plexus = atria * np.clip(2 * shares.ventricles - 0.4, 0, 1) * np.clip(fine, 0, 1)
    canvas.paint(plexus, "plexus", where)
    for centre, axes, tissue in _BASE:
        bodies.pair(centre, axes, tissue, 1.6)
