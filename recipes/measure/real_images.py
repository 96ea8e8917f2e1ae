"""Measure the default and the paper's way on real images in a folder of yours.

    python -m recipes.measure.real_images FOLDER --results medclipsam_utils/results/real_images.json

The folder has one folder for each task, with ``images`` and ``masks`` of the same names, and ``manifest.csv`` with a
row for each image and the columns ``task``, ``file`` and ``dataset_name``. Of the images nothing is kept but their
scores and the names of their datasets. No training and no choice of settings may have seen them, and what this recipe
has measured is no longer fit to choose on.
"""

from __future__ import annotations

import argparse
import csv
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from medclipsam_utils import TASKS, Segmenter
from medclipsam_utils.models import load_clip, load_sam
from medclipsam_utils.saliency import points_at

from ..data.cases import Case, real_cases
from ..judge.sam import fill_boxes
from .parts import write_results
from .ways import MODEL, WAYS
from .zero_shot import TOLERANCE, Scores


def look(task: str, cases: Sequence[Case]) -> dict[str, Any]:
    """Ask both ways for the target of a task with the task's own prompts, in each of some images that show it."""
    scores, pointing, reported = Scores(), defaultdict(list), []
    for name, settings in WAYS.items():
        segmenter = Segmenter(load_clip(MODEL), load_sam(MODEL), settings)
        for case in cases:
            answer = segmenter.segment(case.image, task=task)
            scores.add(name, answer.mask, case.mask)
            scores.add(f"{name}, filled box", fill_boxes(answer.boxes, case.mask.shape), case.mask)
            pointing[name].append(int(points_at(answer.saliency, case.mask)))
            if settings is WAYS["default"]:  # presence is asked of the CLIP alone, and is the same in both ways
                reported.append(answer.present)
    return {"reported present": reported, "pointing": pointing, "scores": scores.by_name}


def datasets_of(folder: Path) -> dict[tuple[str, str], str]:
    """Read from the manifest the dataset of each image, by its task and its name without extension."""
    with open(folder / "manifest.csv", encoding="utf-8", newline="") as file:
        rows = csv.DictReader(file)
        if lacking := {"task", "file", "dataset_name"} - set(rows.fieldnames or ()):
            raise ValueError(f"{file.name} has no column {', '.join(sorted(lacking))}: add it")
        return {(row["task"], Path(row["file"]).stem): row["dataset_name"] for row in rows}


def evaluate(folder: Path, results: Path) -> Path:
    """Measure all images of the folder, and write the results.

    Raises:
        ValueError: a task has no images, or an image is not in the manifest, or its mask does not fit.
    """
    datasets, found = datasets_of(folder), {}
    for task in TASKS:
        cases = real_cases(folder, task)
        if not cases:
            raise ValueError(f"there are no images in {folder / task / 'images'}: each task needs some")
        if unknown := [case.name for case in cases if (task, case.name) not in datasets]:
            raise ValueError(f"the manifest has no row for {', '.join(unknown)} of {task}: say where it is from")
        found[task] = {"dataset": [datasets[task, case.name] for case in cases], **look(task, cases)}
        print(f"{task}: {len(cases)} images", flush=True)
    return write_results(results, {"model": MODEL, "tolerance": TOLERANCE}, {"images": found})


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="with a folder for each task, and manifest.csv")
    parser.add_argument("--results", type=Path, default=Path(".cache/real_images.json"), help="%(default)s")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    try:
        evaluate(options.folder, options.results)
    except (OSError, ValueError) as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
