"""From a map to a coarse mask: k-means against brute force, Otsu as its histogram, the CRF against sums by hand."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from skimage.filters import threshold_otsu

from medclipsam_utils.metrics import dice
from medclipsam_utils.postprocess import (
    METHODS,
    CrfSettings,
    binarize,
    component_at,
    components,
    dense_crf,
    highest_cluster,
    largest_components,
)


def within(values, borders):
    """Sum of squares inside the intervals between the borders, of sorted different values with repetitions."""
    parts = np.split(np.sort(values), np.searchsorted(np.sort(values), borders))
    return sum(((part - part.mean()) ** 2).sum() for part in parts if len(part))


def brute_force(values, clusters):
    """The smallest sum of squares of any choice of borders, and that of the best choice for a given highest cluster."""
    different = np.unique(values)
    choices = itertools.combinations(different[1:], min(clusters, len(different)) - 1)
    by_choice = {borders: within(values, borders) for borders in choices}
    return min(by_choice.values()), by_choice


class TestKMeans:
    @given(
        st.lists(st.integers(0, 9), min_size=2, max_size=10).filter(lambda values: len(set(values)) > 1),
        st.integers(2, 5),
    )
    def test_no_other_borders_are_better(self, values, clusters):
        values = np.array(values, dtype=float)
        best, by_choice = brute_force(values, clusters)
        start = values[highest_cluster(values, clusters)].min()
        reached = min(found for borders, found in by_choice.items() if borders[-1] == start)
        assert reached == pytest.approx(best, abs=1e-9)

    def test_by_hand(self):
        values = np.array([[0, 0, 0], [5, 5, 10.0]])
        assert highest_cluster(values, 2).tolist() == [[False] * 3, [True, True, True]]  # 16.7 inside; 10 alone: 30
        assert highest_cluster(values, 3).tolist() == [[False] * 3, [False, False, True]]
        assert highest_cluster(values, 9).tolist() == [[False] * 3, [False, False, True]]  # three different values

    def test_is_what_otsu_finds_on_fine_bins(self):
        values = np.random.default_rng(0).gamma(2.0, size=5000)
        start = values[highest_cluster(values)].min()
        assert start == pytest.approx(threshold_otsu(values, nbins=4096), abs=2 * np.ptp(values) / 4096)

    def test_wrong_input(self):
        assert not highest_cluster(np.full((3, 3), 2.0)).any()
        with pytest.raises(ValueError, match="clusters is 1"):
            highest_cluster(np.arange(3.0), 1)
        with pytest.raises(ValueError, match="NaN or infinite"):
            highest_cluster(np.array([0, np.nan]))


class TestBinarize:
    MAP = np.clip(np.random.default_rng(0).normal(0.2, 0.05, (40, 60)), 0, 1)
    TARGET = np.zeros((40, 60), dtype=bool)
    TARGET[10:20, 30:45] = True
    SALIENCY = np.where(TARGET, 0.9, MAP).astype(np.float32)
    IMAGE = np.where(TARGET[..., None], 40, 200).astype(np.uint8).repeat(3, axis=2)

    @pytest.mark.parametrize("method", METHODS)
    def test_finds_what_is_high(self, method):
        found = binarize(self.SALIENCY, method, image=self.IMAGE)
        # Otsu's border is the middle of a bin, and may cut off the top of the background.
        assert found.dtype == bool and dice(found, self.TARGET) >= (0.95 if method == "otsu" else 1)

    @pytest.mark.parametrize("method", METHODS)
    @pytest.mark.parametrize("level", [0.0, 0.5, 1.0])
    def test_nothing_is_high_in_a_constant_map(self, method, level):
        assert not binarize(np.full((40, 60), level, np.float32), method, image=self.IMAGE).any()

    def test_settings_act(self):
        steps = np.repeat([[0.0, 0.4, 0.6, 1.0]], 4, axis=0)
        assert binarize(steps, "threshold", threshold=0.6).sum() == 8
        assert binarize(steps, clusters=2).sum() == 8 and binarize(steps, clusters=4).sum() == 4

    def test_wrong_input(self):
        with pytest.raises(ValueError, match="method is 'magic': choose from kmeans, otsu, threshold, crf"):
            binarize(self.SALIENCY, "magic")
        for wrong in (np.zeros(5), np.full((3, 3), np.nan)):
            with pytest.raises(ValueError, match="give a finite map"):
                binarize(wrong)
        with pytest.raises(ValueError, match="was given none"):
            binarize(self.SALIENCY, "crf")
        with pytest.raises(ValueError, match=r"was given one of \(5, 5\)"):
            binarize(self.SALIENCY, "crf", image=np.zeros((5, 5, 3), np.uint8))


class TestComponents:
    MASK = np.array([[1, 1, 0, 0, 1], [1, 0, 0, 0, 1], [0, 0, 1, 0, 0], [0, 0, 0, 1, 0]], dtype=bool)  # 3, 2, 2 pixels

    def test_the_largest_come_first(self):
        parts = components(self.MASK)
        assert [part.sum() for part in parts] == [3, 2, 2] and parts[0][1, 0] and parts[1][0, 4] and parts[2][3, 3]
        assert len(components(self.MASK, n=1)) == 1 and len(components(self.MASK, min_fraction=0.7)) == 1
        assert components(np.zeros((3, 3), dtype=bool)) == []

    def test_are_kept_together(self):
        assert largest_components(self.MASK, 2).sum() == 5 and np.array_equal(
            largest_components(self.MASK, 9), self.MASK
        )
        assert largest_components(self.MASK, 9, min_fraction=0.7).sum() == 3
        assert not largest_components(np.zeros((3, 3), dtype=bool), 2).any()
        with pytest.raises(ValueError, match="n is 0"):
            largest_components(self.MASK, 0)

    def test_at_a_pixel(self):
        assert component_at(self.MASK, 0, 0).sum() == 3 and not component_at(self.MASK, 0, 2).any()

    @pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.float32])
    def test_numbers_of_0_and_1_are_as_good_as_bool(self, dtype):
        numbers = self.MASK.astype(dtype)
        assert np.array_equal(components(numbers), components(self.MASK))
        for found in (largest_components(numbers, 9), largest_components(numbers.tolist(), 9)):
            assert found.dtype == bool and np.array_equal(found, self.MASK)
        found = component_at(numbers, 0, 0)
        assert found.dtype == bool and np.array_equal(found, component_at(self.MASK, 0, 0))
        assert not component_at(numbers, 0, 2).any()

    @pytest.mark.parametrize(
        ("wrong", "says"),
        [
            (MASK * np.uint8(255), r"\(255\): give bool: mask > 0"),
            (MASK * 2 + 1, r"\(3\): give bool"),
            (MASK * 0.3, r"\(0\.3\): probabilities are not a mask, give bool: mask > 0\.5"),
            (np.where(MASK, np.nan, 0), "has 7 NaN values"),
            (MASK[None], r"has shape \(1, 4, 5\), a mask is \[H, W\]"),
        ],
    )
    def test_what_is_no_mask_is_refused(self, wrong, says):
        for ask in (components, lambda mask: largest_components(mask, 2), lambda mask: component_at(mask, 0, 0)):
            with pytest.raises(ValueError, match=says):
                ask(wrong)


class TestCrf:
    def test_one_step_by_hand(self):
        """Two pixels: the evidence of each, and the other's belief with the whole weight, since there is no third."""
        saliency, image = np.array([[0.2, 0.6]]), np.zeros((1, 2, 3), np.uint8)
        settings = CrfSettings(smooth_weight=0.5, bilateral_weight=1.5, smooth_px=1e3, epsilon=0, tau=1)

        def sigmoid(values):
            return 1 / (1 + np.exp(-np.asarray(values)))

        high, low = np.array([0.2, 0.6]), np.array([0.8, 0.4])
        evidence = np.log(high) / sigmoid(high) - np.log(low) / sigmoid(low)
        expected = sigmoid(evidence + 2 * (2 * sigmoid(evidence)[::-1] - 1))
        assert dense_crf(saliency, image, settings)[0] == pytest.approx(expected, abs=1e-6)

    def test_is_the_sum_over_all_pairs(self):
        """Pixel by pixel and pair by pair, with loops."""
        generator = np.random.default_rng(0)
        saliency, image = generator.random((4, 5)), generator.integers(0, 255, (4, 5, 3), dtype=np.uint8)
        settings = CrfSettings(smooth_px=60.0, bilateral_px=90.0, bilateral_grey=80.0, steps=3)
        pixels = [(row, column) for row in range(4) for column in range(5)]
        scale = 256 / 5

        def kernel(one, other, length, grey=np.inf):
            apart = sum((scale * (a - b)) ** 2 for a, b in zip(one, other, strict=True))
            unlike = sum((float(a) - float(b)) ** 2 for a, b in zip(image[one], image[other], strict=True))
            return np.exp(-apart / (2 * length**2) - unlike / (2 * grey**2)) if one != other else 0.0

        def logit(pixel):
            s = saliency[pixel]
            energy = [-np.log(p + 1e-8) / (1.05 / (1 + np.exp(-p))) for p in (1 - s, s)]
            return energy[0] - energy[1]

        belief = {pixel: 1 / (1 + np.exp(-logit(pixel))) for pixel in pixels}
        for _ in range(3):
            new = {}
            for one in pixels:
                message = 0.0
                for weight, lengths in ((3.0, (60.0,)), (5.0, (90.0, 80.0))):
                    kernels = {other: kernel(one, other, *lengths) for other in pixels}
                    pull = sum(kernels[other] * (2 * belief[other] - 1) for other in pixels)
                    message += weight * pull / sum(kernels.values())
                new[one] = 1 / (1 + np.exp(-(logit(one) + message)))
            belief = new
        expected = np.array([belief[pixel] for pixel in pixels]).reshape(4, 5)
        assert dense_crf(saliency, image, settings) == pytest.approx(expected, abs=1e-6)

    def test_edges_of_the_image_correct_those_of_the_mask(self):
        truth = np.zeros((64, 64), dtype=bool)
        truth[20:44, 20:44] = True
        blurred = np.zeros((64, 64))
        blurred[16:40, 16:40] = 0.8
        image = np.where(truth[..., None], 30, 220).astype(np.uint8).repeat(3, axis=2)

        def agreement(mask):
            return (mask == truth).mean()

        assert agreement(dense_crf(blurred, image) > 0.5) > agreement(blurred > 0.5)

    def test_larger_images_are_brought_to_a_small_grid_and_back(self):
        saliency = np.random.default_rng(0).random((200, 300))
        found = dense_crf(saliency, np.zeros((200, 300, 3), np.uint8))
        assert found.shape == (200, 300) and found.dtype == np.float32 and found.min() >= 0 and found.max() <= 1
