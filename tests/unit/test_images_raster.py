"""PNG, JPEG and TIFF: every depth and colour kind becomes uint8 [H, W, 3], with grey levels computed by hand."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
import tifffile
from PIL import Image

from medclipsam_utils.images import ImageError, MedicalImage, read_image

pytestmark = pytest.mark.filterwarnings("error")

GREY = np.array([[0, 50, 100], [150, 200, 255]], np.uint8)
RGB = np.dstack([GREY, 255 - GREY, GREY // 2])


def png(path, rows: list[bytes], width: int, bits: int, colour_type: int, **chunks: bytes):
    """A PNG file written by hand, because Pillow does not write all bit depths; ``chunks`` go before the pixels."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = struct.pack(">IIBBBBB", width, len(rows), bits, colour_type, 0, 0, 0)
    before = b"".join(chunk(name.encode(), content) for name, content in chunks.items())
    pixels = zlib.compress(b"".join(b"\0" + row for row in rows))
    end = chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + before + end)
    return path


def save(path, values: np.ndarray, mode: str | None = None, **options):
    image = Image.fromarray(values)
    (image.convert(mode) if mode else image).save(path, **options)
    return path


def grey(image: MedicalImage) -> np.ndarray:
    assert image.pixels.dtype == np.uint8 and image.pixels.flags.writeable
    assert (image.pixels == image.pixels[..., :1]).all()
    return image.pixels[..., 0]


# Depths


@pytest.mark.parametrize("extension", ["png", "tif"])
def test_eight_bits_are_kept_as_they_are(tmp_path, extension):
    image = read_image(save(tmp_path / f"a.{extension}", GREY))
    np.testing.assert_array_equal(grey(image), GREY)
    assert image.format == {"png": "PNG", "tif": "TIFF"}[extension]
    assert (image.window, image.spacing_mm, image.modality, image.volume) == (None, None, None, None)
    assert (image.frame, image.n_frames) == (0, 1)
    image = read_image(save(tmp_path / f"b.{extension}", RGB))
    np.testing.assert_array_equal(image.pixels, RGB)


def test_jpeg_is_read_and_the_extension_does_not_matter(tmp_path):
    flat = np.full((16, 16, 3), (200, 100, 50), np.uint8)
    image = read_image(save(tmp_path / "photo.png", flat, format="JPEG", quality=95))
    assert image.format == "JPEG"
    np.testing.assert_allclose(image.pixels, flat, atol=3)
    np.testing.assert_array_equal(
        grey(read_image(save(tmp_path / "a.dcm", GREY.repeat(8, 0).repeat(8, 1), format="PNG")))[::8, ::8], GREY
    )


def test_a_cmyk_jpeg_shows_its_colours_and_not_their_negative(tmp_path):
    flat = np.full((16, 16, 3), (250, 100, 30), np.uint8)
    image = read_image(save(tmp_path / "a.jpg", flat, "CMYK", quality=95))
    np.testing.assert_allclose(image.pixels, flat, atol=4)


@pytest.mark.parametrize(
    ("bits", "row", "width", "expected"),
    [
        (1, bytes([0b01000000]), 2, [0, 255]),
        (2, bytes([0b00011011]), 4, [0, 85, 170, 255]),
        (4, bytes([0x0F, 0x80]), 4, [0, 255, 136, 0]),
        (8, bytes([7, 255]), 2, [7, 255]),
    ],
)
def test_grey_png_of_few_bits_spans_black_to_white(tmp_path, bits, row, width, expected):
    assert grey(read_image(png(tmp_path / "a.png", [row], width, bits, 0)))[0].tolist() == expected


def test_one_bit_tiff(tmp_path):
    np.testing.assert_array_equal(grey(read_image(save(tmp_path / "a.tif", GREY > 100))), 255 * (GREY > 100))


def test_sixteen_bits_are_stretched_between_percentiles(tmp_path):
    # 1001 values 0, 10, ... 10000: 0.5 % below 50 and 0.5 % above 9950. 5000 is the middle, 127.5, rounded to even.
    values = np.arange(0, 10_001, 10, dtype=np.uint16)[None]
    image = read_image(save(tmp_path / "a.png", values))
    assert image.window == pytest.approx((5000, 9900))
    shown = grey(image)[0]
    assert (shown[:7] == 0).all() and shown[7] == 1  # 60 and 70 are 10 and 20 above 50, of 9900 / 255 = 38.8 a level
    assert shown[500] == 128
    assert shown[993] == 254 and (shown[994:] == 255).all()  # 9930 is 20 below 9950, 9940 is 10 below


def test_a_small_structure_on_an_even_background_stays_visible(tmp_path):
    values = np.full((100, 100), 3000, np.uint16)
    values[50, 50] = 3100
    image = read_image(save(tmp_path / "a.png", values))
    assert image.window == (3050, 100)
    assert grey(image)[50, 50] == 255 and grey(image).sum() == 255


@pytest.mark.parametrize("value", [0.0, 7.5, -3e4, 1e20])
def test_a_constant_picture_is_black(tmp_path, value):
    tifffile.imwrite(tmp_path / "a.tif", np.full((4, 5), value, np.float32))
    image = read_image(tmp_path / "a.tif")
    assert grey(image).max() == 0 and image.window[1] == 1


def test_the_largest_floats_are_stretched_too(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.array([[-1.7e308, -0.85e308, 0.0]]))
    assert grey(read_image(tmp_path / "a.tif")).tolist() == [[0, 128, 255]]


def test_a_window_maps_its_lower_end_to_black_and_its_upper_end_to_white(tmp_path):
    path = save(tmp_path / "a.png", np.array([[900, 1000, 1100, 1200, 1300]], np.uint16))
    image = read_image(path, window=(1100, 200))
    assert image.window == (1100, 200)
    assert grey(image)[0].tolist() == [0, 0, 128, 255, 255]
    path = save(tmp_path / "b.png", GREY)
    assert grey(read_image(path, window=(100, 100)))[0].tolist() == [0, 0, 128]


@pytest.mark.parametrize("dtype", ["i1", "i2", "i4", "i8", "f2", "f4", "f8", ">i2", ">i4", ">f4"])
def test_signed_and_float_tiff_give_the_same_picture(tmp_path, dtype):
    values = np.array([[-100, -50, 0], [50, 100, 127]], dtype)
    tifffile.imwrite(tmp_path / "a.tif", values, byteorder=">" if dtype[0] == ">" else "<")
    assert grey(read_image(tmp_path / "a.tif", window=(0, 200))).tolist() == [[0, 64, 128], [191, 255, 255]]


@pytest.mark.parametrize("dtype", ["u2", "u4", "u8", ">u2", ">u4"])
def test_unsigned_tiff_uses_its_whole_range(tmp_path, dtype):
    top = np.iinfo(dtype).max
    values = np.array([[0, top // 4, top]], dtype)
    tifffile.imwrite(tmp_path / "a.tif", values, byteorder=">" if dtype[0] == ">" else "<")
    assert grey(read_image(tmp_path / "a.tif", window=(top / 2, top))).tolist() == [[0, 64, 255]]


@pytest.mark.parametrize("dtype", ["u1", "u2", "f4", "u4"])
def test_white_is_zero_is_inverted_once(tmp_path, dtype):
    tifffile.imwrite(tmp_path / "a.tif", GREY.astype(dtype), photometric="miniswhite")
    shown = grey(read_image(tmp_path / "a.tif"))
    np.testing.assert_allclose(shown, 255 - GREY.astype(int), atol=1)


# Colour and transparency


def test_sixteen_bit_colours_keep_their_full_range(tmp_path):
    row = struct.pack(">6H", 0, 32768, 65535, 256, 255, 512)
    assert read_image(png(tmp_path / "a.png", [row], 2, 16, 2)).pixels.tolist() == [[[0, 128, 255], [1, 0, 2]]]
    for planar in ("contig", "separate"):
        wide = RGB.astype(np.uint16) * 257
        stored = wide if planar == "contig" else np.moveaxis(wide, 2, 0)
        tifffile.imwrite(tmp_path / f"{planar}.tif", stored, photometric="rgb", planarconfig=planar)
        np.testing.assert_array_equal(read_image(tmp_path / f"{planar}.tif").pixels, RGB)
    tifffile.imwrite(tmp_path / "32.tif", RGB.astype(np.uint32) << 24, photometric="rgb")
    np.testing.assert_array_equal(read_image(tmp_path / "32.tif").pixels, RGB)


def test_eight_bit_colours_in_separate_planes(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.moveaxis(RGB, 2, 0), photometric="rgb", planarconfig="separate")
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif").pixels, RGB)


def test_float_colours_are_stretched_by_one_window_for_all_channels(tmp_path):
    # So few values that the percentiles lie close to the extremes, -1 and 1.
    values = np.array([[[-1, 0, 1]], [[1, 0, -1]]], np.float32)
    tifffile.imwrite(tmp_path / "a.tif", values, photometric="rgb")
    np.testing.assert_allclose(read_image(tmp_path / "a.tif").pixels, [[[0, 128, 255]], [[255, 128, 0]]], atol=1)


def test_palette_colours(tmp_path):
    path = png(tmp_path / "a.png", [bytes([1, 0])], 2, 8, 3, PLTE=bytes([255, 0, 0, 0, 255, 9]))
    assert read_image(path).pixels.tolist() == [[[0, 255, 9], [255, 0, 0]]]
    save(tmp_path / "b.tif", RGB, "P", format="TIFF")
    assert read_image(tmp_path / "b.tif").pixels.shape == (2, 3, 3)


@pytest.mark.parametrize("extension", ["png", "tif"])
def test_transparency_is_composited_on_black(tmp_path, extension):
    rgba = np.array([[[200, 100, 50, 255], [200, 100, 50, 0], [200, 100, 50, 128]]], np.uint8)
    image = read_image(save(tmp_path / f"a.{extension}", rgba))
    assert image.pixels.tolist() == [[[200, 100, 50], [0, 0, 0], [100, 50, 25]]]  # 200 · 128 / 255 = 100.4
    grey_alpha = read_image(save(tmp_path / f"b.{extension}", rgba, "LA"))
    assert grey(grey_alpha)[0].tolist() == [124, 0, 62]  # 0.299 · 200 + 0.587 · 100 + 0.114 · 50 = 124.2


def test_transparent_palette_entry_grey_value_and_colour(tmp_path):
    palette = png(tmp_path / "p.png", [bytes([0, 1])], 2, 8, 3, PLTE=bytes([255, 0, 0, 0, 255, 0]), tRNS=bytes([128]))
    assert read_image(palette).pixels.tolist() == [[[128, 0, 0], [0, 255, 0]]]
    level = png(tmp_path / "l.png", [bytes([100, 200])], 2, 8, 0, tRNS=struct.pack(">H", 200))
    assert grey(read_image(level))[0].tolist() == [100, 0]
    colour = png(tmp_path / "c.png", [bytes([9, 8, 7, 1, 2, 3])], 2, 8, 2, tRNS=struct.pack(">3H", 9, 8, 7))
    assert read_image(colour).pixels.tolist() == [[[0, 0, 0], [1, 2, 3]]]


def test_colours_have_no_window(tmp_path):
    for path in (save(tmp_path / "a.png", RGB), save(tmp_path / "b.png", GREY, "LA")):
        with pytest.raises(ImageError, match=rf"{path.name}: this is a colour image.*\. Leave window out\."):
            read_image(path, window=(100, 50))


# Geometry


UPRIGHT = {  # EXIF orientation: what the stored rows and columns must go through to be upright
    1: lambda stored: stored,
    2: np.fliplr,
    3: lambda stored: np.rot90(stored, 2),
    4: np.flipud,
    5: np.transpose,
    6: lambda stored: np.rot90(stored, -1),
    7: lambda stored: np.rot90(stored, 2).T,
    8: np.rot90,
}


@pytest.mark.parametrize("orientation", UPRIGHT)
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "TIFF deflate", "TIFF 16", "JPEG"])
def test_exif_orientation_is_honoured(tmp_path, kind, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = GREY.repeat(16, 0).repeat(16, 1)
    options = {"compression": "tiff_adobe_deflate"} if kind == "TIFF deflate" else {}
    wide = kind == "TIFF 16"
    save(tmp_path / "a", stored.astype(np.uint16) if wide else stored, format=kind.split()[0], exif=exif, **options)
    image = read_image(tmp_path / "a", window=(127.5, 255) if wide else None)
    np.testing.assert_allclose(grey(image)[8::16, 8::16], UPRIGHT[orientation](GREY), atol=2)


def test_dots_per_inch_are_not_taken_for_the_spacing(tmp_path):
    for extension in ("png", "jpg", "tif"):
        assert read_image(save(tmp_path / f"a.{extension}", GREY, dpi=(300, 300))).spacing_mm is None


# Pages and frames


def test_tiff_pages(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.stack([GREY, GREY // 2, GREY // 5]), photometric="minisblack")
    first, last = read_image(tmp_path / "a.tif"), read_image(tmp_path / "a.tif", frame=np.int64(2))
    np.testing.assert_array_equal(grey(first), GREY)
    np.testing.assert_array_equal(grey(last), GREY // 5)
    assert (first.frame, last.frame, last.n_frames) == (0, 2, 3)
    assert "frame 2 of 3" in repr(last)
    for frame in (3, -1):
        with pytest.raises(ImageError, match=rf"a\.tif: frame {frame} does not exist\. Choose 0 to 2\."):
            read_image(tmp_path / "a.tif", frame=frame)


def test_pages_that_only_tifffile_reads(tmp_path):
    pages = np.stack([GREY, GREY // 2]).astype(np.int64)
    tifffile.imwrite(tmp_path / "a.tif", pages, photometric="minisblack", bigtiff=True)
    assert grey(read_image(tmp_path / "a.tif", frame=1, window=(50, 100))).tolist() == [[0, 64, 128], [191, 255, 255]]
    with pytest.raises(ImageError, match="frame 2 does not exist"):
        read_image(tmp_path / "a.tif", frame=2)


def test_an_animated_png_shows_its_first_frame(tmp_path):
    save(tmp_path / "a.png", GREY, save_all=True, append_images=[Image.fromarray(255 - GREY)])
    np.testing.assert_array_equal(grey(read_image(tmp_path / "a.png")), GREY)
    np.testing.assert_array_equal(grey(read_image(tmp_path / "a.png", frame=1)), 255 - GREY)


def test_the_file_can_be_replaced_after_reading(tmp_path):
    """What was read is a copy: neither an open file nor a memory map is left behind."""
    for path in (save(tmp_path / "a.png", GREY), save(tmp_path / "b.tif", GREY)):
        image = read_image(path)
        path.write_bytes(b"\xff" * path.stat().st_size)
        np.testing.assert_array_equal(grey(image), GREY)


def test_a_notebook_shows_the_picture(tmp_path):
    image = read_image(save(tmp_path / "a.png", RGB))
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(image._repr_png_()))), RGB)
    assert repr(image) == "MedicalImage(a.png: PNG, 2 × 3 pixels, spacing unknown)"
