"""What cannot be read raises one kind of error that names the file, the reason and a remedy; it never crashes.

Truncated at every place and with bits flipped at random, a file either is refused or gives a picture; a truncated one
that is still read gives the whole picture.
"""

from __future__ import annotations

import gzip
import io
import logging
import os
import pickle
import re
import subprocess
import sys
import zlib
from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pydicom.data
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pydicom.uid import MPEG2MPML

from medclipsam_utils.images import ImageError, read_image
from medclipsam_utils.images.errors import MAX_PIXELS, check_size, decoding

pytestmark = pytest.mark.filterwarnings("error")

GREY = (np.arange(20 * 24).reshape(20, 24) % 251).astype(np.uint8)


def pillow(mode: str, kind: str, **options) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(GREY).convert(mode).save(buffer, kind, **options)
    return buffer.getvalue()


def tiff(values: np.ndarray, **options) -> bytes:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, values, **options)
    return buffer.getvalue()


def with_tag(content: bytes, tag: int, old: int, new: int) -> bytes:
    """A little-endian TIFF file with another value of a tag."""
    for kind, size in ((3, 2), (4, 4)):  # SHORT, LONG
        start = tag.to_bytes(2, "little") + kind.to_bytes(2, "little") + (1).to_bytes(4, "little")
        content = content.replace(start + old.to_bytes(size, "little"), start + new.to_bytes(size, "little"))
    assert new.to_bytes(2, "little") in content
    return content


def nifti(dtype: str, kind=nibabel.Nifti1Image) -> bytes:
    return kind(GREY.reshape(4, 5, 24).astype(dtype), np.diag([2, 3, 4, 1])).to_bytes()


def dicom_path(name: str) -> Path:
    return Path(pydicom.data.__file__).parent / "test_files" / name


def files() -> dict[str, bytes]:
    """Small files of every format, encoding and byte order, by a name for them."""
    exif = Image.Exif()
    exif[0x0112] = 6
    made = {
        "grey.png": pillow("L", "PNG"),
        "palette.png": pillow("P", "PNG"),
        "alpha.png": pillow("RGBA", "PNG"),
        "wide.png": pillow("I;16", "PNG"),
        "grey.jpg": pillow("L", "JPEG"),
        "turned.jpg": pillow("RGB", "JPEG", exif=exif),
        "cmyk.jpg": pillow("CMYK", "JPEG"),
        "raw.tif": pillow("L", "TIFF"),
        "float.tif": tiff(GREY.astype(np.float32)),
        "colours.tif": tiff(np.dstack([GREY] * 3).astype(np.float32), photometric="rgb"),
        "tiles.tif": tiff(GREY.astype(np.int64), bigtiff=True, tile=(16, 16)),
        "u1.nii": nifti("u1"),
        "i2.nii": nifti(">i2"),
        "f8.nii": nifti("<f8"),
        "two.nii": nifti("u1", nibabel.Nifti2Image),
        "zip.nii.gz": gzip.compress(nifti("<i2"), mtime=0),
    }
    for compression in ("tiff_adobe_deflate", "tiff_lzw", "packbits", "jpeg"):
        made[f"{compression}.tif"] = pillow("L", "TIFF", compression=compression)
    names = ["MR_small", "MR_small_bigendian", "MR_small_implicit", "MR_small_RLE", "MR_small_jp2klossless"]
    names += ["SC_rgb_small_odd", "SC_rgb_small_odd_jpeg", "SC_rgb_rle_2frame", "SC_rgb_dcmtk_+eb+cy+n2"]
    names += ["image_dfl", "rtdose"]
    return made | {f"{name}.dcm": dicom_path(f"{name}.dcm").read_bytes() for name in names}


FILES = files()


# Messages


def refused(path: Path, **options) -> str:
    with pytest.raises(ImageError) as caught:
        read_image(path, **options)
    message = str(caught.value)
    assert message.startswith(f"{path}: ") and message.endswith(".")
    return message.removeprefix(f"{path}: ")


def test_the_error_is_a_value_error_that_survives_pickling(tmp_path):
    with pytest.raises(ValueError, match="there is no such file") as caught:
        read_image(tmp_path / "missing.png")
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


NOT_AN_IMAGE = "the content is not PNG, JPEG, TIFF, DICOM or NIfTI. Convert it to PNG, or to NIfTI if it is a volume"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty. Copy or download it again."),
        (b"P5 2 2 255 ....", NOT_AN_IMAGE),
        (b"hello", NOT_AN_IMAGE),
        (b"\x89PNG", NOT_AN_IMAGE),
        (bytes(2000), NOT_AN_IMAGE),
        (gzip.compress(b"a text", mtime=0), "a gzip file without a NIfTI volume in it. Unpack it with gunzip first."),
        (b"\x1f\x8bnonsense", "it could not be read (BadGzipFile). Check that the file is complete and that you may"),
        (b"\x89PNG\r\n\x1a\n", "this PNG file cannot be decoded (UnidentifiedImageError). The file is damaged or cut"),
        (b"\xff\xd8\xff\xe0" + bytes(99), "this JPEG file cannot be decoded (UnidentifiedImageError). The file is dam"),
        (b"II*\0" + bytes(99), "it says it has 0 frames. It is damaged or cut short: export it again."),
        (bytes(128) + b"DICM", "this DICOM file holds no pixel data. Give one of the study's image files"),
        (b"\x5c\x01\0\0" + bytes(340) + b"n+1\0", "this NIfTI file cannot be decoded (HeaderDataError). The file is"),
    ],
)
def test_content_that_is_no_picture(tmp_path, content, message):
    (tmp_path / "a.png").write_bytes(content)
    assert refused(tmp_path / "a.png").startswith(message)


def test_a_page_without_pixels(tmp_path, monkeypatch):
    """What some versions of tifffile give for a damaged header, where others raise an error."""
    (tmp_path / "a.tif").write_bytes(FILES["colours.tif"])
    monkeypatch.setattr(tifffile.TiffPage, "asarray", lambda self: np.zeros((0, 0, 3), np.uint8))
    assert refused(tmp_path / "a.tif").startswith("this TIFF page has no pixels. The file is damaged")


def test_places_where_there_is_no_file(tmp_path):
    assert refused(tmp_path / "missing.png") == "there is no such file. Check the spelling and the folder."
    assert refused(tmp_path) == "this is a folder. Give one of the files in it."
    assert refused(tmp_path / ("a" * 300)).startswith("it could not be read (OSError)")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has neither pipes nor links that anybody may make")
def test_pipes_and_links_in_a_circle(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    assert refused(tmp_path / "pipe") == "this is not a regular file. Copy the image to a file first."
    (tmp_path / "loop").symlink_to("loop")
    assert refused(tmp_path / "loop") == "this link leads back to itself. Copy the file itself."
    (tmp_path / "first").symlink_to("second")
    (tmp_path / "second").symlink_to("first")
    assert refused(tmp_path / "first") == "this link leads back to itself. Copy the file itself."


def test_a_file_that_may_not_be_read(tmp_path, monkeypatch):
    def forbidden(self, *_):
        raise PermissionError(13, "Permission denied")

    (tmp_path / "a.png").write_bytes(FILES["grey.png"])
    monkeypatch.setattr(Path, "open", forbidden)
    assert refused(tmp_path / "a.png").startswith("it could not be read (PermissionError). Check that the file is com")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"window": (40, 0)}, "window is (40, 0). Give (centre, width) with a positive width, for example (40, 400)."),
        ({"window": (40, float("nan"))}, "window is (40, nan). Give (centre, width)"),
        ({"window": 40}, "window is 40. Give (centre, width)"),
        ({"window": ("a", "b")}, "window is ('a', 'b'). Give (centre, width)"),
        ({"window": (1, 2, 3)}, "window is (1, 2, 3). Give (centre, width)"),
        ({"frame": "first"}, "frame is 'first'. Give a whole number, counted from 0."),
        ({"frame": 1}, "frame 1 does not exist. Choose 0 to 0."),
        ({"plane": "top"}, "plane is 'top'. Choose one of axial, coronal, sagittal."),
        ({"plane": "axial"}, "plane= and slice_index= are for NIfTI, this is PNG. Use frame= instead."),
        ({"slice_index": 0}, "plane= and slice_index= are for NIfTI, this is PNG. Use frame= instead."),
    ],
)
def test_arguments_that_do_not_fit(tmp_path, options, message):
    (tmp_path / "a.png").write_bytes(FILES["grey.png"])
    assert refused(tmp_path / "a.png", **options).startswith(message)


def test_values_that_are_not_finite(tmp_path):
    values = np.ones((2, 3), np.float32)
    values[1, 2] = np.nan
    (tmp_path / "a.tif").write_bytes(tiff(values))
    assert refused(tmp_path / "a.tif").startswith("1 of 6 values are NaN or infinite. Replace them first, for example")
    (tmp_path / "a.tif").write_bytes(tiff(np.full((2, 3), np.inf, np.float32)))
    assert refused(tmp_path / "a.tif").startswith("all values are NaN or infinite.")
    (tmp_path / "a.tif").write_bytes(tiff(np.array([[-1.7e308, 1.7e308]])))
    assert refused(tmp_path / "a.tif").startswith("the range of values is too large for a float.")
    colours = np.ones((2, 3, 3), np.float32)
    colours[0, 0, 0] = np.nan
    (tmp_path / "a.tif").write_bytes(tiff(colours, photometric="rgb"))
    assert refused(tmp_path / "a.tif").startswith("1 of 18 values are NaN or infinite.")


def test_tiff_kinds_that_are_refused(tmp_path):
    path = tmp_path / "a.tif"
    path.write_bytes(tiff(np.zeros((4, 5, 7), np.uint8), photometric="minisblack", planarconfig="contig"))
    assert refused(path) == "a TIFF page with axes YXS and shape (4, 5, 7). Export one grey or RGB image from it."
    path.write_bytes(with_tag(tiff(GREY), 0x0101, 20, 2000))  # the height
    assert refused(path) == "strips or tiles of this TIFF file are missing. Copy or export it again."
    path.write_bytes(with_tag(tiff(GREY.astype(np.int64), tile=(16, 16)), 0x0100, 24, 2400))  # the width
    assert refused(path) == "strips or tiles of this TIFF file are missing. Copy or export it again."


def test_tiff_without_a_decoder(tmp_path):
    """In a process of its own, in which the decoder cannot be imported, whether it is installed or not."""
    (tmp_path / "a.tif").write_bytes(with_tag(tiff(GREY.astype(np.int64)), 0x0103, 1, 34712))
    program = (
        "import sys; sys.modules['imagecodecs'] = None\n"
        "from medclipsam_utils import ImageError, read_image\n"
        "try:\n    read_image(sys.argv[1])\nexcept ImageError as error:\n    print(error)"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "a.tif")]
    message = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    reason = "this TIFF file is compressed with JPEG2000. Export it again, as PNG."
    assert message.strip().endswith(reason)


def test_sizes(tmp_path):
    check_size(tmp_path, 1, MAX_PIXELS)
    for height, width, reason in [(0, 5, "is 0 × 5 pixels"), (2, MAX_PIXELS, "more than"), (-1, -1, "-1 × -1")]:
        with pytest.raises(ImageError, match=reason):
            check_size(tmp_path, height, width)


@pytest.mark.parametrize(
    ("size", "reason"),
    [
        (12_000, "the image is 12000 × 12000 pixels, more than"),
        (60_000, "the image (is 60000 × 60000 pixels, more|has more) than 134,217,728"),
    ],
)
def test_huge_declared_sizes_are_refused_before_decoding(tmp_path, size, reason):
    png, jpeg = bytearray(FILES["grey.png"]), bytearray(FILES["grey.jpg"])
    png[16:24] = size.to_bytes(4, "big") * 2
    png[29:33] = zlib.crc32(png[12:29]).to_bytes(4, "big")
    frame_header = jpeg.index(b"\xff\xc0")
    jpeg[frame_header + 5 : frame_header + 9] = size.to_bytes(2, "big") * 2
    page = with_tag(with_tag(tiff(GREY), 0x0100, 24, size), 0x0101, 20, size)
    for name, content in (("a.png", png), ("a.jpg", jpeg), ("a.tif", page)):
        (tmp_path / name).write_bytes(content)
        message = refused(tmp_path / name)
        assert re.match(reason, message) and message.endswith("Crop it or scale it down first.")


def test_huge_declared_dicom_is_refused_before_decoding(tmp_path):
    dataset = pydicom.dcmread(dicom_path("MR_small.dcm"))
    dataset.Rows = dataset.Columns = 60_000
    dataset.save_as(tmp_path / "a.dcm")
    assert refused(tmp_path / "a.dcm").startswith("the image is 60000 × 60000 pixels, more than")


# DICOM that is no picture, or for which something is missing


def changed(tmp_path, name="MR_small.dcm", drop=(), **elements) -> Path:
    dataset = pydicom.dcmread(dicom_path(name))
    for keyword in drop:
        delattr(dataset, keyword)
    for keyword, value in elements.items():
        setattr(dataset, keyword, value)
    dataset.save_as(tmp_path / "a.dcm")
    return tmp_path / "a.dcm"


def test_dicom_without_pixels_says_what_it_is():
    remedy = "Give one of the study's image files; if it is one, it is cut short."
    assert refused(dicom_path("rtplan.dcm")) == f"this DICOM file holds no pixel data (RTPLAN). {remedy}"
    directory = dicom_path("dicomdirtests") / "DICOMDIR"
    assert refused(directory) == f"this DICOM file holds no pixel data (Media Storage Directory Storage). {remedy}"


def test_dicom_that_lacks_elements(tmp_path):
    path = changed(tmp_path, drop=["Rows", "BitsAllocated"])
    assert refused(path) == "the DICOM header lacks Rows, BitsAllocated. Export the file again."


def test_dicom_pixels_cut_short(tmp_path):
    path = changed(tmp_path, PixelData=bytes(100))
    message = "the pixel data are cut short or do not fit the header (ValueError). Copy or export the file again."
    assert refused(path) == message
    assert refused(dicom_path("MR_truncated.dcm")) == message


def test_compressed_dicom_without_a_decoder(monkeypatch):
    monkeypatch.setattr(pydicom.pixels.decoders.base.Decoder, "is_available", False)
    message = refused(dicom_path("JPEGLSNearLossless_08.dcm"))
    assert message.startswith("the pixels are compressed as JPEG-LS Lossy (Near-Lossless) Image Compression, without")
    assert message.endswith('Install more decoders: pip install "pylibjpeg[all]".')


def test_compressed_dicom_with_damaged_pixels(tmp_path):
    frame = pydicom.encaps.encapsulate([b"\xff\xd8\xff\xe0 not a JPEG"])
    message = refused(changed(tmp_path, "SC_rgb_small_odd_jpeg.dcm", PixelData=frame))
    assert message.startswith("the pixels, compressed as JPEG Baseline (Process 1), cannot be decoded (RuntimeError).")
    assert message.endswith("if it still fails, the file is damaged.")


@pytest.mark.parametrize("part", [0.2, 0.5, 0.95])
@pytest.mark.parametrize("name", ["SC_rgb_small_odd_jpeg.dcm", "MR_small_jp2klossless.dcm", "MR_small_RLE.dcm"])
def test_a_compressed_frame_cut_short_in_an_intact_file(tmp_path, name, part):
    dataset = pydicom.dcmread(dicom_path(name))
    frame = next(pydicom.encaps.generate_frames(dataset.PixelData, number_of_frames=1))
    cut = pydicom.encaps.encapsulate([frame[: int(len(frame) * part)]])
    assert "cannot be decoded" in refused(changed(tmp_path, name, PixelData=cut))


def test_transfer_syntaxes_that_do_not_store_single_pictures(tmp_path):
    dataset = pydicom.dcmread(dicom_path("SC_rgb_small_odd_jpeg.dcm"))
    dataset.file_meta.TransferSyntaxUID = MPEG2MPML
    dataset.save_as(tmp_path / "a.dcm")
    message = refused(tmp_path / "a.dcm")
    assert message.startswith("its transfer syntax (MPEG2 Main Profile / Main Level) is not a way to store single")
    content = dicom_path("MR_small.dcm").read_bytes()
    for damaged in (b"1.2.840.10008.1.2.\xff\0", b"1.2.840.10008\\1.2.1", b"                   \0"):
        (tmp_path / "a.dcm").write_bytes(content.replace(b"1.2.840.10008.1.2.1\0", damaged.ljust(20, b"\0")))
        message = refused(tmp_path / "a.dcm")
        assert "transfer syntax" in message or "DICOM" in message


# Damaged files


def cut_points(content: bytes) -> list[int]:
    """Every place in the headers and near the end, and some in between."""
    size = len(content)
    return sorted({*range(min(size, 160)), *range(max(0, size - 60), size), *range(0, size, max(1, size // 60))})


@pytest.mark.parametrize("name", FILES)
def test_truncated_files_are_refused_or_still_complete(tmp_path, name):
    content, path = FILES[name], tmp_path / name
    path.write_bytes(content)
    whole = read_image(path).pixels
    refusals = 0
    for size in cut_points(content):
        path.write_bytes(content[:size])
        try:
            pixels = read_image(path).pixels
        except ImageError as error:
            assert str(error).startswith(f"{path}: ")
            refusals += 1
        else:
            np.testing.assert_array_equal(pixels, whole, err_msg=f"{size} of {len(content)} bytes")
    assert refusals >= 60


def read_or_refuse(path: Path) -> None:
    try:
        image = read_image(path)
    except ImageError as error:
        assert str(error).startswith(f"{path}: ")
        return
    assert image.pixels.dtype == np.uint8 and image.pixels.ndim == 3 and image.pixels.shape[2] == 3
    assert image.window is None or (np.isfinite(image.window).all() and image.window[1] > 0)
    assert image.spacing_mm is None or (np.isfinite(image.spacing_mm).all() and min(image.spacing_mm) > 0)
    assert repr(image) and image.pixels.size


@pytest.mark.parametrize("name", FILES)
def test_random_bytes_in_the_header_never_crash(tmp_path, name):
    rng = np.random.default_rng(sum(name.encode()))
    path = tmp_path / name
    for _ in range(60):
        damaged = bytearray(FILES[name])
        for _ in range(rng.integers(1, 6)):
            where = rng.integers(min(len(damaged), rng.choice([64, 352, 2000])))
            damaged[where] = rng.choice([0, 255, rng.integers(256), damaged[where] ^ (1 << rng.integers(8))])
        path.write_bytes(damaged)
        read_or_refuse(path)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    start=st.sampled_from(
        [b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"II*\0", b"MM\0*", bytes(128) + b"DICM", b"\x1f\x8b"]
    ),
    rest=st.binary(max_size=400),
)
def test_any_content_is_refused_or_read(tmp_path_factory, start, rest):
    path = tmp_path_factory.getbasetemp() / "any"
    path.write_bytes(start + rest)
    read_or_refuse(path)


def test_decoders_are_silent(tmp_path, caplog, recwarn):
    """A header that quotes a patient in a warning or in a log line would put the name on the screen."""
    caplog.set_level(logging.WARNING)
    path = tmp_path / "a"
    many_samples = tiff(np.zeros((4, 5, 7), np.uint8), photometric="minisblack", planarconfig="contig")
    damaged_syntax = FILES["MR_small.dcm"].replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.Doe^Jane.1\0\0")
    header = bytearray(FILES["u1.nii"])
    header[80:84] = np.float32(-3).tobytes()  # a negative voxel size
    no_frame = dicom_path("JPGExtended.dcm").read_bytes()
    for content in (many_samples, damaged_syntax, bytes(header), no_frame):
        path.write_bytes(content)
        read_or_refuse(path)
    assert not caplog.records and not recwarn.list


def test_loggers_speak_again_after_an_error(tmp_path, caplog):
    with pytest.raises(ImageError), decoding(tmp_path, "reason", "remedy"):
        logging.getLogger("pydicom").warning("silent")
        raise OSError
    logging.getLogger("pydicom").warning("heard")
    assert [record.message for record in caplog.records] == ["heard"]


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_an_interrupt_is_not_an_image_error(tmp_path, kind):
    with pytest.raises(kind), decoding(tmp_path, "reason", "remedy"):
        raise kind


def test_too_little_memory_is_said(tmp_path):
    with pytest.raises(ImageError, match="it does not fit into memory"), decoding(tmp_path, "reason", "remedy"):
        raise MemoryError


def test_reading_pictures_needs_no_torch():
    """The subpackage alone, whatever the rest of the package imports."""
    program = (
        "import sys, types\n"
        "parent = types.ModuleType('medclipsam_utils'); parent.__path__ = [sys.argv[1]]\n"
        "sys.modules['medclipsam_utils'] = parent\n"
        "import medclipsam_utils.images\n"
        "print({'torch', 'matplotlib', 'skimage', 'nilearn', 'monai'} & set(sys.modules))\n"
    )
    package = Path(sys.modules["medclipsam_utils"].__file__).parent
    run = subprocess.run([sys.executable, "-c", program, package], capture_output=True, text=True, check=True)
    assert run.stdout == "set()\n" and run.stderr == ""
