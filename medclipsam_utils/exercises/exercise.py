"""What an exercise is: a solution, three hints, and the mistakes that many people make.

A mistake is a wrong solution with a message. Whoever hands in what a wrong solution computes is told so: that needs no
list of wrong numbers, and it names the mistake for every input. An answer with the right values may still have the
gradient of a wrong solution.
"""

from __future__ import annotations

import copy
import inspect
import textwrap
import traceback
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from .comparison import as_array, difference, shown, slip
from .guard import Escape


@dataclass(frozen=True)
class Outcome:
    """What a check says; it prints as text.

    Attributes:
        solved: whether everything came out right.
        message: what to tell the reader.
    """

    solved: bool
    message: str

    def __str__(self) -> str:
        return f"{'✓ solved' if self.solved else '○ not yet'}: {self.message}"

    __repr__ = __str__


@dataclass(frozen=True)
class Mistake:
    """A wrong solution, with what to tell those who hand it in.

    Attributes:
        message: what went wrong; it never holds the answer.
        answer: called as the solution is.
    """

    message: str
    answer: Callable[..., Any]


@dataclass(frozen=True, kw_only=True)
class Exercise(ABC):
    """What all exercises have.

    Attributes:
        number: chapter and place in it, as "03.2".
        title: what is to be done, in a few words.
        difficulty: 1, 2 or 3.
        minutes: how long it takes a reader who has followed the chapter.
        purpose: what it is good for.
        hints: three: a nudge, an idea, and nearly the answer.
        solution: a function, whose body is shown when somebody asks.
        mistakes: the most telling first.
        tolerance: numbers may differ by this, and by this share of the expected one.
        seconds: how long a check may take.
    """

    number: str
    title: str
    difficulty: int
    minutes: int
    purpose: str
    hints: tuple[str, str, str]
    solution: Callable[..., Any]
    mistakes: tuple[Mistake, ...] = ()
    tolerance: float = 1e-5
    seconds: float = 20.0

    @property
    def heading(self) -> str:
        """What stands above the exercise in the notebook."""
        stars = "●" * self.difficulty + "○" * (3 - self.difficulty)
        return f"**Exercise {self.number}: {self.title}** · {stars} · {self.minutes} minutes · *{self.purpose}*"

    @property
    def source(self) -> str:
        """The solution as Python code."""
        return textwrap.dedent(inspect.getsource(self.solution)).rstrip()

    @abstractmethod
    def judge(self, answer: Any) -> Outcome:
        """Say whether an answer is right, or what is wrong with it.

        Raises:
            Escape: the answer cannot be read.
        """


@dataclass(frozen=True, kw_only=True)
class Value(Exercise):
    """Ask for a number, a word or an array. The solution takes nothing and returns it."""

    @property
    def source(self) -> str:
        lines = textwrap.dedent("\n".join(super().source.splitlines()[1:])).splitlines()
        return "\n".join(line.replace("return ", "answer = ", 1) for line in lines)

    def judge(self, answer: Any) -> Outcome:
        if missing(answer):
            return Outcome(False, "there is no answer so far.")
        if callable(answer):
            return Outcome(False, f"{shown(answer)} is a function, where its result is asked for.")
        words = difference(answer, self.solution(), self.tolerance)
        if words is None:
            return Outcome(True, "well done.")
        for mistake in self.mistakes:
            if same(answer, mistake.answer(), self.tolerance):
                return Outcome(False, mistake.message)
        return Outcome(False, ended(f"{shown(answer)}: {words}"))


@dataclass(frozen=True, kw_only=True)
class Function(Exercise):
    """Ask for a function, which is called with many arguments and compared with the solution.

    Attributes:
        cases: makes the arguments of all calls from a random generator: fixed ones first, those by hand and at the
            edge, and then random ones.
        gradient: whether the gradients with respect to all arguments that are tensors are compared as well.
    """

    cases: Callable[[np.random.Generator], Sequence[tuple[Any, ...]]]
    gradient: bool = False

    def judge(self, answer: Any) -> Outcome:
        if missing(answer):
            return Outcome(False, "there is no answer so far.")
        if not callable(answer):
            return Outcome(False, f"{shown(answer)} is no function: hand in its name, without calling it.")
        cases = list(self.cases(np.random.default_rng(0)))
        results = []
        for number, arguments in enumerate(cases, start=1):
            place = f"case {number} of {len(cases)}, {described(arguments)}"
            try:
                given = called(answer, arguments)
            except Escape as error:
                return Outcome(False, ended(f"{place}: {error}"))
            if missing(given):
                return Outcome(False, "the function returns nothing so far.")
            results.append(given)
        expected = [self.solution(*copy.deepcopy(arguments)) for arguments in cases]
        wrong = first_difference(results, expected, self.tolerance)
        if wrong is None:
            return self._judge_gradient(answer, results, cases)
        for mistake in self.mistakes:
            if all_same(results, cases, mistake.answer, self.tolerance):
                return Outcome(False, mistake.message)
        if (two := self._mistake_beside_overflow(results, expected, cases)) is not None:
            return Outcome(False, two)
        number, words = wrong
        given = results[number]
        if same(given, given, 0) and not all_same([given], [cases[number]], answer, self.tolerance):
            return Outcome(False, "the same call gives another result each time: what is drawn or kept in between?")
        words = slip_of_all(results, expected, self.tolerance) or words
        alone = sum(not same(*pair, self.tolerance) for pair in zip(results, expected, strict=True)) == 1 < len(cases)
        only = " (the only one that is wrong)" if alone else ""
        return Outcome(False, ended(f"case {number + 1} of {len(cases)}{only}, {described(cases[number])}: {words}"))

    def _mistake_beside_overflow(
        self, results: Sequence[Any], expected: Sequence[Any], cases: Sequence[tuple[Any, ...]]
    ) -> str | None:
        """Name a mistake that all results have but those with nan or infinity, which hide it: two slips at once."""
        pairs = enumerate(zip(results, expected, strict=True))
        kept = [number for number, (given, right) in pairs if finite(given) or not finite(right)]
        if not 1 < len(kept) < len(cases):
            return None
        some, those = [results[number] for number in kept], [cases[number] for number in kept]
        if first_difference(some, [expected[number] for number in kept], self.tolerance) is None:
            return None
        other = next(number for number in range(len(cases)) if number not in kept)
        for mistake in self.mistakes:
            if all_same(some, those, mistake.answer, self.tolerance):
                return f"{mistake.message} And case {other + 1}, {described(cases[other])}, gives nan or infinity."
        return None

    def _judge_gradient(
        self, answer: Callable[..., Any], results: Sequence[Any], cases: Sequence[tuple[Any, ...]]
    ) -> Outcome:
        if self.gradient:
            for number, arguments in enumerate(cases, start=1):
                place = f"the values are right; the gradient of case {number}"
                try:
                    given = gradient_of(answer, arguments)
                except (RuntimeError, AttributeError) as error:
                    return Outcome(
                        False, f"{place} cannot be had ({error}): is something detached, or no tensor any more?"
                    )
                words = difference(given, gradient_of(self.solution, arguments), 10 * self.tolerance)
                if words is None:
                    continue
                for mistake in self.mistakes:
                    if all_same(results, cases, mistake.answer, self.tolerance) and same(
                        given, gradient_of(mistake.answer, arguments), 10 * self.tolerance
                    ):
                        return Outcome(False, mistake.message)
                if any(part.isnan().any() for part in (given if isinstance(given, tuple) else (given,))):
                    why = "it contains nan. Is there a logarithm or a root of 0, whose slope is infinite?"
                    return Outcome(False, f"{place} is not: {why}")
                return Outcome(
                    False, f"{ended(f'{place} is not: {words}')} Is something detached, or done without torch?"
                )
        return Outcome(True, f"all {len(cases)} cases are right.")


def ended(words: str) -> str:
    """End a sentence that may be a question."""
    return words if words.endswith("?") else f"{words}."


def missing(answer: Any) -> bool:
    """Whether nothing was handed in yet."""
    return answer is None or answer is ... or answer is NotImplemented


def called(function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    """Call a reader's function with copies of the arguments.

    Raises:
        Escape: it raised an error, or it changed an argument.
    """
    mine = copy.deepcopy(arguments)
    before = fingerprint(mine)
    try:
        answer = function(*mine)
    except NotImplementedError:
        return None
    except Exception as error:
        raise Escape(f"it raised {type(error).__name__}: {str(error)[:200]}{line_of(function, error)}") from error
    if fingerprint(mine) != before:
        raise Escape("the function changes its own argument: work on a copy")
    return answer


def finite(given: Any) -> bool:
    """Whether a result has neither nan nor infinity in it; what is no number has none."""
    if isinstance(given, (tuple, list)):
        return all(finite(part) for part in given)
    try:
        found = as_array(given)
    except Escape:
        return True
    return found.dtype.kind not in "fc" or bool(np.isfinite(found).all())


def line_of(function: Callable[..., Any], error: BaseException) -> str:
    """Quote the line of a reader's function in which an error arose, if it is known."""
    file = getattr(getattr(function, "__code__", None), "co_filename", None)
    lines = [frame.line for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
    return f", in the line `{lines[-1]}`" if lines and lines[-1] else ""


def fingerprint(argument: Any) -> Any:
    """Give something that changes when the content of an argument does."""
    if isinstance(argument, (np.ndarray, torch.Tensor)):
        return as_array(argument).tobytes()
    if isinstance(argument, (list, tuple)):
        return [fingerprint(part) for part in argument]
    if isinstance(argument, dict):
        return {key: fingerprint(part) for key, part in argument.items()}
    return None if callable(argument) or hasattr(argument, "__dict__") else repr(argument)


def described(arguments: tuple[Any, ...]) -> str:
    """Show the arguments of a call in one line."""
    return f"called with ({', '.join(shown(argument, 50) for argument in arguments)})"


def same(given: Any, expected: Any, tolerance: float) -> bool:
    try:
        return difference(given, expected, tolerance) is None
    except Escape:
        return False


def all_same(
    results: Sequence[Any], cases: Sequence[tuple[Any, ...]], function: Callable[..., Any], tolerance: float
) -> bool:
    """Whether a function gives these results; one that fails on a case gives others."""
    try:
        return all(
            same(given, function(*copy.deepcopy(arguments)), tolerance)
            for given, arguments in zip(results, cases, strict=True)
        )
    except Exception:
        return False


def first_difference(results: Sequence[Any], expected: Sequence[Any], tolerance: float) -> tuple[int, str] | None:
    """Find the first case that is not right; returns its index and what is different."""
    for number, (given, right) in enumerate(zip(results, expected, strict=True)):
        try:
            words = difference(given, right, tolerance)
        except Escape as error:
            words = str(error)
        if words is not None:
            return number, words
    return None


def slip_of_all(results: Sequence[Any], expected: Sequence[Any], tolerance: float) -> str | None:
    """Name a slip that explains the results of all cases, where each is one number."""
    try:
        given, right = (np.stack([as_array(value) for value in values]) for values in (results, expected))
    except (Escape, ValueError):
        return None
    if (
        given.ndim != 1
        or given.dtype.kind not in "iuf"
        or right.dtype.kind not in "iuf"
        or not np.isfinite(given).all()
    ):
        return None
    return slip(given.astype(float), right.astype(float), tolerance)


def gradient_of(function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    """Differentiate the sum of a function's result with respect to each tensor of numbers among its arguments.

    Returns:
        A gradient for each of them; the gradient alone if there is one.
    """
    mine = list(copy.deepcopy(arguments))
    asked = [place for place, one in enumerate(mine) if isinstance(one, torch.Tensor) and one.is_floating_point()]
    for place in asked:
        mine[place] = mine[place].detach().requires_grad_(True)
    function(*mine).sum().backward()
    found = tuple(torch.zeros_like(mine[place]) if mine[place].grad is None else mine[place].grad for place in asked)
    return found[0] if len(found) == 1 else found
