"""Choose the words and the cut for the CLIP that learned from captions alone, without any mask.

    python -m recipes.judge.choose_without_masks --clip tiny-base --images 24

SAM is asked twice, with a box and with points from the same coarse mask. Where the coarse mask fits a structure the two
answers agree, and agreement ranks masks well without the truth (chapter 8). The words and the cut with the largest mean
agreement on validation images win, and of equals the first. SAM learned from exact masks of simulated structures; none
is read here.

You write the choice into ``medclipsam_utils/settings/chosen.py``.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from medclipsam_utils import TASKS, Segmenter
from medclipsam_utils.models import Clip, load_clip, load_sam
from medclipsam_utils.settings import SETTINGS, Settings, row_of
from medclipsam_utils.weak import make_pseudo_labels

from ..data.cases import target_cases
from ..data.seeds import SEEDS
from .tables import table

CUTS = (0.4, 0.5, 0.6, 0.7, 0.8, 0.9)


def choose(clip: Clip, task: str, images: Sequence[np.ndarray]) -> dict[Settings, float]:
    """Try all words and cuts: by settings the mean agreement of SAM's two answers."""
    sam, found = load_sam("tiny"), {}
    for against in (False, True):
        for cut in CUTS:
            tried = replace(SETTINGS[row_of(clip)][task], against_absent=against, threshold=cut)
            labels = make_pseudo_labels(Segmenter(clip, sam, tried), images, task=task, progress=False)
            found[tried] = float(labels.agreement.mean())
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clip", default="tiny-base", help="name or path, as load_clip takes it; %(default)s")
    parser.add_argument("--images", type=int, default=24, help="validation seeds per task; %(default)s")
    options = parser.parse_args(arguments)
    clip, seeds = load_clip(options.clip), SEEDS["validation"].first(options.images)
    for task in TASKS:
        found = choose(clip, task, [case.image for case in target_cases(task, seeds)])
        rows = [[cut, *(f"{value:.3f}" for s, value in found.items() if s.threshold == cut)] for cut in CUTS]
        print(f"## {task}: agreement of SAM's answers to a box and to points, {options.images} images\n")
        print(f"{table(['cut', 'prompts', 'against absent'], rows)}\n", flush=True)


if __name__ == "__main__":
    main()
