"""Reading and writing images at the edge: PNG, JPEG, TIFF, DICOM and NIfTI in, masks out.

Everything behind :func:`read_image` works on one kind of array, uint8 [H, W, 3]. What a file *is* is decided by its
first bytes, because DICOM files often have no extension and exported images often have the wrong one. What cannot
be read raises one :class:`ImageError` that names the file, the reason and what to do about it.

From a DICOM file only the pixels, the spacing, the modality and the window are read: no name, number or date of a
patient enters the program.
"""

from __future__ import annotations

from .errors import ImageError
from .kinds import Image, batch_of, image_size, pixels_of
from .labels import MaskStack, read_mask, read_mask_stack
from .masks import write_mask
from .medical_image import MedicalImage
from .reading import read_image
from .volume import VolumeSlice

__all__ = [
    "Image",
    "ImageError",
    "MaskStack",
    "MedicalImage",
    "VolumeSlice",
    "batch_of",
    "image_size",
    "pixels_of",
    "read_image",
    "read_mask",
    "read_mask_stack",
    "write_mask",
]
