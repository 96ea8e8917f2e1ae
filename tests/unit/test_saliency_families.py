"""Patch–text cosines and integrated gradients, against plain versions and an independent library."""

from __future__ import annotations

import copy
import itertools
from functools import partial

import numpy as np
import pytest
import torch
from captum.attr import LayerIntegratedGradients
from test_saliency_m2ib import biomedclip_like, open_clip_vit
from torch import nn
from torch.nn import functional as F

from medclipsam_utils.models import ModelError, load_clip
from medclipsam_utils.saliency import (
    divide,
    integrated_gradients,
    patch_contributions,
    patch_cosines,
    patch_features,
    patch_text,
)
from medclipsam_utils.saliency.maps import upsample
from medclipsam_utils.saliency.towers import image_tower
from medclipsam_utils.simulate import simulate

TEXT = "a breast tumour"
SAMPLE = simulate("breast_ultrasound", 3, finding="benign")
OTHER = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)


def values_of_timm(block, tokens):
    width = tokens.shape[-1]
    weight, bias = block.attn.qkv.weight[2 * width :], block.attn.qkv.bias[2 * width :]
    return block.attn.proj(F.linear(block.norm1(tokens), weight, bias))


def values_of_open_clip(block, tokens):
    width = tokens.shape[-1]
    weight, bias = block.attn.in_proj_weight[2 * width :], block.attn.in_proj_bias[2 * width :]
    return block.attn.out_proj(F.linear(block.ln_1(tokens), weight, bias))


def plain_tiny(clip):
    """MaskCLIP's value path through the attention pool."""
    trunk, tower = clip.model.visual.trunk, image_tower(clip)
    tokens = trunk.norm(tower.run(tower.embed(clip.preprocess(SAMPLE.image)), 0))
    pool = trunk.attn_pool
    values = pool.proj(F.linear(tokens, *(part.chunk(2)[1] for part in (pool.kv.weight, pool.kv.bias))))
    return clip.model.visual.head(values + pool.mlp(pool.norm(values)))


def plain_biomedclip(clip):
    """MaskCLIP's value path through the last block, skip connection and MLP kept, as its authors do."""
    trunk, tower = clip.model.visual.trunk, image_tower(clip)
    tokens = tower.run(tower.embed(clip.preprocess(SAMPLE.image)), 0, -1)[:, 1:]
    block = trunk.blocks[-1]
    tokens = tokens + values_of_timm(block, tokens)
    tokens = tokens + block.mlp(block.norm2(tokens))
    return clip.model.visual.head(trunk.norm(tokens))


def plain_clip(clip):
    visual, tower = clip.model.visual, image_tower(clip)
    tokens = tower.run(tower.embed(clip.preprocess(SAMPLE.image)), 0, -1)[:, 1:]
    block = visual.transformer.resblocks[-1]
    tokens = tokens + values_of_open_clip(block, tokens)
    tokens = tokens + block.mlp(block.ln_2(tokens))
    return visual.ln_post(tokens) @ visual.proj


def plain_mean(clip):
    """A tower that averages its patches: each of them alone is itself, after all blocks."""
    visual, tower = clip.model.visual, image_tower(clip)
    tokens = tower.run(tower.embed(clip.preprocess(SAMPLE.image)), 0)[:, 1:]
    return visual.ln_post(tokens) @ visual.proj


MODELS = {
    "tiny": (lambda: load_clip("tiny"), plain_tiny),
    "BiomedCLIP": (biomedclip_like, plain_biomedclip),
    "CLIP": (open_clip_vit, plain_clip),
    "CLIP, mean": (lambda: open_clip_vit("avg"), plain_mean),
}


@pytest.mark.parametrize("name", MODELS)
class TestPatchText:
    def test_is_the_value_path(self, name):
        make, plain = MODELS[name]
        clip = make()
        with torch.no_grad():
            expected = F.normalize(plain(clip), dim=-1).reshape(1, *clip.grid_size, -1)
        torch.testing.assert_close(patch_features(clip, SAMPLE.image), expected, rtol=1e-4, atol=1e-5)
        cosines = patch_cosines(clip, SAMPLE.image, TEXT)
        torch.testing.assert_close(cosines, expected @ clip.encode_text(TEXT)[0], rtol=1e-4, atol=1e-5)
        (saliency,) = patch_text(clip, SAMPLE.image, TEXT)
        assert saliency.dtype == np.float32 and saliency.min() == 0 and saliency.max() == 1
        np.testing.assert_array_equal(saliency, upsample(cosines[0].numpy(), SAMPLE.image.shape[:2]))

    def test_leaves_the_model_as_it_was(self, name):
        clip = MODELS[name][0]()
        before = copy.deepcopy(clip.model.state_dict())
        clip.model.train()
        patch_text(clip, SAMPLE.image, TEXT, neighbourhood=2.0)
        integrated_gradients(clip, SAMPLE.image, TEXT, layer=0, steps=1)
        assert clip.model.training and all(parameter.requires_grad for parameter in clip.model.parameters())
        assert all(parameter.grad is None for parameter in clip.model.parameters())
        assert all(torch.equal(before[key], value) for key, value in clip.model.state_dict().items())

    def test_a_map_does_not_depend_on_what_else_is_in_the_call(self, name):
        clip = MODELS[name][0]()
        early = {"layer": 0, "steps": 2}
        for method, values in (
            (patch_text, patch_cosines),
            (partial(integrated_gradients, **early), partial(patch_contributions, **early)),
        ):
            together = values(clip, [SAMPLE.image, OTHER], [TEXT, "a normal lung"])
            alone = torch.cat([values(clip, SAMPLE.image, TEXT), values(clip, OTHER, "a normal lung")])
            torch.testing.assert_close(together, alone, rtol=1e-3, atol=1e-5)
            assert values(clip, [], TEXT).shape == (0, *clip.grid_size) and method(clip, [], TEXT) == []
            with pytest.raises(ValueError, match="2 texts for 1 images"):
                method(clip, [OTHER], [TEXT, TEXT])

    def test_windows_by_hand(self, name):
        """Window after window: what it is as an image, for each patch of it."""
        clip = MODELS[name][0]()
        tower, (rows, columns) = image_tower(clip), clip.grid_size
        expected = torch.zeros(rows, columns, clip.encode_text(TEXT).shape[1])
        with torch.no_grad():
            tokens = tower.embed(clip.preprocess(SAMPLE.image))
            high, wide = rows // 2, columns // 2
            for down, right, top, left in itertools.product(range(high), range(wide), (0, high), (0, wide)):
                places = itertools.product(
                    range(top + down, top + down + high), range(left + right, left + right + wide)
                )
                places = [(row % rows, column % columns) for row, column in places]
                numbers = [*range(tower.prefix), *(tower.prefix + row * columns + column for row, column in places)]
                feature = F.normalize(tower.finish(tower.run(tokens[:, numbers], 0)), dim=-1)[0]
                for place in places:
                    expected[place] += feature / (high * wide)
        found = patch_features(clip, SAMPLE.image, windows=2)
        torch.testing.assert_close(found[0], expected, rtol=1e-3, atol=1e-4)
        (saliency,) = patch_text(clip, SAMPLE.image, TEXT, windows=2)
        grid = patch_cosines(clip, SAMPLE.image, TEXT, windows=2)[0]
        torch.testing.assert_close(grid, expected @ clip.encode_text(TEXT)[0], rtol=1e-3, atol=1e-4)
        np.testing.assert_array_equal(saliency, upsample(grid.numpy(), SAMPLE.image.shape[:2]))

    def test_one_window_is_the_whole_image(self, name):
        clip = MODELS[name][0]()
        found = patch_features(clip, SAMPLE.image, windows=1)
        whole = clip.encode_image(SAMPLE.image)[:, None, None].expand_as(found)
        torch.testing.assert_close(found, whole, rtol=1e-3, atol=1e-5)
        assert not patch_text(clip, SAMPLE.image, TEXT, windows=1)[0].any()  # no contrast

    def test_what_cannot_be_divided_is_refused(self, name):
        clip = MODELS[name][0]()
        choices = ", ".join(str(n) for n in range(1, 99) if clip.grid_size[0] % n == 0)
        for windows in (0, -2, 3, 1.5, max(clip.grid_size) + 1, "2", float("nan")):
            message = rf"windows is {windows!r}: give a divisor of the grid of \d+ × \d+ patches, {choices}, or None"
            with pytest.raises(ValueError, match=message):
                patch_text(clip, SAMPLE.image, TEXT, windows=windows)
        whole = patch_cosines(clip, SAMPLE.image, TEXT, windows=2)
        assert torch.equal(patch_cosines(clip, SAMPLE.image, TEXT, windows=2.0), whole)  # as a file may have it
        with pytest.raises(ValueError, match="neighbourhood and windows are given: choose one"):
            patch_text(clip, SAMPLE.image, TEXT, neighbourhood=2.0, windows=2)

    def test_neighbours_by_hand(self, name):
        """Every patch in turn, head by head, in double precision."""
        clip, sigma = MODELS[name][0](), 1.5
        tower = image_tower(clip)
        block = tower.blocks[-1]
        with torch.no_grad():
            tokens = tower.run(tower.embed(clip.preprocess(SAMPLE.image)), 0, -1)[0, tower.prefix :]
            found = patch_features(clip, SAMPLE.image, neighbourhood=sigma)[0].flatten(0, 1)
            near = self._near(block, tokens, tower.grid, sigma)
            if tower.reads_patches:  # skip connection and MLP stay
                tokens = tokens + near
                norm = block.norm2 if hasattr(block, "norm2") else block.ln_2
                near = tokens + block.mlp(norm(tokens))
            expected = tower.finish(near[:, None].expand(-1, tower.prefix + 1, -1))
        torch.testing.assert_close(found, F.normalize(expected, dim=-1), rtol=1e-3, atol=1e-4)

    @staticmethod
    def _near(block, tokens, grid, sigma):
        attention, places = block.attn, [(r, c) for r in range(grid[0]) for c in range(grid[1])]
        if hasattr(attention, "qkv"):
            weight, bias, project, tokens = (
                attention.qkv.weight,
                attention.qkv.bias,
                attention.proj,
                block.norm1(tokens),
            )
        else:
            weight, bias, project = attention.in_proj_weight, attention.in_proj_bias, attention.out_proj
            tokens = block.ln_1(tokens)
        width = tokens.shape[-1]
        _, keys, values = (tokens.double() @ weight.double().T + bias.double()).split(width, dim=-1)
        size = width // attention.num_heads
        found = torch.zeros_like(values)
        for head in range(attention.num_heads):
            part = slice(head * size, (head + 1) * size)
            for one, (row, column) in enumerate(places):
                scores = [
                    float(keys[one, part] @ keys[other, part]) / size**0.5
                    + np.exp(-((row - r) ** 2 + (column - c) ** 2) / (2 * sigma**2))
                    for other, (r, c) in enumerate(places)
                ]
                found[one, part] = torch.tensor(scores, dtype=torch.float64).softmax(0) @ values[:, part]
        return project(found.float())

    def test_contributions_are_those_of_captum(self, name):
        clip, layer, steps = MODELS[name][0](), 1, 7
        tower, text = image_tower(clip), clip.encode_text(TEXT)
        with torch.no_grad():
            tokens = tower.run(tower.embed(clip.preprocess(SAMPLE.image)), 0, layer + 1)
        entry = nn.Identity()

        def cosine(tokens):
            return F.cosine_similarity(tower.finish(tower.run(entry(tokens), layer + 1)), text)

        captum = LayerIntegratedGradients(cosine, entry).attribute(
            tokens, baselines=torch.zeros_like(tokens), n_steps=steps, method="riemann_middle"
        )
        expected = captum.sum(-1)[:, tower.prefix :].unflatten(1, tower.grid).detach()
        found = patch_contributions(clip, SAMPLE.image, TEXT, layer, steps)
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-6)
        (saliency,) = integrated_gradients(clip, SAMPLE.image, TEXT, layer=layer, steps=steps)
        expected = upsample(expected.clamp(min=0)[0].numpy(), SAMPLE.image.shape[:2])
        np.testing.assert_allclose(saliency, expected, atol=1e-3)


@pytest.mark.parametrize("layer", [1, 4])
def test_contributions_add_up_to_the_cosine(layer):
    """Completeness: together, the patches are the cosine less that of the same tokens at a hundredth of their size."""
    clip = load_clip("tiny")
    tower, text = image_tower(clip), clip.encode_text(TEXT)
    with torch.no_grad():
        tokens = tower.run(tower.embed(clip.preprocess(SAMPLE.image)), 0, layer + 1)
        whole, hundredth = (
            F.cosine_similarity(tower.finish(tower.run(s * tokens, layer + 1)), text) for s in (1, 0.01)
        )
    total = patch_contributions(clip, SAMPLE.image, TEXT, layer, steps=100).sum()
    assert total.item() == pytest.approx((whole - hundredth).item(), abs=0.01)


@pytest.mark.parametrize("wrong", [0, -1.0, float("nan"), float("inf")])
def test_a_neighbourhood_is_above_0(wrong):
    with pytest.raises(ValueError, match="neighbourhood is"):
        patch_text(load_clip("tiny"), OTHER, TEXT, neighbourhood=wrong)


def test_what_integrated_gradients_refuse():
    clip = load_clip("tiny")
    with pytest.raises(ValueError, match="steps is 0"):
        integrated_gradients(clip, OTHER, TEXT, layer=5, steps=0)
    with pytest.raises(ValueError, match="scaling them changes nothing; give 4 or less"):
        integrated_gradients(clip, OTHER, TEXT, layer=-1)
    with pytest.raises(ValueError, match="the image tower has 6 blocks"):
        integrated_gradients(clip, OTHER, TEXT, layer=6)
    with pytest.raises(ValueError, match="reads one token alone"):
        integrated_gradients(biomedclip_like(), OTHER, TEXT, layer=-1)


def test_an_image_without_contrast_has_no_map_or_a_finite_one():
    flat = np.full((64, 64, 3), 90, dtype=np.uint8)
    for (saliency,) in (
        patch_text(load_clip("tiny"), flat, TEXT),
        integrated_gradients(load_clip("tiny"), flat, TEXT, layer=4),
    ):
        assert np.isfinite(saliency).all() and 0 <= saliency.min() <= saliency.max() <= 1


def test_towers_that_are_no_transformers_are_refused():
    import open_clip

    from medclipsam_utils.models import Clip

    vision = {"image_size": 32, "layers": (1, 1, 1, 1), "width": 8}
    text = {"context_length": 12, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1}
    resnet = Clip(
        "resnet",
        open_clip.CLIP(8, vision, text),
        open_clip.SimpleTokenizer(context_length=12),
        32,
        (0.5,) * 3,
        (0.2,) * 3,
    )
    with pytest.raises(ModelError, match="vision transformer"):
        patch_text(resnet, OTHER, TEXT)


class TestDivide:
    @pytest.mark.parametrize("sides", [1, 2, 4, 16])
    def test_each_patch_is_in_one_window(self, sides):
        found = divide((16, 16), sides, (3, 5))
        assert found.shape == (sides**2, 256 // sides**2)
        assert torch.equal(found.flatten().sort().values, torch.arange(256))

    def test_places_by_hand(self):
        assert divide((16, 16), 4)[1].tolist() == [row * 16 + column for row in range(4) for column in range(4, 8)]
        assert divide((16, 16), 4, (1, 2))[0, 0] == 16 + 2
        assert divide((4, 6), 2).tolist()[3] == [15, 16, 17, 21, 22, 23]  # a grid that is no square

    def test_a_patch_knows_its_windows_and_nothing_else(self, monkeypatch):
        clip = load_clip("tiny")
        tokens = torch.randn(1, 256, 128, generator=torch.Generator().manual_seed(0))
        # Given at once, because the embedding normalises over the whole image.
        monkeypatch.setattr(clip.model.visual.trunk.patch_embed, "forward", lambda pixels: tokens)
        before = patch_features(clip, SAMPLE.image, windows=4)
        tokens[0, 5 * 16 + 9] *= -1  # its windows reach three rows and columns in each direction
        moved = (patch_features(clip, SAMPLE.image, windows=4) - before)[0].abs().amax(dim=-1) > 1e-6
        rows, columns = (found.tolist() for found in moved.nonzero().T)
        assert (min(rows), max(rows), min(columns), max(columns)) == (2, 8, 6, 12) and len(rows) == 49
