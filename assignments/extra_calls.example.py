"""Further hidden calls, as an example: copy it beside your teacher's file and name it there."""

from __future__ import annotations

from typing import Any

import numpy as np


def extra_calls(assignment: str, step: str, generator: np.random.Generator) -> list[tuple[Any, ...]]:
    """Give arguments for the first part of a step; what should come out is computed by the solution."""
    if step == "caption_targets":
        return [(["a nodule", "no nodule", "a nodule"],)]
    if step == "kappa":
        labels = generator.integers(0, 2, (40, 40))
        return [(labels, 1 - labels)]
    return []
