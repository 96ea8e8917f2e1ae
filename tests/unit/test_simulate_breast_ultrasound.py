"""The breast ultrasound simulator: physics of speckle, attenuation and display, truth of masks and attributes."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from scipy import ndimage
from skimage.morphology import convex_hull_image

from medclipsam_utils.simulate import breast_ultrasound
from medclipsam_utils.simulate.breast_ultrasound import annotations as annotations
from medclipsam_utils.simulate.breast_ultrasound import lesion as masses
from medclipsam_utils.simulate.breast_ultrasound import tissue as tissues
from medclipsam_utils.simulate.breast_ultrasound.probe import Probe
from medclipsam_utils.simulate.breast_ultrasound.scanner import Scanner, compress, envelope, two_way_loss
from medclipsam_utils.simulate.breast_ultrasound.setup import draw_setup
from medclipsam_utils.simulate.fields import GRID, ROWS, Streams

RECTANGLE = Probe("rectangle", 0.0, 0.0, GRID, GRID, np.inf, GRID / 2)
PROBES = [
    RECTANGLE,
    Probe("rectangle", 20.0, 6.0, 210, 240, np.inf, 120),
    Probe("trapezoid", 4.0, 10.0, 240, 236, 300, 60),
    Probe("sector", 8.0, 20.0, 200, 220, 80, 0.5),
]
MARGIN = 6  # pixels that the point spread function carries a change beyond its place


def streams(seed):
    return Streams(*(np.random.default_rng(child) for child in np.random.SeedSequence(seed).spawn(3)))


def draw(seed, finding):
    return breast_ultrasound.draw(finding, streams(seed))


make = cache(draw)


def setup(seed):
    return draw_setup(streams(seed).acquisition)


def scanner(**changes):
    settings = {
        "axial": 0.8, "lateral": 1.8, "focus": 0.4, "defocus": 0.0, "looks": 1, "noise_db": -60.0,
        "dynamic_range_db": 60.0, "smoothing": 0.0, "gamma": 1.0, "pedestal": 0.0,
    }  # fmt: skip
    return Scanner(**(settings | changes))


def speckle(level=1.0, specular=0.0, seed=0, **changes):
    field = np.full((GRID, GRID), level)
    received = envelope(
        field, np.full((GRID, GRID), specular), scanner(**changes), np.random.default_rng(seed), RECTANGLE
    )
    return received[12:-12, 12:-12]


def correlation(image, rows, cols):
    first, second = image[: image.shape[0] - rows, : image.shape[1] - cols], image[rows:, cols:]
    return np.corrcoef(first.ravel(), second.ravel())[0, 1]


# ------------------------------------------------------------------------------------------------------- physics


def test_fully_developed_speckle_is_rayleigh():
    # Rayleigh: mean / standard deviation = sqrt(pi / (4 - pi)) = 1.913; median / mean = sqrt(2 ln 2) / sqrt(pi / 2).
    amplitude = np.concatenate([speckle(seed=seed).ravel() for seed in range(4)])
    assert amplitude.mean() / amplitude.std() == pytest.approx(1.913, rel=0.03)
    assert np.median(amplitude) / amplitude.mean() == pytest.approx(0.9394, rel=0.01)
    assert (amplitude**2).mean() == pytest.approx(1.0, rel=0.05)


def test_speckle_is_multiplicative():
    np.testing.assert_allclose(speckle(3.0), 3 * speckle(1.0), rtol=1e-4)


def test_averaging_looks_raises_the_ratio_by_the_square_root_of_their_number():
    # The root of a mean of squares is a little steadier than a mean of magnitudes.
    one, three = (np.mean([(a := speckle(seed=s, looks=looks)).mean() / a.std() for s in range(3)]) for looks in (1, 3))
    assert three / one == pytest.approx(np.sqrt(3), rel=0.06)


def test_speckle_is_correlated_and_wider_across_the_beam_than_along_it():
    amplitude = speckle()
    assert correlation(amplitude, 1, 0) > 0.4
    assert correlation(amplitude, 0, 1) > 0.7
    assert correlation(amplitude, 0, 3) > correlation(amplitude, 3, 0) + 0.1
    assert abs(correlation(amplitude, 15, 0)) < 0.05 and abs(correlation(amplitude, 0, 20)) < 0.1


def test_the_beam_is_widest_away_from_the_focus():
    amplitude = speckle(focus=0.1, defocus=1.2)
    assert correlation(amplitude[-60:], 0, 4) > correlation(amplitude[:40], 0, 4) + 0.15


def test_a_mirror_hardly_speckles():
    amplitude = speckle(level=0.1, specular=1.0)
    assert amplitude.mean() / amplitude.std() > 10
    assert amplitude.mean() == pytest.approx(1.0, rel=0.02)


def test_losses_add_up_on_the_way_down():
    loss = np.zeros((GRID, GRID))
    loss[100:110] = 2.0
    total = two_way_loss(loss)
    np.testing.assert_allclose(total[[0, 100, 101, 105, 110, 255], 128], [0, 0, 2, 10, 20, 20])


def test_a_shadow_stays_below_what_casts_it():
    loss = np.zeros((GRID, GRID))
    loss[50:60, 100:140] = 1.0
    total = two_way_loss(loss)
    assert total[200, 120] == pytest.approx(10)
    assert total[:50].max() == 0
    assert total[200, 80] == total[200, 160] == 0


def test_the_display_is_logarithmic():
    grey = compress(np.float32([10, 1, 0.5, 0.1, 0.001, 1e-9]), scanner())
    np.testing.assert_allclose(grey, [1, 1, 1 - 6.0206 / 60, 1 - 20 / 60, 0, 0], atol=1e-6)
    lifted = compress(np.float32([1, 1e-9]), scanner(pedestal=0.1, gamma=2.0))
    np.testing.assert_allclose(lifted, [1, 0.1])


@pytest.mark.parametrize("probe", PROBES, ids=lambda probe: probe.kind)
def test_screen_and_beam_are_inverse(probe):
    depth, beam = np.array([0.0, 0.3, 1.0]), np.array([-1.0, 0.2, 1.0])
    np.testing.assert_allclose(probe.to_beam(*probe.to_screen(depth, beam)), [depth, beam], atol=1e-12)
    inside = probe.visible()
    assert 0.2 < inside.mean() <= 1
    depth, beam = probe.to_beam(*np.nonzero(inside))
    assert depth.min() >= 0 and depth.max() <= 1 and np.abs(beam).max() <= 1


def test_only_a_fan_is_narrower_at_the_top():
    for probe in PROBES:
        widths = probe.visible().sum(axis=1)
        top, bottom = widths[widths > 0][3], widths.max()
        assert (top == bottom) == (probe.kind == "rectangle")


def test_the_fast_scan_conversion_of_a_rectangle_is_the_general_one():
    probe, image = PROBES[1], np.random.default_rng(0).random((GRID, GRID)).astype(np.float32)
    depth, beam = probe.to_beam(*np.mgrid[0:GRID, 0:GRID].astype(float))
    where = [GRID * depth - 0.5, GRID * (beam + 1) / 2 - 0.5]
    expected = ndimage.map_coordinates(image, where, order=1, mode="nearest")
    np.testing.assert_allclose(probe.scan_convert(image), expected, atol=1e-5)


def test_a_sheet_shines_where_it_lies_across_the_beam():
    across = tissues._sheets((ROWS - 100).astype(np.float32), 1.0)
    assert across[100, 50] == pytest.approx(1) and across[110, 50] < 1e-6
    along = tissues._sheets(((ROWS - 100) * 0.05 + (ROWS.T - 100)).astype(np.float32), 1.0)
    assert along.max() < 1e-3


# -------------------------------------------------------------------------------------------------------- tissue


def test_layers_lie_one_below_the_other_and_the_skin_is_thin():
    for seed in range(25):
        structures = make(seed, "normal").structures
        rows = [
            np.nonzero(structures[name])[0].mean() for name in ("skin", "fat", "gland", "muscle") if name in structures
        ]
        assert len(rows) >= 2 and rows == sorted(rows)
        assert "skin" not in structures or structures["skin"].mean() < 0.1
        areas = sum(area.astype(int) for area in structures.values())
        assert areas.max() == 1  # no pixel belongs to two layers


def test_deep_tissue_is_darker_than_shallow_tissue_in_most_images():
    darker = 0
    for seed in range(30):
        drawing = make(seed, "normal")
        rows = np.nonzero(setup(seed).probe.visible().any(axis=1))[0]
        top, height = rows[0], rows[-1] - rows[0]
        shallow = drawing.grey[top + height // 10 : top + height // 3].mean()
        darker += drawing.grey[top + 3 * height // 4 : rows[-1]].mean() < shallow
    assert darker >= 24


def test_normal_tissue_has_dark_spots_that_are_no_mass():
    """Fat lobules, ducts and shadows: in most images a spot in the gland is as much darker than it as a mass may be."""
    with_spot = 0
    for seed in range(30):
        tissue = tissues.draw_tissue(streams(seed).anatomy)
        gland = (tissue.depth > tissue.ends[1] + 0.03) & (tissue.depth < tissue.ends[2] - 0.03)
        level = ndimage.gaussian_filter(tissue.echo_db, 2)
        dark = gland & (level < np.median(level[gland]) - 5)
        labels, count = ndimage.label(dark)
        sizes = np.bincount(labels.ravel())[1:] if count else [0]
        with_spot += max(sizes) > 150
    assert with_spot >= 20


def test_fans_are_rare_and_every_probe_occurs():
    kinds = [setup(seed).probe.kind for seed in range(500)]
    fans = np.mean([kind != "rectangle" for kind in kinds])
    assert 0.05 < fans < 0.16
    assert set(kinds) == {"rectangle", "trapezoid", "sector"}


# ------------------------------------------------------------------------------------------------ masks and words


def test_findings_are_probabilities_and_end_without_the_target():
    assert list(breast_ultrasound.FINDINGS) == ["benign", "malignant", "normal"]
    assert sum(breast_ultrasound.FINDINGS.values()) == pytest.approx(1)


@pytest.mark.parametrize("finding", breast_ultrasound.FINDINGS)
def test_grey_is_finite_and_in_range_and_masks_fit_the_finding(finding):
    for seed in range(25):
        drawing = make(seed, finding)
        assert drawing.grey.shape == drawing.mask.shape == (GRID, GRID)
        assert np.isfinite(drawing.grey).all() and drawing.grey.min() >= 0 and drawing.grey.max() <= 1
        assert drawing.grey.std() > 0.04
        assert drawing.mask.any() != (finding == "normal")
        assert ndimage.label(drawing.mask)[1] == (finding != "normal")
        assert drawing.mask.mean() < 0.45
        assert drawing.attributes["probe"] == ("curved" if setup(seed).probe.kind == "sector" else "linear")
        assert not (drawing.mask & ~setup(seed).probe.visible()).any()


@pytest.mark.parametrize("finding", ["benign", "malignant"])
def test_words_are_true_of_the_mask(finding):
    for seed in range(25):
        drawing = make(seed, finding)
        facts, share = drawing.attributes, drawing.mask.mean()
        row, col = np.argwhere(drawing.mask).mean(axis=0)
        low, high = {"small": (0, 0.025), "medium": (0.025, 0.08), "large": (0.08, 1)}[facts["size"]]
        assert low <= share < high
        low, high = {"left": (0, 1 / 3), "centre": (1 / 3, 2 / 3), "right": (2 / 3, 1)}[facts["side"]]
        assert low <= col / GRID <= high
        depth = setup(seed).probe.to_beam(row, col)[0]
        low, high = {"superficial": (0, 1 / 3), "middle": (1 / 3, 2 / 3), "deep": (2 / 3, 1)}[facts["depth"]]
        assert low <= depth <= high
        margins, shapes = {
            "benign": (["smooth"], ["oval", "round"]),
            "malignant": (["irregular", "spiculated"], ["irregular"]),
        }[finding]
        assert facts["margin"] in margins and facts["shape"] in shapes


def test_round_masses_are_as_high_as_wide():
    for seed in range(25):
        drawing = make(seed, "benign")
        low, high = np.sqrt(np.linalg.eigvalsh(np.cov(*np.nonzero(drawing.mask))))
        assert (high / low < 1.22) == (drawing.attributes["shape"] == "round")


def roughness(mask):
    """How much of the smallest convex region around a mask is not mask; 0 for an ellipse."""
    return 1 - mask.sum() / convex_hull_image(mask).sum()


def test_malignant_outlines_are_rougher():
    benign, malignant = (
        [roughness(make(seed, finding).mask) for seed in range(25)] for finding in ("benign", "malignant")
    )
    assert np.median(malignant) > 2 * np.median(benign)
    assert np.quantile(benign, 0.9) < np.quantile(malignant, 0.5)


def ring(mask, probe):
    return ndimage.binary_dilation(mask, iterations=12) & ~ndimage.binary_dilation(mask, iterations=4) & probe.visible()


@pytest.mark.parametrize("finding", ["benign", "malignant"])
def test_masses_are_darker_than_the_same_place_without_them(finding):
    darker = 0
    for seed in range(25):
        ill, normal = make(seed, finding), make(seed, "normal")
        core = ndimage.binary_erosion(ill.mask, iterations=2)
        darker += ill.grey[core].mean() < normal.grey[core].mean() - 0.02
    assert darker >= 22


def below(seed, finding):
    """Change of the grey below a mass, against the image without it, away from what is burned in."""
    ill, normal = make(seed, finding), make(seed, "normal")
    rows, cols = np.nonzero(ill.mask)
    middle, half = int(cols.mean()), max(int(0.2 * np.ptp(cols)), 2)
    where = slice(rows.max() + 4, rows.max() + 30), slice(middle - half, middle + half + 1)
    change = (ill.grey - normal.grey)[where][setup(seed).probe.visible()[where]]
    return np.median(change) if change.size > 40 else None


def test_sound_is_enhanced_below_and_shadowed_where_the_words_say_so():
    changes = {"enhancement": [], "shadowing": []}
    for seed in range(60):
        for finding in ("benign", "malignant"):
            said = make(seed, finding).attributes.get("posterior")
            if said and (change := below(seed, finding)) is not None:
                changes[said].append(change)
    assert len(changes["enhancement"]) >= 8 and len(changes["shadowing"]) >= 8
    assert np.mean(np.array(changes["enhancement"]) > 0.01) > 0.9
    assert np.mean(np.array(changes["shadowing"]) < -0.03) > 0.9


def test_benign_masses_enhance_and_malignant_ones_shadow():
    benign, malignant = (
        [masses.draw_lesion(np.random.default_rng(s), finding, tissues.draw_tissue(np.random.default_rng(0)), RECTANGLE)
         for s in range(40)] for finding in ("benign", "malignant")
    )  # fmt: skip
    assert all(lesion.posterior_db <= 0 for lesion in benign)
    assert np.mean([lesion.posterior_db for lesion in malignant]) > 4
    assert any(lesion.calcifications for lesion in malignant) and not any(lesion.calcifications for lesion in benign)


# ------------------------------------------------------------------------------------------------ counterfactuals


@pytest.mark.parametrize("finding", ["benign", "malignant"])
def test_a_mass_changes_nothing_above_it_and_little_beside_it(finding):
    compared = 0
    for seed in range(30):
        if setup(seed).marks[10] < 0.38 or setup(seed).probe.kind != "rectangle":
            continue  # calipers stand elsewhere, and beams of a fan run obliquely
        ill, normal = make(seed, finding), make(seed, "normal")
        for name in normal.structures:
            np.testing.assert_array_equal(ill.structures[name], normal.structures[name])
        change = np.abs(ill.grey - normal.grey)
        rows, cols = np.nonzero(ill.mask)
        size = np.sqrt(ill.mask.sum() / np.pi)
        compared += 1
        inside = change[ill.mask].mean()
        beside = np.ones(GRID, bool)
        reach = int(2.2 * size) + 20 + MARGIN
        beside[max(cols.min() - reach, 0) : cols.max() + reach] = False
        assert change[: max(rows.min() - reach, 0)].max(initial=0) < 1e-4
        assert change[:, beside].max(initial=0) < 0.02
        assert inside > 0.01
    assert compared > 10


@pytest.mark.parametrize("finding", breast_ultrasound.FINDINGS)
def test_the_same_streams_draw_the_same(finding):
    first, second = draw(5, finding), draw(5, finding)
    np.testing.assert_array_equal(first.grey, second.grey)
    np.testing.assert_array_equal(first.mask, second.mask)
    assert first.attributes == second.attributes
    assert not np.array_equal(first.grey, make(6, finding).grey)


def test_another_lesion_stream_draws_another_mass_in_the_same_breast():
    given, other = streams(4), streams(4)
    other = replace(other, lesion=np.random.default_rng(99))
    first, second = (breast_ultrasound.draw("benign", each) for each in (given, other))
    assert not np.array_equal(first.mask, second.mask)
    for name in first.structures:
        np.testing.assert_array_equal(first.structures[name], second.structures[name])


def test_streams_are_used_up_equally_whatever_the_finding():
    for seed in range(3):
        left_over = set()
        for finding in breast_ultrasound.FINDINGS:
            given = streams(seed)
            breast_ultrasound.draw(finding, given)
            left_over.add((given.anatomy.random(), given.acquisition.random()))
        assert len(left_over) == 1


# ---------------------------------------------------------------------------------------------------- annotations


def burned(given, lesion):
    """What is written onto an empty picture."""
    picture = np.zeros((GRID, GRID))
    annotations.burn_in(picture, given, lesion)
    return picture


def test_calipers_stand_at_the_outline_of_the_mass():
    probe, tissue = RECTANGLE, tissues.draw_tissue(np.random.default_rng(1))
    for seed in range(10):
        lesion = masses.draw_lesion(np.random.default_rng(seed), "benign", tissue, probe)
        edge = ndimage.binary_dilation(mask := masses.lesion_mask(lesion, probe.visible()), iterations=2)
        edge &= ~ndimage.binary_erosion(mask, iterations=2)
        for across in (False, True):
            for row, col in lesion.ends(across):
                assert edge[round(row), round(col)]


def test_calipers_come_as_often_without_a_mass():
    tissue = tissues.draw_tissue(np.random.default_rng(1))
    with_mass, without = 0, 0
    for seed in range(200):
        given = setup(seed)
        lesion = masses.draw_lesion(np.random.default_rng(seed), "malignant", tissue, given.probe)
        marks = given.marks.copy()
        marks[10] = 1.0
        text = burned(replace(given, marks=marks), lesion)
        np.testing.assert_array_equal(text, burned(replace(given, marks=marks), None))
        with_mass += not np.array_equal(burned(given, lesion), text)
        without += not np.array_equal(burned(given, None), text)
    assert with_mass == without
    assert 0.25 < with_mass / 200 < 0.5


def test_a_caliper_is_a_cross_at_both_ends():
    picture = np.zeros((GRID, GRID))
    annotations.burn_caliper(picture, (50, 60), (50, 90), 1.0, 2, "+", False)
    assert (picture[50, 58:63] == 1).all() and (picture[48:53, 60] == 1).all() and picture.sum() == 18
    annotations.burn_caliper(picture, (0, 0), (255, 255), 1.0, 3, "x", True)  # the border cuts it
    assert picture[0, 0] == 1 and picture[255, 255] == 1


def test_every_label_can_be_written_and_is_cut_at_the_border():
    for label in annotations._LABELS:
        picture = np.zeros((GRID, GRID))
        annotations.burn_text(picture, 100, 20, label, 0.8)
        assert picture.max() == 0.8 and 20 < (picture > 0).sum() < 60 * len(label)
        annotations.burn_text(picture, -5, 250, label, 0.8)
