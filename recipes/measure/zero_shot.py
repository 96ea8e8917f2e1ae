"""Measure the whole pipeline from a sentence to a mask on held-out simulated images, part by part.

    python -m recipes.measure.zero_shot --work FOLDER --results medclipsam_utils/results/zero_shot.json

Five parts for each task, in DSC and NSD of every image. **components_added**: what each stage adds, in the order of the
paper's ablation, beside a filled box and a rule that knows no words. **saliency_methods**: M2IB, GradCAM, gScoreCAM and
the first version of the method, with a CLIP that learned from captions alone and with the one that also saw regions.
**text_prompts**: the kinds of text prompt and their ensembles. **visual_prompts**: box, points, both, and votes over
SAM's masks. **absent_targets**: images with and without the target, when a target that is reported absent gets an empty
mask.

Held-out seeds are nobody else's (``data/seeds.py``). The folder keeps a file for each part of each task: the same
command goes on where an interrupted one stopped. ``--quick`` proves in a minute that it runs.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from medclipsam_utils import TASKS, Segmentation, Segmenter, Task, simulate
from medclipsam_utils.metrics import dice, nsd
from medclipsam_utils.models import Clip, load_clip, load_sam
from medclipsam_utils.pipeline import CONFIGS, V1_CONFIGS, SegmenterConfig
from medclipsam_utils.postprocess import binarize, coarse_mask, components
from medclipsam_utils.runs.files import write_json
from medclipsam_utils.saliency import Method, Preset, grad_cam, gscore_cam, points_at
from medclipsam_utils.simulate import FINDINGS
from medclipsam_utils.tasks import PROMPT_KINDS
from medclipsam_utils.visual_prompts import VOTES, boxes_from_mask, points_from_mask, predict_mask

from ..data.cases import Case, target_cases
from ..data.seeds import SEEDS
from ..judge.sam import fill_boxes
from ..judge.wordless_rule import largest_dark_spots
from ..machine import machine
from .parts import measure, options_of
from .saliency_checks import as_preset

MODEL, CAPTIONS_ONLY = "tiny", "tiny-base"
HALF = 0.5  # where the bare map is cut
TOLERANCE = 2.0  # NSD's, in pixels, as in the paper
CHANNELS = 13  # gScoreCAM's, a tenth of the small CLIP's


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


@dataclass(frozen=True)
class Saliency:
    """Stand for the saliency of a :class:`SegmenterConfig`, with any method and any question."""

    method: Method
    text: Callable[[Clip, str | Task], Tensor]


def held_out(task: str, sizes: Sizes) -> list[Case]:
    """Draw images that show the target."""
    return target_cases(task, range(sizes.first_held_out, sizes.first_held_out + sizes.held_out))


def components_added(task: str, sizes: Sizes) -> dict[str, Any]:
    """Measure what each stage adds, in the order of the paper's ablation, and what is no part of the method."""
    cases, config, sam, scores = held_out(task, sizes), CONFIGS[MODEL][task], load_sam(MODEL), Scores()
    before, maps = (_maps(name, config, task, cases) for name in (CAPTIONS_ONLY, MODEL))
    for case, untuned, saliency in zip(cases, before, maps, strict=True):
        coarse = coarse_mask(saliency, config.n_structures, clusters=config.clusters)
        boxes = boxes_from_mask(coarse, margin=config.margin)
        rule = largest_dark_spots(case.image, config.n_structures)
        sam.set_image(case.image)
        for name, mask in {
            "saliency, captions only": untuned >= HALF,
            "saliency": saliency >= HALF,
            "+ k-means": binarize(saliency, clusters=config.clusters),
            "+ components": coarse,
            "+ SAM": predict_mask(sam, boxes),
            "filled box": fill_boxes(boxes, case.mask.shape),
            "rule without words": rule,
            "SAM on the rule": predict_mask(sam, boxes_from_mask(rule)),
            "SAM on the true box": predict_mask(sam, np.concatenate([boxes_from_mask(part) for part in case.parts])),
        }.items():
            scores.add(name, mask, case.mask)
    return {
        "finding": [case.finding for case in cases],
        "area": [round(float(case.mask.mean()), 5) for case in cases],
        "pointing": [int(points_at(saliency, case.mask)) for case, saliency in zip(cases, maps, strict=True)],
        "scores": scores.by_name,
    }


def saliency_methods(task: str, sizes: Sizes) -> dict[str, Any]:
    """Take each method through the same later stages, with both CLIPs; and the first version of the whole."""
    cases, config, scores = held_out(task, sizes), CONFIGS[MODEL][task], Scores()
    cams = {"gScoreCAM": partial(gscore_cam, channels=CHANNELS), "GradCAM": grad_cam}
    configs = {
        "M2IB": config,
        **{n: replace(config, saliency=Saliency(as_preset(m, task), config.saliency.text)) for n, m in cams.items()},
        "first version": V1_CONFIGS[MODEL][task],
    }
    for model, suffix in ((CAPTIONS_ONLY, ", captions only"), (MODEL, "")):
        for name, changed in configs.items():
            _add(scores, name + suffix, cases, _segment(model, changed, task, cases))
    return {"scores": scores.by_name}


def text_prompts(task: str, sizes: Sizes) -> dict[str, Any]:
    """Ask with each kind, as one sentence and as an ensemble, all images alike; and with P3 of the image's class."""
    cases, config, scores = held_out(task, sizes), CONFIGS[MODEL][task], Scores()
    preset, prompts = config.saliency, TASKS[task].prompts
    asked = {kind: prompts[kind][:1] for kind in PROMPT_KINDS}
    asked |= {f"{kind}, ensemble": prompts[kind] for kind in PROMPT_KINDS if len(prompts[kind]) > 1}
    for name, sentences in asked.items():
        _add(scores, name, cases, _segment(MODEL, replace(config, saliency=_asking(preset, sentences)), task, cases))
    ensemble = replace(config, saliency=replace(preset, prompts=PROMPT_KINDS))
    _add(scores, "all kinds", cases, _segment(MODEL, ensemble, task, cases))
    found: dict[str, Segmentation] = {}
    for finding, sentences in TASKS[task].class_prompts.items():
        alike = [case for case in cases if case.finding == finding]
        changed = replace(config, saliency=_asking(preset, sentences))
        found |= {case.name: one for case, one in zip(alike, _segment(MODEL, changed, task, alike), strict=True)}
    _add(scores, "P3, class known", cases, [found[case.name] for case in cases])
    return {"scores": scores.by_name}


def visual_prompts(task: str, sizes: Sizes) -> dict[str, Any]:
    """Ask SAM in several ways from the same coarse masks, and combine its three answers in several ways."""
    cases, config, sam, scores = held_out(task, sizes), CONFIGS[MODEL][task], load_sam(MODEL), Scores()
    for case, found in zip(cases, _segment(MODEL, config, task, cases), strict=True):
        parts = components(found.coarse)
        inside, anywhere = (
            [points_from_mask(part, config.n_points, where=where) for part in parts] for where in ("inside", "random")
        )
        sam.set_image(case.image)
        asked = {
            "boxes": {"boxes": found.boxes},
            "boxes, no margin": {"boxes": boxes_from_mask(found.coarse)},
            "one box for all": {"boxes": boxes_from_mask(found.coarse, per_component=False, margin=config.margin)},
            "points well inside": {"points": inside},
            "points anywhere": {"points": anywhere},
            "boxes and points": {"boxes": found.boxes, "points": inside},
            **{f"boxes, {vote}": {"boxes": found.boxes, "vote": vote} for vote in VOTES[1:]},
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
        answers = _segment(MODEL, CONFIGS[MODEL][task], task, cases)
        for case, found in zip(cases, answers, strict=True):
            scores.add(f"{name}, always answered", found.mask, case.mask)
            scores.add(f"{name}, answered if present", found.mask & found.present, case.mask)
        reported[name] = [int(found.present) for found in answers]
    return {"reported": reported, "scores": scores.by_name}


PARTS = (components_added, saliency_methods, text_prompts, visual_prompts, absent_targets)


def evaluate(sizes: Sizes, work: Path, results: Path | None = None, processes: int = 1) -> Path:
    """Measure all parts that are not done yet, and write the results."""
    found = measure(PARTS, sizes, work, processes)
    path = results or work / "zero_shot.json"
    about = {"model": MODEL, "sizes": asdict(sizes), "tolerance": TOLERANCE, **machine()}
    write_json(path, {**about, **found}, indent=None)
    print(f"wrote {path}", flush=True)
    return path


def main(arguments: list[str] | None = None) -> None:
    options = options_of(arguments, __doc__, "zero_shot")
    evaluate(QUICK if options.quick else Sizes(), options.folder, options.results, options.processes)


def _asking(preset: Preset, sentences: Sequence[str]) -> Saliency:
    """Give a preset other words."""

    def text(clip: Clip, task: str | Task) -> Tensor:
        known = replace(TASKS[task] if isinstance(task, str) else task, prompts={"asked": tuple(sentences)})
        return replace(preset, prompts=("asked",)).text(clip, known)

    return Saliency(preset.method, text)


def _maps(model: str, config: SegmenterConfig, task: str, cases: Sequence[Case]) -> list[np.ndarray]:
    clip = load_clip(model)
    return config.saliency.method(clip, [case.image for case in cases], config.saliency.text(clip, task))


def _segment(model: str, config: SegmenterConfig, task: str, cases: Sequence[Any]) -> list[Segmentation]:
    """Segment cases or samples: anything that has an ``image``."""
    segmenter = Segmenter(load_clip(model), load_sam(MODEL), config)
    return segmenter.segment_batch([case.image for case in cases], task=task)


def _add(scores: Scores, name: str, cases: Sequence[Case], answers: Sequence[Segmentation]) -> None:
    for case, found in zip(cases, answers, strict=True):
        scores.add(name, found.mask, case.mask)


if __name__ == "__main__":
    main()
