"""The recipe that measures the default beside the paper's way: that it agrees with the package, and what it asks."""

from __future__ import annotations

import json

import pytest

from medclipsam_utils import TASKS, Segmenter, dice, load_clip, load_sam, simulate
from medclipsam_utils.pipeline.naming import named_tasks
from medclipsam_utils.settings import PAPERS_WAY
from medclipsam_utils.simulate import FINDINGS
from recipes.measure import parts
from recipes.measure.parts import run_part
from recipes.measure.ways import PARTS, QUICK, evaluate, held_out, wordings

# Sentences may say more than the small CLIP was taught: that is what they are for.
pytestmark = pytest.mark.filterwarnings("ignore::medclipsam_utils.models.UnknownWordWarning", "ignore:.*is no target")


@pytest.mark.usefixtures("quick_processes")
def test_a_small_run_agrees_with_the_package(tmp_path, monkeypatch):
    monkeypatch.setattr(parts, "TASKS", {"lung_xray": TASKS["lung_xray"]})
    for part in PARTS:  # as another process does it
        run_part((part, "lung_xray", QUICK, tmp_path / f"{part.__name__}_lung_xray.json"))
    results = json.loads(evaluate(QUICK, tmp_path).read_text(), parse_constant=pytest.fail)
    samples = held_out("lung_xray", QUICK, 2)
    found = results["ways"]["lung_xray"]
    assert found["finding"] == [sample.finding for sample in samples] == list(FINDINGS["lung_xray"][:2])
    clip, sam = load_clip("tiny"), load_sam("tiny")
    for name, settings in {"default": None, "paper's way": PAPERS_WAY["tiny"]}.items():
        segmenter = Segmenter(clip, sam, settings)
        by_prompts = [dice(segmenter.segment(s.image, task="lung_xray").mask, s.mask) for s in samples]
        by_caption = [dice(segmenter.segment(s.image, s.caption, task="lung_xray").mask, s.mask) for s in samples]
        assert found["scores"][f"{name}, prompts"]["DSC"] == pytest.approx(by_prompts, abs=2e-3)
        assert found["scores"][f"{name}, own caption"]["DSC"] == pytest.approx(by_caption, abs=2e-3)
    said = results["sentences"]["lung_xray"]
    assert set(said["scores"]) == {"prompts", *said["examples"]} and len(said["examples"]) == 6
    assert said["scores"]["own caption"]["DSC"] == found["scores"]["default, own caption"]["DSC"][:1]


@pytest.mark.parametrize("task", TASKS)
def test_what_is_asked_is_what_its_name_says(task):
    for seed in range(8):
        sample = simulate(task, seed, finding=FINDINGS[task][seed % (len(FINDINGS[task]) - 1)])
        asked = wordings(sample)
        assert asked == wordings(sample) and asked["own caption"] == sample.caption
        assert sample.caption in asked["too much said"] and len(asked["too little said"].split()) == 1
        assert TASKS[task] in named_tasks(asked["as usual"])
        without = asked["without the place"].split()
        assert not {"left", "right", "frontal", "upper", "lower"} & set(without) or task.startswith("lung")
