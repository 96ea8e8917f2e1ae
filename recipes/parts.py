"""A measurement in parts, side by side: each part of each task is a file, so that an interrupted run goes on."""

from __future__ import annotations

import json
import multiprocessing
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from medclipsam_utils import TASKS
from medclipsam_utils.run_files import write_json

Part = Callable[[str, Any], dict[str, Any]]


def measure(parts: Sequence[Part], sizes: Any, work: Path, processes: int = 1) -> dict[str, dict[str, Any]]:
    """What each part, called with a task and the sizes, gives: by the part's name and by task.

    Args:
        parts: functions of a module, because other processes call them.
        sizes: of the measurement; another folder is needed for other sizes.
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


def run_part(job: tuple[Part, str, Any, Path]) -> Path:
    """Measure one part of one task, unless that is done already; returns the file with the answer."""
    part, task, sizes, path = job
    if not path.exists():
        torch.set_num_threads(1)
        write_json(path, part(task, sizes), indent=None)
    return path
