"""The visible checks of an assignment: they name a mistake, and hold neither a solution nor a hidden test.

This file is released beside each notebook. It reads ``checks.json``, where each step has a few calls, what they should
return, and what common mistakes return instead.

    check = Checks()                               # in the notebook
    check("caption_targets", caption_targets)      # right, or what is wrong with it

    python -m pytest test_loss_and_saliency.py     # the same checks under plain pytest

A visible check is there to help and counts for nothing: the points come from other calls, after the work was handed in.
"""

from __future__ import annotations

import ast
import base64
import json
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from medclipsam_utils.exercises import Outcome

#: What a graded cell can use without importing it.
PREAMBLE = "import numpy as np\nfrom scipy import ndimage\n"

#: The cell for helper functions, which is run before the cell of each step.
HELPERS = "helpers"

#: Kinds of numbers that travel: bool, integers and floats.
KINDS = "biuf"

#: Bytes of the largest array that travels.
LARGEST = 2 << 20


class StandInPredictor:
    """Answers as ``segment_anything.SamPredictor`` does, at once and always the same way, so that calls can be checked.

    Args:
        field: float [H, W]; the three masks of an answer are where it is above 0.7, 0.5 and 0.3, inside of the box.
        scores: the three scores; which mask gets which depends on where the box begins.
    """

    def __init__(self, field: np.ndarray, scores: Sequence[float] | np.ndarray) -> None:
        self.field, self.scores = np.asarray(field, float), np.asarray(scores, float)
        self._shape: tuple[int, ...] | None = None

    def __repr__(self) -> str:
        return "a stand-in predictor"

    def set_image(self, image: np.ndarray) -> None:
        """Take an image, uint8 [H, W, 3]."""
        if np.ndim(image) != 3 or np.shape(image)[2] != 3 or np.asarray(image).dtype != np.uint8:
            raise ValueError(f"set_image needs uint8 [H, W, 3] and got {np.asarray(image).dtype} {np.shape(image)}")
        self._shape = np.shape(image)[:2]

    def predict(
        self, point_coords: Any = None, point_labels: Any = None, box: Any = None, multimask_output: bool = True
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Answer one box, (x0, y0, x1, y1) in pixels, with masks bool [3, H, W], scores [3] and logits [3, 8, 8]."""
        if self._shape is None:
            raise RuntimeError("call set_image(image) before predict")
        if box is None or np.shape(box) != (4,):
            raise ValueError(f"predict needs one box with four numbers and got {'none' if box is None else box!r}")
        x0, y0, x1, y1 = (int(side) for side in np.asarray(box, float))
        inside = np.zeros(self._shape, bool)
        inside[max(0, y0) : y1, max(0, x0) : x1] = True
        masks = np.stack([(self.field > level) & inside for level in (0.7, 0.5, 0.3)])
        scores = np.roll(self.scores, x0 + y0)
        logits = np.zeros((3, 8, 8))
        return (masks, scores, logits) if multimask_output else (masks[:1], scores[:1], logits[:1])


def encode(value: Any, depth: int = 4) -> Any:
    """Write an argument or an answer as JSON, without pickle.

    Raises:
        TypeError: it is, or holds, something else than numbers, text, arrays, lists and tuples.
    """
    if value is None or type(value) in (bool, int, float, str):
        return value
    if isinstance(value, np.generic):
        value = np.asarray(value)
    if isinstance(value, np.ndarray) and value.dtype.kind in KINDS:
        if value.nbytes > LARGEST:
            raise TypeError(f"an array of shape {value.shape}")
        data = base64.b64encode(np.ascontiguousarray(value).tobytes()).decode()
        return {"array": data, "type": value.dtype.str, "shape": list(value.shape)}
    if type(value) in (list, tuple) and depth:
        return {type(value).__name__: [encode(part, depth - 1) for part in value]}
    if type(value) is StandInPredictor:
        return {"predictor": [encode(value.field), encode(value.scores)]}
    if isinstance(value, np.ndarray):
        raise TypeError(f"an array of type {value.dtype}")
    raise TypeError(f"an object of type {type(value).__name__}")


def decode(value: Any, depth: int = 4) -> Any:
    """Read what ``encode`` wrote, or what a submission wrote in its place.

    Raises:
        ValueError: it is nothing that ``encode`` writes.
    """
    if not isinstance(value, dict):
        if value is None or isinstance(value, (bool, int, float, str)):
            return value
        raise ValueError("not an encoded value")
    if "array" in value:
        kind = np.dtype(value["type"])
        if kind.kind not in KINDS:
            raise ValueError(f"arrays of type {kind} are not read")
        return np.frombuffer(base64.b64decode(value["array"]), kind).reshape(value["shape"]).copy()
    if "predictor" in value:
        return StandInPredictor(*(decode(part) for part in value["predictor"]))
    for name, make in (("list", list), ("tuple", tuple)):
        if name in value and depth:
            return make(decode(part, depth - 1) for part in value[name])
    raise ValueError("not an encoded value")


def run_cell(code: str, namespace: dict[str, Any], name: str = "your cell") -> list[str]:
    """Run a cell statement by statement, so that a plot or an import that fails costs nothing but itself.

    Args:
        code: of one cell of a notebook; lines that begin with % or ! are left out.
        namespace: what the cell may use, and where it puts what it defines.
        name: what errors call the cell.

    Returns:
        What failed, a line for each statement.

    Raises:
        SyntaxError: it is not Python.
    """
    lines = ["" if line.lstrip().startswith(("%", "!")) else line for line in code.splitlines()]
    failed = []
    for node in ast.parse("\n".join(lines), f"<{name}>").body:
        try:
            exec(compile(ast.Module([node], []), f"<{name}>", "exec"), namespace)
        except Exception as error:
            failed.append(f"line {node.lineno}, `{lines[node.lineno - 1].strip()[:60]}`: {in_words(error)}")
    return failed


def in_words(error: BaseException, code: str = "", name: str = "your cell") -> str:
    """Say what was raised, and in which line of a cell."""
    try:
        text = f"{type(error).__name__}: {str(error)[:200]}".removesuffix(": ")
    except BaseException:
        text = "an error that cannot say what it is"
    numbers, trace, lines = [0], error.__traceback__, code.splitlines()
    while trace is not None:  # by hand, because the module traceback would read files
        if trace.tb_frame.f_code.co_filename == f"<{name}>":
            numbers.append(trace.tb_lineno)
        trace = trace.tb_next
    if 0 < numbers[-1] <= len(lines):
        text += f", in the line `{lines[numbers[-1] - 1].strip()[:80]}`"
    return text


def answer_of(function: Callable[..., Any], call: Any, code: str = "", name: str = "your cell") -> dict[str, Any]:
    """Call a function with encoded arguments; returns {"value": encoded} or {"error": in words}."""
    arguments = decode(call)
    try:
        value = function(*arguments)
    except NotImplementedError:
        return {"value": None}
    except Exception as error:
        return {"error": f"it raised {in_words(error, code, name)}"}
    if json.dumps(encode(arguments)) != json.dumps(call):
        return {"error": "it changes its own argument: work on a copy"}
    try:
        return {"value": encode(value)}
    except TypeError as error:
        return {"error": f"it returns {error}, where numbers or arrays are asked for"}


def cells_by_step(notebook: dict[str, Any], steps: Iterable[str]) -> tuple[dict[str, str], list[str]]:
    """Reduce a notebook to the cells that are graded.

    Args:
        notebook: read from its JSON.
        steps: names of the functions that are asked for.

    Returns:
        The code of each step that was found, with the helpers', and what was unusual.
    """
    found: dict[str, str] = {}
    notes, loose = [], []
    for cell in notebook["cells"]:
        if cell["cell_type"] != "code":
            continue
        source = cell["source"] if isinstance(cell["source"], str) else "".join(cell["source"])
        marks = cell.get("metadata", {}).get("nbgrader", {})
        step = marks.get("grade_id") if marks.get("solution") else None
        if step is None:
            loose.append(source)
        elif step in found:
            notes.append(f"there are two cells for {step}; the first one counts")
        else:
            found[step] = source
    for step in steps:
        if step not in found:
            others = [source for source in loose if f"def {step}(" in source]
            if others:
                found[step] = others[-1]
                notes.append(f"the cell of {step} has lost its mark and was found by its function")
            else:
                notes.append(f"there is no cell for {step}")
    return found, notes


@dataclass(frozen=True)
class Credit:
    """What a part of a step is worth, and what came of it.

    Attributes:
        part: what is tested.
        points: what it is worth.
        got: what was given, all or nothing.
        message: what is right or wrong.
    """

    part: str
    points: int
    got: int
    message: str


def judge(results: Sequence[dict[str, Any]], record: dict[str, Any]) -> list[Credit]:
    """Compare the answers to all calls of a step with the expected ones.

    Args:
        results: as ``answer_of`` gives them, or {"stopped": why} for calls that were not reached.
        record: calls, expected answers, mistakes and parts of the step.

    Returns:
        A credit for each part.
    """
    from medclipsam_utils.exercises.exercise import described

    values: list[Any] = []
    for result in results:
        try:
            values.append(decode(result.get("value")))
        except (ValueError, TypeError, KeyError, AttributeError, MemoryError):
            result.setdefault("error", "its answer cannot be read")
            values.append(None)
    credits = []
    for part in record["parts"]:
        message = None
        for case in part["cases"]:
            if "stopped" in results[case]:
                message = f"{results[case]['stopped']}."
            elif "error" in results[case]:
                message = f"{described(decode(record['calls'][case]))}: {results[case]['error']}."
            elif values[case] is None:
                message = "the function returns nothing so far."
            if message:
                break
        else:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                message = _difference(values, record, part["cases"])
        good = f"all {len(part['cases'])} calls are right." if len(part["cases"]) > 1 else "right."
        credits.append(Credit(part["name"], part["points"], 0 if message else part["points"], message or good))
    return credits


def _difference(values: Sequence[Any], record: dict[str, Any], cases: Sequence[int]) -> str | None:
    """Name the mistake in some of the calls, if there is one."""
    from medclipsam_utils.exercises.exercise import described, ended, first_difference, same, slip_of_all

    tolerance = record["tolerance"]
    given = [values[case] for case in cases]
    expected = [decode(record["expected"][case]) for case in cases]
    wrong = first_difference(given, expected, tolerance)
    if wrong is None:
        return None

    def agreeing(mistake: dict[str, Any]) -> list[bool]:
        """Say for each call of the step whether the mistake gives the same answer."""
        return [
            result is not None and same(mine, decode(result), tolerance)
            for mine, result in zip(values, mistake["results"], strict=True)
        ]

    # Where several mistakes explain this part, the one that explains most calls of the whole step is named.
    alike = [(agreeing(mistake), mistake["message"]) for mistake in record["mistakes"]]
    explaining = [(sum(agrees), message) for agrees, message in alike if all(agrees[case] for case in cases)]
    if explaining:
        return str(max(explaining, key=lambda found: found[0])[1])
    number, words = wrong
    words = (slip_of_all(given, expected, tolerance) if len(given) > 2 else None) or words
    return ended(f"{described(decode(record['calls'][cases[number]]))}: {words}")


class Checks:
    """Check steps of the assignment whose ``checks.json`` lies in a folder.

    Args:
        folder: where it lies; without, the current one, which is the notebook's.
    """

    def __init__(self, folder: str | Path = ".") -> None:
        file = Path(folder) / "checks.json"
        if not file.exists():
            raise FileNotFoundError(f"{file.name} is missing: keep the notebook in the folder in which you got it")
        self._records: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))["steps"]

    @property
    def steps(self) -> list[str]:
        """Names of the functions that are asked for."""
        return list(self._records)

    def __call__(self, step: str, function: Any = None) -> Outcome:
        """Say whether the visible calls of a step come out right, or what is wrong; never raises and always returns."""
        from medclipsam_utils.exercises import Outcome
        from medclipsam_utils.exercises.guard import Escape, call

        if step not in self._records:
            return Outcome(False, f"there is no step {step!r}: they are {', '.join(self._records)}.")
        if not callable(function):
            return Outcome(False, "hand in the function's name, without calling it.")
        record = self._records[step]
        try:
            results = call(lambda: [answer_of(function, arguments) for arguments in record["calls"]], 20)
        except Escape as error:
            return Outcome(False, f"{error}.")
        wrong = [credit for credit in judge(results, record) if credit.got < credit.points]
        if wrong:
            return Outcome(False, "\n".join(f"{credit.part}: {credit.message}" for credit in wrong))
        return Outcome(True, f"all {len(results)} visible calls are right.")

    def function(self, step: str, notebook: str | Path) -> Callable[..., Any]:
        """Take the function of a step out of a notebook, as grading does: its cell and the helpers', nothing else.

        Raises:
            NameError: the notebook does not define it.
        """
        cells, _ = cells_by_step(json.loads(Path(notebook).read_text(encoding="utf-8")), self.steps)
        namespace: dict[str, Any] = {"__name__": "__main__"}
        exec(PREAMBLE, namespace)
        failed = []
        for name in (HELPERS, step):
            failed += run_cell(cells.get(name, ""), namespace, name)
        if not callable(namespace.get(step)):
            raise NameError(f"the notebook defines no function {step}. {'; '.join(failed)}")
        found: Callable[..., Any] = namespace[step]
        return found
