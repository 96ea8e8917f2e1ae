"""Every exercise of the book: its solution passes, its mistakes are named, and nothing that is handed in does harm."""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
import time
from dataclasses import replace

import nbformat
import numpy as np
import pytest
import torch
from nbclient import NotebookClient

from medclipsam_utils.exercises import (
    Function,
    Mistake,
    Value,
    all_exercises,
    check,
    hint,
    mine_or_ours,
    solution,
)
from medclipsam_utils.exercises.comparison import difference
from medclipsam_utils.exercises.guard import Escape, call

EXERCISES = all_exercises()
every_exercise = pytest.mark.parametrize("number", EXERCISES)
FUNCTION, VALUE = "00.2", "00.3"


def right(number):
    asked = EXERCISES[number]
    return asked.solution() if isinstance(asked, Value) else asked.solution


@every_exercise
def test_the_solution_passes(number):
    assert str(check(number, right(number))).startswith("✓ solved")


@every_exercise
def test_what_is_shown_as_solution_passes(number):
    """The code that a reader sees, run where the chapter's own imports are known."""
    asked = EXERCISES[number]
    room = dict(vars(__import__(asked.solution.__module__, fromlist=["solution"])))
    exec(str(solution(number)), room)
    answer = room["answer"] if isinstance(asked, Value) else room[asked.solution.__name__]
    assert check(number, answer).solved


@every_exercise
def test_the_untouched_scaffold_is_not_solved_and_says_so_kindly(number):
    for scaffold in (..., None, lambda *arguments: ..., lambda *arguments: None):
        outcome = check(number, scaffold)
        assert not outcome.solved
    assert "so far" in str(check(number, ...))


@every_exercise
def test_each_mistake_is_named(number):
    asked = EXERCISES[number]
    assert asked.mistakes, "an exercise knows at least one classic mistake"
    for mistake in asked.mistakes:
        answer = mistake.answer() if isinstance(asked, Value) else mistake.answer
        outcome = check(number, answer)
        assert not outcome.solved
        assert outcome.message == mistake.message


@every_exercise
def test_an_exercise_says_what_it_is_for(number):
    asked = EXERCISES[number]
    assert asked.difficulty in (1, 2, 3) and 2 <= asked.minutes <= 60
    assert len(asked.hints) == len({*asked.hints}) == 3
    assert len({mistake.message for mistake in asked.mistakes}) == len(asked.mistakes)
    assert asked.heading.startswith(f"**Exercise {number}: {asked.title}**")


def endless(*arguments):
    while True:
        pass


def stubborn(*arguments):
    end = time.monotonic() + 3
    while time.monotonic() < end:
        with contextlib.suppress(SystemExit):
            time.sleep(0.01)


def deep(*arguments):
    return deep(*arguments)


def changes(array, *others):
    array[...] = 0
    return array


class Hostile:
    """An object none of whose special methods can be trusted."""

    def fails(self, *arguments):
        raise RuntimeError("no")

    __array__ = __repr__ = __str__ = __eq__ = __len__ = __iter__ = __float__ = __bool__ = __getattr__ = fails
    __hash__ = None


HOSTILE = {
    "ragged list": [[1], [1, 2]],
    "tensor with a gradient": torch.ones(3, requires_grad=True) * 2,
    "half tensor": torch.ones(2, dtype=torch.bfloat16),
    "generator": (number for number in range(3)),
    "endless iterator": itertools.count(),
    "text": "0.5",
    "bytes": b"1",
    "dictionary": {"a": 1},
    "set": {1},
    "object": object(),
    "hostile object": Hostile(),
    "type": int,
    "nan": float("nan"),
    "infinite": float("inf"),
    "complex": 1j,
    "missing part": [1, ..., None],
    "array of objects": np.array([None, "a"], dtype=object),
    "empty": [],
    "huge integer": 10**400,
}
CALLS = {
    "raises": lambda *arguments: 1 / 0,
    "takes nothing": lambda: 1,
    "exits": lambda *arguments: exit(),
    "leaves the process": lambda *arguments: os._exit(3),
    "asks": lambda *arguments: input(),
    "prints a megabyte": lambda *arguments: print("x" * 1_000_000),
    "recurses": deep,
    "changes its input": changes,
    "interrupts": lambda *arguments: (_ for _ in ()).throw(KeyboardInterrupt()),
    **{f"returns {name}": functools.partial(lambda found, *arguments: found, found) for name, found in HOSTILE.items()},
}


@every_exercise
@pytest.mark.parametrize("answer", [*HOSTILE.values(), *CALLS.values()], ids=[*HOSTILE, *CALLS])
def test_nothing_that_is_handed_in_raises(number, answer, capsys):
    outcome = check(number, answer)
    assert not outcome.solved
    assert 5 < len(str(outcome)) < 600
    assert len(capsys.readouterr().out) < 1200


@pytest.mark.parametrize("forever", [endless, stubborn, lambda *arguments: time.sleep(5)])
def test_what_never_returns_is_given_up(forever):
    began = time.monotonic()
    with pytest.raises(Escape, match=r"did not return within 0\.1 seconds"):
        call(forever, 0.1)
    assert time.monotonic() - began < 4


def test_an_endless_function_is_named_by_its_check(monkeypatch):
    brief = replace(EXERCISES[FUNCTION], seconds=0.2)
    monkeypatch.setattr("medclipsam_utils.exercises.find_exercise", lambda number: brief)
    assert "is there a loop without an end?" in str(check(FUNCTION, endless))


def test_what_a_function_prints_is_shown_up_to_a_page(capsys):
    call(lambda: print("here I am"), 5)
    assert capsys.readouterr().out == "here I am\n"
    call(lambda: print("x" * 5000), 5)
    assert "more, which are not shown" in capsys.readouterr().out


def test_an_unknown_number_is_said():
    for number in ("0.2", "99.1", 2.3, None, [1]):
        assert "there is no exercise" in str(check(number, 1))
    with pytest.raises(ValueError, match="there is no exercise"):
        hint("99.1")


def test_hints_come_one_by_one(monkeypatch):
    monkeypatch.setattr("medclipsam_utils.exercises._hints_given", {})  # others may have asked before
    texts = [str(hint("00.1")) for _ in range(4)]
    assert [text[:11] for text in texts] == ["hint 1 of 3", "hint 2 of 3", "hint 3 of 3", "hint 3 of 3"]


def test_a_chapter_goes_on_with_the_readers_function_if_it_is_right(capsys):
    def mine(mask):
        return EXERCISES[FUNCTION].solution(mask)

    assert mine_or_ours(FUNCTION, mine) is mine
    assert mine_or_ours(FUNCTION, lambda mask: ...) is EXERCISES[FUNCTION].solution
    assert "your function" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("got", "words"),
    [
        (-np.array([1.0, 2, 4]), "sign"),
        (np.array([100.0, 200, 400]), "percent"),
        (np.array([0.01, 0.02, 0.04]), "fraction"),
        (np.array([4.0, 2, 1]), "order is the other way round"),
        (np.array([2.0, 1, 4]), "another order"),
        (np.array([3.0, 6, 12]), "the same factor"),
        (np.array([1.5, 2.5, 4.5]), "the same amount"),
        (np.array([1.0, 2, 5]), "2 of 3 values agree, and the largest difference is 1"),
        (np.array([[1.0, 2, 4]]), "the shape should be (3,) and is (1, 3)"),
        (2.0, "took away what should stay"),
        (np.array([np.nan, 2, 4]), "nan"),
        (np.array([True, False, True]), "numbers are asked for"),
    ],
)
def test_a_wrong_array_is_described(got, words):
    assert words in difference(got, np.array([1.0, 2, 4]), 1e-6)


def test_rows_for_columns_and_parts():
    want = np.arange(6.0).reshape(2, 3)
    assert "rows and columns are exchanged" in difference(want.T, want, 1e-6)
    square = np.arange(4.0).reshape(2, 2)
    assert "rows and columns are exchanged" in difference(square.T, square, 1e-6)
    parts = (np.ones(3), 2.0)
    assert difference((np.ones(3), 2.0), parts, 1e-6) is None
    assert "number 2" in difference((np.ones(3), 3.0), parts, 1e-6)
    assert "2 values are asked for" in difference(np.ones(3), parts, 1e-6)


def test_a_zero_that_is_wrong_is_no_common_factor():
    assert "same factor" not in difference(np.array([1, 1, 30, 19]), np.array([1, 0, 30, 19]), 1e-6)
    assert "same factor" in difference(np.array([3, 0, 90, 57]), np.array([1, 0, 30, 19]), 1e-6)


def test_a_number_gives_nothing_of_the_answer_away():
    text = difference(0.3, 0.25, 1e-6)
    assert text == "the value is not right"
    assert difference("Box", "box", 0) is None and "text is asked for" in difference(1, "box", 0)


def test_slips_of_functions_with_one_number_are_seen_over_all_cases():
    asked = Function(
        number="00.9", title="t", difficulty=1, minutes=5, purpose="p", hints=("a", "b", "c"),
        solution=np.mean, cases=lambda generator: [(generator.random(5),) for _ in range(4)],
        mistakes=(Mistake("you took the median", np.median),),
    )  # fmt: skip
    assert "the same factor" in str(asked.judge(np.sum))
    assert str(asked.judge(np.median)) == "○ not yet: you took the median"
    assert "percent" in str(asked.judge(lambda x: 100 * x.mean()))
    assert asked.judge(lambda x: torch.tensor(x).mean().requires_grad_()).solved


def asked_for(solution, cases, **others):
    return Function(
        number="00.9", title="t", difficulty=1, minutes=5, purpose="p", hints=("a", "b", "c"),
        solution=solution, cases=lambda generator: cases, **others,
    )  # fmt: skip


def test_the_only_wrong_case_is_called_so():
    asked = asked_for(abs, [(1.0,), (-2.0,), (3.0,)])
    assert "case 2 of 3 (the only one that is wrong), called with (-2.0)" in str(asked.judge(lambda x: x))
    assert "only" not in str(asked.judge(lambda x: 7.0 * x + 1))
    assert "only" not in str(asked_for(abs, [(-2.0,)]).judge(lambda x: x))


def test_a_function_that_draws_is_told_so():
    asked = asked_for(np.sum, [(np.ones(3),), (np.zeros(3),)])
    generator = np.random.default_rng(0)
    assert "another result each time" in str(asked.judge(lambda x: x.sum() + generator.normal()))
    for steady in (np.mean, lambda x: "text", lambda x: np.nan):
        assert "another result" not in str(asked.judge(steady))


def test_wrong_truths_are_counted_by_kind():
    want = np.array([True, True, False, False])
    words = difference(np.array([True, False, True, True]), want, 0)
    assert "2 should be False and are True, and 1 should be True and are False" in words


def test_a_question_takes_no_full_stop():
    assert str(asked_for(abs, [(1.0,)]).judge(lambda x: np.nan)).endswith("negative number?")


def test_a_mistake_may_be_one_of_the_gradient_alone():
    case = (torch.tensor([1.0, -2.0]),)
    held = Mistake("a factor is held", lambda x: (x.detach() * x).sum())
    far = Mistake("another value, and the same gradient", lambda x: (x.detach() ** 2 + x * 0).sum() + 1)
    asked = asked_for(lambda x: (x**2).sum(), [case], gradient=True, mistakes=(far, held))
    assert str(asked.judge(lambda x: (x * x.clone().detach()).sum())) == "○ not yet: a factor is held"
    assert "Is something detached" in str(asked.judge(lambda x: (x.detach() ** 2 + x * 0).sum()))
    root = asked_for(lambda x: (x * 0).sum(), [(torch.zeros(2),)], gradient=True)
    assert "whose slope is infinite?" in str(root.judge(lambda x: x.sqrt().sum() * 0))


def test_the_gradient_is_judged_too():
    asked = Function(
        number="00.9", title="t", difficulty=1, minutes=5, purpose="p", hints=("a", "b", "c"), gradient=True,
        solution=lambda x: (x**2).sum(), cases=lambda generator: [(torch.tensor([1.0, -2.0]),)],
    )  # fmt: skip
    assert asked.judge(lambda x: (x * x).sum()).solved
    assert "gradient of case 1" in str(asked.judge(lambda x: (x.detach() * x).sum()))
    assert "cannot be had" in str(asked.judge(lambda x: (x.detach() ** 2).sum()))
    assert "cannot be had" in str(asked.judge(lambda x: (x.detach().numpy() ** 2).sum()))


def test_the_gradient_of_every_tensor_is_judged():
    dhn_nce = EXERCISES["03.4"].solution
    outcome = check("03.4", lambda images, texts, *settings: dhn_nce(images, texts.detach(), *settings))
    assert not outcome.solved and "gradient" in outcome.message


def test_two_slips_at_once_are_both_told():
    def forgets_a_class_and_the_edge(probability):
        with np.errstate(all="ignore"):
            return -probability * np.log2(probability)

    outcome = check("08.3", forgets_a_class_and_the_edge)
    (one_class,) = [m for m in EXERCISES["08.3"].mistakes if "one class" in m.message or "released" in m.message]
    assert outcome.message.startswith(one_class.message) and outcome.message.endswith("gives nan or infinity.")


def test_exit_in_a_notebook_ends_neither_the_check_nor_the_kernel():
    """There it is an object of the shell, which raises nothing and stops the kernel a moment later."""
    source = (
        "import time\nfrom medclipsam_utils.exercises import check\n\n\n"
        "def leave(*arguments):\n    exit()\n\n\nprint(check('00.2', leave))"
    )
    cells = [nbformat.v4.new_code_cell(source), nbformat.v4.new_code_cell("time.sleep(0.5)\nprint('still here')")]
    notebook = nbformat.v4.new_notebook(cells=cells)
    NotebookClient(notebook, timeout=120, extra_arguments=["--IPKernelApp.log_level=40"]).execute()
    said = [output.text for cell in notebook.cells for output in cell.outputs]
    assert "it tried to end Python itself" in said[0] and said[1] == "still here\n"
