"""Rare, odd and hostile DICOM files: the right picture, or an error or a note that names the element at fault.

Where the standard decides, only its picture passes. Sections are those of DICOM PS3.3 unless another part is named.
"""

from __future__ import annotations

import io
import json
import re
import struct
import subprocess
import sys
import warnings
import zlib
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from PIL import Image
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.pixels import get_encoder
from pydicom.tag import Tag
from pydicom.uid import UID
from test_images_dicom import grey, levels

from medclipsam_utils.images import ImageError, read_image, read_mask

pytestmark = pytest.mark.filterwarnings("error")

IMPLICIT, EXPLICIT, DEFLATED, BIG = (UID(f"1.2.840.10008.1.2{end}") for end in ("", ".1", ".1.99", ".2"))
JPEG, JPEG_LS, JPEG_2000, MPEG_4 = (UID(f"1.2.840.10008.1.2.4.{end}") for end in (50, 80, 90, 102))
RLE = UID("1.2.840.10008.1.2.5")
STORAGE = "1.2.840.10008.5.1.4.1.1."
SHOWN = [0, 64, 128, 192, 255]
GREY = np.array([SHOWN], np.uint8)
PLAIN = {"WindowCenter": 128, "WindowWidth": 256}  # maps 0 … 255 to themselves
STORED = np.array([[24, 964, 1064, 1164, 2024]], np.uint16)
HOUNSFIELD = {"RescaleSlope": 1, "RescaleIntercept": -1024, "WindowCenter": 40, "WindowWidth": 401}  # shows STORED
FRAMES = np.stack([GREY // 4, GREY // 2, GREY])


def item(**elements) -> Dataset:
    return fill(Dataset(), elements)


def fill(dataset: Dataset, elements: dict) -> Dataset:
    """Set elements: None drops one; bytes, or a VR and bytes, are written as they are, which pydicom would refuse."""
    for keyword, value in elements.items():
        if value is None:
            dataset.pop(keyword, None)
        elif isinstance(value, (bytes, tuple)):
            vr, content = value if isinstance(value, tuple) else (dictionary_VR(keyword), value)
            content += (b" " if vr in ("CS", "DS", "IS", "UT") else b"\0") * (len(content) % 2)
            dataset[Tag(keyword)] = RawDataElement(Tag(keyword), vr, len(content), content, 0, False, True)
        else:
            setattr(dataset, keyword, value)
    return dataset


def write(path: Path, pixels, syntax=EXPLICIT, compressed: list[bytes] | None = None, **elements) -> Path:
    """A DICOM file of ``pixels``, [H, W] or [frames, H, W], with an axis of 3 at the end for colours; bool as bits."""
    pixels, dataset = np.asarray(pixels), Dataset()
    colour = pixels.shape[-1] == 3 and re.search("RGB|YBR", str(elements.get("PhotometricInterpretation")))
    shape, kind, bits = pixels.shape[: -1 if colour else None], pixels.dtype.kind, 8 * pixels.dtype.itemsize
    dataset.SOPClassUID, dataset.SOPInstanceUID, dataset.Modality = STORAGE + "7", "1.2.3", "CT"
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = (3, "RGB") if colour else (1, "MONOCHROME2")
    dataset.PlanarConfiguration, dataset.BitsAllocated = 0, 1 if kind == "b" else bits
    (dataset.Rows, dataset.Columns), n_frames = shape[-2:], shape[:-2]
    if n_frames:
        dataset.NumberOfFrames = n_frames[0]
    if kind == "f":
        setattr(dataset, f"{'Double' * (bits == 64)}FloatPixelData", pixels.tobytes())
    else:
        dataset.BitsStored = elements.get("BitsStored") or dataset.BitsAllocated
        dataset.HighBit, dataset.PixelRepresentation = dataset.BitsStored - 1, int(kind == "i")
        native = pixels.astype(pixels.dtype.newbyteorder(">" if syntax == BIG else "<")).tobytes()
        packed = np.packbits(pixels.ravel(), bitorder="little").tobytes() if kind == "b" else native
        fill(dataset, {"PixelData": ("OW" if bits > 8 else "OB", packed)})
    if compressed:
        dataset.PixelData = encapsulate(compressed)
        dataset["PixelData"].VR, dataset["PixelData"].is_undefined_length = "OB", True
    fill(dataset, elements)
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        little, implicit = syntax != BIG, syntax == IMPLICIT
        dataset.save_as(path, enforce_file_format=True, implicit_vr=implicit, little_endian=little)
    return path


def refusal(path: Path, reader=read_image, **options) -> str:
    with pytest.raises(ImageError) as caught:
        reader(path, **options)
    message = str(caught.value)
    assert message.startswith(f"{path}: ") and message.endswith(".")
    return message.removeprefix(f"{path}: ")


def assert_refused(path: Path, keyword: str, reader=read_image, **options) -> None:
    """The error names the element by keyword and tag."""
    assert f"{keyword} {Tag(keyword)}" in refusal(path, reader, **options)


def rle(pixels: np.ndarray) -> bytes:
    header = {"rows": pixels.shape[0], "columns": pixels.shape[1], "samples_per_pixel": 1, "number_of_frames": 1}
    header |= {"bits_allocated": 8, "bits_stored": 8, "pixel_representation": 0}
    return get_encoder(RLE).encode(pixels.tobytes(), photometric_interpretation="MONOCHROME2", **header)


def jpeg(pixels: np.ndarray, **options) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=98, subsampling=0, **options)
    return buffer.getvalue()


# A stack taken for one image


@pytest.mark.parametrize("said", [None, b"", b"1", b"0"])
@pytest.mark.parametrize("pixels", [FRAMES, FRAMES > 100, FRAMES.astype(np.float32)], ids=["bytes", "bits", "floats"])
def test_three_frames_and_no_number_of_them(tmp_path, pixels, said):
    """PS3.5 8.1.1: pixel data are as long as the frames, so three of them are no single picture (C.7.6.6)."""
    assert_refused(write(tmp_path / "a", pixels, NumberOfFrames=said), "NumberOfFrames")


@pytest.mark.parametrize(("syntax", "encode"), [(RLE, rle), (JPEG, jpeg)], ids=["RLE", "JPEG"])
def test_three_compressed_frames_and_no_number_of_them(tmp_path, syntax, encode):
    """PS3.5 A.4: the offset table has an entry for each frame; RLE has one fragment for each (A.4.2)."""
    path = write(tmp_path / "a", FRAMES, syntax, [encode(frame) for frame in FRAMES], NumberOfFrames=None)
    assert_refused(path, "NumberOfFrames")


def test_an_unreadable_number_of_frames(tmp_path):
    """PS3.5 6.2 (IS): "many" is no number; "3.0" should have no point, but is 3."""
    assert_refused(write(tmp_path / "a", FRAMES, NumberOfFrames=b"many"), "NumberOfFrames")
    image = read_image(write(tmp_path / "a", FRAMES, NumberOfFrames=b"3.0"), frame=2)
    assert (image.n_frames, grey(image).tolist()) == (3, [SHOWN])


@pytest.mark.parametrize(("rows", "columns"), [(16, 16), (8, 16), (16, 8)])
@pytest.mark.parametrize("n_tiles", [4, 1], ids=["TILED_FULL", "TILED_SPARSE"])
def test_a_tile_is_not_the_slide(tmp_path, n_tiles, rows, columns):
    """C.7.6.17.3, C.8.12.4: the total pixel matrix is larger than a frame; a sparse one may hold a single tile."""
    tiles = np.full((n_tiles, 8, 8, 3), 99, np.uint8)
    whole = {"TotalPixelMatrixRows": rows, "TotalPixelMatrixColumns": columns}
    message = refusal(write(tmp_path / "a", tiles, PhotometricInterpretation="RGB", **whole))
    assert message.startswith(f"a slide of {rows} × {columns} pixels, stored as {n_tiles} tiles.")
    single = {"TotalPixelMatrixRows": 1, "TotalPixelMatrixColumns": 5}  # as of the label of a slide
    assert levels(write(tmp_path / "a", GREY, **single)) == SHOWN


@pytest.mark.parametrize("kind", ["basic", "extended"])
def test_a_wrong_table_of_offsets_gives_no_other_frame(tmp_path, kind):
    """PS3.5 A.4: here the offsets of the later frames point outside the data."""
    fragments = [rle(frame) for frame in FRAMES]
    data, elements = encapsulate(fragments, has_bot=False), {}
    if kind == "basic":
        data = data[:4] + struct.pack("<4I", 12, 0, 7, 10**6) + data[8:]
    else:
        elements["ExtendedOffsetTable"] = struct.pack("<3Q", 0, 10**12, 5)
        elements["ExtendedOffsetTableLengths"] = struct.pack("<3Q", *map(len, fragments))
    path = write(tmp_path / "a", FRAMES, RLE, fragments, **elements)
    path.write_bytes(path.read_bytes().replace(encapsulate(fragments), data))
    assert "the table of the frames' offsets is wrong" in refusal(path, frame=2)


def test_fewer_functional_groups_than_frames(tmp_path):
    """C.7.6.16: one item for each frame; without the third we do not know what the third frame's values mean."""
    groups = [item(PixelValueTransformationSequence=[item(RescaleSlope=1, RescaleIntercept=-1024)])] * 2
    path = write(tmp_path / "a", np.stack([STORED] * 3), PerFrameFunctionalGroupsSequence=groups)
    assert_refused(path, "PerFrameFunctionalGroupsSequence", frame=2)


# A header part that cannot be understood

UNDERSTOOD = {
    "sign, point and spaces (PS3.5 6.2)": {"RescaleSlope": b" +1. "},
    "exponent (PS3.5 6.2)": {"RescaleSlope": b"1.0E+0"},
    "longer than DS may be (PS3.5 6.2)": {"RescaleSlope": b"1.00000000000000000000000"},
    "commas for points": {"RescaleSlope": b"1,0", "RescaleIntercept": b"-1024,0"},
    "other VRs that say what they are (PS3.5 7.1.2)": {"RescaleSlope": ("FD", struct.pack("<d", 1))},
    "unknown VR: implicit little endian (PS3.5 6.2.2)": {"RescaleIntercept": ("UN", b"-1024 ")},
    "intercept without slope (C.11.1)": {"RescaleSlope": None},
    "intercept and an empty slope (C.11.1)": {"RescaleSlope": b""},
    "two centres and one width: the first of each (C.11.2.1.2)": {"WindowCenter": b"40\\100"},
    "lower case and a space (PS3.5 6.2)": {"VOILUTFunction": b" linear "},
    "an empty high bit is the uppermost (PS3.5 8.1.1)": {"BitsStored": 12, "HighBit": b""},
    "sequences without items (PS3.5 7.5)": {"VOILUTSequence": [], "ModalityLUTSequence": []},
    "an empty VOI LUT": {"VOILUTSequence": [item(LUTDescriptor=("US", b""), LUTData=("OW", b""))]},
    "an empty modality LUT": {"ModalityLUTSequence": [item(LUTDescriptor=("US", b""), LUTExplanation="")]},
}


@pytest.mark.parametrize("elements", UNDERSTOOD.values(), ids=UNDERSTOOD)
def test_header_parts_that_are_odd_and_clear(tmp_path, elements):
    image = read_image(write(tmp_path / "a", STORED, **HOUNSFIELD | elements))
    assert (grey(image).tolist(), image.notes) == ([SHOWN], ())


NOT_UNDERSTOOD = [
    *(("RescaleSlope", text) for text in (b"nan", b"inf", b"1\\2", b"one", b"1,000.5", b"1,024", b"1.0 HU")),
    *(("RescaleIntercept", b"-1024 HU"), ("WindowCenter", b"40 HU"), ("WindowCenter", b"\\40")),
    *(("WindowWidth", b"wide"), ("WindowWidth", b"nan"), ("VOILUTFunction", b"GAMMA_2")),
    *(("PixelPaddingValue", ("LO", b"none")), ("TotalPixelMatrixRows", ("LO", b"many"))),
]


@pytest.mark.parametrize(("keyword", "value"), NOT_UNDERSTOOD)
def test_header_parts_on_which_the_pixels_depend(tmp_path, keyword, value):
    """C.11.1, C.11.2, PS3.5 6.2: a window in Hounsfield units means nothing without the rescale, and so on."""
    assert_refused(write(tmp_path / "a", STORED, **HOUNSFIELD | {keyword: value}), keyword)


def test_an_unreadable_slope_of_one_frame(tmp_path):
    """C.7.6.16.2.9: the frame's own group counts, for that frame only."""
    slopes = [item(RescaleSlope=slope, RescaleIntercept=-1024) for slope in (b"1", b"1.0 HU/1")]
    groups = [item(PixelValueTransformationSequence=[slope]) for slope in slopes]
    shared = item(FrameVOILUTSequence=[item(WindowCenter=40, WindowWidth=401)])
    elements = {"SharedFunctionalGroupsSequence": [shared], "PerFrameFunctionalGroupsSequence": groups}
    path = write(tmp_path / "a", np.stack([STORED] * 2), **elements)
    assert levels(path, frame=0) == SHOWN
    assert_refused(path, "RescaleSlope", frame=1)


@pytest.mark.parametrize("sequence", ["ModalityLUTSequence", "VOILUTSequence"])
@pytest.mark.parametrize(("missing", "other"), [("LUTData", "LUTDescriptor"), ("LUTDescriptor", "LUTData")])
def test_half_a_look_up_table(tmp_path, sequence, missing, other):
    """C.11.1.1, C.11.2.1.1: a descriptor and its entries belong together."""
    half = item(**{other: ("US", struct.pack("<3H", 3, 0, 16))})
    assert_refused(write(tmp_path / "a", STORED, **{sequence: [half]}), missing)


UNUSED = "WindowWidth (0028,1051), Window Width, is missing or not positive, and its window is not used"
NO_INTERCEPT = "RescaleIntercept (0028,1052), Rescale Intercept, is missing and taken for 0"
NO_SLOPE = "RescaleSlope (0028,1053), Rescale Slope, is 0 and taken for 1"
UNSHIFTED = [118, 255, 255, 255, 255]  # of 24: 255 · ((24 - 39.5) / 400 + 0.5)
STRETCHED = [0, 120, 133, 146, 255]  # between percentiles 0.5 and 99.5: of 964, 255 · (964 - 42.8) / 1964
NOTED = {
    "a slope of 0 (C.11.1)": ({"RescaleSlope": b"0"}, NO_SLOPE, SHOWN),
    "no intercept (C.11.1)": ({"RescaleIntercept": None}, NO_INTERCEPT, UNSHIFTED),
    "an empty intercept": ({"RescaleIntercept": b""}, NO_INTERCEPT, UNSHIFTED),
    "no width (C.11.2.1.2)": ({"WindowWidth": None}, UNUSED, STRETCHED),
    "a width of 0 (C.11.2.1.2)": ({"WindowWidth": b"0"}, UNUSED, STRETCHED),
    "a negative width": ({"WindowWidth": b"-400"}, UNUSED, STRETCHED),
}


@pytest.mark.parametrize(("elements", "note", "expected"), NOTED.values(), ids=NOTED)
def test_conventions_are_noted_and_logged(tmp_path, caplog, elements, note, expected):
    path = write(tmp_path / "a", STORED, **HOUNSFIELD | elements)
    image = read_image(path)
    assert (grey(image).tolist(), image.notes) == ([expected], (note,))
    assert [record.getMessage() for record in caplog.records] == [f"{path}: {note}"]


SPACINGS = {
    "spaces and exponents (PS3.5 6.2)": b" 5E-1 \\ .25 ",
    "text of the VR UT": ("UT", b"0.5000\\0.2500"),
    "doubles (PS3.5 7.1.2)": ("FD", struct.pack("<2d", 0.5, 0.25)),
    "commas for points": b"0,5\\0,25",
    "a comma between the numbers": b"0.5,0.25",
}


@pytest.mark.parametrize("spacing", SPACINGS.values(), ids=SPACINGS)
def test_spacings_that_are_odd_and_clear(tmp_path, spacing):
    """10.7.1.3: between the rows, then between the columns."""
    image = read_image(write(tmp_path / "a", GREY, PixelSpacing=spacing))
    assert (image.spacing_mm, image.notes) == ((0.5, 0.25), ())


@pytest.mark.parametrize("text", [b"0\\0", b"-0.5\\-0.25", b"nan\\nan", b"0.5\\", b"0.5", b"0.5mm\\0.25mm", b"unknown"])
def test_spacings_that_are_none_are_noted(tmp_path, text):
    """10.7.1.3: two positive numbers. The spacing at the detector is larger, and no stand-in without a word."""
    image = read_image(write(tmp_path / "a", GREY, PixelSpacing=text, ImagerPixelSpacing=[0.2, 0.1]))
    (note,) = image.notes
    assert image.spacing_mm is None and grey(image).tolist() == [SHOWN]
    assert note == "spacing unknown: PixelSpacing (0028,0030), Pixel Spacing, is not two positive numbers"


@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT])
def test_an_empty_spacing_says_nothing(tmp_path, syntax):
    """PS3.5 7.4.3: the next in order counts, which is that at the detector."""
    image = read_image(write(tmp_path / "a", GREY, syntax, PixelSpacing=b"", ImagerPixelSpacing=[0.2, 0.1]))
    assert (image.spacing_mm, image.notes) == ((0.2, 0.1), ())


# Bits and encodings

WIDE = GREY.astype(np.uint16)
SIGNED = WIDE.astype(np.int16) - 128  # which a window of (0, 256) maps to 0 … 255
CELLS = {
    "12 of 16 at the top, and others below them": (WIDE << 4 | 0xA, 12, 15, (128, 256)),
    "10 of 16 at the top, signed": (SIGNED << 6, 10, 15, (0, 256)),
    "8 of 16 in the middle, between others": (WIDE << 4 | 0xA00B, 8, 11, (128, 256)),
    "12 of 16 under an overlay (until 2004)": (WIDE | 0x8000, 12, 11, (128, 256)),
    "7 of 8, under another": (np.uint8([[0, 32, 64, 96, 127]]) | 0x80, 7, 6, (64.09, 128.18)),
    "signed bytes (C.7.6.3)": (SIGNED.astype(np.int8), 8, 7, (0, 256)),
    "32 unsigned, beyond 2³¹": (GREY.astype(np.uint32) << 24, 32, 31, (127.5 * 2**24, 255 * 2.0**24)),
}


@pytest.mark.parametrize(("cells", "stored", "high", "window"), CELLS.values(), ids=CELLS)
def test_samples_lie_between_high_bit_and_bits_stored(tmp_path, cells, stored, high, window):
    """PS3.5 8.1.1: what lies above or below is not of the sample; the sign is that of the high bit."""
    elements = {"BitsStored": stored, "HighBit": high, "WindowCenter": window[0], "WindowWidth": window[1]}
    assert levels(write(tmp_path / "a", cells, **elements)) == SHOWN


def test_big_endian_bytes_in_words(tmp_path):
    """PS3.5 7.3, A.3: 8-bit samples in OW are swapped in pairs, here with a pad at the end."""
    swapped = np.append(GREY, 0).astype(np.uint8).view("<u2").astype(">u2").tobytes()
    assert levels(write(tmp_path / "a", GREY, BIG, PixelData=("OW", swapped))) == SHOWN


def test_compressed_samples_have_no_bits_below(tmp_path):
    """PS3.5 8.2.4: a codestream knows its own precision, and a high bit of 15 contradicts it."""
    stream = imagecodecs.jpeg2k_encode(WIDE << 4, codecformat="j2k", reversible=True, level=0)
    assert_refused(write(tmp_path / "a", WIDE, JPEG_2000, [stream], BitsStored=12, HighBit=15), "HighBit")


COLOURS = np.uint8([[(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255), (128, 128, 128), (0, 0, 0)]])
YBR = np.uint8([[(76, 85, 255), (150, 44, 21), (29, 255, 107), (255, 128, 128), (128, 128, 128), (0, 128, 128)]])
TWICE = np.repeat(YBR, 2, 1)
FOUR_TWO_TWO = np.stack([TWICE[:, ::2, 0], TWICE[:, 1::2, 0], TWICE[:, ::2, 1], TWICE[:, ::2, 2]], -1)
BLOCKS = COLOURS.repeat(8, 0).repeat(8, 1)


def unmarked_rgb_jpeg() -> bytes:
    """A JPEG of RGB without the marker of Adobe, and with components 1, 2, 3, so that nothing in it says RGB."""
    stream = re.sub(rb"\xff\xee\x00\x0eAdobe.{7}", b"", jpeg(BLOCKS, keep_rgb=True), flags=re.DOTALL)
    for name, number in (b"R", b"\1"), (b"G", b"\2"), (b"B", b"\3"):
        stream = re.sub(rb"(?<=[\x03\x00\x11])" + name + rb"(?=[\x11\x00])", number, stream, count=2)
    return stream


PLANES, LOCO = YBR.transpose(2, 0, 1).tobytes(), imagecodecs.jpegls_encode(YBR)
RCT = imagecodecs.jpeg2k_encode(COLOURS, codecformat="j2k", reversible=True, mct=True, level=0)
IN_COLOUR = {
    "YBR in planes (C.7.6.3.1.3)": (YBR, "YBR_FULL", EXPLICIT, PLANES, {"PlanarConfiguration": 1}),
    "Y Y CB CR (C.7.6.3.1.2)": (TWICE, "YBR_FULL_422", EXPLICIT, FOUR_TWO_TWO.tobytes(), {}),
    "a window is not for colours (C.11.2)": (COLOURS, "RGB", EXPLICIT, COLOURS.tobytes(), HOUNSFIELD),
    "JPEG-LS transforms no colours (PS3.5 8.2.3)": (YBR, "YBR_FULL", JPEG_LS, LOCO, {}),
    "JPEG 2000 undoes its own transform, said RGB (PS3.5 8.2.4)": (COLOURS, "RGB", JPEG_2000, RCT, {}),
    "JPEG says nothing, and the header RGB (PS3.5 8.2.1)": (BLOCKS, "RGB", JPEG, unmarked_rgb_jpeg(), {}),
}


@pytest.mark.parametrize(("described", "photometric", "syntax", "data", "elements"), IN_COLOUR.values(), ids=IN_COLOUR)
def test_colours_by_hand(tmp_path, described, photometric, syntax, data, elements):
    """C.7.6.3.1.2: of red, Y = 0.299 · 255 = 76, CB = 128 - 0.1687 · 255 = 85, CR = 128 + 0.5 · 255 = 255."""
    if syntax == JPEG_LS:
        pytest.importorskip("jpeg_ls", reason="pydicom decodes JPEG-LS with it")
    pixels = {"compressed": [data]} if syntax.is_encapsulated else {"PixelData": ("OB", data)}
    path = write(tmp_path / "a", described, syntax, PhotometricInterpretation=photometric, **pixels, **elements)
    expected = COLOURS.repeat(described.shape[1] // 6, 1)
    np.testing.assert_allclose(read_image(path).pixels[:1], expected, atol=3)


def test_planes_are_those_of_each_frame(tmp_path):
    """C.7.6.3.1.3, C.7.6.3.1.1: and 4095 is full intensity in 12 bits."""
    deep = (np.stack([COLOURS, COLOURS[:, ::-1]]).astype(int) * 4095 // 255).astype(np.uint16)
    planes = {"PlanarConfiguration": 1, "PixelData": ("OW", deep.transpose(0, 3, 1, 2).tobytes())}
    path = write(tmp_path / "a", deep, PhotometricInterpretation="RGB", BitsStored=12, **planes)
    np.testing.assert_array_equal(read_image(path, frame=1).pixels, COLOURS[:, ::-1])


def palette(entries, first: int = 0, segmented: str = "") -> dict:
    """Red has the entries, green halves of them, blue quarters; a segmented palette is grey."""
    elements: dict = {}
    for colour, part in ("Red", 1), ("Green", 2), ("Blue", 4):
        name, values = f"{colour}PaletteColorLookupTable", np.asarray(entries) // (1 if segmented else part)
        elements[f"{name}Descriptor"] = [256, first, 16]
        elements[f"{segmented}{name}Data"] = ("OW", values.astype("<u2").tobytes())
    return elements | {"PhotometricInterpretation": "PALETTE COLOR"}


@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT])
def test_a_palette_from_a_first_value(tmp_path, syntax):
    """C.7.6.3.1.5: values outside get the first and last of its entries. MONOCHROME2 is grey beside one (C.7.6.19)."""
    stored = np.array([[0, 1000, 1255, 9999]], np.uint16)
    path = write(tmp_path / "a", stored, syntax, **palette(np.arange(1, 257) * 255, 1000))
    assert read_image(path).pixels.tolist() == [[[1, 0, 0], [1, 0, 0], [254, 127, 64], [254, 127, 64]]]
    supplemental = palette(np.arange(256)[::-1] * 256) | {"PhotometricInterpretation": "MONOCHROME2"}
    assert levels(write(tmp_path / "a", GREY, syntax, **supplemental)) == SHOWN


def test_a_segmented_palette(tmp_path):
    """C.7.9.2: an entry 0, a line of 127 entries to 254 · 256, and a copy of both."""
    lines = palette([0, 1, 0, 1, 127, 254 * 256, 2, 2, 0, 0], segmented="Segmented")
    assert levels(write(tmp_path / "a", np.uint8([[0, 64, 127, 128, 255]]), **lines)) == [0, 128, 253, 0, 253]


# Look-up tables, padding and polarity


def table(entries, first=0, bits=16, vr="US", dtype="<u2") -> Dataset:
    packed = np.asarray(entries).astype(dtype).tobytes()
    descriptor = struct.pack("<3H", len(entries) % 2**16, first % 2**16, bits)
    return item(LUTDescriptor=(vr, descriptor), LUTData=("OW", packed))


def rising(n: int) -> tuple[np.ndarray, np.ndarray]:
    """A table from 0 to 65535, and where in it the five grey levels of SHOWN lie."""
    return np.linspace(0, 65535, n).round(), np.rint(GREY * ((n - 1) / 255)).astype(np.int64)


(LONG, IN_LONG), (SHORT, IN_SHORT), (WHOLE, IN_WHOLE) = (rising(n) for n in (40000, 2048, 65536))
SHIFT, ODD = {"RescaleSlope": 1, "RescaleIntercept": -1024}, np.r_[0:254, 255]
TO_UNITS = {"ModalityLUTSequence": [table(np.arange(2048), 64512)], "WindowCenter": 1024, "WindowWidth": 2048}
TABLES = {
    "40000 entries from -20000, SS": (IN_LONG - 20000, "i2", {"VOILUTSequence": [table(LONG, -20000, vr="SS")]}),
    "0 entries, which are 65536": (IN_WHOLE, "u2", {"VOILUTSequence": [table(WHOLE)]}),
    "from -1024, US": (IN_SHORT - 1024, "i2", TO_UNITS),
    "after a rescale, SS": (IN_SHORT, "u2", SHIFT | {"VOILUTSequence": [table(SHORT, -1024, vr="SS")]}),
    "after a rescale, US": (IN_SHORT, "u2", SHIFT | {"VOILUTSequence": [table(SHORT, -1024)]}),
    "from 40000, SS": (IN_SHORT + 40000, "u2", {"VOILUTSequence": [table(SHORT, 40000, vr="SS")]}),
    "bytes, two in a word (CP-522)": (GREY, "u1", {"VOILUTSequence": [table(np.arange(256), 0, 8, dtype="u1")]}),
    "an odd number of bytes": (GREY, "u1", {"VOILUTSequence": [table(ODD, 0, 8, dtype="u1")]}),
}


@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT])
@pytest.mark.parametrize(("stored", "dtype", "elements"), TABLES.values(), ids=TABLES)
def test_entries_and_first_values(tmp_path, stored, dtype, elements, syntax):
    """C.11.1.1, C.11.2.1.1: the first value is signed if what it maps is, the number of entries never, in any VR."""
    assert levels(write(tmp_path / "a", stored.astype(dtype), syntax, **elements)) == SHOWN


@pytest.mark.parametrize(
    ("entries", "bits", "expected"),
    [([0, 2048, 4095], 16, [0, 128, 255]), ([0, 256, 512], 10, [0, 64, 128]), ([0, 1, 1], 16, [0, 255, 255])],
)
def test_white_is_the_largest_number_of_as_many_bits_as_the_entries_need(tmp_path, entries, bits, expected):
    """A ruling of ours: by C.11.2.1.1 the descriptor says it, and tables of CR say 16 and have 12."""
    path = write(tmp_path / "a", np.array([[0, 1, 2]], np.uint16), VOILUTSequence=[table(entries, 0, bits)])
    assert levels(path) == expected


def test_both_tables_and_then_the_inversion(tmp_path):
    """C.11.1, C.11.2, C.7.6.3.1.2: 0, 1, 2 become 30, 20, 10, then 255, 128, 0, and MONOCHROME1 turns these."""
    second = [0] * 11 + [128] * 10 + [255] * 10
    elements = {"ModalityLUTSequence": [table([30, 20, 10])], "VOILUTSequence": [table(second, 0, 8)]}
    path = write(tmp_path / "a", np.uint8([[0, 1, 2]]), PhotometricInterpretation="MONOCHROME1", **elements)
    assert levels(path) == [0, 127, 255]


@pytest.mark.parametrize(("uid", "modality"), [("12.1", "XA"), ("12.2", "RF")])
def test_the_modality_lut_of_x_ray_films_is_not_for_display(tmp_path, uid, modality):
    """C.8.7.1.1.2: it leads back from the logarithm to the intensity of the beam."""
    elements = {"SOPClassUID": STORAGE + uid, "Modality": modality, "PixelIntensityRelationship": "LOG"}
    elements["ModalityLUTSequence"] = [table(np.arange(256) ** 2 // 255)]
    assert levels(write(tmp_path / "a", GREY, **PLAIN, **elements)) == SHOWN
    ordinary = {"SOPClassUID": STORAGE + "1.1", "Modality": "DX"}
    assert levels(write(tmp_path / "a", GREY, **PLAIN, **elements | ordinary)) == [0, 16, 64, 144, 255]


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_inverse_inverts_once(tmp_path, photometric):
    """C.8.11.3.1.2: INVERSE goes with MONOCHROME1 and says the same."""
    elements = {"PhotometricInterpretation": photometric, "PresentationLUTShape": "INVERSE"}
    assert levels(write(tmp_path / "a", GREY, **elements)) == [255 - level for level in SHOWN]


@pytest.mark.parametrize(("dtype", "kind"), [(np.float32, "Float"), (np.float64, "DoubleFloat")])
def test_padding_of_floats(tmp_path, dtype, kind):
    """C.7.6.24, C.7.5.1.1.2: from the value to the limit, both included, whichever is the larger."""
    stored = np.array([[-1e30, -9e29, *np.linspace(0, 1, 5)]], dtype)
    ends = {f"{kind}PixelPaddingValue": float(stored[0, 0]), f"{kind}PixelPaddingRangeLimit": float(stored[0, 1])}
    path = write(tmp_path / "a", stored, **ends)
    assert levels(path, window=(0.5, 1)) == [0, 0, 0, 64, 128, 191, 255]
    assert read_image(path).window == pytest.approx((0.5, 0.99))  # from 0.005 to 0.995
    stored[0, :2] = ends[f"{kind}PixelPaddingValue"] = np.nan  # which C.7.6.24 allows, and we do not
    assert refusal(write(tmp_path / "a", stored, **ends)).startswith("2 of 7 values are NaN or infinite.")


def test_padding_is_a_stored_value(tmp_path):
    """C.7.5.1.1.2: after the rescale it is another, and others have its number."""
    elements = {"RescaleSlope": 2, "RescaleIntercept": -128, "PixelPaddingValue": 64}
    assert levels(write(tmp_path / "a", GREY.astype(np.uint16), **elements, **PLAIN)) == [0, 0, 128, 255, 255]
    elements["PixelPaddingValue"] = 128  # which 128 becomes, too
    assert levels(write(tmp_path / "a", GREY.astype(np.uint16), **elements, **PLAIN)) == [0, 0, 0, 255, 255]


# The reason that is given

REASONS = {
    "bits that no type has (PS3.5 8.1.1)": ("BitsAllocated", 12),
    "more bits stored than allocated": ("BitsStored", 20),
    "no bits stored": ("BitsStored", None),
    "empty bits stored": ("BitsStored", b""),
    "a high bit within the sample": ("HighBit", 3),
    "no sign": ("PixelRepresentation", None),
    "an empty sign": ("PixelRepresentation", b""),
    "a sign that is none": ("PixelRepresentation", 2),
    "an empty number of samples": ("SamplesPerPixel", b""),
    "empty rows": ("Rows", b""),
    "colours of video, retired": ("PhotometricInterpretation", b"YBR_PARTIAL_422"),
    "colours of nobody": ("PhotometricInterpretation", b"GREY"),
}


@pytest.mark.parametrize(("keyword", "value"), REASONS.values(), ids=REASONS)
def test_the_element_at_fault_is_named(tmp_path, keyword, value):
    """C.7.6.3: nothing is damaged or cut short; one element is missing, empty, or has a value that is not defined."""
    message = refusal(write(tmp_path / "a", STORED, **{"BitsStored": 12, keyword: value}))
    assert keyword in message and "cut short" not in message


@pytest.mark.parametrize("text", [b" monochrome1", b"MONOCHROME1\0", b"Monochrome 1"])
def test_spellings_of_monochrome1(tmp_path, text):
    """PS3.5 6.2 (CS): upper case, and spaces around do not count; these are clear and must not pass for MONOCHROME2."""
    path = write(tmp_path / "a", GREY, PhotometricInterpretation=text)
    assert levels(path) == [255 - level for level in SHOWN]


@pytest.mark.parametrize("end", [b"4.102", b"4.110", b"9.999"], ids=["MPEG-4", "JPEG XL", "unknown"])
def test_transfer_syntaxes_without_a_decoder_are_named(tmp_path, end):
    """PS3.5 8.2: video, and codes newer than the decoders here. The file is neither damaged nor cut short."""
    path = write(tmp_path / "a", GREY, MPEG_4, [bytes(100)])
    path.write_bytes(path.read_bytes().replace(b"1.2.840.10008.1.2.4.102", b"1.2.840.10008.1.2." + end))
    message = refusal(path)
    assert message.startswith("its transfer syntax (") and "cut short" not in message


# Masks are labels

LABELS = np.arange(35, dtype=np.uint16).reshape(5, 7) % 5 * 60  # 0, 60, … 240
SEGMENTATION = {"SOPClassUID": STORAGE + "66.4", "Modality": "SEG"}
DISPLAYED = {
    "MONOCHROME1 (C.7.6.3.1.2)": {"PhotometricInterpretation": "MONOCHROME1"},
    "a rescale (C.11.1)": {"RescaleSlope": -1, "RescaleIntercept": 240},
    "a window (C.11.2)": {"WindowCenter": 200, "WindowWidth": 10},
    "a VOI LUT (C.11.2)": {"VOILUTSequence": [table(np.full(256, 255), 0, 8)]},
    "padding (C.7.5.1.1.2)": {"PixelPaddingValue": 120},
    "an inverse (C.11.6)": {"PresentationLUTShape": "INVERSE"},
    "a palette, its first colour the brightest (C.7.6.3.1.5)": palette(np.arange(256)[::-1] * 256),
}


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("elements", DISPLAYED.values(), ids=DISPLAYED)
def test_what_is_about_display_changes_no_label(tmp_path, elements, dtype):
    mask = read_mask(write(tmp_path / "a", LABELS.astype(dtype), **elements))
    np.testing.assert_array_equal(mask, LABELS > 0)


@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT, BIG, RLE])
def test_labels_in_every_encoding(tmp_path, syntax):
    """PS3.5 8.1.1: of 12 bits, which leaves what is above them out."""
    if syntax == RLE:
        path = write(tmp_path / "a", LABELS.astype(np.uint8), syntax, [rle(LABELS.astype(np.uint8))])
    else:
        path = write(tmp_path / "a", LABELS * 16 | 0x8000, syntax, BitsStored=12)
    np.testing.assert_array_equal(read_mask(path), LABELS > 0)


BITS = np.stack([LABELS > 100, LABELS <= 100, LABELS[::-1] > 100])


def test_what_jpeg_leaves_around_a_mask_is_no_target(tmp_path):
    """C.7.6.1.1.5: a lossy image; its values near 0 are no labels. A lossless one keeps its labels (PS3.5 A.4.3)."""
    disc = np.hypot(*(np.mgrid[:64, :64] - 32)) < 20
    white = disc.astype(np.uint8) * 255
    path = write(tmp_path / "a", white, "1.2.840.10008.1.2.4.50", [jpeg(white)])
    assert (read_mask(path) != disc).sum() < 10
    few = disc.astype(np.uint8) * 3
    path = write(tmp_path / "b", few, "1.2.840.10008.1.2.4.90", [imagecodecs.jpeg2k_encode(few, reversible=True)])
    np.testing.assert_array_equal(read_mask(path), disc)


@pytest.mark.parametrize("number", range(3))
def test_frames_of_bits_run_on_within_a_byte(tmp_path, number):
    """PS3.5 8.1.1, annex D: 35 bits a frame, the lowest of a byte first; the third begins with the bit before last."""
    path = write(tmp_path / "a", BITS, SegmentationType="BINARY", **SEGMENTATION)
    np.testing.assert_array_equal(read_mask(path, frame=number), BITS[number])


def test_several_frames_are_no_single_mask(tmp_path):
    """C.8.20: they are slices or segments."""
    path = write(tmp_path / "a", BITS, SegmentationType="BINARY", **SEGMENTATION)
    assert refusal(path, read_mask).startswith("it holds 3 frames. Choose one with frame=")
    np.testing.assert_array_equal(read_mask(write(tmp_path / "a", BITS[0], **SEGMENTATION)), BITS[0])


def test_several_segments_are_no_single_mask(tmp_path):
    """C.8.20.2: each frame belongs to one of them, and a frame chosen by number may be of another."""
    segments = [item(SegmentNumber=number) for number in (1, 2)]
    path = write(tmp_path / "a", np.stack([LABELS > 0] * 2), SegmentSequence=segments, **SEGMENTATION)
    assert "several segments" in refusal(path, read_mask, frame=0)
    path = write(tmp_path / "a", LABELS > 0, SegmentSequence=segments[:1], **SEGMENTATION)
    np.testing.assert_array_equal(read_mask(path), LABELS > 0)


@pytest.mark.parametrize(("largest", "half"), [(255, 127.5), (100, 50), (None, 127.5)])
def test_a_fraction_counts_above_one_half(tmp_path, largest, half):
    """C.8.20.2.3: of Maximum Fractional Value. That more than a half is the target is a ruling of ours."""
    stored = np.array([[0, 1, 50, 51, 127, 128, 255]], np.uint8)
    elements = {"SegmentationType": "FRACTIONAL", "MaximumFractionalValue": largest}
    path = write(tmp_path / "a", stored, **elements, **SEGMENTATION)
    np.testing.assert_array_equal(read_mask(path), stored > half)
    unreadable = elements | {"MaximumFractionalValue": ("LO", b"all")}
    assert_refused(write(tmp_path / "a", stored, **unreadable, **SEGMENTATION), "MaximumFractionalValue", read_mask)


def test_labels_that_need_their_rescale_are_refused(tmp_path):
    """C.11.1: the stored 1024 may be meant as 0, and no stored label is 0."""
    elements = {"RescaleSlope": 1, "RescaleIntercept": -1024}
    reason = "no label is 0 before its rescale slope and intercept, and some are after it"
    assert reason in refusal(write(tmp_path / "a", LABELS + 1024, **elements), read_mask)
    assert read_mask(write(tmp_path / "a", LABELS + 1025, **elements)).all()  # all are labels in either way


# Hostile files

PROBE = """
import json, resource, sys, time
from medclipsam_utils.images import ImageError, read_image

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)

hostile, harmless = sys.argv[1:]
read_image(harmless)  # the libraries are there then
megabytes, seconds = peak(), time.process_time()
try:
    read_image(hostile)
    said = ""
except ImageError as error:
    said = str(error)
print(json.dumps([said, time.process_time() - seconds, peak() - megabytes]))
"""


def deflated_bomb(path: Path, megabytes: int, uid: bytes, skipped: int) -> Path:
    """A private element of zeros; its transfer syntax is written as ``uid``, and the preamble may be skipped."""
    content = write(path, GREY, DEFLATED).read_bytes()
    size = int.from_bytes(content[140:144], "little")
    plain = struct.pack("<H", len(DEFLATED)) + DEFLATED.encode()
    meta = content[144 : 144 + size].replace(plain, struct.pack("<H", len(uid)) + uid)
    zeros, packer = bytes(2**20), zlib.compressobj(1, zlib.DEFLATED, -zlib.MAX_WBITS)
    packed = packer.compress(struct.pack("<HH2sHI", 9, 0x1010, b"OB", 0, megabytes * 2**20))
    packed += b"".join(packer.compress(zeros) for _ in range(megabytes)) + packer.flush()
    path.write_bytes((content[:140] + struct.pack("<I", len(meta)) + meta + packed)[skipped:])
    return path


def inserted(path: Path, content: bytes) -> Path:
    """A file with further bytes before the elements that describe the pixels, and without its rows."""
    around = write(path, GREY, Rows=None).read_bytes()
    at = around.index(struct.pack("<HH2s", 0x28, 2, b"US"))
    path.write_bytes(around[:at] + content + around[at:])
    return path


def huge_jpeg(path: Path, side: int) -> Path:
    stream = jpeg(GREY)
    at = stream.index(b"\xff\xc0") + 5
    return write(path, GREY, JPEG, [stream[:at] + struct.pack(">2H", side, side) + stream[at + 4 :]])


def huge_jpeg2000(path: Path, side: int) -> Path:
    stream = bytearray(imagecodecs.jpeg2k_encode(GREY.repeat(8, 0), codecformat="j2k", reversible=True, level=0))
    at = stream.index(b"\xff\x51")
    stream[at + 6 : at + 14] = stream[at + 22 : at + 30] = struct.pack(">2I", side, side)
    return write(path, GREY.repeat(8, 0), JPEG_2000, [bytes(stream)])


START = struct.pack("<HH2sHIHHI", 9, 0x1010, b"SQ", 0, 2**32 - 1, 0xFFFE, 0xE000, 2**32 - 1)
STOP = struct.pack("<HHIHHI", 0xFFFE, 0xE00D, 0, 0xFFFE, 0xE0DD, 0)
TOO_LONG = struct.pack("<HH2sHI", 9, 0x1010, b"OB", 0, 2**32 - 16)
BILLION, UNDER_THE_LIMIT = {"NumberOfFrames": 10**9}, {"Rows": 8192, "Columns": 16384}
COPIES = palette([0, 1, 0, *[1, 65535, 9] * 400, *[2, 400, 6, 0] * 400], segmented="Segmented")
ITSELF = palette([0, 1, 0, 2, 2, 0, 0], segmented="Segmented")
DIGITS = {"RescaleSlope": ("UT", b"0" * 20_000 + b"x")}
NAME = DEFLATED.encode()
HOSTILE = {
    "10⁹ frames of bits (C.7.6.6)": (write, (FRAMES > 0,), BILLION, "pixel data"),
    "10⁹ frames of RLE (PS3.5 A.4.2)": (write, (GREY, RLE, [rle(GREY)]), BILLION, "frames are too many"),
    "half a gigabyte in five bytes (PS3.5 8.1.1)": (write, (GREY.astype("u4"),), UNDER_THE_LIMIT, "pixel data"),
    "a deflated bomb (PS3.5 A.5)": (deflated_bomb, (160, NAME, 0), {}, "unpacked"),
    "a deflated bomb without preamble": (deflated_bomb, (160, NAME, 132), {}, "unpacked"),
    "a deflated bomb with a padded UID (PS3.5 9.1)": (deflated_bomb, (160, NAME + b"\0\0", 0), {}, "unpacked"),
    "a codestream of 40 000 × 40 000 (PS3.5 8.2.4)": (huge_jpeg2000, (40_000,), {}, "JPEG 2000"),
    "a JPEG of 11 000 × 11 000 (PS3.5 8.2.1)": (huge_jpeg, (11_000,), {}, "JPEG Baseline"),
    "20 000 sequences in each other (PS3.5 7.5)": (inserted, (START * 20_000 + STOP * 20_000,), {}, "DICOM header"),
    "4 GB in a file of 1 kB (PS3.5 7.1)": (inserted, (TOO_LONG,), {}, "DICOM"),
    "lines of a palette, copied by the hundred (C.7.9.2)": (write, (GREY,), COPIES, "PaletteColorLookupTableData"),
    "a segment that copies itself (C.7.9.2)": (write, (GREY,), ITSELF, "look-up tables"),
    "20 000 digits and a letter (PS3.5 6.2)": (write, (GREY,), DIGITS, "RescaleSlope"),
}


@pytest.mark.skipif(sys.platform == "win32", reason="the peak of memory is asked of Unix")
@pytest.mark.parametrize(("make", "arguments", "elements", "reason"), HOSTILE.values(), ids=HOSTILE)
def test_hostile_files_are_refused_at_once_and_cost_little_memory(tmp_path, make, arguments, elements, reason):
    harmless = write(tmp_path / "harmless", GREY)
    hostile = make(tmp_path / "a", *arguments, **elements)
    command = [sys.executable, "-c", PROBE, str(hostile), str(harmless)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert run.returncode == 0, run.stderr[-300:]
    said, seconds, megabytes = json.loads(run.stdout)
    assert reason in said
    assert seconds < 3 and megabytes < 110, f"{seconds:.1f} s, {megabytes:.0f} MB"
