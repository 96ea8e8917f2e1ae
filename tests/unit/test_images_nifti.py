"""NIfTI: the same body gives the same picture in every voxel order, and grey levels and spacing by hand.

The phantom is a volume whose every voxel says where it is: value = 1 + x + 10 y + 100 z, with x growing to the
patient's right, y to anterior and z to superior.
"""

from __future__ import annotations

import gzip
import itertools
from pathlib import Path

import nibabel
import nilearn.datasets
import numpy as np
import pytest

from medclipsam_utils.images import ImageError, MedicalImage, read_image

pytestmark = pytest.mark.filterwarnings("error")

NX, NY, NZ = 4, 5, 6
SIZES = (2.0, 3.0, 4.0)  # mm along x, y and z
X, Y, Z = np.meshgrid(np.arange(NX), np.arange(NY), np.arange(NZ), indexing="ij")
PHANTOM = (1 + X + 10 * Y + 100 * Z).astype(np.int16)
RAS = np.diag([*SIZES, 1.0])
RAS[:3, 3] = (-20, 30, -40)
EXACT = (300, 600)  # centre and width of a window from 0 to 600
VOXEL_ORDERS = [
    "".join(code)
    for axes in itertools.permutations(["RL", "AP", "SI"])
    for code in itertools.product(*axes)  # all 48: RAS, LPS, ASR, ...
]


def volume(values=PHANTOM, affine=RAS, kind=nibabel.Nifti1Image) -> nibabel.Nifti1Image:
    image = kind(values, affine)
    image.header.set_xyzt_units("mm")
    return image


def reordered(image: nibabel.Nifti1Image, code: str) -> nibabel.Nifti1Image:
    """The same body with its voxels stored in another order."""
    start = nibabel.io_orientation(image.affine)
    end = nibabel.orientations.axcodes2ornt(code)
    return image.as_reoriented(nibabel.orientations.ornt_transform(start, end))


def patched(offset: int, values: np.ndarray) -> bytes:
    """The phantom's file with ``values`` in its header, which nibabel would not write."""
    content = bytearray(volume().to_bytes())
    content[offset : offset + values.nbytes] = values.tobytes()
    return bytes(content)


def save(path: Path, image: nibabel.Nifti1Image | bytes) -> Path:
    content = image if isinstance(image, bytes) else image.to_bytes()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


def grey(image: MedicalImage) -> np.ndarray:
    assert image.pixels.dtype == np.uint8 and (image.pixels == image.pixels[..., :1]).all()
    return image.pixels[..., 0]


def expected_values(plane: str, index: int) -> np.ndarray:
    """The phantom's slice in radiological convention, written out pixel by pixel."""
    value = lambda x, y, z: 1 + x + 10 * y + 100 * z  # noqa: E731
    rows, columns = {"axial": (NY, NX), "coronal": (NZ, NX), "sagittal": (NZ, NY)}[plane]
    picture = np.zeros((rows, columns), int)
    for row, column in np.ndindex(rows, columns):
        if plane == "axial":  # anterior up, right on the left
            picture[row, column] = value(NX - 1 - column, NY - 1 - row, index)
        elif plane == "coronal":  # superior up, right on the left
            picture[row, column] = value(NX - 1 - column, index, NZ - 1 - row)
        else:  # superior up, anterior on the left
            picture[row, column] = value(index, NY - 1 - column, NZ - 1 - row)
    return picture


def levels(values) -> np.ndarray:
    return np.rint(np.clip(np.asarray(values, float) / 600, 0, 1) * 255)


# Orientation


@pytest.mark.parametrize("code", VOXEL_ORDERS)
def test_every_voxel_order_gives_the_same_picture(tmp_path, code):
    stored = reordered(volume(), code)
    assert "".join(nibabel.aff2axcodes(stored.affine)) == code
    path = save(tmp_path / "a.nii", stored)
    for plane, n in (("axial", NZ), ("coronal", NY), ("sagittal", NX)):
        for index in range(n):
            image = read_image(path, plane=plane, slice_index=index, window=EXACT)
            np.testing.assert_array_equal(grey(image), levels(expected_values(plane, index)))
            assert (image.volume.plane, image.volume.slice_index, image.volume.n_slices) == (plane, index, n)


@pytest.mark.parametrize("code", ["RAS", "LPS", "ASR"])
def test_spacing_follows_the_plane(tmp_path, code):
    path = save(tmp_path / "a.nii", reordered(volume(), code))
    assert read_image(path, plane="axial").spacing_mm == pytest.approx((3, 2))
    assert read_image(path, plane="coronal").spacing_mm == pytest.approx((4, 2))
    assert read_image(path, plane="sagittal").spacing_mm == pytest.approx((4, 3))


def test_spacing_is_that_of_the_affine_even_where_the_header_says_otherwise(tmp_path):
    """As with nilearn; a mask that is written back has the affine, so it has the same spacing."""
    for sizes in ([0, 0, 0], [9, 9, 9]):
        path = save(tmp_path / "a.nii", patched(80, np.float32(sizes)))  # pixdim[1], the sform stays
        assert read_image(path).spacing_mm == pytest.approx((3, 2))


def test_defaults_and_repr(tmp_path):
    image = read_image(save(tmp_path / "a.nii", volume()))
    assert repr(image).startswith("MedicalImage(a.nii: NIfTI, 5 × 4 pixels, 3 × 2 mm, window ")
    assert repr(image).endswith("axial slice 3 of 6)")
    assert (image.format, image.modality, image.frame, image.n_frames) == ("NIfTI", None, 0, 1)


def rotation(degrees: float, axis: int) -> np.ndarray:
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    turn = np.eye(3)
    others = [other for other in range(3) if other != axis]
    turn[np.ix_(others, others)] = [[c, -s], [s, c]]
    return turn


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("degrees", [-40, 20, 44])
def test_an_oblique_volume_is_shown_along_its_closest_axes_without_resampling(tmp_path, axis, degrees):
    oblique = RAS.copy()
    oblique[:3, :3] = rotation(degrees, axis) @ RAS[:3, :3]
    image = read_image(save(tmp_path / "a.nii", volume(affine=oblique)), plane="axial", slice_index=1, window=EXACT)
    np.testing.assert_array_equal(grey(image), levels(expected_values("axial", 1)))
    assert image.spacing_mm == pytest.approx((3, 2))
    np.testing.assert_allclose(image.volume.affine, oblique, atol=1e-4)


def with_transforms(sform=None, qform=None) -> nibabel.Nifti1Image:
    image = nibabel.Nifti1Image(PHANTOM, None)
    image.header.set_zooms(SIZES)
    image.set_sform(sform, 0 if sform is None else 1)
    image.set_qform(qform, 0 if qform is None else 1)
    return image


def test_the_sform_goes_before_the_qform(tmp_path):
    lps = reordered(volume(), "LPS").affine
    ras = levels(expected_values("axial", 1))
    turned = ras[::-1, ::-1]
    for number, (transforms, expected) in enumerate(
        [
            ({"sform": RAS, "qform": lps}, ras),
            ({"sform": lps, "qform": RAS}, turned),
            ({"qform": RAS}, ras),
            ({"qform": lps}, turned),
            ({}, ras[:, ::-1]),  # NIfTI without a transform is taken as LAS
        ]
    ):
        path = save(tmp_path / f"{number}.nii", with_transforms(**transforms))
        image = read_image(path, plane="axial", slice_index=1, window=EXACT)
        np.testing.assert_array_equal(grey(image), expected)
        assert image.spacing_mm == pytest.approx((3, 2))
        assert image.volume.space == (1 if transforms else 2)


# What the file says about numbers, units and shape


@pytest.mark.parametrize("dtype", ["u1", "i1", "<i2", ">i2", "<u2", ">i4", "<i8", ">u8", "<f4", ">f4", "<f8", ">f8"])
@pytest.mark.parametrize("kind", [nibabel.Nifti1Image, nibabel.Nifti2Image])
def test_types_byte_orders_and_versions(tmp_path, dtype, kind):
    values = (PHANTOM % 100).astype(dtype)
    image = kind(values, RAS, kind.header_class(endianness=">" if dtype[0] == ">" else "<"), dtype=values.dtype)
    for name in ("a.nii", "a.nii.gz"):
        read = read_image(save(tmp_path / name, image), plane="axial", slice_index=2, window=(50, 100))
        expected = np.rint(expected_values("axial", 2) % 100 * 2.55)
        np.testing.assert_array_equal(grey(read), expected)


def test_slope_and_intercept(tmp_path):
    path = save(tmp_path / "a.nii", patched(112, np.float32([0.5, -10])))
    read = read_image(path, plane="axial", slice_index=0, window=(0, 20))
    expected = np.rint(np.clip((expected_values("axial", 0) / 2 - 10 + 10) / 20, 0, 1) * 255)
    np.testing.assert_array_equal(grey(read), expected)


def test_grey_levels_without_a_window(tmp_path):
    eight = read_image(save(tmp_path / "a.nii", volume((PHANTOM % 200).astype(np.uint8))), slice_index=1)
    np.testing.assert_array_equal(grey(eight), expected_values("axial", 1) % 200)
    assert eight.window is None
    # 101..144 in the slice: 20 values, of which the percentiles are computed, not of the whole volume.
    stretched = read_image(save(tmp_path / "b.nii", volume()), slice_index=1)
    low, high = np.percentile(expected_values("axial", 1), (0.5, 99.5))
    assert stretched.window == pytest.approx(((low + high) / 2, high - low))
    assert grey(stretched).min() == 0 and grey(stretched).max() == 255


def test_the_files_display_range_is_its_window(tmp_path):
    image = volume()
    image.header["cal_min"], image.header["cal_max"] = 100, 300
    path = save(tmp_path / "a.nii", image)
    read = read_image(path, slice_index=1)
    assert read.window == (200, 200)
    np.testing.assert_array_equal(grey(read), np.rint((expected_values("axial", 1) - 100) / 200 * 255))
    assert read_image(path, window=EXACT).window == EXACT


@pytest.mark.parametrize(("unit", "scale"), [("mm", 1), ("meter", 1000), ("micron", 0.001), (0, 1), (7, 1)])
def test_units(tmp_path, unit, scale):
    image = volume(affine=np.diag([2e-5, 3e-5, 4e-5, 1]) if unit == "meter" else RAS)
    if isinstance(unit, str):
        image.header.set_xyzt_units(unit, "sec")
    else:
        image.header["xyzt_units"] = unit  # unknown, and a number without a meaning
    expected = (0.03, 0.02) if unit == "meter" else (3 * scale, 2 * scale)
    assert read_image(save(tmp_path / "a.nii", image)).spacing_mm == pytest.approx(expected)


@pytest.mark.parametrize("n_ones", [1, 2, 4])
def test_axes_of_length_one_are_no_obstacle(tmp_path, n_ones):
    image = volume(PHANTOM.reshape(*PHANTOM.shape, *[1] * n_ones))
    read = read_image(save(tmp_path / "a.nii", image), slice_index=2, window=EXACT)
    np.testing.assert_array_equal(grey(read), levels(expected_values("axial", 2)))


@pytest.mark.parametrize(
    ("values", "plane"),
    [
        (PHANTOM[:, :, 2], "axial"),
        (PHANTOM[:, :, 2:3], "axial"),
        (PHANTOM[:, 2:3], "coronal"),
        (PHANTOM[1:2], "sagittal"),
    ],
)
def test_a_single_slice_is_shown_in_the_plane_in_which_it_lies(tmp_path, values, plane):
    image = read_image(save(tmp_path / "a.nii", volume(values)), window=EXACT)
    assert (image.volume.plane, image.volume.n_slices, image.volume.slice_index) == (plane, 1, 0)
    np.testing.assert_array_equal(grey(image), levels(expected_values(plane, 1 if plane == "sagittal" else 2)))


def test_nothing_of_the_header_texts_is_kept(tmp_path):
    image = volume()
    for field, length in (("descrip", 80), ("db_name", 18), ("aux_file", 24), ("intent_name", 16)):
        image.header[field] = b"Doe^Jane"[:length]
    image.header.extensions.append(nibabel.nifti1.Nifti1Extension("comment", b"Doe^Jane"))
    path = save(tmp_path / "a.nii", image)
    assert path.read_bytes().count(b"Doe^Jane") == 5
    read = read_image(path)
    assert "Doe" not in repr(read) + str(vars(read)) + str(vars(read.volume))


# A real brain


MNI = Path(nilearn.datasets.__file__).parent / "data" / "mni_icbm152_t1_tal_nlin_sym_09a_converted.nii.gz"


@pytest.fixture(scope="module")
def mni():
    return nibabel.load(MNI)


def world_to_slice(image, point) -> np.ndarray:
    return np.rint(np.linalg.solve(image.affine, [*point, 1])[:3]).astype(int)


def test_the_mni_template_faces_up_and_left(mni):
    sagittal = grey(read_image(MNI, plane="sagittal"))
    rows, columns = np.nonzero(sagittal > 60)
    lowest = rows > np.quantile(rows, 0.93)
    assert np.median(columns[lowest]) > sagittal.shape[1] / 2  # the brain stem and cerebellum lie below, to the right
    axial = grey(read_image(MNI))
    assert axial.shape == (233, 197)
    brain = np.nonzero(axial > 60)
    assert np.ptp(brain[0]) > np.ptp(brain[1])  # longer from front to back than wide
    k = int(world_to_slice(mni, (0, 0, -40))[2])
    cerebellum = np.nonzero(grey(read_image(MNI, plane="axial", slice_index=k)) > 60)
    assert np.median(cerebellum[0]) > 233 / 2  # behind, so below
    coronal = grey(read_image(MNI, plane="coronal"))
    assert not coronal[:8].any() and coronal[40:100].mean() > coronal[120:180].mean()  # the hemispheres are above


def test_the_right_of_the_mni_template_is_on_the_left(tmp_path, mni):
    values = np.zeros(mni.shape, np.uint8)
    values[tuple(world_to_slice(mni, (40, 60, 40)))] = 255  # right, anterior, superior
    path = save(tmp_path / "a.nii", nibabel.Nifti1Image(values, mni.affine))
    i, j, k = world_to_slice(mni, (40, 60, 40))
    for plane, index in (("axial", k), ("coronal", j), ("sagittal", i)):
        ((row, column),) = np.argwhere(grey(read_image(path, plane=plane, slice_index=int(index))))
        height, width = read_image(path, plane=plane).pixels.shape[:2]
        assert row < height / 2 and column < width / 2


def test_the_mni_template_in_another_voxel_order(tmp_path, mni):
    path = save(tmp_path / "a.nii", reordered(mni, "PIR"))
    for plane in ("axial", "coronal", "sagittal"):
        np.testing.assert_array_equal(read_image(path, plane=plane).pixels, read_image(MNI, plane=plane).pixels)
    assert read_image(path).spacing_mm == pytest.approx((1, 1))


# What does not fit


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"slice_index": 6}, "axial slice 6 does not exist. Choose 0 to 5."),
        ({"slice_index": -1}, "axial slice -1 does not exist. Choose 0 to 5."),
        ({"plane": "coronal", "slice_index": 5}, "coronal slice 5 does not exist. Choose 0 to 4."),
        ({"plane": "oblique"}, "plane is 'oblique'. Choose one of axial, coronal, sagittal."),
        ({"frame": 0}, "a NIfTI volume has slices, not frames. Use plane= and slice_index=."),
        ({"slice_index": 1.5}, "slice_index is 1.5. Give a whole number, counted from 0."),
    ],
)
def test_arguments_that_do_not_fit(tmp_path, options, message):
    path = save(tmp_path / "a.nii", volume())
    with pytest.raises(ImageError) as caught:
        read_image(path, **options)
    assert str(caught.value) == f"{path}: {message}"


def four_axes():
    return volume(np.zeros((2, 3, 4, 5), np.int16))


def complex_numbers():
    return volume(np.zeros((2, 3, 4), np.complex64))


def colours():
    return volume(np.zeros((2, 3, 4), [("R", "u1"), ("G", "u1"), ("B", "u1")]))


def one_axis():
    return nibabel.Nifti1Image(np.zeros(5, np.int16), RAS)


def flat_affine():
    return patched(280, np.float32([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 0]]))


def two_axes_along_the_same_line():
    return patched(280, np.float32([[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0]]))


def affine_with_nan():
    return patched(280, np.float32([[1, 0, 0, 0], [0, np.nan, 0, 0], [0, 0, 1, 0]]))


def voxels_with_nan():
    values = PHANTOM.astype(np.float32)
    values[1, 2, 3] = np.nan
    return volume(values)


def infinite():
    return volume(np.full((2, 3, 4), np.inf, np.float32))


@pytest.mark.parametrize(
    ("make", "reason", "remedy"),
    [
        (four_axes, "the volume has 4 axes: (2, 3, 4, 5)", "Take one volume out of it first"),
        (complex_numbers, "the voxels are of type complex64", "Convert them"),
        (colours, "the voxels are of type", "Convert them"),
        (one_axis, "the volume has only 1 axis", "Give a slice or a volume"),
        (flat_affine, "the affine does not say where the voxels lie", "Repair the header"),
        (two_axes_along_the_same_line, "the affine does not say where the voxels lie", "Repair the header"),
        (affine_with_nan, "the affine does not say where the voxels lie", "Repair the header"),
        (voxels_with_nan, "1 of 20 values are NaN or infinite", "Replace them first"),
        (infinite, "all values are NaN or infinite", "Replace them first"),
    ],
)
def test_volumes_that_are_refused(tmp_path, make, reason, remedy):
    for name in ("a.nii", "a.nii.gz"):
        path = save(tmp_path / name, make())
        with pytest.raises(ImageError) as caught:
            read_image(path)
        assert str(caught.value).startswith(f"{path}: {reason}") and remedy in str(caught.value)


def test_a_slice_without_nan_is_read_from_a_volume_that_has_some(tmp_path):
    assert read_image(save(tmp_path / "a.nii", voxels_with_nan()), slice_index=1).pixels.any()


def test_a_volume_without_voxels(tmp_path):
    path = save(tmp_path / "a.nii", patched(42, np.int16([0])))  # dim[1]
    with pytest.raises(ImageError, match="so no voxels"):
        read_image(path)


def test_a_slice_too_large_for_memory_is_refused_before_it_is_read(tmp_path):
    path = save(tmp_path / "a.nii", patched(42, np.int16([30_000, 30_000])))  # 900 million pixels are not in the file
    with pytest.raises(ImageError, match=r"the image is 30000 × 30000 pixels.* Crop it or scale it down first\."):
        read_image(path)


def test_a_pair_of_header_and_image_is_refused_with_the_way_to_join_it(tmp_path):
    nibabel.save(nibabel.Nifti1Pair(PHANTOM, RAS), tmp_path / "a.hdr")
    with pytest.raises(ImageError, match=r"a\.hdr: a NIfTI header whose voxels are in another file\. Join the pair"):
        read_image(tmp_path / "a.hdr")


def test_a_volume_cut_short_is_refused_even_for_the_slices_that_are_there(tmp_path):
    content = volume().to_bytes()
    for name in ("a.nii", "a.nii.gz"):
        path = save(tmp_path / name, content[:-2])
        with pytest.raises(ImageError, match=r"cut short: 590 of 592 bytes\. Copy or download it again\."):
            read_image(path, slice_index=0)  # 352 bytes of header and 4 · 5 · 6 voxels of 2


@pytest.mark.parametrize("cut", [0.3, 0.9, 0.999])
def test_a_zipped_volume_cut_short(tmp_path, cut):
    path = save(tmp_path / "a.nii.gz", volume())
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * cut)])
    with pytest.raises(ImageError, match=r"a\.nii\.gz: .*(EOFError|cut short).*copy or export it again|Check that"):
        read_image(path)


def test_a_flipped_bit_in_a_zipped_volume_is_found(tmp_path):
    path = save(tmp_path / "a.nii.gz", volume())
    content = bytearray(path.read_bytes())
    content[-8] ^= 1  # of the checksum
    path.write_bytes(content)
    with pytest.raises(ImageError, match=r"cannot be decoded \(BadGzipFile\)"):
        read_image(path)
