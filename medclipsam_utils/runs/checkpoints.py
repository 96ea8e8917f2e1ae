"""Checkpoints of long runs that survive an interruption, and the digest by which weights are told apart."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn


class Checkpoints:
    """One checkpoint file, replaced as a whole, so that a killed run leaves the previous one.

    Args:
        path: path of the file.
        settings: everything the run depends on, of types that JSON knows; a dict may hold dicts of settings. A run with
            other settings does not go on from here.
        may_differ: names of the settings that a run may go on without sharing, because they do not change what was
            computed so far.
    """

    def __init__(self, path: Path, settings: dict[str, Any], may_differ: Collection[str] = ()):
        self.path, self.settings, self.may_differ = path, json.loads(json.dumps(settings)), may_differ

    def save(self, state: dict[str, Any]) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        save_checkpoint(self.path, {"settings": self.settings, **state})

    def load(self, device: str | torch.device = "cpu") -> dict[str, Any] | None:
        """Return the saved state, or None if there is none yet.

        Raises:
            ValueError: the file is damaged, is no checkpoint of a run, or is one of a run with other settings; the
                message names each setting that differs, and both values.
        """
        if not self.path.exists():
            return None
        state = load_checkpoint(self.path, device)
        if not (isinstance(state, dict) and isinstance(state.get("settings"), dict)):
            raise ValueError(f"{self.path} is no checkpoint of such a run: give another folder")
        others = list(_differences(state.pop("settings"), self.settings, self.may_differ))
        if others:
            raise ValueError(
                f"{self.path} was made with other settings, data or model: {'; '.join(others)}. Use the same, give "
                "another folder, or delete it"
            )
        return state


def _differences(older: dict[str, Any], newer: dict[str, Any], may_differ: Collection[str]) -> Iterator[str]:
    """Yield a clause for each setting that differs; one that is missing counts as None."""
    for name in older | newer:
        before, now = older.get(name), newer.get(name)
        if isinstance(before, dict) and isinstance(now, dict):
            yield from _differences(before, now, may_differ)
        elif before != now and name not in may_differ:
            yield f"{name} was {before!r} and is {now!r} now"


def save_checkpoint(path: Path, content: Any) -> None:
    """Write a checkpoint with torch, all of it or nothing.

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
    """Return 16 hexadecimal digits that differ if the weights do."""
    digest = hashlib.sha256()
    for name, weight in sorted(model.state_dict().items()):
        digest.update(name.encode() + weight.float().cpu().numpy().tobytes())
    return digest.hexdigest()[:16]
