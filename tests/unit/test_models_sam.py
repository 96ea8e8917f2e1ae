"""SAM in all sizes through one door: predictions of the image's own size, real architectures, files that are wrong."""

from __future__ import annotations

import pickle
import threading

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from segment_anything import SamPredictor, sam_model_registry

from medclipsam_utils.models import ModelError, load_sam, save_tiny_sam
from medclipsam_utils.models.sam import SIZES, Predictor, _size, asking
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


@pytest.mark.parametrize("size", [(1, 1000), (1000, 1), (1, 1), (2, 5000), (5000, 2), (3, 1)])
def test_the_thinnest_image_keeps_a_pixel_on_each_side(tiny, size):
    height, width = size
    tiny.set_image(noise(*size))
    assert tiny.original_size == size and min(tiny.input_size) >= 1 and max(tiny.input_size) == 256
    masks, _, _ = tiny.predict(box=np.array([0, 0, width, height]), multimask_output=False)
    assert masks.shape == (1, height, width) and masks.dtype == bool
    points = np.array([[width // 2, height // 2]])
    assert tiny.predict(points, np.array([1]))[0].shape == (3, height, width)


@pytest.mark.parametrize("size", [(100, 333), (256, 256), (513, 2)])
def test_images_of_usual_shapes_are_embedded_as_segment_anything_does(tiny, size):
    plain = SamPredictor(tiny.model)
    for predictor in (plain, tiny):
        predictor.set_image(noise(*size))
    assert torch.equal(tiny.features, plain.features) and tiny.input_size == plain.input_size


@pytest.mark.parametrize(
    "image",
    [noise(8, 8)[..., 0], noise(8, 8) / 255, noise(0, 8), noise(8, 8)[..., :2], np.zeros((8, 8, 4), np.uint8), None],
)
def test_what_is_no_image_is_refused_with_a_remedy(tiny, image):
    with pytest.raises(ModelError, match=r"SAM: the image is .*, not uint8 \[H, W, 3\] .* Give grey levels"):
        tiny.set_image(image)


@pytest.mark.parametrize("context", [torch.inference_mode, lambda: torch.autocast("cpu", torch.bfloat16)])
def test_the_callers_context_changes_no_mask(tiny, context):
    box = np.array([10, 20, 60, 70])
    tiny.set_image(noise(90, 120))
    expected = [tiny.features, *tiny.predict(box=box)]
    with context():
        tiny.set_image(noise(90, 120))
        found = [tiny.features, *tiny.predict(box=box)]
    assert all(np.array_equal(*pair) for pair in zip(found, expected, strict=True))
    assert found[1].dtype == bool and found[3].dtype == np.float32


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16])
def test_another_default_type_changes_no_mask(tiny, dtype):
    points, labels = np.array([[40, 50]]), np.array([1])
    tiny.set_image(noise(90, 120))
    expected = tiny.predict(points, labels)
    torch.set_default_dtype(dtype)
    try:
        tiny.set_image(noise(90, 120))
        found = tiny.predict(points, labels)
        assert torch.get_default_dtype() == dtype
    finally:
        torch.set_default_dtype(torch.float32)
    assert all(np.array_equal(*pair) for pair in zip(found, expected, strict=True))


def test_threads_that_ask_in_turns_get_the_masks_of_their_own_images(tiny):
    images, box = [noise(60 + 20 * number, 90) for number in range(2)], np.array([5, 5, 40, 40])
    expected = []
    for image in images:
        tiny.set_image(image)
        expected.append(tiny.predict(box=box)[2])
    first_is_set, found = threading.Event(), {}

    def ask(number):
        if number:
            first_is_set.wait(10)
        with asking(tiny):
            tiny.set_image(images[number])
            first_is_set.set()
            threads[1 - number].join(0.2)  # time for the other to set its image, if it could
            found[number] = tiny.predict(box=box)[2]

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert all(np.array_equal(found[number], expected[number]) for number in range(2))


def test_a_predictor_travels_with_its_image(tiny):
    tiny.set_image(noise(50, 40))
    again = pickle.loads(pickle.dumps(tiny))
    box = np.array([5, 5, 30, 30])
    assert type(again) is Predictor and np.array_equal(again.predict(box=box)[2], tiny.predict(box=box)[2])


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


def prefixed(prefix):
    return lambda weights: {prefix + name: weight for name, weight in weights.items()}


LAYOUTS = {
    "model": lambda weights: {"model": weights, "optimizer": {"state": {0: {"exp_avg": torch.ones(2)}}}, "epoch": 1},
    "state_dict": lambda weights: {"epoch": 3, "state_dict": weights},
    "another key": lambda weights: {"my_sam": weights, "best": 0.5},
    "nested": lambda weights: {"checkpoint": {"model_state_dict": weights}},
    "DataParallel": prefixed("module."),
    "compiled DataParallel": prefixed("_orig_mod.module."),
    "Lightning": lambda weights: {"state_dict": prefixed("sam.")(weights), "pytorch-lightning_version": "2.1"},
    "beside numbers": lambda weights: {**weights, "epoch": 3},
    "half precision": lambda weights: {name: weight.half() for name, weight in weights.items()},
}


@pytest.mark.parametrize("layout", [*LAYOUTS, "safetensors"])
def test_weights_are_found_in_what_training_loops_wrap_them_in(monkeypatch, tmp_path, layout):
    """The small SAM stands for the large ones, which would take a minute to write."""
    torch.manual_seed(0)
    model = build_tiny_sam()
    weights = {**model.state_dict(), "image_encoder.pos_embed": torch.zeros(1, 64, 64, 768)}
    built = build_tiny_sam()
    built.image_encoder.pos_embed = torch.nn.Parameter(torch.ones(1, 64, 64, 768))
    monkeypatch.setitem(sam_model_registry, "vit_b", lambda: built)
    path = tmp_path / ("best.safetensors" if layout == "safetensors" else "best.pth")
    if layout == "safetensors":
        save_file(weights, path, {"format": "pt"})
    else:
        torch.save(LAYOUTS[layout](weights), path)
    found = load_sam(path).model.state_dict()
    for name, weight in weights.items():
        expected = weight.half().float() if layout == "half precision" else weight
        assert torch.equal(found[name], expected), name


def test_weights_beside_those_of_sam_are_not_dropped_in_silence(tmp_path):
    path = tmp_path / "adapted.pth"
    weights = prefixed("sam.")({"image_encoder.pos_embed": torch.zeros(1, 64, 64, 768)})
    torch.save({"state_dict": {**weights, "adapter.weight": torch.zeros(2)}}, path)
    with pytest.raises(ModelError, match=r"beside the weights that start with 'sam\.' it has 1 others: adapter.weight"):
        load_sam(path)


@pytest.mark.parametrize(
    ("name", "layout"),
    [
        ("vision_encoder.layers.0.attn.qkv.weight", "the layout of Hugging Face's transformers"),
        ("image_encoder.trunk.pos_embed", r"the layout of SAM 2"),
        ("encoder.weight", r"names that are not known here \(encoder.weight\)"),
    ],
)
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_the_layout_of_another_model_is_named(tmp_path, name, layout, suffix):
    path = tmp_path / f"x{suffix}"
    (save_file if suffix == ".safetensors" else torch.save)({name: torch.zeros(2)}, path)
    with pytest.raises(ModelError, match=f"it has the weights of another model, not of SAM: {layout}"):
        load_sam(path)


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
