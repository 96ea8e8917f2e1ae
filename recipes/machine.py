"""Describe the machine for the results file that it makes."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Any

import torch


def machine() -> dict[str, Any]:
    """Name the processor, the number of threads and the version of torch."""
    names = [line.split(":")[1].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")]
    return {"processor": names[0] if names else platform.processor(), "threads": torch.get_num_threads(),
            "torch": torch.__version__}  # fmt: skip


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return []
