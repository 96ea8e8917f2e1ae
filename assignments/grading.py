"""From submissions to points: each step is run in the sandbox, compared here, and given credit part by part."""

from __future__ import annotations

import functools
import hashlib
import json
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from . import CAPSTONE, NAMES, checks
from .content import ASSIGNMENTS
from .sandbox import Run, Sandbox
from .sources import records
from .teacher import Teacher, read_teacher

#: Bytes of the largest notebook that is read.
LARGEST = 20 << 20

#: What Canvas calls a file: student_12345_67890_name.ipynb, perhaps with LATE_ and with -1 for another try.
_CANVAS = r"(?P<student>.+?)_(?:LATE_)?\d+_\d+_{name}(?:-\d+)?\.ipynb"


@dataclass(frozen=True)
class GradedStep:
    """One step of one student.

    Attributes:
        credits: a credit for each part.
        code: what was run.
        run: what came of running it, or None if there was nothing to run.
    """

    credits: list[checks.Credit]
    code: str
    run: Run | None

    @property
    def got(self) -> int:
        """Points."""
        return sum(credit.got for credit in self.credits)

    @property
    def points(self) -> int:
        """What the step is worth."""
        return sum(credit.points for credit in self.credits)


@dataclass(frozen=True)
class Graded:
    """One assignment of one student.

    Attributes:
        steps: by name.
        notes: what was unusual about the notebook.
        digest: SHA-256 of the file that was graded, empty if there was none.
        helpers: the cell of helper functions, as it was run before each step.
    """

    steps: dict[str, GradedStep]
    notes: list[str] = field(default_factory=list)
    digest: str = ""
    helpers: str = ""

    @property
    def got(self) -> int:
        """Points."""
        return sum(step.got for step in self.steps.values())


def find_submissions(folder: str | Path) -> dict[str, dict[str, Path]]:
    """Find what students handed in: STUDENT/NAME.ipynb, nbgrader's STUDENT/NAME/NAME.ipynb, or Canvas's flat names.

    Returns:
        For each student the file of each assignment that is there; students without any file have none.

    Raises:
        FileNotFoundError: there is no such folder, or nobody in it.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no folder {folder}")
    found: dict[str, dict[str, Path]] = {}
    for place in sorted(folder.iterdir()):
        if place.name.startswith(".") or place.is_symlink():
            continue
        for name in (*NAMES, CAPSTONE):
            if place.is_dir():
                found.setdefault(place.name, {})
                named = [
                    place / name / f"{name}.ipynb",
                    place / f"{name}.ipynb",
                    *sorted(place.glob(f"*{name}*.ipynb")),
                ]
                if files := [file for file in named if file.exists()]:
                    found[place.name][name] = files[0]
            elif match := re.fullmatch(_CANVAS.format(name=name), place.name):
                found.setdefault(match["student"], {})[name] = place  # of several tries the last one in order
    if not found:
        raise FileNotFoundError(f"nobody has handed in anything in {folder}: it has no folder for any student")
    return found


def read_submission(file: Path) -> tuple[dict[str, Any], str]:
    """Read a notebook that anybody may have written; returns it and its SHA-256.

    Raises:
        ValueError: it is no notebook; the message says why.
    """
    if file.is_symlink() or not file.is_file() or file.resolve().parent != file.parent.resolve():
        raise ValueError("it is a link, and no file")
    if file.stat().st_size > LARGEST:
        raise ValueError(f"it has {file.stat().st_size >> 20} MB; more than {LARGEST >> 20} are not read")
    data = file.read_bytes()
    try:
        notebook = json.loads(data)
        for cell in notebook["cells"]:
            if not isinstance(cell["source"], str):
                cell["source"] = "".join(cell["source"])
            kind, marks = cell["cell_type"], cell.get("metadata", {}).get("nbgrader", {})
            if not isinstance(kind, str) or not isinstance(marks.get("grade_id", ""), str):
                raise TypeError
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ValueError("it is no notebook that can be read: save it again in Jupyter and hand it in anew") from error
    return notebook, hashlib.sha256(data).hexdigest()


def nothing(record: Mapping[str, Any], why: str) -> GradedStep:
    """No points for a step."""
    return GradedStep([checks.Credit(part["name"], part["points"], 0, why) for part in record["parts"]], "", None)


def grade(file: Path | None, hidden: Mapping[str, Any], teacher: Teacher, sandbox: Sandbox) -> Graded:
    """Grade one assignment of one student.

    Args:
        file: the notebook, or None if there is none.
        hidden: from ``records(assignment, teacher, hidden=True)``.
        teacher: whose limits hold.
        sandbox: where the cells run.

    Returns:
        Points and reasons; whatever the notebook does, this comes back.
    """
    if file is None:
        return Graded({name: nothing(record, "nothing was handed in.") for name, record in hidden.items()})
    try:
        notebook, digest = read_submission(file)
    except (ValueError, OSError) as error:
        return Graded({name: nothing(record, f"{error}.") for name, record in hidden.items()}, [str(error)])
    cells, notes = checks.cells_by_step(notebook, hidden)
    helpers = cells.get(checks.HELPERS, "")
    if helpers:
        alone = sandbox.run([(checks.HELPERS, helpers)], "", [], teacher.limits)
        notes += [f"helpers: {words}" for words in alone.failed]
        if alone.stopped:
            notes.append(f"the helpers' cell was left out: {alone.stopped}")
            helpers = ""
    steps: dict[str, GradedStep] = {}
    for name, record in hidden.items():
        if name not in cells:
            steps[name] = nothing(record, "the notebook has no cell for it.")
            continue
        run = sandbox.run([(checks.HELPERS, helpers), (name, cells[name])], name, record["calls"], teacher.limits)
        steps[name] = GradedStep(checks.judge(run.results, record), cells[name], run)
    return Graded(steps, notes, digest, helpers)


def grade_class(
    submissions: Mapping[str, Mapping[str, Path]], teacher: Teacher, tell: Callable[[str], None] = print
) -> tuple[dict[str, dict[str, Graded]], str]:
    """Grade everything that everybody handed in.

    Args:
        submissions: as ``find_submissions`` gives them.
        teacher: whose seed and limits.
        tell: is told about each student.

    Returns:
        Grades by student and assignment, and a sentence that says what protected this machine.
    """
    hidden = {name: records(ASSIGNMENTS[name], teacher, hidden=True) for name in NAMES}
    grades: dict[str, dict[str, Graded]] = {}
    with Sandbox() as sandbox:
        for student, files in submissions.items():
            grades[student] = {name: grade(files.get(name), hidden[name], teacher, sandbox) for name in NAMES}
            points = ", ".join(
                f"{name} {graded.got}/{ASSIGNMENTS[name].points}" for name, graded in grades[student].items()
            )
            tell(f"{student}: {points}")
        return grades, protection(sandbox)


def protection(sandbox: Sandbox) -> str:
    """Say what holds on this machine."""
    kernel = "the kernel's Landlock" if sandbox.landlock else "no Landlock, which this system does not have"
    user = ", the user nobody" if sandbox.nobody else ""
    return f"a process for each step with limits of the system, an audit hook, {kernel}{user}"


@functools.cache
def _hidden(name: str, file: str) -> dict[str, Any]:
    return records(ASSIGNMENTS[name], read_teacher(file), hidden=True)


def hidden_points(assignment: str, step: str, function: Any) -> float:
    """Points for a step, for nbgrader, which takes a number at the end of a test's cell as its credit.

    The teacher's file is what the environment variable ASSIGNMENTS_TEACHER names. Here the function runs in this
    process, without the sandbox.
    """
    if "ASSIGNMENTS_TEACHER" not in os.environ:
        raise ValueError("set the environment variable ASSIGNMENTS_TEACHER to the path of the teacher's file")
    hidden = _hidden(assignment, os.environ["ASSIGNMENTS_TEACHER"])
    results = [checks.answer_of(function, call) for call in hidden[step]["calls"]]
    credits = checks.judge(results, hidden[step])
    for credit in credits:
        print(f"{credit.part}: {credit.got} of {credit.points}. {credit.message}")
    return float(sum(credit.got for credit in credits))
