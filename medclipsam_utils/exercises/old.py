"""Automatic checks for the exercises of the book: right, or a hint.

A check never raises on a wrong or missing answer, so that a notebook with unsolved exercises still runs from top to
bottom; it prints what came out and what to look at.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Outcome:
    """The result of a check, which prints as one line.

    Attributes:
        solved: whether every case came out right.
        message: what to tell the reader.
    """

    solved: bool
    message: str

    def __str__(self) -> str:
        return f"{'✓ solved' if self.solved else '○ not yet'}: {self.message}"

    __repr__ = __str__


def check_value(answer: Any, expected: Any, hint: str, tolerance: float = 1e-6) -> Outcome:
    """Compare an answer with the expected number, text or array.

    Args:
        answer: the reader's answer; None or ``...`` counts as not answered.
        expected: the right answer. Numbers and arrays compare within ``tolerance``, everything else exactly.
        hint: shown when the answer is missing or wrong; never the answer itself.
        tolerance: largest absolute difference.
    """
    if answer is None or answer is ...:
        return Outcome(False, f"no answer so far. Hint: {hint}")
    if _equal(answer, expected, tolerance):
        return Outcome(True, "well done.")
    return Outcome(False, f"{answer!r} is not it. Hint: {hint}")


def check_function(
    function: Callable[..., Any], cases: Sequence[tuple[tuple, Any]], hint: str, tolerance: float = 1e-6
) -> Outcome:
    """Call a reader's function on several cases and compare each result.

    Args:
        function: the reader's function; one that returns None or ``...`` counts as not written.
        cases: pairs of (arguments, expected result).
        hint: shown when a case comes out wrong.
        tolerance: largest absolute difference for numbers and arrays.
    """
    for number, (arguments, expected) in enumerate(cases, start=1):
        try:
            answer = function(*arguments)
        except Exception as error:
            return Outcome(False, f"case {number} of {len(cases)} raised {type(error).__name__}: {error}. Hint: {hint}")
        if answer is None or answer is ...:
            return Outcome(False, f"the function returns nothing so far. Hint: {hint}")
        if not _equal(answer, expected, tolerance):
            return Outcome(False, f"case {number} of {len(cases)} came out wrong. Hint: {hint}")
    return Outcome(True, f"all {len(cases)} cases are right.")


def _equal(answer: Any, expected: Any, tolerance: float) -> bool:
    if isinstance(expected, (bool, str)):
        return type(answer) is type(expected) and answer == expected
    try:
        answer, expected = np.asarray(answer, dtype=float), np.asarray(expected, dtype=float)
    except (TypeError, ValueError):
        return bool(answer == expected)
    return answer.shape == expected.shape and bool(np.allclose(answer, expected, rtol=0, atol=tolerance))
