"""Measure in parts, side by side: each part of each task is a file, so that an interrupted run goes on."""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from medclipsam_utils import TASKS
from medclipsam_utils.runs.files import write_json

from ..machine import machine

Part = Callable[[str, Any], dict[str, Any]]


def measure(parts: Sequence[Part], sizes: Any, work: Path, processes: int = 1) -> dict[str, dict[str, Any]]:
    """Call each part with each task and the sizes, and return the answers by the part's name and by task.

    Args:
        parts: functions of a module, because other processes call them.
        sizes: sizes of the measurement; other sizes need another folder.
        work: folder for a file of each part and task; those that are there already are not measured again.
        processes: parts side by side, each on one thread.
    """
    work.mkdir(parents=True, exist_ok=True)
    jobs = [(part, task, sizes, work / f"{part.__name__}_{task}.json") for part in parts for task in TASKS]
    found: dict[str, dict[str, Any]] = {part.__name__: {} for part in parts}
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        for (part, task, *_), path in zip(jobs, pool.imap(run_part, jobs), strict=True):
            found[part.__name__][task] = json.loads(path.read_text(encoding="utf-8"))
            print(f"{part.__name__}, {task}: {path}", flush=True)
    return found


def write_results(path: Path, about: Mapping[str, Any], found: Mapping[str, Any]) -> Path:
    """Write what was measured, after what one must know about it, and say where; returns the path."""
    write_json(path, {**about, **machine(), **found}, indent=None)
    print(f"wrote {path}", flush=True)
    return path


def run_part(job: tuple[Part, str, Any, Path]) -> Path:
    """Measure one part of one task, unless that is done already; returns the file with the answer."""
    part, task, sizes, path = job
    if not path.exists():
        torch.set_num_threads(1)
        write_json(path, part(task, sizes), indent=None)
    return path


def options_of(arguments: Sequence[str] | None, description: str, name: str) -> argparse.Namespace:
    """Read the command line of a measurement: ``folder``, ``results``, ``processes`` and ``quick``.

    Args:
        arguments: None takes those of the program.
        description: what the recipe says of itself.
        name: name of the results file, and of the folder that is used if none is given.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path(".cache") / name, metavar="FOLDER",
                        help="for what is kept between calls; %(default)s if not given")  # fmt: skip
    parser.add_argument("--results", type=Path, help=f"file to write; {name}.json in the folder if not given")
    parser.add_argument("--processes", type=int, default=os.cpu_count(), help="side by side; %(default)s")
    parser.add_argument("--quick", action="store_true", help="a short run that proves that the recipe runs")
    options = parser.parse_args(arguments)
    options.folder = options.work / "quick" if options.quick else options.work
    return options


def short(values: Iterable[float]) -> list[float | None]:
    """Round to four digits; what is not a number becomes None, because JSON does not know it."""
    return [round(float(value), 4) if np.isfinite(value) else None for value in values]
