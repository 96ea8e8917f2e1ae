"""DICOM as other readers see it: grey levels of highdicom on well-formed files, sizes and spacings of SimpleITK.

highdicom goes its own way through the same pipeline (PS3.3 C.11.1, C.11.2, PS3.4 annex N), with the rescale folded into
the window or the table.
"""

from __future__ import annotations

from pathlib import Path

import highdicom
import numpy as np
import pytest
import SimpleITK
from test_cases_dicom import item, table, write
from test_images_dicom import SHIPPED, grey

from medclipsam_utils.images import ImageError, read_image

CT, ENHANCED_CT = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.2.1"
HOUNSFIELD, SOFT = {"RescaleSlope": 1, "RescaleIntercept": -1024}, {"WindowCenter": 40, "WindowWidth": 400}
STUDY = {"StudyInstanceUID": "1.2.3.4", "SeriesInstanceUID": "1.2.3.5", "SOPInstanceUID": "1.2.3.6"}


def stored(dtype=np.uint16, low: int = 0, high: int = 4095, shape=(12, 17)) -> np.ndarray:
    """Random values with both ends among them."""
    values = np.random.default_rng(7).integers(low, high, shape, endpoint=True)
    values.flat[:2] = low, high
    return values.astype(dtype)


def assert_parity(path: Path, frame: int = 0) -> None:
    """Each of our grey levels is highdicom's value, rounded."""
    image = highdicom.imread(path)
    theirs = image.get_frame(frame, as_index=True, apply_voi_transform=None, voi_output_range=(0, 255))
    ours = grey(read_image(path, frame=frame))
    assert len(np.unique(ours)) > 1
    np.testing.assert_allclose(ours, theirs, atol=0.501)


CURVE = np.rint(65535 * np.linspace(0, 1, 4096) ** 2)  # from 0 to the largest: highdicom takes a table's ends for these
EXACT, SIGMOID = {"VOILUTFunction": "LINEAR_EXACT"}, {"VOILUTFunction": "SIGMOID"}
WORDS, BYTES = stored(), stored(np.uint8, 0, 255)
SINGLE: dict[str, tuple[np.ndarray, dict]] = {
    "linear": (WORDS, HOUNSFIELD | SOFT),
    "linear, exact": (WORDS, HOUNSFIELD | SOFT | EXACT),
    "sigmoid": (WORDS, HOUNSFIELD | SOFT | SIGMOID),
    "the first of two windows": (WORDS, HOUNSFIELD | {"WindowCenter": [300, 40], "WindowWidth": [1500, 80]}),
    # Not linear: highdicom subtracts the 0.5 and the 1 of C.11.2.1.2.1 in stored values, where the slope is not 1.
    "half a unit a step": (WORDS, {"RescaleSlope": 0.5, "RescaleIntercept": -100.5} | SOFT | EXACT),
    "a falling slope": (WORDS, {"RescaleSlope": -2, "RescaleIntercept": 3000} | SOFT | EXACT),
    "a VOI LUT": (WORDS, {"VOILUTSequence": [table(CURVE)]}),
    "a VOI LUT in Hounsfield units": (WORDS, HOUNSFIELD | {"VOILUTSequence": [table(CURVE, -1024, vr="SS")]}),
    "a modality LUT": (WORDS, {"ModalityLUTSequence": [table(CURVE)], "WindowCenter": 20000, "WindowWidth": 30000}),
    "signed 12 of 16 bits": (stored(np.int16, -2048, 2047), SOFT),
    "8 bits": (BYTES, {"BitsStored": 8}),
    "signed bytes": (stored(np.int8, -128, 127), {"BitsStored": 8, "WindowCenter": 0, "WindowWidth": 100}),
}


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize(("pixels", "elements"), SINGLE.values(), ids=SINGLE)
def test_grey_levels_of_single_frames(tmp_path, pixels, elements, photometric):
    header = {"SOPClassUID": CT, "BitsStored": 12, "PhotometricInterpretation": photometric}
    assert_parity(write(tmp_path / "a", pixels, **STUDY | header | elements))


@pytest.mark.parametrize("shape", ["INVERSE", "IDENTITY"])
def test_grey_levels_of_a_presentation(tmp_path, shape):
    header = {"SOPClassUID": CT, "BitsStored": 12, "PresentationLUTShape": shape}
    assert_parity(write(tmp_path / "a", WORDS, **STUDY | HOUNSFIELD | SOFT | header))


GROUPS = [
    item(
        PixelValueTransformationSequence=[item(RescaleSlope=slope, RescaleIntercept=-1000 * slope, RescaleType="HU")],
        FrameVOILUTSequence=[item(WindowCenter=centre, WindowWidth=width, VOILUTFunction=function)],
    )
    for slope, centre, width, function in (
        (1, 40, 400, "LINEAR"),
        (2, 60, 900, "LINEAR_EXACT"),
        (3, 500, 3000, "SIGMOID"),
    )
]


@pytest.mark.parametrize("frame", range(3))
@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("shared", [True, False], ids=["shared", "per frame"])
def test_grey_levels_of_enhanced_images(tmp_path, frame, photometric, shared):
    """PS3.3 C.7.6.16.2.9 and .10: rescale and window of all frames, or of each."""
    empty = [item()] * 3
    groups = {
        "SharedFunctionalGroupsSequence": [GROUPS[2] if shared else item()],
        "PerFrameFunctionalGroupsSequence": empty if shared else GROUPS,
    }
    pixels = np.stack([WORDS, WORDS[::-1], WORDS[:, ::-1]])
    header = {"SOPClassUID": ENHANCED_CT, "BitsStored": 12, "PhotometricInterpretation": photometric}
    assert_parity(write(tmp_path / "a", pixels, **STUDY | header | groups), frame)


# Real files as SimpleITK sees them

SPACING_UNKNOWN_TO_ITK = (
    "examples_palette.dcm",
    "examples_ybr_color.dcm",
)  # it is in their ultrasound regions (C.8.5.5)
READ_BY_ITK_ALONE = {
    "badVR.dcm": "NumberOfFrames",  # "1A", of which GDCM takes the 1
    **dict.fromkeys(["JPEG-lossy.dcm", "JPGExtended.dcm"], "JPEG Extended"),  # 12 bits, which Pillow does not decode
    "SC_rgb_jpeg_gdcm.dcm": "JPEG Lossless",  # another code than that of ordinary JPEG
    **dict.fromkeys(["GDCMJ2K_TextGBR.dcm", "JPEG2000-embedded-sequence-delimiter.dcm"], "JPEG 2000"),
}
READ_BY_US_ALONE = {f"rtdose{kind}_1frame.dcm" for kind in ("", "_expb", "_rle")}  # an assertion of GDCM fails on them


def test_all_of_pydicoms_files_have_the_geometry_that_simpleitk_finds():
    SimpleITK.ProcessObject.SetGlobalWarningDisplay(False)
    compared = measured = 0
    for path in SHIPPED:
        try:
            image, refused = read_image(path), ""
        except ImageError as error:
            image, refused = None, str(error)
        reader = SimpleITK.ImageFileReader()
        reader.SetFileName(str(path))
        reader.SetImageIO("GDCMImageIO")
        try:
            reader.ReadImageInformation()
        except RuntimeError:
            assert refused or path.name in READ_BY_US_ALONE, path.name
            continue
        if image is None:
            assert READ_BY_ITK_ALONE[path.name] in refused
            continue
        height, width, _ = image.pixels.shape
        assert reader.GetSize() == (width, height, image.n_frames), path.name
        spacing = reader.GetSpacing()[1::-1]
        if spacing != (1, 1):
            assert image.spacing_mm == pytest.approx(spacing), path.name
            measured += 1
        elif path.name not in SPACING_UNKNOWN_TO_ITK:
            assert image.spacing_mm in (None, (1, 1)), path.name
        compared += 1
    assert len(SHIPPED) > 200 and compared > 85 and measured > 50
