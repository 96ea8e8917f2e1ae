"""Settings: those that were chosen, and choosing others with masks and without."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from medclipsam_utils.models import load_clip
from medclipsam_utils.saliency import (
    PRESETS,
    Preset,
    best_dice,
    deletion_insertion,
    m2ib,
    mean_features,
    moved_views,
    preset_grid,
    saliency_for,
    tune,
    tuning,
)
from medclipsam_utils.simulate import simulate
from medclipsam_utils.tasks import TASKS

CHEAP = Preset(("P0",), layer=5, beta=0.1, samples=1)


@pytest.fixture(scope="module")
def tiny():
    return load_clip("tiny")


@pytest.fixture(scope="module")
def samples():
    return [simulate("lung_ct", seed, finding="clear") for seed in (0, 1)]


class TestPreset:
    def test_the_models_that_come_with_settings_have_them_for_all_tasks(self):
        assert all(list(presets) == list(TASKS) for presets in PRESETS.values())
        assert set(PRESETS) == {"tiny", "biomedclip"}

    def test_every_field_acts(self, tiny, samples):
        image, kept = samples[0].image, {}
        changes = {"prompts": ("P2",), "layer": 4, "beta": 1.0, "variance": 4.0, "samples": 2, "standardize": True,
                   "views": True, "against_absent": True}  # fmt: skip
        assert set(changes) == set(Preset.__dataclass_fields__)
        for name, value in changes.items():
            preset = Preset(**{**CHEAP.__dict__, name: value})
            kept[name] = preset.method(tiny, image, preset.text(tiny, "lung_ct"))
        plain = CHEAP.method(tiny, image, CHEAP.text(tiny, "lung_ct"))
        assert all(np.abs(found - plain).max() > 1e-3 for found in kept.values())

    def test_what_is_asked(self, tiny):
        prompt = mean_features(tiny, TASKS["lung_ct"].prompts["P2"])
        absent = mean_features(tiny, TASKS["lung_ct"].absent_prompt)
        assert torch.equal(Preset(("P2",), 5, 0.1).text(tiny, "lung_ct"), prompt)
        first = mean_features(tiny, TASKS["lung_ct"].prompts["P0"])
        both = Preset(("P0", "P2"), 5, 0.1).text(tiny, "lung_ct")
        torch.testing.assert_close(both, F.normalize(first + prompt, dim=0))
        against = Preset(("P2",), 5, 0.1, against_absent=True).text(tiny, TASKS["lung_ct"])
        torch.testing.assert_close(against, F.normalize(prompt - absent, dim=0))

    def test_the_map_of_a_task(self, tiny, samples):
        preset = PRESETS["tiny"]["lung_ct"]

        def plain(clip, images, text):
            return m2ib(clip, images, text, layer=preset.layer, beta=preset.beta, variance=preset.variance,
                        samples=preset.samples, standardize=preset.standardize)  # fmt: skip

        method = moved_views(plain) if preset.views else plain
        expected = method(tiny, samples[0].image, preset.text(tiny, "lung_ct"))
        assert np.array_equal(saliency_for(tiny, samples[0].image, "lung_ct"), expected)
        (asked,) = saliency_for(tiny, [samples[0].image], "lung_ct", "a brain tumour")
        assert np.abs(asked - expected).max() > 0.05

    def test_a_model_without_settings(self, tiny, samples):
        with pytest.raises(ValueError, match="no settings were chosen for 'tiny-base', only for tiny, biomedclip"):
            saliency_for(load_clip("tiny-base"), samples[0].image, "lung_ct")


class TestTune:
    GRID = preset_grid([("P0",)], [4, 5], [0.1, 10.0], [1.0, 4.0], samples=1)

    def test_every_combination(self):
        assert len(self.GRID) == 8 and self.GRID[1] == Preset(("P0",), 4, 0.1, 4.0, samples=1)

    @pytest.mark.parametrize("labelled", [True, False])
    def test_the_best_comes_first_and_says_whether_labels_were_used(self, tiny, samples, labelled):
        images, masks = [s.image for s in samples], [s.mask for s in samples]
        grid = self.GRID[:2]
        found = tune(tiny, "lung_ct", images, grid, masks if labelled else None, progress=False)
        for trial in found:
            text = trial.preset.text(tiny, "lung_ct")
            maps = trial.preset.method(tiny, images, text)
            expected = (
                np.mean([best_dice(*pair) for pair in zip(maps, masks, strict=True)])
                if labelled
                else deletion_insertion(tiny, images, text, maps).score.mean()
            )
            assert trial.score == pytest.approx(expected) and trial.uses_labels == labelled
        assert found[0].score >= found[1].score and {trial.preset for trial in found} == set(grid)

    def test_goes_on_where_it_was_interrupted(self, tiny, samples, tmp_path, monkeypatch):
        cache, images, tried = tmp_path / "deep" / "tuning.json", [samples[0].image], []

        def counted(clip, images, text, maps):
            tried.append(len(maps))
            if len(tried) == 2:
                raise KeyboardInterrupt
            return deletion_insertion(clip, images, text, maps)

        monkeypatch.setattr(tuning, "deletion_insertion", counted)
        with pytest.raises(KeyboardInterrupt):
            tune(tiny, "lung_ct", images, self.GRID[:3], cache=cache, progress=False)
        assert len(json.loads(cache.read_text())) == 1
        first = tune(tiny, "lung_ct", images, self.GRID[:3], cache=cache, progress=False)
        assert len(tried) == 4  # one, the interrupted one, and the two that were missing
        assert tune(tiny, "lung_ct", images, self.GRID[:3], cache=cache, progress=False) == first and len(tried) == 4
        # other images, masks, tasks and weights are other questions
        tune(tiny, "lung_xray", images, self.GRID[:1], cache=cache, progress=False)
        tune(tiny, "lung_ct", [samples[1].image], self.GRID[:1], cache=cache, progress=False)
        tune(tiny, "lung_ct", images, self.GRID[:1], [samples[0].mask], cache=cache, progress=False)
        tune(load_clip("tiny-base"), "lung_ct", images, self.GRID[:1], cache=cache, progress=False)
        assert len(tried) == 7 and len(json.loads(cache.read_text())) == 7

    def test_too_little(self, tiny, samples):
        with pytest.raises(ValueError, match="there are 0 images and 8 presets"):
            tune(tiny, "lung_ct", [], self.GRID)
        with pytest.raises(ValueError, match="there are 2 masks for 1 images"):
            tune(tiny, "lung_ct", [samples[0].image], self.GRID, [samples[0].mask] * 2)

    def test_shows_its_progress(self, tiny, samples, capsys):
        tune(tiny, "lung_ct", [samples[0].image], self.GRID[:1])
        assert "settings: 100%" in capsys.readouterr().err
