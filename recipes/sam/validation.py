"""Measure how well the small SAM segments simulated images it has not seen, beside the filled box.

The DSC (Dice similarity coefficient) of an image is that of its whole target: lungs are prompted one by one, and the
union of the answers counts.
"""

from __future__ import annotations

import numpy as np
import torch
from segment_anything.modeling import Sam
from torch.nn import functional as F

from medclipsam_utils import TASKS
from medclipsam_utils.metrics import dice
from medclipsam_utils.visual_prompts import box_of

from ..data.images import Images
from ..data.prompts import Prompts, points_in
from ..judge.sam import fill_boxes, move_sides
from .examples import target_masks
from .steps import decode, embed

FILLED_BOX = "filled box"
PROMPTED = ("box", "box ± 10 %", "box + up to 30 %", "1 point", "10 points")


@torch.no_grad()
def evaluate(sam: Sam, images: Images, per_task: int, shrink: int = 1, seed: int = 0) -> dict[str, dict[str, float]]:
    """Average the DSC by task and prompt, over the first ``per_task`` images of each task that hold its target.

    For one point the model gives three masks, and the one whose IoU it thinks highest is taken. With ``shrink`` 2
    the model sees the images at half their size, as in the first part of its training.
    """
    was_training = sam.training
    sam.eval()
    table = {}
    for task in TASKS:
        numbers = [n for n, fact in enumerate(images.facts) if fact["task"] == task and fact["present"]][:per_task]
        rows = [_scores(sam, images, number, np.random.default_rng([seed, number]), shrink) for number in numbers]
        table[task] = {name: round(float(np.mean([row[name] for row in rows])), 4) for name in (FILLED_BOX, *PROMPTED)}
    sam.train(was_training)
    return table


def _scores(sam: Sam, images: Images, number: int, rng: np.random.Generator, shrink: int) -> dict[str, float]:
    targets = target_masks(images, number)
    truth, boxes = images.mask(number), [box_of(target) for target in targets]
    pixels = torch.from_numpy(images.pixels[number : number + 1].astype(np.float32))  # [1, 256, 256]
    embedding = embed(sam, F.avg_pool2d(pixels, shrink))
    prompts = dict(
        zip(
            PROMPTED,
            (
                Prompts(boxes=np.stack(boxes)),
                Prompts(boxes=np.stack([move_sides(box, rng.uniform(-0.1, 0.1, 4), truth.shape) for box in boxes])),
                Prompts(boxes=np.stack([move_sides(box, rng.uniform(0.0, 0.3, 4), truth.shape) for box in boxes])),
                _points(targets, 1, rng),
                _points(targets, 10, rng),
            ),
            strict=True,
        )
    )
    answers = {name: _answer(sam, embedding, prompt, name == "1 point") for name, prompt in prompts.items()}
    answers[FILLED_BOX] = fill_boxes(boxes, truth.shape)
    return {name: dice(answer, truth) for name, answer in answers.items()}


def _answer(sam: Sam, embedding: torch.Tensor, prompts: Prompts, ambiguous: bool) -> np.ndarray:
    """Unite the masks for K prompts, bool [256, 256]."""
    logits, qualities = decode(sam, embedding, prompts)
    best = 1 + qualities[:, 1:].argmax(dim=1) if ambiguous else torch.zeros(len(logits), dtype=torch.long)
    chosen = logits[torch.arange(len(logits)), best][:, None]
    size = sam.image_encoder.img_size
    fine = F.interpolate(chosen, (size, size), mode="bilinear", align_corners=False)[:, 0]
    return (fine > sam.mask_threshold).any(dim=0).numpy()


def _points(targets: list[np.ndarray], count: int, rng: np.random.Generator) -> Prompts:
    points = np.stack([points_in(target, count, rng) for target in targets])
    return Prompts(points=points, labels=np.ones(points.shape[:2], dtype=np.int64))
