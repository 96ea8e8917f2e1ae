"""Train the small SAM (``medclipsam_utils/models/tiny_sam.py``) from simulated images, on one CPU core.

    python -m recipes.sam.train coarse --work FOLDER    what boxes and points mean, and rough contours
    python -m recipes.sam.train fine   --work FOLDER    goes on from coarse: contours

The same command continues an interrupted training: all that a step draws follows from the seed and the number of the
step, so that with the checkpoint (weights, their average, the optimizer's state, the number of the step) the result is
that of a training in one go. FOLDER receives ``tiny_sam_STAGE.safetensors``, ``tiny_sam_STAGE.json`` (settings,
machine, validation beside the filled box) and ``tiny_sam_STAGE.pt``, the checkpoint. The drawn images go to ``--data``.
``--quick`` proves in seconds that the recipe runs; what it trains is of no use.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import json
import time
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from segment_anything.modeling import Sam

from medclipsam_utils.runs.checkpoints import Checkpoints
from medclipsam_utils.runs.files import write_json

from ..data.images import Images, load_images
from ..data.seeds import SEEDS
from ..machine import machine
from ..training.optimizers import moving_average, muon_and_adamw, rate_fraction, start_from
from ..training.stages import checkpoint_file, finished, weights_file
from .examples import Sampling, draw_example, index_by_task
from .steps import batch_loss
from .validation import evaluate

TRAINING, VALIDATION = SEEDS["training"].seeds.start, SEEDS["validation"].seeds.start


@dataclass(frozen=True)
class Settings:
    """Hold each number with its reason."""

    stage: str
    # Random weights if None.
    starts_from: str | None = None
    seed: int = 0
    # Enough anatomies that no lesion is seen twice in the same way; twice as many images, as each is drawn with and
    # without its target.
    seeds_per_task: int = 4000
    validation_seeds_per_task: int = 250
    # What a box or a point *means* takes thousands of steps to learn and needs no fine pixels: half of the steps see
    # the images at half their size, at a quarter of the cost. The other half learns contours.
    steps: int = 5000
    share_of_small_steps: float = 0.5
    # The encoder is the cost of an image, the decoder that of a prompt: with 4 prompts each takes about half. Many
    # cheap steps teach a model that starts from random weights more than few precise ones.
    images_per_small_step: int = 8
    images_per_step: int = 4
    prompts_per_image: int = 4
    # The rate of the matrices, in Muon's units. At 0.02 and 0.04 the loss was higher after 300 steps.
    matrix_rate: float = 0.01
    # The rate of everything else. A model of 2 million parameters stands more than SAM's 8e-4.
    other_rate: float = 1e-3
    matrix_decay: float = 0.01
    # The attention of the first steps is arbitrary; a full step then is a step anywhere.
    warm_up_steps: int = 150
    # Small enough that the last steps only settle.
    last_rate: float = 0.01
    # A batch in which the prompts are hard should not undo what easy ones taught.
    largest_gradient: float = 1.0
    # The average of the weights over about the last 500 steps is steadier than any of them, and it is what is saved.
    averaging: float = 0.998
    # Validation while it trains: often enough to see a stall, small enough to cost little.
    validate_every: int = 500
    validate_images: int = 24
    final_validate_images: int = 250
    # At most this much is lost when the machine stops.
    checkpoint_minutes: float = 4.0
    sampling: Sampling = field(default_factory=Sampling)


STAGES = {
    "coarse": Settings("coarse"),
    "fine": Settings(
        "fine", starts_from="coarse", seed=1, steps=4800, share_of_small_steps=0.0, warm_up_steps=100,
        # Half of what is best from random weights: enough to leave where the first stage settled, and not to undo it.
        matrix_rate=0.005, other_rate=5e-4,
        # Lungs were not learned within minutes after all: where the heart's edge is faint, it has to be known.
        sampling=Sampling(
            tasks=(("breast_ultrasound", 0.22), ("brain_mri", 0.30), ("lung_xray", 0.28), ("lung_ct", 0.20)),
            target_share=0.85, target_share_of_one_point=0.95, shape_with_target=0.1,
        ),
    ),
}  # fmt: skip


def quick(settings: Settings) -> Settings:
    """Make the same recipe a few hundred times smaller."""
    return replace(
        settings, seeds_per_task=2, validation_seeds_per_task=2, steps=16, images_per_small_step=2, images_per_step=2,
        prompts_per_image=2, warm_up_steps=3, averaging=0.8, validate_every=1000, final_validate_images=1,
    )  # fmt: skip


class Training:
    """Hold what a checkpoint keeps: the model, the average of its weights, the optimizer, and how far it is."""

    def __init__(self, settings: Settings, model: Sam):
        self.settings = settings
        self.model = model
        self.average = moving_average(model, settings.averaging)
        self.optimizer = muon_and_adamw(model, settings.matrix_rate, settings.other_rate, settings.matrix_decay)
        self.step = 0
        self.step_seconds: list[float] = []
        self.losses: list[float] = []
        self.validation: list[dict] = []

    @property
    def shrink(self) -> int:
        """The factor by which images are made smaller at this step."""
        return 2 if self.step < self.settings.share_of_small_steps * self.settings.steps else 1

    def advance(self, images: Images, groups: dict[tuple[str, bool], np.ndarray]) -> float:
        """Take one step; returns the dice loss of the unambiguous masks."""
        settings, started = self.settings, time.perf_counter()
        rng = np.random.default_rng([settings.seed, self.step])
        examples = [
            draw_example(images, groups, settings.prompts_per_image, settings.sampling, rng)
            for _ in range(settings.images_per_small_step if self.shrink > 1 else settings.images_per_step)
        ]
        loss, dice = batch_loss(self.model, examples, self.shrink)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), settings.largest_gradient)
        self.optimizer.step(rate_fraction(self.step, settings.steps, settings.warm_up_steps, settings.last_rate))
        self.average.update_parameters(self.model)
        self.step += 1
        self.losses.append(float(loss.detach()))
        self.step_seconds.append(time.perf_counter() - started)
        return dice

    def state(self) -> dict:
        return {
            "model": self.model.state_dict(), "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(), "step": self.step, "step_seconds": self.step_seconds,
            "losses": self.losses, "validation": self.validation,
        }  # fmt: skip

    def restore(self, state: dict) -> None:
        self.model.load_state_dict(state["model"])
        self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step, self.step_seconds = state["step"], state["step_seconds"]
        self.losses, self.validation = state["losses"], state["validation"]


def new_model(settings: Settings) -> Sam:
    """Build a model with random weights that depend on the seed only."""
    from medclipsam_utils.models.tiny_sam import build_tiny_sam

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        return build_tiny_sam().train()


def train(settings: Settings, work: Path, data: Path, stop_after: int | None = None) -> Training:
    """Train to the end, or until ``stop_after`` steps are done, from the checkpoint in ``work`` if there is one."""
    checkpoints = Checkpoints(checkpoint_file("sam", settings.stage, work), asdict(settings))
    state, before = checkpoints.load(), None
    if state is None and settings.starts_from:  # asked before images are drawn, which takes minutes
        before = finished(checkpoint_file("sam", settings.starts_from, work))
    images = load_images(data, TRAINING, settings.seeds_per_task, structures=True)
    held_out = load_images(data, VALIDATION, settings.validation_seeds_per_task, structures=True)
    training, groups = Training(settings, new_model(settings)), index_by_task(images)
    if state is not None:
        training.restore(state)
        print(f"continues at step {training.step}", flush=True)
    elif before is not None:
        start_from(training.model, training.average, before["average"])
    end = settings.steps if stop_after is None else min(stop_after, settings.steps)
    saved, recent = time.monotonic(), []
    while training.step < end:
        recent.append(training.advance(images, groups))
        if training.step % 50 == 0 or training.step == end:
            report(training, recent)
            recent.clear()
        if training.step % settings.validate_every == 0 and training.step < settings.steps:
            table = evaluate(training.average.module, held_out, settings.validate_images, training.shrink)
            training.validation.append({"step": training.step, "dsc": table})
            print(json.dumps(table, ensure_ascii=False), flush=True)
        if time.monotonic() - saved > 60 * settings.checkpoint_minutes or training.step == end:
            checkpoints.save(training.state())
            saved = time.monotonic()
    if training.step == settings.steps:
        write_results(training, held_out, work)
    return training


def report(training: Training, recent: list[float]) -> None:
    settings, seconds = training.settings, np.mean(training.step_seconds[-len(recent) :])
    left = (settings.steps - training.step) * seconds / 60
    print(
        f"step {training.step}/{settings.steps} at {256 // training.shrink} pixels  "
        f"loss {np.mean(training.losses[-len(recent) :]):.3f}  dice {np.mean(recent):.3f}  "
        f"{seconds:.2f} s/step  {left:.0f} min left at this pace",
        flush=True,
    )


def write_results(training: Training, held_out: Images, work: Path) -> None:
    from medclipsam_utils.models.checkpoints import save_tiny_sam

    model, settings = training.average.module.eval(), training.settings
    tenth = max(1, settings.steps // 10)
    results = {
        "recipe": f"python -m recipes.sam.train {settings.stage}",
        "data": "simulated images of medclipsam_utils.simulate; no real image",
        "seeds": {"training": [TRAINING, settings.seeds_per_task], "validation": VALIDATION},
        "settings": asdict(settings),
        "steps": training.step,
        "minutes": round(sum(training.step_seconds) / 60, 1),
        "machine": machine(),
        "loss": {"first": float(np.mean(training.losses[:tenth])), "last": float(np.mean(training.losses[-tenth:]))},
        "validation": evaluate(model, held_out, settings.final_validate_images),
    }
    weights = weights_file("sam", settings.stage, work)
    save_tiny_sam(weights, model, results)
    write_json(weights.with_suffix(".json"), {**results, "while_training": training.validation})
    print(json.dumps(results["validation"], indent=1, ensure_ascii=False), flush=True)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("stage", choices=STAGES, help="which of the two to train")
    parser.add_argument("--work", type=Path, required=True, help="folder for the checkpoint and the results")
    parser.add_argument("--data", type=Path, help="folder of the drawn images; WORK/data if not given")
    parser.add_argument("--quick", action="store_true", help="a few seconds, to see it run")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    options.work.mkdir(parents=True, exist_ok=True)
    settings = STAGES[options.stage]
    try:
        train(quick(settings) if options.quick else settings, options.work, options.data or options.work / "data")
    except FileNotFoundError as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
