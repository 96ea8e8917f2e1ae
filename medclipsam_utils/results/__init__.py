"""Measurements that take longer than a chapter may: made by a recipe, shipped as a small file, read by a chapter."""

from __future__ import annotations

import json
from pathlib import Path
from statistics import fmean
from typing import Any

from ..tables import Table

FOLDER = Path(__file__).parent

_SHORT = {"breast_ultrasound": "breast", "brain_mri": "brain", "lung_xray": "X-ray", "lung_ct": "CT"}
#: Rows of :func:`supervision_table`: what the CLIP learned from and how it is asked, and where the scores are.
_SUPERVISION = (
    ("captions, M2IB", "saliency_methods", "M2IB, captions only"),
    ("captions, default", "saliency_methods", "patch–text, captions only"),
    ("+ regions, M2IB", "saliency_methods", "M2IB"),
    ("+ regions, default", "saliency_methods", "patch–text"),
    ("no CLIP: true box", "components_added", "SAM on the true box"),
)
_SUPERVISION_NOTE = """captions: tiny-base; it saw no mask.
+ regions: tiny; it saw masks of targets.
M2IB: the paper's way, settings by masks.
default: cosines of words and patches, or of
words and windows for tiny-base, whose words
and cuts were chosen without masks.
SAM learned from exact masks in all rows."""


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


def supervision_table() -> Table:
    """Say what the small models have learned from, and how good their masks are: what *zero-shot* hides.

    Returns:
        For each CLIP what it learned from, and the mean DSC of its masks on the held-out images of
        ``recipes/measure/zero_shot.py`` in the paper's way and by default, in percent, by task and over all; below it
        SAM alone, asked with the box of the exact mask; and what had a say in each row.
    """
    found = load_results("zero_shot")
    rows = []
    for source, part, row in _SUPERVISION:
        scores = [100 * fmean(found[part][task]["scores"][row]["DSC"]) for task in _SHORT]
        rows.append([source, *scores, fmean(scores)])
    return Table(
        ["learned from", *_SHORT.values(), "all"],
        rows,
        caption="Mean DSC in percent, simulated.",
        form="{:.1f}",
        note=_SUPERVISION_NOTE,
    )
