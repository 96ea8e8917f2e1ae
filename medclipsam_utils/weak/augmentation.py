"""The images and labels of a step, drawn from the training set and changed a little at random."""

from __future__ import annotations

import numpy as np
import torch
from monai.transforms import Compose, RandAdjustContrastd, RandAffined, RandFlipd, RandGaussianNoised
from torch import Tensor

from .config import TrainingConfig


def augmentation() -> Compose:
    """Flip, turn, scale and move images [1, S, S] together with their labels; change their contrast and add noise."""
    both = ("image", "label")
    return Compose(
        [
            RandFlipd(both, prob=0.5, spatial_axis=1),
            RandAffined(
                both,
                prob=0.8,
                rotate_range=0.25,
                scale_range=0.15,
                translate_range=8,
                mode=("bilinear", "nearest"),
                padding_mode="border",
            ),
            RandAdjustContrastd("image", prob=0.3, gamma=(0.7, 1.5)),
            RandGaussianNoised("image", prob=0.3, std=0.15),
        ]
    )


def draw_batch(
    inputs: Tensor, targets: Tensor, config: TrainingConfig, step: int, augment: Compose | None
) -> tuple[Tensor, Tensor]:
    """Draw the images and labels of a step. The same step draws the same, also after an interruption.

    Args:
        inputs: all images, float32 [N, 1, S, S].
        targets: all labels, float32 [N, 1, S, S].
        config: settings of the training.
        step: number of the step, from 0.
        augment: what :func:`augmentation` returns; None draws images and labels as they are.

    Returns:
        Images and labels, float32 [B, 1, S, S] each.
    """
    generator = np.random.default_rng([config.seed, step])
    chosen = generator.choice(len(inputs), config.batch_size, replace=len(inputs) < config.batch_size)
    if augment is None:
        return inputs[chosen], targets[chosen]
    augment.set_random_state(seed=int(generator.integers(2**31)))
    drawn = [augment({"image": inputs[number], "label": targets[number]}) for number in chosen]
    images, labels = (torch.stack([torch.as_tensor(item[key]) for item in drawn]) for key in ("image", "label"))
    return images, labels
