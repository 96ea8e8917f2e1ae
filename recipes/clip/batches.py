"""Draw the batches of the small CLIP: pairs of images with and without the target.

Each step has a generator of its own, so that a run that was interrupted draws what it would have drawn.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from medclipsam_utils import TASKS
from medclipsam_utils.models.tiny_clip import MEAN, PATCH_SIZE, STD
from medclipsam_utils.saliency import divide

from ..data.captions import Caption, draw_caption, image_facts, judge
from ..data.images import Images
from .patches import GRID


@dataclass(frozen=True, eq=False)
class ClipImages:
    """Hold images at the size that the small CLIP sees.

    Attributes:
        pixels: uint8 [N, 128, 128]; image 2 i shows the target, image 2 i + 1 is its counterfactual without it.
        masks: uint8 [N, 128, 128], the fraction of each pixel that is target, times 255; None where a training reads
            images and captions and nothing else.
        facts: for each image, what is known about it (see ``data/images.py``).
        pairs: for each task, the indices of its images with the target.
    """

    pixels: np.ndarray
    masks: np.ndarray | None
    facts: list[dict]
    pairs: Mapping[str, np.ndarray]


@dataclass(frozen=True, eq=False)
class Batch:
    """Hold everything that one step sees: B images, C captions, N patches that are kept.

    Attributes:
        pixels: float32 [B, 3, 128, 128], normalised.
        captions: the C captions.
        verdict: int8 [B, C] of TRUE, FALSE, UNKNOWN.
        same_organ: bool [B, C].
        names_target: bool [C], see :func:`~recipes.clip.losses.region_text_loss`.
        kept: int64 [B, N], the patches that the image tower sees; or [B, W, N / W], the patches of W windows that its
            blocks see one by one; None for all.
        inside, outside: bool [B, N], patches of the target and patches that have nothing of it; None without masks.
    """

    pixels: Tensor
    captions: list[Caption]
    verdict: Tensor
    same_organ: Tensor
    names_target: Tensor
    kept: Tensor | None
    inside: Tensor | None = None
    outside: Tensor | None = None


def shrink(images: Images, with_masks: bool = True) -> ClipImages:
    """Average 256-pixel images, and their masks unless they are not to be seen, down to 128 pixels."""
    pixels, masks = np.stack([_halve(image) for image in images.pixels]), None
    if with_masks:
        masks = np.stack([_halve(255 * images.mask(index).astype(np.uint8)) for index in range(len(images))])
    with_target = np.arange(0, len(images), 2)
    if not all(images.facts[index]["present"] and not images.facts[index + 1]["present"] for index in with_target):
        raise ValueError("images must come in pairs, with the target and without it")
    pairs = {task: np.array([i for i in with_target if images.facts[i]["task"] == task]) for task in TASKS}
    return ClipImages(pixels, masks, images.facts, pairs)


def normalise(pixels: Tensor) -> Tensor:
    """Turn grey images [B, 1, H, W], 0 … 1, into what the small CLIP sees: [B, 3, H, W]."""
    return ((pixels - MEAN[0]) / STD[0]).expand(-1, 3, -1, -1)


def _halve(image: np.ndarray) -> np.ndarray:
    wide = image.astype(np.uint16)
    rows = wide[0::2] + wide[1::2]
    return ((rows[:, 0::2] + rows[:, 1::2] + 2) // 4).astype(np.uint8)


def draw_batch(
    images: ClipImages,
    pairs_per_task: Mapping[str, int],
    captions_per_image: float,
    keep: float,
    rng: np.random.Generator,
    sides: int = 1,
) -> Batch:
    """Draw one batch.

    Args:
        images: what to draw from.
        pairs_per_task: number of pairs of each task.
        captions_per_image: number of captions; 1.25 is one for each image and a second one for every fourth.
        keep: fraction of the patches that the image tower sees. The two images of a pair keep the same ones, so that
            what is kept says nothing about which of the two it is. With masks, the patches of a small target are
            among them; without, chance decides.
        rng: generator that decides everything.
        sides: number of windows along each side of the image, which the image tower's blocks see one by one; 1 is all
            at once. Only without masks.
    """
    drawn = [rng.choice(images.pairs[task], count, replace=False) for task, count in pairs_per_task.items()]
    first = np.concatenate(drawn)
    chosen = np.stack([first, first + 1], axis=1).ravel()
    pixels = torch.from_numpy(images.pixels[chosen]).float()[:, None] / 255
    if images.masks is None:
        pixels, _ = _augment(pixels, None, rng)
        kept, inside, outside = None, None, None
        if keep < 1 or sides > 1:
            kept = _by_chance(len(first), keep, sides, rng)
    else:
        pixels, covered = _augment(pixels, torch.from_numpy(images.masks[chosen]).float()[:, None] / 255, rng)
        covered = F.avg_pool2d(covered, PATCH_SIZE).flatten(1)  # (B, GRID²)
        inside = (covered > 0.4) | ((covered > 0.08) & (covered >= covered.amax(1, keepdim=True)))
        outside = covered < 0.04
        kept = _keep(covered, keep, rng) if keep < 1 else None
        if kept is not None:
            inside, outside = inside.gather(1, kept), outside.gather(1, kept)

    extra = rng.permutation(len(chosen))[: round((captions_per_image - 1) * len(chosen))]
    own = np.concatenate([np.arange(len(chosen)), extra])
    captions = [draw_caption(images.facts[chosen[index]], rng) for index in own]
    facts = [image_facts(images.facts[index]) for index in chosen]
    organs = np.array([fact["organ"] for fact in facts])
    return Batch(
        pixels=normalise(pixels),
        captions=captions,
        verdict=torch.from_numpy(judge(facts, captions, own)),
        same_organ=torch.from_numpy(organs[:, None] == np.array([caption.stated["organ"] for caption in captions])),
        names_target=torch.tensor([_names_target(caption) for caption in captions]),
        kept=kept,
        inside=inside,
        outside=outside,
    )


def _names_target(caption: Caption) -> bool:
    """Whether a caption says that the target is there and speaks of it, not of a finding beside it."""
    present = caption.stated["present"] == "True"
    return present and (caption.stated["organ"] != "lungs" or caption.stated.get("finding", "clear") == "clear")


def _keep(covered: Tensor, keep: float, rng: np.random.Generator) -> Tensor:
    """Choose patches to keep: indices int64 [B, N], ascending, the same for both images of a pair."""
    scores = torch.from_numpy(rng.random((len(covered) // 2, covered.shape[1]), dtype=np.float32))
    shows_target = covered[0::2] > 0.08  # the image with the target decides for both
    lesion = shows_target & (shows_target.float().mean(1, keepdim=True) < 0.15)
    count = round(keep * covered.shape[1])
    kept = (scores + lesion.float()).topk(count, dim=1).indices.sort(dim=1).values
    return kept.repeat_interleave(2, dim=0)


def _by_chance(pairs: int, keep: float, sides: int, rng: np.random.Generator) -> Tensor:
    """Divide the grid of each pair into windows at chance places, and keep patches of each by chance.

    Returns:
        int64 [2 · pairs, sides², patches of a window].
    """
    side, kept = GRID // sides, []
    for _ in range(pairs):
        rows, columns = rng.integers(side, size=2) if sides > 1 else (0, 0)
        parts = divide((GRID, GRID), sides, (int(rows), int(columns))).numpy()
        order = np.sort(rng.random(parts.shape).argsort(axis=1)[:, : round(keep * side**2)], axis=1)
        kept.append(np.take_along_axis(parts, order, axis=1))
    return torch.from_numpy(np.stack(kept)).repeat_interleave(2, dim=0)


def _augment(pixels: Tensor, masks: Tensor | None, rng: np.random.Generator) -> tuple[Tensor, Tensor | None]:
    """Shift, scale, rotate a little; change gamma, contrast, brightness; add noise. Both images of a pair alike.

    Without masks the noise is the same for both images as well: what differs between them is the target alone.
    """
    pairs = len(pixels) // 2

    def draw(low: float, high: float) -> Tensor:
        return torch.from_numpy(rng.uniform(low, high, pairs).astype(np.float32)).repeat_interleave(2)

    def scalar(low: float, high: float) -> Tensor:
        return draw(low, high)[:, None, None, None]

    angle, zoom = draw(-1, 1) * math.radians(8), torch.exp(draw(-0.16, 0.12))
    cos, sin = torch.cos(angle) * zoom, torch.sin(angle) * zoom
    matrix = torch.stack([cos, -sin, draw(-0.1, 0.1), sin, cos, draw(-0.1, 0.1)], dim=1).reshape(-1, 2, 3)
    grid = F.affine_grid(matrix, list(pixels.shape), align_corners=False)
    pixels = F.grid_sample(pixels, grid, align_corners=False)
    moved = None if masks is None else F.grid_sample(masks, grid, align_corners=False)
    pixels = pixels.clamp(1e-4, 1) ** torch.exp(scalar(-0.35, 0.35))
    pixels = (pixels - 0.4) * scalar(0.8, 1.2) + 0.4 + scalar(-0.08, 0.08)
    images = pairs if masks is None else 2 * pairs
    noise = torch.from_numpy(rng.standard_normal((images, *pixels.shape[1:]), dtype=np.float32))
    noise = noise.repeat_interleave(len(pixels) // images, dim=0)
    return (pixels + noise * scalar(0, 0.05)).clamp(0, 1), moved
