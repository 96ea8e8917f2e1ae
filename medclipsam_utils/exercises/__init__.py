"""The exercises of the book: ``check`` an answer, ask for a ``hint``, look at a ``solution``.

Answers, hints and known mistakes live here, a module for each chapter, so that a notebook gives nothing away.

    check("00.2", box_around)   # right, or what is wrong with it
    hint("00.2")                # one of three, a little more at each call
    solution("00.2")            # the solution as code

A check never raises and always comes back, whatever is handed in: a notebook with unsolved exercises runs from top to
bottom.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from typing import Any

from .exercise import Exercise, Function, Mistake, Outcome, Value, ended
from .guard import Escape, call

__all__ = [
    "Exercise",
    "Function",
    "Mistake",
    "Outcome",
    "Shown",
    "Value",
    "all_exercises",
    "check",
    "find_exercise",
    "hint",
    "mine_or_ours",
    "solution",
]

_hints_given: dict[str, int] = {}


class Shown(str):
    """Text that a notebook shows as it is, without quotes."""

    def __repr__(self) -> str:
        return str(self)


def all_exercises() -> dict[str, Exercise]:
    """Give every exercise of the book by its number, in the order of the chapters."""
    names = sorted(module.name for module in pkgutil.iter_modules(__path__) if module.name.startswith("chapter"))
    modules = (importlib.import_module(f"{__name__}.{name}") for name in names)
    return {exercise.number: exercise for module in modules for exercise in module.EXERCISES}


def find_exercise(number: str) -> Exercise:
    """Find an exercise.

    Args:
        number: chapter and place in it, as "03.2".

    Raises:
        ValueError: there is none with this number.
    """
    known = all_exercises()
    if not isinstance(number, str) or number not in known:
        raise ValueError(
            f"there is no exercise {number!r}: the numbers are text, from {min(known)!r} to {max(known)!r}"
        )
    return known[number]


def check(number: str, answer: Any = None) -> Outcome:
    """Say whether an answer is right, or what is wrong with it.

    Args:
        number: chapter and place in it, as "03.2".
        answer: a value or a function, as the exercise asks; None or ``...`` counts as not answered.

    Returns:
        An outcome, which prints as text. Nothing that can be handed in makes this raise or hang.
    """
    try:
        asked = find_exercise(number)
    except ValueError as error:
        return Outcome(False, f"{error}.")
    try:
        return call(lambda: asked.judge(answer), asked.seconds)
    except Escape as error:
        return Outcome(False, ended(f"your answer cannot be checked; {error}"))


def hint(number: str) -> Shown:
    """Give the next of three hints: a nudge, an idea, and nearly the answer; then the last one again.

    Raises:
        ValueError: there is no exercise with this number.
    """
    hints = find_exercise(number).hints
    given = _hints_given.get(number, 0)
    _hints_given[number] = given + 1
    step = min(given, len(hints) - 1)
    return Shown(f"hint {step + 1} of {len(hints)}: {hints[step]}")


def solution(number: str) -> Shown:
    """Show the solution as Python code.

    Raises:
        ValueError: there is no exercise with this number.
    """
    return Shown(find_exercise(number).source)


def mine_or_ours(number: str, answer: Callable[..., Any] | None) -> Callable[..., Any]:
    """Give a reader's function if it is right, and the book's otherwise, so that a chapter goes on with it; says which.

    Raises:
        ValueError: there is no exercise with this number.
    """
    asked = find_exercise(number)
    if answer is not None and check(number, answer).solved:
        print(f"{number}: we go on with your function.")
        return answer
    print(f"{number}: not solved yet, so we go on with the book's function.")
    return asked.solution
