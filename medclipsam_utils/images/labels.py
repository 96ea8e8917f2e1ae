"""Masks from files: the numbers in a file are labels, and no display rule applies to them.

Which pixels belong to the target:

- every number above 0 in files that keep numbers as they are: 0 and 1, 0 and 255, labels 1, 2, 3 … up to any size. Of a
  palette image these are the indices, whatever the colours; of a TIFF whose white is zero, what is stored (but of one
  compressed as a fax, which programs invert without asking, what is displayed);
- every number above 0.5 where they are floats, and in NIfTI: all labels count, and probabilities are rounded (two or
  three integers that a NIfTI slope scales to fractions are labels, and count above 0);
- every number above half of the largest possible in a DICOM segmentation by fractions;
- of colours the brightest channel. Transparency says where there is no mask; where all colours are alike, it is the
  mask itself;
- numbers above half the largest where the file is a black and white image whose rim is no longer sharp: lossy JPEG,
  in DICOM and TIFF as well, which cannot hold labels; 8-bit images up to 255 in which all numbers between are fewer
  than the white pixels and lie on a slope between darker and brighter ones; and those with two numbers, none of them 0,
  the larger at least 128.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .errors import choose_frame, decoding, image_error
from .formats import sniff
from .intensity import check_finite
from .volume import Place

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_WHITE = 128


@dataclass(frozen=True, eq=False)
class MaskStack:
    """All slices, frames or pages of a mask file.

    Attributes:
        mask: bool [S, H, W], S = 1 for a single image; of a NIfTI volume the slices from inferior to superior (of a
            single slice in its own plane), in radiological convention.
        place: where its pixels lie, as far as the file says.
    """

    mask: np.ndarray
    place: Place


def read_mask(
    path: str | os.PathLike,
    *,
    frame: int | None = None,
    plane: str | None = None,
    slice_index: int | None = None,
) -> np.ndarray:
    """Read one mask: of a NIfTI volume the slice that :func:`~medclipsam_utils.images.read_image` reads.

    Args:
        path: the file.
        frame: which frame of a DICOM file or page of a TIFF file, from 0; it must be given where there are several.
        plane, slice_index: as of :func:`~medclipsam_utils.images.read_image`.

    Returns:
        bool [H, W].

    Raises:
        ImageError: the file cannot be read, or has several frames, pages or segments, or NaN values, or is a JPEG with
            more than black and white.
    """
    return read_mask_and_place(Path(path), frame, plane, slice_index)[0]


def read_mask_and_place(
    path: Path, frame: int | None = None, plane: str | None = None, slice_index: int | None = None
) -> tuple[np.ndarray, Place]:
    """Read one mask as :func:`read_mask` does, and where it lies."""
    kind = _kind(path)
    if kind == "NIfTI":
        from .nifti import NiftiVolume

        volume = NiftiVolume(path, plane)
        n = volume.n_slices
        chosen = choose_frame(path, slice_index, n, n // 2, name="slice")
        where = volume.where(chosen)
        return volume.labels(chosen), Place(where.spacing_mm[1:], where)
    if kind == "DICOM":
        from .dicom import open_dicom
        from .dicom_header import of_frame, spacing_mm

        dataset, n = open_dicom(path)
        chosen = choose_frame(path, _one_of(path, frame, n, "frame"), n, 0)
        spacing, _ = spacing_mm(path, of_frame(path, dataset, chosen))
        return _dicom_mask(path, dataset, chosen), Place(spacing)
    mask, n = _raster_mask(path, kind, frame)
    _one_of(path, frame, n, "page")
    return mask, Place()


def read_mask_stack(path: str | os.PathLike) -> MaskStack:
    """Read all slices, frames or pages of a mask file.

    Raises:
        ImageError: as :func:`read_mask`, but for several frames; pages of several sizes.
    """
    path = Path(path)
    kind = _kind(path)
    if kind == "NIfTI":
        from .nifti import NiftiVolume

        volume = NiftiVolume(path)
        mask = np.stack([volume.labels(index) for index in range(volume.n_slices)])
        return MaskStack(mask, Place(volume.where(0).spacing_mm, volume.where(0)))
    if kind == "DICOM":
        return _dicom_stack(path)
    first, n_pages = _raster_mask(path, kind, 0)
    pages = [first, *(_raster_mask(path, kind, number)[0] for number in range(1, n_pages))]
    if len({page.shape for page in pages}) > 1:
        raise image_error(path, f"its {n_pages} pages have several sizes", "Export the page that is meant")
    return MaskStack(np.stack(pages), Place())


def _kind(path: Path) -> str:
    with decoding(path, "it could not be read", "Check that the file is complete and that you may read it"):
        return sniff(path)


def _one_of(path: Path, frame: int | None, n: int, name: str) -> int | None:
    if frame is None and n > 1:
        raise image_error(path, f"it holds {n} {name}s", "Choose one with frame=, or read all with read_mask_stack")
    return frame


def _dicom_mask(path: Path, dataset: Dataset, frame: int) -> np.ndarray:
    from .dicom import decode
    from .dicom_grey import modality_values
    from .dicom_header import numbers, of_frame

    if len(dataset.get("SegmentSequence") or []) > 1:
        raise image_error(path, "it holds several segments", "Export the one that is meant")
    stored = decode(path, dataset, frame)
    if dataset.get("SegmentationType") == "FRACTIONAL":
        return stored > (numbers(path, dataset, "MaximumFractionalValue") or [255.0])[0] / 2
    syntax = dataset.file_meta.TransferSyntaxUID.name
    lossy = "JPEG" in syntax and "Lossless" not in syntax and dataset.get("LossyImageCompression") != "00"
    if lossy or stored.ndim == 3 or dataset.PhotometricInterpretation == "PALETTE COLOR":
        return _is_target(path, stored, alpha=False, lossy=lossy)
    if stored.min() > 0 and modality_values(path, stored, of_frame(path, dataset, frame), []).min() <= 0:
        reason = "no label is 0 before its rescale slope and intercept, and some are after it"
        raise image_error(path, reason, "Save the labels without a rescale")
    check_finite(path, stored)
    return stored > 0.5


def _dicom_stack(path: Path) -> MaskStack:
    from .dicom import open_dicom
    from .dicom_header import numbers, of_frame, spacing_mm

    dataset, n_frames = open_dicom(path)
    headers = [of_frame(path, dataset, frame) for frame in range(n_frames)]
    places = [
        numbers(path, header, "ImagePositionPatient") + numbers(path, header, "ImageOrientationPatient")
        for header in headers
    ]
    spacing, note = spacing_mm(path, headers[0])
    between = numbers(path, headers[0], "SpacingBetweenSlices")
    if n_frames > 1 and not between and spacing is not None:
        raise image_error(path, "the distance of its frames is unknown", "Export it as NIfTI, which has it")
    known = all(len(place) == 9 for place in places)
    mask = np.stack([_dicom_mask(path, dataset, frame) for frame in range(n_frames)])
    sizes = None if spacing is None else (abs((between or [1.0])[0]), *spacing)
    return MaskStack(mask, Place(sizes, np.array(places) if known else None, note))


def _raster_mask(path: Path, kind: str, frame: int | None) -> tuple[np.ndarray, int]:
    from .raster import raster_page

    page = raster_page(path, kind, frame)
    return _is_target(path, page.stored, page.alpha, page.lossy), page.n_frames


def _is_target(path: Path, stored: np.ndarray, alpha: bool, lossy: bool) -> np.ndarray:
    """Apply the rules of this module to numbers [H, W] or [H, W, S], the last perhaps transparency."""
    check_finite(path, stored)
    visible = None
    if stored.ndim == 3:
        colours = stored[..., : stored.shape[2] - alpha]
        if alpha and stored[..., -1].min() < stored[..., -1].max():
            visible = stored[..., -1]
            shades = colours[visible > 0]
            if (shades == shades[0]).all() and not shades.any():  # black where it can be seen
                return _is_target(path, visible, False, lossy)
        stored = colours.max(axis=2)
    if stored.dtype.kind == "f":
        mask = stored > 0.5
    else:
        largest = int(stored.max())
        lossy = lossy and largest > 0
        middle = (stored > largest / 4) & (stored < largest * 3 / 4)
        if lossy and middle.sum() > (stored >= largest * 3 / 4).sum():
            reason = "a JPEG that is not black and white, so its labels are lost"
            raise image_error(path, reason, "Save it with one number for each structure, as PNG")
        mask = stored > (largest / 2 if lossy or _is_unsharp(stored) else 0)
    return mask if visible is None else mask & (visible > 0)


def _is_unsharp(stored: np.ndarray) -> bool:
    """Recognise a black and white image whose rim is a slope, or whose black is not 0."""
    if stored.dtype != np.uint8 or stored.max() < _WHITE:
        return False
    values = np.unique(stored)
    if len(values) == 2:
        return bool(values[0] > 0)
    between = (stored > 0) & (stored < 255)
    if values[-1] < 255 or len(values) < 5 or between.sum() >= (stored == 255).sum():
        return False
    from scipy import ndimage  # masks of this kind are rare

    slope = (ndimage.minimum_filter(stored, 3) < stored) & (stored < ndimage.maximum_filter(stored, 3))
    return bool(slope[between].mean() > 0.8)
