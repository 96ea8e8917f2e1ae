"""Judge the way from words to a mask: where saliency lies, and how good the mask is that SAM makes of it.

Saliency (M2IB) → coarse mask (k-means) → a box around each component → SAM. Beside the right prompt stand two wrong
ones, "not there" and another organ's target: a map that follows the words lies on the target for the right one only.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass, fields
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from segment_anything import SamPredictor

from medclipsam_utils import TASKS, saliency
from medclipsam_utils.metrics import dice
from medclipsam_utils.models import Clip
from medclipsam_utils.pipeline import CONFIGS
from medclipsam_utils.postprocess import coarse_mask
from medclipsam_utils.saliency import coverage, points_at
from medclipsam_utils.visual_prompts import boxes_from_mask, predict_mask

from ..data.cases import Case
from .sam import fill_boxes, segment_zoomed
from .tables import column, compare, show, show_difference, summarise, table
from .wordless_rule import largest_dark_spots

CLUSTERS = (2, 3)
MARGINS = (-0.1, 0.0, 0.1)
BATCH = 25  # images per call of the bottleneck
OTHER_TASK = MappingProxyType(
    {"breast_ultrasound": "brain_mri", "brain_mri": "lung_ct", "lung_xray": "brain_mri", "lung_ct": "breast_ultrasound"}
)
PROMPTS = ("right", "absent", "other organ")


@dataclass(frozen=True)
class Preset:
    """Say how a task's saliency is made and read; ``choose_saliency.py`` chose it on validation seeds.

    Attributes:
        saliency: how the map is made.
        clusters: number of k-means clusters, one of :data:`CLUSTERS`.
        margin: fraction of the coarse mask's box by which each side is moved outward, one of :data:`MARGINS`.
    """

    saliency: saliency.Preset
    clusters: int
    margin: float


PRESETS: Mapping[str, Preset] = MappingProxyType(
    {task: Preset(config.saliency, config.clusters, config.margin) for task, config in CONFIGS["tiny"].items()}
)


def score_saliency(
    clip: Clip, predictor: SamPredictor, task: str, cases: Sequence[Case], preset: Preset
) -> Iterator[dict[str, Any]]:
    """Take every measure of every case, one dict per case."""
    texts = text_features(clip, task, preset.saliency)
    for start in range(0, len(cases), BATCH):
        batch = cases[start : start + BATCH]
        images = [case.image for case in batch]
        maps = {name: preset.saliency.method(clip, images, text) for name, text in texts.items()}
        for number, case in enumerate(batch):
            yield _score(predictor, {name: maps[name][number] for name in maps}, case, task, preset)


def text_features(clip: Clip, task: str, preset: saliency.Preset) -> dict[str, torch.Tensor]:
    """Encode what each of :data:`PROMPTS` asks for: float32 [D] of length 1.

    Against the absent prompt, the right prompt is told from "not there", "not there" from the right prompt, and another
    organ's target from its own absence.
    """
    right, other = preset.text(clip, task), preset.text(clip, OTHER_TASK[task])
    absent = -right if preset.against_absent else saliency.mean_features(clip, TASKS[task].absent_prompt)
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


def summarise_saliency(rows: Sequence[dict[str, Any]], preset: Preset) -> dict[str, Any]:
    """Average each measure, and compare right with wrong prompts (coverage) and the pipeline with the rule (DSC)."""
    names = [name for name in rows[0] if name not in ("name", "finding")]
    means = {name: summarise(column(rows, name)) for name in names}
    right = column(rows, "coverage, right")
    pipeline = column(rows, _after_sam(preset.margin))
    return {
        **means,
        **{f"coverage, right − {wrong}": compare(right, column(rows, f"coverage, {wrong}")) for wrong in PROMPTS[1:]},
        "pipeline": means[_after_sam(preset.margin)],
        "pipeline − rule": compare(pipeline, column(rows, "rule")),
        "pipeline − SAM on rule": compare(pipeline, column(rows, "SAM on rule")),
    }


def preset_table(presets: Mapping[str, Preset]) -> str:
    """Show the settings of each task as Markdown."""
    names = [*(field.name for field in fields(saliency.Preset)), "clusters", "margin"]
    rows = [[task, *astuple(preset.saliency), preset.clusters, preset.margin] for task, preset in presets.items()]
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
    predictor: SamPredictor, maps: dict[str, np.ndarray], case: Case, task: str, preset: Preset
) -> dict[str, Any]:
    count = TASKS[task].n_structures
    row: dict[str, Any] = {"name": case.name, "finding": case.finding, "target's area": float(case.mask.mean())}
    coarse = {clusters: coarse_mask(maps["right"], count, clusters=clusters) for clusters in CLUSTERS}
    for prompt, saliency_map in maps.items():
        own = (
            coarse[preset.clusters] if prompt == "right" else coarse_mask(saliency_map, count, clusters=preset.clusters)
        )
        row |= {f"{measure}, {prompt}": score for measure, score in score_map(saliency_map, own, case).items()}
    row |= {_by_kmeans(clusters): dice(mask, case.mask) for clusters, mask in coarse.items()}
    chosen, rule = coarse[preset.clusters], largest_dark_spots(case.image, count)
    row["filled coarse box"] = dice(fill_boxes(boxes_from_mask(chosen, n=count), case.mask.shape), case.mask)
    predictor.set_image(case.image)
    for margin in MARGINS:
        row[_after_sam(margin)] = dice(segment_from_mask(predictor, chosen, count, margin), case.mask)
    row["rule"] = dice(rule, case.mask)
    row["SAM on rule"] = dice(segment_from_mask(predictor, rule, count, margin=0.0), case.mask)
    boxes = boxes_from_mask(chosen, margin=preset.margin, n=count)
    row["pipeline, zoomed"] = dice(segment_zoomed(predictor, case.image, boxes), case.mask)
    return row
