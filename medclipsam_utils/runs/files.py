"""Files of results and tables: all of a file is written, or nothing of it."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any


def write_json(path: Path, content: Any, indent: int | None = 1) -> None:
    """Write a results file, all of it or nothing; on one line if ``indent`` is None, for thousands of numbers."""
    unfinished = path.with_suffix(".json.part")
    unfinished.write_text(json.dumps(content, indent=indent) + "\n", encoding="utf-8")
    os.replace(unfinished, path)


def write_table(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Write a CSV file, all of it or nothing."""
    unfinished = path.with_suffix(".csv.part")
    with unfinished.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    os.replace(unfinished, path)
