"""Fine-tune the small CLIP with each contrastive loss, several times, and compare retrieval on held-out pairs.

    python -m recipes.measure.finetune_losses --work FOLDER --results medclipsam_utils/results/finetune_losses.json

The small CLIP goes on from its shipped weights with captions of the detailed kind, P3. The blocks of its image tower
stay as they are (see ``medclipsam_utils.finetune.FrozenBlocks``), so that one training takes a minute. What is compared
differs in one thing at a time; trainings with the same seed see the same pairs in the same order. HN-NCE and DHN-NCE
hold their weights constant (``differentiate_weights=False``), and at some settings are also trained through them.

Training pairs, the pairs on which the learning rate was chosen and the pairs on which everything is measured have seeds
of their own. The folder keeps what the blocks say of each image, and a file for each training that is done: the same
command goes on where an interrupted one stopped. ``--quick`` proves in seconds that the recipe runs.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import cache
from pathlib import Path

import torch

from medclipsam_utils import TASKS, losses
from medclipsam_utils.datasets import SimulatedDataset
from medclipsam_utils.finetune import FinetuneConfig, FrozenBlocks, finetune
from medclipsam_utils.metrics import retrieval_accuracy
from medclipsam_utils.models import load_clip
from medclipsam_utils.runs.files import write_json

from ..data.seeds import SEEDS
from ..machine import machine
from .parts import options_of

START = "tiny"
CAPTION_KIND = "P3"
LOSSES = ("InfoNCELoss", "DCLLoss", "HNNCELoss", "DHNNCELoss", "ReleasedHNLoss")
WEIGHTED = ("HNNCELoss", "DHNNCELoss")
TEMPERATURES = (0.03, 0.1, 0.3, 0.6)
BETAS = (0.15, 0.5, 1.0)
BATCH_SIZES = (16, 32, 64, 128)
RATES = (3e-4, 1e-3, 3e-3)
TOP = (1, 2)


@dataclass(frozen=True)
class Sizes:
    """Say how much is trained and measured. Seeds are those of simulated images; each is one pair of every task."""

    first_training: int = SEEDS["losses training"].seeds.start
    first_validation: int = SEEDS["validation"].seeds.start
    first_held_out: int = SEEDS["losses held out"].seeds.start
    training: int = 1000
    validation: int = 250
    held_out: int = 250
    among: int = 50  # captions, in retrieval
    epochs: int = 5
    repeats: int = 5
    batch_sizes: tuple[int, ...] = BATCH_SIZES


QUICK = Sizes(training=4, validation=2, held_out=2, among=4, epochs=1, repeats=1, batch_sizes=(4, 8))


@dataclass(frozen=True)
class Trial:
    """Describe one training. β and how the weights are treated hold for both halves of the losses that have them."""

    loss: str
    seed: int
    temperature: float = 0.1
    beta: float = 0.15
    batch_size: int = 64
    learning_rate: float = 1e-3
    measured_on: str = "held_out"
    differentiate_weights: bool = False

    @property
    def name(self) -> str:
        numbers = f"t{self.temperature}_b{self.beta}_n{self.batch_size}_r{self.learning_rate}"
        gradient = "_through" if self.differentiate_weights else ""
        return f"{self.loss}_{numbers}{gradient}_{self.measured_on}_{self.seed}"


def trials(sizes: Sizes) -> list[Trial]:
    """List everything that is trained, once each: first what the learning rate was chosen on, then the comparison."""
    size = 64 if 64 in sizes.batch_sizes else sizes.batch_sizes[0]
    chosen = [
        Trial(loss, 100, learning_rate=rate, batch_size=size, measured_on="validation")
        for rate in RATES
        for loss in ("InfoNCELoss", "DHNNCELoss")
    ]
    repeated = []
    for seed in range(sizes.repeats):
        plain = [Trial(loss, seed, batch_size=size) for loss in LOSSES]
        hardness = plain[LOSSES.index("DHNNCELoss")]
        repeated += plain
        repeated += [replace(trial, temperature=0.6) for trial in plain]
        repeated += [replace(hardness, batch_size=count) for count in sizes.batch_sizes]
        repeated += [replace(hardness, beta=beta) for beta in BETAS]
        weighted = [trial for trial in plain if trial.loss in WEIGHTED]
        through = [replace(trial, temperature=value) for value in (0.1, 0.6) for trial in weighted]
        through += [replace(hardness, beta=BETAS[-1])]
        repeated += [replace(trial, differentiate_weights=True) for trial in through]
        repeated += [replace(trial, temperature=value) for value in TEMPERATURES for trial in (plain[0], hardness)]
    return chosen + list(dict.fromkeys(repeated))


def make_loss(trial: Trial) -> torch.nn.Module:
    settings = {"beta1": trial.beta, "beta2": trial.beta} if "HN" in trial.loss else {}
    if trial.loss in WEIGHTED:
        settings["differentiate_weights"] = trial.differentiate_weights
    return getattr(losses, trial.loss)(trial.temperature, **settings)


def config_of(trial: Trial, training: int, epochs: int) -> FinetuneConfig:
    """Let the learning rate rise during half an epoch, and halve it after every second one."""
    steps = len(TASKS) * training // trial.batch_size
    return FinetuneConfig(
        epochs=epochs, batch_size=trial.batch_size, learning_rate=trial.learning_rate, warm_up_steps=steps // 2,
        decay=0.5, decay_epochs=2, seed=trial.seed,
    )  # fmt: skip


def tokens_of(folder: Path, first: int, count: int, model: str = START) -> list[dict]:
    """Give pairs whose images are what a model's frozen blocks say of them; computed once, read from then on."""
    dataset = SimulatedDataset(list(TASKS), range(first, first + count), caption_kind=CAPTION_KIND)
    items = (dataset[index] for index in range(len(dataset)))
    return stored_tokens(folder / f"pairs_{model}_{first}_{count}.pt", items, model)


def stored_tokens(path: Path, items: Iterable[dict], model: str) -> list[dict]:
    """Read the tokens of images, and their captions, from a file; run the blocks and write it first if need be."""
    if not path.exists():
        clip = FrozenBlocks(load_clip(model))
        tokens, captions = [], []
        began = time.monotonic()
        for number, item in enumerate(items, start=1):
            tokens.append(clip.tokens(item["image"]))
            captions.append(item["caption"])
            if number % 500 == 0:
                rate = number / (time.monotonic() - began)
                print(f"{path.name}: {number} images, {rate:.0f} a second", flush=True)
        unfinished = path.with_suffix(f".{os.getpid()}.part")
        torch.save({"tokens": torch.stack(tokens), "captions": captions}, unfinished)
        os.replace(unfinished, path)
    saved = torch.load(path, weights_only=True)
    pairs = zip(saved["tokens"], saved["captions"], strict=True)
    return [{"image": tokens, "caption": caption} for tokens, caption in pairs]


@cache
def pairs_of(folder: Path, first: int, count: int, model: str = START) -> list[dict]:
    """Call :func:`tokens_of` once for all trainings of a process."""
    return tokens_of(folder, first, count, model)


def measure(clip: FrozenBlocks, pairs: Sequence[dict], among: int) -> dict:
    """Measure retrieval by direction and k, and what each pair scored at top-1 in both directions."""
    captions = [pair["caption"] for pair in pairs]
    images = torch.cat([clip.encode_image([p["image"] for p in pairs[i : i + 64]]) for i in range(0, len(pairs), 64)])
    found = retrieval_accuracy(images, clip.encode_text(captions), TOP, among, captions=captions)
    return {
        "image_to_text": [found.image_to_text[k] for k in TOP],
        "text_to_image": [found.text_to_image[k] for k in TOP],
        "image_to_text_hits": found.image_to_text_hits[1].tolist(),
        "text_to_image_hits": found.text_to_image_hits[1].tolist(),
    }


def run(task: tuple[Trial, Sizes, Path]) -> Path:
    """Train and measure, unless that is done already; returns the file with the answer."""
    trial, sizes, folder = task
    path = folder / f"{trial.name}.json"
    if path.exists():
        return path
    torch.set_num_threads(1)
    clip = FrozenBlocks(load_clip(START))
    pairs = pairs_of(folder, sizes.first_training, sizes.training)
    history = finetune(clip, pairs, make_loss(trial), config_of(trial, sizes.training, sizes.epochs), progress=False)
    first, count = (getattr(sizes, f"first_{trial.measured_on}"), getattr(sizes, trial.measured_on))
    found = measure(clip, pairs_of(folder, first, count), sizes.among)
    write_json(path, {**asdict(trial), **found, "steps": len(history.steps)}, indent=None)
    return path


def summarise(found: Sequence[dict], start: dict, sizes: Sizes) -> dict:
    """Sum up for the chapter: the accuracies of every training, and per pair the mean over seeds of each setting.

    A setting is a trial without its seed; its scores by pair are kept to four digits.
    """
    names = tuple(field.name for field in fields(Trial) if field.name != "seed")
    settings: dict[tuple, list[dict]] = {}
    for row in found:
        settings.setdefault(tuple(row[name] for name in names), []).append(row)
    arms = []
    for values, rows in settings.items():
        arm = dict(zip(names, values, strict=True)) | {"seeds": [row["seed"] for row in rows]}
        for direction in ("image_to_text", "text_to_image"):
            arm[direction] = [[round(value, 5) for value in row[direction]] for row in rows]
            if arm["measured_on"] == "held_out":
                arm[f"{direction}_hits"] = mean_hits([row[f"{direction}_hits"] for row in rows])
        arms.append(arm)
    start = {name: mean_hits([value]) if name.endswith("hits") else value for name, value in start.items()}
    return {"model": START, "caption_kind": CAPTION_KIND, "top": list(TOP), "sizes": asdict(sizes), **machine(),
            "start": start, "arms": arms}  # fmt: skip


def mean_hits(rows: Sequence[Sequence[float]]) -> list[float]:
    return torch.tensor(rows, dtype=torch.float64).mean(dim=0).mul(1e4).round().div(1e4).tolist()


def main(arguments: list[str] | None = None) -> None:
    options = options_of(arguments, __doc__, "finetune_losses")
    compare(QUICK if options.quick else Sizes(), options.folder, options.results, options.processes)


def compare(sizes: Sizes, work: Path, results: Path | None = None, processes: int = 1) -> Path:
    """Run all trainings that are not done yet, and write the results."""
    work.mkdir(parents=True, exist_ok=True)
    for part in ("training", "validation", "held_out"):
        tokens_of(work, getattr(sizes, f"first_{part}"), getattr(sizes, part))
    chosen = trials(sizes)
    tasks, files = [(trial, sizes, work) for trial in chosen], []
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        for done, path in enumerate(pool.imap(run, tasks), start=1):
            files.append(path)
            row = json.loads(path.read_text(encoding="utf-8"))
            top = " ".join(f"{100 * row[way][0]:.1f}" for way in ("image_to_text", "text_to_image"))
            print(f"{done} of {len(tasks)}: {path.stem}  top-1 {top}", flush=True)
    start = measure(FrozenBlocks(load_clip(START)), tokens_of(work, sizes.first_held_out, sizes.held_out), sizes.among)
    found = [json.loads(path.read_text(encoding="utf-8")) for path in files]
    path = results or work / "finetune_losses.json"
    write_json(path, summarise(found, start, sizes), indent=None)
    print(f"wrote {path}", flush=True)
    return path


if __name__ == "__main__":
    main()
