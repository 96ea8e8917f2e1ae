"""Ensembles: two kinds of doubt, cycles with a warm-up, snapshots, and a method that may refuse."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.special import entr

from medclipsam_utils.exercises import Mistake

from ..steps import Arguments, Numbers, Part, Solution, Step

# --- uncertainty_parts


def ensembles(generator: np.random.Generator) -> list[Arguments]:
    return [
        (
            np.moveaxis(generator.dirichlet(np.full(classes, 0.6), (count, *shape)), -1, 1),
            generator.uniform(0.2, 3, count).round(2),
        )
        for count, classes, shape in ((2, 2, (3, 4)), (4, 3, (5, 2)), (6, 4, (4, 4)))
    ]


def sure_ensembles(generator: np.random.Generator) -> list[Arguments]:
    classes = generator.integers(0, 2, (3, 4, 5))
    return [(np.moveaxis(np.eye(2)[classes], -1, 1), np.array([1.0, 1.0, 2.0]))]


def uncertainty_mistakes(solution: Solution, numbers: Numbers) -> Sequence[Mistake]:
    def loose(p: np.ndarray, w: np.ndarray) -> tuple[np.ndarray, ...]:
        mean, each = np.tensordot(w, p, 1), entr(p).sum(1)
        return entr(mean).sum(0), np.tensordot(w, each, 1), entr(mean).sum(0) - np.tensordot(w, each, 1)

    def undefined(p: np.ndarray, w: np.ndarray) -> tuple[np.ndarray, ...]:
        mean, each = np.tensordot(w / w.sum(), p, 1), -(p * np.log(p)).sum(1)
        total, expected = -(mean * np.log(mean)).sum(0), np.tensordot(w / w.sum(), each, 1)
        return total, expected, total - expected

    def evenly(p: np.ndarray, w: np.ndarray) -> tuple[np.ndarray, ...]:
        total, expected = solution(p, w)[0], entr(p).sum(1).mean(0)
        return total, expected, total - expected

    return (
        Mistake("the weights have to sum to 1: divide by their sum.", loose),
        Mistake("the models' own entropies are averaged with the weights too.", evenly),
        Mistake("the weights are not used.", lambda p, w: solution(p, np.ones_like(w))),
        Mistake(
            "that is in bits; take the natural logarithm.",
            lambda p, w: tuple(part / np.log(2) for part in solution(p, w)),
        ),
        Mistake("total and expected entropy are exchanged.", lambda p, w: tuple(solution(p, w)[i] for i in (1, 0, 2))),
        Mistake(
            "the disagreement is the total minus the expected entropy, not the other way round.",
            lambda p, w: (*solution(p, w)[:2], -solution(p, w)[2]),
        ),
        Mistake("0 · log 0 counts as 0, and yours is not a number.", undefined),
    )


# --- rates


def plain_cycles(generator: np.random.Generator) -> list[Arguments]:
    drawn = [
        (
            int(generator.integers(20, 40)),
            int(generator.integers(4, 11)),
            0,
            round(float(generator.uniform(0.01, 1)), 3),
        )
        for _ in range(3)
    ]
    return [(8, 4, 0, 1.0), *drawn]


def warm_cycles(generator: np.random.Generator) -> list[Arguments]:
    drawn = []
    for _ in range(3):
        warm = int(generator.integers(2, 6))
        period = warm + int(generator.integers(3, 8))
        drawn.append((int(generator.integers(26, 40)), period, warm, round(float(generator.uniform(0.01, 1)), 3)))
    return [(10, 5, 2, 1.0), *drawn]


def rates_with(
    steps: int, period: int, warm: int, top: float, shrink: float, *, begin: int = 1, whole: bool = False
) -> np.ndarray:
    cycle, place = np.divmod(np.arange(steps), period)
    peak = top * shrink**cycle
    fall = place / period if whole else (place - warm) / (period - warm)
    return np.where(place < warm, peak * (place + begin) / max(1, warm), peak * (1 + np.cos(np.pi * fall)) / 2)


def rate_mistakes(solution: Solution, numbers: Numbers) -> Sequence[Mistake]:
    shrink = numbers["shrink"]
    return (
        Mistake(
            "each cycle begins lower than the one before; yours all begin at the highest rate.",
            lambda n, p, w, r: rates_with(n, p, w, r, 1.0),
        ),
        Mistake(
            "the warm-up begins at peak / warmup, not at 0.", lambda n, p, w, r: rates_with(n, p, w, r, shrink, begin=0)
        ),
        Mistake(
            "the fall begins after the warm-up, with the whole peak.",
            lambda n, p, w, r: rates_with(n, p, w, r, shrink, whole=True),
        ),
        Mistake(
            "the rate never rises again: t starts anew in each cycle.",
            lambda n, p, w, r: rates_with(n, max(n, p), w, r, shrink),
        ),
        Mistake(
            "the peak shrinks once in each cycle, not once in each step.",
            lambda n, p, w, r: rates_with(n, p, w, r, 1.0) * shrink ** np.arange(n),
        ),
        Mistake("the warm-up is missing.", lambda n, p, w, r: rates_with(n, p, 0, r, shrink)),
    )


# --- snapshots


def whole_cycles(generator: np.random.Generator) -> list[Arguments]:
    cases = []
    for warm in (0, 2, 3):
        period = warm + int(generator.integers(3, 9))
        cases.append((rates_with(period * int(generator.integers(2, 5)), period, warm, 0.3, 0.9),))
    return cases


def broken_cycles(generator: np.random.Generator) -> list[Arguments]:
    """End in the warm-up of a later cycle, at its peak, in its fall, and in the first fall."""
    cases = []
    for place in ("warm", "peak", "fall", "first"):
        warm = int(generator.integers(2, 5))
        period = warm + int(generator.integers(4, 9))
        more = {"warm": 1, "peak": warm, "fall": warm + 3, "first": -1}[place]
        cases.append(
            (
                rates_with(
                    period * int(generator.integers(1, 4)) * (place != "first") + more % period, period, warm, 1.0, 0.8
                ),
            )
        )
    return [*cases, (np.array([1.0, 0.5, 0.5, 1.0, 0.25, 0.75, 0.75]),)]


def snapshot_mistakes(solution: Solution, numbers: Numbers) -> Sequence[Mistake]:
    def rises(rates: np.ndarray) -> np.ndarray:
        return np.flatnonzero(np.diff(rates) > 0)

    def without_last(rates: np.ndarray) -> np.ndarray:
        found = solution(rates)
        return found[found < len(rates) - 1]

    return (
        Mistake("that is one step too late: the rate has risen again.", lambda r: solution(r) + 1),
        Mistake("the rate also rises during the warm-up, and no model is ready then.", rises),
        Mistake(
            "the rate has to fall into the step: lower than the one before, not equal.",
            lambda r: np.flatnonzero((np.diff(r, prepend=-np.inf) <= 0) & (np.diff(r, append=np.inf) > 0)),
        ),
        Mistake("the last step of all counts too, if the rate fell into it.", without_last),
        Mistake(
            "the last step of all counts only if the rate fell into it.",
            lambda r: np.unique([*solution(r), len(r) - 1]),
        ),
        Mistake(
            "those are the steps with the highest rates.",
            lambda r: np.flatnonzero((np.diff(r, prepend=0) > 0) & (np.diff(r, append=0) < 0)),
        ),
    )


# --- excess_area


def without_ties(generator: np.random.Generator) -> list[Arguments]:
    by_hand = (np.array([0.0, 1.0]), np.array([0.2, 0.1]))
    return [by_hand, *((generator.random(n).round(3), generator.permutation(n) / n) for n in (5, 12, 20))]


def with_ties(generator: np.random.Generator) -> list[Arguments]:
    by_hand = (np.array([0.3, 0.1, 0.8]), np.array([0.5, 0.5, 0.5]))
    return [by_hand, *((generator.random(n).round(3), generator.integers(0, 4, n) / 4) for n in (9, 16))]


def area(errors: np.ndarray) -> float:
    return float((errors.cumsum() / np.arange(1, len(errors) + 1)).mean())


def excess_mistakes(solution: Solution, numbers: Numbers) -> Sequence[Mistake]:
    def by_order(e: np.ndarray, u: np.ndarray) -> float:
        return area(e[np.argsort(u, kind="stable")]) - area(np.sort(e))

    def raw(e: np.ndarray, u: np.ndarray) -> float:
        shared = np.array([e[u == value].mean() for value in u])
        return area(shared[np.argsort(u, kind="stable")])

    def sums(e: np.ndarray, u: np.ndarray) -> float:
        return float((e[np.argsort(u, kind="stable")].cumsum() - np.sort(e).cumsum()).mean())

    return (
        Mistake(
            "you keep the most uncertain cases first; keep the least uncertain ones.", lambda e, u: solution(e, -u)
        ),
        Mistake("that is the whole area; subtract what an ordering by the errors themselves would have.", raw),
        Mistake(
            "the mean errors are for your own order; the perfect order keeps the errors as they are.",
            lambda e, u: raw(e, u) - area(np.sort([e[u == value].mean() for value in u])),
        ),
        Mistake(
            "cases that are equally uncertain share their mean error; yours come in the order in which they are given.",
            by_order,
        ),
        Mistake("the risk is a mean over the kept cases, not their sum.", sums),
        Mistake(
            "the sign is the other way round: the perfect order has the smallest area.", lambda e, u: -solution(e, u)
        ),
    )


STEPS: tuple[Step, ...] = (
    Step(
        "uncertainty_parts",
        (Part("random models", 3, ensembles), Part("models that are sure", 1, sure_ensembles)),
        uncertainty_mistakes,
    ),
    Step("rates", (Part("without warm-up", 2, plain_cycles), Part("with warm-up", 2, warm_cycles)), rate_mistakes),
    Step(
        "snapshots",
        (Part("whole cycles", 2, whole_cycles), Part("cycles cut short", 1, broken_cycles)),
        snapshot_mistakes,
    ),
    Step(
        "excess_area",
        (Part("without ties", 3, without_ties), Part("with ties", 2, with_ties)),
        excess_mistakes,
        tolerance=1e-7,
    ),
)
