"""Metrics against values worked out by hand, plain versions written here, and what must hold for every input."""

from __future__ import annotations

import math
import subprocess
import sys
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from torch.nn import functional as F

from medclipsam_utils.metrics import (
    Interval,
    PairedTest,
    bootstrap_interval,
    dice,
    negation_auc,
    nsd,
    nsd_released,
    paired_test,
    retrieval_accuracy,
    zero_shot,
)

SCORES = [dice, nsd, nsd_released]
ROWS, COLUMNS = np.mgrid[:96, :96]
EMPTY = np.zeros((96, 96), bool)

shapes = st.tuples(st.integers(1, 12), st.integers(1, 12))
pairs = shapes.flatmap(lambda shape: st.tuples(arrays(bool, shape), arrays(bool, shape)))
spacings = st.tuples(st.sampled_from([0.25, 0.5, 1.0, 3.0]), st.sampled_from([0.5, 1.0, 2.0]))
tolerances = st.sampled_from([0.0, 0.5, 1.0, 2.0, 3.5])


@pytest.fixture(autouse=True)
def no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def disc(radius, row=48, column=48, spacing=(1, 1)):
    return np.hypot((ROWS - row) * spacing[0], (COLUMNS - column) * spacing[1]) <= radius


def rectangle(top, left, height, width):
    mask = EMPTY.copy()
    mask[top : top + height, left : left + width] = True
    return mask


def plain_surface_dice(pred, true, tolerance, spacing, length):
    """The definition in float64 loops: corners of pixels, ``length`` of the outline in a 2 × 2 block, all distances."""
    outlines = []
    for mask in (pred, true):
        padded = np.pad(mask, 1)
        corners = {}
        for row in range(padded.shape[0] - 1):
            for column in range(padded.shape[1] - 1):
                block = padded[row : row + 2, column : column + 2]
                piece = length(block, spacing)
                if piece:
                    corners[row * spacing[0], column * spacing[1]] = piece
        outlines.append(corners)
    near = total = 0.0
    for own, other in (outlines, outlines[::-1]):
        points = np.array(list(other))
        for point, piece in own.items():
            distance = np.hypot(*(points - point).T).min()
            near += piece * (distance <= tolerance + 1e-9)
            total += piece
    return near / total


def contour_length(block, spacing):
    """Marching squares: a straight cut, one cut corner, or two of them."""
    filled = block.sum()
    if filled in (0, 4):
        return 0.0
    if filled == 2:
        if block[0].all() or block[1].all():
            return spacing[1]  # runs along the columns
        if block[:, 0].all() or block[:, 1].all():
            return spacing[0]
        return math.hypot(*spacing)
    return 0.5 * math.hypot(*spacing)


def slab_area(block, spacing):
    """Surface of a one-voxel slab around a corner of its upper face; only the blocks that rectangles have."""
    return {0: 0.0, 1: math.sqrt(3) / 8, 2: math.sqrt(2) / 2, 4: 1.0}[int(block.sum())]


def test_importing_the_metrics_is_quick():
    program = (
        "import sys, medclipsam_utils.metrics; sys.exit(bool({'torch', 'monai', 'scipy.stats'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0


# Dice


@pytest.mark.parametrize(
    ("pred", "true", "expected"),
    [
        ([[1, 1, 0, 0]], [[0, 1, 1, 0]], 0.5),
        ([[1, 1, 1, 0]], [[0, 0, 1, 0]], 0.5),
        ([[1, 0], [0, 0]], [[0, 0], [0, 1]], 0.0),
        ([[1, 0], [1, 1]], [[1, 0], [1, 1]], 1.0),
        ([[1, 1], [1, 1]], [[1, 0], [0, 0]], 0.4),
    ],
)
@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int64, np.float32])
def test_dice_by_hand(pred, true, expected, dtype):
    score = dice(np.array(pred, dtype), np.array(true))
    assert score == expected and type(score) is float


def test_dice_of_large_small_integers_does_not_overflow():
    assert dice(np.ones((300, 300), np.uint8), np.ones((300, 300), np.int8)) == 1


# Normalised surface Dice


def test_concentric_discs_expose_the_released_nsd():
    small, large = disc(30), disc(36)
    assert nsd(small, large) == 0
    assert nsd_released(small, large) == pytest.approx(0.884, abs=5e-4)
    assert nsd(small, large, tolerance_mm=7) == 1


@pytest.mark.parametrize(("distance_mm", "agrees"), [(1.0, True), (1.5, True), (2.0, False)])
def test_discs_whose_outlines_are_a_known_distance_apart(distance_mm, agrees):
    """In millimetres, on pixels that are not square; a pixelled outline is off by at most half a pixel's diagonal."""
    spacing = (0.25, 0.5)
    slack = 0.5 * math.hypot(*spacing)
    small, large = disc(9, spacing=spacing), disc(9 + distance_mm, spacing=spacing)
    assert nsd(small, large, distance_mm + 2 * slack, spacing) == 1
    assert nsd(small, large, distance_mm - 2 * slack, spacing) == 0
    assert (nsd(small, large, 1.75, spacing) > 0.5) == agrees


@pytest.mark.parametrize("spacing", [(0.2, 0.2), (0.15, 0.3), (0.3, 0.15)])
@pytest.mark.parametrize(("shift_mm", "tolerance_mm"), [(9.6, 4.4), (9.6, 6.2), (16.8, 6.6), (4.8, 5.0)])
def test_shifted_discs_match_finely_sampled_circles(spacing, shift_mm, tolerance_mm):
    """A point of one circle is as far from the other as its distance to the other's centre differs from the radius."""
    radius = 40
    rows, columns = np.mgrid[-48 : 48 : spacing[0], -48 : 64.8 : spacing[1]]
    masks = [np.hypot(rows, columns - shift) <= radius for shift in (0, shift_mm)]
    angle = np.linspace(0, 2 * np.pi, 100_000, endpoint=False)
    distance = np.abs(np.hypot(radius * np.cos(angle) - shift_mm, radius * np.sin(angle)) - radius)
    expected = (distance <= tolerance_mm).mean()
    assert nsd(*masks, tolerance_mm, spacing) == pytest.approx(expected, abs=0.04)


@pytest.mark.parametrize("spacing", [(1.0, 1.0), (0.5, 2.0), (2.0, 0.5)])
def test_shifted_rectangle_by_hand(spacing):
    """A rectangle of h × w mm is moved sideways by d; with tolerance t < d its sides disagree but for the corners.

    Of the side that lies outside the other rectangle nothing is near, nor d - t of each edge that leads to it; of the
    side that lies inside, t at either end is near. Both masks are alike: 1 - (2 h + 2 d - 4 t) / (2 h + 2 w).
    """
    height, width, shift, tolerance = 60 * spacing[0], 50 * spacing[1], 10 * spacing[1], 4.0
    expected = 1 - (2 * height + 2 * shift - 4 * tolerance) / (2 * height + 2 * width)
    masks = rectangle(10, 10, 60, 50), rectangle(10, 20, 60, 50)
    assert nsd(*masks, tolerance, spacing) == pytest.approx(expected, abs=2 * max(spacing) / (height + width))
    assert nsd(*masks, shift, spacing) == 1


def test_spacing_is_rows_then_columns():
    tall, moved = rectangle(20, 20, 30, 30), rectangle(23, 20, 30, 30)
    assert nsd(tall, moved, 2.0, (0.5, 5.0)) == 1
    # Now 15 mm apart: of 330 mm around, the sides agree over 27 of 30 rows, the edges but for 2 mm at either end not.
    assert nsd(tall, moved, 2.0, (5.0, 0.5)) == pytest.approx((2 * 135 + 4) / 330, abs=0.02)


def test_a_distance_equal_to_the_tolerance_counts_despite_rounding():
    left, right = rectangle(20, 20, 30, 30), rectangle(20, 23, 30, 30)
    for step in (0.1, 0.3, 0.7, 1 / 3):
        assert nsd(left, right, 3 * step, (step, step)) == 1


@settings(max_examples=40, deadline=None)
@given(pairs, tolerances, spacings)
def test_nsd_matches_the_plain_definition(masks, tolerance, spacing):
    if masks[0].any() and masks[1].any():
        expected = plain_surface_dice(*masks, tolerance, spacing, contour_length)
        assert nsd(*masks, tolerance, spacing) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("tolerance", [0, 1, 2, 3])
def test_nsd_released_matches_a_plain_slab(tolerance):
    """Both faces of a slab are alike and one voxel apart, so that one face with its distances in the plane will do."""
    masks = rectangle(8, 6, 12, 14)[:32, :32], rectangle(5, 9, 13, 17)[:32, :32]
    expected = plain_surface_dice(*masks, tolerance, (1, 1), slab_area)
    assert nsd_released(*masks, tolerance) == pytest.approx(expected, abs=1e-6)
    assert expected > 0.5 > nsd(*masks, 1)


@settings(max_examples=40, deadline=None)
@given(pairs, tolerances, spacings)
def test_scores_are_symmetric_between_0_and_1_and_never_nan(masks, tolerance, spacing):
    pred, true = masks
    for score in (dice, lambda *m: nsd(*m, tolerance, spacing), lambda *m: nsd_released(*m, tolerance)):
        value = score(pred, true)
        assert type(value) is float and 0 <= value <= 1
        assert value == pytest.approx(score(true, pred), abs=1e-6)
        assert score(pred, pred) == 1
        if pred.any() != true.any():
            assert value == 0


@settings(max_examples=40, deadline=None)
@given(pairs, tolerances, spacings)
def test_position_orientation_and_unit_do_not_matter(masks, tolerance, spacing):
    value = nsd(*masks, tolerance, spacing)
    moved = (np.pad(mask, ((2, 1), (0, 5))) for mask in masks)
    assert nsd(*moved, tolerance, spacing) == pytest.approx(value, abs=1e-6)
    turned = (mask.T for mask in masks)
    assert nsd(*turned, tolerance, spacing[::-1]) == pytest.approx(value, abs=1e-6)
    assert nsd(*masks, 8 * tolerance, tuple(8 * step for step in spacing)) == pytest.approx(value, abs=1e-6)
    assert nsd(*masks, tolerance + 1, spacing) >= value - 1e-6


@pytest.mark.parametrize("score", SCORES)
def test_empty_masks(score):
    assert score(EMPTY, EMPTY) == 1
    assert score(EMPTY, disc(10)) == score(disc(10), EMPTY) == 0


@pytest.mark.parametrize("score", SCORES)
def test_a_mask_that_fills_the_image_and_a_single_pixel(score):
    assert score(~EMPTY, ~EMPTY) == score([[1]], [[1]]) == 1
    assert 0 <= score(~EMPTY, rectangle(40, 40, 5, 5)) < 0.4


@pytest.mark.parametrize("score", SCORES)
@pytest.mark.parametrize(
    ("pred", "message"),
    [
        (disc(9) * 255, r"pred has other values than 0 and 1 \(255\): threshold it: mask > 0$"),
        (disc(9) * 0.25, r"\(0.25\): probabilities are not a mask, threshold it: mask > 0.5"),
        (ROWS, r"\(2, 3, 4, …\): threshold it: mask > 0"),
        (-disc(9).astype(int), r"\(-1\): threshold it"),
        (np.where(disc(9), np.inf, 0), r"\(inf\)"),
        (np.where(disc(2), np.nan, 0), r"pred has 13 NaN values: find out .* np.nan_to_num"),
        (disc(9)[None], r"pred has shape \(1, 96, 96\), a mask is \[H, W\]: take one image .* mask\[0\]"),
        (disc(9)[0], r"pred has shape \(96,\)"),
        (np.zeros((0, 96)), r"pred has shape \(0, 96\), so no pixels"),
        (disc(9)[:48], r"pred has shape \(48, 96\) and true has shape \(96, 96\): bring .* nearest neighbours"),
        (disc(9).astype(str), r"pred has values of type <U5: give bool"),
        (disc(9).astype(complex), r"pred has values of type complex128"),
    ],
)
def test_what_is_not_a_mask_is_refused(score, pred, message):
    with pytest.raises(ValueError, match=message):
        score(pred, disc(9))


def test_the_second_mask_is_checked_alike():
    for score in SCORES:
        with pytest.raises(ValueError, match="true has other values"):
            score(EMPTY, disc(9) * 255)


@pytest.mark.parametrize("tolerance", [-1, math.nan, math.inf, "2", None])
def test_a_bad_tolerance_is_refused(tolerance):
    for score, name in ((nsd, "tolerance_mm"), (nsd_released, "tolerance")):
        with pytest.raises(ValueError, match=f"^{name} is {tolerance!r}: give a finite number, 0 or more"):
            score(EMPTY, EMPTY, tolerance)


@pytest.mark.parametrize("spacing", [(0, 1), (1, -1), (1, math.nan), (math.inf, 1), (1, 1, 1), (1,), 1, None, ("a", 1)])
def test_a_bad_spacing_is_refused(spacing):
    with pytest.raises(
        ValueError, match=r"spacing_mm is .*: give two positive numbers, .* \(1, 1\) measures in pixels"
    ):
        nsd(EMPTY, EMPTY, spacing_mm=spacing)


def test_masks_are_left_as_they_were_and_spacing_may_be_of_any_kind():
    pred, true = disc(20), disc(21)
    for mask in (pred, true):
        mask.flags.writeable = False
    values = {nsd(pred, true, 1, s) for s in [(1, 2.0), [1, 2], np.array([1, 2]), (np.float32(1), np.int64(2))]}
    assert len(values) == 1
    assert (pred == disc(20)).all() and (true == disc(21)).all()


# Retrieval


def plain_retrieval(images, texts, k, order, batch_size):
    """Hits by sorting, one query at a time; for features without ties."""
    hits = [[], []]
    for start in range(0, len(order) - batch_size + 1, batch_size):
        batch = order[start : start + batch_size]
        for direction, (queries, items) in enumerate(((images, texts), (texts, images))):
            for query in batch:
                cosines = {
                    item: queries[query] @ items[item] / math.sqrt(queries[query] @ queries[query])
                    / math.sqrt(items[item] @ items[item])
                    for item in batch
                }  # fmt: skip
                first = sorted(cosines, key=cosines.get, reverse=True)[:k]
                hits[direction].append(query in first)
    return np.mean(hits, axis=1)


def noisy_pairs(n, noise, dimension=6, seed=0):
    generator = np.random.default_rng(seed)
    images = generator.standard_normal((n, dimension))
    return images, images + noise * generator.standard_normal((n, dimension))


def test_retrieval_by_hand():
    """Directions in the plane: the nearer in angle, the more similar.

    Images find their own text on rank 3 (40° away, others 3° and 21°), 1 (7°; 30°, 11°) and 1 (1°; 20°, 17°); texts
    find their own image on rank 3 (40°; 30°, 20°), 2 (7°; 3°, 17°) and 1 (1°; 21°, 11°).
    """
    images, texts = (np.stack([np.cos(a), np.sin(a)], 1) for a in np.deg2rad([[0, 10, 20], [40, 3, 21]]))
    result = retrieval_accuracy(images, texts, k=(1, 2, 3), batch_size=3)
    assert result.image_to_text == pytest.approx({1: 2 / 3, 2: 2 / 3, 3: 1})
    assert result.text_to_image == pytest.approx({1: 1 / 3, 2: 2 / 3, 3: 1})
    assert result.image_to_text_std == result.text_to_image_std == {1: 0, 2: 0, 3: 0}
    assert (result.n_pairs, result.batch_size) == (3, 3)
    assert result.image_to_text_hits[1].tolist() == [0, 1, 1] and result.text_to_image_hits[2].tolist() == [0, 1, 1]


def test_captions_that_are_the_same_are_equally_right():
    """Image 0 is nearest to text 1, which reads like its own: right. Image 2 has a caption of its own, on rank 3."""
    images, texts = (np.stack([np.cos(a), np.sin(a)], 1) for a in np.deg2rad([[0, 10, 20], [40, 3, 21 + 60]]))
    alone = retrieval_accuracy(images, texts, k=(1, 2), batch_size=3)
    twins = retrieval_accuracy(images, texts, k=(1, 2), batch_size=3, captions=["a tumour", "a tumour", "lungs"])
    # Angles of images to texts: 40 3 81 | 30 7 71 | 20 17 61. Own: ranks 2, 1, 3. With twins 1, 1, 3.
    assert alone.image_to_text == pytest.approx({1: 1 / 3, 2: 2 / 3})
    assert twins.image_to_text == pytest.approx({1: 2 / 3, 2: 2 / 3})
    # Texts to images: 40 30 20 | 3 7 17 | 81 71 61. Own: ranks 3, 2, 1. With twins: text 0 finds image 1 on rank 2.
    assert alone.text_to_image == pytest.approx({1: 1 / 3, 2: 2 / 3})
    assert twins.text_to_image == pytest.approx({1: 2 / 3, 2: 1})
    with pytest.raises(ValueError, match="2 captions for 3 pairs"):
        retrieval_accuracy(images, texts, k=(1,), batch_size=3, captions=["a", "b"])


def test_ties_between_right_and_wrong_are_broken_by_lot():
    """All features equal: k of 6 places by lot, and a query has one or two right items among them."""
    same = np.ones((6, 2))
    result = retrieval_accuracy(same, same, k=(1, 2, 5, 6), batch_size=6, captions=list("aabbcc"))
    expected = {1: 2 / 6, 2: 1 - 4 / 6 * 3 / 5, 5: 1, 6: 1}
    assert result.image_to_text == result.text_to_image == pytest.approx(expected)


def test_zero_shot_by_hand():
    prompts = {"up": [[0, 2.0], [0, 1]], "right": [[1, 0]], "both": [[3, 0], [0, 1]]}
    result = zero_shot([[0, 5], [1, 0.1], [1, 1.2]], prompts)
    assert result.classes == ("up", "right", "both") and result.answers == ["up", "right", "both"]
    assert result.similarity[0] == pytest.approx([1, 0, 0.5**0.5])
    assert result.accuracy(["up", "right", "up"]) == pytest.approx(2 / 3)
    for truth, says in ((["up"], "1 true classes for 3"), (["up", "left", "up"], "'left' is not among the classes")):
        with pytest.raises(ValueError, match=says):
            result.accuracy(truth)
    with pytest.raises(ValueError, match="two classes or more"):
        zero_shot([[0, 1]], {"up": [[0, 1]]})
    with pytest.raises(ValueError, match="different length"):
        zero_shot([[0, 1]], {"up": [[0, 1, 0]], "down": [[0, -1, 0]]})
    with pytest.raises(ValueError, match=r"prompts of 'down'.*all zeros"):
        zero_shot([[0, 1]], {"up": [[0, 1]], "down": [[0, 0]]})


def test_retrieval_matches_the_plain_loop_and_leaves_the_rest_of_the_last_batch_out():
    images, texts = noisy_pairs(57, noise=0.8)
    result = retrieval_accuracy(images, texts, k=(1, 3), batch_size=10, runs=4, seed=5)
    generator = np.random.default_rng(5)
    orders = [generator.permutation(57) for _ in range(4)]
    for k in (1, 3):
        plain = np.array([plain_retrieval(images, texts, k, order, 10) for order in orders])
        assert 0.2 < plain.mean() < 0.95
        assert (result.image_to_text[k], result.text_to_image[k]) == pytest.approx(tuple(plain.mean(axis=0)))
        assert (result.image_to_text_std[k], result.text_to_image_std[k]) == pytest.approx(tuple(plain.std(axis=0)))
    assert (result.n_pairs, result.batch_size) == (50, 10)


def test_hits_by_pair_are_means_over_the_runs_that_a_pair_was_in():
    images, texts = noisy_pairs(29, noise=0.8)
    result = retrieval_accuracy(images, texts, k=(1, 2), batch_size=10, runs=2, seed=1)
    generator = np.random.default_rng(1)
    unit = texts / np.linalg.norm(texts, axis=1, keepdims=True)
    scores = [[] for _ in range(29)]
    for _ in range(2):
        for batch in generator.permutation(29)[:20].reshape(2, 10):
            for own in batch:
                scores[own].append(max(batch, key=lambda other: images[own] @ unit[other]) == own)
    expected = [np.mean(found) if found else np.nan for found in scores]
    assert {len(found) for found in scores} == {0, 1, 2}
    np.testing.assert_allclose(result.image_to_text_hits[1], expected)
    assert (result.image_to_text_hits[2] >= result.image_to_text_hits[1])[~np.isnan(expected)].all()


def test_own_features_are_always_found_and_the_defaults_are_the_papers():
    images, _ = noisy_pairs(120, noise=0)
    result = retrieval_accuracy(images, images)
    assert result.image_to_text == result.text_to_image == {1: 1.0, 2: 1.0}
    assert (result.n_pairs, result.batch_size) == (100, 50)


def test_constant_features_score_chance_not_full_marks():
    """Vectors of one direction and several lengths, so that cosines are equal but for rounding."""
    lengths = np.random.default_rng(0).uniform(0.1, 10, (2, 100, 1))
    same = lengths * np.random.default_rng(1).standard_normal(300)
    result = retrieval_accuracy(*same, k=(1, 2, 50))
    assert result.image_to_text == result.text_to_image == pytest.approx({1: 1 / 50, 2: 2 / 50, 50: 1})
    one_sided = retrieval_accuracy(noisy_pairs(100, 0, dimension=300)[0], same[1])
    assert one_sided.image_to_text[1] == pytest.approx(1 / 50)
    assert one_sided.text_to_image[1] == pytest.approx(1 / 50)


def test_a_caption_that_occurs_twice_is_half_a_hit():
    """Texts 2 and 3 are equal: image 2 finds its own by lot; to image 3 all four texts are equally unlike."""
    images, texts = np.eye(4), np.eye(4)
    texts[3] = texts[2]
    result = retrieval_accuracy(images, texts, batch_size=4)
    assert result.image_to_text == pytest.approx({1: (1 + 1 + 1 / 2 + 1 / 4) / 4, 2: (1 + 1 + 1 + 2 / 4) / 4})
    assert result.text_to_image == pytest.approx({1: (1 + 1 + 1 + 0) / 4, 2: (1 + 1 + 1 + 1 / 3) / 4})


def test_unrelated_features_score_about_chance():
    images, texts = noisy_pairs(1000, noise=0, seed=1)[0], noisy_pairs(1000, noise=0, seed=2)[0]
    result = retrieval_accuracy(images, texts, k=(1, 10))
    assert result.image_to_text[1] == pytest.approx(0.02, abs=0.01)
    assert result.image_to_text[10] == pytest.approx(0.2, abs=0.04)


def test_directions_change_places_with_the_arguments():
    images, texts = noisy_pairs(60, noise=1)
    there, back = (retrieval_accuracy(*pair, batch_size=20) for pair in ((images, texts), (texts, images)))
    assert there.image_to_text == back.text_to_image != there.text_to_image


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0.01, 100))
def test_lengths_of_features_do_not_matter_and_more_are_found_among_more(seed, scale):
    images, texts = noisy_pairs(24, noise=1, seed=seed)
    result = retrieval_accuracy(images, texts, k=(1, 2, 4, 8), batch_size=8, seed=seed)
    lengths = np.random.default_rng(seed).uniform(0.1, 10, (24, 1)) * scale
    assert retrieval_accuracy(images * lengths, texts / lengths, k=(1, 2, 4, 8), batch_size=8, seed=seed) == result
    assert list(result.image_to_text.values()) == sorted(result.image_to_text.values())
    assert result.image_to_text[8] == 1


def test_tensors_of_any_precision_do_as_well_as_arrays():
    images, texts = noisy_pairs(60, noise=1)
    expected = retrieval_accuracy(images, texts, batch_size=20)
    tensors = [torch.tensor(features, requires_grad=True) for features in (images, texts)]
    assert retrieval_accuracy(*tensors, batch_size=20) == expected
    half = retrieval_accuracy(*(tensor.bfloat16() for tensor in tensors), batch_size=20)
    assert half.image_to_text[1] == pytest.approx(expected.image_to_text[1], abs=0.05)


def test_the_seed_makes_the_shuffle():
    images, texts = noisy_pairs(90, noise=1)
    results = [retrieval_accuracy(images, texts, batch_size=20, runs=1, seed=seed) for seed in (3, 3, 4)]
    assert results[0] == results[1] != results[2]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"image_features": np.ones((49, 4)), "text_features": np.ones((49, 4))}, "49 pairs do not fill .* 50: .*=49"),
        ({"text_features": np.ones((59, 4))}, r"shape \(60, 4\) and text_features \(59, 4\): give one row per pair"),
        ({"text_features": np.ones((60, 5))}, r"shape \(60, 4\) and text_features \(60, 5\)"),
        ({"image_features": np.ones(60)}, r"image_features has shape \(60,\): .* \[N, D\]"),
        ({"image_features": np.ones((60, 0))}, r"image_features has shape \(60, 0\)"),
        ({"text_features": np.where(np.arange(60)[:, None] == 7, np.nan, np.ones((60, 4)))}, "1 of 60 rows, .* row 7"),
        ({"image_features": np.full((60, 4), np.inf)}, "image_features has NaN or infinite values in 60 of 60 rows"),
        ({"image_features": np.arange(60)[:, None] * np.ones(4)}, "image_features row 0 is all zeros"),
        ({"k": (0, 1)}, "k is 0: give a whole number, 1 or more"),
        ({"k": (1, 51)}, r"k is \[1, 51\]: .* from 1 to batch_size, which is 50"),
        ({"k": ()}, r"k is \[\]: give at least one"),
        ({"k": 1}, r"k is 1: give several, as \(1, 2\), or one as \(1,\)"),
        ({"k": (1.5,)}, "k is 1.5: give a whole number"),
        ({"batch_size": 1}, "batch_size is 1: give a whole number, 2 or more"),
        ({"runs": 0}, "runs is 0: give a whole number, 1 or more"),
    ],
)
def test_bad_features_and_settings_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        retrieval_accuracy(**{"image_features": np.ones((60, 4)), "text_features": np.ones((60, 4))} | arguments)


# Statistics


def test_paired_test_by_hand():
    """d = 1, 2, 3: mean 2, s = 1, t = 2 √3; with 2 degrees of freedom p = 1 - t / √(2 + t²), t(0.975) = 4.30265."""
    result = paired_test([11, 22, 33], [10, 20, 30])
    t = 2 * math.sqrt(3)
    assert result.n == 3 and result.mean_difference == 2
    assert result.statistic == pytest.approx(t)
    assert result.p_value == pytest.approx(1 - t / math.sqrt(2 + t**2))
    assert (result.low, result.high) == pytest.approx((2 - 4.302653 / math.sqrt(3), 2 + 4.302653 / math.sqrt(3)))
    narrow = paired_test([11, 22, 33], [10, 20, 30], confidence=0.5)
    assert result.low < narrow.low < 2 < narrow.high < result.high


def test_what_is_common_to_a_pair_does_not_matter_but_the_pairing_does():
    generator = np.random.default_rng(0)
    difficulty = generator.uniform(0.2, 0.9, 40)
    first, second = (difficulty + shift + 0.01 * generator.standard_normal(40) for shift in (0.02, 0))
    result = paired_test(first, second)
    assert result.p_value < 1e-6 and result.low > 0
    assert paired_test(first + difficulty, second + difficulty).p_value == pytest.approx(result.p_value)
    assert paired_test(first, np.roll(second, 1)).p_value > 0.2
    back = paired_test(second, first)
    assert (back.mean_difference, back.low, back.high) == pytest.approx(
        (-result.mean_difference, -result.high, -result.low)
    )
    assert back.p_value == pytest.approx(result.p_value)


def test_without_a_difference_one_test_in_twenty_is_significant():
    generator = np.random.default_rng(1)
    scores = generator.uniform(size=(2, 2000, 30))
    significant = np.mean([paired_test(a, b).p_value < 0.05 for a, b in zip(*scores, strict=True)])
    assert significant == pytest.approx(0.05, abs=0.015)


def test_equal_differences_have_a_defined_result():
    same = paired_test([0.1 + 0.2, 0.7], [0.3, 0.7])  # equal but for rounding
    assert (same.mean_difference, same.low, same.high, same.statistic, same.p_value) == (0, 0, 0, 0, 1)
    assert paired_test([0.0, 0], [0, 0]).p_value == 1
    scores = np.random.default_rng(0).uniform(size=20)
    for shift in (0.1, -0.1):
        moved = paired_test(scores + shift, scores)
        assert (moved.mean_difference, moved.low, moved.high) == pytest.approx((shift, shift, shift))
        assert moved.statistic == math.copysign(math.inf, shift) and moved.p_value == 0


def test_bootstrap_of_two_values_by_hand():
    """Two draws from {0, 1} have the means 0, 1/2 and 1 with the probabilities 1/4, 1/2 and 1/4."""
    assert bootstrap_interval([0, 1], confidence=0.9) == Interval(0.5, 0, 1)
    assert bootstrap_interval([0, 1], confidence=0.4) == Interval(0.5, 0.5, 0.5)


def test_bootstrap_of_many_values_matches_the_normal_interval():
    values = np.random.default_rng(0).standard_normal(400)
    interval = bootstrap_interval(values)
    half = 1.96 * values.std() / 20
    assert interval.estimate == values.mean()
    assert (interval.low, interval.high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.1 * half)
    wide = bootstrap_interval(values, confidence=0.99)
    assert wide.low < interval.low < interval.high < wide.high


def test_bootstrap_intervals_cover_the_truth_as_often_as_they_say():
    generator = np.random.default_rng(2)
    covered = 0
    for seed in range(150):
        interval = bootstrap_interval(generator.beta(8, 2, 50), n_resamples=200, seed=seed)
        covered += interval.low <= 0.8 <= interval.high
    assert covered / 150 == pytest.approx(0.95, abs=0.05)


def test_bootstrap_takes_any_statistic_and_is_reproducible():
    values = np.random.default_rng(0).beta(8, 2, 60)
    median = bootstrap_interval(values, np.median)
    assert median.low <= median.estimate == np.median(values) <= median.high
    assert median == bootstrap_interval(values.tolist(), np.median) != bootstrap_interval(values, np.median, seed=1)


def test_bootstrap_of_equal_values_has_no_width():
    for value in (0.1, 0.0, 1.0):
        interval = bootstrap_interval([value] * 7)
        assert interval.low == interval.estimate == interval.high == pytest.approx(value)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: paired_test([1], [2]), "first has 1 scores: a spread needs at least 2 images"),
        (lambda: paired_test([1, 2, 3], [1, 2]), "first has 3 scores and second has 2: give one of each"),
        (lambda: paired_test([1, 2, 3], [1, np.nan, 2]), "second has 1 values that are NaN or infinite, first at 1"),
        (lambda: paired_test([1, np.inf], [1, 2]), "first has 1 values that are NaN or infinite"),
        (lambda: paired_test([[1, 2]], [[1, 2]]), r"first has shape \(1, 2\): give one score per image, \[N\]"),
        (lambda: paired_test([1, 2], [2, 2], confidence=95), "confidence is 95: give a number between 0 and 1"),
        (lambda: bootstrap_interval([]), "values has 0 scores"),
        (lambda: bootstrap_interval(0.5), r"values has shape \(\)"),
        (lambda: bootstrap_interval([0.5, np.nan]), "values has 1 values that are NaN"),
        (lambda: bootstrap_interval([1, 2], confidence=1), "confidence is 1: "),
        (lambda: bootstrap_interval([1, 2], n_resamples=0), "n_resamples is 0: give a whole number"),
        (lambda: bootstrap_interval([1, 2], n_resamples=9.5), "n_resamples is 9.5: give a whole number"),
        (lambda: bootstrap_interval([1, 2], statistic=np.sort), r"the statistic gave array.*one finite number"),
        (lambda: bootstrap_interval([1, 2], statistic=lambda v: math.nan), "the statistic gave array.nan.: it must"),
    ],
)
def test_bad_scores_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_a_test_and_an_interval_in_words():
    found = PairedTest(0.0234, -0.016, 0.03, 5.0, 0.0341, 10)
    assert found.in_points() == "+2.3 [-1.6, +3.0]" and found.in_points(2) == "+2.34 [-1.60, +3.00]"
    assert found.chance == "p = 0.034"
    assert PairedTest(0, 0, 0, 0, 0.00099, 10).chance == "p < 0.001"
    assert PairedTest(0, 0, 0, 0, 0.001, 10).chance == "p = 0.001"
    assert Interval(0.8181, 0.78, 0.9).in_percent() == "81.8 % [78.0, 90.0]"
    assert Interval(0.8181, 0.78, 0.9).brief() == "82 [78, 90]"
    assert Interval(-0.25, -0.5, 0).brief(2, scale=1) == "-0.25 [-0.50, 0.00]"


class TestNegation:
    def test_by_hand(self):
        """The second dimension is "tumour", the third "no tumour"; one of four comparisons goes the wrong way."""
        naming, denying = np.array([0.0, 1, 0]), np.array([0.0, 0, 1])
        with_target = np.array([[1, 0.9, 0.1], [1, 0.5, 0.6]])
        without = np.array([[1, 0.6, 0.6], [1, 0.1, 0.9]])
        assert negation_auc(with_target, without, naming, denying) == 0.75
        assert negation_auc(with_target, without, denying, naming) == 0.25  # the other way round
        assert negation_auc(with_target, with_target, naming, denying) == 0.5

    def test_tensors_and_lengths_make_no_difference(self):
        images = torch.randn(2, 6, 4, generator=torch.Generator().manual_seed(0))
        texts = torch.randn(2, 4, generator=torch.Generator().manual_seed(1))
        found = negation_auc(*images, *texts)
        assert found == negation_auc(*(3 * images).numpy(), *(0.5 * texts).double().numpy())

    def test_what_is_refused(self):
        images, texts = np.eye(3), np.eye(3)
        with pytest.raises(ValueError, match="no images with the target"):
            negation_auc(images[:0], images, texts[0], texts[1])
        with pytest.raises(ValueError, match="different length"):
            negation_auc(images, np.eye(4), texts[0], texts[1])
        with pytest.raises(ValueError, match="denying row 0 is all zeros"):
            negation_auc(images, images, texts[0], np.zeros(3))


def test_retrieval_in_the_whole_set_is_one_batch_of_all():
    images, texts = np.random.default_rng(0).normal(size=(2, 30, 8))
    found = retrieval_accuracy(images, texts, k=(1, 5, 10), batch_size=None)
    expected = retrieval_accuracy(images, texts, k=(1, 5, 10), batch_size=30, runs=1)
    assert found == expected and found.n_pairs == 30
    similarity = F.normalize(torch.tensor(images), dim=1) @ F.normalize(torch.tensor(texts), dim=1).T
    rank = (similarity > similarity.diagonal()[:, None]).sum(1)
    assert found.image_to_text == {k: pytest.approx((rank < k).double().mean().item()) for k in (1, 5, 10)}
