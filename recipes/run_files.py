"""The end of one stage as the start of another, and what a results file says about the machine."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Any

import torch


def finished(path: Path) -> dict[str, Any]:
    """The state at the end of a run, whatever its settings; FileNotFoundError if it is not at its end."""
    state = torch.load(path, weights_only=True) if path.exists() else None
    if state is None or state["step"] < state["settings"]["steps"]:
        raise FileNotFoundError(f"{path} is not at its end: train that stage first")
    return state


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
