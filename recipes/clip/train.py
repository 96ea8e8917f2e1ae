"""Train the small CLIP from simulated images alone.

    python -m recipes.clip.train base    --work FOLDER    # captions alone: no mask is read
    python -m recipes.clip.train regions --work FOLDER    # captions and simulated regions
    python -m recipes.clip.train tuned   --work FOLDER    # goes on from regions: what saliency needs

The folder keeps the simulated images, a checkpoint every few minutes and the results. The same command goes on where an
interrupted one stopped. ``--quick`` proves in seconds that the recipe runs; what it trains is of no use.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from medclipsam_utils.models.checkpoints import save_tiny_clip
from medclipsam_utils.models.tiny_clip import CONTEXT_LENGTH, build_tiny_clip
from medclipsam_utils.models.words import WordTokenizer
from medclipsam_utils.runs.checkpoints import Checkpoints
from medclipsam_utils.runs.files import write_json

from ..data.captions import UNKNOWN
from ..data.images import load_images
from ..data.seeds import SEEDS
from ..machine import machine
from ..training.optimizers import Optimizers, adamw, moving_average, muon_and_adamw, rate_fraction, start_from
from ..training.precision import computing
from ..training.stages import checkpoint_file, finished, weights_file
from .batches import Batch, ClipImages, draw_batch, shrink
from .losses import any_window, image_text_loss, pair_loss, region_text_loss
from .patches import encode_patches, encode_windows, patch_features
from .text import encode_captions, hide_words, pretrain_text, vocabulary
from .validation import validate

TRAINING, VALIDATION = SEEDS["training"].seeds.start, SEEDS["validation"].seeds.start


@dataclass(frozen=True)
class Settings:
    """Hold what the training depends on, besides the code."""

    stage: str
    steps: int
    region_weight: float  # weight of the region-text loss; 0 is captions alone, and then no mask is read
    image_weight: float = 1.0  # weight of the loss of captions and whole images
    window_weight: float = 0.0  # weight of the same loss for "any window shows what the caption says"
    pair_weight: float = 0.0  # weight of the loss of counterfactual pairs
    sides: int = 1  # windows along a side of the image, which the blocks see one by one
    whole_steps: float = 0.0  # fraction of the steps in which they see all of the image at once nevertheless
    bias: float = -5.0  # first bias of the logits of patches or windows
    starts_from: str | None = None  # the stage whose weights this one goes on from; random ones if None
    seed: int = 0  # seed of the weights and, with the number of the stage, of every batch
    number: int = 1  # of the stage, each one's own
    seeds_per_task: int = 4000  # each seed is two images, with and without the target
    pairs_per_task: Mapping[str, int] = field(  # the tumours are harder than the lungs, the brain most of all
        default_factory=lambda: {"breast_ultrasound": 10, "brain_mri": 12, "lung_xray": 5, "lung_ct": 5}
    )
    captions_per_image: float = 1.25
    keep: float = 0.5  # patches that the image tower sees; half of them take a third of the time
    whole_from: float = 0.85  # from this part of the steps on it sees all of them, as it will in use
    learning_rate: float = 1e-3
    warm_up: int = 200
    last_rate: float = 0.02  # fraction of the learning rate at the end
    weight_decay: float = 0.05
    muon_rate: float | None = None  # Muon's rate for the matrices; AdamW has them too if None
    average: float = 0.998  # decay of the moving average of the weights, which is what is kept
    text_steps: int = 300  # the text tower first learns alone to name what a caption states
    unknown_words: float = 0.02  # fraction of words hidden in training, so that an unknown word is no surprise
    validate_every: int = 500
    checkpoint_every: int = 100


STAGES = {
    "base": Settings(
        "base", steps=3600, region_weight=0.0, number=3, seeds_per_task=2000,
        image_weight=0.25, window_weight=1.0, pair_weight=1.0, sides=4, whole_steps=0.2, bias=-3.2,
        pairs_per_task={"breast_ultrasound": 8, "brain_mri": 10, "lung_xray": 3, "lung_ct": 3},
        muon_rate=0.02, weight_decay=0.01, average=0.99, warm_up=50, whole_from=0.95,
    ),
    "regions": Settings("regions", steps=4000, region_weight=1.0),
    "tuned": Settings(
        "tuned", steps=4200, region_weight=1.0, number=2, starts_from="regions",
        # Lungs are known by now, and of the tumours those of the brain are told least well.
        pairs_per_task={"breast_ultrasound": 10, "brain_mri": 16, "lung_xray": 3, "lung_ct": 3},
        # Half of what is best from random weights: enough to leave where the first stage settled, and not to undo it.
        muon_rate=0.005, learning_rate=5e-4, weight_decay=0.01, warm_up=100,
    ),
}  # fmt: skip


def quick(settings: Settings) -> Settings:
    """Make the same recipe a hundred times smaller."""
    few = dict.fromkeys(settings.pairs_per_task, 1)
    return replace(settings, steps=12, seeds_per_task=3, pairs_per_task=few, warm_up=2, text_steps=10,
                   validate_every=12, checkpoint_every=4)  # fmt: skip


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stage", choices=STAGES, help="which of them to train")
    parser.add_argument(
        "--work", type=Path, default=Path(".cache/recipes"), metavar="FOLDER",
        help="for images, checkpoints and results; %(default)s if not given",
    )  # fmt: skip
    parser.add_argument(
        "--threads", type=int, default=torch.get_num_threads(), help="processor threads; %(default)s if not given"
    )
    parser.add_argument("--quick", action="store_true", help="a run of seconds that proves that the recipe runs")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    settings = STAGES[options.stage]
    try:
        train(quick(settings) if options.quick else settings, options.work)
    except FileNotFoundError as error:
        parser.error(str(error))


def train(settings: Settings, work: Path) -> Path:
    """Run a stage to its end; write ``tiny_clip_STAGE.safetensors`` and ``.json`` to ``work`` and return the former."""
    if settings.starts_from and not checkpoint_file("clip", settings.stage, work).exists():
        # We ask before images are drawn, which takes minutes.
        finished(checkpoint_file("clip", settings.starts_from, work))
    print(f"stage {settings.stage}: simulated images", flush=True)
    images = shrink(load_images(work / "data", TRAINING, settings.seeds_per_task), bool(settings.region_weight))
    held_out = shrink(load_images(work / "data", VALIDATION, min(250, settings.seeds_per_task)))
    tokenizer = WordTokenizer(vocabulary(images.facts), CONTEXT_LENGTH)
    trainer = Trainer(settings, tokenizer, work)
    trainer.run(images, held_out)

    weights = weights_file("clip", settings.stage, work)
    results = {"settings": asdict(settings), "minutes": round(trainer.seconds / 60, 1), **machine(),
               "validation": validate(trainer.average.module, tokenizer, held_out, settings.sides)}  # fmt: skip
    windows = settings.sides if settings.sides > 1 else None
    save_tiny_clip(weights, trainer.average.module, tokenizer.vocabulary, results, windows)
    write_json(weights.with_suffix(".json"), {**results, "log": trainer.log})
    print(f"wrote {weights}", flush=True)
    return weights


class Trainer:
    """Hold the model, its optimiser, its moving average and where the run is."""

    def __init__(self, settings: Settings, tokenizer: WordTokenizer, work: Path):
        self.settings, self.tokenizer = settings, tokenizer
        self.step, self.seconds, self.log = 0, 0.0, []
        torch.manual_seed(settings.seed)  # the first weights
        self.clip = build_tiny_clip(tokenizer.vocabulary_size).to(memory_format=torch.channels_last)
        self.region_bias = nn.Parameter(torch.tensor(settings.bias))  # of patches or windows
        for block in self.clip.visual.trunk.blocks:
            block.attn.fused_attn = False  # on a CPU the plain attention is twice as fast backwards
        self.window_scale = nn.Parameter(torch.tensor(math.log(10)))
        self.average = moving_average(self.clip, settings.average)
        weights = {
            "image_text": settings.image_weight, "region_text": settings.region_weight,
            "window_text": settings.window_weight, "pairs": settings.pair_weight,
        }  # fmt: skip
        self.weights = {name: weight for name, weight in weights.items() if weight}
        self.optimizer = self._optimizer()
        self.work = work
        self.checkpoints = Checkpoints(checkpoint_file("clip", settings.stage, work), asdict(settings))

    def _optimizer(self) -> Optimizers:
        settings, scales = self.settings, [self.clip.logit_scale, self.clip.logit_bias, self.region_bias]
        if settings.window_weight:
            scales.append(self.window_scale)
        if settings.muon_rate is None:
            return adamw(self.clip, settings.learning_rate, settings.weight_decay, (0.9, 0.98), scales)
        return muon_and_adamw(self.clip, settings.muon_rate, settings.learning_rate, settings.weight_decay, scales)

    def run(self, images: ClipImages, held_out: ClipImages) -> None:
        settings = self.settings
        if (state := self.checkpoints.load()) is not None:
            self._restore(state)
            print(f"going on from step {self.step}", flush=True)
        elif settings.starts_from:
            before = finished(checkpoint_file("clip", settings.starts_from, self.work))
            start_from(self.clip, self.average, before["average"])
            self.region_bias.data.copy_(before["region_bias"])
        else:
            rng = np.random.default_rng([settings.seed, 99])
            pretrain_text(self.clip, self.tokenizer, images.facts, settings.text_steps, settings.learning_rate, rng)
            self.average.module.load_state_dict(self.clip.state_dict())
        losses: list[dict[str, float]] = []
        while self.step < settings.steps:
            began = time.monotonic()
            losses.append(self._step(images))
            self.step += 1
            self.seconds += time.monotonic() - began
            last = self.step == settings.steps
            if self.step % 50 == 0 or last:
                values = {name: [step[name] for step in losses if name in step] for name in self.weights}
                means = {name: np.mean(found) for name, found in values.items() if found}
                left = self.seconds / self.step * (settings.steps - self.step) / 60
                shown = "  ".join(f"{name.replace('_', '-')} {mean:.3f}" for name, mean in means.items())
                print(f"step {self.step}/{settings.steps}  {shown}  {self.seconds / 60:.1f} min, {left:.0f} left",
                      flush=True)  # fmt: skip
                rounded = {name: round(float(mean), 4) for name, mean in means.items()}
                self.log.append({"step": self.step, **rounded})
                losses = []
            if self.step % settings.validate_every == 0 and not last:
                print(json.dumps(validate(self.average.module, self.tokenizer, held_out, settings.sides)), flush=True)
            if self.step % settings.checkpoint_every == 0 or last:
                self.checkpoints.save(self._state())

    def _step(self, images: ClipImages) -> dict[str, float]:
        settings = self.settings
        done = self.step / settings.steps
        rng = np.random.default_rng([settings.seed, settings.number, self.step])
        keep = settings.keep if done < settings.whole_from else 1.0
        sides = 1 if settings.whole_steps and rng.random() < settings.whole_steps else settings.sides
        batch = draw_batch(images, settings.pairs_per_task, settings.captions_per_image, keep, rng, sides)
        self.clip.train()
        tokens = self.tokenizer([caption.text for caption in batch.captions])
        losses = self._losses(batch, hide_words(tokens, settings.unknown_words, rng))
        sum(self.weights[name] * loss for name, loss in losses.items()).backward()
        nn.utils.clip_grad_norm_(self.clip.parameters(), 1.0)
        self.optimizer.step(rate_fraction(self.step, settings.steps, settings.warm_up, settings.last_rate))
        self.average.update_parameters(self.clip)
        return {name: loss.item() for name, loss in losses.items()}

    def _losses(self, batch: Batch, tokens: Tensor) -> dict[str, Tensor]:
        """Compute the losses that count in this step, by name."""
        settings, known = self.settings, (batch.verdict, batch.same_organ)
        with computing():
            texts = encode_captions(self.clip, tokens)
            if settings.window_weight:
                images, parts = encode_windows(self.clip, batch.pixels, batch.kept)
            else:
                images, patches = encode_patches(self.clip, batch.pixels, batch.kept)
                parts = patch_features(self.clip, patches) if settings.region_weight else None
        scale = self.clip.logit_scale.exp().clamp(max=50)
        whole = scale * images.float() @ texts.float().T + self.clip.logit_bias
        losses = {"image_text": image_text_loss(whole, *known)}
        if settings.region_weight:
            each = scale * parts.float() @ texts.float().T + self.region_bias  # (images, patches, captions)
            regions = batch.inside, batch.outside, batch.names_target
            losses["region_text"] = region_text_loss(each, batch.verdict, *regions)
        elif settings.window_weight and parts.shape[1] > 1:
            # Of a caption that denies the target no single window is the evidence: what windows say of it is not asked.
            affirmed = torch.tensor([caption.stated["present"] == "True" for caption in batch.captions])
            verdict = batch.verdict.where(affirmed, torch.tensor(UNKNOWN, dtype=batch.verdict.dtype))
            some = any_window(self.window_scale.exp() * parts.float() @ texts.float().T + self.region_bias)
            losses["window_text"] = image_text_loss(some, verdict, batch.same_organ)
            losses["pairs"] = pair_loss(some, verdict, batch.same_organ)
        elif settings.pair_weight:
            losses["pairs"] = pair_loss(whole, *known)
        return losses

    def _state(self) -> dict:
        return {
            "clip": self.clip.state_dict(), "average": self.average.state_dict(),
            "region_bias": self.region_bias.data, "window_scale": self.window_scale.data,
            "optimizer": self.optimizer.state_dict(), "step": self.step, "seconds": self.seconds, "log": self.log,
        }  # fmt: skip

    def _restore(self, state: dict) -> None:
        self.clip.load_state_dict(state["clip"])
        self.average.load_state_dict(state["average"])
        self.region_bias.data.copy_(state["region_bias"])
        self.window_scale.data.copy_(state["window_scale"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step, self.seconds, self.log = state["step"], state["seconds"], state["log"]


if __name__ == "__main__":
    main()
