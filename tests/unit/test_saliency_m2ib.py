"""M2IB: against a bottleneck solved by hand, against a plain version, and that it leaves the model as it was."""

from __future__ import annotations

import math

import numpy as np
import open_clip
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from benchmarks.plain_m2ib import plain_m2ib
from medclipsam_utils.models import Clip, ModelError, load_clip
from medclipsam_utils.saliency import Bottleneck, information, m2ib, patch_information
from medclipsam_utils.saliency.maps import upsample
from medclipsam_utils.simulate import simulate

SETTINGS = {"layer": 4, "beta": 0.1, "steps": 4, "samples": 3}


@pytest.fixture(scope="module")
def tiny():
    return load_clip("tiny")


@pytest.fixture(scope="module")
def sample():
    return simulate("breast_ultrasound", 3, finding="benign")


def open_clip_vit(pool: str = "tok") -> Clip:
    """CLIP's own transformers, small, with random weights."""
    vision = {"image_size": 32, "layers": 3, "width": 32, "head_width": 16, "patch_size": 8, "pool_type": pool}
    text = {"context_length": 12, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 2}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = open_clip.CLIP(embed_dim=24, vision_cfg=vision, text_cfg=text)
    return Clip("small", model, open_clip.SimpleTokenizer(context_length=12), 32, (0.5,) * 3, (0.25,) * 3)


def biomedclip_like() -> Clip:
    """A timm transformer with a class token, as BiomedCLIP's image tower, small, with random weights."""
    vision = {"image_size": 224, "timm_model_name": "vit_tiny_patch16_224", "timm_pool": "", "timm_proj": "linear"}
    text = {"context_length": 12, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 2}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = open_clip.CustomTextCLIP(embed_dim=24, vision_cfg=vision, text_cfg=text)
    return Clip("small timm", model, open_clip.SimpleTokenizer(context_length=12), 224, (0.5,) * 3, (0.25,) * 3)


class TestInformation:
    def test_by_hand(self):
        """λ = ½, x = 2, σ² = 1: ½ (1 + ¼ − 1 − log ¼) = ⅛ + log 2. With σ² = 4: ½ (¼ + ¼ − 1 − log ¼)."""
        half, two = torch.tensor(0.5), torch.tensor(2.0)
        assert information(half, two).item() == pytest.approx(0.125 + math.log(2))
        assert information(half, two, 4.0).item() == pytest.approx(-0.25 + math.log(2))
        assert information(torch.tensor(0.0), two).item() == 0

    def test_is_torchs_divergence_of_two_normal_distributions(self):
        generator = torch.Generator().manual_seed(0)
        passed, x = torch.rand(50, generator=generator), torch.randn(50, generator=generator)
        inside = torch.distributions.Normal(passed * x, (1 - passed) * 0.7)
        expected = torch.distributions.kl_divergence(inside, torch.distributions.Normal(torch.zeros(50), 0.7))
        torch.testing.assert_close(information(passed, x, 0.49), expected)

    def test_all_that_passes_is_much_and_finite(self):
        assert 10 < information(torch.tensor(1.0), torch.tensor(1.0)).item() < 20


def test_a_bottleneck_of_one_number_solved_by_hand():
    """The similarity is z itself, of which the noise averages out; the price is, with x = 1 and β = ½,
    ¼ (λ² + (1 − λ)² − 1 − 2 log(1 − λ)). The best λ is where 1 = ½ (λ − (1 − λ) + 1/(1 − λ)), that is where
    2 λ² − 5 λ + 2 = 0: λ = ½.
    """
    found = []
    bottleneck = Bottleneck(0.5, steps=300, samples=4000, lr=0.05)
    nats = bottleneck.information(torch.ones(1, 1, 1), lambda z: z.flatten(), lambda passed, fit: found.append(passed))
    assert found[-1].item() == pytest.approx(0.5, abs=0.02)
    assert nats.item() == pytest.approx(0.5 * (0.25 + 0.25 - 1) + math.log(2), abs=0.02)


class TestParity:
    @pytest.mark.parametrize("variance", [1.0, 0.3])
    @pytest.mark.parametrize("layer", [1, 5])
    def test_with_the_plain_version_on_the_small_clip(self, tiny, sample, layer, variance):
        settings = SETTINGS | {"layer": layer, "variance": variance}
        (found,) = m2ib(tiny, sample.image, "a breast tumour", **settings)
        plain = upsample(plain_m2ib(tiny, sample.image, "a breast tumour", **settings).numpy(), (256, 256))
        assert np.ptp(plain) == 1 and np.abs(found - plain).max() < 1e-4

    @pytest.mark.parametrize("make", [open_clip_vit, lambda: open_clip_vit("avg"), biomedclip_like])
    def test_with_the_plain_version_on_real_architectures(self, make, sample):
        clip = make()
        settings = SETTINGS | {"layer": 1, "beta": 0.01}
        (found,) = m2ib(clip, sample.image, "a breast tumour", **settings)
        plain = upsample(plain_m2ib(clip, sample.image, "a breast tumour", **settings).numpy(), (256, 256))
        assert np.ptp(plain) == 1 and np.abs(found - plain).max() < 1e-4

    def test_several_images_give_what_each_gives_alone(self, tiny, sample):
        images = [sample.image, simulate("brain_mri", 4).image[:200], simulate("lung_ct", 5).image]
        texts = ["a breast tumour", "a brain tumour", "lungs"]
        together = m2ib(tiny, images, texts, standardize=True, **SETTINGS | {"samples": 25})
        for image, text, found in zip(images, texts, together, strict=True):
            (alone,) = m2ib(tiny, image, text, standardize=True, **SETTINGS | {"samples": 25})
            assert found.shape == image.shape[:2] and np.abs(found - alone).max() < 1e-5

    def test_features_in_the_place_of_a_sentence(self, tiny, sample):
        features = tiny.encode_text("a breast tumour")
        by_text, by_row, by_vector = (
            m2ib(tiny, sample.image, text, **SETTINGS)[0] for text in ("a breast tumour", features, features[0])
        )
        assert np.array_equal(by_text, by_row) and np.array_equal(by_text, by_vector)


class TestSettings:
    def test_everything_acts(self, tiny, sample):
        """Also the variance, which the released code stores and never uses."""
        (plain,) = m2ib(tiny, sample.image, "a breast tumour", **SETTINGS)
        changes = {"layer": 3, "beta": 1.0, "variance": 0.5, "steps": 6, "samples": 2, "lr": 0.5, "seed": 1,
                   "standardize": True}  # fmt: skip
        for name, value in changes.items():
            (other,) = m2ib(tiny, sample.image, "a breast tumour", **SETTINGS | {name: value})
            assert np.abs(other - plain).max() > 1e-3, name
        assert np.array_equal(m2ib(tiny, [sample.image], "a breast tumour", **SETTINGS | {"layer": -2}), [plain])

    def test_a_higher_price_keeps_less(self, tiny, sample):
        kept = []
        for beta in (0.01, 10.0):
            m2ib(tiny, sample.image, "a breast tumour", **SETTINGS | {"beta": beta, "steps": 10},
                 watch=lambda passed, fit: kept.append(passed.mean().item()))  # fmt: skip
        assert len(kept) == 20 and kept[0] == kept[10] == pytest.approx(1 / (1 + math.exp(-5)), abs=1e-5)
        assert kept[19] < 0.5 * kept[9]

    @pytest.mark.parametrize(
        "wrong, says",
        [
            ({"layer": 6}, "layer is 6: the image tower has 6 blocks, give 0 to 5, or -6 to -1"),
            ({"beta": -1}, "beta is -1: give 0 or above"),
            ({"beta": math.nan}, "beta is nan"),
            ({"variance": 0}, "variance is 0: give a number above 0"),
            ({"lr": math.inf}, "lr is inf"),
            ({"steps": 0}, "steps is 0: give a whole number"),
            ({"samples": 1.5}, "samples is 1.5"),
        ],
    )
    def test_wrong_settings(self, tiny, sample, wrong, says):
        with pytest.raises(ValueError, match=says):
            m2ib(tiny, sample.image, "a breast tumour", **SETTINGS | wrong)

    def test_a_bottleneck_where_the_patches_no_longer_matter(self, tiny, sample):
        for clip, last in ((open_clip_vit(), 2), (biomedclip_like(), -1)):
            with pytest.raises(ValueError, match="after the last block the image tower reads one token alone"):
                m2ib(clip, sample.image, "a tumour", **SETTINGS | {"layer": last})
        for clip in (tiny, open_clip_vit("avg")):
            assert m2ib(clip, sample.image, "a tumour", **SETTINGS | {"layer": -1})[0].any()

    def test_texts_and_images_that_do_not_fit(self, tiny, sample):
        with pytest.raises(ValueError, match="there are 2 texts for 1 images"):
            m2ib(tiny, [sample.image], ["a tumour", "lungs"], **SETTINGS)
        with pytest.raises(ModelError, match="the text is ''"):
            m2ib(tiny, sample.image, "", **SETTINGS)
        assert m2ib(tiny, [], "lungs", **SETTINGS) == []

    def test_a_tower_without_blocks(self, sample):
        clip = open_clip_vit()
        clip.model.visual = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 24))
        with pytest.raises(ModelError, match="the image tower is a Sequential"):
            m2ib(clip, sample.image, "a tumour", **SETTINGS)


class TestModel:
    @pytest.mark.parametrize("fails", [False, True])
    def test_is_left_as_it_was(self, sample, fails, monkeypatch):
        clip = open_clip_vit()
        clip.model.train()
        clip.model.visual.ln_pre.eval()
        clip.model.visual.conv1.weight.requires_grad_(False)

        def state():
            weights = {name: weight.clone() for name, weight in clip.model.state_dict().items()}
            gradients = {name: (p.requires_grad, p.grad) for name, p in clip.model.named_parameters()}
            modules = {name: (m.training, len(m._forward_hooks)) for name, m in clip.model.named_modules()}
            return weights, gradients, modules

        before, random_state = state(), torch.random.get_rng_state()
        if fails:
            monkeypatch.setattr(F, "cosine_similarity", lambda *_, **__: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                m2ib(clip, sample.image, "a tumour", **SETTINGS | {"layer": 1})
        else:
            m2ib(clip, sample.image, "a tumour", **SETTINGS | {"layer": 1})
        after = state()
        assert all(torch.equal(weight, after[0][name]) for name, weight in before[0].items())
        assert before[1:] == after[1:] and torch.equal(torch.random.get_rng_state(), random_state)

    def test_only_the_blocks_after_the_bottleneck_run_again(self, tiny, sample):
        calls = dict.fromkeys(range(6), 0)
        hooks = [
            block.register_forward_hook(lambda *_, number=number: calls.update({number: calls[number] + 1}))
            for number, block in enumerate(tiny.image_tower.blocks)
        ]
        m2ib(tiny, sample.image, "a breast tumour", **SETTINGS | {"layer": 3})
        for hook in hooks:
            hook.remove()
        assert calls == {0: 1, 1: 1, 2: 1, 3: 1, 4: 4, 5: 4}


@pytest.mark.parametrize("shape", [(1, 1), (3, 400), (1500, 1200)])
@pytest.mark.parametrize("level", [0, 255])
def test_constant_images_of_any_size_give_a_finite_map(tiny, shape, level):
    (found,) = m2ib(tiny, np.full((*shape, 3), level, np.uint8), "a breast tumour", **SETTINGS)
    assert found.shape == shape and found.dtype == np.float32 and np.isfinite(found).all()
    assert found.min() >= 0 and found.max() <= 1


def test_information_of_patches_is_what_maps_are_made_of(tiny, sample):
    bottleneck = Bottleneck(SETTINGS["beta"], steps=SETTINGS["steps"], samples=SETTINGS["samples"])
    nats = patch_information(tiny, [sample.image], "a breast tumour", SETTINGS["layer"], bottleneck)
    assert nats.shape == (1, 16, 16) and (nats >= 0).all() and not nats.requires_grad
    (found,) = m2ib(tiny, sample.image, "a breast tumour", **SETTINGS)
    assert np.array_equal(found, upsample(nats[0].numpy(), (256, 256)))
    assert patch_information(tiny, [], "lungs", SETTINGS["layer"], bottleneck).shape == (0, 16, 16)


def test_a_text_longer_than_the_context_loses_its_end(tiny, sample):
    text = "a breast tumour " * 40
    assert np.isfinite(m2ib(tiny, sample.image, text, **SETTINGS)).all()


def test_a_grid_becomes_a_map():
    grid = np.array([[1.0, 1.0], [1.0, 3.0]])
    found = upsample(grid, (2, 2))
    assert found.dtype == np.float32 and found.tolist() == [[0, 0], [0, 1]]
    assert not upsample(np.full((3, 3), 7.0), (9, 9)).any() and not upsample(np.zeros((3, 3)), (9, 9)).any()
    wide = upsample(grid, (5, 7))
    assert wide.shape == (5, 7) and (wide.min(), wide.max()) == (0, 1)
