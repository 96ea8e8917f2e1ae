"""The interface of a CLIP: whole images of any size, texts, unit vectors, and errors that say what to give instead."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from medclipsam_utils.images import read_image
from medclipsam_utils.models import Clip, ModelError, UnknownWordWarning
from medclipsam_utils.models.tiny_clip import CONTEXT_LENGTH, IMAGE_SIZE, MEAN, STD, build_tiny_clip
from medclipsam_utils.models.words import WordTokenizer

TEXTS = ["a brain", "the brain and a tumour", "tumour"]


def make_clip():
    tokenizer = WordTokenizer(("a", "and", "brain", "the", "tumour"), CONTEXT_LENGTH)
    return Clip("small", build_tiny_clip(tokenizer.vocabulary_size), tokenizer, IMAGE_SIZE, MEAN, STD)


@pytest.fixture(scope="module")
def clip():
    torch.manual_seed(0)
    return make_clip()


def noise(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def triangle_weights(n_in, n_out):
    """Antialiased bilinear resizing of one axis as a matrix float64 [n_out, n_in], from its definition."""
    scale = n_in / n_out
    support = max(scale, 1.0)
    centres = (np.arange(n_out) + 0.5) * scale
    distance = np.abs(np.arange(n_in) + 0.5 - centres[:, None]) / support
    weights = np.clip(1 - distance, 0, None)
    return weights / weights.sum(axis=1, keepdims=True)


def plain_preprocess(image):
    rows, columns = (triangle_weights(n, IMAGE_SIZE) for n in image.shape[:2])
    resized = rows @ (image.astype(np.float64) / 255).transpose(2, 0, 1) @ columns.T
    return (resized - np.reshape(MEAN, (3, 1, 1))) / np.reshape(STD, (3, 1, 1))


# Images


@pytest.mark.parametrize("size", [(128, 128), (256, 256), (300, 77), (40, 500), (1, 1), (3, 129)])
def test_preprocess_is_the_definition_of_antialiased_bilinear_resizing(clip, size):
    image = noise(*size)
    pixels = clip.preprocess(image)
    assert pixels.shape == (1, 3, 128, 128) and pixels.dtype == torch.float32
    np.testing.assert_allclose(pixels[0].numpy(), plain_preprocess(image), atol=2e-5)


def test_preprocess_agrees_with_pillow_up_to_its_rounding(clip):
    image = noise(211, 333)
    pillow = np.asarray(Image.fromarray(image).resize((128, 128), Image.Resampling.BILINEAR)) / 255
    pixels = clip.preprocess(image)[0].permute(1, 2, 0).numpy() * STD + MEAN
    assert np.abs(pixels - pillow).max() <= 1.01 / 255


def test_values_by_hand(clip):
    """White is (1 - 0.4) / 0.3 = 2, black (0 - 0.4) / 0.3 = -4/3."""
    white, black = np.full((9, 5, 3), 255, np.uint8), np.zeros((9, 5, 3), np.uint8)
    pixels = clip.preprocess([white, black])
    assert torch.allclose(pixels[0], torch.tensor(2.0)) and torch.allclose(pixels[1], torch.tensor(-4 / 3))


def test_nothing_is_cut_off(clip):
    """open_clip would crop the ends of a long image; here a mark at each end is still seen."""
    image = np.zeros((40, 200, 3), np.uint8)
    image[:, :20] = image[:, -20:] = 255
    row = clip.preprocess(image)[0, 0, 64]
    assert row[[0, -1]].tolist() == pytest.approx([2, 2]) and row[64].item() == pytest.approx(-4 / 3)


def test_every_kind_of_image_means_the_same(clip, tmp_path):
    image = noise(50, 70)
    Image.fromarray(image).save(tmp_path / "x.png")
    expected = clip.preprocess(image)
    tensor = torch.from_numpy(image).permute(2, 0, 1)
    read_only = image.copy()
    read_only.flags.writeable = False
    for same in (
        tensor,
        tensor[None],
        read_image(tmp_path / "x.png"),
        [image],
        (tensor,),
        image[::-1][::-1],
        read_only,
    ):
        assert torch.equal(clip.preprocess(same), expected)


def test_mixed_sizes_equal_one_by_one(clip):
    batch = torch.from_numpy(np.stack([noise(30, 90, 7), noise(30, 90, 8)])).permute(0, 3, 1, 2)
    mixed = [noise(64, 64, 1), batch, noise(200, 31, 2)]
    together = clip.encode_image(mixed)
    alone = torch.cat([clip.encode_image(image) for image in (mixed[0], batch[0], batch[1], mixed[2])])
    assert together.shape == (4, 128)
    assert torch.allclose(together, alone, atol=1e-5)


def test_batches_beyond_the_internal_size_are_in_order(clip, monkeypatch):
    images = [noise(16, 16, seed) for seed in range(5)]
    expected = clip.encode_image(images)
    monkeypatch.setattr("medclipsam_utils.models.clip._BATCH", 2)
    assert torch.allclose(clip.encode_image(images), expected, atol=1e-5)
    assert not torch.allclose(clip.encode_image(images[::-1]), expected, atol=1e-3)


@settings(max_examples=20, deadline=None)
@given(hnp.arrays(np.uint8, st.tuples(st.integers(1, 40), st.integers(1, 40), st.just(3))))
def test_any_image_stays_within_its_values_and_has_a_unit_embedding(clip, image):
    grey = clip.preprocess(image)[0].permute(1, 2, 0).numpy() * STD + MEAN
    assert grey.min() >= image.min() / 255 - 1e-5 and grey.max() <= image.max() / 255 + 1e-5
    assert torch.linalg.norm(clip.encode_image(image)).item() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((8, 8, 3)), r"an image is float64 \[8, 8, 3\], not uint8 \[H, W, 3\]"),
        (np.full((8, 8, 3), np.nan, np.float32), r"an image is float32 \[8, 8, 3\], not uint8"),
        (np.zeros((8, 8), np.uint8), r"an image is uint8 \[8, 8\], not uint8 \[H, W, 3\]"),
        (np.zeros((8, 8, 4), np.uint8), r"an image is uint8 \[8, 8, 4\], not"),
        (np.zeros((2, 8, 8, 3), np.uint8), r"an image is uint8 \[2, 8, 8, 3\], not uint8 \[H, W, 3\]"),
        (np.zeros((0, 8, 3), np.uint8), r"an image is uint8 \[0, 8, 3\], not"),
        (torch.zeros(3, 8, 8), r"an image is torch.float32 \[3, 8, 8\], not uint8 \[3, H, W\] or \[B, 3, H, W\]"),
        (torch.zeros(8, 8, 3, dtype=torch.uint8), r"an image is torch.uint8 \[8, 8, 3\], not uint8 \[3, H, W\]"),
        (torch.zeros(1, 8, 8, dtype=torch.uint8), r"an image is torch.uint8 \[1, 8, 8\], not"),
        ("scan.png", r"an image is a str. Give an array \[H, W, 3\], a tensor \[3, H, W\], or what read_image returns"),
        (None, "an image is a NoneType"),
    ],
)
def test_images_that_are_none(clip, image, message):
    with pytest.raises(ModelError, match="small: " + message):
        clip.encode_image(image)
    with pytest.raises(ModelError, match=message):
        clip.preprocess([noise(8, 8), image])


# Texts


def test_tokens_are_the_tokenizers(clip):
    assert torch.equal(clip.tokenize(TEXTS), clip.tokenizer(TEXTS))
    assert torch.equal(clip.tokenize("a brain"), clip.tokenizer(["a brain"])) and clip.tokenize(()).shape == (0, 40)


@pytest.mark.parametrize("text", ["", "  \n", "?!", "___", None, 3])
def test_texts_without_words_are_refused(clip, text):
    with pytest.raises(ModelError, match=r"small: the text is .* Give words, for example 'a tumour in the brain'"):
        clip.encode_text(["a brain", text])


def test_unknown_words_warn_and_can_be_asked_for(clip):
    with pytest.warns(UnknownWordWarning, match=r"not trained on 'brian' \(near: brain\)"):
        clip.similarity(noise(8, 8), "a brian")
    assert clip.unknown_words("a brian") == {"brian": ["brain"]} and clip.unknown_words("a brain") == {}


# Embeddings


def test_embeddings_are_those_of_the_model_at_unit_length(clip):
    images = [noise(32, 48, seed) for seed in range(3)]
    with torch.no_grad():
        plain_image = clip.model.visual(clip.preprocess(images)).double()
        plain_text = clip.model.text(clip.tokenize(TEXTS)).double()
    for features, plain in ((clip.encode_image(images), plain_image), (clip.encode_text(TEXTS), plain_text)):
        assert features.dtype == torch.float32 and features.shape == (3, 128) and not features.requires_grad
        assert torch.allclose(features.double(), plain / plain.norm(dim=1, keepdim=True), atol=1e-5)
    cosine = torch.nn.functional.cosine_similarity(plain_image[:, None], plain_text[None], dim=-1)
    assert torch.allclose(clip.similarity(images, TEXTS).double(), cosine, atol=1e-5)


def test_similarity_has_images_in_rows_and_texts_in_columns(clip):
    images = [noise(32, 32, seed) for seed in range(2)]
    table = clip.similarity(images, TEXTS)
    assert table.shape == (2, 3)
    assert torch.allclose(table[1:, 2:], clip.similarity(images[1], TEXTS[2]), atol=1e-5)


def test_nothing_gives_nothing(clip):
    assert clip.preprocess([]).shape == (0, 3, 128, 128)
    no_images = torch.zeros(0, 3, 20, 20, dtype=torch.uint8)
    for features in (clip.encode_image([]), clip.encode_image(no_images), clip.encode_text([])):
        assert features.shape == (0, 128) and features.dtype == torch.float32
    assert clip.similarity([], TEXTS).shape == (0, 3) and clip.similarity(noise(8, 8), []).shape == (1, 0)


def test_damaged_weights_are_noticed():
    clip = make_clip()
    torch.nn.init.constant_(clip.model.visual.head.proj.weight, torch.nan)
    with pytest.raises(ModelError, match="small: an embedding is not finite"):
        clip.encode_image(noise(8, 8))


def test_what_a_clip_says_of_itself(clip):
    assert clip.grid_size == (16, 16) and clip.device == torch.device("cpu") and not clip.model.training
    assert clip.image_tower is clip.model.visual.trunk and (clip.mean, clip.std) == (MEAN, STD)
    assert repr(clip) == "Clip(small: 128 × 128 pixels, 2.2 M parameters, cpu)"


def test_the_model_trains_and_the_methods_do_not_touch_its_gradients(clip):
    clip.encode_image(noise(8, 8))
    pixels, tokens = clip.preprocess([noise(8, 8), noise(8, 8, 1)]), clip.tokenize(TEXTS[:2])
    (clip.model.encode_image(pixels) * clip.model.encode_text(tokens)).sum().backward()
    assert clip.image_tower.blocks[0].attn.qkv.weight.grad.abs().sum() > 0
    clip.model.zero_grad()
