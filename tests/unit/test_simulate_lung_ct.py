"""The CT simulator: Hounsfield units, windows and geometry, truth of masks and attributes, counterfactuals."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from scipy import ndimage

from medclipsam_utils.simulate import lung_ct
from medclipsam_utils.simulate.fields import GRID, Streams
from medclipsam_utils.simulate.lung_ct import plane as plane_module
from medclipsam_utils.simulate.lung_ct import scanner as scanner
from medclipsam_utils.simulate.lung_ct.chest import draw_chest
from medclipsam_utils.simulate.lung_ct.plane import AIR, ANGLES, FAT, MUSCLE, Frame, Plane

CHEST = [finding for finding in lung_ct.FINDINGS if finding != "abdomen"]
LEVELS = ["apex", "arch", "carina", "heart", "base"]


def streams(seed):
    return Streams(*(np.random.default_rng(child) for child in np.random.SeedSequence(seed).spawn(3)))


def draw(seed, finding):
    return lung_ct.draw(finding, streams(seed))


make = cache(draw)


@cache
def hounsfield(seed, finding="clear"):
    """Chest, plane and structures before the scanner blurs and crops them."""
    given = streams(seed)
    chest_rng = np.random.default_rng(given.anatomy.integers(0, 2**63, 2)[0])
    chest = draw_chest(chest_rng)
    scan = scanner.draw_scan(given.acquisition)
    plane, structures, found = lung_ct._chest_slice(chest, chest_rng, finding, given.lesion, scan)
    return chest, plane, structures, found


def square(pixel_mm=1.0, tilt=0.0):
    return Plane(Frame(pixel_mm, pixel_mm, 128.0, 128.0, tilt))


def scan(**changes):
    return replace(scanner.draw_scan(np.random.default_rng(0)), **changes)


# ------------------------------------------------------------------------------------------------- shapes and plane


def test_closed_curve_by_hand():
    curve = plane_module.closed_curve(100, 60, 80, (2, 2))
    left, back, front, oblique = (np.interp(np.deg2rad(d), ANGLES, curve) for d in (0, 90, -90, 45))
    np.testing.assert_allclose([left, back, front], [100, 80, 60], rtol=1e-4)
    assert oblique == pytest.approx(1 / np.sqrt(0.5 / 100**2 + 0.5 / 80**2), rel=1e-4)
    assert plane_module.closed_curve(100, 60, 80, (4, 4)).sum() > curve.sum()  # boxier


def test_bumps_are_where_they_should_be():
    bump = plane_module.bump(180, 10)  # the patient's right, where the table of angles ends
    assert bump.max() == pytest.approx(1, abs=1e-4) and np.interp(np.deg2rad(-170), ANGLES, bump) > 0.6
    both = plane_module.both_bumps(20, 10)
    np.testing.assert_allclose(np.interp(np.deg2rad([20, 160, -90]), ANGLES, both), [1, 1, 0], atol=1e-3)


def test_smooth_minimum_rounds_only_where_two_depths_are_alike():
    first, second = np.array([5.0, 0.0, 3.0]), np.array([0.0, 5.0, 3.0])
    np.testing.assert_allclose(plane_module.smooth_min(first, second, 4.0), [0, 0, 2.0])


def test_points_and_pixels_stay_together_when_the_patient_is_tilted():
    plane = square(0.8, 0.2)
    np.testing.assert_allclose(plane.pixel_of(plane.x[40, 200], plane.y[40, 200]), [40, 200])
    assert plane.radius[128, 128] == 0


def test_a_pixel_that_a_surface_cuts_mixes_both_sides():
    plane = square(2.0)
    plane.paint(-plane.x, 0.0)  # the patient's right half is water: the surface runs through the middle of column 128
    np.testing.assert_allclose(plane.hu[100, [120, 127, 128, 129, 140]], [0, 0, -500, AIR, AIR])


def test_areas_of_ellipse_rod_and_tubes():
    plane = square(1.0)
    ellipse = plane.ellipse(10, -20, 30, 15, 0.5)
    assert plane.cover(ellipse.depth).sum() == pytest.approx(np.pi * 30 * 15, rel=0.02)
    np.testing.assert_array_equal(ellipse.depth, plane.ellipse_depth(10, -20, 30, 15, 0.5)[ellipse.window])
    rod = plane.rod((0, 0), (40, 30), 5)
    assert plane.cover(rod.depth).sum() == pytest.approx(50 * 10 + np.pi * 25, rel=0.02)
    covered = plane.tubes(np.array([[-60.0, -40.0, 20.0, 20.0, 3.0, 3.0]]))
    assert covered.sum() == pytest.approx(100 * 6 + np.pi * 9, rel=0.03) and covered.max() == 1


def test_an_ellipse_turns_from_the_left_towards_the_back():
    plane = square()
    assert plane.inside(plane.ellipse(0, 0, 40, 10, np.pi / 2))[128 + 35, 128]


def test_bone_has_a_dense_shell():
    plane = square()
    plane.paint_bone(plane.ellipse(0, 0, 20, 20), 3.0, 600.0, 200.0)
    np.testing.assert_allclose(plane.hu[128, [128, 128 + 18]], [200, 600])


# ---------------------------------------------------------------------------------------------------------- scanner


def test_the_lung_window_by_hand():
    # Level -600, width 1500: black at -1350, white at 150.
    np.testing.assert_allclose(scanner.window(np.array([-2000, -1350, -600, 0, 150, 900]), -1350, 150),
                               [0, 0, 0.5, 0.9, 1, 1])  # fmt: skip


@pytest.mark.parametrize(("name", "level", "width"), [("lung", -600, 1500), ("soft tissue", 40, 400)])
def test_windows_have_the_names_that_radiologists_give_them(name, level, width):
    seen = [s for s in (scanner.draw_scan(np.random.default_rng(k)) for k in range(300)) if s.window == name]
    assert len(seen) > 10
    for each in seen:
        assert (each.high + each.low) / 2 == pytest.approx(level, abs=0.05 * width)
        assert each.high - each.low == pytest.approx(width, rel=0.11)


def test_all_layouts_and_windows_occur():
    scans = [scanner.draw_scan(np.random.default_rng(k)) for k in range(200)]
    assert {s.layout for s in scans} == {"cropped", "coarse", "native"}
    assert {s.window for s in scans} == {"lung", "soft tissue", "wide"}
    assert 0.02 < np.mean([s.flipped for s in scans]) < 0.12


def test_noise_of_a_uniform_slab_is_as_strong_as_set():
    steady = scan(layout="native", softness=0.5, sharpening=0.0, noise=20.0, low=-500.0, high=500.0, gamma=1.0,
                  circle=False, flipped=False, streaks=0.0)  # fmt: skip
    grey = steady.show(np.zeros((GRID, GRID)), np.ones((GRID, GRID), bool), 0.0)
    assert (1000 * (grey - 0.5)).std() == pytest.approx(20 * (0.45 + 0.8), rel=0.05)
    assert grey.mean() == pytest.approx(0.5, abs=0.002)


def test_streaks_run_through_the_shoulders_along_rows():
    body = np.zeros((GRID, GRID), bool)
    body[100:180, 20:236] = True
    quiet, streaky = (
        scan(layout="native", noise=5.0, streaks=60.0, circle=False, flipped=False, low=-500.0, high=500.0, gamma=1.0)
        .show(np.zeros((GRID, GRID)), body, shoulders) for shoulders in (0.0, 1.0)
    )  # fmt: skip
    streaks = streaky - quiet
    assert streaks[110:170].std() > 0.01 and np.abs(streaks[:90]).max() == 0
    inside = streaks[110:170, 60:200]
    assert np.corrcoef(inside[:, 8:].ravel(), inside[:, :-8].ravel())[0, 1] > 0.5
    assert np.corrcoef(inside[4:].ravel(), inside[:-4].ravel())[0, 1] < 0.2


def test_the_circle_hides_the_corners_and_a_flip_turns_picture_and_mask_alike():
    round_scan = scan(
        layout="native", circle=True, flipped=True, noise=0.0, outside=AIR, low=-1000.0, high=0.0, gamma=1
    )
    view = round_scan.in_view()
    assert view.mean() == pytest.approx(np.pi / 4, rel=0.01) and not view[0, 0]
    hu = np.full((GRID, GRID), -100.0)
    hu[40:60, 100:120] = 0.0
    grey = round_scan.show(hu, np.ones((GRID, GRID), bool), 0.0)
    assert grey[0, 0] == 0
    where = round_scan.oriented(hu == 0)
    assert grey[where].mean() > 0.97 > 0.93 > grey[view & ~ndimage.binary_dilation(where, iterations=5)].mean()


def test_half_resolution_by_hand():
    image = np.zeros((8, 8))
    image[2:4, 2:4] = 16.0
    coarse = scanner._half_resolution(image)
    np.testing.assert_allclose(coarse.sum(), image.sum())
    np.testing.assert_allclose(coarse[2, [1, 2, 3, 4]], [3, 9, 9, 3])


def test_a_cropped_picture_is_filled_by_the_body_and_the_others_show_it_round():
    for seed in range(40):
        chest = hounsfield(seed % 20)[0]
        drawn = scanner.draw_scan(np.random.default_rng(seed))
        frame = drawn.frame(chest.trunk.skin)
        if drawn.layout == "cropped":
            height = np.ptp(chest.trunk.skin * np.sin(ANGLES + frame.tilt))
            assert height / (GRID * frame.mm_row) > 0.9
        else:
            assert frame.mm_row == frame.mm_col and 310 <= GRID * frame.mm_row <= 440


# ------------------------------------------------------------------------------------------------- Hounsfield units


def test_air_lung_fat_muscle_and_bone_have_their_hounsfield_units():
    for seed in range(20):
        chest, plane, structures, _ = hounsfield(seed)
        outside = plane.within(chest.trunk.skin) < -60
        assert np.median(plane.hu[outside]) == pytest.approx(AIR, abs=150) if outside.any() else True
        for side in ("left lung", "right lung"):
            if structures[side].sum() > 500:
                assert -930 < np.median(plane.hu[structures[side]]) < -720
        below_skin, outer = plane.within(chest.trunk.skin), plane.within(chest.trunk.muscle)
        fat = (below_skin > 4) & (outer < -2)
        if chest.trunk.breast == 0 and fat.sum() > 200:
            assert np.median(plane.hu[fat]) == pytest.approx(FAT, abs=12)
        muscle = (outer > 3) & (plane.within(chest.trunk.inner) < -14) & ~structures["ribs"]
        assert np.quantile(plane.hu[muscle], 0.75) == pytest.approx(MUSCLE, abs=15)
        assert 0.02 < (plane.hu[muscle] < 20).mean() < 0.6  # fat planes between the muscles
        assert plane.hu[structures["ribs"]].max() > 400
        assert 80 < np.median(plane.hu[structures["vertebra"]]) < 450
        assert plane.hu[structures["trachea"]].mean() < -800 if structures["trachea"].sum() > 60 else True


def test_lungs_are_denser_towards_the_back():
    error = []
    for seed in range(40):
        chest, plane, structures, _ = hounsfield(seed)
        lung = structures["left lung"] | structures["right lung"]
        parenchyma = ndimage.binary_erosion(lung, iterations=3) & (plane.hu < -700)
        if np.ptp(plane.y[parenchyma]) > 95:
            error.append(np.polyfit(plane.y[parenchyma], plane.hu[parenchyma], 1)[0] - chest.gravity)
    assert len(error) > 25
    assert np.mean(error) == pytest.approx(0, abs=0.06) and np.std(error) < 0.25


def test_contrast_medium_brightens_the_aorta():
    medium, without = [], []
    for seed in range(40):
        chest, plane, structures, _ = hounsfield(seed)
        if structures["aorta"].sum() > 60:
            level = np.median(plane.hu[structures["aorta"]])
            assert level == pytest.approx(chest.contrast["artery"], abs=25)
            (medium if chest.contrast["artery"] > 100 else without).append(level)
    assert np.mean(without) < 60 < 120 < np.mean(medium)


def test_the_two_sides_of_a_body_are_alike_but_not_the_same():
    for seed in range(10):
        skin = hounsfield(seed)[0].trunk.skin
        mirrored = np.interp(np.sign(ANGLES) * np.pi - ANGLES, ANGLES, skin)
        difference = np.abs(skin - mirrored) / skin
        assert 0.005 < difference.mean() < 0.12


# -------------------------------------------------------------------------------------------------- masks and words


def test_findings_are_probabilities_and_end_without_the_target():
    assert list(lung_ct.FINDINGS) == ["clear", "nodule", "opacity", "effusion", "abdomen"]
    assert sum(lung_ct.FINDINGS.values()) == pytest.approx(1)


@pytest.mark.parametrize("finding", CHEST)
def test_grey_is_finite_and_in_range_and_masks_fit_the_finding(finding):
    for seed in range(20):
        drawing = make(seed, finding)
        assert drawing.grey.shape == drawing.mask.shape == (GRID, GRID)
        assert np.isfinite(drawing.grey).all() and drawing.grey.min() >= 0 and drawing.grey.max() <= 1
        assert drawing.grey.std() > 0.05
        assert ndimage.label(drawing.mask)[1] == 2
        assert 0.01 < drawing.mask.mean() < 0.5
        left, right = drawing.structures["left lung"], drawing.structures["right lung"]
        np.testing.assert_array_equal(left | right, drawing.mask)
        assert np.nonzero(left)[1].mean() > np.nonzero(right)[1].mean()  # the patient's left is on the image's right
        for name in ("heart", "aorta", "trachea", "vertebra"):
            assert not (drawing.mask & drawing.structures.get(name, np.zeros_like(drawing.mask))).any()
        assert not (drawing.mask & ~drawing.structures["body"]).any()


def test_lungs_are_darker_than_what_surrounds_them():
    for seed in range(20):
        drawing = make(seed, "clear")
        around = ndimage.binary_dilation(drawing.mask, iterations=10) & ~ndimage.binary_dilation(
            drawing.mask, iterations=2
        )
        around &= drawing.structures["body"]
        assert np.median(drawing.grey[drawing.mask]) < np.median(drawing.grey[around]) - 0.1


def test_the_trachea_is_as_dark_as_lung_and_not_in_the_mask():
    seen = 0
    for seed in range(40):
        drawing = make(seed, "clear")
        trachea = ndimage.binary_erosion(drawing.structures.get("trachea", np.zeros((GRID, GRID), bool)), iterations=2)
        if trachea.sum() > 12:
            seen += 1
            lung = np.median(drawing.grey[drawing.mask])
            assert np.median(drawing.grey[trachea]) < lung + 0.12
            assert not (drawing.mask & trachea).any()
    assert seen > 8


def test_levels_run_from_apex_to_base():
    areas, hearts, airways = ({level: [] for level in LEVELS} for _ in range(3))
    for seed in range(60):
        chest, plane, structures, _ = hounsfield(seed)
        pixel = plane.frame.mm_row * plane.frame.mm_col
        areas[chest.level].append(pixel * (structures["left lung"] | structures["right lung"]).sum())
        hearts[chest.level].append(structures["heart"].any())
        airways[chest.level].append(ndimage.label(structures["trachea"])[1])
    assert all(areas.values())
    assert np.mean(areas["apex"]) < 0.8 * np.mean(areas["arch"]) and np.mean(areas["apex"]) < np.mean(areas["heart"])
    assert np.mean(areas["base"]) < 0.75 * np.mean(areas["heart"])  # liver and stomach have risen into the slice
    assert all(hearts["heart"]) and not any(hearts["apex"] + hearts["arch"] + hearts["carina"])
    assert set(airways["apex"] + airways["arch"]) == {1} and set(airways["heart"] + airways["base"]) == {0}
    assert set(airways["carina"]) <= {1, 2} and 2 in airways["carina"]


def test_the_abdomen_has_no_lungs_but_dark_gas():
    gas = 0
    for seed in range(20):
        drawing = make(seed, "abdomen")
        assert not drawing.mask.any()
        assert not {"left lung", "right lung", "heart", "trachea"} & set(drawing.structures)
        assert drawing.attributes == {"region": "abdomen", "window": drawing.attributes["window"]}
        inside = ndimage.binary_erosion(drawing.structures["body"], iterations=12)
        gas += (drawing.grey[inside] < np.median(drawing.grey[inside]) - 0.2).mean() > 0.005
    assert gas >= 12


def test_abdomen_and_chest_come_with_the_same_windows():
    for seed in range(12):
        assert make(seed, "abdomen").attributes["window"] == make(seed, "clear").attributes["window"]


# ------------------------------------------------------------------------------------ findings and counterfactuals


@pytest.mark.parametrize("finding", lung_ct.FINDINGS)
def test_the_same_streams_draw_the_same(finding):
    first, second = draw(5, finding), draw(5, finding)
    np.testing.assert_array_equal(first.grey, second.grey)
    np.testing.assert_array_equal(first.mask, second.mask)
    assert first.attributes == second.attributes
    assert not np.array_equal(first.grey, make(6, finding).grey)


@pytest.mark.parametrize("finding", ["nodule", "opacity", "effusion"])
def test_another_lesion_stream_draws_another_lesion_in_the_same_chest(finding):
    first, second = (
        lung_ct.draw(finding, replace(streams(4), lesion=np.random.default_rng(seed))) for seed in (98, 99)
    )
    assert not np.array_equal(first.grey, second.grey)
    for name in ("body", "ribs"):
        np.testing.assert_array_equal(first.structures[name], second.structures[name])


def test_streams_are_used_up_equally_whatever_the_finding():
    for seed in range(3):
        left_over = set()
        for finding in lung_ct.FINDINGS:
            given = streams(seed)
            lung_ct.draw(finding, given)
            left_over.add((given.anatomy.random(), given.acquisition.random()))
        assert len(left_over) == 1


@pytest.mark.parametrize("finding", ["nodule", "opacity", "effusion"])
def test_counterfactual_changes_the_lungs_alone(finding):
    for seed in range(15):
        _, clear, structures, _ = hounsfield(seed)
        _, ill, changed, _ = hounsfield(seed, finding)
        lung = structures["left lung"] | structures["right lung"]
        near = ndimage.binary_dilation(lung, iterations=6)  # where surfaces graze each other, partial volume is wide
        np.testing.assert_array_equal(clear.hu[~near], ill.hu[~near])
        assert np.abs(clear.hu - ill.hu)[lung].max() > 100
        for name in ("body", "ribs", "vertebra", "heart"):
            np.testing.assert_array_equal(structures[name] & ~lung, changed[name] & ~lung)
        assert make(seed, "clear").spacing_mm == make(seed, finding).spacing_mm
        if finding != "effusion":
            np.testing.assert_array_equal(make(seed, "clear").mask, make(seed, finding).mask)


def test_a_nodule_is_a_round_lump_of_soft_tissue_of_the_stated_size_and_side():
    for seed in range(25):
        _, clear, structures, _ = hounsfield(seed)
        _, ill, _, facts = hounsfield(seed, "nodule")
        raised = (ill.hu - clear.hu) > 100
        labels, count = ndimage.label(raised, np.ones((3, 3)))
        nodule = labels == 1 + np.argmax(np.bincount(labels.ravel())[1:])
        assert count and nodule.sum() >= 0.7 * raised.sum()
        assert (nodule & structures[f"{facts['side']} lung"]).sum() > 0.9 * nodule.sum()
        diameter = 2 * np.sqrt(nodule.sum() * ill.frame.mm_row * ill.frame.mm_col / np.pi)
        low, high = {"small": (3.5, 12), "medium": (8, 22), "large": (16, 33)}[facts["size"]]
        assert low < diameter < high, (seed, facts, diameter)
        assert ill.hu[nodule].max() > -100


def test_an_opacity_raises_the_density_of_its_side():
    for seed in range(20):
        _, clear, structures, _ = hounsfield(seed)
        _, ill, _, facts = hounsfield(seed, "opacity")
        for side in ("left", "right"):
            change = (ill.hu - clear.hu)[structures[f"{side} lung"]]
            if facts["side"] in (side, "both"):
                assert change.min() > -1e-9 and (change > 60).mean() > 0.05
            else:
                assert not change.any()


def test_fluid_lies_behind_the_lung_of_its_side():
    for seed in range(20):
        before = hounsfield(seed)[2]
        _, ill, after, facts = hounsfield(seed, "effusion")
        for side in ("left", "right"):
            lost = before[f"{side} lung"] & ~after[f"{side} lung"]
            if facts["side"] not in (side, "both"):
                assert not lost.any()
                continue
            assert lost.sum() > 0.04 * before[f"{side} lung"].sum()
            fluid = ndimage.binary_erosion(lost, iterations=2)
            if fluid.sum() > 30:
                assert -5 < np.median(ill.hu[fluid]) < 25
                assert ill.y[fluid].mean() > ill.y[after[f"{side} lung"]].mean()
        assert not ((after["left lung"] | after["right lung"]) & ~(before["left lung"] | before["right lung"])).any()
