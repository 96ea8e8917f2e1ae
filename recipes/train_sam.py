"""Train the small SAM (``medclipsam_utils/models/tiny_sam.py``) from simulated images, on one CPU core.

    python recipes/train_sam.py --work FOLDER                 the recipe: as many steps as Settings says
    python recipes/train_sam.py --work FOLDER --minutes 20    as many steps as fit, by a first timing
    python recipes/train_sam.py --work FOLDER --quick         some seconds, to see it run

The same command continues an interrupted training: all that a step draws follows from the seed and the number of the
step, so that with the checkpoint (weights, their average, the optimizer's state, the number of the step) the result is
that of a training in one go. FOLDER receives ``tiny_sam.safetensors``, ``tiny_sam.json`` (settings, machine, and the
validation beside the filled box) and ``sam_checkpoint.pt``. The drawn images go to ``--data``.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import json
import math
import platform
import time
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from sam_evaluation import evaluate
from sam_examples import Sampling, draw_example, index_by_task
from sam_steps import batch_loss
from segment_anything.modeling import Sam
from simulated_data import FIRST_TRAINING_SEED, FIRST_VALIDATION_SEED, Images, load_images


@dataclass(frozen=True)
class Settings:
    """Each number with its reason."""

    seed: int = 0
    # Enough anatomies that no lesion is seen twice in the same way; twice as many images, as each is drawn with and
    # without its target.
    seeds_per_task: int = 4000
    validation_seeds_per_task: int = 250
    # 80 minutes on one core with bfloat16 instructions.
    steps: int = 3200
    # The encoder is the cost of an image, the decoder that of a prompt: with 8 and 4 they are about the same.
    images_per_step: int = 8
    prompts_per_image: int = 4
    # Higher than SAM's 8e-4 · (batch 8 instead of 256) would suggest: a model of 2 million parameters stands it.
    learning_rate: float = 8e-4
    weight_decay: float = 0.02
    # The attention of the first steps is arbitrary; a full step then is a step anywhere.
    warm_up_steps: int = 150
    # SAM ends at 1/100 of its rate.
    last_learning_rate: float = 0.01
    # A batch in which the prompts are hard should not undo what easy ones taught.
    largest_gradient: float = 1.0
    # The average of the weights over about the last 500 steps is smoother than any of them, and it is what is saved.
    averaging: float = 0.998
    # Validation while it trains: often enough to see a stall, small enough to cost little.
    validate_every: int = 500
    validate_images: int = 24
    final_validate_images: int = 250
    # At most this much is lost when the machine stops.
    checkpoint_minutes: float = 4.0
    sampling: Sampling = field(default_factory=Sampling)


QUICK = Settings(
    seeds_per_task=2, validation_seeds_per_task=2, steps=16, images_per_step=2, prompts_per_image=2,
    warm_up_steps=3, averaging=0.8, validate_every=1000, final_validate_images=1,
)  # fmt: skip


class Training:
    """The state that a checkpoint holds: the model, the average of its weights, the optimizer, and how far it is."""

    def __init__(self, settings: Settings, model: Sam):
        self.settings = settings
        self.model = model
        self.average = {name: weight.detach().clone() for name, weight in model.state_dict().items()}
        matrices = [weight for weight in model.parameters() if weight.requires_grad and weight.ndim >= 2]
        vectors = [weight for weight in model.parameters() if weight.requires_grad and weight.ndim < 2]
        self.optimizer = torch.optim.AdamW(
            [{"params": matrices, "weight_decay": settings.weight_decay}, {"params": vectors, "weight_decay": 0.0}],
            betas=(0.9, 0.99),
        )
        self.step = 0
        self.seconds = 0.0
        self.losses: list[float] = []
        self.validation: list[dict] = []

    def advance(self, images: Images, groups: dict[tuple[str, bool], np.ndarray]) -> float:
        """One step; returns the dice loss of the unambiguous masks."""
        settings, started = self.settings, time.perf_counter()
        rng = np.random.default_rng([settings.seed, self.step])
        examples = [
            draw_example(images, groups, settings.prompts_per_image, settings.sampling, rng)
            for _ in range(settings.images_per_step)
        ]
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(settings, self.step)
        loss, dice = batch_loss(self.model, examples)
        self.optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), settings.largest_gradient)
        self.optimizer.step()
        self._update_average()
        self.step += 1
        self.losses.append(float(loss.detach()))
        self.seconds += time.perf_counter() - started
        return dice

    @torch.no_grad()
    def _update_average(self) -> None:
        # Early on, the average forgets faster: (1 + t) / (10 + t) keeps it from remembering the random weights.
        keep = min(self.settings.averaging, (1 + self.step) / (10 + self.step))
        for name, weight in self.model.state_dict().items():
            self.average[name].lerp_(weight, 1 - keep)

    def averaged_model(self) -> Sam:
        averaged = new_model(self.settings)
        averaged.load_state_dict(self.average)
        return averaged.eval()

    def save(self, path: Path) -> None:
        state = {
            "settings": as_json(self.settings), "model": self.model.state_dict(), "average": self.average,
            "optimizer": self.optimizer.state_dict(), "step": self.step, "seconds": self.seconds,
            "losses": self.losses, "validation": self.validation,
        }  # fmt: skip
        unfinished = path.with_suffix(f".{os.getpid()}.part")
        torch.save(state, unfinished)
        os.replace(unfinished, path)

    def load(self, path: Path) -> None:
        state = torch.load(path, weights_only=True)
        if state["settings"] != as_json(self.settings):
            raise ValueError(f"{path} was made with other settings: give another --work folder, or delete it")
        self.model.load_state_dict(state["model"])
        self.average = state["average"]
        self.optimizer.load_state_dict(state["optimizer"])
        self.step, self.seconds = state["step"], state["seconds"]
        self.losses, self.validation = state["losses"], state["validation"]


def new_model(settings: Settings) -> Sam:
    """Random weights that depend on the seed only."""
    from medclipsam_utils.models.tiny_sam import build_tiny_sam

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        return build_tiny_sam().train()


def learning_rate(settings: Settings, step: int) -> float:
    """A straight line up, then half a cosine down to the last rate."""
    warm_up = min(1.0, (step + 1) / settings.warm_up_steps)
    cosine = 0.5 * (1 + math.cos(math.pi * step / settings.steps))
    return settings.learning_rate * warm_up * (settings.last_learning_rate + (1 - settings.last_learning_rate) * cosine)


def as_json(settings: Settings) -> dict:
    """The settings as JSON would give them back (lists for tuples)."""
    return json.loads(json.dumps(asdict(settings)))


def machine() -> dict:
    names = [line.split(":", 1)[1].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")]
    return {
        "processor": names[0] if names else platform.processor(),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines() if Path(path).exists() else []


def steps_in(minutes: float, settings: Settings, images: Images) -> int:
    """How many steps fit, by timing five on a model that is thrown away (after two that are not timed)."""
    trial, groups = Training(settings, new_model(settings)), index_by_task(images)
    for step in range(7):
        if step == 2:
            trial.seconds = 0.0
        trial.advance(images, groups)
    return max(1, round(60 * minutes / (trial.seconds / 5)))


def train(settings: Settings, work: Path, data: Path, stop_after: int | None = None) -> Training:
    """Train to the end, or until ``stop_after`` steps are done, from the checkpoint in ``work`` if there is one."""
    images = load_images(data, FIRST_TRAINING_SEED, settings.seeds_per_task, structures=True)
    held_out = load_images(data, FIRST_VALIDATION_SEED, settings.validation_seeds_per_task, structures=True)
    training, checkpoint, groups = (
        Training(settings, new_model(settings)),
        work / "sam_checkpoint.pt",
        index_by_task(images),
    )
    if checkpoint.exists():
        training.load(checkpoint)
        print(f"continues at step {training.step}", flush=True)
    end = settings.steps if stop_after is None else min(stop_after, settings.steps)
    saved, recent = time.monotonic(), []
    while training.step < end:
        recent.append(training.advance(images, groups))
        if training.step % 50 == 0 or training.step == end:
            report(training, recent)
            recent.clear()
        if training.step % settings.validate_every == 0 and training.step < settings.steps:
            table = evaluate(training.averaged_model(), held_out, settings.validate_images)
            training.validation.append({"step": training.step, "dsc": table})
            print(json.dumps(table, ensure_ascii=False), flush=True)
        if time.monotonic() - saved > 60 * settings.checkpoint_minutes or training.step == end:
            training.save(checkpoint)
            saved = time.monotonic()
    if training.step == settings.steps:
        write_results(training, held_out, work)
    return training


def report(training: Training, recent: list[float]) -> None:
    per_step = training.seconds / training.step
    print(
        f"step {training.step}/{training.settings.steps}  loss {np.mean(training.losses[-len(recent) :]):.3f}  "
        f"dice {np.mean(recent):.3f}  {training.settings.images_per_step / per_step:.1f} images/s  "
        f"{(training.settings.steps - training.step) * per_step / 60:.0f} min left",
        flush=True,
    )


def write_results(training: Training, held_out: Images, work: Path) -> None:
    from medclipsam_utils.models.checkpoints import save_tiny_sam

    model, settings = training.averaged_model(), training.settings
    tenth = max(1, settings.steps // 10)
    results = {
        "recipe": "recipes/train_sam.py",
        "data": "simulated images of medclipsam_utils.simulate; no real image",
        "seeds": {"training": [FIRST_TRAINING_SEED, settings.seeds_per_task], "validation": FIRST_VALIDATION_SEED},
        "settings": as_json(settings),
        "steps": training.step,
        "minutes": round(training.seconds / 60, 1),
        "machine": machine(),
        "loss": {"first": float(np.mean(training.losses[:tenth])), "last": float(np.mean(training.losses[-tenth:]))},
        "validation": evaluate(model, held_out, settings.final_validate_images),
    }
    save_tiny_sam(work / "tiny_sam.safetensors", model, results)
    unfinished = work / f"tiny_sam.{os.getpid()}.part"
    unfinished.write_text(json.dumps({**results, "while_training": training.validation}, indent=1, ensure_ascii=False))
    os.replace(unfinished, work / "tiny_sam.json")
    print(json.dumps(results["validation"], indent=1, ensure_ascii=False), flush=True)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True, help="folder for the checkpoint and the results")
    parser.add_argument("--data", type=Path, help="folder of the drawn images; WORK/data if not given")
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--steps", type=int, help=f"instead of {Settings.steps}")
    length.add_argument("--minutes", type=float, help="as many steps as fit into this time")
    parser.add_argument("--quick", action="store_true", help="a few seconds, to see it run")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    options.work.mkdir(parents=True, exist_ok=True)
    settings, data = QUICK if options.quick else Settings(), options.data or options.work / "data"
    train(replace(settings, steps=_steps(options, settings, data)), options.work, data)


def _steps(options: argparse.Namespace, settings: Settings, data: Path) -> int:
    """The number of steps; a training that was begun keeps its own."""
    checkpoint = options.work / "sam_checkpoint.pt"
    if options.minutes is None:
        return options.steps or settings.steps
    if checkpoint.exists():
        return torch.load(checkpoint, weights_only=True)["settings"]["steps"]
    return steps_in(options.minutes, settings, load_images(data, FIRST_TRAINING_SEED, 250, structures=True))


if __name__ == "__main__":
    main()
