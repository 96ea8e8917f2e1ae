"""The saliency of words: which tokens belong to which word, and that the bottleneck acts on words alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from test_models_open_clip import build, image, models_folder, small, write_folder  # noqa: F401 (fixtures)
from test_saliency_m2ib import open_clip_vit

from medclipsam_utils.models import ModelError, load_clip
from medclipsam_utils.saliency import m2ib_text
from medclipsam_utils.simulate import simulate

SETTINGS = {"layer": 0, "beta": 0.1, "steps": 4, "samples": 3}


@pytest.fixture(scope="module")
def tiny():
    return load_clip("tiny")


@pytest.fixture(scope="module")
def sample():
    return simulate("brain_mri", 4, finding="glioma")


def test_words_of_the_small_clip(tiny, sample):
    found = m2ib_text(tiny, sample.image, "A glioma in the brain.", **SETTINGS)
    assert found.words == ("a", "glioma", "in", "the", "brain")
    assert found.saliency.dtype == np.float32 and found.saliency.shape == (5,)
    assert found.saliency.max() == 1 and (found.saliency >= 0).all()


def test_words_that_do_not_fit_are_missing(tiny, sample):
    found = m2ib_text(tiny, sample.image, "brain " * 60, **SETTINGS)
    assert found.words == ("brain",) * 38 and np.isfinite(found.saliency).all()


def test_pieces_of_clips_own_tokenizer_make_words(sample):
    clip = open_clip_vit()
    found = m2ib_text(clip, sample.image, "a meningioma, bright", **SETTINGS)
    assert found.words == ("a", "meningioma", ",", "bright") and found.saliency.max() == 1


def test_pieces_of_bert_make_words(small):  # noqa: F811
    clip = load_clip(small[0])
    found = m2ib_text(clip, image(), "brain tumors in the brain", **SETTINGS)
    assert found.words == ("brain", "tumors", "in", "the", "brain") and np.isfinite(found.saliency).all()


def test_the_image_decides(tiny, sample):
    """The same sentence for another image, or for features, which are those of the image."""
    other = simulate("lung_ct", 1, finding="clear")
    text = "a glioma in the brain"
    one, same, another = (
        m2ib_text(tiny, seen, text, **SETTINGS).saliency
        for seen in (sample.image, tiny.encode_image(sample.image)[0], other.image)
    )
    assert np.array_equal(one, same) and np.abs(one - another).max() > 1e-3


def test_everything_acts_and_the_seed_repeats(tiny, sample):
    plain = m2ib_text(tiny, sample.image, "a glioma in the brain", **SETTINGS).saliency
    assert np.array_equal(plain, m2ib_text(tiny, sample.image, "a glioma in the brain", **SETTINGS).saliency)
    changes = {"layer": 1, "beta": 1.0, "variance": 0.5, "steps": 6, "samples": 2, "lr": 0.5, "seed": 1,
               "standardize": True}  # fmt: skip
    for name, value in changes.items():
        other = m2ib_text(tiny, sample.image, "a glioma in the brain", **SETTINGS | {name: value}).saliency
        assert not np.array_equal(other, plain), name


def test_parity_with_a_plain_version(tiny, sample):
    """The text tower by hand, from the bottleneck on, its information by torch."""
    features, text, length = tiny.encode_image(sample.image), tiny.model.text, 7
    tokens = tiny.tokenize("a glioma in the brain")
    with torch.no_grad():
        embedded, mask = text._embeds(tokens)
        x = text.transformer.resblocks[0](embedded, attn_mask=mask)
    alpha = torch.full((1, length, x.shape[2]), 5.0, requires_grad=True)
    adam, generator = torch.optim.Adam([alpha], lr=1.0), torch.Generator().manual_seed(0)

    def information():
        passed = alpha.sigmoid()
        inside = torch.distributions.Normal(passed * x[:, :length], (1 - passed).clamp(min=1e-6))
        return torch.distributions.kl_divergence(inside, torch.distributions.Normal(0.0, 1.0))

    for _ in range(4):
        noise = torch.randn((3, length, x.shape[2]), generator=generator)
        mixed = alpha.sigmoid() * x[:, :length] + (1 - alpha.sigmoid()) * noise
        hidden = torch.cat([mixed, x[:, length:].expand(3, -1, -1)], dim=1)
        for block in text.transformer.resblocks[1:]:
            hidden = block(hidden, attn_mask=mask)
        answer = text.ln_final(hidden)[:, length - 1] @ text.text_projection
        fit = torch.nn.functional.cosine_similarity(answer, features).mean()
        adam.zero_grad()
        (0.1 * information().mean() - fit).backward()
        adam.step()
    tiny.model.zero_grad()
    expected = information().detach().sum(2)[0, 1:6]
    found = m2ib_text(tiny, sample.image, "a glioma in the brain", **SETTINGS).saliency
    np.testing.assert_allclose(found, expected / expected.max(), atol=1e-4)


def test_the_model_is_left_as_it_was(sample):
    clip = open_clip_vit()
    clip.model.train()
    before = {name: weight.clone() for name, weight in clip.model.state_dict().items()}
    m2ib_text(clip, sample.image, "a tumour", **SETTINGS)
    assert all(torch.equal(weight, before[name]) for name, weight in clip.model.state_dict().items())
    assert all(p.requires_grad and p.grad is None for p in clip.model.parameters()) and clip.model.transformer.training
    assert not any(module._forward_hooks for module in clip.model.modules())


@pytest.mark.parametrize(
    "wrong, says",
    [
        ({"layer": 3}, "the text tower has 3 blocks"),
        ({"layer": -1}, "the text tower reads one token alone"),
        ({"beta": -1}, "beta is -1"),
    ],
)
def test_wrong_settings(tiny, sample, wrong, says):
    with pytest.raises(ValueError, match=says):
        m2ib_text(tiny, sample.image, "a tumour", **SETTINGS | wrong)


def test_a_text_without_words(tiny, sample):
    with pytest.raises(ModelError, match=r"the text is '\?!'"):
        m2ib_text(tiny, sample.image, "?!", **SETTINGS)
