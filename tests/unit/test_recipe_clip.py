"""What the small CLIP learns from: which captions are true of which images, and batches of both."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from medclipsam_utils import TASKS, simulate
from medclipsam_utils.models.tiny_clip import MEAN, PATCH_SIZE, STD
from medclipsam_utils.models.words import split_words
from medclipsam_utils.simulate import FINDINGS
from recipes.clip.batches import ClipImages, _names_target, draw_batch, shrink
from recipes.clip.patches import GRID
from recipes.data.captions import FACTS, FALSE, TRUE, UNKNOWN, Caption, draw_caption, image_facts, judge
from recipes.data.images import Images

PAIRS = {"breast_ultrasound": 2, "brain_mri": 1, "lung_xray": 1, "lung_ct": 1}


def known(task: str, finding: str, **attributes: str) -> dict:
    return {"task": task, "finding": finding, "attributes": attributes, "present": finding != FINDINGS[task][-1]}


def simulated(task: str, seed: int, finding: str) -> dict:
    return known(task, finding, **simulate(task, seed, size=32, finding=finding).attributes)


BENIGN = known("breast_ultrasound", "benign", size="small", side="left", margin="smooth")
MALIGNANT = known("breast_ultrasound", "malignant", size="large", side="right", margin="spiculated")
NORMAL_BREAST = known("breast_ultrasound", "normal")
GLIOMA = known("brain_mri", "glioma", size="small", side="left")
XRAY, CT = known("lung_xray", "clear"), known("lung_ct", "clear")
ABDOMEN = known("lung_xray", "abdomen")


def draw_text(fact: dict, wanted: str) -> Caption:
    """The first drawn caption that reads so."""
    rng = np.random.default_rng(0)
    return next(caption for caption in (draw_caption(fact, rng) for _ in range(5000)) if caption.text == wanted)


def verdicts(images: list[dict], caption: Caption) -> list[int]:
    """Of which of the images a caption of the first one is true."""
    return judge([image_facts(image) for image in images], [caption], np.array([0]))[:, 0].tolist()


class TestCaptionFacts:
    def test_a_caption_is_true_of_its_own_image_whatever_it_says(self):
        captions = [Caption("", {"organ": "brain"}, complete=False), Caption("", {"organ": "breast"}, complete=False)]
        facts = [image_facts(BENIGN), image_facts(GLIOMA)]
        np.testing.assert_array_equal(judge(facts, captions, np.array([0, 1])), [[TRUE, UNKNOWN], [UNKNOWN, TRUE]])
        assert judge(facts, captions, np.array([1, 0])).tolist() == [[FALSE, TRUE], [TRUE, FALSE]]

    def test_a_caption_that_says_nothing_special_is_true_of_every_tumour_of_the_organ(self):
        caption = draw_text(BENIGN, "breast tumour")
        assert caption.complete
        assert verdicts([BENIGN, MALIGNANT, NORMAL_BREAST, GLIOMA, XRAY], caption) == [TRUE, TRUE, FALSE, FALSE, FALSE]

    def test_without_a_tumour(self):
        caption = draw_text(NORMAL_BREAST, "ultrasound of a breast without a tumour")
        other = known("breast_ultrasound", "normal", probe="curved")
        assert verdicts([NORMAL_BREAST, other, BENIGN, GLIOMA], caption) == [TRUE, TRUE, FALSE, FALSE]

    @pytest.mark.parametrize(
        ("changed", "verdict"),
        [
            ({}, UNKNOWN),  # the caption may tell a shape, say, which is not compared
            ({"size": "large"}, FALSE),
            ({"side": "right"}, FALSE),
            ({"margin": "irregular"}, FALSE),
            ({"depth": "deep"}, UNKNOWN),
        ],
    )
    def test_a_specific_caption_of_an_image_that_differs_in_one_fact(self, changed, verdict):
        stated = image_facts(BENIGN)
        caption = Caption("a small benign tumour with a smooth margin on the left", stated, complete=False)
        other = known("breast_ultrasound", "benign", **{**BENIGN["attributes"], **changed})
        malignant = known("breast_ultrasound", "malignant", **BENIGN["attributes"])
        assert verdicts([BENIGN, other, malignant], caption) == [TRUE, verdict, FALSE]

    def test_a_fact_that_the_caption_leaves_out_contradicts_nothing(self):
        caption = Caption("", {"organ": "breast", "finding": "benign"}, complete=False)
        assert verdicts([BENIGN, known("breast_ultrasound", "benign", size="large")], caption) == [TRUE, UNKNOWN]

    def test_details_that_are_not_compared_leave_a_caption_open(self):
        oval, round_ = (known("breast_ultrasound", "benign", shape=shape) for shape in ("oval", "round"))
        rng = np.random.default_rng(0)
        captions = [draw_caption(oval, rng) for _ in range(200)]
        detailed = [caption for caption in captions if "oval" in caption.text]
        assert 50 < len(detailed) < 150
        assert all(verdicts([oval, round_], caption) == [TRUE, UNKNOWN] for caption in detailed)
        general = [caption for caption in captions if caption.text in ("breast lesion", "ultrasound of a breast mass")]
        assert general and all(verdicts([oval, round_], caption) == [TRUE, TRUE] for caption in general)
        assert all(draw_caption(NORMAL_BREAST, rng).complete for _ in range(200))

    def test_lungs_are_on_xrays_and_ct_slices(self):
        for image in (XRAY, CT):
            assert verdicts([image, XRAY, CT, GLIOMA, ABDOMEN], draw_text(image, "lungs"))[1:] == [
                TRUE, TRUE, FALSE, FALSE,
            ]  # fmt: skip
        caption = draw_text(XRAY, "chest X-ray of the lungs")
        assert verdicts([XRAY, CT], caption) == [TRUE, FALSE]

    @pytest.mark.parametrize("task", TASKS)
    def test_no_caption_contradicts_its_image(self, task):
        rng, said = np.random.default_rng(1), set()
        for finding in FINDINGS[task]:
            for seed in range(3):
                fact = simulated(task, seed, finding)
                facts = image_facts(fact)
                for _ in range(600):
                    caption = draw_caption(fact, rng)
                    assert caption.stated.items() <= facts.items(), caption
                    said |= set(caption.stated)
        assert said <= set(FACTS) and {"organ", "task", "present", "finding", "side"} <= said

    def test_what_the_words_say_is_what_is_stated(self):
        rng, seen = np.random.default_rng(2), set()
        for fact in (BENIGN, MALIGNANT, simulated("brain_mri", 3, "glioma"), simulated("lung_ct", 3, "nodule")):
            for _ in range(500):
                caption = draw_caption(fact, rng)
                words = set(split_words(caption.text))
                for word in words & {"small", "large", "left", "right", "benign", "malignant", "glioma", "nodule"}:
                    if caption.complete and {"left", "right"} <= words:
                        continue  # "the left lung and the right lung" is no side
                    assert word in caption.stated.values(), caption
                    seen.add(word)
        assert seen == {"small", "large", "left", "right", "benign", "malignant", "glioma", "nodule"}


class TestShrink:
    def images(self, *present: bool) -> Images:
        pixels = np.zeros((len(present), 256, 256), np.uint8)
        pixels[0, :2, :6] = [[0, 1, 255, 255, 10, 10], [2, 4, 255, 255, 10, 12]]
        mask = np.zeros((256, 256), bool)
        mask[:2, :8] = np.array([[1, 1, 1, 0, 1, 1, 0, 0], [1, 1, 0, 0, 0, 1, 0, 0]])
        masks = np.stack([np.packbits(mask if shows else mask & False) for shows in present])
        return Images(pixels, masks, [], [known("lung_ct", "clear" if shows else "abdomen") for shows in present])

    def test_two_by_two_pixels_become_their_rounded_mean(self):
        small = shrink(self.images(True, False, True, False))
        assert small.pixels.shape == small.masks.shape == (4, 128, 128) and small.pixels.dtype == np.uint8
        assert small.pixels[0, 0, :4].tolist() == [2, 255, 11, 0]  # 7/4, 255, 42/4, 0
        assert small.masks[0, 0, :4].tolist() == [255, 64, 191, 0]  # of 255: all, 1/4, 3/4, none
        assert small.pixels[0, 1:].max() == 0 and small.masks[1].max() == 0
        assert {task: index.tolist() for task, index in small.pairs.items()} == {
            "breast_ultrasound": [], "brain_mri": [], "lung_xray": [], "lung_ct": [0, 2],
        }  # fmt: skip

    def test_masks_that_are_not_to_be_seen_are_not_there(self):
        assert shrink(self.images(True, False), with_masks=False).masks is None

    @pytest.mark.parametrize("present", [(False, True), (True, True), (True, False, False, False)])
    def test_images_that_are_no_pairs_are_refused(self, present):
        with pytest.raises(ValueError, match="pairs"):
            shrink(self.images(*present))


@pytest.fixture(scope="module")
def squares():
    """Three pairs of each task: white squares on black, which are also the masks, and black images without a target."""
    rng, masks, facts = np.random.default_rng(0), [], []
    for task in TASKS:
        for size in (12, 20, 28) if "lung" not in task else (60, 64, 70):
            row, column = rng.integers(25, 100 - size, 2)
            mask = np.zeros((128, 128), np.uint8)
            mask[row : row + size, column : column + size] = 255
            masks += [mask, np.zeros_like(mask)]
            facts += [known(task, FINDINGS[task][0]), known(task, FINDINGS[task][-1])]
    pairs = {task: np.arange(6 * number, 6 * number + 6, 2) for number, task in enumerate(TASKS)}
    return ClipImages(np.stack(masks), np.stack(masks), facts, pairs)


def draw(images: ClipImages, keep: float, seed: int):
    return draw_batch(images, PAIRS, 1.25, keep, np.random.default_rng(seed))


class TestBatches:
    @pytest.mark.parametrize("seed", range(4))
    def test_both_images_of_a_pair_keep_the_same_patches(self, squares, seed):
        kept = draw(squares, 0.5, seed).kept
        assert kept.shape == (10, 128) and kept.min() >= 0 and kept.max() < GRID**2
        assert torch.equal(kept[0::2], kept[1::2]) and not torch.equal(kept[0], kept[2])
        assert (kept.diff(dim=1) > 0).all()

    @pytest.mark.parametrize("sides", [1, 2, 4])
    def test_without_masks_chance_decides_what_is_kept(self, squares, sides):
        images = replace(squares, masks=None)
        batch = draw_batch(images, PAIRS, 1.25, 0.5, np.random.default_rng(0), sides)
        assert batch.kept.shape == (10, sides**2, 128 // sides**2) and batch.inside is batch.outside is None
        assert torch.equal(batch.kept[0::2], batch.kept[1::2])
        for kept in batch.kept:
            assert len(kept.flatten().unique()) == 128
            for part in kept:  # lies in a rectangle, which may go on at the opposite edge
                for places in (part // GRID, part % GRID):
                    gaps = places.unique().diff(append=places.unique()[:1] + GRID)
                    assert GRID - gaps.max() + 1 <= GRID // sides or sides == 1
        whole = draw_batch(images, PAIRS, 1.25, 1.0, np.random.default_rng(0), sides).kept
        assert whole is None if sides == 1 else whole.shape == (10, sides**2, GRID**2 // sides**2)

    def test_without_masks_images_of_a_pair_differ_in_the_target_alone(self, squares):
        pixels = draw_batch(replace(squares, masks=None), PAIRS, 1.25, 0.5, np.random.default_rng(0)).pixels
        changed = (pixels[0::2] != pixels[1::2]).float().mean((1, 2, 3))
        assert changed.min() > 0 and changed[:3].max() < 0.15  # tumours: a square of at most 28 pixels

    @pytest.mark.parametrize("seed", range(4))
    def test_every_patch_of_a_small_target_is_kept(self, squares, seed):
        whole, part = draw(squares, 1.0, seed), draw(squares, 0.3, seed)  # the same augmentation
        assert whole.kept is None and torch.equal(whole.pixels, part.pixels)
        for name in ("inside", "outside"):
            assert torch.equal(getattr(whole, name).gather(1, part.kept), getattr(part, name))
        tumours = slice(0, 6, 2)
        assert (whole.inside[tumours].sum(1) > 0).all()
        assert torch.equal(whole.inside[tumours].sum(1), part.inside[tumours].sum(1))
        assert (part.outside.sum(1) > 0).all()

    @pytest.mark.parametrize("seed", range(4))
    def test_inside_and_outside_are_where_the_mask_says(self, squares, seed):
        batch = draw(squares, 1.0, seed)
        grey = F.avg_pool2d(batch.pixels[:, :1] * STD[0] + MEAN[0], PATCH_SIZE).flatten(1)
        assert not (batch.inside & batch.outside).any()
        assert not batch.inside[1::2].any() and batch.outside[1::2].all()
        # Whatever the contrast, white stays above 0.7 and black below 0.2.
        assert grey[batch.outside].max() < 0.25 and grey[batch.inside].min() > 0.25
        whole_patches = grey > 0.7
        assert whole_patches.any() and batch.inside[whole_patches].all()

    def test_the_generator_decides_everything(self, squares):
        first, same, other = (draw(squares, 0.5, seed) for seed in (7, 7, 8))
        for name in ("pixels", "verdict", "same_organ", "names_target", "kept", "inside", "outside"):
            assert torch.equal(getattr(first, name), getattr(same, name)), name
        assert first.captions == same.captions != other.captions
        assert not torch.equal(first.pixels, other.pixels) and not torch.equal(first.kept, other.kept)

    def test_captions_and_what_is_known_of_them(self, squares):
        batch = draw(squares, 0.5, 3)
        assert batch.pixels.shape == (10, 3, 128, 128) and batch.pixels.dtype == torch.float32
        assert batch.verdict.shape == batch.same_organ.shape == (10, 12)  # a second caption for every fourth, rounded
        assert (batch.verdict.diagonal() == TRUE).all() and (batch.verdict == FALSE).any()
        organs = ["breast"] * 4 + ["brain"] * 2 + ["lungs"] * 4
        expected = [[organ == caption.stated["organ"] for caption in batch.captions] for organ in organs]
        assert batch.same_organ.tolist() == expected
        assert batch.names_target.tolist() == [_names_target(caption) for caption in batch.captions]

    @pytest.mark.parametrize(
        ("stated", "names"),
        [
            ({"present": "True", "organ": "breast", "finding": "benign"}, True),
            ({"present": "False", "organ": "breast"}, False),
            ({"present": "True", "organ": "lungs"}, True),
            ({"present": "True", "organ": "lungs", "finding": "clear"}, True),
            ({"present": "True", "organ": "lungs", "finding": "effusion"}, False),  # its region is not the lungs
        ],
    )
    def test_captions_that_name_the_target(self, stated, names):
        assert _names_target(Caption("", stated, complete=True)) is names
