"""Grading cannot be fooled or hurt: kinds of submission get exactly the points that they should, and a reason."""

from __future__ import annotations

import csv
import json
import os
import re
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest

from assignments import CAPSTONE, NAMES, checks
from assignments.content import ASSIGNMENTS
from assignments.grading import Graded, find_submissions, grade, grade_class, read_submission
from assignments.invented import KINDS, empty, perfect
from assignments.reports import capstone_sheet, in_block, in_line, report, write_reports
from assignments.rubric import CRITERIA
from assignments.sandbox import Limits, Sandbox
from assignments.sources import records
from assignments.teacher import Teacher

pytestmark = pytest.mark.skipif(os.name != "posix", reason="grading needs the limits of a POSIX system")

#: What submitted code tries to read and to write; it stands in HOSTILE by these names.
OTHER_FILE, WRITTEN = Path(__file__).resolve(), Path(tempfile.gettempdir()).resolve() / "written-by-a-submission"

TERM = Teacher("A term", "a secret that is long enough", Limits(processor_seconds=1, seconds=10.0))

#: Two kinds for each assignment are tried at every change, the rest by `make heavy-test`.
EACH_TIME = {
    ("loss_and_saliency", "slip 1"), ("loss_and_saliency", "cheats"),
    ("prompting_and_evaluation", "megabytes"), ("prompting_and_evaluation", "writes elsewhere"),
    ("weak_supervision", "reads hidden tests"), ("weak_supervision", "leaves the process"),
}  # fmt: skip
ALL = [(name, kind) for name in NAMES for kind in KINDS]


@pytest.fixture(scope="module")
def sandbox():
    with Sandbox() as running:
        yield running


@pytest.fixture(scope="module")
def sandbox_without_landlock():
    with Sandbox(hook_alone=True) as running:
        assert not running.landlock
        yield running


@pytest.fixture(scope="module")
def hidden():
    return {name: records(ASSIGNMENTS[name], TERM, hidden=True) for name in NAMES}


def children(process):
    """The processes that a process has started, as far as this system tells."""
    file = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    return file.read_text().split() if file.exists() else []


@pytest.mark.parametrize(
    ("name", "kind"),
    [pytest.param(*each, marks=() if each in EACH_TIME else pytest.mark.heavy, id=" · ".join(each)) for each in ALL],
)
def test_a_kind_of_submission_gets_its_points_and_a_reason(name, kind, sandbox, hidden, tmp_path):
    secret, target = tmp_path / "teacher.toml", tmp_path / "elsewhere"
    secret.write_text(f'seed = "{TERM.seed}"')
    target.mkdir()
    (target / "there").write_text("mine")
    where = {"reads hidden tests": {"secret": secret}, "writes elsewhere": {"target": target}}.get(kind, {})
    invented = KINDS[kind](ASSIGNMENTS[name], TERM, **where)
    file = tmp_path / f"{name}.ipynb"
    file.write_text(json.dumps(invented.notebook), encoding="utf-8")

    graded = grade(file, hidden[name], TERM, sandbox)

    for step in ASSIGNMENTS[name].steps:
        result = graded.steps[step.function]
        lost, reason = invented.lost.get(step.function, (0, ""))
        messages = " ".join(credit.message for credit in result.credits)
        assert result.got == step.points - lost, f"{step.function}: {messages}"
        assert any(words in messages for words in (reason, *invented.allowed)), f"{step.function}: {messages}"
        assert TERM.seed not in messages and (result.run is None or TERM.seed not in result.run.printed)
    assert [path.name for path in target.iterdir()] == ["there"] and (target / "there").read_text() == "mine"
    assert secret.read_text() == f'seed = "{TERM.seed}"'
    assert not children(sandbox._process)
    text = report("student", {name: graded}, TERM, "", False)
    assert len(text) < 60_000
    if kind == "megabytes":
        assert re.search(r"right<br>It printed [\d,]{10,} characters", text)


HOSTILE = {
    "a loop": ("def f(x):\n    while True:\n        pass", "endless loop|did not come back"),
    "sleeping": ("import time\ndef f(x):\n    time.sleep(60)", "did not come back"),
    "closing its pipes": (
        "import os, time\ndef f(x):\n    os.closerange(0, 9)\n    time.sleep(60)",
        "did not come back",
    ),
    "printing without an end": (
        "def f(x):\n    while True:\n        print('x' * 10**6)",
        "endless loop|did not come back",
    ),
    "leaving": ("import os\ndef f(x):\n    os._exit(0)", "ended by itself"),
    "exit": ("def f(x):\n    raise SystemExit", "end Python itself"),
    "a signal": ("import os, signal\ndef f(x):\n    signal.raise_signal(signal.SIGSEGV)", "segmentation fault"),
    "killing": ("import os\ndef f(x):\n    os.kill(-1, 9)", "os.kill"),
    "a fork": ("import os\ndef f(x):\n    os.fork()", "os.fork"),
    "a shell": ("import os\ndef f(x):\n    os.system('ls')", "os.system"),
    "a spawned process": ("import os\ndef f(x):\n    os.posix_spawn('/bin/ls', ['ls'], {})", "os.posix_spawn"),
    "a new program": ("import os\ndef f(x):\n    os.execv('/bin/ls', ['ls'])", "os.exec"),
    "a module that starts processes": ("import sys\ndef f(x):\n    return sys.modules['subprocess']", "KeyError"),
    "ctypes, by its file": (
        "import _imp, importlib.machinery as m, os, glob\n"
        "place = glob.glob(os.path.dirname(os.__file__) + '/lib-dynload/_ctypes.*')\n"
        "def f(x):\n    s = m.ModuleSpec('_ctypes', None, origin=place[0])\n"
        "    return _imp.create_dynamic(s).dlopen(None)",
        "load _ctypes|IndexError|ctypes.dlopen",
    ),
    "a thread": ("import threading\ndef f(x):\n    threading.Thread(target=print).start()", "thread"),
    "reading": ("def f(x):\n    return open('OTHER_FILE').read()", "tried to open OTHER_FILE"),
    "reading by bytes": ("import os\ndef f(x):\n    return os.open(b'OTHER_FILE', 0)", "tried to open OTHER_FILE"),
    "reading by a way round": ("def f(x):\n    return open('a/../../../..OTHER_FILE').read()", "tried to open"),
    "reading by a link": ("import os\ndef f(x):\n    os.symlink('/', 'e')", "os.symlink"),
    "reading the memory": (
        "import os\ndef f(x):\n    return open(f'/proc/{os.getppid()}/mem', 'rb')",
        "tried to open /proc",
    ),
    "reading by numpy": ("def f(x):\n    return np.fromfile('OTHER_FILE', np.uint8)", "tried to open OTHER_FILE"),
    "listing": ("import os\ndef f(x):\n    return len(os.listdir('/'))", "tried to list /"),
    "writing": ("def f(x):\n    open('WRITTEN', 'w')", "tried to write WRITTEN"),
    "writing by numpy": ("def f(x):\n    x.tofile('WRITTEN')", "tried to write WRITTEN"),
    "moving": ("import os\ndef f(x):\n    os.rename('WRITTEN', 'mine')", "tried to rename"),
    "going elsewhere": ("import os\ndef f(x):\n    os.chdir('/')", "os.chdir"),
    "many files": ("def f(x):\n    for i in range(40):\n        open(f'{i}', 'w').close()", "more than 32"),
    "a large file": ("def f(x):\n    open('a', 'w').write('x' * 10**7)", "File too large"),
    "a hook of its own": ("import sys\ndef f(x):\n    sys.addaudithook(print)", "sys.addaudithook"),
    "watching the hook": ("import sys\ndef f(x):\n    sys.settrace(print)", "sys.settrace"),
    "searching the hook": ("import gc\ndef f(x):\n    return len(gc.get_objects())", "gc.get_objects"),
    "fooling the hook": (
        "import builtins, os, posixpath\nbuiltins.isinstance = lambda *a: True\nos.path.realpath = lambda p: 'mine'\n"
        "os.getcwd = lambda: '/'\nos._exit = print\ndef f(x):\n    return open('OTHER_FILE').read()",
        "it tried to|ended by itself",
    ),
    "a path that changes": (
        "import io\nclass P(str):\n    def startswith(self, *a):\n        return True\n"
        "def f(x):\n    return io.FileIO(P('OTHER_FILE')).read()",
        "tried to open",
    ),
    "the network": ("import socket\ndef f(x):\n    return socket.socket()", "NameError"),
    "the network, inside": ("import _socket\ndef f(x):\n    return _socket.socket()", "NameError"),
    "much memory": ("def f(x):\n    return np.ones(10**11)", "Unable to allocate"),
    "a recursion": ("def f(x):\n    return f(x)", "RecursionError"),
    "a large answer": ("def f(x):\n    return np.zeros(10**6)", "array of shape"),
    "many large answers": ("def f(x):\n    return [np.zeros(10**5)] * 100", "answers are larger"),
    "an answer that is no answer": (
        "import os\ndef f(x):\n    os.write(3, b'\\xff{[[' * 999 + b'\\n')\n    return 1",
        "cannot be read",
    ),
    "a deep answer": ("import os\ndef f(x):\n    os.write(3, b'[' * 10**5 + b'\\n')\n    return 1", "cannot be read"),
    "a liar": (
        "class L:\n    def __eq__(self, o):\n        return True\ndef f(x):\n    return L()",
        "an object of type L",
    ),
    "a changed argument": ("def f(x):\n    x += 1\n    return x", "changes its own argument"),
    "no Python": ("def f(x)\n    return", "is not Python"),
    "another name": ("def g(x):\n    return x", "defines no function f"),
    "a cell that ends Python": ("exit()\ndef f(x):\n    return x", "end Python itself|NameError|defines no"),
    "an error that cannot speak": (
        "class E(Exception):\n    def __str__(self):\n        raise self\ndef f(x):\n    raise E",
        "cannot say what it is",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", HOSTILE)
def test_the_sandbox_holds(what, sandbox):
    """Also after whatever came before: the same process runs them all."""
    hold(what, sandbox)


@pytest.mark.heavy
@pytest.mark.parametrize("what", HOSTILE)
def test_the_hook_holds_alone(what, sandbox_without_landlock):
    hold(what, sandbox_without_landlock)


def hold(what, sandbox):
    code, words = (
        text.replace("OTHER_FILE", str(OTHER_FILE)).replace("WRITTEN", str(WRITTEN)) for text in HOSTILE[what]
    )
    waits = what in ("sleeping", "closing its pipes", "printing without an end")
    limits = Limits(processor_seconds=1, seconds=0.7 if waits else 15.0)
    begin = time.monotonic()
    run = sandbox.run([("f", code)], "f", [checks.encode((np.arange(3.0),))], limits)
    assert time.monotonic() - begin < 20
    told = f"{run.stopped} {run.results[0].get('error', '')}"
    assert any(part in told for part in words.split("|")), told
    assert "value" not in run.results[0]
    assert len(run.printed) <= limits.shown
    assert not children(sandbox._process)
    assert not WRITTEN.exists()
    right = sandbox.run([("f", "def f(x):\n    return x.sum()")], "f", [checks.encode((np.arange(3.0),))], TERM.limits)
    assert checks.decode(right.results[0]["value"]) == 3


def test_what_is_needed_is_allowed(sandbox):
    code = (
        "%matplotlib inline\nimport matplotlib.pyplot as plt\nfrom scipy import stats, optimize, linalg\n"
        "import math, collections, itertools, functools, dataclasses, random, decimal, statistics, os\n"
        "import glob, pathlib, traceback, warnings\n\n"
        "@dataclasses.dataclass\nclass Pair:\n    first: float\n\nNames = collections.namedtuple('Names', 'a b')\n\n"
        "def f(x):\n    open('mine.txt', 'w').write('x')\n    np.save('x.npy', x)\n    os.makedirs('a/b')\n"
        "    print(open('mine.txt').read(), np.load('x.npy').sum(), os.listdir('.'))\n"
        "    noise = np.random.default_rng(0).normal(size=3)\n"
        "    warnings.warn('mind this', stacklevel=2)\n"
        "    try:\n        1 / 0\n    except ZeroDivisionError:\n        traceback.print_exc()\n"
        "    found = glob.glob('*.npy'), list(pathlib.Path('.').glob('*.txt')), list(os.walk('.'))\n"
        "    assert [len(each) for each in found] == [1, 1, 3], found\n"
        "    smooth = ndimage.gaussian_filter(x, 1).sum() - x.sum() + 0 * noise.sum()\n"
        "    return Pair(np.linalg.svd(np.eye(3))[1].sum()).first + smooth\n"
    )
    run = sandbox.run([("helpers", ""), ("f", code)], "f", [checks.encode((np.arange(3.0),))], TERM.limits)
    assert not run.stopped and checks.decode(run.results[0]["value"]) == pytest.approx(3)
    assert "x 3.0" in run.printed and "ZeroDivisionError" in run.printed and "mind this" in run.printed
    assert len(run.failed) == 1 and "matplotlib" in run.failed[0]


def test_one_step_knows_nothing_of_another_and_leaves_nothing(sandbox):
    before = set(os.listdir(tempfile.gettempdir()))
    call = [checks.encode((1,))]
    sandbox.run(
        [("f", "import math\nmath.pi = 3\ndef f(x):\n    open('left', 'w').write('x')\n    return 1")],
        "f",
        call,
        TERM.limits,
    )
    run = sandbox.run(
        [("f", "import math, os\ndef f(x):\n    return (math.pi > 3.1, len(os.listdir('.')))")], "f", call, TERM.limits
    )
    assert checks.decode(run.results[0]["value"]) == (True, 0)
    left = {name for name in set(os.listdir(tempfile.gettempdir())) - before if name.startswith("step-")}
    assert not {name for name in left if os.path.exists(os.path.join(tempfile.gettempdir(), name, "left"))}


def test_the_environment_has_no_secret(sandbox, monkeypatch):
    monkeypatch.setenv("ASSIGNMENTS_TEACHER", "secret")
    code = "import os\ndef f(x):\n    return sorted(os.environ)"
    run = sandbox.run([("f", code)], "f", [checks.encode((1,))], TERM.limits)
    assert checks.decode(run.results[0]["value"]) == ["HOME", "LC_ALL", "OMP_NUM_THREADS", "PATH", "TMPDIR"]


def test_a_lost_sandbox_is_started_again(sandbox):
    sandbox._process.kill()
    code = [("f", "def f(x):\n    return x")]
    first = sandbox.run(code, "f", [checks.encode((1,))], TERM.limits)
    assert first.stopped
    assert sandbox.run(code, "f", [checks.encode((1,))], TERM.limits).results == [{"value": 1}]


def test_helpers_are_run_before_each_step_and_left_out_if_they_hang(sandbox, hidden, tmp_path):
    name = "weak_supervision"
    for helper, note in (("def mean(a, b):\n    return (a == b).mean()", ""), ("while True:\n    pass", "left out")):
        invented = perfect(ASSIGNMENTS[name], TERM)
        for cell in invented.notebook["cells"]:
            if cell["id"] == "helpers":
                cell["source"] = helper
            if cell["id"] == "kappa":
                cell["source"] = cell["source"].replace("(first == second).mean()", "mean(first, second)", 1)
        file = tmp_path / f"{name}.ipynb"
        file.write_text(json.dumps(invented.notebook))
        graded = grade(file, hidden[name], TERM, sandbox)
        assert graded.steps["kappa"].got == (0 if note else 5)
        assert graded.got == 33 - (5 if note else 0)
        assert note in " ".join(graded.notes)


class TestSubmissions:
    @pytest.mark.parametrize(
        "content",
        [b"", b"no notebook", b"[]", b"{}", b'{"cells": 3}', b'{"cells": [{"cell_type": "code"}]}', b"\xff\xfe",
         b"[" * 100_000,
         b'{"cells": [{"cell_type": "code", "source": "x", "metadata": {"nbgrader": {"grade_id": 1}}}]}'],
    )  # fmt: skip
    def test_what_is_no_notebook_has_no_point_and_a_reason(self, content, sandbox, hidden, tmp_path):
        file = tmp_path / "kappa.ipynb"
        file.write_bytes(content)
        graded = grade(file, hidden["weak_supervision"], TERM, sandbox)
        assert graded.got == 0
        assert all("no notebook" in credit.message for step in graded.steps.values() for credit in step.credits)

    def test_a_link_is_not_followed(self, tmp_path):
        (tmp_path / "secret").write_text('{"cells": []}')
        (tmp_path / "link.ipynb").symlink_to(tmp_path / "secret")
        with pytest.raises(ValueError, match="link"):
            read_submission(tmp_path / "link.ipynb")

    def test_a_huge_file_is_not_read(self, tmp_path):
        file = tmp_path / "huge.ipynb"
        with file.open("wb") as stream:
            stream.truncate(30 << 20)
        with pytest.raises(ValueError, match="30 MB"):
            read_submission(file)

    def test_a_step_without_a_cell_has_no_point(self, sandbox, hidden, tmp_path):
        notebook = empty(ASSIGNMENTS["weak_supervision"], TERM).notebook
        notebook["cells"] = notebook["cells"][:3]
        file = tmp_path / "a.ipynb"
        file.write_text(json.dumps(notebook))
        graded = grade(file, hidden["weak_supervision"], TERM, sandbox)
        assert graded.got == 0 and "no cell" in graded.steps["kappa"].credits[0].message

    def test_several_layouts_are_found(self, tmp_path):
        for place in (
            "ada/kappa.txt", "ada/weak_supervision.ipynb", "ben/loss_and_saliency/loss_and_saliency.ipynb",
            "chi/my weak_supervision (2).ipynb", "dora/readme.md", ".hidden/weak_supervision.ipynb",
            "emil_12_345_weak_supervision.ipynb", "fay_LATE_12_346_weak_supervision-1.ipynb", "notes_of_mine.ipynb",
        ):  # fmt: skip
            (tmp_path / place).parent.mkdir(exist_ok=True, parents=True)
            (tmp_path / place).write_text("")
        found = {student: set(files) for student, files in find_submissions(tmp_path).items()}
        weak = {"weak_supervision"}
        assert found == {
            "ada": weak,
            "ben": {"loss_and_saliency"},
            "chi": weak,
            "dora": set(),
            "emil": weak,
            "fay": weak,
        }

    def test_nobody_is_an_error(self, tmp_path):
        for folder in (tmp_path, tmp_path / "none"):
            with pytest.raises(FileNotFoundError):
                find_submissions(folder)


class TestReports:
    def test_a_class_is_graded_and_written(self, tmp_path):
        for student, make in (("ada", perfect), ("=cmd()|<b>", empty)):
            (tmp_path / "in" / student).mkdir(parents=True)
            content = make(ASSIGNMENTS["weak_supervision"], TERM).notebook
            (tmp_path / "in" / student / "weak_supervision.ipynb").write_text(json.dumps(content))
        told = []
        grades, protection = grade_class(find_submissions(tmp_path / "in"), TERM, told.append)
        assert told[-1] == "ada: loss_and_saliency 0/33, prompting_and_evaluation 0/33, weak_supervision 33/33"
        table = write_reports(tmp_path / "out", grades, dict.fromkeys(grades, False), TERM, protection)
        rows = {row["student"]: row for row in csv.DictReader(table.read_text(encoding="utf-8").splitlines())}
        assert rows["ada"]["total"] == "33" and rows["ada"]["weak_supervision.kappa"] == "5"
        assert rows["'=cmd()|<b>"]["total"] == "0" and rows["(most)"]["total"] == "139"
        text = (tmp_path / "out" / "ada.md").read_text(encoding="utf-8")
        assert text.startswith("# ada: 33 of 99 points\n\nA term\n") and "nothing was handed in" in text
        assert protection in text and TERM.seed not in text
        assert "&lt;b>" in (tmp_path / "out" / "=cmd()|<b>.md").read_text(encoding="utf-8").splitlines()[0]

        sheet = tmp_path / "out" / "capstone.csv"
        lines = sheet.read_text(encoding="utf-8").splitlines()
        assert lines[0] == f"student,handed_in,{','.join(CRITERIA)}" and lines[2] == "ada,no,,,,,,,"
        lines[2] = "ada,yes," + ",".join(str(most) for most in CRITERIA.values())
        sheet.write_text("\n".join(lines) + "\n", encoding="utf-8")
        table = write_reports(tmp_path / "out", grades, dict.fromkeys(grades, True), TERM, protection)
        assert sheet.read_text(encoding="utf-8").splitlines() == lines
        assert "ada,0,0,33,40,73," in table.read_text(encoding="utf-8")
        assert "73 of 139 points" in (tmp_path / "out" / "ada.md").read_text(encoding="utf-8")

    @pytest.mark.parametrize("points", ["x", "99", "-1"])
    def test_points_of_a_project_are_checked(self, tmp_path, points):
        sheet = tmp_path / f"{CAPSTONE}.csv"
        sheet.write_text(f"student,handed_in,{','.join(CRITERIA)}\nada,yes,{points},1,1,1,1,1,1\n", encoding="utf-8")
        with pytest.raises(ValueError, match="ada"):
            capstone_sheet(sheet, {"ada": True})

    def test_a_students_text_stays_text(self):
        assert in_line("a | b\n<script>\x1b[31m") == "a \\| b &lt;script> \\[31m"
        block = in_block("```\n# not a title\n````\x00")
        assert block.startswith("`````\n") and block.endswith("\n`````") and "\x00" not in block

    def test_nothing_handed_in_is_said(self):
        graded = grade(None, {"kappa": {"parts": [{"name": "a", "points": 2, "cases": []}]}}, TERM, None)
        assert isinstance(graded, Graded) and graded.got == 0
        assert graded.steps["kappa"].credits[0].message == "nothing was handed in."
