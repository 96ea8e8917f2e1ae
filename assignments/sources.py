"""The notebooks of ``source/``: filled with a term's numbers, with their solutions or cleared of them.

They carry nbgrader's marks, so that nbgrader can work with them as well. The few lines that clear them are here, since
nbgrader would bring a JupyterLab, a database and some forty packages more.
"""

from __future__ import annotations

import copy
import json
import re
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

from . import SOURCE, checks
from .steps import Assignment, Solution
from .teacher import Teacher

Notebook = dict[str, Any]

#: What stands where a solution was.
STUB = "pass"

_PLACE = re.compile(r"\{\{\s*(\w+)\s*\}\}")


def read_source(name: str, numbers: Mapping[str, Any]) -> Notebook:
    """Read a source notebook and put a term's numbers into it.

    Raises:
        ValueError: it asks for a number that the term does not have.
    """
    notebook: Notebook = json.loads((SOURCE / name / f"{name}.ipynb").read_text(encoding="utf-8"))
    for cell in notebook["cells"]:
        text = "".join(cell["source"])
        if unknown := set(_PLACE.findall(text)) - set(numbers):
            raise ValueError(f"{name}.ipynb asks for {', '.join(sorted(unknown))}, which the term does not have")
        cell["source"] = _PLACE.sub(lambda match: str(numbers[match[1]]), text)
    return notebook


def marks(cell: Mapping[str, Any]) -> Mapping[str, Any]:
    """nbgrader's marks of a cell."""
    found: Mapping[str, Any] = cell.get("metadata", {}).get("nbgrader", {})
    return found


def solution_cells(notebook: Notebook) -> Iterator[tuple[str, str]]:
    """Give name and code of the cells that students fill in."""
    for cell in notebook["cells"]:
        if marks(cell).get("solution") and cell["cell_type"] == "code":
            yield str(marks(cell)["grade_id"]), cell["source"]


def cleared(notebook: Notebook) -> Notebook:
    """Take solutions, hidden tests and outputs out of a notebook; the rest stays as it is."""
    notebook = copy.deepcopy(notebook)
    for cell in notebook["cells"]:
        cell["source"] = _without(_without(cell["source"], "SOLUTION", STUB), "HIDDEN TESTS", None)
        if cell["cell_type"] == "code":
            cell["outputs"], cell["execution_count"] = [], None
    return notebook


def _without(text: str, what: str, stub: str | None) -> str:
    """Take out what stands between two marks; raises ValueError where one of them is missing."""
    lines, inside = [], False
    for line in text.splitlines():
        if f"### BEGIN {what}" in line:
            if inside:
                raise ValueError(f"BEGIN {what} twice")
            inside = True
            if stub is not None:
                lines.append(line[: len(line) - len(line.lstrip())] + stub)
        elif f"### END {what}" in line:
            if not inside:
                raise ValueError(f"END {what} without a begin")
            inside = False
        elif not inside:
            lines.append(line)
    if inside:
        raise ValueError(f"BEGIN {what} without an end")
    return "\n".join(lines).rstrip()


def solutions(assignment: Assignment, numbers: Mapping[str, Any]) -> dict[str, Solution]:
    """Run the solutions of a source notebook, each cell by itself as in grading."""
    cells = dict(solution_cells(read_source(assignment.name, numbers)))
    found: dict[str, Solution] = {}
    for step in assignment.steps:
        namespace: dict[str, Any] = {"__name__": "__main__"}
        exec(checks.PREAMBLE, namespace)
        for name in (checks.HELPERS, step.function):
            exec(compile(cells.get(name, ""), f"<{name}>", "exec"), namespace)
        found[step.function] = namespace[step.function]
    return found


def records(assignment: Assignment, teacher: Teacher, *, hidden: bool) -> dict[str, Any]:
    """Compute what each step is called with and what should come out, as ``checks.judge`` takes it.

    Args:
        assignment: whose steps.
        teacher: whose seed.
        hidden: whether they are the calls that count, or those that students see.

    Returns:
        For each step its calls and expected answers, the answers of known mistakes, and its parts.
    """
    numbers = teacher.numbers(assignment)
    purpose = "hidden" if hidden else "visible"
    found: dict[str, Any] = {}
    for (name, solution), step in zip(solutions(assignment, numbers).items(), assignment.steps, strict=True):
        calls: list[Any] = []
        parts = []
        for part in step.parts:
            cases = list(part.cases(teacher.generator(purpose, assignment.name, name, part.name)))
            if hidden and part is step.parts[0]:
                cases += teacher.extra(assignment.name, name, teacher.generator("extra", assignment.name, name))
            indices = list(range(len(calls), len(calls) + len(cases)))
            parts.append({"name": part.name, "points": part.points, "cases": indices})
            calls += [checks.encode(tuple(case)) for case in cases]
        found[name] = {
            "tolerance": step.tolerance,
            "parts": parts,
            "calls": calls,
            "expected": [_answer(solution, call) for call in calls],
            "mistakes": [
                {"message": mistake.message, "results": [_answer(mistake.answer, call) for call in calls]}
                for mistake in step.mistakes(solution, numbers)
            ],
        }
    return found


def _answer(function: Solution, call: Any) -> Any:
    """What a function gives, encoded, or None where it fails; mistakes do, on some calls."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return checks.encode(function(*checks.decode(call)))
    except Exception:
        return None
