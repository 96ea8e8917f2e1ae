"""DHN-NCE as a student builds it: equal to the book's loss, and checks that tell every other loss from it."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from medclipsam_utils.exercises import check
from medclipsam_utils.exercises.chapter03 import (
    COLD,
    dhn_nce,
    dhn_nce_half,
    false_negative_share,
    hardness_weights,
    log_sum_of_negatives,
    masked_half,
    same_temperature,
)
from medclipsam_utils.losses import (
    DCLLoss,
    DHNNCELoss,
    HNNCELoss,
    InfoNCELoss,
    ReleasedHNLoss,
    log_hardness_weights,
    same_group,
)

SETTINGS = [(0.6, 0.15, 0.15), (0.1, 0.15, 1.0), (0.05, 1.0, 0.0), (COLD, 0.5, 1.0)]


def features(count: int, seed: int = 0, length: int = 16) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    images, texts = (torch.randn(count, length, generator=generator, dtype=torch.float64) for _ in range(2))
    return F.normalize(images, dim=1), F.normalize(texts, dim=1)


def differentiated(loss, *arguments: torch.Tensor) -> list[torch.Tensor]:
    """Value, and the gradient of each argument."""
    arguments = [argument.clone().requires_grad_() for argument in arguments]
    value = loss(*arguments)
    return [value.detach(), *torch.autograd.grad(value, arguments)]


def assert_same(found: list[torch.Tensor], wanted: list[torch.Tensor]) -> None:
    for mine, theirs in zip(found, wanted, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-10, atol=1e-10)


class TestParity:
    @pytest.mark.parametrize("count", [2, 3, 8, 64])
    @pytest.mark.parametrize("temperature, beta1, beta2", SETTINGS)
    def test_the_loss(self, count, temperature, beta1, beta2):
        pair = features(count, seed=count)
        mine = differentiated(lambda *pair: dhn_nce(*pair, temperature, beta1, beta2), *pair)
        assert_same(mine, differentiated(DHNNCELoss(temperature, beta1, beta2), *pair))

    @pytest.mark.parametrize("temperature, beta, _", SETTINGS)
    def test_one_direction(self, temperature, beta, _):
        images, texts = features(8)
        similarity = images @ texts.T
        mine = differentiated(lambda s: dhn_nce_half(s, temperature, beta), similarity)
        theirs = differentiated(lambda s: DHNNCELoss(temperature).half_loss(s / temperature, beta), similarity)
        assert_same(mine, theirs)

    @pytest.mark.parametrize("temperature, beta, _", SETTINGS)
    def test_the_weights(self, temperature, beta, _):
        images, texts = features(8)
        similarity = images @ texts.T
        negatives = (similarity / temperature).fill_diagonal_(-torch.inf)
        mine = hardness_weights(similarity, temperature, beta)
        torch.testing.assert_close(mine, log_hardness_weights(negatives, beta).exp())

    @pytest.mark.parametrize("temperature, beta, _", SETTINGS)
    def test_with_masked_groups(self, temperature, beta, _):
        images, texts = features(8)
        similarity, groups = images @ texts.T, torch.tensor([0, 1, 0, 2, 3, 2, 0, 5])
        true, loss = same_group(groups, 8), DHNNCELoss(temperature, false_negatives="masked")
        mine = differentiated(lambda s: masked_half(s, groups, temperature, beta), similarity)
        assert_same(mine, differentiated(lambda s: loss.half_loss(s / temperature, beta, true), similarity))
        alone = masked_half(similarity, torch.arange(8), temperature, beta)
        torch.testing.assert_close(alone, dhn_nce_half(similarity, temperature, beta))

    def test_without_hardness_it_is_dcl(self):
        pair = features(8)
        torch.testing.assert_close(dhn_nce(*pair, 0.6, 0.0, 0.0), DCLLoss(0.6)(*pair))

    def test_hardness_is_a_temperature(self):
        """With the weights held constant, the pushes of a row are in the proportions of DCL at the other one."""
        images, texts = features(8)
        similarity = images @ texts.T
        held = DHNNCELoss(0.6, differentiate_weights=False)
        dcl, temperature = DCLLoss(0.6), same_temperature(0.6, 0.15)
        mine = differentiated(lambda s: held.half_loss(s / 0.6, 0.15), similarity)[1].fill_diagonal_(0)
        theirs = differentiated(lambda s: dcl.half_loss(s / temperature, 0.0), similarity)[1].fill_diagonal_(0)
        torch.testing.assert_close(F.normalize(mine, p=1, dim=1), F.normalize(theirs, p=1, dim=1))


class TestProperties:
    def test_weights(self):
        images, texts = features(8)
        weights = hardness_weights(images @ texts.T, 0.1, 0.5)
        torch.testing.assert_close(weights.sum(dim=1), torch.full((8,), 7.0, dtype=torch.float64))
        assert not weights.diagonal().any()
        assert hardness_weights(torch.rand(2, 2), 0.1, 0.5).flatten().tolist() == [0, 1, 1, 0]
        torch.testing.assert_close(hardness_weights(torch.full((4, 4), 0.3), 0.1, 0.5), 1 - torch.eye(4))

    def test_the_order_of_the_pairs_does_not_matter(self):
        images, texts = features(8)
        order = torch.randperm(8, generator=torch.Generator().manual_seed(1))
        there, here = (dhn_nce(*pair, 0.1, 0.2, 0.7) for pair in ((images, texts), (images[order], texts[order])))
        torch.testing.assert_close(there, here)
        other = dhn_nce(texts, images, 0.1, 0.7, 0.2)
        torch.testing.assert_close(there, other)

    def test_equal_features_leave_the_number_of_negatives(self):
        equal = torch.full((5, 4), 0.5, dtype=torch.float64)
        assert dhn_nce(equal, equal, 0.1, 0.15, 1.0).item() == pytest.approx(2 * math.log(4))

    def test_large_scores_stay_finite(self):
        for part in differentiated(lambda *pair: dhn_nce(*pair, COLD, 1.0, 1.0), *features(8)):
            assert part.isfinite().all()

    def test_false_negative_shares(self):
        assert false_negative_share(["a", "b"]) == 0 and false_negative_share(["a"] * 5) == 1
        assert false_negative_share(["a", "b", "a"]) == pytest.approx(1 / 3)


def weights_then_log(similarity, temperature, beta):
    """Take the logarithm of weights, some of which are 0: the values are right, the gradient is not."""
    itself = torch.eye(len(similarity), dtype=torch.bool)
    terms = hardness_weights(similarity, temperature, beta).log() + similarity / temperature
    return terms.masked_fill(itself, -torch.inf).logsumexp(dim=1)


def detached(similarity, temperature, beta):
    itself = torch.eye(len(similarity), dtype=torch.bool)
    hardness = (beta * similarity / temperature).masked_fill(itself, -torch.inf)
    log_weights = math.log(len(similarity) - 1) + hardness.log_softmax(dim=1).detach()
    return (log_weights + similarity / temperature).logsumexp(dim=1)


def difference_of_sums(similarity, temperature, beta):
    """Another right solution."""
    itself = torch.eye(len(similarity), dtype=torch.bool)
    hard = (beta * similarity / temperature).masked_fill(itself, -torch.inf).logsumexp(dim=1)
    both = ((1 + beta) * similarity / temperature).masked_fill(itself, -torch.inf).logsumexp(dim=1)
    return both - hard + math.log(len(similarity) - 1)


def without_diagonal(images, texts, temperature, beta1, beta2):
    """Another right solution: the diagonal is cut out, where the book's is masked."""
    count, total = len(images), 0
    for similarity, beta in ((images @ texts.T, beta1), (texts @ images.T, beta2)):
        rows = [torch.cat([similarity[i, :i], similarity[i, i + 1 :]]) / temperature for i in range(count)]
        for i, row in enumerate(rows):
            log_weights = torch.log_softmax(beta * row, 0) + np.log(count - 1)
            total = total + ((row + log_weights).logsumexp(0) - similarity[i, i] / temperature) / count
    return total


class TestChecks:
    def test_other_right_solutions_pass(self):
        assert check("03.2", difference_of_sums).solved
        assert check("03.4", without_diagonal).solved
        assert check("03.4", lambda v, t, tau, *betas: DHNNCELoss(tau, *betas)(v, t)).solved

    def test_the_released_loss_is_named_as_what_it_is(self):
        outcome = check("03.4", lambda v, t, tau, *betas: ReleasedHNLoss(tau, *betas)(v, t))
        assert not outcome.solved
        for words in ("released code", "logarithm of each term", "exp(0) = 1", "β"):
            assert words in outcome.message

    @pytest.mark.parametrize(
        "loss, name", [(InfoNCELoss, "InfoNCE"), (DCLLoss, "DCL"), (HNNCELoss, "HN-NCE")], ids=lambda part: str(part)
    )
    def test_the_relatives_are_named(self, loss, name):
        outcome = check("03.4", lambda v, t, tau, *betas: loss(tau, *(betas if loss is HNNCELoss else ()))(v, t))
        assert not outcome.solved and name in outcome.message

    def test_weights_without_a_gradient_are_noticed(self):
        assert "no gradient flows through your weights" in check("03.2", detached).message
        held = check("03.4", lambda v, t, tau, *betas: DHNNCELoss(tau, *betas, differentiate_weights=False)(v, t))
        assert not held.solved and held.message.startswith("the values are right; the gradient")

    def test_the_logarithm_of_a_weight_of_zero_is_noticed(self):
        outcome = check("03.2", weights_then_log)
        assert not outcome.solved and "the gradient is nan: you take the logarithm" in outcome.message

    def test_a_mean_that_is_still_missing_is_named(self):
        rows = check("03.3", lambda s, tau, beta: log_sum_of_negatives(s, tau, beta) - s.diagonal() / tau)
        assert "a mean or a sum over it is still missing" in rows.message
