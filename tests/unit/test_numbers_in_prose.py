"""Every share, point and decimal number in the prose of a chapter is shown by the chapter, or is accounted for.

A number counts as shown if one that the chapter's cells print, show in a table or name in their code rounds to it, as
it stands or in percent. What is said of stored results in words is held by ``test_chapter_claims.py``.
"""

from __future__ import annotations

import re
from pathlib import Path

import nbformat
import pytest

NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))
NUMBER = re.compile(r"(?<![\w.])\d+(?:,\d{3})*(?:\.\d+)?")
SAID = re.compile(r"(?<![\w.])\d+(?:,\d{3})*(?:\.\d+)?(?= ?%| points?\b)|(?<![\w.])\d+\.\d+")
#: Formulas, code, addresses, citations and numbers of exercises.
NO_PROSE = re.compile(r"\$\$.*?\$\$|\$[^$]*\$|```.*?```|`[^`]*`|\]\([^)]*\)|\{cite\}\S+|\b0\d\.\d+\b", re.S)
#: What is said of others or follows from the numbers beside it: chapter, words around it.
ACCOUNTED = (
    ("03", "a smallest p of 0.012"),  # held by test_chapter_claims.py
    ("03", "a mean DSC of 73.69 before and 77.61 after"),  # reported in the paper
    ("07", "M2IB reaches 77.6, gScoreCAM 60.5 and GradCAM 30.1"),  # reported in the paper
    ("07", "77.8 for boxes against 65.6 for points"),  # reported in the paper
    ("02", "the outline is 6.8 pixels long"),  # in a task: worked out in the sentence before
    ("07", "the text counts 0.35"),  # a field of the settings
    ("08", "calls tumour with 15 %"),  # the middle of a bin of the figure
)


def value(text: str) -> float:
    return float(text.replace(",", ""))


def shown(notebook) -> set[float]:
    """All numbers in the code and the outputs of a chapter."""
    found: set[float] = set()
    for cell in notebook.cells:
        if cell.cell_type == "code":
            texts = [cell.source, *(o.get("text") or o.get("data", {}).get("text/plain", "") for o in cell.outputs)]
            found |= {value(number) for text in texts for number in NUMBER.findall(str(text))}
    return found


def unfounded(notebook, accounted=()) -> list[str]:
    """Numbers of the prose that nothing shown rounds to, with some words around each."""
    known, missing = shown(notebook), []
    for cell in notebook.cells:
        if cell.cell_type != "markdown":
            continue
        prose = " ".join(NO_PROSE.sub(" ", cell.source).split())
        for words in accounted:
            prose = prose.replace(words, "")
        for match in SAID.finditer(prose):
            digits = len(match[0].partition(".")[2])
            near = 0.5 * 10**-digits + 1e-9
            if not any(abs(value(match[0]) - factor * one) <= near for one in known for factor in (1, 100)):
                missing.append(prose[max(0, match.start() - 40) : match.end() + 20])
    return missing


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_numbers_in_prose_are_shown(path):
    accounted = [words for chapter, words in ACCOUNTED if path.name.startswith(chapter)]
    assert unfounded(nbformat.read(path, as_version=4), accounted) == []


def test_a_wrong_number_is_noticed():
    cells = [nbformat.v4.new_markdown_cell("It scores 83.1 %, two points more."), nbformat.v4.new_code_cell("1 + 1")]
    cells[1].outputs = [nbformat.v4.new_output("stream", text="0.8312")]
    notebook = nbformat.v4.new_notebook(cells=cells)
    assert unfounded(notebook) == []
    cells[0].source = "It scores 83.4 %, two points more."
    assert unfounded(notebook) == ["It scores 83.4 %, two points more."]
