"""Draw what one step of the training sees: an image, K masks in it, and a prompt for each.

Masks are of three sorts. The *target* of the task is what the book segments, and most draws are of it; each lung counts
on its own, as each has its own prompt. *Structures* (head, heart, muscle …) and *pasted shapes* teach that a prompt,
not the place, says what to segment.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from ..data.images import Images, unpack
from ..data.prompts import BOX, BOX_AND_POINT, LOOSE_BOX, ONE_POINT, POINTS, Prompts, draw_prompts
from .augment import draw_view, paste_shape, vary_intensity, warp

LUNGS = ("left lung", "right lung")
# Sprinkled over the image in many parts, or parts of a target that a single click should not stop at.
SKIPPED = frozenset({"grey matter", "white matter", "oedema", "enhancing", "tumour", "ribs"})
SMALLEST = 50  # pixels: less is no longer a shape
BLANK = (
    100.0  # grey level of the padding that SAM adds to an image that is not square: the mean, zero after normalising
)


@dataclass(frozen=True)
class Sampling:
    """Say how often which image, mask and prompt is drawn; weights need not add up to 1."""

    # Lesions are small, soft and varied: they need most of the images; lungs are learned within minutes.
    tasks: tuple[tuple[str, float], ...] = (
        ("breast_ultrasound", 0.35), ("brain_mri", 0.37), ("lung_xray", 0.13), ("lung_ct", 0.15)
    )  # fmt: skip
    # Images without the target lend their anatomy to structures and pasted shapes only.
    with_target: float = 0.85
    # Boxes are the book's prompt for three tasks of four; one point is the hardest prompt.
    prompts: tuple[tuple[str, float], ...] = (
        (BOX, 0.24), (LOOSE_BOX, 0.29), (ONE_POINT, 0.22), (POINTS, 0.17), (BOX_AND_POINT, 0.08)
    )  # fmt: skip
    # The target beside one structure that costs as much attention as it is worth.
    target_share: float = 0.75
    # A single click is ambiguous: on a lesion it shall mean the lesion, not the organ around it.
    target_share_of_one_point: float = 0.9
    # Shapes are what makes the small model segment things it has no word for.
    shape_with_target: float = 0.15
    shape_without_target: float = 0.6
    # Photographs and scans are seldom square: SAM pads them below or to the right.
    padding: float = 0.1


@dataclass(frozen=True, eq=False)
class Example:
    """Hold one image with K prompts.

    Attributes:
        pixels: float32 [H, W], 0 … 255.
        masks: bool [K, H, W].
        kind: one of :data:`recipes.data.prompts.KINDS`.
        prompts: K prompts of this kind.
    """

    pixels: np.ndarray
    masks: np.ndarray
    kind: str
    prompts: Prompts


@dataclass(frozen=True, eq=False)
class Candidate:
    """Hold a mask that may be prompted; ``inside`` is where its points lie, ``weight`` how often it is drawn."""

    mask: np.ndarray
    inside: np.ndarray
    weight: float


def index_by_task(images: Images) -> dict[tuple[str, bool], np.ndarray]:
    """List the numbers of the images of each task, with and without its target."""
    groups: dict[tuple[str, bool], list[int]] = {}
    for number, fact in enumerate(images.facts):
        groups.setdefault((fact["task"], fact["present"]), []).append(number)
    return {group: np.array(numbers) for group, numbers in groups.items()}


def draw_example(
    images: Images, groups: dict[tuple[str, bool], np.ndarray], n_prompts: int, sampling: Sampling,
    rng: np.random.Generator,
) -> Example:  # fmt: skip
    """Draw a random image in a random view, with ``n_prompts`` prompts of a random kind."""
    task, present = _pick(sampling.tasks, rng), rng.random() < sampling.with_target
    number = int(rng.choice(groups[task, present]))
    kind = _pick(sampling.prompts, rng)
    target_share = sampling.target_share_of_one_point if kind == ONE_POINT else sampling.target_share
    pixels = images.pixels[number].astype(np.float32)
    targets = target_masks(images, number)
    shape = None
    if rng.random() < (sampling.shape_with_target if present else sampling.shape_without_target):
        pixels, shape = paste_shape(pixels, rng)
    candidates = _candidates(targets, _structures(images, number, rng), shape, target_share)
    if not candidates:
        return draw_example(images, groups, n_prompts, sampling, rng)
    pixels, masks, inside = _look(pixels, _choose(candidates, n_prompts, rng), n_prompts, rng)
    pixels = vary_intensity(pixels, rng)
    if rng.random() < sampling.padding:
        pixels, masks, inside = _pad(pixels, masks, inside, rng)
    return Example(pixels, masks, kind, draw_prompts(kind, masks, inside, rng))


def target_masks(images: Images, number: int) -> list[np.ndarray]:
    """List the masks that get a prompt of their own: each lung, or the lesion; none if there is no target."""
    if not images.facts[number]["present"]:
        return []
    structures = images.structures[number]
    lungs = [unpack(structures[name]) for name in LUNGS if name in structures]
    return lungs or [images.mask(number)]


def _structures(images: Images, number: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Draw connected parts of up to two structures."""
    names = sorted(images.structures[number].keys() - SKIPPED - set(LUNGS))
    chosen = rng.permutation(names)[:2]
    return [_random_part(unpack(images.structures[number][name]), rng) for name in chosen]


def _random_part(mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw one of the connected parts of a mask, the large ones more often."""
    parts, n_parts = ndimage.label(mask)
    if n_parts < 2:
        return mask
    areas = np.bincount(parts.ravel())[1:]
    return parts == 1 + rng.choice(n_parts, p=areas / areas.sum())


def _candidates(
    targets: list[np.ndarray], structures: list[np.ndarray], shape: np.ndarray | None, target_share: float
) -> list[Candidate]:
    """List what can be prompted. A shape hides what it lies on; points of a structure keep off the targets on it."""
    hidden = np.zeros_like(targets[0] if targets else structures[0]) if shape is None else shape
    visible_targets = [mask & ~hidden for mask in targets]
    on_target = np.any(visible_targets, axis=0) if targets else np.zeros_like(hidden)
    shapes = [] if shape is None else [shape]
    weight_of = (target_share if targets else 0.0, 1 - target_share)
    others = [(mask & ~hidden, mask & ~hidden & ~on_target) for mask in structures]
    found = [Candidate(mask, mask, weight_of[0] / len(targets)) for mask in visible_targets]
    found += [Candidate(mask, inside, weight_of[1] / len(structures)) for mask, inside in others]
    found += [Candidate(mask, mask, 0.5) for mask in shapes]
    return [candidate for candidate in found if candidate.inside.sum() >= SMALLEST]


def _choose(candidates: list[Candidate], count: int, rng: np.random.Generator) -> list[Candidate]:
    weights = np.array([candidate.weight for candidate in candidates])
    return [candidates[choice] for choice in rng.choice(len(candidates), size=count, p=weights / weights.sum())]


def _look(
    pixels: np.ndarray, chosen: list[Candidate], count: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Show the image and K masks in a random view; masks that the view cuts away are replaced by others of them."""
    distinct = list({id(candidate): candidate for candidate in chosen}.values())
    planes = [pixels, *(c.mask for c in distinct), *(c.inside for c in distinct if c.inside is not c.mask)]
    seen = warp(np.stack(planes), draw_view(chosen[0].mask, rng))
    masks = seen[1 : len(distinct) + 1] > 0.5
    with_own_inside = iter(seen[len(distinct) + 1 :] > 0.5)
    inside = [
        mask if c.inside is c.mask else next(with_own_inside) & mask for c, mask in zip(distinct, masks, strict=True)
    ]
    kept = [number for number, part in enumerate(inside) if part.sum() >= SMALLEST]
    if not kept:
        return pixels, np.stack([c.mask for c in chosen]), np.stack([c.inside for c in chosen])
    order = [number for c in chosen for number in kept if distinct[number] is c]
    order = (order * count)[:count]
    return seen[0], masks[order], np.stack([inside[number] for number in order])


def _pad(
    pixels: np.ndarray, masks: np.ndarray, inside: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Blank lower rows or right columns, unless that would hide a mask."""
    size = pixels.shape[0]
    end = int(rng.uniform(0.65, 0.95) * size)
    lost = np.s_[..., end:, :] if rng.random() < 0.5 else np.s_[..., :, end:]
    pixels, masks, inside = pixels.copy(), masks.copy(), inside.copy()
    if (inside.sum(axis=(1, 2)) - inside[lost].sum(axis=(1, 2))).min() < SMALLEST:
        return pixels, masks, inside
    pixels[lost], masks[lost], inside[lost] = BLANK, False, False
    return pixels, masks, inside


def _pick(weights: tuple[tuple[str, float], ...], rng: np.random.Generator) -> str:
    names, values = zip(*weights, strict=True)
    return str(rng.choice(names, p=np.array(values) / sum(values)))
