"""nnU-Net on pseudo-labels: what is exported, what is refused, and one small run of the whole way."""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
from dataclasses import asdict
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from medclipsam_utils import simulate
from medclipsam_utils.images import MedicalImage
from medclipsam_utils.weak import nnunet, nnunet_dataset
from medclipsam_utils.weak.nnunet import NNUNetConfig, export_dataset, plan, predict, train
from medclipsam_utils.weak.schedule import cyclic_poly
from medclipsam_utils.weak.uncertainty import EnsemblePrediction

CONFIG = NNUNetConfig(cycles=2, cycle_epochs=2, keep=1, iterations=8, val_iterations=1)
MODEL = "nnUNet_results/Dataset003_LUNGS/CyclicTrainer__nnUNetPlans__2d/fold_all"


def cases(count, side=8):
    generator = np.random.default_rng(0)
    images = {f"case{n}": generator.integers(0, 256, (side, side), np.uint8) for n in range(count)}
    return images, {name: image > 128 for name, image in images.items()}


def read(path):
    return np.asarray(Image.open(path))


def test_images_and_labels_are_written_as_nnunet_reads_them(tmp_path):
    images, labels = cases(3)
    images["case1"] = np.repeat(images["case1"][..., None], 3, axis=2)
    labels["case2"][:] = False
    test_images = {"other.1": np.zeros((4, 6), np.uint8)}
    folder = export_dataset(tmp_path, 12, "BREAST_us", images, labels, test_images)
    assert folder == tmp_path / "nnUNet_raw" / "Dataset012_BREAST_us"
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*.*")}
    assert files == {
        "dataset.json", "imagesTs/other.1_0000.png",
        *(f"imagesTr/case{n}_0000.png" for n in range(3)), *(f"labelsTr/case{n}.png" for n in range(3)),
    }  # fmt: skip
    assert json.loads((folder / "dataset.json").read_text()) == {
        "channel_names": {"0": "grey"},
        "labels": {"background": 0, "target": 1},
        "numTraining": 3,
        "file_ending": ".png",
        "overwrite_image_reader_writer": "NaturalImage2DIO",
    }
    for name, label in labels.items():
        written = read(folder / "labelsTr" / f"{name}.png")
        assert written.dtype == np.uint8 and np.array_equal(written, np.where(label, 1, 0))
    assert np.array_equal(read(folder / "imagesTr" / "case1_0000.png"), images["case1"][..., 0])


def test_one_image_with_colour_gives_all_three_channels(tmp_path):
    images, labels = cases(2)
    colour = np.random.default_rng(1).integers(0, 256, (8, 8, 3), np.uint8)
    folder = export_dataset(tmp_path, 1, "A", {**images, "case1": colour}, labels)
    assert np.array_equal(read(folder / "imagesTr" / "case1_0000.png"), colour)
    grey = read(folder / "imagesTr" / "case0_0000.png")
    assert grey.shape == (8, 8, 3) and (grey == images["case0"][..., None]).all()
    description = json.loads((folder / "dataset.json").read_text())
    assert description["channel_names"] == {"0": "red", "1": "green", "2": "blue"}


def test_images_of_every_kind_are_exported(tmp_path):
    colour, labels = np.random.default_rng(1).integers(0, 256, (8, 8, 3), np.uint8), cases(2)[1]
    picture, tensor = MedicalImage(colour, tmp_path / "a.png", "PNG"), torch.from_numpy(colour).permute(2, 0, 1)
    kinds = {"case0": picture, "case1": tensor}
    folder = export_dataset(tmp_path, 1, "A", kinds, labels, {"new": kinds["case0"]})
    for name in ("imagesTr/case0_0000.png", "imagesTr/case1_0000.png", "imagesTs/new_0000.png"):
        assert np.array_equal(read(folder / name), colour)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: a.update(images={}, labels={}), "there are no images: give one or more"),
        (lambda a: a["labels"].pop("case1"), "1 images without label: case1. Partners have the same name"),
        (lambda a: a["images"].pop("case1"), "1 labels without image: case1"),
        (
            lambda a: a["labels"].update(case1=np.ones((8, 9), bool)),
            r"case1 has \(8, 8\) pixels and its label \(8, 9\)",
        ),
        (lambda a: a["labels"].update(case1=np.full((8, 8), 255)), "the label of case1 is int64: give bool"),
        (lambda a: [label.fill(False) for label in a["labels"].values()], "all 2 labels are empty.*look at the pseudo"),
        (lambda a: a["images"].update(case1=np.ones((8, 8))), r"case1 is float64 \[8, 8\]: give uint8"),
        (lambda a: a["images"].update(case1=np.ones((8, 8, 4), np.uint8)), r"case1 is uint8 \[8, 8, 4\]"),
        (lambda a: a.update(test_images={"Case1": np.ones((8, 8), np.uint8)}), "occur twice: case1, Case1.*rename"),
        (lambda a: a.update(test_images={"../x": np.ones((8, 8), np.uint8)}), r"no file names: \.\./x\. Use letters"),
        (lambda a: a.update(test_images={"x": np.ones((8, 0), np.uint8)}), r"x is uint8 \[8, 0\]"),
        (lambda a: a.update(dataset_id=1000), "dataset_id is 1000 .*give 1 to 999"),
        (lambda a: a.update(name="A B"), "name is 'A B': give .* a name of letters"),
    ],
)
def test_what_is_wrong_is_said_and_nothing_is_left(tmp_path, change, message):
    images, labels = cases(2)
    arguments = {"dataset_id": 1, "name": "A", "images": images, "labels": labels}
    change(arguments)
    with pytest.raises(ValueError, match=message):
        export_dataset(tmp_path, **arguments)
    assert not list(tmp_path.rglob("*"))


def test_a_number_is_used_once_and_an_interrupted_export_is_none(tmp_path, monkeypatch):
    def full(*_):
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(nnunet_dataset, "write_json", full)
        with pytest.raises(OSError, match="disk full"):
            export_dataset(tmp_path, 1, "A", *cases(3))
    with pytest.raises(ValueError, match="no data set 1: call export_dataset first"):
        plan(tmp_path, 1)
    folder = export_dataset(tmp_path, 1, "A", *cases(2))
    assert len(list((folder / "imagesTr").iterdir())) == 2
    with pytest.raises(ValueError, match="has Dataset001_A already: give another dataset_id"):
        export_dataset(tmp_path, 1, "B", *cases(2))
    assert [path.name for path in (tmp_path / "nnUNet_raw").iterdir()] == ["Dataset001_A"]


def test_settings_name_the_kept_models_and_travel_by_environment():
    paper = NNUNetConfig()
    names = paper.checkpoint_names
    assert len(names) == 30 and paper.cycles * paper.cycle_epochs == 600
    assert names[0] == "checkpoint_c0_e190.pth" and names[9:11] == ["checkpoint_c0_e199.pth", "checkpoint_c1_e190.pth"]
    assert names[-1] == paper.checkpoint_name(599) == "checkpoint_c2_e199.pth"
    assert NNUNetConfig.from_environment({**CONFIG.environment, "PATH": "/"}) == CONFIG
    assert NNUNetConfig.from_environment({"MEDCLIPSAM_CYCLES": "2"}) == NNUNetConfig(cycles=2)
    for name in asdict(paper):
        with pytest.raises(ValueError, match=f"{name} is 0: give 1 or more"):
            NNUNetConfig(**{name: 0})
    with pytest.raises(ValueError, match="keep is 3, but a cycle has 2 epochs"):
        NNUNetConfig(cycle_epochs=2, keep=3)


def test_steps_out_of_order_and_wrong_options(tmp_path, monkeypatch):
    images, labels = cases(3)
    export_dataset(tmp_path, 1, "A", images, labels)
    with pytest.raises(ValueError, match="gpu_memory_gb is 0: give a number above 0"):
        plan(tmp_path, 1, gpu_memory_gb=0)
    with pytest.raises(ValueError, match=r"Dataset001_A is not planned: call plan\(folder, 1\) first"):
        train(tmp_path, 1)
    with pytest.raises(ValueError, match=r"is not trained to its end: call train\(folder, 1\) first"):
        predict(tmp_path, 1, images)
    with pytest.raises(ValueError, match="fold is 5: give 'all', or a number from 0 to 4"):
        train(tmp_path, 1, fold=5)
    with pytest.raises(ValueError, match="device is 'cuda:1': give 'cpu', 'cuda' or 'mps'; CUDA_VISIBLE_DEVICES"):
        predict(tmp_path, 1, images, device="cuda:1")
    with pytest.raises(ValueError, match="there are no images: give one or more"):
        predict(tmp_path, 1, {})
    monkeypatch.setattr(nnunet, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"not installed: pip install 'medclipsam-utils\[nnunet\]'"):
        plan(tmp_path, 1)


def test_a_training_that_never_began_binds_nobody_and_a_damaged_one_is_named(tmp_path, monkeypatch):
    def fail(folder, task, module, arguments, environment):
        raise RuntimeError(environment["MEDCLIPSAM_CYCLES"])

    monkeypatch.setattr(nnunet, "_run", fail)
    export_dataset(tmp_path, 3, "LUNGS", *cases(4))
    planned = tmp_path / "nnUNet_preprocessed" / "Dataset003_LUNGS" / "planned.json"
    planned.parent.mkdir(parents=True)
    planned.touch()
    with pytest.raises(ValueError, match="has 4 images, too few for five folds: use fold='all'"):
        train(tmp_path, 3, fold=0)
    for cycles in (2, 3):
        with pytest.raises(RuntimeError, match=str(cycles)):
            train(tmp_path, 3, NNUNetConfig(cycles=cycles))
    (tmp_path / MODEL / "checkpoint_latest.pth").write_bytes(b"PK")
    with pytest.raises(ValueError, match=r"checkpoint_latest\.pth is damaged: delete .*fold_all and train again"):
        train(tmp_path, 3, NNUNetConfig(cycles=3))


@pytest.mark.heavy
def test_nnunet_itself_refuses_labels_of_0_and_255(tmp_path):
    folder = export_dataset(tmp_path, 1, "A", *cases(2, side=32))
    label = folder / "labelsTr" / "case0.png"
    Image.fromarray(read(label) * 255).save(label)
    with pytest.raises(RuntimeError, match=r"nnU-Net's plan ended with code 1\. All of its output is in .*plan\.txt"):
        plan(tmp_path, 1, gpu_memory_gb=0.1)
    assert "Unexpected labels" in (tmp_path / "logs" / "plan.txt").read_text()


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with a training of 8 images that was killed in its second cycle and went on."""
    folder = tmp_path_factory.mktemp("nnunet")
    samples = {f"x{seed}": simulate("lung_xray", seed, size=64) for seed in range(8)}
    images, labels = ({name: getattr(s, kind) for name, s in samples.items()} for kind in ("image", "mask"))
    export_dataset(folder, 3, "LUNGS", images, labels)
    plan(folder, 3, gpu_memory_gb=0.1)

    def kill_in_second_cycle(command, *, check, **options):
        process = subprocess.Popen(command, **options)
        deadline = time.monotonic() + 120
        while not (folder / MODEL / "checkpoint_c0_e1.pth").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        process.kill()
        return SimpleNamespace(returncode=process.wait())

    with pytest.MonkeyPatch.context() as patch, pytest.raises(RuntimeError, match="train ended with code -9"):
        patch.setattr(subprocess, "run", kill_in_second_cycle)
        train(folder, 3, CONFIG)
    with pytest.raises(ValueError, match="is not trained to its end"):
        predict(folder, 3, images)
    train(folder, 3, CONFIG)
    return folder


def test_the_whole_way(trained):
    samples = [simulate("lung_xray", seed, size=64) for seed in (20, 21)]
    images = {"b": samples[0].image, "a": samples[1].image[..., 0], "c": samples[0].image}
    environment = dict(os.environ)
    members = predict(trained, 3, images)
    assert members.shape == (2, 3, 64, 64) and members.dtype == np.float32
    probability = EnsemblePrediction(members).probability
    assert 0 <= probability.min() < probability.max() <= 1
    assert np.array_equal(members[:, 0], members[:, 2]) and not np.allclose(members[:, 0], members[:, 1], atol=0.01)
    assert not np.allclose(members[0], members[1], atol=0.01)
    assert probability[0][samples[0].mask].mean() > probability[0][~samples[0].mask].mean()
    assert not list(trained.glob(".predict-*")) and dict(os.environ) == environment
    colour = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    with pytest.raises(ValueError, match="c has colour, but the data set is grey"):
        predict(trained, 3, {"c": colour})


def test_the_learning_rate_has_cycles_and_the_training_went_on(trained):
    logs = [path.read_text() for path in sorted((trained / MODEL).glob("training_log_*.txt"))]
    rates = {}
    for log in logs:
        pairs = re.findall(r"Epoch (\d)\s.*\n.*Current learning rate: ([\d.]+)", log)
        rates.update({int(epoch): float(rate) for epoch, rate in pairs})
    expected = {epoch: 0.01 * cyclic_poly(epoch, CONFIG.cycle_epochs) for epoch in range(4)}
    assert rates == pytest.approx(expected, abs=5e-6)
    assert len(logs) == 2 and "Epoch 0" in logs[0] and "Epoch 0" not in logs[1] and "Epoch 3" in logs[1]


def test_what_is_done_is_not_done_again_and_not_mixed(trained):
    before = {path: path.stat().st_mtime_ns for path in trained.rglob("*.*")}
    plan(trained, 3, gpu_memory_gb=0.1)
    files = train(trained, 3, CONFIG)
    assert [file.name for file in files] == ["checkpoint_c0_e1.pth", "checkpoint_c1_e1.pth"]
    assert all(file.is_file() for file in files)
    assert {path: path.stat().st_mtime_ns for path in trained.rglob("*.*")} == before
    with pytest.raises(ValueError, match=r"was made with gpu_memory_gb 0\.1: use these settings"):
        plan(trained, 3)
    with pytest.raises(ValueError, match="fold_all was made with cycle_epochs 2, keep 1: use these settings"):
        train(trained, 3, NNUNetConfig(2, 3, 2, 8, 1))


def test_a_damaged_checkpoint_is_named(trained):
    path = trained / MODEL / "checkpoint_c1_e1.pth"
    whole = path.read_bytes()
    image = {"a": np.zeros((64, 64), np.uint8)}
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 1
    try:
        for content in (whole[:-1000], b"", bytes(flipped)):
            path.write_bytes(content)
            with pytest.raises(
                ValueError, match=r"checkpoint_c1_e1\.pth is damaged: delete .*fold_all and train again"
            ):
                predict(trained, 3, image)
        path.unlink()
        with pytest.raises(ValueError, match=r"checkpoint_c1_e1\.pth is missing"):
            predict(trained, 3, image)
    finally:
        path.write_bytes(whole)
