"""Stage 3: schedule and uncertainty against values worked out by hand, training that goes on, and bad input."""

from __future__ import annotations

import dataclasses
import errno
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import entropy as scipy_entropy
from test_saliency_m2ib import biomedclip_like

from medclipsam_utils import TASKS, Segmenter, dice, load_clip, load_sam, simulate
from medclipsam_utils.images import MedicalImage
from medclipsam_utils.postprocess import components
from medclipsam_utils.saliency.towers import image_tower
from medclipsam_utils.settings import PAPERS_WAY
from medclipsam_utils.visual_prompts import points_from_mask, predict_mask
from medclipsam_utils.weak import (
    ClipUNet,
    CyclicPolyLR,
    EnsemblePrediction,
    PseudoLabels,
    TrainingConfig,
    build_unet,
    cyclic_poly,
    entropy,
    load_ensemble,
    make_pseudo_labels,
    released_poly,
    reliability,
    risk_coverage,
    train_segmenter,
    triage,
)


class TestSchedule:
    def test_by_hand(self):
        """A cycle of 10: 1 at its start, 0.5^0.9 in its middle, 0.2^0.9 from step 8 on, and then 1 again."""
        factors = [cyclic_poly(step, 10) for step in range(12)]
        assert factors[0] == factors[10] == 1 and factors[5] == pytest.approx(0.5**0.9)
        assert factors[8] == factors[9] == pytest.approx(0.2**0.9) and factors[7] > factors[8]
        assert factors[11] == factors[1] == pytest.approx(0.9**0.9)

    def test_the_released_one_hardly_cycles(self):
        """Its cycle of a training of three ends at (1 − 0.8/3)^0.9 of the peak."""
        assert released_poly(9, 10, 3) == pytest.approx((1 - 0.8 / 3) ** 0.9) and released_poly(10, 10, 3) == 1
        assert released_poly(7, 10, 1) == cyclic_poly(7, 10)

    def test_as_a_scheduler_of_torch(self):
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.4)
        scheduler, rates = CyclicPolyLR(optimizer, 5, warm_up=3), []
        for _ in range(14):
            rates.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            scheduler.step()
        assert rates == pytest.approx([0.4] * 3 + [0.4 * cyclic_poly(step, 5) for step in range(11)])

    def test_what_is_out_of_range_is_said(self):
        for arguments in ((-1, 10), (0, 0)):
            with pytest.raises(ValueError, match="give 0 or more, and 1 or more"):
                cyclic_poly(*arguments)
        with pytest.raises(ValueError, match=r"gamma is 1\.5"):
            cyclic_poly(0, 10, gamma=1.5)
        with pytest.raises(ValueError, match="warm_up is -1"):
            CyclicPolyLR(torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.4), 10, warm_up=-1)


class TestUncertainty:
    @given(st.lists(st.floats(0, 1), min_size=1, max_size=9))
    def test_entropy_is_that_of_scipy(self, values):
        p = np.array(values)
        assert np.allclose(entropy(p), scipy_entropy(np.stack([p, 1 - p]), base=2, axis=0), atol=1e-12)

    def test_entropy_at_the_ends(self):
        assert entropy(np.array([0.0, 0.5, 1.0])).tolist() == [0, 1, 0]
        with pytest.raises(ValueError, match="are no probabilities"):
            entropy(np.array([0.5, 1.2]))

    def test_an_ensemble_by_hand(self):
        """Two models, one image of three pixels: both sure, both unsure, each sure of something else."""
        members = np.array([[[[1.0, 0.5, 1.0]]], [[[1.0, 0.5, 0.0]]]], dtype=np.float32)
        found = EnsemblePrediction(members)
        assert found.probability.tolist() == [[[1, 0.5, 0.5]]] and found.masks.tolist() == [[[True, False, False]]]
        assert found.entropy.tolist() == [[[0, 1, 1]]] and found.variation.tolist() == [[[0, 0, 0.5]]]
        assert found.case_uncertainty.tolist() == [1.0]  # two bits over a mass of two
        assert repr(found) == "EnsemblePrediction(2 models, 1 images of 1 × 3 pixels)"
        assert EnsemblePrediction(np.zeros((2, 1, 3, 3), np.float32)).case_uncertainty.tolist() == [0]
        for wrong in (np.zeros((2, 3, 3)), np.zeros((0, 1, 3, 3))):
            with pytest.raises(ValueError, match=r"give \[models, images, rows, columns\]"):
                EnsemblePrediction(wrong)

    def test_reliability_by_hand(self):
        """Two bins: of two pixels at 0.2 none is target, of two at 0.8 one is; ECE = ½ · 0.2 + ½ · 0.3."""
        found = reliability(np.array([0.2, 0.2, 0.8, 0.8]), np.array([False, False, True, False]), bins=2)
        assert found.predicted.tolist() == [0.2, 0.8] and found.observed.tolist() == [0, 0.5]
        assert found.fraction.tolist() == [0.5, 0.5] and found.ece == pytest.approx(0.25)
        sure = reliability(np.array([0.0, 1.0]), np.array([False, True]), bins=3)
        assert sure.ece == 0 and np.isnan(sure.predicted[1]) and sure.fraction.tolist() == [0.5, 0, 0.5]
        with pytest.raises(ValueError, match="there are 2 probabilities and 1 truths"):
            reliability(np.zeros(2), np.zeros(1, bool))
        with pytest.raises(ValueError, match="bins is 0"):
            reliability(np.zeros(2), np.zeros(2, bool), bins=0)

    def test_well_calibrated_probabilities_have_a_small_error(self):
        generator = np.random.default_rng(0)
        p = generator.random(100_000)
        truth = generator.random(100_000) < p
        assert reliability(p, truth).ece < 0.01 < reliability(p**3, truth).ece

    def test_risk_and_coverage_by_hand(self):
        found = risk_coverage([0.1, 0.9, 0.5], [1.0, 0.2, 0.6])
        assert found.coverage == pytest.approx([1 / 3, 2 / 3, 1]) and found.score == pytest.approx([1.0, 0.8, 0.6])
        assert found.random == pytest.approx(0.6) and found.best == pytest.approx([1.0, 0.8, 0.6])
        assert found.at(0.5) == found.at(2 / 3) == pytest.approx(0.8) and found.at(1.0) == pytest.approx(0.6)
        useless = risk_coverage([0.9, 0.1, 0.5], [1.0, 0.2, 0.6])
        assert useless.score[0] == pytest.approx(0.2) and useless.best[0] == 1
        with pytest.raises(ValueError, match="give one of each per case"):
            risk_coverage([0.1], [1.0, 0.5])

    def test_triage_lists_the_most_uncertain_first(self):
        assert triage(["a", "b", "c", "d", "e"], [0.1, 0.9, 0.5, 0.9, 0.2], fraction=0.5) == ["b", "d", "c"]
        assert triage(["a"], [0.1], fraction=0) == [] and triage([], [], fraction=1) == []
        with pytest.raises(ValueError, match="2 names for 1 uncertainties"):
            triage(["a", "b"], [0.1])
        with pytest.raises(ValueError, match="fraction is 2"):
            triage(["a"], [0.1], fraction=2)


class TestPseudoLabels:
    def test_an_image_is_embedded_once_for_label_and_agreement(self, monkeypatch):
        segmenter, embedded = Segmenter(load_clip("tiny"), load_sam("tiny")), []
        own = segmenter.sam.set_image
        monkeypatch.setattr(segmenter.sam, "set_image", lambda image: embedded.append(1) or own(image))
        images = [simulate("lung_ct", seed, size=64, finding="clear").image for seed in range(3)]
        make_pseudo_labels(segmenter, images, task="lung_ct", progress=False)
        assert len(embedded) == 3

    def test_a_task_is_as_good_as_its_name(self):
        segmenter = Segmenter(load_clip("tiny"), load_sam("tiny"))
        images = [simulate("lung_ct", seed, size=64).image for seed in range(3)]
        one, other = (
            make_pseudo_labels(segmenter, images, task=task, progress=False) for task in ("lung_ct", TASKS["lung_ct"])
        )
        assert np.array_equal(one.masks, other.masks) and np.array_equal(one.agreement, other.agreement)
        assert np.array_equal(one.present, other.present)

    def test_agreement_is_that_of_box_and_points(self):
        segmenter = Segmenter(load_clip("tiny"), load_sam("tiny"), PAPERS_WAY["tiny"])
        images = [simulate("brain_mri", 31, finding=finding).image for finding in ("meningioma", "normal")]
        labels = make_pseudo_labels(segmenter, images, task="brain_mri", progress=False)
        found = segmenter.segment(images[0], task="brain_mri")
        by_points = predict_mask(segmenter.sam, points=[points_from_mask(part) for part in components(found.coarse)])
        assert dice(labels.masks[0], found.mask) > 0.99
        assert labels.agreement[0] == pytest.approx(dice(by_points, found.mask), abs=0.02)
        assert labels.present.tolist() == [True, False] and labels.trusted(1.0).tolist() == [0]
        config = dataclasses.replace(PAPERS_WAY["tiny"]["brain_mri"], visual_prompt="point")
        pointed = Segmenter(segmenter.clip, segmenter.sam, config)
        other = make_pseudo_labels(pointed, images[:1], task="brain_mri", progress=False)
        assert other.agreement[0] == pytest.approx(dice(other.masks[0], found.mask), abs=0.02)
        none = make_pseudo_labels(segmenter, [], "brain tumour", progress=False)
        assert none.masks == () and none.agreement.shape == (0,)
        assert repr(none) == "PseudoLabels(0 masks; empty: 0, reported absent: 0)"

    def test_the_trusted_ones_agree_are_present_and_not_empty(self):
        full, empty = np.ones((2, 2), bool), np.zeros((2, 2), bool)
        labels = PseudoLabels(
            (full, full, full, empty, full), np.array([0.9, 0.2, 0.8, 0.99, 0.95]), np.array([1, 1, 1, 1, 0], bool)
        )
        assert labels.trusted(0.4).tolist() == [0, 2] and labels.trusted(1.0).tolist() == [0, 1, 2]
        assert labels.trusted(0.01).tolist() == [0]
        assert repr(labels) == "PseudoLabels(5 masks; empty: 1, reported absent: 1)"
        with pytest.raises(ValueError, match="fraction is 0"):
            labels.trusted(0)
        with pytest.raises(ValueError, match="of 1 labels none is left: all are empty"):
            PseudoLabels((empty,), np.array([0.9]), np.array([True])).trusted()


CONFIG = TrainingConfig(
    size=32, channels=(4, 8, 8), cycles=2, cycle_steps=10, keep=2, batch_size=4, checkpoint_every=4, augment=True
)
SHORT = dataclasses.replace(CONFIG, cycles=1, cycle_steps=5, keep=1)


def squares(count=8, seed=0):
    """Bright squares on noise, and their masks."""
    generator = np.random.default_rng(seed)
    images, masks = [], []
    for _ in range(count):
        image, mask = generator.integers(0, 90, (40, 36, 3), dtype=np.uint8), np.zeros((40, 36), bool)
        y, x = generator.integers(2, 20, 2)
        mask[y : y + 12, x : x + 12] = True
        image[mask] += 120
        images.append(image)
        masks.append(mask)
    return images, masks


def spoilt(image, value):
    """An image of floats with two pixels that are wrong, one of them in one channel only."""
    image = image.astype(np.float32)
    image[3, 4], image[7, 8, 1] = value, value
    return image


@pytest.fixture(scope="module")
def trained():
    return train_segmenter(*squares(), SHORT, progress=False)


class TestTraining:
    def test_learns_and_predicts_at_the_size_of_the_images(self):
        config = dataclasses.replace(CONFIG, cycles=1, cycle_steps=80, lr=0.02, augment=False)
        ensemble = train_segmenter(*squares(), config, progress=False)
        images, masks = squares(4, seed=1)
        found = ensemble.predict(images)
        assert found.members.shape == (2, 4, 40, 36) and found.members.dtype == np.float32
        assert np.mean([dice(one, other) for one, other in zip(found.masks, masks, strict=True)]) > 0.85
        assert ensemble.losses[-1] < ensemble.losses[0] / 3
        grey = ensemble.predict([image[..., 0] for image in images])
        assert grey.masks.shape == (4, 40, 36)

    def test_models_are_kept_at_the_end_of_each_cycle(self):
        assert CONFIG.snapshot_steps == [9, 10, 19, 20]
        assert TrainingConfig(cycles=2, cycle_steps=100, keep=4).snapshot_steps == [85, 90, 95, 100, 185, 190, 195, 200]
        assert dataclasses.replace(CONFIG, warm_up=7).snapshot_steps == [16, 17, 26, 27]
        ensemble = train_segmenter(*squares(), CONFIG, progress=False)
        assert len(ensemble.snapshots) == 4 and repr(ensemble) == "UNetEnsemble(4 models of 2 cycles)"
        network = build_unet(CONFIG.channels)
        for weights in ensemble.snapshots:
            network.load_state_dict(weights)

    def test_a_warm_up_comes_before_the_first_cycle(self):
        """The rate is at its peak for so long, and no model is kept; then it falls."""
        config = dataclasses.replace(CONFIG, warm_up=5, cycles=1, cycle_steps=5, keep=1)
        warm = train_segmenter(*squares(), config, progress=False)
        at_peak = dataclasses.replace(config, warm_up=0, cycles=10, cycle_steps=1)
        peak = train_segmenter(*squares(), at_peak, progress=False)
        assert len(warm.losses) == config.steps == 10 and len(warm.snapshots) == 1
        assert warm.losses[:7] == peak.losses[:7] and warm.losses[7] != peak.losses[7]

    def test_an_averaged_model_is_the_mean_of_the_last_steps(self):
        """With one model a cycle, of the two steps in its last fifth; the training itself is the same."""
        plain = train_segmenter(*squares(), CONFIG, progress=False)
        averaged = train_segmenter(*squares(), dataclasses.replace(CONFIG, keep=1, average=True), progress=False)
        assert averaged.losses == plain.losses and len(averaged.snapshots) == 2
        for cycle, weights in enumerate(averaged.snapshots):
            one, other = plain.snapshots[2 * cycle : 2 * cycle + 2]
            for name, weight in weights.items():
                assert torch.allclose(weight, (one[name] + other[name]) / 2, atol=1e-7)
            assert any(not torch.equal(one[name], other[name]) for name in weights)
        each = train_segmenter(*squares(), dataclasses.replace(CONFIG, average=True), progress=False)
        assert all(torch.equal(w, plain.snapshots[1][name]) for name, w in each.snapshots[1].items())

    def test_bfloat16_learns_the_same_to_its_precision(self):
        """The network computes in bfloat16, what is kept is float32."""
        whole = train_segmenter(*squares(), dataclasses.replace(CONFIG, augment=False), progress=False)
        half = train_segmenter(
            *squares(), dataclasses.replace(CONFIG, augment=False, precision="bfloat16"), progress=False
        )
        assert half.losses != whole.losses and np.allclose(half.losses, whole.losses, rtol=0.1)
        assert {weight.dtype for weight in half.snapshots[-1].values()} == {torch.float32}

    @pytest.mark.parametrize("average", [False, True])
    def test_goes_on_after_an_interruption_as_if_there_were_none(self, tmp_path, monkeypatch, average):
        """The last checkpoint is in the last fifth of a cycle, from step 17, of which one model was kept."""
        config = dataclasses.replace(CONFIG, cycle_steps=20, keep=2, checkpoint_every=19, average=average)
        images, masks = squares()
        whole = train_segmenter(images, masks, config, folder=tmp_path / "whole", progress=False)
        steps, learn = [], "medclipsam_utils.weak.training._Run.learn"
        from medclipsam_utils.weak.training import _Run

        own = _Run.learn

        def interrupted(self, *batch):
            if len(steps) == 30:
                raise KeyboardInterrupt
            steps.append(1)
            own(self, *batch)

        monkeypatch.setattr(learn, interrupted)
        with pytest.raises(KeyboardInterrupt):
            train_segmenter(images, masks, config, folder=tmp_path / "cut", progress=False)
        monkeypatch.setattr(learn, own)
        half = load_ensemble(tmp_path / "cut")
        assert len(half.snapshots) == 2
        resumed = train_segmenter(images, masks, config, folder=tmp_path / "cut", progress=False)
        assert resumed.losses == whole.losses
        for name, weight in whole.snapshots[-1].items():
            assert torch.equal(weight, resumed.snapshots[-1][name])
        loaded = load_ensemble(tmp_path / "cut")
        assert loaded.config == config
        assert np.array_equal(loaded.predict(images[:2]).members, whole.predict(images[:2]).members)
        again = train_segmenter(images, masks, config, folder=tmp_path / "cut", progress=False)
        assert again.losses == whole.losses

    def test_a_training_that_kept_no_model_yet_says_when_it_will(self, tmp_path, monkeypatch):
        def interrupted(self, *batch):
            raise KeyboardInterrupt

        monkeypatch.setattr("medclipsam_utils.weak.training._Run.learn", interrupted)
        with pytest.raises(KeyboardInterrupt):
            train_segmenter(*squares(), dataclasses.replace(CONFIG, warm_up=7), folder=tmp_path, progress=False)
        with pytest.raises(ValueError, match="holds no model yet: the first one is kept after 16 steps"):
            load_ensemble(tmp_path)

    def test_starts_from_a_copy_of_the_image_tower_of_a_clip(self, tmp_path):
        """The tower is trained along, at its own rate, and the given model stays as it is."""
        clip, (images, masks) = load_clip("tiny"), squares()
        before = {name: weight.clone() for name, weight in clip.model.state_dict().items()}
        ensemble = train_segmenter(images, masks, CONFIG, clip=clip, folder=tmp_path, progress=False)
        assert all(torch.equal(weight, before[name]) for name, weight in clip.model.state_dict().items())
        learned, own = ensemble.snapshots[-1], clip.model.visual.state_dict()
        moved = {name: float((learned[f"visual.{name}"] - weight).abs().max()) for name, weight in own.items()}
        assert 0 < max(moved.values()) < 0.02  # 20 steps of AdamW move a weight by 20 · 3e-3 · 0.1 at most
        found = ensemble.predict(images[:2])
        assert found.members.shape == (4, 2, 40, 36)
        loaded = load_ensemble(tmp_path, clip)
        assert np.array_equal(loaded.predict(images[:2]).members, found.members)
        with pytest.raises(ValueError, match=r"was trained from tiny [0-9a-f]{16} and you give none: give clip"):
            load_ensemble(tmp_path)

    def test_the_deepest_level_is_what_the_tower_sees(self):
        """Token 53 of the patches, counted from 0, is at row 3 and column 5 of 16 × 16."""
        clip = load_clip("tiny")
        image = torch.rand(1, 1, 128, 128, generator=torch.Generator().manual_seed(0))
        with torch.no_grad():
            network, tower = ClipUNet(clip, (4, 8, 8, 8, 8), 128).eval(), image_tower(clip)
            tokens = tower.norms[-1](tower.run(tower.embed(image.repeat(1, 3, 1, 1)), 0))[0, tower.prefix :]
            seen = []
            network.up[0].register_forward_pre_hook(lambda block, given: seen.append(given[0]))
            scores = network(image)
        assert scores.shape == (1, 2, 128, 128) and seen[0].shape == (1, tokens.shape[1], 16, 16)
        assert torch.allclose(seen[0][0, :, 3, 5], tokens[53], atol=1e-5)

    def test_a_tower_as_in_biomedclip_fits_whatever_the_size_of_the_u_net(self):
        """timm's transformer, 224 pixels, 14 × 14 patches; the U-Net works on 32."""
        with torch.no_grad():
            network = ClipUNet(biomedclip_like(), (4, 8, 8), 32).eval()
            assert network(torch.zeros(2, 1, 32, 32)).shape == (2, 2, 32, 32)

    @pytest.mark.parametrize(("size", "levels"), [(16, 1), (32, 1), (64, 2), (112, 3), (128, 3), (512, 4)])
    def test_the_tower_takes_the_place_of_the_coarse_levels(self, size, levels):
        """Of five levels, those stay that are finer than the 16 × 16 patches; 112 pixels are the default."""
        config = TrainingConfig(size=size)
        with torch.no_grad():
            network = ClipUNet(load_clip("tiny"), config.channels, size).eval()
            assert len(network.down) == len(network.up) == levels
            assert network(torch.zeros(1, 1, size, size)).shape == (1, 2, size, size)

    def test_labels_that_teach_nothing_are_refused(self):
        images, masks = squares(3)
        with pytest.raises(ValueError, match="all 3 labels are empty, so that there is nothing to learn"):
            train_segmenter(images, [np.zeros_like(mask) for mask in masks], CONFIG, progress=False)
        with pytest.raises(ValueError, match="all 3 labels cover their whole image"):
            train_segmenter(images, [np.ones_like(mask) for mask in masks], CONFIG, progress=False)
        with pytest.raises(ValueError, match="there are 3 images and 2 labels"):
            train_segmenter(images, masks[:2], CONFIG, progress=False)
        with pytest.raises(ValueError, match=r"image 0 has \(40, 36\) pixels and its label \(40, 30\)"):
            train_segmenter(images, [mask[:, :30] for mask in masks], CONFIG, progress=False)
        one_empty = train_segmenter(images, [masks[0], masks[1], np.zeros_like(masks[2])], CONFIG, progress=False)
        assert np.isfinite(one_empty.losses).all()

    @pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.float32])
    def test_labels_of_0_and_1_are_as_good_as_bool(self, dtype):
        images, masks = squares()
        expected = train_segmenter(images, masks, SHORT, progress=False)
        found = train_segmenter(images, [mask.astype(dtype) for mask in masks], SHORT, progress=False)
        tensors = train_segmenter(images, [torch.from_numpy(mask) for mask in masks], SHORT, progress=False)
        assert found.losses == tensors.losses == expected.losses

    @pytest.mark.parametrize(
        ("change", "says"),
        [
            (lambda mask: mask * np.uint8(255), r"label 2 has other values than 0 and 1 \(255\): give bool: mask > 0"),
            (lambda mask: mask * 2 + 1, r"label 2 .* \(3\): give bool"),
            (lambda mask: mask * 3.0 - ~mask, r"label 2 .* \(-1, 3\): give bool"),
            (lambda mask: mask * 0.7, r"label 2 .* \(0\.7\): probabilities are not a mask, give bool: mask > 0\.5"),
            (lambda mask: np.where(mask, np.nan, 0), "label 2 has 144 NaN values"),
            (lambda mask: mask[None], r"label 2 has shape \(1, 40, 36\), a mask is \[H, W\]"),
            (lambda mask: mask.T, r"image 2 has \(40, 36\) pixels and its label \(36, 40\)"),
        ],
    )
    def test_labels_that_are_no_masks_are_refused(self, tmp_path, change, says):
        images, masks = squares(3)
        with pytest.raises(ValueError, match=says):
            train_segmenter(images, [*masks[:2], change(masks[2])], CONFIG, folder=tmp_path, progress=False)
        assert not list(tmp_path.iterdir())

    def test_images_of_every_kind_are_the_same_images(self):
        images, masks = squares()
        read = [MedicalImage(image, Path(f"{number}.png"), "PNG") for number, image in enumerate(images)]
        tensors = [torch.from_numpy(image.transpose(2, 0, 1).copy()) for image in images]
        expected = train_segmenter(images, masks, SHORT, progress=False)
        for kind in (read, tensors, [read[0], tensors[1], *images[2:]], torch.stack(tensors), np.stack(images)):
            found = train_segmenter(kind, masks, SHORT, progress=False)
            assert found.losses == expected.losses
            assert np.array_equal(found.predict(kind).members, expected.predict(images).members)
        grey = [image[..., 0] for image in images]
        members = expected.predict(grey).members
        assert np.array_equal(expected.predict([torch.from_numpy(image) for image in grey]).members, members)
        assert np.allclose(expected.predict([image / 255 for image in grey]).members, members, atol=1e-4)

    @pytest.mark.parametrize(
        ("change", "says"),
        [
            (lambda image: PIL.Image.fromarray(image), "image 1 is a Image: give uint8"),
            (lambda image: image.tolist(), r"image 1 is a list: give uint8 \[H, W, 3\] or .* what read_image returns"),
            (lambda image: image.transpose(2, 0, 1), r"image 1 is uint8 \[3, 40, 36\]: give uint8"),
            (lambda image: np.dstack([image, image[..., 0]]), r"image 1 is uint8 \[40, 36, 4\]"),
            (lambda image: image[0, :, 0], r"image 1 is uint8 \[36\]"),
            (lambda image: image[:0], r"image 1 is uint8 \[0, 36, 3\]"),
            (lambda image: torch.from_numpy(image), r"image 1 is uint8 \[36, 3, 40\]: .* a tensor uint8 \[3, H, W\]"),
            (lambda image: image.astype(str), "image 1 is <U3"),
            (lambda image: spoilt(image, np.nan), r"image 1 has 2 pixels that are NaN or infinite: .*np\.nan_to_num"),
            (lambda image: spoilt(image, np.inf), "image 1 has 2 pixels that are NaN or infinite"),
            (lambda image: spoilt(image, -np.inf)[..., 0], "image 1 has 1 pixels that are NaN or infinite"),
            (lambda image: torch.from_numpy(spoilt(image, np.nan)).permute(2, 0, 1), "image 1 has 2 pixels"),
        ],
    )
    def test_what_is_no_image_is_refused_before_the_training_and_at_prediction(self, trained, change, says):
        images, masks = squares(2)
        images[1] = change(images[1])
        with pytest.raises(ValueError, match=says):
            train_segmenter(images, masks, CONFIG, progress=False)
        with pytest.raises(ValueError, match=says):
            trained.predict(images)

    def test_more_cycles_go_on_and_fewer_are_the_first_ones(self, tmp_path):
        images, masks = squares()
        one, three = (dataclasses.replace(CONFIG, cycles=cycles) for cycles in (1, 3))
        expected = {config.cycles: train_segmenter(images, masks, config, progress=False) for config in (one, three)}
        for config in (one, dataclasses.replace(three, checkpoint_every=7), one):
            found = train_segmenter(images, masks, config, folder=tmp_path, progress=False)
            assert found.losses == expected[config.cycles].losses
            loaded = load_ensemble(tmp_path)
            assert loaded.config == config
            for ensemble in (found, loaded):
                assert len(ensemble.snapshots) == 2 * config.cycles
                members = expected[config.cycles].predict(images[:1]).members
                assert np.array_equal(ensemble.predict(images[:1]).members, members)

    def test_a_training_with_other_settings_is_refused_and_they_are_named(self, tmp_path):
        images, masks = squares()
        train_segmenter(images, masks, SHORT, folder=tmp_path, progress=False)
        before = (tmp_path / "run.json").read_bytes()
        for change, says in (
            ({"config": dataclasses.replace(SHORT, lr=0.1)}, r"lr was 0\.003 and is 0\.1 now\. Use the same"),
            (
                {"config": dataclasses.replace(SHORT, seed=3, size=64)},
                "size was 32 and is 64 now; seed was 0",
            ),
            ({"images": images[:5], "labels": masks[:5]}, "images was 8 and is 5 now"),
            ({"labels": [np.roll(mask, 1) | mask for mask in masks]}, r"labelled was 0\.\d+ and is 0\.\d+ now\. Use"),
            ({"clip": load_clip("tiny")}, "tower was '' and is 'tiny [0-9a-f]{16}' now. Use"),
        ):
            given = {"images": images, "labels": masks, "config": SHORT} | change
            with pytest.raises(ValueError, match="was made with other settings, data or model: " + says):
                train_segmenter(**given, folder=tmp_path, progress=False)
        assert (tmp_path / "run.json").read_bytes() == before

    def test_other_data_or_a_damaged_file_is_refused_by_name(self, tmp_path):
        images, masks = squares()
        train_segmenter(images, masks, CONFIG, folder=tmp_path, progress=False)
        with pytest.raises(ValueError, match="was made with other settings, data or model"):
            train_segmenter(images, masks, dataclasses.replace(CONFIG, lr=0.1), folder=tmp_path, progress=False)
        (tmp_path / "snapshot_001.pt").write_bytes(b"PK damaged")
        with pytest.raises(ValueError, match=r"snapshot_001\.pt is damaged .*: delete it"):
            load_ensemble(tmp_path)
        (tmp_path / "snapshot_001.pt").unlink()
        train_segmenter(images, masks, CONFIG, folder=tmp_path, progress=False)
        assert len(load_ensemble(tmp_path).snapshots) == 4
        (tmp_path / "checkpoint.pt").write_bytes((tmp_path / "checkpoint.pt").read_bytes()[:-200])
        with pytest.raises(ValueError, match=r"checkpoint\.pt is damaged"):
            train_segmenter(images, masks, CONFIG, folder=tmp_path, progress=False)
        (tmp_path / "checkpoint.pt").unlink()
        train_segmenter(images, masks, CONFIG, folder=tmp_path, progress=False)
        assert len(load_ensemble(tmp_path).snapshots) == 4
        with pytest.raises(ValueError, match="holds no training"):
            load_ensemble(tmp_path / "nothing")

    def test_a_full_disk_loses_nothing(self, tmp_path, monkeypatch):
        images, masks = squares()
        save, calls = torch.save, []

        def full(content, path, *arguments, **options):
            calls.append(path)
            if len(calls) > 4:
                path.write_bytes(b"half of it")
                raise OSError(errno.ENOSPC, "No space left on device")
            save(content, path, *arguments, **options)

        monkeypatch.setattr(torch, "save", full)
        with pytest.raises(OSError, match=r"could not be written .*No space left on device.*free some space"):
            train_segmenter(images, masks, CONFIG, folder=tmp_path, progress=False)
        assert not list(tmp_path.glob("*.part"))
        monkeypatch.setattr(torch, "save", save)
        resumed = train_segmenter(images, masks, CONFIG, folder=tmp_path, progress=False)
        assert resumed.losses == train_segmenter(images, masks, CONFIG, progress=False).losses

    def test_settings_that_do_not_fit_are_refused(self):
        for changes, message in (
            ({"size": 30}, "size is 30 and there are 3 levels"),
            ({"channels": (4, 8)}, "give 3 levels or more"),
            ({"keep": 3}, "keep is 3 of 10 steps"),
            ({"cycles": 0}, "cycles is 0"),
            ({"warm_up": -1}, "warm_up is -1"),
            ({"precision": "float16"}, "precision is 'float16': choose float32, bfloat16"),
            ({"lr": 0.0}, r"lr is 0\.0"),
            ({"tower_lr": -1.0}, r"tower_lr is -1\.0"),
        ):
            with pytest.raises(ValueError, match=message):
                dataclasses.replace(CONFIG, **changes)

    def test_images_of_several_sizes_are_predicted_apart(self):
        ensemble = train_segmenter(*squares(), CONFIG, progress=False)
        images, _ = squares(2)
        with pytest.raises(ValueError, match="the images have 2 sizes: predict those of each size on their own"):
            ensemble.predict([images[0], images[1][:30]])
        with pytest.raises(ValueError, match="there are no images: give one or more"):
            ensemble.predict([])
        constant = ensemble.predict([np.full((40, 36, 3), 7, np.uint8)])
        assert np.isfinite(constant.members).all()
