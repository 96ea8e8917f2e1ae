"""Checkpoints of long runs that survive an interruption, and the digest by which weights are told apart."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
from pathlib import Path
from typing import Any

import torch
from torch import nn


class Checkpoints:
    """One checkpoint file, replaced as a whole, so that a killed run leaves the previous one.

    Args:
        path: of the file.
        settings: what the run depends on, of types that JSON knows; a run with other settings does not go on from here.
    """

    def __init__(self, path: Path, settings: dict[str, Any]):
        self.path, self.settings = path, json.loads(json.dumps(settings))

    def save(self, state: dict[str, Any]) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        save_checkpoint(self.path, {"settings": self.settings, **state})

    def load(self, device: str | torch.device = "cpu") -> dict[str, Any] | None:
        """The saved state, or None if there is none yet; ValueError if it is damaged or of other settings."""
        if not self.path.exists():
            return None
        state = load_checkpoint(self.path, device)
        if state.pop("settings") != self.settings:
            raise ValueError(
                f"{self.path} was made with other settings, data or model: give another folder, or delete it"
            )
        return state


def save_checkpoint(path: Path, content: Any) -> None:
    """Write with torch, all of it or nothing.

    Raises:
        OSError: it could not be written, for example because the disk is full; an older file is untouched.
    """
    unfinished = path.with_suffix(".part")
    try:
        torch.save(content, unfinished)
        os.replace(unfinished, path)
    except (OSError, RuntimeError) as error:  # torch's writer raises a RuntimeError where the disk is full
        unfinished.unlink(missing_ok=True)
        reason = "free some space, or choose another folder; an older file of this name is as it was"
        raise OSError(f"{path} could not be written ({error}): {reason}") from error


def load_checkpoint(path: Path, device: str | torch.device) -> Any:
    """Read what :func:`save_checkpoint` wrote.

    Raises:
        ValueError: the file is damaged.
    """
    try:
        return torch.load(path, map_location=device, weights_only=True)
    except (EOFError, RuntimeError, pickle.UnpicklingError) as error:
        raise ValueError(
            f"{path} is damaged ({type(error).__name__}): delete it, and what it held is made anew"
        ) from None


def weights_digest(model: nn.Module) -> str:
    """16 hexadecimal digits that differ if the weights do."""
    digest = hashlib.sha256()
    for name, weight in sorted(model.state_dict().items()):
        digest.update(name.encode() + weight.float().cpu().numpy().tobytes())
    return digest.hexdigest()[:16]
