"""Spoil each solution by one small change, and see that its check rejects whatever then computes something else.

A sign, an operation, a comparison, a number, an axis, a reduction, a missing term or call: the slips of people and the
faults of programs. Whether a change matters is found with many more inputs than a check has.
"""

from __future__ import annotations

import ast
import copy
import inspect
import textwrap
from collections.abc import Iterator

import numpy as np
import pytest

from medclipsam_utils.exercises import Function, all_exercises, check
from medclipsam_utils.exercises.exercise import same
from medclipsam_utils.exercises.guard import Escape, call

EXERCISES = {number: asked for number, asked in all_exercises().items() if isinstance(asked, Function)}
#: Changes of a check that a reader's wrong function could not be told from on many inputs either.
SEEDS = range(1, 9)

OPERATIONS = {ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.Pow: ast.Mult,
              ast.FloorDiv: ast.Div, ast.MatMult: ast.Mult, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd,
              ast.Mod: ast.Mult}  # fmt: skip
COMPARISONS = {ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq,
               ast.NotEq: ast.Eq}  # fmt: skip
NAMES = {"sum": "mean", "mean": "sum", "max": "min", "min": "max", "argmax": "argmin", "argmin": "argmax",
         "std": "var", "var": "std", "exp": "abs", "log": "abs", "log_softmax": "softmax", "softmax": "log_softmax",
         "logsumexp": "sum", "any": "all", "all": "any", "minimum": "maximum", "maximum": "minimum",
         "accumulate": "reduce", "sqrt": "square"}  # fmt: skip


def changed(node: ast.AST) -> Iterator[ast.AST]:
    """Give what a node may become by one slip."""
    if isinstance(node, ast.BinOp):
        if type(node.op) in OPERATIONS:
            yield ast.BinOp(node.left, OPERATIONS[type(node.op)](), node.right)
        yield node.left  # a term or factor is left out
        yield node.right
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.USub, ast.Invert, ast.Not)):
        yield node.operand
    elif isinstance(node, ast.Compare) and type(node.ops[0]) in COMPARISONS:
        yield ast.Compare(node.left, [COMPARISONS[type(node.ops[0])](), *node.ops[1:]], node.comparators)
    elif isinstance(node, ast.Constant) and isinstance(node.value, (int, float)) and not isinstance(node.value, bool):
        yield ast.Constant(node.value + 1)
        yield ast.Constant(-node.value)
        if node.value in (0, 1):
            yield ast.Constant(1 - node.value)
    elif isinstance(node, ast.Attribute) and node.attr in NAMES:
        yield ast.Attribute(node.value, NAMES[node.attr], node.ctx)
    elif isinstance(node, ast.Attribute) and node.attr == "T":
        yield node.value
    elif isinstance(node, ast.Name) and node.id in NAMES:
        yield ast.Name(NAMES[node.id], node.ctx)
    elif isinstance(node, ast.Call):
        if len(node.args) > 1:
            yield ast.Call(node.func, [node.args[1], node.args[0], *node.args[2:]], node.keywords)
        for place in range(len(node.keywords)):
            yield ast.Call(node.func, node.args, node.keywords[:place] + node.keywords[place + 1 :])
        if len(node.args) == 1:
            yield node.args[0]  # the call is left out
        elif isinstance(node.func, ast.Attribute) and not node.args:
            yield node.func.value


class Replace(ast.NodeTransformer):
    """Put one node, counted in the order of visits, in the place of another."""

    def __init__(self, place: int, new: ast.AST) -> None:
        self.place, self.new, self.seen = place, new, -1

    def visit(self, node: ast.AST) -> ast.AST:
        self.seen += 1
        if self.seen == self.place:
            self.seen += 10**9
            return self.new
        return self.generic_visit(node)


def mutants(function) -> Iterator[tuple[str, object]]:
    """Give every function that differs from this one by one slip, and what it looks like."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    order: list[ast.AST] = []

    class Order(ast.NodeVisitor):
        def generic_visit(self, node):
            order.append(node)
            super().generic_visit(node)

    Order().visit(tree)
    inside = [place for place, node in enumerate(order) if place > 1 and not isinstance(node, (ast.arg, ast.arguments))]
    seen = {ast.unparse(tree)}
    for place in inside:
        for new in changed(order[place]):
            other = ast.fix_missing_locations(Replace(place, copy.deepcopy(new)).visit(copy.deepcopy(tree)))
            source = ast.unparse(other)
            if source in seen:
                continue
            seen.add(source)
            room = dict(vars(inspect.getmodule(function)))
            try:
                exec(compile(source, "<mutant>", "exec"), room)
            except (SyntaxError, TypeError, ValueError):
                continue
            yield source, room[function.__name__]


def computes_something_else(asked: Function, mutant) -> bool:
    """Whether a function differs from the solution on any of many inputs, or fails."""
    for seed in SEEDS:
        for arguments in asked.cases(np.random.default_rng(seed)):
            try:
                given = mutant(*copy.deepcopy(arguments))
            except Exception:
                return True
            if not same(given, asked.solution(*copy.deepcopy(arguments)), asked.tolerance):
                return True
    return False


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("number", EXERCISES)
def test_a_check_rejects_every_mutant_that_computes_something_else(number):
    asked = EXERCISES[number]
    tried, accepted = 0, []
    for source, mutant in mutants(asked.solution):
        tried += 1
        if check(number, mutant).solved:
            try:
                if call(lambda mutant=mutant: computes_something_else(asked, mutant), 60):
                    accepted.append(source)
            except Escape:
                accepted.append(source)
    assert tried >= 3
    assert not accepted, "\n\n".join(accepted)


def test_the_mutants_are_many():
    found = [source for source, _ in mutants(EXERCISES["00.2"].solution)]
    assert len(found) == len({*found}) > 8
    assert any("columns.max(), rows.min(), columns.max()" in source for source in found)
