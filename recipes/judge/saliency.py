"""Judge the way from words to a mask: where saliency lies, and how good the mask is that SAM makes of it.

Saliency (M2IB) → coarse mask (k-means) → a box around each component → SAM. Beside the right prompt stand two wrong
ones, "not there" and another organ's target: a map that follows the words lies on the target for the right one only.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import astuple, fields
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from segment_anything import SamPredictor

from medclipsam_utils import TASKS
from medclipsam_utils.metrics import dice
from medclipsam_utils.models import Clip, embed
from medclipsam_utils.pipeline import Question, Segmentation, saliency_maps, segment
from medclipsam_utils.postprocess import coarse_mask
from medclipsam_utils.saliency import coverage, mean_features, points_at
from medclipsam_utils.settings import M2IB, Settings
from medclipsam_utils.visual_prompts import boxes_from_mask, predict_mask, predict_zoomed

from ..data.cases import Case
from .sam import fill_boxes
from .tables import column, compare, show, show_difference, summarise, table
from .wordless_rule import largest_dark_spots

CLUSTERS = (2, 3)
MARGINS = (-0.1, 0.0, 0.1)
BATCH = 25  # images per call of the bottleneck
OTHER_TASK = MappingProxyType(
    {"breast_ultrasound": "brain_mri", "brain_mri": "lung_ct", "lung_xray": "brain_mri", "lung_ct": "breast_ultrasound"}
)
PROMPTS = ("right", "absent", "other organ")


def score_saliency(
    clip: Clip, predictor: SamPredictor, task: str, cases: Sequence[Case], settings: Settings
) -> Iterator[dict[str, Any]]:
    """Take every measure of every case, one dict per case."""
    texts = text_features(clip, task, settings)
    for start in range(0, len(cases), BATCH):
        batch = cases[start : start + BATCH]
        images = [case.image for case in batch]
        right, *wrong = ([Question(name, text, settings, TASKS[task])] * len(batch) for name, text in texts.items())
        maps = [saliency_maps(clip, images, questions) for questions in wrong]
        for case, answer, *others in zip(batch, segment(clip, predictor, images, right), *maps, strict=True):
            yield _score(predictor, answer, dict(zip(PROMPTS[1:], others, strict=True)), case, task, settings)


def text_features(clip: Clip, task: str, settings: Settings) -> dict[str, torch.Tensor]:
    """Encode what each of :data:`PROMPTS` asks for: float32 [D] of length 1.

    Against the absent prompt, the right prompt is told from "not there", "not there" from the right prompt, and another
    organ's target from its own absence.
    """
    right, other = (settings.text_features(clip, TASKS[name]) for name in (task, OTHER_TASK[task]))
    absent = -right if settings.against_absent else mean_features(clip, TASKS[task].absent_prompt)
    return dict(zip(PROMPTS, (right, absent, other), strict=True))


def score_map(saliency_map: np.ndarray, coarse: np.ndarray, case: Case) -> dict[str, float]:
    """Measure pointing, coverage and coarse DSC of one map and its coarse mask."""
    return {
        "pointing": float(points_at(saliency_map, case.mask)),
        "coverage": coverage(saliency_map, case.mask),
        "coarse DSC": dice(coarse, case.mask),
    }


def segment_from_mask(predictor: SamPredictor, coarse: np.ndarray, n_structures: int, margin: float) -> np.ndarray:
    """Ask SAM with the boxes around a coarse mask, on the image that was set."""
    return predict_mask(predictor, boxes_from_mask(coarse, margin=margin, n=n_structures))


def summarise_saliency(rows: Sequence[dict[str, Any]], settings: Settings) -> dict[str, Any]:
    """Average each measure, and compare right with wrong prompts (coverage) and the pipeline with the rule (DSC)."""
    names = [name for name in rows[0] if name not in ("name", "finding")]
    means = {name: summarise(column(rows, name)) for name in names}
    right = column(rows, "coverage, right")
    pipeline = column(rows, _after_sam(settings.margin))
    return {
        **means,
        **{f"coverage, right − {wrong}": compare(right, column(rows, f"coverage, {wrong}")) for wrong in PROMPTS[1:]},
        "pipeline": means[_after_sam(settings.margin)],
        "pipeline − rule": compare(pipeline, column(rows, "rule")),
        "pipeline − SAM on rule": compare(pipeline, column(rows, "SAM on rule")),
    }


def settings_table(settings: Mapping[str, Settings]) -> str:
    """Show the settings of each task's map as Markdown."""
    names = ["prompts", *(field.name for field in fields(M2IB)), "against_absent", "clusters", "margin"]
    rows = [
        [task, each.prompts, *astuple(each.saliency), each.against_absent, each.clusters, each.margin]
        for task, each in settings.items()
    ]
    return table(["task", *names], rows)


def words_table(summaries: dict[str, dict[str, Any]]) -> str:
    """Show what the map makes of right and wrong words as Markdown, one column per task."""
    names = [f"{measure}, {prompt}" for measure in ("pointing", "coverage", "coarse DSC") for prompt in PROMPTS]
    rows = [[name, *(show(summary[name]) for summary in summaries.values())] for name in (*names, "target's area")]
    for wrong in PROMPTS[1:]:
        name = f"coverage, right − {wrong}"
        rows.append([name, *(show_difference(summary[name]) for summary in summaries.values())])
    return table(["measure", *summaries], rows)


def mask_table(summaries: dict[str, dict[str, Any]]) -> str:
    """Show the DSC of each step and of the rule without words as Markdown, one column per task."""
    names = [*(_by_kmeans(clusters) for clusters in CLUSTERS), "filled coarse box"]
    names += [*(_after_sam(margin) for margin in MARGINS), "pipeline", "pipeline, zoomed", "rule", "SAM on rule"]
    rows = [[name, *(show(summary[name]) for summary in summaries.values())] for name in names]
    for name in ("pipeline − rule", "pipeline − SAM on rule"):
        rows.append([name, *(show_difference(summary[name]) for summary in summaries.values())])
    rows.append(["images", *(summary["rule"]["n"] for summary in summaries.values())])
    return table(["DSC", *summaries], rows)


def _by_kmeans(clusters: int) -> str:
    return f"coarse mask, {clusters} clusters"


def _after_sam(margin: float) -> str:
    return f"SAM, box {margin:+.0%}" if margin else "SAM, box"


def _score(
    predictor: SamPredictor,
    answer: Segmentation,
    others: Mapping[str, np.ndarray],
    case: Case,
    task: str,
    settings: Settings,
) -> dict[str, Any]:
    """Score the answer to the right prompt, the maps of the others, and what the method's steps give otherwise."""
    count, right = TASKS[task].n_structures, answer.saliency
    row: dict[str, Any] = {"name": case.name, "finding": case.finding, "target's area": float(case.mask.mean())}
    coarse = {"right": answer.coarse}
    coarse |= {name: coarse_mask(each, count, clusters=settings.clusters) for name, each in others.items()}
    for prompt, saliency in {"right": right, **others}.items():
        row |= {f"{measure}, {prompt}": score for measure, score in score_map(saliency, coarse[prompt], case).items()}
    row |= {_by_kmeans(n): dice(coarse_mask(right, count, clusters=n), case.mask) for n in CLUSTERS}
    rule = largest_dark_spots(case.image, count)
    row["filled coarse box"] = dice(fill_boxes(boxes_from_mask(answer.coarse, n=count), case.mask.shape), case.mask)
    embed(predictor, case.image)
    for margin in MARGINS:
        row[_after_sam(margin)] = dice(segment_from_mask(predictor, answer.coarse, count, margin), case.mask)
    row["rule"] = dice(rule, case.mask)
    row["SAM on rule"] = dice(segment_from_mask(predictor, rule, count, margin=0.0), case.mask)
    row["pipeline, zoomed"] = dice(predict_zoomed(predictor, case.image, answer.boxes), case.mask)
    return row
