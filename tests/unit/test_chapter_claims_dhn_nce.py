"""What chapter 3 says of its losses is what the stored trainings, and its own outputs, say.

As in ``test_chapter_claims``: a sentence of the chapter, word for word, and a condition.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from chapters import plain, prose, rows, shown
from test_chapter_claims import ahead, behind, told_apart

from medclipsam_utils.metrics import PairedTest, paired_test
from medclipsam_utils.results import load_results

FAMILY = ("InfoNCELoss", "DCLLoss", "HNNCELoss", "DHNNCELoss")
WAYS = ("image_to_text", "text_to_image")
#: Image to text, top-1, on ROCO.
REPORTED = {"InfoNCELoss": 84.21, "DCLLoss": 84.44, "HNNCELoss": 84.33, "DHNNCELoss": 84.70}


def arm(loss: str = "DHNNCELoss", **settings: object) -> dict:
    wanted = {"loss": loss, "temperature": 0.1, "beta": 0.15, "differentiate_weights": False, "batch_size": 64}
    wanted |= {"measured_on": "held_out"} | settings
    (found,) = (arm for arm in load_results("finetune_losses")["arms"] if wanted.items() <= arm.items())
    return found


def gain(found: dict, way: str = "image_to_text") -> PairedTest:
    return paired_test(found[f"{way}_hits"], load_results("finetune_losses")["start"][f"{way}_hits"])


def difference(first: dict, second: dict) -> PairedTest:
    """Over the held-out pairs, image to text."""
    return paired_test(first["image_to_text_hits"], second["image_to_text_hits"])


def over_trainings(first: dict, second: dict) -> PairedTest:
    return paired_test(*([seed[0] for seed in found["image_to_text"]] for found in (first, second)))


def numbers(identifier: str) -> list[list[float]]:
    """Numbers of a table, row by row."""
    return [[float(part.rstrip("%")) for part in row[1:]] for row in rows(shown("03", identifier))]


CLAIMS = [
    (
        "Each of the four losses improves on the starting model in both directions, far beyond chance. And the loss of "
        "the released code does the opposite",
        lambda: (
            all(gain(arm(loss), way).p_value < 0.005 and ahead(gain(arm(loss), way)) for loss in FAMILY for way in WAYS)
            and all(behind(gain(arm("ReleasedHNLoss"), way)) for way in WAYS)
        ),
    ),
    (
        "All differences are below one point. Over other pairs, the differences of DHN-NCE and DCL from InfoNCE could "
        "just as well be zero; that of HN-NCE is barely beyond chance, one of three comparisons.",
        lambda: (
            np.ptp([np.mean(arm(loss)["image_to_text_hits"]) for loss in FAMILY]) < 0.01
            and not any(told_apart(difference(arm(loss), arm("InfoNCELoss"))) for loss in ("DHNNCELoss", "DCLLoss"))
            and 0.03 < difference(arm("HNNCELoss"), arm("InfoNCELoss")).p_value < 0.05
        ),
    ),
    (
        "Reported in the paper: DHN-NCE, DCL, HN-NCE, InfoNCE.",
        lambda: (
            sorted(REPORTED, key=lambda loss: -REPORTED[loss]) == ["DHNNCELoss", "DCLLoss", "HNNCELoss", "InfoNCELoss"]
        ),
    ),
    (
        "The differences reported in the paper are of half a point and less",
        lambda: np.ptp([*REPORTED.values()]) <= 0.5,
    ),
    (
        "at the higher ones it is ahead, though not surely",
        lambda: all(
            difference(arm(temperature=t), arm("InfoNCELoss", temperature=t)).mean_difference > 0
            and not told_apart(over_trainings(arm(temperature=t), arm("InfoNCELoss", temperature=t)))
            for t in (0.3, 0.6)
        ),
    ),
    (
        "Hardness changes little at this temperature, even at $\\beta = 1$.",
        lambda: all(not told_apart(difference(arm(beta=beta), arm("DCLLoss"))) for beta in (0.15, 0.5, 1.0)),
    ),
    (
        "Of the batch sizes only the smallest stands out: with 15 negatives a pair meets few hard ones",
        lambda: (
            behind(difference(arm(batch_size=16), arm()))
            and not any(told_apart(difference(arm(batch_size=size), arm())) for size in (32, 128))
        ),
    ),
    (
        "At the paper's settings, $\\tau = 0.6$ and $\\beta = 0.15$, neither gradient pulls a negative, and the two "
        "differ by a twentieth. With more hardness they differ more.",
        lambda: (
            (rows := numbers("cell-17"))[2][1:] == [0, 0, 5]
            and rows[3][3] > rows[2][3]
            and rows[1][3] > rows[0][3]
            and all(row[2] == 0 for row in rows)
        ),
    ),
    (
        "At $\\tau = 0.1$ more than two thirds of the push lands on false negatives whatever $\\beta$ is",
        lambda: min(numbers("push-on-false-table")[0]) > 2 / 3,
    ),
    (
        "At the paper's $\\tau = 0.6$ it is a third without hardness, and it rises with $\\beta$ to almost nine "
        "tenths.",
        lambda: (
            abs((row := numbers("push-on-false-table")[1])[0] - 1 / 3) < 0.02 and row == sorted(row) and row[-1] > 0.87
        ),
    ),
    (
        "With $\\beta = 0$, HN-NCE is InfoNCE, and DHN-NCE is DCL.",
        lambda: (
            len({row[2] for row in rows(shown("03", "cell-15"))[:2]})
            == len({row[2] for row in rows(shown("03", "cell-15"))[2:]})
            == 1
        ),
    ),
    (
        "At the paper's temperature and with its 64 pairs it cannot be: there, a negative value is a bug.",
        lambda: [row[0] for row in numbers("347479de")] == [round(-2 / t + math.log(63), 2) for t in (0.1, 0.6)],
    ),
    (
        "The harder the negative, the less the released function pushes it, and it pulls the hardest ones closer",
        lambda: (rows := numbers("cell-54"))[0][0] > 0.9 and rows[0][1] == 0 and rows[1][0] < -0.9 and rows[1][1] > 25,
    ),
]


@pytest.mark.parametrize("sentence, holds", CLAIMS, ids=[sentence[:40] for sentence, _ in CLAIMS])
def test_a_claim_is_in_the_chapter_and_holds(sentence, holds):
    assert plain(sentence) in prose("03")
    assert holds()


def test_the_reported_numbers_are_those_of_the_table():
    assert [row[0] for row in numbers("reported")] == [*REPORTED.values()]
