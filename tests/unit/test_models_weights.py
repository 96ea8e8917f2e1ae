"""Files of weights: what is written is what is read, and what is missing, damaged or foreign is an error that helps."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import time

import pytest
import torch
from safetensors.torch import save_file

from medclipsam_utils.finetune import FrozenBlocks
from medclipsam_utils.models import ModelError, load_clip, load_sam, save_clip, save_tiny_clip, save_tiny_sam, weights
from medclipsam_utils.models.checkpoints import CLIP_FORMAT, SAM_FORMAT, read_header
from medclipsam_utils.models.loading import SHIPPED
from medclipsam_utils.models.sam import TINY
from medclipsam_utils.models.tiny_clip import build_tiny_clip
from medclipsam_utils.models.tiny_sam import build_tiny_sam
from medclipsam_utils.pipeline.presence import SHIPPED as SHIPPED_CALIBRATION

VOCABULARY = ("a", "brain", "tumour")
SHIPPED_FILES = (*SHIPPED.values(), TINY)
REINSTALL = "Install the package again; in a clone, `git restore medclipsam_utils/models/weights` brings it back"


@pytest.fixture(scope="module")
def clip_model():
    return build_tiny_clip(7)


@pytest.fixture(scope="module")
def sam_model():
    return build_tiny_sam()


@pytest.fixture
def folder(tmp_path, monkeypatch, clip_model, sam_model):
    """A folder like the package's, with random weights."""
    for name in SHIPPED.values():
        save_tiny_clip(tmp_path / name, clip_model, VOCABULARY, {"seed": 0})
    save_tiny_sam(tmp_path / TINY, sam_model, {})
    sums = [f"{hashlib.sha256((tmp_path / name).read_bytes()).hexdigest()}  {name}\n" for name in SHIPPED_FILES]
    (tmp_path / "SHA256SUMS").write_text("".join(sums))
    monkeypatch.setattr(weights, "FOLDER", tmp_path)
    return tmp_path


# Our files


def test_what_is_saved_is_what_is_loaded(tmp_path, clip_model, sam_model):
    trained = {"seeds": [1, 2], "loss": {"name": "dhn", "β": 0.15}, "note": None}
    save_tiny_clip(tmp_path / "c.safetensors", clip_model, VOCABULARY, trained)
    save_tiny_sam(tmp_path / "s.safetensors", sam_model, trained)
    said = {"vocabulary": [*VOCABULARY], "trained": trained}
    assert read_header(tmp_path / "c.safetensors", CLIP_FORMAT) == {**said, "windows": None}
    assert read_header(tmp_path / "s.safetensors", SAM_FORMAT) == {"trained": trained}
    clip, predictor = load_clip(tmp_path / "c.safetensors"), load_sam(tmp_path / "s.safetensors")
    assert clip.tokenizer.vocabulary == VOCABULARY and clip.name == "c"
    for loaded, saved in ((clip.model, clip_model), (predictor.model, sam_model)):
        assert not loaded.training
        own, other = loaded.state_dict(), saved.state_dict()
        assert own.keys() == other.keys() and all(torch.equal(own[name], other[name]) for name in own)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["c.safetensors", "s.safetensors"]


@pytest.mark.parametrize("windows", [None, 4])
def test_how_a_clip_saw_images_is_kept_by_all_that_load_save_and_train_it(tmp_path, clip_model, windows):
    save_tiny_clip(tmp_path / "c.safetensors", clip_model, VOCABULARY, {}, windows)
    clip = load_clip(tmp_path / "c.safetensors")
    again = load_clip(save_clip(tmp_path / "again", clip, {}))
    assert clip.windows == again.windows == FrozenBlocks(clip).windows == windows


def test_a_failed_save_leaves_the_old_file_and_nothing_else(tmp_path, sam_model):
    path = tmp_path / "s.safetensors"
    path.write_bytes(b"old")
    with pytest.raises(TypeError):
        save_tiny_sam(path, sam_model, {"not JSON": object()})
    diverged = build_tiny_sam()
    torch.nn.init.constant_(diverged.mask_decoder.iou_token.weight, torch.nan)
    with pytest.raises(ModelError, match=r"the weight mask_decoder.iou_token.weight is not finite"):
        save_tiny_sam(path, diverged, {})
    assert [entry.read_bytes() for entry in tmp_path.iterdir()] == [b"old"]


@pytest.mark.parametrize("step", ["save_file", "os.replace"])
def test_a_disk_that_is_full_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, sam_model, step):
    def disk_full(first, second, *more):
        if step == "save_file":
            second.write_bytes(b"a part")
        raise OSError("no space left")

    path = tmp_path / "s.safetensors"
    path.write_bytes(b"old")
    monkeypatch.setattr(f"medclipsam_utils.models.checkpoints.{step}", disk_full)
    with pytest.raises(ModelError, match=r"it cannot be written \(no space left\)"):
        save_tiny_sam(path, sam_model, {})
    assert [entry.read_bytes() for entry in tmp_path.iterdir()] == [b"old"]


def test_bad_arguments_of_saving(tmp_path, clip_model, sam_model):
    with pytest.raises(ModelError, match=r"the model embeds 7 tokens, the vocabulary and the special tokens are 6\."):
        save_tiny_clip(tmp_path / "c.safetensors", clip_model, VOCABULARY[:2], {})
    with pytest.raises(ModelError, match=r"the extension is '.pt'. Let the name end in .safetensors"):
        save_tiny_sam(tmp_path / "s.pt", sam_model, {})
    with pytest.raises(ModelError, match=r"it cannot be written .* Choose a folder that exists"):
        save_tiny_sam(tmp_path / "nowhere" / "s.safetensors", sam_model, {})


@pytest.mark.parametrize("length", [0, 7, 1000, -1])
def test_cut_short_files(tmp_path, clip_model, length):
    path = tmp_path / "c.safetensors"
    save_tiny_clip(path, clip_model, VOCABULARY, {})
    path.write_bytes(path.read_bytes()[:length])
    for load in (load_clip, load_sam):
        with pytest.raises(ModelError, match=r"c.safetensors: it is not a complete safetensors file"):
            load(path)


def test_files_of_another_kind(tmp_path, clip_model, sam_model):
    clip, sam, other = (tmp_path / f"{name}.safetensors" for name in ("clip", "sam", "other"))
    save_tiny_clip(clip, clip_model, VOCABULARY, {})
    save_tiny_sam(sam, sam_model, {})
    save_file({"x": torch.zeros(1)}, other)
    with pytest.raises(ModelError, match="its format is 'medclipsam-tiny-sam-1', not 'medclipsam-tiny-clip-1'"):
        load_clip(sam)
    with pytest.raises(ModelError, match="its format is 'medclipsam-tiny-clip-1', not 'medclipsam-tiny-sam-1'"):
        load_sam(clip)
    with pytest.raises(ModelError, match="its format is None"):
        load_clip(other)


def test_missing_unknown_and_misshapen_weights_are_named(tmp_path, clip_model):
    path = tmp_path / "c.safetensors"
    state = {**clip_model.state_dict(), "extra": torch.zeros(2), "logit_scale": torch.zeros(3)}
    for name in [name for name in state if name.startswith("text.ln_final")]:
        del state[name]
    header = {"format": CLIP_FORMAT, "vocabulary": json.dumps(VOCABULARY), "trained": "{}"}
    save_file(state, path, header)
    with pytest.raises(ModelError) as caught:
        load_clip(path)
    assert "2 weights are missing: text.ln_final.bias, text.ln_final.weight" in str(caught.value)
    assert "1 weights are unknown: extra" in str(caught.value)
    assert "1 weights have another shape: logit_scale is (3,) and should be ()" in str(caught.value)
    for field, value in (("vocabulary", "[1"), ("trained", None)):
        broken = {name: text for name, text in (header | {field: value}).items() if text is not None}
        save_file(clip_model.state_dict(), path, broken)
        with pytest.raises(ModelError, match="its header is incomplete"):
            load_clip(path)


# Shipped files and their checksums


def test_shipped_names_load_from_the_folder(folder):
    assert [load_clip(name).name for name in SHIPPED] == ["tiny", "tiny-base"]
    assert load_clip().name == "tiny" and load_sam().model.image_encoder.img_size == 256


@pytest.mark.parametrize(("load", "name"), [(load_clip, "tiny"), (load_clip, "tiny-base"), (load_sam, "tiny")])
def test_one_flipped_bit_is_noticed(folder, load, name):
    path = folder / (TINY if load is load_sam else SHIPPED[name])
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(ModelError, match=rf"{path.name}: the file is damaged: its SHA-256 is \w{{64}}, not") as caught:
        load(name)
    assert REINSTALL in str(caught.value)


def test_missing_files_and_missing_lines(folder):
    (folder / TINY).unlink()
    with pytest.raises(ModelError, match=r"tiny_sam.safetensors: this file of the package is missing. Install"):
        load_sam("tiny")
    (folder / "SHA256SUMS").unlink()
    with pytest.raises(ModelError, match=r"tiny_clip.safetensors: SHA256SUMS does not list it. Install"):
        load_clip("tiny")


def test_the_listing_is_read_as_sha256sum_writes_it(tmp_path, monkeypatch):
    monkeypatch.setattr(weights, "FOLDER", tmp_path)
    assert weights.checksums() == {}
    (tmp_path / "SHA256SUMS").write_text(f"{'AB' * 32}  plain name.bin\n{'cd' * 32} *binary.bin\n\n")
    assert weights.checksums() == {"plain name.bin": "ab" * 32, "binary.bin": "cd" * 32}


def test_the_package_has_all_files_and_no_others():
    present = {path.name for path in weights.FOLDER.iterdir()} - {"SHA256SUMS"}
    assert present == set(weights.checksums()) == {*SHIPPED_FILES, SHIPPED_CALIBRATION}
    assert sum((weights.FOLDER / name).stat().st_size for name in present) <= 25e6


@pytest.mark.parametrize("name", SHIPPED_FILES)
def test_shipped_files_are_whole_say_how_they_were_trained_and_check_quickly(name):
    start = time.perf_counter()
    path = weights.shipped(name)
    assert time.perf_counter() - start < 1
    assert read_header(path, SAM_FORMAT if name == TINY else CLIP_FORMAT)["trained"]


def test_the_package_imports_without_torch_and_sam_without_open_clip():
    code = """
import sys, medclipsam_utils
assert "torch" not in sys.modules
assert {"load_clip", "load_sam", "Clip"} <= set(dir(medclipsam_utils))
from medclipsam_utils import load_sam
assert "segment_anything" in sys.modules and "open_clip" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_names_that_do_not_exist():
    import medclipsam_utils

    for module in (medclipsam_utils, medclipsam_utils.models):
        with pytest.raises(AttributeError, match=r"attribute load_clpi"):
            module.load_clpi  # noqa: B018
