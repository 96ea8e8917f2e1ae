"""Train in stages: where a stage keeps its files, and how its end becomes the start of another."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch


def checkpoint_file(model: str, stage: str, work: Path) -> Path:
    """Name the file in which a stage of the small ``"clip"`` or ``"sam"`` keeps its checkpoint."""
    return work / f"tiny_{model}_{stage}.pt"


def weights_file(model: str, stage: str, work: Path) -> Path:
    """Name the file of a finished stage's weights; the results stand beside it, as ``.json``."""
    return work / f"tiny_{model}_{stage}.safetensors"


def finished(path: Path) -> dict[str, Any]:
    """Read the state at the end of a run, whatever its settings.

    Raises:
        FileNotFoundError: there is no such run, or it is not at its end.
    """
    state = torch.load(path, weights_only=True) if path.exists() else None
    if state is None or state["step"] < state["settings"]["steps"]:
        raise FileNotFoundError(f"{path} is not at its end: train that stage first")
    return state
