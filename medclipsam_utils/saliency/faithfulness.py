"""Deletion and insertion: does the model need what the map calls important?

Petsiuk, Das & Saenko 2018, *RISE*. Pixels are taken in the order of the map, most important first. **Deletion** blurs
them in the image, one after the other: the similarity to the text should fall early. **Insertion** starts with the
blurred image and brings them back: it should rise early. The areas under the two curves say how early. No mask is
needed, and so no label: what is judged is whether the map explains the *model*, right or wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter

from ..images import Image, pixels_of
from ..models import Clip
from ..models.context import own_context
from .inputs import Text, text_features


@dataclass(frozen=True, eq=False)
class Faithfulness:
    """What :func:`deletion_insertion` found.

    Attributes:
        shares: float [steps + 1], of the pixels that were taken, from 0 to 1.
        deletion: float [B, steps + 1], cosine with the text while pixels are blurred.
        insertion: float [B, steps + 1], cosine with the text while pixels are brought back.
    """

    shares: np.ndarray
    deletion: np.ndarray
    insertion: np.ndarray

    @property
    def score(self) -> np.ndarray:
        """Area under insertion minus area under deletion, float [B]: about 0 for a random order."""
        difference = self.insertion - self.deletion
        return (difference[:, 1:] + difference[:, :-1]).mean(axis=1) / 2


@own_context()
def deletion_insertion(
    clip: Clip,
    images: Sequence[Image],
    text: Text,
    saliency: Sequence[np.ndarray],
    *,
    steps: int = 16,
    blur: float = 0.1,
) -> Faithfulness:
    """Follow the similarity while the important pixels go, and while they come.

    Args:
        clip: the model that is explained.
        images: B of them, as :meth:`~medclipsam_utils.models.Clip.preprocess` takes them.
        text: what the maps were made for, as :func:`~medclipsam_utils.saliency.m2ib` takes it.
        saliency: one map [H, W] per image. Of equal pixels those further up and to the left go first.
        steps: in how many equal shares the pixels are taken, 1 or more.
        blur: deviation of the Gaussian that replaces pixels, as a share of the image's height. It must wash the target
            out; edges that it leaves behind count as if they were the target.

    Raises:
        ModelError: an image or a text does not fit.
        ValueError: a setting is out of range, or maps and images do not fit together.
    """
    if steps < 1 or not blur > 0:
        raise ValueError(f"steps is {steps} and blur {blur}: give 1 or more, and a share above 0")
    if len(images) != len(saliency):
        raise ValueError(f"there are {len(saliency)} maps for {len(images)} images: give one per image")
    texts = text_features(clip, text, len(images))
    curves = np.empty((2, len(images), steps + 1))
    for number, (image, found) in enumerate(zip(images, saliency, strict=True)):
        sharp = pixels_of(image)
        if found.shape != sharp.shape[:2]:
            raise ValueError(f"map {number} is {found.shape} and its image {sharp.shape[:2]}: give maps of that size")
        dull = np.round(gaussian_filter(sharp.astype(np.float32), (blur * len(sharp),) * 2 + (0,))).astype(np.uint8)
        rank = np.empty(found.size, dtype=int)
        rank[np.argsort(-found, axis=None, kind="stable")] = np.arange(found.size)
        rank = rank.reshape(*found.shape, 1)
        taken = [rank < round(step / steps * found.size) for step in range(steps + 1)]
        views = [np.where(gone, dull, sharp) for gone in taken] + [np.where(back, sharp, dull) for back in taken]
        features = clip.encode_image(views)
        cosines = features @ (texts[number] / texts[number].norm())
        curves[:, number] = cosines.cpu().numpy().reshape(2, steps + 1)
    return Faithfulness(np.linspace(0, 1, steps + 1), *curves)
