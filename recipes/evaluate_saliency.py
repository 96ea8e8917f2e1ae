"""From words to a mask: where the saliency of a prompt lies, and how good the mask is that SAM makes of it.

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

from medclipsam_utils import TASKS
from medclipsam_utils.metrics import dice
from medclipsam_utils.models import Clip
from medclipsam_utils.saliency import Bottleneck, patch_information

from .evaluate_clip import mean_prompt
from .evaluate_sam import fill_boxes, move_sides, segment_boxes, segment_zoomed
from .evaluation_cases import Case, largest_parts
from .evaluation_tables import column, compare, show, show_difference, summarise, table
from .saliency_masks import coarse_mask, coverage, points_at, upsample
from .sam_prompts import box_of
from .wordless_rule import largest_dark_spots

CLUSTERS = (2, 3)
MARGINS = (-0.1, 0.0, 0.1)
BATCH = 25  # images a call of the bottleneck
SAMPLES = 5  # of noise a step: half of the published number, in half of the time
# A small lesion is smaller than a patch, and the middle of its patch may lie beside it. Maps of views that are moved by
# half a patch down, to the right, or both, put together see four times as many places.
SHIFTS = ((0.0, 0.0), (0.5, 0.0), (0.0, 0.5), (0.5, 0.5))  # in patches: down, right
OTHER_TASK = MappingProxyType(
    {"breast_ultrasound": "brain_mri", "brain_mri": "lung_ct", "lung_xray": "brain_mri", "lung_ct": "breast_ultrasound"}
)
PROMPTS = ("right", "absent", "other organ")


@dataclass(frozen=True)
class Preset:
    """How a task's saliency is made and read; chosen on validation seeds by ``choose_saliency.py``.

    Attributes:
        prompt: kind of the prompts whose mean is asked, ``"P0"`` to ``"P3"``.
        layer: block, from 0, after which the bottleneck sits.
        beta: price of information.
        clusters: of k-means, one of :data:`CLUSTERS`.
        margin: share of the coarse mask's box by which each side is moved outward, one of :data:`MARGINS`.
        against_absent: ask for the direction from the absent prompt to the prompt, instead of the prompt alone.
    """

    prompt: str
    layer: int
    beta: float
    clusters: int
    margin: float
    against_absent: bool = False


PRESETS: Mapping[str, Preset] = MappingProxyType(
    {
        "breast_ultrasound": Preset("P2", layer=5, beta=0.1, clusters=2, margin=0.0, against_absent=True),
        "brain_mri": Preset("P2", layer=5, beta=0.1, clusters=3, margin=0.0),
        "lung_xray": Preset("P2", layer=5, beta=0.03, clusters=2, margin=0.1, against_absent=True),
        "lung_ct": Preset("P0", layer=5, beta=0.01, clusters=3, margin=0.0),
    }
)


def score_saliency(
    clip: Clip, predictor: SamPredictor, task: str, cases: Sequence[Case], preset: Preset
) -> Iterator[dict[str, Any]]:
    """Every measure of every case, one dict a case."""
    texts = text_features(clip, task, preset)
    for start in range(0, len(cases), BATCH):
        batch = cases[start : start + BATCH]
        maps = {name: saliency_maps(clip, batch, text, preset) for name, text in texts.items()}
        for number, case in enumerate(batch):
            yield _score(predictor, {name: maps[name][number] for name in maps}, case, task, preset)


def text_features(clip: Clip, task: str, preset: Preset) -> dict[str, torch.Tensor]:
    """What is asked for by each of :data:`PROMPTS`, float32 [D] of length 1.

    Against the absent prompt, the right prompt is told from "not there", "not there" from the right prompt, and another
    organ's target from its own absence.
    """
    other = OTHER_TASK[task]
    right, absent, of_other, absent_other = (
        prompt_features(clip, sentences)
        for name in (task, other)
        for sentences in (TASKS[name].prompts[preset.prompt], [TASKS[name].absent_prompt])
    )
    if not preset.against_absent:
        return dict(zip(PROMPTS, (right, absent, of_other), strict=True))
    directions = (right - absent, absent - right, of_other - absent_other)
    return {name: direction / direction.norm() for name, direction in zip(PROMPTS, directions, strict=True)}


def prompt_features(clip: Clip, sentences: Sequence[str]) -> torch.Tensor:
    """The mean prompt, float32 [D] of length 1, where the model is."""
    return torch.from_numpy(mean_prompt(clip, sentences)).to(clip.device)


def saliency_maps(clip: Clip, cases: Sequence[Case], text: torch.Tensor, preset: Preset) -> list[np.ndarray]:
    """A map float32 [H, W], 0 at its lowest, of each case: the mean over the views of :data:`SHIFTS`."""
    totals = [np.zeros((2, *case.mask.shape), dtype=np.float32) for case in cases]  # sum of the maps, number of maps
    for shift in SHIFTS:
        steps = [tuple(moved_by(shift, case.mask.shape, clip.grid_size)) for case in cases]
        views = [move(case.image, *step) for case, step in zip(cases, steps, strict=True)]
        bottleneck = Bottleneck(preset.beta, samples=SAMPLES, standardize=True)
        grids = patch_information(clip, views, text, preset.layer, bottleneck).cpu().numpy()
        for total, grid, (down, right) in zip(totals, grids, steps, strict=True):
            height, width = total.shape[1:]
            back = upsample(grid, (height, width))[down:, right:]
            total[:, : height - down, : width - right] += np.stack([back, np.ones_like(back)])
    means = [total[0] / total[1] for total in totals]
    return [mean - mean.min() for mean in means]


def moved_by(shift: tuple[float, float], shape: tuple[int, int], grid: tuple[int, int]) -> list[int]:
    """Rows and columns, in pixels of an image of this shape, of a shift in patches of the grid."""
    return [round(part * size / patches) for part, size, patches in zip(shift, shape, grid, strict=True)]


def move(image: np.ndarray, down: int, right: int) -> np.ndarray:
    """An image [H, W, 3] moved down and to the right; what comes in repeats the edge."""
    padded = np.pad(image, ((down, 0), (right, 0), (0, 0)), mode="edge")
    return np.ascontiguousarray(padded[: image.shape[0], : image.shape[1]])


def score_map(saliency_map: np.ndarray, coarse: np.ndarray, case: Case) -> dict[str, float]:
    """Pointing, coverage and coarse DSC of one map and its coarse mask."""
    return {
        "pointing": float(points_at(saliency_map, case.mask)),
        "coverage": coverage(saliency_map, case.mask),
        "coarse DSC": dice(coarse, case.mask),
    }


def coarse_boxes(coarse: np.ndarray, n_structures: int) -> list[np.ndarray]:
    """A box around each component of a coarse mask; none if it is empty."""
    return [box_of(part) for part in largest_parts(coarse, n_structures)]


def segment_from_mask(predictor: SamPredictor, coarse: np.ndarray, n_structures: int, margin: float) -> np.ndarray:
    """SAM's mask from the boxes around a coarse mask, on the image that was set."""
    boxes = coarse_boxes(coarse, n_structures)
    return segment_boxes(predictor, [move_sides(box, margin, coarse.shape) for box in boxes])


def summarise_saliency(rows: Sequence[dict[str, Any]], preset: Preset) -> dict[str, Any]:
    """Means by measure, and comparisons: right with wrong prompts (coverage), pipeline with the rule (DSC)."""
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
    """Markdown: the settings of each task."""
    names = [field.name for field in fields(Preset)]
    return table(["task", *names], [[task, *astuple(preset)] for task, preset in presets.items()])


def words_table(summaries: dict[str, dict[str, Any]]) -> str:
    """Markdown: what the map makes of right and wrong words, a column a task."""
    names = [f"{measure}, {prompt}" for measure in ("pointing", "coverage", "coarse DSC") for prompt in PROMPTS]
    rows = [[name, *(show(summary[name]) for summary in summaries.values())] for name in (*names, "target's area")]
    for wrong in PROMPTS[1:]:
        name = f"coverage, right − {wrong}"
        rows.append([name, *(show_difference(summary[name]) for summary in summaries.values())])
    return table(["measure", *summaries], rows)


def mask_table(summaries: dict[str, dict[str, Any]]) -> str:
    """Markdown: DSC from the coarse mask to the pipeline's result, and the rule without words, a column a task."""
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
    coarse = {clusters: coarse_mask(maps["right"], clusters, count) for clusters in CLUSTERS}
    for prompt, saliency_map in maps.items():
        own = coarse[preset.clusters] if prompt == "right" else coarse_mask(saliency_map, preset.clusters, count)
        row |= {f"{measure}, {prompt}": score for measure, score in score_map(saliency_map, own, case).items()}
    row |= {_by_kmeans(clusters): dice(mask, case.mask) for clusters, mask in coarse.items()}
    chosen, rule = coarse[preset.clusters], largest_dark_spots(case.image, count)
    row["filled coarse box"] = dice(fill_boxes(coarse_boxes(chosen, count), case.mask.shape), case.mask)
    predictor.set_image(case.image)
    for margin in MARGINS:
        row[_after_sam(margin)] = dice(segment_from_mask(predictor, chosen, count, margin), case.mask)
    row["rule"] = dice(rule, case.mask)
    row["SAM on rule"] = dice(segment_from_mask(predictor, rule, count, margin=0.0), case.mask)
    boxes = [move_sides(box, preset.margin, case.mask.shape) for box in coarse_boxes(chosen, count)]
    row["pipeline, zoomed"] = dice(segment_zoomed(predictor, case.image, boxes), case.mask)
    return row
