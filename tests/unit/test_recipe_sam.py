"""The recipe of the small SAM: prompts and augmentation by hand-computed cases, the training by short runs."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from medclipsam_utils import TASKS
from recipes.data import images as simulated
from recipes.data import prompts as sam_prompts
from recipes.sam import augment, examples, steps, train, validation
from recipes.training import optimizers

MIRROR = np.array([[-1, 0, 0], [0, 1, 0]], dtype=np.float32)
SAME = np.array([[1, 0, 0], [0, 1, 0]], dtype=np.float32)
QUICK = train.quick(train.STAGES["coarse"])


def rectangle(x0, y0, x1, y1, size=64):
    mask = np.zeros((size, size), dtype=bool)
    mask[y0:y1, x0:x1] = True
    return mask


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A folder with all images of the quick recipe but the last shard, which is left to the recipe's own processes."""
    folder = tmp_path_factory.mktemp("data")
    shards = [(folder, task, first, 2) for first in (train.TRAINING, train.VALIDATION) for task in TASKS]
    for shard in shards[:-1]:
        simulated._draw_shard(shard)
    return folder


@pytest.fixture(scope="module")
def images(data):
    return simulated.load_images(data, train.TRAINING, 2, structures=True)


class TestPrompts:
    def test_a_box_of_known_pixels(self):
        mask = rectangle(10, 20, 13, 24)
        assert sam_prompts.box_of(mask).tolist() == [10, 20, 13, 24]
        x0, y0, x1, y1 = sam_prompts.box_of(mask).astype(int)
        assert mask[y0:y1, x0:x1].all() and mask.sum() == (x1 - x0) * (y1 - y0)

    @given(seed=st.integers(0, 10_000), kind=st.sampled_from(sam_prompts.KINDS))
    @settings(max_examples=60, deadline=None)
    def test_points_lie_where_their_label_says_and_tight_boxes_hold_the_mask(self, seed, kind):
        rng = np.random.default_rng(seed)
        masks = np.stack([augment.draw_shape(rng, 64) > 0 for _ in range(3)])
        masks[:, 30:33, 30:33] = True
        prompts = sam_prompts.draw_prompts(kind, masks, masks, rng)
        if prompts.points is not None:
            assert prompts.points.shape[:2] == prompts.labels.shape
            columns, rows = prompts.points.astype(int).transpose(2, 0, 1)  # each [K, P]
            on_target = np.take_along_axis(masks.reshape(3, -1), rows * 64 + columns, axis=1)
            assert (on_target == prompts.labels.astype(bool)).all()
        if prompts.boxes is not None:
            assert (prompts.boxes >= 0).all() and (prompts.boxes <= 64).all()
            assert (prompts.boxes[:, 2:] - prompts.boxes[:, :2] >= 1).all()
        if kind == sam_prompts.BOX:
            assert np.array_equal(prompts.boxes, np.stack([sam_prompts.box_of(mask) for mask in masks]))

    def test_points_keep_to_the_part_that_is_asked_for(self):
        organ, lesion = rectangle(0, 0, 64, 64), rectangle(4, 4, 60, 60)
        rng = np.random.default_rng(0)
        prompts = sam_prompts.draw_prompts("one point", organ[None], (organ & ~lesion)[None], rng)
        x, y = prompts.points[0, 0].astype(int)
        assert not lesion[y, x]

    @given(seed=st.integers(0, 10_000), amount=st.floats(0.01, 0.5))
    @settings(max_examples=60, deadline=None)
    def test_a_loose_box_moves_each_side_by_no_more_than_it_may(self, seed, amount):
        box = np.array([20, 16, 40, 56], dtype=np.float32)
        loose = sam_prompts.loosen_box(box, amount, np.random.default_rng(seed), size=64)
        outwards = (loose - box) * [-1, -1, 1, 1] / [20, 40, 20, 40]
        assert (outwards >= -amount / 2 - 1e-5).all() and (outwards <= amount + 1e-5).all()

    def test_an_unknown_kind(self):
        with pytest.raises(ValueError, match="unknown kind of prompt 'scribble'"):
            sam_prompts.draw_prompts("scribble", rectangle(0, 0, 2, 2)[None], rectangle(0, 0, 2, 2)[None], None)


class TestViews:
    def test_a_mirror_moves_image_mask_and_prompt_alike(self):
        mask = rectangle(10, 20, 14, 23)
        seen = augment.warp(np.stack([mask * 200.0, mask]), MIRROR)
        assert np.array_equal(seen[1] > 0.5, mask[:, ::-1])
        np.testing.assert_allclose(seen[0], mask[:, ::-1] * 200.0, atol=1e-3)
        # Columns 10 … 13 of 64 become 50 … 53; rows stay.
        assert sam_prompts.box_of(seen[1] > 0.5).tolist() == [50, 20, 54, 23]

    def test_the_same_view_changes_nothing(self):
        planes = np.random.default_rng(0).uniform(0, 255, (2, 32, 32)).astype(np.float32)
        np.testing.assert_allclose(augment.warp(planes, SAME), planes, atol=1e-2)

    def test_a_shift_by_a_quarter_of_the_image(self):
        shift = SAME + np.array([[0, 0, 0.5], [0, 0, 0]], dtype=np.float32)
        seen = augment.warp(rectangle(40, 8, 44, 12)[None], shift)
        assert sam_prompts.box_of(seen[0] > 0.5).tolist() == [24, 8, 28, 12]

    @given(seed=st.integers(0, 10_000))
    @settings(max_examples=60, deadline=None)
    def test_the_focus_stays_in_view_and_a_zoom_in_stays_in_the_image(self, seed):
        mask = rectangle(44, 8, 60, 20)
        view = augment.draw_view(mask, np.random.default_rng(seed))
        assert augment.warp(mask[None], view)[0].sum() > 0.5 * mask.sum()

    def test_a_pasted_shape_changes_the_image_where_its_mask_is(self):
        image = np.full((64, 64), 100.0)
        for seed in range(10):
            pasted, mask = augment.paste_shape(image, np.random.default_rng(seed))
            assert mask.any() and pasted.min() >= 0 and pasted.max() <= 255
            if mask.sum() > 20:
                assert np.abs(pasted - 100)[mask].mean() > 5 * np.abs(pasted - 100)[~mask].mean()

    @given(seed=st.integers(0, 1000))
    @settings(max_examples=30, deadline=None)
    def test_intensities_stay_in_range(self, seed):
        rng = np.random.default_rng(seed)
        varied = augment.vary_intensity(rng.integers(0, 256, (16, 16)), rng)
        assert varied.dtype == np.float32 and varied.min() >= 0 and varied.max() <= 255


class TestExamples:
    def test_each_lung_is_a_target_of_its_own_and_their_union_is_the_mask(self, images):
        for number, fact in enumerate(images.facts):
            targets = examples.target_masks(images, number)
            lungs = fact["task"] in ("lung_xray", "lung_ct")
            assert len(targets) == (0 if not fact["present"] else 2 if lungs else 1)
            if targets:
                assert np.array_equal(np.any(targets, axis=0), images.mask(number))

    def test_examples_hold_masks_of_some_size_with_a_prompt_for_each(self, images):
        groups, kinds = examples.index_by_task(images), set()
        for seed in range(40):
            rng = np.random.default_rng(seed)
            example = examples.draw_example(images, groups, 3, examples.Sampling(), rng)
            kinds.add(example.kind)
            assert example.pixels.shape == (256, 256) and example.pixels.dtype == np.float32
            assert example.masks.shape == (3, 256, 256)
            assert example.masks.sum(axis=(1, 2)).min() >= examples.SMALLEST
            given_ones = [part for part in (example.prompts.boxes, example.prompts.points) if part is not None]
            assert given_ones and all(len(part) == 3 for part in given_ones)
        assert kinds == set(sam_prompts.KINDS)

    def test_a_click_on_a_lesion_never_means_the_organ(self, images):
        lesion, organ = rectangle(20, 20, 36, 36), rectangle(4, 4, 60, 60)
        of_lesion, of_organ = examples._candidates([lesion], [organ], None, 0.9)
        assert np.array_equal(of_organ.mask, organ) and np.array_equal(of_organ.inside, organ & ~lesion)
        assert np.array_equal(of_lesion.inside, lesion)
        assert (of_lesion.weight, of_organ.weight) == pytest.approx((0.9, 0.1))

    def test_padding_is_blank_and_hides_no_mask(self):
        mask = rectangle(0, 0, 12, 12)[None]
        pixels, masks, inside = examples._pad(np.zeros((64, 64)), mask, mask, np.random.default_rng(0))
        blank = pixels == examples.BLANK
        assert blank.any() and (blank.all(axis=0) | blank.all(axis=1)[:, None])[blank].all()
        assert np.array_equal(masks, mask) and np.array_equal(inside, mask)


class TestLosses:
    def test_dice_by_hand(self):
        # Two of four pixels: p = (1, 1, 0, 0) and c = (1, 0, 1, 0): overlap 1, sums 2 and 2, so 1 − 3 / 5.
        logits = torch.tensor([30.0, 30, -30, -30]).reshape(1, 1, 2, 2)
        covered = torch.tensor([1.0, 0, 1, 0]).reshape(1, 1, 2, 2)
        assert steps.dice_loss(logits, covered).item() == pytest.approx(0.4)

    def test_cross_entropy_by_hand(self):
        # At p = ½ it is log 2, whatever the coverage; at p = ¾ and c = 1 it is log 4/3. The mean counts.
        logits = torch.tensor([0.0, float(np.log(3))]).reshape(1, 1, 1, 2)
        expected = (np.log(2) + np.log(4 / 3)) / 2
        assert steps.cross_entropy(logits, torch.ones(1, 1, 1, 2)).item() == pytest.approx(expected)
        assert steps.cross_entropy(logits * 0, torch.rand(1, 1, 1, 2)).item() == pytest.approx(np.log(2))

    def test_iou_by_hand(self):
        a = torch.tensor([True, True, False, False]).reshape(1, 1, 2, 2)
        b = torch.tensor([True, False, True, False]).reshape(1, 1, 2, 2)
        assert steps.iou(a, b).item() == pytest.approx(1 / 3)
        assert steps.iou(a & False, b & False).item() == 0

    def test_embed_and_decode_are_those_of_segment_anything(self):
        sam = train.new_model(QUICK).eval()
        pixels = torch.rand(1, 256, 256, generator=torch.Generator().manual_seed(0)) * 255
        prompts = sam_prompts.Prompts(boxes=np.array([[20, 30, 90, 80]], dtype=np.float32))
        with torch.no_grad():
            logits, quality = steps.decode(sam, steps.embed(sam, pixels), prompts)
            batch = [{"image": pixels.expand(3, -1, -1), "boxes": torch.from_numpy(prompts.boxes)}]
            batch[0]["original_size"] = (256, 256)
            for multimask, masks in ((False, slice(0, 1)), (True, slice(1, None))):
                expected = sam(batch, multimask_output=multimask)[0]
                torch.testing.assert_close(logits[:, masks], expected["low_res_logits"])
                torch.testing.assert_close(quality[:, masks], expected["iou_predictions"])

    def test_images_of_half_the_size_give_masks_of_half_the_size(self):
        sam = train.new_model(QUICK).eval()
        with torch.no_grad():
            embedding = steps.embed(sam, torch.zeros(1, 128, 128))
            logits, _ = steps.decode(sam, embedding, sam_prompts.Prompts(boxes=np.array([[0, 0, 9, 9.0]], "f4")))
        assert embedding.shape[-2:] == (16, 16) and logits.shape == (1, 4, 64, 64)


class TestOptimizer:
    def test_the_rate_rises_and_falls(self):
        fractions = [optimizers.rate_fraction(step, 1000, warm_up_steps=100, last=0.01) for step in range(1001)]
        assert fractions[0] == pytest.approx(0.01)
        assert np.argmax(fractions) in (98, 99) and max(fractions) < 1
        assert fractions[500] == pytest.approx(0.505) and fractions[1000] == pytest.approx(0.01)

    def test_every_weight_is_moved_by_one_of_the_two(self):
        sam = train.new_model(QUICK)
        before = {name: weight.detach().clone() for name, weight in sam.named_parameters()}
        optimizer = optimizers.muon_and_adamw(sam, 0.02, 1e-3, 0.01)
        generator = torch.Generator().manual_seed(0)
        for weight in sam.parameters():
            weight.grad = torch.randn(weight.shape, generator=generator)
        optimizer.step(0.5)
        for name, weight in sam.named_parameters():
            assert not torch.equal(weight, before[name]) and weight.grad is None, name
        # AdamW's first step is its rate, here half of 1e-3; Muon's is near-orthogonal, whatever the gradient's size.
        moved = sam.prompt_encoder.no_mask_embed.weight - before["prompt_encoder.no_mask_embed.weight"]
        torch.testing.assert_close(moved.abs(), torch.full_like(moved, 5e-4), rtol=1e-3, atol=0)
        matrix = sam.image_encoder.blocks[0].attn.proj.weight - before["image_encoder.blocks.0.attn.proj.weight"]
        lengths = torch.linalg.svdvals(matrix.detach()) / 0.01
        assert lengths.max() < 1.3 and lengths.median() > 0.6

    @pytest.mark.skipif(not hasattr(torch.optim, "Muon"), reason="torch before 2.9 has no Muon to compare with")
    @pytest.mark.parametrize("shape", [(6, 20), (20, 6)])
    def test_muon_moves_as_that_of_torch_but_for_its_rounding(self, shape):
        generator = torch.Generator().manual_seed(0)
        start, gradients = torch.randn(shape, generator=generator), torch.randn(4, *shape, generator=generator)
        moved = []
        for make in (optimizers.Muon, torch.optim.Muon):
            matrix = torch.nn.Parameter(start.clone())
            optimizer = make([{"params": [matrix]}], weight_decay=0.1)
            optimizer.param_groups[0]["lr"] = 0.05
            for gradient in gradients:
                matrix.grad = gradient.clone()
                optimizer.step()
            moved.append(matrix.detach() - start)
        torch.testing.assert_close(*moved, rtol=0.05, atol=2e-3)

    def test_muon_brings_singular_values_near_to_one(self):
        found = optimizers.Muon.orthogonal(torch.randn(30, 12, generator=torch.Generator().manual_seed(1)))
        values = torch.linalg.svdvals(found)
        assert found.shape == (30, 12) and values.min() > 0.6 and values.max() < 1.3


class TestTraining:
    @pytest.mark.usefixtures("quick_processes")
    def test_quick_run_writes_weights_and_results_and_the_loss_falls(self, tmp_path, data, images):
        train.main(["coarse", "--work", str(tmp_path), "--data", str(data), "--quick"])
        results = json.loads((tmp_path / "tiny_sam_coarse.json").read_text())
        assert results["loss"]["last"] < 0.8 * results["loss"]["first"]
        assert results["steps"] == QUICK.steps and results["settings"]["seed"] == 0
        assert results["machine"]["threads"] == 1 and results["machine"]["torch"] == torch.__version__
        for row in results["validation"].values():
            assert set(row) == {"filled box", *validation.PROMPTED}
            assert all(0 <= value <= 1 for value in row.values()) and row["filled box"] > 0.3
        from medclipsam_utils.models import load_sam

        predictor = load_sam(tmp_path / "tiny_sam_coarse.safetensors")
        predictor.set_image(np.repeat(images.pixels[0][..., None], 3, axis=2))
        masks, _, _ = predictor.predict(box=np.array([50, 50, 100, 100]), multimask_output=False)
        assert masks.shape == (1, 256, 256)

    def test_an_interrupted_run_ends_where_an_uninterrupted_one_does(self, tmp_path, data, monkeypatch):
        monkeypatch.setattr(train, "write_results", lambda *_: None)
        few = replace(QUICK, steps=4, images_per_small_step=1, images_per_step=1)
        whole = train.train(few, tmp_path / "whole", data)
        train.train(few, tmp_path / "parts", data, stop_after=1)
        train.train(few, tmp_path / "parts", data, stop_after=3)
        parts = train.train(few, tmp_path / "parts", data)
        assert parts.losses == whole.losses and len(set(whole.losses)) == 4
        for name, weight in whole.model.state_dict().items():
            assert torch.equal(weight, parts.model.state_dict()[name]), name
        for name, weight in whole.average.state_dict().items():
            assert torch.equal(weight, parts.average.state_dict()[name]), name

        with pytest.raises(ValueError, match="other settings"):
            train.train(replace(few, seed=1), tmp_path / "parts", data)

    def test_a_stage_goes_on_from_the_average_of_the_one_before(self, tmp_path, data, monkeypatch):
        monkeypatch.setattr(train, "write_results", lambda *_: None)
        few = {"steps": 2, "images_per_step": 1, "images_per_small_step": 1, "averaging": 0.5}
        coarse, fine = (replace(train.quick(train.STAGES[stage]), **few) for stage in ("coarse", "fine"))
        with pytest.raises(FileNotFoundError, match=r"tiny_sam_coarse\.pt is not at its end"):
            train.train(fine, tmp_path, data)
        train.train(coarse, tmp_path, data, stop_after=1)
        with pytest.raises(FileNotFoundError, match=r"tiny_sam_coarse\.pt is not at its end"):
            train.train(fine, tmp_path, data)
        before = train.train(coarse, tmp_path, data).average.module.state_dict()
        begun = train.train(fine, tmp_path, data, stop_after=0)
        for name, weight in begun.model.state_dict().items():
            assert torch.equal(weight, before[name]), name
        assert begun.average.n_averaged == 0 and begun.shrink == 1

    def test_the_first_part_of_the_steps_sees_small_images(self):
        training = train.Training(replace(QUICK, steps=10, share_of_small_steps=0.3), torch.nn.Linear(1, 1))
        seen = []
        for training.step in range(10):
            seen.append(training.shrink)
        assert seen == [2] * 3 + [1] * 7
