"""Prompt specificity: does the map change when the words do?

A map that lies on the tumour for "a breast tumour", for "normal tissue" and for "lungs" alike shows what stands out in
the image, and not what was asked. Users of text-driven segmentation have reported just that. The check: maps of one
image for the right prompt and for others, how alike they are, and how much of each lies on the target.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..images import Image
from ..metrics import PairedTest, paired_test
from ..models import Clip
from .inputs import Method, Text
from .maps import coverage, points_at
from .model_randomisation import map_correlation


@dataclass(frozen=True, eq=False)
class Specificity:
    """What :func:`specificity` found, by the name of the prompt; the right one is the first.

    Attributes:
        maps: float32 [H, W] of each image.
        correlation: Spearman's rank correlation with the map of the right prompt, float [B].
        coverage: share of the map on the target, float [B]; empty without masks.
        pointing: whether the peak is on the target, bool [B]; empty without masks.
    """

    maps: Mapping[str, list[np.ndarray]]
    correlation: Mapping[str, np.ndarray]
    coverage: Mapping[str, np.ndarray]
    pointing: Mapping[str, np.ndarray]

    def lead(self, other: str) -> PairedTest:
        """Test by how much more of the right prompt's map lies on the target than of another's, over the images.

        Raises:
            ValueError: there were no masks, or a single image.
        """
        if not self.coverage:
            raise ValueError("without masks nobody knows where the target is: give masks to specificity")
        return paired_test(next(iter(self.coverage.values())), self.coverage[other])


def specificity(
    method: Method,
    clip: Clip,
    images: Sequence[Image],
    prompts: Mapping[str, Text],
    masks: Sequence[np.ndarray] | None = None,
) -> Specificity:
    """Maps of the same images for several prompts, and how they differ.

    Args:
        method: makes the maps, for example ``partial(m2ib, layer=5, beta=0.1)``.
        clip: any CLIP that ``method`` takes.
        images: B of them, 1 or more.
        prompts: texts by name, 2 or more, the right one first: for example another organ's target, a sentence that
            denies the target, and words without sense.
        masks: bool [H, W] of the target in each image; None leaves coverage and pointing out.

    Raises:
        ValueError: there is one prompt only, or another number of masks than of images.
    """
    if len(prompts) < 2:
        raise ValueError(f"prompts has {len(prompts)}: give the right one and at least one other")
    if masks is not None and len(masks) != len(images):
        raise ValueError(f"there are {len(masks)} masks for {len(images)} images: give one per image")
    maps = {name: method(clip, images, text) for name, text in prompts.items()}
    right = next(iter(maps.values()))
    pairs = {} if masks is None else {name: list(zip(own, masks, strict=True)) for name, own in maps.items()}
    alike = {name: [map_correlation(*both) for both in zip(right, own, strict=True)] for name, own in maps.items()}
    return Specificity(
        maps,
        {name: np.array(values) for name, values in alike.items()},
        {name: np.array([coverage(*pair) for pair in own]) for name, own in pairs.items()},
        {name: np.array([points_at(*pair) for pair in own]) for name, own in pairs.items()},
    )
