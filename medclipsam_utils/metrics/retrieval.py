"""Cross-modal retrieval: does an image find its caption among others, and a caption its image?

The paper judges fine-tuning so, on ROCO: pairs are shuffled into batches of 50; in each batch every image ranks the
50 captions by cosine similarity and scores a hit if its own is among the first k; then captions rank images. The
result is the mean over 5 shuffles. Chance is k / 50.

Captions that are the same, word for word, are equally right: an image that finds the twin of its caption has found it,
and so has a caption that finds the image of its twin. That needs the captions; without them only the own one counts.

Ties are broken at random, in expectation: an own caption that shares rank 1 with three wrong ones is a quarter of a
hit. So an encoder that maps everything to the same vector scores exactly chance, not 100 %.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

if TYPE_CHECKING:
    import torch

#: Cosines closer than this are equal: rounding of float64 sums stays below it.
_TIE = 1e-9


@dataclass(frozen=True)
class RetrievalAccuracy:
    """Accuracy by direction and k, as fractions from 0 to 1.

    Attributes:
        image_to_text: for each k, how often an image finds its own text among the k most similar; mean over runs.
        text_to_image: for each k, how often a text finds its own image.
        image_to_text_std: standard deviation over runs (0 for one run). Runs shuffle the same pairs: this is the
            influence of the shuffle, not the uncertainty from a finite data set.
        text_to_image_std: the same for texts.
        image_to_text_hits: for each k, what each image scored, float64 [N], from 0 to 1: the mean over the runs that it
            was in, NaN if in none. For a paired test of two models over the same pairs.
        text_to_image_hits: the same for texts.
        n_pairs: how many pairs each run scored: those that fill whole batches.
        batch_size: number of candidates among which each one was sought.
    """

    image_to_text: dict[int, float]
    text_to_image: dict[int, float]
    image_to_text_std: dict[int, float]
    text_to_image_std: dict[int, float]
    image_to_text_hits: dict[int, np.ndarray] = field(compare=False, repr=False)
    text_to_image_hits: dict[int, np.ndarray] = field(compare=False, repr=False)
    n_pairs: int
    batch_size: int


def retrieval_accuracy(
    image_features: ArrayLike | torch.Tensor,
    text_features: ArrayLike | torch.Tensor,
    k: Iterable[int] = (1, 2),
    batch_size: int | None = 50,
    runs: int = 5,
    seed: int = 0,
    captions: Sequence[str] | None = None,
) -> RetrievalAccuracy:
    """Compute the top-k accuracy of retrieval within shuffled batches, in both directions.

    Args:
        image_features: [N, D], array or tensor on any device. Rows are L2-normalised here, so their length is free.
        text_features: [N, D]; row i belongs to row i of ``image_features``.
        k: how many of the most similar count, each from 1 to ``batch_size``.
        batch_size: number of candidates among which each one is sought, 2 or more. Pairs that do not fill a last batch
            are left out, different ones in every run. None seeks in the whole set, once, as R@k is mostly reported.
        runs: number of shuffles.
        seed: seed of the shuffles. The same seed gives the same batches.
        captions: the N captions, so that pairs with the same one count as equally right; None if all differ, or if
            only the own one is to count.

    Returns:
        A :class:`RetrievalAccuracy`. ``result.image_to_text[1]`` is the top-1 accuracy of images.

    Raises:
        ValueError: features that are not [N, D] of equal shape, NaN, infinite or all-zero rows, fewer pairs than
            ``batch_size``, another number of captions, or a setting out of range.
    """
    images, texts = unit_rows("image_features", image_features), unit_rows("text_features", text_features)
    if images.shape != texts.shape:
        raise ValueError(
            f"image_features has shape {images.shape} and text_features {texts.shape}: give one row per pair, from "
            "the same model"
        )
    if batch_size is None:
        batch_size, runs = max(2, len(images)), 1
    batch_size, runs = _count("batch_size", batch_size, 2), _count("runs", runs, 1)
    if len(images) < batch_size:
        raise ValueError(
            f"{len(images)} pairs do not fill one batch of {batch_size}: give more, or batch_size={len(images)} (and "
            "compare only with results of that size, because chance is k / batch_size)"
        )
    if not isinstance(k, Iterable):
        raise ValueError(f"k is {k!r}: give several, as (1, 2), or one as ({k!r},)")
    ks = [_count("k", value, 1) for value in k]
    if not ks or max(ks) > batch_size:
        raise ValueError(f"k is {ks}: give at least one number from 1 to batch_size, which is {batch_size}")

    if captions is not None and len(captions) != len(images):
        raise ValueError(f"there are {len(captions)} captions for {len(images)} pairs: give one per pair")
    # Pairs whose captions have the same number are equally right.
    caption_numbers = np.arange(len(images)) if captions is None else np.unique(list(captions), return_inverse=True)[1]
    generator = np.random.default_rng(seed)
    n_pairs = len(images) // batch_size * batch_size
    hits = np.full((2, len(ks), runs, len(images)), np.nan)  # (directions, ks, runs, pairs)
    for run in range(runs):
        order = generator.permutation(len(images))[:n_pairs].reshape(-1, batch_size)  # (batches, pairs)
        similarity = images[order] @ texts[order].swapaxes(1, 2)  # (batches, images, texts)
        right = caption_numbers[order][:, :, None] == caption_numbers[order][:, None, :]
        for side, ranked in enumerate((similarity, similarity.swapaxes(1, 2))):
            hits[side, :, run, order.ravel()] = np.stack([_hits(ranked, right, value).ravel() for value in ks], axis=1)
    accuracy = np.nanmean(hits, axis=3)  # (directions, ks, runs)
    image_to_text, text_to_image = (dict(zip(ks, row.tolist(), strict=True)) for row in accuracy.mean(axis=2))
    image_to_text_std, text_to_image_std = (dict(zip(ks, row.tolist(), strict=True)) for row in accuracy.std(axis=2))
    image_to_text_hits, text_to_image_hits = (dict(zip(ks, side, strict=True)) for side in _mean_over_runs(hits))
    return RetrievalAccuracy(
        image_to_text,
        text_to_image,
        image_to_text_std,
        text_to_image_std,
        image_to_text_hits,
        text_to_image_hits,
        n_pairs=n_pairs,
        batch_size=batch_size,
    )


def _mean_over_runs(hits: np.ndarray) -> np.ndarray:
    """Return the mean over the runs, axis 2, of the values that are not NaN; NaN if all are."""
    scored = ~np.isnan(hits)
    with np.errstate(invalid="ignore"):
        return np.where(scored, hits, 0).sum(axis=2) / scored.sum(axis=2)


def _hits(similarity: np.ndarray, right: np.ndarray, k: int) -> np.ndarray:
    """Return for each query the probability that a right item is among the first k, if ties are broken at random.

    Args:
        similarity: [batches, B queries, B items].
        right: bool of that shape; every query has a right item.
        k: how many of the first items count, from 1 to B.

    Returns:
        [batches, B], each from 0 to 1.
    """
    best = np.where(right, similarity, -np.inf).max(axis=2, keepdims=True)
    level = np.abs(similarity - best) <= _TIE
    places = k - (~right & (similarity > best + _TIE)).sum(axis=2)  # left over by what is surely ahead
    n_right, n_wrong = (right & level).sum(axis=2), (~right & level).sum(axis=2)
    missed = np.ones(places.shape)  # all places go to wrong items of the same similarity
    for taken in range(k):
        chance = np.maximum(n_wrong - taken, 0) / np.maximum(n_wrong + n_right - taken, 1)
        missed = np.where(taken < places, missed * chance, missed)
    return 1 - missed


def unit_rows(name: str, features: ArrayLike | torch.Tensor) -> np.ndarray:
    """Return features [N, D], an array or a tensor on any device, as float64 [N, D] with rows of length 1.

    Raises:
        ValueError: they are not [N, D], or a row has NaN or infinite values or is all zeros.
    """
    if hasattr(features, "detach"):  # a tensor
        features = features.detach().cpu().double().numpy()
    features = np.asarray(features, dtype=np.float64)
    if features.ndim != 2 or not features.shape[1]:
        raise ValueError(f"{name} has shape {features.shape}: give one row of numbers per pair, [N, D]")
    finite = np.isfinite(features).all(axis=1)
    if not finite.all():
        raise ValueError(
            f"{name} has NaN or infinite values in {np.sum(~finite)} of {len(features)} rows, first in row "
            f"{np.argmin(finite)}: the model diverged, or its input was not finite"
        )
    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    if not lengths.all():
        raise ValueError(f"{name} row {np.argmin(lengths)} is all zeros and has no direction: leave this pair out")
    return features / lengths


def _count(name: str, value: int, least: int) -> int:
    try:
        valid = operator.index(value) >= least
    except TypeError:
        valid = False
    if not valid:
        raise ValueError(f"{name} is {value!r}: give a whole number, {least} or more")
    return operator.index(value)
