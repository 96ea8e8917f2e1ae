"""Draw what the small models do with one image of each task: ``python -m recipes.judge.draw_examples PICTURE``.

The images are the first seeds of the evaluation, not chosen ones.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from matplotlib.figure import Figure

from medclipsam_utils import TASKS
from medclipsam_utils.metrics import dice
from medclipsam_utils.models import load_clip, load_sam
from medclipsam_utils.plots import show_image
from medclipsam_utils.settings import PAPERS_WAY
from medclipsam_utils.visual_prompts import box_of, predict_mask

from ..data.cases import target_cases
from ..data.seeds import SEEDS
from .saliency import text_features

TITLES = ("map for the target", "map for its absence", "SAM, true box")


def draw(seed: int = SEEDS["judge"].seeds.start) -> Figure:
    """Draw a row per task: the image, the saliency of two prompts on it, and SAM's mask (dashed) from the true box."""
    clip, predictor = load_clip("tiny"), load_sam("tiny")
    figure = Figure(figsize=(7.4, 8.2), layout="constrained")
    for row, task in zip(figure.subplots(len(TASKS), 1 + len(TITLES)), TASKS, strict=True):
        (case,) = target_cases(task, [seed])
        settings = PAPERS_WAY["tiny"][task]
        texts = text_features(clip, task, settings)
        predictor.set_image(case.image)
        found = predict_mask(predictor, [box_of(part) for part in case.parts])
        titles = (TASKS[task].modality, *TITLES[:2], f"{TITLES[2]}: {dice(found, case.mask):.2f}")
        for axes, title, prediction in zip(row, titles, (None, None, None, found), strict=True):
            show_image(case.image, case.mask, prediction, title=title, axes=axes)
        for axes, prompt in zip(row[1:3], ("right", "absent"), strict=True):
            (saliency,) = settings.saliency.method(clip, [case.image], texts[prompt])
            axes.imshow(saliency, cmap="magma", alpha=0.6)
    return figure


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("picture", type=Path, help="file to write")
    draw().savefig(parser.parse_args(arguments).picture, dpi=130, facecolor="white")


if __name__ == "__main__":
    main()
