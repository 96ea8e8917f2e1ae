"""The script of all recipes: every command line is one that its recipe takes, and what it says it writes is there."""

from __future__ import annotations

import argparse
import importlib
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "recipes" / "all.sh"
# Each argument on a line of its own, and an empty line after each command.
STAND_IN = '#!/bin/sh\nprintf "%s\\n" "$@" "" >>"$0.log"\n'

pytestmark = pytest.mark.skipif(not shutil.which("bash"), reason="the script is one of bash")


@pytest.fixture(scope="module")
def commands(tmp_path_factory):
    """The commands of the script, with and without ``--quick``, as a stand-in for Python has seen them."""

    def run(*arguments: str) -> list[list[str]]:
        folder = tmp_path_factory.mktemp("all")
        python = folder / "python"
        python.write_text(STAND_IN, encoding="utf-8")
        python.chmod(0o755)
        command = ["bash", str(SCRIPT), "work", *arguments]
        subprocess.run(command, cwd=folder, env=os.environ | {"PYTHON": str(python)}, check=True, capture_output=True)
        return [block.splitlines() for block in Path(f"{python}.log").read_text("utf-8").strip().split("\n\n")]

    return {"whole": run(), "quick": run("--quick")}


class Parsed(Exception):
    """Carries the parser that has accepted a command line, before anything is done with it."""


@pytest.fixture
def parser_of(monkeypatch):
    """Give a command to the recipe's own parser, and return it; SystemExit if it does not take the command."""
    parse = argparse.ArgumentParser.parse_args

    def parse_and_stop(parser, *given):
        parse(parser, *given)
        raise Parsed(parser)

    def parser_of(command: list[str]) -> argparse.ArgumentParser:
        dash, name, *arguments = command
        assert dash == "-m" and name.startswith("recipes.")
        with monkeypatch.context() as patch, pytest.raises(Parsed) as parsed:
            patch.setattr(argparse.ArgumentParser, "parse_args", parse_and_stop)
            importlib.import_module(name).main(arguments)
        return parsed.value.args[0]

    return parser_of


@pytest.mark.parametrize("amount", ["whole", "quick"])
def test_recipes_take_their_command_lines(commands, parser_of, amount):
    for command in commands[amount]:
        has_quick = "--quick" in parser_of(command).format_help()
        assert ("--quick" in command) == (has_quick and amount == "quick"), command


def test_a_command_line_that_is_wrong_is_noticed(parser_of, capsys):
    with pytest.raises(SystemExit):
        parser_of(["-m", "recipes.judge.report", "--only", "nothing"])
    assert "invalid choice: 'nothing'" in capsys.readouterr().err


def test_every_recipe_is_in_the_script(commands):
    runnable = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for path in (ROOT / "recipes").rglob("*.py")
        if '__name__ == "__main__"' in path.read_text(encoding="utf-8")
    }
    runnable.remove("recipes.measure.real_images")  # it needs images that are not here
    assert {name for _, name, *_ in commands["whole"]} == runnable
    assert runnable - {name for _, name, *_ in commands["quick"]} == {"recipes.measure.weak_nnunet"}


def test_a_quick_run_writes_nothing_into_the_repository(commands):
    inside = re.compile(rf"(medclipsam_utils|book|recipes|{re.escape(str(ROOT))})/")
    assert not [argument for command in commands["quick"] for argument in command if inside.match(argument)]
    assert [argument for command in commands["whole"] for argument in command if inside.match(argument)]


def test_what_the_script_says_it_writes_is_what_is_stored():
    written = {
        Path(name)
        for line in re.findall(r"^# +writes (.*)$", SCRIPT.read_text(encoding="utf-8"), flags=re.M)
        for name in line.split()
    }
    patterns = ("medclipsam_utils/models/weights/*", "medclipsam_utils/results/*.json", "recipes/results/*",
                "book/measured/tiny*/*", "book/_static/small_models.jpg")  # fmt: skip
    stored = {path.relative_to(ROOT) for pattern in patterns for path in ROOT.glob(pattern)}
    # Real images are not ours to keep, and so the script cannot measure them again.
    assert stored - written == {Path("medclipsam_utils/results/real_images.json")} and written <= stored


@pytest.mark.parametrize("arguments", [[], ["folder", "--fast"], ["folder", "--quick", "more"]])
def test_other_arguments_are_refused(arguments, tmp_path):
    result = subprocess.run(["bash", str(SCRIPT), *arguments], cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == 2 and "bash recipes/all.sh FOLDER [--quick]" in result.stderr
    assert not list(tmp_path.iterdir())
