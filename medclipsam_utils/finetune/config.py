"""The settings of a fine-tuning run. Its data, its loss and the model it starts from are given beside them."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ..runs.precision import PRECISIONS

FROZEN = ("none", "image", "text")


@dataclass(frozen=True)
class FinetuneConfig:
    """Settings of :func:`~medclipsam_utils.finetune.finetune`, by default the paper's where it has any.

    They are those of section 4.2 of Koleilat et al. 2025.

    Attributes:
        epochs: how often every pair is seen. The last pairs of an epoch that do not fill a batch are left out; which
            ones these are is drawn anew for every epoch.
        batch_size: pairs per step, those of all processes together. Each pair has the others of its batch as negatives.
        micro_batch_size: how many pairs a process encodes at once; None is all of its part of the batch. Smaller needs
            less memory and more time (everything is encoded twice), and the loss still sees the whole batch: see
            :mod:`~medclipsam_utils.finetune.gradients`.
        learning_rate: learning rate of AdamW.
        warm_up_steps: steps over which the rate grows from 0 on a straight line.
        decay: factor by which the rate falls after every ``decay_epochs`` epochs. The paper says 50 %, not how often.
        decay_epochs: see ``decay``.
        weight_decay: weight decay of the weight matrices; biases, norms and other vectors have none.
        betas: betas of AdamW.
        epsilon: epsilon of AdamW.
        max_gradient_norm: longer gradients are shortened to this; None leaves them.
        precision: ``"float32"``, or ``"bfloat16"`` for the towers (weights and loss stay float32).
        freeze: which tower is left as it is: ``"none"``, ``"image"`` or ``"text"``.
        seed: seed of the order of the pairs and of dropout.
        checkpoint_steps: a checkpoint is written every so many steps.
        patience: stop after so many validations (one per epoch) without a lower loss; None never stops early.
        workers: processes that read images ahead; 0 reads them in this one.
    """

    epochs: int = 10
    batch_size: int = 64
    micro_batch_size: int | None = None
    learning_rate: float = 1e-6
    warm_up_steps: int = 0
    decay: float = 0.5
    decay_epochs: int = 1
    weight_decay: float = 0.1
    betas: tuple[float, float] = (0.9, 0.98)
    epsilon: float = 1e-6
    max_gradient_norm: float | None = 1.0
    precision: str = "float32"
    freeze: str = "none"
    seed: int = 0
    checkpoint_steps: int = 100
    patience: int | None = None
    workers: int = 0

    def __post_init__(self):
        for name in ("epochs", "decay_epochs", "checkpoint_steps"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}: give 1 or more")
        if self.batch_size < 2:
            raise ValueError(f"batch_size is {self.batch_size}: give 2 or more, a pair needs another as its negative")
        for name in ("micro_batch_size", "patience"):
            if getattr(self, name) is not None and getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}: give 1 or more, or None")
        if not (self.learning_rate > 0 and math.isfinite(self.learning_rate)):
            raise ValueError(f"learning_rate is {self.learning_rate}: give a number above 0")
        if not 0 < self.decay <= 1:
            raise ValueError(f"decay is {self.decay}: give a factor above 0, at most 1 (which keeps the rate)")
        if self.warm_up_steps < 0 or self.workers < 0 or self.weight_decay < 0:
            raise ValueError("warm_up_steps, workers and weight_decay cannot be below 0")
        for name, choices in (("precision", PRECISIONS), ("freeze", FROZEN)):
            if getattr(self, name) not in choices:
                raise ValueError(f"{name} is {getattr(self, name)!r}: choose {', '.join(choices)}")

    def rate(self, step: int, steps_per_epoch: int) -> float:
        """Return the learning rate of a step; steps count from 0."""
        warm_up = min(1.0, (step + 1) / self.warm_up_steps) if self.warm_up_steps else 1.0
        return self.learning_rate * warm_up * self.decay ** (step // (self.decay_epochs * steps_per_epoch))
