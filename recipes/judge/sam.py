"""Judge how well a SAM segments a target that it is shown: by boxes and points taken from the true mask.

The score is the Dice coefficient (DSC) of the whole target: lungs are prompted one by one and the union of the answers
counts. A box says much by itself, and so the *filled box* stands beside every box: the box taken for the mask.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from segment_anything import SamPredictor

from medclipsam_utils.metrics import dice
from medclipsam_utils.visual_prompts import box_of, predict_mask, predict_zoomed

from ..data.cases import Case
from ..data.prompts import points_in
from .tables import column, compare, show, show_difference, summarise, table

TRUE_BOX, MOVED, OUTWARD = "true box", "box, sides ± 10 %", "box, sides out 0–30 %"
ZOOMED = "true box, zoomed"
BOX_KINDS = {TRUE_BOX: (0.0, 0.0), MOVED: (-0.1, 0.1), OUTWARD: (0.0, 0.3)}
POINT_KINDS = {"1 point": 1, "10 points": 10}
FILLED = "filled "
COLUMNS = (TRUE_BOX, ZOOMED, FILLED + TRUE_BOX, MOVED, FILLED + MOVED, OUTWARD, FILLED + OUTWARD, *POINT_KINDS)


def score_sam(predictor: SamPredictor, cases: Sequence[Case]) -> Iterator[dict[str, Any]]:
    """Measure the DSC of every case by prompt (:data:`COLUMNS`), one dict per case."""
    for number, case in enumerate(cases):
        yield _score(predictor, case, np.random.default_rng(number))


def summarise_sam(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Average by prompt, and compare the true box, as it is and zoomed in on, with the same box filled."""
    means = {name: summarise(column(rows, name)) for name in COLUMNS}
    filled = column(rows, FILLED + TRUE_BOX)
    return {**means, "gain": {name: compare(column(rows, name), filled) for name in (TRUE_BOX, ZOOMED)}}


def sam_table(summaries: dict[str, dict[str, Any]]) -> str:
    """Show the scores as Markdown: one row per prompt, one column per task."""
    tasks = list(summaries)
    rows = [[name, *(show(summaries[task][name]) for task in tasks)] for name in COLUMNS]
    for name in (TRUE_BOX, ZOOMED):
        gains = (show_difference(summaries[task]["gain"][name]) for task in tasks)
        rows.append([f"{name} − {FILLED}{TRUE_BOX}", *gains])
    rows.append(["images", *(summaries[task][TRUE_BOX]["n"] for task in tasks)])
    return table(["prompt", *tasks], rows)


def segment_points(predictor: SamPredictor, points_of_parts: Sequence[np.ndarray]) -> np.ndarray:
    """Unite SAM's masks for points on each part, [P, 2] as (x, y), to bool [H, W].

    One point may mean a part or the whole: SAM gives three masks, and the one that it thinks best is taken.
    """
    answers = []
    for points in points_of_parts:
        labels = np.ones(len(points), dtype=int)
        masks, qualities, _ = predictor.predict(points, labels, multimask_output=len(points) == 1)
        answers.append(masks[qualities.argmax()])
    return np.any(answers, axis=0)


def fill_boxes(boxes: Sequence[np.ndarray], shape: tuple[int, int]) -> np.ndarray:
    """Fill boxes (x0, y0, x1, y1) to a mask, bool [H, W]; sides between two pixels go to the nearer one."""
    filled = np.zeros(shape, dtype=bool)
    for box in boxes:
        x0, y0, x1, y1 = np.rint(box).astype(int)
        filled[y0:y1, x0:x1] = True
    return filled


def move_sides(box: np.ndarray, outward: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Move each side of a box outward, but not out of the image.

    Args:
        box: float [4] as (x0, y0, x1, y1) in pixels; x1 and y1 are the last column and row plus 1.
        outward: float [4] in the same order, or one number: fractions of the box's width or height, negative is inward.
        shape: (rows, columns) of the image.
    """
    width, height = box[2] - box[0], box[3] - box[1]
    moved = box + outward * np.array([-width, -height, width, height])
    return np.clip(moved, 0, [shape[1], shape[0]] * 2).astype(np.float32)


def _score(predictor: SamPredictor, case: Case, rng: np.random.Generator) -> dict[str, Any]:
    predictor.set_image(case.image)
    shape, boxes = case.mask.shape, [box_of(part) for part in case.parts]
    row: dict[str, Any] = {"name": case.name, "finding": case.finding}
    for name, (low, high) in BOX_KINDS.items():
        moved = [move_sides(box, rng.uniform(low, high, 4), shape) for box in boxes]
        row[name] = dice(predict_mask(predictor, moved), case.mask)
        row[FILLED + name] = dice(fill_boxes(moved, shape), case.mask)
    for name, count in POINT_KINDS.items():
        points = [points_in(part, count, rng) for part in case.parts]
        row[name] = dice(segment_points(predictor, points), case.mask)
    row[ZOOMED] = dice(predict_zoomed(predictor, case.image, np.stack(boxes)), case.mask)
    return row
