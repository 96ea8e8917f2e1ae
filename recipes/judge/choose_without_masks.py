"""Choose the words and the cut for the CLIP that learned from captions alone, without any mask.

    python -m recipes.judge.choose_without_masks --clip tiny-base --images 40

Masks are not there, but pairs of images that differ in the target alone are: the CLIP learned from such pairs. Where
the maps of a pair differ by more than half of their largest difference, for the direction from the absent prompt to the
prompts, there the target must be, as far as this CLIP can tell. That stands in for the mask. Of every choice of words
and cut, SAM's answer for the image alone is compared with it, on validation seeds, and the best mean DSC wins. SAM
learned from exact masks of simulated structures; none is read here.

You write the choice into ``medclipsam_utils/settings/chosen.py``.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from medclipsam_utils import TASKS, simulate
from medclipsam_utils.images import image_size
from medclipsam_utils.metrics import dice
from medclipsam_utils.models import Clip, load_clip, load_sam
from medclipsam_utils.saliency import patch_cosines
from medclipsam_utils.saliency.maps import upsample
from medclipsam_utils.settings import SETTINGS, Settings, row_of
from medclipsam_utils.simulate import FINDINGS

from ..data.cases import Case, target_cases
from ..data.seeds import SEEDS
from ..measure.families import after_sam, maps_of
from .tables import table

CUTS = (0.4, 0.5, 0.6, 0.7, 0.8, 0.9)


def stand_ins(clip: Clip, task: str, cases: Sequence[Case], twins: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Find where the maps of images and of their twins without the target differ most: bool [H, W] each."""
    text = replace(SETTINGS[row_of(clip)][task], against_absent=True).text_features(clip, TASKS[task])
    shown, absent = (
        patch_cosines(clip, images, text, windows=clip.windows).cpu().numpy()
        for images in ([case.image for case in cases], list(twins))
    )
    more = np.clip(shown - absent, 0, None)  # (B, rows, columns)
    return [upsample(grid, image_size(case.image)) > 0.5 for grid, case in zip(more, cases, strict=True)]


def choose(clip: Clip, task: str, cases: Sequence[Case], twins: Sequence[np.ndarray]) -> dict[Settings, float]:
    """Try all words and cuts: by settings the mean DSC of SAM's answers and the stand-ins for their masks."""
    sam, targets, found = load_sam("tiny"), stand_ins(clip, task, cases, twins), {}
    for against in (False, True):
        made = replace(SETTINGS[row_of(clip)][task], against_absent=against)
        maps = maps_of(clip, made, task, cases)
        for cut in CUTS:
            tried = replace(made, threshold=cut)
            answers = after_sam(clip, sam, task, cases, maps, tried)
            scores = [dice(answer.mask, target) for answer, target in zip(answers, targets, strict=True)]
            found[tried] = float(np.mean(scores))
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clip", default="tiny-base", help="name or path, as load_clip takes it; %(default)s")
    parser.add_argument("--images", type=int, default=40, help="validation seeds per task; %(default)s")
    options = parser.parse_args(arguments)
    clip, seeds = load_clip(options.clip), SEEDS["validation"].first(options.images)
    for task in TASKS:
        twins = [simulate(task, seed, finding=FINDINGS[task][-1]).image for seed in seeds]
        found = choose(clip, task, target_cases(task, seeds), twins)
        rows = [[cut, *(f"{value:.3f}" for s, value in found.items() if s.threshold == cut)] for cut in CUTS]
        print(f"## {task}: {options.images} images, and the same without the target\n")
        print(f"{table(['cut', 'prompts', 'against absent'], rows)}\n", flush=True)


if __name__ == "__main__":
    main()
