"""Which layer, which β? Choosing settings with a few masks, or without.

The released code tries settings on three validation images and keeps those with the best Dice against their masks. That
is sensible, and it uses labels: what was called zero-shot has seen three of them. :func:`tune` does the same, and says
so in its result. Without masks it takes the settings whose maps explain the model best, by deletion and insertion
(:func:`~medclipsam_utils.saliency.deletion_insertion`): a map may be faithful to a model that looks at the wrong place.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from ..images import Image, pixels_of
from ..models import Clip
from ..runs.checkpoints import weights_digest
from ..runs.files import write_json
from ..saliency import best_dice, deletion_insertion
from ..tasks import Task, get_task
from .saliency import M2IB
from .segmenter import Settings


@dataclass(frozen=True)
class Trial:
    """Settings that were tried, and how good their maps are.

    Attributes:
        settings: what was tried.
        score: mean over the images, larger is better.
        uses_labels: whether the score came from masks.
    """

    settings: Settings
    score: float
    uses_labels: bool


def settings_grid(
    prompts: Sequence[tuple[str, ...]],
    layers: Sequence[int],
    betas: Sequence[float],
    variances: Sequence[float] = (1.0,),
    *,
    against_absent: bool = False,
    **others: Any,
) -> list[Settings]:
    """Combine all values of some settings of M2IB.

    Args:
        prompts: kinds of prompts, each choice a tuple.
        layers, betas, variances: values to combine.
        against_absent: the same in all combinations, see :class:`Settings`.
        others: likewise, see :class:`M2IB`.
    """
    return [
        Settings(M2IB(layer, beta, variance, **others), kinds, against_absent)
        for kinds, layer, beta, variance in itertools.product(prompts, layers, betas, variances)
    ]


def tune(
    clip: Clip,
    task: str | Task,
    images: Sequence[Image],
    settings: Sequence[Settings],
    masks: Sequence[np.ndarray] | None = None,
    *,
    cache: str | Path | None = None,
    progress: bool = True,
) -> list[Trial]:
    """Try settings on some images.

    Args:
        clip: the model that the settings are for.
        task: one of ``TASKS``, or your own, whose prompts are asked.
        images: B of them that show the target, 1 or more; ten say more than three.
        settings: what to try, for example :func:`settings_grid`.
        masks: bool [H, W] of the target in each image. With them the score is
            :func:`~medclipsam_utils.saliency.best_dice`, and **labels are used**. None scores without labels, by the
            mean of :attr:`Faithfulness.score <medclipsam_utils.saliency.Faithfulness.score>`.
        cache: a JSON file that keeps what was tried: a call with the same model, prompts, images and masks takes its
            scores from there, also after an interruption. None keeps nothing.
        progress: show a progress bar.

    Returns:
        A trial for each of the settings, best first; of equal ones the first given.

    Raises:
        ValueError: there are no images or no settings, or another number of masks than of images.
    """
    if not len(images) or not len(settings):
        raise ValueError(f"there are {len(images)} images and {len(settings)} settings: give at least one of each")
    if masks is not None and len(masks) != len(images):
        raise ValueError(f"there are {len(masks)} masks for {len(images)} images: give one per image")
    task = get_task(task)
    kept, path = {}, None if cache is None else Path(cache)
    if path is not None and path.exists():
        kept = json.loads(path.read_text(encoding="utf-8"))
    data = _fingerprint(clip, images, masks) if path is not None else ""
    trials = []
    for tried in tqdm(settings, "settings", disable=not progress):
        text = tried.text_features(clip, task)
        sentences = [task.prompts[kind] for kind in tried.prompts or task.prompts]
        key = f"{data} {task.name} {json.dumps([asdict(tried), sentences, task.absent_prompt])}"
        if key not in kept:
            maps = tried.saliency.method(clip, images, text)
            if masks is None:
                score = deletion_insertion(clip, images, text, maps).score.mean()
            else:
                score = np.mean([best_dice(saliency, mask) for saliency, mask in zip(maps, masks, strict=True)])
            kept[key] = float(score)
            if path is not None:
                path.parent.mkdir(parents=True, exist_ok=True)
                write_json(path, kept)
        trials.append(Trial(tried, kept[key], masks is not None))
    return sorted(trials, key=lambda trial: -trial.score)


def _fingerprint(clip: Clip, images: Sequence[Image], masks: Sequence[np.ndarray] | None) -> str:
    """Digest weights, images and masks."""
    digest = hashlib.sha256(weights_digest(clip.model).encode())
    for array in [*(pixels_of(image) for image in images), *([] if masks is None else masks)]:
        digest.update(str(array.shape).encode() + np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:16]
