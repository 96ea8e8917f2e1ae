"""Rare, odd and broken PNG, JPEG, TIFF and NIfTI files: the picture that the format asks for, or the true reason.

The rules are those of TIFF 6.0, PNG (third edition), JPEG (T.81), Exif 2.32, gzip (RFC 1952) and nifti1.h. The other
``test_cases`` files make their files with the helpers of this one.
"""

from __future__ import annotations

import gzip
import io
import re
import struct
import zlib
from pathlib import Path

import imagecodecs
import nibabel
import numpy as np
import pytest
import SimpleITK
import tifffile
from PIL import Image
from test_cases_dicom import refusal

from medclipsam_utils.images import ImageError, read_image

pytestmark = pytest.mark.filterwarnings("error")

# 0 to 1 without a symmetry; a quarter of the pixels is black and a quarter white, so percentiles are the extremes.
_Y, _X = np.mgrid[:24, :20]
RAMP = np.clip((0.7 * _X / 19 + 0.3 * _Y / 23 - 0.25) / 0.5, 0, 1)
DISC = np.hypot(_Y - 9, _X - 11) < 6
COLOURS = np.dstack([RAMP, RAMP[::-1], RAMP[:, ::-1]])


def levels(top: float, share: np.ndarray = RAMP) -> np.ndarray:
    return np.rint(share * top).astype(np.uint64)


GREY, RGB = levels(255).astype(np.uint8), levels(255, COLOURS).astype(np.uint8)


def packed(values: np.ndarray, bits: int, order: str = ">") -> bytes:
    """Numbers [H, W, ...] as a stream of bits, most significant first; every row begins with a new byte."""
    if bits == 16:
        return np.asarray(values).astype(order + "u2").tobytes()
    rows = np.asarray(values).astype(np.uint64).reshape(len(values), -1, 1)
    ones = (rows >> np.arange(bits)[::-1].astype(np.uint64) & 1).astype(np.uint8)
    return np.packbits(ones.reshape(len(values), -1), axis=1).tobytes()


def tiff(path: Path, values: np.ndarray, bits: int, kind: int = 1, order: str = "<", strip=None, **tags) -> Path:
    """A TIFF file of one strip, written by hand because no library writes all of them; ``t258=[8]`` sets a tag."""
    values = np.asarray(values)
    samples = values.shape[2] if values.ndim == 3 else 1
    strip = packed(values, bits, order) if strip is None else strip
    known = {256: [values.shape[1]], 257: [values.shape[0]], 258: [bits] * samples, 259: [1], 262: [kind], 273: [8]}
    known |= {277: [samples], 278: [values.shape[0]], 279: [len(strip)]} | {int(key[1:]): tags[key] for key in tags}
    start = 8 + len(strip) + len(strip) % 2
    extra, entries = b"", []
    for tag, numbers in sorted(known.items()):
        code, number, count = 3, "H", len(numbers)
        if isinstance(numbers[0], tuple):
            code, number, numbers = 5, "I", [part for fraction in numbers for part in fraction]
        elif tag in (256, 257, 273, 278, 279):
            code, number = 4, "I"
        content = struct.pack(f"{order}{len(numbers)}{number}", *numbers)
        if len(content) > 4:
            place = start + 2 + 12 * len(known) + 4 + len(extra)
            content, extra = struct.pack(order + "I", place), extra + content
        entries.append(struct.pack(order + "HHI", tag, code, count) + content.ljust(4, b"\0"))
    directory = struct.pack(order + "H", len(entries)) + b"".join(entries) + bytes(4)
    head = {"<": b"II*\0", ">": b"MM\0*"}[order] + struct.pack(order + "I", start)
    path.write_bytes(head + strip + bytes(len(strip) % 2) + directory + extra)
    return path


def chunk(name: bytes, content: bytes, crc: int | None = None) -> bytes:
    crc = zlib.crc32(name + content) if crc is None else crc
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", crc)


_ADAM7 = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]


def png(path, values, bits: int, kind: int, before=b"", tail=b"", interlaced=False, size=None, data=None) -> Path:
    """A PNG file of colour type ``kind``, with the chunks ``before`` its pixels; ``size`` and ``data`` may lie."""
    values = np.asarray(values)
    parts = [values[y::dy, x::dx] for y, x, dy, dx in _ADAM7] if interlaced else [values]
    rows = b"".join(b"\0" + packed(row[None], bits) for part in parts if part.size for row in part)
    height, width = size or values.shape[:2]
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, kind, 0, 0, interlaced))
    pixels = chunk(b"IDAT", zlib.compress(rows) if data is None else data)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + header + before + pixels + chunk(b"IEND", b"") + tail)
    return path


def jpeg(values: np.ndarray = GREY, **options) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, "JPEG", **{"quality": 95, "subsampling": 0} | options)
    return buffer.getvalue()


def as_voxels(picture: np.ndarray, n_slices: int = 3) -> np.ndarray:
    """A volume in RAS+ order, of which every axial slice shows ``picture``."""
    return np.repeat(np.asarray(picture)[::-1, ::-1].swapaxes(0, 1)[:, :, None], n_slices, 2)


def nifti(path: Path, voxels: np.ndarray, affine=None, patches=None, kind=nibabel.Nifti1Image, **fields) -> Path:
    """A NIfTI file in mm; ``patches`` maps an offset in the header to numbers that nibabel would not write."""
    image = kind(voxels, np.eye(4) if affine is None else affine, dtype=voxels.dtype)
    image.header.set_xyzt_units("mm")
    for name, value in fields.items():
        image.header[name] = value
    content = bytearray(image.to_bytes())
    for offset, numbers in (patches or {}).items():
        content[offset : offset + numbers.nbytes] = numbers.tobytes()
    path.write_bytes(gzip.compress(content, mtime=0) if path.suffix == ".gz" else content)
    return path


VOXELS = as_voxels(levels(1000)).astype(np.int16)


def assert_shows(image, expected, tolerance: float = 1) -> None:
    expected = np.asarray(expected, float)
    expected = np.repeat(expected[..., None], 3, 2) if expected.ndim == 2 else expected
    assert image.pixels.dtype == np.uint8
    np.testing.assert_allclose(image.pixels.astype(float), expected, atol=tolerance)


# Bits of TIFF (sections 3 and 8; SampleFormat, page 80)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("bits", [2, 3, 4, 5, 6, 7, 9, 10, 12, 14, 16, 20])
def test_grey_of_any_number_of_bits_spans_black_to_white(tmp_path, bits, order):
    path = tiff(tmp_path / "a.tif", levels(2**bits - 1), bits, order=order)
    assert_shows(read_image(path), 255 * levels(2**bits - 1) / (2**bits - 1))


@pytest.mark.parametrize("bits", [2, 4, 8, 10, 12, 14, 16])
def test_colours_of_any_number_of_bits_keep_their_full_range(tmp_path, bits):
    path = tiff(tmp_path / "a.tif", levels(2**bits - 1, COLOURS), bits, kind=2)
    assert_shows(read_image(path), 255 * levels(2**bits - 1, COLOURS) / (2**bits - 1), tolerance=2)


def reversed_bits(content: bytes) -> bytes:
    return np.packbits(np.unpackbits(np.frombuffer(content, np.uint8)).reshape(-1, 8)[:, ::-1]).tobytes()


ODD_BITS = {
    "white is zero and FillOrder 2: the lowest bit comes first": (
        lambda path: tiff(path, RAMP, 12, 0, strip=reversed_bits(packed(levels(4095), 12)), t266=[2]),
        255 * (1 - RAMP),
    ),
    "12 bits and Orientation 8: the first row is the left side": (
        lambda path: tiff(path, levels(4095), 12, t274=[8]),
        np.rot90(255 * RAMP),
    ),
    "SampleFormat 4, undefined, is read as unsigned": (
        lambda path: tiff(path, levels(65535), 16, t339=[4]),
        255 * RAMP,
    ),
    "floats of 16 bits": (lambda path: tifffile.imwrite(path, (6e4 * RAMP).astype(np.float16)), 255 * RAMP),
    "floats close to the smallest": (
        lambda path: tifffile.imwrite(path, (1e-38 * RAMP).astype(np.float32)),
        255 * RAMP,
    ),
    "64 bits": (lambda path: tifffile.imwrite(path, levels(1.8e19)), 255 * RAMP),
}


@pytest.mark.parametrize("name", ODD_BITS)
def test_odd_bits(tmp_path, name):
    make, expected = ODD_BITS[name]
    make(tmp_path / "a.tif")
    assert_shows(read_image(tmp_path / "a.tif"), expected)


# Compressions of TIFF: lossless ones give the picture, others are named


@pytest.mark.parametrize(
    "options",
    [
        {"compression": "packbits"},
        {"compression": "lzw", "rowsperstrip": 7},
        {"compression": "zlib", "predictor": 2, "tile": (16, 16), "byteorder": ">"},
        {"compression": "zstd"},
        {"compression": "lzma"},
    ],
    ids=lambda options: options["compression"],
)
def test_lossless_compressions_give_the_same_picture(tmp_path, options):
    tifffile.imwrite(tmp_path / "a.tif", levels(65535).astype(np.uint16), photometric="minisblack", **options)
    assert_shows(read_image(tmp_path / "a.tif"), 255 * RAMP)


@pytest.mark.parametrize(("dtype", "predictor"), [(">i4", 2), (">f4", 3), ("<f4", 3), ("<u2", 2), ("<u4", 2)])
def test_predictors_of_every_type(tmp_path, dtype, predictor):
    """TIFF 6.0, section 14, and technical note 3 on floating points."""
    values = ((RAMP - 0.5) * 4e9 if dtype[1:] == "i4" else RAMP * 60000).astype(dtype)
    options = {"compression": "zlib", "predictor": predictor, "byteorder": dtype[0], "photometric": "minisblack"}
    tifffile.imwrite(tmp_path / "a.tif", values, **options)
    assert_shows(read_image(tmp_path / "a.tif"), 255 * RAMP)


@pytest.mark.parametrize("name", ["jpeg2000", "jpegxl", "lerc", "png", "webp"])
def test_a_compression_without_a_decoder_is_named_and_nothing_is_called_damaged(tmp_path, name):
    values = RGB if name == "webp" else GREY
    photometric = "rgb" if name == "webp" else "minisblack"
    tifffile.imwrite(tmp_path / "a.tif", values, photometric=photometric, compression=name)
    try:
        image = read_image(tmp_path / "a.tif")
    except ImageError as error:
        assert f"compressed with {name.upper()}" in str(error) and "damaged" not in str(error)
    else:  # Pillow was built with a libtiff that has it
        assert_shows(image, values, 30)


# Colours and transparency of TIFF (sections 16, 18, 20, 21 and 23)

ALPHA = np.where(DISC, 255, 51).astype(np.uint8)
FLAT = np.zeros((24, 20, 3), np.uint8)
FLAT[:12, :10], FLAT[:12, 10:], FLAT[12:, :10], FLAT[12:, 10:] = (255, 0, 0), (0, 255, 0), (0, 0, 255), 255
WIDE = levels(65535, COLOURS).astype(np.uint16)
MULTIPLIED = np.rint(RGB * (ALPHA[..., None] / 255)).astype(np.uint8)
LAB, LAB_SHOWN = np.zeros((24, 20, 3), np.int16), np.zeros((24, 20, 3))
LAB[:12], LAB[12:, :10] = (136, 80, 67), (255, 0, 0)  # L of 0 to 255, a and b signed
LAB_SHOWN[:12], LAB_SHOWN[12:, :10] = (255, 0, 0), 255
LAB = LAB.astype(np.uint8)
COLOURED = {
    "planes, tiled, big-endian, with a predictor": (
        lambda path: tifffile.imwrite(
            path, np.moveaxis(WIDE, 2, 0), planarconfig="separate", photometric="rgb", tile=(16, 16), predictor=2,
            compression="zlib", byteorder=">",
        ),
        255 * COLOURS,
    ),
    "ExtraSamples 1: the colours are multiplied already": (
        lambda path: tiff(path, np.dstack([MULTIPLIED, ALPHA]), 8, 2, t338=[1]),
        MULTIPLIED,
    ),
    "grey with ExtraSamples 1": (
        lambda path: tiff(path, np.dstack([GREY, np.full_like(GREY, 255)]), 8, 1, t338=[1]),
        GREY,
    ),
    "grey with ExtraSamples 2: on black": (
        lambda path: tiff(path, np.dstack([GREY, ALPHA]), 8, 1, t338=[2]),
        GREY * (ALPHA / 255),
    ),
    "ink of 16 bits": (
        lambda path: tiff(path, np.dstack([255 - FLAT, np.zeros_like(GREY)]).astype(np.uint16) * 257, 16, 5),
        FLAT,
    ),
    "L*a*b* of CIE, red, white and black": (lambda path: tiff(path, LAB, 8, 8), LAB_SHOWN),
    "JPEG of RGB": (
        lambda path: tifffile.imwrite(
            path, FLAT, photometric="rgb", compression="jpeg", compressionargs={"outcolorspace": "rgb", "level": 95}
        ),
        FLAT,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", COLOURED)
def test_colours_and_transparency(tmp_path, name):
    make, expected = COLOURED[name]
    make(tmp_path / "a.tif")
    assert_shows(read_image(tmp_path / "a.tif"), expected, 14 if "JPEG" in name or "L*a*b*" in name else 1)


# Brightnesses of four pixels, and the two colours that they share (section 21).
YCBCR = np.asarray(Image.fromarray(FLAT).convert("YCbCr"))
SHARED = YCBCR[..., 0].reshape(12, 2, 10, 2).transpose(0, 2, 1, 3).reshape(12, 10, 4), YCBCR[::2, ::2, 1:]
UNSHOWN = {
    "ICC L*a*b*": ("in colours of the kind ICCLAB", lambda path: tiff(path, RGB, 8, 9)),
    "YCbCr with shared colours": (
        "in colours of the kind YCBCR",
        lambda path: tiff(path, FLAT, 8, 6, strip=np.concatenate(SHARED, 2).tobytes(), t530=[2, 2]),
    ),
    "two samples more than RGB": (
        "a TIFF page with axes YXS and shape (24, 20, 5)",
        lambda path: tiff(path, np.dstack([RGB, RGB[..., :2]]), 8, 2, t338=[0, 2]),
    ),
    "24 bits, big-endian": ("of 24 bits a sample in big-endian order", lambda path: tiff(path, GREY, 24, order=">")),
    "a matrix of colour filters": ("in colours of the kind CFA", lambda path: tiff(path, GREY, 8, 32803)),
    "values beyond floats": (
        "the range of values is too large for a float",
        lambda path: tifffile.imwrite(path, (2 * RAMP - 1) * 1.7e308),
    ),
}


@pytest.mark.parametrize("name", UNSHOWN)
def test_what_is_not_shown_is_named_and_not_called_damaged(tmp_path, name):
    reason, make = UNSHOWN[name]
    make(tmp_path / "a.tif")
    said = refusal(tmp_path / "a.tif")
    assert reason in said and "damaged" not in said


# PNG (sections 8, 11.3 and 13) and JPEG

KEY = np.where(DISC, 0x80FF, levels(65535)).astype(np.uint16)
KEY[0, :3] = 0x8000
COLOUR_KEY = WIDE.copy()
COLOUR_KEY[:4, :4], COLOUR_KEY[8:12, :4] = (0x1234, 0x5678, 0x9ABC), (0x1235, 0x5678, 0x9ABC)
HALF = np.where(np.arange(20) >= 15, 255, 51) * np.ones((24, 1))
STILL = chunk(b"acTL", struct.pack(">II", 1, 0))
FRAME = chunk(b"fcTL", struct.pack(">IIIIIHHBB", 0, 20, 24, 0, 0, 1, 10, 0, 0)) + chunk(
    b"fdAT", struct.pack(">I", 1) + zlib.compress(b"".join(b"\0" + b"\x80" * 20 for _ in range(24)))
)
PNGS = {
    "the transparent grey of 16 bits has 16 bits": (
        lambda path: png(path, KEY, 16, 0, chunk(b"tRNS", b"\x80\0")),
        np.where(KEY == 0x8000, 0, KEY / 257),
    ),
    "the transparent colour of 16 bits has 16 bits": (
        lambda path: png(path, COLOUR_KEY, 16, 2, chunk(b"tRNS", struct.pack(">3H", 0x1234, 0x5678, 0x9ABC))),
        np.where((COLOUR_KEY == (0x1234, 0x5678, 0x9ABC)).all(2, keepdims=True), 0, COLOUR_KEY / 257),
    ),
    "grey and alpha of 16 bits, interlaced": (
        lambda path: png(path, np.dstack([levels(65535), 257 * HALF.astype(np.uint64)]), 16, 4, interlaced=True),
        None,
    ),
    "a tRNS shorter than the palette leaves the others opaque": (
        lambda path: png(
            path, levels(3), 2, 3, chunk(b"PLTE", bytes([200, 0, 0, 0, 200, 0, 0, 0, 200, 90, 90, 90]))
            + chunk(b"tRNS", b"\0\x80"), interlaced=True,
        ),
        np.array([[0, 0, 0], [0, 100, 0], [0, 0, 200], [90, 90, 90]])[levels(3)],
    ),
    "an animation whose still is no frame of it": (
        lambda path: path.write_bytes(
            png(path, GREY, 8, 0, STILL).read_bytes()[:-12] + FRAME + chunk(b"IEND", b"")
        ),
        GREY,
    ),
    "bytes after the end": (lambda path: png(path, GREY, 8, 0, tail=b"junk" * 100), GREY),
    "gamma and significant bits are about screens": (
        lambda path: png(path, GREY, 8, 0, chunk(b"gAMA", struct.pack(">I", 220000)) + chunk(b"sBIT", b"\2")),
        GREY,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", PNGS)
def test_png_keeps_what_its_chunks_say(tmp_path, name):
    make, expected = PNGS[name]
    make(tmp_path / "a.png")
    assert_shows(read_image(tmp_path / "a.png"), RAMP * HALF if expected is None else expected)


@pytest.mark.parametrize("stored", [4095, 65535, 700, 256, 1000])
def test_an_opaque_alpha_of_16_bits_changes_nothing(tmp_path, stored):
    plain = read_image(png(tmp_path / "plain.png", levels(stored), 16, 0)).pixels
    alpha = np.dstack([levels(stored), np.full((24, 20), 65535)])
    assert_shows(read_image(png(tmp_path / "alpha.png", alpha, 16, 4)), plain)


def pictures_of_one_file() -> bytes:
    buffer = io.BytesIO()
    options = {"save_all": True, "append_images": [Image.new("RGB", (20, 24))], "quality": 95, "subsampling": 0}
    Image.fromarray(RGB).save(buffer, "MPO", **options)
    return buffer.getvalue()


JPEGS = {
    "APP14 says RGB, not YCbCr": (
        lambda: imagecodecs.jpeg8_encode(FLAT, level=95, colorspace="rgb", outcolorspace="rgb"),
        FLAT,
    ),
    "the first of two pictures (MPO)": (pictures_of_one_file, RGB),
    "progressive": (lambda: jpeg(progressive=True), GREY),
    "colours at half the size": (lambda: jpeg(np.dstack([GREY] * 3), subsampling=2), GREY),
    "bytes after the end": (lambda: jpeg() + b"junk" * 100, GREY),
    "12 bits": (
        lambda: imagecodecs.jpeg8_encode(levels(4095).astype(np.uint16), level=98, bitspersample=12),
        "a JPEG of 12 bits a sample. Export it as PNG",
    ),
    "lossless, 12 bits": (
        lambda: imagecodecs.ljpeg_encode(levels(4095).astype(np.uint16), bitspersample=12),
        "a JPEG of 12 bits a sample. Export it as PNG",
    ),
}


@pytest.mark.parametrize("name", JPEGS)
def test_jpeg_kinds(tmp_path, name):
    make, expected = JPEGS[name]
    (tmp_path / "a.jpg").write_bytes(make())
    if isinstance(expected, str):
        assert refusal(tmp_path / "a.jpg").startswith(expected)
    else:
        assert_shows(read_image(tmp_path / "a.jpg"), expected, 14)


BESIDE_THE_PIXELS = {
    "an orientation of 9": lambda path: path.write_bytes(
        jpeg(exif=b"Exif\0\0MM\0*\0\0\0\x08\0\1\1\x12\0\3\0\0\0\1\0\x09\0\0\0\0\0\0")
    ),
    "an Exif directory far away": lambda path: path.write_bytes(jpeg(exif=b"Exif\0\0MM\0*\xff\xff\xff\xf0")),
    "an Exif block that is no TIFF": lambda path: path.write_bytes(jpeg(exif=b"Exif\0\0garbage")),
    "a resolution of 0 / 0 in unit 9": lambda path: tiff(
        path, GREY, 8, t282=[(0, 0)], t283=[(1, 0)], t296=[9]
    ),
    "an unknown chunk": lambda path: png(path, GREY, 8, 0, chunk(b"zzZz", b"?")),
    "an orientation of 0 in TIFF": lambda path: tiff(path, GREY, 8, t274=[0]),
}  # fmt: skip


@pytest.mark.parametrize("name", BESIDE_THE_PIXELS)
def test_a_damaged_block_beside_the_pixels_says_nothing(tmp_path, name):
    BESIDE_THE_PIXELS[name](tmp_path / "a")
    assert_shows(read_image(tmp_path / "a"), GREY, 6 if name.count("xif") or "9" in name else 0)


# NIfTI: header parts that cannot be meant count as absent, where the pixels do not depend on them (nifti1.h)

F, H, B = np.float32, np.int16, np.uint8
LATE = "its sform is not a transform, and its qform is taken"
UNREADABLE = {
    "srow NaN, qform in order": ({76: F([1, 2, 3, 4]), 252: H([1, 1]), 280: F([np.nan])}, (3, 2), LATE),
    "sform of zeros, qform in order": ({76: F([1, 2, 3, 4]), 252: H([1, 1]), 280: F([0] * 12)}, (3, 2), LATE),
    "cal_max infinite": ({124: F([np.inf, 0])}, (1, 1), ""),
    "cal_max NaN": ({124: F([np.nan, 0])}, (1, 1), ""),
    "cal_min is cal_max": ({124: F([7, 7])}, (1, 1), ""),
    "slope 0, intercept 7": ({112: F([0, 7])}, (1, 1), ""),
    "slope NaN, intercept 5": ({112: F([np.nan, 5])}, (1, 1), ""),
    "slope infinite": ({112: F([np.inf, 0])}, (1, 1), ""),
    "pixdim NaN, sform in order": ({80: F([np.nan, 0, -1])}, (1, 1), ""),
    "qfac 5": ({76: F([5])}, (1, 1), ""),
    "sizes beyond the number of axes": ({48: H([-5, 0, 9, 32767])}, (1, 1), ""),
    "form codes out of range": ({252: H([77])}, (1, 1), ""),
    "intent, slice code and dim_info": ({68: H([31337]), 39: B([255]), 122: B([99])}, (1, 1), ""),
    "a unit of length that does not exist": ({123: B([7])}, (1, 1), "its unit of length has the unknown code 7: "),
}


@pytest.mark.parametrize("name", UNREADABLE)
def test_a_header_part_that_cannot_be_meant_counts_as_absent(tmp_path, name, caplog):
    patches, spacing, note = UNREADABLE[name]
    image = read_image(nifti(tmp_path / "a.nii", VOXELS, patches=patches))
    assert_shows(image, 255 * RAMP)
    assert image.spacing_mm == pytest.approx(spacing) and image.window == pytest.approx((500, 1000))
    assert [each.startswith(note) for each in image.notes] == [True] * bool(note)
    assert [record.message for record in caplog.records] == [f"{tmp_path / 'a.nii'}: {each}" for each in image.notes]


PIXELS_DEPEND_ON_IT = {
    "slope 2, intercept NaN": ({112: F([2, np.nan])}, "scl_slope is 2 and scl_inter is nan. Repair the header"),
    "slope 1, intercept infinite": ({112: F([1, np.inf])}, "scl_slope is 1 and scl_inter is inf. Repair the header"),
    "no transform at all": (
        {76: F([1, 0, 0, 0]), 252: H([1, 1]), 256: F([9, 9, 9]), 280: F([0] * 12)},
        "the affine does not say where the voxels lie",
    ),
    "negative sizes": ({40: H([3, -20, -24, 3])}, "cut short|no voxels|pixels"),
    "a type without a meaning": ({70: H([31337])}, "cannot be decoded"),
    "an offset behind the end": ({108: F([1e6])}, "the file is cut short"),
}


@pytest.mark.parametrize("name", PIXELS_DEPEND_ON_IT)
def test_a_header_part_on_which_the_pixels_depend_is_named(tmp_path, name):
    patches, reason = PIXELS_DEPEND_ON_IT[name]
    assert re.search(reason, refusal(nifti(tmp_path / "a.nii", VOXELS, patches=patches)))


def test_a_broken_extension_is_no_voxel(tmp_path):
    """vox_offset says where the voxels begin, whatever the size of the extension before them claims to be."""
    content = bytearray(nifti(tmp_path / "a.nii", VOXELS, patches={108: F([384]), 348: B([1])}).read_bytes())
    content[352:352] = struct.pack("<ii", 7, 4) + b"x" * 24
    (tmp_path / "a.nii").write_bytes(content)
    assert_shows(read_image(tmp_path / "a.nii"), 255 * RAMP)


def test_a_volume_of_two_axes_is_a_whole_image(tmp_path):
    flat = as_voxels(levels(1000), 1)[..., 0].astype(np.int16)
    assert_shows(read_image(nifti(tmp_path / "a.nii", flat, np.diag([2, 3, 1, 1]))), 255 * RAMP)


# The display range of NIfTI: what the file asks for, unless it would hide the slice


@pytest.mark.parametrize(
    ("cal", "values", "used"),
    [
        ((0, 1000), levels(1000), True),
        ((200, 800), levels(1000), True),
        ((0, 255), levels(4000) + 1000, False),  # all white
        ((0, 255), np.random.default_rng(0).normal(4000, 1500, (24, 20)), False),  # nearly all white
        ((0, 100), np.where(DISC, 1000, 0), True),  # less than half is white
        ((5000, 9000), levels(1000), False),  # all black
        ((0, 1e6), levels(1000), False),
    ],
    ids=["exact", "narrow", "0-255 of large", "0-255 of floats", "a bright disc", "above", "far too wide"],
)
def test_a_display_range_is_used_unless_it_hides_the_slice(tmp_path, cal, values, used):
    path = nifti(tmp_path / "a.nii", as_voxels(values).astype(F), cal_min=cal[0], cal_max=cal[1])
    image = read_image(path)
    low, high = np.percentile(values, (0.5, 99.5))
    assert image.window == pytest.approx(
        (sum(cal) / 2, np.ptp(cal)) if used else ((low + high) / 2, high - low), rel=1e-4
    )
    assert bool(image.notes) is not used
    assert used or image.notes[0].endswith("would hide it, and is not used")


# Trailing bytes, wrappings of gzip, and names that mislead


def wrapped(content: bytes) -> bytes:
    """Gzip with all optional fields: extra, name, comment and a checksum of the header (RFC 1952, section 2.3)."""
    head = b"\x1f\x8b\x08\x1e\0\0\0\0\0\xff" + struct.pack("<H", 6) + b"AB\2\0\1\2" + b"v\xfc.nii\0" + b"a\0"
    pressed = zlib.compressobj(9, zlib.DEFLATED, -15)
    body = pressed.compress(content) + pressed.flush()
    head += struct.pack("<H", zlib.crc32(head) & 0xFFFF)
    return head + body + struct.pack("<II", zlib.crc32(content), len(content))


WRAPPINGS = {
    "all optional fields": ("a.nii.gz", wrapped),
    "a plain volume named gz": ("a.nii.gz", bytes),
    "a zipped one not named so": ("a.nii", wrapped),
    "two members": ("a.nii.gz", lambda content: gzip.compress(content[:500]) + gzip.compress(content[500:])),
    "a line feed after the stream": ("a.nii.gz", lambda content: gzip.compress(content) + b"\n"),
    "zeros after the stream": ("a.nii.gz", lambda content: gzip.compress(content) + bytes(512)),
    "bytes after the voxels": ("a.nii", lambda content: content + b"junk" * 100),
    "no extension": ("a", bytes),
    "named as PNG": ("a.png", gzip.compress),
    "named as DICOM": ("a.dcm", bytes),
}


@pytest.mark.parametrize("name", WRAPPINGS)
def test_the_content_decides_and_what_follows_it_is_no_part_of_it(tmp_path, name):
    place, wrap = WRAPPINGS[name]
    (tmp_path / place).write_bytes(wrap(nifti(tmp_path / "whole", VOXELS).read_bytes()))
    image = read_image(tmp_path / place)
    assert_shows(image, 255 * RAMP)
    assert image.format == "NIfTI"


# The true reason


def saved_by_pillow(kind: str) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(GREY).save(buffer, kind)
    return buffer.getvalue()


OTHERS = {
    "BMP": (saved_by_pillow("BMP"), "looks like BMP"),
    "GIF": (saved_by_pillow("GIF"), "looks like GIF"),
    "WebP": (saved_by_pillow("WEBP"), "looks like WebP"),
    "JPEG 2000": (saved_by_pillow("JPEG2000"), "looks like JPEG 2000"),
    "PPM": (saved_by_pillow("PPM"), "is not PNG, JPEG"),
    "TGA": (saved_by_pillow("TGA"), "is not PNG, JPEG"),
    "JPEG XL": (b"\xff\x0a" + bytes(200), "is not PNG, JPEG"),
    "HDF5": (b"\x89HDF\r\n\x1a\n" + bytes(200), "looks like HDF5 (perhaps MINC)"),
    "NRRD": (b"NRRD0004\ntype: uchar\nsizes: 2 2\n\n\1\2\3\4", "looks like NRRD"),
    "MetaImage": (b"ObjectType = Image\nNDims = 2\nElementDataFile = LOCAL\n\1\2", "looks like MetaImage"),
    "PAR": (b"# === DATA DESCRIPTION FILE ===\n", "looks like Philips PAR/REC"),
    "NumPy": (b"\x93NUMPY\1\0" + bytes(100), "looks like NumPy"),
    "zip": (b"PK\3\4" + bytes(200), "is not PNG, JPEG"),
    "xz": (b"\xfd7zXZ\0" + bytes(50), "is not PNG, JPEG"),
    "PDF": (b"%PDF-1.7\n" + b"x" * 200, "is not PNG, JPEG"),
    "a page that was not found": (b"<!DOCTYPE html><html>404 Not Found</html>", "is not PNG, JPEG"),
    "a pointer of Git LFS": (
        b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"a" * 64,
        "is not PNG, JPEG",
    ),
}


@pytest.mark.parametrize("extension", [".png", ".nii.gz", ".dcm"])
@pytest.mark.parametrize("name", OTHERS)
def test_a_whole_file_of_another_format_is_not_called_damaged(tmp_path, name, extension):
    content, reason = OTHERS[name]
    (tmp_path / f"a{extension}").write_bytes(content)
    said = refusal(tmp_path / f"a{extension}")
    assert reason in said and not re.search("damaged|cut short|cannot be decoded", said)


# Every file of nibabel's test data

NIBABEL = Path(nibabel.__file__).parent
SHIPPED = sorted(path for path in NIBABEL.rglob("tests/data/**/*") if path.is_file())
REASONS = (
    r"the content is not PNG, JPEG, TIFF, DICOM or NIfTI(: it looks like [A-Z].*)?\. Convert it to PNG",
    r"a gzip file without a NIfTI volume in it\.",
    r"this DICOM file holds no pixel data( \(\w+\))?\.",
    r"a NIfTI header whose voxels are in another file\. Join the pair",
    r"the volume has [46] axes: \(.*\)\. Take one volume out of it first",
    r"\d+ of \d+ values are NaN or infinite\.",
)


def test_there_is_nibabels_test_data():
    assert len(SHIPPED) > 100


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.relative_to(NIBABEL).as_posix())
def test_nibabels_files_are_refused_with_a_reason_or_lie_where_itk_sees_them(path):
    try:
        image = read_image(path)
    except ImageError as error:
        assert re.match("|".join(REASONS), str(error).removeprefix(f"{path}: ")), error
        return
    itk = SimpleITK.ReadImage(str(path))
    if image.format == "DICOM":
        assert image.pixels.shape[:2] == itk.GetSize()[1::-1]
        assert image.spacing_mm == pytest.approx(itk.GetSpacing()[1::-1])
        return
    where = image.volume
    assert where.shape == itk.GetSize() and where.plane == "axial"
    np.testing.assert_allclose(np.linalg.norm(where.affine[:3, :3], axis=0), itk.GetSpacing(), rtol=1e-4)
    for corner in np.ndindex(2, 2, 2):
        voxel = np.array(corner) * (np.array(where.shape) - 1)
        x, y, z = itk.TransformContinuousIndexToPhysicalPoint(voxel.tolist())
        np.testing.assert_allclose(where.affine[:3] @ [*voxel, 1], (-x, -y, z), atol=1e-2)  # LPS to RAS
