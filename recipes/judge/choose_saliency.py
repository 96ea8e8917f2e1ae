"""Choose how each task's saliency is made, on validation seeds: kind of prompt, layer, β, σ², clusters and margin.

    python -m recipes.judge.choose_saliency --clip tiny --sam tiny --images 25

Every setting is tried on the same images, and the best mean of the DSC after SAM and of the pointing game wins: a map
that points beside the target explains nothing, whatever mask comes of it. Settings by which the prompt for another
organ covers the target as well as the right one are left out: their map does not listen. What is printed for the best
of many is too good; ``report.py`` measures it again on other seeds.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from segment_anything import SamPredictor

from medclipsam_utils import TASKS
from medclipsam_utils.metrics import dice
from medclipsam_utils.models import Clip, load_clip, load_sam
from medclipsam_utils.postprocess import coarse_mask
from medclipsam_utils.saliency import coverage
from medclipsam_utils.settings import M2IB, Settings
from medclipsam_utils.tasks import PROMPT_KINDS

from ..data.cases import Case, target_cases
from ..data.seeds import SEEDS
from .report import say
from .saliency import BATCH, CLUSTERS, MARGINS, score_map, segment_from_mask, text_features
from .tables import column, summarise, table

MEASURES = ("DSC after SAM", "coarse DSC", "pointing", "coverage", "coverage, less other organ's")
RANKED_BY = ("DSC after SAM", "pointing")


def grid(
    kinds: Sequence[str], layers: Sequence[int], betas: Sequence[float], variances: Sequence[float]
) -> list[Settings]:
    """Combine everything: also every number of clusters and margin, with and without moved views and absent prompt.

    Kinds of prompts that are joined by a plus sign are asked together, as the mean of each: ``"P0+P1"``.
    """
    maps = [
        Settings(M2IB(*choice, samples=5, standardize=True, views=views), tuple(kinds_.split("+")), against)
        for kinds_, *choice, views, against in itertools.product(
            kinds, layers, betas, variances, (False, True), (False, True)
        )
    ]
    return [
        replace(made, clusters=clusters, margin=margin)
        for made, clusters, margin in itertools.product(maps, CLUSTERS, MARGINS)
    ]


def map_of(settings: Settings) -> Settings:
    """Drop from the settings what a map does not depend on."""
    return Settings(settings.saliency, settings.prompts, settings.against_absent)


def score_settings(
    clip: Clip, predictor: SamPredictor, task: str, cases: Sequence[Case], grid: Sequence[Settings]
) -> dict[Settings, list[dict[str, Any]]]:
    """Score settings on cases: by settings, one dict of :data:`MEASURES` per case."""
    rows: dict[Settings, list[dict[str, Any]]] = {settings: [] for settings in grid}
    for start in range(0, len(cases), BATCH):
        batch = cases[start : start + BATCH]
        images, maps = [case.image for case in batch], {}
        for made in dict.fromkeys(map_of(settings) for settings in grid):
            texts = text_features(clip, task, made)
            both = (made.saliency.method(clip, images, texts[name]) for name in ("right", "other organ"))
            maps[made] = list(zip(*both, strict=True))
            say(f"{task}: {made}, images {start + 1} to {start + len(batch)}")
        for number, case in enumerate(batch):
            predictor.set_image(case.image)
            own = {made: several[number] for made, several in maps.items()}
            for settings, row in _score(predictor, own, case, TASKS[task].n_structures, grid):
                rows[settings].append(row)
    return rows


def best_table(rows: dict[Settings, list[dict[str, Any]]], count: int) -> str:
    """List the best settings by :data:`RANKED_BY` as Markdown, best first."""
    means = {settings: [summarise(column(scores, name)) for name in MEASURES] for settings, scores in rows.items()}
    ranks = [MEASURES.index(name) for name in RANKED_BY]
    listening = [settings for settings in means if means[settings][-1]["mean"] > 0]
    ranked = sorted(listening, key=lambda settings: -sum(means[settings][rank]["mean"] for rank in ranks))[:count]
    best = [[settings, *(f"{mean['mean']:.3f}" for mean in means[settings])] for settings in ranked]
    return table(["settings", *MEASURES], best)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clip", default="tiny", help="name or path, as load_clip takes it")
    parser.add_argument("--sam", default="tiny", help="name or path, as load_sam takes it")
    parser.add_argument("--images", type=int, default=25, help="validation seeds per task, 2 or more")
    parser.add_argument(
        "--tasks", nargs="+", metavar="TASK", choices=list(TASKS), default=list(TASKS), help=", ".join(TASKS)
    )
    parser.add_argument(
        "--kinds", nargs="+", metavar="KIND", default=["P0", "P1", "P2", "P0+P1+P2"],
        help=f"of prompts: {', '.join(PROMPT_KINDS)}, or several joined by +",
    )  # fmt: skip
    parser.add_argument(
        "--layers", nargs="+", type=int, metavar="LAYER", default=[5], help="blocks of the image tower, from 0"
    )
    parser.add_argument(
        "--betas", nargs="+", type=float, metavar="BETA", default=[0.03, 0.1], help="prices of information"
    )
    parser.add_argument(
        "--variances", nargs="+", type=float, metavar="VARIANCE", default=[1.0, 4.0, 16.0], help="σ² of the noise"
    )
    parser.add_argument("--top", type=int, default=10, help="how many settings to print")
    options = parser.parse_args(arguments)
    clip, predictor = load_clip(options.clip), load_sam(options.sam)
    choices = grid(options.kinds, options.layers, options.betas, options.variances)
    for task in options.tasks:
        cases = target_cases(task, SEEDS["validation"].first(options.images))
        rows = score_settings(clip, predictor, task, cases, choices)
        print(f"## {task}: {len(cases)} simulated validation images\n\n{best_table(rows, options.top)}\n", flush=True)


def _score(
    predictor: SamPredictor, maps: dict[Settings, Any], case: Case, n_structures: int, grid: Sequence[Settings]
) -> Iterator[tuple[Settings, dict[str, Any]]]:
    """Measure one case, whose image was set, with each of the settings."""
    coarse = {
        (made, clusters): coarse_mask(right, n_structures, clusters=clusters)
        for made, (right, _) in maps.items()
        for clusters in CLUSTERS
    }
    lead = {made: coverage(right, case.mask) - coverage(other, case.mask) for made, (right, other) in maps.items()}
    for settings in grid:
        made = map_of(settings)
        mask = coarse[made, settings.clusters]
        after_sam = segment_from_mask(predictor, mask, n_structures, settings.margin)
        scores = score_map(maps[made][0], mask, case)
        yield settings, {**scores, "DSC after SAM": dice(after_sam, case.mask), MEASURES[-1]: lead[made]}


if __name__ == "__main__":
    main()
