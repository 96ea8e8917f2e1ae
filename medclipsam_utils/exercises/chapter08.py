"""Exercises of chapter 8, weak supervision."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .exercise import Exercise, Function, Mistake


def rate(step, cycle_length, peak, gamma):
    within = step % cycle_length
    return peak * (1 - min(within, gamma * cycle_length) / cycle_length) ** 0.9


def combine(members):
    probability = members.mean(axis=0)
    return probability, probability > 0.5


def bits(probability):
    inside = np.clip(probability, 1e-12, 1 - 1e-12)
    return -inside * np.log2(inside) - (1 - inside) * np.log2(1 - inside)


def two_bin_ece(probability, target):
    error = 0
    for inside in (probability < 0.5, probability >= 0.5):
        if inside.any():
            gap = target[inside].mean() - probability[inside].mean()
            error = error + inside.mean() * abs(gap)
    return error


def kept_scores(uncertainty, scores):
    surest_first = scores[np.argsort(uncertainty)]
    return np.cumsum(surest_first) / np.arange(1, len(scores) + 1)


def steps_of_cycles(generator: np.random.Generator) -> Sequence[tuple[Any, ...]]:
    """Give the first step, one in the third cycle, the ends of a cycle, and random ones."""
    by_hand = [(0, 50, 1.0, 0.8), (125, 50, 2.0, 0.8), (49, 50, 1.0, 0.8), (50, 50, 1.0, 0.8), (7, 10, 0.5, 1.0)]
    random = []
    for _ in range(8):
        length = int(generator.integers(10, 80))
        peak, gamma = generator.uniform(0.5, 3), generator.uniform(0.3, 1)
        random.append((int(generator.integers(0, 4 * length)), length, float(peak), float(gamma)))
    return [*by_hand, *random]


def members_of_ensembles(generator: np.random.Generator) -> Sequence[tuple[Any, ...]]:
    """Give three models of which one is very sure, a tie, a single model, and random ones."""
    sure = np.array([[[0.95, 0.3]], [[0.4, 0.3]], [[0.4, 0.3]]])
    tie = np.array([[[0.25, 0.5]], [[0.75, 0.5]]])
    single = np.array([[[0.9, 0.1], [0.6, 0.45]]])
    low = np.array([[[0.3, 0.25]], [[0.35, 0.6]], [[0.3, 0.7]]])
    random = []
    for _ in range(5):
        shape = (int(generator.integers(2, 7)), int(generator.integers(2, 7)), int(generator.integers(2, 7)))
        random.append(generator.beta(0.4, 0.4, shape).clip(1e-4, 1 - 1e-4))
    return [(members,) for members in (sure, tie, single, low, *random)]


def probabilities(generator: np.random.Generator) -> Sequence[tuple[Any, ...]]:
    """Give what is sure, what is even, one of ten, and random maps."""
    by_hand = [np.array([0.0, 0.5, 1.0]), np.array([0.1, 0.9]), np.array([[0.01, 0.37], [0.63, 0.99]])]
    return [(values,) for values in (*by_hand, *(generator.uniform(0, 1, (4, 5)) for _ in range(4)))]


def pixels_with_truth(generator: np.random.Generator) -> Sequence[tuple[Any, ...]]:
    """Give four pixels by hand, an empty bin on either side, pixels at ½, errors that cancel, and random pixels."""
    by_hand = [
        ([0.2, 0.2, 0.8, 0.8], [0, 0, 1, 0]),
        ([0.9, 0.7], [1, 1]),
        ([0.1, 0.3, 0.2], [0, 1, 0]),
        ([0.5, 0.2, 0.5], [1, 0, 1]),
        ([0.2, 0.2, 0.8, 0.8], [1, 0, 1, 0]),
    ]
    cases = [(np.array(predicted), np.array(truth)) for predicted, truth in by_hand]
    for _ in range(5):
        predicted = generator.beta(0.8, 1.5, int(generator.integers(10, 80)))
        cases.append((predicted, (generator.random(len(predicted)) < predicted**2).astype(int)))
    return cases


def uncertainties_and_scores(generator: np.random.Generator) -> Sequence[tuple[Any, ...]]:
    """Give five images by hand, a single one, and random ones whose scores fall with the uncertainty, more or less."""
    by_hand = [([0.1, 0.4, 0.2, 0.9, 0.3], [0.9, 0.8, 0.7, 0.2, 0.9]), ([0.3], [0.6])]
    cases = [(np.array(unsure), np.array(scores)) for unsure, scores in by_hand]
    for _ in range(5):
        unsure = generator.permutation(np.linspace(0.05, 1, int(generator.integers(4, 30))))
        cases.append((unsure, np.clip(1 - unsure / 2 + generator.normal(0, 0.2, len(unsure)), 0, 1)))
    return cases


EXERCISES: tuple[Exercise, ...] = (
    Function(
        number="08.1",
        title="a learning rate that starts again",
        difficulty=1,
        minutes=10,
        purpose="one training then gives many models",
        hints=(
            "Only the place *within* its cycle matters for a step. How do you get it?",
            "`step % cycle_length` is that place. Up to `gamma * cycle_length` the rate falls, then it stays.",
            "The smaller of the place and `gamma * cycle_length`, as a share of the cycle, is what is lost; what is "
            "left is raised to the power of 0.9 and multiplied by the peak.",
        ),
        solution=rate,
        cases=steps_of_cycles,
        mistakes=(
            Mistake(
                "your rate never starts again: count the steps from the beginning of the *cycle*, not of the training.",
                lambda step, cycle_length, peak, gamma: (
                    peak * (1 - min(step, gamma * cycle_length) / cycle_length) ** 0.9
                ),
            ),
            Mistake(
                "your rate falls to the end of the cycle: after the share γ of it, it should stay where it is.",
                lambda step, cycle_length, peak, gamma: rate(step, cycle_length, peak, 1.0),
            ),
            Mistake(
                "your rate rises within a cycle, as in a warm-up; it should begin at the peak and fall.",
                lambda step, cycle_length, peak, gamma: (
                    peak * (min(step % cycle_length, gamma * cycle_length) / cycle_length) ** 0.9
                ),
            ),
            Mistake(
                "you count from 1: the first step of a cycle, number 0, has the peak itself.",
                lambda step, cycle_length, peak, gamma: (
                    peak * (1 - min(step % cycle_length + 1, gamma * cycle_length) / cycle_length) ** 0.9
                ),
            ),
            Mistake(
                "your rate falls along a straight line: the exponent is missing.",
                lambda step, cycle_length, peak, gamma: (
                    rate(step, cycle_length, peak, gamma) ** (1 / 0.9) * peak ** (1 - 1 / 0.9)
                ),
            ),
            Mistake(
                "your rate falls all the way to zero when it reaches the share γ: divide by the length of the whole "
                "cycle.",
                lambda step, cycle_length, peak, gamma: (
                    peak * max(1 - (step % cycle_length) / (gamma * cycle_length), 0) ** 0.9
                ),
            ),
        ),
    ),
    Function(
        number="08.2",
        title="an ensemble",
        difficulty=1,
        minutes=10,
        purpose="what several models say together, before anyone cuts",
        hints=(
            "Which comes first, to average or to cut?",
            "A model that is sure should weigh more than one that wavers. A mask no longer knows how sure it was.",
            "Average over the models, the first axis, and cut that mean; give back both.",
        ),
        solution=combine,
        cases=members_of_ensembles,
        mistakes=(
            Mistake(
                "you cut each model first and let the masks vote: a model that is nearly sure then counts no more than "
                "one that wavers.",
                lambda members: (members.mean(axis=0), (members > 0.5).mean(axis=0) > 0.5),
            ),
            Mistake(
                "that is the share of models whose mask holds the pixel: average before you cut.",
                lambda members: ((members > 0.5).mean(axis=0), (members > 0.5).mean(axis=0) > 0.5),
            ),
            Mistake(
                "you average the logits, so one very sure model outweighs all others; the mean of the *probabilities* "
                "is asked for.",
                lambda members: _mean_of_logits(members),
            ),
            Mistake(
                "you cut at 0.2, as the released code does; the mask holds what is more likely target than not.",
                lambda members: (members.mean(axis=0), members.mean(axis=0) > 0.2),
            ),
            Mistake(
                "you took the model that is most sure of the target; the mean over the models is asked for.",
                lambda members: (members.max(axis=0), members.max(axis=0) > 0.5),
            ),
            Mistake(
                "that is the mean alone: give back the mask as well, as `return probability, mask`.",
                lambda members: members.mean(axis=0),
            ),
            Mistake(
                "that is the mask alone: give back the mean as well, as `return probability, mask`.",
                lambda members: members.mean(axis=0) > 0.5,
            ),
            Mistake(
                "at exactly ½ neither is more likely: such a pixel stays outside.",
                lambda members: (members.mean(axis=0), members.mean(axis=0) >= 0.5),
            ),
        ),
    ),
    Function(
        number="08.3",
        title="the entropy of a pixel",
        difficulty=2,
        minutes=10,
        purpose="the paper's uncertainty, and a slip of its released code",
        hints=(
            "A pixel is target or not. How many terms does the sum have?",
            "Logarithms to base 2 give bits: np.log2. What is the probability of the other class?",
            "At 0 and 1 the logarithm has no value, while the term tends to 0: clip the probability a hair inside, "
            "say by 1e-12.",
        ),
        solution=bits,
        cases=probabilities,
        mistakes=(
            Mistake(
                "you add up one class only, as the released code does: it is largest at 0.37 instead of ½.",
                lambda p: np.where(p > 0, -p * np.log2(np.clip(p, 1e-12, 1)), 0.0),
            ),
            Mistake("these are nats: take the logarithm to base 2 for bits.", lambda p: bits(p) * np.log(2)),
            Mistake("you took the logarithm to base 10; bits have base 2.", lambda p: bits(p) * np.log10(2)),
            Mistake(
                "that is P (1 − P), the variance: it has its top at ½ as well, but it is no entropy.",
                lambda p: p * (1 - p),
            ),
            Mistake(
                "at 0 and 1 you get nan: 0 · log 0 has no value for numpy. Its limit is 0.",
                lambda p: _bits_without_ends(p),
            ),
        ),
    ),
    Function(
        number="08.4",
        title="calibration with two bins",
        difficulty=2,
        minutes=15,
        purpose="may you believe a probability?",
        hints=(
            "Take one bin at a time: what was predicted on average, and which share is target?",
            "Weigh the distance of the two by the share of all pixels that is in this bin.",
            "A bin may be empty: skip it. 0.5 itself belongs to the upper one.",
        ),
        solution=two_bin_ece,
        cases=pixels_with_truth,
        mistakes=(
            Mistake(
                "both bins count the same for you: weigh each by its share of the pixels.",
                lambda p, y: np.mean([abs(y[b].mean() - p[b].mean()) for b in (p < 0.5, p >= 0.5) if b.any()]),
            ),
            Mistake(
                "that is the sum over the bins; each counts by its share of the pixels.",
                lambda p, y: sum(abs(y[b].mean() - p[b].mean()) for b in (p < 0.5, p >= 0.5) if b.any()),
            ),
            Mistake(
                "a bin that is too sure and one that is not sure enough cancel each other: take the distance of each "
                "before you add.",
                lambda p, y: abs(y.mean() - p.mean()),
            ),
            Mistake(
                "you compare pixel by pixel. No single pixel can be 80 % target: compare means of a bin.",
                lambda p, y: np.abs(y - p).mean(),
            ),
            Mistake(
                "that is the mean squared difference, the Brier score; calibration compares means of a bin.",
                lambda p, y: ((y - p) ** 2).mean(),
            ),
            Mistake(
                "you compare with the middle of the bin; what was predicted is the mean of the probabilities in it.",
                lambda p, y: sum(
                    b.mean() * abs(y[b].mean() - middle) for b, middle in ((p < 0.5, 0.25), (p >= 0.5, 0.75)) if b.any()
                ),
            ),
            Mistake(
                "0.5 itself belongs to the upper bin.",
                lambda p, y: sum(b.mean() * abs(y[b].mean() - p[b].mean()) for b in (p <= 0.5, p > 0.5) if b.any()),
            ),
        ),
    ),
    Function(
        number="08.5",
        title="risk and coverage",
        difficulty=2,
        minutes=10,
        purpose="is the uncertainty worth anything?",
        hints=(
            "Sort the images so that the most certain one comes first. Which score belongs to it?",
            "np.argsort(uncertainty) gives that order; index the scores with it.",
            "np.cumsum adds up the scores so far. Divide by how many they are: 1, 2, 3, …",
        ),
        solution=kept_scores,
        cases=uncertainties_and_scores,
        mistakes=(
            Mistake(
                "you keep the most *uncertain* images and hand over the others.",
                lambda unsure, scores: kept_scores(-unsure, scores),
            ),
            Mistake(
                "you sorted by the score itself, which nobody knows beforehand: that is the best any uncertainty "
                "could do.",
                lambda unsure, scores: kept_scores(-scores, scores),
            ),
            Mistake(
                "these are sums; divide each by the number of images that are kept.",
                lambda unsure, scores: np.cumsum(scores[np.argsort(unsure)]),
            ),
            Mistake(
                "these are the scores in the right order; the mean of all that are kept so far is asked for.",
                lambda unsure, scores: scores[np.argsort(unsure)],
            ),
            Mistake(
                "you have not sorted: the images come in no order of uncertainty.",
                lambda unsure, scores: np.cumsum(scores) / np.arange(1, len(scores) + 1),
            ),
            Mistake(
                "your curve runs from all images to one; it should begin with the most certain one alone.",
                lambda unsure, scores: kept_scores(unsure, scores)[::-1],
            ),
        ),
    ),
)


def _mean_of_logits(members: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    logits = np.log(members / (1 - members)).mean(axis=0)
    probability = 1 / (1 + np.exp(-logits))
    return probability, probability > 0.5


def _bits_without_ends(probability: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore", invalid="ignore"):
        return -probability * np.log2(probability) - (1 - probability) * np.log2(1 - probability)
