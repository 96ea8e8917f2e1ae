"""Calibrate the presence test of the small CLIP that the package ships, and put the calibration beside the weights.

    python -m recipes.judge.calibrate_presence

For each task it keeps how the CLIP sees images without the target, and by which looks images of the kind are told from
others: images without the target and images with each finding in turn. Calibrations hold for the weights that they were
made with, so this comes after ``ship.py`` and before anything that reports presence.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from medclipsam_utils import TASKS, load_clip, simulate
from medclipsam_utils.models.weights import FOLDER
from medclipsam_utils.pipeline.presence import SHIPPED, Calibration, calibrate, save_calibrations
from medclipsam_utils.simulate import FINDINGS

from ..data.cases import target_cases
from ..data.seeds import SEEDS
from ..ship import write_checksums

MODEL = "tiny"
WITHOUT, KIND = 100, 300  # images per task


def calibrate_task(task: str, without: int, kind: int) -> Calibration:
    """Calibrate one task on so many images without the target, and so many more with it and without it each."""
    absent, seeds = FINDINGS[task][-1], SEEDS["presence kinds"].first(kind)
    images = [simulate(task, seed, finding=absent).image for seed in SEEDS["presence calibration"].first(without)]
    others = [case.image for case in target_cases(task, seeds)]
    others += [simulate(task, seed, finding=absent).image for seed in seeds]
    return calibrate(load_clip(MODEL), images, others, simulated=True)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weights", type=Path, default=FOLDER, metavar="FOLDER", help="of the package if not given")
    parser.add_argument("--quick", action="store_true", help="a short run that proves that the recipe runs")
    options = parser.parse_args(arguments)
    without, kind = (19, 19) if options.quick else (WITHOUT, KIND)
    options.weights.mkdir(parents=True, exist_ok=True)
    calibrations = {}
    for task in TASKS:
        calibrations[task] = calibrate_task(task, without, kind)
        print(f"{task}: images of the kind lie up to {calibrations[task].reach:.1f} from their mean", flush=True)
    save_calibrations(options.weights / SHIPPED, calibrations)
    write_checksums(options.weights)


if __name__ == "__main__":
    main()
