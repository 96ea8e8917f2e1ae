"""``make drift``: which cells' outputs changed, by how much, and a page that shows it."""

from __future__ import annotations

import base64
import math
import subprocess
from io import BytesIO
from pathlib import Path

import nbformat
import numpy as np
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from PIL import Image, PngImagePlugin

ROOT = Path(__file__).parents[2]


@pytest.fixture
def drift(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "book"))
    import drift

    return drift


def picture(pixels: np.ndarray, note: str = "") -> str:
    information, buffer = PngImagePlugin.PngInfo(), BytesIO()
    information.add_text("Software", note)
    Image.fromarray(pixels).save(buffer, "PNG", pnginfo=information)
    return base64.b64encode(buffer.getvalue()).decode()


GREY = np.full((20, 10, 3), 128, np.uint8)


def cell(text: str = "", image: str | None = None, *, id: str = "one", source: str = "f()"):
    outputs = [new_output("stream", text=text)] if text else []
    if image:
        outputs.append(new_output("display_data", {"image/png": image, "text/plain": "<Figure>"}))
    return new_code_cell(source, id=id, outputs=outputs)


def test_the_same_outputs_are_no_change(drift):
    one = cell("Dice 83.1 at 0x7f00aa", picture(GREY, "matplotlib 3.8"))
    other = cell("Dice 83.1 at 0x7e11bb", picture(GREY, "matplotlib 3.10"))
    assert drift.compare(one, other) is None


def test_numbers_that_differ_are_paired(drift):
    change = drift.compare(cell("dice 80.0 ± .5, p = 1e-3, −2 of v2"), cell("dice 84.0 ± .5, p = 1e-3, −3 of v2"))
    assert change.numbers == [("80.0", "84.0"), ("−2", "−3")]
    assert change.largest == 0.5 and not change.pictures
    assert drift.relative_change("80.0", "84.0") == pytest.approx(0.05)
    assert math.isinf(drift.relative_change("0", "0.1"))


def test_words_that_differ_are_no_numbers(drift):
    change = drift.compare(cell("3 tumours"), cell("4 tumors"))
    assert change.text == ("3 tumours", "4 tumors") and change.numbers == []
    before, after = drift.marked(*change.text)
    assert before == "<del>3</del> <del>tumours</del>" and after == "<ins>4</ins> <ins>tumors</ins>"


def test_a_picture_counts_what_can_be_seen(drift):
    slightly, clearly = GREY.copy(), GREY.copy()
    slightly[:10] += 5
    clearly[:5] += 100
    assert drift.compare(cell(image=picture(GREY)), cell(image=picture(slightly))).pictures
    decoded = [base64.b64decode(picture(pixels)) for pixels in (GREY, slightly, clearly, GREY[:5])]
    assert drift.difference(decoded[0], decoded[1])[0] == 0
    fraction, where = drift.difference(decoded[0], decoded[2])
    assert fraction == 0.25 and np.asarray(where)[0, 0] == 155 and np.asarray(where)[-1, -1] == 255
    assert drift.difference(decoded[0], decoded[3]) == (1.0, None)
    assert drift.difference(None, decoded[0]) == (1.0, None)


def test_cells_are_matched_by_name_and_new_or_missing_ones_are_told(drift):
    before = new_notebook(cells=[new_markdown_cell("# A"), cell("1"), cell("2", id="two"), cell("3", id="three")])
    after = new_notebook(cells=[cell("2", id="two"), cell("1"), cell("4", id="four"), cell("3", id="five")])
    assert [(c.cell.id, c.what) for c in drift.changes(before, after)] == [
        ("four", "a new cell"), ("five", "a new cell"), ("three", "this cell is gone"),
    ]  # fmt: skip
    change = drift.compare(cell("1"), cell("2", source="g()"))
    assert change.what == "the code differs as well"


@pytest.fixture
def repository(drift, tmp_path, monkeypatch):
    """A repository with one stored chapter; returns where it lies."""
    monkeypatch.setattr(drift, "NOTEBOOKS", tmp_path / "notebooks")
    monkeypatch.setattr(drift, "REPORT", tmp_path / "_build" / "drift" / "index.html")
    drift.NOTEBOOKS.mkdir()
    path = drift.NOTEBOOKS / "01_one.ipynb"
    nbformat.write(new_notebook(cells=[cell("dice 80.0", picture(GREY))]), path)
    for command in (
        ["init", "-q"],
        ["add", "."],
        ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "one"],
    ):
        subprocess.run(["git", *command], cwd=tmp_path, check=True)
    return path


def test_the_report_shows_numbers_and_pictures_side_by_side(drift, repository, capsys):
    assert drift.main([]) == 0 and "01_one: the same outputs" in capsys.readouterr().out
    assert not drift.REPORT.exists()
    new = GREY.copy()
    new[:5] = 0
    nbformat.write(new_notebook(cells=[cell("dice 84.0", picture(new))]), repository)
    assert drift.main([]) == 0
    printed = capsys.readouterr().out
    assert "1 cell changed (text in 1, 1 of 1 pictures visibly, numbers by up to 5.0%)" in printed
    assert str(drift.REPORT) in printed
    page = drift.REPORT.read_text(encoding="utf-8")
    assert "<td>80.0<td>84.0<td>+4<td>5.00%" in page
    assert page.count("data:image/png;base64,") == 3 and "25.00% of its pixels" in page
    assert f"base64,{picture(GREY)}" in page and f"base64,{picture(new)}" in page
    nbformat.write(new_notebook(cells=[cell("dice 80.0", picture(GREY))]), repository)
    assert drift.main([]) == 0 and not drift.REPORT.exists()  # a page about outputs that were refused is gone


def test_what_is_printed_is_escaped(drift, repository):
    nbformat.write(new_notebook(cells=[cell("<b>dice</b> 80.0")]), repository)
    drift.main([])
    page = drift.REPORT.read_text(encoding="utf-8")
    assert "<b>dice" not in page and "&lt;b&gt;dice" in page and "a picture that is gone" in page


def test_a_new_chapter_and_an_unknown_revision(drift, repository, capsys):
    nbformat.write(new_notebook(cells=[cell("1")]), repository.with_name("02_two.ipynb"))
    assert drift.main(["HEAD"]) == 0
    assert "02_two: a new chapter" in capsys.readouterr().out
    assert drift.main(["nowhere"]) == 2
    assert "no revision nowhere" in capsys.readouterr().err
