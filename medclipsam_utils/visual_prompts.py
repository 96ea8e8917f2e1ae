"""From a coarse mask to the prompts for SAM, and from SAM's answers to one mask.

SAM (Kirillov et al. 2023) answers a *visual prompt*: a box, points on the target (label 1) and beside it (label 0), or
both. Section 3.3 of Koleilat et al. 2025 takes them from the coarse mask; its best prompts are boxes for breast, brain
and CT and ten points for X-ray.

Coordinates are pixels, x before y. A point is the index of its pixel. A box (x0, y0, x1, y1) holds the columns x0 to
x1 − 1 and the rows y0 to y1 − 1, so that ``mask[y0:y1, x0:x1]`` is the *filled box*: the baseline of every box prompt.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import distance_transform_edt
from segment_anything import SamPredictor

from .masks import as_mask
from .postprocess import components, largest_components

VOTES = ("single", "average", "mrm", "staple")

#: Side of the zoomed view of a box, in longer sides of the box.
VIEW = 2.0

#: Least side of a zoomed view in pixels: below it there is nothing but blur to zoom in on.
SMALLEST_VIEW = 64


@dataclass(frozen=True, eq=False)
class Points:
    """Points for one question to SAM.

    Attributes:
        xy: coordinates (x, y) in pixels, float32 [P, 2].
        labels: int64 [P], 1 on the target and 0 beside it.
    """

    xy: np.ndarray
    labels: np.ndarray


def box_of(mask: np.ndarray) -> np.ndarray:
    """Find the smallest box that holds a mask: float32 [4], (x0, y0, x1, y1) in pixels.

    Args:
        mask: [H, W], bool or numbers that are all 0 or 1, not empty.

    Raises:
        ValueError: the mask is empty, not [H, W], or has other values.
    """
    mask = as_mask(mask)
    if not mask.any():
        raise ValueError("the mask is empty, so there is no box around it: boxes_from_mask gives none")
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], dtype=np.float32)


def boxes_from_mask(
    mask: np.ndarray, *, per_component: bool = True, margin: float = 0.0, n: int | None = None
) -> np.ndarray:
    """Draw boxes around a mask.

    Args:
        mask: [H, W], bool or numbers that are all 0 or 1.
        per_component: draw one around each connected component, the largest first; otherwise one around all.
        margin: fraction of a box's width and height by which each side is moved outward (inward if negative), but not
            out of the image.
        n: largest number of boxes; None for all.

    Returns:
        float32 [K, 4], (x0, y0, x1, y1) in pixels; [0, 4] for an empty mask.

    Raises:
        ValueError: the mask is not [H, W], or has other values.
    """
    mask = as_mask(mask)
    parts = components(mask, n) if per_component else [mask][: int(mask.any())]
    boxes = np.array([box_of(part) for part in parts], dtype=np.float32).reshape(-1, 4)
    width, height = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    moved = boxes + margin * np.stack([-width, -height, width, height], axis=1)
    return np.clip(moved, 0, [mask.shape[1], mask.shape[0]] * 2).astype(np.float32)


def points_from_mask(
    mask: np.ndarray, n: int = 10, *, negatives: int = 0, where: str = "inside", seed: int = 0
) -> Points:
    """Draw points on a mask, and beside it.

    Args:
        mask: [H, W], bool or numbers that are all 0 or 1.
        n: number of points on the mask; fewer where it has fewer pixels.
        negatives: number of points beside it; fewer where there are fewer pixels.
        where: ``"inside"`` draws from the half of the pixels that lie deepest (by distance to the border), so that a
            coarse mask that is a little too large still gives points on the target; ``"random"`` draws from all, as the
            paper does.
        seed: the same seed gives the same points.

    Returns:
        :class:`Points`, those on the mask first; none on an empty mask.

    Raises:
        ValueError: another ``where``, a negative number, or a mask that is not [H, W] or has other values.
    """
    mask = as_mask(mask)
    if where not in ("inside", "random"):
        raise ValueError(f"where is {where!r}: choose inside or random")
    if n < 0 or negatives < 0:
        raise ValueError(f"n is {n} and negatives is {negatives}: give 0 or more")
    generator = np.random.default_rng(seed)
    drawn = [_draw(region, count, where, generator) for region, count in ((mask, n), (~mask, negatives))]
    labels = np.repeat([1, 0], [len(points) for points in drawn])
    return Points(np.concatenate(drawn).astype(np.float32), labels.astype(np.int64))


def predict_mask(
    predictor: SamPredictor,
    boxes: np.ndarray | None = None,
    points: Points | Sequence[Points] | None = None,
    *,
    vote: str = "single",
) -> np.ndarray:
    """Ask SAM about the image that was set. It was embedded then, so that any number of prompts costs little.

    Args:
        predictor: after ``set_image``.
        boxes: float [K, 4] or [4], each a question of its own; the answers are united.
        points: one :class:`Points` for all boxes alike, or one per box. Without boxes, each is a question.
        vote: ``"single"`` takes SAM's one mask. The others ask for three and vote: ``"average"``, the mean of the masks
            above ½; ``"mrm"``, their mean weighted by SAM's own estimate of their quality, stretched to 0 … 1, as in
            the released code; ``"staple"``, the most likely truth if each mask has its own sensitivity and specificity
            (Warfield et al. 2004).

    Returns:
        bool [H, W]; empty where there is neither a box nor a point.

    Raises:
        ValueError: an unknown vote, another number of points than of boxes, or no image was set.
    """
    if vote not in VOTES:
        raise ValueError(f"vote is {vote!r}: choose from {', '.join(VOTES)}")
    if not predictor.is_image_set:
        raise ValueError("SAM has no image yet: call predictor.set_image first")
    united = np.zeros(predictor.original_size, dtype=bool)
    for box, drawn in _questions(boxes, points):
        masks, quality, _ = predictor.predict(
            point_coords=None if drawn is None else drawn.xy,
            point_labels=None if drawn is None else drawn.labels,
            box=box,
            multimask_output=vote != "single",
        )  # (M, H, W) and (M,), M of 1 or 3
        united |= masks[0] if vote == "single" else _elect(masks, quality, vote)
    return united


def predict_zoomed(
    predictor: SamPredictor,
    image: np.ndarray,
    boxes: np.ndarray | None = None,
    points: Points | Sequence[Points] | None = None,
    *,
    vote: str = "single",
) -> np.ndarray:
    """Ask SAM about each box on a view of its own: what is small is seen better from near.

    SAM has one number of features whatever the size of the target. A view is a square of the image, :data:`VIEW` times
    as long as the box, with the box in its middle as far as it is not at the edge; at least :data:`SMALLEST_VIEW`
    pixels, at most the whole image. From near, SAM also sees the grain of an image and leaves crumbs beside what it
    outlines: of each answer, the largest piece is kept. SAM embeds an image for each question, where
    :func:`predict_mask` needs one for all, and remembers the last view.

    Args:
        predictor: any; it forgets the image that was set.
        image: uint8 [H, W, 3].
        boxes, points, vote: as in :func:`predict_mask`; the view of points without a box is that around all of them.

    Returns:
        bool [H, W]; empty where there is neither a box nor a point.

    Raises:
        ValueError: an unknown vote, or another number of points than of boxes.
        ModelError: SAM cannot take the image.
    """
    united = np.zeros(image.shape[:2], dtype=bool)
    for box, drawn in _questions(boxes, points):
        around = _box_around(drawn) if box is None and drawn is not None else box
        assert around is not None, "a question has a box or points"
        rows, columns = view_around(around, image.shape[:2])
        corner = np.array([columns.start, rows.start], dtype=np.float32)
        predictor.set_image(np.ascontiguousarray(image[rows, columns]))
        inside = None if drawn is None else Points(drawn.xy - corner, drawn.labels)
        answer = predict_mask(predictor, None if box is None else box - np.tile(corner, 2), inside, vote=vote)
        united[rows, columns] |= largest_components(answer, 1)
    return united


def view_around(box: np.ndarray, shape: tuple[int, ...]) -> tuple[slice, slice]:
    """Find rows and columns of the square view around a box, cut to the image if that is smaller.

    Args:
        box: float [4], (x0, y0, x1, y1) in pixels.
        shape: (rows, columns) of the image.
    """
    side = max(SMALLEST_VIEW, round(VIEW * float(max(box[2] - box[0], box[3] - box[1]))))
    middle = (box[1] + box[3]) / 2, (box[0] + box[2]) / 2
    starts = [round(max(0.0, min(m - side / 2, size - side))) for m, size in zip(middle, shape, strict=True)]
    rows, columns = (slice(start, min(start + side, size)) for start, size in zip(starts, shape, strict=True))
    return rows, columns


def staple(masks: np.ndarray, steps: int = 50) -> np.ndarray:
    """Estimate the probability that each pixel is target from several masks of it, by expectation maximisation.

    Warfield, Zou & Wells 2004, *Simultaneous truth and performance level estimation*. Each mask has a sensitivity and a
    specificity of its own, unknown as the truth is; given one, the other follows, in turns.

    Args:
        masks: [M, H, W], M of 1 or more, bool or numbers that are all 0 or 1.
        steps: number of turns.

    Returns:
        float64 [H, W] from 0 to 1.

    Raises:
        ValueError: there are no masks, or one of them is not [H, W] or has other values.
    """
    if not len(masks):
        raise ValueError("there are no masks: give one or more")
    masks = np.stack([as_mask(mask, f"mask {number}") for number, mask in enumerate(masks)])
    votes = masks.reshape(len(masks), -1).astype(np.float64)  # (M, H · W)
    prevalence = votes.mean()
    sensitivity = specificity = np.full((len(masks), 1), 0.99)
    truth = np.zeros(votes.shape[1])
    for _ in range(steps):
        on_target = np.where(votes == 1, sensitivity, 1 - sensitivity).prod(0) * prevalence
        beside = np.where(votes == 1, 1 - specificity, specificity).prod(0) * (1 - prevalence)
        truth = on_target / np.maximum(on_target + beside, np.finfo(float).tiny)
        sensitivity = (votes @ truth / max(truth.sum(), np.finfo(float).tiny))[:, None]
        specificity = ((1 - votes) @ (1 - truth) / max((1 - truth).sum(), np.finfo(float).tiny))[:, None]
    return truth.reshape(masks.shape[1:])


def _draw(region: np.ndarray, count: int, where: str, generator: np.random.Generator) -> np.ndarray:
    """Draw [P, 2] as (x, y), without repetition; P is ``count``, or the number of pixels if that is smaller."""
    if not count or not region.any():
        return np.zeros((0, 2))
    candidates = np.argwhere(region)
    if where == "inside":
        depth = distance_transform_edt(np.pad(region, 1))[1:-1, 1:-1][region]
        order = np.argsort(-depth, kind="stable")
        candidates = candidates[order[: max(count, len(order) // 2)]]
    chosen = generator.choice(len(candidates), min(count, len(candidates)), replace=False)
    return candidates[chosen][:, ::-1]


def _box_around(points: Points) -> np.ndarray:
    """Find the smallest box that holds the pixels of some points."""
    return np.concatenate([points.xy.min(axis=0), points.xy.max(axis=0) + 1])


def _questions(
    boxes: np.ndarray | None, points: Points | Sequence[Points] | None
) -> list[tuple[np.ndarray | None, Points | None]]:
    """Pair each box with its points, None where there are none; without boxes, each set of points is a question."""
    several = [] if points is None else [points] if isinstance(points, Points) else list(points)
    if boxes is None:
        return [(None, drawn) for drawn in several if len(drawn.xy)]
    boxes = np.asarray(boxes, dtype=np.float32).reshape(-1, 4)
    if points is None:
        return [(box, None) for box in boxes]
    if isinstance(points, Points):
        several *= len(boxes)
    if len(several) != len(boxes):
        raise ValueError(
            f"there are {len(several)} sets of points for {len(boxes)} boxes: give one for all, or for each"
        )
    return [(box, drawn if len(drawn.xy) else None) for box, drawn in zip(boxes, several, strict=True)]


def _elect(masks: np.ndarray, quality: np.ndarray, vote: str) -> np.ndarray:
    """Elect one mask [H, W] from several [M, H, W] by SAM's estimates of their quality [M]."""
    if vote == "average":
        return masks.mean(0) > 0.5
    if vote == "staple":
        return staple(masks) > 0.5
    weighted = (masks * quality[:, None, None]).sum(0)
    spread = np.ptp(weighted)
    return (weighted - weighted.min()) / spread > 0.5 if spread else masks[0]
