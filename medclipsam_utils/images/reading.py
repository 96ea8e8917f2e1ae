"""Reading an image: what a file is follows from its first bytes, and each format has a reader of its own.

A reader, and the library that it stands on, is imported when a file of its kind is read.
"""

from __future__ import annotations

import logging
import operator
import os
from pathlib import Path
from typing import SupportsIndex

from .errors import decoding, image_error
from .formats import sniff
from .intensity import check_window
from .medical_image import MedicalImage
from .volume import check_plane

logger = logging.getLogger(__name__)


def read_image(
    path: str | os.PathLike,
    *,
    frame: int | None = None,
    window: tuple[float, float] | None = None,
    plane: str | None = None,
    slice_index: int | None = None,
) -> MedicalImage:
    """Read one image as uint8 [H, W, 3], whatever the file format.

    How values become grey levels 0 to 255, in this order of preference:

    1. ``window``, if given;
    2. what the file asks for: the VOI LUT or first window of a DICOM file, ``cal_min`` and ``cal_max`` of NIfTI
       (unless that would make most of the slice white, or all of it black: some programs write 0 and 255 always).
       White is the largest number of as many bits as the entries of a VOI LUT need, whatever it says;
    3. 8-bit values are kept as they are;
    4. anything else (16-bit and float images, DICOM without a window) is stretched between its 0.5th and 99.5th
       percentiles, or its extremes where these coincide; a constant image becomes black. DICOM pixel padding does
       not count and is black.

    Colour of more than 8 bits keeps its full range. Transparency is composited on black. EXIF orientation is honoured.

    Args:
        path: the file. Its extension does not matter.
        frame: which frame of a multi-frame DICOM file or page of a TIFF file, from 0. Default: the middle frame of
            DICOM, the first page of TIFF (later pages are often thumbnails).
        window: (centre, width) in the file's units (Hounsfield units for CT): values at or below centre - width / 2
            become black and values at or above centre + width / 2 white (in MONOCHROME1 DICOM, whose low values are
            meant to be bright, the other way round). Only for grey images.
        plane: NIfTI only: ``"axial"``, ``"coronal"`` or ``"sagittal"`` of the closest anatomical orientation. Default:
            axial, or for a volume that is a single slice the plane in which it lies. Shown in radiological convention:
            patient's right on the left; anterior up in axial; superior up and, in sagittal, anterior on the left.
        slice_index: NIfTI only: which slice, from 0 at the inferior (axial), posterior (coronal) or left (sagittal)
            end. Default: the middle.

    Returns:
        The image and what its file says about it, see :class:`MedicalImage`. What of the header cannot be understood,
        and does not change the pixels, is in its ``notes`` and is logged as a warning.

    Raises:
        ImageError: part of the header cannot be understood, and the pixels depend on it; the file is missing, empty,
            damaged, of another format, without a decoder, has values that are not finite, or an argument does not fit
            it.
    """
    image = _read(Path(path), frame, window, plane, slice_index)
    for note in image.notes:
        logger.warning("%s: %s", path, note)
    return image


def _read(
    path: Path,
    frame: int | None,
    window: tuple[float, float] | None,
    plane: str | None,
    slice_index: int | None,
) -> MedicalImage:
    window = check_window(path, window)
    check_plane(path, plane)
    frame, slice_index = _index(path, "frame", frame), _index(path, "slice_index", slice_index)
    with decoding(path, "it could not be read", "Check that the file is complete and that you may read it"):
        kind = sniff(path)
    if kind == "NIfTI":
        if frame is not None:
            raise image_error(path, "a NIfTI volume has slices, not frames", "Use plane= and slice_index=")
        from .nifti import read_nifti

        return read_nifti(path, window, plane, slice_index)
    if plane is not None or slice_index is not None:
        raise image_error(path, f"plane= and slice_index= are for NIfTI, this is {kind}", "Use frame= instead")
    if kind == "DICOM":
        from .dicom import read_dicom

        return read_dicom(path, window, frame)
    from .raster import read_raster

    return read_raster(path, kind, window, frame)


def _index(path: Path, name: str, value: SupportsIndex | None) -> int | None:
    """Return a whole number as int, or None for None."""
    if value is None:
        return None
    try:
        return operator.index(value)
    except TypeError:
        raise image_error(path, f"{name} is {value!r}", "Give a whole number, counted from 0") from None
