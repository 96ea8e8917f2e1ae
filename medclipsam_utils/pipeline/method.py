"""The method on one page: from the words to the mask.

Section 3 of Koleilat et al. 2025, stage 2. What is asked, and with what settings, is a
:class:`~medclipsam_utils.pipeline.question.Question`; everything around the method (folders, batches of files, which
target some words name) is in the other modules of this package.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from segment_anything import SamPredictor

from ..images import Image, pixels_of
from ..models import Clip
from ..models.sam import asking, embed
from ..postprocess import coarse_mask, components
from ..visual_prompts import boxes_from_mask, points_from_mask, predict_mask, predict_zoomed
from .question import Question, saliency_maps
from .segmentation import Segmentation


def segment(
    clip: Clip, sam: SamPredictor, images: Sequence[Image], questions: Sequence[Question]
) -> Iterator[Segmentation]:
    """Answer one question about each image.

    Args:
        clip: the CLIP that reads the words and the images.
        sam: the SAM that draws the outline.
        images: B of them, of any kind and size.
        questions: one per image: what is asked, and with which settings it is answered.

    Yields:
        B answers in order. A mask is empty where the map is constant, and where the settings want
        it so for a target that is reported absent.
    """
    # 1. Words and image → saliency: where in the image is what the words need?
    maps = saliency_maps(clip, images, questions)  # B × (H, W) float32, 0 … 1

    for image, question, saliency in zip(images, questions, maps, strict=True):
        pixels, settings = pixels_of(image), question.settings  # (H, W, 3) uint8

        # 2. Saliency → coarse mask: its highest values, as the components that fit the target.
        coarse = coarse_mask(  # (H, W) bool
            saliency,
            question.n_structures,
            min_fraction=settings.min_component_fraction,
            method=settings.binarize,
            clusters=settings.clusters,
            threshold=settings.threshold,
            image=pixels,
        )

        # 3. Coarse mask → visual prompts: a box around each component, points on it, or both.
        boxes, points = np.zeros((0, 4), np.float32), []
        if settings.visual_prompt != "point":
            boxes = boxes_from_mask(coarse, margin=settings.margin)  # (K, 4) float32
        if settings.visual_prompt != "box":
            parts = components(coarse)  # K × (H, W) bool
            points = [points_from_mask(part, settings.n_points) for part in parts]  # K × (n, 2)

        # 4. Image and visual prompts → mask: SAM answers each prompt; the answers are united.
        mask = np.zeros_like(coarse)  # (H, W) bool
        if coarse.any() and not (settings.empty_if_absent and question.presence.present is False):
            given = boxes if len(boxes) else None, points or None
            with asking(sam):  # SAM remembers one image, and other threads may ask about theirs
                if settings.zoom:
                    mask = predict_zoomed(sam, pixels, *given, vote=settings.vote)
                else:
                    embed(sam, pixels)
                    mask = predict_mask(sam, *given, vote=settings.vote)

        steps = saliency, coarse, boxes, tuple(points)
        yield Segmentation(mask, *steps, question.text, question.task_name, question.presence, pixels)
