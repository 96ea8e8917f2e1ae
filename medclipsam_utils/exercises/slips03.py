"""What people get wrong when they write DHN-NCE: functions with switches, each of which is one slip.

With no switch turned they compute what the solutions do. The slips of the four steps are the same ones.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch

from ..losses import ReleasedHNLoss


def wrong_weights(similarity, temperature, beta, *, fill=-torch.inf, zeroed=True, total=None, dim=1, log=False):
    """Compute hardness weights with slips.

    Args:
        similarity: float [B, B].
        temperature: τ.
        beta: hardness β.
        fill: what the scores of the positives are masked with; None leaves them.
        zeroed: the positives have the weight 0 in the end.
        total: what the weights add up to; None is B − 1.
        dim: the axis along which they do.
        log: return their logarithms.
    """
    itself = torch.eye(len(similarity), dtype=torch.bool)
    hardness = beta * similarity / temperature
    hardness = hardness if fill is None else hardness.masked_fill(itself, fill)
    weights = math.log(len(similarity) - 1 if total is None else total) + hardness.log_softmax(dim)
    weights = weights.masked_fill(itself, -torch.inf) if zeroed else weights
    return weights if log else weights.exp()


def overflowing_weights(similarity, temperature, beta, *, keepdim=True, multiplied=False):
    itself = torch.eye(len(similarity), dtype=torch.bool)
    powers = (beta * similarity / temperature).exp()
    powers = powers * ~itself if multiplied else powers.masked_fill(itself, 0)
    return (len(similarity) - 1) * powers / powers.sum(dim=1, keepdim=keepdim)


def shifted_weights(similarity, temperature, beta, *, rows=False, keepdim=True):
    """Subtract the largest score, of a row or of all, before the exponential; the positives may be the largest."""
    itself = torch.eye(len(similarity), dtype=torch.bool)
    hardness = beta * similarity / temperature
    powers = (hardness - (hardness.amax(dim=1, keepdim=True) if rows else hardness.max())).exp().masked_fill(itself, 0)
    return (len(similarity) - 1) * powers / powers.sum(dim=1, keepdim=keepdim)


def right_weights(similarity, temperature, beta):
    """Compute the weights rightly, by a softmax."""
    itself = torch.eye(len(similarity), dtype=torch.bool)
    hardness = (beta * similarity / temperature).masked_fill(itself, -torch.inf)
    return (len(similarity) - 1) * hardness.softmax(dim=1)


def weights_masked_too_early(similarity, temperature, beta):
    itself = torch.eye(len(similarity), dtype=torch.bool)
    hardness = beta * similarity.masked_fill(itself, -torch.inf) / temperature
    return (len(similarity) - 1) * hardness.softmax(dim=1)


def wrong_log_sum(similarity, temperature, beta, *, fill=-torch.inf, dim=1, each=False, **slips):
    """Compute the logarithm of the weighted sum with slips.

    Args:
        similarity: float [B, B].
        temperature: τ.
        beta: hardness β.
        fill: what the terms of the positives are masked with; None leaves them, with the weight 1.
        dim: the axis of the sum.
        each: the logarithms of the terms are added up.
        slips: those of the weights.
    """
    itself = torch.eye(len(similarity), dtype=torch.bool)
    weights = wrong_weights(similarity, temperature, beta, dim=dim, log=True, **slips)
    terms = weights.masked_fill(itself, 0) + similarity / temperature
    if each:
        return terms.masked_fill(itself, 0).sum(dim)
    return (terms if fill is None else terms.masked_fill(itself, fill)).logsumexp(dim)


def log_sum_masked_with_zero(similarity, temperature, beta):
    itself = torch.eye(len(similarity), dtype=torch.bool)
    logits = (similarity / temperature).masked_fill(itself, 0)
    return (wrong_weights(similarity, temperature, beta, fill=0, zeroed=False, log=True) + logits).logsumexp(dim=1)


def log_sum_with_weighted_exponents(similarity, temperature, beta, *, fill):
    itself = torch.eye(len(similarity), dtype=torch.bool)
    exponents = wrong_weights(similarity, temperature, beta) * similarity / temperature
    return exponents.masked_fill(itself, fill).logsumexp(dim=1)


def log_sum_of_columns(similarity, temperature, beta):
    """Weigh rows, and add up columns."""
    return (wrong_weights(similarity, temperature, beta, log=True) + similarity / temperature).logsumexp(dim=0)


def log_sum_of_held_weights(similarity, temperature, beta):
    weights = wrong_weights(similarity.detach(), temperature, beta, log=True)
    return (weights + similarity / temperature).logsumexp(dim=1)


def log_sum_of_zero_weights(similarity, temperature, beta):
    weights = right_weights(similarity, temperature, beta)
    return (weights.log() + similarity / temperature).logsumexp(dim=1)


def log_sum_below_the_largest(similarity, temperature, beta):
    logits = similarity / temperature
    powers = (logits - logits.amax(dim=1, keepdim=True)).exp()
    return (wrong_weights(similarity, temperature, beta) * powers).sum(dim=1).log()


def overflowing_log_sum(similarity, temperature, beta, weights=wrong_weights):
    itself = torch.eye(len(similarity), dtype=torch.bool)
    powers = (similarity / temperature).exp().masked_fill(itself, 0)
    return (weights(similarity, temperature, beta) * powers).sum(dim=1).log()


def wrong_half(similarity, temperature, beta, *, log_sum=None, cold=True, sign=-1, mean=True, **slips):
    """Compute one direction with slips.

    Args:
        similarity: float [B, B].
        temperature: τ.
        beta: hardness β.
        log_sum: computes the logarithm of the sum; None is :func:`wrong_log_sum`.
        cold: the similarity of a pair is divided by τ.
        sign: of the similarity of a pair.
        mean: whether it is the mean over the rows, and not their sum.
        slips: those of the sum.
    """
    rows = (log_sum or wrong_log_sum)(similarity, temperature, beta, **slips)
    rows = rows + sign * similarity.diagonal() / (temperature if cold else 1)
    return rows.mean() if mean else rows.sum()


def info_nce_half(similarity, temperature, beta):
    logits = similarity / temperature
    return (logits.logsumexp(dim=1) - logits.diagonal()).mean()


def released_half(similarity, temperature, beta):
    return ReleasedHNLoss(temperature).half_loss(similarity / temperature, beta)


def released_loss(images, texts, temperature, beta1, beta2):
    return ReleasedHNLoss(temperature, beta1, beta2)(images, texts)


def wrong_loss(images, texts, temperature, beta1, beta2, *, half=wrong_half, **slips):
    """Put both directions together, with the slips of each."""
    similarity = images @ texts.T
    return half(similarity, temperature, beta1, **slips) + half(similarity.T, temperature, beta2, **slips)


def without_temperature(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda similarity, temperature, beta: function(similarity, 1.0, beta)


def without_hardness(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda similarity, temperature, beta: function(similarity, temperature, 0.0)


def wrongly_masked_half(
    similarity, groups, temperature, beta, *, weighted="true", summed="true", total=None, fill=-torch.inf
):
    """Leave true captions out of one direction with slips.

    Args:
        similarity: float [B, B].
        groups: int64 [B].
        temperature: τ.
        beta: hardness β.
        weighted: what has no weight: the own caption, ``"itself"``, all ``"true"`` ones, or the ``"others"`` of them.
        summed: what is left out of the sum.
        total: what the weights add up to; None is the number of negatives.
        fill: what the terms that are left out are masked with.
    """
    itself, true = torch.eye(len(groups), dtype=torch.bool), groups[:, None] == groups
    out = {"itself": itself, "true": true, "others": true & ~itself}
    logits = similarity / temperature
    weights = (beta * logits).masked_fill(out[weighted], -torch.inf).log_softmax(dim=1).masked_fill(out[weighted], 0)
    left = (~out["true"]).sum(dim=1, keepdim=True) if total is None else torch.tensor(total(len(groups)))
    terms = (left.log() + weights + logits).masked_fill(out[summed], fill)
    return (terms.logsumexp(dim=1) - logits.diagonal()).mean()


def counted(captions, *, own=0, ordered=2, among=None):
    """Share of equal captions with slips: the own ones count, each pair counts once, another number to divide by."""
    count = len(captions)
    equal = sum(captions[i] == captions[j] for i in range(count) for j in range(i))
    return (ordered * equal + own * count) / (count * (count - 1) if among is None else among(count))
