"""Train a 2-D U-Net on masks that nobody drew, in cycles, and keep several models of one training.

Network (:mod:`medclipsam_utils.weak.network`) and loss are those of nnU-Net (Isensee et al. 2021), from MONAI: a plain
U-Net with instance normalisation, Dice plus cross-entropy. The optimizer is AdamW, which gets further than nnU-Net's
SGD in the few hundred steps that a processor has time for. What is ours is short: the cycles of the learning rate
(:mod:`medclipsam_utils.weak.schedule`), the models kept at the end of each, and going on after an interruption.
For nnU-Net itself see :mod:`medclipsam_utils.weak.nnunet`.

Section 3.4 of Koleilat et al. 2025 trains for 600 epochs in 3 cycles, and keeps 10 models of each.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.losses import DiceCELoss
from monai.transforms import Compose, RandAdjustContrastd, RandAffined, RandFlipd, RandGaussianNoised
from numpy.typing import ArrayLike
from torch import Tensor, nn
from torch.nn import functional
from torch.optim.swa_utils import AveragedModel
from tqdm.auto import tqdm

from ..images import Image, MedicalImage, image_size, pixels_of
from ..masks import as_mask
from ..models import Clip
from ..runs.checkpoints import Checkpoints, load_checkpoint, save_checkpoint, weights_digest
from ..runs.files import write_json
from ..runs.precision import PRECISIONS, computing_in
from .network import ClipUNet, build_unet
from .schedule import CyclicPolyLR
from .uncertainty import EnsemblePrediction, one_size

CHECKPOINT, SETTINGS = "checkpoint.pt", "run.json"
#: Settings that may change between the parts of a training: neither changes the steps that were made.
MAY_DIFFER = ("cycles", "checkpoint_every")
_TOGETHER = 16  # images that are predicted at once


@dataclass(frozen=True)
class TrainingConfig:
    """Settings of :func:`train_segmenter`.

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
                f"that 2 to the power of one less than their number divides"
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


class SegmenterEnsemble:
    """Models of one training, see :func:`train_segmenter`.

    Attributes:
        config: settings of the training.
        snapshots: weights of M models, in the order in which they were kept: the first ``keep`` are of the first cycle.
        losses: loss of every step.
        clip: CLIP whose image tower the networks started from; None if there was none.
    """

    def __init__(
        self,
        config: TrainingConfig,
        snapshots: Sequence[dict[str, Tensor]],
        losses: Sequence[float],
        clip: Clip | None = None,
    ):
        self.config, self.snapshots, self.losses, self.clip = config, list(snapshots), list(losses), clip

    def __repr__(self) -> str:
        return f"SegmenterEnsemble({len(self.snapshots)} models of {self.config.cycles} cycles)"

    @torch.no_grad()
    def predict(self, images: Sequence[Image], device: str | torch.device = "cpu") -> EnsemblePrediction:
        """Ask every model about images of one size.

        Args:
            images: N of them, 1 or more, of the kinds that :func:`train_segmenter` takes.
            device: where it is computed.

        Raises:
            ValueError: there are no images, they differ in size, or one is of another kind or has a pixel that is NaN
                or infinite.
        """
        prepared = [_prepared(number, image, self.config.size) for number, image in enumerate(images)]
        size, inputs = one_size(images), torch.stack(prepared)
        members, network = [], build_network(self.config, self.clip).to(device).eval()
        for weights in self.snapshots:
            network.load_state_dict(weights)
            maps = [network(part.to(device)).softmax(1)[:, 1:].cpu() for part in inputs.split(_TOGETHER)]
            members.append(functional.interpolate(torch.cat(maps), size, mode="bilinear")[:, 0])
        return EnsemblePrediction(torch.stack(members).clamp(0, 1).numpy())


def build_network(config: TrainingConfig, clip: Clip | None = None) -> nn.Module:
    """Build the network of a training, from grey images [B, 1, S, S] to scores [B, 2, S, S]."""
    return build_unet(config.channels) if clip is None else ClipUNet(clip, config.channels, config.size)


def train_segmenter(
    images: Sequence[Image],
    labels: Sequence[ArrayLike],
    config: TrainingConfig = TrainingConfig(),
    *,
    clip: Clip | None = None,
    folder: str | os.PathLike | None = None,
    device: str | torch.device = "cpu",
    progress: bool = True,
) -> SegmenterEnsemble:
    """Train on images and masks, and keep models at the end of each cycle.

    Args:
        images: uint8 [H, W, 3] or [H, W], tensors uint8 [3, H, W], or what
            :func:`~medclipsam_utils.images.read_image` returns, of any sizes. Each is brought to mean 0 and deviation
            1, so that other numbers will do as well, if all are finite.
        labels: bool [H, W] or numbers that are all 0 or 1, one per image; some may be empty.
        config: settings.
        clip: the deepest levels of the U-Net are then a copy of its image tower
            (:class:`~medclipsam_utils.weak.network.ClipUNet`). None trains a U-Net from nothing.
        folder: for ``checkpoint.pt`` and ``snapshot_*.pt``; the same call goes on from there after an interruption, and
            :func:`load_ensemble` reads them. With more ``cycles`` it goes on as well; with fewer, the first ones are
            returned. None keeps all in memory.
        device: where to train.
        progress: show a bar.

    Raises:
        ValueError: there are no images, another number of labels, an image of another kind or with a pixel that is NaN
            or infinite, a label with other values than 0 and 1 or of another size than its image, nothing but target or
            nothing but background in all labels together, or a checkpoint that is damaged or of a training with other
            settings, which the message names.
        ModelError: the CLIP's image tower is no vision transformer.
        OSError: a file could not be written; what was written before is whole.
    """
    if not len(images) or len(images) != len(labels):
        raise ValueError(f"there are {len(images)} images and {len(labels)} labels: give one label for each image")
    inputs = torch.stack([_prepared(number, image, config.size) for number, image in enumerate(images)])
    masks = [as_mask(label, f"label {number}") for number, label in enumerate(labels)]
    _check(images, masks)
    targets = torch.stack([_shrunk(mask, config.size) for mask in masks])
    settings = {**asdict(config), "images": len(images), "labelled": round(float(targets.mean()), 6)}
    settings["tower"] = _tower_of(clip)
    kept = None if folder is None else Checkpoints(Path(folder) / CHECKPOINT, settings, MAY_DIFFER)
    run = _Run(config, clip, device)
    run.resume(None if kept is None else kept.load(device))
    if kept is not None:
        Path(folder).mkdir(parents=True, exist_ok=True)
        write_json(Path(folder) / SETTINGS, settings)
    for number, weights in enumerate(run.snapshots):
        if not _snapshot_path(folder, number).is_file():
            save_checkpoint(_snapshot_path(folder, number), weights)
    augmented = _augmentation() if config.augment else None
    with tqdm(total=config.steps, initial=run.step, disable=not progress, unit="step") as bar:
        while run.step < config.steps:
            run.learn(*_batch(inputs, targets, config, run.step, augmented))
            if run.step in config.snapshot_steps and kept is not None:
                save_checkpoint(_snapshot_path(folder, len(run.snapshots) - 1), run.snapshots[-1])
            if kept is not None and (run.step % config.checkpoint_every == 0 or run.step == config.steps):
                kept.save(run.state())
            bar.update()
            bar.set_postfix(loss=f"{run.losses[-1]:.3f}", refresh=False)
    return SegmenterEnsemble(config, run.snapshots[: len(config.snapshot_steps)], run.losses[: config.steps], clip)


def load_ensemble(folder: str | os.PathLike, clip: Clip | None = None) -> SegmenterEnsemble:
    """Load the models that :func:`train_segmenter` kept in a folder, also of a training that is not at its end.

    Args:
        folder: folder of the training.
        clip: CLIP that the training was given; None if it was given none.

    Raises:
        ValueError: there is no training in the folder, no model yet, the training had another CLIP, or a file is
            damaged; the message names it.
    """
    path = Path(folder) / SETTINGS
    if not path.is_file():
        raise ValueError(f"{folder} holds no training: {SETTINGS} is missing")
    settings = json.loads(path.read_text(encoding="utf-8"))
    if settings["tower"] != _tower_of(clip):
        trained, given = settings["tower"] or "no CLIP", _tower_of(clip) or "none"
        raise ValueError(f"{folder} was trained from {trained} and you give {given}: give clip as in the training")
    names = TrainingConfig.__dataclass_fields__
    config = TrainingConfig(
        **{name: tuple(v) if name == "channels" else v for name, v in settings.items() if name in names}
    )
    files = [_snapshot_path(folder, number) for number in range(len(config.snapshot_steps))]
    files = [file for file in files if file.is_file()]
    if not files:
        raise ValueError(f"{folder} holds no model yet: the first one is kept after {config.snapshot_steps[0]} steps")
    return SegmenterEnsemble(config, [load_checkpoint(file, "cpu") for file in files], [], clip)


class _Run:
    """The part of a training that changes with its steps."""

    def __init__(self, config: TrainingConfig, clip: Clip | None, device: str | torch.device):
        self.config, self.device = config, torch.device(device)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            self.network = build_network(config, clip).to(self.device)
        groups = [{"params": [p for n, p in self.network.named_parameters() if not n.startswith("visual.")]}]
        if clip is not None:
            groups += [{"params": self.network.visual.parameters(), "lr": config.tower_lr * config.lr}]
        self.optimizer = torch.optim.AdamW(groups, config.lr, weight_decay=config.weight_decay)
        self.schedule = CyclicPolyLR(self.optimizer, config.cycle_steps, warm_up=config.warm_up)
        self.loss = DiceCELoss(to_onehot_y=True, softmax=True)
        self.mean = AveragedModel(self.network) if config.average else None
        self.step, self.losses = 0, []
        self.snapshots: list[dict[str, Tensor]] = []

    def learn(self, inputs: Tensor, targets: Tensor) -> None:
        self.network.train()
        with computing_in(self.config.precision, self.device):
            scores = self.network(inputs.to(self.device))
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


def _check(images: Sequence[Image], labels: Sequence[np.ndarray]) -> None:
    for number, (image, label) in enumerate(zip(images, labels, strict=True)):
        if image_size(image) != label.shape:
            raise ValueError(
                f"image {number} has {image_size(image)} pixels and its label {label.shape}: give equal sizes"
            )
    if not any(label.any() for label in labels):
        raise ValueError(
            f"all {len(labels)} labels are empty, so that there is nothing to learn: look at the pseudo-labels, and at "
            "whether the target was reported absent"
        )
    if all(label.all() for label in labels):
        raise ValueError(f"all {len(labels)} labels cover their whole image: there is no background to learn from")


def _prepared(number: int, image: Image, size: int) -> Tensor:
    """Return an image as float32 [1, S, S] of mean 0 and deviation 1; a constant one becomes 0."""
    kinds = "give uint8 [H, W, 3] or [H, W], a tensor uint8 [3, H, W], or what read_image returns"
    if not isinstance(image, np.ndarray | Tensor | MedicalImage):
        raise ValueError(f"image {number} is a {type(image).__name__}: {kinds}")
    pixels = image.cpu().numpy() if isinstance(image, Tensor) and image.ndim != 3 else pixels_of(image)
    if pixels.dtype.kind not in "uif" or not pixels.size or (pixels.ndim != 2 and pixels.shape[2:] != (3,)):
        raise ValueError(f"image {number} is {pixels.dtype} {list(pixels.shape)}: {kinds}")
    grey = pixels.mean(axis=2, dtype=np.float32) if pixels.ndim == 3 else pixels.astype(np.float32)
    wrong = grey.size - int(np.isfinite(grey).sum())
    if wrong:
        raise ValueError(
            f"image {number} has {wrong} pixels that are NaN or infinite: find out where they come from, or replace "
            "them, for example by np.nan_to_num(image, posinf=0, neginf=0)"
        )
    small = functional.interpolate(torch.from_numpy(grey)[None, None], (size, size), mode="bilinear", antialias=True)[0]
    return (small - small.mean()) / small.std().clamp(min=1e-6)


def _shrunk(label: np.ndarray, size: int) -> Tensor:
    """Return a label as float32 [1, S, S] of 0 and 1."""
    share = torch.from_numpy(label.astype(np.float32))[None, None]
    return (functional.interpolate(share, (size, size), mode="bilinear", antialias=True)[0] > 0.5).float()


def _augmentation() -> Compose:
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


def _batch(
    inputs: Tensor, targets: Tensor, config: TrainingConfig, step: int, augmented: Compose | None
) -> tuple[Tensor, Tensor]:
    """Draw images and labels of a step; the same step draws the same, also after an interruption."""
    generator = np.random.default_rng([config.seed, step])
    chosen = generator.choice(len(inputs), config.batch_size, replace=len(inputs) < config.batch_size)
    if augmented is None:
        return inputs[chosen], targets[chosen]
    augmented.set_random_state(seed=int(generator.integers(2**31)))
    drawn = [augmented({"image": inputs[number], "label": targets[number]}) for number in chosen]
    return tuple(torch.stack([torch.as_tensor(item[key]) for item in drawn]) for key in ("image", "label"))


def _tower_of(clip: Clip | None) -> str:
    """Return the name of a CLIP and the digest of its image tower; nothing without one."""
    return "" if clip is None else f"{clip.name} {weights_digest(clip.model.visual)}"


def _snapshot_path(folder: str | os.PathLike, number: int) -> Path:
    return Path(folder) / f"snapshot_{number:03}.pt"
