"""Many models' opinions of each pixel, and what their disagreement is worth.

With M probabilities of the target p_m at a pixel, the ensemble's is their mean p, and

- the **entropy** of the mean, −p log₂ p − (1 − p) log₂(1 − p), in bits from 0 to 1, is the paper's uncertainty: it is
  high where the models are unsure, and where they are sure of different things;
- the **variation**, the standard deviation over the models, is high only where they disagree.

(The released code adds up −p log p for one class only, which is no entropy.)

Two more questions come after these. Can you believe a probability? :func:`reliability` asks whether 80 % of the pixels
that are target with 80 % are target. Is an uncertainty worth anything? :func:`risk_coverage` asks whether the cases
that are handed to a person first are the ones that are wrong. (Guo et al. 2017, El-Yaniv & Wiener 2010.)
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ..images import Image, image_size


def entropy(probability: np.ndarray) -> np.ndarray:
    """Compute the entropy in bits of target or not, from 0 (sure) to 1 (even).

    Args:
        probability: float, any shape, from 0 to 1.

    Raises:
        ValueError: a value is outside of 0 to 1, or not finite.
    """
    p = _probability(probability).astype(np.float64)
    q = 1 - p
    inside = (p > 0) & (q > 0)
    bits = np.zeros(p.shape)
    bits[inside] = -p[inside] * np.log2(p[inside]) - q[inside] * np.log2(q[inside])
    return bits


@dataclass(frozen=True, eq=False)
class EnsemblePrediction:
    """The opinions of several models about the same images.

    Attributes:
        members: float32 [M, N, H, W], each model's probability of the target.
    """

    members: np.ndarray

    def __post_init__(self):
        if self.members.ndim != 4 or not self.members.size:
            raise ValueError(
                f"members has shape {self.members.shape}: give [models, images, rows, columns], none empty"
            )
        _probability(self.members)

    def __repr__(self) -> str:
        models, images, height, width = self.members.shape
        return f"EnsemblePrediction({models} models, {images} images of {height} × {width} pixels)"

    @cached_property
    def probability(self) -> np.ndarray:
        """float32 [N, H, W], the mean of the probabilities over the models."""
        return self.members.mean(axis=0)

    @property
    def masks(self) -> np.ndarray:
        """bool [N, H, W]: where the mean is above ½. (The released code cuts at 0.2.)"""
        return self.probability > 0.5

    @cached_property
    def entropy(self) -> np.ndarray:
        """float64 [N, H, W], the entropy of the mean, in bits."""
        return entropy(self.probability)

    @property
    def variation(self) -> np.ndarray:
        """float32 [N, H, W], the standard deviation over the models."""
        return self.members.std(axis=0)

    @property
    def case_uncertainty(self) -> np.ndarray:
        """float64 [N], one number per image: its bits of entropy for each pixel that may be target.

        It is the sum of the entropy over the sum of the probability, so that a large target does not count as uncertain
        for its long edge. An image without any probability of the target has 0.
        """
        bits, mass = self.entropy.sum(axis=(1, 2)), self.probability.sum(axis=(1, 2), dtype=np.float64)  # (N,) each
        return np.divide(bits, mass, out=np.zeros(len(bits)), where=mass > 0)


@dataclass(frozen=True, eq=False)
class Reliability:
    """How far you can believe probabilities, by bins of probability.

    Attributes:
        predicted: float [B], mean probability of the pixels in each bin; NaN for an empty one.
        observed: float [B], fraction of them that is target.
        fraction: float [B], fraction of all pixels that is in each bin.
    """

    predicted: np.ndarray
    observed: np.ndarray
    fraction: np.ndarray

    @property
    def ece(self) -> float:
        """Expected calibration error: the mean distance of the observed from the predicted fraction, from 0 to 1."""
        filled = self.fraction > 0
        return float((self.fraction[filled] * np.abs(self.observed - self.predicted)[filled]).sum())


def reliability(probability: np.ndarray, truth: np.ndarray, bins: int = 10) -> Reliability:
    """Compare probabilities with what is true (Guo et al. 2017).

    Args:
        probability: float, any shape, from 0 to 1.
        truth: bool, of the same shape.
        bins: number of bins of equal width, 1 or more. Most pixels of an image are far from any target, and are easily
            right: leave them out, for example by ``probability > 0.01``, if you ask how sure the edges are.

    Raises:
        ValueError: the shapes differ, there are no pixels, or a number is out of range.
    """
    p, y = _probability(probability).astype(np.float64).ravel(), np.asarray(truth, dtype=bool).ravel()
    if p.shape != y.shape or not p.size:
        raise ValueError(f"there are {p.size} probabilities and {y.size} truths: give one of each for every pixel")
    if bins < 1:
        raise ValueError(f"bins is {bins}: give 1 or more")
    number = np.minimum((p * bins).astype(int), bins - 1)  # (pixels,), the bin of each
    counts, sums, hits = (np.bincount(number, weights, bins) for weights in (None, p, y.astype(float)))  # (bins,) each
    with np.errstate(invalid="ignore"):
        return Reliability(sums / counts, hits / counts, counts / len(p))


@dataclass(frozen=True, eq=False)
class RiskCoverage:
    """The gain from leaving the most uncertain cases to a person.

    Attributes:
        coverage: float [N], fraction of the cases that are kept, from 1/N to 1.
        score: float [N], their mean score.
        random: mean score of all cases, which leaving out cases at random gives on average.
        best: float [N], the mean score if the worst were left out: the best that any uncertainty could do.
    """

    coverage: np.ndarray
    score: np.ndarray
    random: float
    best: np.ndarray

    def at(self, coverage: float) -> float:
        """Return the mean score of the smallest number of cases that reaches a coverage."""
        return float(self.score[np.searchsorted(self.coverage, coverage - 1e-12)])


def risk_coverage(uncertainty: Sequence[float], scores: Sequence[float]) -> RiskCoverage:
    """Compute the mean score of the most certain cases, from one to all (El-Yaniv & Wiener 2010).

    Args:
        uncertainty: float [N], high is uncertain.
        scores: float [N] of the same cases, for example their DSC.

    Raises:
        ValueError: there are no cases, or another number of scores than of uncertainties.
    """
    unsure, score = np.asarray(uncertainty, dtype=float), np.asarray(scores, dtype=float)
    if unsure.shape != score.shape or score.ndim != 1 or not len(score):
        raise ValueError(f"there are {unsure.shape} uncertainties and {score.shape} scores: give one of each per case")
    count = np.arange(1, len(score) + 1)
    surest_first, best_first = score[np.argsort(unsure, kind="stable")], -np.sort(-score)
    return RiskCoverage(
        coverage=count / len(score),
        score=np.cumsum(surest_first) / count,
        random=float(score.mean()),
        best=np.cumsum(best_first) / count,
    )


def triage(names: Sequence[str], uncertainty: Sequence[float], fraction: float = 0.2) -> list[str]:
    """List the cases that a person should look at: the most uncertain ones, the most uncertain first.

    Args:
        names: names of N cases.
        uncertainty: float [N], high is uncertain.
        fraction: fraction of the cases to list, from 0 to 1; their number is rounded up.

    Raises:
        ValueError: another number of names than of uncertainties, or a fraction out of range.
    """
    if len(names) != len(uncertainty):
        raise ValueError(f"there are {len(names)} names for {len(uncertainty)} uncertainties: give one per case")
    if not 0 <= fraction <= 1:
        raise ValueError(f"fraction is {fraction}: give a number from 0 to 1")
    order = np.argsort(-np.asarray(uncertainty, dtype=float), kind="stable")
    return [names[number] for number in order[: int(np.ceil(fraction * len(names)))]]


def one_size(images: Iterable[Image]) -> tuple[int, int]:
    """Return the rows and columns of images that are predicted together.

    Raises:
        ValueError: there are no images, or they differ in size.
    """
    sizes = {image_size(image) for image in images}
    if not sizes:
        raise ValueError("there are no images: give one or more")
    if len(sizes) > 1:
        raise ValueError(f"the images have {len(sizes)} sizes: predict those of each size on their own")
    return sizes.pop()


def _probability(values: np.ndarray) -> np.ndarray:
    values = np.asarray(values)
    if values.size and not (np.isfinite(values).all() and values.min() >= 0 and values.max() <= 1):
        raise ValueError(f"values from {values.min():.3g} to {values.max():.3g} are no probabilities: give 0 to 1")
    return values
