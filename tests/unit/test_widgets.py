"""The pictures with sliders: what they show against values worked out by hand, and that a slider redraws."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.figure import Figure

from medclipsam_utils import widgets
from medclipsam_utils.models import load_clip
from medclipsam_utils.widgets import hardness, hardness_explorer, hardness_figure, saliency_explorer

SIMILARITY = np.array([[0.9, 0.0, 0.1 * np.log(3)], [0.2, 0.8, 0.2], [0.0, 0.0, 0.7]])


def test_weights_and_gradients_by_hand():
    """τ = 0.1, β = 1: the exponentials of row 0 are 1 and 3, so the weights 2 · 1/4 and 2 · 3/4, the pushes 1 : 9."""
    found = hardness(SIMILARITY, temperature=0.1, beta=1)
    np.testing.assert_allclose(found["weight"][0], [np.nan, 0.5, 1.5])
    np.testing.assert_allclose(found["gradient"][0], [np.nan, 0.1, 0.9])
    np.testing.assert_allclose(found["weight"][1], [1, np.nan, 1])
    np.testing.assert_allclose(np.nansum(found["gradient"], axis=1), 1)


def test_a_coupled_row_keeps_what_its_positive_leaves():
    """β = 0 and the positive in the denominator: 1 / (1 + 1 + e^7) each in row 2."""
    found = hardness(SIMILARITY, temperature=0.1, beta=0, decoupled=False)
    np.testing.assert_allclose(found["weight"][2], [1, 1, np.nan])
    np.testing.assert_allclose(found["gradient"][2], [1 / (2 + np.exp(7)), 1 / (2 + np.exp(7)), np.nan])


def test_the_figure_shows_both():
    titles = [axes.get_title() for axes in hardness_figure(SIMILARITY, 0.6, 0.15).axes if axes.images]
    assert titles == ["weight", "gradient"]


@pytest.mark.parametrize("control, value", [(0, 1.5), (1, 0.05), (2, False)])
def test_every_control_redraws(control, value):
    box = hardness_explorer(SIMILARITY)
    picture = box.children[3]
    before = bytes(picture.value)
    assert before.startswith(b"\x89PNG")
    box.children[control].value = value
    after = bytes(picture.value)
    assert after.startswith(b"\x89PNG") and after != before


@pytest.fixture(scope="module")
def box():
    generator = np.random.default_rng(0)
    images = {name: generator.integers(0, 255, (32, 48, 3), dtype=np.uint8) for name in ("one", "other")}
    return saliency_explorer(load_clip("tiny"), images, "lungs", layer=5, beta=0.1)


@pytest.mark.parametrize("control, value", [(0, "other"), (1, "a brain tumour"), (2, 4), (3, 1.0), (4, 10.0)])
def test_every_control_of_the_saliency_redraws(box, control, value):
    before = bytes(box.children[5].value)
    box.children[control].value = value
    after = bytes(box.children[5].value)
    assert before.startswith(b"\x89PNG") and after.startswith(b"\x89PNG") and after != before


def test_a_text_that_cannot_be_read_is_said_in_the_picture(box, monkeypatch):
    titles = []
    monkeypatch.setattr(widgets, "show_maps", lambda *arguments, **_: titles.append(arguments[2][1]) or Figure())
    box.children[1].value = ""
    box.children[1].value = "a xylophone"
    assert "the text is" in titles[0] and titles[1] == "unknown: xylophone"
