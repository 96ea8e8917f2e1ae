"""The command line, as a user types it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import nibabel
import numpy as np
import pytest
from PIL import Image
from pydicom.data import get_testdata_file

from medclipsam_utils import Segmenter, cli, load_sam, read_image, simulate
from medclipsam_utils.cli.options import device
from medclipsam_utils.models import load_clip
from medclipsam_utils.models.checkpoints import save_tiny_clip
from medclipsam_utils.models.tiny_clip import build_tiny_clip

pytestmark = pytest.mark.filterwarnings("ignore::medclipsam_utils.models.UnknownWordWarning")
WORDS = ["a", "brain", "breast", "image", "of", "the", "tumour", "with"]


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


def test_finetune_from_a_table_with_names_of_its_own(tmp_path, start, capsys):
    """The columns, the separator and the length that messages ask for can be given."""
    rows = ["image|figure|caption|finding"]
    for number in range(8):
        Image.fromarray(np.full((40, 40, 3), 20 * number, np.uint8)).save(tmp_path / f"{number}.png")
        rows.append(f"x|{number}.png|y|brain image {number}")
    (tmp_path / "captions.csv").write_text("\n".join([*rows, "x|0.png|y|-----------------"]))
    command = ["finetune", str(tmp_path / "captions.csv"), "-o", str(tmp_path / "run"), "--clip", start]
    command += ["--epochs", "1", "--batch-size", "2", "--separator", "|"]
    columns = ["--image-column", "figure", "--caption-column", "finding", "--image-folder", str(tmp_path)]
    assert cli.main([*command, *columns]) == 1
    assert "lower min_caption_length" in capsys.readouterr().err
    # One validation image of eight is fewer than a batch, but the table was read.
    assert cli.main([*command, *columns, "--min-caption-length", "5"]) == 1
    printed = capsys.readouterr().err
    assert "1 rows left out: their captions are too short, or say nothing" in printed
    assert "validation has 1 pairs, fewer than a batch of 2" in printed


def test_finetune_from_a_table_of_tabs(tmp_path, start, capsys):
    (tmp_path / "captions.csv").write_text("file,a\ttext,b\tc,d\n")
    command = ["finetune", str(tmp_path / "captions.csv"), "-o", str(tmp_path / "run"), "--clip", start]
    for separator in ("tab", r"\t", "\t"):
        assert cli.main([*command, "--separator", separator]) == 1
        assert "has the columns 'file,a', 'text,b', 'c,d', none of which is known" in capsys.readouterr().err


def test_finetune_from_simulated_pairs(tmp_path, start):
    command = ["finetune", "simulated", "--pairs", "16", "-o", str(tmp_path / "run"), "--clip", start]
    command += ["--epochs", "1", "--batch-size", "4", "--loss", "infonce", "--false-negatives", "masked"]
    assert cli.main(command) == 0
    run = json.loads((tmp_path / "run" / "run.json").read_text())
    assert run["pairs"] == 12 and "false_negatives='masked'" in run["loss"]


def test_wrong_input_is_one_line_on_stderr(tmp_path, start, capsys):
    assert cli.main(["finetune", str(tmp_path / "none.csv"), "-o", str(tmp_path / "run"), "--clip", start]) == 1
    assert capsys.readouterr().err.startswith(f"medclipsam: {tmp_path / 'none.csv'}: there is no such file")
    assert cli.main(["finetune", "simulated", "-o", str(tmp_path / "run"), "--clip", start, "--batch-size", "1"]) == 1
    assert "give 2 or more" in capsys.readouterr().err


@pytest.mark.parametrize("device", ["gpu", "cuda:99"])
@pytest.mark.parametrize("command", ["segment", "folder", "finetune"])
def test_a_device_that_is_not_there_is_one_line_on_stderr(tmp_path, scan, capsys, command, device):
    arguments = {
        "segment": ["segment", str(scan), "brain tumour", "-o", str(tmp_path / "mask.png")],
        "folder": ["folder", str(tmp_path), str(tmp_path / "out"), "brain tumour"],
        "finetune": ["finetune", "simulated", "--pairs", "8", "-o", str(tmp_path / "run")],
    }
    assert cli.main([*arguments[command], "--device", device]) == 1
    said = capsys.readouterr().err
    assert said.startswith(f"medclipsam: device {device!r}: ") and "Use 'cpu'" in said and said.count("\n") == 1


def test_an_interruption_says_how_to_go_on(tmp_path, capsys, monkeypatch):
    def interrupt(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("medclipsam_utils.finetune.finetune", interrupt)
    assert cli.main(["finetune", "simulated", "--pairs", "8", "-o", str(tmp_path / "run")]) == 130
    assert capsys.readouterr().err.strip() == ("medclipsam: interrupted; the same command goes on from where it was")


@pytest.fixture
def scan(tmp_path):
    """A simulated brain with a tumour as a file."""
    Image.fromarray(simulate("brain_mri", 31, finding="meningioma").image).save(tmp_path / "scan.png")
    return tmp_path / "scan.png"


def pixels(path):
    return np.asarray(Image.open(path))


def test_segment_a_dicom_gives_a_mask_of_its_size(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, text in (("MR_small.dcm", "brain tumour"), ("CT_small.dcm", "lungs"), ("JPEG2000.dcm", "lungs")):
        path = Path(get_testdata_file(name))
        assert cli.main(["segment", str(path), text]) == 0
        mask = pixels(f"{path.stem}_{text.replace(' ', '_')}.png")
        assert mask.shape == read_image(path).pixels.shape[:2] and set(np.unique(mask)) <= {0, 255}
        output = capsys.readouterr()
        assert (
            f"Segmentation('{text}' as " in output.out and "the small models know simulated images only" in output.err
        )


def test_segment_writes_what_the_package_finds(tmp_path, scan, capsys):
    out, overlay, figure = (tmp_path / name for name in ("masks/mask.png", "new/overlay.png", "other/figure.png"))
    command = ["segment", str(scan), "brain tumour", "-o", str(out), "--overlay", str(overlay), "--figure", str(figure)]
    assert cli.main(command) == 0
    found = Segmenter(load_clip("tiny"), load_sam("tiny")).segment(read_image(scan), "brain tumour")
    assert np.array_equal(pixels(out) == 255, found.mask)
    assert np.array_equal(pixels(overlay), found.overlay()) and pixels(figure).shape[0] > 500
    assert f"mask: {out}" in capsys.readouterr().out


def test_segment_a_volume_keeps_the_affine(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    volume = np.stack([simulate("brain_mri", seed, size=64).image[..., 0] for seed in (3, 4, 5)], axis=2)
    affine = np.array([[-2.0, 0, 0, 9], [0, 2, 0, 8], [0, 0, 4, 7], [0, 0, 0, 1]])
    nibabel.save(nibabel.Nifti1Image(volume.astype(np.int16), affine), tmp_path / "head.nii.gz")
    assert cli.main(["segment", "head.nii.gz", "brain tumour", "--slice", "2"]) == 0
    mask = nibabel.load("head_brain_tumour.nii.gz")
    assert np.array_equal(mask.affine, affine) and mask.shape == (64, 64, 3)
    filled = np.asarray(mask.dataobj).any(axis=(0, 1))
    assert filled.tolist() == [False, False, True]


def test_segment_several_targets_and_by_task_alone(tmp_path, scan):
    assert cli.main(["segment", str(scan), "brain tumour", "lungs", "-o", str(tmp_path / "both")]) == 0
    assert sorted(path.name for path in (tmp_path / "both").iterdir()) == ["scan_brain_tumour.png", "scan_lungs.png"]
    assert cli.main(["segment", str(scan), "--task", "brain_mri", "-o", str(tmp_path / "task.png")]) == 0
    assert pixels(tmp_path / "task.png").any()


def test_segment_options_act(tmp_path, scan, capsys):
    masks = []
    for number, extra in enumerate(([], ["--method", "v1"], ["--visual-prompt", "point"])):
        path = tmp_path / f"{number}.png"
        assert cli.main(["segment", str(scan), "brain tumour", "-o", str(path), *extra]) == 0
        masks.append(pixels(path))
    assert not np.array_equal(masks[0], masks[1]) and not np.array_equal(masks[0], masks[2])
    Image.fromarray(simulate("brain_mri", 31, finding="normal").image).save(scan)
    capsys.readouterr()
    for extra, filled in ([], True), (["--empty-if-absent"], False):
        assert cli.main(["segment", str(scan), "brain tumour", "-o", str(tmp_path / "n.png"), *extra]) == 0
        assert pixels(tmp_path / "n.png").any() == filled
        assert "reported absent" in capsys.readouterr().out
    assert cli.main(["segment", str(scan), "brain tumour", "-o", str(tmp_path / "n.png"), "--clip", "tiny-base"]) == 0
    assert "presence unknown" in capsys.readouterr().out


def test_segment_says_what_is_wrong(tmp_path, scan, capsys, monkeypatch):
    monkeypatch.setenv("MEDCLIPSAM_MODELS", str(tmp_path))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    for command, message in (
        ([str(tmp_path / "none.dcm"), "lungs"], "there is no such file"),
        ([str(scan)], "give a sentence, for example 'brain tumour', or --task"),
        ([str(scan), "?"], "the text is '?'"),
        ([str(scan), "les poumons"], "it knows no word of 'les poumons'"),
        ([str(scan), "lungs", "brain", "--overlay", "x.png"], "run the command once for each"),
        ([str(scan), "lungs", "lungs!"], "two sentences give the same file name"),
        ([str(scan), "lungs", "--slice", "3"], "plane= and slice_index= are for NIfTI"),
        ([str(scan), "lungs", "-o", str(tmp_path / "mask.jpg")], "masks are not written as .jpg"),
        ([str(scan), "lungs", "--profile", "full"], "biomedclip"),
        ([str(scan), "lungs", "--sam", "vit_b"], "there is no"),
    ):
        assert cli.main(["segment", *command]) == 1, command
        error = capsys.readouterr().err
        assert message in error and "Traceback" not in error
    with pytest.raises(SystemExit, match="2"):
        cli.main(["segment", str(scan), "lungs", "--method", "v3"])


def test_folder_then_evaluate(tmp_path, capsys):
    for name in ("scans", "references"):
        (tmp_path / name).mkdir()
    for seed in range(4):
        sample = simulate("lung_ct", 60 + seed, size=128, finding="clear")
        Image.fromarray(sample.image).save(tmp_path / "scans" / f"{seed}.png")
        Image.fromarray(sample.mask).save(tmp_path / "references" / f"{seed}.png")
    scans, out, references = (str(tmp_path / name) for name in ("scans", "out", "references"))
    command = ["folder", scans, out, "lungs", "--quiet"]
    assert cli.main([*command, "--overlay", "--batch-size", "3"]) == 0
    assert "masks: 4, see" in capsys.readouterr().out and len(list(tmp_path.glob("out/overlays/*.png"))) == 4
    table = tmp_path / "tables" / "scores.csv"
    evaluate = ["evaluate", f"{out}/masks", references, "--table", str(table)]
    assert cli.main([*evaluate, "--versus", references, "--tolerance", "3"]) == 0
    printed = capsys.readouterr().out
    assert "NSD at 3 mm: mean" in printed and "DSC, " in printed and ", p = " in printed
    assert len(table.read_text().splitlines()) == 5
    (tmp_path / "scans" / "broken.png").write_bytes(b"")
    assert cli.main(command) == 3
    assert "failed: 1, see" in capsys.readouterr().out
    assert cli.main(["folder", scans, out, "heart", "--quiet"]) == 1
    (tmp_path / "references" / "0.png").rename(tmp_path / "references" / "other.png")
    assert cli.main(evaluate) == 3
    printed = capsys.readouterr().out
    assert "left out: 2\n  0: " in printed and "names must be the same in both folders" in printed


def test_demo(tmp_path, capsys):
    assert cli.main(["demo", "-o", str(tmp_path), "--task", "lung_ct", "brain_mri", "--seed", "9"]) == 0
    printed = capsys.readouterr().out
    assert printed.count("DSC") == 2 and "nothing about patients" in printed
    assert sorted(path.name for path in tmp_path.iterdir()) == ["brain_mri.png", "lung_ct.png"]


def test_models(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("MEDCLIPSAM_MODELS", str(tmp_path))
    monkeypatch.setattr("medclipsam_utils.models.listing.cached", lambda repository: None)
    (tmp_path / "sam_vit_b_01ec64.pth").write_bytes(b"")
    assert cli.main(["models"]) == 0
    lines = {tuple(line.split()[:2]): line for line in capsys.readouterr().out.splitlines()}
    assert "tiny_clip.safetensors" in lines["CLIP", "tiny"] and "here: " in lines["SAM", "tiny"]
    assert "here: " in lines["SAM", "vit_b"] and "not here; put https://" in lines["SAM", "vit_h"]
    assert "not here; load_clip('biomedclip') fetches it" in lines["CLIP", "biomedclip"]
    monkeypatch.setattr("medclipsam_utils.models.weights.checksums", dict)
    assert cli.main(["models"]) == 0
    assert "does not list it" in capsys.readouterr().out


def test_help_is_there_for_every_command_and_needs_no_torch():
    program = "import sys; from medclipsam_utils import cli; cli.main(['--help'])"
    check = f"try:\n    {program}\nfinally:\n    assert 'torch' not in sys.modules"
    answer = subprocess.run(
        [sys.executable, "-c", check.replace("import sys; ", "import sys\n    ")], capture_output=True
    )
    assert answer.returncode == 0, answer.stderr
    for command in cli.COMMANDS:
        assert command.encode() in answer.stdout
        with pytest.raises(SystemExit, match="0"):
            cli.main([command, "--help"])


def test_a_mask_of_a_picture_imports_nothing_that_it_does_not_use(tmp_path):
    Image.fromarray(simulate("brain_mri", 3, size=64).image).save(tmp_path / "a.png")
    unused = (
        "matplotlib",
        "seaborn",
        "nibabel",
        "pydicom",
        "sklearn",
        "pytorch_grad_cam",
        "nilearn",
        "pandas",
        "monai",
    )
    program = (
        "import sys, open_clip; theirs = set(sys.modules); from medclipsam_utils.cli import main; "
        "assert main(['segment', 'a.png', 'brain tumour', '-o', 'mask.png']) == 0; "
        f"ours = [name for name in {unused} if name in sys.modules and name not in theirs]; assert not ours, ours"
    )
    answer = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True)
    assert answer.returncode == 0 and (tmp_path / "mask.png").is_file(), answer.stderr


def test_each_process_of_torchrun_has_its_own_gpu(monkeypatch):
    assert device("cuda") == "cuda"
    monkeypatch.setenv("LOCAL_RANK", "3")
    assert device("cuda") == "cuda:3" and device("cpu") == "cpu" and device("cuda:1") == "cuda:1"
