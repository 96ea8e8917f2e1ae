"""Vary an image and its masks: where they lie, how bright they are, and what shapes are pasted into them."""

from __future__ import annotations

import numpy as np
import torch
from scipy.ndimage import gaussian_filter
from torch.nn import functional as F


def draw_view(focus: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw from where the pixels of a view come: float32 [2, 3], in coordinates −1 … 1 of the image.

    A third of the views are as the image is, a third are a little larger or smaller, shifted and turned, and a third
    zoom in on ``focus`` (bool [H, W], not empty), where the borders of a small lesion can be seen. Half are mirrored.
    """
    mirror = np.diag([rng.choice([-1.0, 1.0]), 1.0])
    choice = rng.random()
    if choice < 1 / 3:
        return _affine(mirror, np.zeros(2))
    centre, extent = _extent(focus)
    zoom = rng.uniform(0.8, 1.25) if choice < 2 / 3 else rng.uniform(1.2, 2.5)
    zoom = max(min(zoom, 1 / (1.1 * extent)), 0.8)
    if zoom > 1:
        slack = max(1 / zoom - extent, 0)
        middle = np.clip(centre + rng.uniform(-slack, slack, 2), 1 / zoom - 1, 1 - 1 / zoom)
    else:
        middle = rng.uniform(-0.1, 0.1, 2)
    angle = rng.uniform(-0.25, 0.25) if rng.random() < 0.5 else 0.0
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    stretch = np.diag(np.exp(rng.uniform(-0.12, 0.12, 2)))
    return _affine(turn @ stretch @ mirror / zoom, middle)


def warp(planes: np.ndarray, view: np.ndarray) -> np.ndarray:
    """Show planes float32 [C, H, W] by ``view``, a matrix of :func:`draw_view`; bilinear, 0 outside of the image."""
    batch = torch.from_numpy(np.ascontiguousarray(planes, dtype=np.float32))[None]  # [1, C, H, W]
    grid = F.affine_grid(torch.from_numpy(view)[None], list(batch.shape), align_corners=False)
    return F.grid_sample(batch, grid, mode="bilinear", align_corners=False)[0].numpy()


def vary_intensity(pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Vary gamma, contrast, brightness, sharpness and noise, each in a part of the draws; float32 in 0 … 255."""
    pixels = pixels.astype(np.float32)
    if rng.random() < 0.6:
        pixels = 255 * (pixels / 255) ** np.float32(np.exp(rng.uniform(-0.4, 0.4)))
        pixels = pixels * np.float32(rng.uniform(0.75, 1.25)) + np.float32(rng.uniform(-20, 20))
    if rng.random() < 0.15:
        pixels = gaussian_filter(pixels, rng.uniform(0.4, 1.2))
    if rng.random() < 0.25:
        pixels = pixels + np.float32(rng.uniform(1, 10)) * rng.standard_normal(pixels.shape, dtype=np.float32)
    return np.clip(pixels, 0, 255)


def draw_shape(rng: np.random.Generator, size: int) -> np.ndarray:
    """Draw a random shape as the signed distance from its edge, float32 [size, size] in about pixels, inside positive.

    An ellipse or something between a diamond and a rectangle, whose radius swells and shrinks with the angle.
    """
    y, x = np.mgrid[0:size, 0:size].astype(np.float32)
    centre = rng.uniform(0.12 * size, 0.88 * size, 2)
    radii = np.exp(rng.uniform(np.log(0.025 * size), np.log(0.2 * size))) * np.exp(rng.uniform(-0.4, 0.4, 2))
    turn = rng.uniform(0, np.pi)
    u = (np.cos(turn) * (x - centre[0]) + np.sin(turn) * (y - centre[1])) / radii[0]
    v = (np.cos(turn) * (y - centre[1]) - np.sin(turn) * (x - centre[0])) / radii[1]
    power = rng.choice([1.3, 2.0, 2.0, 4.0])
    radius = (np.abs(u) ** power + np.abs(v) ** power) ** (1 / power)
    angle = np.arctan2(v, u)
    edge = np.ones_like(angle)
    wobble = rng.choice([0.0, 0.06, 0.14])
    for waves in range(2, 9):
        edge += wobble * rng.standard_normal() / np.sqrt(waves) * np.cos(waves * angle + rng.uniform(0, 2 * np.pi))
    return ((np.clip(edge, 0.5, 1.6) - radius) * np.sqrt(radii[0] * radii[1])).astype(np.float32)


def paste_shape(pixels: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Paste a random shape: returns the image with it, float32 [H, W], and the shape's mask, bool [H, W]."""
    distance = draw_shape(rng, pixels.shape[0])
    softness = rng.uniform(0.3, 2.0)
    opacity = 1 / (1 + np.exp(np.clip(-distance / softness, -30, 30)))
    grain = gaussian_filter(rng.standard_normal(pixels.shape, dtype=np.float32), rng.uniform(0.5, 2.5))
    grain *= rng.uniform(0, 25) / grain.std()
    pixels = pixels.astype(np.float32)
    if rng.random() < 0.5:
        content = rng.uniform(5, 250) + grain
    else:
        content = pixels + rng.choice([-1, 1]) * rng.uniform(20, 100) + 0.3 * grain
    return np.clip(pixels * (1 - opacity) + content * opacity, 0, 255).astype(np.float32), distance > 0


def _affine(matrix: np.ndarray, middle: np.ndarray) -> np.ndarray:
    return np.concatenate([matrix, middle[:, None]], axis=1).astype(np.float32)


def _extent(mask: np.ndarray) -> tuple[np.ndarray, float]:
    """Find the centre [2] of the mask's box as (x, y), and half of its longer side, in coordinates −1 … 1."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    low, high = np.array([columns[0], rows[0]]), np.array([columns[-1], rows[-1]]) + 1
    return (low + high) / mask.shape[0] - 1, float((high - low).max()) / mask.shape[0]
