import matplotlib
import numpy as np
import pytest
from matplotlib import pyplot
from matplotlib.backends.backend_agg import FigureCanvasAgg

from medclipsam_utils.metrics import Interval
from medclipsam_utils.plots import (
    bars,
    contact_sheet,
    curves,
    dots,
    histograms,
    intervals,
    matrices,
    show_counterfactual,
    show_image,
    show_maps,
    show_structures,
    use_book_style,
)
from medclipsam_utils.simulate import simulate


def drawn(figure):
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].astype(int)


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
    with pytest.raises(ValueError, match="no images to show"):
        contact_sheet([])
    with pytest.raises(ValueError, match="5 images but 2 titles"):
        contact_sheet(samples, titles=["one", "two"])


def test_each_structure_has_a_picture_with_its_name_and_empty_ones_are_left_out():
    masks = {"heart": np.eye(32, dtype=bool), "nothing": np.zeros((32, 32), bool)}
    figure = show_structures(np.full((32, 32, 3), 200, np.uint8), masks, "chest")
    assert [axes.get_title() for axes in figure.axes] == ["chest", "heart", ""]
    lit = figure.axes[1].images[0].get_array()[..., 0]
    assert (lit[masks["heart"]] == 200).all() and (lit[~masks["heart"]] < 100).all()


def test_a_counterfactual_shows_the_difference():
    without, present = np.full((32, 32, 3), 100, np.uint8), np.full((32, 32, 3), 100, np.uint8)
    present[8:16, 8:16] = 40
    difference = show_counterfactual(without, present).axes[2].images[0].get_array()
    assert difference[8:16, 8:16].min() == 120 and difference[20:].max() == 0


def test_histograms_share_their_bins_and_sum_to_one():
    axes = histograms({"a": np.arange(100), "b": np.full((5, 2), 200)}, "grey level").axes[0]
    assert axes.get_xlabel() == "grey level"
    first, second = axes.lines
    assert first.get_ydata().sum() == pytest.approx(1) and second.get_ydata().sum() == pytest.approx(1)
    np.testing.assert_array_equal(first.get_xdata(), second.get_xdata())
    assert first.get_ydata()[-1] == 0 and second.get_ydata()[-1] == 1


def test_eight_curves_differ_and_nine_are_refused():
    lines = {str(number): np.arange(3) for number in range(9)}
    with pytest.raises(ValueError, match="9 lines cannot be told apart"):
        curves(np.arange(3), lines, "x", "y")
    del lines["8"]
    axes = curves(np.arange(3), lines, "x", "y").axes[0]
    assert len({(line.get_linestyle(), line.get_color()) for line in axes.lines}) == 8
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("x", "y")


def test_intervals_read_from_top_to_bottom():
    axes = intervals({"first": Interval(0.5, 0.4, 0.7), "second": Interval(0.1, 0.0, 0.2)}, "DSC").axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["first", "second"]
    assert axes.transData.transform((0, 0))[1] > axes.transData.transform((0, 1))[1]
    np.testing.assert_array_equal(axes.lines[0].get_xdata(), [0.4, 0.7])


def test_dots_are_drawn_each_for_itself_in_rows_from_top_to_bottom():
    axes = dots({"first": [0.5, 0.7], "second": [0.1]}, "DSC", reference=0).axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["first", "second"]
    assert axes.transData.transform((0, 0))[1] > axes.transData.transform((0, 1))[1]
    first, second, line = axes.lines
    assert list(first.get_xdata()) == [0.5, 0.7] and list(second.get_xdata()) == [0.1]
    assert first.get_linestyle() == "None" and line.get_xdata() == [0, 0]


def test_letters_can_be_read_on_a_phone():
    with matplotlib.rc_context():
        use_book_style()
        sample = simulate("lung_ct", 0, size=32)
        figure = contact_sheet([sample] * 3)
        points = [axes.title.get_fontsize() for axes in figure.axes]
        assert min(points) / 72 * 358 / figure.get_figwidth() > 9  # pixels, on a page 390 wide


def test_a_figure_is_shown_once_as_the_value_of_its_cell():
    show_image(np.zeros((8, 8, 3), np.uint8))
    assert pyplot.get_fignums() == []  # a figure of pyplot's would be shown at the end of the cell once more


def test_matrices_show_values_in_their_order_and_cross_out_what_is_missing():
    values = np.array([[0.0, 0.5], [1.0, np.nan]])
    figure = matrices({"one": values, "two": values, "three": 2 * values}, "image", "text", digits=1)
    tiles = [axes for axes in figure.axes if axes.images]
    assert [axes.get_title() for axes in tiles] == ["one", "two", "three"]
    assert [text.get_text() for text in tiles[0].texts] == ["0.0", "0.5", "1.0", ""]
    assert [line.get_xydata().tolist() for line in tiles[2].lines] == [[[1.0, 1.0]]]
    assert tiles[0].get_ylabel() == tiles[2].get_ylabel() == "image" and tiles[1].get_ylabel() == ""
    low, middle, high = (tiles[0].images[0].cmap(tiles[0].images[0].norm(value))[:3] for value in (0, 0.5, 1))
    assert sum(low) < sum(middle) < sum(high)
    assert tiles[2].images[0].get_clim() == (0, 2)
    drawn(figure)


def test_limits_are_common_to_all_matrices_and_a_bar_says_what_lies_beyond():
    figure = matrices({"a": np.eye(3), "b": 5 * np.eye(3)}, "", "", limits=(0, 2))
    assert [axes.images[0].get_clim() for axes in figure.axes if axes.images] == [(0, 2), (0, 2)]
    assert [axes.images[0].colorbar.extend for axes in figure.axes if axes.images] == ["neither", "max"]


def test_what_is_no_matrix_is_refused():
    for panels in ({}, {"row": np.zeros(3)}):
        with pytest.raises(ValueError, match="each with two axes"):
            matrices(panels, "", "")


def test_a_reference_is_a_line_from_top_to_bottom():
    axes = intervals({"first": Interval(0.5, 0.4, 0.7)}, "gain", reference=0).axes[0]
    assert axes.lines[-1].get_xdata() == [0, 0] and axes.get_xlim()[0] < 0


def test_a_map_covers_its_image_and_marks_its_peak():
    image, saliency = np.full((32, 48, 3), 40, np.uint8), np.zeros((32, 48))
    saliency[20, 10] = 1
    figure = show_maps([image] * 3, [None, saliency, saliency * 0], ["a", "b", "c"], [saliency > 0] * 3)
    plain, marked, empty = figure.axes
    assert len(plain.images) == 1 and len(marked.images) == 2 and len(empty.images) == 1
    (cross,) = marked.lines
    assert (cross.get_xdata()[0], cross.get_ydata()[0]) == (10, 20) and not plain.lines and not empty.lines
    with pytest.raises(ValueError, match="3 images but 1 maps"):
        show_maps([image] * 3, [saliency], ["a", "b", "c"])


def test_bars_read_from_top_to_bottom():
    (axes,) = bars(["a", "tumour", "a"], [1.0, 0.25, 0.5], "saliency").axes
    assert [bar.get_width() for bar in axes.patches] == [1, 0.25, 0.5] and axes.get_xlabel() == "saliency"
    assert [label.get_text() for label in axes.get_yticklabels()] == ["a", "tumour", "a"] and axes.yaxis_inverted()
