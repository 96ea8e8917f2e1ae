"""The losses of the small CLIP against values worked out by hand and against plain loops."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from medclipsam_utils.models.tiny_clip import build_tiny_clip
from recipes.clip.losses import any_window, image_text_loss, pair_loss, region_text_loss
from recipes.clip.patches import patch_features
from recipes.data.captions import FALSE, TRUE, UNKNOWN


def mean(values: list[float]) -> float:
    return sum(values) / max(1, len(values))


class TestLosses:
    VERDICT = torch.tensor([[TRUE, FALSE, UNKNOWN], [FALSE, UNKNOWN, TRUE]])
    SAME_ORGAN = torch.tensor([[True, True, True], [False, False, True]])
    INSIDE = torch.tensor([[True, False, False], [False, True, False]])
    OUTSIDE = torch.tensor([[False, True, False], [True, False, True]])
    NAMES_TARGET = torch.tensor([True, False, True])

    def logits(self, *shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 2

    def test_a_model_that_knows_nothing(self):
        # Every answer costs log 2; true pairs weigh 1, hard false ones 3/4, easy ones 1/4.
        loss = image_text_loss(torch.zeros(2, 3, dtype=torch.float64), self.VERDICT, self.SAME_ORGAN)
        assert loss.item() == pytest.approx(2 * math.log(2))
        none = image_text_loss(torch.zeros(2, 3), torch.full((2, 3), UNKNOWN), self.SAME_ORGAN)
        assert none.item() == 0

    def test_image_text_loss_is_the_plain_loop(self):
        logits, terms = self.logits(2, 3), {"true": [], "hard": [], "easy": []}
        for image in range(2):
            for caption in range(3):
                score = logits[image, caption].item()
                if self.VERDICT[image, caption] == TRUE:
                    terms["true"].append(math.log1p(math.exp(-score)))
                elif self.VERDICT[image, caption] == FALSE:
                    kind = "hard" if self.SAME_ORGAN[image, caption] else "easy"
                    terms[kind].append(math.log1p(math.exp(score)))
        expected = mean(terms["true"]) + 0.75 * mean(terms["hard"]) + 0.25 * mean(terms["easy"])
        assert image_text_loss(logits, self.VERDICT, self.SAME_ORGAN).item() == pytest.approx(expected, rel=1e-12)

    def test_any_window_is_the_chance_that_not_all_say_no(self):
        chances = torch.tensor([[0.5, 0.9], [0.2, 0.1], [0.0, 0.3]])[None].double()  # three windows, two captions
        expected = torch.tensor([[1 - 0.5 * 0.8, 1 - 0.1 * 0.9 * 0.7]]).double()
        assert torch.allclose(any_window(chances.logit()).sigmoid(), expected)

    @pytest.mark.parametrize("logit", [-40.0, 40.0])
    def test_any_window_has_a_gradient_however_sure_it_is(self, logit):
        logits = torch.full((1, 4, 1), logit, requires_grad=True)
        some = any_window(logits)
        some.sum().backward()
        assert torch.isfinite(some).all() and torch.isfinite(logits.grad).all() and logits.grad.sum() > 0.1

    def test_pair_loss_by_hand(self):
        """Caption 0 is true of the first image alone, 1 of the second alone, 2 of both, 3 is of another organ."""
        verdict = torch.tensor([[TRUE, FALSE, TRUE, TRUE], [FALSE, TRUE, TRUE, FALSE]])
        same_organ = torch.tensor([[True, True, True, False]] * 2)
        logits = torch.tensor([[2.0, 0.5, 9.0, 9.0], [1.0, 1.5, -9.0, 9.0]])
        expected = math.log1p(math.exp(-1))  # both lead by 1
        assert pair_loss(logits, verdict, same_organ).item() == pytest.approx(expected)
        assert pair_loss(logits + torch.tensor([[5.0, -3, 0, 1]]), verdict, same_organ).item() == pytest.approx(
            expected
        )
        assert pair_loss(logits, torch.full_like(verdict, UNKNOWN), same_organ).item() == 0

    def test_region_text_loss_is_the_plain_loop(self):
        logits = self.logits(2, 3, 3)
        weights = {"positive": 1, "beside": 0.5, "wrong target": 0.35, "wrong image": 0.15}
        terms = {name: [] for name in weights}
        for image, patch, caption in np.ndindex(2, 3, 3):
            verdict, score = self.VERDICT[image, caption], logits[image, patch, caption].item()
            yes, no = math.log1p(math.exp(-score)), math.log1p(math.exp(score))
            names = self.NAMES_TARGET[caption]
            if self.INSIDE[image, patch]:
                if verdict == TRUE and names:
                    terms["positive"].append(yes)
                elif verdict == FALSE:
                    terms["wrong target"].append(no)
            elif self.OUTSIDE[image, patch] and names and verdict != UNKNOWN:
                terms["beside" if verdict == TRUE else "wrong image"].append(no)
        assert all(terms.values())
        expected = sum(weight * mean(terms[name]) for name, weight in weights.items())
        loss = region_text_loss(logits, self.VERDICT, self.INSIDE, self.OUTSIDE, self.NAMES_TARGET)
        assert loss.item() == pytest.approx(expected, rel=1e-12)

    def test_what_is_unknown_teaches_nothing(self):
        logits = self.logits(2, 3).requires_grad_()
        image_text_loss(logits, self.VERDICT, self.SAME_ORGAN).backward()
        assert torch.equal(logits.grad == 0, self.VERDICT == UNKNOWN)
        logits = self.logits(2, 3, 3).requires_grad_()
        region_text_loss(logits, self.VERDICT, self.INSIDE, self.OUTSIDE, self.NAMES_TARGET).backward()
        border = ~(self.INSIDE | self.OUTSIDE)
        assert logits.grad[border].abs().max() == 0
        assert logits.grad.transpose(1, 2)[self.VERDICT == UNKNOWN].abs().max() == 0

    def test_a_perfect_model_loses_less(self):
        truth = torch.where(self.VERDICT == TRUE, 8.0, -8.0)
        images = [image_text_loss(scores, self.VERDICT, self.SAME_ORGAN) for scores in (truth, self.logits(2, 3))]
        assert images[0] < 0.01 < images[1]
        rest = self.VERDICT, self.INSIDE, self.OUTSIDE, self.NAMES_TARGET
        patches = torch.where(self.INSIDE[..., None], truth[:, None], torch.tensor(-8.0))
        regions = [region_text_loss(scores, *rest) for scores in (patches, self.logits(2, 3, 3))]
        assert regions[0] < 0.01 < regions[1]

    def test_patch_features_are_what_the_tower_answers_to_one_patch_alone(self):
        generator = torch.Generator().manual_seed(1)
        clip = build_tiny_clip(20).double().eval()
        with torch.no_grad():
            for weight in clip.visual.parameters():
                weight += 0.1 * torch.randn(weight.shape, generator=generator, dtype=torch.float64)
            tokens = torch.randn(2, 5, 128, generator=generator, dtype=torch.float64)
            features = patch_features(clip, tokens)
            for image, patch in np.ndindex(2, 5):
                alone = tokens[image, patch][None, None]  # (1, 1, C)
                expected = F.normalize(clip.visual.head(clip.visual.trunk.forward_head(alone)), dim=-1)[0]
                torch.testing.assert_close(features[image, patch], expected)
