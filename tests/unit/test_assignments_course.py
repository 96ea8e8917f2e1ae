"""A course from its first command to the table of the class, with real kernels, plain pytest, and nbgrader."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from assignments import CAPSTONE, NAMES
from assignments.content import ASSIGNMENTS
from assignments.invented import SLIPS, perfect
from assignments.release import release
from assignments.sources import SOURCE, cleared, read_source
from assignments.teacher import REPOSITORY, Teacher

pytestmark = [pytest.mark.heavy, pytest.mark.skipif(os.name != "posix", reason="grading needs a POSIX system")]

TERM = Teacher("A term", "a secret that is long enough")

#: What nbgrader makes of sources, run by a Python that has it: notebooks without solutions, and points of the cells.
NBGRADER = """
import json, sys
from nbgrader.nbgraderformat import reads
from nbgrader.preprocessors import ClearHiddenTests, ClearSolutions
from nbgrader.utils import determine_grade, is_grade
from nbformat.v4 import new_output
from traitlets.config import Config

config = Config()
config.ClearSolutions.code_stub = {"python": "pass"}
config.ClearSolutions.text_stub = "*Write here.*"
found = {}
for name in sys.argv[1:]:
    notebook = reads(open(name, encoding="utf-8").read(), as_version=4)  # checks the marks
    for step in (ClearSolutions, ClearHiddenTests):
        notebook, _ = step(config=config).preprocess(notebook, {})
    points = {}
    for cell in notebook.cells:
        if cell.cell_type == "code" and is_grade(cell):
            cell.outputs = [new_output("execute_result", {"text/plain": "2.0"})]
            points[cell.metadata.nbgrader.grade_id] = determine_grade(cell)[:2]
    found[name] = {"sources": [cell.source for cell in notebook.cells], "points": points}
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def released(tmp_path_factory):
    folder = tmp_path_factory.mktemp("released")
    release(folder, TERM)
    return folder


def run(*command, **more):
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment, timeout=900, **more)


@pytest.mark.parametrize("name", [*NAMES, CAPSTONE])
def test_a_released_notebook_runs_in_a_kernel(released, name):
    notebook = nbformat.read(released / name / f"{name}.ipynb", as_version=4)
    nbformat.validate(notebook)
    NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(released / name)}}).execute()
    text = json.dumps(notebook, ensure_ascii=False)
    assert "✓ solved" not in text and (name == CAPSTONE or "not yet" in text)


@pytest.mark.parametrize("name", NAMES)
def test_the_solutions_run_in_a_kernel_to_the_last_figure(released, name, tmp_path):
    for file in (released / name).iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    notebook = nbformat.from_dict(perfect(ASSIGNMENTS[name], TERM).notebook)
    NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(tmp_path)}}).execute()
    text = json.dumps(notebook, ensure_ascii=False)
    assert "not yet" not in text and text.count("✓ solved") == len(ASSIGNMENTS[name].steps)
    assert "image/jpeg" in text


def test_the_released_tests_run_under_plain_pytest(released, tmp_path):
    """All assignments in one run, untouched and solved; the message names the mistake."""
    command = (sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", ".")
    untouched = run(*command, cwd=released)
    count = sum(len(assignment.steps) for assignment in ASSIGNMENTS.values())
    assert f"{count} failed" in untouched.stdout and "returns nothing so far" in untouched.stdout
    solved = tmp_path / "solved"
    release(solved, TERM)
    for name in NAMES:
        invented = perfect(ASSIGNMENTS[name], TERM)
        if name == "weak_supervision":
            invented.exchange(*SLIPS[name][0])
        (solved / name / f"{name}.ipynb").write_text(json.dumps(invented.notebook), encoding="utf-8")
    outcome = run(*command, cwd=solved)
    assert f"1 failed, {count - 1} passed" in outcome.stdout
    assert "rows and columns of the matrix are exchanged" in outcome.stdout


def test_the_walk_of_the_readme(tmp_path):
    """The commands as they stand there, with another folder for the course; and the lines that it says come out."""
    text = (REPOSITORY / "assignments" / "README.md").read_text(encoding="utf-8")
    walk = text.split("## From a clone")[1].split("## A term")[0]
    commands = [
        line.split("  #")[0] for line in walk.splitlines() if line.startswith(".venv/bin/python -m assignments")
    ]
    assert [command.split()[3] for command in commands] == ["new-term", "release", "example-class", "grade"]
    for command in commands:
        words = command.replace("../course", str(tmp_path / "course")).replace('"Autumn 2026"', "Autumn").split()
        outcome = run(sys.executable, *words[1:], cwd=REPOSITORY)
        assert outcome.returncode == 0, outcome.stderr
    told = walk.split("```text\n")[1].split("```")[0]
    assert outcome.stdout.startswith(told)
    table = (tmp_path / "course" / "grades" / "class.csv").read_text(encoding="utf-8")
    totals = {row["student"]: row["total"] for row in csv.DictReader(table.splitlines())}
    assert totals == {"ada": "99", "ben": "86", "chi": "0", "dora": "74", "emil": "48", "(most)": "139"}
    assert (tmp_path / "course" / "teacher.toml").exists()


def test_nbgrader_reads_the_sources_and_clears_them_as_we_do(tmp_path):
    """By nbgrader itself, in an environment of its own, because it would bring forty packages into ours."""
    script = tmp_path / "read_sources.py"
    script.write_text(NBGRADER, encoding="utf-8")
    files = [str(SOURCE / name / f"{name}.ipynb") for name in (*NAMES, CAPSTONE)]
    uv = (sys.executable, "-m", "uv", "run", "--no-project", "--quiet", "--with", "nbgrader==0.9.6", "python")
    if run(*uv, "-c", "import nbgrader", cwd=tmp_path).returncode:
        pytest.skip("nbgrader cannot be installed here: no package index")
    outcome = run(*uv, str(script), *files, cwd=tmp_path)
    assert outcome.returncode == 0, outcome.stderr
    found = json.loads(outcome.stdout)
    for file in files:
        name = Path(file).stem
        numbers = {number: f"{{{{{number}}}}}" for number in ASSIGNMENTS[name].choices} if name in ASSIGNMENTS else {}
        ours = [cell["source"] for cell in cleared(read_source(name, numbers))["cells"]]
        theirs = [source.rstrip() for source in found[file]["sources"]]
        assert theirs == [source.rstrip() for source in ours]
        if name in ASSIGNMENTS:
            expected = {f"{step.function}-test": [2.0, float(step.points)] for step in ASSIGNMENTS[name].steps}
            assert found[file]["points"] == expected
