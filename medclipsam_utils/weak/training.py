"""Train a 2-D U-Net on masks that nobody drew, in cycles, and keep several models of one training.

Network (:mod:`medclipsam_utils.weak.network`) and loss are those of nnU-Net (Isensee et al. 2021), from MONAI: a plain
U-Net with instance normalisation, Dice plus cross-entropy. The optimizer is AdamW, which gets further than nnU-Net's
SGD in the few hundred steps that a processor has time for. Our own part is short: the cycles of the learning rate
(:mod:`medclipsam_utils.weak.schedule`), the models kept at the end of each, and going on after an interruption.
For nnU-Net itself see :mod:`medclipsam_utils.weak.nnunet`.

Section 3.4 of Koleilat et al. 2025 trains for 600 epochs in 3 cycles, and keeps 10 models of each.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from monai.losses import DiceCELoss
from numpy.typing import ArrayLike
from torch import Tensor
from torch.optim.swa_utils import AveragedModel
from tqdm.auto import tqdm

from ..images import Image
from ..models import Clip
from ..runs.precision import computing_in
from .augmentation import augmentation, draw_batch
from .config import TrainingConfig
from .ensemble import UNetEnsemble
from .folder import TrainingFolder, tower_of
from .inputs import training_set
from .network import ClipUNet, build_network
from .schedule import CyclicPolyLR


def train_segmenter(
    images: Sequence[Image],
    labels: Sequence[ArrayLike],
    config: TrainingConfig = TrainingConfig(),  # noqa: B008 (it is frozen)
    *,
    clip: Clip | None = None,
    folder: str | os.PathLike | None = None,
    device: str | torch.device = "cpu",
    progress: bool = True,
) -> UNetEnsemble:
    """Train on images and masks, and keep models at the end of each cycle.

    Args:
        images: uint8 [H, W, 3] or [H, W], tensors uint8 [3, H, W], or what
            :func:`~medclipsam_utils.images.read_image` returns, of any sizes. Each is brought to mean 0 and deviation
            1, so that other numbers will do as well, if all are finite.
        labels: bool [H, W] or numbers that are all 0 or 1, one per image; some may be empty.
        config: settings of the training.
        clip: CLIP whose image tower, as a copy, takes the place of the deepest levels of the U-Net
            (:class:`~medclipsam_utils.weak.network.ClipUNet`). None trains a U-Net from nothing.
        folder: folder for ``checkpoint.pt`` and ``snapshot_*.pt``; the same call goes on from there after an
            interruption, and :func:`load_ensemble` reads them. With more ``cycles`` it goes on as well; with fewer, the
            first ones are returned. None keeps all in memory.
        device: device to train on.
        progress: show a bar.

    Raises:
        ValueError: there are no images, another number of labels, an image of another kind or with a pixel that is NaN
            or infinite, a label with other values than 0 and 1 or of another size than its image, nothing but target or
            nothing but background in all labels together, or a checkpoint that is damaged or of a training with other
            settings, which the message names.
        ModelError: the CLIP's image tower is no vision transformer.
        OSError: a file could not be written; what was written before is whole.
    """
    inputs, targets = training_set(images, labels, config.size)  # (N, 1, S, S) each
    labelled = round(float(targets.mean()), 6)
    settings = {**asdict(config), "images": len(images), "labelled": labelled, "tower": tower_of(clip)}
    run = _Run(config, clip, device)
    kept = None if folder is None else TrainingFolder(Path(folder), settings)
    if kept is not None:
        run.resume(kept.load(device))
        kept.begin(run.snapshots)
    augment = augmentation() if config.augment else None
    with tqdm(total=config.steps, initial=run.step, disable=not progress, unit="step") as bar:
        while run.step < config.steps:
            run.learn(*draw_batch(inputs, targets, config, run.step, augment))
            if kept is not None:
                if run.step in config.snapshot_steps:
                    kept.keep(len(run.snapshots) - 1, run.snapshots[-1])
                if run.step % config.checkpoint_every == 0 or run.step == config.steps:
                    kept.save(run.state())
            bar.update()
            bar.set_postfix(loss=f"{run.losses[-1]:.3f}", refresh=False)
    return UNetEnsemble(config, run.snapshots[: len(config.snapshot_steps)], run.losses[: config.steps], clip)


class _Run:
    """The part of a training that changes with its steps."""

    def __init__(self, config: TrainingConfig, clip: Clip | None, device: str | torch.device):
        self.config, self.device = config, torch.device(device)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            self.network = build_network(config, clip).to(self.device)
        others = [weight for name, weight in self.network.named_parameters() if not name.startswith("visual.")]
        groups: list[dict[str, Any]] = [{"params": others}]
        if isinstance(self.network, ClipUNet):
            groups.append({"params": self.network.visual.parameters(), "lr": config.tower_lr * config.lr})
        self.optimizer = torch.optim.AdamW(groups, config.lr, weight_decay=config.weight_decay)
        self.schedule = CyclicPolyLR(self.optimizer, config.cycle_steps, warm_up=config.warm_up)
        self.loss = DiceCELoss(to_onehot_y=True, softmax=True)
        self.mean = AveragedModel(self.network) if config.average else None
        self.step = 0
        self.losses: list[float] = []
        self.snapshots: list[dict[str, Tensor]] = []

    def learn(self, inputs: Tensor, targets: Tensor) -> None:
        """Make a step with images and labels [B, 1, S, S]."""
        self.network.train()
        with computing_in(self.config.precision, self.device):
            scores = self.network(inputs.to(self.device))  # (B, 1, S, S) to (B, 2, S, S)
        loss = self.loss(scores.float(), targets.to(self.device))
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.schedule.step()
        self.step += 1
        self.losses.append(loss.item())
        if self.mean is not None and self.config.ends_a_cycle(self.step):
            self.mean.update_parameters(self.network)
        if self.step in self.config.snapshot_steps:
            self._keep()

    def _keep(self) -> None:
        kept = self.network if self.mean is None else self.mean.module
        self.snapshots.append({name: v.detach().cpu().clone() for name, v in kept.state_dict().items()})
        if self.mean is not None:
            self.mean.n_averaged.zero_()  # the next mean begins

    def state(self) -> dict[str, Any]:
        return {
            "step": self.step, "losses": self.losses, "snapshots": self.snapshots,
            "network": self.network.state_dict(), "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(), "mean": None if self.mean is None else self.mean.state_dict(),
        }  # fmt: skip

    def resume(self, state: dict[str, Any] | None) -> None:
        if state is None:
            return
        self.step, self.losses = state["step"], state["losses"]
        self.snapshots = [{name: v.cpu() for name, v in weights.items()} for weights in state["snapshots"]]
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        if self.mean is not None:
            self.mean.load_state_dict(state["mean"])
