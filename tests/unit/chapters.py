"""What the chapters say and what they show, as it is stored: for the tests that hold the one against the other."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import nbformat

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"


@cache
def cells(chapter: str) -> dict[str, nbformat.NotebookNode]:
    """Cells of a chapter, such as "03", by their identifiers."""
    (path,) = NOTEBOOKS.glob(f"{chapter}_*.ipynb")
    return {cell.id: cell for cell in nbformat.read(path, as_version=4).cells}


@cache
def prose(chapter: str) -> str:
    """The text of a chapter in one line, without emphasis and addresses."""
    return plain(" ".join(cell.source for cell in cells(chapter).values() if cell.cell_type == "markdown"))


def plain(text: str) -> str:
    return " ".join(re.sub(r"[*`]|\[([^]]*)\]\([^)]*\)", r"\1", text).split())


def shown(chapter: str, cell: str) -> str:
    """What a cell prints, and then its result as text."""
    outputs = cells(chapter)[cell].outputs
    return "\n".join(output.get("text") or output.data.get("text/plain", "") for output in outputs)


def rows(text: str) -> list[list[str]]:
    """The cells of each row of a table, as text; below the header, without the stars of the best."""
    lines = text.splitlines()
    (rule,) = (place for place, line in enumerate(lines) if line and set(line) == {"-", " "})
    return [[cell.rstrip("*") for cell in re.split(r"\s{2,}", line.strip())] for line in lines[rule + 1 :]]


def table(chapter: str, caption: str) -> dict[str, list[str]]:
    """Rows of the one table whose caption begins so, by their first cell."""
    texts = [
        output.data["text/plain"]
        for cell in cells(chapter).values()
        for output in cell.get("outputs", [])
        if "text/html" in output.get("data", {})
    ]
    (found,) = (text for text in texts if text.startswith(caption))
    return {first: others for first, *others in rows(found)}
