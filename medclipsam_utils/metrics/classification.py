"""Zero-shot classification: an image is of the class whose prompts it is most similar to (Radford et al. 2021, 3.1).

The area under the ROC curve says how well a score tells two groups of images apart, whatever the threshold.
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
        """Return the fraction of images whose answer is the true class, from 0 to 1.

        Args:
            truth: the N true classes, one per image.

        Raises:
            ValueError: another number of names than of images, none at all, or a name that is no class.
        """
        if len(truth) != len(self.similarity) or not len(truth):
            raise ValueError(
                f"there are {len(truth)} true classes for {len(self.similarity)} images: give one per image"
            )
        if unknown := sorted(set(truth) - set(self.classes)):
            raise ValueError(f"{unknown[0]!r} is not among the classes {', '.join(self.classes)}")
        return float(np.mean([answer == true for answer, true in zip(self.answers, truth, strict=True)]))


def zero_shot(
    image_features: ArrayLike | torch.Tensor, prompt_features: Mapping[str, ArrayLike | torch.Tensor]
) -> ZeroShot:
    """Classify images by prompts.

    Args:
        image_features: [N, D]. Rows are L2-normalised here, so their length is free.
        prompt_features: features [M, D] of the M prompts of each class, by class; M may differ. Each is normalised, and
            the mean of a class is normalised again: a prompt ensemble.

    Returns:
        The classes in the order of ``prompt_features``, and the similarity of every image with each.

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


def auc_by_pair(positive: np.ndarray, negative: np.ndarray) -> np.ndarray:
    """Compare each positive score with each negative one; the mean of the comparisons is the AUC.

    The area under the ROC curve is the probability that a positive scores above a negative, where a tie counts half
    (Mann–Whitney).

    Args:
        positive: scores [..., P].
        negative: scores [N].

    Returns:
        float64 [..., P, N]: 1 where the positive scores above the negative, ½ where they tie, 0 elsewhere.
    """
    return (positive[..., None] > negative) + 0.5 * (positive[..., None] == negative)  # (..., P, 1) with (N,)


def negation_auc(
    with_target: ArrayLike | torch.Tensor,
    without_target: ArrayLike | torch.Tensor,
    naming: np.ndarray | torch.Tensor,
    denying: np.ndarray | torch.Tensor,
) -> float:
    """Tell how well a CLIP reads a denial: does "no tumour" fit the image without one better than the image with one?

    Each image scores its cosine with the sentence that denies the target less that with the sentence that names it.
    Contrastive models are known to read "no tumour" as "tumour" (Alhamoud et al. 2025, *Vision-language models do not
    understand negation*). Pairs of images that differ in the target alone leave no other evidence.

    Args:
        with_target: features [P, D] of images that show the target.
        without_target: features [N, D] of images that do not, best of the same P scenes.
        naming: features [D] of a sentence that names the target, or the mean of several.
        denying: features [D] of a sentence that denies it.

    Returns:
        The AUC from 0 to 1: ½ is chance, below it the denial draws to the target.

    Raises:
        ValueError: features of different length, or with NaN, infinite or all-zero rows; no images.
    """
    images = [unit_rows(name, f) for name, f in (("with_target", with_target), ("without_target", without_target))]
    if not all(len(part) for part in images):
        raise ValueError("there are no images with the target, or none without it: give one of each or more")
    names, denies = (unit_rows(name, f[None])[0] for name, f in (("naming", naming), ("denying", denying)))
    if not images[0].shape[1] == images[1].shape[1] == len(names) == len(denies):
        raise ValueError("images and sentences have features of different length: encode all with the same model")
    present, absent = (part @ (denies - names) for part in images)
    return float(auc_by_pair(absent, present).mean())
