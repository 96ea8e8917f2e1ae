"""Images and labels as the network takes them: checked, grey, and of one size."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor
from torch.nn import functional

from ..images import Image, MedicalImage, image_size, pixels_of
from ..masks import as_mask


def training_set(images: Sequence[Image], labels: Sequence[ArrayLike], size: int) -> tuple[Tensor, Tensor]:
    """Bring N images and labels to S × S pixels.

    Args:
        images: images of the kinds that :func:`network_input` takes.
        labels: bool [H, W] or numbers that are all 0 or 1, one per image.
        size: S.

    Returns:
        Images, float32 [N, 1, S, S], and labels of 0 and 1, float32 [N, 1, S, S].

    Raises:
        ValueError: there are no images, another number of labels, an image that :func:`network_input` refuses, a label
            with other values than 0 and 1 or of another size than its image, or nothing but target or nothing but
            background in all labels together.
    """
    if not len(images) or len(images) != len(labels):
        raise ValueError(f"there are {len(images)} images and {len(labels)} labels: give one label for each image")
    inputs = torch.stack([network_input(number, image, size) for number, image in enumerate(images)])
    masks = [as_mask(label, f"label {number}") for number, label in enumerate(labels)]
    _check(images, masks)
    return inputs, torch.stack([_shrunk(mask, size) for mask in masks])


def network_input(number: int, image: Image, size: int) -> Tensor:
    """Return an image as float32 [1, S, S] of mean 0 and deviation 1; a constant one becomes 0.

    Args:
        number: number of the image, for messages.
        image: uint8 [H, W, 3] or [H, W], a tensor uint8 [3, H, W], or what
            :func:`~medclipsam_utils.images.read_image` returns. Other numbers will do as well, if all are finite.
        size: S.

    Raises:
        ValueError: the image is of another kind, or has a pixel that is NaN or infinite.
    """
    kinds = "give uint8 [H, W, 3] or [H, W], a tensor uint8 [3, H, W], or what read_image returns"
    if not isinstance(image, np.ndarray | Tensor | MedicalImage):
        raise ValueError(f"image {number} is a {type(image).__name__}: {kinds}")
    pixels = image.cpu().numpy() if isinstance(image, Tensor) and image.ndim != 3 else pixels_of(image)
    if pixels.dtype.kind not in "uif" or not pixels.size or (pixels.ndim != 2 and pixels.shape[2:] != (3,)):
        raise ValueError(f"image {number} is {pixels.dtype} {list(pixels.shape)}: {kinds}")
    grey = pixels.mean(axis=2, dtype=np.float32) if pixels.ndim == 3 else pixels.astype(np.float32)  # (H, W)
    wrong = grey.size - int(np.isfinite(grey).sum())
    if wrong:
        raise ValueError(
            f"image {number} has {wrong} pixels that are NaN or infinite: find out where they come from, or replace "
            "them, for example by np.nan_to_num(image, posinf=0, neginf=0)"
        )
    small = _resized(grey, size)
    return (small - small.mean()) / small.std().clamp(min=1e-6)


def _check(images: Sequence[Image], masks: Sequence[np.ndarray]) -> None:
    for number, (image, mask) in enumerate(zip(images, masks, strict=True)):
        if image_size(image) != mask.shape:
            raise ValueError(
                f"image {number} has {image_size(image)} pixels and its label {mask.shape}: give equal sizes"
            )
    if not any(mask.any() for mask in masks):
        raise ValueError(
            f"all {len(masks)} labels are empty, so that there is nothing to learn: look at the pseudo-labels, and at "
            "whether the target was reported absent"
        )
    if all(mask.all() for mask in masks):
        raise ValueError(f"all {len(masks)} labels cover their whole image: there is no background to learn from")


def _shrunk(mask: np.ndarray, size: int) -> Tensor:
    """Return a mask as float32 [1, S, S], 1 where more than half of the new pixel is target and 0 elsewhere."""
    return (_resized(mask.astype(np.float32), size) > 0.5).float()


def _resized(values: np.ndarray, size: int) -> Tensor:
    """Resize float32 [H, W] to [1, S, S], bilinearly and without aliasing."""
    pixels = torch.from_numpy(values)[None, None]  # (1, 1, H, W)
    return functional.interpolate(pixels, (size, size), mode="bilinear", antialias=True)[0]
