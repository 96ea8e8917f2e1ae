"""Fine-tuning: what is trained, that interruptions and processes change nothing, and what is left in the folder."""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
import torch
from processes import run_together
from torch import nn

from medclipsam_utils import losses
from medclipsam_utils.finetune import FinetuneConfig, FrozenBlocks, History, finetune
from medclipsam_utils.finetune import loop as finetune_loop
from medclipsam_utils.finetune.gradients import backward
from medclipsam_utils.losses import DHNNCELoss, InfoNCELoss
from medclipsam_utils.models import Clip, ModelError, load_clip, tiny_clip
from medclipsam_utils.models.tiny_clip import CONTEXT_LENGTH, MEAN, STD, build_tiny_clip
from medclipsam_utils.models.words import WordTokenizer

WORDS = ["brain", "breast", "chest", "image", "lung", "of", "tumour", "without"]
CAPTIONS = [
    f"{first} {second}" for first in ("brain", "breast", "chest") for second in ("tumour", "image", "lung", "of")
]
CONFIG = FinetuneConfig(epochs=2, batch_size=4, learning_rate=1e-3, checkpoint_steps=2)


IMAGE_SIZE = 32


@contextmanager
def smaller():
    """Build the small CLIP still smaller: no rule of the training depends on the number of its blocks and patches."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (("IMAGE_SIZE", IMAGE_SIZE), ("DEPTH", 2), ("TEXT_DEPTH", 1)):
            patch.setattr(tiny_clip, name, value)
        yield


def small_clip(seed: int = 0) -> Clip:
    tokenizer = WordTokenizer(WORDS, CONTEXT_LENGTH)
    with torch.random.fork_rng(devices=[]), smaller():
        torch.manual_seed(seed)
        model = build_tiny_clip(tokenizer.vocabulary_size)
    return Clip("small", model, tokenizer, IMAGE_SIZE, MEAN, STD)


def pairs(count: int = 12, seed: int = 0) -> list[dict]:
    """Noise with a bright square whose place goes with the caption."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 100, (count, 3, 32, 32), generator=generator, dtype=torch.uint8)
    for number, image in enumerate(images):
        row, column = divmod(number % 12, 4)
        image[:, 8 * row : 8 * row + 8, 8 * column : 8 * column + 8] += 155
    return [{"image": image, "caption": CAPTIONS[number % 12]} for number, image in enumerate(images)]


def weights(clip: Clip) -> dict[str, torch.Tensor]:
    return {name: weight.clone() for name, weight in clip.model.state_dict().items()}


def assert_equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    for name, weight in one.items():
        assert torch.equal(weight, other[name]), name


class TestRate:
    def test_warm_up_and_decay_by_hand(self):
        config = FinetuneConfig(learning_rate=1.0, warm_up_steps=4, decay=0.5, decay_epochs=2)
        rates = [config.rate(step, steps_per_epoch=3) for step in range(13)]
        assert rates[:6] == [0.25, 0.5, 0.75, 1, 1, 1] and rates[6:12] == [0.5] * 6 and rates[12] == 0.25

    @pytest.mark.parametrize(
        "wrong, says",
        [
            ({"epochs": 0}, "epochs is 0: give 1 or more"),
            ({"batch_size": 1}, "needs another as its negative"),
            ({"micro_batch_size": 0}, "1 or more, or None"),
            ({"learning_rate": -1}, "a number above 0"),
            ({"decay": 0}, "a factor above 0"),
            ({"precision": "int8"}, "choose float32, bfloat16"),
            ({"freeze": "both"}, "choose none, image, text"),
            ({"workers": -1}, "cannot be below 0"),
        ],
    )
    def test_wrong_settings(self, wrong, says):
        with pytest.raises(ValueError, match=says):
            FinetuneConfig(**wrong)


class TestGradients:
    def test_parts_give_the_gradient_of_the_whole_batch(self):
        clip, found = small_clip(), []
        images = clip.preprocess([item["image"] for item in pairs()])
        tokens = clip.tokenize([item["caption"] for item in pairs()])
        for size in (None, 5, 1):
            clip.model.zero_grad()
            value = backward(finetune_loop._Towers(clip.model, "float32"), DHNNCELoss(0.1), images, tokens, size, [0])
            gradients = [p.grad.flatten() for name, p in clip.model.named_parameters() if not name.startswith("logit")]
            found.append((value, torch.cat(gradients)))
        for value, gradient in found[1:]:
            torch.testing.assert_close(value, found[0][0])
            assert (gradient - found[0][1]).norm() < 1e-4 * found[0][1].norm()

    def test_both_encodings_of_a_part_drop_the_same(self):
        class Noisy(nn.Module):
            """Two towers of one layer with dropout; keeps what it answered."""

            def __init__(self):
                super().__init__()
                self.layer, self.answers = nn.Linear(4, 4, bias=False), []

            def forward(self, images, tokens):
                features = nn.functional.dropout(self.layer(images), 0.5, training=True)
                self.answers.append(features.detach())
                return features, features.flip(1)

        towers = Noisy()
        for step in (7, 8):
            backward(towers, InfoNCELoss(), torch.ones(6, 4), torch.zeros(6, 1), 3, [step])
        first, second, *again = towers.answers[:4]
        assert torch.equal(first, again[0]) and torch.equal(second, again[1])
        assert not torch.equal(first, second), "the parts of a batch must not drop the same"
        assert not torch.equal(first, towers.answers[4]), "nor may the steps"


class TestTraining:
    def test_the_loss_falls_and_everything_else_is_as_before(self):
        clip, before = small_clip(), {name: p.requires_grad for name, p in small_clip().model.named_parameters()}
        old, random_state = weights(clip), torch.random.get_rng_state()
        config = replace(CONFIG, epochs=16, batch_size=12, learning_rate=1e-4, warm_up_steps=2, decay=0.99)
        history = finetune(clip, pairs(), InfoNCELoss(0.05), config, progress=False)
        losses = [row["loss"] for row in history.steps]
        assert len(losses) == 16 and losses[-1] < 0.8 * losses[0]
        assert history.steps[0] == {**history.steps[0], "epoch": 0, "learning_rate": 5e-5, "temperature": 0.05}
        assert history.validations == [] and history.best is None and not clip.model.training
        assert {name: p.requires_grad for name, p in clip.model.named_parameters()} == before
        assert torch.equal(torch.random.get_rng_state(), random_state)
        assert torch.equal(old["logit_scale"], clip.model.logit_scale)
        assert not torch.equal(old["visual.trunk.norm.weight"], clip.model.visual.trunk.norm.weight)

    @pytest.mark.parametrize("frozen, trained", [("image", "text."), ("text", "visual.")])
    def test_a_frozen_tower_stays(self, frozen, trained):
        clip = small_clip()
        old = weights(clip)
        finetune(clip, pairs(), InfoNCELoss(), replace(CONFIG, epochs=1, freeze=frozen), progress=False)
        changed = {name for name, weight in weights(clip).items() if not torch.equal(weight, old[name])}
        assert changed and all(name.startswith(trained) for name in changed)

    def test_what_was_frozen_beforehand_stays(self):
        clip = small_clip()
        clip.image_tower.blocks.requires_grad_(False)
        old = weights(clip)
        finetune(clip, pairs(), InfoNCELoss(), replace(CONFIG, epochs=1), progress=False)
        changed = {name for name, weight in weights(clip).items() if not torch.equal(weight, old[name])}
        assert "visual.trunk.norm.weight" in changed and "text.transformer.resblocks.0.ln_1.weight" in changed
        assert not [name for name in changed if name.startswith("visual.trunk.blocks")]
        assert not any(p.requires_grad for p in clip.image_tower.blocks.parameters())

    def test_a_learnable_temperature_is_trained_along(self):
        loss = InfoNCELoss(0.1, learnable_temperature=True)
        history = finetune(small_clip(), pairs(), loss, CONFIG, progress=False)
        assert history.steps[-1]["temperature"] != history.steps[0]["temperature"]

    @pytest.mark.parametrize("micro", [None, 2])
    def test_a_loss_that_spares_false_negatives_is_told_the_groups(self, micro, monkeypatch):
        """By the items' ``group``, or by equal captions; in training, in parts, and in validation."""
        seen, told = [], losses.same_group
        monkeypatch.setattr(losses, "same_group", lambda groups, n: seen.append(groups.tolist()) or told(groups, n))
        config = replace(CONFIG, epochs=1, batch_size=12, micro_batch_size=micro)
        by_caption = [pair | {"caption": CAPTIONS[n // 3]} for n, pair in enumerate(pairs())]
        by_group = [pair | {"group": n // 3} for n, pair in enumerate(pairs())]
        for dataset in (by_caption, by_group):
            seen.clear()
            loss = DHNNCELoss(0.1, false_negatives="masked")
            finetune(small_clip(), dataset, loss, config, validation=dataset, progress=False)
            assert [sorted(map(groups.count, groups)) for groups in seen] == [[3] * 12] * 2
        pushed = finetune(small_clip(), by_group, DHNNCELoss(0.1), config, progress=False)
        assert len(pushed.steps) == 1 and len(seen) == 2  # nobody asked

    def test_small_parts_train_like_the_whole_batch(self):
        one, other = small_clip(), small_clip()
        finetune(one, pairs(), DHNNCELoss(0.1), replace(CONFIG, epochs=1), progress=False)
        finetune(other, pairs(), DHNNCELoss(0.1), replace(CONFIG, epochs=1, micro_batch_size=2), progress=False)
        start = weights(small_clip())
        moved = [
            torch.cat([(weights(c)[n] - w).flatten() for n, w in start.items() if w.ndim > 1]) for c in (one, other)
        ]
        assert nn.functional.cosine_similarity(*moved, dim=0) > 0.99

    def test_bfloat16_is_near(self):
        losses = []
        for precision in ("float32", "bfloat16"):
            config = replace(CONFIG, epochs=1, precision=precision)
            losses.append(
                [row["loss"] for row in finetune(small_clip(), pairs(), InfoNCELoss(), config, progress=False).steps]
            )
        assert losses[0] != losses[1] and losses[0] == pytest.approx(losses[1], rel=0.02)

    def test_the_best_weights_are_kept_and_patience_ends(self, monkeypatch):
        values, seen = iter([3.0, 1.0, 2.0, 2.5, 9.0]), []
        monkeypatch.setattr(
            finetune_loop._Run, "_validation_loss", lambda run, *_: seen.append(weights(run.clip)) or next(values)
        )
        clip = small_clip()
        config = replace(CONFIG, epochs=9, patience=2)
        history = finetune(clip, pairs(), InfoNCELoss(), config, validation=pairs(4, seed=1), progress=False)
        assert [row["loss"] for row in history.validations] == [3.0, 1.0, 2.0, 2.5]
        assert history.stopped_early and history.best == {"epoch": 1, "loss": 1.0}
        assert_equal(seen[1], weights(clip))

    def test_validation_is_the_mean_loss_of_its_batches(self):
        clip, validation = small_clip(), pairs(8, seed=1)
        config = replace(CONFIG, epochs=1, learning_rate=1e-9)
        history = finetune(clip, pairs(), InfoNCELoss(), config, validation=validation, progress=False)
        losses = []
        for batch in (validation[:4], validation[4:]):
            images = clip.encode_image([item["image"] for item in batch])
            losses.append(InfoNCELoss()(images, clip.encode_text([item["caption"] for item in batch])).item())
        assert history.validations[0]["loss"] == pytest.approx(np.mean(losses), rel=1e-5)

    def test_what_cannot_be_trained(self):
        with pytest.raises(ValueError, match="dataset has 3 pairs, fewer than a batch of 4"):
            finetune(small_clip(), pairs(3), InfoNCELoss(), CONFIG)
        with pytest.raises(ValueError, match="validation has 1 pairs"):
            finetune(small_clip(), pairs(), InfoNCELoss(), CONFIG, validation=pairs(1))
        with pytest.raises(ValueError, match=r"text_features hold NaN|loss is nan|image_features hold NaN"):
            finetune(small_clip(), pairs(), InfoNCELoss(), replace(CONFIG, learning_rate=1e30), progress=False)


class TestFrozenBlocks:
    @staticmethod
    def tokens(clip):
        return [{"image": clip.tokens(item["image"]), "caption": item["caption"]} for item in pairs()]

    def test_tokens_give_the_embeddings_of_the_images(self):
        clip, images = small_clip(), [item["image"] for item in pairs()]
        blocks = FrozenBlocks(clip)
        tokens = blocks.tokens(images)
        assert tokens.dtype == torch.float16 and tokens.shape == (12, 16, 128)
        torch.testing.assert_close(blocks.encode_image(tokens), clip.encode_image(images), atol=2e-3, rtol=0)
        torch.testing.assert_close(tokens[3], blocks.tokens(images[3]), atol=2e-3, rtol=1e-2)
        assert torch.equal(blocks.encode_text(CAPTIONS), clip.encode_text(CAPTIONS))
        assert torch.equal(blocks.encode_image(images), blocks.encode_image(list(tokens)))
        assert torch.equal(blocks.preprocess(tokens[3]), tokens[3:4].float())
        with pytest.raises(ModelError, match=r"an image is torch\.float16 \[16, 128\], not uint8"):
            blocks.encode_image([images[0], tokens[0]])
        assert blocks.encode_image([]).shape == (0, 128) and blocks.grid_size == clip.grid_size
        trained = {name for name, parameter in clip.model.named_parameters() if parameter.requires_grad}
        assert all(name.startswith(("visual.trunk.attn_pool", "visual.head", "text.", "logit")) for name in trained)

    def test_training_is_that_of_a_clip_whose_blocks_are_frozen(self):
        """As in the plain loop on pixels, but for the tokens' half precision."""
        short = replace(CONFIG, epochs=1, batch_size=12, learning_rate=1e-4)
        one, other = small_clip(), small_clip()
        for name, parameter in one.image_tower.named_parameters():
            parameter.requires_grad_(name.startswith("attn_pool"))
        plain = finetune(one, pairs(), DHNNCELoss(0.1), short, progress=False)
        blocks = FrozenBlocks(other)
        quick = finetune(blocks, self.tokens(blocks), DHNNCELoss(0.1), short, progress=False)
        assert quick.steps[0]["loss"] == pytest.approx(plain.steps[0]["loss"], rel=1e-3)
        start, changed = weights(small_clip()), {}
        for name, weight in weights(other).items():
            if not torch.equal(weight, start[name]):
                changed[name] = [(weights(clip)[name] - start[name]).flatten() for clip in (one, other)]
        assert "visual.trunk.attn_pool.kv.weight" in changed and "visual.head.proj.weight" in changed
        assert all(name.startswith(("visual.trunk.attn_pool", "visual.head", "text.")) for name in changed)
        moved = [torch.cat(parts) for parts in zip(*changed.values(), strict=True)]
        assert nn.functional.cosine_similarity(*moved, dim=0) > 0.97

    def test_a_run_in_a_folder_leaves_a_whole_model(self, tmp_path):
        clip = small_clip()
        blocks = FrozenBlocks(clip)
        data = self.tokens(blocks)
        finetune(blocks, data, InfoNCELoss(), CONFIG, folder=tmp_path, validation=data, progress=False)
        with smaller():
            assert_equal(weights(clip), weights(load_clip(tmp_path / "clip.safetensors")))

    def test_a_model_that_cannot_be_parted(self):
        clip = small_clip()
        clip.model.visual = nn.Linear(2, 2)
        with pytest.raises(ModelError, match=r"Linear, cannot be parted after its blocks.*Choose a model such as tiny"):
            FrozenBlocks(clip)


class TestFolder:
    def test_an_interrupted_run_ends_where_an_uninterrupted_one_does(self, tmp_path, monkeypatch):
        config, validation = replace(CONFIG, epochs=2), pairs(4, seed=1)
        loss = DHNNCELoss(0.1, learnable_temperature=True)
        whole = small_clip()
        expected = finetune(
            whole, pairs(), loss, config, folder=tmp_path / "whole", validation=validation, progress=False
        )

        advance, count = finetune_loop._Run._advance, []

        def interrupt(run, *args):
            count.append(run.step)
            if len(count) in (4, 7):
                raise KeyboardInterrupt
            advance(run, *args)

        monkeypatch.setattr(finetune_loop._Run, "_advance", interrupt)
        for _ in range(2):
            with pytest.raises(KeyboardInterrupt):
                parts = small_clip()
                finetune(parts, pairs(), DHNNCELoss(0.1, learnable_temperature=True), config,
                         folder=tmp_path / "parts", validation=validation, progress=False)  # fmt: skip
        parts = small_clip(seed=5)  # what it starts from no longer matters
        found = finetune(parts, pairs(), DHNNCELoss(0.1, learnable_temperature=True), config,
                         folder=tmp_path / "parts", validation=validation, progress=False)  # fmt: skip
        assert count == [0, 1, 2, 3, 3, 4, 5, 4, 5]  # checkpoints after 2 and 4 steps, and after each epoch of 3
        assert found == expected
        assert_equal(weights(whole), weights(parts))

    def test_the_folder_has_weights_and_settings(self, tmp_path):
        clip = small_clip()
        history = finetune(clip, pairs(), InfoNCELoss(0.1), CONFIG, folder=tmp_path / "new" / "run", progress=False)
        results = json.loads((tmp_path / "new" / "run" / "run.json").read_text())
        assert results["config"]["batch_size"] == 4 and results["pairs"] == 12 and results["model"] == "small"
        assert "InfoNCELoss(temperature=0.1" in results["loss"] and History(**results["history"]) == history
        with smaller():
            again = load_clip(tmp_path / "new" / "run" / results["weights"])
        assert_equal(weights(clip), weights(again))
        assert not list(tmp_path.rglob("*.part"))

    @pytest.mark.parametrize("after", [1, 3, 4])
    def test_the_same_objects_can_be_handed_in_again(self, tmp_path, monkeypatch, after):
        """Interrupted before the first checkpoint (of step 2), after it and in the second epoch, as in a notebook."""
        whole, expected_loss = small_clip(), DHNNCELoss(0.1, learnable_temperature=True)
        expected = finetune(whole, pairs(), expected_loss, CONFIG, progress=False)
        clip, loss, advance = small_clip(), DHNNCELoss(0.1, learnable_temperature=True), finetune_loop._Run._advance

        def interrupt(run, *args):
            advance(run, *args)
            if run.step == after:
                raise KeyboardInterrupt

        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(finetune_loop._Run, "_advance", interrupt)
            finetune(clip, pairs(), loss, CONFIG, folder=tmp_path, progress=False)
        for _ in range(2):  # the second time it is at its end
            found = finetune(clip, pairs(), loss, CONFIG, folder=tmp_path, progress=False)
            assert found == expected and loss.temperature == expected_loss.temperature
            assert_equal(weights(whole), weights(clip))

    def test_how_long_and_how_it_is_computed_may_differ(self, tmp_path):
        validation, short = pairs(4, seed=1), replace(CONFIG, epochs=1)
        whole = small_clip()
        expected = finetune(whole, pairs(), InfoNCELoss(), CONFIG, validation=validation, progress=False)
        parts = small_clip()
        finetune(parts, pairs(), InfoNCELoss(), short, folder=tmp_path, validation=validation, progress=False)
        others = replace(CONFIG, checkpoint_steps=1, patience=5)
        found = finetune(parts, pairs(), InfoNCELoss(), others, folder=tmp_path, validation=validation, progress=False)
        assert found == expected
        assert_equal(weights(whole), weights(parts))
        further = replace(CONFIG, epochs=3, micro_batch_size=2, workers=1)
        found = finetune(parts, pairs(), InfoNCELoss(), further, folder=tmp_path, validation=validation, progress=False)
        assert len(found.steps) == 9 and found.steps[:6] == expected.steps
        assert json.loads((tmp_path / "run.json").read_text())["config"]["epochs"] == 3

    def test_fewer_epochs_than_there_were_train_nothing_and_say_so(self, tmp_path):
        clip = small_clip()
        history = finetune(clip, pairs(), InfoNCELoss(), CONFIG, folder=tmp_path, progress=False)
        again, short = small_clip(), replace(CONFIG, epochs=1)
        with pytest.warns(UserWarning, match=r"is of epoch 2 already and epochs is 1: nothing is trained\. For fewer"):
            assert finetune(again, pairs(), InfoNCELoss(), short, folder=tmp_path, progress=False) == history
        assert_equal(weights(clip), weights(again))
        assert json.loads((tmp_path / "run.json").read_text())["config"]["epochs"] == 2

    def test_more_patience_goes_on_where_less_had_ended(self, tmp_path, monkeypatch):
        values = iter([1.0, 2.0, 3.0])
        monkeypatch.setattr(finetune_loop._Run, "_validation_loss", lambda *_: next(values))
        config, validation = replace(CONFIG, epochs=3, patience=1), pairs(4, seed=1)
        for patience, validations in ((1, 2), (2, 3)):
            history = finetune(small_clip(), pairs(), InfoNCELoss(), replace(config, patience=patience),
                               folder=tmp_path, validation=validation, progress=False)  # fmt: skip
            assert len(history.validations) == validations and history.stopped_early

    def test_a_run_with_other_settings_is_refused_and_they_are_named(self, tmp_path):
        config, validation = replace(CONFIG, epochs=1), pairs(4, seed=1)
        finetune(small_clip(), pairs(), InfoNCELoss(), config, folder=tmp_path, validation=validation, progress=False)
        given = {"clip": small_clip(), "dataset": pairs(), "loss": InfoNCELoss(), "config": config}
        other = small_clip()
        other.name = "other"
        for change, says in (
            ({"loss": InfoNCELoss(0.1)}, r"loss was 'InfoNCELoss\(temperature=0\.6,.* now\. Use the same"),
            ({"loss": InfoNCELoss(learnable_temperature=True)}, r"loss was .*=False\)' and is .*=True\)' now\. Use"),
            (
                {"config": replace(config, learning_rate=1e-5)},
                r"learning_rate was 0\.001 and is 1e-05 now\. Use",
            ),
            ({"config": replace(config, seed=1, epochs=2)}, "seed was 0 and is 1 now. Use"),
            (
                {"config": replace(config, freeze="text", betas=(0.8, 0.9))},
                r"betas was \[0\.9, .*; freeze was 'none' and",
            ),
            ({"dataset": pairs(16)}, "pairs was 12 and is 16 now. Use"),
            ({"clip": other}, "model was 'small' and is 'other' now. Use"),
            ({"validation": None}, "validation_pairs was 4 and is None now. Use"),
        ):
            with pytest.raises(ValueError, match="was made with other settings, data or model: " + says):
                finetune(**{**given, "validation": validation, **change}, folder=tmp_path, progress=False)

    def test_a_run_that_trains_other_weights_is_refused_and_they_are_named(self, tmp_path):
        frozen = small_clip()
        frozen.image_tower.blocks.requires_grad_(False)
        for first, then, says in (
            (small_clip(), frozen, "weights were trained and are frozen now: clip.visual.trunk.blocks.0"),
            (frozen, small_clip(), "weights were frozen and are trained now: clip.visual.trunk.blocks.0"),
        ):
            folder, before = tmp_path / says[13:18], weights(then)
            finetune(first, pairs(), InfoNCELoss(), replace(CONFIG, epochs=1), folder=folder, progress=False)
            with pytest.raises(ValueError, match=says + r".* more\. Set freeze or requires_grad as it was"):
                finetune(then, pairs(), InfoNCELoss(), CONFIG, folder=folder, progress=False)
            assert_equal(weights(then), before)

    def test_a_killed_write_leaves_the_checkpoint_before(self, tmp_path, monkeypatch):
        save, saved = torch.save, []

        def fail(state, path):
            if saved:
                path.write_bytes(b"half")
                raise KeyboardInterrupt
            saved.append(state["step"])
            save(state, path)

        monkeypatch.setattr(torch, "save", fail)
        with pytest.raises(KeyboardInterrupt):
            finetune(small_clip(), pairs(), InfoNCELoss(), CONFIG, folder=tmp_path, progress=False)
        assert saved == [2] and torch.load(tmp_path / "checkpoint.pt", weights_only=True)["step"] == 2


def train_in_a_folder(folder: str) -> None:
    loss = DHNNCELoss(0.1, learnable_temperature=True)
    finetune(small_clip(), pairs(), loss, CONFIG, folder=folder, validation=pairs(4, 1), progress=False)


@pytest.mark.skipif(not torch.distributed.is_available(), reason="this torch has no torch.distributed")
def test_two_processes_train_the_model_that_one_trains(tmp_path):
    run_together(2, train_in_a_folder, str(tmp_path / "two"))
    alone = small_clip()
    loss = DHNNCELoss(0.1, learnable_temperature=True)
    history = finetune(alone, pairs(), loss, CONFIG, validation=pairs(4, 1), progress=False)
    found = json.loads((tmp_path / "two" / "run.json").read_text())["history"]
    assert [row["loss"] for row in found["steps"]] == pytest.approx([row["loss"] for row in history.steps], rel=1e-3)
    assert found["validations"][-1]["loss"] == pytest.approx(history.validations[-1]["loss"], rel=1e-3)
