"""The pictures with sliders: what they show against values worked out by hand, and that a slider redraws."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from medclipsam_utils.models import load_clip, load_sam
from medclipsam_utils.pipeline import Segmenter
from medclipsam_utils.simulate import simulate
from medclipsam_utils.visual_prompts import predict_mask
from medclipsam_utils.widgets import (
    hardness,
    hardness_explorer,
    hardness_figure,
    map_explorer,
    saliency_explorer,
    segmenter_explorer,
)
from medclipsam_utils.widgets.sam_explorer import distribute

SIMILARITY = np.array([[0.9, 0.0, 0.1 * np.log(3)], [0.2, 0.8, 0.2], [0.0, 0.0, 0.7]])


def test_weights_and_gradients_by_hand():
    """τ = 0.1, β = 1: the exponentials of row 0 are 1 and 3, so the weights 2 · 1/4 and 2 · 3/4, the shares of the sum
    1/10 and 9/10, and the pushes 2 · 1/10 − 1/4 and 2 · 9/10 − 3/4: the easy negative is pulled.
    """
    found = hardness(SIMILARITY, temperature=0.1, beta=1)
    np.testing.assert_allclose(found["weight"][0], [np.nan, 0.5, 1.5])
    np.testing.assert_allclose(found["gradient"][0], [np.nan, -0.05, 1.05])
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
    monkeypatch.setattr(map_explorer, "show_maps", lambda *arguments, **_: titles.append(arguments[2][1]) or Figure())
    box.children[1].value = ""
    box.children[1].value = "a xylophone"
    assert "the text is" in titles[0] and titles[1] == "unknown: xylophone"


@pytest.fixture(scope="module")
def segmenter():
    return Segmenter(load_clip("tiny"), load_sam("tiny"))


@pytest.fixture
def explorer(segmenter):
    images = {
        "tumour": simulate("brain_mri", 31, finding="meningioma").image,
        "normal": simulate("brain_mri", 31, finding="normal").image,
        "chest": simulate("lung_ct", 35, finding="clear").image,
    }
    return segmenter_explorer(segmenter, images, "brain tumour")


def outlined(explorer):
    """Where the overlay that the browser gets has its outline."""
    overlay = np.asarray(Image.open(BytesIO(explorer.canvas.overlay)))
    return (overlay == (230, 159, 0, 255)).all(axis=2)


def test_the_explorer_starts_with_the_answer_to_its_text(segmenter, explorer):
    found = segmenter.segment(explorer.images["tumour"], "brain tumour")
    assert np.array_equal(explorer.mask, found.mask) and explorer.canvas.boxes == found.boxes.tolist()
    assert "<b>present</b> (p = 0.010 against simulated images)" in explorer.status.value
    assert outlined(explorer).any() and not (outlined(explorer) & ~found.mask).any()
    assert np.array_equal(np.asarray(Image.open(BytesIO(explorer.canvas.picture))), explorer.images["tumour"])


def test_another_image_or_text_is_another_question(explorer):
    explorer.choice.value = "normal"
    assert "<b>absent</b>" in explorer.status.value
    explorer.choice.value, explorer.text.value = "chest", "lungs"
    assert "lung_ct" in explorer.status.value and 1 <= len(explorer.canvas.boxes) <= 2
    explorer.text.value = "brain xylophone"
    assert "Unknown words: xylophone" in explorer.status.value
    explorer.text.value = "xylophone"
    assert "it knows no word of" in explorer.status.value and explorer.found is None and not explorer.mask.any()
    assert explorer.canvas.boxes == [] and not outlined(explorer).any()


def test_the_map_is_shown_on_demand(explorer):
    before = explorer.canvas.picture
    explorer.show_map.value = True
    assert explorer.canvas.picture != before
    explorer.show_map.value = False
    assert explorer.canvas.picture == before


def test_what_is_drawn_is_asked_without_another_embedding(explorer, monkeypatch):
    sam = explorer.segmenter.sam
    embedded, embed = [], sam.set_image
    monkeypatch.setattr(sam, "set_image", lambda image: embedded.append(1) or embed(image))
    (box,) = explorer.canvas.boxes
    explorer.canvas.points = [[20, 20, 0]]
    with_point = explorer.mask
    assert embedded == [1]  # SAM had seen the target from near; now it has seen the image
    assert "Corrected by hand" in explorer.status.value
    assert np.array_equal(with_point, predict_mask(sam, np.array([box]), distribute([], [[20, 20, 0]])[1]))
    explorer.canvas.boxes = [[30, 40, 120, 130]]
    assert not np.array_equal(explorer.mask, with_point) and outlined(explorer).any()
    explorer.canvas.points, explorer.canvas.boxes = [], []
    assert not explorer.mask.any()
    explorer.canvas.points = [[int(box[0] + box[2]) // 2, int(box[1] + box[3]) // 2, 1]]
    assert explorer.mask.any() and embedded == [1]


def test_points_go_to_the_box_around_them_or_to_the_nearest():
    boxes = [[0, 0, 10, 10], [20, 0, 30, 10], [0, 0, 30, 10]]
    points = [[5, 5, 1], [25, 5, 1], [15, 5, 0], [100, 5, 0]]
    edges, several = distribute(boxes, points)
    assert edges.tolist() == boxes
    assert [part.xy[:, 0].tolist() for part in several] == [[5], [25, 100], [5, 25, 15]]
    assert several[1].labels.tolist() == [1, 0] and several[0].xy.dtype == np.float32
    none, together = distribute([], points)
    assert none is None and together.xy.tolist() == [[5, 5], [25, 5], [15, 5], [100, 5]]
    assert distribute([], []) == (None, None)
    assert [len(part.xy) for part in distribute(boxes, [])[1]] == [0, 0, 0]
