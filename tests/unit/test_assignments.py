"""Assignments: sources, releases and checks agree, and a new seed makes new tasks."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import json
import sys
import warnings

import numpy as np
import pytest

from assignments import CAPSTONE, NAMES, checks
from assignments.__main__ import main
from assignments.content import ASSIGNMENTS
from assignments.grading import hidden_points
from assignments.invented import SLIPS, empty, perfect
from assignments.release import release
from assignments.rubric import CRITERIA
from assignments.sources import SOURCE, cleared, marks, read_source, records, solution_cells, solutions
from assignments.teacher import EXAMPLE, REPOSITORY, Teacher, new_term, read_teacher

TERM = Teacher("A term", "a secret that is long enough")
NEXT_TERM = Teacher("The next term", "another secret, long enough")


@pytest.fixture(scope="module")
def released(tmp_path_factory):
    folder = tmp_path_factory.mktemp("released")
    release(folder, TERM)
    return folder


@pytest.fixture(scope="module")
def all_records():
    return {
        (name, hidden): records(assignment, TERM, hidden=hidden)
        for name, assignment in ASSIGNMENTS.items()
        for hidden in (False, True)
    }


def run(notebook, folder, monkeypatch):
    """Run all code cells of a notebook in their order, as Jupyter does; returns what they print and the namespace."""
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.delitem(sys.modules, "checks", raising=False)
    namespace, page = {}, io.StringIO()
    with contextlib.redirect_stdout(page):
        for cell in notebook["cells"]:
            if cell["cell_type"] == "code":
                exec(compile(cell["source"], cell["id"], "exec"), namespace)
    sys.modules.pop("checks", None)
    return page.getvalue(), namespace


@pytest.mark.parametrize("hidden", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_solutions_get_all_points_and_each_mistake_is_named(all_records, name, hidden):
    for step, record in all_records[name, hidden].items():
        assert None not in record["expected"], step
        credits = checks.judge([{"value": value} for value in record["expected"]], record)
        assert all(credit.got == credit.points for credit in credits), step
        assert len(record["mistakes"]) >= 3 or step == "caption_targets"
        for mistake in record["mistakes"]:
            results = [{"error": "x"} if value is None else {"value": value} for value in mistake["results"]]
            lost = [credit.message for credit in checks.judge(results, record) if credit.got < credit.points]
            assert mistake["message"] in lost, f"{step}: {mistake['message']!r} was taken for {lost}"


@pytest.mark.parametrize("name", NAMES)
def test_a_mistake_does_not_say_what_is_expected(all_records, name):
    """Several calls are random, so no message can hold all that they should return; and no two are the same."""
    for record in all_records[name, True].values():
        messages = [mistake["message"] for mistake in record["mistakes"]]
        assert len(set(messages)) == len(messages)
        assert sum(len(part["cases"]) for part in record["parts"]) == len(record["calls"]) >= 3


@pytest.mark.parametrize("name", NAMES)
def test_a_source_has_nbgraders_marks(name):
    notebook = json.loads((SOURCE / name / f"{name}.ipynb").read_text(encoding="utf-8"))
    assignment = ASSIGNMENTS[name]
    identities = [marks(cell)["grade_id"] for cell in notebook["cells"] if marks(cell)]
    assert len(set(identities)) == len(identities) > 3 * len(assignment.steps)
    tests = {marks(cell)["grade_id"]: marks(cell) for cell in notebook["cells"] if marks(cell).get("grade")}
    assert {f"{step.function}-test": step.points for step in assignment.steps} == {
        identity: each["points"] for identity, each in tests.items()
    }
    assert all(each["locked"] and not each["solution"] for each in tests.values())
    written = [step for step, _ in solution_cells(notebook)]
    assert written == [checks.HELPERS, *(step.function for step in assignment.steps)]
    text = " ".join("".join(cell["source"]) for cell in notebook["cells"])
    assert all(f"{{{{{number}}}}}" in text for number in assignment.choices)
    minutes = sum(
        int(line.split()[0][1:]) for line in text.splitlines() if line.startswith("*") and "minutes ·" in line
    )
    assert f"*{minutes - int(text.split('*')[1].split()[0])} minutes" in text
    assert 60 <= int(text.split("*")[1].split()[0]) <= 120


@pytest.mark.parametrize("name", [*NAMES, CAPSTONE])
def test_a_release_has_no_solution_and_no_hidden_test(released, name):
    folder = released / name
    notebook = json.loads((folder / f"{name}.ipynb").read_text(encoding="utf-8"))
    everything = "\n".join(file.read_text(encoding="utf-8") for file in sorted(folder.iterdir()))
    for word in ("BEGIN SOLUTION", "HIDDEN TESTS", "hidden_points", "{{", TERM.seed):
        assert word not in everything.replace("{{name}}", "") or (word == "{{" and name == CAPSTONE), word
    if name == CAPSTONE:
        return
    source = read_source(name, TERM.numbers(ASSIGNMENTS[name]))
    told = " ".join(cell["source"] for cell in source["cells"] if cell["cell_type"] == "markdown")
    for step, code in solution_cells(source):
        taken = code.split("### BEGIN SOLUTION")[1].split("### END SOLUTION")[0]
        for line in filter(lambda line: len(line) > 25, map(str.strip, taken.splitlines())):
            assert line not in everything or line in told, f"{step}: {line}"
    assert [cell["metadata"] for cell in notebook["cells"]] == [cell["metadata"] for cell in source["cells"]]
    assert (folder / "checks.json").stat().st_size < 600_000


@pytest.mark.parametrize("name", NAMES)
def test_a_released_notebook_runs_untouched_and_has_no_point(released, name, monkeypatch, tmp_path):
    notebook = json.loads((released / name / f"{name}.ipynb").read_text(encoding="utf-8"))
    notebook["cells"] = [cell for cell in notebook["cells"] if cell["id"] != "look-code"]  # it imports what takes long
    _, namespace = run(notebook, released / name, monkeypatch)
    for step in ASSIGNMENTS[name].steps:
        outcome = namespace["check"](step.function, namespace[step.function])
        assert not outcome.solved and "returns nothing so far" in outcome.message


@pytest.mark.parametrize("name", NAMES)
def test_the_solutions_pass_the_visible_and_the_hidden_tests(released, name, monkeypatch, tmp_path):
    """The hidden ones as nbgrader runs them: the number at the end of a test's cell is its credit."""
    notebook = perfect(ASSIGNMENTS[name], TERM).notebook
    notebook["cells"] = [cell for cell in notebook["cells"] if cell["id"] != "look-code"]
    _, namespace = run(notebook, released / name, monkeypatch)
    file = tmp_path / "teacher.toml"
    file.write_text(f'seed = "{TERM.seed}"\n')
    monkeypatch.setenv("ASSIGNMENTS_TEACHER", str(file))
    for step in ASSIGNMENTS[name].steps:
        assert namespace["check"](step.function, namespace[step.function]).solved, step.function
        assert hidden_points(name, step.function, namespace[step.function]) == step.points
        assert hidden_points(name, step.function, lambda *anything: None) == 0


def test_hidden_points_need_the_teachers_file(monkeypatch):
    monkeypatch.delenv("ASSIGNMENTS_TEACHER", raising=False)
    with pytest.raises(ValueError, match="ASSIGNMENTS_TEACHER"):
        hidden_points("weak_supervision", "kappa", None)


def test_plain_pytest_has_a_test_for_each_step(released, tmp_path):
    """The released test file, called by hand: it passes for a solution and says what is wrong otherwise."""
    name = "weak_supervision"
    folder = tmp_path / name
    folder.mkdir()
    for file in (released / name).iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    invented = perfect(ASSIGNMENTS[name], TERM)
    invented.exchange(*SLIPS[name][0])
    (folder / f"{name}.ipynb").write_text(json.dumps(invented.notebook), encoding="utf-8")
    specification = importlib.util.spec_from_file_location("released_test", folder / f"test_{name}.py")
    module = importlib.util.module_from_spec(specification)
    path = list(sys.path)
    specification.loader.exec_module(module)
    sys.path[:] = path
    sys.modules.pop("checks", None)
    assert module.check.steps == [step.function for step in ASSIGNMENTS[name].steps]
    module.test_step("kappa")
    with pytest.raises(pytest.fail.Exception, match="rows and columns of the matrix are exchanged"):
        module.test_step("corrected_loss")


def test_what_is_known_by_heart_gets_nothing(all_records):
    """A function that returns the visible answers fails in the hidden calls."""
    for name in NAMES:
        for step, hidden in all_records[name, True].items():
            visible = all_records[name, False][step]
            by_heart = {
                json.dumps(call): value for call, value in zip(visible["calls"], visible["expected"], strict=True)
            }
            results = [{"value": by_heart.get(json.dumps(call))} for call in hidden["calls"]]
            assert [credit.got for credit in checks.judge(results, hidden)] == [0] * len(hidden["parts"]), step


def test_a_new_seed_makes_new_tasks():
    for assignment in ASSIGNMENTS.values():
        terms = [Teacher("", f"the secret of the term number {number}") for number in range(8)]
        assert len({json.dumps(term.numbers(assignment)) for term in terms}) > 2
    first, second = (records(ASSIGNMENTS["weak_supervision"], term, hidden=True) for term in (TERM, NEXT_TERM))
    assert all(first[step]["calls"] != second[step]["calls"] for step in first)
    again = records(ASSIGNMENTS["weak_supervision"], TERM, hidden=True)
    assert json.dumps(again) == json.dumps(first)


def test_another_terms_numbers_are_wrong():
    """The solutions of a term with other numbers lose the steps that have one."""
    assignment = ASSIGNMENTS["weak_supervision"]
    numbers = TERM.numbers(assignment)
    other = {name: next(value for value in assignment.choices[name] if value != numbers[name]) for name in numbers}
    hidden = records(assignment, TERM, hidden=True)
    lost = set()
    for step, function in solutions(assignment, other).items():
        results = [checks.answer_of(function, call) for call in hidden[step]["calls"]]
        if any(credit.got < credit.points for credit in checks.judge(results, hidden[step])):
            lost.add(step)
    assert lost == {"fused", "rates"}


def test_the_mistake_that_explains_the_whole_step_is_named():
    """Two mistakes explain the second part; the first of them would also have spoilt the first part."""
    record = {
        "tolerance": 1e-6,
        "calls": [checks.encode((number,)) for number in (1, 2, 3)],
        "expected": [1, 2, 3],
        "mistakes": [{"message": "always 0.", "results": [0, 0, 0]}, {"message": "0 at three.", "results": [1, 2, 0]}],
        "parts": [{"name": "few", "points": 1, "cases": [0, 1]}, {"name": "three", "points": 1, "cases": [2]}],
    }
    for given, named in (([1, 2, 0], ["all 2 calls are right.", "0 at three."]), ([0, 0, 0], ["always 0."] * 2)):
        credits = checks.judge([{"value": value} for value in given], record)
        assert [credit.message for credit in credits] == named


def test_the_mistakes_of_the_invented_are_typical(all_records):
    for name, slips in SLIPS.items():
        steps = {step.function: step for step in ASSIGNMENTS[name].steps}
        assert len(slips) == 3
        assert all(0 < points <= steps[step].points for step, _, _, points, _ in slips)
        for step, _, _, _, reason in slips:
            assert any(reason in mistake["message"] for mistake in all_records[name, True][step]["mistakes"])
    assert set(empty(ASSIGNMENTS["weak_supervision"], TERM).lost) == {
        step.function for step in ASSIGNMENTS["weak_supervision"].steps
    }


class TestClearing:
    def test_a_missing_mark_is_noticed(self):
        for source in (
            "### BEGIN SOLUTION\nx = 1",
            "x = 1\n### END SOLUTION",
            "### BEGIN SOLUTION\n### BEGIN SOLUTION",
        ):
            with pytest.raises(ValueError, match="SOLUTION"):
                cleared({"cells": [{"cell_type": "markdown", "source": source}]})

    def test_an_unknown_number_is_noticed(self):
        with pytest.raises(ValueError, match="share"):
            read_source("prompting_and_evaluation", {"percent": 90, "confidence": 90, "rate": 0.1})

    def test_outputs_go_away(self):
        cell = {"cell_type": "code", "source": "1", "outputs": [{}], "execution_count": 3}
        assert cleared({"cells": [cell]})["cells"][0]["outputs"] == []


class TestTeachersFile:
    def write(self, tmp_path, text):
        file = tmp_path / "teacher.toml"
        file.write_text(text, encoding="utf-8")
        return file

    def test_a_new_term_has_a_secret_of_its_own(self, tmp_path):
        first, second = (read_teacher(new_term(tmp_path / f"{number}.toml", "Autumn")) for number in range(2))
        assert first.seed != second.seed and len(first.seed) == 32 and first.term == "Autumn"
        assert (tmp_path / "0.toml").stat().st_mode & 0o077 == 0
        with pytest.raises(FileExistsError, match="seed"):
            new_term(tmp_path / "0.toml")

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("", "is no secret"),
            ('seed = "short"', "is no secret"),
            ("seed = 12345678901234567890", "not TOML|is no secret"),
            ('seed = "', "not TOML"),
            ('seed = "long enough to be one"\nsede = 1', "sede"),
            ('seed = "long enough to be one"\n[limits]\nseconds = 0', "seconds"),
            ('seed = "long enough to be one"\n[limits]\ncpu = 3', "cpu"),
            ('seed = "long enough to be one"\nextra_calls = "none.py"', "none.py"),
        ],
    )
    def test_what_is_wrong_is_named(self, tmp_path, text, words):
        with pytest.raises(ValueError, match=words):
            read_teacher(self.write(tmp_path, text))

    def test_the_example_is_complete_and_no_secret(self):
        with pytest.raises(ValueError, match="is no secret"):
            read_teacher(EXAMPLE)

    def test_it_lies_outside_of_the_repository(self):
        with pytest.raises(ValueError, match="inside of the repository"):
            read_teacher(REPOSITORY / "pyproject.toml")
        with pytest.raises(FileNotFoundError, match="new-term"):
            read_teacher(REPOSITORY.parent / "no such file.toml")

    def test_limits_and_extra_calls_are_read(self, tmp_path):
        example = (EXAMPLE.parent / "extra_calls.example.py").read_text(encoding="utf-8")
        (tmp_path / "extra.py").write_text(example, encoding="utf-8")
        text = 'seed = "long enough to be one"\nextra_calls = "extra.py"\n[limits]\nseconds = 3\nmemory_mb = 1500\n'
        teacher = read_teacher(self.write(tmp_path, text))
        assert (teacher.limits.seconds, teacher.limits.memory) == (3.0, 1500 << 20)
        hidden = records(ASSIGNMENTS["weak_supervision"], teacher, hidden=True)["kappa"]
        labels, turned = checks.decode(hidden["calls"][hidden["parts"][0]["cases"][-1]])
        assert labels.shape == (40, 40) and (labels + turned == 1).all()
        visible = records(ASSIGNMENTS["weak_supervision"], teacher, hidden=False)["kappa"]
        assert len(visible["calls"]) == len(hidden["calls"]) - 1


class TestExchange:
    @pytest.mark.parametrize(
        "value",
        [None, True, 3, 2.5, float("inf"), "words", (1, 2.0), [np.arange(3), "a"], np.ones((2, 0)), np.array(True),
         np.float32(1.5), np.zeros((2, 3), bool)],
    )  # fmt: skip
    def test_what_is_written_is_read(self, value):
        again = checks.decode(json.loads(json.dumps(checks.encode(value))))
        assert json.dumps(checks.encode(again)) == json.dumps(checks.encode(value))
        assert np.array_equal(
            np.shape(again) if not isinstance(value, list) else 0, np.shape(value) if not isinstance(value, list) else 0
        )

    @pytest.mark.parametrize(
        "value", [object(), {"a": 1}, np.array([None]), np.array(["a"]), [[[[[[1]]]]]], lambda: 0, 1j]
    )
    def test_what_is_no_answer_is_refused(self, value):
        with pytest.raises(TypeError):
            checks.encode(value)

    @pytest.mark.parametrize(
        "value",
        [{"array": "", "type": "|O", "shape": [1]}, {"array": "!", "type": "<f8", "shape": [1]}, {"pickle": "x"},
         {"array": "AAAA", "type": "<f8", "shape": [-1, -1]}, [1],
         {"list": [{"list": [{"list": [{"list": [{"list": []}]}]}]}]}],
    )  # fmt: skip
    def test_what_is_not_written_by_us_is_refused(self, value):
        with pytest.raises((ValueError, TypeError)):
            checks.decode(value)

    def test_any_answer_is_judged(self):
        record = records(ASSIGNMENTS["weak_supervision"], TERM, hidden=False)["kappa"]
        count = len(record["calls"])
        for value in (None, "x", {"no": 1}, {"array": 3}, [], {"list": []}, 10**400, float("nan"), True):
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                credits = checks.judge([{"value": value}] * count, record)
            assert sum(credit.got for credit in credits) <= (1 if value is True else 0), value
            assert all(credit.message for credit in credits)


def test_infinity_is_no_number_like_another():
    from medclipsam_utils.exercises.comparison import difference

    assert difference(0.0, float("inf"), 1e-6) is not None
    assert difference(float("inf"), float("inf"), 1e-6) is None


def test_a_cell_runs_statement_by_statement():
    namespace = {}
    failed = checks.run_cell("%matplotlib inline\nimport no_such_module\nx = 1\n!ls\n1 / 0\ny = x + 1", namespace)
    assert namespace["y"] == 2
    assert len(failed) == 2 and "line 2" in failed[0] and "ZeroDivisionError" in failed[1]


def test_cells_are_found_without_their_marks_too():
    notebook = perfect(ASSIGNMENTS["weak_supervision"], TERM).notebook
    steps = [step.function for step in ASSIGNMENTS["weak_supervision"].steps]
    found, notes = checks.cells_by_step(notebook, steps)
    assert set(found) == {checks.HELPERS, *steps} and not notes
    for cell in notebook["cells"]:
        cell["metadata"] = {}
    again, notes = checks.cells_by_step(notebook, steps)
    assert all(again[step] == found[step] for step in steps)
    assert len(notes) == len(steps) and "lost its mark" in notes[0]


def test_the_rubric_says_what_is_counted():
    text = (SOURCE / CAPSTONE / "rubric.md").read_text(encoding="utf-8")
    rows = dict(line.split("|")[1:3] for line in text.splitlines() if line.startswith("| ") and "--" not in line)
    assert {name.strip(): points.strip() for name, points in rows.items() if name.strip() != "criterion"} == {
        name: str(points) for name, points in CRITERIA.items()
    }
    notebook = json.loads((SOURCE / CAPSTONE / f"{CAPSTONE}.ipynb").read_text(encoding="utf-8"))
    graded = {marks(cell)["grade_id"]: marks(cell)["points"] for cell in notebook["cells"] if marks(cell).get("grade")}
    assert graded == CRITERIA and f"{sum(CRITERIA.values())} points" in text


def test_the_commands_say_what_is_wrong(tmp_path, capsys):
    teacher = tmp_path / "teacher.toml"
    assert main(["new-term", str(teacher), "--term", "Spring"]) == 0
    assert main(["new-term", str(teacher)]) == 1
    assert main(["grade", str(tmp_path / "nobody"), "--teacher", str(teacher), "--out", str(tmp_path / "out")]) == 1
    (tmp_path / CAPSTONE).mkdir()
    assert main(["release", str(tmp_path), "--teacher", str(tmp_path / "none.toml")]) == 1
    errors = capsys.readouterr().err
    assert "exists" in errors and "no folder" in errors and "new-term" in errors
