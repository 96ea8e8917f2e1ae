"""Where a slice lies in a volume: from voxel axes to an image in radiological convention, and back.

Voxel axes may point anywhere; the affine says where. The closest anatomical axes (x to the patient's right, y to
anterior, z to superior: RAS+) decide which voxel axis is which, without resampling.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from nibabel.arrayproxy import ArrayLike

PLANES = {"axial": (1, 0, 2), "coronal": (2, 0, 1), "sagittal": (2, 1, 0)}
"""For each plane the axes of RAS+ that run along an image's columns (downwards), along its rows, and across it."""


@dataclass(frozen=True, eq=False)
class VolumeSlice:
    """One slice of a NIfTI volume: all that is needed to write a mask back.

    Attributes:
        shape: the volume's shape as stored: two or three voxel axes, perhaps followed by ones.
        affine: float64 [4, 4], voxel indices (i, j, k, 1) to world coordinates in RAS+.
        plane: ``"axial"``, ``"coronal"`` or ``"sagittal"``.
        slice_index: counted from 0 at the inferior, posterior or left end.
        space: NIfTI code of the world space (1 scanner, 2 aligned, 3 Talairach, 4 MNI).
        unit: unit of the world coordinates, ``"mm"``, ``"meter"``, ``"micron"`` or ``"unknown"``.
    """

    shape: tuple[int, ...]
    affine: np.ndarray = field(repr=False)
    plane: str
    slice_index: int
    space: int
    unit: str

    @property
    def n_slices(self) -> int:
        """Number of slices in this plane."""
        return n_slices(self.shape, self.affine, self.plane)

    @property
    def image_shape(self) -> tuple[int, int]:
        """Height and width of the slice as an image."""
        (row_axis, _), (column_axis, _), _ = image_axes(self.affine, self.plane)
        return (*self.shape, 1)[row_axis], (*self.shape, 1)[column_axis]

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
