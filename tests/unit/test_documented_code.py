"""The code of README and of "How to use this book" runs as it stands there.

Blocks of Python run one after the other in one namespace, in a folder that has the files they name. Commands run too,
but for those that need real models or other programs: of these the command line has to be one that is taken.
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from unittest.mock import create_autospec

import nibabel
import numpy as np
import pytest
from PIL import Image
from pydicom.data import get_testdata_file

from medclipsam_utils import cli, simulate
from medclipsam_utils.cli import main
from medclipsam_utils.images import read_image
from medclipsam_utils.settings import read_task
from medclipsam_utils.weak import TrainingConfig, nnunet

ROOT = Path(__file__).parents[2]
PAGES = {"README.md": ROOT / "README.md", "how_to_use.md": ROOT / "book" / "how_to_use.md"}
# Real models, a GPU, data of your own, minutes.
NEEDS_MORE = ("--profile full", "--device cuda", "captions.csv", "torchrun", "finetune simulated")


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGES[page].read_text(encoding="utf-8"), flags=re.M | re.S)


def commands(page: str) -> list[str]:
    lines = "\n".join(blocks(page, "shell")).replace("\\\n", " ").splitlines()
    kept = [re.sub(r"\s+#.*", "", line).strip() for line in lines]
    return [line for line in kept if line.startswith(("medclipsam ", "torchrun "))]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with every file that the pages name."""
    monkeypatch.chdir(tmp_path)
    brains = [simulate("brain_mri", seed, size=128, finding="normal").image for seed in range(40, 60)]
    for name, images in (("scans", brains[:2]), ("normal", brains), ("references", brains[:2])):
        Path(name).mkdir()
        for number, image in enumerate(images):
            Image.fromarray(image if name != "references" else np.uint8(image > 99)).save(f"{name}/{number}.png")
    Path("scan.dcm").write_bytes(Path(get_testdata_file("MR_small.dcm")).read_bytes())
    nibabel.save(nibabel.Nifti1Image(np.random.default_rng(0).random((24, 24, 90), "f4"), np.eye(4)), "head.nii.gz")
    return tmp_path


@pytest.fixture
def names(monkeypatch):
    """What the pages take for granted: the reader's own images; and trainings that take seconds."""
    samples = [simulate("breast_ultrasound", seed, size=128, finding="benign") for seed in range(4)]
    images = [sample.image for sample in samples]
    quick = TrainingConfig(size=64, channels=(8, 16, 16), warm_up=0, cycles=1, cycle_steps=2, keep=1, batch_size=2)
    defaults = {each: getattr(quick, each) for each in TrainingConfig.__dataclass_fields__}
    monkeypatch.setattr(TrainingConfig.__init__, "__defaults__", tuple(defaults.values()))
    for name in ("plan", "train", "predict"):  # nnU-Net needs minutes for each: here only its arguments are checked
        monkeypatch.setattr(
            nnunet, name, create_autospec(getattr(nnunet, name), return_value=np.full((2, 1, 8, 8), 0.5))
        )
    by_name = {str(number): image for number, image in enumerate(images)}
    masks = {str(number): sample.mask for number, sample in enumerate(samples)}
    return {"images": images, "new_images": images[:1], "images_by_name": by_name, "test_images_by_name": by_name,
            "masks_by_name": masks}  # fmt: skip


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("page", PAGES)
def test_python(page, folder, names):
    code = blocks(page, "python")
    assert len(code) >= 1
    for block in code:
        exec(compile(block, page, "exec"), names)
    assert (folder / ("masks" if page == "README.md" else "out") / "results.csv").is_file()


@pytest.mark.parametrize("page", PAGES)
def test_commands(page, folder, monkeypatch, capsys):
    lines = commands(page)
    assert len(lines) >= 7
    for line in lines:
        name, *arguments = shlex.split(line.partition("medclipsam_utils.cli ")[2] if "torchrun" in line else line)
        arguments = [name, *arguments] if "torchrun" in line else arguments
        if any(need in line for need in NEEDS_MORE):
            with monkeypatch.context() as patch:
                patch.setattr(f"medclipsam_utils.cli.{arguments[0]}.run", lambda options: 0)
                assert main(arguments) == 0, line
        else:
            assert main(arguments) == 0, f"{line}\n{capsys.readouterr().err}"
    assert set(cli.COMMANDS) - {shlex.split(line)[1] for line in commands("README.md")} <= {"models", "evaluate"}


def test_a_task_file(folder):
    (block,) = blocks("how_to_use.md", "toml")
    Path("polyp.toml").write_text(block, encoding="utf-8")
    task = read_task("polyp.toml")
    assert (task.target, task.settings["beta"], len(task.prompts["P2"])) == ("colon polyp", 0.5, 2)
    assert read_image("scan.dcm").modality == "MR"
