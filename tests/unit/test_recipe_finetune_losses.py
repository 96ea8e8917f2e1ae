"""The comparison of losses: what is trained, that it goes on where it stopped, and what the results say."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from medclipsam_utils.losses import DCLLoss, DHNNCELoss, ReleasedHNLoss
from medclipsam_utils.results import load_results
from recipes.measure import finetune_losses
from recipes.measure.finetune_losses import QUICK, Sizes, Trial, config_of, make_loss, mean_hits, summarise, trials


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """The folder with the quick recipe's pairs."""
    folder = tmp_path_factory.mktemp("losses")
    for part in ("training", "validation", "held_out"):
        finetune_losses.tokens_of(folder, getattr(QUICK, f"first_{part}"), getattr(QUICK, part))
    return folder


def test_every_setting_is_trained_once_for_every_seed():
    sizes = Sizes()
    found = trials(sizes)
    assert len({trial.name for trial in found}) == len(set(found)) == len(found)
    compared = [trial for trial in found if trial.measured_on == "held_out"]
    settings = {}
    for trial in compared:
        key = (trial.loss, trial.temperature, trial.beta, trial.batch_size, trial.differentiate_weights)
        settings.setdefault(key, []).append(trial.seed)
    assert all(sorted(seeds) == list(range(sizes.repeats)) for seeds in settings.values())
    for loss in finetune_losses.LOSSES:
        assert {(loss, 0.1, 0.15, 64, False), (loss, 0.6, 0.15, 64, False)} <= settings.keys()
    assert {key[0] for key in settings if key[4]} == set(finetune_losses.WEIGHTED)
    assert {key[3] for key in settings} == set(finetune_losses.BATCH_SIZES)


def test_no_seed_is_in_two_parts():
    sizes = Sizes()
    parts = [
        range(first, first + count)
        for first, count in (
            (sizes.first_training, sizes.training),
            (sizes.first_validation, sizes.validation),
            (sizes.first_held_out, sizes.held_out),
        )
    ]
    assert not set(parts[0]) & set(parts[1]) and not set(parts[1]) & set(parts[2]) and not set(parts[0]) & set(parts[2])


def test_losses_and_rates():
    loss = make_loss(Trial("DHNNCELoss", 0, temperature=0.3, beta=0.5))
    assert isinstance(loss, DHNNCELoss) and (loss.temperature, loss.beta1, loss.beta2) == (0.3, 0.5, 0.5)
    assert not loss.differentiate_weights
    assert make_loss(Trial("HNNCELoss", 0, differentiate_weights=True)).differentiate_weights
    assert isinstance(make_loss(Trial("DCLLoss", 0)), DCLLoss)
    assert isinstance(make_loss(Trial("ReleasedHNLoss", 0)), ReleasedHNLoss)
    config = config_of(Trial("DCLLoss", 3, batch_size=32), Sizes().training, Sizes().epochs)
    steps = 4000 // 32
    assert config.seed == 3 and config.rate(steps // 2, steps) == 1e-3 and config.rate(2 * steps, steps) == 5e-4
    assert config.rate(0, steps) == pytest.approx(1e-3 / (steps // 2))


def test_a_training_is_done_once_and_can_be_repeated(work, tmp_path):
    task = (Trial("DHNNCELoss", 0, batch_size=4), QUICK, work)
    path = finetune_losses.run(task)
    first = path.read_bytes()
    row = json.loads(first)
    assert row["steps"] == 4 and len(row["image_to_text_hits"]) == 8
    assert row["image_to_text"][0] == pytest.approx(np.mean(row["image_to_text_hits"]))
    path.write_text(json.dumps({"already": "done"}))
    assert json.loads(finetune_losses.run(task).read_text()) == {"already": "done"}
    path.unlink()
    assert finetune_losses.run(task).read_bytes() == first


@pytest.mark.usefixtures("quick_processes")
def test_the_whole_recipe(work, tmp_path, monkeypatch):
    monkeypatch.setattr(finetune_losses, "trials", lambda sizes: trials(sizes)[5:8])
    results = json.loads(finetune_losses.compare(QUICK, work, tmp_path / "results.json").read_text())
    assert [(arm["loss"], arm["measured_on"], arm["seeds"]) for arm in results["arms"]] == [
        ("DHNNCELoss", "validation", [100]), ("InfoNCELoss", "held_out", [0]), ("DCLLoss", "held_out", [0])
    ]  # fmt: skip
    assert len(results["start"]["image_to_text_hits"]) == len(results["arms"][1]["text_to_image_hits"]) == 8
    assert not list(work.glob("*.part"))


def test_scores_by_pair_are_means_over_seeds():
    rows = [
        {"loss": "DCLLoss", "seed": seed, "temperature": 0.1, "beta": 0.15, "batch_size": 4, "learning_rate": 1e-3,
         "measured_on": "held_out", "differentiate_weights": True, "image_to_text": [0.5, 1.0],
         "text_to_image": [0.25, 0.5], "image_to_text_hits": hits, "text_to_image_hits": [0.0, 0.0]}
        for seed, hits in ((0, [0.0, 1.0]), (1, [1.0, 1.0]))
    ]  # fmt: skip
    start = {"image_to_text": [0.1, 0.2], "image_to_text_hits": [1 / 3, 0.0]}
    result = summarise(rows, start, QUICK)
    (arm,) = result["arms"]
    assert arm["seeds"] == [0, 1] and arm["image_to_text_hits"] == [0.5, 1.0]
    assert arm["image_to_text"] == [[0.5, 1.0], [0.5, 1.0]] and arm["differentiate_weights"] is True
    assert result["start"]["image_to_text_hits"] == [0.3333, 0.0]
    assert mean_hits([[1 / 3], [1 / 3]]) == [0.3333] and torch.get_num_threads() == 1


def test_the_stored_comparison_says_which_gradient_it_used():
    results = load_results("finetune_losses")
    assert all(isinstance(arm["differentiate_weights"], bool) for arm in results["arms"])
    assert {arm["loss"] for arm in results["arms"] if not arm["differentiate_weights"]} == set(finetune_losses.LOSSES)


def test_unknown_results_are_refused():
    with pytest.raises(ValueError, match="there are no results 'finetune'"):
        load_results("finetune")
