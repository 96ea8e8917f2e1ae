"""Class activation maps and attention rollout, against plain versions, and that they leave the model as it was."""

from __future__ import annotations

import copy
import warnings

import numpy as np
import pytest
import torch
from test_saliency_m2ib import biomedclip_like, open_clip_vit
from torch import nn
from torch.nn import functional as F

from medclipsam_utils.models import ModelError, load_clip
from medclipsam_utils.saliency import attention_rollout, grad_cam, gscore_cam
from medclipsam_utils.saliency.maps import upsample
from medclipsam_utils.simulate import simulate

TEXT = "a breast tumour"
MODELS = {
    "tiny": (lambda: load_clip("tiny"), lambda trunk: trunk.norm),
    "CLIP": (open_clip_vit, lambda trunk: trunk.transformer.resblocks[-1].ln_1),
    "CLIP, mean": (lambda: open_clip_vit("avg"), lambda trunk: trunk.ln_post),
    "BiomedCLIP": (biomedclip_like, lambda trunk: trunk.blocks[-1].norm1),
}


@pytest.fixture(scope="module")
def sample():
    return simulate("breast_ultrasound", 3, finding="benign")


def activations(clip, image, module):
    """What the module says [N, C] and its gradient of the cosine, by autograd."""
    kept = []
    hook = module.register_forward_hook(lambda *arguments: kept.append(arguments[-1]))
    feature = clip.model.encode_image(clip.preprocess(image))
    hook.remove()
    (gradient,) = torch.autograd.grad(F.cosine_similarity(feature, clip.encode_text(TEXT))[0], kept[0])
    rows, columns = clip.grid_size
    patches = slice(kept[0].shape[1] - rows * columns, None)
    return kept[0][0, patches].detach(), gradient[0, patches]


def as_map(clip, values, image):
    """Cut off at 0 and stretched, to the model's pixels first and then to the image's, as the library does."""
    grid = values.clamp(min=0).reshape(1, 1, *clip.grid_size)
    size = (clip.image_size, clip.image_size)
    return upsample(F.interpolate(grid, size, mode="bilinear")[0, 0].numpy(), image.shape[:2])


@pytest.mark.parametrize("name", MODELS)
class TestPlainVersions:
    def test_grad_cam(self, name, sample):
        make, module = MODELS[name]
        clip = make()
        seen, gradient = activations(clip, sample.image, module(clip.image_tower))
        expected = as_map(clip, seen @ gradient.mean(0), sample.image)
        (found,) = grad_cam(clip, sample.image, TEXT)
        assert found.shape == (256, 256) and found.dtype == np.float32
        assert np.ptp(expected) == 1 and np.abs(found - expected).max() < 1e-4

    def test_gscore_cam(self, name, sample):
        make, module = MODELS[name]
        clip = make()
        seen, gradient = activations(clip, sample.image, module(clip.image_tower))
        best = gradient.mean(0).argsort(descending=True)[:5]
        scores, pixels = [], clip.preprocess(sample.image)
        for channel in best:
            lens = (seen[:, channel] - seen[:, channel].min()) / (seen[:, channel].max() - seen[:, channel].min())
            lens = F.interpolate(lens.reshape(1, 1, *clip.grid_size), pixels.shape[-2:], mode="bilinear")
            with torch.no_grad():
                feature = clip.model.encode_image(pixels * lens, normalize=True)
            scores.append((feature @ clip.encode_text(TEXT)[0]).item())
        expected = as_map(clip, seen[:, best] @ torch.tensor(scores).softmax(0), sample.image)
        (found,) = gscore_cam(clip, sample.image, TEXT, channels=5)
        assert np.ptp(expected) == 1 and np.abs(found - expected).max() < 1e-4

    def test_rollout(self, name, sample):
        clip = MODELS[name][0]()
        trunk = clip.image_tower
        blocks = trunk.blocks if hasattr(trunk, "blocks") else trunk.transformer.resblocks
        weights, hooks = [], []
        for block in blocks:  # the weights of one attention, worked out head by head from its own projections
            hooks.append(block.attn.register_forward_pre_hook(lambda m, a: weights.append(by_head(m, a[0][0]))))
        kept = []
        if name == "tiny":
            hooks.append(trunk.attn_pool.register_forward_pre_hook(lambda m, a: kept.append(pooling(m, a[0][0]))))
        with torch.no_grad():
            clip.model.encode_image(clip.preprocess(sample.image))
        for hook in hooks:
            hook.remove()
        flow = torch.eye(len(weights[0]))
        for weight in weights:
            flow = (0.5 * weight + 0.5 * torch.eye(len(weight))) @ flow
        prefix = len(flow) - clip.grid_size[0] * clip.grid_size[1]
        row = kept[0] @ flow if kept else flow[1:].mean(0) if "mean" in name else flow[0]
        expected = upsample(row[prefix:].reshape(clip.grid_size).numpy(), (256, 256))
        (found,) = attention_rollout(clip, sample.image)
        assert np.ptp(expected) == 1 and np.abs(found - expected).max() < 1e-4

    @pytest.mark.parametrize("method", [grad_cam, gscore_cam, attention_rollout])
    def test_the_model_is_left_as_it_was(self, name, method, sample):
        clip = MODELS[name][0]()
        clip.model.train()
        for number, weight in enumerate(clip.model.parameters()):
            weight.requires_grad_(number % 2 == 0)
            weight.grad = torch.full_like(weight, number)
        before, gradients = copy.deepcopy(clip.model), [weight.grad.clone() for weight in clip.model.parameters()]
        method(clip, sample.image, TEXT)
        for old, gradient, new in zip(before.parameters(), gradients, clip.model.parameters(), strict=True):
            assert torch.equal(old, new) and torch.equal(gradient, new.grad) and old.requires_grad == new.requires_grad
        for old, new in zip(before.modules(), clip.model.modules(), strict=True):
            assert old.training == new.training and len(new._forward_hooks) == 0


def by_head(attention, tokens):
    """Mean over the heads of softmax(q kᵀ / √d), [N, N], from tokens [N, C]."""
    if isinstance(attention, nn.MultiheadAttention):
        joint, heads = F.linear(tokens, attention.in_proj_weight, attention.in_proj_bias), attention.num_heads
    else:
        joint, heads = attention.qkv(tokens), attention.num_heads
    query, key, _ = joint.chunk(3, dim=1)
    return mean_of_heads(query, key, heads)


def pooling(pool, tokens):
    key, _ = pool.kv(tokens).chunk(2, dim=1)
    return mean_of_heads(pool.q(pool.latent[0]), key, pool.num_heads)[0]


def mean_of_heads(query, key, heads):
    each = zip(query.chunk(heads, dim=1), key.chunk(heads, dim=1), strict=True)
    return torch.stack([(q @ k.T / q.shape[1] ** 0.5).softmax(1) for q, k in each]).mean(0)


class TestInputs:
    @pytest.mark.parametrize("method", [grad_cam, gscore_cam])
    def test_several_images_with_their_own_texts(self, method, sample):
        clip = load_clip("tiny")
        images, texts = [sample.image, simulate("lung_ct", 5).image[:100]], [TEXT, "lungs"]
        together = method(clip, images, texts)
        for found, image, text in zip(together, images, texts, strict=True):
            assert found.shape == image.shape[:2] and np.abs(found - method(clip, image, text)[0]).max() < 1e-5
        by_features = method(clip, images, clip.encode_text(texts))
        assert all(np.abs(a - b).max() < 1e-5 for a, b in zip(together, by_features, strict=True))
        assert method(clip, [], "lungs") == [] == attention_rollout(clip, [])

    @pytest.mark.parametrize("method", [grad_cam, gscore_cam])
    def test_wrong_settings(self, method, sample):
        clip = load_clip("tiny")
        with pytest.raises(ValueError, match="layer is 6: the image tower has 6 blocks"):
            method(clip, sample.image, TEXT, layer=6)
        with pytest.raises(ValueError, match="reads one token alone"):
            method(open_clip_vit(), sample.image, TEXT, layer=-1)
        with pytest.raises(ModelError, match="the text is"):
            method(clip, sample.image, "")
        with pytest.raises(ValueError, match="channels is 0"):
            gscore_cam(clip, sample.image, TEXT, channels=0)

    @pytest.mark.parametrize("method", [grad_cam, gscore_cam, attention_rollout])
    @pytest.mark.parametrize("shape", [(1, 1), (3, 400)])
    def test_constant_images_give_a_finite_map(self, method, shape):
        with warnings.catch_warnings():
            warnings.simplefilter("error", RuntimeWarning)
            (found,) = method(load_clip("tiny"), [np.zeros((*shape, 3), np.uint8)], TEXT)
        assert found.shape == shape and np.isfinite(found).all() and found.min() >= 0 and found.max() <= 1

    def test_rollout_of_unknown_attention(self, sample):
        clip = open_clip_vit()
        clip.model.visual.transformer.resblocks[1].attn = nn.Linear(32, 32)
        with pytest.raises(ModelError, match="a block has Linear"):
            attention_rollout(clip, sample.image)
