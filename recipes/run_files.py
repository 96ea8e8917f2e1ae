"""Files of a training run that survive an interruption, and what a results file says about the machine."""

from __future__ import annotations

import json
import os
import platform
from pathlib import Path
from typing import Any

import torch


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
        unfinished = self.path.with_suffix(".part")
        torch.save({"settings": self.settings, **state}, unfinished)
        os.replace(unfinished, self.path)

    def load(self) -> dict[str, Any] | None:
        """The saved state, or None if there is none yet; ValueError if it was made with other settings."""
        if not self.path.exists():
            return None
        state = torch.load(self.path, weights_only=True)
        if state.pop("settings") != self.settings:
            raise ValueError(f"{self.path} was made with other settings: give another folder, or delete it")
        return state


def finished(path: Path) -> dict[str, Any]:
    """The state at the end of a run, whatever its settings; FileNotFoundError if it is not at its end."""
    state = torch.load(path, weights_only=True) if path.exists() else None
    if state is None or state["step"] < state["settings"]["steps"]:
        raise FileNotFoundError(f"{path} is not at its end: train that stage first")
    return state


def write_json(path: Path, content: Any) -> None:
    unfinished = path.with_suffix(".json.part")
    unfinished.write_text(json.dumps(content, indent=1) + "\n")
    os.replace(unfinished, path)


def machine() -> dict[str, Any]:
    """Processor, threads and torch version, for the results file."""
    names = [line.split(":")[1].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")]
    return {"processor": names[0] if names else platform.processor(), "threads": torch.get_num_threads(),
            "torch": torch.__version__}  # fmt: skip


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return []
