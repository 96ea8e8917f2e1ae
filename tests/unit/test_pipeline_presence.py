"""Presence belongs to the words, the weights and the kind of image; otherwise it is unknown, and says why."""

from __future__ import annotations

import dataclasses
from functools import cache

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from medclipsam_utils.models import load_clip
from medclipsam_utils.models.weights import shipped
from medclipsam_utils.pipeline import Questions, calibrate
from medclipsam_utils.pipeline.presence import SHIPPED, fingerprints, load_calibrations
from medclipsam_utils.results import load_results
from medclipsam_utils.saliency import mean_features
from medclipsam_utils.simulate import FINDINGS, simulate
from medclipsam_utils.tasks import TASKS, Task

WORDS = {
    "breast_ultrasound": "a mass in the breast",
    "brain_mri": "a lesion of the brain",
    "lung_xray": "both lungs",
    "lung_ct": "the left and the right lung",
}


@cache
def images_of(task, finding):
    return [simulate(task, seed, finding=finding).image for seed in range(3000, 3006)]


@pytest.fixture(scope="module")
def clip():
    return load_clip("tiny")


@pytest.fixture(scope="module")
def normal():
    return [simulate("brain_mri", seed, finding="normal").image for seed in range(3000, 3040)]


def presences(clip, images, text=None, task=None):
    return [question.presence for question in Questions(clip).ask(images, text, task)]


@pytest.mark.parametrize("task", TASKS)
def test_known_targets_are_answered_whatever_the_words(clip, task):
    with_target, without = (images_of(task, finding) for finding in (FINDINGS[task][0], FINDINGS[task][-1]))
    for text in (None, WORDS[task]):
        found, absent = (presences(clip, images, text, task) for images in (with_target, without))
        assert all(each.present is not None and each.simulated for each in found + absent)
        assert sum(each.present for each in found) > sum(each.present for each in absent)
        assert all(each.present == (each.p_value <= 0.05) for each in found + absent)


def test_the_words_that_were_asked_are_tested(clip):
    """By hand: against the embeddings of the shipped images, in the direction from the absent sentence to the words."""
    image = simulate("brain_mri", 3001, finding="glioma").image
    without = load_calibrations_of_package()["brain_mri"].without
    absent = mean_features(clip, TASKS["brain_mri"].absent_prompt)
    for text in ("glioma", "brain tumour"):
        direction = (mean_features(clip, text) - absent).numpy()
        score = clip.encode_image(image)[0].numpy() @ direction
        expected = (1 + (without @ direction >= score).sum()) / (len(without) + 1)
        (found,) = presences(clip, [image], text)
        assert found.p_value == pytest.approx(expected)


def test_a_target_that_cannot_be_there_is_not_reported(clip):
    for task, text in (("breast_ultrasound", "brain tumour"), ("brain_mri", "lungs"), ("lung_ct", "brain tumour"),
                       ("lung_xray", "breast tumour"), ("brain_mri", "breast tumour")):  # fmt: skip
        for found in presences(clip, images_of(task, FINDINGS[task][0]), text):
            assert found.present is None and "the image is unlike the" in found.reason


def test_a_film_is_no_slice(clip):
    """Asked for lungs without a word of how the image was made, the kind of the image decides, for both kinds."""
    for task in ("lung_xray", "lung_ct"):
        (question,) = Questions(clip).ask([simulate(task, 3002, finding="clear").image], "lungs")
        assert question.task.name == task and question.presence.present
    (found,) = presences(clip, [simulate("lung_ct", 3002, finding="clear").image], "lungs", "lung_xray")
    assert found.present is None and found.reason == "the image is unlike the chest X-ray images of its calibration"


@pytest.mark.parametrize("task", TASKS)
def test_what_is_no_such_image(clip, task):
    generator = np.random.default_rng(0)
    images = [np.full((256, 256, 3), level, np.uint8) for level in (0, 90, 255)]
    images += [generator.integers(0, 256, (200, 256, 3), dtype=np.uint8), np.zeros((1, 1, 3), np.uint8)]
    ramp = np.linspace(0, 255, 256).astype(np.uint8)
    images += [np.broadcast_to(ramp[:, None, None], (256, 256, 3)).copy()]
    for text in (None, WORDS[task]):
        assert all(found.present is None for found in presences(clip, images, text, task))


def test_other_weights_are_another_calibration(clip):
    image = simulate("brain_mri", 3001, finding="glioma").image
    (known,) = presences(clip, [image], "brain tumour")
    assert known.present is not None
    changed = load_clip("tiny")
    with torch.no_grad():
        changed.model.visual.head.proj.weight[0, 0] += 1e-3
    (found,) = presences(changed, [image], "brain tumour")
    assert str(found) == "presence unknown (tiny was not calibrated for it)"


class TestCalibration:
    def test_of_your_own(self, clip, normal, tmp_path):
        """Images without the target, kept in a file, test a task of one's own; other images are of another kind."""
        calibrate(clip, normal[:30]).save(tmp_path / "mine.safetensors", "mine")
        task = Task(
            "mine", "brain MRI", "mass in the brain", {"P0": "a mass in the brain"},
            absent_prompt="a normal brain MRI without a tumour", calibration=tmp_path / "mine.safetensors",
        )  # fmt: skip
        tumours = [simulate("brain_mri", seed, finding="meningioma").image for seed in range(3000, 3010)]
        found = presences(clip, tumours, None, task)
        known = [each.present for each in found if each.present is not None]
        assert len(known) >= 6 and sum(known) >= len(known) - 2 and not any(each.simulated for each in found)
        assert "against images without it" in str(next(each for each in found if each.present is not None))
        held_out = [each.present for each in presences(clip, normal[30:], None, task) if each.present is not None]
        assert sum(held_out) <= 2
        (other,) = presences(clip, [simulate("lung_ct", 3000).image], None, task)
        assert other.present is None and "unlike the brain MRI images" in other.reason
        (other,) = presences(load_clip("tiny-base"), [tumours[0]], None, task)
        assert other.reason == "mine.safetensors was made with other weights than those of tiny-base: calibrate again"

    def test_the_shipped_one_is_of_simulated_images_of_each_task(self, clip):
        calibrations = load_calibrations_of_package()
        assert list(calibrations) == list(TASKS)
        for name, calibration in calibrations.items():
            assert calibration.simulated and calibration.without.shape == (100, 128)
            scores = calibration.without @ (mean_features(clip, TASKS[name].prompts["P2"]).numpy() - absent(clip, name))
            stored = load_results("saliency_checks")["presence"][name]["calibration"]
            assert np.allclose(np.sort(scores), stored, atol=2e-4)  # the same images, as the recipe scored them

    def test_the_look_of_an_image_does_not_depend_on_its_company(self, clip, normal):
        together = fingerprints(clip, normal[:3])
        assert together.shape == (3, 256)
        assert np.allclose(together[1:2], fingerprints(clip, normal[1]), atol=1e-5)
        assert len(fingerprints(clip, [])) == 0

    def test_a_file_keeps_all_of_it(self, clip, normal, tmp_path):
        made = calibrate(clip, normal[:19])
        made.save(tmp_path / "deep" / "one.safetensors", "one")
        ((name, read),) = load_calibrations(tmp_path / "deep" / "one.safetensors").items()
        assert name == "one" and (read.weights, read.reach, read.simulated) == (made.weights, made.reach, False)
        for part in ("without", "mean", "whitening"):
            assert np.array_equal(getattr(read, part), getattr(made, part))

    def test_what_is_wrong_is_said(self, clip, normal, tmp_path):
        with pytest.raises(ValueError, match="there are 18 images without the target: give 19 or more"):
            calibrate(clip, normal[:18])
        task = Task(
            "mine", "", "mass in the brain", {"P0": "a mass in the brain"}, calibration=tmp_path / "mine.safetensors"
        )
        with pytest.raises(ValueError, match=r"there is no calibration .*mine\.safetensors: make it with"):
            presences(clip, normal[:1], None, task)
        (tmp_path / "mine.safetensors").write_bytes(b"nothing")
        with pytest.raises(ValueError, match=r"mine\.safetensors is damaged"):
            presences(clip, normal[:1], None, task)
        for_others = dataclasses.replace(
            task, calibration=shipped(SHIPPED)
        )  # of four targets, and this is none of them
        with pytest.raises(ValueError, match=r"has calibrations for breast_ultrasound, .* and none for 'mine'"):
            presences(clip, normal[:1], None, for_others)
        save_file({"a": np.zeros(1)}, tmp_path / "other.safetensors")
        with pytest.raises(ValueError, match=r"other\.safetensors is no calibration"):
            presences(clip, normal[:1], None, dataclasses.replace(task, calibration=tmp_path / "other.safetensors"))


def absent(clip, task):
    return mean_features(clip, TASKS[task].absent_prompt).numpy()


def load_calibrations_of_package():
    return load_calibrations(shipped(SHIPPED))
