"""The models of one training, and what they say together of new images."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from ..images import Image
from ..models import Clip
from ..runs.checkpoints import load_checkpoint
from .config import TrainingConfig
from .folder import SETTINGS, snapshot_path, tower_of
from .inputs import network_input
from .network import build_network
from .uncertainty import EnsemblePrediction, one_size

_TOGETHER = 16  # images that are predicted at once


class UNetEnsemble:
    """The models of one training, see :func:`train_segmenter`.

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
        return f"UNetEnsemble({len(self.snapshots)} models of {self.config.cycles} cycles)"

    @torch.no_grad()
    def predict(self, images: Sequence[Image], device: str | torch.device = "cpu") -> EnsemblePrediction:
        """Ask every model about images of one size.

        Args:
            images: N images, 1 or more, of the kinds that :func:`train_segmenter` takes.
            device: device to compute on.

        Raises:
            ValueError: there are no images, they differ in size, or one is of another kind or has a pixel that is NaN
                or infinite.
        """
        prepared = [network_input(number, image, self.config.size) for number, image in enumerate(images)]
        size, inputs = one_size(images), torch.stack(prepared)  # inputs (N, 1, S, S)
        members, network = [], build_network(self.config, self.clip).to(device).eval()
        for weights in self.snapshots:
            network.load_state_dict(weights)
            maps = [network(part.to(device)).softmax(1)[:, 1:].cpu() for part in inputs.split(_TOGETHER)]
            small = torch.cat(maps)  # (N, 1, S, S), the probability of the target
            members.append(functional.interpolate(small, size, mode="bilinear")[:, 0])  # (N, H, W)
        return EnsemblePrediction(torch.stack(members).clamp(0, 1).numpy())  # (M, N, H, W)


def load_ensemble(folder: str | os.PathLike, clip: Clip | None = None) -> UNetEnsemble:
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
    if settings["tower"] != tower_of(clip):
        trained, given = settings["tower"] or "no CLIP", tower_of(clip) or "none"
        raise ValueError(f"{folder} was trained from {trained} and you give {given}: give clip as in the training")
    config = _config_of(settings)
    files = [snapshot_path(folder, number) for number in range(len(config.snapshot_steps))]
    files = [file for file in files if file.is_file()]
    if not files:
        raise ValueError(f"{folder} holds no model yet: the first one is kept after {config.snapshot_steps[0]} steps")
    return UNetEnsemble(config, [load_checkpoint(file, "cpu") for file in files], [], clip)


def _config_of(settings: dict[str, Any]) -> TrainingConfig:
    """Make the config again from settings that were written as JSON, where a tuple becomes a list."""
    values = {name: settings[name] for name in TrainingConfig.__dataclass_fields__ if name in settings}
    return TrainingConfig(**values | {"channels": tuple(settings["channels"])})
