"""The command line, as a user types it."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from medclipsam_utils import cli
from medclipsam_utils.models import load_clip
from medclipsam_utils.models.checkpoints import save_tiny_clip
from medclipsam_utils.models.tiny_clip import build_tiny_clip

WORDS = ["a", "brain", "breast", "image", "of", "the", "tumour", "with"]
pytestmark = pytest.mark.filterwarnings("ignore::medclipsam_utils.models.UnknownWordWarning")


@pytest.fixture
def start(tmp_path):
    """A file of a small CLIP with random weights."""
    save_tiny_clip(tmp_path / "start.safetensors", build_tiny_clip(len(WORDS) + 4), WORDS, {})
    return str(tmp_path / "start.safetensors")


def test_finetune_from_a_table(tmp_path, start, capsys):
    rng = np.random.default_rng(0)
    rows = ["image,caption"]
    for number in range(14):
        Image.fromarray(rng.integers(0, 256, (40, 40, 3), dtype=np.uint8)).save(tmp_path / f"{number}.png")
        rows.append(f"{number}.png,a tumour of the {('brain', 'breast')[number % 2]} with the image {number}")
    (tmp_path / "captions.csv").write_text("\n".join(rows))
    out = tmp_path / "run"
    command = ["finetune", str(tmp_path / "captions.csv"), "-o", str(out), "--clip", start, "--epochs", "1"]
    assert cli.main([*command, "--batch-size", "2", "--loss", "hn-nce", "--beta1", "0.3"]) == 0
    assert "validation loss" in capsys.readouterr().out
    results = json.loads((out / "run.json").read_text())
    assert results["pairs"] == 12 and results["config"]["epochs"] == 1
    assert results["loss"].startswith("HNNCELoss(temperature=0.6, beta1=0.3, beta2=0.15")
    assert load_clip(out / results["weights"]).encode_text("a tumour").shape == (1, 128)


def test_finetune_from_simulated_pairs(tmp_path, start):
    command = ["finetune", "simulated", "--pairs", "16", "-o", str(tmp_path / "run"), "--clip", start]
    assert cli.main([*command, "--epochs", "1", "--batch-size", "4", "--loss", "infonce"]) == 0
    assert json.loads((tmp_path / "run" / "run.json").read_text())["pairs"] == 12


def test_wrong_input_is_one_line_on_stderr(tmp_path, start, capsys):
    assert cli.main(["finetune", str(tmp_path / "none.csv"), "-o", str(tmp_path / "run"), "--clip", start]) == 1
    assert capsys.readouterr().err.startswith(f"medclipsam: {tmp_path / 'none.csv'}: there is no such file")
    assert cli.main(["finetune", "simulated", "-o", str(tmp_path / "run"), "--clip", start, "--batch-size", "1"]) == 1
    assert "give 2 or more" in capsys.readouterr().err


def test_an_interruption_says_how_to_go_on(tmp_path, capsys, monkeypatch):
    def interrupt(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("medclipsam_utils.finetune.finetune", interrupt)
    assert cli.main(["finetune", "simulated", "--pairs", "8", "-o", str(tmp_path / "run")]) == 130
    assert capsys.readouterr().err.strip() == (
        "medclipsam: interrupted; the same command goes on from the last checkpoint"
    )
