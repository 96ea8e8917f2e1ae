"""The recipe that measures the whole way: a small run from end to end, and that its parts agree with the package."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from medclipsam_utils import Segmenter, dice, load_clip, load_sam, nsd
from medclipsam_utils.saliency import mean_features
from medclipsam_utils.settings import PAPERS_WAY, saliency_for
from medclipsam_utils.tasks import TASKS
from recipes.measure import parts, zero_shot
from recipes.measure.parts import run_part
from recipes.measure.zero_shot import PARTS, QUICK, asking, evaluate, held_out

# The paper's way, but for the number of views and of samples of noise, which are only costly here.
ROW = PAPERS_WAY["tiny"]["lung_ct"]
QUICK_ROWS = {**PAPERS_WAY["tiny"], "lung_ct": replace(ROW, saliency=replace(ROW.saliency, samples=1, views=False))}
QUICK_WAY = {"tiny": QUICK_ROWS, "tiny-base": QUICK_ROWS}


def test_asking_with_other_words():
    clip, words = load_clip("tiny"), ["both lungs", "the left lung"]
    asked = PAPERS_WAY["tiny"]["lung_ct"].text_features(clip, asking("lung_ct", words))
    assert np.allclose(asked, mean_features(clip, words), atol=1e-6)


@pytest.mark.usefixtures("quick_processes")
def test_a_small_run_agrees_with_the_package(tmp_path, monkeypatch):
    monkeypatch.setattr(parts, "TASKS", {"lung_ct": TASKS["lung_ct"]})
    monkeypatch.setattr(zero_shot, "PAPERS_WAY", QUICK_WAY)
    for part in PARTS:  # as another process does it
        run_part((part, "lung_ct", QUICK, tmp_path / f"{part.__name__}_lung_ct.json"))
    kept = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*_lung_ct.json")}
    assert len(kept) == len(PARTS)
    results = json.loads(evaluate(QUICK, tmp_path).read_text(), parse_constant=pytest.fail)
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    assert results["sizes"]["held_out"] == 2 and results["tolerance"] == 2

    segmenter = Segmenter(load_clip("tiny"), load_sam("tiny"), QUICK_WAY["tiny"])
    cases = held_out("lung_ct", QUICK)
    found = [segmenter.segment(case.image, task="lung_ct").mask for case in cases]
    expected = {
        "DSC": [dice(mask, case.mask) for mask, case in zip(found, cases, strict=True)],
        "NSD": [nsd(mask, case.mask, 2) for mask, case in zip(found, cases, strict=True)],
    }
    whole = {
        "components_added": "+ SAM", "saliency_methods": "M2IB", "visual_prompts": "boxes",
        "absent_targets": "with, always answered",
    }  # fmt: skip
    for part, name in whole.items():
        for measure, values in expected.items():
            assert results[part]["lung_ct"]["scores"][name][measure] == pytest.approx(values, abs=2e-3), part
    bare = [saliency_for(segmenter.clip, c.image, "lung_ct", table=QUICK_WAY)[0] >= 0.5 for c in cases]
    added = results["components_added"]["lung_ct"]
    assert added["scores"]["saliency"]["DSC"] == pytest.approx(
        [dice(mask, case.mask) for mask, case in zip(bare, cases, strict=True)], abs=2e-3
    )
    assert added["finding"] == ["clear", "nodule"] and added["pointing"] == [1, 1]
    assert added["area"] == pytest.approx([case.mask.mean() for case in cases], abs=1e-5)
    absent = results["absent_targets"]["lung_ct"]
    assert absent["reported"] == {"with": [1, 1], "without": [0, 0]}
    assert absent["scores"]["without, answered if present"]["DSC"] == [1, 1]
    assert absent["scores"]["without, always answered"]["DSC"] == [0, 0]
    names = {part.__name__: set(results[part.__name__]["lung_ct"]["scores"]) for part in PARTS}
    assert {"P0", "P2", "P2, ensemble", "P3, class known", "all kinds"} < names["text_prompts"]
    made = {f"{name}{which}" for name in ("GradCAM", "patch–text") for which in ("", ", captions only")}
    assert made | {"gScoreCAM", "first version"} < names["saliency_methods"]
    assert {"points anywhere", "boxes and points", "boxes, staple", "boxes, mrm"} < names["visual_prompts"]
    assert {"rule without words", "filled box", "+ k-means", "SAM on the true box"} < names["components_added"]
