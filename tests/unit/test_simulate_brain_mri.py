"""The brain MRI simulator: physics of the signal, the template, truth of masks and attributes, counterfactuals."""

import socket
from functools import cache, lru_cache

import numpy as np
import pytest
from scipy import ndimage

from medclipsam_utils.simulate import brain_mri, simulate
from medclipsam_utils.simulate.brain_mri import setup
from medclipsam_utils.simulate.brain_mri.scanner import Scanner, acquire
from medclipsam_utils.simulate.brain_mri.signal import TISSUES, Canvas, Sequence, Tissue
from medclipsam_utils.simulate.brain_mri.slices import Slice
from medclipsam_utils.simulate.brain_mri.template import CHANNELS, load_template, sample_hull, sample_tissue
from medclipsam_utils.simulate.brain_mri.tumours import SELLA, Tumour
from medclipsam_utils.simulate.fields import COLS, GRID, ROWS, Streams

TUMOURS = ["glioma", "meningioma", "pituitary"]
T1 = Sequence("T1-weighted", 500, 12)
CONTRAST = Sequence("contrast-enhanced T1-weighted", 500, 12, dose=1.0)
FLAIR = Sequence("FLAIR", 9000, 105, 2500)
T2 = Sequence("T2-weighted", 4500, 95)
STILL = Scanner((GRID, GRID), 0.0, 0.0, 0.0, 0.0, 0.5, 0.0, 1.0)


def streams(seed):
    return Streams(*(np.random.default_rng(child) for child in np.random.SeedSequence(seed).spawn(3)))


@lru_cache(maxsize=250)
def make(seed, finding):
    return brain_mri.draw(finding, streams(seed))


@cache
def where(seed):
    """Plane, whether an ordinary seed shows the sella, and where its ordinary slice lies in mm."""
    person = brain_mri._draw_person(streams(seed).anatomy)
    return person.plane, person.sellar, person.ordinary_mm


def brightness(drawing, *names):
    return [float(np.median(drawing.grey[drawing.structures[name]])) for name in names]


# ----------------------------------------------------------------------------------------------------------- signal


def test_spin_echo_signal_by_hand():
    # TR = T1 and TE = T2: 0.8 (1 - 1/e) / e.
    signal = Sequence("", 1000, 100).signal(Tissue(0.8, 1000, 100))
    assert signal == pytest.approx(0.8 * (1 - np.exp(-1)) * np.exp(-1))


def test_inversion_at_t1_times_ln_2_leaves_nothing():
    water = Tissue(1.0, 4000, 2000)
    assert Sequence("", 1e9, 1e-9, inversion=4000 * np.log(2)).signal(water) == pytest.approx(0, abs=1e-9)
    assert Sequence("", 1e9, 1e-9, inversion=1e-9).signal(water) == pytest.approx(1)


def test_contrast_agent_adds_to_the_rate_of_recovery():
    # 1 / T1' = 1 / 1000 + 1 * 1.0 / 1000 per ms: T1 halves.
    tumour = Tissue(1.0, 1000, 1e9, uptake=1.0)
    assert Sequence("", 500, 1, dose=1.0).signal(tumour) == pytest.approx(1 - np.exp(-1))
    assert Sequence("", 500, 1, dose=0.0).signal(tumour) == pytest.approx(1 - np.exp(-0.5))


def test_order_of_the_tissues_in_every_sequence():
    white, grey, fluid = ("white matter", "grey matter", "fluid")
    assert T1.signal("fat") > T1.signal(white) > T1.signal(grey) > T1.signal(fluid) > T1.signal("bone")
    assert FLAIR.signal(grey) > FLAIR.signal(white) > 3 * FLAIR.signal(fluid)
    assert T2.signal(fluid) > T2.signal(grey) > T2.signal(white)
    assert CONTRAST.signal("vein") > 1.2 * CONTRAST.signal(white) > T1.signal("vein")
    assert all(sequence.signal("air") == 0 for sequence in (T1, CONTRAST, FLAIR, T2))
    assert Sequence("", 500, 12, fat=0.25).signal("fat") == pytest.approx(0.25 * T1.signal("fat"))
    assert all(0 <= sequence.signal(name) <= 1 for sequence in (T1, CONTRAST, FLAIR, T2) for name in TISSUES)


def test_a_pixel_with_two_tissues_shows_their_mean_by_volume():
    canvas = Canvas(T1)
    canvas.paint(1.0, "grey matter")
    canvas.paint(np.full((2, 3), 0.25), "fat", (slice(4, 6), slice(7, 10)), 2.0)
    mixed = 0.75 * T1.signal("grey matter") + 0.25 * 2 * T1.signal("fat")
    np.testing.assert_allclose(canvas.signal[4:6, 7:10], mixed)
    np.testing.assert_allclose(canvas.signal[6:], T1.signal("grey matter"))


# ---------------------------------------------------------------------------------------------------------- scanner


def test_a_still_scanner_shows_what_is_there():
    signal = 0.5 + 0.4 * np.sin(2 * np.pi * 5 * COLS / GRID)
    np.testing.assert_allclose(acquire(signal, STILL, np.random.default_rng(0)), 0.5 * signal, atol=1e-5)


def test_detail_beyond_the_matrix_is_lost_and_edges_ripple():
    small = Scanner((GRID, 128), 0.0, 0.0, 0.0, 0.0, 0.5, 0.0, 1.0)
    stripes = 1 + 0.5 * np.cos(2 * np.pi * 80 * COLS / GRID)  # 80 periods; 128 samples carry at most 64
    assert acquire(stripes, small, np.random.default_rng(0)).std() < 1e-5
    assert acquire(stripes, STILL, np.random.default_rng(0)).std() > 0.1
    edge = acquire((COLS > 128).astype(float), small, np.random.default_rng(0))
    assert edge[128].max() > 1.05 * 0.5  # Gibbs: about 9 % of the step
    faded = Scanner((GRID, 128), 1.0, 0.0, 0.0, 0.0, 0.5, 0.0, 1.0)
    assert acquire((COLS > 128).astype(float), faded, np.random.default_rng(0))[128].max() < 1.02 * 0.5


def test_noise_in_air_is_rayleigh():
    noisy = Scanner((GRID, GRID), 0.0, 0.1, 0.0, 0.0, 1.0, 0.0, 1.0)
    air = acquire(np.zeros((GRID, GRID)), noisy, np.random.default_rng(0))
    assert air.mean() == pytest.approx(0.1 * np.sqrt(np.pi / 2), rel=0.01)
    assert air.std() == pytest.approx(0.1 * np.sqrt(2 - np.pi / 2), rel=0.02)


# --------------------------------------------------------------------------------------------------------- template


def test_the_template_is_read_without_a_network(monkeypatch):
    def refuse(*_):
        raise AssertionError("the template must not be downloaded")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    template = load_template.__wrapped__()
    assert template.packed.shape == (197, 233, 189)
    np.testing.assert_array_equal(template.packed, load_template().packed)


@pytest.mark.parametrize(
    ("point", "channel"),
    [
        ((24, -25, 35), "white matter"),
        ((-24, -25, 35), "white matter"),
        ((0, 26, 8), "white matter"),  # genu of the corpus callosum
        ((12, 10, 10), "grey matter"),  # caudate nucleus
        ((-28, 2, 0), "grey matter"),  # putamen
        ((8, -10, 24), "fluid"),  # body of the lateral ventricle
        ((0, -40, -32), "fluid"),  # fourth ventricle
    ],
)
def test_tissue_at_known_points_of_the_atlas(point, channel):
    shares = sample_tissue(np.array(point, float)[:, None])[:, 0]
    assert CHANNELS[int(np.argmax(shares[:3]))] == channel
    assert shares[3] > 0.3 if channel == "fluid" else shares[3] < 0.3  # nearness of the ventricles


def test_sampling_between_voxels_is_linear():
    ends = sample_tissue(np.array([[20.0, 21.0], [-30, -30], [40, 40]]))
    middle = sample_tissue(np.array([[20.25], [-30], [40]]))
    np.testing.assert_allclose(middle[:, 0], 0.75 * ends[:, 0] + 0.25 * ends[:, 1], atol=1e-5)


def test_the_hull_lies_around_the_brain():
    x, y = np.meshgrid(np.arange(-96.0, 96, 2), np.arange(-120.0, 92, 2))
    distance = sample_hull(np.stack([x, y, np.full_like(x, 20)]))
    brain = sample_tissue(np.stack([x, y, np.full_like(x, 20)]).reshape(3, -1))[:2].sum(axis=0).reshape(x.shape) > 0.5
    assert (distance[brain] < 2).all()
    assert distance[(np.abs(x) > 85) | (y > 80)].min() > 8
    across = distance[y[:, 0] == 0][0]
    assert across[np.abs(x[0]) > 74].min() > 3
    steps = np.diff(across)[(x[0][1:] > 72) & (x[0][1:] < 94)]
    np.testing.assert_allclose(steps, 2, atol=0.2)  # a distance grows by what is walked


# ------------------------------------------------------------------------------------------------------------ slice


@pytest.mark.parametrize("plane", ["axial", "coronal", "sagittal"])
def test_directions_on_the_screen(plane):
    points = Slice(plane, np.zeros(3), (0.0, 0.0, 0.0), 1.0, np.ones(3)).points
    right, down = points[:, 0, 1] - points[:, 0, 0], points[:, 1, 0] - points[:, 0, 0]
    expected = {
        "axial": ([-1, 0, 0], [0, -1, 0]),  # the patient's left is on the image's right, the face on top
        "coronal": ([-1, 0, 0], [0, 0, -1]),
        "sagittal": ([0, -1, 0], [0, 0, -1]),  # the face is on the left
    }[plane]
    np.testing.assert_allclose([right, down], expected)
    np.testing.assert_allclose(points.mean(axis=(1, 2)), 0, atol=1e-9)


def test_a_point_is_found_in_a_turned_slice_of_a_small_head():
    view = Slice("coronal", np.array([1.0, -5, 4]), (0.1, -0.2, 0.05), 0.9, np.array([0.9, 0.95, 0.85]))
    row, col, away = view.locate(view.points[:, 40, 200])
    np.testing.assert_allclose([row, col, away], [40, 200, 0], atol=1e-6)
    assert view.locate(SELLA)[2] > 1
    assert view.through(SELLA).locate(SELLA)[2] < 1e-9
    patient = (view.points[:, 10, 11] - view.points[:, 10, 10]) * view.scale
    assert np.linalg.norm(patient) == pytest.approx(0.9)


def test_mass_effect_by_hand():
    radius = np.hypot(ROWS - 128, COLS - 128) / 20
    flat = np.zeros((GRID, GRID))
    tumour = Tumour(
        radius, (128.0, 128.0), 20.0, 1.0, (0.75, 0.5), "skull", TISSUES["fat"], flat, flat, TISSUES["fat"], 1.0
    )
    moved = tumour.displaced(np.stack([ROWS, COLS, flat]), np.full((GRID, GRID), -50.0))
    # At u = 1 (20 pixels to the right) lies what was at u = sqrt(1 - 0.75) = 0.5, 10 pixels from the centre.
    np.testing.assert_allclose(moved[:, 128, 148], [128, 138, 0], atol=1e-6)
    source = 20 * np.sqrt(1.5**2 - 0.75 * np.exp(-0.5 / 0.5))
    np.testing.assert_allclose(moved[:, 128 + 30, 128], [128 + source, 128, 0], atol=1e-6)
    at_the_skull = tumour.displaced(np.stack([ROWS, COLS, flat]), flat)
    np.testing.assert_allclose(at_the_skull, np.stack([ROWS, COLS, flat]))


# ----------------------------------------------------------------------------------------------------------- images


def test_findings_are_probabilities_and_end_without_the_target():
    assert list(brain_mri.FINDINGS) == [*TUMOURS, "normal"]
    assert sum(brain_mri.FINDINGS.values()) == pytest.approx(1)
    assert np.sum([[axial, other] for _, axial, other in setup._PROTOCOLS], axis=0) == pytest.approx(1)


def test_grey_is_in_range_and_masks_fit_the_finding():
    for seed in range(60):
        finding = [*TUMOURS, "normal"][seed % 4]
        drawing = make(seed, finding)
        assert drawing.grey.shape == drawing.mask.shape == (GRID, GRID)
        assert np.isfinite(drawing.grey).all() and drawing.grey.min() >= 0 and drawing.grey.max() <= 1
        assert drawing.grey.std() > 0.03
        assert 0.74 <= drawing.spacing_mm[0] == drawing.spacing_mm[1] < 1.03
        assert drawing.structures["brain"].mean() > 0.04
        if finding == "normal":
            assert not drawing.mask.any() and set(drawing.attributes) == {"plane", "sequence"}
            continue
        assert ndimage.label(drawing.mask)[1] == 1
        assert 0.0006 < drawing.mask.mean() < 0.16, (seed, finding)
        assert not (drawing.mask & ~drawing.structures["head"]).any()


def test_structures_lie_where_they_should():
    for seed in range(24):
        structures = make(seed, "normal").structures
        brain = structures["brain"]
        np.testing.assert_array_equal(structures["white matter"] | structures["grey matter"], brain)
        assert not (structures["white matter"] & structures["grey matter"]).any()
        assert not (structures["ventricles"] & brain).any()
        assert (brain & ~structures["head"]).sum() < 20
        if "skull" in structures:
            assert not (structures["skull"] & brain).any() and not (structures["scalp"] & brain).any()
            assert not (structures["skull"] & structures["scalp"]).any()
            if where(seed)[0] == "axial" and not where(seed)[1] and where(seed)[2] > 0:
                cavity = ndimage.binary_fill_holes(structures["skull"]) & ~structures["skull"]
                assert (brain & cavity).sum() > 0.99 * brain.sum()
                assert brain.sum() > 0.7 * cavity.sum()


def test_eyes_are_in_low_axial_slices_only():
    low = high = 0
    for seed in range(60):
        plane, sellar, ordinary_mm = where(seed)
        eyes = make(seed, "normal").structures.get("eyes")
        if plane == "axial" and eyes is not None:
            low += sellar and eyes.any()
            high += not sellar and ordinary_mm > 5 and eyes.any()
    assert low >= 5 and high == 0


def test_faces_are_on_top_but_in_some_stripped_axial_slices():
    for seed in range(60):
        structures = make(seed, "normal").structures
        if where(seed)[0] == "axial" and "eyes" in structures and structures["eyes"].any():
            assert np.nonzero(structures["eyes"])[0].mean() < np.nonzero(structures["brain"])[0].mean()
    turned = {}
    for plane in ("axial", "coronal", "sagittal"):
        setups = [brain_mri.draw_setup(np.random.default_rng(seed), plane) for seed in range(400)]
        turned[plane] = {(setup.stripped, setup.upside_down) for setup in setups}
    assert turned["axial"] == {(False, False), (True, False), (True, True)}
    assert turned["coronal"] == turned["sagittal"] == {(False, False), (True, False)}


def test_tissue_contrast_of_the_images():
    order = {
        "T1-weighted": ("white matter", "grey matter", "ventricles"),
        "contrast-enhanced T1-weighted": ("white matter", "ventricles"),  # vessels lie in the grey matter
        "FLAIR": ("grey matter", "white matter", "ventricles"),
        "T2-weighted": ("ventricles", "grey matter", "white matter"),
    }
    seen = set()
    for seed in range(60):
        drawing = make(seed, "normal")
        if drawing.structures["ventricles"].sum() < 150 or where(seed)[1]:
            continue  # the choroid plexus outweighs a small ventricle
        levels = brightness(drawing, *order[drawing.attributes["sequence"]])
        assert levels == sorted(levels, reverse=True), (seed, drawing.attributes)
        seen.add(drawing.attributes["sequence"])
    assert len(seen) >= 2


def test_skull_stripped_images_are_black_around_the_brain():
    stripped = [make(seed, "normal") for seed in range(60) if "skull" not in make(seed, "normal").structures]
    assert 3 <= len(stripped) <= 25
    for drawing in stripped:
        far = ~ndimage.binary_dilation(drawing.structures["brain"], iterations=12)
        assert drawing.grey[far].mean() < 0.07
        assert drawing.grey[drawing.structures["brain"]].mean() > 2.5 * drawing.grey[far].mean()


# --------------------------------------------------------------------------------------------------- counterfactuals


@pytest.mark.parametrize("finding", list(brain_mri.FINDINGS))
def test_the_same_streams_draw_the_same(finding):
    again = brain_mri.draw(finding, streams(5))
    np.testing.assert_array_equal(make(5, finding).grey, again.grey)
    np.testing.assert_array_equal(make(5, finding).mask, again.mask)
    assert make(5, finding).attributes == again.attributes
    assert not np.array_equal(again.grey, make(6, finding).grey)


def test_a_tumour_outside_of_the_head_is_drawn_again():
    """The first meningioma of this seed would lie beyond the skull."""
    assert simulate("brain_mri", 2_601_507, finding="meningioma").mask.sum() > 100


def test_streams_are_used_up_equally_whatever_the_finding():
    for seed in range(4):
        left_over = set()
        for finding in brain_mri.FINDINGS:
            used = streams(seed)
            brain_mri.draw(finding, used)
            left_over.add((used.anatomy.random(), used.acquisition.random()))
        assert len(left_over) == 1


@pytest.mark.parametrize("finding", TUMOURS)
def test_a_tumour_changes_its_neighbourhood_alone(finding):
    compared = 0
    for seed in range(30):
        if finding == "pituitary" and not where(seed)[1]:
            continue
        healthy, ill = make(seed, "normal"), make(seed, finding)
        assert healthy.spacing_mm == ill.spacing_mm
        assert {k: ill.attributes[k] for k in healthy.attributes} == healthy.attributes
        for name in healthy.structures.keys() & {"head", "skull", "scalp", "eyes"}:
            np.testing.assert_array_equal(healthy.structures[name], ill.structures[name])
        ill_part = ill.mask | ill.structures["tumour"] | ill.structures["oedema"]
        reach = 8 + np.sqrt(ill.structures["tumour"].sum())  # pixels; about 1.8 radii
        far = ndimage.distance_transform_edt(~ill_part) > reach
        change = np.abs(healthy.grey - ill.grey)
        assert change[far].mean() < 0.002, seed
        assert change[ill_part].mean() > 8 * change[far].mean()
        compared += 1
    assert compared >= 8


def test_big_tumours_push_the_brain_aside():
    pushed = []
    for seed in range(30):
        healthy, ill = make(seed, "normal"), make(seed, "meningioma")
        around = ndimage.binary_dilation(ill.mask, iterations=12) & ~ndimage.binary_dilation(ill.mask, iterations=2)
        if ill.mask.mean() > 0.015 and ill.attributes["sequence"] != "FLAIR":
            was, now = (drawing.structures["white matter"][around] for drawing in (healthy, ill))
            pushed.append((was != now).mean())
    assert len(pushed) >= 4 and np.mean(pushed) > 0.04


def test_a_low_slice_does_not_give_the_finding_away():
    assert 0.25 < np.mean([where(seed)[1] for seed in range(100)]) < 0.55
    for seed in range(12):
        person = brain_mri._draw_person(streams(seed).anatomy)
        setup = brain_mri.draw_setup(streams(seed).acquisition, person.plane)
        views = {finding: person.slice_for(finding, setup) for finding in brain_mri.FINDINGS}
        assert views["pituitary"].locate(SELLA)[2] < 7
        for finding in ("glioma", "meningioma"):
            np.testing.assert_array_equal(views[finding].points, views["normal"].points)
        assert np.array_equal(views["pituitary"].points, views["normal"].points) == person.sellar


# ----------------------------------------------------------------------------------------------- truth of attributes


@pytest.mark.parametrize("finding", TUMOURS)
def test_side_size_place_and_signal_are_true(finding):
    for seed in range(30):
        drawing = make(seed, finding)
        facts, share = drawing.attributes, drawing.mask.mean()
        assert facts["size"] == ("small" if share < 0.008 else "medium" if share < 0.025 else "large")
        assert ("side" in facts) == (facts["plane"] != "sagittal" or finding == "pituitary")
        columns = np.nonzero(drawing.mask)[1].mean() - np.nonzero(drawing.structures["head"])[1].mean()
        if facts["plane"] != "sagittal":
            side = facts["side"]
            assert {"left": columns > -3, "right": columns < 3, "midline": abs(columns) < 22}[side], (
                seed,
                facts,
                columns,
            )
        assert (facts.get("place") == "sellar") == (finding == "pituitary")
        rest = drawing.structures["brain"] & ~drawing.structures["tumour"] & ~drawing.structures["oedema"]
        contrast = drawing.grey[drawing.mask].mean() / drawing.grey[rest].mean()
        low, high = {"bright": (1.15, 99), "dark": (0, 0.87), "mixed": (0, 99), None: (0.87, 1.15)}[facts.get("signal")]
        assert low - 1e-9 <= contrast <= high + 1e-9
        assert facts.get("signal") != "mixed" or finding == "glioma"
        assert (facts.get("attachment") in ("skull", "falx")) == (finding == "meningioma")


@pytest.mark.parametrize(
    ("point", "place"),
    [
        ((-35, 45, 20), "frontal"),
        ((30, 10, 50), "frontal"),
        ((-52, -15, -20), "temporal"),
        ((45, 8, -32), "temporal"),
        ((30, -55, 50), "parietal"),
        ((-50, -35, 40), "parietal"),
        ((20, -92, 5), "occipital"),
        ((-25, -60, -40), "cerebellar"),
        ((0, -65, -20), "cerebellar"),
        ((12, -18, 8), ""),  # thalamus
        ((0, -25, -30), ""),  # pons
    ],
)
def test_lobes_at_known_points_of_the_atlas(point, place):
    assert brain_mri.region(*point) == place


def test_masks_follow_the_conventions_of_the_collections():
    wet = 0
    for seed in range(30):
        drawing = make(seed, "glioma")
        tumour, oedema = drawing.structures["tumour"], drawing.structures["oedema"]
        assert not (tumour & oedema).any()
        if drawing.attributes["sequence"] == "FLAIR":
            assert not (drawing.mask & ~(tumour | oedema)).any()
            wet += (drawing.mask & oedema).sum() > 0.1 * drawing.mask.sum()
        else:
            np.testing.assert_array_equal(drawing.mask, tumour)
        present = oedema.sum() > 0.15 * tumour.sum()
        assert drawing.attributes["oedema"] == ("present" if present else "absent")
    assert wet >= 3


def test_tumours_look_like_themselves():
    def contrasts(finding, sequence, part):
        drawings = [make(seed, finding) for seed in range(45 if sequence == "FLAIR" else 30)]
        chosen = [d for d in drawings if d.attributes["sequence"] == sequence and part in d.structures]
        assert len(chosen) >= 4
        return np.array([np.divide(*brightness(d, part, "brain")) for d in chosen if d.structures[part].sum() > 30])

    contrast = "contrast-enhanced T1-weighted"
    assert (contrasts("meningioma", contrast, "enhancing") > 1.05).mean() > 0.9
    assert (contrasts("pituitary", contrast, "enhancing") > 1.0).mean() > 0.85
    assert (contrasts("glioma", contrast, "oedema") < 1.02).mean() > 0.8
    assert (contrasts("glioma", "FLAIR", "oedema") > 1.1).mean() > 0.9


def test_meningiomas_touch_the_skull_and_gliomas_lie_in_the_brain():
    for seed in range(30):
        meningioma, glioma = make(seed, "meningioma"), make(seed, "glioma")
        if meningioma.attributes["attachment"] == "skull" and "skull" in meningioma.structures:
            near_bone = ndimage.binary_dilation(meningioma.structures["skull"], iterations=5)
            assert (meningioma.mask & near_bone).any(), seed
        if "skull" in glioma.structures:
            assert (glioma.mask & glioma.structures["skull"]).sum() < 0.02 * glioma.mask.sum()
        assert (
            not (glioma.mask & make(seed, "normal").structures["eyes"]).any() if "eyes" in glioma.structures else True
        )
