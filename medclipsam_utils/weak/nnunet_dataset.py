"""Write images and pseudo-labels into the folders that nnU-Net v2 expects.

::

    nnUNet_raw/Dataset001_BREAST/dataset.json
                                 imagesTr/a_0000.png    labelsTr/a.png    imagesTs/b_0000.png

A label is 0 or 1. Masks of 0 and 255, which every viewer shows so well, are the ones that nnU-Net refuses most often.
"""

from __future__ import annotations

import os
import re
import shutil
from collections import Counter
from collections.abc import Collection, Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from ..images import Image as AnyImage
from ..images import pixels_of
from ..images.names import some
from ..runs.files import write_json

RAW = "nnUNet_raw"
_GREY, _COLOUR = ("grey",), ("red", "green", "blue")


def export_dataset(
    folder: str | os.PathLike,
    dataset_id: int,
    name: str,
    images: Mapping[str, AnyImage],
    labels: Mapping[str, np.ndarray],
    test_images: Mapping[str, AnyImage] | None = None,
) -> Path:
    """Write a data set in nnU-Net v2's raw format; it appears only when it is complete.

    Where all images are grey, they are written with one channel, otherwise all with three. PNG files have no pixel
    spacing, so nnU-Net resamples nothing: bring images of very different pixel sizes to one before.

    Args:
        folder: folder for everything that nnU-Net writes; the data set is ``Dataset{id}_{name}`` in its ``nnUNet_raw``.
        dataset_id: 1 to 999, one for each data set in the folder.
        name: letters, digits, ``_`` and ``-``.
        images: uint8 [H, W, 3] or [H, W], tensors uint8 [3, H, W], or what
            :func:`~medclipsam_utils.images.read_image` returns, by name, of any sizes. Names become file names.
        labels: bool [H, W] by the same names, True where the target is. Some may be empty, not all.
        test_images: like ``images``, of other names, for nnU-Net's predict command. None: no ``imagesTs``.

    Returns:
        The data set's folder.

    Raises:
        ValueError: there are no images; names have no partner, occur twice (``A`` and ``a`` are one file on some
            computers), or are no file names; a wrong dtype or shape; an image and its label differ in size; all labels
            are empty; or the folder has a data set of this number.
    """
    raw = Path(folder) / RAW
    if not 1 <= dataset_id <= 999 or not re.fullmatch(r"[\w-]+", name, re.ASCII):
        raise ValueError(
            f"dataset_id is {dataset_id} and name is {name!r}: give 1 to 999, and a name of letters, digits, _ and -"
        )
    older = _datasets(raw, dataset_id)
    if older:
        raise ValueError(f"{raw} has {older[0]} already: give another dataset_id or folder, or delete it")
    images, test_images = (
        {case: pixels_of(image) for case, image in (group or {}).items()} for group in (images, test_images)
    )
    _check_names(images, labels, test_images)
    channels = 1 if all(_is_grey(case, image) for case, image in (*images.items(), *test_images.items())) else 3
    for case, image in images.items():
        _check_label(case, labels[case], image)
    if not any(label.any() for label in labels.values()):
        raise ValueError(
            f"all {len(labels)} labels are empty, so that there is nothing to learn: look at the pseudo-labels, and at "
            "whether the target was reported absent"
        )
    target = raw / f"Dataset{dataset_id:03}_{name}"
    unfinished = raw / f".{target.name}.part"
    shutil.rmtree(unfinished, ignore_errors=True)
    for kind, group in (("imagesTr", images), ("imagesTs", test_images)):
        for case, image in group.items():
            write_png(unfinished / kind / f"{case}_0000.png", prepared(case, image, channels))
    for case, label in labels.items():
        write_png(unfinished / "labelsTr" / f"{case}.png", label.astype(np.uint8))
    description = {
        "channel_names": {str(number): colour for number, colour in enumerate(_GREY if channels == 1 else _COLOUR)},
        "labels": {"background": 0, "target": 1},
        "numTraining": len(images),
        "file_ending": ".png",
        "overwrite_image_reader_writer": "NaturalImage2DIO",
    }
    write_json(unfinished / "dataset.json", description)
    os.replace(unfinished, target)
    return target


def find_dataset(folder: Path, dataset_id: int) -> str:
    """Find the name, like ``Dataset001_BREAST``, of the data set that :func:`export_dataset` wrote.

    Raises:
        ValueError: there is no data set of this number.
    """
    names = _datasets(folder / RAW, dataset_id)
    if not names:
        raise ValueError(f"{folder / RAW} has no data set {dataset_id}: call export_dataset first")
    return names[0]


def prepared(name: str, image: np.ndarray, channels: int) -> np.ndarray:
    """Return an image as uint8 [H, W] for 1 channel, or [H, W, 3] for 3.

    Raises:
        ValueError: a wrong dtype or shape, or a colour image for 1 channel.
    """
    grey = _is_grey(name, image)
    if channels == 1 and not grey:
        raise ValueError(f"{name} has colour, but the data set is grey: give its mean over the channels")
    if channels == 1:
        return image if image.ndim == 2 else image[..., 0]
    return image if image.ndim == 3 else np.repeat(image[..., None], 3, axis=2)


def write_png(path: Path, pixels: np.ndarray) -> None:
    """Write uint8 [H, W] or [H, W, 3] as a PNG file, in a folder that is made if there is none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.ascontiguousarray(pixels)).save(path)


def _datasets(raw: Path, dataset_id: int) -> list[str]:
    return sorted(path.name for path in raw.glob(f"Dataset{dataset_id:03}_*"))


def _check_names(images: Collection[str], labels: Collection[str], test_images: Collection[str]) -> None:
    if not images:
        raise ValueError("there are no images: give one or more, and a label for each")
    for kind, one, other in (("images without label", images, labels), ("labels without image", labels, images)):
        lonely = [name for name in one if name not in other]
        if lonely:
            raise ValueError(
                f"{len(lonely)} {kind}: {some(lonely)}. Partners have the same name, upper and lower case included"
            )
    wrong = [name for name in (*images, *test_images) if not re.fullmatch(r"\w[\w.-]*", name)]
    if wrong:
        raise ValueError(f"these names are no file names: {some(wrong)}. Use letters, digits, _, - and .")
    counts = Counter(name.lower() for name in (*images, *test_images))
    twice = [name for name in (*images, *test_images) if counts[name.lower()] > 1]
    if twice:
        raise ValueError(
            f"these names occur twice: {some(twice)}. Upper and lower case count as one, and a test image has another "
            "name than a training image: rename or remove one of each"
        )


def _is_grey(name: str, image: np.ndarray) -> bool:
    """Tell whether an image has one channel, or three that are equal; raise a ValueError if it is no image."""
    if image.dtype != np.uint8 or not image.size or (image.ndim != 2 and image.shape[2:] != (3,)):
        raise ValueError(f"{name} is {image.dtype} {list(image.shape)}: give uint8 [H, W, 3] or [H, W]")
    return image.ndim == 2 or bool((image == image[..., :1]).all())


def _check_label(name: str, label: np.ndarray, image: np.ndarray) -> None:
    if label.dtype != bool:
        raise ValueError(f"the label of {name} is {label.dtype}: give bool [H, W], for example mask > 0")
    if label.shape != image.shape[:2]:
        raise ValueError(f"{name} has {image.shape[:2]} pixels and its label {label.shape}: give equal sizes")
