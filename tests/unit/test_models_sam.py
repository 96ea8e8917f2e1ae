"""SAM in all sizes through one door: predictions of the image's own size, real architectures, files that are wrong."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from segment_anything import sam_model_registry

from medclipsam_utils.models import ModelError, load_sam, save_tiny_sam
from medclipsam_utils.models.sam import SIZES, _size
from medclipsam_utils.models.tiny_sam import build_tiny_sam


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    path = tmp_path_factory.mktemp("tiny") / "s.safetensors"
    torch.manual_seed(0)
    save_tiny_sam(path, build_tiny_sam(), {})
    return load_sam(path)


@pytest.fixture(scope="module")
def official(tmp_path_factory):
    """ViT-B with random weights in the official format, in a models folder under its official name."""
    folder = tmp_path_factory.mktemp("models")
    torch.manual_seed(0)
    model = sam_model_registry["vit_b"]()
    torch.save(model.state_dict(), folder / "sam_vit_b_01ec64.pth")
    return folder, model


@pytest.fixture(autouse=True)
def models_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("MEDCLIPSAM_MODELS", str(tmp_path / "models"))
    return tmp_path / "models"


def noise(height, width):
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("size", [(256, 256), (100, 333), (333, 100), (64, 64), (7, 600)])
def test_masks_have_the_size_of_the_image(tiny, size):
    tiny.set_image(noise(*size))
    height, width = size
    box = np.array([width // 4, height // 4, width // 2, height // 2])
    masks, quality, logits = tiny.predict(box=box)
    assert masks.shape == (3, height, width) and masks.dtype == bool
    assert quality.shape == (3,) and logits.shape == (3, 128, 128)
    points = np.array([[width // 2, height // 2], [0, 0]])
    masks, quality, _ = tiny.predict(points, np.array([1, 0]), mask_input=logits[:1], multimask_output=False)
    assert masks.shape == (1, height, width) and quality.shape == (1,)


def test_predictions_are_those_of_the_model_that_was_saved(tiny):
    torch.manual_seed(0)
    other = type(tiny)(build_tiny_sam().eval())
    for predictor in (tiny, other):
        predictor.set_image(noise(90, 120))
    box = np.array([10, 20, 60, 70])
    assert np.array_equal(tiny.predict(box=box)[2], other.predict(box=box)[2])
    assert not np.array_equal(tiny.predict(box=box)[2], other.predict(box=box + 20)[2])
    assert not tiny.model.training


@pytest.mark.parametrize("by_name", [True, False])
def test_vit_b_by_name_and_by_path(official, monkeypatch, by_name):
    folder, model = official
    monkeypatch.setenv("MEDCLIPSAM_MODELS", str(folder))
    predictor = load_sam("vit_b" if by_name else folder / "sam_vit_b_01ec64.pth")
    own, saved = predictor.model.state_dict(), model.state_dict()
    assert own.keys() == saved.keys() and all(torch.equal(own[name], saved[name]) for name in own)
    assert predictor.model.image_encoder.img_size == 1024 and not predictor.model.training
    assert sum(parameter.numel() for parameter in predictor.model.parameters()) == pytest.approx(93.7e6, rel=1e-3)


def test_sizes_are_told_apart_by_the_weights():
    for name, size in SIZES.items():
        with torch.device("meta"):
            weights = sam_model_registry[name]().state_dict()
        assert _size(weights) == name and weights["image_encoder.pos_embed"].shape == (1, 64, 64, size.width)
    assert _size(build_tiny_sam().state_dict()) is None and _size([]) is None and _size({}) is None


@pytest.mark.parametrize("name", SIZES)
def test_a_missing_checkpoint_says_what_to_download_and_where_to_put_it(models_folder, name):
    file = SIZES[name].file
    with pytest.raises(ModelError) as caught:
        load_sam(name)
    assert f"https://dl.fbaipublicfiles.com/segment_anything/{file} into the folder {models_folder}" in str(
        caught.value
    )


def test_the_default_models_folder_is_in_the_home_folder(monkeypatch, tmp_path):
    monkeypatch.delenv("MEDCLIPSAM_MODELS")
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(ModelError, match=str(tmp_path / ".cache" / "medclipsam" / "sam_vit_h_4b8939.pth")):
        load_sam("vit_h")


@pytest.mark.parametrize("name", ["vit-b", "tiny.safetensors", "nowhere/sam_vit_b_01ec64.pth", "."])
def test_unknown_names(name):
    with pytest.raises(
        ModelError, match=r"there is no model and no file of this name. Choose tiny, vit_b, vit_l, vit_h"
    ):
        load_sam(name)


class Evil:
    def __reduce__(self):
        return print, ("this file runs code",)


@pytest.mark.parametrize("content", ["empty", "noise", "cut", "code"])
def test_damaged_and_dangerous_files_are_refused_and_run_no_code(tmp_path, capsys, content):
    path = tmp_path / "sam.pth"
    if content == "code":
        torch.save({"image_encoder.pos_embed": Evil()}, path)
    else:
        torch.save({"x": torch.zeros(1000)}, path)
        whole = path.read_bytes()
        path.write_bytes({"empty": b"", "noise": b"\x93" * 999, "cut": whole[: len(whole) // 2]}[content])
    with pytest.raises(
        ModelError, match=r"sam.pth: the file is damaged or holds more than weights .* Download it again"
    ):
        load_sam(path)
    assert capsys.readouterr().out == ""


def test_plain_pickles_run_no_code(tmp_path, capsys):
    (tmp_path / "sam.pth").write_bytes(pickle.dumps(Evil(), protocol=2))
    with pytest.raises(ModelError, match="damaged or holds more than weights"):
        load_sam(tmp_path / "sam.pth")
    assert capsys.readouterr().out == ""


def test_weights_of_another_model(tmp_path, models_folder):
    path = tmp_path / "x.pth"
    torch.save(build_tiny_sam().state_dict(), path)
    with pytest.raises(ModelError, match="it has the weights of another model, not of SAM"):
        load_sam(path)
    models_folder.mkdir()
    torch.save({"image_encoder.pos_embed": torch.zeros(1, 64, 64, 768)}, models_folder / SIZES["vit_l"].file)
    with pytest.raises(ModelError, match="it has the weights of vit_b, not of vit_l"):
        load_sam("vit_l")
    torch.save({"image_encoder.pos_embed": torch.zeros(1, 64, 64, 768)}, path)
    with pytest.raises(ModelError, match=r"\d+ weights are missing: image_encoder.blocks.0.attn"):
        load_sam(path)
