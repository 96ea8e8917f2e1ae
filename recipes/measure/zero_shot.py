"""Measure the whole pipeline from a sentence to a mask on held-out simulated images, part by part.

    python -m recipes.measure.zero_shot --work FOLDER --results medclipsam_utils/results/zero_shot.json

Five parts for each task, in DSC and NSD of every image. **components_added**: what each stage adds, in the order of the
paper's ablation, beside a filled box and a rule that knows no words. **saliency_methods**: M2IB, GradCAM, gScoreCAM,
the first version of the method and what is used by default, patch–text cosines, with a CLIP that learned from captions
alone and with the one that also saw regions.
**text_prompts**: the kinds of text prompt and their ensembles. **visual_prompts**: box, points, both, and votes over
SAM's masks. **absent_targets**: images with and without the target, when a target that is reported absent gets an empty
mask.

Held-out seeds are nobody else's (``data/seeds.py``). The folder keeps a file for each part of each task: the same
command goes on where an interrupted one stopped. ``--quick`` proves in a minute that it runs.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from medclipsam_utils import TASKS, Segmentation, Segmenter, Task, simulate
from medclipsam_utils.metrics import dice, nsd
from medclipsam_utils.models import embed, load_clip, load_sam
from medclipsam_utils.postprocess import binarize, components
from medclipsam_utils.saliency import points_at
from medclipsam_utils.settings import (
    CHANNELS,
    PAPERS_WAY,
    SETTINGS,
    ClassActivation,
    Settings,
    first_version,
    saliency_for,
)
from medclipsam_utils.simulate import FINDINGS
from medclipsam_utils.tasks import PROMPT_KINDS
from medclipsam_utils.visual_prompts import VOTES, boxes_from_mask, points_from_mask, predict_mask

from ..data.cases import Case, target_cases
from ..data.seeds import SEEDS
from ..judge.sam import fill_boxes
from ..judge.wordless_rule import largest_dark_spots
from .parts import measure, options_of, write_results

MODEL, CAPTIONS_ONLY = "tiny", "tiny-base"
PATCHES = "patch–text"  # the default, with its own later stages
HALF = 0.5  # where the bare map is cut
TOLERANCE = 2.0  # NSD's, in pixels, as in the paper


@dataclass(frozen=True)
class Sizes:
    """Say how many seeds of each task are looked at."""

    first_held_out: int = SEEDS["pipeline held out"].seeds.start
    held_out: int = 100


QUICK = Sizes(held_out=2)


class Scores:
    """Collect DSC and NSD of every image, by the name of what was measured."""

    def __init__(self):
        self.by_name: dict[str, dict[str, list[float]]] = defaultdict(lambda: {"DSC": [], "NSD": []})

    def add(self, name: str, mask: np.ndarray, truth: np.ndarray) -> None:
        self.by_name[name]["DSC"].append(round(dice(mask, truth), 4))
        self.by_name[name]["NSD"].append(round(nsd(mask, truth, TOLERANCE), 4))


def held_out(task: str, sizes: Sizes) -> list[Case]:
    """Draw images that show the target."""
    return target_cases(task, range(sizes.first_held_out, sizes.first_held_out + sizes.held_out))


def components_added(task: str, sizes: Sizes) -> dict[str, Any]:
    """Measure what each stage adds, in the order of the paper's ablation, and what is no part of the method."""
    cases, settings, sam, scores = held_out(task, sizes), PAPERS_WAY[MODEL][task], load_sam(MODEL), Scores()
    before = saliency_for(load_clip(CAPTIONS_ONLY), [case.image for case in cases], task, table=PAPERS_WAY)
    answers = _segment(MODEL, settings, task, cases)
    for case, untuned, answer in zip(cases, before, answers, strict=True):
        rule = largest_dark_spots(case.image, TASKS[task].n_structures)
        embed(sam, case.image)
        for name, mask in {
            "saliency, captions only": untuned >= HALF,
            "saliency": answer.saliency >= HALF,
            "+ k-means": binarize(answer.saliency, clusters=settings.clusters),
            "+ components": answer.coarse,
            "+ SAM": answer.mask,
            "filled box": fill_boxes(answer.boxes, case.mask.shape),
            "rule without words": rule,
            "SAM on the rule": predict_mask(sam, boxes_from_mask(rule)),
            "SAM on the true box": predict_mask(sam, np.concatenate([boxes_from_mask(part) for part in case.parts])),
        }.items():
            scores.add(name, mask, case.mask)
    return {
        "finding": [case.finding for case in cases],
        "area": [round(float(case.mask.mean()), 5) for case in cases],
        "pointing": [int(points_at(a.saliency, case.mask)) for case, a in zip(cases, answers, strict=True)],
        "scores": scores.by_name,
    }


def saliency_methods(task: str, sizes: Sizes) -> dict[str, Any]:
    """Send each method through the same later stages, with both CLIPs; also the first version, and their defaults."""
    cases, settings, scores = held_out(task, sizes), PAPERS_WAY[MODEL][task], Scores()
    ways = {**with_each_method(settings), "first version": first_version(settings, CHANNELS[MODEL])}
    for model, suffix in ((CAPTIONS_ONLY, ", captions only"), (MODEL, "")):
        for name, changed in {**ways, PATCHES: SETTINGS[model][task]}.items():
            _add(scores, name + suffix, cases, _segment(model, changed, task, cases))
    return {"scores": scores.by_name}


def with_each_method(settings: Settings) -> dict[str, Settings]:
    """Exchange the method of the map, and leave the views, the words and all that follows as they are."""
    views = settings.saliency.views
    cams = {
        "gScoreCAM": ClassActivation(channels=CHANNELS[MODEL], views=views),
        "GradCAM": ClassActivation("grad_cam", views=views),
    }
    return {"M2IB": settings, **{name: replace(settings, saliency=made) for name, made in cams.items()}}


def text_prompts(task: str, sizes: Sizes) -> dict[str, Any]:
    """Ask with each kind, as one sentence and as an ensemble, for all images alike; and with P3 of the right class."""
    cases, settings, scores = held_out(task, sizes), PAPERS_WAY[MODEL][task], Scores()
    prompts = TASKS[task].prompts
    asked = {kind: prompts[kind][:1] for kind in PROMPT_KINDS}
    asked |= {f"{kind}, ensemble": prompts[kind] for kind in PROMPT_KINDS if len(prompts[kind]) > 1}
    for name, sentences in asked.items():
        _add(scores, name, cases, _segment(MODEL, settings, asking(task, sentences), cases))
    _add(scores, "all kinds", cases, _segment(MODEL, replace(settings, prompts=PROMPT_KINDS), task, cases))
    answers: dict[str, Segmentation] = {}
    for finding, sentences in TASKS[task].class_prompts.items():
        alike = [case for case in cases if case.finding == finding]
        several = _segment(MODEL, settings, asking(task, sentences), alike)
        answers |= {case.name: answer for case, answer in zip(alike, several, strict=True)}
    _add(scores, "P3, class known", cases, [answers[case.name] for case in cases])
    return {"scores": scores.by_name}


def asking(task: str, sentences: Sequence[str]) -> Task:
    """Make the same task with other words, whatever kinds of prompts the settings ask for."""
    return replace(TASKS[task], prompts=dict.fromkeys(PROMPT_KINDS, tuple(sentences)))


def visual_prompts(task: str, sizes: Sizes) -> dict[str, Any]:
    """Ask SAM in several ways from the same coarse masks, and combine its three answers in several ways."""
    cases, settings, sam, scores = held_out(task, sizes), PAPERS_WAY[MODEL][task], load_sam(MODEL), Scores()
    for case, answer in zip(cases, _segment(MODEL, settings, task, cases), strict=True):
        parts = components(answer.coarse)
        inside, anywhere = (
            [points_from_mask(part, settings.n_points, where=where) for part in parts] for where in ("inside", "random")
        )
        embed(sam, case.image)
        asked = {
            "boxes": {"boxes": answer.boxes},
            "boxes, no margin": {"boxes": boxes_from_mask(answer.coarse)},
            "one box for all": {"boxes": boxes_from_mask(answer.coarse, per_component=False, margin=settings.margin)},
            "points well inside": {"points": inside},
            "points anywhere": {"points": anywhere},
            "boxes and points": {"boxes": answer.boxes, "points": inside},
            **{f"boxes, {vote}": {"boxes": answer.boxes, "vote": vote} for vote in VOTES[1:]},
        }
        for name, arguments in asked.items():
            scores.add(name, predict_mask(sam, **arguments), case.mask)
    return {"scores": scores.by_name}


def absent_targets(task: str, sizes: Sizes) -> dict[str, Any]:
    """Answer images with the target and without it always, or only where the target is reported present."""
    without = FINDINGS[task][-1]
    seeds = range(sizes.first_held_out, sizes.first_held_out + sizes.held_out)
    normal = [simulate(task, seed, finding=without) for seed in seeds]
    scores, reported = Scores(), {}
    for name, cases in (("with", held_out(task, sizes)), ("without", normal)):
        answers = _segment(MODEL, PAPERS_WAY[MODEL][task], task, cases)
        for case, answer in zip(cases, answers, strict=True):
            scores.add(f"{name}, always answered", answer.mask, case.mask)
            scores.add(f"{name}, answered if present", answer.mask & (answer.present is True), case.mask)
        reported[name] = [int(answer.present is True) for answer in answers]
    return {"reported": reported, "scores": scores.by_name}


PARTS = (components_added, saliency_methods, text_prompts, visual_prompts, absent_targets)


def evaluate(sizes: Sizes, work: Path, results: Path | None = None, processes: int = 1) -> Path:
    """Measure all parts that are not done yet, and write the results."""
    about = {"model": MODEL, "sizes": asdict(sizes), "tolerance": TOLERANCE}
    return write_results(results or work / "zero_shot.json", about, measure(PARTS, sizes, work, processes))


def main(arguments: list[str] | None = None) -> None:
    options = options_of(arguments, __doc__, "zero_shot")
    evaluate(QUICK if options.quick else Sizes(), options.folder, options.results, options.processes)


def _segment(model: str, settings: Settings, task: str | Task, cases: Sequence[Any]) -> list[Segmentation]:
    """Segment cases or samples: anything that has an ``image``."""
    segmenter = Segmenter(load_clip(model), load_sam(MODEL), settings)
    return segmenter.segment_batch([case.image for case in cases], task=task)


def _add(scores: Scores, name: str, cases: Sequence[Case], answers: Sequence[Segmentation]) -> None:
    for case, answer in zip(cases, answers, strict=True):
        scores.add(name, answer.mask, case.mask)


if __name__ == "__main__":
    main()
