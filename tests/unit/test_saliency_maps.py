"""How well a map finds its target, by hand; and the mean over moved views."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from medclipsam_utils.images import MedicalImage
from medclipsam_utils.models import load_clip, load_sam
from medclipsam_utils.pipeline import Segmenter
from medclipsam_utils.saliency import (
    attention_rollout,
    best_dice,
    coverage,
    deletion_insertion,
    grad_cam,
    gscore_cam,
    m2ib,
    moved_views,
    points_at,
)
from medclipsam_utils.saliency.maps import upsample
from medclipsam_utils.saliency.views import SHIFTS, move, moved_by

EXTREME = [(1, 1000), (1000, 1), (1, 1), (2, 5000), (5000, 2), (3, 1)]
MAP = np.array([[0.0, 0.25], [0.5, 1.0]])
CLIP = SimpleNamespace(grid_size=(16, 16))


def mask(*rows):
    return np.array(rows, dtype=bool)


class TestOnTarget:
    def test_pointing(self):
        assert points_at(MAP, mask([0, 0], [0, 1])) and not points_at(MAP, mask([1, 1], [1, 0]))
        assert not points_at(np.zeros((2, 2)), mask([1, 1], [1, 1]))  # no peak, no hit

    def test_coverage(self):
        assert coverage(MAP, mask([0, 1], [0, 1])) == 1.25 / 1.75
        assert coverage(MAP, mask([1, 1], [1, 1])) == 1 and coverage(MAP, mask([0, 0], [0, 0])) == 0
        assert coverage(np.zeros((2, 2)), mask([1, 1], [1, 1])) == 0

    def test_best_dice(self):
        assert best_dice(MAP, mask([0, 0], [1, 1])) == 1  # between ¼ and ½
        assert best_dice(MAP, mask([0, 1], [0, 1])) == pytest.approx(0.8)  # 3 pixels, 2 of them right
        assert best_dice(np.zeros((2, 2)), mask([0, 0], [0, 0])) == 1
        assert best_dice(np.zeros((2, 2)), mask([0, 1], [0, 0])) == 0
        assert best_dice(MAP, mask([0, 0], [0, 0])) == 0

    def test_best_dice_is_the_best_of_all_thresholds(self):
        generator = np.random.default_rng(0)
        saliency, target = generator.random((20, 30)), generator.random((20, 30)) < 0.3
        cuts = [saliency >= threshold / 32 for threshold in range(1, 32)]
        expected = max(2 * (cut & target).sum() / (cut.sum() + target.sum()) for cut in cuts)
        assert best_dice(saliency, target) == pytest.approx(expected)

    @pytest.mark.parametrize("measure", [points_at, coverage, best_dice])
    @pytest.mark.parametrize("wrong", [np.ones((2, 2)), np.ones((3, 2), dtype=bool)])
    def test_masks_that_do_not_fit(self, measure, wrong):
        with pytest.raises(ValueError, match="give bool"):
            measure(MAP, wrong)


class TestViews:
    @staticmethod
    def brightness(clip, images, text):
        """A method of 16 × 16 patches, each as salient as it is bright."""
        grids = [np.asarray(image)[..., 0].astype(float).reshape(16, 16, 16, 16).mean((1, 3)) for image in images]
        return [upsample(grid, (256, 256)) for grid in grids]

    def test_point_at_a_spot_smaller_than_a_patch(self):
        spot = np.zeros((256, 256), dtype=bool)
        spot[27:31, 43:47] = True  # in a corner of the patch of rows 16 to 31 and columns 32 to 47
        image = np.where(spot[..., None], 200, 20).astype(np.uint8).repeat(3, axis=2)
        (plain,) = self.brightness(CLIP, [image], "")
        finer, again = moved_views(self.brightness)(CLIP, [image, image], "")
        assert points_at(finer, spot) and not points_at(plain, spot)
        assert np.array_equal(finer, again) and finer.dtype == np.float32 and (finer.min(), finer.max()) == (0, 1)

    @pytest.mark.parametrize("kind", ["tensor", "medical image"])
    def test_one_image_of_any_kind(self, kind):
        pixels = np.random.default_rng(0).integers(0, 255, (256, 256, 3), dtype=np.uint8)
        expected = moved_views(self.brightness)(CLIP, pixels, "")
        image = (
            torch.from_numpy(pixels).permute(2, 0, 1)
            if kind == "tensor"
            else MedicalImage(pixels, Path("scan.png"), "PNG")
        )
        assert np.array_equal(moved_views(self.brightness)(CLIP, image, ""), expected)

    def test_nothing_at_the_border_is_seen_less_often(self):
        """A method that finds everything alike makes a map without contrast, also where a view lost its edge."""
        flat = moved_views(lambda clip, images, text: [np.full((32, 32), 0.5, np.float32) for _ in images])
        assert not flat(CLIP, np.zeros((32, 32, 3), np.uint8), "")[0].any()

    def test_moving_there_and_back(self):
        image = np.arange(12).reshape(3, 4)
        assert move(image, 1, 0).tolist() == [image[0].tolist(), image[0].tolist(), image[1].tolist()]
        assert move(image, 0, -2).tolist() == [[2, 3, 3, 3], [6, 7, 7, 7], [10, 11, 11, 11]]
        assert np.array_equal(move(move(image, 1, 1), -1, -1)[:2, :3], image[:2, :3])
        assert moved_by((0.5, 0.5), (256, 128), (16, 16)) == (8, 4) and SHIFTS[0] == (0, 0)


@pytest.fixture(scope="module")
def tiny():
    return load_clip("tiny")


def noise(height, width):
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("size", EXTREME)
@pytest.mark.parametrize("name", ["m2ib", "moved views", "grad_cam", "gscore_cam", "rollout"])
def test_the_thinnest_images_have_maps_of_their_size(tiny, name, size):
    few = partial(m2ib, layer=4, beta=0.1, steps=1, samples=1)
    method = {
        "m2ib": few,
        "moved views": moved_views(few),
        "grad_cam": grad_cam,
        "gscore_cam": partial(gscore_cam, channels=2),
        "rollout": attention_rollout,
    }[name]
    (found,) = method(tiny, [noise(*size)], "a tumour")
    assert found.shape == size and found.dtype == np.float32 and np.isfinite(found).all()
    assert found.min() >= 0 and found.max() <= 1


@pytest.mark.parametrize("size", EXTREME)
def test_the_thinnest_images_have_curves_of_deletion(tiny, size):
    maps = [np.random.default_rng(1).random(size)]
    curves = deletion_insertion(tiny, [noise(*size)], "a tumour", maps, steps=2)
    assert np.isfinite(curves.deletion).all() and np.isfinite(curves.insertion).all()


@pytest.mark.parametrize("size", EXTREME)
def test_the_thinnest_images_are_segmented(tiny, size):
    segmenter = Segmenter(tiny, load_sam("tiny"))
    found = segmenter.segment(noise(*size), "breast tumour", task="breast_ultrasound")
    assert found.mask.shape == size and found.mask.dtype == bool
