"""The bottleneck that measures the small CLIP: what it leaves alone, what decides it, and its information by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch.distributions import Normal, kl_divergence
from torch.nn import functional as F

from medclipsam_utils import simulate
from medclipsam_utils.models import Clip
from medclipsam_utils.models.tiny_clip import IMAGE_SIZE, MEAN, STD, build_tiny_clip
from recipes import plain_m2ib

QUICK = {"layer": 3, "beta": 0.1, "steps": 3, "samples": 2}


@pytest.fixture(scope="module")
def asked():
    """A small CLIP with random weights, three images, and a text for each."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        clip = Clip("random", build_tiny_clip(20), str, IMAGE_SIZE, MEAN, STD)
        texts = F.normalize(torch.randn(3, 128), dim=-1)
    tasks = ("breast_ultrasound", "brain_mri", "lung_ct")
    return clip, [simulate(task, 1, size=IMAGE_SIZE).image for task in tasks], texts


class TestBottleneck:
    def test_a_map_does_not_depend_on_the_batch(self, asked):
        clip, images, texts = asked
        together = plain_m2ib.saliency(clip, images, texts, **QUICK)
        assert together.shape == (3, 16, 16) and together.dtype == torch.float32 and (together >= 0).all()
        assert (together.std((1, 2)) > 0.01 * together.mean((1, 2))).all()
        for number in range(3):
            alone = plain_m2ib.saliency(clip, images[number : number + 1], texts[number], **QUICK)
            torch.testing.assert_close(alone[0], together[number], rtol=1e-3, atol=1e-3)

    def test_the_model_is_left_as_it_was(self, asked):
        clip, images, texts = asked
        clip.model.logit_scale.requires_grad_(False)
        before = {name: weight.clone() for name, weight in clip.model.state_dict().items()}
        needs_gradient = {name: weight.requires_grad for name, weight in clip.model.named_parameters()}
        plain_m2ib.saliency(clip, images[:1], texts[0], **QUICK)
        for name, weight in clip.model.state_dict().items():
            assert torch.equal(weight, before[name]), name
        assert needs_gradient == {name: weight.requires_grad for name, weight in clip.model.named_parameters()}
        assert len(set(needs_gradient.values())) == 2
        assert all(weight.grad is None for weight in clip.model.parameters()) and not clip.model.training

    def test_the_seed_decides(self, asked):
        clip, images, texts = asked
        first, same, other = (plain_m2ib.saliency(clip, images[:1], texts[0], seed=seed, **QUICK) for seed in (0, 0, 1))
        assert torch.equal(first, same) and not torch.equal(first, other)

    def test_dearer_information_is_less_information(self, asked):
        clip, images, texts = asked
        totals = [
            plain_m2ib.saliency(clip, images, texts, **{**QUICK, "beta": beta}).sum((1, 2)) for beta in (0, 0.1, 10)
        ]
        assert (totals[0] > totals[1]).all() and (totals[1] > totals[2]).all()

    def test_information_by_hand(self):
        passed, signal = torch.tensor([0.0, 0.5, 0.5, 1.0]), torch.tensor([3.0, 0.0, 2.0, 0.0])
        # λ = 1/2, x = 0: ½ (1/4 - 1 - ln 1/4); x = 2 adds ½ · 1. At λ = 1 nothing is hidden: bounded by the 1e-12 only.
        expected = [0, 0.5 * (-0.75 + math.log(4)), 0.5 * (0.25 + math.log(4)), 0.5 * (-1 + 12 * math.log(10))]
        torch.testing.assert_close(plain_m2ib._information(passed, signal), torch.tensor(expected))
        kl = kl_divergence(Normal(passed[:3] * signal[:3], 1 - passed[:3]), Normal(0.0, 1.0))
        torch.testing.assert_close(plain_m2ib._information(passed, signal)[:3], kl)
