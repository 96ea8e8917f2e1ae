"""The base of all datasets: how an item is put together, resized, indexed and transformed."""

from __future__ import annotations

import operator
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.utils.data import Dataset

Item = dict[str, Any]
Transform = Callable[[Item], Item]


class ItemDataset(Dataset, ABC):
    """A map-style dataset of items, see :mod:`medclipsam_utils.datasets`. It can be iterated over and pickled."""

    def __init__(self, size: int | None, transform: Transform | None):
        if size is not None and (not isinstance(size, int | np.integer) or size < 1):
            raise ValueError(f"size is {size!r}: give the side in pixels, or None to keep every image as it is")
        self.size = size
        self.transform = transform

    @abstractmethod
    def __len__(self) -> int:
        """Return the number of items."""

    @abstractmethod
    def load(self, index: int) -> Item:
        """Return item ``index``, from 0 to len - 1, before ``transform``."""

    def __getitem__(self, index: int) -> Item:
        """Return item ``index``; negative ones count from the end.

        Raises:
            IndexError: there is no such item; a plain ``for`` ends by it.
        """
        position = operator.index(index)
        if not -len(self) <= position < len(self):
            raise IndexError(f"there is no item {position}: the dataset has {len(self)} items")
        item = self.load(position % len(self))
        return item if self.transform is None else self.transform(item)


def image_tensor(image: np.ndarray, size: int | None) -> torch.Tensor:
    """Turn an image, uint8 [H, W, 3], into a tensor, uint8 [3, size, size], or [3, H, W] where ``size`` is None."""
    if size is not None and image.shape[:2] != (size, size):
        image = np.asarray(Image.fromarray(image).resize((size, size), Image.Resampling.BILINEAR))
    return torch.from_numpy(np.array(image.transpose(2, 0, 1), order="C"))


def mask_tensor(mask: np.ndarray, size: int | None) -> torch.Tensor:
    """Turn a mask, bool [H, W], into a tensor, bool [size, size], or [H, W] where ``size`` is None."""
    if size is not None and mask.shape != (size, size):
        # Pillow's bilinear filter widens with the scale: the value is the fraction of the new pixel that is covered.
        covered = Image.fromarray(mask.astype(np.float32)).resize((size, size), Image.Resampling.BILINEAR)
        mask = np.asarray(covered) >= 0.5
    return torch.from_numpy(np.array(mask, order="C"))
