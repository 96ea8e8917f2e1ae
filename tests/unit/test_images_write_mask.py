"""Writing masks: what is written is what is read back, in the same place, and never half of it."""

from __future__ import annotations

import gzip
import os
import time
from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pytest
from PIL import Image

from medclipsam_utils.images import ImageError, MedicalImage, read_image, write_mask

pytestmark = pytest.mark.filterwarnings("error")

VOLUME = np.arange(4 * 5 * 6, dtype=np.int16).reshape(4, 5, 6)
AFFINE = np.array([[2.0, 0, 0, -20], [0, 3, 0, 30], [0, 0, 4, -40], [0, 0, 0, 1]])


def random_mask(shape, seed=0) -> np.ndarray:
    mask = np.random.default_rng(seed).random(shape[:2]) < 0.4
    mask[0, 0], mask[-1, -1] = True, False
    return mask


def oriented(code: str, affine=AFFINE, values=VOLUME) -> nibabel.Nifti1Image:
    image = nibabel.Nifti1Image(values, affine)
    image.header.set_xyzt_units("mm")
    return image.as_reoriented(
        nibabel.orientations.ornt_transform(nibabel.io_orientation(affine), nibabel.orientations.axcodes2ornt(code))
    )


@pytest.fixture
def picture(tmp_path) -> MedicalImage:
    Image.fromarray(np.full((6, 9), 100, np.uint8)).save(tmp_path / "picture.png")
    return read_image(tmp_path / "picture.png")


@pytest.fixture
def brain(tmp_path) -> MedicalImage:
    oriented("RAS").to_filename(tmp_path / "brain.nii")
    return read_image(tmp_path / "brain.nii")


# Pictures


@pytest.mark.parametrize("extension", [".png", ".tif", ".tiff", ".PNG"])
def test_a_picture_of_0_and_255(tmp_path, picture, extension):
    mask = random_mask(picture.pixels.shape)
    path = tmp_path / f"mask{extension}"
    write_mask(str(path), mask, picture)
    with Image.open(path) as written:
        assert written.mode == "L" and written.format == ("PNG" if extension.lower() == ".png" else "TIFF")
        np.testing.assert_array_equal(np.asarray(written), 255 * mask)
    np.testing.assert_array_equal(read_image(path).pixels[..., 0] > 0, mask)


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int64, np.float32])
def test_numbers_that_are_0_and_1_are_a_mask_and_an_empty_one_is_too(tmp_path, picture, dtype):
    mask = random_mask(picture.pixels.shape)
    write_mask(tmp_path / "mask.png", mask.astype(dtype), picture)
    np.testing.assert_array_equal(read_image(tmp_path / "mask.png").pixels[..., 0], 255 * mask)
    write_mask(tmp_path / "mask.png", np.zeros_like(mask, dtype), picture)
    assert not read_image(tmp_path / "mask.png").pixels.any()


@pytest.mark.parametrize("extension", [".png", ".tif", ".nii", ".nii.gz"])
def test_the_same_mask_gives_the_same_bytes_at_any_time(tmp_path, brain, extension, monkeypatch):
    mask = random_mask(brain.pixels.shape)
    for name, now in (("a", 1e9), ("b", 2e9)):
        monkeypatch.setattr(time, "time", lambda now=now: now)
        write_mask(tmp_path / f"{name}{extension}", mask, brain)
    assert (tmp_path / f"a{extension}").read_bytes() == (tmp_path / f"b{extension}").read_bytes()


# Volumes


@pytest.mark.parametrize("code", ["RAS", "LPS", "LAS", "ASR", "PIR", "SRA", "ILP"])
@pytest.mark.parametrize("plane", ["axial", "coronal", "sagittal"])
def test_a_mask_comes_back_in_its_slice_and_plane_and_nowhere_else(tmp_path, code, plane):
    original = oriented(code)
    original.to_filename(tmp_path / "image.nii")
    image = read_image(tmp_path / "image.nii", plane=plane, slice_index=1)
    mask = random_mask(image.pixels.shape)
    for name in ("mask.nii", "mask.nii.gz"):
        write_mask(tmp_path / name, mask, image)
        written = nibabel.load(tmp_path / name)
        assert written.shape == original.shape and written.get_data_dtype() == np.uint8
        np.testing.assert_allclose(written.affine, original.affine, atol=1e-5)
        assert set(np.unique(written.dataobj)) == {0, 1} and np.asarray(written.dataobj).sum() == mask.sum()
        back = read_image(tmp_path / name, plane=plane, slice_index=1)
        np.testing.assert_array_equal(back.pixels[..., 0], 255 * mask)
        assert back.spacing_mm == pytest.approx(image.spacing_mm)
        for other in range(back.volume.n_slices):
            assert other == 1 or not read_image(tmp_path / name, plane=plane, slice_index=other).pixels.any()


def test_the_mask_lies_on_the_voxels_it_was_drawn_on(tmp_path):
    """Independent of our own way back: mask where the picture shows the value of one voxel, and look into the array."""
    for code in ("RAS", "LPS", "ASR", "SRA"):
        original = oriented(code)
        original.to_filename(tmp_path / "image.nii")
        target = int(np.asarray(original.dataobj)[1, 2, 1])
        for plane in ("axial", "coronal", "sagittal"):
            found = 0
            for index in range(read_image(tmp_path / "image.nii", plane=plane).volume.n_slices):
                # Black below the target, grey at it, white above.
                image = read_image(tmp_path / "image.nii", plane=plane, slice_index=index, window=(target, 1))
                mask = image.pixels[..., 0] == 128
                if mask.any():
                    write_mask(tmp_path / "mask.nii", mask, image)
                    written = np.asarray(nibabel.load(tmp_path / "mask.nii").dataobj)
                    assert np.argwhere(written).tolist() == [[1, 2, 1]]
                    found += 1
            assert found == 1


def sheared() -> np.ndarray:
    affine = AFFINE.copy()
    affine[0, 1] = 0.8
    return affine


def oblique() -> np.ndarray:
    c, s = np.cos(0.4), np.sin(0.4)
    return np.array([[c, -s, 0, 1], [s, c, 0, 2], [0, 0, 1, 3], [0, 0, 0, 1]]) @ AFFINE


@pytest.mark.parametrize("make", [sheared, oblique])
@pytest.mark.parametrize("code", [1, 2, 3, 4])
def test_affine_space_and_unit_are_kept(tmp_path, make, code):
    original = nibabel.Nifti1Image(VOLUME, make())
    original.set_sform(make(), code)
    original.header.set_xyzt_units("micron")
    original.to_filename(tmp_path / "image.nii")
    image = read_image(tmp_path / "image.nii")
    write_mask(tmp_path / "mask.nii", random_mask(image.pixels.shape), image)
    written = nibabel.load(tmp_path / "mask.nii")
    np.testing.assert_allclose(written.affine, make(), atol=1e-5)
    assert int(written.header["sform_code"]) == code and written.header.get_xyzt_units()[0] == "micron"
    assert int(written.header["qform_code"]) == 0  # as in the image


@pytest.mark.parametrize("shape", [(4, 5), (4, 5, 1), (4, 1, 6), (1, 5, 6), (4, 5, 6, 1)])
def test_flat_and_padded_shapes_are_kept(tmp_path, shape):
    values = np.arange(np.prod(shape), dtype=np.int16).reshape(shape)
    nibabel.Nifti1Image(values, AFFINE).to_filename(tmp_path / "image.nii.gz")
    image = read_image(tmp_path / "image.nii.gz")
    mask = random_mask(image.pixels.shape)
    write_mask(tmp_path / "mask.nii.gz", mask, image)
    assert nibabel.load(tmp_path / "mask.nii.gz").shape == shape
    np.testing.assert_array_equal(read_image(tmp_path / "mask.nii.gz").pixels[..., 0], 255 * mask)


def test_volumes_too_large_for_nifti_1_become_nifti_2(tmp_path):
    nibabel.Nifti2Image(np.zeros((40_000, 2, 1), np.uint8), AFFINE).to_filename(tmp_path / "image.nii")
    image = read_image(tmp_path / "image.nii")
    mask = random_mask(image.pixels.shape)
    write_mask(tmp_path / "mask.nii.gz", mask, image)
    assert int.from_bytes(gzip.decompress((tmp_path / "mask.nii.gz").read_bytes())[:4], "little") == 540
    np.testing.assert_array_equal(read_image(tmp_path / "mask.nii.gz").pixels[..., 0], 255 * mask)


def test_a_slice_of_a_volume_can_also_be_written_as_a_picture(tmp_path, brain):
    mask = random_mask(brain.pixels.shape)
    write_mask(tmp_path / "mask.png", mask, brain)
    np.testing.assert_array_equal(read_image(tmp_path / "mask.png").pixels[..., 0], 255 * mask)


# Atomically


def interrupt(*_):
    raise KeyboardInterrupt


@pytest.mark.parametrize("step", ["replace", "write"])
def test_an_interrupted_write_leaves_the_old_file_and_nothing_else(tmp_path, picture, monkeypatch, step):
    path = tmp_path / "mask.png"
    write_mask(path, random_mask(picture.pixels.shape, seed=1), picture)
    before, files = path.read_bytes(), sorted(tmp_path.iterdir())
    if step == "replace":
        monkeypatch.setattr(os, "replace", interrupt)
    else:
        real = Path.write_bytes

        def half(self, content):
            real(self, content[: len(content) // 2])
            raise KeyboardInterrupt

        monkeypatch.setattr(Path, "write_bytes", half)
    with pytest.raises(KeyboardInterrupt):
        write_mask(path, random_mask(picture.pixels.shape, seed=2), picture)
    assert path.read_bytes() == before and sorted(tmp_path.iterdir()) == files


def test_a_full_disk_is_an_error_that_leaves_the_old_file(tmp_path, picture, monkeypatch):
    path = tmp_path / "mask.png"
    write_mask(path, random_mask(picture.pixels.shape, seed=1), picture)
    before = path.read_bytes()

    def full(self, content):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(ImageError, match=r"mask\.png: it cannot be written \(No space left on device\)\. Choose"):
        write_mask(path, random_mask(picture.pixels.shape, seed=2), picture)
    assert path.read_bytes() == before


def test_an_older_mask_is_replaced_and_a_long_name_is_no_obstacle(tmp_path, picture):
    path = tmp_path / ("m" * 251 + ".png")
    for seed in (1, 2):
        mask = random_mask(picture.pixels.shape, seed)
        write_mask(path, mask, picture)
        np.testing.assert_array_equal(read_image(path).pixels[..., 0], 255 * mask)
    assert len(list(tmp_path.iterdir())) == 2


# Errors


@pytest.mark.parametrize(
    ("mask", "reason", "remedy"),
    [
        (np.ones((9, 6), bool), "the mask has shape (9, 6), the image picture.png has (6, 9)", "Resize the mask"),
        (np.ones((6, 9, 1), bool), "the mask has shape (6, 9, 1)", "Resize the mask"),
        (np.ones((6, 9), np.uint8) * 255, "the mask (uint8) has other values than 0 and 1", "Threshold it: mask > 0"),
        (np.full((6, 9), 0.5), "the mask (float64) has other values than 0 and 1", "Threshold it: mask > 0"),
        (np.full((6, 9), np.nan), "the mask (float64) has other values than 0 and 1", "Threshold it: mask > 0"),
        (np.full((6, 9), "1"), "has other values than 0 and 1", "Threshold it: mask > 0"),
    ],
)
def test_masks_that_are_none(tmp_path, picture, mask, reason, remedy):
    path = tmp_path / "mask.png"
    with pytest.raises(ImageError) as caught:
        write_mask(path, mask, picture)
    assert str(caught.value).startswith(f"{path}: ") and reason in str(caught.value) and remedy in str(caught.value)
    assert not path.exists()


@pytest.mark.parametrize(
    ("name", "reason", "remedy"),
    [
        ("mask.jpg", "masks are not written as .jpg", "Use .png, .tif, .tiff, .nii, .nii.gz."),
        ("mask", "masks are not written as a file without extension", "Use .png"),
        ("mask.gz", "masks are not written as .gz", "Use .png"),
        ("mask.nii", "picture.png is PNG, so there is no volume for its mask", "Use the extension .png."),
        ("mask.nii.gz", "picture.png is PNG, so there is no volume for its mask", "Use the extension .png."),
        ("missing/mask.png", "it cannot be written (No such file or directory)", "Choose a folder that exists"),
        ("folder.png", "it cannot be written (", "Choose a folder that exists"),
    ],
)
def test_places_where_no_mask_can_be(tmp_path, picture, name, reason, remedy):
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(ImageError) as caught:
        write_mask(tmp_path / name, random_mask(picture.pixels.shape), picture)
    message = str(caught.value)
    assert message.startswith(f"{tmp_path / name}: {reason}") and remedy in message
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder.png", "picture.png"]


def test_the_picture_itself_is_never_overwritten(tmp_path, picture, brain, monkeypatch):
    monkeypatch.chdir(tmp_path)
    os.symlink("picture.png", "link.png")
    for path, like in (("picture.png", picture), ("link.png", picture), (tmp_path / "brain.nii", brain)):
        before = Path(path).read_bytes()
        with pytest.raises(ImageError, match=r"would replace the image it belongs to\. Give the mask another name"):
            write_mask(path, random_mask(like.pixels.shape), like)
        assert Path(path).read_bytes() == before
    write_mask("other.png", random_mask(picture.pixels.shape), replace(picture, path=Path("gone.png")))
