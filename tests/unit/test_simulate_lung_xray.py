"""The chest radiograph simulator: physics of the projection, truth of masks and attributes, counterfactuals."""

from functools import cache

import numpy as np
import pytest
from scipy import ndimage

from medclipsam_utils.simulate import lung_xray
from medclipsam_utils.simulate.fields import GRID, Streams
from medclipsam_utils.simulate.lung_xray import detector, film
from medclipsam_utils.simulate.lung_xray import projection as projection

CHEST = [finding for finding in lung_xray.FINDINGS if finding != "abdomen"]


def draw(seed, finding):
    children = np.random.SeedSequence(seed).spawn(3)
    return lung_xray.draw(finding, Streams(*(np.random.default_rng(child) for child in children)))


make = cache(draw)


def width(area):
    cols = np.nonzero(area.any(axis=0))[0]
    return cols.max() - cols.min() + 1


def test_chord_through_an_ellipsoid_by_hand():
    # Centre: the whole depth, 2 x 30. At u = 0.6: 2 x 30 x sqrt(1 - 0.36) = 48. Rotated by 90 degrees, x runs along b.
    chord = projection.ellipsoid_chord(np.array([5.0, 11.0, 15.1]), np.array([1.0, 1.0, 1.0]), (5, 1), (10, 20, 30))
    np.testing.assert_allclose(chord, [60.0, 48.0, 0.0])
    turned = projection.ellipsoid_chord(np.array([17.0]), np.array([1.0]), (5, 1), (10, 20, 30), np.pi / 2)
    np.testing.assert_allclose(turned, [48.0])


def test_chord_agrees_with_sampling_along_the_ray():
    z = np.linspace(-40, 40, 80_001)
    inside = 0.7**4 + (z / 25) ** 2 < 1
    np.testing.assert_allclose(projection.slice_chord(np.array([0.7]), 25.0), inside.sum() * (z[1] - z[0]), rtol=1e-3)


def test_a_turned_frame_keeps_points_and_pixels_together():
    frame = projection.Frame(120.0, 130.0, 1.4, roll=0.1)
    row, col = frame.pixels(frame.x[40, 200], frame.y[40, 200])
    np.testing.assert_allclose([row, col], [40, 200])


def test_doubling_the_thickness_squares_the_transmission():
    lengths = np.array([10.0, 55.0, 200.0])
    once = projection.transmission(projection.SOFT * lengths)
    np.testing.assert_allclose(projection.transmission(projection.SOFT * 2 * lengths), once**2)
    np.testing.assert_allclose(projection.transmission(np.log(2)), 0.5)


def test_thin_tube_keeps_its_volume():
    frame = projection.Frame(128.0, 128.0, 1.5)
    t = np.linspace(-60, 60, 400)
    points = np.column_stack([t, 0.3 * t, 0 * t])
    length = np.hypot(120, 36)
    shadow = projection.thin_tubes(frame, points, np.full(400, 0.8), np.full(400, length / 400))
    np.testing.assert_allclose(shadow.sum() * 1.5**2, np.pi * 0.8**2 * length, rtol=1e-6)


def test_hollow_tube_is_brightest_at_its_cortex_and_matches_its_chord_in_the_middle():
    frame = projection.Frame(128.0, 128.0, 1.0)
    points = np.column_stack([np.linspace(-50, 50, 60), np.zeros(60), np.zeros(60)])
    bone = projection.hollow_tubes(frame, [(points, 8.0, 5.0, 1.0)], cortex=2.0)
    middle = 4 * (projection.BONE - projection.SOFT) + 6 * (projection.TRABECULAR - projection.SOFT)
    np.testing.assert_allclose(bone[128, 128], middle)
    assert bone[128 + 6, 128] > bone[128, 128]
    assert bone[128 + 8, 128] == 0


def test_a_radiograph_shows_thicker_bodies_brighter():
    exposure = detector.Exposure(0.5, 30, 0.0, 0.0, 0.0, 0.0, 0.02, 0.98, 1.0, 0.0, 0.1, 0.9)
    thickness = np.tile(np.linspace(1, 4, GRID), (GRID, 1))
    grey = detector.radiograph(thickness, thickness, exposure, np.zeros((GRID, GRID)))
    assert (np.diff(grey[128, 20:236]) > 0).all()


def test_findings_are_probabilities_and_end_without_the_target():
    assert list(lung_xray.FINDINGS) == ["clear", "opacity", "effusion", "cardiomegaly", "abdomen"]
    assert sum(lung_xray.FINDINGS.values()) == pytest.approx(1)


def test_grey_is_finite_and_in_range_and_masks_fit_the_finding():
    for seed in range(60):
        finding = list(lung_xray.FINDINGS)[seed % 5]
        drawing = make(seed, finding)
        assert drawing.grey.shape == drawing.mask.shape == (GRID, GRID)
        assert np.isfinite(drawing.grey).all() and drawing.grey.min() >= 0 and drawing.grey.max() <= 1
        assert drawing.grey.std() > 0.05
        assert 1.1 < drawing.spacing_mm[0] <= 1.75
        if finding == "abdomen":
            assert not drawing.mask.any()
            assert drawing.structures["pelvis"].any() or drawing.structures["spine"].any()
            continue
        assert ndimage.label(drawing.mask)[1] == 2
        assert 0.1 < drawing.mask.mean() < 0.6
        left, right = drawing.structures["left lung"], drawing.structures["right lung"]
        np.testing.assert_array_equal(left | right, drawing.mask)
        assert not (drawing.mask & drawing.structures["heart"]).any()
        assert np.nonzero(left)[1].mean() > np.nonzero(right)[1].mean()  # the patient's left is on the image's right


def test_lungs_are_darker_than_the_rest_of_the_body():
    for seed in range(12):
        drawing = make(seed, "clear")
        around = ndimage.binary_dilation(drawing.mask, iterations=14) & ~ndimage.binary_dilation(drawing.mask)
        assert drawing.grey[drawing.mask].mean() < drawing.grey[around & (drawing.grey > 0.02)].mean()


@pytest.mark.parametrize("finding", list(lung_xray.FINDINGS))
def test_the_same_streams_draw_the_same(finding):
    first, second = draw(5, finding), draw(5, finding)
    np.testing.assert_array_equal(first.grey, second.grey)
    np.testing.assert_array_equal(first.mask, second.mask)
    assert first.attributes == second.attributes
    assert not np.array_equal(first.grey, make(6, finding).grey)


@pytest.mark.parametrize("finding", ["opacity", "effusion"])
def test_counterfactual_changes_the_lungs_alone(finding):
    for seed in range(10):
        clear, ill = make(seed, "clear"), make(seed, finding)
        change = np.abs(clear.grey - ill.grey)
        near = ndimage.binary_dilation(clear.mask, iterations=5)
        for name in ("heart", "spine", "ribs", "clavicles"):
            np.testing.assert_array_equal(clear.structures[name], ill.structures[name])
        assert clear.spacing_mm == ill.spacing_mm
        assert change[~near].mean() < 0.02
        assert change[clear.mask].mean() > 2.5 * change[~near].mean()
    if finding == "opacity":
        np.testing.assert_array_equal(clear.mask, ill.mask)


@pytest.mark.parametrize("finding", ["opacity", "effusion", "cardiomegaly"])
def test_another_lesion_stream_draws_another_finding_in_the_same_chest(finding):
    def with_lesion(seed):
        anatomy, _, acquisition = (np.random.default_rng(child) for child in np.random.SeedSequence(4).spawn(3))
        return lung_xray.draw(finding, Streams(anatomy, np.random.default_rng(seed), acquisition))

    first, second = with_lesion(98), with_lesion(99)
    assert not np.array_equal(first.grey, second.grey)
    for name in ("spine", "ribs", "clavicles"):
        np.testing.assert_array_equal(first.structures[name], second.structures[name])


def test_streams_are_used_up_equally_whatever_the_finding():
    left_over = set()
    for finding in lung_xray.FINDINGS:
        streams = Streams(*(np.random.default_rng(child) for child in np.random.SeedSequence(3).spawn(3)))
        lung_xray.draw(finding, streams)
        left_over.add((streams.anatomy.random(), streams.acquisition.random()))
    assert len(left_over) == 1


def test_cardiothoracic_ratio_from_the_masks():
    for seed in range(20):
        for finding in ("clear", "cardiomegaly"):
            drawing = make(seed, finding)
            ratio = width(drawing.structures["heart"]) / width(drawing.mask)
            assert drawing.attributes["heart"] == ("enlarged" if finding == "cardiomegaly" else "normal")
            assert ratio > 0.5 if finding == "cardiomegaly" else 0.36 < ratio < 0.52


def test_fluid_takes_lung_away_on_the_stated_side_only():
    for seed in range(20):
        clear, ill = make(seed, "clear"), make(seed, "effusion")
        assert not (ill.mask & ~clear.mask).any()
        for side in ("left", "right"):
            lost = 1 - ill.structures[f"{side} lung"].sum() / clear.structures[f"{side} lung"].sum()
            assert (lost > 0.03) if ill.attributes["side"] in (side, "both") else lost == 0
        fluid = clear.mask & ~ill.mask
        assert ill.grey[fluid].mean() > clear.grey[fluid].mean() + 0.05


def test_opacity_lies_on_its_side_and_in_its_zone():
    for seed in range(30):
        clear, ill = make(seed, "clear"), make(seed, "opacity")
        change = np.maximum(ill.grey - clear.grey, 0) * clear.mask
        rows = np.nonzero(clear.mask)[0]
        left, right = (change[clear.structures[f"{side} lung"]].sum() for side in ("left", "right"))
        share = left / (left + right)
        side = ill.attributes["side"]
        assert {"left": share > 0.85, "right": share < 0.15, "both": 0.15 < share < 0.85}[side], (seed, side, share)
        height = (change.sum(axis=1) @ np.arange(GRID) / change.sum() - rows.min()) / (rows.max() - rows.min())
        low, high = {"upper": (0.0, 0.44), "middle": (0.30, 0.66), "lower": (0.50, 1.0)}[ill.attributes["zone"]]
        assert low < height < high, (seed, ill.attributes, height)


def test_abdomen_has_no_chest_attributes():
    drawing = make(2, "abdomen")
    assert drawing.attributes == {"view": "frontal", "region": "abdomen"}
    assert set(drawing.structures) == {"spine", "pelvis"}


def test_every_burned_in_text_can_be_written():
    for text in (*film.TEXTS, "L", "R"):
        stamp = film._stamp(text, 9.0)
        assert stamp.shape == (9, 6 * len(text) + 2)
        assert stamp.min() == 0 and stamp.max() == 1
    letter = film._stamp("L", 9.0)[1:8, 2:7]
    np.testing.assert_array_equal(letter[:, 0], 1)
    np.testing.assert_array_equal(letter[-1], 1)
    assert letter.sum() == 11
