"""Measurements that take longer than a chapter may: made by a recipe, shipped as a small file, read by a chapter."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent


def load_results(name: str) -> dict[str, Any]:
    """Load what a recipe measured.

    Args:
        name: name of the recipe, for example ``"finetune_losses"``.

    Raises:
        ValueError: there is no such file; the message names those that there are.
    """
    path = FOLDER / f"{name}.json"
    names = sorted(file.stem for file in FOLDER.glob("*.json"))
    if name not in names:
        raise ValueError(f"there are no results {name!r}; there are {', '.join(names)}")
    return json.loads(path.read_text(encoding="utf-8"))
