"""Images and masks in two folders, paired by name: the layout in which the paper's data sets are prepared.

::

    root/train_images/  a.png  b.png      root/train_masks/  a.png  b.png
    root/val_images/    ...               root/val_masks/    ...
    root/test_images/   ...               root/test_masks/   ...

Two listings zipped together pair the wrong files as soon as one is missing, and nobody notices. Here a file's partner
is the one with the same stem, and a file without a partner is an error.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from ..images import MedicalImage, read_image, read_mask_stack
from ..images.formats import sniff
from ..images.labels import read_mask_and_place
from ..images.names import image_stem, list_images, some
from ..images.volume import Place
from .items import Item, ItemDataset, Transform, image_tensor, mask_tensor


class MaskFolder(ItemDataset):
    """Images ``{split}_images`` and masks ``{split}_masks`` in a folder, paired by file stem.

    A stem is the name without its extension (``.nii.gz`` counts as one), so that ``a.jpg`` and ``a.png`` are
    partners. Stems are compared exactly, but for the two forms in which Unicode writes an accent: ``A`` is not ``a``;
    extensions in any case. Hidden files, folders, and files whose content is no image (``Thumbs.db``,
    ``notes.txt``) are ignored. Every format of :func:`~medclipsam_utils.images.read_image` can be read; of a volume the
    middle axial slice is used, and of several frames the middle one. The two must lie at the same place: an affine or a
    spacing that differs is an error.

    A mask is read as labels (:mod:`medclipsam_utils.images.labels` has the rules): every number above 0 counts,
    whatever its colour. A mask of zeros is an empty mask.

    Attributes:
        pairs: image file and mask file by stem, in alphabetical order. They can be read without opening a file.
    """

    def __init__(
        self,
        root: str | os.PathLike,
        split: str = "train",
        size: int | None = None,
        transform: Transform | None = None,
    ):
        """Pair the files; none is opened yet.

        Args:
            root: the folder that holds the two folders.
            split: ``"train"``, ``"val"`` or ``"test"``, or what else the two folders' names start with.
            size: side to which images and masks are stretched, or None.
            transform: function from item to item, or None.

        Raises:
            ValueError: a folder is missing or has no images, a stem occurs twice in a folder, or a file has no
                partner; the message lists them.
        """
        super().__init__(size, transform)
        self.root, self.split = Path(root), split
        folders = [self.root / f"{split}_{kind}" for kind in ("images", "masks")]
        lacking = [folder.name for folder in folders if not folder.is_dir()]
        if lacking:
            present = sorted(path.name for path in self.root.iterdir() if path.is_dir()) if self.root.is_dir() else None
            there = "no such folder" if present is None else f"there is {some(present) or 'no folder'}"
            raise ValueError(
                f"{self.root} has no folder {' and no folder '.join(lacking)} ({there}): the layout is {split}_images/ "
                f"and {split}_masks/, with files of the same stem in both"
            )
        (images, ignored_images), (masks, ignored_masks) = (_files_by_stem(folder) for folder in folders)
        without_mask = [path for stem, path in images.items() if stem not in masks]
        without_image = [path for stem, path in masks.items() if stem not in images]
        if without_mask or without_image:
            sides = [
                f"{len(paths)} {kind} without {partner}: {some(path.name for path in paths)}"
                for paths, kind, partner in ((without_mask, "images", "mask"), (without_image, "masks", "image"))
                if paths
            ]
            ignored = [*ignored_images, *ignored_masks]
            hint = f" (ignored: {some(ignored)})" if ignored else ""
            raise ValueError(
                f"{self.root}, {split}: {'; '.join(sides)}{hint}. Partners have the same name up to the extension, "
                "upper and lower case included: rename or remove these"
            )
        self.pairs = {stem: (images[stem], masks[stem]) for stem in images}
        self._stems = tuple(self.pairs)

    def __len__(self) -> int:
        return len(self._stems)

    def load(self, index: int) -> Item:
        """Read image and mask; a ValueError names both if their sizes differ."""
        stem = self._stems[index]
        image_path, mask_path = self.pairs[stem]
        picture = read_image(image_path)
        image, (mask, place) = picture.pixels, _mask_of(picture, mask_path)
        if image.shape[:2] != mask.shape:
            raise ValueError(
                f"{image_path} is {image.shape[0]} × {image.shape[1]} pixels (rows × columns), its mask {mask_path} is "
                f"{mask.shape[0]} × {mask.shape[1]}: export both at the same size and orientation"
            )
        difference = Place(picture.spacing_mm, picture.volume).difference(place)
        if difference:
            raise ValueError(f"{image_path} and its mask {mask_path}: {difference}. Bring the mask to the image's grid")
        return {
            "image": image_tensor(image, self.size),
            "mask": mask_tensor(mask, self.size),
            "name": stem,
            "path": str(image_path),
        }


def _mask_of(picture: MedicalImage, path: Path) -> tuple[np.ndarray, Place]:
    """Read the mask of the slice or frame that the image is of; a ValueError if it cannot be told which that is."""
    several = picture.n_frames if picture.volume is None else picture.volume.n_slices
    if picture.volume is not None and sniff(path) == "NIfTI":
        return read_mask_and_place(path)
    stack = read_mask_stack(path)
    n, first = len(stack.mask), picture.volume is None and picture.frame == 0
    if n != several and not (n == 1 and first):
        raise ValueError(
            f"{picture.path} has {several} slices or frames and its mask {path} has {n}: give as many masks as images"
        )
    spacing = stack.place.spacing_mm
    return stack.mask[picture.frame if n > 1 else 0], Place(spacing and spacing[-2:])


def _files_by_stem(folder: Path) -> tuple[dict[str, Path], dict[str, str]]:
    """List the files by stem in alphabetical order, and why others are no images."""
    files: dict[str, Path] = {}
    listing = list_images(folder, deep=False, results=True)
    for name in listing.images:
        stem = image_stem(name)
        if stem in files:
            raise ValueError(
                f"{folder} has {files[stem].name} and {name}, which share the stem {stem!r}: remove or rename one, "
                "because it is not clear which is meant"
            )
        files[stem] = folder / name
    return files, listing.ignored
