"""The commands: python -m assignments new-term | release | example-class | grade."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from . import CAPSTONE, NAMES
from .grading import find_submissions, grade_class
from .invented import example_class
from .release import release
from .reports import write_reports
from .teacher import new_term, read_teacher


def parser() -> argparse.ArgumentParser:
    """The command line."""
    whole = argparse.ArgumentParser(prog="python -m assignments", description="Assignments for a class.")
    commands = whole.add_subparsers(dest="command", required=True)
    new = commands.add_parser("new-term", help="write a teacher's file with a new secret seed")
    new.add_argument("file", type=Path)
    new.add_argument("--term", default="", help="stands on the reports")
    out = commands.add_parser("release", help="write the notebooks that students get")
    out.add_argument("folder", type=Path)
    out.add_argument("--with-solutions", action="store_true", help="for the teacher's own eyes, and for nbgrader")
    example = commands.add_parser("example-class", help="write five invented submissions, to try the grading")
    example.add_argument("folder", type=Path)
    grade = commands.add_parser("grade", help="grade the submissions of a class")
    grade.add_argument("submissions", type=Path)
    grade.add_argument("--out", type=Path, required=True, help="folder for the reports and the table")
    grade.add_argument("--only", action="append", metavar="STUDENT", help="grade this student; may be repeated")
    for command in (out, example, grade):
        command.add_argument("--teacher", type=Path, required=True, help="the teacher's file")
    return whole


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns its exit status."""
    given = parser().parse_args(arguments)
    try:
        if given.command == "new-term":
            print(f"wrote {new_term(given.file, given.term)}: keep it until the term is graded")
            return 0
        teacher = read_teacher(given.teacher)
        if given.command == "release":
            for place in release(given.folder, teacher, with_solutions=given.with_solutions):
                print(f"wrote {place}")
        elif given.command == "example-class":
            for student, what in example_class(given.folder, teacher, given.teacher).items():
                print(f"wrote {given.folder / student}: {what}")
        else:
            found = find_submissions(given.submissions)
            if given.only:
                found = {student: files for student, files in found.items() if student in given.only}
            grades, protection = grade_class(found, teacher)
            projects = {student: CAPSTONE in files for student, files in found.items()}
            table = write_reports(given.out, grades, projects, teacher, protection)
            print(f"wrote {table} and a report for each student ({len(grades)}), on {len(NAMES)} assignments")
    except (OSError, ValueError, RuntimeError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
