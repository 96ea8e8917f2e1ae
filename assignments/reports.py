"""What comes out of grading: a readable report for each student, and a table for the class."""

from __future__ import annotations

import csv
import io
import platform
import re
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import numpy as np

from . import CAPSTONE, NAMES
from .content import ASSIGNMENTS
from .grading import Graded, GradedStep
from .rubric import CRITERIA
from .teacher import Teacher

CAPSTONE_FILE = f"{CAPSTONE}.csv"

#: Characters of a cell that a report shows.
LONGEST = 5000


def in_line(text: str) -> str:
    """Make a text that a student may have had a hand in safe for a line of Markdown, and for a cell of its tables."""
    text = " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())
    return text.replace("&", "&amp;").replace("<", "&lt;").replace("|", "\\|").replace("[", "\\[")


def in_block(text: str) -> str:
    """The same for several lines, as they are."""
    text = "".join(letter if letter.isprintable() or letter in "\n\t" else "�" for letter in text)
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}\n{text.rstrip()}\n{fence}"


def report(
    student: str,
    grades: Mapping[str, Graded],
    teacher: Teacher,
    protection: str,
    handed_in: bool,
    capstone: Mapping[str, float] | None = None,
) -> str:
    """Write the report of one student, as Markdown.

    Args:
        student: name.
        grades: by assignment.
        teacher: whose term and limits.
        protection: what held while the submissions ran.
        handed_in: whether there is a project.
        capstone: points of the project by criterion, if it was graded.
    """
    got: float = sum(graded.got for graded in grades.values())
    points = sum(ASSIGNMENTS[name].points for name in grades)
    if capstone is not None:
        got, points = got + sum(capstone.values()), points + sum(CRITERIA.values())
    lines = [f"# {in_line(student)}: {got:g} of {points} points", "", in_line(teacher.term), ""]
    for name, graded in grades.items():
        assignment = ASSIGNMENTS[name]
        lines += [f"## {assignment.title}: {graded.got} of {assignment.points}", ""]
        lines += ["| step | points | what the tests say |", "| :-- | --: | :-- |"]
        for step, result in graded.steps.items():
            lines.append(f"| `{step}` | {result.got} of {result.points} | {_words(result)} |")
        lines.append("")
        lines += [f"- {in_line(note)}" for note in graded.notes] + [""] * bool(graded.notes)
        lines += _what_was_run(graded)
    lines += ["## The project on your own images", ""]
    if capstone is None:
        lines += ["It is not graded yet." if handed_in else "Nothing was handed in.", ""]
    else:
        rows = [f"| {name} | {capstone[name]:g} of {most} |" for name, most in CRITERIA.items()]
        lines += ["| criterion | points |", "| :-- | --: |", *rows, ""]
    limits = asdict(teacher.limits)
    lines += [
        "---",
        f"Run with Python {platform.python_version()} and NumPy {np.__version__}, by {protection}; at most "
        f"{limits['processor_seconds']} seconds of computing and {limits['memory'] >> 20} MB a step.",
        "A part of a step counts when all of its hidden calls come out right.",
    ]
    return "\n".join(lines) + "\n"


def _words(result: GradedStep) -> str:
    """What to tell about a step: its parts that were lost, each with its reason, and what it printed."""
    lost = [credit for credit in result.credits if credit.got < credit.points]
    if not lost:
        words = "right"
    elif len({credit.message for credit in lost}) == 1 and len(lost) == len(result.credits):
        words = in_line(lost[0].message)
    else:
        words = "<br>".join(f"*{credit.part}* (−{credit.points}): {in_line(credit.message)}" for credit in lost)
    if result.run is not None:
        if lost:
            words += "".join(f"<br>{in_line(failed)}" for failed in result.run.failed)
        if result.run.printed_length > len(result.run.printed):
            words += f"<br>It printed {result.run.printed_length:,} characters, of which none count."
    return words


def _what_was_run(graded: Graded) -> list[str]:
    if not graded.digest:
        return []
    lines = ["<details><summary>What was run</summary>", "", f"SHA-256 of the notebook: `{graded.digest}`", ""]
    if graded.helpers:
        lines += ["Before each step:", "", in_block(graded.helpers[:LONGEST]), ""]
    for step, result in graded.steps.items():
        if result.run is not None:
            lines += [f"`{step}`, {result.run.seconds:.2f} seconds:", "", in_block(result.code[:LONGEST]), ""]
            if result.run.printed and result.got < result.points:
                lines += ["It printed:", "", in_block(result.run.printed), ""]
    return [*lines, "</details>", ""]


def safe_cell(text: str) -> str:
    """Keep a spreadsheet from taking a name for a formula."""
    return f"'{text}" if text[:1] in "=+-@\t\r" else text


def class_table(grades: Mapping[str, Mapping[str, Graded]], capstone: Mapping[str, float | None]) -> str:
    """Write the table of the class, as CSV: points of the assignments, then of every step."""
    steps = [(name, step.function) for name in NAMES for step in ASSIGNMENTS[name].steps]
    out = io.StringIO()
    table = csv.writer(out, lineterminator="\n")
    table.writerow(["student", *NAMES, CAPSTONE, "total", *(f"{name}.{step}" for name, step in steps)])
    for student, graded in grades.items():
        points = [graded[name].got for name in NAMES]
        own = capstone.get(student)
        total = sum(points) + (own or 0)
        each = [graded[name].steps[step].got for name, step in steps]
        table.writerow([safe_cell(student), *points, "" if own is None else f"{own:g}", f"{total:g}", *each])
    most = [ASSIGNMENTS[name].points for name in NAMES]
    worth = [step.points for name in NAMES for step in ASSIGNMENTS[name].steps]
    table.writerow(["(most)", *most, sum(CRITERIA.values()), sum(most) + sum(CRITERIA.values()), *worth])
    return out.getvalue()


def capstone_sheet(file: Path, students: Mapping[str, bool]) -> dict[str, dict[str, float]]:
    """Read the points that the teacher gave for the projects, and add lines for students who have none.

    Args:
        file: a table with a line for each student and a column for each criterion; it is made if it is not there.
        students: whether they handed in a project.

    Returns:
        For each student who has them all, points by criterion.

    Raises:
        ValueError: what stands there is no number, or too large.
    """
    rows: dict[str, dict[str, str]] = {}
    if file.exists():
        with file.open(encoding="utf-8-sig", newline="") as lines:
            rows = {row["student"]: row for row in csv.DictReader(lines)}
    found: dict[str, dict[str, float]] = {}
    for student, row in rows.items():
        given = {name: (row.get(name) or "").strip() for name in CRITERIA}
        if all(given.values()):
            try:
                points = {name: float(value) for name, value in given.items()}
            except ValueError as error:
                raise ValueError(f"{file.name}, {student}: {error}") from error
            if wrong := [name for name, value in points.items() if not 0 <= value <= CRITERIA[name]]:
                raise ValueError(f"{file.name}, {student}: {wrong[0]} has 0 to {CRITERIA[wrong[0]]} points")
            found[student.removeprefix("'")] = points
    with file.open("w", encoding="utf-8", newline="") as lines:
        table = csv.DictWriter(
            lines, ["student", "handed_in", *CRITERIA], restval="", extrasaction="ignore", lineterminator="\n"
        )
        table.writeheader()
        table.writerows(rows.values())
        for student, handed_in in students.items():
            if safe_cell(student) not in rows:
                table.writerow({"student": safe_cell(student), "handed_in": "yes" if handed_in else "no"})
    return found


def write_reports(
    folder: str | Path,
    grades: Mapping[str, Mapping[str, Graded]],
    projects: Mapping[str, bool],
    teacher: Teacher,
    protection: str,
) -> Path:
    """Write a report for each student and the table of the class; returns the table's path.

    Args:
        folder: gets STUDENT.md, class.csv and capstone.csv, which the teacher fills in.
        grades: by student and assignment.
        projects: whether a student handed in the project.
        teacher: whose term.
        protection: what held while the submissions ran.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    given = capstone_sheet(folder / CAPSTONE_FILE, projects)
    for student, graded in grades.items():
        text = report(student, graded, teacher, protection, projects[student], given.get(student))
        (folder / f"{student}.md").write_text(text, encoding="utf-8")
    totals = {student: sum(given[student].values()) if student in given else None for student in grades}
    table = folder / "class.csv"
    table.write_text(class_table(grades, totals), encoding="utf-8")
    return table
