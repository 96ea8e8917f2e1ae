"""Collect the images that the small models are judged on: simulated ones that no training saw, or real ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from medclipsam_utils import TASKS, simulate
from medclipsam_utils.images import read_image, read_mask
from medclipsam_utils.postprocess import components
from medclipsam_utils.simulate import FINDINGS, Sample

LUNGS = ("left lung", "right lung")
# A second lung is not smaller than this fraction of the first; what is smaller is a speck.
LEAST_FRACTION = 0.1


@dataclass(frozen=True, eq=False)
class Case:
    """Hold one image and what is true of it.

    Attributes:
        name: the seed, or the file's name without extension.
        image: uint8 [H, W, 3].
        mask: bool [H, W], the task's target.
        parts: bool [H, W] each: the parts of the target that get a prompt of their own, such as each lung.
        finding: one of ``FINDINGS[task]``; empty where it is not known.
        caption: true of the image; empty where there is none.
    """

    name: str
    image: np.ndarray
    mask: np.ndarray
    parts: tuple[np.ndarray, ...]
    finding: str = ""
    caption: str = ""


def simulated_cases(task: str, seeds: Sequence[int]) -> dict[str, list[Case]]:
    """Draw every seed with every finding of the task, by finding; the last finding is the image without the target."""
    return {
        finding: [_from_sample(simulate(task, seed, finding=finding)) for seed in seeds] for finding in FINDINGS[task]
    }


def target_cases(task: str, seeds: Sequence[int]) -> list[Case]:
    """Draw what :func:`with_target` takes of :func:`simulated_cases`, and leave out the others."""
    return [_from_sample(sample) for sample in target_samples(task, seeds)]


def target_samples(task: str, seeds: Sequence[int]) -> list[Sample]:
    """Draw one sample per seed that shows the target, its finding in turn."""
    findings = FINDINGS[task][:-1]
    return [simulate(task, seed, finding=findings[number % len(findings)]) for number, seed in enumerate(seeds)]


def rotated(cases: dict[str, list[Case]], findings: Sequence[str]) -> list[Case]:
    """Take one case per seed, its finding in turn, so that each is as frequent as the others."""
    return [cases[findings[number % len(findings)]][number] for number in range(len(cases[findings[0]]))]


def with_target(task: str, cases: dict[str, list[Case]]) -> list[Case]:
    """Take one case per seed that shows the target, its finding in turn."""
    return rotated(cases, FINDINGS[task][:-1])


def real_cases(folder: Path, task: str) -> list[Case]:
    """Read the images in ``folder/task/images`` and their masks in ``folder/task/masks``, in alphabetical order.

    Raises:
        ValueError: an image is without a mask of the same stem, or differs from it in size, or a mask is empty.
    """
    masks = {path.stem: path for path in _files(folder / task / "masks")}
    return [_from_files(path, masks, TASKS[task].n_structures) for path in _files(folder / task / "images")]


def _from_sample(sample: Sample) -> Case:
    lungs = tuple(sample.structures[name] for name in LUNGS if name in sample.structures)
    parts = tuple(lung for lung in lungs if lung.any()) or (sample.mask,)
    return Case(str(sample.seed), sample.image, sample.mask, parts, sample.finding, sample.caption)


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*") if path.is_file() and not path.name.startswith("."))


def _from_files(path: Path, masks: dict[str, Path], n_structures: int) -> Case:
    if path.stem not in masks:
        raise ValueError(f"{path} has no mask of the same stem in the folder masks: add it, or remove the image")
    image, mask = read_image(path).pixels, read_mask(masks[path.stem])
    if image.shape[:2] != mask.shape:
        raise ValueError(f"{path} is {image.shape[:2]} pixels and its mask {mask.shape}: export both at the same size")
    if not mask.any():
        raise ValueError(f"the mask of {path} is empty: only images that show the target are measured")
    return Case(path.stem, image, mask, tuple(components(mask, n_structures, LEAST_FRACTION)))
