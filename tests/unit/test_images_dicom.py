"""DICOM: grey levels by hand through every step of the grey-scale pipeline, colours, frames, spacing, privacy.

Real files are those that pydicom ships in its wheel; nothing is downloaded.
"""

from __future__ import annotations

import pickle
import re
import traceback
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pydicom.data
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.pixels import apply_modality_lut, apply_voi_lut
from pydicom.uid import (
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    SecondaryCaptureImageStorage,
)

from medclipsam_utils.images import ImageError, MedicalImage, read_image
from medclipsam_utils.images.dicom_header import read_header

pytestmark = pytest.mark.filterwarnings("error")

SHIPPED_FOLDERS = ("test_files", "charset_files", "palettes")
SHIPPED = sorted(
    file
    for folder in SHIPPED_FOLDERS
    for file in (Path(pydicom.data.__file__).parent / folder).rglob("*")
    if file.is_file()
)


def shipped(name: str) -> Path:
    (path,) = (file for file in SHIPPED if file.name == name)
    return path


def write(path: Path, pixels, syntax=ExplicitVRLittleEndian, **elements) -> Path:
    """A DICOM file of ``pixels`` [H, W] (or bytes, with Rows and so on among ``elements``); None drops an element."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.SOPClassUID = SecondaryCaptureImageStorage
    dataset.SOPInstanceUID = "1.2.3"
    dataset.Modality = "CT"
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    if not isinstance(pixels, bytes):
        pixels = np.asarray(pixels)
        dataset.Rows, dataset.Columns = pixels.shape[-2:]
        dataset.BitsAllocated = dataset.BitsStored = 8 * pixels.dtype.itemsize
        dataset.PixelRepresentation = int(pixels.dtype.kind == "i")
        pixels = pixels.astype(pixels.dtype.newbyteorder(">" if syntax == ExplicitVRBigEndian else "<")).tobytes()
    for keyword, value in elements.items():
        setattr(dataset, keyword, value)
    dataset.HighBit = dataset.BitsStored - 1
    dataset.PixelData = pixels + b"\0" * (len(pixels) % 2)
    dataset["PixelData"].VR = "OW" if dataset.BitsAllocated > 8 else "OB"
    for keyword in [keyword for keyword, value in elements.items() if value is None]:
        delattr(dataset, keyword)
    implicit = syntax == ImplicitVRLittleEndian
    dataset.save_as(path, implicit_vr=implicit, little_endian=syntax != ExplicitVRBigEndian, enforce_file_format=True)
    return path


def sequence_item(**elements) -> Dataset:
    item = Dataset()
    for keyword, value in elements.items():
        setattr(item, keyword, value)
    return item


def look_up_table(first: int, entries: list[int], bits: int, vr: str = "OW", big_endian: bool = False) -> Dataset:
    item = Dataset()
    item.add_new("LUTDescriptor", "SS" if first < 0 else "US", [len(entries), first, bits])
    packed = np.array(entries, ">u2" if big_endian else "<u2").tobytes()
    item.add_new("LUTData", vr, packed if vr == "OW" else entries)
    return item


def grey(image: MedicalImage) -> np.ndarray:
    assert image.pixels.dtype == np.uint8 and image.pixels.ndim == 3
    assert (image.pixels == image.pixels[..., :1]).all()
    return image.pixels[..., 0]


def levels(path: Path, **options) -> list[int]:
    (row,) = grey(read_image(path, **options)).tolist()
    return row


HOUNSFIELD = np.array([[-1000, -61, 40, 140, 1000]], np.int16)


# Window


def test_linear_window_by_hand(tmp_path):
    # PS3.3 C.11.2.1.2.1: ((v - 39.5) / 200 + 0.5) · 255, so black from -60.5 down and white from 139.5 up.
    image = read_image(write(tmp_path / "a", HOUNSFIELD, WindowCenter=40, WindowWidth=201))
    assert image.window == (40, 201)
    assert grey(image)[0].tolist() == [0, 0, 128, 255, 255]  # 255 · (0.5 / 200 + 0.5) = 128.1


@pytest.mark.parametrize(
    ("function", "expected"),
    [("LINEAR_EXACT", [0, 0, 128, 255, 255]), ("SIGMOID", [0, 30, 128, 225, 255])],
)
def test_other_window_functions_by_hand(tmp_path, function, expected):
    # LINEAR_EXACT: (40 - (40 - 100)) / 200 = 0.5. SIGMOID at -61: 255 / (1 + exp(4 · 101 / 200)) = 29.9.
    path = write(tmp_path / "a", HOUNSFIELD, WindowCenter=40, WindowWidth=200, VOILUTFunction=function)
    assert levels(path) == expected


def test_window_of_width_one_is_a_threshold(tmp_path):
    path = write(tmp_path / "a", np.array([[0, 1, 2, 3]], np.uint16), WindowCenter=2, WindowWidth=1)
    assert levels(path) == [0, 0, 255, 255]
    path = write(tmp_path / "b", np.array([[0, 1, 2, 3]], np.uint16), WindowCenter=0.5, WindowWidth=1)
    assert levels(path) == [0, 255, 255, 255]


def test_the_first_of_several_windows_counts_and_an_argument_overrules_it(tmp_path):
    path = write(tmp_path / "a", HOUNSFIELD, WindowCenter=[40, -600], WindowWidth=[201, 1500])
    assert read_image(path).window == (40, 201)
    overruled = read_image(path, window=(0, 2000))
    assert overruled.window == (0, 2000)
    assert grey(overruled)[0].tolist() == [0, 120, 133, 145, 255]  # 255 · (v + 1000) / 2000


@pytest.mark.parametrize("window", [{"WindowCenter": 40}, {"WindowCenter": 40, "WindowWidth": 0}])
def test_half_a_window_is_no_window(tmp_path, window):
    image = read_image(write(tmp_path / "a", np.array([[0, 500, 1000]], np.uint16), **window))
    assert image.window == pytest.approx((500, 990))  # the percentiles lie at 5 and 995


# Modality


def test_rescale_comes_before_the_window(tmp_path):
    stored = (HOUNSFIELD.astype(int) + 1024).astype(np.uint16)
    path = write(tmp_path / "a", stored, RescaleSlope=1, RescaleIntercept=-1024, WindowCenter=40, WindowWidth=201)
    assert levels(path) == [0, 0, 128, 255, 255]
    half = write(tmp_path / "b", stored, RescaleSlope=0.5, RescaleIntercept=-512, WindowCenter=20, WindowWidth=101)
    assert levels(half) == [0, 0, 129, 255, 255]  # 20 is at 255 · (0.5 / 100 + 0.5) = 128.8


def test_a_slope_of_zero_is_taken_for_one(tmp_path):
    path = write(tmp_path / "a", HOUNSFIELD, RescaleSlope=0, RescaleIntercept=0, WindowCenter=40, WindowWidth=201)
    assert levels(path) == [0, 0, 128, 255, 255]


def test_modality_look_up_table(tmp_path):
    # Entry k is 100 k; 5 is the first value mapped, what lies outside gets the end's entry.
    table = look_up_table(5, [0, 100, 200, 300], 16)
    stored = np.array([[0, 5, 6, 7, 8, 99]], np.uint16)
    path = write(tmp_path / "a", stored, ModalityLUTSequence=[table], WindowCenter=150, WindowWidth=301)
    assert levels(path) == [0, 0, 85, 170, 255, 255]


def test_unused_high_bits_do_not_count(tmp_path):
    """Twelve bits, signed: 0x0FFF is -1, and 0xF001 is 1, whatever lies in the upper four."""
    stored = np.array([[0x0FFF, 0xF001, 0x0000, 0x0800, 0x07FF]], np.uint16).view(np.int16)
    path = write(tmp_path / "a", stored, BitsStored=12)
    assert levels(path, window=(0, 4)) == [64, 191, 128, 0, 255]


# VOI look-up tables


@pytest.mark.parametrize("vr", ["OW", "US"])
@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian])
def test_voi_look_up_table_by_hand(tmp_path, vr, syntax):
    table = look_up_table(-2, [0, 1023, 511, 255], 10, vr, syntax == ExplicitVRBigEndian)
    stored = np.array([[-9, -2, -1, 0, 1, 9]], np.int16)
    path = write(tmp_path / "a", stored, syntax, VOILUTSequence=[table], WindowCenter=0, WindowWidth=10)
    image = read_image(path)
    assert image.window is None  # the table goes before the window
    assert grey(image)[0].tolist() == [0, 0, 255, 127, 64, 64]  # 255 · 511 / 1023 = 127.4, 255 · 255 / 1023 = 63.6
    assert levels(path, window=(0, 20)) == [13, 102, 115, 128, 140, 242]


def test_a_table_shorter_than_it_says_is_an_error(tmp_path):
    table = look_up_table(0, [0, 1, 2, 3], 8)
    table.LUTDescriptor = [8, 0, 8]
    path = write(tmp_path / "a.dcm", np.zeros((2, 2), np.uint16), VOILUTSequence=[table])
    with pytest.raises(ImageError, match=r"a\.dcm: the image's grey scale or look-up tables are inconsistent"):
        read_image(path)


# MONOCHROME1, padding, percentiles


def test_monochrome1_is_inverted(tmp_path):
    options = {"PhotometricInterpretation": "MONOCHROME1"}
    eight = write(tmp_path / "a", np.array([[0, 10, 255]], np.uint8), **options)
    assert levels(eight) == [255, 245, 0] and read_image(eight).window is None
    windowed = write(tmp_path / "b", HOUNSFIELD, WindowCenter=40, WindowWidth=201, **options)
    assert levels(windowed) == [255, 255, 127, 0, 0]
    assert levels(windowed, window=(0, 2000)) == [255, 135, 122, 110, 0]


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_padding_is_black_and_does_not_count(tmp_path, photometric):
    stored = np.array([[-2000, -2000, 0, 100, 200]], np.int16)
    path = write(tmp_path / "a", stored, PhotometricInterpretation=photometric, PixelPaddingValue=-2000)
    image = read_image(path)
    assert image.window == pytest.approx((100, 198))  # percentiles of 0, 100 and 200: 1 and 199
    expected = [0, 0, 0, 128, 255] if photometric == "MONOCHROME2" else [0, 0, 255, 127, 0]
    assert grey(image)[0].tolist() == expected
    assert levels(path, window=(0, 100_000))[:2] == [0, 0]


def test_padding_range(tmp_path):
    stored = np.array([[5, 10, 15, 20, 100]], np.uint16)
    path = write(tmp_path / "a", stored, PixelPaddingValue=20, PixelPaddingRangeLimit=10)
    assert levels(path, window=(50, 100)) == [13, 0, 0, 0, 255]


def test_padding_of_signed_pixels_marked_as_unsigned(tmp_path):
    path = write(tmp_path / "a", HOUNSFIELD)
    dataset = pydicom.dcmread(path)
    dataset.add_new("PixelPaddingValue", "US", 2**16 - 1000)
    dataset.save_as(path)
    assert levels(path, window=(-1000, 2000)) == [0, 247, 255, 255, 255]


def test_only_padding_is_black(tmp_path):
    path = write(tmp_path / "a", np.full((3, 3), 7, np.uint16), PixelPaddingValue=7)
    assert grey(read_image(path)).max() == 0


def test_eight_bits_are_kept_as_they_are(tmp_path):
    path = write(tmp_path / "a", np.array([[3, 4, 5]], np.uint8))  # an odd number of bytes, so padded
    assert levels(path) == [3, 4, 5]
    rescaled = write(tmp_path / "b", np.array([[3, 4, 5]], np.uint8), RescaleSlope=2, RescaleIntercept=0)
    assert levels(rescaled) == [0, 128, 255]


def test_float_pixels(tmp_path):
    path = write(tmp_path / "a", np.zeros((1, 3), np.float32))
    dataset = pydicom.dcmread(path)
    del dataset.PixelData, dataset.PixelRepresentation, dataset.BitsStored, dataset.HighBit
    dataset.FloatPixelData = np.array([0, 0.25, 1], "<f4").tobytes()
    dataset.save_as(path)
    assert levels(path, window=(0.5, 1)) == [0, 64, 255]
    dataset.FloatPixelData = np.array([0, np.nan, 1], "<f4").tobytes()
    dataset.save_as(path)
    with pytest.raises(ImageError, match="1 of 3 values are NaN or infinite"):
        read_image(path)


def test_values_that_overflow_are_an_error(tmp_path):
    path = write(tmp_path / "a.dcm", HOUNSFIELD, RescaleSlope=1e308, RescaleIntercept=0)
    with pytest.raises(ImageError, match=r"grey scale .* inconsistent \(OverflowError\)"):
        read_image(path)


@pytest.mark.parametrize("name", ["MR_small.dcm", "693_J2KI.dcm", "examples_overlay.dcm", "3023"])
def test_agrees_with_pydicoms_own_pipeline(name):
    dataset = pydicom.dcmread(shipped(name))
    bits, slope = 2**dataset.BitsStored, float(dataset.get("RescaleSlope", 1))
    black = -slope * bits / 2 * dataset.PixelRepresentation + float(dataset.get("RescaleIntercept", 0))
    windowed = apply_voi_lut(apply_modality_lut(dataset.pixel_array, dataset), dataset)  # over all stored values
    expected = 255 * (windowed - black) / (slope * (bits - 1))
    expected[dataset.pixel_array == dataset.get("PixelPaddingValue")] = 0
    np.testing.assert_allclose(grey(read_image(shipped(name))), expected, atol=0.51)


# Colours


def test_planar_configuration_and_odd_sizes(tmp_path):
    colours = np.arange(27, dtype=np.uint8).reshape(3, 3, 3) * 9
    header = {"Rows": 3, "Columns": 3, "BitsAllocated": 8, "BitsStored": 8, "PixelRepresentation": 0}
    header |= {"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB"}
    interleaved = write(tmp_path / "a", colours.tobytes(), PlanarConfiguration=0, **header)
    planes = write(tmp_path / "b", np.moveaxis(colours, 2, 0).tobytes(), PlanarConfiguration=1, **header)
    for path in (interleaved, planes):
        np.testing.assert_array_equal(read_image(path).pixels, colours)
    with pytest.raises(ImageError, match=r"a: this is a colour image, which has no window\. Leave window out\."):
        read_image(interleaved, window=(40, 400))


def test_colours_of_other_depths_span_the_full_range(tmp_path):
    header = {"Rows": 1, "Columns": 1, "BitsAllocated": 16, "PixelRepresentation": 0, "PlanarConfiguration": 0}
    header |= {"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB"}
    for bits, top in ((16, 65535), (12, 4095), (8, 255)):
        stored = np.array([0, top // 5, top], "<u2").tobytes()
        assert read_image(write(tmp_path / "a", stored, BitsStored=bits, **header)).pixels.tolist() == [[[0, 51, 255]]]


BARS = [(255, 0, 0), (255, 128, 128), (0, 255, 0), (128, 255, 128), (0, 0, 255), (128, 128, 255)]
BARS += [(0, 0, 0), (64, 64, 64), (192, 192, 192), (255, 255, 255)]
BAR_FILES = [file for file in SHIPPED if re.match(r"SC_(rgb|ybr)_", file.name)]


def test_the_same_colour_bars_in_every_encoding():
    """RGB and YBR, subsampled, in planes, big endian, RLE, JPEG, 8, 16 and 32 bits: ten bars of known colours."""
    read = 0
    for path in BAR_FILES:
        try:
            image = read_image(path)
        except ImageError as error:
            assert "without a decoder here" in str(error)
            continue
        if image.pixels.shape != (100, 100, 3) or path.name.endswith("2frame.dcm"):
            continue
        lossy = re.search(r"jpeg|jls|\+cy|ybr", path.name)
        np.testing.assert_allclose(image.pixels[5::10, 50], BARS, atol=6 if lossy else 0, err_msg=path.name)
        read += 1
    assert read >= 13


def test_every_encoding_of_the_same_slice_gives_the_same_picture():
    reference = read_image(shipped("MR_small.dcm"))
    for name in ("RLE", "bigendian", "expb", "implicit", "jp2klossless", "padded"):
        image = read_image(shipped(f"MR_small_{name}.dcm"))
        np.testing.assert_array_equal(image.pixels, reference.pixels, err_msg=name)
        assert (image.spacing_mm, image.window, image.modality) == ((0.3125, 0.3125), (600, 1600), "MR")


@pytest.mark.parametrize(("bits", "dtype", "top"), [(8, "u1", 255), (8, "<u2", 255), (16, "<u2", 65535)])
def test_palette_colours_in_eight_and_sixteen_bits(tmp_path, bits, dtype, top):
    """Some files mark their entries as 8 bits and store them in 16."""
    palette = {}
    for colour, entries in {"Red": [0, top], "Green": [top, top // 5], "Blue": [0, 0]}.items():
        palette[f"{colour}PaletteColorLookupTableDescriptor"] = [2, 0, bits]
        palette[f"{colour}PaletteColorLookupTableData"] = np.array(entries, dtype).tobytes()
    stored = np.array([[0, 1]], np.uint8)
    path = write(tmp_path / "a", stored, PhotometricInterpretation="PALETTE COLOR", **palette)
    assert read_image(path).pixels.tolist() == [[[0, 255, 0], [255, 51, 0]]]


def test_four_samples_are_refused(tmp_path):
    header = {"Rows": 1, "Columns": 2, "BitsAllocated": 8, "BitsStored": 8, "PixelRepresentation": 0}
    header |= {"SamplesPerPixel": 4, "PhotometricInterpretation": "ARGB", "PlanarConfiguration": 0}
    with pytest.raises(ImageError, match=r"a\.dcm: "):
        read_image(write(tmp_path / "a.dcm", bytes(8), **header))


# Frames


def test_frames(tmp_path):
    stored = np.arange(5, dtype=np.uint8)[:, None, None] * np.ones((5, 2, 3), np.uint8)
    path = write(tmp_path / "a.dcm", stored, NumberOfFrames=5)
    middle = read_image(path)
    assert (middle.frame, middle.n_frames) == (2, 5) and (grey(middle) == 2).all()
    assert "frame 2 of 5" in repr(middle)
    for frame in range(5):
        assert (grey(read_image(path, frame=frame)) == frame).all()
    for frame in (-1, 5):
        with pytest.raises(ImageError, match=rf"a\.dcm: frame {frame} does not exist\. Choose 0 to 4\."):
            read_image(path, frame=frame)


def test_a_frame_of_a_compressed_film():
    image = read_image(shipped("examples_ybr_color.dcm"), frame=29)
    assert (image.frame, image.n_frames, image.modality) == (29, 30, "US")
    assert (image.pixels != read_image(shipped("examples_ybr_color.dcm"), frame=0).pixels).any()


def test_each_frame_has_its_own_window_rescale_and_spacing(tmp_path):
    def frame_item(intercept, spacing, **window):
        item = sequence_item(
            PixelValueTransformationSequence=[sequence_item(RescaleSlope=1, RescaleIntercept=intercept)],
            PixelMeasuresSequence=[sequence_item(PixelSpacing=spacing)],
        )
        if window:
            item.FrameVOILUTSequence = [sequence_item(**window)]
        return item

    path = write(
        tmp_path / "a",
        np.array([[[100]], [[100]]], np.uint16),
        NumberOfFrames=2,
        WindowCenter=7,
        WindowWidth=7,
        PixelSpacing=[9, 9],
        PerFrameFunctionalGroupsSequence=[
            frame_item(0, [1, 2], WindowCenter=100, WindowWidth=101),
            frame_item(-50, [3, 4]),
        ],
        SharedFunctionalGroupsSequence=[
            sequence_item(FrameVOILUTSequence=[sequence_item(WindowCenter=50, WindowWidth=1)])
        ],
    )
    first, second = read_image(path, frame=0), read_image(path, frame=1)
    assert (first.window, first.spacing_mm, grey(first).item()) == ((100, 101), (1, 2), 129)
    assert (second.window, second.spacing_mm, grey(second).item()) == ((50, 1), (3, 4), 255)


# Spacing and modality


def test_spacing_is_between_rows_then_between_columns(tmp_path):
    pixels = np.zeros((2, 3), np.uint8)
    assert read_image(write(tmp_path / "a", pixels, PixelSpacing=[0.5, 0.25])).spacing_mm == (0.5, 0.25)
    detector = {"ImagerPixelSpacing": [0.2, 0.1], "NominalScannedPixelSpacing": [7, 8]}
    assert read_image(write(tmp_path / "b", pixels, **detector)).spacing_mm == (0.2, 0.1)
    both = write(tmp_path / "c", pixels, PixelSpacing=[0.5, 0.25], **detector)
    assert read_image(both).spacing_mm == (0.5, 0.25)
    assert read_image(write(tmp_path / "d", pixels, NominalScannedPixelSpacing=[7, 8])).spacing_mm == (7, 8)
    for useless in ([0, 0], [-1, 1], [1], None):
        assert read_image(write(tmp_path / "e", pixels, PixelSpacing=useless)).spacing_mm is None


def region(dx=0.03, dy=0.02, space=1, unit=3):
    return sequence_item(
        RegionSpatialFormat=space,
        PhysicalUnitsXDirection=unit,
        PhysicalUnitsYDirection=unit,
        PhysicalDeltaX=dx,
        PhysicalDeltaY=dy,
    )


@pytest.mark.parametrize(
    ("regions", "expected", "note"),
    [
        ([region()], (0.2, 0.3), ""),  # centimetres, and y runs along the rows
        ([region(), region(dy=-0.02)], (0.2, 0.3), ""),
        ([region(), region(dx=9, space=2), region(dx=9, unit=4)], (0.2, 0.3), ""),  # an M-mode trace, and seconds
        ([region(), region(dx=0.04)], None, "have several"),  # two scales in one picture
        ([region(unit=4)], None, ""),
        ([region(dx=0)], None, "PhysicalDeltaY"),
        ([], None, ""),
    ],
)
def test_spacing_of_ultrasound_regions(tmp_path, regions, expected, note):
    path = write(tmp_path / "a", np.zeros((2, 3), np.uint8), Modality="US", SequenceOfUltrasoundRegions=regions)
    image = read_image(path)
    assert image.spacing_mm == (expected and pytest.approx(expected))
    assert note in " ".join(image.notes) and bool(note) == bool(image.notes)


def test_modality_is_a_code_or_none(tmp_path):
    for written, expected in {"DX": "DX", "": None, "Doe^Jane": None, "12": None}.items():
        path = write(tmp_path / "a", np.zeros((2, 2), np.uint8))
        path.write_bytes(path.read_bytes())
        dataset = pydicom.dcmread(path)
        dataset["Modality"]._value = written
        dataset.save_as(path)
        assert read_image(path).modality == expected


# Real files


@pytest.mark.parametrize(
    ("name", "shape", "modality", "spacing", "window"),
    [
        ("CT_small.dcm", (128, 128), "CT", (0.661468, 0.661468), None),
        ("J2K_pixelrep_mismatch.dcm", (512, 512), "CT", (0.431, 0.431), (40, 100)),
        ("6924", (16, 16), "CT", (0.5455, 0.5968), (50, 500)),
        ("6154", (16, 16), "CR", (0.1, 0.1), (1600, 2800)),
        ("examples_overlay.dcm", (300, 484), "MR", (0.7231, 0.7231), (450, 790)),
        ("examples_palette.dcm", (350, 800), "US", (0.2623, 0.2623), None),
        ("liver_1frame.dcm", (512, 512), "SEG", (0.8105, 0.8105), (0.5, 1)),
    ],
)
def test_known_files(name, shape, modality, spacing, window):
    image = read_image(shipped(name))
    assert image.pixels.shape == (*shape, 3) and image.modality == modality
    assert image.spacing_mm == pytest.approx(spacing, abs=1e-4)
    assert window is None or image.window == window


def test_bone_is_bright_and_air_is_black_in_a_real_ct():
    shown = grey(read_image(shipped("J2K_pixelrep_mismatch.dcm")))
    assert (shown[:40] == 0).mean() > 0.95 and 0.1 < (shown == 255).mean() < 0.3
    assert 60 < np.median(shown[330:400, 180:320]) < 160  # the cerebellum


REASONS = (
    "the content is not PNG, JPEG, TIFF, DICOM or NIfTI",
    "a gzip file without a NIfTI volume in it",
    "this DICOM file holds no pixel data",
    "the DICOM header lacks",
    "this DICOM header cannot be read",
    "the pixel data are cut short",
    "without a decoder here",
    "cannot be decoded",
)


def test_all_of_pydicoms_files_are_read_or_refused_with_reasons(caplog, recwarn, capfd):
    outcomes = Counter()
    for path in SHIPPED:
        try:
            image = read_image(path)
        except ImageError as error:
            message = str(error)
            assert message.startswith(f"{path}: ") and message.endswith(".") and "\n" not in message
            (reason,) = (reason for reason in REASONS if reason in message)
            outcomes[reason] += 1
        else:
            assert image.format == "DICOM" and image.path == path
            assert image.pixels.dtype == np.uint8 and image.pixels.shape[2] == 3
            assert image.spacing_mm is None or min(image.spacing_mm) > 0
            assert image.pixels.max() > 0
            outcomes["read"] += 1
    assert len(SHIPPED) >= 100 and outcomes["read"] >= 90
    assert outcomes["without a decoder here"] + outcomes["cannot be decoded"] <= 12
    assert not caplog.records and not recwarn.list and capfd.readouterr() == ("", "")


@pytest.mark.parametrize("name", ["MR_small.dcm", "MR_small_implicit.dcm", "MR_small_bigendian.dcm"])
def test_old_files_without_preamble_are_recognised(tmp_path, name):
    """With and without the file meta: then pydicom guesses the encoding."""
    content = shipped(name).read_bytes()
    meta_length = int.from_bytes(content[140:144], "little")
    expected = read_image(shipped(name)).pixels
    for number, headless in enumerate((content[132:], content[144 + meta_length :])):
        path = tmp_path / f"{number}"
        path.write_bytes(headless)
        np.testing.assert_array_equal(read_image(path).pixels, expected)


# Privacy


IDENTIFYING = [
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "OtherPatientIDs",
    "OtherPatientNames",
    "AccessionNumber",
]
IDENTIFYING += ["InstitutionName", "ReferringPhysicianName", "OperatorsName", "StudyDate", "ContentDate", "StudyID"]
IDENTIFYING += ["StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "DeviceSerialNumber", "StationName"]


def identities(path: Path) -> set[str]:
    try:
        dataset = pydicom.dcmread(path, force=True, stop_before_pixels=True)
        found = {str(dataset.get(keyword) or "") for keyword in IDENTIFYING}
    except Exception:
        return set()
    return {part for text in found for part in {text, *text.split("^")} if len(part) > 3}


@pytest.mark.filterwarnings("ignore")
def test_nothing_that_identifies_a_patient_leaves_the_reader(tmp_path, caplog):
    """Not as an attribute, nor in a pickle, nor in what is printed; the file name is the caller's own."""
    searched = 0
    path = tmp_path / "picture"
    for original in SHIPPED:
        path.write_bytes(original.read_bytes())
        names = identities(original)
        caplog.clear()
        try:
            image = read_image(path)
        except ImageError as error:
            said = "".join(traceback.format_exception(error)).encode() + pickle.dumps(error)
            assert error.__cause__ is None and error.__suppress_context__ == (error.__context__ is not None)
        else:
            said = repr(image).encode() + pickle.dumps(replace(image, pixels=None)) + str(vars(image)).encode()
        said += caplog.text.encode()
        for name in names:
            assert name.encode() not in said and name.encode("utf-16-le") not in said, (original.name, name)
        searched += bool(names)
    assert searched > 100


def test_what_identifies_a_patient_is_not_even_loaded(tmp_path):
    elements = {keyword: "19990101" if keyword.endswith("Date") else "1.2.3" for keyword in IDENTIFYING}
    path = write(tmp_path / "a", np.zeros((2, 2), np.uint8), **elements)
    assert set(IDENTIFYING) <= set(pydicom.dcmread(path).dir())
    loaded = {element.keyword for element in read_header(path)}
    assert "PixelData" in loaded and not loaded & set(IDENTIFYING)


def test_errors_do_not_quote_the_header(tmp_path):
    """pydicom's own messages quote the element that they stumble over."""
    path = write(tmp_path / "a.dcm", np.zeros((2, 2), np.uint8), NumberOfFrames=1, PatientName="Doe^Jane")
    content = path.read_bytes()
    path.write_bytes(content.replace(b"IS\x02\x001 ", b"IS\x08\x00Doe^Jane"))
    with pytest.warns(UserWarning, match=r"Doe\^Jane"):
        pydicom.dcmread(path).get("NumberOfFrames")
    with pytest.raises(ImageError, match="this DICOM header cannot be read") as caught:
        read_image(path)
    assert "Doe" not in str(caught.value)
