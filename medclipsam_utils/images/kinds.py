"""The kinds of image that every function of the package takes, and what they have in common."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from .medical_image import MedicalImage

if TYPE_CHECKING:  # reading an image needs no torch
    from torch import Tensor

#: uint8 array [H, W, 3], uint8 tensor [3, H, W], or what :func:`~medclipsam_utils.images.read_image` returns.
Image: TypeAlias = "np.ndarray | Tensor | MedicalImage"


def batch_of(images: Image | Sequence[Image]) -> list[Image]:
    """Make a list of B images of a sequence of them; one image is a batch of one."""
    return list(images) if isinstance(images, Sequence) else [images]


def image_size(image: Image) -> tuple[int, int]:
    """Return the height and the width of an image of any kind, in pixels."""
    if isinstance(image, MedicalImage):
        image = image.pixels
    height, width = image.shape[:2] if isinstance(image, np.ndarray) else image.shape[-2:]
    return height, width


def pixels_of(image: Image) -> np.ndarray:
    """Return the pixels of an image of any kind, uint8 [H, W, 3]."""
    if isinstance(image, MedicalImage):
        return image.pixels
    return image if isinstance(image, np.ndarray) else image.permute(1, 2, 0).cpu().numpy()
