"""The sanity checks of saliency, with methods and models whose answers are known beforehand."""

from __future__ import annotations

import copy
import itertools
from functools import partial

import numpy as np
import pytest
import torch
from test_saliency_m2ib import biomedclip_like, open_clip_vit
from torch.nn import functional as F

from medclipsam_utils.models import load_clip
from medclipsam_utils.saliency import (
    attention_rollout,
    calibrate_presence,
    deletion_insertion,
    m2ib,
    map_correlation,
    mean_features,
    randomisation,
    specificity,
)
from medclipsam_utils.simulate import simulate

ROWS, COLUMNS = np.mgrid[:32, :32]
LEFT = COLUMNS < 16


class Bright:
    """A CLIP that finds the left half of an image as similar to "left" as it is bright, the right half to "right"."""

    device = torch.device("cpu")
    words = ("left", "right")

    def encode_text(self, texts):
        texts = [texts] if isinstance(texts, str) else texts
        return torch.eye(2)[[self.words.index(text) for text in texts]]

    def encode_image(self, images):
        halves = [[image[:, :16, 0].mean(), image[:, 16:, 0].mean()] for image in images]
        return torch.tensor(np.array(halves, dtype=np.float32).reshape(-1, 2) / 255)


def halves(clip, images, text):
    """Bright where the text says, from 1 at the top to a half at the bottom."""
    return [np.where((text == "left") == LEFT, 1 - ROWS / 62, 0).astype(np.float32) for _ in images]


def deaf(clip, images, text):
    return [(ROWS / 31).astype(np.float32) for _ in images]


IMAGES = [np.full((32, 32, 3), 200, np.uint8)] * 3


class TestSpecificity:
    def test_a_method_that_listens(self):
        found = specificity(halves, Bright(), IMAGES, {"right": "left", "other": "right"}, [LEFT] * 3)
        assert found.correlation["right"] == pytest.approx(1) and (found.correlation["other"] < 0).all()
        assert found.coverage["right"].tolist() == [1, 1, 1] and found.coverage["other"].tolist() == [0, 0, 0]
        assert found.pointing["right"].all() and not found.pointing["other"].any()
        lead = found.lead("other")
        assert lead.mean_difference == 1 and lead.p_value == 0 and lead.n == 3

    def test_a_method_that_does_not(self):
        found = specificity(deaf, Bright(), IMAGES, {"right": "left", "other": "right"}, [LEFT] * 3)
        assert found.correlation["other"] == pytest.approx(1) and found.lead("other").p_value == 1

    def test_without_masks(self):
        found = specificity(halves, Bright(), IMAGES, {"right": "left", "other": "right"})
        assert found.coverage == {} and found.pointing == {} and list(found.maps) == ["right", "other"]
        with pytest.raises(ValueError, match="without masks nobody knows"):
            found.lead("other")

    def test_too_little(self):
        with pytest.raises(ValueError, match="give the right one and at least one other"):
            specificity(halves, Bright(), IMAGES, {"right": "left"})
        with pytest.raises(ValueError, match="there are 1 masks for 3 images"):
            specificity(halves, Bright(), IMAGES, {"right": "left", "other": "right"}, [LEFT])


class TestCorrelation:
    def test_by_hand(self):
        """Ranks 1, 2, 3, 4 and 1, 3, 2, 4: 1 − 6 · 2 / (4 · 15) = 0.8."""
        first, second = np.array([[1, 2], [3, 4.0]]), np.array([[0, 0.5], [0.3, 9]])
        assert map_correlation(first, second) == pytest.approx(0.8)
        assert map_correlation(first, -second) == pytest.approx(-0.8)

    def test_a_constant_map_is_like_none(self):
        assert map_correlation(np.zeros((2, 2)), np.arange(4.0).reshape(2, 2)) == 0


class TestRandomisation:
    def test_of_a_method_that_shows_the_image_alone(self):
        found = randomisation(deaf, load_clip("tiny"), IMAGES[:1], "lungs")
        assert all(values == pytest.approx(1) for values in found.values())

    @pytest.mark.parametrize("make, layer", [(lambda: load_clip("tiny"), 5), (open_clip_vit, 1), (biomedclip_like, 10)])
    def test_parts_are_destroyed_from_the_top_each_on_top_of_the_last(self, make, layer):
        clip, states = make(), []
        original = copy.deepcopy(clip.model.state_dict())

        def method(model, images, text):
            states.append({name: weight.clone() for name, weight in model.model.state_dict().items()})
            return deaf(model, images, text)

        names = list(randomisation(method, clip, IMAGES[:1], "lungs"))
        blocks = len(names) - 2
        assert names == ["head", *(f"block {number}" for number in reversed(range(blocks))), "embedding"]
        changes = [
            {name for name in original if not torch.equal(before[name], after[name])}
            for before, after in itertools.pairwise(states)
        ]
        assert all(changes) and not set.intersection(changes[0], *changes[1:])
        for name, changed in zip(names[1:-1], changes[1:-1], strict=True):
            assert all(f"blocks.{name.split()[1]}." in weight for weight in changed)
        assert {"visual.trunk.pos_embed", "visual.positional_embedding"} & changes[-1]
        assert not any("blocks" in weight for weight in changes[0])
        assert all(name.startswith(("visual", "logit")) for change in changes for name in change)  # not the words
        for name, weight in clip.model.state_dict().items():
            assert torch.equal(weight, original[name])
        for name in set.union(*changes):  # the same numbers in another order
            assert torch.equal(states[0][name].flatten().sort().values, states[-1][name].flatten().sort().values)

    def test_m2ib_forgets(self):
        image = simulate("lung_xray", 5).image
        found = randomisation(partial(m2ib, layer=5, beta=0.1, samples=2), load_clip("tiny"), [image], "lungs", seed=3)
        assert min(found["embedding"]) < 0.7
        again = randomisation(partial(m2ib, layer=5, beta=0.1, samples=2), load_clip("tiny"), [image], "lungs", seed=4)
        assert not np.array_equal(found["head"], again["head"])


class TestFaithfulness:
    def test_by_hand(self):
        """Of an image that is bright at the left, all similarity to "left" is there: half of the pixels decide."""
        image = np.repeat(np.where(LEFT, 240, 0).astype(np.uint8)[..., None], 3, axis=2)
        right_order = halves(None, [image], "left")
        wrong_order = halves(None, [image], "right")
        good, bad = (
            deletion_insertion(Bright(), [image], "left", order, steps=2, blur=100.0)
            for order in (right_order, wrong_order)
        )
        assert good.shares.tolist() == [0, 0.5, 1]
        grey = 120 / 255  # what the blur leaves everywhere
        assert good.deletion[0] == pytest.approx([240 / 255, grey, grey], abs=2e-2)
        assert good.insertion[0] == pytest.approx([grey, 240 / 255, 240 / 255], abs=2e-2)
        assert bad.deletion[0] == pytest.approx([240 / 255, 240 / 255, grey], abs=2e-2)
        assert good.score[0] == pytest.approx(grey / 2, abs=2e-2) and bad.score[0] == pytest.approx(-grey / 2, abs=2e-2)

    def test_ends_are_the_image_and_its_blur_whatever_the_order(self):
        generator = np.random.default_rng(0)
        clip, image = load_clip("tiny"), simulate("brain_mri", 4, finding="glioma").image
        one, other = (
            deletion_insertion(clip, [image], "a brain tumour", [generator.random((256, 256))], steps=4)
            for _ in range(2)
        )
        whole, blurred = one.deletion[0, [0, -1]]
        assert [one.insertion[0, -1], other.deletion[0, 0]] == pytest.approx([whole] * 2, abs=1e-6)
        assert [one.insertion[0, 0], other.insertion[0, 0]] == pytest.approx([blurred] * 2, abs=1e-6)
        assert blurred < whole
        assert one.deletion[0, 0] == pytest.approx(clip.similarity([image], ["a brain tumour"]).item(), abs=1e-5)

    def test_too_little(self):
        assert deletion_insertion(Bright(), [], "left", []).score.shape == (0,)
        with pytest.raises(ValueError, match="there are 0 maps for 3 images"):
            deletion_insertion(Bright(), IMAGES, "left", [])
        with pytest.raises(ValueError, match="map 0 is"):
            deletion_insertion(Bright(), IMAGES[:1], "left", [np.zeros((2, 2))])
        for wrong in ({"steps": 0}, {"blur": 0.0}):
            with pytest.raises(ValueError, match="steps is"):
                deletion_insertion(Bright(), IMAGES[:1], "left", deaf(None, IMAGES[:1], ""), **wrong)


class TestPresence:
    @staticmethod
    def images(*levels):
        """Bright at the left by so much more than at the right."""
        return [np.where(LEFT[..., None], 100 + level, 100).astype(np.uint8).repeat(3, axis=2) for level in levels]

    def test_p_values_by_hand(self):
        test = calibrate_presence(Bright(), "left", "right", self.images(0, 10, 20))
        scores = test.score(Bright(), self.images(30, 10, 5))
        assert scores == pytest.approx([30 / 255, 10 / 255, 5 / 255], abs=1e-6)
        assert test.p_value(np.array([1.0, test.without[1], -1.0])).tolist() == [1 / 4, 3 / 4, 1]
        assert test.present(scores, alpha=0.25).tolist() == [True, False, False]

    def test_false_alarms_are_as_rare_as_promised(self):
        """Of scores from one distribution, at most α are reported; close to it, on the average over calibrations."""
        generator, shares = np.random.default_rng(0), []
        for _ in range(300):
            test = calibrate_presence(Bright(), "left", "right", self.images(0))
            object.__setattr__(test, "without", np.sort(generator.normal(size=39)))
            shares.append(test.present(generator.normal(size=100), alpha=0.1).mean())
        assert np.mean(shares) == pytest.approx(0.1, abs=0.01)

    def test_too_few_images(self):
        with pytest.raises(ValueError, match="there are no images without the target"):
            calibrate_presence(Bright(), "left", "right", [])
        test = calibrate_presence(Bright(), "left", "right", self.images(*range(10)))
        with pytest.raises(ValueError, match=r"alpha is 0\.05 with 10 images without the target: give 19 or more"):
            test.present(np.zeros(1))
        with pytest.raises(ValueError, match="give a fraction from 0 to 1"):
            test.present(np.zeros(1), alpha=1.5)

    def test_of_the_small_clip(self):
        clip = load_clip("tiny")
        without = [simulate("lung_ct", seed, finding="abdomen").image for seed in range(19)]
        test = calibrate_presence(
            clip, ["lungs", "chest CT of the lungs"], "an axial abdominal CT without lungs", without
        )
        chest = [simulate("lung_ct", seed, finding="clear").image for seed in (100, 101)]
        abdomen = [simulate("lung_ct", 102, finding="abdomen").image]
        assert test.present(test.score(clip, chest)).all() and not test.present(test.score(clip, abdomen)).any()
        assert test.score(clip, []).shape == (0,)

    def test_mean_features(self):
        clip = load_clip("tiny")
        sentences = ["lungs", "chest CT of the lungs"]
        expected = F.normalize(clip.encode_text(sentences).sum(0), dim=0)
        torch.testing.assert_close(mean_features(clip, sentences), expected)
        torch.testing.assert_close(mean_features(clip, "lungs"), clip.encode_text("lungs")[0])


def test_rollout_is_a_method_that_cannot_listen():
    images = [simulate("lung_xray", 5).image]
    found = specificity(lambda clip, images, text: attention_rollout(clip, images), load_clip("tiny"), images,
                        {"right": "lungs", "other": "a brain tumour"})  # fmt: skip
    assert np.array_equal(found.maps["right"], found.maps["other"])
