"""From the sources to what students get: notebooks without solutions or hidden tests, and checks that run anywhere."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from . import CAPSTONE, NAMES, SOURCE, checks
from .content import ASSIGNMENTS
from .sources import Notebook, cleared, read_source, records
from .teacher import Teacher

TEST = '''"""The visible checks of {name}.ipynb under plain pytest: python -m pytest test_{name}.py"""

import pathlib
import sys

import pytest

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE))
from checks import Checks  # noqa: E402

check = Checks(HERE)


@pytest.mark.parametrize("step", check.steps)
def test_step(step):
    try:
        outcome = check(step, check.function(step, HERE / "{name}.ipynb"))
    except (NameError, SyntaxError) as error:
        pytest.fail(str(error), pytrace=False)
    if not outcome.solved:
        pytest.fail(outcome.message, pytrace=False)
'''


def write_json(file: Path, content: Any, indent: int | None = None) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content, ensure_ascii=False, indent=indent) + "\n", encoding="utf-8")


def release(folder: str | Path, teacher: Teacher, *, with_solutions: bool = False) -> list[Path]:
    """Write the assignments of a term.

    Args:
        folder: gets a folder for each assignment.
        teacher: whose seed gives the numbers and the visible calls.
        with_solutions: for the teacher's own eyes and for nbgrader: solutions and marks of hidden tests stay in.

    Returns:
        The folders.

    Raises:
        FileExistsError: one of them is there already, with work in it perhaps.
    """
    folder = Path(folder)
    written = []
    for name in (*NAMES, CAPSTONE):
        place = folder / name
        if place.exists():
            raise FileExistsError(f"{place} exists: nothing was written there. Give a new folder")
        numbers = teacher.numbers(ASSIGNMENTS[name]) if name in ASSIGNMENTS else {}
        notebook: Notebook = read_source(name, numbers)
        write_json(place / f"{name}.ipynb", notebook if with_solutions else cleared(notebook), indent=1)
        for extra in sorted((SOURCE / name).glob("*.md")):
            shutil.copy(extra, place / extra.name)
        if name in ASSIGNMENTS:
            write_json(place / "checks.json", {"steps": records(ASSIGNMENTS[name], teacher, hidden=False)})
            shutil.copy(checks.__file__, place / "checks.py")
            (place / f"test_{name}.py").write_text(TEST.format(name=name), encoding="utf-8")
        written.append(place)
    return written
