"""Masks from the zero-shot method, as labels: which of them may be trusted?

A segmenter learns from many imperfect labels what they have in common. Errors that differ from image to image average
out; errors that all labels share are learned as well. So the labels that are wrong altogether are better left out, and
without knowing the truth two things tell them: the target is reported **absent**, and SAM's answers to a **box** and to
**points** from the same coarse mask do not agree.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from tqdm.auto import tqdm

from ..images import Image, pixels_of
from ..metrics import dice
from ..models import embed
from ..pipeline import Segmentation, Segmenter
from ..postprocess import components
from ..tasks import Task
from ..visual_prompts import boxes_from_mask, points_from_mask, predict_mask


@dataclass(frozen=True, eq=False)
class PseudoLabels:
    """Labels that nobody drew.

    Attributes:
        masks: bool [H, W], one per image.
        agreement: float64 [N], DSC of SAM's answers to a box and to points, from 0 to 1; 0 for an empty mask.
        present: bool [N], whether the target is reported; True where that is not known.
    """

    masks: tuple[np.ndarray, ...]
    agreement: np.ndarray
    present: np.ndarray

    def __repr__(self) -> str:
        empty = sum(not mask.any() for mask in self.masks)
        return f"PseudoLabels({len(self.masks)} masks; empty: {empty}, reported absent: {int((~self.present).sum())})"

    def trusted(self, fraction: float = 0.8) -> np.ndarray:
        """Choose the labels to train on: their numbers in ascending order, int [K].

        They have the highest agreement of those whose target is not reported absent, and are at most ``fraction`` of
        all labels; empty masks are left out.

        Raises:
            ValueError: fraction is out of range, or no label is left.
        """
        if not 0 < fraction <= 1:
            raise ValueError(f"fraction is {fraction}: give a number above 0, up to 1")
        usable = np.flatnonzero(self.present & np.array([mask.any() for mask in self.masks], dtype=bool))
        if not len(usable):
            raise ValueError(
                f"of {len(self.masks)} labels none is left: all are empty, or their targets reported absent. Look at "
                "the images and the text"
            )
        best = usable[np.argsort(-self.agreement[usable], kind="stable")]
        return np.sort(best[: max(1, int(fraction * len(self.masks)))])


def make_pseudo_labels(
    segmenter: Segmenter,
    images: Sequence[Image],
    text: str | Sequence[str] | None = None,
    *,
    task: str | Task | None = None,
    batch_size: int = 8,
    progress: bool = True,
) -> PseudoLabels:
    """Segment a training set, and say how far each mask may be trusted.

    Args:
        segmenter: segmenter with any models.
        images: N images as :meth:`~medclipsam_utils.pipeline.Segmenter.segment` takes them; none gives no labels.
        text, task: as there.
        batch_size: images that are seen together.
        progress: show a bar.
    """
    masks, agreement, present = [], [], []
    with tqdm(total=len(images), disable=not progress, unit="image") as bar:
        for start in range(0, len(images), batch_size):
            batch = list(images[start : start + batch_size])
            for image, found in zip(batch, segmenter.segment_each(batch, text, task=task), strict=True):
                masks.append(found.mask)
                agreement.append(_agreement(segmenter, image, found))
                present.append(found.present is not False)
            bar.update(len(batch))
    return PseudoLabels(tuple(masks), np.array(agreement, dtype=float), np.array(present, dtype=bool))


def _agreement(segmenter: Segmenter, image: Image, found: Segmentation) -> float:
    """DSC of the mask with SAM's answer to the other kind of visual prompt."""
    if not found.mask.any():
        return 0.0
    embed(segmenter.sam, pixels_of(image))
    if found.points:
        other = predict_mask(segmenter.sam, boxes_from_mask(found.coarse))
    else:
        other = predict_mask(segmenter.sam, points=[points_from_mask(part) for part in components(found.coarse)])
    return dice(other, found.mask)
