"""The folder of a training: its settings, the checkpoint that it goes on from, and the models that it kept."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..models import Clip
from ..runs.checkpoints import Checkpoints, save_checkpoint, weights_digest
from ..runs.files import write_json

CHECKPOINT, SETTINGS = "checkpoint.pt", "run.json"
#: Settings that may change between the parts of a training: neither changes the steps that were made.
MAY_DIFFER = ("cycles", "checkpoint_every")


class TrainingFolder:
    """The folder that :func:`~medclipsam_utils.weak.train_segmenter` writes.

    Args:
        path: path of the folder, which is made when the training begins.
        settings: everything the training depends on, of types that JSON knows.
    """

    def __init__(self, path: Path, settings: dict[str, Any]):
        self.path, self.settings = path, settings
        self._checkpoints = Checkpoints(path / CHECKPOINT, settings, MAY_DIFFER)

    def load(self, device: str | torch.device) -> dict[str, Any] | None:
        """Return the state of the last checkpoint, or None if there is none yet.

        Raises:
            ValueError: the checkpoint is damaged, or is of a training with other settings.
        """
        return self._checkpoints.load(device)

    def begin(self, snapshots: Sequence[dict[str, Tensor]]) -> None:
        """Write the settings, and the models kept so far whose files are missing."""
        self.path.mkdir(parents=True, exist_ok=True)
        write_json(self.path / SETTINGS, self.settings)
        for number, weights in enumerate(snapshots):
            if not snapshot_path(self.path, number).is_file():
                self.keep(number, weights)

    def keep(self, number: int, weights: dict[str, Tensor]) -> None:
        """Write the weights of a model that is kept; they are numbered from 0."""
        save_checkpoint(snapshot_path(self.path, number), weights)

    def save(self, state: dict[str, Any]) -> None:
        """Replace the checkpoint."""
        self._checkpoints.save(state)


def snapshot_path(folder: str | os.PathLike, number: int) -> Path:
    """Return the path of a model that was kept, numbered from 0."""
    return Path(folder) / f"snapshot_{number:03}.pt"


def tower_of(clip: Clip | None) -> str:
    """Return the name of a CLIP and the digest of its image tower; nothing without one."""
    return "" if clip is None else f"{clip.name} {weights_digest(clip.model.get_submodule('visual'))}"
