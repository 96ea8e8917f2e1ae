"""Finer maps by moving the image: the mean over views that are shifted by half a patch.

A vision transformer answers patch by patch. A target smaller than a patch, or beside the middle of one, is drawn where
the patch is. Moved by half a patch down, to the right, or both, it falls into other patches; the maps of the views,
moved back and averaged, tell four times as many places apart, at four times the cost. Between the peaks of two views
the mean is level; a blur of a quarter of a patch puts its top in the middle.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
from scipy.ndimage import gaussian_filter

from ..images import Image, batch_of, image_size, pixels_of
from ..models import Clip
from .inputs import Method, Text
from .maps import stretch

#: Down and to the right, in patches.
SHIFTS = ((0.0, 0.0), (0.5, 0.0), (0.0, 0.5), (0.5, 0.5))

# Deviation of the blur, in patches.
_BLUR = 0.25


def moved_views(method: Method) -> Method:
    """Make a method that averages the maps of four views of each image, moved by :data:`SHIFTS`.

    What a move brings into an image repeats its edge, and so does what it leaves of the map. The result is stretched to
    0 … 1 again.
    """

    return partial(_averaged, method)  # not a function in here: that could not travel to another process


def _averaged(method: Method, clip: Clip, images: Image | Sequence[Image], text: Text) -> list[np.ndarray]:
    return _mean(method, clip, batch_of(images), text)


def _mean(method: Method, clip: Clip, images: list[Image], text: Text) -> list[np.ndarray]:
    arrays = [pixels_of(image) for image in images]
    totals = [np.zeros(image_size(image), dtype=np.float32) for image in images]
    for shift in SHIFTS:
        steps = [moved_by(shift, total.shape, clip.grid_size) for total in totals]
        views = [move(array, down, right) for array, (down, right) in zip(arrays, steps, strict=True)]
        for total, found, (down, right) in zip(totals, method(clip, views, text), steps, strict=True):
            total += move(found, -down, -right)
    blurs = [[_BLUR * side / patches for side, patches in zip(t.shape, clip.grid_size, strict=True)] for t in totals]
    return [stretch(gaussian_filter(t, blur, mode="nearest")) for t, blur in zip(totals, blurs, strict=True)]


def moved_by(shift: tuple[float, float], size: tuple[int, int], grid: tuple[int, int]) -> tuple[int, int]:
    """Rows and columns, in pixels of an image of this size, of a shift in patches of the grid."""
    down, right = (round(part * side / patches) for part, side, patches in zip(shift, size, grid, strict=True))
    return down, right


def move(image: np.ndarray, down: int, right: int) -> np.ndarray:
    """Move an array [H, W, …] down and to the right (up and to the left if negative), repeating its edge."""
    height, width = image.shape[:2]
    rows = np.clip(np.arange(height) - down, 0, height - 1)
    columns = np.clip(np.arange(width) - right, 0, width - 1)
    return image[rows[:, None], columns]
