"""Labels with errors: spoil them, correct a loss for it, measure agreement, and fuse raters."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from medclipsam_utils.exercises import Mistake

from ..steps import Arguments, Numbers, Part, Solution, Step


def transition(generator: np.random.Generator, classes: int) -> np.ndarray:
    """Give probabilities [C, C] that a label becomes another one; each row sums to 1."""
    chance = generator.dirichlet(np.ones(classes), classes) * 0.4 + 0.6 * np.eye(classes)
    return chance.round(3) + np.eye(classes) * (1 - chance.round(3).sum(1, keepdims=True))


# --- spoil


def spoiled(generator: np.random.Generator, classes: int) -> list[Arguments]:
    return [
        (generator.integers(0, classes, shape), transition(generator, classes), generator.random(shape))
        for shape in ((4, 5), (9, 7), (16, 16))
    ]


def two_classes(generator: np.random.Generator) -> list[Arguments]:
    by_hand = (np.array([[0, 0, 1, 1]]), np.array([[0.75, 0.25], [0.5, 0.5]]), np.array([[0.7, 0.8, 0.4, 0.6]]))
    exactly = (np.array([[0, 1, 0]]), np.array([[0.75, 0.25], [0.5, 0.5]]), np.array([[0.75, 0.5, 0.25]]))
    return [by_hand, exactly, *spoiled(generator, 2)]


def more_classes(generator: np.random.Generator) -> list[Arguments]:
    rounded = np.full((3, 3), 1 / 3) - 1e-6  # rows whose sums stay below the largest random number
    return [
        *spoiled(generator, 3),
        *spoiled(generator, 4),
        (np.array([[0, 1, 2]]), rounded, np.full((1, 3), 0.9999999)),
    ]


def spoil_mistakes(solution: Solution, numbers: Numbers) -> Sequence[Mistake]:
    def flipped(labels: np.ndarray, chance: np.ndarray, uniform: np.ndarray) -> np.ndarray:
        return np.where(uniform < chance[labels, labels], labels, len(chance) - 1 - labels)

    def off(labels: np.ndarray, chance: np.ndarray, uniform: np.ndarray) -> np.ndarray:
        return np.minimum(solution(labels, chance, uniform) + 1, len(chance) - 1)

    def first_above(sums: np.ndarray, uniform: np.ndarray) -> np.ndarray:
        return (sums > uniform[..., None]).argmax(-1)

    return (
        Mistake(
            "where the running sum never gets above u, the last label is written; np.argmax of nothing but False is 0.",
            lambda y, t, u: first_above(t.cumsum(1)[y], u),
        ),
        Mistake(
            "the running sum has to be above u; where it is exactly u, the next label is written.",
            lambda y, t, u: np.minimum((t.cumsum(1)[y] < u[..., None]).sum(-1), len(t) - 1),
        ),
        Mistake(
            "that compares u with each probability by itself; sum them up along the row first.",
            lambda y, t, u: first_above(t[y], u),
        ),
        Mistake(
            "rows and columns of the matrix are exchanged: row c says what becomes of label c.",
            lambda y, t, u: solution(y, (t.T / t.T.sum(1, keepdims=True)), u),
        ),
        Mistake("a label that changes does not always become the opposite one: sum up along its row.", flipped),
        Mistake(
            "you count from the other end: the first label whose running sum is above u.",
            lambda y, t, u: len(t) - 1 - solution(len(t) - 1 - y, t[::-1, ::-1], u),
        ),
        Mistake("that is one label too far.", off),
        Mistake("nothing is spoiled: those are the labels themselves.", lambda y, t, u: y),
    )


# --- corrected_loss


def guesses(generator: np.random.Generator) -> list[Arguments]:
    return [
        (
            generator.dirichlet(np.ones(classes), size),
            generator.integers(0, classes, size),
            transition(generator, classes),
        )
        for size, classes in ((4, 2), (9, 3), (15, 4))
    ]


def sure_guesses(generator: np.random.Generator) -> list[Arguments]:
    """Give guesses of 0 and 1 under labels that are never spoiled, so that some have the probability 0."""
    classes = generator.integers(0, 3, 12)
    written = np.where(generator.random(12) < 0.5, classes, generator.integers(0, 3, 12))
    written[0] = (classes[0] + 1) % 3
    return [(np.eye(3)[classes], written, np.eye(3))]


def loss_mistakes(solution: Solution, numbers: Numbers) -> Sequence[Mistake]:
    def plain(p: np.ndarray, y: np.ndarray, t: np.ndarray) -> float:
        return float(-np.log(np.maximum(p[np.arange(len(y)), y], 1e-12)).mean())

    def backward(p: np.ndarray, y: np.ndarray, t: np.ndarray) -> float:
        losses = -np.log(np.maximum(p, 1e-12))
        return float((losses @ np.linalg.inv(t).T)[np.arange(len(y)), y].mean())

    def open_end(p: np.ndarray, y: np.ndarray, t: np.ndarray) -> float:
        with np.errstate(divide="ignore"):
            return float(-np.log((p @ t)[np.arange(len(y)), y]).mean())

    return (
        Mistake("that is the cross-entropy with the spoiled labels; the matrix is not used.", plain),
        Mistake(
            "rows and columns of the matrix are exchanged: row c says what becomes of class c.",
            lambda p, y, t: plain(p @ t.T, y, t),
        ),
        Mistake("that corrects the losses by the inverse; correct the probabilities by the matrix itself.", backward),
        Mistake(
            "that mixes logarithms; mix the probabilities first, and take the logarithm of the mixture.",
            lambda p, y, t: float((-np.log(np.maximum(p, 1e-12)) @ t)[np.arange(len(y)), y].mean()),
        ),
        Mistake("that is the sum; the mean over the pixels is asked for.", lambda p, y, t: len(y) * solution(p, y, t)),
        Mistake("the logarithm of 0 is not finite: no probability below 1e-12 goes into it.", open_end),
    )


# --- kappa


def raters(generator: np.random.Generator, labels: Sequence[int]) -> list[Arguments]:
    cases = []
    for shape in ((6, 5), (12, 9)):
        first = generator.choice(labels, shape, p=generator.dirichlet(np.full(len(labels), 3.0)))
        second = np.where(generator.random(shape) < 0.3, generator.choice(labels, shape), first)
        cases.append((first, second))
    return cases


def two_labels(generator: np.random.Generator) -> list[Arguments]:
    return [(np.array([[1, 1, 0, 0]]), np.array([[1, 0, 0, 0]])), *raters(generator, (0, 1))]


def many_labels(generator: np.random.Generator) -> list[Arguments]:
    return [*raters(generator, (0, 1, 2)), *raters(generator, (-1, 3, 7, 8))]


def one_label(generator: np.random.Generator) -> list[Arguments]:
    labels = np.full(generator.integers(2, 30, 2), generator.integers(0, 9))
    return [(labels, labels)]


def kappa_mistakes(solution: Solution, numbers: Numbers) -> Sequence[Mistake]:
    def pooled(a: np.ndarray, b: np.ndarray) -> float:
        both = np.concatenate([a.ravel(), b.ravel()])
        chance = sum((both == label).mean() ** 2 for label in np.unique(both))
        return float(((a == b).mean() - chance) / (1 - chance))

    def of_one(mine: np.ndarray) -> float:
        return float(sum((mine == label).mean() ** 2 for label in np.unique(mine)))

    def even(a: np.ndarray, b: np.ndarray) -> float:
        chance = 1 / len(np.unique([a, b]))
        return float(((a == b).mean() - chance) / (1 - chance))

    def counted(a: np.ndarray, b: np.ndarray) -> float:
        chance = sum(float((a == c).mean() * (b == c).mean()) for c in range(int(max(a.max(), b.max())) + 1))
        return 1.0 if chance == 1 else float(((a == b).mean() - chance) / (1 - chance))

    def difference(a: np.ndarray, b: np.ndarray) -> float:
        return float((a == b).mean() - sum((a == c).mean() * (b == c).mean() for c in np.unique([a, b])))

    return (
        Mistake(
            "that is the share of pixels on which they agree; what chance would give has to be subtracted.",
            lambda a, b: (a == b).mean(),
        ),
        Mistake("divide by what is left above chance, 1 minus the expected agreement.", difference),
        Mistake("each rater has their own shares of the labels; yours are of both together.", pooled),
        Mistake(
            "chance multiplies the shares of one rater with those of the other; yours has the first rater's twice.",
            lambda a, b: ((a == b).mean() - of_one(a)) / (1 - of_one(a)),
        ),
        Mistake(
            "chance multiplies the shares of one rater with those of the other; yours has the second rater's twice.",
            lambda a, b: ((a == b).mean() - of_one(b)) / (1 - of_one(b)),
        ),
        Mistake("by chance, raters do not use all labels equally often: multiply their own shares.", even),
        Mistake("labels may be any integers, also negative ones: np.unique finds those that there are.", counted),
        Mistake(
            "two raters who only ever use the same label agree: 1, not 0 / 0.",
            lambda a, b: float("nan") if of_one(a) == of_one(b) == 1 else solution(a, b),
        ),
        Mistake(
            "two raters who only ever use the same label agree: 1, not 0.",
            lambda a, b: 0.0 if of_one(a) == of_one(b) == 1 else solution(a, b),
        ),
    )


# --- fused


def votes(generator: np.random.Generator) -> list[Arguments]:
    return [
        (
            generator.random((count, *shape)) < 0.5,
            generator.uniform(0.6, 0.98, count).round(3),
            generator.uniform(0.55, 0.99, count).round(3),
        )
        for count, shape in ((1, (3, 3)), (3, (5, 4)), (5, (6, 8)))
    ]


def bad_votes(generator: np.random.Generator) -> list[Arguments]:
    return [(generator.random((3, 6, 6)) < 0.5, np.array([0.9, 0.2, 0.8]), np.array([0.95, 0.3, 0.7]))]


def posterior(masks: np.ndarray, yes: np.ndarray, no: np.ndarray, prior: float, only_yes: bool = False) -> np.ndarray:
    shape = (-1, *[1] * (masks.ndim - 1))
    yes, no = yes.reshape(shape), no.reshape(shape)
    there = np.where(masks, yes, 1.0 if only_yes else 1 - yes).prod(0) * prior
    away = np.where(masks, 1 - no, 1.0 if only_yes else no).prod(0) * (1 - prior)
    return there / (there + away)


def fuse_mistakes(solution: Solution, numbers: Numbers) -> Sequence[Mistake]:
    prior = numbers["prior"]

    def clipped(masks: np.ndarray, yes: np.ndarray, no: np.ndarray) -> np.ndarray:
        return posterior(masks, np.maximum(yes, 0.5), np.maximum(no, 0.5), prior)

    return (
        Mistake("that is the share of the raters; their quality is not used.", lambda m, p, q: m.mean(0)),
        Mistake(
            "the prior is missing: before any rater is heard, the target is not as likely as not.",
            lambda m, p, q: posterior(m, p, q, 0.5),
        ),
        Mistake("sensitivity and specificity are exchanged.", lambda m, p, q: posterior(m, q, p, prior)),
        Mistake(
            "a rater who leaves a pixel out says something as well.", lambda m, p, q: posterior(m, p, q, prior, True)
        ),
        Mistake("that is the probability of the background.", lambda m, p, q: 1 - solution(m, p, q)),
        Mistake("a rater who is worse than chance is useful too: turn the vote round instead of ignoring it.", clipped),
    )


STEPS: tuple[Step, ...] = (
    Step("spoil", (Part("two classes", 2, two_classes), Part("more classes", 2, more_classes)), spoil_mistakes),
    Step(
        "corrected_loss",
        (Part("random guesses", 3, guesses), Part("guesses of 0 and 1", 1, sure_guesses)),
        loss_mistakes,
    ),
    Step(
        "kappa",
        (
            Part("two labels", 2, two_labels),
            Part("more labels", 2, many_labels),
            Part("one label only", 1, one_label),
        ),
        kappa_mistakes,
    ),
    Step("fused", (Part("good raters", 3, votes), Part("a rater worse than chance", 1, bad_votes)), fuse_mistakes),
)
