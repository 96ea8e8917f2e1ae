"""The drawing board of the simulators: random fields and outlines, against values computed by hand."""

import numpy as np
import pytest

from medclipsam_utils.simulate.fields import (
    COLS,
    GRID,
    ROWS,
    bell,
    blur,
    ellipse_radius,
    largest_component,
    smooth_curve,
    smooth_noise,
    texture,
    wavy_outline,
)


def rng(seed=0):
    return np.random.default_rng(seed)


def lagged(field, rows, cols):
    """Mean of the product of a field with itself, shifted."""
    return (field[: GRID - rows, : GRID - cols] * field[rows:, cols:]).mean()


def test_noise_has_zero_mean_and_unit_variance_everywhere():
    fields = np.stack([smooth_noise(rng(seed), 16) for seed in range(400)])
    assert abs(fields.mean()) < 0.02
    np.testing.assert_allclose(fields.std(axis=0).mean(), 1, atol=0.02)
    np.testing.assert_allclose(fields[:, 0, 0].std(), 1, atol=0.12)  # the border is no exception


def test_noise_is_smooth_over_the_length_it_promises():
    for cells in (8, 32):
        fields = [smooth_noise(rng(seed), cells) for seed in range(60)]
        length = GRID // cells
        near, far = (np.mean([lagged(field, lag, 0) for field in fields]) for lag in (length // 4, 4 * length))
        assert near > 0.9
        assert abs(far) < 0.15


def test_texture_is_longer_where_it_has_fewer_cells():
    fields = [texture(rng(seed), 64, 8) for seed in range(40)]
    assert fields[0].dtype == np.float32
    down, across = (np.mean([lagged(field, *lag) for field in fields]) for lag in ((8, 0), (0, 8)))
    # White noise blurred with a Gaussian of 0.75 cells, 3 and 24 pixels here: correlation exp(-lag^2 / (4 sigma^2)).
    assert down == pytest.approx(np.exp(-64 / 36), abs=0.04)
    assert across == pytest.approx(np.exp(-64 / 2304), abs=0.04)


def test_curve_has_unit_variance():
    curves = np.stack([smooth_curve(rng(seed), 6) for seed in range(800)])
    assert curves.shape == (800, GRID)
    np.testing.assert_allclose(curves.std(axis=0), 1, atol=0.12)


def test_bell_by_hand():
    np.testing.assert_allclose(bell(np.array([0.0, 1.0, -2.0])), [1, np.exp(-1), np.exp(-4)])
    assert bell(np.array([1e6]))[0] == np.exp(-30)


def test_blur_keeps_the_sum_and_spreads_as_asked():
    point = np.zeros((65, 65))
    point[32, 32] = 1
    spread = blur(point, (1.0, 3.0))
    np.testing.assert_allclose(spread.sum(), 1)
    rows, cols = spread.sum(axis=1), spread.sum(axis=0)
    offsets = np.arange(65) - 32
    np.testing.assert_allclose([rows @ offsets**2, cols @ offsets**2], [1, 9], rtol=0.1)


def test_ellipse_by_hand():
    radius = ellipse_radius(100, 120, row_radius=20, col_radius=40)
    np.testing.assert_allclose([radius[100, 120], radius[100, 160], radius[110, 120], radius[60, 120]], [0, 1, 0.5, 2])
    turned = ellipse_radius(100, 120, 20, 40, angle=np.pi / 2)  # the long half-axis now runs down
    np.testing.assert_allclose([turned[140, 120], turned[100, 140]], [1, 1])


def test_an_ellipse_covers_pi_a_b_pixels_and_a_boxier_one_more():
    area = (ellipse_radius(128, 128, 30, 50, 0.4) < 1).sum()
    assert area == pytest.approx(np.pi * 30 * 50, rel=0.01)
    assert (ellipse_radius(128, 128, 30, 50, 0.4, power=4) < 1).sum() > 1.1 * area


def test_an_outline_moves_the_edge_by_angle():
    outline = np.ones(512)
    outline[384] = 1.5  # a quarter turn from columns towards rows: straight down
    radius = ellipse_radius(100, 100, 20, 20, outline=outline)
    np.testing.assert_allclose([radius[130, 100], radius[70, 100]], [1.0, 1.5])


def test_outlines_stay_near_one_and_have_as_many_spikes_as_asked():
    np.testing.assert_array_equal(wavy_outline(rng(), 0.0), np.ones(512))
    for seed in range(40):
        outline = wavy_outline(rng(seed), 0.15, 6, 5, 0.8)
        assert outline.min() >= 0.45 and outline.max() <= 2.2
    spiky = wavy_outline(rng(1), 0.0, spicules=1, spicule_length=0.6)
    assert 1.2 < spiky.max() <= 1.6
    assert (spiky > 1.05).mean() < 0.2


@pytest.mark.parametrize("arguments", [(0.0,), (0.2,), (0.1, 6, 4, 0.3), (0.1, 6, 4, 0.0)])
def test_an_outline_uses_as_many_random_numbers_whatever_comes_out(arguments):
    left = set()
    for roughness in (arguments[0], 0.9):
        generator = rng(3)
        wavy_outline(generator, roughness, *arguments[1:])
        left.add(generator.random())
    assert len(left) == 1


def test_the_largest_component_wins_and_nothing_stays_nothing():
    mask = np.zeros((GRID, GRID), bool)
    np.testing.assert_array_equal(largest_component(mask), mask)
    mask[10:20, 10:20], mask[100:140, 100:140], mask[20, 20] = True, True, True
    largest = largest_component(mask)
    assert largest.sum() == 1600 and largest[120, 120] and not largest[15, 15]


def test_coordinates_are_pixel_centres_and_cannot_be_overwritten():
    assert ROWS[3, 7] == 3 and COLS[3, 7] == 7
    with pytest.raises(ValueError, match="read-only"):
        ROWS[0, 0] = 1
