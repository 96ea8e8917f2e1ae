"""Whole volumes: every slice is asked, an interruption costs nothing, and the mask says which slices it is of."""

from __future__ import annotations

import csv
import os
import shutil
import signal
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import nibabel
import numpy as np
import pytest
from processes import start
from test_cases_dicom import write as dicom

import medclipsam_utils.pipeline.volume as volume_module
from medclipsam_utils import cli
from medclipsam_utils.images import ImageError, read_image, write_mask
from medclipsam_utils.models import load_clip, load_sam
from medclipsam_utils.pipeline import Segmenter, segment_folder, segment_volume
from medclipsam_utils.settings import SETTINGS
from medclipsam_utils.simulate import simulate

TEXT = "brain tumour"
AFFINE = np.array([[-2.0, 0, 0, 9], [0, 2, 0, 8], [0, 0, 4, 7], [0, 0, 0, 1]])
N_SLICES = 4


@pytest.fixture(scope="module")
def segmenter():
    return Segmenter(load_clip("tiny"), load_sam("tiny"))


def displayed(voxels: np.ndarray, index: int) -> np.ndarray:
    """An axial slice of LAS+ voxels: x grows to the left already, y to anterior."""
    return voxels[:, ::-1, index].T


def write(path: Path, seeds=range(3, 3 + N_SLICES), size: int = 64, turned: str | None = None) -> Path:
    """Simulated brains with a tumour, without one in every third slice, as slices of 2 × 2 × 4 mm."""
    pictures = [
        simulate("brain_mri", seed, size=size, finding="normal" if index % 3 == 2 else "meningioma").image
        for index, seed in enumerate(seeds)
    ]
    voxels = np.stack([picture[..., 0].T[:, ::-1] for picture in pictures], axis=2).astype(np.int16)
    image = nibabel.Nifti1Image(voxels, AFFINE)
    image.header.set_xyzt_units("mm")
    if turned:
        here = nibabel.io_orientation(image.affine)
        there = nibabel.orientations.axcodes2ornt(turned)
        image = image.as_reoriented(nibabel.orientations.ornt_transform(here, there))
    image.to_filename(path)
    return path


@pytest.fixture(scope="module")
def head(tmp_path_factory) -> Path:
    return write(tmp_path_factory.mktemp("head") / "head.nii.gz")


@pytest.fixture(scope="module")
def whole(segmenter, head):
    return segment_volume(segmenter, head, TEXT, progress=False)


def descrip(path: Path) -> str:
    return bytes(nibabel.load(path).header["descrip"]).rstrip(b"\0").decode()


# Every slice


def test_every_slice_has_the_mask_that_it_has_alone(segmenter, head, whole):
    assert whole.mask.shape == (N_SLICES, 64, 64) and whole.mask.dtype == bool and len(whole.present) == N_SLICES
    assert False in whole.present and True in whole.present  # or the two tests below would show nothing
    for index in range(N_SLICES):
        alone = segmenter.segment(read_image(head, slice_index=index), TEXT)
        assert whole.present[index] == alone.present
        if alone.present is False:
            assert not whole.mask[index].any()
        else:
            np.testing.assert_array_equal(whole.mask[index], alone.mask)
            assert alone.mask.any()


def test_what_it_says_of_itself(whole):
    n_absent = sum(present is False for present in whole.present)
    assert (whole.text, whole.task) == (TEXT, "brain_mri")
    assert whole.volume_ml == pytest.approx(whole.mask.sum() * 2 * 2 * 4 / 1000)
    assert whole.presence == f"reported present in {N_SLICES - n_absent} slices, absent in {n_absent}, unknown in 0"
    assert repr(whole).startswith(f"VolumeSegmentation('{TEXT}' as brain_mri: all {N_SLICES} axial slices, ")
    assert whole.largest.volume.slice_index == whole.mask.sum(axis=(1, 2)).argmax()
    assert whole.overlay().shape == (64, 64, 3) and (whole.overlay() != whole.largest.pixels).any()


@pytest.mark.parametrize("code", ["RAS", "PIR"])
def test_the_mask_lies_on_the_voxels_in_every_order(segmenter, tmp_path, head, whole, code):
    path = write(tmp_path / "head.nii", turned=code)
    found = segment_volume(segmenter, path, TEXT, progress=False)
    np.testing.assert_array_equal(found.mask, whole.mask)
    write_mask(tmp_path / "mask.nii", found.mask, like=found.largest)
    here, there = nibabel.load(tmp_path / "mask.nii"), nibabel.load(path)
    assert here.shape == there.shape and np.allclose(here.affine, there.affine)
    voxels = np.asarray(nibabel.as_closest_canonical(here).dataobj)
    for index in range(N_SLICES):  # RAS+: turned into radiological convention by hand
        np.testing.assert_array_equal(voxels[::-1, ::-1, index].T > 0, whole.mask[index])


def test_another_plane(segmenter, tmp_path):
    path = write(tmp_path / "a.nii", size=64)
    image = nibabel.load(path)
    voxels = np.asarray(image.dataobj)[:, :, [0, 1] * 12][:, 20:22]  # 64 x 2 x 24 voxels: two coronal slices
    nibabel.Nifti1Image(voxels, AFFINE).to_filename(path)
    found = segment_volume(segmenter, path, TEXT, plane="coronal", progress=False)
    assert found.mask.shape == (2, 24, 64) and found.largest.volume.plane == "coronal"
    for index in range(2):
        alone = segmenter.segment(read_image(path, plane="coronal", slice_index=index), TEXT)
        np.testing.assert_array_equal(found.mask[index], alone.mask & (alone.present is not False))


def test_a_window_is_that_of_the_slices(segmenter, head):
    found = segment_volume(segmenter, head, TEXT, window=(60, 40), progress=False)
    alone = segmenter.segment(read_image(head, window=(60, 40), slice_index=1), TEXT)
    np.testing.assert_array_equal(found.mask[1], alone.mask & (alone.present is not False))
    assert found.largest.window == (60, 40)


def test_a_file_that_is_no_volume_is_refused(segmenter, tmp_path):
    (tmp_path / "a.nii").write_bytes(b"\x5c\x01\0\0" + bytes(999))
    with pytest.raises(ImageError, match=r"a\.nii: this NIfTI file cannot be decoded"):
        segment_volume(segmenter, tmp_path / "a.nii", TEXT, progress=False)


# Over interruptions


@pytest.fixture
def quick(monkeypatch):
    """Bright pixels in place of the models' answers, where only it matters who is asked."""

    def bright(clip, sam, images, questions):
        return [SimpleNamespace(mask=image.pixels[..., 0] > image.pixels.mean()) for image in images]

    monkeypatch.setattr(volume_module, "segment", bright)


class Interrupted(Exception):
    """Stands for a power cut."""


def asked(monkeypatch, stop_after: int | None = None) -> list[int]:
    """Record which slices are asked about, and stop after some of them."""
    slices: list[int] = []
    answers = volume_module._answers

    def counted(segmenter, volume, batch, *rest):
        if stop_after is not None and len(slices) >= stop_after:
            raise Interrupted
        slices.extend(batch)
        return answers(segmenter, volume, batch, *rest)

    monkeypatch.setattr(volume_module, "_answers", counted)
    return slices


def interrupted(segmenter, head: Path, parts: Path, monkeypatch, text: str = TEXT) -> None:
    with monkeypatch.context() as patch:
        asked(patch, stop_after=2)
        with pytest.raises(Interrupted):
            segment_volume(segmenter, head, text, batch_size=2, parts=parts, progress=False)


def test_finished_slices_are_not_asked_again(quick, segmenter, head, tmp_path, monkeypatch):
    uninterrupted = segment_volume(segmenter, head, TEXT, batch_size=2, progress=False)
    interrupted(segmenter, head, tmp_path / "parts", monkeypatch)
    slices = asked(monkeypatch)
    found = segment_volume(segmenter, head, TEXT, batch_size=2, parts=tmp_path / "parts", progress=False)
    assert slices == [2, 3]
    np.testing.assert_array_equal(found.mask, uninterrupted.mask)
    assert found.present == uninterrupted.present


def another_text(segmenter, head):
    return segmenter, "brain lesion"


def other_settings(segmenter, head):
    changed = {task: replace(config, margin=0.2) for task, config in SETTINGS["tiny"].items()}
    return Segmenter(segmenter.clip, segmenter.sam, changed), TEXT


def another_model(segmenter, head):
    return Segmenter(load_clip("tiny-base"), segmenter.sam), TEXT


def a_later_file(segmenter, head):
    stat = head.stat()
    os.utime(head, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
    return segmenter, TEXT


def another_file(segmenter, head):
    write(head, seeds=range(13, 13 + N_SLICES))
    return segmenter, TEXT


@pytest.mark.parametrize("change", [another_text, other_settings, another_model, a_later_file, another_file])
def test_parts_of_another_question_or_file_are_discarded(quick, segmenter, head, tmp_path, monkeypatch, change):
    own = Path(shutil.copy(head, tmp_path / "head.nii.gz"))
    interrupted(segmenter, own, tmp_path / "parts", monkeypatch)
    assert begins_with(*change(segmenter, own), own, tmp_path / "parts", monkeypatch) == [0, 1]


@pytest.mark.parametrize("options", [{"plane": "coronal"}, {"window": (60, 40)}], ids=["plane", "window"])
def test_parts_of_another_plane_or_window_are_discarded(quick, segmenter, head, tmp_path, monkeypatch, options):
    interrupted(segmenter, head, tmp_path / "parts", monkeypatch)
    assert begins_with(segmenter, TEXT, head, tmp_path / "parts", monkeypatch) == [2, 3]  # of the same question
    assert begins_with(segmenter, TEXT, head, tmp_path / "parts", monkeypatch, **options) == [0, 1]


def begins_with(segmenter, text, head: Path, parts: Path, monkeypatch, **options) -> list[int]:
    """The slices that are asked about first, and then a power cut."""
    with monkeypatch.context() as patch:
        slices = asked(patch, stop_after=1)
        try:
            segment_volume(segmenter, head, text, batch_size=2, parts=parts, progress=False, **options)
        except Interrupted:
            assert len(list(parts.glob("*.jsonl"))) == 1
    return slices


def test_a_part_cut_off_in_the_middle_is_none(quick, segmenter, head, tmp_path, monkeypatch):
    interrupted(segmenter, head, tmp_path / "parts", monkeypatch)
    (log,) = (tmp_path / "parts").glob("*.jsonl")
    log.write_text(log.read_text().rstrip()[:-9])
    slices = asked(monkeypatch)
    segment_volume(segmenter, head, TEXT, batch_size=2, parts=tmp_path / "parts", progress=False)
    assert slices == list(range(N_SLICES))  # a batch is done again as a whole


def test_killed_half_way_and_started_again_gives_the_same_bytes(tmp_path):
    scan = write(tmp_path / "head.nii.gz", seeds=range(3, 13))
    command = ["segment", str(scan), TEXT, "-o", str(tmp_path / "mask.nii.gz")]
    log = tmp_path / "mask.nii.gz.parts" / "0.jsonl"
    process = start(cli.main, command)
    deadline = time.monotonic() + 120
    while not (log.exists() and log.read_text().count('"mask"') >= 8) and time.monotonic() < deadline:
        time.sleep(0.005)
    process.kill()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    n_done = log.read_text().count('"mask"')
    assert 8 <= n_done < 10 and not (tmp_path / "mask.nii.gz").exists()
    with pytest.MonkeyPatch.context() as patch:
        slices = asked(patch)
        assert cli.main(command) == 0
    assert slices[0] == n_done // 8 * 8 and slices == list(range(slices[0], 10))
    assert not log.parent.exists()
    assert cli.main(["segment", str(scan), TEXT, "-o", str(tmp_path / "again.nii.gz")]) == 0
    assert (tmp_path / "again.nii.gz").read_bytes() == (tmp_path / "mask.nii.gz").read_bytes()


# The command line


def test_the_command_writes_the_mask_of_the_whole_volume(tmp_path, head, whole, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["segment", str(head), TEXT, "--overlay", "over.png"]) == 0
    said = capsys.readouterr().out
    assert f"head.nii.gz: {N_SLICES} axial slices" in said and f"all {N_SLICES} axial slices" in said
    assert sorted(path.name for path in tmp_path.iterdir()) == ["head_brain_tumour.nii.gz", "over.png"]
    mask = nibabel.load("head_brain_tumour.nii.gz")
    assert np.array_equal(mask.affine, AFFINE) and "only" not in descrip(Path("head_brain_tumour.nii.gz"))
    for index in range(N_SLICES):
        np.testing.assert_array_equal(displayed(np.asarray(mask.dataobj), index) > 0, whole.mask[index])


@pytest.mark.parametrize("index", [0, 3])
def test_one_slice_says_that_it_is_one(tmp_path, head, capsys, index):
    path = tmp_path / "mask.nii"
    assert cli.main(["segment", str(head), TEXT, "--slice", str(index), "-o", str(path)]) == 0
    assert f"The mask is of axial slice {index} of {N_SLICES} only." in capsys.readouterr().out
    assert descrip(path).endswith(f": axial slice {index} of {N_SLICES} only")
    filled = np.asarray(nibabel.load(path).dataobj).any(axis=(0, 1))
    assert np.flatnonzero(filled).tolist() == [index]


def test_two_sentences_give_two_masks(tmp_path, head, capsys):
    assert cli.main(["segment", str(head), TEXT, "brain", "-o", str(tmp_path / "both")]) == 0
    names = sorted(path.name for path in (tmp_path / "both").iterdir())
    assert names == ["head_brain.nii.gz", "head_brain_tumour.nii.gz"]
    first, second = (np.asarray(nibabel.load(tmp_path / "both" / name).dataobj) for name in names)
    assert not np.array_equal(first, second)


@pytest.mark.parametrize("name", ["mask.png", "mask.tif", "mask", "mask.jpg", "mask.nii.zip"])
def test_a_mask_that_cannot_hold_a_volume_is_refused_before_any_work(tmp_path, head, capsys, monkeypatch, name):
    monkeypatch.setattr("medclipsam_utils.cli.segment.segmenter", None)  # the models would be loaded by it
    assert cli.main(["segment", str(head), TEXT, "-o", str(tmp_path / name)]) == 1
    assert (
        f"{name}: the mask is of a volume: use the extension .nii.gz, or choose one --slice" in capsys.readouterr().err
    )
    assert not list(tmp_path.iterdir())


# A folder


def table(path: Path) -> dict[str, dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return {row["file"]: row for row in csv.DictReader(file)}


def test_the_table_says_which_slices_and_frames_a_mask_is_of(segmenter, tmp_path, head, whole):
    scans = tmp_path / "scans"
    scans.mkdir()
    shutil.copy(head, scans / "head.nii.gz")
    write(scans / "flat.nii", seeds=[3])
    frames = np.stack([simulate("brain_mri", seed, size=64).image[..., 0] for seed in (3, 4, 5)])
    dicom(scans / "frames.dcm", frames)
    found = segment_folder(segmenter, scans, tmp_path / "all", TEXT, progress=False, overlays=True)
    rows = table(found.results)
    assert {name: (row["slice"], row["frame"]) for name, row in rows.items()} == {
        "head.nii.gz": (f"all {N_SLICES} axial", ""),
        "flat.nii": ("", ""),
        "frames.dcm": ("", "1 of 3"),
    }
    row = rows["head.nii.gz"]
    assert float(row["volume_ml"]) == pytest.approx(whole.volume_ml, abs=1e-3)
    assert (row["area_mm2"], row["p_value"], row["reason"]) == ("", "", whole.presence)
    written = np.asarray(nibabel.load(tmp_path / "all" / row["mask"]).dataobj)
    assert written.sum() == whole.mask.sum()
    assert not list((tmp_path / "all").rglob("*.parts"))
    one = segment_folder(segmenter, scans, tmp_path / "one", TEXT, progress=False, slice_index=0)
    rows = table(one.results)
    assert rows["head.nii.gz"]["slice"] == f"0 of {N_SLICES} axial" and rows["frames.dcm"]["frame"] == "1 of 3"
    assert f"axial slice 0 of {N_SLICES} only" in descrip(tmp_path / "one" / "masks" / "head.nii.gz")


def test_a_folder_goes_on_inside_a_volume(quick, segmenter, tmp_path, head, monkeypatch):
    scans, out = tmp_path / "scans", tmp_path / "out"
    scans.mkdir()
    write(scans / "head.nii.gz", seeds=range(3, 13))
    with monkeypatch.context() as patch:
        asked(patch, stop_after=8)
        failed = segment_folder(segmenter, scans, out, TEXT, progress=False)
        assert failed.failed == 1
    slices = asked(monkeypatch)
    found = segment_folder(segmenter, scans, out, TEXT, progress=False, retry=True)
    assert (found.masks, found.failed) == (1, 0) and slices == [8, 9]
    assert not list(out.rglob("*.parts"))


@pytest.mark.parametrize("name", ["results.csv", "masks/x.png"])
def test_a_folder_with_other_files_is_never_taken_for_parts(segmenter, head, tmp_path, name):
    """Neither one of the user's, nor the output of an earlier question, which has a question.json as well."""
    (tmp_path / "parts" / name).parent.mkdir(parents=True)
    (tmp_path / "parts" / name).write_text("mine")
    (tmp_path / "parts" / "question.json").write_text("{}")
    with pytest.raises(ValueError, match=f"holds {name.split('/')[0]}: give the parts of a mask a folder of their own"):
        segment_volume(segmenter, head, TEXT, parts=tmp_path / "parts", progress=False)
    assert (tmp_path / "parts" / name).read_text() == "mine"


def test_a_batch_of_none_is_refused(segmenter, head):
    with pytest.raises(ValueError, match="batch_size is 0: give 1 or more"):
        segment_volume(segmenter, head, TEXT, batch_size=0, progress=False)


def test_what_the_header_says_wrongly_is_in_the_answer(segmenter, tmp_path):
    path = write(tmp_path / "head.nii", seeds=[3, 4])
    content = bytearray(path.read_bytes())
    content[123] = 7  # xyzt_units: no such unit
    path.write_bytes(content)
    assert "unknown code 7" in repr(segment_volume(segmenter, path, TEXT, progress=False))
