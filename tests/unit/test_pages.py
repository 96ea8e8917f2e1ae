"""The pages around the chapters, as text."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from medclipsam_utils.results import load_results

ROOT = Path(__file__).parents[2]
PAGES = [
    ROOT / "README.md",
    *sorted((ROOT / "book").glob("*.md")),
    *sorted((ROOT / "book" / "teaching").glob("*.md")),
    *sorted((ROOT / "notebooks").glob("*.ipynb")),
]
CODE = re.compile(r"^```(?:python|shell)\n(.*?)^```", flags=re.S | re.M)


def markdown(path: Path) -> str:
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".md":
        return text
    cells = json.loads(text)["cells"]
    return "\n\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_code_fits_a_page(path):
    assert [line for block in CODE.findall(markdown(path)) for line in block.splitlines() if len(line) > 100] == []


def test_it_is_said_what_the_small_models_have_seen():
    """In the introduction, and in every chapter that calls a result zero-shot or weakly supervised."""
    for name in ("book/intro.md", "notebooks/00_tour.ipynb", "notebooks/06_sam_prompting.ipynb",
                 "notebooks/07_zero_shot_evaluation.ipynb", "notebooks/08_weak_supervision.ipynb"):  # fmt: skip
        text = " ".join(markdown(ROOT / name).replace("*", "").split())
        assert re.search(r"exact masks of (simulated|everything|the targets)", text), name
    card = (ROOT / "book" / "model_card_clip.md").read_text(encoding="utf-8")
    row = next(line for line in card.splitlines() if line.startswith("| **supervision, `tiny-base`**"))
    assert "no mask" in row and "counterfactual" in row


def test_the_card_has_the_scores_of_the_real_images():
    card = " ".join((ROOT / "book" / "model_card_clip.md").read_text(encoding="utf-8").split())
    pair = r" (\d+) and (\d+)"
    said = re.search(rf"paper's way: breast{pair}, brain{pair}, X-ray{pair}, CT{pair}\.", card)
    scores = [part["scores"] for part in load_results("real_images")["images"].values()]
    means = [np.mean(of_task[way]["DSC"]) for of_task in scores for way in ("default", "paper's way")]
    assert [int(number) for number in said.groups()] == [round(100 * mean) for mean in means]


def test_the_first_page_says_which_version_this_is():
    said = re.search(r"^Version (\S+), built on", (ROOT / "book" / "intro.md").read_text(encoding="utf-8"), flags=re.M)
    stated = re.search(r"^version: (\S+)", (ROOT / "CITATION.cff").read_text(encoding="utf-8"), flags=re.M)
    assert said[1] == stated[1]
