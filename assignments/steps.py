"""What a step of an assignment is: a function to write, the calls that test it, and the mistakes that it knows.

The solution is not here but in the notebook of the assignment, between nbgrader's marks, so that there is one of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from medclipsam_utils.exercises import Mistake

Arguments = tuple[Any, ...]
Numbers = Mapping[str, Any]
Solution = Callable[..., Any]


@dataclass(frozen=True)
class Part:
    """What gives credit by itself: all calls right, or nothing.

    Attributes:
        name: what is tested, in a few words.
        points: what it is worth.
        cases: makes the arguments of its calls from a generator, those by hand first.
    """

    name: str
    points: int
    cases: Callable[[np.random.Generator], Sequence[Arguments]]


def no_mistakes(solution: Solution, numbers: Numbers) -> Sequence[Mistake]:
    return ()


@dataclass(frozen=True)
class Step:
    """One function to write.

    Attributes:
        function: its name, which is also the step's and, in nbgrader's marks, the cell's.
        parts: what it is tested for.
        mistakes: makes wrong solutions with a message, from the solution and the term's numbers.
        tolerance: numbers may differ by this, and by this share of the expected one.
    """

    function: str
    parts: tuple[Part, ...]
    mistakes: Callable[[Solution, Numbers], Sequence[Mistake]] = no_mistakes
    tolerance: float = 1e-6

    @property
    def points(self) -> int:
        """What the step is worth."""
        return sum(part.points for part in self.parts)


@dataclass(frozen=True)
class Assignment:
    """What is graded of a notebook.

    Attributes:
        name: of its folder and its file.
        title: as its notebook has it.
        steps: in their order.
        choices: for each number that a term draws anew, the values that it may have.
    """

    name: str
    title: str
    steps: tuple[Step, ...]
    choices: Mapping[str, Sequence[Any]]

    @property
    def points(self) -> int:
        """What the assignment is worth."""
        return sum(step.points for step in self.steps)
