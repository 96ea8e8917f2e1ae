"""The recipe of the third stage: what spoils a mask and how, and a small run that can be interrupted."""

from __future__ import annotations

import json

import numpy as np
import pytest

from medclipsam_utils import Segmenter, dice, load_clip, load_sam
from medclipsam_utils.tasks import TASKS
from recipes.data.cases import target_cases
from recipes.measure import parts, weak_nnunet
from recipes.measure.parts import run_part
from recipes.measure.weak_supervision import PARTS, SPOILT, evaluate, grown, half_missing, marked, moved, quick

MASK = np.zeros((60, 80), bool)
MASK[20:40, 25:55] = True


def test_masks_are_spoilt_as_they_should_be():
    assert grown(MASK, 2).sum() > MASK.sum() > grown(MASK, -2).sum() and grown(MASK, 0) is MASK
    aside = moved(MASK, np.array([0.0, 5.0]))
    assert aside.sum() == MASK.sum() and aside[20:40, 30:60].all()
    spoilt = {
        name: [spoil(MASK, np.random.default_rng(number)) for number in range(40)] for name, spoil in SPOILT.items()
    }
    majority = {name: dice(np.mean(masks, axis=0) > 0.5, MASK) for name, masks in spoilt.items()}
    assert majority["exact"] == 1
    assert min(majority["each too large or too small"], majority["each moved elsewhere"]) > 0.9
    assert max(majority["all too large"], majority["all moved to one side"]) < 0.88
    halves = [half_missing(MASK, np.random.default_rng(number)).sum() for number in range(40)]
    assert set(halves) == {MASK.sum(), MASK[:, 40:].sum()}


@pytest.mark.usefixtures("quick_processes")
def test_a_small_run_goes_on_where_it_was_interrupted(tmp_path, monkeypatch):
    monkeypatch.setattr(parts, "TASKS", {"lung_ct": TASKS["lung_ct"]})
    sizes = quick(tmp_path)
    for part in PARTS:  # as another process does it
        run_part((part, "lung_ct", sizes, tmp_path / f"{part.__name__}_lung_ct.json"))
    kept = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.*")}
    results = json.loads(evaluate(sizes, tmp_path).read_text(), parse_constant=pytest.fail)
    assert all(path.stat().st_mtime_ns == written for path, written in kept.items())
    assert len(results["pseudo_labels"]["lung_ct"]["DSC"]) == 6
    assert len(results["pseudo_labels"]["lung_ct"]["trusted"]) == 4
    found = results["training"]["lung_ct"]
    ways = {"U-Net alone", "trusted masks", "exact masks"}
    assert {"zero-shot", "finding"} | ways == set(found)
    assert len(found["trusted masks"]["members"]) == 2 and len(found["zero-shot"]["DSC"]) == 3
    assert np.mean(found["zero-shot"]["DSC"]) > 0.8
    chosen_by = found["U-Net alone"]["validation NSD"]
    assert len(chosen_by) == 2 and all(0 <= value <= 1 for value in chosen_by)
    assert 0 <= found["exact masks"]["reliability, ensemble"]["ECE"] <= 1
    assert set(results["noise"]) == set(SPOILT) and results["noise"]["exact"]["labels"] == [1, 1, 1, 1]
    assert "folder" not in results["sizes"]
    lane = results["captions_alone"]["lung_ct"]
    assert len(lane["labels"]) == 4 and len(lane["teacher"]["DSC"]) == 2 and len(lane["pupils"]) == 2
    assert lane["pupils"][0] != lane["pupils"][1]  # each from weights of its own


def test_the_lane_of_captions_alone_uses_what_the_map_marks():
    cases = target_cases("lung_ct", [5])
    (found,) = marked("lung_ct", [cases[0].image])
    answer = Segmenter(load_clip("tiny-base"), load_sam("tiny")).segment(cases[0].image, task="lung_ct")
    assert np.array_equal(found, answer.coarse)


def test_the_run_of_nnunet_labels_exports_and_judges(tmp_path, monkeypatch):
    """Without nnU-Net, whose own small run is tested with the package: its answer is one that we know."""
    steps = []
    monkeypatch.setattr(weak_nnunet, "plan", lambda folder, number, **_: steps.append("plan"))
    monkeypatch.setattr(weak_nnunet, "train", lambda folder, number, config: steps.append("train"))
    monkeypatch.setattr(
        weak_nnunet, "predict", lambda folder, number, images: np.ones((2, len(images), 128, 128), "f4")
    )
    found = weak_nnunet.run(tmp_path, weak_nnunet.TRAINING[:4], weak_nnunet.HELD_OUT[:2])
    assert steps == ["plan", "train"] and set(found["seconds"]) == {"plan", "train", "predict"}
    assert len(list(tmp_path.glob("nnUNet_raw/Dataset001_LUNGS/labelsTr/*.png"))) == found["images"] == 3
    everything = [dice(np.ones((128, 128), bool), weak_nnunet._case(seed).mask) for seed in weak_nnunet.HELD_OUT[:2]]
    assert found["members"] == [found["ensemble"]] * 2 and found["ensemble"] == pytest.approx(everything, abs=1e-4)
    assert np.mean(found["labels"]) > 0.8 and len(found["zero-shot"]) == 2
