"""Stored measurements: how they are found, and the table of supervision that chapters print."""

from __future__ import annotations

import numpy as np
import pytest

from medclipsam_utils.results import load_results, supervision_table
from medclipsam_utils.tasks import TASKS


def test_an_unknown_name_is_answered_with_the_names_that_there_are():
    with pytest.raises(ValueError, match=r"there are no results 'ways2'; there are .*saliency_checks, .*zero_shot"):
        load_results("ways2")


def test_the_table_of_supervision_has_the_stored_means():
    table = supervision_table()
    assert table.columns == ["learned from", "breast", "brain", "X-ray", "CT", "all"]
    assert max(map(len, str(table).splitlines())) <= 52
    stored = load_results("zero_shot")
    shown = (
        ("saliency_methods", "M2IB, captions only"),
        ("saliency_methods", "patch–text, captions only"),
        ("saliency_methods", "M2IB"),
        ("saliency_methods", "patch–text"),
        ("components_added", "SAM on the true box"),
    )
    for cells, (part, name) in zip(table.cells, shown, strict=True):
        means = [100 * np.mean(stored[part][task]["scores"][name]["DSC"]) for task in TASKS]
        assert cells[1:] == [f"{mean:.1f}" for mean in (*means, np.mean(means))]
    assert "simulated" in table.caption
    assert all(word in table.note for word in ("tiny-base; it saw no mask", "SAM learned from exact masks"))
