"""The drawing board of the simulators: coordinates, random fields and outlines on one 256 x 256 grid.

All geometry is float64, so that a mask does not depend on how a processor rounds float32; textures may be float32.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from scipy import ndimage

#: Side of the grid that every simulator draws on, in pixels. Other sizes are resampled from it.
GRID = 256

#: Row and column of every pixel centre, float64 [GRID, GRID]. Rows grow downwards, columns to the right of the image.
ROWS, COLS = np.mgrid[0:GRID, 0:GRID].astype(np.float64)
ROWS.setflags(write=False)
COLS.setflags(write=False)


@dataclass(frozen=True)
class Streams:
    """Independent random generators of one sample.

    The streams are separate so that the same seed with another finding keeps its anatomy and its acquisition: a
    counterfactual pair, equal but for the finding. Never draw a lesion from ``anatomy`` or the other way round, and
    draw the same count of numbers from ``anatomy`` and ``acquisition`` whatever the finding is.
    """

    anatomy: np.random.Generator
    lesion: np.random.Generator
    acquisition: np.random.Generator


@dataclass(frozen=True)
class Drawing:
    """What a simulator returns.

    Attributes:
        grey: float [GRID, GRID] in [0, 1].
        mask: bool [GRID, GRID], the target; all False where the target is absent.
        structures: every other structure that is visible, by name, bool [GRID, GRID] each.
        attributes: what a caption may state, by kind, for example ``{"side": "left", "size": "small"}``.
        spacing_mm: distance between neighbouring rows and between neighbouring columns.
    """

    grey: np.ndarray
    mask: np.ndarray
    structures: dict[str, np.ndarray] = field(default_factory=dict)
    attributes: dict[str, str] = field(default_factory=dict)
    spacing_mm: tuple[float, float] = (1.0, 1.0)


@lru_cache(maxsize=64)
def _smoother(cells: int) -> np.ndarray:
    """Interpolate ``cells`` random numbers to GRID positions by a Gaussian, float64 [GRID, cells], unit variance."""
    centres = (np.arange(cells) + 0.5) * GRID / cells
    distance = (np.arange(GRID)[:, None] + 0.5 - centres) / (GRID / cells)
    weights = np.exp(-0.5 * (distance / 0.75) ** 2)
    weights /= np.sqrt((weights**2).sum(axis=1, keepdims=True))
    weights.setflags(write=False)
    return weights


def smooth_noise(rng: np.random.Generator, cells: int) -> np.ndarray:
    """Draw a Gaussian random field, float64 [GRID, GRID], mean 0, variance 1, correlation length about GRID / cells."""
    weights = _smoother(int(cells))
    return weights @ rng.standard_normal((cells, cells)) @ weights.T


def texture(rng: np.random.Generator, rows: int, cols: int) -> np.ndarray:
    """Draw a random field like :func:`smooth_noise`, float32, with different correlation lengths down and across."""
    return (_smoother(rows) @ rng.standard_normal((rows, cols)) @ _smoother(cols).T).astype(np.float32)


def smooth_curve(rng: np.random.Generator, cells: int) -> np.ndarray:
    """Draw a Gaussian random curve, float64 [GRID], mean 0, variance 1, correlation length about GRID / cells."""
    return _smoother(int(cells)) @ rng.standard_normal(cells)


def bell(x: np.ndarray) -> np.ndarray:
    """Compute ``exp(-x ** 2)``, cut off where it underflows, because denormal numbers are slow."""
    return np.exp(-np.minimum(x * x, 30))


def blur(image: np.ndarray, sigma: float | tuple[float, float]) -> np.ndarray:
    """Blur by a Gaussian, cut off at 2.5 sigma; sigma in pixels, (rows, columns) where they differ."""
    return ndimage.gaussian_filter(image, sigma, truncate=2.5)


def wavy_outline(
    rng: np.random.Generator,
    roughness: float,
    lobes: int = 6,
    spicules: int = 0,
    spicule_length: float = 0.0,
    bins: int = 512,
) -> np.ndarray:
    """Draw the outline of a lesion or an organ: relative radius by angle, float64 [bins] over [-pi, pi), around 1.

    Args:
        rng: source of randomness; draws a count of numbers fixed by the arguments.
        roughness: amplitude of the waves; 0 gives a circle.
        lobes: highest number of waves around the outline.
        spicules: how many narrow spikes.
        spicule_length: mean length of a spike relative to the radius.
        bins: number of angles.
    """
    angles = np.linspace(-np.pi, np.pi, bins, endpoint=False)
    outline = np.ones(bins)
    for waves in range(2, lobes + 1):
        amplitude, phase = rng.normal(), rng.uniform(0, 2 * np.pi)
        outline += roughness * amplitude / np.sqrt(waves) * np.cos(waves * angles + phase)
    for _ in range(spicules):
        centre, width, length = rng.uniform(-np.pi, np.pi), rng.uniform(0.05, 0.14), rng.uniform(0.4, 1.0)
        distance = np.angle(np.exp(1j * (angles - centre)))
        outline += spicule_length * length * np.exp(-0.5 * (distance / width) ** 2)
    return np.clip(outline, 0.45, 2.2)


def ellipse_radius(
    row: float,
    col: float,
    row_radius: float,
    col_radius: float,
    angle: float = 0.0,
    power: float = 2.0,
    outline: np.ndarray | None = None,
) -> np.ndarray:
    """Measure the normalised radius in a (super)ellipse, float64 [GRID, GRID]: below 1 inside, 1 on the outline.

    Args:
        row, col: centre, in pixels.
        row_radius, col_radius: half-axes before the rotation, in pixels.
        angle: rotation in radians, from columns towards rows.
        power: 2 for an ellipse, more for a boxier shape.
        outline: relative radius by angle from :func:`wavy_outline`.
    """
    cos, sin = np.cos(angle), np.sin(angle)
    dx, dy = COLS - col, ROWS - row
    u = (cos * dx + sin * dy) / col_radius
    v = (cos * dy - sin * dx) / row_radius
    radius = np.hypot(u, v) if power == 2 else (np.abs(u) ** power + np.abs(v) ** power) ** (1 / power)
    if outline is not None:
        bins = len(outline)
        radius = radius / outline[((np.arctan2(v, u) + np.pi) * (bins / (2 * np.pi))).astype(np.intp) % bins]
    return radius


def largest_component(mask: np.ndarray) -> np.ndarray:
    """Keep the largest connected part (sharing edges) of a bool mask; an empty mask stays empty."""
    labels, count = ndimage.label(mask)
    if count < 2:
        return mask
    return labels == 1 + np.argmax(np.bincount(labels.ravel())[1:])
