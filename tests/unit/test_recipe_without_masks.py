"""The choice without masks: what stands in for them, what is tried, and that no mask is read."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from medclipsam_utils import TASKS, Segmenter, dice, load_clip, load_sam, simulate
from medclipsam_utils.settings import SETTINGS, row_of
from recipes.data.cases import target_cases
from recipes.data.seeds import SEEDS
from recipes.judge import choose_without_masks
from recipes.judge.choose_without_masks import CUTS, choose, main, stand_ins

BREAST = "breast_ultrasound"
SEED = SEEDS["validation"].first(1)


@pytest.fixture(scope="module")
def clip():
    return load_clip("tiny-base")


@pytest.fixture(scope="module")
def cases():
    """One image whose mask must not be read."""
    (case,) = target_cases(BREAST, SEED)
    return [replace(case, mask=None, parts=())]


@pytest.fixture(scope="module")
def twins():
    return [simulate(BREAST, SEED[0], finding="normal").image]


def test_a_stand_in_is_where_the_map_has_more_than_its_twin(clip, cases, twins, monkeypatch):
    grids = iter([torch.zeros(1, 16, 16), torch.zeros(1, 16, 16)])
    shown, absent = next(grids), next(grids)
    shown[0, 4, 4], shown[0, 10, 10], absent[0, 10, 10] = 0.9, 0.9, 0.8
    absent[0, 0, 0] = 5.0  # what only the twin has is nothing
    asked = []

    def cosines(clip, images, text, windows):
        asked.append((images, text, windows))
        return shown if len(asked) == 1 else absent

    monkeypatch.setattr(choose_without_masks, "patch_cosines", cosines)
    (found,) = stand_ins(clip, BREAST, cases, twins)
    assert found.shape == cases[0].image.shape[:2] and found.dtype == bool
    side = found.shape[0] // 16
    rows, columns = found.nonzero()
    assert abs(rows.mean() - 4.5 * side) < 1 and abs(columns.mean() - 4.5 * side) < 1 and 0 < len(rows) < 4 * side**2
    (shown_images, text, windows), (twin_images, other, _) = asked
    assert shown_images[0] is cases[0].image and twin_images[0] is twins[0] and windows == clip.windows
    against = replace(SETTINGS[row_of(clip)][BREAST], against_absent=True)
    assert torch.equal(text, other) and torch.equal(text, against.text_features(clip, TASKS[BREAST]))


def test_all_words_and_cuts_are_judged_by_sams_answers(clip, cases, twins):
    found = choose(clip, BREAST, cases, twins)
    assert {(s.against_absent, s.threshold) for s in found} == {(a, cut) for a in (False, True) for cut in CUTS}
    assert len(set(found.values())) > 1
    (target,) = stand_ins(clip, BREAST, cases, twins)
    for settings in list(found)[2:9:3]:
        answer = Segmenter(clip, load_sam("tiny"), settings).segment(cases[0].image, task=BREAST)
        assert found[settings] == pytest.approx(dice(answer.mask, target), abs=1e-3)


def test_the_command_prints_a_table_for_each_task(monkeypatch, capsys):
    monkeypatch.setattr(choose_without_masks, "TASKS", {BREAST: TASKS[BREAST]})
    monkeypatch.setattr(choose_without_masks, "CUTS", (0.5, 0.9))
    monkeypatch.setattr(choose_without_masks, "choose", lambda *_: {
        replace(SETTINGS["tiny"][BREAST], threshold=cut, against_absent=against): cut + against
        for against in (False, True) for cut in (0.5, 0.9)
    })  # fmt: skip
    main(["--images", "1"])
    said = capsys.readouterr().out
    assert "1 images, and the same without" in said and "| 0.5 | 0.500 | 1.500 |" in said
    assert "| 0.9 | 0.900 | 1.900 |" in said
