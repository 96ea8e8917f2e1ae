"""Saliency: a bottleneck with a budget, a map that knows the background, and pointing with a tolerance."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from medclipsam_utils.exercises import Mistake

from ..steps import Arguments, Numbers, Part, Solution, Step

# --- open_within


def openings(generator: np.random.Generator) -> list[Arguments]:
    by_hand = [(np.array([1.0]), np.array([1.0]), 0.4)]
    drawn = [
        (generator.uniform(0.3, 3, shape), generator.normal(0, 1.5, shape), budget)
        for shape, budget in (((5,), 2.0), ((3, 4), 0.5), ((8,), 12.0))
    ]
    return by_hand + drawn


def closed_openings(generator: np.random.Generator) -> list[Arguments]:
    by_hand = [(np.array([0.0, -1.0, 1.0]), np.array([1.0, 2.0, 0.5]), 1.5), (np.array([-1.0, 0.0]), np.ones(2), 3.0)]
    return [*by_hand, (generator.normal(0, 2, (4, 5)), generator.normal(0, 1.5, (4, 5)), 3.0)]


def shares(gain: np.ndarray, value: np.ndarray, price: float, least: float = 0.0) -> np.ndarray:
    b = value**2 - gain / price
    return np.clip(1 - (b + np.sqrt(b**2 + 4 * (1 + value**2))) / (2 * (1 + value**2)), least, 1)


def nats(share: np.ndarray, value: np.ndarray) -> np.ndarray:
    return 0.5 * (share**2 * value**2 + (1 - share) ** 2 - 1) - np.log(1 - share)


def opened(
    gain: np.ndarray,
    value: np.ndarray,
    budget: float,
    total: Solution = np.sum,
    least: float = 0.0,
    turned_round: bool = False,
) -> np.ndarray:
    """The shares at the price where all that passes, summed up in some way, is the budget, or wrongly bisected."""
    low, high = -12.0, 12.0
    for _ in range(80):
        middle = (low + high) / 2
        passes = total(nats(shares(gain, value, 10**middle, least), value))
        low, high = (middle, high) if bool(passes > budget) != turned_round else (low, middle)
    return shares(gain, value, 10**high, least)


def opening_mistakes(solution: Solution, numbers: Numbers) -> Sequence[Mistake]:
    def alike(gain: np.ndarray, value: np.ndarray, budget: float) -> np.ndarray:
        low, high = 0.0, 1 - 1e-12
        for _ in range(80):
            middle = (low + high) / 2
            low, high = (low, middle) if nats(np.full(gain.shape, middle), value).sum() > budget else (middle, high)
        return np.full(gain.shape, low)

    return (
        Mistake(
            "the budget is for all tokens together; yours passes as much on average.",
            lambda g, x, n: opened(g, x, n, np.mean),
        ),
        Mistake(
            "each token passes the whole budget in yours; it is for all of them together.",
            lambda g, x, n: np.stack([opened(*one, n) for one in zip(g.ravel(), x.ravel(), strict=True)]).reshape(
                g.shape
            ),
        ),
        Mistake(
            "where the gain is 0 or negative, the best share is 0: λ must not leave [0, 1).",
            lambda g, x, n: opened(g, x, n, least=-np.inf),
        ),
        Mistake(
            "all shares are 1: of the two roots take the one with the plus, because m = 1 - λ cannot be negative.",
            lambda g, x, n: np.ones(g.shape),
        ),
        Mistake(
            "the bisection runs the wrong way: where too much passes, the price has to rise.",
            lambda g, x, n: opened(g, x, n, turned_round=True),
        ),
        Mistake(
            "the sign of the gain is lost: a token that lowers the similarity should stay closed.",
            lambda g, x, n: opened(abs(g), x, n),
        ),
        Mistake("all tokens have the same share in yours; a token with a larger gain should be opened further.", alike),
        Mistake("that takes x for the gain, as chapter 4 does; the gain is given.", lambda g, x, n: opened(x, x, n)),
        Mistake("the budget is in nats, not in bits.", lambda g, x, n: opened(g, x, n * np.log(2))),
        Mistake("that is 1 - λ.", lambda g, x, n: 1 - solution(g, x, n)),
        Mistake("the budget is not used: that is the best for a price of 1.", lambda g, x, n: shares(g, x, 1.0)),
    )


# --- patch_map


def patches(generator: np.random.Generator) -> list[Arguments]:
    cases = []
    for grid, width, others in (((3, 3), 4, 2), ((2, 5), 6, 1), ((6, 4), 8, 3)):
        size = grid[0] * grid[1]
        tokens = generator.normal(size=(size, width)) * generator.uniform(0.5, 3, (size, 1))
        cases.append((tokens, generator.normal(size=width) * 2, generator.normal(size=(others, width)), grid))
    return cases


def even_patches(generator: np.random.Generator) -> list[Arguments]:
    """Give the same patch everywhere, and then patches of the same direction, which are alike up to rounding."""
    token, lengths = generator.normal(size=5), generator.uniform(0.5, 3, (12, 1))
    asked = (generator.normal(size=5), generator.normal(size=(2, 5)), (3, 4))
    return [(np.tile(token, (12, 1)), *asked), (token * lengths, *asked)]


def patch_mistakes(solution: Solution, numbers: Numbers) -> Sequence[Mistake]:
    def unit(vectors: np.ndarray) -> np.ndarray:
        return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)

    def scaled(values: np.ndarray, percent: float) -> np.ndarray:
        low = np.percentile(values, percent)
        with np.errstate(all="ignore"):
            return np.clip((values - low) / (values.max() - low), 0, 1)

    def cosines(p: np.ndarray, t: np.ndarray, b: np.ndarray) -> np.ndarray:
        return unit(p) @ unit(t) - (unit(p) @ unit(b).T).mean(1)

    percent = numbers["low_percent"]
    return (
        Mistake(
            "patches, text and background have to be brought to length 1 first: a cosine is asked for.",
            lambda p, t, b, g: scaled(p @ t - (p @ b.T).mean(1), percent).reshape(g),
        ),
        Mistake(
            "rows and columns of the grid are exchanged: patches run along a row first.",
            lambda p, t, b, g: scaled(cosines(p, t, b), percent).reshape(g[::-1]).T,
        ),
        Mistake(
            "from the cosine of each patch its own mean cosine with the background texts has to be subtracted; one "
            "mean for all patches changes nothing.",
            lambda p, t, b, g: scaled(unit(p) @ unit(t), percent).reshape(g),
        ),
        Mistake(
            f"0 belongs at the {percent}th percentile, not at the smallest value.",
            lambda p, t, b, g: scaled(cosines(p, t, b), 0).reshape(g),
        ),
        Mistake(
            "the cosines are right; the scale from 0 to 1 is missing.",
            lambda p, t, b, g: cosines(p, t, b).reshape(g),
        ),
        Mistake(
            "a map that is the same everywhere says nothing: it should be 0, and yours divides by 0.",
            lambda p, t, b, g: scaled(cosines(p, t, b), percent).reshape(g),
        ),
    )


# --- pointing_score


def blobs(generator: np.random.Generator, count: int, side: int = 24) -> tuple[np.ndarray, np.ndarray]:
    """Give maps without ties, whose peaks lie in, near and far from the targets."""
    masks, maps = np.zeros((count, side, side), bool), generator.random((count, side, side))
    for number in range(count):
        top, left = generator.integers(4, side - 9, 2)
        masks[number, top : top + 4, left : left + 5] = True
        away = number % 4 * 3
        maps[number, top - min(top, away), left - min(left, away)] = 2 + generator.random()
    return maps, masks


def single_peaks(generator: np.random.Generator) -> list[Arguments]:
    """Move the peak away from a square, a pixel at a time: straight to the left, and along the diagonal."""
    maps, masks = np.zeros((14, 20, 20)), np.zeros((14, 20, 20), bool)
    masks[:, 9:13, 9:14] = True
    for away in range(7):
        maps[away, 10, 9 - away] = maps[7 + away, 9 - away, 9 - away] = 1
    return [(maps, masks), *(blobs(generator, count) for count in (8, 11))]


def several_peaks(generator: np.random.Generator) -> list[Arguments]:
    """Give one image a call, with two to four peaks: one on the target, the others at random; then two images."""
    cases = []
    for number in (2, 3, 4):
        masks, maps = np.zeros((1, 30, 30), bool), generator.random((1, 30, 30))
        masks[0, 20:24, 9:14] = True
        maps[0, 21, 11] = 2
        maps[0, generator.integers(0, 12, number - 1), generator.permutation(30)[: number - 1]] = 2
        cases.append((maps, masks))
    return [*cases, tuple(np.concatenate(both) for both in zip(cases[0], cases[-1], strict=True))]


def absent_targets(generator: np.random.Generator) -> list[Arguments]:
    maps, masks = blobs(generator, 7)
    masks[[1, 4]] = False
    return [(maps, masks), (maps[:2], np.zeros_like(masks[:2]))]


def pointing(maps: np.ndarray, masks: np.ndarray, radius: float, *, first: bool = False, absent: bool = True) -> float:
    hits = []
    for heat, mask in zip(maps, masks, strict=True):
        if not mask.any():
            if not absent:
                hits.append(0.0)
            continue
        near: np.ndarray = ndimage.distance_transform_edt(~mask) <= radius
        peaks = heat == heat.max()
        hits.append(float(near.ravel()[heat.argmax()] if first else near[peaks].mean()))
    return float(np.mean(hits)) if hits else float("nan")


def pointing_mistakes(solution: Solution, numbers: Numbers) -> Sequence[Mistake]:
    radius = numbers["radius"]

    def blocks(maps: np.ndarray, masks: np.ndarray) -> float:
        wide = np.stack([ndimage.distance_transform_cdt(~mask, "chessboard") <= radius for mask in masks])
        return pointing(maps, wide & masks.any(axis=(1, 2), keepdims=True), 0)

    def pooled(maps: np.ndarray, masks: np.ndarray) -> float:
        near = [
            ndimage.distance_transform_edt(~mask)[heat == heat.max()] <= radius
            for heat, mask in zip(maps, masks, strict=True)
            if mask.any()
        ]
        return float(np.concatenate(near).mean()) if near else float("nan")

    return (
        Mistake(f"a peak at most {radius} pixels from the target counts as well.", lambda m, t: pointing(m, t, 0)),
        Mistake("a peak exactly at the radius counts.", lambda m, t: pointing(m, t, radius - 1e-9)),
        Mistake(
            "where a map has several largest pixels, each counts by its share, and not the first one alone.",
            lambda m, t: pointing(m, t, radius, first=True),
        ),
        Mistake(
            "each image counts once, by the share of its own peaks; yours counts all peaks of all images together.",
            pooled,
        ),
        Mistake(
            "images without a target are left out; yours count as missed.",
            lambda m, t: pointing(m, t, radius, absent=False),
        ),
        Mistake(
            "the distance is measured along the straight line, not as the larger of the steps along rows and columns.",
            blocks,
        ),
        Mistake("that is in percent; a fraction is asked for.", lambda m, t: 100 * solution(m, t)),
    )


STEPS: tuple[Step, ...] = (
    Step(
        "open_within",
        (Part("all gains above 0", 3, openings), Part("some of 0 or below", 2, closed_openings)),
        opening_mistakes,
        tolerance=1e-4,
    ),
    Step(
        "patch_map",
        (Part("random patches", 3, patches), Part("a map that is the same everywhere", 1, even_patches)),
        patch_mistakes,
    ),
    Step(
        "pointing_score",
        (
            Part("one peak in a map", 2, single_peaks),
            Part("several peaks", 1, several_peaks),
            Part("images without a target", 1, absent_targets),
        ),
        pointing_mistakes,
    ),
)
