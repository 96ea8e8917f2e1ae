"""Zero-shot classification: an image is of the class whose prompts it is most similar to (Radford et al. 2021, 3.1).

And how well a score tells two groups of images apart, whatever the threshold: the area under the ROC curve.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from .retrieval import unit_rows

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, eq=False)
class ZeroShot:
    """Answers of a zero-shot classifier.

    Attributes:
        classes: the C names.
        similarity: float64 [N, C], cosine of every image with the mean prompt of every class.
    """

    classes: tuple[str, ...]
    similarity: np.ndarray

    @property
    def answers(self) -> list[str]:
        """The most similar class of every image; of equal ones the first."""
        return [self.classes[index] for index in self.similarity.argmax(axis=1)]

    def accuracy(self, truth: list[str]) -> float:
        """Share of images whose answer is the true class, from 0 to 1.

        Raises:
            ValueError: another number of names than of images, none at all, or a name that is no class.
        """
        if len(truth) != len(self.similarity) or not len(truth):
            raise ValueError(
                f"there are {len(truth)} true classes for {len(self.similarity)} images: give one an image"
            )
        if unknown := sorted(set(truth) - set(self.classes)):
            raise ValueError(f"{unknown[0]!r} is not among the classes {', '.join(self.classes)}")
        return float(np.mean([found == true for found, true in zip(self.answers, truth, strict=True)]))


def zero_shot(
    image_features: ArrayLike | torch.Tensor, prompt_features: Mapping[str, ArrayLike | torch.Tensor]
) -> ZeroShot:
    """Classify images by prompts.

    Args:
        image_features: [N, D]. Rows are L2-normalised here, so their length is free.
        prompt_features: by class, [M, D] of its M prompts; M may differ. Each is normalised, and the mean of a class is
            normalised again: a prompt ensemble.

    Raises:
        ValueError: fewer than two classes, features of another length, or NaN, infinite or all-zero rows.
    """
    if len(prompt_features) < 2:
        raise ValueError("give the prompts of two classes or more: among one there is nothing to choose")
    images = unit_rows("image_features", image_features)
    means = [unit_rows(f"prompts of {name!r}", features).mean(axis=0) for name, features in prompt_features.items()]
    if any(len(mean) != images.shape[1] for mean in means):
        raise ValueError("images and prompts have features of different length: encode both with the same model")
    return ZeroShot(tuple(prompt_features), images @ unit_rows("mean prompts", np.stack(means)).T)


def wins(positive: np.ndarray, negative: np.ndarray) -> np.ndarray:
    """1 where a positive scores above a negative, ½ where they tie, 0 elsewhere: float64 [..., P, N].

    Its mean is the area under the ROC curve, AUC (Mann–Whitney).

    Args:
        positive: scores [..., P].
        negative: scores [N].
    """
    return (positive[..., None] > negative) + 0.5 * (positive[..., None] == negative)
