"""Files of results and tables: all of a file is written, or nothing of it."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")  # and the wide forms of the signs


def write_json(path: Path, content: Any, indent: int | None = 1) -> None:
    """Write a results file, all of it or nothing; on one line if ``indent`` is None, for thousands of numbers."""
    unfinished = path.with_suffix(".json.part")
    unfinished.write_text(json.dumps(content, indent=indent) + "\n", encoding="utf-8")
    os.replace(unfinished, path)


def write_table(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Write a CSV file in UTF-8, all of it or nothing.

    A text that a spreadsheet would run as a formula (a file may be named ``=1+1.png``) gets an apostrophe in front, and
    a byte of a file name that is no UTF-8 becomes ``\\udc..``.
    """
    unfinished = path.with_suffix(".csv.part")
    with unfinished.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file:
        csv.writer(file).writerows([header, *([_cell(value) for value in row] for row in rows)])
    os.replace(unfinished, path)


def _cell(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value
