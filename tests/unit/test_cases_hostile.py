"""Hostile files: bombs, promises of terabytes, circles, code in checkpoints. Refused, or read where they are whole,
in seconds and without the memory that they ask for.

All readings are measured in one process, which forks for each of them, so that they do not pay for each other.
"""

from __future__ import annotations

import gzip
import json
import os
import pickle
import re
import struct
import subprocess
import sys
import time
import zlib
from pathlib import Path

import imagecodecs
import nibabel
import numpy as np
import pytest
import tifffile
import torch
from PIL import Image
from test_cases_dicom import write as dicom
from test_cases_images import F, H, as_voxels, chunk, jpeg, nifti, png, tiff

from medclipsam_utils.images import ImageError, read_image
from medclipsam_utils.images.names import list_images
from medclipsam_utils.metrics.folders import evaluate_masks
from medclipsam_utils.models import ModelError, load_clip, load_sam

SECONDS, MEGABYTES = 3, 150
GREY = (np.arange(24 * 20).reshape(24, 20) % 251).astype(np.uint8)
VOXELS = as_voxels(GREY).astype(np.int16)


def zeros(megabytes: int) -> bytes:
    """A zlib stream of zeros, a thousandth of their size, without deflating all of them."""
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
    block = deflate.compress(bytes(1 << 20)) + deflate.flush(zlib.Z_FULL_FLUSH)
    n_bytes = megabytes << 20  # Adler-32 of n zeros is (n mod 65521) · 65536 + 1
    return b"\x78\xda" + block * megabytes + deflate.flush() + struct.pack(">I", (n_bytes % 65521) << 16 | 1)


def saying(content: bytes, side: int) -> bytes:
    """A JPEG whose frame header says another size."""
    place = content.index(b"\xff\xc0") + 5
    return content[:place] + struct.pack(">HH", side, side) + content[place + 4 :]


def in_a_circle(path: Path) -> None:
    """The first TIFF directory says that it is followed by itself."""
    content = bytearray(tiff(path, GREY, 8).read_bytes())
    (place,) = struct.unpack_from("<I", content, 4)
    (count,) = struct.unpack_from("<H", content, place)
    struct.pack_into("<I", content, place + 2 + 12 * count, place)
    path.write_bytes(content)


def lzw(path: Path, side: int) -> Path:
    strip = imagecodecs.lzw_encode(bytes(1 << 26))
    return tiff(path, GREY, 8, strip=strip, t256=[side], t257=[side], t259=[5], t278=[side])


def two(path: Path) -> None:
    content = bytearray(nifti(path, VOXELS, kind=nibabel.Nifti2Image).read_bytes())
    struct.pack_into("<4q", content, 16, 3, 2**40, 2**40, 2**40)
    path.write_bytes(content)


def unpacking(path: Path, megabytes: int, **patch: np.ndarray) -> None:
    """A zipped volume whose header asks for what follows: members of zeros."""
    patches = {int(offset[2:]): numbers for offset, numbers in patch.items()}
    header = nifti(path.with_suffix(".header"), VOXELS, patches=patches).read_bytes()[:352]
    path.with_suffix(".header").unlink()
    path.write_bytes(gzip.compress(header) + gzip.compress(bytes(1 << 20)) * megabytes)


BOMBS = {  # name: how to write it, and what reading it says
    "png: a text of 1.5 GB": (lambda path: png(path, GREY, 8, 0, chunk(b"zTXt", b"Comment\0\0" + zeros(1500))), None),
    "png: a profile of 1.5 GB": (lambda path: png(path, GREY, 8, 0, chunk(b"iCCP", b"icc\0\0" + zeros(1500))), None),
    "png: 200 MB behind its rows": (lambda path: png(path, GREY, 8, 0, data=zeros(200)), None),
    "png: 40,000 x 40,000, interlaced": (
        lambda path: png(path, GREY[:1, :1], 1, 0, size=(40000, 40000), data=zeros(200), interlaced=True),
        "40000 × 40000 pixels|more than",
    ),
    "png: a row of 2^31": (
        lambda path: png(path, GREY, 16, 6, size=(1, 2**31 - 1), data=zeros(500)),
        "2147483647 pixels|more than",
    ),
    "png: a square that is just allowed, without its rows": (
        lambda path: png(path, GREY, 1, 0, size=(11000, 11000), data=zlib.compress(b"")),
        "cannot be decoded",
    ),
    "tif: deflated, 60,000 x 60,000": (
        lambda path: tiff(path, GREY, 8, strip=zeros(3434), t256=[60000], t257=[60000], t259=[8], t278=[60000]),
        "60000 × 60000 pixels",
    ),
    "tif: LZW, 30,000 x 30,000": (lambda path: lzw(path, 30000), "30000 × 30000 pixels"),
    "tif: LZW of 64 MB for 400 pixels": (lambda path: lzw(path, 20), None),
    "tif: a deflated strip of 2 GB for 480 pixels": (
        lambda path: tiff(path, GREY, 8, strip=zeros(2000), t259=[8]),
        None,
    ),
    "tif: a fax of 100,000 x 100,000": (
        lambda path: tiff(path, GREY, 1, 0, strip=b"\xff" * 12500, t256=[100000], t257=[100000], t259=[4]),
        "100000 × 100000 pixels",
    ),
    "tif: a JPEG of another size": (lambda path: tiff(path, GREY, 8, strip=saying(jpeg(GREY), 65500), t259=[7]), None),
    "tif: directories in a circle": (in_a_circle, None),
    "tif: a million samples": (lambda path: tiff(path, GREY, 8, t277=[65535]), ""),
    "jpg: 65,500 x 65,500": (lambda path: path.write_bytes(saying(jpeg(GREY), 65500)), "65500 × 65500|more than"),
    "jpg: 11,000 x 11,000 without their data": (lambda path: path.write_bytes(saying(jpeg(GREY), 11000)), ""),
    "nii: terabytes": (lambda path: nifti(path, VOXELS, patches={42: H([32767, 32767, 32767])}), "32767 × 32767"),
    "nii: yottabytes, NIfTI-2": (two, "1099511627776 × 1099511627776"),
    "nii: many slices that are not there": (
        lambda path: nifti(path, VOXELS, patches={42: H([4096, 4096, 32767])}),
        "cut short",
    ),
    "nii: an extension of 2 GB": (
        lambda path: nifti(path, VOXELS, patches={108: F([2**31]), 348: np.uint8([1])}),
        "cut short",
    ),
    "nii.gz: 8 GB of voxels": (
        lambda path: unpacking(path, 8192, at42=H([4096, 4096, 256])),
        "unpacked it has more than",
    ),
    "nii.gz: voxels behind 16 GB": (lambda path: unpacking(path, 16384, at108=F([2**34])), "unpacked it has more than"),
    "nii.gz: a gigabyte that is promised and not there": (
        lambda path: unpacking(path, 1, at42=H([1024, 1024, 512])),
        "cut short",
    ),
    "dcm: frames of terabytes": (
        lambda path: dicom(path, GREY, Rows=11000, Columns=11000, NumberOfFrames=2**31 - 1),
        "",
    ),
}

PROGRAM = """
import json, os, resource, sys, time
from pathlib import Path
import numpy as np
from medclipsam_utils.images import read_image, read_mask, read_mask_stack, ImageError
whole, *paths = map(Path, sys.argv[1:])
for path in whole.iterdir():  # so that the libraries are imported
    read_image(path), read_mask(path)

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

def resident():
    pages = Path("/proc/self/statm")
    return int(pages.read_text().split()[0]) * resource.getpagesize() if pages.exists() else 2**40

for path in paths:
    for reader in (read_image, read_mask, read_mask_stack):
        out, into = os.pipe()
        child = os.fork()
        if not child:
            resource.setrlimit(resource.RLIMIT_CPU, (6, 6))  # a bomb that goes off ends its own process
            resource.setrlimit(resource.RLIMIT_AS, (resident() + 2**31,) * 2)
            start, memory = time.process_time(), peak()
            try:
                found = reader(path)
                said = f"read {getattr(found, 'pixels', getattr(found, 'mask', found)).shape}"
            except ImageError as error:
                said = str(error)
            except BaseException as error:
                said = f"CRASH {error!r}"
            line = json.dumps([str(path), reader.__name__, said, time.process_time() - start, peak() - memory])
            os.write(into, line.encode())
            os._exit(0)
        os.close(into)
        print(os.read(out, 65536).decode() or json.dumps([str(path), reader.__name__, "CRASH or out of time", 0, 0]))
        os.close(out)
        os.waitpid(child, 0)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_bombs_are_refused_in_seconds_and_without_their_memory(tmp_path):
    """One test for all, because under xdist each worker would measure all of them again."""
    whole = tmp_path / "whole"
    whole.mkdir()
    png(whole / "a.png", GREY, 8, 0)
    tiff(whole / "a.tif", GREY, 8)
    tiff(whole / "b.tif", GREY, 8, strip=zlib.compress(GREY.tobytes()), t259=[8])
    (whole / "a.jpg").write_bytes(jpeg(GREY // 200 * 255))
    nifti(whole / "a.nii", VOXELS)
    nifti(whole / "a.nii.gz", VOXELS)
    dicom(whole / "a.dcm", GREY)
    paths = {name: tmp_path / f"{number}.{name.split(':')[0]}" for number, name in enumerate(BOMBS)}
    for name, path in paths.items():
        BOMBS[name][0](path)
        assert path.stat().st_size < 2**25
    command = [sys.executable, "-c", PROGRAM, str(whole), *map(str, paths.values())]
    answer = subprocess.run(command, capture_output=True, text=True)
    assert answer.returncode == 0, answer.stderr
    readings = [json.loads(line) for line in answer.stdout.splitlines()]
    assert len(readings) == 3 * len(BOMBS)
    names = {str(path): name for name, path in paths.items()}
    wrong = [
        (names[path], reader, said.removeprefix(path), f"{seconds:.1f} s, {megabytes:.0f} MB")
        for path, reader, said, seconds, megabytes in readings
        if seconds > SECONDS or megabytes > MEGABYTES or not is_right(said, path, BOMBS[names[path]][1])
    ]
    assert not wrong


def is_right(said: str, path: str, reason: str | None) -> bool:
    """Whether a file was refused for the reason; None: its image is whole, so that it may also be read."""
    if reason is None and re.match(r"read \((1, )?2[04], 20", said):
        return True
    return said.startswith(f"{path}: ") and bool(re.search(reason or "", said))


@pytest.mark.parametrize("name", ["tif: deflated, 60,000 x 60,000", "nii.gz: 8 GB of voxels", "nii: terabytes"])
def test_a_bomb_among_masks_is_left_out(tmp_path, name):
    start = time.process_time()
    for folder in ("masks", "references"):
        (tmp_path / folder).mkdir()
        Image.fromarray(GREY).save(tmp_path / folder / "ok.png")
        BOMBS[name][0](tmp_path / folder / f"bomb.{name.split(':')[0]}")
    scores = evaluate_masks(tmp_path / "masks", tmp_path / "references")
    assert scores.names == ("ok",) and "bomb" in scores.left_out
    assert time.process_time() - start < 10  # most of it is the import of what measures surfaces


def test_a_circle_of_directories_is_one_page_or_none(tmp_path):
    """Older versions of tifffile refuse the file."""
    in_a_circle(tmp_path / "a.tif")
    try:
        image = read_image(tmp_path / "a.tif")
    except ImageError as error:
        assert "this TIFF file cannot be decoded (TiffFileError)" in str(error)
        assert tifffile.__version__ < "2024"
        return
    np.testing.assert_array_equal(image.pixels[..., 0], GREY)
    assert image.n_frames == 1


# Checkpoints: a pickle is a program, and is not run


class Code:
    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return (Path.write_text, (self.path, "run"))


LOADERS = {"load_clip": load_clip, "load_sam": load_sam}


@pytest.mark.parametrize("name", ["model.pth", "model.pt", "model.bin", "model.safetensors", "model"])
@pytest.mark.parametrize("kind", ["pickle", "torch", "torch, legacy", "a weight"])
@pytest.mark.parametrize("loader", LOADERS)
def test_code_in_a_checkpoint_is_not_run(tmp_path, loader, kind, name):
    code, path = Code(tmp_path / "evil"), tmp_path / name
    if kind == "pickle":
        path.write_bytes(pickle.dumps(code, protocol=2))
    elif kind == "a weight":
        torch.save({"image_encoder.pos_embed": torch.zeros(3), "logit_scale": code}, path)
    else:
        torch.save(code, path, _use_new_zipfile_serialization=kind == "torch")
    with pytest.raises(ModelError, match=re.escape(str(path))):
        LOADERS[loader](path)
    assert not (tmp_path / "evil").exists()
    pickle.loads(pickle.dumps(code))  # and it would have been
    assert (tmp_path / "evil").read_text() == "run"


# Folders without end


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no links that anybody may make")
def test_links_that_multiply_are_listed_once(tmp_path):
    """Thirty folders with two links to the next: 2^30 paths."""
    for number in range(30):
        (tmp_path / f"{number:02}").mkdir()
        for name in ("a", "b"):
            (tmp_path / f"{number:02}" / name).symlink_to(f"../{(number + 1) % 30:02}")
    Image.fromarray(GREY).save(tmp_path / "29" / "x.png")
    start = time.process_time()
    found = list_images(tmp_path)
    assert len(found.images) == 1 and time.process_time() - start < SECONDS
    assert len(found.ignored) == 60 and all(
        "a link to a folder that is listed" in each for each in found.ignored.values()
    )


def test_tens_of_thousands_of_files_are_listed_in_seconds(tmp_path):
    for number in range(30_000):
        os.close(os.open(f"{tmp_path}/{number:06}.png", os.O_CREAT))
    start = time.process_time()
    found = list_images(tmp_path)
    assert time.process_time() - start < 6
    assert len(found.images) == 30_000 and found.images[7] == "000007.png"
    for number in range(30_000):
        os.unlink(f"{tmp_path}/{number:06}.png")


def test_folders_in_folders_deeper_than_python_calls(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for _ in range(1200):
        os.mkdir("a")
        os.chdir("a")
    Path("x.png").touch()
    os.chdir(tmp_path)
    asked, listdir = [], os.listdir
    with monkeypatch.context() as patch:
        patch.setattr(os, "listdir", lambda folder: asked.append(folder) or listdir(folder))
        found = list_images(tmp_path).images
    os.chdir("/".join(["a"] * 1200))  # pytest, too, calls itself to remove it
    os.remove("x.png")
    for _ in range(1200):
        os.chdir("..")
        os.rmdir("a")
    assert [name.count("/") for name in found] == [1200]
    assert len(asked) == 1201  # each folder once, however deep it lies
