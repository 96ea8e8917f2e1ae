"""The settings of a training on pseudo-labels; images, labels and the CLIP to start from are given beside them."""

from __future__ import annotations

from dataclasses import dataclass

from ..runs.precision import PRECISIONS


@dataclass(frozen=True)
class TrainingConfig:
    """Settings of :func:`~medclipsam_utils.weak.train_segmenter`.

    Attributes:
        size: side in pixels to which images and masks are brought.
        channels: channels of the U-Net's levels, from the full size down; each level halves the size.
        warm_up: steps at the peak learning rate before the first cycle. Models can only be averaged with a gain if they
            are about equally good, which those of a first cycle are not unless it is long.
        cycles: cycles of the learning rate.
        cycle_steps: steps of the optimizer per cycle.
        keep: models kept of each cycle, spread evenly over its last fifth.
        average: keep the mean of the weights of all steps of the last fifth since the model kept before, instead of the
            weights of one step (Izmailov et al. 2018). The rate does not fall there, and individual steps jitter the
            weights.
        batch_size: images per step.
        lr: the peak learning rate.
        tower_lr: learning rate of the image tower, where there is one, relative to ``lr``.
        weight_decay: weight decay of AdamW.
        precision: ``"float32"``, or ``"bfloat16"`` for the network (weights and loss stay float32): faster on a GPU and
            on newer processors. The models that are kept predict in float32.
        augment: flip, turn, scale, move; change contrast and add noise.
        checkpoint_every: steps between checkpoints.
        seed: seed of weights, batches and augmentation.

    Raises:
        ValueError: a number is out of range, or the size is not divided by the U-Net's smallest level.
    """

    size: int = 112
    channels: tuple[int, ...] = (12, 24, 48, 96, 96)
    warm_up: int = 0
    cycles: int = 3
    cycle_steps: int = 100
    keep: int = 3
    average: bool = False
    batch_size: int = 8
    lr: float = 3e-3
    tower_lr: float = 0.1
    weight_decay: float = 1e-2
    precision: str = "float32"
    augment: bool = True
    checkpoint_every: int = 25
    seed: int = 0

    def __post_init__(self):
        for name in ("size", "cycles", "cycle_steps", "keep", "batch_size", "checkpoint_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}: give 1 or more")
        if self.warm_up < 0:
            raise ValueError(f"warm_up is {self.warm_up}: give 0 or more")
        if self.precision not in PRECISIONS:
            raise ValueError(f"precision is {self.precision!r}: choose {', '.join(PRECISIONS)}")
        if len(self.channels) < 3 or self.size % 2 ** (len(self.channels) - 1):
            raise ValueError(
                f"size is {self.size} and there are {len(self.channels)} levels: give 3 levels or more, and a size "
                "that 2 to the power of one less than their number divides"
            )
        if self.keep > self._last_fifth:
            raise ValueError(f"keep is {self.keep} of {self.cycle_steps} steps: a cycle's last fifth has fewer")
        for name in ("lr", "tower_lr"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} is {getattr(self, name)}: give a number above 0")

    @property
    def steps(self) -> int:
        """Return the number of steps of the whole training."""
        return self.warm_up + self.cycles * self.cycle_steps

    @property
    def snapshot_steps(self) -> list[int]:
        """Return the steps of the whole training after which a model is kept."""
        ends = [self.cycle_steps - self._last_fifth * back // self.keep for back in range(self.keep)][::-1]
        return [self.warm_up + cycle * self.cycle_steps + end for cycle in range(self.cycles) for end in ends]

    def ends_a_cycle(self, step: int) -> bool:
        """Tell whether a step, counted from 1 over the whole training, is in the last fifth of a cycle."""
        cycle = self.cycle_steps
        return step > self.warm_up and (step - self.warm_up - 1) % cycle >= cycle - self._last_fifth

    @property
    def _last_fifth(self) -> int:
        return max(1, self.cycle_steps // 5)
