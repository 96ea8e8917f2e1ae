"""The recipe that compares families of saliency: its budgets, its choices, and that it agrees with the package."""

from __future__ import annotations

import itertools
import json
from dataclasses import asdict, replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from medclipsam_utils import TASKS, Segmenter, dice, load_clip, load_sam
from medclipsam_utils.saliency import best_dice
from medclipsam_utils.settings import PatchText, Settings
from recipes.data.cases import target_cases
from recipes.measure import families
from recipes.measure.families import CUTS, FAMILIES, MARGINS, QUICK, choose_after, choose_map

CT = "lung_ct"
BY_NAME = {family.name: family for family in FAMILIES}


def test_no_family_has_more_than_eight_tries_for_its_map():
    tries = {family.name: len(set(family.settings())) for family in FAMILIES}
    assert tries.pop("patch–text") == 4 and set(tries.values()) == {8}


def test_the_map_with_the_best_threshold_is_chosen(monkeypatch):
    cases = target_cases(CT, range(2))
    settings = [Settings(PatchText(), (kind,)) for kind in ("P0", "P1", "P2")]
    maps = {
        "P0": [~case.mask for case in cases],
        "P1": [case.mask for case in cases],
        "P2": [cases[0].mask & False] * 2,
    }
    monkeypatch.setattr(
        families, "maps_of", lambda clip, made, task, cases: [found.astype(float) for found in maps[made.prompts[0]]]
    )
    chosen, means = choose_map(None, CT, cases, settings)
    assert chosen is settings[1] and means[1] == 1 > max(means[0], means[2])


@pytest.mark.parametrize("near", [0.4, 0.8])
def test_everything_that_follows_is_tried_and_the_best_is_chosen(near):
    """With the right cut and margin half of the mask is found; how much on a zoomed view varies."""
    mask, seen = np.ones((10, 1), dtype=bool), []

    def answer(settings):
        good = settings.threshold == 0.7 and settings.margin == 0.1
        share = (near if settings.zoom else 0.5) if good else 0
        return [SimpleNamespace(mask=mask & (np.arange(10) < 10 * share)[:, None])]

    def answers(tried):
        seen.extend(tried)
        return [answer(settings) for settings in tried]

    chosen, means = choose_after(answers, [SimpleNamespace(mask=mask)], Settings(PatchText()))
    assert len(seen) == len(means) == len(CUTS) * len(MARGINS) + 1
    assert (chosen.binarize, chosen.threshold, chosen.margin, chosen.zoom) == ("threshold", 0.7, 0.1, near > 0.5)


def test_a_small_run_agrees_with_the_package():
    found = BY_NAME["patch–text"](CT, replace(QUICK, held_out=1))
    settings = Settings(**{**found["settings"], "saliency": PatchText(**found["settings"]["saliency"])})
    assert len(found["tried"]["maps"]) == 1 and len(found["tried"]["after"]) == len(CUTS) * len(MARGINS) + 1
    (case,) = target_cases(CT, range(QUICK.first_held_out, QUICK.first_held_out + 1))
    answer = Segmenter(load_clip("tiny"), load_sam("tiny"), settings).segment(case.image, task=TASKS[CT])
    assert found["DSC"] == [pytest.approx(dice(answer.mask, case.mask), abs=2e-3)]
    assert found["best DSC"] == [pytest.approx(best_dice(answer.saliency, case.mask), abs=2e-3)]
    assert found["coverage, right"][0] > max(found["coverage, absent"][0], found["coverage, other organ"][0])
    lengths = {name: len(found[name]) for name in found if name not in ("settings", "tried")}
    assert set(lengths.values()) == {1}


def test_settings_are_read_back_as_they_were_stored():
    for family in FAMILIES:
        for settings in family.settings():
            stored = json.loads(json.dumps(asdict(replace(settings, zoom=True, margin=0.1))))
            assert family.chosen(stored) == replace(settings, zoom=True, margin=0.1)


def test_every_family_is_timed_on_one_core_and_in_turn(monkeypatch):
    """A clock that counts its own readings: two for each map, so that each takes a tick."""
    turns, ticks = [], itertools.count()
    monkeypatch.setattr(families.time, "perf_counter", lambda: next(ticks) / 1000)
    monkeypatch.setattr(families, "cases_of", lambda task, seeds: [SimpleNamespace(image=seed) for seed in seeds])
    for family in FAMILIES:

        def method(clip, images, text, name=family.name):
            turns.append((name, images[0], torch.get_num_threads()))

        chosen = SimpleNamespace(text_features=lambda *_: None, saliency=SimpleNamespace(method=method))
        monkeypatch.setitem(BY_NAME, family.name, chosen)
    monkeypatch.setattr(families.Family, "chosen", lambda self, stored: BY_NAME[self.name])
    before = torch.get_num_threads()
    found = families.paces({family.name: {task: {"settings": {}} for task in TASKS} for family in FAMILIES}, 3)
    assert found == {family.name: {task: [1.0, 1.0, 1.0] for task in TASKS} for family in FAMILIES}
    assert torch.get_num_threads() == before and {threads for *_, threads in turns} == {1}
    assert [name for name, *_ in turns[: len(FAMILIES)]] == [family.name for family in FAMILIES]
    assert len(turns) == len(TASKS) * 4 * len(FAMILIES)  # the first image twice
