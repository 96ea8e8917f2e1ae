"""NIfTI-1 and NIfTI-2 through nibabel: one slice of a volume as an image, and a mask back into a volume."""

from __future__ import annotations

import gzip
import io
import math
from pathlib import Path

import nibabel
import numpy as np
from nibabel.affines import voxel_sizes
from nibabel.arrayproxy import ArrayProxy

from .errors import check_size, choose_frame, decoding, image_error
from .formats import GZIP
from .intensity import apply_window, check_finite, grey_to_rgb, percentile_window
from .medical_image import MedicalImage
from .volume import PLANES, VolumeSlice, image_axes, n_slices

_UNITS = {1: "meter", 2: "mm", 3: "micron"}
_MM_PER_UNIT = {"meter": 1000.0, "mm": 1.0, "micron": 0.001, "unknown": 1.0}
_NIFTI1_MAX_SIZE = 32767


def read_nifti(
    path: Path, window: tuple[float, float] | None, plane: str | None, slice_index: int | None
) -> MedicalImage:
    """Read one slice of a NIfTI volume; see :func:`medclipsam_utils.images.read_image`."""
    remedy = "The file is damaged or cut short: copy or export it again"
    with decoding(path, "this NIfTI file cannot be decoded", remedy), path.open("rb") as file:
        stream: io.BufferedIOBase = gzip.GzipFile(fileobj=file) if file.read(2) == GZIP else file
        file.seek(0)
        volume = _open(stream)
        _check_volume(path, volume)
        affine = np.asarray(volume.affine, np.float64)
        plane = _only_plane(volume.shape, affine) if plane is None else plane
        n = n_slices(volume.shape, affine, plane)
        chosen = choose_frame(path, slice_index, n, default=n // 2, name=f"{plane} slice")
        where = VolumeSlice(volume.shape, affine, plane, chosen, _space(volume.header), _unit(volume.header))
        check_size(path, *where.image_shape)
        values = where.displayed(where.stored(_complete(path, stream, volume).dataobj))
        check_finite(path, values)
        if window is None:
            window = _header_window(volume.header)
        if window is None and values.dtype != np.uint8:
            window = percentile_window(values)
        grey = np.ascontiguousarray(values) if window is None else apply_window(values, window)
    return MedicalImage(grey_to_rgb(grey), path, "NIfTI", _spacing_mm(where), window=window, volume=where)


def mask_volume(mask: np.ndarray, where: VolumeSlice) -> bytes:
    """Make a NIfTI file (not zipped) of ``where.shape``, uint8, 1 where ``mask`` (bool [H, W]) is true in its slice.

    The header says that 0 to 1 is to be displayed, and nothing else but shape, world space and unit.
    """
    voxels = np.zeros(where.shape, np.uint8)
    where.displayed(where.stored(voxels))[...] = mask
    kind = nibabel.Nifti1Image if max(where.shape) <= _NIFTI1_MAX_SIZE else nibabel.Nifti2Image
    volume = kind(voxels, None)
    volume.header.set_xyzt_units(where.unit)
    volume.header["cal_max"] = 1
    volume.set_qform(where.affine, where.space)
    if not np.allclose(volume.get_qform(), where.affine, atol=1e-4):
        volume.set_qform(None, 0)  # a sheared affine: quaternions cannot say it, and some programs prefer them
    volume.set_sform(where.affine, where.space)
    return volume.to_bytes()


def _open(stream: io.BufferedIOBase) -> nibabel.Nifti1Image:
    """Open the volume at the start of ``stream``; its voxels are read when they are asked for."""
    header_size = int.from_bytes(stream.read(4), "little")
    stream.seek(0)
    nifti2 = header_size in (540, int.from_bytes((540).to_bytes(4, "big"), "little"))
    kind = nibabel.Nifti2Image if nifti2 else nibabel.Nifti1Image
    return kind.from_stream(stream)


def _check_volume(path: Path, volume: nibabel.Nifti1Image) -> None:
    shape = volume.shape
    if 0 in shape:
        raise image_error(path, f"the volume has shape {shape}, so no voxels", "Export it again")
    if len(shape) < 2:
        raise image_error(path, f"the volume has only {len(shape)} axis", "Give a slice or a volume")
    if any(size > 1 for size in shape[3:]):
        remedy = "Take one volume out of it first: nibabel.save(nibabel.load(path).slicer[..., 0], 'one.nii.gz')"
        raise image_error(path, f"the volume has {len(shape)} axes: {shape}", remedy)
    if volume.get_data_dtype().kind not in "iuf":
        reason = f"the voxels are of type {volume.get_data_dtype()}"
        raise image_error(path, reason, "Convert them to integers or floats first")
    axes = volume.affine[:3, :3]
    box = np.prod(voxel_sizes(volume.affine))  # of the voxel if its axes were perpendicular
    if not (np.isfinite(volume.affine).all() and abs(np.linalg.det(axes)) > 1e-6 * box > 0):
        remedy = "Repair the header, for example nibabel.Nifti1Image(voxels, numpy.eye(4))"
        raise image_error(path, "the affine does not say where the voxels lie", remedy)


def _complete(path: Path, stream: io.BufferedIOBase, volume: nibabel.Nifti1Image) -> nibabel.Nifti1Image:
    """Return ``volume`` after a check that the file holds all its voxels.

    A zipped file is unpacked once, into memory, and to its end, where the checksum is.
    """
    assert isinstance(volume.dataobj, ArrayProxy)  # what every image has that nibabel reads
    n_bytes = volume.dataobj.offset + math.prod(volume.shape) * volume.get_data_dtype().itemsize
    if isinstance(stream, gzip.GzipFile):
        stream.seek(0)
        unpacked = stream.read(n_bytes)
        stream.read(1)
        n_present, volume = len(unpacked), type(volume).from_stream(io.BytesIO(unpacked))
    else:
        n_present = path.stat().st_size
    if n_present < n_bytes:
        reason = f"the file is cut short: {n_present:,} of {n_bytes:,} bytes"
        raise image_error(path, reason, "Copy or download it again")
    return volume


def _only_plane(shape: tuple[int, ...], affine: np.ndarray) -> str:
    """Return the plane of a volume that is a single slice; axial for every other volume."""
    single = [plane for plane in PLANES if n_slices(shape, affine, plane) == 1]
    return single[0] if len(single) == 1 else "axial"


def _header_window(header: nibabel.Nifti1Header) -> tuple[float, float] | None:
    low, high = float(header["cal_min"]), float(header["cal_max"])
    return ((low + high) / 2, high - low) if np.isfinite(high - low) and high > low else None


def _space(header: nibabel.Nifti1Header) -> int:
    """Return the code of the transform that nibabel's affine comes from; 2 (aligned) where the file has none."""
    return int(header["sform_code"]) or int(header["qform_code"]) or 2


def _unit(header: nibabel.Nifti1Header) -> str:
    """Return the unit of length, from the lowest three bits; the others are about time."""
    return _UNITS.get(int(header["xyzt_units"]) % 8, "unknown")


def _spacing_mm(where: VolumeSlice) -> tuple[float, float]:
    sizes = voxel_sizes(where.affine) * _MM_PER_UNIT[where.unit]
    (row_axis, _), (column_axis, _), _ = image_axes(where.affine, where.plane)
    return float(sizes[row_axis]), float(sizes[column_axis])
