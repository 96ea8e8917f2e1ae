"""The choice without masks: what is tried, and what it is judged by."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from medclipsam_utils import TASKS, Segmenter, dice, load_clip, load_sam, simulate
from medclipsam_utils.models import embed
from medclipsam_utils.postprocess import components
from medclipsam_utils.settings import SETTINGS, row_of
from medclipsam_utils.visual_prompts import points_from_mask, predict_mask
from recipes.judge import choose_without_masks
from recipes.judge.choose_without_masks import CUTS, choose, main

BREAST = "breast_ultrasound"


def test_all_words_and_cuts_are_judged_by_the_agreement_of_box_and_points(monkeypatch):
    monkeypatch.setattr(choose_without_masks, "CUTS", (0.5, 0.7))
    clip, sam, image = load_clip("tiny-base"), load_sam("tiny"), simulate(BREAST, 3, finding="benign").image
    found = choose(clip, BREAST, [image])
    assert [(s.against_absent, s.threshold) for s in found] == [(a, c) for a in (False, True) for c in (0.5, 0.7)]
    for settings, agreement in list(found.items())[1:3]:
        assert replace(settings, against_absent=False, threshold=0.5) == replace(
            SETTINGS[row_of(clip)][BREAST], against_absent=False, threshold=0.5
        )
        answer = Segmenter(clip, sam, settings).segment(image, task=BREAST)
        embed(sam, image)
        points = [points_from_mask(part) for part in components(answer.coarse)]
        assert np.isclose(agreement, dice(predict_mask(sam, points=points), answer.mask), atol=1e-3)


def test_the_command_prints_a_table_for_each_task(monkeypatch, capsys):
    monkeypatch.setattr(choose_without_masks, "TASKS", {BREAST: TASKS[BREAST]})
    monkeypatch.setattr(choose_without_masks, "choose", lambda *_: {
        replace(SETTINGS["tiny"][BREAST], threshold=cut, against_absent=against): cut / 2 + against
        for against in (False, True) for cut in CUTS
    })  # fmt: skip
    main(["--images", "1"])
    said = capsys.readouterr().out
    assert "1 images" in said and "| 0.4 | 0.200 | 1.200 |" in said and "| 0.9 | 0.450 | 1.450 |" in said
