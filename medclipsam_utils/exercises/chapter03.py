"""Exercises of chapter 3: the loss DHN-NCE, built in four steps, and what it does to false negatives."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import torch

from ..losses import InfoNCELoss
from .exercise import Exercise, Function, Mistake
from .slips03 import (
    counted,
    info_nce_half,
    log_sum_below_the_largest,
    log_sum_masked_with_zero,
    log_sum_of_columns,
    log_sum_of_held_weights,
    log_sum_of_zero_weights,
    log_sum_with_weighted_exponents,
    overflowing_log_sum,
    overflowing_weights,
    released_half,
    released_loss,
    shifted_weights,
    weights_masked_too_early,
    without_hardness,
    without_temperature,
    wrong_half,
    wrong_log_sum,
    wrong_loss,
    wrong_weights,
    wrongly_masked_half,
)


def hardness_weights(similarity, temperature, beta):
    itself = torch.eye(len(similarity), dtype=torch.bool)
    hardness = (beta * similarity / temperature).masked_fill(itself, -torch.inf)
    return (len(similarity) - 1) * hardness.softmax(dim=1)


def log_sum_of_negatives(similarity, temperature, beta):
    itself = torch.eye(len(similarity), dtype=torch.bool)
    logits = similarity / temperature
    hardness = (beta * logits).masked_fill(itself, -torch.inf)
    log_weights = math.log(len(similarity) - 1) + hardness.log_softmax(dim=1)
    return (log_weights + logits).logsumexp(dim=1)


def dhn_nce_half(similarity, temperature, beta):
    log_sums = log_sum_of_negatives(similarity, temperature, beta)
    return (log_sums - similarity.diagonal() / temperature).mean()


def dhn_nce(image_features, text_features, temperature, beta1, beta2):
    similarity = image_features @ text_features.T
    to_text = dhn_nce_half(similarity, temperature, beta1)
    to_image = dhn_nce_half(similarity.T, temperature, beta2)
    return to_text + to_image


def same_temperature(temperature, beta):
    return temperature / (1 + beta)


def false_negative_share(captions):
    count = len(captions)
    equal = sum(first == second for first in captions for second in captions)
    return (equal - count) / (count * (count - 1))


def masked_half(similarity, groups, temperature, beta):
    true = groups[:, None] == groups
    logits = similarity / temperature
    hardness = (beta * logits).masked_fill(true, -torch.inf)
    left = (~true).sum(dim=1, keepdim=True).to(logits.dtype)
    log_weights = left.log() + hardness.log_softmax(dim=1)
    return ((log_weights + logits).logsumexp(dim=1) - logits.diagonal()).mean()


#: A temperature at which exp(s/τ) is beyond what double precision holds.
COLD = 0.0005


def random_similarity(generator: np.random.Generator, count: int) -> torch.Tensor:
    return torch.from_numpy(generator.uniform(-1, 1, (count, count)))


def random_settings(generator: np.random.Generator) -> tuple[float, float]:
    """Draw τ and β, to two digits."""
    return round(generator.uniform(0.05, 1), 2), round(generator.uniform(0.1, 1.5), 2)


def similarities(generator: np.random.Generator) -> Sequence[tuple[Any, ...]]:
    """Give equal cosines, a few by hand, no hardness, two pairs, large scores, and random ones."""
    by_hand = torch.tensor([[0.9, 0.1, 0.4], [0.3, 0.2, -0.5], [0.7, -0.1, 0.0]], dtype=torch.float64)
    cases: list[tuple[Any, ...]] = [
        (by_hand, 0.6, 0.15),
        (torch.full((4, 4), 0.5, dtype=torch.float64), 0.1, 0.5),
        (by_hand, 0.5, 0.0),
        (by_hand[:2, :2], 0.6, 1.0),
    ]
    cases += [(random_similarity(generator, count), *random_settings(generator)) for count in (3, 4, 5, 8)]
    return [*cases, (random_similarity(generator, 4), COLD, 1.0)]


def random_features(generator: np.random.Generator, count: int, length: int) -> torch.Tensor:
    features = generator.normal(size=(count, length))
    return torch.from_numpy(features / np.linalg.norm(features, axis=1, keepdims=True))


def pairs(generator: np.random.Generator) -> Sequence[tuple[Any, ...]]:
    """Give features: of pairs that fit, all equal, two pairs, the same pairs in another order, large scores, random."""
    unit = torch.eye(3, dtype=torch.float64)
    equal = torch.full((4, 4), 0.5, dtype=torch.float64)
    images, texts = (random_features(generator, 5, 3) for _ in range(2))
    order = torch.tensor([3, 0, 4, 2, 1])
    cases: list[tuple[Any, ...]] = [
        (images, texts, 0.6, 0.15, 0.5),
        (images[order], texts[order], 0.6, 0.15, 0.5),
        (unit, unit, 0.6, 0.15, 0.15),
        (equal, equal, 0.1, 0.15, 1.0),
        (images[:2], texts[:2], 0.3, 1.0, 0.2),
        (images, texts, 0.4, 0.0, 0.0),
        (images, texts, 0.2, 0.8, 0.0),
    ]
    for count, length in ((3, 5), (6, 4), (8, 16)):
        temperature, beta1 = random_settings(generator)
        both = (random_features(generator, count, length) for _ in range(2))
        cases.append((*both, temperature, beta1, random_settings(generator)[1]))
    return [*cases, (images, texts, COLD, 1.0, 0.5)]


def batches(generator: np.random.Generator) -> Sequence[tuple[Any, ...]]:
    """Give captions: all of their own, all the same, one pair of twins, and random ones."""
    kinds = ["a benign mass", "clear lungs", "a glioma", "an abdomen"]
    cases = [kinds, kinds[:1] * 3, ["clear lungs", "a glioma", "clear lungs"], kinds[:2] * 4]
    cases += [[kinds[kind] for kind in generator.integers(0, 4, count)] for count in (5, 9, 16)]
    return [(captions,) for captions in cases]


def grouped(generator: np.random.Generator) -> Sequence[tuple[Any, ...]]:
    """Give similarities with groups: everyone alone, twins, unequal groups, large scores, and random ones."""
    cases: list[tuple[Any, ...]] = [
        (random_similarity(generator, 4), torch.tensor([0, 1, 0, 2]), 0.6, 0.15),
        (random_similarity(generator, 3), torch.arange(3), 0.6, 0.15),
        (random_similarity(generator, 5), torch.tensor([7, 7, 7, 7, 2]), 0.3, 0.0),
        (torch.full((3, 3), 0.2, dtype=torch.float64), torch.tensor([1, 0, 0]), 0.1, 0.5),
    ]
    for count in (5, 6, 9):
        groups = generator.permutation([0, 0, 1, *generator.integers(1, 4, count - 3)])
        cases.append((random_similarity(generator, count), torch.from_numpy(groups), *random_settings(generator)))
    return [*cases, (random_similarity(generator, 4), torch.tensor([0, 0, 1, 1]), COLD, 1.0)]


OVERFLOW = "your exponentials overflow: at a low temperature, e to the power of s/τ is more than a number can hold"
AS_ZERO = "what you masked with 0 still counts, because exp(0) is 1"

EXERCISES: tuple[Exercise, ...] = (
    Function(
        number="03.1",
        title="weigh the negatives",
        difficulty=2,
        minutes=15,
        purpose="hardness is a softmax in which the positive takes no part",
        hints=(
            "Leave the factor B − 1 aside: then the weights of a row are shares. What makes shares of scores?",
            "It is a softmax along each row. Which score must the positive have so that its share is exactly 0?",
            "torch.eye makes the mask of the positives, and masked_fill puts minus infinity there, before "
            "softmax(dim=1). The shares of a row add up to 1; the weights have a larger sum.",
        ),
        solution=hardness_weights,
        cases=similarities,
        mistakes=(
            Mistake("τ plays no part in your weights.", without_temperature(hardness_weights)),
            Mistake(
                "β plays no part in your weights; the released code forgets it too.",
                lambda similarity, temperature, beta: hardness_weights(similarity, temperature, 1.0),
            ),
            Mistake(
                "your exponent has 1 + β where the equation has β.",
                lambda similarity, temperature, beta: hardness_weights(similarity, temperature, 1 + beta),
            ),
            Mistake(
                "your positives have a weight too; the sum in the denominator goes over k ≠ i.",
                partial(wrong_weights, fill=None, zeroed=False),
            ),
            Mistake(
                "your positives are 0 in the end, but they were in the sum that you divided by.",
                partial(wrong_weights, fill=None),
            ),
            Mistake(
                f"{AS_ZERO}: your positives have a weight, and change all others.",
                partial(wrong_weights, fill=0, zeroed=False),
            ),
            Mistake(f"{AS_ZERO}: your positives were in the sum that you divided by.", partial(wrong_weights, fill=0)),
            Mistake("the weights of a row add up to 1, which makes them shares.", partial(wrong_weights, total=1)),
            Mistake(
                "the weights of a row add up to B; how many negatives does an image have?",
                lambda similarity, temperature, beta: wrong_weights(
                    similarity, temperature, beta, total=len(similarity)
                ),
            ),
            Mistake(
                "your columns add up to B − 1. A row is an image with its texts, so the rows should.",
                partial(wrong_weights, dim=0),
            ),
            Mistake(f"{OVERFLOW}, and infinity over infinity is nan. softmax is safe.", overflowing_weights),
            Mistake(
                f"you divided columns by sums of rows: keepdim=True keeps the sums in a column. And {OVERFLOW}.",
                partial(overflowing_weights, keepdim=False),
            ),
            Mistake(
                f"{OVERFLOW}, and infinity times 0 is nan. softmax is safe.",
                partial(overflowing_weights, multiplied=True),
            ),
            Mistake(
                "you divided columns by sums of rows: what shape has a sum, and how is it stretched over the matrix?",
                partial(shifted_weights, keepdim=False),
            ),
            Mistake(
                "you divided columns by sums of rows. What you subtract has the right shape; which one has the sum?",
                partial(shifted_weights, rows=True, keepdim=False),
            ),
            Mistake(
                "at a low temperature, nothing is left of a row whose negatives all lie far below what you subtract: "
                "is it the score of a positive, or of another row?",
                partial(shifted_weights, rows=True),
            ),
            Mistake(
                "with β = 0 your positives become nan, because 0 times infinity is. When do you mask them?",
                weights_masked_too_early,
            ),
        ),
    ),
    Function(
        number="03.2",
        title="add up the negatives",
        difficulty=3,
        minutes=20,
        purpose="a sum of exponentials that never overflows, with a mask that really leaves out",
        hints=(
            "A weight times an exponential is one exponential: of which exponent?",
            "Compute the logarithm of the weights directly: log_softmax is to softmax what you need here. Mask the "
            "positives before it; a sum with minus infinity stays minus infinity.",
            "First the masked βs/τ; then its log_softmax(dim=1), plus the logarithm of the factor B − 1; then add s/τ, "
            "and take logsumexp(dim=1). (Never take the logarithm of a weight that is 0: its gradient is nan.)",
        ),
        solution=log_sum_of_negatives,
        cases=similarities,
        gradient=True,
        mistakes=(
            Mistake("τ plays no part in your sum.", without_temperature(log_sum_of_negatives)),
            Mistake("your sum has no weights: that is the one of DCL.", without_hardness(log_sum_of_negatives)),
            Mistake(
                "the positive is still in your sum: that is the denominator of HN-NCE.",
                partial(wrong_log_sum, fill=None),
            ),
            Mistake(
                f"{AS_ZERO}: each of your sums has one term too many.",
                partial(wrong_log_sum, fill=0),
            ),
            Mistake(
                f"{AS_ZERO}, in your weights and in your sum. It is a slip of the released code.",
                log_sum_masked_with_zero,
            ),
            Mistake(
                "the weights of a row add up to 1 in your sum; they should add up to the number of negatives.",
                partial(wrong_log_sum, total=1),
            ),
            Mistake(
                "the weights of a row add up to B in your sum; how many negatives does an image have?",
                lambda similarity, temperature, beta: wrong_log_sum(
                    similarity, temperature, beta, total=len(similarity)
                ),
            ),
            Mistake(
                "you added up columns. The negatives of an image stand in its row.",
                partial(wrong_log_sum, dim=0),
            ),
            Mistake(
                "you added up the logarithms of the terms; the equation has the logarithm of their sum.",
                partial(wrong_log_sum, each=True),
            ),
            Mistake(
                "your weights multiply the exponent; in the equation they multiply the exponential.",
                partial(log_sum_with_weighted_exponents, fill=-torch.inf),
            ),
            Mistake(
                f"your weights multiply the exponent; in the equation they multiply the exponential. And {AS_ZERO}.",
                partial(log_sum_with_weighted_exponents, fill=0),
            ),
            Mistake(
                "your weights are those of the rows, but you added up columns.",
                log_sum_of_columns,
            ),
            Mistake("you subtracted the largest score, and never added it again.", log_sum_below_the_largest),
            Mistake(
                "the values are right, but no gradient flows through your weights: is something detached there? They "
                "depend on the similarities as well.",
                log_sum_of_held_weights,
            ),
            Mistake(
                "the values are right, but the gradient is nan: you take the logarithm of the positives' weights, and "
                "they are 0. Stay with logarithms from the start.",
                log_sum_of_zero_weights,
            ),
            Mistake(f"{OVERFLOW}. Stay with logarithms up to the end.", overflowing_log_sum),
            Mistake(
                f"{OVERFLOW}, and weights made of it are nan. Stay with logarithms up to the end.",
                partial(overflowing_log_sum, weights=overflowing_weights),
            ),
        ),
    ),
    Function(
        number="03.3",
        title="one direction",
        difficulty=1,
        minutes=10,
        purpose="a loss is small where the pair scores high and its negatives low",
        hints=(
            "The equation has two terms in its brackets, and you have one of them already.",
            "The cosines of the pairs are the diagonal of the matrix. What are they divided by?",
            "Subtract diagonal() over the temperature from what step 2 returns, and take the mean over the images.",
        ),
        solution=dhn_nce_half,
        cases=similarities,
        gradient=True,
        mistakes=(
            Mistake("τ plays no part in your loss.", without_temperature(dhn_nce_half)),
            Mistake("the cosine of the pair is not divided by τ.", partial(wrong_half, cold=False)),
            Mistake("the sign of the first term is wrong: your loss pushes pairs apart.", partial(wrong_half, sign=1)),
            Mistake("the cosine of the pair is missing: nothing pulls a pair together.", partial(wrong_half, sign=0)),
            Mistake("you added the images up; the equation divides by B.", partial(wrong_half, mean=False)),
            Mistake(
                "the cosines of the pairs are added up, where the other term is a mean: both are inside the brackets.",
                lambda similarity, temperature, beta: (
                    log_sum_of_negatives(similarity, temperature, beta).mean() - similarity.trace() / temperature
                ),
            ),
            Mistake("there is no hardness in it: that is DCL.", without_hardness(dhn_nce_half)),
            Mistake(
                "the positive is in the denominator: that is HN-NCE.",
                partial(wrong_half, log_sum=wrong_log_sum, fill=None),
            ),
            Mistake("that is InfoNCE: the positive in the denominator, and no hardness.", info_nce_half),
            Mistake(
                "that is the other direction: your rows are texts with their images.",
                lambda similarity, temperature, beta: dhn_nce_half(similarity.T, temperature, beta),
            ),
            Mistake(
                f"{AS_ZERO}: the denominator has one term too many.",
                partial(wrong_half, log_sum=log_sum_masked_with_zero),
            ),
            Mistake(
                "that is what the released code computes: the mean of the logarithms of all terms, where the paper has "
                "the logarithm of their sum.",
                released_half,
            ),
            Mistake(f"{OVERFLOW}. Use what you built in step 2.", partial(wrong_half, log_sum=overflowing_log_sum)),
        ),
    ),
    Function(
        number="03.4",
        title="DHN-NCE",
        difficulty=2,
        minutes=10,
        purpose="the loss of the paper, complete and with its gradient",
        hints=(
            "You have one direction. Which matrix does it need, and which one does the other direction need?",
            "All cosines at once are a product of two matrices. Texts that look for their image see it turned over.",
            "image_features @ text_features.T is the matrix of cosines. Call step 3 with it and beta1, and with its "
            "transpose and beta2, and add the two.",
        ),
        solution=dhn_nce,
        cases=pairs,
        gradient=True,
        mistakes=(
            Mistake(
                "that is the loss of the released code, not that of the paper. It takes the logarithm of each term and "
                "then the mean, where the paper takes the logarithm of the sum; it forgets β where it normalises the "
                "weights; and its masked terms still count as exp(0) = 1. Hard negatives are pushed least by it.",
                released_loss,
            ),
            Mistake(
                "the second direction is missing: texts look for their images as well.",
                lambda images, texts, temperature, beta1, beta2: dhn_nce_half(images @ texts.T, temperature, beta1),
            ),
            Mistake(
                "the first direction is missing: images look for their texts as well.",
                lambda images, texts, temperature, beta1, beta2: dhn_nce_half(texts @ images.T, temperature, beta2),
            ),
            Mistake(
                "both of your directions are the same one: in the other, columns become rows.",
                lambda images, texts, temperature, beta1, beta2: (
                    dhn_nce_half(images @ texts.T, temperature, beta1)
                    + dhn_nce_half(images @ texts.T, temperature, beta2)
                ),
            ),
            Mistake(
                "the two hardnesses are exchanged: beta1 is for images that look for their text.",
                lambda images, texts, temperature, beta1, beta2: dhn_nce(images, texts, temperature, beta2, beta1),
            ),
            Mistake(
                "beta2 plays no part: each direction has a hardness of its own.",
                lambda images, texts, temperature, beta1, beta2: dhn_nce(images, texts, temperature, beta1, beta1),
            ),
            Mistake("you took the mean of both halves; the paper adds them.", lambda *pair: dhn_nce(*pair) / 2),
            Mistake("you added the pairs up; each half is a mean over them.", partial(wrong_loss, mean=False)),
            Mistake(
                "τ plays no part in your loss.", lambda images, texts, t, *betas: dhn_nce(images, texts, 1.0, *betas)
            ),
            Mistake("the cosines of the pairs are not divided by τ.", partial(wrong_loss, cold=False)),
            Mistake(
                "you divided by τ twice: one direction does so already.",
                lambda images, texts, t, *betas: dhn_nce(images / t, texts, t, *betas),
            ),
            Mistake(
                "your second direction compares texts with texts.",
                lambda images, texts, temperature, beta1, beta2: (
                    dhn_nce_half(images @ texts.T, temperature, beta1)
                    + dhn_nce_half(texts @ texts.T, temperature, beta2)
                ),
            ),
            Mistake(
                "your matrix is [D, D] and compares channels; a cosine of each image with each text makes it [B, B].",
                lambda images, texts, *settings: dhn_nce(images.T, texts.T, *settings),
            ),
            Mistake(
                "the positive is in the denominator: that is HN-NCE.",
                partial(wrong_loss, log_sum=wrong_log_sum, fill=None),
            ),
            Mistake(
                "there is no hardness in it: that is DCL.",
                lambda images, texts, temperature, beta1, beta2: dhn_nce(images, texts, temperature, 0.0, 0.0),
            ),
            Mistake(
                "that is InfoNCE: the positive in the denominator, and no hardness.",
                lambda images, texts, temperature, beta1, beta2: InfoNCELoss(temperature)(images, texts),
            ),
            Mistake(
                "the weights of a row add up to 1 in it; they should add up to the number of negatives.",
                partial(wrong_loss, log_sum=wrong_log_sum, total=1),
            ),
            Mistake(
                f"{AS_ZERO}: each denominator has one term too many.",
                partial(wrong_loss, log_sum=log_sum_masked_with_zero),
            ),
            Mistake(f"{OVERFLOW}. Use what you built in step 2.", partial(wrong_loss, log_sum=overflowing_log_sum)),
        ),
    ),
    Function(
        number="03.5",
        title="hardness is a temperature",
        difficulty=1,
        minutes=5,
        purpose="why β and τ cannot be judged one by one",
        hints=(
            "Both pushes are exponentials of the cosine times a number. When are they in the same proportion?",
            "Write the exponent of each loss as a number times s, and set the two numbers equal.",
            "The number is 1/τ' for DCL and the sum of 1/τ and β/τ for DHN-NCE. Solve for τ'.",
        ),
        solution=same_temperature,
        cases=lambda generator: [(0.6, 0.15), (0.1, 1.0), (0.3, 0.0), *(random_settings(generator) for _ in range(4))],
        mistakes=(
            Mistake(
                "hardness acts like a lower temperature, and yours is higher.",
                lambda temperature, beta: temperature * (1 + beta),
            ),
            Mistake("that is the number in the exponent, not its temperature.", lambda t, beta: (1 + beta) / t),
            Mistake("with β = 0 nothing may change, and yours does.", lambda t, beta: t / beta if beta else math.inf),
            Mistake(
                "that would be right for an exponent of (1 − β) s/τ.",
                lambda t, beta: t / (1 - beta) if beta != 1 else math.inf,
            ),
        ),
    ),
    Function(
        number="03.6",
        title="how many negatives are false?",
        difficulty=1,
        minutes=10,
        purpose="look at your captions before you choose a loss",
        hints=(
            "Which cells of the B × B matrix of images and texts are negatives? In which are two captions equal?",
            "Count equal captions over all ordered pairs; every caption equals itself, and that is no negative.",
            "Divide by the number of negatives: each of the B images has all texts but its own.",
        ),
        solution=false_negative_share,
        cases=batches,
        mistakes=(
            Mistake(
                "each caption is compared with itself as well; that pair is the positive.", partial(counted, own=1)
            ),
            Mistake("there are fewer than B² negatives.", partial(counted, among=lambda count: count**2)),
            Mistake(
                "you compared a caption with itself, and divided by all B² cells.",
                partial(counted, own=1, among=lambda count: count**2),
            ),
            Mistake(
                "each pair of twins makes two false negatives: each of the images has the other's caption.",
                partial(counted, ordered=1),
            ),
            Mistake("that is how many there are; their share is asked for.", partial(counted, among=lambda count: 1)),
            Mistake("that is in percent; a fraction is asked for.", lambda texts: 100 * false_negative_share(texts)),
        ),
    ),
    Function(
        number="03.7",
        title="spare the false negatives",
        difficulty=3,
        minutes=25,
        purpose="a mask is all it takes, if you know which captions are true",
        hints=(
            "Only one thing changes: what was left out on the diagonal is left out in more places now.",
            "groups[:, None] == groups is a bool matrix; think of what its diagonal is. And how many negatives does a "
            "row have left?",
            "Put this mask in place of the diagonal's in step 2, and in place of B − 1 the number of cells of each row "
            "that are not masked, as a column: sum(dim=1, keepdim=True).",
        ),
        solution=masked_half,
        cases=grouped,
        gradient=True,
        mistakes=(
            Mistake(
                "the groups play no part: only an image's own caption is left out.",
                partial(wrongly_masked_half, weighted="itself", summed="itself", total=lambda count: count - 1),
            ),
            Mistake(
                "true captions are out of your sum, but they still have a share of the weights.",
                partial(wrongly_masked_half, weighted="itself"),
            ),
            Mistake(
                "true captions are out of your sum, but they still have a share of the weights, which add up to B − 1.",
                partial(wrongly_masked_half, weighted="itself", total=lambda count: count - 1),
            ),
            Mistake(
                "your weights add up to B − 1, and most rows have fewer negatives than that.",
                partial(wrongly_masked_half, total=lambda count: count - 1),
            ),
            Mistake(
                "your sum has the image's own caption in it; that is not a negative either.",
                partial(wrongly_masked_half, weighted="others", summed="others"),
            ),
            Mistake(f"{AS_ZERO}: your sums have terms that should be gone.", partial(wrongly_masked_half, fill=0)),
        ),
    ),
)
