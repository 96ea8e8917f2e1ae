"""Boxes, points and votes: coordinates by hand, few pixels, and what SAM is asked."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from medclipsam_utils.metrics import dice
from medclipsam_utils.models import load_sam
from medclipsam_utils.simulate import simulate
from medclipsam_utils.visual_prompts import (
    VOTES,
    Points,
    box_of,
    boxes_from_mask,
    points_from_mask,
    predict_mask,
    predict_zoomed,
    staple,
    view_around,
)

NUMBERS = (np.uint8, np.int8, np.int64, np.uint16, np.float16, np.float32, np.float64)
NO_MASKS = [
    (lambda mask: mask * np.uint8(255), r"has other values than 0 and 1 \(255\): give bool: mask > 0"),
    (lambda mask: mask * 2 + ~mask * 3, r"has other values than 0 and 1 \(2, 3\): give bool: mask > 0"),
    (lambda mask: mask * 0.3, r"\(0\.3\): probabilities are not a mask, give bool: mask > 0\.5"),
    (lambda mask: np.where(mask, -1, 0), r"\(-1\): give bool"),
    (lambda mask: np.where(mask, np.nan, 0), "has 600 NaN values"),
    (lambda mask: mask[None], r"has shape \(1, 40, 60\), a mask is \[H, W\]"),
    (lambda mask: mask[..., None], r"has shape \(40, 60, 1\)"),
    (lambda mask: mask.astype(str), "give bool, or numbers that are all 0 or 1"),
]


def rectangle(top, left, bottom, right, shape=(40, 60)):
    mask = np.zeros(shape, dtype=bool)
    mask[top:bottom, left:right] = True
    return mask


class TestBoxes:
    TWO = rectangle(2, 3, 12, 23) | rectangle(20, 30, 38, 50)

    def test_hold_the_last_pixel_the_largest_first(self):
        found = boxes_from_mask(self.TWO)
        assert found.dtype == np.float32 and found.tolist() == [[30, 20, 50, 38], [3, 2, 23, 12]]
        assert boxes_from_mask(self.TWO, n=1).tolist() == [[30, 20, 50, 38]]
        assert boxes_from_mask(self.TWO, per_component=False).tolist() == [[3, 2, 50, 38]]

    def test_margins_move_all_sides_but_not_out_of_the_image(self):
        found = boxes_from_mask(self.TWO, margin=0.1)
        assert found == pytest.approx(np.array([[28, 18.2, 52, 39.8], [1, 1, 25, 13]]))
        assert boxes_from_mask(self.TWO, margin=2)[1].tolist() == [0, 0, 60, 32]
        assert boxes_from_mask(self.TWO, margin=-0.1)[1] == pytest.approx([5, 3, 21, 11])

    def test_of_one_mask(self):
        found = box_of(rectangle(2, 3, 12, 23))
        assert found.dtype == np.float32 and found.tolist() == [3, 2, 23, 12]

    def test_of_an_empty_mask_there_are_none(self):
        for one in (True, False):
            assert boxes_from_mask(np.zeros((4, 4), dtype=bool), per_component=one).shape == (0, 4)


class TestPoints:
    @pytest.mark.parametrize("where", ["inside", "random"])
    def test_lie_where_they_should(self, where):
        mask = rectangle(5, 10, 25, 40)
        found = points_from_mask(mask, 10, negatives=5, where=where)
        assert found.xy.shape == (15, 2) and found.labels.tolist() == [1] * 10 + [0] * 5
        x, y = found.xy.astype(int).T
        assert mask[y[:10], x[:10]].all() and not mask[y[10:], x[10:]].any()
        assert len({tuple(point) for point in found.xy.tolist()}) == 15
        assert np.array_equal(points_from_mask(mask, 10, negatives=5, where=where).xy, found.xy)
        assert not np.array_equal(points_from_mask(mask, 10, negatives=5, where=where, seed=1).xy, found.xy)

    def test_inside_is_away_from_the_border(self):
        mask = rectangle(5, 10, 25, 40)  # half of its 600 pixels are at least 5 deep, or nearly
        x, y = points_from_mask(mask, 50).xy.T
        assert x.min() >= 13 and x.max() <= 36 and y.min() >= 8 and y.max() <= 21

    def test_at_the_border_of_the_image_depth_counts_from_there(self):
        x, y = points_from_mask(np.ones((21, 21), dtype=bool), 20).xy.T
        assert min(x.min(), y.min()) >= 2 and max(x.max(), y.max()) <= 18

    def test_few_pixels(self):
        """The released code asks numpy for more points than there are, and stops."""
        found = points_from_mask(rectangle(3, 4, 4, 7), 10, negatives=2)
        assert sorted(found.xy[:3].tolist()) == [[4, 3], [5, 3], [6, 3]] and found.labels.tolist() == [1, 1, 1, 0, 0]
        assert points_from_mask(np.zeros((4, 4), dtype=bool), 10).xy.shape == (0, 2)
        assert points_from_mask(np.ones((2, 2), dtype=bool), 1, negatives=3).labels.tolist() == [1]

    def test_wrong_settings(self):
        with pytest.raises(ValueError, match="where is 'edge'"):
            points_from_mask(np.ones((2, 2), dtype=bool), where="edge")
        with pytest.raises(ValueError, match="negatives is -1"):
            points_from_mask(np.ones((2, 2), dtype=bool), negatives=-1)


class TestKindsOfMask:
    """Numbers that are all 0 or 1 are the same as bool; nobody can tell what others mean."""

    @pytest.mark.parametrize("dtype", NUMBERS)
    def test_numbers_of_0_and_1_are_as_good_as_bool(self, dtype):
        mask = rectangle(5, 10, 25, 40)
        numbers = mask.astype(dtype)
        for where in ("inside", "random"):
            expected, found = (points_from_mask(one, 10, negatives=300, where=where) for one in (mask, numbers))
            assert np.array_equal(found.xy, expected.xy) and np.array_equal(found.labels, expected.labels)
        x, y = found.xy[found.labels == 0].astype(int).T
        assert len(x) == 300 and not mask[y, x].any()
        for one in (True, False):
            assert boxes_from_mask(numbers, per_component=one).tolist() == [[10, 5, 40, 25]]
        assert box_of(numbers).tolist() == [10, 5, 40, 25]
        assert np.array_equal(staple(np.stack([numbers, numbers])), staple(np.stack([mask, mask])))

    def test_lists_and_tensors_are_masks_too(self):
        assert boxes_from_mask([[0, 0], [0, 1]]).tolist() == [[1, 1, 2, 2]]
        assert points_from_mask(torch.tensor([[0, 1], [0, 0]], dtype=torch.uint8)).xy.tolist() == [[1, 0]]

    @pytest.mark.parametrize(("change", "says"), NO_MASKS)
    def test_what_is_no_mask_is_refused(self, change, says):
        wrong = change(rectangle(5, 10, 25, 40))
        for ask in (points_from_mask, boxes_from_mask, box_of, lambda mask: staple([mask])):
            with pytest.raises(ValueError, match=says):
                ask(wrong)

    def test_where_there_is_no_mask(self):
        with pytest.raises(ValueError, match="the mask is empty, so there is no box around it"):
            box_of(np.zeros((4, 4), dtype=bool))
        with pytest.raises(ValueError, match="there are no masks: give one or more"):
            staple(np.zeros((0, 4, 4), dtype=bool))


class TestStaple:
    def test_the_majority_is_believed_and_the_outlier_is_not(self):
        truth = rectangle(5, 5, 15, 15, (20, 20))
        masks = np.stack([truth, truth, ~truth])
        assert np.array_equal(staple(masks) > 0.5, truth)

    def test_one_turn_by_hand(self):
        """Two masks of two pixels: prior ½; where both say yes .99² against .01², where they differ ½."""
        masks = np.array([[[True, True]], [[True, False]]])
        assert staple(masks, steps=1)[0] == pytest.approx(
            [0.99**2 * 0.75 / (0.99**2 * 0.75 + 0.01**2 * 0.25), 0.75], abs=1e-9
        )

    def test_masks_that_agree_and_empty_ones(self):
        mask = rectangle(1, 1, 3, 3, (5, 5))
        assert np.array_equal(staple(np.stack([mask] * 3)) > 0.5, mask)
        assert not (staple(np.zeros((3, 5, 5), dtype=bool)) > 0.5).any()
        assert (staple(np.ones((3, 5, 5), dtype=bool)) > 0.5).all()


class Scripted:
    """Stands for a predictor: answers three rectangles, and keeps what it was asked."""

    is_image_set, original_size = True, (40, 60)
    masks = np.stack([rectangle(0, 0, 10, 10), rectangle(0, 0, 10, 20), rectangle(0, 0, 10, 30)])
    quality = np.array([0.9, 0.1, 0.1])

    def __init__(self):
        self.asked = []

    def predict(self, point_coords, point_labels, box, multimask_output):
        self.asked.append((point_coords, point_labels, box, multimask_output))
        return (self.masks, self.quality, None) if multimask_output else (self.masks[:1], self.quality[:1], None)


class TestPredict:
    def test_votes_by_hand(self):
        expected = {"single": 0, "average": 1, "mrm": 0, "staple": 1}
        assert set(expected) == set(VOTES)
        for vote, number in expected.items():
            found = predict_mask(Scripted(), np.array([0, 0, 5, 5]), vote=vote)
            assert np.array_equal(found, Scripted.masks[number]), vote

    def test_what_is_asked(self):
        points = Points(np.array([[1, 2]], np.float32), np.array([1]))
        sam = Scripted()
        predict_mask(sam, np.array([[0, 0, 5, 5], [1, 1, 6, 6]]), points)
        assert [box.tolist() for _, _, box, _ in sam.asked] == [[0, 0, 5, 5], [1, 1, 6, 6]]
        assert all(xy is points.xy and labels is points.labels for xy, labels, *_ in sam.asked)
        sam = Scripted()
        predict_mask(sam, points=[points, points])
        assert len(sam.asked) == 2 and sam.asked[0][2] is None
        with pytest.raises(ValueError, match="there are 2 sets of points for 1 boxes"):
            predict_mask(sam, np.array([0, 0, 5, 5]), [points, points])

    def test_nothing_to_ask_with_gives_an_empty_mask(self):
        empty = np.zeros((40, 60), dtype=bool)
        sam = Scripted()
        for arguments in ((), (boxes_from_mask(empty),), (None, points_from_mask(empty))):
            found = predict_mask(sam, *arguments)
            assert found.shape == (40, 60) and not found.any()
        assert sam.asked == []

    def test_wrong_settings(self):
        with pytest.raises(ValueError, match="vote is 'best': choose from single, average, mrm, staple"):
            predict_mask(Scripted(), vote="best")
        with pytest.raises(ValueError, match="SAM has no image yet"):
            predict_mask(load_sam("tiny"))

    @pytest.mark.parametrize("vote", VOTES)
    def test_with_the_small_sam(self, vote):
        sample, sam = simulate("lung_ct", 4, finding="clear"), load_sam("tiny")
        sam.set_image(sample.image)
        found = predict_mask(sam, boxes_from_mask(sample.mask, n=2), vote=vote)
        assert found.dtype == bool and dice(found, sample.mask) > 0.8
        by_points = predict_mask(sam, points=[points_from_mask(sample.mask, 20)], vote=vote)
        assert by_points.any()


class Filler:
    """Fills the box that it is asked for, or that of the points, in the view that was set."""

    is_image_set = False

    def set_image(self, image):
        self.view, self.original_size, self.is_image_set = image, image.shape[:2], True

    def predict(self, point_coords, point_labels, box, multimask_output):
        if box is None:
            (x0, y0), (x1, y1) = point_coords.min(0).astype(int), point_coords.max(0).astype(int) + 1
        else:
            x0, y0, x1, y1 = box.astype(int)
            assert point_coords is None or ((point_coords >= box[:2]).all() and (point_coords < box[2:]).all())
        assert (self.view[y0:y1, x0:x1] == 7).all()
        return rectangle(y0, x0, y1, x1, self.original_size)[None], np.array([1.0]), None


class TestZoomed:
    TRUTH = rectangle(100, 5, 130, 17, (200, 256)) | rectangle(20, 180, 90, 250, (200, 256))
    IMAGE = np.where(TRUTH[..., None], 7, 0).astype(np.uint8).repeat(3, axis=2)

    def test_views_by_hand(self):
        # A box of 40 × 20 pixels: a view of 80, around (120, 100); at the edge it is moved, not cut.
        assert view_around(np.array([100, 90, 140, 110]), (256, 256)) == (slice(60, 140), slice(80, 160))
        assert view_around(np.array([0, 236, 40, 256]), (256, 256)) == (slice(176, 256), slice(0, 80))
        assert view_around(np.array([10, 10, 12, 12]), (256, 256)) == (slice(0, 64), slice(0, 64))  # not nearer
        assert view_around(np.array([0, 0, 90, 50]), (60, 100)) == (slice(0, 60), slice(0, 100))  # nor beyond

    @pytest.mark.parametrize("kind", ["boxes", "points", "both"])
    def test_masks_are_put_back_where_they_come_from(self, kind):
        parts = [rectangle(100, 5, 130, 17, (200, 256)), rectangle(20, 180, 90, 250, (200, 256))]
        boxes = np.stack([box_of(part) for part in parts]) if kind != "points" else None
        points = [points_from_mask(part, part.sum(), where="random") for part in parts] if kind != "boxes" else None
        found = predict_zoomed(Filler(), self.IMAGE, boxes, points)
        np.testing.assert_array_equal(found, self.TRUTH)

    def test_crumbs_are_left_out(self):
        class Crumbling(Filler):
            def predict(self, **asked):
                masks, *others = super().predict(**asked)
                masks[0, -1, -1] = masks[0, 0, -2] = True
                return masks, *others

        found = predict_zoomed(Crumbling(), self.IMAGE, boxes_from_mask(self.TRUTH))
        np.testing.assert_array_equal(found, self.TRUTH)

    def test_nothing_asked_gives_an_empty_mask(self):
        assert not predict_zoomed(Filler(), self.IMAGE).any()
        assert not predict_zoomed(Filler(), self.IMAGE, np.zeros((0, 4))).any()

    def test_a_real_sam_sees_a_small_target_from_near(self):
        """A speck of six pixels: the outline from near is nearer to it."""
        rows, columns = np.mgrid[:256, :256]
        truth = np.hypot(rows - 100, columns - 150) < 6
        noise = np.random.default_rng(0).normal(0, 12, truth.shape)
        image = np.clip(90 + 100 * truth + noise, 0, 255).astype(np.uint8)[..., None].repeat(3, axis=2)
        sam, box = load_sam("tiny"), box_of(truth)
        sam.set_image(image)
        from_afar = predict_mask(sam, box)
        assert dice(predict_zoomed(sam, image, box), truth) > dice(from_afar, truth)
        for vote in VOTES[1:]:
            assert dice(predict_zoomed(sam, image, box, vote=vote), truth) > 0.5
