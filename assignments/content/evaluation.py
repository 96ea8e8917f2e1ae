"""Evaluation: outlines in millimetres, an interval by patients, a test by signs, and a promise about false alarms."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from medclipsam_utils.exercises import Mistake

from ..steps import Arguments, Numbers, Part, Solution, Step


def blot(generator: np.random.Generator, height: int, width: int, level: float = 0.6) -> np.ndarray:
    """Give a random mask of a few smooth blots."""
    field = ndimage.gaussian_filter(generator.normal(size=(height, width)), 2, mode="nearest")
    return field > np.quantile(field, level)


# --- outline_distance


def mask_pairs(generator: np.random.Generator) -> list[tuple[np.ndarray, np.ndarray]]:
    pairs = []
    for height, width in ((18, 18), (22, 30), (30, 21), (25, 25), (16, 33)):
        first = blot(generator, height, width)
        second = np.roll(first, generator.integers(-3, 4, 2), (0, 1)) ^ (generator.random(first.shape) < 0.02)
        pairs.append((first, second))
    return pairs


def square_pixels(generator: np.random.Generator) -> list[Arguments]:
    squares = np.zeros((2, 12, 12), bool)
    squares[0, 2:8, 2:8] = squares[1, 4:9, 3:8] = True
    full = np.zeros((21, 21), bool)
    full[2:19, 2:19] = True
    core = outline(full)  # the rim of a square and its middle: pixels of one mask deep inside of the other
    core[6:15, 6:15] = True
    pairs = [(*squares,), (full, core), *mask_pairs(generator)]
    return [(first, second, (1.0, 1.0)) for first, second in pairs]


def long_pixels(generator: np.random.Generator) -> list[Arguments]:
    return [
        (*pair, spacing)
        for pair, spacing in zip(
            mask_pairs(generator), ((0.7, 0.7), (3.0, 0.8), (0.5, 2.0), (1.3, 0.9), (0.8, 1.1)), strict=True
        )
    ]


def empty_pairs(generator: np.random.Generator) -> list[Arguments]:
    some = blot(generator, *generator.integers(8, 20, 2))
    nothing = np.zeros_like(some)
    return [(nothing, nothing, (1.0, 1.0)), (some, nothing, (1.0, 1.0)), (nothing, some, (1.0, 2.0))]


def outline(mask: np.ndarray, structure: np.ndarray | None = None) -> np.ndarray:
    return mask & ~ndimage.binary_erosion(mask, structure)


def distances(first: np.ndarray, second: np.ndarray, spacing: Sequence[float], edge: Solution = outline) -> np.ndarray:
    return ndimage.distance_transform_edt(~edge(second), sampling=spacing)[edge(first)]


def distance_mistakes(solution: Solution, numbers: Numbers) -> Sequence[Mistake]:
    percent = numbers["percent"]

    def both(a: np.ndarray, b: np.ndarray, s: Sequence[float], p: float = percent, edge: Solution = outline) -> float:
        return max(np.percentile(distances(a, b, s, edge), p), np.percentile(distances(b, a, s, edge), p))

    def to_mask(a: np.ndarray, b: np.ndarray, s: Sequence[float]) -> float:
        if not (a.any() and b.any()):
            return float(solution(a, b, s))
        pairs = ((a, b), (b, a))
        return max(
            float(np.percentile(ndimage.distance_transform_edt(~other, sampling=s)[outline(mine)], percent))
            for mine, other in pairs
        )

    return (
        Mistake("the spacing is not used: distances are in mm.", lambda a, b, s: solution(a, b, (1.0, 1.0))),
        Mistake("the spacing is exchanged: it is (row, column).", lambda a, b, s: solution(a, b, s[::-1])),
        Mistake(
            f"that is the largest distance; the {percent}th percentile is asked for.",
            lambda a, b, s: both(a, b, s, 100),
        ),
        Mistake(
            "that looks from the first to the second only; take the larger of both directions.",
            lambda a, b, s: np.percentile(distances(a, b, s), percent),
        ),
        Mistake(
            "that looks from the second to the first only; take the larger of both directions.",
            lambda a, b, s: np.percentile(distances(b, a, s), percent),
        ),
        Mistake(
            "take a percentile in each direction and then the larger one, not one of all distances together.",
            lambda a, b, s: np.percentile(np.concatenate([distances(a, b, s), distances(b, a, s)]), percent),
        ),
        Mistake(
            "that takes all pixels of the masks; only their outlines count.",
            lambda a, b, s: both(a, b, s, edge=lambda m: m),
        ),
        Mistake(
            "the distance is that to the outline of the other mask, also for a pixel that lies inside of it.",
            to_mask,
        ),
        Mistake(
            "a pixel is on the outline if one of its four neighbours is outside; the diagonal ones do not count.",
            lambda a, b, s: both(a, b, s, edge=lambda m: outline(m, np.ones((3, 3)))),
        ),
        Mistake(
            "two masks without a pixel agree: 0. One without a pixel is as far away as can be: infinity.",
            lambda a, b, s: 0.0 if not (a.any() and b.any()) else both(a, b, s),
        ),
    )


# --- boundary_iou


def overlapping(generator: np.random.Generator) -> list[Arguments]:
    angle = np.zeros((24, 24), bool)
    angle[2:22, 2:11] = angle[13:22, 2:22] = True
    drawn = [(*pair, width) for pair, width in zip(mask_pairs(generator), (1, 2, 3, 1, 2), strict=True)]
    return [(angle, np.roll(angle, 1, 1), 3), *drawn]


def hardly_any(generator: np.random.Generator) -> list[Arguments]:
    some = blot(generator, *generator.integers(8, 20, 2))
    nothing = np.zeros_like(some)
    return [(nothing, nothing, 2), (some, nothing, 1)]


def boundary_mistakes(solution: Solution, numbers: Numbers) -> Sequence[Mistake]:
    def band(mask: np.ndarray, width: float, padded: bool = True) -> np.ndarray:
        grown = np.pad(mask, 1) if padded else mask
        depth = ndimage.distance_transform_edt(grown)
        return mask & ((depth[1:-1, 1:-1] if padded else depth) <= width)

    def rim(mask: np.ndarray, width: int) -> np.ndarray:
        return mask & ~ndimage.binary_erosion(mask, iterations=width)

    def iou(first: np.ndarray, second: np.ndarray) -> float:
        return (first & second).sum() / max(1, (first | second).sum())

    def dice(a: np.ndarray, b: np.ndarray, w: float) -> float:
        score = solution(a, b, w)
        return 2 * score / (1 + score)

    return (
        Mistake("that compares the whole masks; only the bands along their outlines count.", lambda a, b, w: iou(a, b)),
        Mistake("that is the Dice of the bands; intersection over union is asked for.", dice),
        Mistake(
            "outside of the image counts as outside of the mask, so that there is a band along the image's edge too.",
            lambda a, b, w: iou(band(a, w, False), band(b, w, False)),
        ),
        Mistake(
            "a pixel whose distance is exactly the width belongs to the band.",
            lambda a, b, w: iou(band(a, w - 1e-9), band(b, w - 1e-9)),
        ),
        Mistake(
            "distances are straight lines; eroding takes off the steps along rows and columns.",
            lambda a, b, w: iou(rim(a, w), rim(b, w)),
        ),
        Mistake(
            "two masks without a pixel agree perfectly.",
            lambda a, b, w: solution(a, b, w) if a.any() or b.any() else 0.0,
        ),
    )


# --- interval_by_patient


def scored(generator: np.random.Generator, sizes: Sequence[int]) -> Arguments:
    groups = np.repeat(generator.permutation(50)[: len(sizes)], sizes)
    order = generator.permutation(len(groups))
    means = generator.uniform(0.3, 0.9, 50)
    scores = np.clip(means[groups] + generator.normal(0, 0.05, len(groups)), 0, 1).round(3)
    return scores[order], groups[order], generator.integers(0, len(sizes), (40, len(sizes)))


def even_groups(generator: np.random.Generator) -> list[Arguments]:
    return [scored(generator, [2] * 5), scored(generator, [3] * 8)]


def uneven_groups(generator: np.random.Generator) -> list[Arguments]:
    return [scored(generator, [1, 6, 2, 3]), scored(generator, [5, 1, 1, 8, 2, 4])]


def interval_mistakes(solution: Solution, numbers: Numbers) -> Sequence[Mistake]:
    confidence = numbers["confidence"]
    tails = ((100 - confidence) / 2, (100 + confidence) / 2)

    def sums(scores: np.ndarray, groups: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        names, where = np.unique(groups, return_inverse=True)
        return np.bincount(where, scores, len(names)), np.bincount(where, minlength=len(names))

    def of_means(scores: np.ndarray, groups: np.ndarray, draws: np.ndarray) -> np.ndarray:
        total, count = sums(scores, groups)
        return np.percentile((total / count)[draws].mean(1), tails)

    def once(scores: np.ndarray, groups: np.ndarray, draws: np.ndarray) -> np.ndarray:
        total, count = sums(scores, groups)
        return np.percentile([total[np.unique(row)].sum() / count[np.unique(row)].sum() for row in draws], tails)

    def wide(scores: np.ndarray, groups: np.ndarray, draws: np.ndarray) -> np.ndarray:
        total, count = sums(scores, groups)
        return np.percentile(total[draws].sum(1) / count[draws].sum(1), (100 - confidence, confidence))

    return (
        Mistake(
            "that draws single images; draw patients, each with all of their images.",
            lambda s, g, d: np.percentile(s[d].mean(1), tails),
        ),
        Mistake("a patient who is drawn twice counts twice, with all of their images.", once),
        Mistake("that is a mean of the patients' means; each drawn image counts the same.", of_means),
        Mistake("what is outside of the interval is shared by its two sides: half of it on each.", wide),
        Mistake("the lower limit comes first.", lambda s, g, d: solution(s, g, d)[::-1]),
    )


# --- sign_flip_p


def two_methods(generator: np.random.Generator) -> list[Arguments]:
    cases = []
    for size, shift in ((8, 0.03), (12, -0.04), (20, 0.0), (15, 0.01)):
        first = generator.uniform(0.4, 0.9, size)
        second = first - shift + generator.normal(0, 0.06, size)
        cases.append((first, second, generator.choice([-1, 1], (99, size))))
    return cases


def equal_methods(generator: np.random.Generator) -> list[Arguments]:
    same = generator.uniform(0.4, 0.9, 6)
    first, second = np.array([0.75, 0.5, 0.25]), np.array([0.5, 0.5, 0.5])
    # Differences of tenths: half of all flips are as far from 0 as the observed signs, most of them but for rounding.
    tenths = np.array([0.4, 0.6, 0.5, 0.8, 0.8, 0.8]), np.array([0.3, 0.7, 0.6, 0.7, 0.3, 0.7])
    return [
        (same, same, generator.choice([-1, 1], (19, 6))),
        (first, second, generator.choice([-1, 1], (24, 3))),
        (*tenths, generator.choice([-1, 1], (24, 6))),
    ]


def sign_mistakes(solution: Solution, numbers: Numbers) -> Sequence[Mistake]:
    def means(a: np.ndarray, b: np.ndarray, flips: np.ndarray) -> tuple[np.ndarray, float]:
        return (flips * (a - b)).mean(1), (a - b).mean()

    def count(a: np.ndarray, b: np.ndarray, flips: np.ndarray, compare: Solution, plus: int = 1) -> float:
        flipped, seen = means(a, b, flips)
        return float((plus + compare(flipped, seen).sum()) / (plus + len(flips)))

    return (
        Mistake(
            "only one side is looked at: a mean that is as far below 0 counts as well.",
            lambda a, b, f: count(a, b, f, lambda m, s: m >= s - 1e-9),
        ),
        Mistake(
            "the observed signs are one of the possible ones: 1 is added above and below.",
            lambda a, b, f: count(a, b, f, lambda m, s: abs(m) >= abs(s) - 1e-9, 0),
        ),
        Mistake(
            "a mean that is exactly as far from 0 counts as well.",
            lambda a, b, f: count(a, b, f, lambda m, s: abs(m) > abs(s) + 1e-9),
        ),
        Mistake(
            "means that are equal but for rounding count as equal: allow 1e-9.",
            lambda a, b, f: count(a, b, f, lambda m, s: abs(m) >= abs(s)),
        ),
        Mistake(
            "that is the share of the flips that are nearer to 0; those that are at least as far are asked for.",
            lambda a, b, f: 1 - solution(a, b, f),
        ),
    )


# --- alarm_threshold


def enough(generator: np.random.Generator) -> list[Arguments]:
    return [(generator.normal(size=size).round(4),) for size in (53, 66, 87, 131)]


def too_few(generator: np.random.Generator) -> list[Arguments]:
    return [(generator.normal(size=size).round(4),) for size in (1, 3)]


def alarm_mistakes(solution: Solution, numbers: Numbers) -> Sequence[Mistake]:
    rate = numbers["rate"]

    def rank(scores: np.ndarray) -> int:
        return math.ceil((len(scores) + 1) * (1 - rate) - 1e-9)

    def place(scores: np.ndarray, k: int) -> float:
        return float(np.sort(scores)[k - 1]) if k <= len(scores) else float("inf")

    return (
        Mistake(
            "k is one too small: count n + 1 scores, not n, and round upward.",
            lambda s: place(s, max(1, math.ceil(len(s) * (1 - rate) - 1e-9))),
        ),
        Mistake(
            "np.quantile goes between two scores; the threshold is one of them.",
            lambda s: float(np.quantile(s, 1 - rate)),
        ),
        Mistake(
            "np.quantile counts the gaps between the scores, so that a share k/n lies between two of them; sort the "
            "scores and take the k-th.",
            lambda s: float(np.quantile(s, min(1.0, rank(s) / len(s)))) if rank(s) <= len(s) else float("inf"),
        ),
        Mistake(
            "that is the wrong end: present images have high scores.",
            lambda s: place(-s, max(1, rank(s))) * -1,
        ),
        Mistake(
            "so few images cannot promise so few false alarms: the threshold is infinite.",
            lambda s: place(s, min(rank(s), len(s))),
        ),
    )


STEPS: tuple[Step, ...] = (
    Step(
        "outline_distance",
        (
            Part("square pixels of 1 mm", 2, square_pixels),
            Part("pixels of other sizes", 2, long_pixels),
            Part("empty masks", 1, empty_pairs),
        ),
        distance_mistakes,
    ),
    Step("boundary_iou", (Part("random masks", 3, overlapping), Part("empty masks", 1, hardly_any)), boundary_mistakes),
    Step(
        "interval_by_patient",
        (Part("as many images for each", 2, even_groups), Part("some with more images", 2, uneven_groups)),
        interval_mistakes,
    ),
    Step(
        "sign_flip_p",
        (Part("two methods", 3, two_methods), Part("hardly any difference", 1, equal_methods)),
        sign_mistakes,
    ),
    Step("alarm_threshold", (Part("enough images", 2, enough), Part("too few images", 1, too_few)), alarm_mistakes),
)
