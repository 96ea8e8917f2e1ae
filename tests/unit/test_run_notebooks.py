"""``make notebooks``: what is stored, and what is kept when a cell fails. And that building the site runs nothing."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import nbformat
import pytest
import yaml
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

ROOT = Path(__file__).parents[2]


@pytest.fixture
def runner(tmp_path, monkeypatch):
    """The module, with a folder of notebooks and a table of its own."""
    spec = importlib.util.spec_from_file_location("run_notebooks", ROOT / "book" / "run_notebooks.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "NOTEBOOKS", tmp_path / "notebooks")
    monkeypatch.setattr(module, "TABLE", tmp_path / "times.md")
    module.NOTEBOOKS.mkdir()
    return module


def write(folder: Path, name: str, *sources: str, **metadata) -> Path:
    cells = [new_markdown_cell(f"# Chapter {name}"), *(new_code_cell(source) for source in sources)]
    notebook = new_notebook(cells=cells, metadata={"kernelspec": {"name": "python3", "display_name": ""}, **metadata})
    nbformat.write(notebook, folder / f"{name}.ipynb")
    return folder / f"{name}.ipynb"


def test_outputs_and_times_are_stored(runner, capsys):
    path = write(runner.NOTEBOOKS, "01_one", "print('a')\nprint('b')", "import os; os.getcwd()", widgets={"state": {}})
    assert runner.main([]) == 0
    stored = nbformat.read(path, as_version=4)
    (printed,), (value,) = (cell.outputs for cell in stored.cells[1:])
    assert printed.text == "a\nb\n" and value.data["text/plain"].strip("'") == str(runner.NOTEBOOKS)
    assert [cell.execution_count for cell in stored.cells[1:]] == [1, 2]
    assert "widgets" not in stored.metadata and "execution" not in stored.cells[1].metadata
    assert isinstance(stored.metadata.seconds, int)
    assert f"| [Chapter 01_one](../notebooks/01_one.ipynb) | {stored.metadata.seconds} |" in runner.TABLE.read_text()
    assert "1 of 1: 01_one ..." in capsys.readouterr().out


@pytest.mark.parametrize(
    "code, reason",
    [
        ("1 / 0", "ZeroDivisionError"),
        ("import time; time.sleep(60)", "timed out"),
        ("import os; os._exit(1)", "Kernel died"),
    ],
)
def test_a_cell_that_fails_leaves_what_was_stored(runner, capsys, monkeypatch, code, reason):
    monkeypatch.setattr(runner, "SECONDS_A_CELL", 5)
    good, bad = (write(runner.NOTEBOOKS, name, source) for name, source in (("01_good", "1"), ("02_bad", code)))
    before = bad.read_bytes()
    assert runner.main([]) == 1
    assert bad.read_bytes() == before and not list(runner.NOTEBOOKS.glob("*.part"))
    assert reason in capsys.readouterr().err
    assert nbformat.read(good, as_version=4).cells[1].execution_count == 1  # those before it are stored
    assert "01_good" in runner.TABLE.read_text()


def test_one_chapter_by_its_name(runner, capsys):
    one, other = (write(runner.NOTEBOOKS, name, "1") for name in ("01_one", "02_other"))
    before = other.read_bytes()
    assert runner.main(["01_one"]) == 0 and other.read_bytes() == before
    assert nbformat.read(one, as_version=4).cells[1].outputs
    assert runner.main(["03_none"]) == 2 and "03_none" in capsys.readouterr().err


def test_the_status_page_has_the_stored_times():
    spec = importlib.util.spec_from_file_location("run_notebooks", ROOT / "book" / "run_notebooks.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.TABLE.read_text(encoding="utf-8") == module.table(module.NOTEBOOKS)
    assert "| |" not in module.table(module.NOTEBOOKS).replace("|  |", "| |")
    assert "measured/times.md" in (ROOT / "book" / "status.md").read_text(encoding="utf-8")


def test_building_the_site_runs_no_notebook():
    settings = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
    assert settings["execute"]["execute_notebooks"] == "off"
