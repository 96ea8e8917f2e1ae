"""Folders as they come: every file has a row, own results are no scans, and no name or sign stops a run.

A stand-in for the models draws one square in every image, so that hundreds of files take seconds.
"""

from __future__ import annotations

import csv
import io
import os
import re
import shutil
import subprocess
import sys
import unicodedata
import zlib
from pathlib import Path
from types import SimpleNamespace

import nibabel
import numpy as np
import pytest
from PIL import Image
from pydicom.uid import ImplicitVRLittleEndian
from test_cases_dicom import write as dicom
from test_cases_images import as_voxels, nifti, png, tiff
from torch import nn

from medclipsam_utils import cli
from medclipsam_utils.images import read_image, write_mask
from medclipsam_utils.images.masks import write_picture
from medclipsam_utils.images.names import list_images
from medclipsam_utils.metrics.folders import evaluate_masks
from medclipsam_utils.pipeline import segment_folder
from medclipsam_utils.settings import SETTINGS
from medclipsam_utils.simulate import simulate

TEXT = "brain tumour"
GREY = (np.arange(24 * 20).reshape(24, 20) % 251).astype(np.uint8)


def square(image) -> SimpleNamespace:
    mask = np.zeros(image.pixels.shape[:2], bool)
    mask[: len(mask) // 2 + 1] = True
    presence = SimpleNamespace(reason="a stand-in")
    answer = SimpleNamespace(mask=mask, task="brain_mri", text=TEXT, p_value=None, present=None, presence=presence)
    answer.overlay = lambda: image.pixels
    return answer


@pytest.fixture(scope="module")
def segmenter():
    settings = next(iter(SETTINGS["tiny"].values()))
    questions = SimpleNamespace(ask=lambda *_: [], settings_of=lambda _: settings, own=())
    clip = SimpleNamespace(name="stand-in", model=nn.Linear(1, 1), device=SimpleNamespace(type="cpu"))
    sam = SimpleNamespace(model=nn.Linear(1, 1))
    batch = lambda images, *_, **__: [square(image) for image in images]  # noqa: E731
    return SimpleNamespace(questions=questions, clip=clip, sam=sam, segment_batch=batch)


@pytest.fixture
def scans(tmp_path) -> Path:
    (tmp_path / "scans").mkdir()
    save(tmp_path / "scans" / "ok.png")
    return tmp_path / "scans"


def save(path: Path, values=GREY, kind: str = "PNG") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "wb") as file:  # Pillow goes by the extension
        Image.fromarray(values).save(file, kind)
    return path


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def run(segmenter, scans: Path, out: Path | None = None, **options) -> tuple[set, dict, dict]:
    """Files with a mask; those without one and those ignored, each with the reason."""
    found = segment_folder(segmenter, scans, out or scans.parent / "out", TEXT, progress=False, **options)
    results = {row["file"]: row["mask"] for row in rows(found.results)}
    failures = {row["file"]: row["error"] for row in rows(found.failures)}
    ignored = {row["file"]: row["reason"] for row in rows(found.ignored)}
    target = found.results.parent
    assert all((target / mask).is_file() for mask in results.values()) and found.masks == len(results)
    assert len(set(results.values())) == len(results) and not results.keys() & failures.keys() & ignored.keys()
    return set(results), failures, ignored


# No file without a row

SCANNERS = {
    "A.IMA": lambda path: dicom(path, GREY),
    "1.2.840.113619.2.55.3": lambda path: dicom(path, GREY),
    "IM0001": lambda path: dicom(path, GREY),
    "I.001": lambda path: dicom(path, GREY),
    "slice.0001": lambda path: dicom(path, GREY),
    "IMG00001.dc3": lambda path: dicom(path, GREY),
    "case 1.T1": lambda path: dicom(path, GREY),
    "b.dicom": lambda path: dicom(path, GREY),
    "c.DIC": lambda path: dicom(path, GREY, ImplicitVRLittleEndian),
    "d.jfif": lambda path: save(path, kind="JPEG"),
    "e.JPE": lambda path: save(path, kind="JPEG"),
    "f.stack.tif": lambda path: tiff(path, GREY, 8),
    "g.tf8": lambda path: tiff(path, GREY, 8),
    "h.NII.GZ": lambda path: nifti(path, as_voxels(GREY, 1)),
    "scan.png ": save,
    "i": save,
    "scan.png/x.png": save,
    "study.dcm/a.nii.gz/x.png": save,
}


@pytest.mark.parametrize("name", SCANNERS)
def test_an_image_by_its_content_is_segmented_under_any_name(segmenter, scans, name):
    (scans / name).parent.mkdir(parents=True, exist_ok=True)
    SCANNERS[name](scans / name)
    assert run(segmenter, scans) == ({"ok.png", name}, {}, {})


@pytest.mark.parametrize(
    ("name", "content", "table", "reason"),
    [
        ("a.bmp", "BMP", "failures", "looks like BMP"),
        ("a.gif", "GIF", "failures", "looks like GIF"),
        ("a.webp", "WEBP", "failures", "looks like WebP"),
        ("a.jp2", "JPEG2000", "failures", "looks like JPEG 2000"),
        ("a.png", b"", "failures", "the file is empty"),
        ("a.h5", b"\x89HDF\r\n\x1a\n" + bytes(99), "failures", "looks like HDF5"),
        ("a.raw", bytes(range(256)), "failures", "is not PNG, JPEG"),
        ("a.img", b"\0\1\2\3" * 60, "failures", "is not PNG, JPEG"),
        ("a.txt", b"notes", "ignored", "text"),
        ("a.csv", "name,Größe\n".encode(), "ignored", "text"),
        ("a.pdf", b"%PDF-1.7\n", "ignored", "no image"),
        ("a.zip", b"PK\3\4" + bytes(99), "ignored", "no image"),
        ("Thumbs.db", b"\xd0\xcf\x11\xe0" + bytes(99), "ignored", "no image"),
        ("a.log", b"", "ignored", "empty"),
        (".hidden.png", "PNG", "ignored", "hidden"),
        ("...png", "PNG", "ignored", "hidden"),
        ("__MACOSX/._x.png", "PNG", "ignored", "hidden"),
    ],
)
def test_every_other_file_has_a_row_with_the_reason(segmenter, scans, name, content, table, reason):
    if isinstance(content, str):
        save(scans / name, kind=content)
    else:
        (scans / name).write_bytes(content)
    results, failures, ignored = run(segmenter, scans)
    assert results == {"ok.png"} and (failures | ignored).keys() == {name}
    assert reason in {"failures": failures, "ignored": ignored}[table][name]


def test_a_hidden_folder_has_one_row(segmenter, scans):
    save(scans / ".study" / "x.png")
    assert run(segmenter, scans) == ({"ok.png"}, {}, {".study": "hidden"})


def test_a_pair_of_header_and_image_has_two_rows(segmenter, scans):
    nibabel.save(nibabel.Nifti1Pair(as_voxels(GREY).astype(np.int16), np.eye(4)), scans / "p.img")
    _, failures, _ = run(segmenter, scans)
    assert failures.keys() == {"p.hdr", "p.img"} and "Join the pair" in failures["p.hdr"]


BROKEN = {
    "zero.png": lambda path: png(path, GREY, 8, 0, size=(0, 24)),
    "cut.png": lambda path: png(path, GREY, 8, 0, data=zlib.compress(bytes(21 * 12))),
    "cut.jpg": lambda path: path.write_bytes(save(path, np.resize(GREY, (256, 256)), "JPEG").read_bytes()[:3000]),
    "empty.dcm": lambda path: path.write_bytes(b""),
    "short.dcm": lambda path: dicom(path, GREY, PixelData=GREY.tobytes()[:100]),
    "far.tif": lambda path: tiff(path, GREY, 8, t273=[99999]),
    "cut.nii": lambda path: path.write_bytes(nifti(path, as_voxels(GREY)).read_bytes()[:700]),
}


def test_broken_files_stop_nothing(segmenter, scans):
    for name, make in BROKEN.items():
        make(scans / name)
    save(scans / "line.png", np.resize(GREY, (1, 900)))
    save(scans / "one.png", GREY[:1, :1])
    results, failures, _ = run(segmenter, scans)
    assert results == {"ok.png", "line.png", "one.png"} and failures.keys() == BROKEN.keys()


# Links


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no links that anybody may make")
class TestLinks:
    def test_a_link_carries_the_name_and_its_target_a_number(self, segmenter, scans):
        """As git-annex stores files; the source is a link too."""
        save(scans.parent / "store" / "SHA256E-s33--ab12")
        (scans / "scan.png").symlink_to("../store/SHA256E-s33--ab12")
        (scans.parent / "link").symlink_to("scans")
        assert run(segmenter, scans.parent / "link")[0] == {"ok.png", "scan.png"}

    def test_a_folder_behind_two_links_is_looked_into(self, segmenter, scans):
        save(scans.parent / "real" / "y.png")
        (scans.parent / "first").symlink_to("real")
        (scans / "more").symlink_to("../first")
        assert run(segmenter, scans)[0] == {"ok.png", "more/y.png"}

    def test_a_link_in_a_circle_has_a_row(self, segmenter, scans):
        (scans / "deep").mkdir()
        (scans / "deep" / "up").symlink_to("..")
        (scans / "self").symlink_to(".")
        results, failures, ignored = run(segmenter, scans)
        assert results == {"ok.png"} and not failures
        assert ignored == dict.fromkeys(["deep/up", "self"], "a link to a folder that is listed: .")

    def test_two_links_to_one_folder_give_one_set_of_masks(self, segmenter, scans):
        save(scans.parent / "real" / "y.png")
        for name in ("a", "b"):
            (scans / name).symlink_to("../real")
        assert run(segmenter, scans) == ({"ok.png", "a/y.png"}, {}, {"b": "a link to a folder that is listed: a"})

    def test_broken_links_and_links_to_themselves_fail(self, segmenter, scans):
        (scans / "gone.png").symlink_to("nowhere")
        (scans / "loop.png").symlink_to("loop.png")
        results, failures, _ = run(segmenter, scans)
        assert results == {"ok.png"} and failures.keys() == {"gone.png", "loop.png"}
        assert "a link to a file that is not there" in failures["gone.png"]

    def test_a_pipe_is_not_opened(self, segmenter, scans):
        for name in ("a.png", "c"):
            os.mkfifo(scans / name)
        results, failures, _ = run(segmenter, scans)
        assert results == {"ok.png"} and failures.keys() == {"a.png", "c"}
        assert all("this is not a regular file" in reason for reason in failures.values())


# Own results are never scans


def test_output_in_the_source_itself(segmenter, scans):
    save(scans / "ward" / "x.png")
    for _ in range(3):
        assert run(segmenter, scans, scans, overlays=True)[0] == {"ok.png", "ward/x.png"}


def test_outputs_below_the_source_of_two_questions(segmenter, scans):
    for text in ("brain tumour", "lungs"):
        found = segment_folder(segmenter, scans, scans / f"out {text}", text, progress=False, overlays=True)
        assert found.masks == 1 and found.failed == 0


def test_an_earlier_output_that_was_moved(segmenter, scans):
    nifti(scans / "v.nii.gz", as_voxels(GREY, 1))
    run(segmenter, scans, scans / "out", overlays=True)
    shutil.move(scans / "out", scans / "archive")
    assert run(segmenter, scans, scans / "deep" / "out")[0] == {"ok.png", "v.nii.gz"}


def test_output_behind_a_link_in_the_source(segmenter, scans):
    (scans.parent / "out").mkdir()
    (scans / "last").symlink_to("../out")
    for _ in range(2):
        assert run(segmenter, scans)[:2] == ({"ok.png"}, {})


@pytest.mark.parametrize("name", ["mine.png", "mine.tif", "mine.nii.gz", "over.png", "over.tif", "over.jpg"])
def test_a_mask_or_overlay_beside_the_scan(segmenter, scans, name):
    image = read_image(nifti(scans.parent / "v.nii", as_voxels(GREY)) if "nii" in name else scans / "ok.png")
    if name.startswith("mine"):
        write_mask(scans / name, image.pixels[..., 0] > 99, like=image)
    else:
        write_picture(scans / name, image.pixels)
    assert run(segmenter, scans) == ({"ok.png"}, {}, {name: "a result of this program"})


def test_what_the_command_draws_beside_the_scan(segmenter, scans, capsys):
    save(scans / "ok.png", simulate("brain_mri", 3, size=64).image)
    drawn = [f"--{kind}={scans / kind}.png" for kind in ("output", "overlay", "figure")]
    assert cli.main(["segment", str(scans / "ok.png"), TEXT, *drawn]) == 0
    results, failures, ignored = run(segmenter, scans)
    assert results == {"ok.png"} and not failures
    assert ignored.keys() == {"output.png", "overlay.png", "figure.png"}


def test_scans_with_the_names_of_results_are_scans(segmenter, scans):
    names = {"case_mask.png", "masks/x.png", "overlays/y.png", "ok_brain_tumour.png", "results.png", "records/z.png"}
    for name in names:
        save(scans / name)
    assert run(segmenter, scans)[0] == names | {"ok.png"}


def test_results_count_where_masks_are_evaluated(segmenter, scans):
    run(segmenter, scans)
    masks = scans.parent / "out" / "masks"
    assert list_images(masks, results=True).images == ["ok.png"]
    assert evaluate_masks(masks, masks).dsc.tolist() == [1]


# No name stops a run (POSIX: a name is any bytes but / and NUL, up to 255)

NAMES = [
    *("-rf.png", " lead.png", "trail .png", "a\\b.png", "%s%n{0}.png", "$HOME.png", "[abc].png", "*.png", "what?.png"),
    *("x#y.png", "CON.png", "\u202egnp.png", "tab\there.png", "cr\rhere.png", "new\nline.png", "ls\u2028x.png"),
    *("\ufeffbom.png", "~.png", "a;b.png", "\x1b[31mred.png", "a..png", '"q".png', "it's.png", "患者😀.png"),
    *("x" * 251 + ".png", "é" * 125 + "z.png", "scan\udce9.png", "=1+1.png", "masks.png", "question.json.png"),
]


def test_odd_names_have_their_mask_and_their_row(segmenter, scans):
    """One folder for all, because they must not disturb each other."""
    for name in NAMES:
        save(scans / name)
    found = segment_folder(segmenter, scans, scans.parent / "out", TEXT, progress=False)
    assert (found.masks, found.failed) == (len(NAMES) + 1, 0)
    assert {*os.listdir(scans.parent / "out" / "masks")} == {*NAMES, "ok.png"} - {"é" * 125 + "z.png"} | {
        unicodedata.normalize("NFC", "é" * 125 + "z.png")
    }
    again = segment_folder(segmenter, scans, scans.parent / "out", TEXT, progress=False)
    assert (again.masks, again.new) == (found.masks, 0)
    assert not list((scans.parent / "out").rglob("*.part"))


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_an_accent_in_either_form_gives_one_row(segmenter, scans, form):
    name = unicodedata.normalize(form, "Zoë.png")
    save(scans / name)
    assert name in run(segmenter, scans)[0]
    assert [path.name for path in (scans.parent / "out" / "masks").glob("Z*")] == [unicodedata.normalize("NFC", name)]


def test_both_forms_of_one_name_do_not_share_a_mask(segmenter, scans):
    for form in ("NFC", "NFD"):
        save(scans / unicodedata.normalize(form, "Zoë.png"))
    results, failures, _ = run(segmenter, scans)
    assert len(results) == 2 and len(failures) == 1 and "which has the same stem" in "".join(failures.values())


def test_names_that_differ_in_their_extension_only(segmenter, scans):
    images = ["a.png", "a.jpg", "a.tif", "a.PNG", "a", "a.dcm", "A.png", "a.png.png", "a.jpg.png"]
    for name in images:
        save(scans / name)
    results, failures, _ = run(segmenter, scans)
    assert results | failures.keys() == {*images, "ok.png"} and not results & failures.keys()
    assert {"A.png", "a.png.png", "a.jpg.png"} <= results
    assert all("which has the same stem: rename one" in reason for reason in failures.values())


def test_names_that_are_too_long_for_a_mask_fail_alone(segmenter, scans):
    for name in ("y" * 251 + ".jpg", "z" * 255):
        save(scans / name)
    results, failures, _ = run(segmenter, scans)
    assert results | failures.keys() == {"ok.png", "y" * 251 + ".jpg", "z" * 255} and "ok.png" in results


def test_a_path_longer_than_the_system_takes_fails_alone(segmenter, scans):
    """PATH_MAX is 4096 bytes; folders within folders, made one inside the other, may lie deeper."""
    here = os.open(scans, os.O_RDONLY)
    try:
        for _ in range(25):
            os.mkdir("d" * 200, dir_fd=here)
            deeper = os.open("d" * 200, os.O_RDONLY, dir_fd=here)
            os.close(here)
            here = deeper
    finally:
        os.close(here)
    try:
        results, failures, ignored = run(segmenter, scans)
        assert results == {"ok.png"} and len(failures) + len(ignored) == 1
    finally:
        subprocess.run(["rm", "-rf", scans], check=True)


# No console stops a run


ENCODINGS = ["cp1252", "cp437", "cp1251", "ascii", "latin-1"]  # of Windows in the west, DOS, Cyrillic, C, and Unix


def printed(monkeypatch, encoding: str, *arguments: str) -> tuple[int, str]:
    """Run a command with output into a console, or a pipe, that knows few signs; status and what was printed."""
    streams = [io.TextIOWrapper(io.BytesIO(), encoding=encoding) for _ in range(2)]
    with monkeypatch.context() as patch:  # here and not in a fixture: pytest puts its own back before the test
        patch.setattr(sys, "stdout", streams[0])
        patch.setattr(sys, "stderr", streams[1])
        try:
            status = cli.main(arguments)
        except SystemExit as end:
            status = end.code
    for stream in streams:
        stream.flush()
    return status, b"".join(stream.buffer.getvalue() for stream in streams).decode(encoding)


def two_folders(root: Path) -> list[str]:
    for folder in ("masks", "references"):
        for number, name in enumerate(("Müller.png", "患者😀.png", "new\nline.png", "scan\udce9.png")):
            mask = np.zeros((32, 32), np.uint8)
            mask[8:20, 8 : 20 + number + (folder == "masks")] = 255
            save(root / folder / name, mask)
        (root / folder / "bröken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    return [str(root / "masks"), str(root / "references")]


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_evaluate_prints_on_any_console(tmp_path, monkeypatch, encoding):
    masks, references = two_folders(tmp_path)
    table = tmp_path / "scores.csv"
    arguments = ["evaluate", masks, references, "--versus", references, "--table", str(table)]
    status, said = printed(monkeypatch, encoding, *arguments)
    assert status in (0, 3) and "DSC: mean" in said and "lowest DSC: " in said
    assert len(rows(table)) == 5


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_help_prints_on_any_console(monkeypatch, encoding):
    status, said = printed(monkeypatch, encoding, "--help")
    assert status == 0 and "medclipsam demo" in said


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_an_error_prints_on_any_console(tmp_path, monkeypatch, encoding):
    status, said = printed(monkeypatch, encoding, "evaluate", str(tmp_path / "患者 é"), str(tmp_path))
    assert status == 1 and "is no folder" in said


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_read_image_prints_on_any_console(tmp_path, monkeypatch, encoding):
    """`24 × 20 pixels`, before an error that names the file."""
    save(tmp_path / "患者 é.png")
    arguments = ["segment", str(tmp_path / "患者 é.png"), "les poumons", "-o", str(tmp_path / "mask.png")]
    status, said = printed(monkeypatch, encoding, *arguments)
    assert status == 1 and "24 " in said and "it knows no word of 'les poumons'" in said


def command(*arguments, cwd: Path, **environment) -> subprocess.CompletedProcess:
    program = [sys.executable, "-m", "medclipsam_utils.cli", *map(str, arguments)]
    here = {"PYTHONPATH": str(Path(cli.__file__).parents[2])}
    return subprocess.run(program, capture_output=True, cwd=cwd, env={**os.environ, **here, **environment})


def test_a_folder_in_the_locale_c(scans):
    """Names are ASCII with escaped bytes there, unless Python is told otherwise."""
    for name in ("Müller.png", "患者.png", "scan\udce9.png"):
        save(scans / name, simulate("brain_mri", 3, size=64).image)
    (scans / "ok.png").unlink()
    (scans / "kaputt é.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    environment = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = command("folder", scans, scans.parent / "out", TEXT, "--quiet", cwd=scans.parent, **environment)
    assert done.returncode == 3 and b"Traceback" not in done.stderr, done.stderr
    assert {*os.listdir(scans.parent / "out" / "masks")} == {"Müller.png", "患者.png", "scan\udce9.png"}
    assert len(rows(scans.parent / "out" / "results.csv")) == 3
    assert len(rows(scans.parent / "out" / "failures.csv")) == 1


# No cell runs in a spreadsheet

FORMULAS = ["=cmd.png", "+1.png", "-1+2.png", "@SUM(1).png", "\t=1.png", "\r=1.png", "\n=1.png", "＝1.png", "=d/x.png"]


def test_no_cell_of_a_table_is_a_formula(segmenter, scans, monkeypatch):
    for name in FORMULAS:
        save(scans / name)
    for name in ("=broken.png", "@broken.png", "=stranger.txt", "-s.log"):
        (scans / name).write_bytes(b"=1")
    found = segment_folder(segmenter, scans, scans.parent / "out", TEXT, progress=False)
    evaluated = evaluate_masks(scans.parent / "out" / "masks", scans.parent / "out" / "masks")
    evaluated.write(scans.parent / "scores.csv")
    cells = []
    for path in (found.results, found.failures, found.ignored, scans.parent / "scores.csv"):
        with path.open(encoding="utf-8", newline="") as file:
            cells += [cell for row in csv.reader(file) for cell in row]
    assert not [cell for cell in cells if re.match(r"[=+@\t\r\n＝＋－＠]|-(?![\d.e-]+$)", cell)]
    assert all(f"'{name}" in cells for name in [*FORMULAS, "=broken.png", "=stranger.txt", "-s.log"])


# No name leads out of the output folder


@pytest.mark.parametrize(
    "text", ["brain tumour ../../../evil", "{root}/evil brain tumour", "brain tumour ..", "../brain tumour"]
)
def test_a_sentence_does_not_lead_out_of_the_current_folder(tmp_path, monkeypatch, text):
    here = tmp_path / "a" / "b" / "c"
    save(here / "x.png", simulate("brain_mri", 3, size=64).image)
    monkeypatch.chdir(here)
    assert cli.main(["segment", "x.png", text.format(root=tmp_path)]) == 0
    assert {path.parent for path in tmp_path.rglob("*") if path.is_file()} == {here}


def test_a_link_in_the_source_does_not_lead_out_of_the_output_folder(segmenter, scans):
    save(scans.parent / "elsewhere" / "x.png")
    (scans / "link").symlink_to("../elsewhere")
    before = {path for path in scans.parent.rglob("*") if "out" not in path.parts}
    run(segmenter, scans)
    assert {path for path in scans.parent.rglob("*") if "out" not in path.parts} == before
    assert (scans.parent / "out" / "masks" / "link" / "x.png").is_file()


@pytest.mark.parametrize("link", [os.link, os.symlink])
def test_a_mask_never_replaces_its_image_behind_a_link(tmp_path, link):
    image = read_image(save(tmp_path / "a.png"))
    link(tmp_path / "a.png", tmp_path / "b.png")
    with pytest.raises(ValueError, match="would replace the image it belongs to"):
        write_mask(tmp_path / "b.png", GREY > 9, like=image)
    np.testing.assert_array_equal(read_image(tmp_path / "a.png").pixels[..., 0], GREY)
