"""Run chapters from top to bottom and store their outputs and times: ``python book/run_notebooks.py [NAME ...]``.

What is stored is what the site shows: building it executes nothing. A chapter that fails keeps what it had. The time of
each is kept in the notebook, and the table of all of them is written for the status page.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

BOOK = Path(__file__).parent
NOTEBOOKS = BOOK.parent / "notebooks"
TABLE = BOOK / "measured" / "times.md"
SECONDS_A_CELL = 600


def run(path: Path) -> float:
    """Execute a notebook in its folder and store it; returns the seconds that it took.

    Raises:
        CellExecutionError, CellTimeoutError, DeadKernelError: a cell failed, took too long, or ended its kernel; the
            stored notebook is untouched.
    """
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(
        notebook, timeout=SECONDS_A_CELL, resources={"metadata": {"path": str(path.parent)}},
        record_timing=False, store_widget_state=False, coalesce_streams=True,
        extra_arguments=["--IPKernelApp.log_level=40"],  # errors only
    )  # fmt: skip
    began = time.monotonic()
    client.execute()
    seconds = time.monotonic() - began
    notebook.metadata.pop("widgets", None)  # a widget's state is of no use without the Python behind it
    notebook.metadata["seconds"] = round(seconds)
    unfinished = path.with_suffix(".part")
    nbformat.write(notebook, unfinished)
    os.replace(unfinished, path)
    return seconds


def title(notebook: nbformat.NotebookNode) -> str:
    return next(line.removeprefix("# ") for line in notebook.cells[0].source.splitlines() if line.startswith("# "))


def table(folder: Path) -> str:
    """Chapters and their stored times, in Markdown."""
    rows = ["| chapter | seconds |", "|---|---:|"]
    for path in sorted(folder.glob("*.ipynb")):
        notebook = nbformat.read(path, as_version=4)
        rows.append(f"| [{title(notebook)}](../notebooks/{path.name}) | {notebook.metadata.get('seconds', '')} |")
    return "\n".join(rows) + "\n"


def main(names: list[str]) -> int:
    chosen = [path for path in sorted(NOTEBOOKS.glob("*.ipynb")) if not names or path.stem in names]
    unknown = set(names) - {path.stem for path in chosen}
    if unknown:
        print(f"There is no chapter {', '.join(sorted(unknown))} in {NOTEBOOKS.name}/.", file=sys.stderr)
        return 2
    for number, path in enumerate(chosen, start=1):
        print(f"{number} of {len(chosen)}: {path.stem} ...", end=" ", flush=True)
        try:
            print(f"{run(path):.0f} s", flush=True)
        except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
            print(f"failed; what was stored is kept\n\n{error}", file=sys.stderr)
            return 1
        TABLE.write_text(table(NOTEBOOKS), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
