"""What chapters 2 and 6 say of their own tables is what the tables say.

A claim is a sentence of a chapter, word for word, and a condition on the outputs that are stored in it.
"""

from __future__ import annotations

import numpy as np
import pytest
from chapters import plain, prose, rows, shown


def table(chapter: str, name: str) -> dict[str, np.ndarray]:
    """Numbers of a table by the name of their row; words count as NaN."""
    numbered = enumerate(rows(shown(chapter, name)))
    return {f"{first}#{n}": np.array([number(cell) for cell in others]) for n, (first, *others) in numbered}


def number(cell: str) -> float:
    try:
        return float(cell)
    except ValueError:
        return np.nan


def columns(chapter: str, name: str) -> np.ndarray:
    return np.array([row for row in table(chapter, name).values() if len(row)]).T


def row(chapter: str, name: str, start: str) -> np.ndarray:
    return next(values for key, values in table(chapter, name).items() if key.startswith(start))


def clicks() -> np.ndarray:
    """DSC of the nine worst: before, box and clicks, clicks, exact box."""
    return columns("06", "cell-46")


CLAIMS = [
    (
        "02",
        "The same two pixels cost the tumour nearly four times as much.",
        lambda: 3.5 < np.divide(*(1 - columns("02", "cell-29")[1])) < 4,
    ),
    (
        "02",
        "Added up, the outline is 6.8 pixels long.",
        lambda: round(columns("02", "outline-used").sum(), 1) == 6.8,
    ),
    (
        "02",
        "the result agrees with the package's to the last digit that matters",
        lambda: np.array_equal(*columns("02", "cell-31")[1:]),
    ),
    (
        "06",
        "In the other tumours they are better, by eight points in the mean.",
        lambda: round(np.diff(columns("06", "e4c1d035")[-1]).item(), 2) == 0.08,
    ),
    (
        "06",
        "In this image ten points are as good as one",
        lambda: abs(np.diff(columns("06", "e4c1d035")[2]).item()) < 0.015,
    ),
    (
        "06",
        "none is as good as the third answer",
        lambda: max(columns("06", "cell-19")[0]) < row("06", "14c228fa", "answer 3")[1],
    ),
    (
        "06",
        'Three of the five "wrong places" still have a DSC of 0.4 or more',
        lambda: sum(score >= 0.4 for score in clicks()[0][:5]) == 3,
    ),
    (
        "06",
        "Clicks beside a wrong box change little",
        lambda: np.abs(clicks()[1] - clicks()[0]).max() < 0.15,
    ),
    (
        "06",
        "Clicks instead of it repair most of them, and lose some altogether.",
        lambda: sum(clicks()[2] > clicks()[0] + 0.1) > 4 and clicks()[2].min() < 0.05,
    ),
    (
        "06",
        "in no task is one rule ahead of another by more than three points of DSC",
        lambda: np.ptp(columns("06", "points-dsc"), axis=0).max() < 0.035,
    ),
    (
        "06",
        "Points from the inside lie on the target far more often than random ones",
        lambda: all((columns("06", "cell-34")[n] > columns("06", "cell-34")[1] + 5).all() for n in (0, 2)),
    ),
    ("06", "The exact box repairs every one.", lambda: (clicks()[3] > clicks()[0]).all() and clicks()[3].min() > 0.75),
]


@pytest.mark.parametrize("chapter, sentence, holds", CLAIMS, ids=[f"{c}: {s[:40]}" for c, s, _ in CLAIMS])
def test_a_claim_is_in_its_chapter_and_holds(chapter, sentence, holds):
    assert plain(sentence) in prose(chapter)
    assert holds()
