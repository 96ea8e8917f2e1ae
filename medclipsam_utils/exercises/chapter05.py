"""Exercises of chapter 5: what a map must show before you believe it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .exercise import Exercise, Function, Mistake


def share_inside(saliency, mask):
    total = saliency.sum()
    return saliency[mask].sum() / total if total > 0 else 0.0


def peak_inside(saliency, mask):
    row, column = np.unravel_index(saliency.argmax(), saliency.shape)
    return bool(saliency.any() and mask[row, column])


def taken_first(saliency, share):
    order = np.argsort(-saliency, axis=None, kind="stable")
    taken = np.zeros(saliency.size, dtype=bool)
    taken[order[: round(share * saliency.size)]] = True
    return taken.reshape(saliency.shape)


def p_value(score, without):
    as_high = np.sum(without >= score)
    return (1 + as_high) / (1 + len(without))


def share_right(prevalence, missed, false_alarms):
    right = prevalence * (1 - missed)
    wrong = (1 - prevalence) * false_alarms
    return right / (right + wrong)


def maps_and_masks(generator: np.random.Generator) -> Sequence[tuple[Any, ...]]:
    """Give square maps with masks: by hand, an empty map, an empty mask, and random ones with a peak in or out."""
    square = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 3.0], [0.0, 0.0, 1.0]])
    corner, everything, right = np.zeros((3, 3), bool), np.ones((3, 3), bool), np.zeros((3, 3), bool)
    corner[0, 0] = right[1, 2] = right[2, 2] = True
    by_hand = [(square, corner), (square, everything), (square, right), (square, right.T), (square, ~everything)]
    empty = np.zeros((3, 3)), everything
    random = [
        (generator.random((side, side)) ** 3, generator.random((side, side)) < generator.uniform(0.2, 0.8))
        for side in (4, 5, 6) * 5
    ]
    return [*by_hand, empty, *random]


def maps_and_shares(generator: np.random.Generator) -> Sequence[tuple[Any, ...]]:
    """Give maps and shares of their pixels: none, all, equal values, and random ones."""
    ramp, flat = np.arange(12.0).reshape(3, 4) / 11, np.full((2, 3), 0.5)
    steps = generator.integers(0, 3, (9, 8)) / 2
    by_hand = [(ramp, 0.25), (ramp, 0.0), (ramp, 1.0), (flat, 0.5), (steps, 0.1), (steps, 0.4), (steps, 0.85)]
    return [*by_hand, *((generator.random((5, 7)) ** 4, share) for share in (0.03, 0.3, 0.61))]


def scores_and_calibrations(generator: np.random.Generator) -> Sequence[tuple[Any, ...]]:
    """Give a score and the scores of images without the target: by hand, above all, below all, equal, and random."""
    four = np.array([0.1, 0.2, 0.4, 0.7])
    by_hand = [(0.5, four), (0.9, four), (0.0, four), (0.4, four), (0.3, np.full(5, 0.3))]
    random = [(float(generator.normal()), generator.normal(size=n)) for n in (1, 7, 19, 60)]
    return [*by_hand, *random]


def tests_in_a_clinic(generator: np.random.Generator) -> Sequence[tuple[Any, ...]]:
    """Give prevalence, share missed and share of false alarms: by hand, nobody ill, no false alarm, and random ones."""
    by_hand = [(0.01, 0.14, 0.05), (0.5, 0.14, 0.05), (0.0, 0.1, 0.05), (0.2, 0.3, 0.0)]
    return [*by_hand, *(tuple(map(float, generator.uniform(0.02, 0.6, 3))) for _ in range(5))]


def mean_inside(saliency, mask):
    with np.errstate(invalid="ignore"):
        return saliency[mask].sum() / np.float64(mask.sum())


def ordered(
    keys: np.ndarray,
    share: float,
    saliency: np.ndarray,
    *,
    turned: bool = False,
    kind: Any = "stable",
    axis: int | None = None,
    whole: Callable[[float], int] = round,
) -> np.ndarray:
    """Take pixels in the order of other keys."""
    order = np.argsort(keys, axis=axis, kind=kind).ravel()
    taken = np.zeros(saliency.size, dtype=bool)
    taken[(order[::-1] if turned else order)[: whole(share * saliency.size)]] = True
    return taken.reshape(saliency.shape)


EXERCISES: tuple[Exercise, ...] = (
    Function(
        number="05.1",
        title="how much of a map lies on the target?",
        difficulty=1,
        minutes=5,
        purpose="coverage, by which the chapter finds out whether a map follows the words",
        hints=(
            "It is a share: a part of the map's sum, divided by the whole sum.",
            "saliency[mask] gives the values inside the mask.",
            "Divide the sum of the values inside by the sum of all values; if that is 0, the answer is 0.",
        ),
        solution=share_inside,
        cases=maps_and_masks,
        mistakes=(
            Mistake(
                "that is how bright the map is inside, on average. A large target needs no larger coverage by this.",
                mean_inside,
            ),
            Mistake(
                "that is the sum inside; divide it by the sum of the whole map.",
                lambda saliency, mask: saliency[mask].sum(),
            ),
            Mistake("that is the share outside.", lambda saliency, mask: share_inside(saliency, ~mask)),
            Mistake(
                "that is the share of pixels with some saliency that lie inside; weigh each by its value.",
                lambda saliency, mask: share_inside((saliency > 0).astype(float), mask),
            ),
            Mistake("that is the area of the mask. Where is the map?", lambda saliency, mask: mask.mean()),
        ),
    ),
    Function(
        number="05.2",
        title="does the peak lie on the target?",
        difficulty=1,
        minutes=10,
        purpose="the pointing game, the plainest score of a map",
        hints=(
            "Where is the largest value? Then look the mask up at that place.",
            "saliency.argmax() counts through all pixels; np.unravel_index turns it into a row and a column.",
            "Return whether mask[row, column] is True; a map of zeros has no peak, and the answer is False.",
        ),
        solution=peak_inside,
        cases=maps_and_masks,
        mistakes=(
            Mistake(
                "rows and columns are exchanged: an array is indexed by its row first.",
                lambda saliency, mask: bool(
                    saliency.any() and mask[np.unravel_index(saliency.argmax(), saliency.shape)[::-1]]
                ),
            ),
            Mistake(
                "a map of zeros has no peak, and so points at nothing.",
                lambda saliency, mask: bool(mask.flat[saliency.argmax()]),
            ),
            Mistake(
                "that asks whether any of the map lies inside; only the peak counts.",
                lambda saliency, mask: bool((saliency[mask] > 0).any()),
            ),
            Mistake(
                "that asks whether most of the map lies inside; only the peak counts.",
                lambda saliency, mask: share_inside(saliency, mask) > 0.5,
            ),
        ),
    ),
    Function(
        number="05.3",
        title="which pixels go first?",
        difficulty=2,
        minutes=15,
        purpose="deletion and insertion take an image apart in the order of a map",
        hints=(
            "Sort the pixels, and mark the first few of them. How many are they?",
            "np.argsort(..., axis=None) gives the places of all pixels in ascending order, as if they stood in a row. "
            "How do you get descending order with the first of equal pixels still first?",
            "Sort the negative map with kind=“stable”, set the first round(share · size) places of an array of False "
            "to True, and reshape it.",
        ),
        solution=taken_first,
        cases=maps_and_shares,
        mistakes=(
            Mistake(
                "you take the least salient pixels first.",
                lambda saliency, share: ordered(saliency, share, saliency),
            ),
            Mistake(
                "of equal pixels, those further down go first with you; the upper left ones should.",
                lambda saliency, share: ordered(saliency, share, saliency, turned=True),
            ),
            Mistake(
                "of equal pixels, any go first with you: not every way of sorting keeps their order.",
                lambda saliency, share: ordered(-saliency, share, saliency, kind=None),
            ),
            Mistake(
                "of equal pixels, any go first with you: not every way of sorting keeps their order, and turning an "
                "order round does not keep it either.",
                lambda saliency, share: ordered(saliency, share, saliency, turned=True, kind=None),
            ),
            Mistake(
                "your number of pixels is cut off where it should be rounded.",
                lambda saliency, share: ordered(-saliency, share, saliency, whole=int),
            ),
            Mistake(
                "your number of pixels is rounded up where it should be rounded to the nearest.",
                lambda saliency, share: ordered(-saliency, share, saliency, whole=math.ceil),
            ),
            Mistake(
                "with a share of 0 you take all pixels: [-0:] is the same as [0:]. And of equal pixels, those further "
                "down go first with you.",
                lambda saliency, share: ordered(saliency, share or 1.0, saliency, turned=True),
            ),
            Mistake(
                "every row is sorted by itself, so that your order counts columns; sort all pixels at once.",
                lambda saliency, share: ordered(-saliency, share, saliency, axis=-1),
            ),
            Mistake(
                "you cut the map at a share of its largest value. How many pixels that are depends on the map; the "
                "share is one of the pixels.",
                lambda saliency, share: saliency >= (1 - share) * saliency.max(),
            ),
            Mistake(
                "you cut at a quantile: of equal pixels either all go or none, so that their number is another one.",
                lambda saliency, share: saliency > np.quantile(saliency, 1 - share),
            ),
            Mistake(
                "you cut at a quantile: of equal pixels either all go or none, and a share of 0 still takes one.",
                lambda saliency, share: saliency >= np.quantile(saliency, 1 - share),
            ),
            Mistake(
                "those are the pixels that stay; the ones that go are asked for.",
                lambda saliency, share: ~taken_first(saliency, share),
            ),
        ),
    ),
    Function(
        number="05.4",
        title="how rare is such a score?",
        difficulty=1,
        minutes=10,
        purpose="a p-value without any formula of a distribution",
        hints=(
            "Count: how many of the images without the target score as high as the new one, or higher?",
            "The new image counts as one of them: where in the fraction do you see that?",
            "One more than the count, divided by one more than the number of images without the target.",
        ),
        solution=p_value,
        cases=scores_and_calibrations,
        mistakes=(
            Mistake(
                "the new image itself is left out, above and below the line: so a p-value could be 0.",
                lambda score, without: np.mean(without >= score),
            ),
            Mistake(
                "the 1 above the line is missing: a p-value is never 0.",
                lambda score, without: np.sum(without >= score) / (len(without) + 1),
            ),
            Mistake(
                "the 1 below the line is missing: a p-value is never more than 1.",
                lambda score, without: (1 + np.sum(without >= score)) / len(without),
            ),
            Mistake(
                "those with exactly the same score count, too: at least as high.",
                lambda score, without: (1 + np.sum(without > score)) / (len(without) + 1),
            ),
            Mistake(
                "you count those that score lower; a high score speaks for the target.",
                lambda score, without: (1 + np.sum(without <= score)) / (len(without) + 1),
            ),
            Mistake("that is 1 − p.", lambda score, without: 1 - p_value(score, without)),
        ),
    ),
    Function(
        number="05.5",
        title="how many alarms are right?",
        difficulty=2,
        minutes=10,
        purpose="a small p-value says little where tumours are rare",
        hints=(
            "Imagine a thousand images. How many have a tumour, and how many of these are reported? And of the others?",
            "Right alarms are a share of those with a tumour, false alarms a share of those without.",
            "Right: prevalence · (1 − missed). Wrong: (1 − prevalence) · false_alarms. Which share of both is right?",
        ),
        solution=share_right,
        cases=tests_in_a_clinic,
        mistakes=(
            Mistake(
                "how frequent tumours are plays no part in yours. Where they are rare, nearly all images may give "
                "false alarms.",
                lambda prevalence, missed, false_alarms: (1 - missed) / (1 - missed + false_alarms),
            ),
            Mistake(
                "that is how many tumours are reported; of those reported, how many are tumours?",
                lambda prevalence, missed, false_alarms: 1 - missed,
            ),
            Mistake(
                "missed tumours raise no alarm; those that are found do.",
                lambda prevalence, missed, false_alarms: share_right(prevalence, 1 - missed, false_alarms),
            ),
            Mistake(
                "false alarms come from the images without a tumour only: weigh their share with 1 − prevalence.",
                lambda prevalence, missed, false_alarms: (
                    prevalence * (1 - missed) / (prevalence * (1 - missed) + false_alarms)
                ),
            ),
            Mistake(
                "that is the share of alarms that are wrong.",
                lambda prevalence, missed, false_alarms: 1 - share_right(prevalence, missed, false_alarms),
            ),
            Mistake(
                "that is the share of all images that are right alarms; divide by the share that are alarms.",
                lambda prevalence, missed, false_alarms: prevalence * (1 - missed),
            ),
            Mistake(
                "you took 1 minus the level of the test for the answer: it is not the chance that an alarm is right.",
                lambda prevalence, missed, false_alarms: 1 - false_alarms,
            ),
        ),
    ),
)
