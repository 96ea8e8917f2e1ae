"""Exercises of chapter 7, zero-shot evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .exercise import Exercise, Function, Mistake


def interval(scores, drawn):
    means = scores[drawn].mean(axis=1)
    return np.quantile(means, [0.025, 0.975])


def paired_statistic(first, second):
    gains = first - second
    return gains.mean() / (gains.std(ddof=1) / np.sqrt(len(gains)))


def holm(p_values):
    order = np.argsort(p_values)
    factors = np.arange(len(p_values), 0, -1)
    corrected = np.empty(len(p_values))
    corrected[order] = np.maximum.accumulate(p_values[order] * factors).clip(max=1)
    return corrected


def mean_dsc(score, misses, false_alarms):
    with_target = (1 - misses) * score
    without_target = 1 - false_alarms
    return (with_target + without_target) / 2


def share_better(before, after):
    return (after > before).mean()


def scores_and_redraws(generator: np.random.Generator) -> Sequence[tuple[Any, ...]]:
    """Give two images drawn four times, images that are all alike, and random scores with random redraws."""
    two = np.array([0.0, 1.0]), np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
    alike = np.full(5, 0.8), generator.integers(0, 5, (30, 5))
    random = []
    for _ in range(5):
        n = int(generator.integers(4, 30))
        random.append((generator.beta(4, 2, n), generator.integers(0, n, (int(generator.integers(40, 300)), n))))
    return [two, alike, *random]


def pairs_of_scores(generator: np.random.Generator) -> Sequence[tuple[Any, ...]]:
    """Give four images by hand, two of them, and random scores of two ways on images that differ in difficulty."""
    four = np.array([0.8, 0.6, 0.9, 0.7]), np.array([0.7, 0.6, 0.8, 0.5])
    two = np.array([0.9, 0.5]), np.array([0.5, 0.6])
    random = []
    for _ in range(5):
        easy = generator.uniform(0.2, 0.9, int(generator.integers(3, 40)))
        random.append(tuple(easy + generator.normal(0, 0.05, len(easy)) for _ in range(2)))
    return [four, two, *random]


def p_values_of_several(generator: np.random.Generator) -> Sequence[tuple[Any, ...]]:
    """Give three by hand in no order, a single one, some that end above 1, and random ones."""
    by_hand = ([0.01, 0.04, 0.03], [0.2], [0.5, 0.9], [0.9, 0.6, 0.001, 0.0004])
    random = [generator.uniform(0, 1, size) ** 3 for size in generator.integers(3, 12, 5)]
    return [(np.array(values),) for values in (*by_hand, *random)]


def rates_of_a_test(generator: np.random.Generator) -> Sequence[tuple[Any, ...]]:
    """Give a test that never errs, one that is always silent, one that never is, and random ones."""
    by_hand = ((0.85, 0.06, 0.04), (0.8, 0.0, 0.0), (0.8, 1.0, 0.0), (0.8, 0.0, 1.0))
    return [*by_hand, *(tuple(generator.uniform(0.05, 0.95, 3).round(2).tolist()) for _ in range(5))]


def scores_before_and_after(generator: np.random.Generator) -> Sequence[tuple[Any, ...]]:
    """Give one image of each kind (better, worse, the same), a single one, and random scores with some that stay."""
    by_hand = [
        (np.array([0.5, 0.5, 0.5]), np.array([0.6, 0.4, 0.5])),
        (np.array([0.0, 0.8]), np.array([0.9, 0.7])),
        (np.array([0.3]), np.array([0.9])),
    ]
    random = []
    for _ in range(5):
        before = generator.uniform(0, 1, int(generator.integers(4, 40))).round(1)
        random.append((before, np.clip(before + generator.choice([-0.1, 0, 0, 0.1, 0.4], len(before)), 0, 1)))
    return [*by_hand, *random]


EXERCISES: tuple[Exercise, ...] = (
    Function(
        number="07.1",
        title="an interval for a mean",
        difficulty=2,
        minutes=10,
        purpose="a mean of twenty images is worth little without one",
        hints=(
            "Each row of `drawn` is one set of images that you might have had. What is the mean score of that set?",
            "`scores[drawn]` has the shape of `drawn`: one row for each redraw. Take one mean of each row.",
            "np.quantile gives the ends: one in forty of the means should lie below the lower one, one in forty above "
            "the upper one.",
        ),
        solution=interval,
        cases=scores_and_redraws,
        mistakes=(
            Mistake(
                "that is the middle 90 % of the means. For 95 %, how much may lie outside of each end?",
                lambda scores, drawn: np.quantile(scores[drawn].mean(axis=1), [0.05, 0.95]),
            ),
            Mistake(
                "you took the mean along the wrong axis: one redraw is a row of `drawn`.",
                lambda scores, drawn: np.quantile(scores[drawn].mean(axis=0), [0.025, 0.975]),
            ),
            Mistake(
                "that is the range of single images, which does not shrink with more of them; the range of their mean "
                "is asked for.",
                lambda scores, drawn: np.quantile(scores[drawn], [0.025, 0.975]),
            ),
            Mistake(
                "that is the range of the scores themselves: you have not used `drawn`.",
                lambda scores, drawn: np.quantile(scores, [0.025, 0.975]),
            ),
            Mistake(
                "mean ± 1.96 standard errors takes the means for normally distributed; read the ends off the redraws.",
                lambda scores, drawn: (
                    scores.mean() + np.array([-1.96, 1.96]) * scores.std(ddof=1) / np.sqrt(len(scores))
                ),
            ),
            Mistake(
                "mean ± 1.96 deviations of the redrawn means takes these for normally distributed; read the ends off "
                "the redraws themselves.",
                lambda scores, drawn: scores.mean() + np.array([-1.96, 1.96]) * scores[drawn].mean(axis=1).std(),
            ),
        ),
    ),
    Function(
        number="07.2",
        title="is the gain larger than its noise?",
        difficulty=1,
        minutes=10,
        purpose="the number behind every paired test of this book",
        hints=(
            "Both ways saw the same images. What can you compute for each image that no longer depends on how hard "
            "it is?",
            "Divide the mean of the gains by its standard error: how far would that mean stray from set to set?",
            "The standard error is the standard deviation of the gains, with n − 1 below the sum of squares "
            "(`ddof=1`), divided by the root of n.",
        ),
        solution=paired_statistic,
        cases=pairs_of_scores,
        mistakes=(
            Mistake(
                "that is the test for two groups of *different* images; these scores come in pairs.",
                lambda first, second: (
                    (first.mean() - second.mean())
                    / np.sqrt(first.var(ddof=1) / len(first) + second.var(ddof=1) / len(second))
                ),
            ),
            Mistake(
                "the deviation of a sample has n − 1 in the denominator; numpy takes n unless you say `ddof=1`.",
                lambda first, second: paired_statistic(first, second) * np.sqrt(len(first) / (len(first) - 1)),
            ),
            Mistake(
                "you divide by the deviation of single gains. That of their *mean* is smaller: where is n?",
                lambda first, second: (first - second).mean() / (first - second).std(ddof=1),
            ),
            Mistake(
                "you divide by n where its root belongs.",
                lambda first, second: paired_statistic(first, second) * np.sqrt(len(first)),
            ),
            Mistake(
                "you subtract the first from the second; a positive result should mean that the first is better.",
                lambda first, second: paired_statistic(second, first),
            ),
        ),
    ),
    Function(
        number="07.3",
        title="Holm's correction",
        difficulty=2,
        minutes=15,
        purpose="try often enough, and you will find something",
        hints=(
            "Begin with the smallest p-value. By how much is it multiplied, and the next one?",
            "np.argsort gives the order; np.maximum.accumulate keeps the largest so far; np.minimum or clip ends at 1.",
            "Put the results back: `corrected[order] = …` undoes the sorting.",
        ),
        solution=holm,
        cases=p_values_of_several,
        mistakes=(
            Mistake(
                "that is Bonferroni's correction, which multiplies all of them by n. Holm's is milder from the second "
                "one on.",
                lambda p: np.minimum(p * len(p), 1),
            ),
            Mistake(
                "one of your values is smaller than one before it in the order: keep the largest so far.",
                lambda p: np.minimum(p * (len(p) - np.argsort(np.argsort(p))), 1),
            ),
            Mistake("some of your values are above 1, and no p-value is.", lambda p: _unlimited(p)),
            Mistake(
                "the values are right, and they are sorted: give them in the order in which they came.",
                lambda p: np.sort(holm(p)),
            ),
            Mistake(
                "the values are right, and each stands at another place. order[k] says where the k-th smallest comes "
                "*from*; your last step reads it the other way round.",
                lambda p: np.sort(holm(p))[np.argsort(p)],
            ),
            Mistake(
                "your factors are too small by one: you multiply the largest p-value by 0.",
                lambda p: _unlimited(p, last=0).clip(max=1),
            ),
            Mistake(
                "your factors grow: the *smallest* p-value is multiplied by n.",
                lambda p: np.minimum(p * (1 + np.argsort(np.argsort(p))), 1),
            ),
            Mistake(
                "that is the correction of Benjamini and Hochberg, which limits the share of false discoveries.",
                lambda p: _false_discoveries(p),
            ),
        ),
    ),
    Function(
        number="07.4",
        title="what does it cost to ask first?",
        difficulty=1,
        minutes=10,
        purpose="a presence test trades missed targets for false alarms",
        hints=(
            "There are four kinds of images: with and without the target, and each may be answered or not. What does "
            "each kind score?",
            "With the target: those that were not missed score `score`, the others 0. Without: silence scores 1.",
            "Half of the images show the target, so take the mean of both halves.",
        ),
        solution=mean_dsc,
        cases=rates_of_a_test,
        mistakes=(
            Mistake(
                "a missed target still counts: its mask is empty and scores 0.",
                lambda score, misses, false_alarms: (score + 1 - false_alarms) / 2,
            ),
            Mistake(
                "without the target it is the false alarm that scores 0, and silence that is right.",
                lambda score, misses, false_alarms: ((1 - misses) * score + false_alarms) / 2,
            ),
            Mistake(
                "with the target it is the miss that scores 0.",
                lambda score, misses, false_alarms: (misses * score + 1 - false_alarms) / 2,
            ),
            Mistake(
                "that is the sum of the two halves; the mean over all images is asked for.",
                lambda score, misses, false_alarms: (1 - misses) * score + 1 - false_alarms,
            ),
            Mistake(
                "an empty mask where there is nothing is completely right: it scores 1.",
                lambda score, misses, false_alarms: ((1 - misses) * score + (1 - false_alarms) * score) / 2,
            ),
            Mistake(
                "that is for images that all show the target; half of them do not.",
                lambda score, misses, false_alarms: (1 - misses) * score,
            ),
        ),
    ),
    Function(
        number="07.5",
        title="how often does it help?",
        difficulty=1,
        minutes=5,
        purpose="a better mean may hide many images that got worse",
        hints=(
            "Compare image by image, and only then sum up.",
            "`after > before` is True where it helps. What is the mean of True and False?",
            "One comparison of the two arrays and one mean; an image that stays the same was not helped.",
        ),
        solution=share_better,
        cases=scores_before_and_after,
        mistakes=(
            Mistake("you count images that stay the same as better.", lambda before, after: (after >= before).mean()),
            Mistake("that is where it got worse.", lambda before, after: (after < before).mean()),
            Mistake("that is the number of images; their share is asked for.", lambda b, a: (a > b).sum()),
            Mistake("that is the mean gain; how many images gain is asked for.", lambda b, a: (a - b).mean()),
            Mistake("that is in percent; a fraction is asked for.", lambda b, a: 100 * (a > b).mean()),
        ),
    ),
)


def _unlimited(p: np.ndarray, last: int = 1) -> np.ndarray:
    order, corrected = np.argsort(p), np.empty(len(p))
    corrected[order] = np.maximum.accumulate(p[order] * (np.arange(len(p))[::-1] + last))
    return corrected


def _false_discoveries(p: np.ndarray) -> np.ndarray:
    order, corrected = np.argsort(p), np.empty(len(p))
    raised = p[order] * len(p) / np.arange(1, len(p) + 1)
    corrected[order] = np.minimum.accumulate(raised[::-1])[::-1].clip(max=1)
    return corrected
