"""Masks are labels, volumes are volumes, and a mask lies where its image does: rare files and hand-computed scores."""

from __future__ import annotations

import re
import struct
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK
import tifffile
from PIL import Image
from pydicom.uid import ExplicitVRLittleEndian
from scipy import ndimage
from test_cases_dicom import write as dicom
from test_cases_images import as_voxels, chunk, nifti, png, refusal, tiff

from medclipsam_utils.datasets import MaskFolder
from medclipsam_utils.images import read_image, read_mask, read_mask_stack, write_mask
from medclipsam_utils.metrics import dice, nsd, volume_dice, volume_nsd
from medclipsam_utils.metrics.folders import evaluate_masks

pytestmark = pytest.mark.filterwarnings("error")

_Y, _X = np.mgrid[:40, :48]


def disc(row: float, column: float, radius: float) -> np.ndarray:
    return np.hypot(_Y - row, _X - column) < radius


LABELS = np.where(disc(14, 28, 9), 1, 0) + np.where(disc(33, 8, 5), 2, 0)
TARGET = LABELS > 0
ALPHA = np.full((40, 48), 255)


# Masks are labels, never pictures


def palette(path: Path, bits: int = 4, transparent: bytes = b"", colours=(255, 255, 255, 0, 0, 0, 0, 0, 1)) -> Path:
    return png(
        path, LABELS, bits, 3, chunk(b"PLTE", bytes(colours)) + (chunk(b"tRNS", transparent) * bool(transparent))
    )


PNG_LABELS = {
    "palette: the indices, though background is white": lambda path: palette(path, 2),
    "palette: the indices, though label 1 is transparent": lambda path: palette(path, 4, b"\xff\0\0"),
    "palette: the indices, though label 1 is dark": lambda path: palette(path, 8, colours=(0, 0, 0, 9, 9, 9, 99, 0, 0)),
    "palette: the indices, though all are black": lambda path: palette(path, 8, colours=bytes(9)),
    "1 bit": lambda path: png(path, TARGET, 1, 0),
    "2 bits": lambda path: png(path, LABELS, 2, 0),
    "2 bits, interlaced": lambda path: png(path, LABELS, 2, 0, interlaced=True),
    "4 bits": lambda path: png(path, 7 * LABELS, 4, 0),
    "16 bits, in the low byte": lambda path: png(path, LABELS, 16, 0),
    "16 bits, in the high byte": lambda path: png(path, 256 * LABELS, 16, 0),
    "a label that tRNS makes transparent": lambda path: png(path, LABELS, 8, 0, chunk(b"tRNS", b"\0\1")),
    "gamma is no label": lambda path: png(path, LABELS, 8, 0, chunk(b"gAMA", struct.pack(">I", 220000))),
    "colours: blue of 1": lambda path: png(path, np.dstack([0 * LABELS, 0 * LABELS, LABELS]), 8, 2),
    "opaque everywhere": lambda path: png(path, np.dstack([LABELS, ALPHA]), 8, 4),
    "transparent everywhere": lambda path: png(path, np.dstack([LABELS, 0 * ALPHA]), 8, 4),
    "black, with the mask in the transparency": lambda path: png(path, np.dstack([0 * LABELS, 255 * TARGET]), 8, 4),
    "labels 50 and 255": lambda path: png(path, np.array([0, 255, 50])[LABELS], 8, 0),
    "labels 1 and 130": lambda path: png(path, np.array([0, 1, 130])[LABELS], 8, 0),
    "labels 60 and 130": lambda path: png(path, np.array([0, 130, 60])[LABELS], 8, 0),
}


@pytest.mark.parametrize("name", PNG_LABELS)
def test_labels_in_png(tmp_path, name):
    np.testing.assert_array_equal(read_mask(PNG_LABELS[name](tmp_path / "a.png")), TARGET)


def floats(path: Path, dtype) -> Path:
    tifffile.imwrite(path, LABELS.astype(dtype), photometric="minisblack")
    return path


TIFF_LABELS = {
    "white is zero: what is stored, 4 bits": lambda path: tiff(path, LABELS, 4, 0),
    "white is zero: what is stored, 16 bits": lambda path: tiff(path, LABELS, 16, 0, ">"),
    "white is zero: what is stored, 8 bits": lambda path: tiff(path, 255 * TARGET, 8, 0),
    "palette of dark colours": lambda path: tiff(path, LABELS, 4, 3, t320=[0, 9, 200] + [0] * 45),
    "SampleFormat 2: -1 is not above 0": lambda path: tiff(path, np.where(TARGET, LABELS, 255), 8, t339=[2]),
    "2 bits": lambda path: tiff(path, LABELS, 2),
    "10 bits": lambda path: tiff(path, LABELS, 10),
    "half floats": lambda path: floats(path, np.float16),
    "doubles": lambda path: floats(path, np.float64),
    "a sample without a meaning": lambda path: tiff(path, np.dstack([LABELS, 7 + 0 * LABELS]), 8, t338=[0]),
    "colours of 16 bits": lambda path: tiff(path, np.dstack([0 * LABELS, LABELS, 0 * LABELS]), 16, 2),
}


@pytest.mark.parametrize("name", TIFF_LABELS)
def test_labels_in_tiff(tmp_path, name):
    np.testing.assert_array_equal(read_mask(TIFF_LABELS[name](tmp_path / "a.tif")), TARGET)


@pytest.mark.parametrize(("orientation", "turned"), [(1, TARGET), (3, TARGET[::-1, ::-1]), (6, np.rot90(TARGET, -1))])
def test_a_turned_mask_is_upright(tmp_path, orientation, turned):
    """TIFF 6.0, page 36: 6 has the first row on the right side."""
    np.testing.assert_array_equal(read_mask(tiff(tmp_path / "a.tif", LABELS, 8, t274=[orientation])), turned)


@pytest.mark.parametrize(
    "labels",
    [[63, 126, 189, 252], [1, 2, 130], range(1, 201), range(1, 256), [128, 255]],
    ids=["4", "3", "200", "255", "2"],
)
@pytest.mark.parametrize("extension", ["png", "tif", "nii"])
def test_every_label_counts_above_127_too(tmp_path, labels, extension):
    values, path = np.array([[0, *labels]] * 2, np.uint8), tmp_path / f"a.{extension}"
    nifti(path, as_voxels(values)) if extension == "nii" else Image.fromarray(values).save(path)
    np.testing.assert_array_equal(read_mask(path), values > 0)


def scaled(slope: float, intercept: float) -> dict:
    return {112: np.float32([slope, intercept])}


VOXELS = as_voxels(LABELS)
NIFTI_LABELS = {
    "a slope of a half: few numbers are labels": (VOXELS.astype(np.uint8), scaled(0.5, 0)),
    "a slope of a tenth": (VOXELS.astype(np.int16), scaled(0.1, 0)),
    "an intercept of -1": (VOXELS.astype(np.uint8) + np.uint8(1), scaled(1, -1)),
    "probabilities of 8 bits": (np.array([0, 200, 255, 100], np.uint8)[VOXELS], scaled(1 / 255, 0)),
    "probabilities in floats": (np.array([0.2, 0.7, 1], np.float32)[VOXELS], scaled(0, 0)),
    "a label of 2^63": (VOXELS.astype(np.uint64) << np.uint64(62), scaled(0, 0)),
    "a negative number": (np.array([-1, 1, 2], np.int8)[VOXELS], scaled(0, 0)),
}


@pytest.mark.parametrize("name", NIFTI_LABELS)
def test_labels_in_nifti(tmp_path, name):
    """A value is slope · stored + intercept."""
    voxels, patches = NIFTI_LABELS[name]
    if "8 bits" in name:  # more than three numbers, of which 100 / 255 is below a half
        voxels[0, 0] = 100
    np.testing.assert_array_equal(read_mask(nifti(tmp_path / "a.nii", voxels, patches=patches)), TARGET)


@pytest.mark.parametrize("code", ["RAS", "LPI", "ASR", "PIR", "SLA"])
def test_a_mask_of_another_voxel_order_shows_alike(tmp_path, code):
    reordered(nibabel.Nifti1Image(VOXELS.astype(np.uint8), np.diag([1, 1, 4, 1])), code).to_filename(tmp_path / "a.nii")
    np.testing.assert_array_equal(read_mask(tmp_path / "a.nii", plane="axial"), TARGET)


@pytest.mark.parametrize(
    "elements", [{}, {"PhotometricInterpretation": "MONOCHROME1"}, {"WindowCenter": 2, "WindowWidth": 1}]
)
def test_labels_in_dicom_are_what_is_stored(tmp_path, elements):
    np.testing.assert_array_equal(read_mask(dicom(tmp_path / "a.dcm", LABELS.astype(np.uint8), **elements)), TARGET)


# Black and white pictures whose rim is not sharp, and what only looks like one

BIG = np.hypot(*(np.mgrid[:160, :192] - np.array([56, 112])[:, None, None])) < 34
REDUCED = BIG.reshape(40, 4, 48, 4).mean((1, 3))
RING = np.where(disc(18, 24, 14), 100, 0)
RING[disc(18, 24, 8)] = 255
LINE = np.where(disc(14, 28, 9), 255, 0)
LINE[14, :16] = 100
PATCHES = 255 * disc(20, 24, 12)
for _number in range(4):
    PATCHES[1:7, 3 + 11 * _number : 8 + 11 * _number] = 50 + 40 * _number
UNSHARP = {
    "reduced by four": (np.rint(255 * REDUCED), REDUCED > 0.5),
    "blurred": (np.rint(ndimage.gaussian_filter(255.0 * disc(20, 24, 16), 0.7)), disc(20, 24, 16)),
    "a broad ring is a label": (RING, RING > 0),
    "a line that leads away is a label": (LINE, LINE > 0),
    "a far region of 50 is a label": (np.array([0, 255, 50])[LABELS], TARGET),
    "many labels beside a larger one": (PATCHES, PATCHES > 0),
    "black of 20": (np.where(TARGET, 220, 20), TARGET),
}


@pytest.mark.parametrize("name", UNSHARP)
def test_a_rim_is_cut_at_half_and_a_label_is_kept(tmp_path, name):
    values, expected = UNSHARP[name]
    Image.fromarray(values.astype(np.uint8)).save(tmp_path / "a.png")
    found = read_mask(tmp_path / "a.png")
    sure = np.abs(values - 127.5) > 3
    np.testing.assert_array_equal(found[sure], expected[sure])


@pytest.mark.parametrize("quality", [30, 60, 95])
def test_jpeg_is_cut_at_half(tmp_path, quality):
    mask = disc(14, 28, 9)
    Image.fromarray(255 * mask.astype(np.uint8)).save(tmp_path / "a.jpg", quality=quality)
    assert (read_mask(tmp_path / "a.jpg") ^ mask).sum() <= 12


def test_a_jpeg_of_labels_is_refused(tmp_path):
    Image.fromarray((100 * LABELS + 30 * (_X > 20)).astype(np.uint8)).save(tmp_path / "a.jpg")
    assert "a JPEG that is not black and white, so its labels are lost" in refusal(tmp_path / "a.jpg", read_mask)


# Stacks are not taken for one image

STACK = np.zeros((5, 40, 48), bool)
STACK[1:4, 8:30, 10:40] = True
FOUND = STACK.copy()
FOUND[1] = False
FOUND[0, :12, :12] = True
SPACED = {"PixelSpacing": [1, 1], "SpacingBetweenSlices": 3}


def pages(path: Path, stack: np.ndarray, **options) -> Path:
    tifffile.imwrite(path, stack.astype(np.uint8), photometric="minisblack", **options)
    return path


def behind_one_page(path: Path, stack: np.ndarray) -> Path:
    """ImageJ writes large stacks so: one directory, and the other slices after the first."""
    path = pages(path, stack, imagej=True)
    content = bytearray(path.read_bytes())
    (place,) = struct.unpack_from(">I" if content[:2] == b"MM" else "<I", content, 4)
    order = ">" if content[:2] == b"MM" else "<"
    (count,) = struct.unpack_from(order + "H", content, place)
    struct.pack_into(order + "I", content, place + 2 + 12 * count, 0)
    path.write_bytes(content)
    with tifffile.TiffFile(path) as file:
        assert len(file.pages) == 1 and file.series[0].shape == stack.shape
    return path


STACKS = {
    "pages": ("tif", pages),
    "compressed pages of a big-endian BigTIFF": (
        "tif",
        lambda path, stack: pages(path, stack, bigtiff=True, byteorder=">", compression="zlib", metadata=None),
    ),
    "slices behind one page, of ImageJ": ("tif", behind_one_page),
    "slices behind one page, of tifffile": ("tif", lambda path, stack: pages(path, stack, truncate=True)),
    "frames": ("dcm", lambda path, stack: dicom(path, stack.astype(np.uint8), ExplicitVRLittleEndian, **SPACED)),
    "NIfTI": ("nii.gz", lambda path, stack: nifti(path, voxels_of(stack))),
    "NIfTI with an axis of one": ("nii", lambda path, stack: nifti(path, voxels_of(stack)[..., None])),
}


def voxels_of(stack: np.ndarray) -> np.ndarray:
    """[S, H, W] as displayed to RAS+ voxels."""
    return np.ascontiguousarray(stack[:, ::-1, ::-1].transpose(2, 1, 0)).astype(np.uint8)


def folders(root: Path) -> tuple[Path, Path]:
    for name in ("masks", "references"):
        (root / name).mkdir()
    return root / "masks", root / "references"


def pair(root: Path, make_mask, make_reference, extensions=("nii", "nii")) -> tuple[float, float] | str:
    """DSC and NSD of a pair, or why it is left out."""
    masks, references = folders(root)
    make_mask(masks / f"a.{extensions[0]}")
    make_reference(references / f"a.{extensions[1]}")
    for folder in (masks, references):
        Image.fromarray(255 * np.eye(9, dtype=np.uint8)).save(folder / "other.png")
    scores = evaluate_masks(masks, references)
    assert "other" in scores.names
    return scores.left_out["a"] if "a" in scores.left_out else (scores.dsc[0], scores.nsd[0])


@pytest.mark.parametrize("name", STACKS)
def test_a_stack_is_scored_in_three_dimensions(tmp_path, name):
    extension, make = STACKS[name]
    found = pair(tmp_path, lambda path: make(path, FOUND), lambda path: make(path, STACK), (extension, extension))
    assert found[0] == pytest.approx(2 * (FOUND & STACK).sum() / (FOUND.sum() + STACK.sum()))
    stack = read_mask_stack(tmp_path / "references" / f"a.{extension}")
    np.testing.assert_array_equal(stack.mask, STACK)


@pytest.mark.parametrize("name", [name for name in STACKS if "NIfTI" not in name])
def test_one_mask_is_not_read_from_several(tmp_path, name):
    extension, make = STACKS[name]
    path = make(tmp_path / f"a.{extension}", FOUND)
    assert re.match("it holds 5 (page|frame)s. Choose one with frame=", refusal(path, read_mask))
    np.testing.assert_array_equal(read_mask(path, frame=0), FOUND[0])


MISMATCHED = {
    "five pages and four": ((pages, STACK), (pages, STACK[:4]), ("tif", "tif"), "5 × 40 × 48 .* 4 × 40 × 48"),
    "a volume and a picture": (
        (lambda path, stack: nifti(path, voxels_of(stack)), STACK),
        (lambda path, stack: Image.fromarray(stack[2]).save(path), STACK),
        ("nii", "png"),
        "5 × 40 × 48 .* 40 × 48",
    ),
    "two channels of NIfTI": (
        (lambda path, stack: nifti(path, np.stack([voxels_of(stack)] * 2, 3)), STACK),
        (lambda path, stack: nifti(path, voxels_of(stack)), STACK),
        ("nii", "nii"),
        "the volume has 4 axes",
    ),
    "slices of SGI ImageDepth": (
        (lambda path, stack: pages(path, stack, volumetric=True, tile=(1, 48, 48), metadata=None), STACK),
        (pages, STACK),
        ("tif", "tif"),
        "a TIFF page with axes|of 1 volume|depth",
    ),
    "frames without a distance": (
        (lambda path, stack: dicom(path, stack.astype(np.uint8), PixelSpacing=[1, 1]), STACK),
        (lambda path, stack: dicom(path, stack.astype(np.uint8), **SPACED), STACK),
        ("dcm", "dcm"),
        "the distance of its frames is unknown",
    ),
}


@pytest.mark.parametrize("name", MISMATCHED)
def test_a_pair_of_other_shapes_is_left_out_with_the_reason(tmp_path, name):
    (first, one), (second, other), extensions, reason = MISMATCHED[name]
    said = pair(tmp_path, lambda path: first(path, one), lambda path: second(path, other), extensions)
    assert isinstance(said, str) and re.search(reason, said), said


def test_frames_ten_millimetres_apart_are_far_from_each_other(tmp_path):
    one, other = np.zeros((2, 6, 40, 48), np.uint8)
    one[1], other[3] = disc(14, 28, 9), disc(14, 28, 9)
    spaced = {"PixelSpacing": [1, 1], "SpacingBetweenSlices": 10}
    found = pair(
        tmp_path, lambda path: dicom(path, one, **spaced), lambda path: dicom(path, other, **spaced), ("dcm", "dcm")
    )
    assert found == (0, 0)


# Geometry: other places are no pair; the same places in another order are one


def reordered(image: nibabel.Nifti1Image, code: str) -> nibabel.Nifti1Image:
    here = nibabel.io_orientation(image.affine)
    return image.as_reoriented(nibabel.orientations.ornt_transform(here, nibabel.orientations.axcodes2ornt(code)))


def shifted(*by: float) -> np.ndarray:
    affine = np.eye(4)
    affine[:3, 3] = by
    return affine


def turned(degrees: float) -> np.ndarray:
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.array([[c, -s, 0, 0], [s, c, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])


ELSEWHERE = {
    "half a voxel up": shifted(0, 0, 0.5),
    "far away": shifted(0, -64, 0),
    "turned by 5 degrees": turned(5),
    "slices of 1.1 mm": np.diag([1, 1, 1.1, 1]),
    "mirrored": np.diag([-1, 1, 1, 1]),
}


@pytest.mark.parametrize("name", ELSEWHERE)
def test_a_pair_of_other_grids_is_left_out(tmp_path, name):
    said = pair(
        tmp_path,
        lambda path: nifti(path, voxels_of(FOUND), ELSEWHERE[name]),
        lambda path: nifti(path, voxels_of(STACK)),
    )
    assert isinstance(said, str) and re.search("the affines differ|have other sizes", said)


@pytest.mark.parametrize("name", ELSEWHERE)
def test_a_training_pair_of_other_grids_is_refused(tmp_path, name):
    for kind, affine in (("images", np.eye(4)), ("masks", ELSEWHERE[name])):
        (tmp_path / f"train_{kind}").mkdir()
        nifti(tmp_path / f"train_{kind}" / "a.nii", voxels_of(STACK), affine)
    with pytest.raises(ValueError, match=r"the affines differ|have other sizes"):
        MaskFolder(tmp_path)[0]


@pytest.mark.parametrize("code", ["LPS", "SPL", "ASR", "PIR", "LAI"])
def test_the_same_places_in_another_voxel_order_are_one_grid(tmp_path, code):
    affine = turned(17.3) @ np.diag([0.78, 0.78, 3.3, 1]) + shifted(-123.456, 98.7654, -1000.123) - np.eye(4)
    mask = reordered(nibabel.Nifti1Image(voxels_of(FOUND), affine), code)
    found = pair(tmp_path, mask.to_filename, lambda path: nifti(path, voxels_of(STACK), affine))
    assert found[0] == pytest.approx(2 * (FOUND & STACK).sum() / (FOUND.sum() + STACK.sum()))


def test_a_qform_and_an_sform_of_one_affine_are_one_grid(tmp_path):
    affine = turned(17.3) @ np.diag([0.7812, 0.7812, 3.3, 1]) + shifted(-123.456, 98.7654, -1000.123) - np.eye(4)

    def only(path, stack, form):
        image = nibabel.Nifti1Image(voxels_of(stack), None)
        image.set_qform(affine, 1 if form == "qform" else 0)
        image.set_sform(affine if form == "sform" else None, 1 if form == "sform" else 0)
        image.to_filename(path)

    found = pair(tmp_path, lambda path: only(path, FOUND, "qform"), lambda path: only(path, STACK, "sform"))
    assert found[0] == pytest.approx(2 * (FOUND & STACK).sum() / (FOUND.sum() + STACK.sum()))


@pytest.mark.parametrize(
    "units", [("micron", "mm"), ("mm", "micron"), ("micron", "micron"), ("meter", "mm"), ("mm", "meter")]
)
def test_units_are_compared_in_millimetres(tmp_path, units):
    per_mm = {"micron": 1000.0, "mm": 1.0, "meter": 0.001}

    def write(path, stack, unit):
        image = nibabel.Nifti1Image(voxels_of(stack), np.diag([per_mm[unit]] * 3 + [1]))
        image.header.set_xyzt_units(unit)
        image.to_filename(path)

    moved = np.roll(STACK, 1, axis=2)  # by one voxel of 1 mm, within the tolerance of 2 mm
    found = pair(tmp_path, lambda path: write(path, moved, units[0]), lambda path: write(path, STACK, units[1]))
    assert found[1] == 1 and found[0] < 1


HERE = {"PixelSpacing": [1, 1], "ImagePositionPatient": [0, 0, 0], "ImageOrientationPatient": [1, 0, 0, 0, 1, 0]}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"PixelSpacing": [2, 2]}, "other sizes"),
        ({"PixelSpacing": [1, 1.5]}, "other sizes"),
        ({"ImagePositionPatient": [0, 0, 40]}, "other positions or orientations"),
        ({"ImageOrientationPatient": [-1, 0, 0, 0, 1, 0]}, "other positions or orientations"),
        ({"ImageOrientationPatient": [1, 0, 0, 0, 0, -1]}, "other positions or orientations"),
    ],
)
def test_dicom_masks_elsewhere_are_left_out(tmp_path, change, reason):
    mask = TARGET.astype(np.uint8)
    said = pair(
        tmp_path,
        lambda path: dicom(path, mask, **HERE | change),
        lambda path: dicom(path, mask, **HERE),
        ("dcm", "dcm"),
    )
    assert reason in said


def test_a_reference_whose_pixel_size_cannot_be_understood_is_not_scored_in_pixels(tmp_path):
    """What the file says is there, and to count a pixel as 1 mm would be another score."""
    mask = TARGET.astype(np.uint8)
    one, other = (lambda path: dicom(path, mask, **HERE)), (lambda path: dicom(path, mask, PixelSpacing=[0, 0]))
    assert "spacing unknown: PixelSpacing" in pair(tmp_path, one, other, ("dcm", "dcm"))


# A written mask keeps both transforms with their codes, and lies on its voxels: as nibabel and as ITK see it

SCANNER = np.array([[1.0, 0, 0, 5], [0, 1.5, 0, -7], [0, 0, 2, 11], [0, 0, 0, 1]])
SHEAR = np.eye(4)
SHEAR[1, 2] = 0.26
FORMS = {
    "sform turned into MNI space": (SCANNER, 1, turned(10) @ SCANNER, 4),
    "sform sheared, which ITK cannot show": (SCANNER, 1, SHEAR @ SCANNER, 1),
    "both alike": (SCANNER, 2, SCANNER, 2),
    "qform only": (SCANNER, 1, None, 0),
    "sform only": (None, 0, turned(10) @ SCANNER, 3),
    "neither": (None, 0, None, 0),
}


def with_forms(path: Path, name: str) -> nibabel.Nifti1Image:
    qform, qcode, sform, scode = FORMS[name]
    voxels = np.random.default_rng(1).choice(np.int16([0, 1000]), (12, 14, 10))
    image = nibabel.Nifti1Image(voxels, None)
    image.header.set_zooms((1, 1.5, 2))
    image.header.set_xyzt_units("mm")
    image.set_qform(qform, qcode, update_affine=False)
    image.set_sform(sform, scode, update_affine=False)
    image.to_filename(path)
    return nibabel.load(path)


def assert_same_place(image: nibabel.Nifti1Image, image_path: Path, mask_path: Path) -> None:
    mask = nibabel.load(mask_path)
    for form in ("get_qform", "get_sform"):
        (one, code), (other, other_code) = (getattr(each, form)(coded=True) for each in (image, mask))
        assert code == other_code and (one is None) == (other is None)
        assert one is None or np.allclose(one, other, atol=1e-4)
    np.testing.assert_allclose(mask.affine, image.affine, atol=1e-4)
    assert mask.header.get_zooms() == pytest.approx(image.header.get_zooms())
    try:
        expected = SimpleITK.ReadImage(str(image_path))
    except RuntimeError:
        return  # ITK opens neither
    found = SimpleITK.ReadImage(str(mask_path))
    for attribute in ("GetOrigin", "GetSpacing", "GetDirection", "GetSize"):
        assert getattr(found, attribute)() == pytest.approx(getattr(expected, attribute)(), abs=1e-4)


@pytest.mark.parametrize("plane", ["axial", "coronal", "sagittal"])
@pytest.mark.parametrize("name", FORMS)
def test_a_written_slice_keeps_both_transforms_and_its_voxels(tmp_path, name, plane):
    source = with_forms(tmp_path / "image.nii", name)
    image = read_image(tmp_path / "image.nii", plane=plane, slice_index=4)
    mask = image.pixels[..., 0] > 127
    write_mask(tmp_path / "mask.nii", mask, like=image)
    assert_same_place(source, tmp_path / "image.nii", tmp_path / "mask.nii")
    axis = {"axial": 2, "coronal": 1, "sagittal": 0}[plane]
    grows = nibabel.aff2axcodes(source.affine)[axis] in "RAS"
    at = 4 if grows else source.shape[axis] - 5
    written, voxels = (np.asarray(each.dataobj) for each in (nibabel.load(tmp_path / "mask.nii"), source))
    np.testing.assert_array_equal(written.take(at, axis) > 0, voxels.take(at, axis) > 0)
    assert written.sum() == mask.sum()
    assert (
        f"{plane} slice 4 of {source.shape[axis]} only"
        in bytes(nibabel.load(tmp_path / "mask.nii").header["descrip"]).decode()
    )


@pytest.mark.parametrize("name", FORMS)
def test_a_written_volume_keeps_both_transforms_and_its_voxels(tmp_path, name):
    source = with_forms(tmp_path / "image.nii.gz", name)
    for plane in ("axial", "coronal", "sagittal"):
        first = read_image(tmp_path / "image.nii.gz", plane=plane, slice_index=0)
        slices = range(first.volume.n_slices)
        pixels = [read_image(tmp_path / "image.nii.gz", plane=plane, slice_index=index).pixels for index in slices]
        write_mask(tmp_path / "mask.nii.gz", np.stack(pixels)[..., 0] > 127, like=first)
        assert_same_place(source, tmp_path / "image.nii.gz", tmp_path / "mask.nii.gz")
        written = nibabel.load(tmp_path / "mask.nii.gz")
        np.testing.assert_array_equal(np.asarray(written.dataobj) > 0, np.asarray(source.dataobj) > 0)
        assert b"only" not in bytes(written.header["descrip"])


# Scores of volumes, by hand


def cuboid(*sizes: int, start=(2, 3, 4), shape=(12, 14, 16)) -> np.ndarray:
    mask = np.zeros(shape, bool)
    mask[tuple(slice(begin, begin + size) for begin, size in zip(start, sizes, strict=True))] = True
    return mask


@pytest.mark.parametrize(
    ("pred", "true", "expected"),
    [
        (cuboid(4, 4, 4), cuboid(4, 4, 4), 1),
        (cuboid(2, 4, 4), cuboid(4, 4, 4), 2 * 32 / (32 + 64)),
        (cuboid(1, 4, 4), cuboid(4, 4, 4), 2 * 16 / (16 + 64)),
        (cuboid(4, 4, 4, start=(6, 3, 4)), cuboid(4, 4, 4), 0),
        (cuboid(4, 4, 4, start=(3, 4, 5)), cuboid(4, 4, 4), 2 * 27 / 128),
        (cuboid(0, 0, 0), cuboid(0, 0, 0), 1),
        (cuboid(0, 0, 0), cuboid(4, 4, 4), 0),
    ],
    ids=["equal", "half", "one slice", "apart", "shifted", "both empty", "one empty"],
)
def test_volume_dice_by_hand(pred, true, expected):
    assert volume_dice(pred, true) == volume_dice(true, pred) == pytest.approx(expected)
    assert volume_dice(pred.astype(np.uint8), true.astype(np.float32)) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("pred", "true", "tolerance", "spacing", "expected"),
    [
        (cuboid(4, 4, 4), cuboid(4, 4, 4), 0, (1, 1, 1), 1),
        (cuboid(0, 0, 0), cuboid(0, 0, 0), 2, (1, 1, 1), 1),
        (cuboid(0, 0, 0), cuboid(4, 4, 4), 2, (1, 1, 1), 0),
        (cuboid(4, 4, 4, start=(3, 3, 4)), cuboid(4, 4, 4), 1, (1, 1, 1), 1),
        (cuboid(4, 4, 4, start=(3, 3, 4)), cuboid(4, 4, 4), 4.9, (5, 1, 1), None),
        (cuboid(4, 4, 4, start=(3, 3, 4)), cuboid(4, 4, 4), 5, (5, 1, 1), 1),
        (cuboid(2, 2, 2, start=(8, 3, 4)), cuboid(2, 2, 2), 2, (3, 1, 1), 0),
    ],
    ids=["equal", "both empty", "one empty", "within", "beyond in thick slices", "just within them", "far"],
)
def test_volume_nsd_by_hand(pred, true, tolerance, spacing, expected):
    found = volume_nsd(pred, true, tolerance, spacing)
    assert 0 < found < 1 if expected is None else found == expected


def corner_surfaces(mask: np.ndarray, spacing) -> tuple[np.ndarray, np.ndarray]:
    """Corners where eight voxels meet and are not all alike, in mm, and the area of surface that each holds.

    Of a cuboid every corner on a face holds that face's area of one voxel; on an edge half of both faces; at a corner
    of the cuboid the corner is cut off: the area is that of the triangle between the middles of three edges.
    """
    padded = np.pad(mask, 1)
    found, areas = [], []
    for corner in np.ndindex(*(size + 1 for size in mask.shape)):
        cube = padded[tuple(slice(at, at + 2) for at in corner)]
        if not 0 < cube.sum() < 8:
            continue
        found.append(np.array(corner) * spacing)
        areas.append(_AREA[int(cube.sum())](cube, np.array(spacing, float)))
    return np.array(found), np.array(areas)


def _face(cube: np.ndarray, s: np.ndarray) -> float:
    (axis,) = (axis for axis in range(3) if cube.take(0, axis).all() != cube.take(1, axis).all())
    return np.prod(np.delete(s, axis))


def _edge(cube: np.ndarray, s: np.ndarray) -> float:
    (along,) = (axis for axis in range(3) if (cube.take(0, axis) == cube.take(1, axis)).all())
    across = np.delete(s, along)
    return s[along] * np.hypot(*across) / 2


def _corner(cube: np.ndarray, s: np.ndarray) -> float:
    a, b, c = (s / 2) ** 2
    return np.sqrt(a * b + b * c + a * c) / 2


_AREA = {1: _corner, 2: _edge, 4: _face}


@pytest.mark.parametrize("spacing", [(1, 1, 1), (3, 1, 1), (1, 2, 1), (2.5, 0.7, 0.7)])
@pytest.mark.parametrize("shift", [(1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 0), (2, 1, 1)])
@pytest.mark.parametrize("tolerance", [0.9, 1, 2])
def test_volume_nsd_of_a_moved_cuboid_is_that_of_all_pairs_of_corners(shift, spacing, tolerance):
    true = cuboid(4, 5, 6)
    pred = np.roll(true, shift, axis=(0, 1, 2))
    (here, here_area), (there, there_area) = (corner_surfaces(mask, spacing) for mask in (pred, true))
    distances = np.linalg.norm(here[:, None] - there[None], axis=2)
    near = here_area[distances.min(1) <= tolerance].sum() + there_area[distances.min(0) <= tolerance].sum()
    expected = near / (here_area.sum() + there_area.sum())
    assert volume_nsd(pred, true, tolerance, spacing) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("measure", [volume_dice, volume_nsd])
@pytest.mark.parametrize(
    ("pred", "true", "message"),
    [
        (cuboid(4, 4, 4)[0], cuboid(4, 4, 4)[0], r"the mask of a volume is \[S, H, W\]: give all its slices"),
        (cuboid(4, 4, 4)[None], cuboid(4, 4, 4)[None], r"shape \(1, 12, 14, 16\)"),
        (cuboid(4, 4, 4)[:-1], cuboid(4, 4, 4), r"pred has shape \(11, 14, 16\) and true has shape \(12, 14, 16\)"),
        (2 * cuboid(4, 4, 4).astype(int), cuboid(4, 4, 4), "pred has other values than 0 and 1"),
        (cuboid(4, 4, 4), np.where(cuboid(4, 4, 4), np.nan, 0), "true has 64 NaN values"),
        (np.zeros((0, 4, 4), bool), np.zeros((0, 4, 4), bool), "so no pixels"),
    ],
    ids=["a slice", "four axes", "other shapes", "labels", "NaN", "no slices"],
)
def test_what_is_no_mask_of_a_volume_is_refused(measure, pred, true, message):
    with pytest.raises(ValueError, match=message):
        measure(pred, true)


@pytest.mark.parametrize("spacing", [(1, 1), (1, 1, 0), (1, -1, 1), (1, 1, float("nan")), 1, "abc"])
def test_volume_nsd_refuses_a_spacing_that_is_none(spacing):
    with pytest.raises(
        ValueError, match=r"give three positive numbers, .between slices, between rows, between columns"
    ):
        volume_nsd(cuboid(4, 4, 4), cuboid(4, 4, 4), spacing_mm=spacing)


@pytest.mark.parametrize("tolerance", [-1, float("nan"), float("inf"), "2", None])
def test_volume_nsd_refuses_a_tolerance_that_is_none(tolerance):
    with pytest.raises(ValueError, match=r"tolerance_mm is .*: give a finite number, 0 or more"):
        volume_nsd(cuboid(4, 4, 4), cuboid(4, 4, 4), tolerance)


def test_a_volume_has_other_scores_than_its_slices():
    pred, true = cuboid(4, 4, 4, start=(3, 3, 4)), cuboid(4, 4, 4)
    assert volume_dice(pred, true) == 0.75
    assert [dice(one, other) for one, other in zip(pred[2:7], true[2:7], strict=True)] == [0, 1, 1, 1, 0]
    assert nsd(pred[2], true[2]) == 0 and volume_nsd(pred, true) == 1
