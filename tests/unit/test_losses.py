"""The contrastive losses against loops in float64, hand-computed values and the equation of their gradient."""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from processes import run_together
from torch.nn import functional as F

from medclipsam_utils.losses import (
    FALSE_NEGATIVES,
    LOWEST_TEMPERATURE,
    ContrastiveLoss,
    DCLLoss,
    DHNNCELoss,
    HNNCELoss,
    InfoNCELoss,
    ReleasedHNLoss,
    log_hardness_weights,
)
from medclipsam_utils.runs.processes import joined

SWITCHES = {"InfoNCE": (False, 0.0), "DCL": (True, 0.0), "HN-NCE": (False, 0.15), "DHN-NCE": (True, 0.15)}
ALL_LOSSES = (InfoNCELoss, DCLLoss, HNNCELoss, DHNNCELoss)


def embeddings(count: int, seed: int = 0, dimension: int = 16, dtype=torch.float64) -> tuple[torch.Tensor, ...]:
    """Random features [B, D] of length 1, of images and of texts."""
    generator = torch.Generator().manual_seed(seed)
    return tuple(
        F.normalize(torch.randn(count, dimension, generator=generator, dtype=torch.float64), dim=1).to(dtype)
        for _ in range(2)
    )


def with_similarities(similarities: list[list[float]]) -> tuple[torch.Tensor, torch.Tensor]:
    """Features whose products are these: not of length 1, which the loss does not ask for."""
    return torch.tensor(similarities, dtype=torch.float64), torch.eye(len(similarities), dtype=torch.float64)


def plain_half(
    s: np.ndarray, temperature: float, beta: float, decoupled: bool, through: bool
) -> tuple[float, np.ndarray]:
    """Value and gradient with respect to s, through the weights or not: one number at a time."""
    count, value, gradient = len(s), 0.0, np.zeros_like(s)
    for i in range(count):
        others = [j for j in range(count) if j != i]
        hardness = {j: math.exp(beta * (s[i, j] - max(s[i])) / temperature) for j in others}
        weight = {j: (count - 1) * hardness[j] / sum(hardness.values()) for j in others}
        top = max(s[i]) / temperature
        terms = {j: weight[j] * math.exp(s[i, j] / temperature - top) for j in others}
        total = sum(terms.values()) + (0 if decoupled else math.exp(s[i, i] / temperature - top))
        value += (-s[i, i] / temperature + math.log(total) + top) / count
        weighted = sum(terms.values())
        for j in others:
            # ∂w_k/∂s_j = w_k β/τ (δ_jk − q_j), with q_j = w_j / (B − 1) the softmax of β s/τ over the others.
            slope = terms[j] + beta * (terms[j] - weight[j] / (count - 1) * weighted) if through else terms[j]
            gradient[i, j] = slope / total / temperature / count
        own = 0 if decoupled else math.exp(s[i, i] / temperature - top) / total
        gradient[i, i] = (own - 1) / temperature / count
    return value, gradient


def plain_loss(images, texts, temperature, beta1, beta2, decoupled, through=True):
    """Value, and gradients with respect to both sets of features."""
    images, texts = images.double().numpy(), texts.double().numpy()
    s = images @ texts.T
    first, to_text = plain_half(s, temperature, beta1, decoupled, through)
    second, to_image = plain_half(s.T, temperature, beta2, decoupled, through)
    gradient = to_text + to_image.T
    return first + second, gradient @ texts, gradient.T @ images


def measured(loss, images, texts, *groups):
    images, texts = images.clone().requires_grad_(), texts.clone().requires_grad_()
    value = loss(images, texts, *groups)
    value.backward()
    return value.detach(), images.grad, texts.grad


class TestAgainstLoops:
    @pytest.mark.parametrize("count", [2, 3, 8, 64])
    @pytest.mark.parametrize("temperature", [0.01, 0.1, 0.6, 5.0])
    @pytest.mark.parametrize("beta", [0.0, 0.15, 1.0])
    @pytest.mark.parametrize("decoupled", [True, False])
    @pytest.mark.parametrize("through", [True, False])
    def test_value_and_gradient(self, count, temperature, beta, decoupled, through):
        images, texts = embeddings(count, seed=count)
        loss = ContrastiveLoss(
            temperature, beta1=beta, beta2=beta / 2, decoupled=decoupled, differentiate_weights=through
        ).double()
        expected = plain_loss(images, texts, loss.temperature, beta, beta / 2, decoupled, through)
        for found, wanted in zip(measured(loss, images, texts), expected, strict=True):
            wanted = torch.as_tensor(wanted)
            assert (found - wanted).norm() <= 1e-6 * wanted.norm()

    def test_single_precision_is_near(self):
        images, texts = embeddings(64)
        expected = plain_loss(images, texts, 0.6, 0.15, 0.15, True)
        for found, wanted in zip(measured(DHNNCELoss(), images.float(), texts.float()), expected, strict=True):
            wanted = torch.as_tensor(wanted)
            assert (found - wanted).norm() <= 1e-5 * wanted.norm()

    @pytest.mark.parametrize("loss", [HNNCELoss, DHNNCELoss])
    @pytest.mark.parametrize("temperature, beta", [(0.6, 0.15), (0.1, 1.0), (0.05, 0.5)])
    def test_the_default_is_the_equation_as_autograd_differentiates_it(self, loss, temperature, beta):
        """The equation written with plain exponentials and sums, weights and all, and left to autograd."""
        images, texts = embeddings(64)
        images.requires_grad_(), texts.requires_grad_()
        total = 0.0
        for s in (images @ texts.T, texts @ images.T):
            negative = ~torch.eye(64, dtype=torch.bool)
            weights = torch.exp(beta * s / temperature) * negative
            weights = 63 * weights / weights.sum(1, keepdim=True)
            denominator = (weights * torch.exp(s / temperature) * negative).sum(1)
            if loss is HNNCELoss:
                denominator = denominator + torch.exp(s.diagonal() / temperature)
            total = total + (denominator.log() - s.diagonal() / temperature).mean()
        expected = torch.autograd.grad(total, (images, texts))
        _, *found = measured(loss(temperature, beta, beta), images.detach(), texts.detach())
        for one, other in zip(found, expected, strict=True):
            assert (one - other).norm() <= 1e-10 * other.norm()
        _, *stopped = measured(
            loss(temperature, beta, beta, differentiate_weights=False), images.detach(), texts.detach()
        )
        assert all((one - other).norm() > 1e-3 * other.norm() for one, other in zip(stopped, expected, strict=True))


class TestByHand:
    def test_two_pairs(self):
        # s = [[1, 0], [0, 1]], τ = 1. InfoNCE: log(e + 1) − 1 for each row; decoupled: log(e⁰) − 1 = −1.
        features = with_similarities([[1, 0], [0, 1]])
        assert InfoNCELoss(1.0)(*features).item() == pytest.approx(2 * (math.log(math.e + 1) - 1))
        assert DCLLoss(1.0)(*features).item() == pytest.approx(-2)
        # One negative has the weight B − 1 = 1, whatever β.
        assert DHNNCELoss(1.0, 3.0, 3.0)(*features).item() == pytest.approx(-2)
        assert HNNCELoss(1.0, 3.0, 3.0)(*features).item() == pytest.approx(2 * (math.log(math.e + 1) - 1))

    def test_three_pairs(self):
        # Row 0 has the negatives log 2 and 0. With β = 1 their weights are 2 · (2, 1) / 3; weighted terms 8/3 and 2/3.
        log2 = math.log(2)
        similarities = torch.tensor([[1.0, log2, 0], [0, 1, 0], [0, 0, 1]], dtype=torch.float64)
        loss = ContrastiveLoss(1.0, beta1=1.0, decoupled=True)
        row = math.log(8 / 3 + 2 / 3) - 1
        even = math.log(2) - 1  # two negatives of similarity 0
        assert loss.half_loss(similarities, 1.0).item() == pytest.approx((row + 2 * even) / 3)
        weights = log_hardness_weights(similarities.masked_fill(torch.eye(3, dtype=torch.bool), -torch.inf), 1.0).exp()
        torch.testing.assert_close(weights[0], torch.tensor([0, 4 / 3, 2 / 3], dtype=torch.float64))


class TestFamily:
    @pytest.mark.parametrize("with_beta, without", [(DHNNCELoss, DCLLoss), (HNNCELoss, InfoNCELoss)])
    def test_without_hardness_it_is_the_plain_one(self, with_beta, without):
        images, texts = embeddings(8)
        for found, wanted in zip(
            measured(with_beta(0.1, 0, 0), images, texts), measured(without(0.1), images, texts), strict=True
        ):
            assert torch.equal(found, wanted)

    def test_infonce_is_the_cross_entropy_of_both_directions(self):
        images, texts = embeddings(8)
        logits, target = images @ texts.T / 0.6, torch.arange(8)
        expected = F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)
        torch.testing.assert_close(InfoNCELoss(0.6).double()(images, texts), expected, rtol=1e-6, atol=0)

    @pytest.mark.parametrize("loss", ALL_LOSSES)
    def test_the_order_of_the_pairs_does_not_matter(self, loss):
        images, texts = embeddings(8)
        order = torch.randperm(8, generator=torch.Generator().manual_seed(0))
        torch.testing.assert_close(loss()(images, texts), loss()(images[order], texts[order]))

    def test_each_direction_has_its_own_hardness(self):
        images, texts = embeddings(8)
        both = DHNNCELoss(0.6, 0.3, 0.7)
        torch.testing.assert_close(both(images, texts), DHNNCELoss(0.6, 0.7, 0.3)(texts, images))
        assert both(images, texts) != DHNNCELoss(0.6, 0.7, 0.3)(images, texts)


def gradients_of_negatives(loss, images, texts):
    """Similarity of every negative, and the gradient of the image-to-text half with respect to it."""
    similarities = (images @ texts.T).requires_grad_()
    value = loss.half_loss(similarities / loss.temperature, loss.beta1)
    (gradient,) = torch.autograd.grad(value, similarities)
    negatives = ~torch.eye(len(images), dtype=torch.bool)
    return similarities.detach()[negatives].numpy(), gradient[negatives].numpy()


class TestGradient:
    """The harder a negative, the more it is pushed away; β makes that steeper."""

    def test_hard_negatives_are_pushed_more(self):
        similarity, gradient = gradients_of_negatives(DHNNCELoss(), *embeddings(8))
        assert (gradient > 0).all() and np.corrcoef(similarity, gradient)[0, 1] > 0.85

    def test_within_a_row_the_gradient_grows_with_similarity(self):
        images, texts = embeddings(8)
        similarity, gradient = (values.reshape(8, 7) for values in gradients_of_negatives(DHNNCELoss(), images, texts))
        for row, pushed in zip(similarity, gradient, strict=True):
            assert (np.diff(pushed[row.argsort()]) > 0).all()

    def test_hardness_makes_it_steeper(self):
        images, texts = embeddings(8)
        ratios = []
        for beta in (0.0, 0.15, 0.3):
            _, gradient = gradients_of_negatives(DHNNCELoss(0.6, beta, beta), images, texts)
            ratios.append((gradient.reshape(8, 7).max(1) / gradient.reshape(8, 7).min(1)).mean())
        assert ratios[0] < ratios[1] < ratios[2]

    @pytest.mark.parametrize("beta", [0.15, 0.5, 1.0])
    def test_at_the_papers_temperature_no_negative_is_pulled(self, beta):
        for through in (True, False):
            for seed in range(5):
                loss = DHNNCELoss(0.6, beta, beta, differentiate_weights=through)
                _, gradient = gradients_of_negatives(loss, *embeddings(64, seed, dimension=512))
                assert gradient.min() > 0

    def test_at_a_low_temperature_easy_negatives_are_pulled_unless_the_weights_are_held(self):
        loss = DHNNCELoss(0.1, 1.0, 1.0)
        _, gradient = gradients_of_negatives(loss, *embeddings(8))
        assert gradient.min() < 0 < gradient.max()
        held = DHNNCELoss(0.1, 1.0, 1.0, differentiate_weights=False)
        assert loss(*embeddings(8)) == held(*embeddings(8))  # the value is the same
        assert gradients_of_negatives(held, *embeddings(8))[1].min() > 0

    def test_through_the_weights_by_hand(self):
        # In a row of three: d/ds_j log(Σ w e^s) = (1 + β) softmax((1 + β) s)_j − β softmax(β s)_j.
        row = torch.tensor([[0.0, 0.7, 0.1], [0, 0, 0], [0, 0, 0]], dtype=torch.float64, requires_grad=True)
        loss = ContrastiveLoss(1.0, beta1=1.0, decoupled=True)
        (gradient,) = torch.autograd.grad(loss.half_loss(row, 1.0), row)
        negatives = row.detach()[0, 1:]
        expected = (2 * (2 * negatives).softmax(0) - negatives.softmax(0)) / 3
        torch.testing.assert_close(gradient[0, 1:], expected)

    def test_the_released_loss_pushes_hard_negatives_less_and_pulls_some(self):
        similarity, gradient = gradients_of_negatives(ReleasedHNLoss(), *embeddings(8))
        assert np.corrcoef(similarity, gradient)[0, 1] < -0.9
        similarity, gradient = gradients_of_negatives(ReleasedHNLoss(0.1), *embeddings(8))
        assert gradient[similarity.argmax()] < 0


class TestReleased:
    def test_it_is_what_its_description_says(self):
        images, texts = embeddings(5)
        total = 0.0
        for logits, beta in ((images @ texts.T / 0.6, 0.3), (texts @ images.T / 0.6, 0.15)):
            for i in range(5):
                masked = [0.0 if j == i else float(logits[i, j]) for j in range(5)]
                normaliser = sum(math.exp(value) for value in masked)
                for j in range(5):
                    weighted = 4 * math.exp(beta * masked[j]) / normaliser * math.exp(masked[j])
                    positive = math.exp(float(logits[i, i])) if j == i else 1.0
                    total += -math.log(positive / weighted) / 25
        assert ReleasedHNLoss(0.6, 0.3, 0.15)(images, texts).item() == pytest.approx(total)


class TestNumbers:
    @pytest.mark.parametrize("temperature", [0.01, 0.07, 1.0, 10.0])
    @pytest.mark.parametrize("loss", ALL_LOSSES)
    def test_finite_at_any_temperature(self, loss, temperature):
        images, texts = embeddings(64, dtype=torch.float32)
        images[:8] = texts[:8]  # perfect pairs
        texts[8] = images[9]  # and a wrong one
        with torch.autocast("cpu", torch.bfloat16):
            for features in ((images, texts), (images.bfloat16(), texts.bfloat16())):
                value, *gradients = measured(loss(temperature), *features)
                assert value.dtype == torch.float32 and torch.isfinite(value)
                assert all(torch.isfinite(gradient).all() for gradient in gradients)

    def test_a_learnable_temperature_has_the_right_gradient(self):
        images, texts = embeddings(8)
        loss = InfoNCELoss(0.6, learnable_temperature=True).double()
        loss(images, texts).backward()
        values = [InfoNCELoss(0.6 * math.exp(step)).double()(images, texts).item() for step in (1e-4, -1e-4)]
        assert loss.log_temperature.grad.item() == pytest.approx((values[0] - values[1]) / 2e-4, rel=1e-3)
        assert not list(InfoNCELoss().parameters())


class TestLearnableTemperature:
    """The bound of CLIP: a logit scale of at most 100."""

    @pytest.mark.parametrize("loss", ALL_LOSSES)
    def test_stays_at_the_bound_or_above(self, loss):
        """Pairs that fit reward a low τ; without a bound, 200 steps of a tenth would reach 1e-9."""
        pairs, loss = embeddings(8, dtype=torch.float32)[0], loss(0.1, learnable_temperature=True)
        optimizer = torch.optim.Adam(loss.parameters(), lr=0.1)
        for _ in range(200):
            optimizer.zero_grad()
            loss(pairs, pairs).backward()
            optimizer.step()
            assert loss.temperature >= LOWEST_TEMPERATURE
        used = loss(pairs, pairs)
        torch.testing.assert_close(used, type(loss)(loss.temperature)(pairs, pairs), rtol=1e-5, atol=1e-5)
        assert loss.temperature == pytest.approx(LOWEST_TEMPERATURE) or not loss.decoupled

    @pytest.mark.parametrize("loss", ALL_LOSSES)
    def test_leaves_the_bound_as_soon_as_the_loss_asks_for_it(self, loss):
        """Pairs that do not fit ask for a high τ; what was far below the bound has nothing to make up for."""
        images = embeddings(8, dtype=torch.float32)[0]
        loss = loss(0.1, learnable_temperature=True)
        with torch.no_grad():
            loss.log_temperature.fill_(-50.0)
        assert loss.temperature == LOWEST_TEMPERATURE
        optimizer = torch.optim.SGD(loss.parameters(), lr=1e-3)
        loss(images, -images).backward()
        optimizer.step()
        assert loss.temperature > LOWEST_TEMPERATURE

    @pytest.mark.parametrize("loss", ALL_LOSSES)
    def test_cannot_start_below_the_bound_where_a_fixed_one_can_be(self, loss):
        images, texts = embeddings(4)
        assert torch.isfinite(loss(0.005)(images, texts)) and loss(0.005).temperature == 0.005
        start = loss(LOWEST_TEMPERATURE, learnable_temperature=True)
        assert start.temperature == pytest.approx(LOWEST_TEMPERATURE)
        with pytest.raises(ValueError, match=r"is 0\.005, and a learnable one stays at 0\.01 or above: start it there"):
            loss(0.005, learnable_temperature=True)

    def test_is_not_hidden_where_it_is_not_a_number(self):
        loss = InfoNCELoss(learnable_temperature=True)
        with torch.no_grad():
            loss.log_temperature.fill_(math.nan)
        assert math.isnan(loss.temperature) and torch.isnan(loss(*embeddings(4)))


class TestRepr:
    def test_says_all_that_a_loss_was_made_with(self):
        made = [
            InfoNCELoss(),
            DHNNCELoss(0.6),
            DHNNCELoss(0.600001),
            DHNNCELoss(0.6, 0.2),
            DHNNCELoss(0.6, 0.15, 0.2),
            DHNNCELoss(0.6, learnable_temperature=True),
            DHNNCELoss(0.6, differentiate_weights=False),
            HNNCELoss(0.6),
            DHNNCELoss(0.6, false_negatives="masked"),
            DHNNCELoss(0.6, false_negatives="soft"),
            ReleasedHNLoss(0.6),
            ReleasedHNLoss(0.5),
            ReleasedHNLoss(0.6, 0.2),
        ]
        assert len({repr(loss) for loss in made}) == len(made)
        assert repr(DHNNCELoss()) == repr(DHNNCELoss(0.6, 0.15, 0.15))

    def test_is_the_same_when_the_temperature_has_moved(self):
        loss = DHNNCELoss(0.1, learnable_temperature=True)
        with torch.no_grad():
            loss.log_temperature.add_(1)
        assert repr(loss) == repr(DHNNCELoss(0.1, learnable_temperature=True))
        assert loss.temperature == pytest.approx(0.1 * math.e)


class TestBadInput:
    @pytest.mark.parametrize("loss", [*ALL_LOSSES, ReleasedHNLoss])
    @pytest.mark.parametrize("temperature", [0, -1, math.nan, math.inf])
    def test_temperature(self, loss, temperature):
        with pytest.raises(ValueError, match="temperature must be a number above 0"):
            loss(temperature)

    def test_hardness(self):
        with pytest.raises(ValueError, match=r"beta2 must be 0 or above, not -0\.1"):
            DHNNCELoss(0.6, 0.1, -0.1)

    @pytest.mark.parametrize("loss", [*ALL_LOSSES, ReleasedHNLoss])
    def test_features(self, loss):
        images, texts = embeddings(4)
        with pytest.raises(ValueError, match=r"not \(4, 16\) and \(3, 16\)"):
            loss()(images, texts[:3])
        with pytest.raises(ValueError, match=r"\[B, D\]"):
            loss()(images[0], texts[0])
        with pytest.raises(ValueError, match="2 pairs or more, not 1"):
            loss()(images[:1], texts[:1])
        for bad in (math.nan, math.inf):
            broken = texts.clone()
            broken[2, 3] = bad
            with pytest.raises(ValueError, match="text_features hold NaN or infinite"):
                loss()(images, broken)


def plain_with_groups(s, groups, temperature, beta, decoupled, way) -> torch.Tensor:
    """One direction, pair by pair and term by term; autograd differentiates it."""
    rows = []
    for i in range(len(s)):
        true = [j for j in range(len(s)) if groups[j] == groups[i]]
        false = [j for j in range(len(s)) if groups[j] != groups[i]]
        if not false:
            continue
        hardness = torch.stack([(beta * s[i, j] / temperature).exp() for j in false])
        weights = len(false) * hardness / hardness.sum()
        pushed = sum(weight * (s[i, j] / temperature).exp() for weight, j in zip(weights, false, strict=True))
        pulled = true if way == "soft" else [i]
        terms = []
        for j in pulled:
            total = pushed if decoupled else pushed + (s[i, j] / temperature).exp()
            terms.append(total.log() - s[i, j] / temperature)
        rows.append(sum(terms) / len(terms))
    return sum(rows) / len(rows)


class TestFalseNegatives:
    GROUPS = torch.tensor([5, 5, 2, 7, 2, 2])

    @pytest.mark.parametrize("way", ["masked", "soft"])
    @pytest.mark.parametrize("decoupled, beta", SWITCHES.values(), ids=SWITCHES)
    def test_value_and_gradient_against_loops(self, decoupled, beta, way):
        images, texts = (part.requires_grad_() for part in embeddings(6))
        settings = {"beta1": beta, "beta2": beta, "decoupled": decoupled, "false_negatives": way}
        value = ContrastiveLoss(0.2, **settings)(images, texts, self.GROUPS)
        found = torch.autograd.grad(value, [images, texts])
        s, groups = images @ texts.T, self.GROUPS.tolist()
        expected = sum(plain_with_groups(part, groups, 0.2, beta, decoupled, way) for part in (s, s.T))
        assert value.item() == pytest.approx(expected.item(), rel=1e-10)
        for one, other in zip(found, torch.autograd.grad(expected, [images, texts]), strict=True):
            torch.testing.assert_close(one, other, rtol=1e-8, atol=1e-12)

    @pytest.mark.parametrize("loss", ALL_LOSSES)
    def test_without_any_all_ways_are_the_same(self, loss):
        images, texts = embeddings(5)
        values = [loss(0.2, false_negatives=way)(images, texts, torch.arange(5)).item() for way in FALSE_NEGATIVES]
        assert values[1:] == pytest.approx([values[0]] * 2, rel=1e-12)

    @pytest.mark.parametrize("loss", ALL_LOSSES)
    def test_they_are_pushed_left_alone_or_pulled(self, loss):
        """Image 0 and text 1 are of one group: what does the loss do to their similarity?"""
        signs = {}
        for way in FALSE_NEGATIVES:
            s = torch.full((4, 4), 0.2, dtype=torch.float64) + 0.5 * torch.eye(4, dtype=torch.float64)
            s[0, 1] = s[1, 0] = 0.6
            s.requires_grad_()
            half = loss(0.3, false_negatives=way).half_loss
            groups = torch.tensor([0, 0, 1, 2])
            true = None if way == "pushed" else groups[:, None] == groups
            (gradient,) = torch.autograd.grad(half(s / 0.3, 0.15 if "HN" in loss.__name__ else 0.0, true), s)
            signs[way] = gradient[0, 1].sign().item()
        assert signs == {"pushed": 1, "masked": 0, "soft": -1}

    def test_hardness_pushes_a_false_negative_hardest(self):
        """The claim behind the switch: the twin of a caption gets a growing part of all that is pushed."""
        s = torch.tensor([[0.9, 0.85, 0.3, 0.1]], dtype=torch.float64)
        parts = []
        for beta in (0.0, 0.15, 1.0):
            negatives = (s / 0.6).masked_fill(torch.tensor([[True, False, False, False]]), -torch.inf)
            parts.append((negatives + log_hardness_weights(negatives, beta)).softmax(1)[0, 1].item())
        assert parts[0] < parts[1] < parts[2]

    def test_the_weights_of_a_row_add_up_to_the_number_of_its_negatives(self):
        logits = torch.randn(4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        left_out = torch.eye(4, dtype=torch.bool)
        left_out[0, 2] = True
        weights = log_hardness_weights(logits.masked_fill(left_out, -torch.inf), 0.5).exp()
        assert weights.sum(1).tolist() == pytest.approx([2, 3, 3, 3]) and weights[0, 2] == 0

    def test_groups_that_are_missing_or_say_nothing_are_refused(self):
        images, texts = embeddings(3)
        loss = DHNNCELoss(false_negatives="masked")
        for wrong in (None, torch.zeros(2), torch.zeros(3, 1)):
            with pytest.raises(ValueError, match="needs the groups of its pairs"):
                loss(images, texts, wrong)
        with pytest.raises(ValueError, match="false_negatives is 'ignored'"):
            DHNNCELoss(false_negatives="ignored")

    @pytest.mark.parametrize("way", ["masked", "soft"])
    @pytest.mark.parametrize("loss", ALL_LOSSES)
    def test_a_batch_of_one_group_says_nothing(self, loss, way):
        """A long run may meet one by chance, and goes on."""
        images, texts = (part.requires_grad_() for part in embeddings(3))
        value = loss(false_negatives=way)(images, texts, torch.zeros(3))
        value.backward()
        assert value == 0 and images.grad.abs().max() == 0 == texts.grad.abs().max()

    def test_a_row_without_negatives_does_not_count(self):
        """Two of three pairs are true of everything: what remains is finite, and has a gradient."""
        images, texts = (part.requires_grad_() for part in embeddings(3))
        true = torch.tensor([[True, True, True], [True, True, False], [True, False, True]])
        half = DHNNCELoss(0.1, false_negatives="masked").half_loss(images @ texts.T / 0.1, 0.15, true)
        half.backward()
        assert torch.isfinite(half) and torch.isfinite(images.grad).all() and images.grad[0].abs().sum() == 0


SHARED = {
    "DHN-NCE": partial(DHNNCELoss, learnable_temperature=True),
    "HN-NCE": partial(HNNCELoss, learnable_temperature=True),
    "masked": partial(DHNNCELoss, learnable_temperature=True, false_negatives="masked"),
    "soft": partial(HNNCELoss, learnable_temperature=True, false_negatives="soft"),
}
GROUPS = torch.tensor([0, 1, 2, 2, 3, 1, 2, 4])  # pairs of one group are on different ranks


def _one_of_two(folder: str, loss_name: str) -> None:
    """What one of two processes computes of a batch of 8, of which it has half."""
    with joined(torch.device("cpu")) as here:
        images, texts = embeddings(8)
        half = slice(4 * here.rank, 4 * here.rank + 4)
        loss = SHARED[loss_name]().double()
        value, *gradients = measured(loss, images[half], texts[half], GROUPS[half])
        parts = [value, *(gradient / 2 for gradient in gradients), loss.log_temperature.grad]
        torch.save(parts, f"{folder}/{here.rank}.pt")


@pytest.mark.skipif(not torch.distributed.is_available(), reason="this torch has no torch.distributed")
@pytest.mark.parametrize("loss_name", ["DHN-NCE", "HN-NCE", "masked", "soft"])
def test_two_processes_give_the_loss_and_the_gradient_of_one(tmp_path: Path, loss_name):
    run_together(2, _one_of_two, str(tmp_path), loss_name)
    parts = [torch.load(tmp_path / f"{rank}.pt") for rank in range(2)]
    loss = SHARED[loss_name]().double()
    value, *gradients = measured(loss, *embeddings(8), GROUPS)
    for part in parts:
        torch.testing.assert_close(part[0], value, rtol=1e-6, atol=0)
        torch.testing.assert_close(part[3], loss.log_temperature.grad, rtol=1e-6, atol=0)
    for side, gradient in enumerate(gradients, start=1):
        found = torch.cat([part[side] for part in parts])
        assert (found - gradient).norm() <= 1e-6 * gradient.norm()
