"""Where a slice lies in a volume: from voxel axes to an image in radiological convention, and back.

Voxel axes may point anywhere; the affine says where. The closest anatomical axes (x to the patient's right, y to
anterior, z to superior: RAS+) decide which voxel axis is which, without resampling.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .errors import image_error

if TYPE_CHECKING:
    import nibabel
    from nibabel.arrayproxy import ArrayLike

PLANES = {"axial": (1, 0, 2), "coronal": (2, 0, 1), "sagittal": (2, 1, 0)}
"""For each plane the axes of RAS+ that run along an image's columns (downwards), along its rows, and across it."""
UNITS = {1: "meter", 2: "mm", 3: "micron"}
MM_PER_UNIT = {"meter": 1000.0, "mm": 1.0, "micron": 0.001, "unknown": 1.0}


def check_plane(path: Path, plane: str | None) -> None:
    """Refuse a plane that is none."""
    if plane is not None and plane not in PLANES:
        raise image_error(path, f"plane is {plane!r}", f"Choose one of {', '.join(PLANES)}")


@dataclass(frozen=True, eq=False)
class VolumeSlice:
    """One slice of a NIfTI volume: all that is needed to write a mask back.

    Attributes:
        shape: the volume's shape as stored: two or three voxel axes, perhaps followed by ones.
        affine: float64 [4, 4], voxel indices (i, j, k, 1) to world coordinates in RAS+.
        plane: ``"axial"``, ``"coronal"`` or ``"sagittal"``.
        slice_index: counted from 0 at the inferior, posterior or left end.
        header: NIfTI header with what the file says about geometry, and nothing else: both transforms with their codes,
            and the units.
    """

    shape: tuple[int, ...]
    affine: np.ndarray = field(repr=False)
    plane: str
    slice_index: int
    header: nibabel.Nifti1Header = field(repr=False)

    @property
    def n_slices(self) -> int:
        """Number of slices in this plane."""
        return n_slices(self.shape, self.affine, self.plane)

    @property
    def image_shape(self) -> tuple[int, int]:
        """Height and width of the slice as an image."""
        (row_axis, _), (column_axis, _), _ = image_axes(self.affine, self.plane)
        return (*self.shape, 1)[row_axis], (*self.shape, 1)[column_axis]

    @property
    def space(self) -> int:
        """NIfTI code of the world space: 1 scanner, 2 aligned (also where nothing is said), 3 Talairach, 4 MNI."""
        return int(self.header["sform_code"]) or int(self.header["qform_code"]) or 2

    @property
    def unit(self) -> str:
        """Unit of the world coordinates, ``"mm"``, ``"meter"``, ``"micron"`` or ``"unknown"``."""
        return UNITS.get(int(self.header["xyzt_units"]) % 8, "unknown")  # the other bits are about time

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Distance of neighbouring voxels in mm: across the slices, and between the rows and columns of one."""
        sizes = np.linalg.norm(self.affine[:3, :3], axis=0) * MM_PER_UNIT[self.unit]
        (row_axis, _), (column_axis, _), (axis, _) = image_axes(self.affine, self.plane)
        return float(sizes[axis]), float(sizes[row_axis]), float(sizes[column_axis])

    def neighbour(self, slice_index: int) -> VolumeSlice:
        """Return another slice of the volume, in the same plane."""
        return replace(self, slice_index=slice_index)

    def same_grid(self, other: VolumeSlice) -> bool:
        """Whether two volumes have their voxels at the same places, in whatever order: to a tenth of a voxel."""
        (here, size), (there, _) = _corners(self), _corners(other)
        return here.shape == there.shape and bool(np.abs(here - there).max() < 0.1 * size)

    def stored(self, volume: ArrayLike) -> np.ndarray:
        """Return the slice of ``volume`` (an array, or nibabel's proxy of one) as stored: two voxel axes, in order."""
        if len(volume.shape) == 2:
            volume = np.asarray(volume)[..., None]
        _, _, (axis, grows) = image_axes(self.affine, self.plane)
        index = [slice(None)] * 3 + [0] * (len(volume.shape) - 3)
        index[axis] = self.slice_index if grows else self.n_slices - 1 - self.slice_index
        return volume[tuple(index)]

    def displayed(self, stored: np.ndarray) -> np.ndarray:
        """Return a view of a stored slice as an image [H, W].

        Downwards it runs to posterior or inferior, to the right it runs to the patient's left or to posterior: in
        every case against RAS+.
        """
        (row_axis, row_grows), (column_axis, column_grows), _ = image_axes(self.affine, self.plane)
        image = stored if row_axis < column_axis else stored.T
        return image[:: -1 if row_grows else 1, :: -1 if column_grows else 1]


@dataclass(frozen=True, eq=False)
class Place:
    """Where the pixels of an image or a mask lie, as far as its file says.

    Attributes:
        spacing_mm: distance of neighbouring pixels in mm: between rows and between columns, of a stack first between
            its slices; None where the file does not say.
        where: the slice of a NIfTI volume; or the position and orientation of DICOM frames, float64 [S, 9]; or None.
        note: why the spacing is unknown although the file says something; otherwise empty.
    """

    spacing_mm: tuple[float, ...] | None = None
    where: VolumeSlice | np.ndarray | None = None
    note: str = ""

    def difference(self, other: Place) -> str:
        """Say how the places of two images of one shape differ; nothing if they do not, or if nobody knows."""
        if self.spacing_mm and other.spacing_mm and not np.allclose(self.spacing_mm, other.spacing_mm, rtol=0.01):
            one, two = (" × ".join(f"{size:.4g}" for size in each.spacing_mm or ()) for each in (self, other))
            return f"their pixels have other sizes, {one} mm and {two} mm"
        if isinstance(self.where, VolumeSlice) and isinstance(other.where, VolumeSlice):
            return "" if self.where.same_grid(other.where) else "their voxels lie at other places: the affines differ"
        if isinstance(self.where, np.ndarray) and isinstance(other.where, np.ndarray):
            same = self.where.shape == other.where.shape and np.allclose(self.where, other.where, atol=0.01)
            return "" if same else "their frames have other positions or orientations"
        return ""


def image_axes(affine: np.ndarray, plane: str) -> tuple[tuple[int, bool], tuple[int, bool], tuple[int, bool]]:
    """Return the voxel axes (downwards, to the right, across) of a plane, each with whether its index grows along RAS+.

    ``affine`` is float64 [4, 4]; a singular one gives a ValueError.
    """
    import nibabel

    orientation = nibabel.io_orientation(affine)  # for each voxel axis: its axis of RAS+, and +1 or -1
    voxel_axes = [int(np.flatnonzero(orientation[:, 0] == axis).item()) for axis in PLANES[plane]]
    down, right, across = ((axis, bool(orientation[axis, 1] > 0)) for axis in voxel_axes)
    return down, right, across


def n_slices(shape: tuple[int, ...], affine: np.ndarray, plane: str) -> int:
    """Count the slices that a volume of ``shape`` has in ``plane``."""
    return (*shape, 1)[image_axes(affine, plane)[2][0]]


def _corners(where: VolumeSlice) -> tuple[np.ndarray, float]:
    """Return the first and last voxel along each axis of RAS+, float64 [2, 2, 2, 3] in mm, and the smallest size.

    The number of voxels is checked by their distances.
    """
    import nibabel

    shape = (*where.shape, 1)[:3]
    to_stored = nibabel.orientations.inv_ornt_aff(nibabel.io_orientation(where.affine), shape)
    canonical = where.affine @ to_stored
    sizes = np.abs(np.linalg.inv(to_stored)[:3, :3]) @ np.array(shape)
    ends = np.stack(np.meshgrid(*([0, size - 1] for size in sizes), indexing="ij"), -1)  # (2, 2, 2, 3)
    scale = MM_PER_UNIT[where.unit]
    return scale * (ends @ canonical[:3, :3].T + canonical[:3, 3]), scale * np.linalg.norm(
        canonical[:3, :3], axis=0
    ).min()
