"""Draw prompts from a mask, as a person or a saliency map might give them: a box, points, or both.

Coordinates are pixels, x before y. A point is the index of its pixel. A box (x0, y0, x1, y1) holds the columns x0 to
x1 − 1 and the rows y0 to y1 − 1, so that ``mask[y0:y1, x0:x1]`` is the *filled box*: the baseline of a box prompt.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from medclipsam_utils.visual_prompts import box_of

BOX, LOOSE_BOX, ONE_POINT, POINTS, BOX_AND_POINT = "box", "loose box", "one point", "points", "box and point"
KINDS = (BOX, LOOSE_BOX, ONE_POINT, POINTS, BOX_AND_POINT)
LOOSENESS = (0.05, 0.1, 0.2, 0.35)


@dataclass(frozen=True, eq=False)
class Prompts:
    """Hold K prompts of one kind on one image.

    Attributes:
        boxes: float32 [K, 4], or None.
        points: float32 [K, P, 2], or None.
        labels: int64 [K, P], 1 on the target and 0 beside it; None without points.
    """

    boxes: np.ndarray | None = None
    points: np.ndarray | None = None
    labels: np.ndarray | None = None


def draw_prompts(kind: str, masks: np.ndarray, inside: np.ndarray, rng: np.random.Generator) -> Prompts:
    """Draw a prompt for each mask.

    Args:
        kind: one of :data:`KINDS`.
        masks: bool [K, H, W], none empty.
        inside: bool [K, H, W], where points of the target may lie; a part of ``masks``, none empty.
    """
    if kind in (BOX, LOOSE_BOX):
        return Prompts(boxes=np.stack([_any_box(kind, mask, rng) for mask in masks]))
    if kind == ONE_POINT:
        points = np.stack([points_in(part, 1, rng) for part in inside])
        return Prompts(points=points, labels=np.ones(points.shape[:2], dtype=np.int64))
    if kind == POINTS:
        return _many_points(masks, inside, rng)
    if kind == BOX_AND_POINT:
        points = np.stack([points_in(part, 1, rng) for part in inside])
        boxes = np.stack([_any_box(LOOSE_BOX, mask, rng) for mask in masks])
        return Prompts(boxes, points, np.ones(points.shape[:2], dtype=np.int64))
    raise ValueError(f"unknown kind of prompt {kind!r}: choose from {', '.join(KINDS)}")


def loosen_box(box: np.ndarray, amount: float, rng: np.random.Generator, size: int) -> np.ndarray:
    """Move each side by a draw from −amount/2 … +amount of the box's width or height, outwards counting as plus.

    People draw boxes too large rather than too small, and so do the boxes around saliency maps. The result keeps
    inside the image of ``size`` pixels and is at least two pixels wide and high.
    """
    width, height = box[2] - box[0], box[3] - box[1]
    moved = rng.uniform(-amount / 2, amount, 4) * [-width, -height, width, height]
    x0, y0, x1, y1 = np.clip(box + moved, 0, size)
    x0, y0 = min(x0, size - 2), min(y0, size - 2)
    return np.array([x0, y0, max(x1, x0 + 2), max(y1, y0 + 2)], dtype=np.float32)


def points_in(mask: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Draw pixels float32 [count, 2] of a mask (bool [H, W], not empty), each as likely as any other."""
    rows, columns = np.nonzero(mask)
    chosen = rng.integers(len(rows), size=count)
    return np.stack([columns[chosen], rows[chosen]], axis=1).astype(np.float32)


def _any_box(kind: str, mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    box = box_of(mask)
    return box if kind == BOX else loosen_box(box, float(rng.choice(LOOSENESS)), rng, mask.shape[-1])


def _many_points(masks: np.ndarray, inside: np.ndarray, rng: np.random.Generator) -> Prompts:
    """Draw 3 … 10 points on each target; in half of the draws, up to a third of them lie beside it instead."""
    count = int(rng.integers(3, 11))
    beside = int(rng.integers(1, count // 3 + 1)) if rng.random() < 0.5 else 0
    points, labels = [], []
    for mask, part in zip(masks, inside, strict=True):
        around = _surroundings(mask)
        off_target = beside if around.any() else 0
        on_target = points_in(part, count - off_target, rng)
        points.append(np.concatenate([on_target, points_in(around, off_target, rng)]) if off_target else on_target)
        labels.append([1] * (count - off_target) + [0] * off_target)
    return Prompts(points=np.stack(points), labels=np.array(labels, dtype=np.int64))


def _surroundings(mask: np.ndarray) -> np.ndarray:
    """Mark where a correction is clicked: off the mask, within its box grown by half its size on every side."""
    x0, y0, x1, y1 = box_of(mask).astype(int)
    grow_x, grow_y = (x1 - x0) // 2 + 2, (y1 - y0) // 2 + 2
    near = np.zeros_like(mask)
    near[max(y0 - grow_y, 0) : y1 + grow_y, max(x0 - grow_x, 0) : x1 + grow_x] = True
    return near & ~mask
