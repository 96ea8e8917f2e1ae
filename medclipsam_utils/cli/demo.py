"""``medclipsam demo``: the whole pipeline on simulated images."""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path

from ..tasks import TASKS

DESCRIPTION = (
    "Simulate an image for each task, segment it with the small models, compare with the exact mask, and draw what "
    "happened on the way. It takes seconds, and no network."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-o", "--output", type=Path, default=Path("medclipsam_demo"), help="folder; %(default)s")
    parser.add_argument("--task", choices=TASKS, nargs="+", default=list(TASKS), help="all if not given")
    parser.add_argument("--seed", type=int, default=7, help="another seed, other images; %(default)s if not given")


def run(options: argparse.Namespace) -> int:
    from .. import Segmenter, dice, load_clip, load_sam, simulate
    from ..settings import SETTINGS

    settings = {name: replace(each, empty_if_absent=True) for name, each in SETTINGS["tiny"].items()}
    segmenter = Segmenter(load_clip("tiny"), load_sam("tiny"), settings)
    options.output.mkdir(parents=True, exist_ok=True)
    for task in options.task:
        sample = simulate(task, options.seed)
        text = TASKS[task].prompts["P0"][0]
        started = time.perf_counter()
        found = segmenter.segment(sample.image, text)
        seconds = time.perf_counter() - started
        path = options.output / f"{task}.png"
        found.show(sample.mask).savefig(path, dpi=150)
        said = "present" if found.present else "absent"
        print(f"{task}, {sample.finding}: “{text}” is reported {said}, DSC {dice(found.mask, sample.mask):.2f}, "
              f"{seconds:.1f} s: {path}")  # fmt: skip
    print("The images are simulated: this says nothing about patients.")
    return 0
