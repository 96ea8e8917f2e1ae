"""Invented submissions: what students hand in, and what is thought up to fool or to hurt. For trying the grading.

Each kind is made from the solutions and says which points it should get and why, so that a test can hold the grading
to it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from . import CAPSTONE, NAMES
from .content import ASSIGNMENTS
from .release import write_json
from .sources import Notebook, cleared, marks, read_source
from .steps import Assignment
from .teacher import Teacher


@dataclass
class Invented:
    """A notebook that somebody might hand in.

    Attributes:
        notebook: as handed in.
        lost: for each step that loses points how many, and a piece of the reason that the report must give.
        allowed: words of other reasons that are as good, where a machine decides which limit is met first.
    """

    notebook: Notebook
    lost: dict[str, tuple[int, str]] = field(default_factory=dict)
    allowed: tuple[str, ...] = ()

    def exchange(self, step: str, old: str, new: str, points: int, reason: str) -> None:
        """Spoil a solution by a slip.

        Raises:
            ValueError: the solution does not have what should be exchanged.
        """
        cell = self._cell(step)
        if old not in cell["source"]:
            raise ValueError(f"{step} has no {old!r}")
        cell["source"] = cell["source"].replace(old, new)
        self.lost[step] = (points, reason)

    def replace(self, step: str, body: str, points: int, reason: str, before: str = "") -> None:
        """Write another function for a step, and other code before it."""
        lines = "\n".join(f"    {line}" for line in body.splitlines())
        self._cell(step)["source"] = f"{before}\n\n\ndef {step}(*arguments):\n{lines}".strip()
        self.lost[step] = (points, reason)

    def append(self, step: str, code: str) -> None:
        """Add code below a solution."""
        self._cell(step)["source"] += f"\n\n\n{code}\n"

    def _cell(self, step: str) -> Notebook:
        return next(cell for cell in self.notebook["cells"] if marks(cell).get("grade_id") == step)


#: Three typical slips for each assignment: step, what stands in the solution, what the slip is, points, reason.
SLIPS: dict[str, tuple[tuple[str, str, str, int, str], ...]] = {
    "loss_and_saliency": (
        ("soft_loss", "logits = s / temperature", "logits = s", 5, "the temperature is missing"),
        ("recall_with_ties", "np.clip((k - better) / equal, 0, 1).mean()", "(better < k).mean()", 3, "for the right"),
        ("debiased_loss", "np.maximum((mean - prior * positive) / (1 - prior), np.exp(-1 / temperature))",
         "(mean - prior * positive) / (1 - prior)", 2, "floor"),
    ),
    "prompting_and_evaluation": (
        ("negative_points", "points.append((x, y))", "points.append((y, x))", 5, "(row, column)"),
        ("outline_distance", ", sampling=spacing_mm", "", 2, "the spacing is not used"),
        ("alarm_threshold", "(len(scores) + 1)", "len(scores)", 3, "k is one too small"),
    ),
    "weak_supervision": (
        ("corrected_loss", "probabilities @ transition", "probabilities @ transition.T", 3, "rows and columns"),
        ("uncertainty_parts", "weights = weights / weights.sum()", "pass", 4, "sum to 1"),
        ("excess_area", "errors[uncertainty == value].mean() for value in uncertainty", "error for error in errors", 2,
         "equally uncertain"),
    ),
}  # fmt: skip


def perfect(assignment: Assignment, teacher: Teacher) -> Invented:
    """Give the solutions."""
    notebook = read_source(assignment.name, teacher.numbers(assignment))
    for cell in notebook["cells"]:
        lines = [line for line in cell["source"].splitlines() if "### " not in line or "SOLUTION" not in line]
        cell["source"] = "\n".join(lines)
    return Invented(cleared(notebook))


def empty(assignment: Assignment, teacher: Teacher) -> Invented:
    """Give the notebook as it was handed out."""
    notebook = cleared(read_source(assignment.name, teacher.numbers(assignment)))
    return Invented(notebook, {step.function: (step.points, "returns nothing so far") for step in assignment.steps})


def slip(number: int) -> Callable[[Assignment, Teacher], Invented]:
    """Make all right but one typical slip, the first, second or third of the assignment."""

    def make(assignment: Assignment, teacher: Teacher) -> Invented:
        invented = perfect(assignment, teacher)
        invented.exchange(*SLIPS[assignment.name][number])
        return invented

    return make


def _steps(assignment: Assignment) -> Iterator[tuple[str, int]]:
    return iter([(step.function, step.points) for step in assignment.steps])


def crashing(assignment: Assignment, teacher: Teacher) -> Invented:
    """Raise an error, recurse without an end, ask for a terabyte, and hand in what is not Python."""
    invented, steps = perfect(assignment, teacher), _steps(assignment)
    invented.replace(*_with(steps, "return 1 / 0", "ZeroDivisionError"))
    invented.replace(*_with(steps, "return {name}(*arguments)", "RecursionError"))
    invented.replace(*_with(steps, "return np.ones(10**11).sum()", "Unable to allocate"))
    invented.replace(*_with(steps, "return (", "is not Python"))
    return invented


def endless(assignment: Assignment, teacher: Teacher) -> Invented:
    """Compute without an end in a function, and sleep for an hour in a cell."""
    invented, steps = perfect(assignment, teacher), _steps(assignment)
    invented.replace(*_with(steps, "while True:\n    pass", "an endless loop"))
    invented.replace(*_with(steps, "return 0", "did not come back"), before="import time\n\ntime.sleep(3600)")
    invented.allowed = ("did not come back",)
    return invented


def megabytes(assignment: Assignment, teacher: Teacher) -> Invented:
    """Print five megabytes before each right answer of one step, and return two hundred from another."""
    invented, steps = perfect(assignment, teacher), _steps(assignment)
    name, _ = next(steps)
    invented.append(
        name,
        f"quiet = {name}\n\n\ndef {name}(*arguments):\n    for _ in range(5):\n"
        "        print('x' * 1_000_000)\n    return quiet(*arguments)",
    )
    invented.replace(*_with(steps, "return np.zeros((5000, 5000))", "an array of shape (5000, 5000)"))
    return invented


def reads_hidden(assignment: Assignment, teacher: Teacher, secret: Path = Path("teacher.toml")) -> Invented:
    """Look for the teacher's file, the sources, other submissions, and what the grader has in its memory."""
    invented, steps = perfect(assignment, teacher), _steps(assignment)
    invented.replace(*_with(steps, f"return len(open({str(secret)!r}).read())", "it tried to open"))
    invented.replace(*_with(steps, "import os\nreturn len(os.listdir('..'))", "it tried to list"))
    body = "from assignments.content import ASSIGNMENTS\nreturn len(ASSIGNMENTS)"
    invented.replace(*_with(steps, body, "assignments is not there"))
    body = "import os\nreturn len(open(f'/proc/{os.getppid()}/environ').read())"
    invented.replace(*_with(steps, body, "it tried to open /proc"))
    return invented


def leaves(assignment: Assignment, teacher: Teacher) -> Invented:
    """End Python, start a process, end the grader, and call the network."""
    invented, steps = perfect(assignment, teacher), _steps(assignment)
    invented.replace(*_with(steps, "import os\nos._exit(0)", "ended by itself"))
    invented.replace(*_with(steps, "raise SystemExit", "end Python itself"))
    invented.replace(*_with(steps, "import os\nreturn os.system('touch left')", "it tried to do os.system"))
    invented.replace(*_with(steps, "import os\nos.kill(os.getppid(), 9)", "it tried to do os.kill"))
    body = "import os\nif os.fork() == 0:\n    os.setsid()\nreturn 0"
    invented.replace(*_with(steps, body, "it tried to do os.fork"))
    invented.replace(*_with(steps, "import socket\nreturn socket.socket()", "socket is not there"))
    return invented


def writes_elsewhere(assignment: Assignment, teacher: Teacher, target: Path) -> Invented:
    """Write and remove files in a folder that is not its own, and write far too much into its own."""
    invented, steps = perfect(assignment, teacher), _steps(assignment)
    invented.replace(*_with(steps, f"open({str(target / 'new')!r}, 'w').write('x')", "it tried to write"))
    invented.replace(*_with(steps, f"import os\nos.remove({str(target / 'there')!r})", "it tried to remove"))
    invented.replace(*_with(steps, f"import shutil\nshutil.rmtree({str(target)!r})", "it tried to"))
    invented.replace(*_with(steps, f"np.save({str(target / 'new.npy')!r}, np.ones(3))", "it tried to write"))
    invented.replace(*_with(steps, "open('large', 'w').write('x' * 10**8)\nreturn 0", "File too large"))
    return invented


def cheats(assignment: Assignment, teacher: Teacher) -> Invented:
    """Print that all is well, overwrite the checks, change numpy, and return what equals everything."""
    invented, steps = empty(assignment, teacher), _steps(assignment)
    invented.replace(*_with(steps, "print('✓ solved: all hidden calls are right.')", "returns nothing so far"))
    before = "import sys\n\nsys.modules['checks'].judge = lambda *anything: []\ncheck = lambda *anything: True"
    invented.replace(*_with(steps, "return True", ""), before=before)
    before = (
        "import numpy\n\nnumpy.allclose = numpy.array_equal = lambda *anything, **more: True\n"
        "numpy.abs = lambda *anything: numpy.zeros(1)"
    )
    invented.replace(*_with(steps, "return np.zeros(3)", ""), before=before)
    before = (
        "class Liar:\n    def __eq__(self, other):\n        return True\n\n"
        "    def __array__(self):\n        return np.ones(1)"
    )
    invented.replace(*_with(steps, "return Liar()", "an object of type Liar"), before=before)
    body = 'import os\nos.write(3, b\'{"stopped": "", "got": 99}\\n\' * 100)\nos._exit(0)'
    invented.replace(*_with(steps, body, ""))
    before = "import builtins\n\nbuiltins.open = builtins.len = builtins.type = lambda *anything: 1"
    invented.replace(*_with(steps, "return 1", ""), before=before)
    return invented


def _with(steps: Iterator[tuple[str, int]], body: str, reason: str) -> tuple[str, str, int, str]:
    name, points = next(steps)
    return name, body.replace("{name}", name), points, reason


#: All kinds by name.
KINDS: dict[str, Callable[..., Invented]] = {
    "perfect": perfect,
    "empty": empty,
    "slip 1": slip(0),
    "slip 2": slip(1),
    "slip 3": slip(2),
    "crashing": crashing,
    "endless": endless,
    "megabytes": megabytes,
    "reads hidden tests": reads_hidden,
    "leaves the process": leaves,
    "writes elsewhere": writes_elsewhere,
    "cheats": cheats,
}


def example_class(folder: str | Path, teacher: Teacher, secret: Path) -> Mapping[str, str]:
    """Write five invented submissions of all assignments, to try the grading.

    Args:
        folder: gets a folder for each student.
        teacher: whose term.
        secret: the teacher's file, which one of the five tries to read.

    Returns:
        What each of them did.

    Raises:
        FileExistsError: the folder is there already.
    """
    folder = Path(folder)
    if folder.exists():
        raise FileExistsError(f"{folder} exists: give a new folder, so that no submission is overwritten")
    students = {
        "ada": ("all right", lambda a: perfect(a, teacher)),
        "ben": ("all right but one typical slip in each", lambda a: slip(0)(a, teacher)),
        "chi": ("nothing filled in", lambda a: empty(a, teacher)),
        "dora": ("a loop without an end, and a cell that sleeps", lambda a: endless(a, teacher)),
        "emil": ("looks for the teacher's file", lambda a: reads_hidden(a, teacher, secret.resolve())),
    }
    for student, (_, make) in students.items():
        for name in NAMES:
            write_json(folder / student / f"{name}.ipynb", make(ASSIGNMENTS[name]).notebook, indent=1)
    write_json(folder / "ada" / f"{CAPSTONE}.ipynb", cleared(read_source(CAPSTONE, {})), indent=1)
    return {student: what for student, (what, _) in students.items()}
