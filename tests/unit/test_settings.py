"""Settings: the table, tasks of your own, and choosing settings with masks and without."""

from __future__ import annotations

import json
from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from medclipsam_utils.finetune import FrozenBlocks
from medclipsam_utils.models import load_clip
from medclipsam_utils.saliency import (
    best_dice,
    deletion_insertion,
    grad_cam,
    m2ib,
    mean_features,
    moved_views,
    patch_text,
)
from medclipsam_utils.settings import (
    ANY,
    M2IB,
    PAPERS_WAY,
    SETTINGS,
    ClassActivation,
    PatchText,
    Settings,
    read_task,
    row_of,
    saliency_for,
    settings_for,
    settings_grid,
    tune,
    tuning,
)
from medclipsam_utils.simulate import simulate
from medclipsam_utils.tasks import TASKS, Task

CHEAP = M2IB(layer=5, beta=0.1, samples=1)
POLYP = Task("polyp", "colonoscopy", "colon polyp", {"P0": "a mass in the bowel"})


@pytest.fixture(scope="module")
def tiny():
    return load_clip("tiny")


@pytest.fixture(scope="module")
def samples():
    return [simulate("lung_ct", seed, finding="clear") for seed in (0, 1)]


class TestSaliencySettings:
    def test_every_field_acts(self, tiny, samples):
        image, kept = samples[0].image, {}
        changes = {"layer": 4, "beta": 1.0, "variance": 4.0, "samples": 2, "standardize": True, "views": True}
        assert set(changes) == {field.name for field in fields(M2IB)}
        for name, value in changes.items():
            (kept[name],) = replace(CHEAP, **{name: value}).method(tiny, [image], "lungs")
        (plain,) = CHEAP.method(tiny, [image], "lungs")
        assert all(np.abs(found - plain).max() > 1e-3 for found in kept.values())

    def test_class_activation_maps(self, tiny, samples):
        image = samples[0].image
        plain = ClassActivation("grad_cam").method(tiny, [image], "lungs")
        assert np.array_equal(plain, grad_cam(tiny, [image], "lungs"))
        for changed in (
            ClassActivation(channels=2),
            ClassActivation("grad_cam", layer=3),
            ClassActivation("grad_cam", views=True),
        ):
            assert not np.allclose(changed.method(tiny, [image], "lungs"), plain)
        with pytest.raises(ValueError, match="name is 'cam': choose from gscore_cam, grad_cam"):
            ClassActivation("cam")


class TestTable:
    def test_what_is_asked(self, tiny):
        lungs = TASKS["lung_ct"]
        prompt, first = (mean_features(tiny, lungs.prompts[kind]) for kind in ("P2", "P0"))
        absent = mean_features(tiny, lungs.absent_prompt)
        assert torch.equal(Settings(CHEAP, ("P2",)).text_features(tiny, lungs), prompt)
        both = Settings(CHEAP, ("P0", "P2")).text_features(tiny, lungs)
        torch.testing.assert_close(both, F.normalize(first + prompt, dim=0))
        against = Settings(CHEAP, ("P2",), against_absent=True).text_features(tiny, lungs)
        torch.testing.assert_close(against, F.normalize(prompt - absent, dim=0))
        own = Settings(CHEAP).text_features(tiny, POLYP)
        torch.testing.assert_close(own, mean_features(tiny, "a mass in the bowel"))
        with pytest.raises(ValueError, match="the task 'polyp' has no prompts P2, only P0"):
            Settings(CHEAP, ("P2",)).text_features(tiny, POLYP)
        with pytest.raises(ValueError, match="the task 'polyp' has no absent_prompt"):
            Settings(CHEAP, against_absent=True).text_features(tiny, POLYP)

    def test_the_map_of_a_task(self, tiny, samples):
        row = PAPERS_WAY["tiny"]["lung_ct"]
        made = row.saliency

        def plain(clip, images, text):
            return m2ib(clip, images, text, layer=made.layer, beta=made.beta, variance=made.variance,
                        samples=made.samples, standardize=made.standardize)  # fmt: skip

        (expected,) = moved_views(plain)(tiny, [samples[0].image], row.text_features(tiny, TASKS["lung_ct"]))
        assert np.array_equal(saliency_for(tiny, samples[0].image, "lung_ct", table=PAPERS_WAY), [expected])
        (asked,) = saliency_for(tiny, [samples[0].image], "lung_ct", "a brain tumour", PAPERS_WAY)
        assert np.abs(asked - expected).max() > 0.05

    def test_the_default_map_of_a_task_is_that_of_patches_and_text(self, tiny, samples):
        row = SETTINGS["tiny"]["lung_ct"]
        text = row.text_features(tiny, TASKS["lung_ct"])
        (expected,) = moved_views(patch_text)(tiny, [samples[0].image], text)
        assert row.saliency == PatchText(views=True)
        assert np.array_equal(saliency_for(tiny, samples[0].image, "lung_ct"), [expected])

    @pytest.mark.parametrize("threshold", [0, -0.1, 1.1])
    def test_a_cut_lies_above_0_and_not_above_the_peak(self, threshold):
        with pytest.raises(ValueError, match="threshold is"):
            Settings(PatchText(), threshold=threshold)

    def test_settings_follow_from_the_architecture_and_from_how_it_saw_images(self, tiny):
        base = load_clip("tiny-base")
        assert row_of(tiny) == "tiny" and row_of(base) == row_of(FrozenBlocks(base)) == "tiny-base"
        chosen = settings_for(base, TASKS["lung_xray"])
        assert chosen == SETTINGS["tiny-base"]["lung_xray"] and chosen.saliency.windows == base.windows == 4
        assert settings_for(base, TASKS["lung_xray"], PAPERS_WAY) == PAPERS_WAY["tiny"]["lung_xray"]
        assert settings_for(tiny) == settings_for(tiny, POLYP) == SETTINGS["tiny"][ANY]
        deep = load_clip("ViT-B-16/random")
        assert row_of(deep) == "biomedclip" and settings_for(deep, POLYP) == SETTINGS["biomedclip"][ANY]
        assert settings_for(load_clip("ViT-L-14/random")).saliency.layer == 21  # three of 24 blocks follow

    def test_the_settings_of_any_target_are_no_other_targets(self):
        for rows in SETTINGS.values():
            assert not rows[ANY].prompts and not rows[ANY].against_absent and rows[ANY].n_structures is None

    def test_changes_by_name(self):
        changed = Settings(CHEAP).changed({"beta": 2, "visual_prompt": "point", "prompts": ["P1"]})
        assert changed == Settings(replace(CHEAP, beta=2), ("P1",), visual_prompt="point")
        for changes, message in (
            ({"betta": 1}, "there is no setting 'betta': choose from against_absent, alpha, beta, binarize"),
            ({"saliency": 1}, "there is no setting 'saliency'"),
            ({"beta": "1"}, "the setting beta is '1': give a value like 0.1"),
            ({"views": 1}, "the setting views is 1: give a value like False"),
            ({"prompts": "P1"}, "the setting prompts is 'P1'"),
            ({"visual_prompt": "star"}, "visual_prompt is 'star': choose from box, point, both"),
            ({"clusters": 1}, "clusters is 1: give a whole number, 2 or more"),
        ):
            with pytest.raises(ValueError, match=message):
                Settings(CHEAP).changed(changes)


class TestTaskFile:
    def test_a_target_is_enough(self, tmp_path):
        (tmp_path / "polyp.toml").write_text('target = "colon polyp"\n')
        assert read_task(tmp_path / "polyp.toml") == Task("polyp", "", "colon polyp", {"P0": "colon polyp"})

    def test_everything(self, tmp_path):
        path = tmp_path / "mine.toml"
        path.write_text(
            'name = "kidneys"\nmodality = "CT"\ntarget = "kidneys"\nn_structures = 2\nabsent_prompt = "no kidney"\n'
            'calibration = "kidneys.safetensors"\n[prompts]\nP0 = "kidneys"\nP2 = ["a CT of kidneys", "two kidneys"]\n'
            '[settings]\nlayer = 4\nvisual_prompt = "point"\n'
        )
        assert read_task(path) == Task(
            "kidneys", "CT", "kidneys", {"P0": "kidneys", "P2": ("a CT of kidneys", "two kidneys")}, 2, {}, "no kidney",
            {"layer": 4, "visual_prompt": "point"}, str(tmp_path / "kidneys.safetensors"),
        )  # fmt: skip

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            ('name = "polyp"', "it has no target: say what to look for"),
            ("target = polyp", "is no TOML file"),
            ('target = "polyp"\ncolour = 1', "there is no colour in a task: choose from absent_prompt, calibration"),
            ('target = "polyp"\nprompts = "polyp"', r"prompts is 'polyp': make it a table, \[prompts\]"),
            ('target = "polyp"\n[settings]\nlayers = 3', "there is no setting 'layers': choose from"),
            ('target = "polyp"\n[settings]\nlayer = "x"', "the setting layer is 'x'"),
            ('target = "lungs"\nname = "lung_ct"', "'lung_ct' is the name of one of the book's tasks"),
            ('target = "polyp"\nn_structures = "two"', "n_structures is 'two'"),
        ],
    )
    def test_what_is_wrong_is_said(self, tmp_path, content, message):
        (tmp_path / "mine.toml").write_text(content)
        with pytest.raises(ValueError, match=message) as caught:
            read_task(tmp_path / "mine.toml")
        assert "mine.toml" in str(caught.value)

    def test_a_file_that_is_not_there(self, tmp_path):
        with pytest.raises(ValueError, match="cannot be read"):
            read_task(tmp_path / "none.toml")


class TestTune:
    GRID = settings_grid([("P0",)], [4, 5], [0.1, 10.0], [1.0, 4.0], samples=1)

    def test_every_combination(self):
        assert len(self.GRID) == 8 and self.GRID[1] == Settings(M2IB(4, 0.1, 4.0, samples=1), ("P0",))

    @pytest.mark.parametrize("labelled", [True, False])
    def test_the_best_comes_first_and_says_whether_labels_were_used(self, tiny, samples, labelled):
        images, masks = [s.image for s in samples], [s.mask for s in samples]
        grid = self.GRID[:2]
        found = tune(tiny, "lung_ct", images, grid, masks if labelled else None, progress=False)
        for trial in found:
            text = trial.settings.text_features(tiny, TASKS["lung_ct"])
            maps = trial.settings.saliency.method(tiny, images, text)
            expected = (
                np.mean([best_dice(*pair) for pair in zip(maps, masks, strict=True)])
                if labelled
                else deletion_insertion(tiny, images, text, maps).score.mean()
            )
            assert trial.score == pytest.approx(expected) and trial.uses_labels == labelled
        assert found[0].score >= found[1].score and {trial.settings for trial in found} == set(grid)

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
        with pytest.raises(ValueError, match="there are 0 images and 8 settings"):
            tune(tiny, "lung_ct", [], self.GRID)
        with pytest.raises(ValueError, match="there are 2 masks for 1 images"):
            tune(tiny, "lung_ct", [samples[0].image], self.GRID, [samples[0].mask] * 2)

    def test_shows_its_progress(self, tiny, samples, capsys):
        tune(tiny, "lung_ct", [samples[0].image], self.GRID[:1])
        assert "settings: 100%" in capsys.readouterr().err


def test_a_saliency_object_of_any_class_keeps_its_place_when_other_settings_change():
    class Mine:
        method = "mine"

    mine = Mine()
    changed = Settings(mine).changed({"margin": 0.1})
    assert changed.saliency is mine
    assert changed.margin == 0.1
    with pytest.raises(ValueError, match="no setting 'layer'"):
        Settings(mine).changed({"layer": 3})
