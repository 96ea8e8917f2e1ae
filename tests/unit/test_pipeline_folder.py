"""A folder of pictures: broken files, interruptions, several processes, and what must not be mixed."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pytest
from PIL import Image
from processes import run_together, start
from pydicom.data import get_testdata_file

from medclipsam_utils.images import read_image
from medclipsam_utils.models import ModelError, load_clip, load_sam
from medclipsam_utils.pipeline import Segmenter, UnknownTargetWarning, segment_folder
from medclipsam_utils.settings import SETTINGS, PatchText
from medclipsam_utils.simulate import simulate
from medclipsam_utils.tasks import TASKS, Task

TEXT = "brain tumour"
# One look at each image, because nothing here is about the quality of the masks.
QUICK = {name: replace(row, saliency=PatchText(), zoom=False) for name, row in SETTINGS["tiny"].items()}


def quick_segmenter() -> Segmenter:
    return Segmenter(load_clip("tiny"), load_sam("tiny"), QUICK)


@pytest.fixture(scope="module")
def segmenter():
    return quick_segmenter()


@pytest.fixture
def scans(tmp_path):
    """Five pictures of three formats, one in a subfolder; three files that are none; what is ignored."""
    folder = tmp_path / "scans"
    (folder / "ward").mkdir(parents=True)
    for number in range(3):
        Image.fromarray(simulate("brain_mri", 80 + number, size=128).image).save(folder / f"{number}.png")
    (folder / "ward" / "head.dcm").write_bytes(Path(get_testdata_file("MR_small.dcm")).read_bytes())
    volume = np.random.default_rng(0).integers(0, 900, (30, 40, 5)).astype(np.int16)
    nibabel.save(nibabel.Nifti1Image(volume, np.diag([2, 2, 5, 1])), folder / "volume.nii.gz")
    (folder / "cut.png").write_bytes((folder / "0.png").read_bytes()[:300])
    (folder / "empty.dcm").write_bytes(b"")
    (folder / "0.jpg").write_bytes((folder / "0.png").read_bytes())
    (folder / "notes.txt").write_text("no picture")
    (folder / ".hidden.png").write_bytes(b"")
    return folder


def rows(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def run(segmenter, scans, **options):
    return segment_folder(segmenter, scans, scans.parent / "out", TEXT, progress=False, **options)


def test_a_mask_for_every_picture_and_a_reason_for_every_other_file(segmenter, scans):
    found = run(segmenter, scans, overlays=True, batch_size=3)
    out = scans.parent / "out"
    masks = {path.relative_to(out / "masks").as_posix() for path in (out / "masks").rglob("*.*")}
    assert masks == {"0.png", "1.png", "2.png", "ward/head.png", "volume.nii.gz"}
    assert (found.masks, found.failed, found.new) == (5, 3, 8)
    assert repr(found).startswith("FolderResult(masks: 5 (see ") and "failed: 3 (see" in repr(found)
    failures = {row["file"]: row["error"] for row in rows(out / "failures.csv")}
    assert failures.keys() == {"0.png", "cut.png", "empty.dcm"}
    assert "of 0.jpg, which has the same stem: rename one" in failures["0.png"]
    assert "the file is empty" in failures["empty.dcm"]
    results = {row["file"]: row for row in rows(out / "results.csv")}
    alone = segmenter.segment(read_image(scans / "1.png"), TEXT)
    written = np.asarray(Image.open(out / "masks" / "1.png")) == 255
    assert np.array_equal(written, alone.mask)
    assert results["1.png"]["mask"] == "masks/1.png" and results["1.png"]["text"] == TEXT
    assert float(results["1.png"]["share_of_image"]) == pytest.approx(alone.mask.mean(), abs=1e-5)
    assert results["1.png"]["present"] == ("yes" if alone.present else "no") and results["1.png"]["area_mm2"] == ""
    assert float(results["1.png"]["p_value"]) == pytest.approx(alone.p_value, abs=1e-4)
    head, mask = read_image(scans / "ward" / "head.dcm"), np.asarray(Image.open(out / "masks" / "ward" / "head.png"))
    area = (mask > 0).sum() * head.spacing_mm[0] * head.spacing_mm[1]
    assert float(results["ward/head.dcm"]["area_mm2"]) == pytest.approx(area, abs=0.01)
    assert nibabel.load(out / "masks" / "volume.nii.gz").affine.tolist() == np.diag([2, 2, 5, 1]).tolist()
    assert len(list((out / "overlays").rglob("*.png"))) == 5
    assert np.asarray(Image.open(out / "overlays" / "1.png")).shape == (128, 128, 3)


def test_a_task_is_as_good_as_its_name(segmenter, scans):
    first = segment_folder(segmenter, scans, scans.parent / "out", task=TASKS["brain_mri"], progress=False)
    assert first.masks == 5 and {row["task"] for row in rows(first.results)} == {"brain_mri"}
    again = segment_folder(segmenter, scans, scans.parent / "out", task="brain_mri", progress=False)
    assert (again.masks, again.new) == (5, 0)


def test_a_target_of_your_own(segmenter, scans):
    mass, out = Task("mass", "MRI", "mass in the brain", {"P0": "a mass in the brain"}), scans.parent / "out"
    first = segment_folder(segmenter, scans, out, task=mass, progress=False)
    assert first.masks == 5 and {row["task"] for row in rows(first.results)} == {"mass"}
    assert {row["present"] for row in rows(first.results)} == {"unknown"}
    other = replace(mass, prompts={"P0": "a bright mass in the brain"})
    for changed in (other, replace(mass, settings={"margin": 0.1})):  # another question, though its name is the same
        with pytest.raises(ValueError, match="holds masks of another"):
            segment_folder(segmenter, scans, out, task=changed, progress=False)
    with pytest.raises(ValueError, match="there is no setting 'margins'"):
        segment_folder(
            segmenter, scans, scans.parent / "new", task=replace(mass, settings={"margins": 1}), progress=False
        )
    assert not (scans.parent / "new").exists()


def test_a_text_that_names_no_known_target(segmenter, scans):
    with pytest.warns(UnknownTargetWarning, match="'liver' is no target"):
        found = segment_folder(segmenter, scans, scans.parent / "out", "liver", progress=False)
    assert {(row["task"], row["present"]) for row in rows(found.results)} == {("", "unknown")}


def test_nothing_is_done_twice_but_what_has_changed(segmenter, scans):
    run(segmenter, scans)
    out = scans.parent / "out"
    before = {path: path.stat().st_mtime_ns for path in (out / "masks").rglob("*.*")}
    again = run(segmenter, scans)
    assert (again.masks, again.failed, again.new) == (5, 3, 0) and repr(again).endswith("new: 0)")
    assert {path: path.stat().st_mtime_ns for path in (out / "masks").rglob("*.*")} == before
    assert run(segmenter, scans, retry=True).new == 3
    (scans / "cut.png").write_bytes((scans / "2.png").read_bytes())
    (out / "masks" / "1.png").unlink()
    repaired = run(segmenter, scans)
    assert (repaired.masks, repaired.failed, repaired.new) == (6, 2, 2)
    assert [row["file"] for row in rows(out / "failures.csv")] == ["0.png", "empty.dcm"]


def test_a_record_cut_off_in_the_middle_is_none(segmenter, scans):
    run(segmenter, scans)
    log = scans.parent / "out" / "records" / "0.jsonl"
    log.write_text(log.read_text().rstrip()[:-9])
    after = run(segmenter, scans)
    assert (after.masks, after.failed, after.new) == (5, 3, 1)
    assert run(segmenter, scans).new == 0


def test_another_question_needs_another_folder(segmenter, scans):
    run(segmenter, scans)
    out = scans.parent / "out"
    with pytest.raises(ValueError, match=r"holds masks of another text \(see .*: give another folder"):
        segment_folder(segmenter, scans, out, "brain lesion", progress=False)
    changed = {task: replace(config, margin=0.2) for task, config in QUICK.items()}
    with pytest.raises(ValueError, match="holds masks of another settings"):
        segment_folder(Segmenter(segmenter.clip, segmenter.sam, changed), scans, out, TEXT, progress=False)


def test_what_is_wrong_is_said_before_anything_is_written(segmenter, scans, tmp_path):
    out = scans.parent / "out"
    (tmp_path / "nothing").mkdir()
    for source, text, options, message in (
        (scans / "1.png", TEXT, {}, "is no folder"),
        (tmp_path / "nothing", TEXT, {}, "has no images"),
        (scans, TEXT, {"batch_size": 0}, "batch_size is 0: give 1 or more"),
        (scans, TEXT, {"task": "knee"}, "unknown task 'knee'"),
        (scans, None, {}, "give a text"),
    ):
        with pytest.raises(ValueError, match=message):
            segment_folder(segmenter, source, out, text, progress=False, **options)
    with pytest.raises(ModelError, match="the text is ''"):
        segment_folder(segmenter, scans, out, "", progress=False)
    assert not out.exists()


def test_the_answers_may_lie_inside_the_folder(segmenter, scans):
    first = segment_folder(segmenter, scans, scans / "out", TEXT, progress=False)
    assert segment_folder(segmenter, scans, scans / "out", TEXT, progress=False).masks == first.masks == 5


def test_a_picture_that_fails_in_the_model_stops_no_other(segmenter, scans, monkeypatch):
    several = segmenter.segment_batch

    def fail(pictures, *arguments, **options):
        if any(picture.path.name == "1.png" for picture in pictures):
            raise RuntimeError("out of memory")
        return several(pictures, *arguments, **options)

    monkeypatch.setattr(segmenter, "segment_batch", fail)
    found = run(segmenter, scans)
    assert (found.masks, found.failed) == (4, 4)
    errors = {row["file"]: row["error"] for row in rows(found.failures)}
    assert errors["1.png"] == "out of memory"


def segment_many(scans: str, out: str) -> None:
    found = segment_folder(quick_segmenter(), scans, out, TEXT, batch_size=2, progress=False)
    Path(f"{out}-{os.environ.get('RANK')}.txt").write_text(repr(found))


@pytest.fixture
def many(tmp_path):
    """Twenty small pictures, of which two are broken."""
    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(20):
        Image.fromarray(simulate("brain_mri", 90 + number, size=64).image).save(folder / f"{number:02}.png")
    for number in (4, 11):
        (folder / f"{number:02}.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")
    return folder


def test_killed_half_way_and_started_again(segmenter, many):
    out = many.parent / "out"
    process = start(segment_many, str(many), str(out))
    deadline = time.monotonic() + 120
    while len(list(out.glob("masks/*.png"))) < 6 and time.monotonic() < deadline:
        time.sleep(0.01)
    process.kill()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    before = {path: path.stat().st_mtime_ns for path in out.glob("masks/*.png")}
    assert 6 <= len(before) < 18
    after = run(segmenter, many, batch_size=2)
    assert (after.masks, after.failed) == (18, 2)
    twice = [path for path, written in before.items() if path.stat().st_mtime_ns != written]
    assert len(twice) <= 1  # a mask that was written, but whose record was not
    assert not list(out.rglob("*.part"))


PROGRAM = """
import sys
sys.path.insert(0, sys.argv[1])
from test_pipeline_folder import segment_many
segment_many(*sys.argv[2:])
"""


def test_processes_share_the_files(many):
    run_together(2, segment_many, str(many), str(many.parent / "out"))
    assert_shared(many.parent / "out")


@pytest.mark.heavy
def test_torchrun_starts_processes_that_share_the_files(many):
    (many.parent / "program.py").write_text(PROGRAM)
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    arguments = [many.parent / "program.py", Path(__file__).parent, many, many.parent / "out"]
    subprocess.run([*torchrun, *map(str, arguments)], check=True)
    assert_shared(many.parent / "out")


def assert_shared(out: Path) -> None:
    for rank in range(2):
        answer = Path(f"{out}-{rank}.txt").read_text()
        assert answer.startswith("FolderResult(masks: 18 ") and answer.endswith("new: 10)")
    assert len(rows(out / "results.csv")) == 18 and len(rows(out / "failures.csv")) == 2
    assert sorted(path.name for path in (out / "records").iterdir()) == ["0.jsonl", "1.jsonl"]


def test_overlays_asked_for_later_are_drawn(segmenter, scans):
    run(segmenter, scans)
    again = run(segmenter, scans, overlays=True)
    assert again.new == 5 and len(list((scans.parent / "out" / "overlays").rglob("*.png"))) == 5
    assert run(segmenter, scans, overlays=True).new == 0
