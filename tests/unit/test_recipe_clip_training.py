"""The training of the small CLIP, from its text tower to an interrupted run."""

from __future__ import annotations

import json
import math
import os
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from medclipsam_utils import TASKS
from medclipsam_utils.models import load_clip
from medclipsam_utils.models.checkpoints import CLIP_FORMAT, read_header
from medclipsam_utils.models.tiny_clip import CONTEXT_LENGTH, build_tiny_clip
from medclipsam_utils.models.words import WordTokenizer, split_words
from medclipsam_utils.runs import checkpoints, files
from medclipsam_utils.saliency import divide
from recipes.clip import train
from recipes.clip.batches import shrink
from recipes.clip.patches import GRID, encode_patches, encode_windows, patch_features
from recipes.clip.text import encode_captions, hide_words, vocabulary
from recipes.data import images as simulated
from recipes.training.optimizers import moving_average

# Three seeds per task do not show every word.
pytestmark = pytest.mark.filterwarnings("ignore::medclipsam_utils.models.UnknownWordWarning")

BASE, REGIONS, TUNED = map(train.quick, train.STAGES.values())
FIRST_SEEDS = (train.TRAINING, train.VALIDATION)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """The folder of the quick recipe's images, drawn here and not in processes that take longer to start."""
    folder = tmp_path_factory.mktemp("data")
    for first in FIRST_SEEDS:
        for task in TASKS:
            simulated._draw_shard((folder, task, first, REGIONS.seeds_per_task))
    return folder


@pytest.mark.parametrize("before", [None, "7"])
def test_processes_that_draw_start_with_one_thread(monkeypatch, before):
    monkeypatch.delenv("OMP_NUM_THREADS")
    if before:
        monkeypatch.setenv("OMP_NUM_THREADS", before)
    with simulated._one_thread():
        assert os.environ["OMP_NUM_THREADS"] == "1"
    assert os.environ.get("OMP_NUM_THREADS") == before


@pytest.fixture(scope="module")
def held_out(data):
    return shrink(simulated.load_images(data, train.VALIDATION, REGIONS.seeds_per_task))


def workplace(folder, data):
    folder.mkdir(exist_ok=True)
    (folder / "data").symlink_to(data)
    return folder


@pytest.fixture(scope="module")
def quick_run(tmp_path_factory, data):
    """What ``recipes.clip.train regions --quick`` leaves behind, and the losses of its steps."""
    work, losses = workplace(tmp_path_factory.mktemp("regions"), data), []
    step = train.Trainer._step
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train.Trainer, "_step", lambda *args: losses.append(step(*args)) or losses[-1])
        train.main(["regions", "--quick", "--threads", "1", "--work", str(work)])
    return SimpleNamespace(
        weights=work / "tiny_clip_regions.safetensors",
        work=work,
        losses=np.array([list(each.values()) for each in losses]),
    )


@pytest.fixture(scope="module")
def clip():
    """A small CLIP with random weights and a vocabulary of 16 words."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return build_tiny_clip(20).eval()


def sentences(*lengths: int) -> torch.Tensor:
    """Token ids: start, so many words, end, padding."""
    tokens = torch.zeros(len(lengths), CONTEXT_LENGTH, dtype=torch.int64)
    for row, length in enumerate(lengths):
        tokens[row, : length + 2] = torch.tensor([18, *(2 + (row + torch.arange(length)) % 16).tolist(), 19])
    return tokens


class TestTowers:
    def test_captions_without_padding_are_encoded_alike(self, clip):
        tokens, mask = sentences(3, 9, 5), clip.text.attn_mask
        with torch.no_grad():
            short, full = encode_captions(clip, tokens), clip.encode_text(tokens, normalize=True)
        torch.testing.assert_close(short, full)
        assert clip.text.attn_mask is mask and not torch.allclose(short[0], short[1], atol=0.01)

    def test_all_patches_give_what_open_clip_gives(self, clip):
        pixels = torch.randn(2, 3, 128, 128, generator=torch.Generator().manual_seed(0))
        with torch.no_grad():
            features, tokens = encode_patches(clip, pixels, None)
            torch.testing.assert_close(features, clip.encode_image(pixels, normalize=True))
            torch.testing.assert_close(tokens, clip.visual.trunk.forward_features(pixels))

    def test_kept_patches_bring_their_positions(self, clip):
        pixels, trunk = torch.randn(2, 3, 128, 128, generator=torch.Generator().manual_seed(0)), clip.visual.trunk
        kept = torch.tensor([[0, 7, 200], [3, 4, 255]])
        with torch.no_grad():
            features, tokens = encode_patches(clip, pixels, kept)
            embedded = trunk.patch_embed(pixels) + trunk.pos_embed
            for image in range(2):
                alone = trunk.norm(trunk.blocks(torch.stack([embedded[image, index] for index in kept[image]])[None]))
                torch.testing.assert_close(tokens[image], alone[0])
                answer = clip.visual.head(trunk.forward_head(alone))[0]
                torch.testing.assert_close(features[image], answer / answer.norm())

    @pytest.mark.parametrize("fraction", [0.0, 0.3, 1.0])
    def test_hidden_words_leave_start_end_and_padding(self, fraction):
        tokens = sentences(*range(1, 31))
        hidden = hide_words(tokens, fraction, np.random.default_rng(0))
        words = (tokens >= 2) & (tokens < 18)
        assert torch.equal(hidden[~words], tokens[~words])
        assert ((hidden == tokens) | (hidden == 1)).all()
        assert (hidden[words] == 1).float().mean() == pytest.approx(fraction, abs=0.06)

    def test_the_vocabulary_knows_the_prompts_and_the_captions(self):
        words = vocabulary([{"task": "lung_ct", "finding": "nodule", "attributes": {"side": "left"}, "present": True}])
        prompts = [prompt for task in TASKS.values() for kind in task.prompts.values() for prompt in kind]
        assert not WordTokenizer(words, CONTEXT_LENGTH).unknown_words(" ".join(prompts))
        assert words == sorted(set(words)) and set(split_words("a nodule in the left lung")) <= set(words)


class TestRun:
    def test_the_loss_falls(self, quick_run):
        assert quick_run.losses.shape == (REGIONS.steps, 2) and np.isfinite(quick_run.losses).all()
        for losses in quick_run.losses.T:
            assert losses[-4:].mean() < losses[:4].mean()

    def test_results_say_how_they_were_made(self, quick_run):
        results = json.loads(quick_run.weights.with_suffix(".json").read_text())
        assert results["settings"] == {**json.loads(json.dumps(vars(REGIONS)))}
        assert results["threads"] == 1 and results["torch"] == torch.__version__ and results["processor"]
        (last,) = results.pop("log")
        image_text, region_text = quick_run.losses.mean(axis=0)
        assert last["step"] == REGIONS.steps and last["image_text"] == pytest.approx(image_text, abs=1e-4)
        assert last["region_text"] == pytest.approx(region_text, abs=1e-4)
        assert read_header(quick_run.weights, CLIP_FORMAT)["trained"] == results

    def test_validation_is_what_the_plain_loop_finds(self, quick_run, held_out):
        found = json.loads(quick_run.weights.with_suffix(".json").read_text())["validation"]
        assert list(found) == list(TASKS)
        clip = load_clip(quick_run.weights)
        for name, task in TASKS.items():
            mean = clip.encode_text(task.prompts["P2"]).mean(0)
            direction = mean / mean.norm() - clip.encode_text(task.absent_prompt)[0]
            scores, hits = {True: [], False: []}, []
            for index, fact in enumerate(held_out.facts):
                if fact["task"] != name:
                    continue
                image = np.repeat(held_out.pixels[index][..., None], 3, axis=2)
                scores[fact["present"]].append(float(clip.encode_image(image)[0] @ direction))
                if fact["present"]:
                    with torch.no_grad():
                        tokens = clip.image_tower.forward_features(clip.preprocess(image))
                        row, column = divmod(int((patch_features(clip.model, tokens)[0] @ direction).argmax()), GRID)
                    patch = held_out.masks[index, 8 * row : 8 * row + 8, 8 * column : 8 * column + 8]
                    hits.append(patch.mean() / 255 > 0.3)
            right = [(yes > no) + 0.5 * (yes == no) for yes in scores[True] for no in scores[False]]
            assert found[name] == pytest.approx(
                {"presence_auc": np.mean(right), "patch_pointing": np.mean(hits)}, abs=6e-4
            )

    def test_the_average_of_the_weights_is_what_is_kept(self, quick_run):
        state = torch.load(quick_run.work / "tiny_clip_regions.pt", weights_only=True)
        kept = load_file(quick_run.weights)
        assert state["step"] == state["average"]["n_averaged"] == REGIONS.steps
        for name, weight in kept.items():
            assert torch.equal(weight, state["average"][f"module.{name}"]), name
        assert not torch.equal(kept["text.text_projection"], state["clip"]["text.text_projection"])
        # After warming up, along half a cosine from 1 to 1/50; logit scale and biases run five times as fast.
        rate = REGIONS.learning_rate * (0.51 + 0.49 * math.cos(math.pi * 11 / 12))
        rates = [group["lr"] for group in state["optimizer"]["AdamW"]["param_groups"]]
        assert rates == pytest.approx([rate, rate, 5 * rate])

    def test_the_average_forgets_the_first_weights(self):
        model, found = torch.nn.Linear(1, 1, bias=False), []
        average = moving_average(model, 0.9)
        model.weight.data.fill_(1.0)
        average.update_parameters(model)  # the first one is taken as it is
        for count in (1, 8, 1000):
            average.module.weight.data.zero_()
            average.n_averaged.fill_(count)
            average.update_parameters(model)
            found.append(average.module.weight.item())
        assert found == pytest.approx([9 / 11, 0.5, 0.1])

    def test_an_interrupted_run_ends_where_an_uninterrupted_one_does(self, tmp_path, data, monkeypatch):
        begun = []
        monkeypatch.setattr(train, "validate", lambda *_: {})
        monkeypatch.setattr(train, "pretrain_text", lambda *_: begun.append(True))
        few = {"breast_ultrasound": 1, "lung_ct": 1}
        settings = replace(REGIONS, steps=6, pairs_per_task=few, checkpoint_every=2)
        whole = train.train(settings, workplace(tmp_path / "whole", data))

        step, steps, parts = train.Trainer._step, [], workplace(tmp_path / "parts", data)

        def interrupt(trainer, images):
            if len(steps) == 3:
                raise KeyboardInterrupt
            steps.append(trainer.step)
            return step(trainer, images)

        with monkeypatch.context() as patch:
            patch.setattr(train.Trainer, "_step", interrupt)
            with pytest.raises(KeyboardInterrupt):
                train.train(settings, parts)
            assert not list(parts.glob("*.safetensors"))
            steps[:] = []
            with pytest.raises(KeyboardInterrupt):
                train.train(settings, parts)
        assert steps == [2, 3, 4]  # from the checkpoint after two steps
        expected, found = load_file(whole), load_file(train.train(settings, parts))
        assert len(begun) == 2 and expected.keys() == found.keys()
        for name, weight in expected.items():
            assert torch.equal(weight, found[name]), name
        states = [torch.load(file, weights_only=True) for file in tmp_path.glob("*/tiny_clip_regions.pt")]
        assert len(states) == 2 and torch.equal(*(state["region_bias"] for state in states))
        assert states[0]["region_bias"] != -5

    def test_the_tuned_stage_goes_on_from_the_average_of_the_one_before(self, quick_run, tmp_path, data, monkeypatch):
        work = workplace(tmp_path / "tuned", data)
        settings = replace(TUNED, steps=2)
        with pytest.raises(FileNotFoundError, match=r"tiny_clip_regions\.pt is not at its end"):
            train.train(settings, work)
        (work / "tiny_clip_regions.pt").symlink_to(quick_run.work / "tiny_clip_regions.pt")
        seen, step = [], train.Trainer._step
        monkeypatch.setattr(train.Trainer, "_step", lambda trainer, images: (
            seen.append({name: weight.clone() for name, weight in trainer.clip.state_dict().items()}),
            step(trainer, images),
        )[1])  # fmt: skip
        tuned = load_file(train.train(settings, work))
        for name, weight in load_file(quick_run.weights).items():
            assert torch.equal(seen[0][name], weight), name
        assert not torch.equal(tuned["visual.trunk.blocks.0.attn.qkv.weight"], weight)

    @pytest.mark.parametrize("whole_steps", [0.0, 1.0])
    def test_captions_alone_read_no_mask(self, tmp_path, data, monkeypatch, whole_steps):
        """Masks do not even reach the training."""
        given, run = [], train.Trainer.run
        monkeypatch.setattr(train, "validate", lambda *_: {})
        monkeypatch.setattr(train.Trainer, "run", lambda *arguments: given.append(arguments[1]) or run(*arguments))
        settings = replace(BASE, steps=2, text_steps=1, whole_from=0.5, whole_steps=whole_steps)
        by_windows = not whole_steps
        weights = train.train(settings, workplace(tmp_path / "base", data))
        assert weights.name == "tiny_clip_base.safetensors"
        clip = load_clip(weights)
        assert clip.encode_text("a breast tumour").shape == (1, 128) and clip.windows == 4
        assert [images.masks for images in given] == [None]
        (last,) = json.loads(weights.with_suffix(".json").read_text())["log"]
        names = {"step", "image_text", "pairs"} | ({"window_text"} if by_windows else set())
        assert set(last) == names and min(last.values()) > 0
        state = torch.load(weights.with_suffix(".pt"), weights_only=True)
        moved = abs(state["region_bias"] - settings.bias), abs(state["window_scale"] - math.log(10))
        assert all((move > 1e-6) == by_windows for move in moved)

    def test_stages_draw_batches_of_their_own(self):
        assert len({stage.number for stage in train.STAGES.values()}) == len(train.STAGES)

    def test_windows_are_not_asked_about_captions_that_deny_the_target(self, tmp_path, data):
        images = shrink(simulated.load_images(data, train.TRAINING, BASE.seeds_per_task), with_masks=False)
        tokenizer = WordTokenizer(vocabulary(images.facts), CONTEXT_LENGTH)
        trainer = train.Trainer(BASE, tokenizer, tmp_path)
        batch = train.draw_batch(images, BASE.pairs_per_task, 1.0, 0.5, np.random.default_rng(0), 4)
        tokens = tokenizer([caption.text for caption in batch.captions])
        denied = torch.tensor([caption.stated["present"] == "False" for caption in batch.captions])
        assert denied.any() and not denied.all()
        before = trainer._losses(batch, tokens)
        after = trainer._losses(replace(batch, verdict=batch.verdict.where(~denied, -1 - batch.verdict)), tokens)
        assert torch.equal(before["window_text"], after["window_text"])
        assert not torch.equal(before["image_text"], after["image_text"])


class TestWindows:
    @torch.inference_mode()
    def test_a_window_knows_nothing_of_the_others(self, monkeypatch):
        torch.manual_seed(0)
        clip = build_tiny_clip(20).eval()
        pixels = torch.randn(2, 3, 128, 128)
        whole, (one,) = encode_windows(clip, pixels[:1], divide((GRID, GRID), 1)[None])
        assert torch.allclose(whole, encode_patches(clip, pixels[:1], None)[0], atol=1e-5)
        assert torch.allclose(whole, one, atol=1e-5)
        kept = divide((GRID, GRID), 4).expand(2, -1, -1)
        tokens = torch.randn(2, GRID**2, 128)  # given at once: the embedding normalises over the whole image
        monkeypatch.setattr(clip.visual.trunk.patch_embed, "forward", lambda pixels: tokens)
        before = encode_windows(clip, pixels, kept)[1]
        tokens[:, GRID + 2] *= -1  # second row, third column: in the first window
        after = encode_windows(clip, pixels, kept)[1]
        same = (before - after).abs().amax(dim=(0, 2)) < 1e-6
        assert same.tolist() == [False] + [True] * 15


class TestRunFiles:
    def test_a_failed_write_leaves_the_checkpoint_before(self, tmp_path, monkeypatch):
        kept = checkpoints.Checkpoints(tmp_path / "new" / "run.pt", {"rates": (1, 2)})
        assert kept.load() is None
        kept.save({"step": 1})

        def fail(state, path):
            path.write_bytes(b"half")
            raise KeyboardInterrupt

        monkeypatch.setattr(torch, "save", fail)
        with pytest.raises(KeyboardInterrupt):
            kept.save({"step": 2})
        assert kept.load() == {"step": 1}

    def test_a_run_with_other_settings_does_not_go_on(self, tmp_path):
        path, settings = tmp_path / "run.pt", {"seed": 0, "config": {"rate": 0.1, "steps": (1, 2)}, "model": "tiny"}
        checkpoints.Checkpoints(path, settings).save({"step": 1})
        for change, says in (
            ({"seed": 1}, r"model: seed was 0 and is 1 now\. Use the same, give another folder, or delete it"),
            ({"config": {"rate": 0.2, "steps": (1, 2)}}, r"model: rate was 0\.1 and is 0\.2 now\. Use"),
            ({"config": {"rate": 0.1, "steps": (1,)}, "model": "b"}, r"steps was \[1, 2\] and is \[1\] now; model"),
            ({"device": "cuda"}, r"model: device was None and is 'cuda' now\. Use"),
        ):
            with pytest.raises(ValueError, match=r"run\.pt was made with other settings.*" + says):
                checkpoints.Checkpoints(path, settings | change).load()
        with pytest.raises(ValueError, match=r"seed was 0 and is None now; config was {.*} and is None now\. Use"):
            checkpoints.Checkpoints(path, {"model": "tiny"}).load()

    def test_some_settings_may_differ(self, tmp_path):
        path = tmp_path / "run.pt"
        checkpoints.Checkpoints(path, {"seed": 0, "config": {"rate": 0.1, "workers": 0}}).save({"step": 1})
        for settings in ({"seed": 0, "config": {"rate": 0.1, "workers": 2}}, {"seed": 0, "config": {"rate": 0.1}}):
            assert checkpoints.Checkpoints(path, settings, ("workers",)).load() == {"step": 1}
        with pytest.raises(ValueError, match=r"model: rate was 0\.1 and is 1 now\. Use"):
            checkpoints.Checkpoints(path, {"seed": 0, "config": {"rate": 1, "workers": 2}}, ("workers",)).load()

    @pytest.mark.parametrize("content", [{"weights": [1, 2]}, [1, 2], {"settings": 3}])
    def test_another_file_of_that_name_is_no_checkpoint(self, tmp_path, content):
        torch.save(content, tmp_path / "run.pt")
        with pytest.raises(ValueError, match=r"run\.pt is no checkpoint of such a run: give another folder"):
            checkpoints.Checkpoints(tmp_path / "run.pt", {"seed": 0}).load()

    def test_json_is_written_as_a_whole(self, tmp_path):
        files.write_json(tmp_path / "run.json", {"a": [1, 2]})
        assert json.loads((tmp_path / "run.json").read_text()) == {"a": [1, 2]}
        assert [file.name for file in tmp_path.iterdir()] == ["run.json"]
