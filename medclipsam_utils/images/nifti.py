"""NIfTI-1 and NIfTI-2 through nibabel: the slices of a volume as images, and masks back into a volume."""

from __future__ import annotations

import gzip
import io
import math
from functools import cached_property
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from nibabel.arrayproxy import ArrayProxy

from .errors import check_size, choose_frame, decoding, image_error
from .formats import GZIP
from .intensity import apply_window, check_finite, grey_to_rgb, percentile_window
from .limits import check_unpacked
from .medical_image import MedicalImage
from .volume import PLANES, UNITS, VolumeSlice, check_plane, n_slices

_GEOMETRY = (
    *("pixdim", "xyzt_units", "qform_code", "quatern_b", "quatern_c", "quatern_d", "qoffset_x", "qoffset_y"),
    *("qoffset_z", "sform_code", "srow_x", "srow_y", "srow_z"),
)
_FEW = 3  # numbers of a mask that are labels rather than probabilities
_REPAIR = "Repair the header, for example with nibabel"


def read_nifti(
    path: Path, window: tuple[float, float] | None, plane: str | None, slice_index: int | None
) -> MedicalImage:
    """Read one slice of a NIfTI volume; see :func:`medclipsam_utils.images.read_image`."""
    volume = NiftiVolume(path, plane)
    n = volume.n_slices
    return volume.image(choose_frame(path, slice_index, n, n // 2, name=f"{volume.plane} slice"), window)


class NiftiVolume:
    """A volume, of which slices are read when they are asked for; a zipped one is unpacked into memory, once.

    Args:
        path: the file.
        plane: one of :data:`PLANES`; None is axial, or for a volume that is a single slice the plane in which it lies.
    """

    def __init__(self, path: Path, plane: str | None = None):
        check_plane(path, plane)
        remedy = "The file is damaged or cut short: copy or export it again"
        with decoding(path, "this NIfTI file cannot be decoded", remedy), path.open("rb") as file:
            stream: Any = gzip.GzipFile(fileobj=file) if file.read(2) == GZIP else file
            file.seek(0)
            head = stream.read(540)
            is_nifti2 = int.from_bytes(head[:4], "little") in (540, 0x1C020000)  # in either byte order
            kind = nibabel.Nifti2Header if is_nifti2 else nibabel.Nifti1Header
            header = kind(head[: kind.template_dtype.itemsize])
            self.path, self.header, self.shape = path, header, header.get_data_shape()
            _check_header(path, header)
            self._geometry = kind()
            for name in _GEOMETRY:
                self._geometry[name] = header[name]
            self.affine, note = _affine(path, header)
            units = int(header["xyzt_units"]) % 8
            unit_note = f"its unit of length has the unknown code {units}: taken for mm"
            self.notes = tuple(filter(None, (note, unit_note if units and units not in UNITS else "")))
            self.plane = _only_plane(self.shape, self.affine) if plane is None else plane
            self.n_slices = n_slices(self.shape, self.affine, self.plane)
            check_size(path, *self.where(0).image_shape)
            self._voxels = ArrayProxy(_complete(path, stream, header), header)

    def where(self, slice_index: int) -> VolumeSlice:
        """Say where a slice lies, and what a mask of the volume needs."""
        return VolumeSlice(self.shape, self.affine, self.plane, slice_index, self._geometry)

    def values(self, slice_index: int) -> np.ndarray:
        """Read the values of a slice, [H, W], in radiological convention."""
        where = self.where(slice_index)
        with decoding(self.path, "its voxels cannot be read", "Copy or export it again"):
            return where.displayed(where.stored(self._voxels))

    def labels(self, slice_index: int) -> np.ndarray:
        """Read a slice of a mask, bool [H, W]: values above 0.5; above 0 where few integers are scaled to fractions."""
        values = self.values(slice_index)
        check_finite(self.path, values)
        return values > (0 if self._few_fractions else 0.5)

    @cached_property
    def _few_fractions(self) -> bool:
        if self.header.get_data_dtype().kind == "f" or self.header.get_slope_inter() == (None, None):
            return False
        return len(np.unique(self._voxels.get_unscaled())) <= _FEW

    def image(self, slice_index: int, window: tuple[float, float] | None = None) -> MedicalImage:
        """Read a slice as an image."""
        values, where, notes = self.values(slice_index), self.where(slice_index), self.notes
        check_finite(self.path, values)
        low, high = float(self.header["cal_min"]), float(self.header["cal_max"])
        if window is None and np.isfinite(high - low) and high > low:
            window = (low + high) / 2, high - low
            shown = apply_window(values, window)
            if (shown == 255).mean() > 0.5 or (shown.max() < 2 and values.min() < values.max()):
                note = f"its display range, {low:g} to {high:g}, would hide it, and is not used"
                notes, window = (*notes, note), None
        if window is None and values.dtype != np.uint8:
            window = percentile_window(values)
        grey = np.ascontiguousarray(values) if window is None else apply_window(values, window)
        return MedicalImage(
            grey_to_rgb(grey), self.path, "NIfTI", where.spacing_mm[1:], window=window, volume=where, notes=notes
        )


def _check_header(path: Path, header: nibabel.Nifti1Header) -> None:
    shape, dtype = header.get_data_shape(), header.get_data_dtype()
    if 0 in shape:
        raise image_error(path, f"the volume has shape {shape}, so no voxels", "Export it again")
    if len(shape) < 2:
        raise image_error(path, f"the volume has only {len(shape)} axis", "Give a slice or a volume")
    if any(size > 1 for size in shape[3:]):
        remedy = "Take one volume out of it first: nibabel.save(nibabel.load(path).slicer[..., 0], 'one.nii.gz')"
        raise image_error(path, f"the volume has {len(shape)} axes: {shape}", remedy)
    if dtype.kind not in "iuf":
        raise image_error(path, f"the voxels are of type {dtype}", "Convert them to integers or floats first")
    slope, intercept = float(header["scl_slope"]), float(header["scl_inter"])
    if slope and np.isfinite(slope) and not np.isfinite(intercept):
        raise image_error(path, f"scl_slope is {slope:g} and scl_inter is {intercept:g}", _REPAIR)


def _affine(path: Path, header: nibabel.Nifti1Header) -> tuple[np.ndarray, str]:
    """Return the first transform that says where the voxels lie, as nibabel does, and what is wrong with another."""
    broken = ""
    for name, read in (("sform", header.get_sform), ("qform", header.get_qform), ("", header.get_base_affine)):
        if (name and not header[f"{name}_code"]) or (not name and broken):
            continue
        try:
            affine = np.asarray(read(), np.float64)
        except Exception:  # a quaternion that is none
            affine = np.zeros((4, 4))
        box = np.prod(np.linalg.norm(affine[:3, :3], axis=0))  # of the voxel if its axes were perpendicular
        if np.isfinite(affine).all() and abs(np.linalg.det(affine[:3, :3])) > 1e-6 * box > 0:
            return affine, broken
        broken = f"its {name} is not a transform, and its qform is taken"
    remedy = "Repair the header, for example nibabel.Nifti1Image(voxels, numpy.eye(4))"
    raise image_error(path, "the affine does not say where the voxels lie", remedy)


def _complete(path: Path, stream: Any, header: nibabel.Nifti1Header) -> Any:
    """Return the file, or what is unpacked from it, after a check that it holds all voxels.

    A zipped file is read to the end of its last member, where the checksum is; what follows that is no part of it.
    """
    n_bytes = header.get_data_offset() + math.prod(header.get_data_shape()) * header.get_data_dtype().itemsize
    source: Any = str(path)
    n_present = path.stat().st_size
    if path.suffix.lower() != ".nii" and not isinstance(stream, gzip.GzipFile):
        source = io.BytesIO(path.read_bytes())  # nibabel would go by the extension
    if isinstance(stream, gzip.GzipFile):
        check_unpacked(path, n_bytes)
        stream.seek(0)
        unpacked = stream.read(n_bytes)
        try:
            stream.read(1)
        except gzip.BadGzipFile as error:
            if "Not a gzipped file" not in str(error):
                raise
        source, n_present = io.BytesIO(unpacked), len(unpacked)
    if n_present < n_bytes:
        reason = f"the file is cut short: {n_present:,} of {n_bytes:,} bytes"
        raise image_error(path, reason, "Copy or download it again")
    return source


def _only_plane(shape: tuple[int, ...], affine: np.ndarray) -> str:
    """Return the plane of a volume that is a single slice; axial for every other volume."""
    single = [plane for plane in PLANES if n_slices(shape, affine, plane) == 1]
    return single[0] if len(single) == 1 else "axial"
