"""The recipe that fine-tunes from captions and judges maps: what is trained, and that it agrees with the package."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace

import pytest
import torch

from medclipsam_utils import TASKS, Segmenter, dice, load_clip, load_sam
from medclipsam_utils.settings import PAPERS_WAY
from recipes.data.cases import target_cases
from recipes.measure import chain, finetune_losses
from recipes.measure.chain import QUICK, Sizes, Trial, run, train, trials

CT = "lung_ct"


@pytest.fixture
def one_task(monkeypatch):
    for module in (chain, finetune_losses):
        monkeypatch.setattr(module, "TASKS", {CT: TASKS[CT]})


def test_each_loss_is_trained_five_times_and_one_also_with_spared_false_negatives():
    found = Counter((trial.loss, trial.false_negatives) for trial in trials(Sizes()))
    assert found.pop((None, "pushed")) == 1 and set(found.values()) == {5} and len(found) == 6
    assert len({trial.name for trial in trials(Sizes())}) == 31


def test_what_lies_behind_the_blocks_is_trained(one_task, tmp_path):
    torch.manual_seed(0)
    start, sizes = load_clip("tiny-base").model.state_dict(), replace(QUICK, batch_size=2)
    before = train(Trial(None), sizes, tmp_path).model.state_dict()
    assert all(torch.equal(before[name], value) for name, value in start.items())
    after = train(Trial("DHNNCELoss", "soft"), sizes, tmp_path).model.state_dict()
    changed = {name for name, value in start.items() if not torch.equal(after[name], value)}
    assert changed and not any(".blocks." in name or "patch_embed" in name for name in changed)
    assert any("attn_pool" in name for name in changed) and any(name.startswith("text.") for name in changed)


def test_a_small_run_agrees_with_the_package(one_task, tmp_path, monkeypatch):
    path = run((Trial(None), QUICK, tmp_path))
    found = json.loads(path.read_text(), parse_constant=pytest.fail)
    clip = load_clip("tiny-base")
    assert set(found["maps"]) == {"M2IB", "gScoreCAM", "GradCAM", "patch–text"}
    (case,) = target_cases(CT, range(QUICK.first_held_out, QUICK.first_held_out + 1))
    answer = Segmenter(clip, load_sam("tiny"), PAPERS_WAY["tiny"]).segment(case.image, task=CT)
    assert found["maps"]["M2IB"][CT]["DSC"] == [pytest.approx(dice(answer.mask, case.mask), abs=2e-3)]
    whole = found["words"]["retrieval, whole set"]["image to text"]
    assert 0 <= whole[0] <= whole[1] <= whole[2] <= 1 and 0 <= found["words"]["negation AUC"][CT] <= 1
    monkeypatch.setattr(chain, "train", pytest.fail)
    assert run((Trial(None), QUICK, tmp_path)) == path  # it is not done again
