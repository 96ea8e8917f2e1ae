"""Files of long runs that survive an interruption, and what tells that a run is the same."""

from __future__ import annotations

import csv
import hashlib
import json
import os
from collections.abc import Iterable, Sequence
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
        unfinished = self.path.with_suffix(".part")
        torch.save({"settings": self.settings, **state}, unfinished)
        os.replace(unfinished, self.path)

    def load(self, device: str | torch.device = "cpu") -> dict[str, Any] | None:
        """The saved state, or None if there is none yet; ValueError if it was made with other settings."""
        if not self.path.exists():
            return None
        state = torch.load(self.path, map_location=device, weights_only=True)
        if state.pop("settings") != self.settings:
            raise ValueError(
                f"{self.path} was made with other settings, data or model: give another folder, or delete it"
            )
        return state


def write_json(path: Path, content: Any, indent: int | None = 1) -> None:
    """Write a results file, all of it or nothing; on one line if ``indent`` is None, for thousands of numbers."""
    unfinished = path.with_suffix(".json.part")
    unfinished.write_text(json.dumps(content, indent=indent) + "\n", encoding="utf-8")
    os.replace(unfinished, path)


def write_table(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Write a CSV file, all of it or nothing."""
    unfinished = path.with_suffix(".csv.part")
    with unfinished.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    os.replace(unfinished, path)


def weights_digest(model: nn.Module) -> str:
    """16 hexadecimal digits that differ if the weights do."""
    digest = hashlib.sha256()
    for name, weight in sorted(model.state_dict().items()):
        digest.update(name.encode() + weight.float().cpu().numpy().tobytes())
    return digest.hexdigest()[:16]
