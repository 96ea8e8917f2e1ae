import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pytest

from medclipsam_utils import simulate
from medclipsam_utils.plots import contact_sheet, histograms, show_image, show_structures


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def drawn(figure):
    figure.canvas.draw()
    return np.asarray(figure.canvas.buffer_rgba())[..., :3].astype(int)


def test_the_mask_and_the_prediction_are_both_drawn_and_differ_without_colour():
    image, mask = np.full((64, 64, 3), 120, np.uint8), np.zeros((64, 64), bool)
    mask[20:40, 20:40] = True
    plain, outlined, predicted = (drawn(show_image(image, *masks)) for masks in ((), (mask,), (None, mask)))
    assert (plain != outlined).any() and (outlined != predicted).any()
    dark = [(picture.max(axis=2) < 90).sum() for picture in (outlined, predicted)]
    assert dark[0] > 1.2 * dark[1]


def test_an_outline_at_the_border_is_closed_and_an_empty_one_draws_nothing():
    image, everything = np.full((32, 32, 3), 120, np.uint8), np.ones((32, 32), bool)
    plain, empty = drawn(show_image(image)), drawn(show_image(image, ~everything))
    assert (plain == empty).all()
    assert (drawn(show_image(image, everything)) != plain).any()


def test_a_contact_sheet_has_one_picture_a_sample_with_its_title():
    samples = [simulate("lung_ct", seed, size=32) for seed in range(5)]
    figure = contact_sheet(samples, columns=3)
    assert [axes.get_title() for axes in figure.axes][:5] == [sample.finding for sample in samples]
    assert len(figure.axes) == 6
    with pytest.raises(ValueError, match="at least one sample"):
        contact_sheet([])
    with pytest.raises(ValueError, match="5 samples but 2 titles"):
        contact_sheet(samples, titles=["one", "two"])


def test_structures_are_named_in_the_legend_and_empty_ones_left_out():
    masks = {"heart": np.eye(32, dtype=bool), "nothing": np.zeros((32, 32), bool)}
    legend = show_structures(np.zeros((32, 32, 3), np.uint8), masks).axes[1].get_legend()
    assert [text.get_text() for text in legend.get_texts()] == ["heart"]


def test_histograms_label_their_axes_and_share_sums_to_one():
    axes = histograms({"a": np.arange(100), "b": np.ones(10)}, "grey level").axes[0]
    assert axes.get_xlabel() == "grey level"
    assert [line.get_ydata().sum() for line in axes.lines] == pytest.approx([1, 1])
    assert len({line.get_linestyle() for line in axes.lines}) == 2
