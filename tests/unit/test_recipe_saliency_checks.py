"""The recipe that checks saliency: the steps of its ladder, and a small run from end to end that can be interrupted."""

from __future__ import annotations

import itertools
import json
from dataclasses import asdict, replace

import numpy as np
import pytest

from medclipsam_utils.settings import M2IB, PAPERS_WAY
from medclipsam_utils.tasks import TASKS
from recipes.measure import parts
from recipes.measure.parts import run_part
from recipes.measure.saliency_checks import LADDER, PARTS, PUBLISHED, QUICK, centre, check, ladder


@pytest.mark.parametrize("task", TASKS)
def test_the_ladder_leads_from_the_paper_to_the_preset(task):
    steps = ladder(task)
    assert tuple(steps) == LADDER
    assert (
        steps["as published"] == PUBLISHED and not PUBLISHED.saliency.standardize and PUBLISHED.saliency.variance == 1
    )
    assert steps["M2IB"] == replace(PAPERS_WAY["tiny"][task], clusters=2, margin=0.0)
    flat = [{**asdict(step), **asdict(step.saliency)} for step in steps.values()]
    changed = [
        {name for name in old if name != "saliency" and old[name] != new[name]} for old, new in itertools.pairwise(flat)
    ]
    assert sum(map(len, changed)) == len(set.union(*changed))  # nothing is changed twice


def test_the_middle_of_an_image():
    (found,) = centre(None, [np.zeros((31, 21, 3), np.uint8)], None)
    assert np.unravel_index(found.argmax(), found.shape) == (15, 10) and found.dtype == np.float32


@pytest.mark.usefixtures("quick_processes")
def test_a_small_run_goes_on_where_it_was_interrupted(tmp_path, monkeypatch):
    monkeypatch.setattr(parts, "TASKS", {"lung_xray": TASKS["lung_xray"]})
    for part in PARTS:  # as another process does it
        run_part((part, "lung_xray", QUICK, tmp_path / f"{part.__name__}_lung_xray.json"))
    kept = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*_lung_xray.json")}
    assert len(kept) == len(PARTS)
    results = json.loads(check(QUICK, tmp_path).read_text(), parse_constant=pytest.fail)  # no NaN, no infinity
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    methods = results["methods"]["lung_xray"]
    assert set(methods) > {*LADDER, "GradCAM", "gScoreCAM", "rollout", "middle of the image"}
    assert all(set(found["pointing"]) <= {0, 1} and len(found["pointing"]) == 2 for found in methods.values())
    for method in ("M2IB", "GradCAM"):
        prompts = results["prompts"]["lung_xray"][method]
        assert list(prompts) == ["right", "other organ", "absent", "nonsense"]
        assert prompts["right"]["correlation"] == [1, 1] and prompts["other organ"]["correlation"] != [1, 1]
    assert next(iter(results["forgetting"]["lung_xray"]["rollout"])) == "head"
    presence = results["presence"]["lung_xray"]
    assert len(presence["calibration"]) == 19 and presence["reported with"] == [1, 1]
    for way in ("with masks", "without"):
        trials = results["tuning"]["lung_xray"][way]["trials"]
        assert len(trials) == 2 and trials[0]["score"] >= trials[1]["score"]
    assert M2IB(**results["settings"]["lung_xray"]["saliency"]) == PAPERS_WAY["tiny"]["lung_xray"].saliency
    assert results["sizes"]["held_out"] == 2
