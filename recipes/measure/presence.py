"""Measure the presence test on held-out images: known targets, and what must never be reported as present.

    python -m recipes.measure.presence --work FOLDER --results medclipsam_utils/results/presence.json

Three parts for each task. **known**: its images with and without the target, asked with the task's prompts and with
other words for it. **foreign**: its images, asked for other tasks' targets and for other organs. **no_such_image**:
blank images, noise, gradients and photographs, asked for its target. An answer is present, absent or unknown.

Held-out seeds are nobody else's. The folder keeps a file for each part of each task: the same command goes on where an
interrupted one stopped. ``--quick`` proves in a minute that it runs.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import skimage.data
from scipy.ndimage import gaussian_filter

from medclipsam_utils import TASKS, load_clip, simulate
from medclipsam_utils.models import UnknownWordWarning
from medclipsam_utils.pipeline import Questions, UnknownTargetWarning
from medclipsam_utils.runs.files import write_json
from medclipsam_utils.simulate import FINDINGS

from ..data.cases import target_cases
from ..data.seeds import SEEDS
from ..machine import machine
from .parts import measure, options_of

MODEL = "tiny"
OTHER_WORDS = {
    "breast_ultrasound": ("a mass in the breast", "malignant breast lesion", "breast tumors", "tumour"),
    "brain_mri": ("a lesion of the brain", "glioma", "brain mass", "tumour"),
    "lung_xray": ("both lungs", "the left and the right lung", "lung fields"),
    "lung_ct": ("both lungs", "the left and the right lung", "lung fields"),
}
ORGANS = ("liver", "heart", "kidneys", "spine", "brain", "a nodule in the lung", "a tumour of the liver")
PHOTOGRAPHS = (
    "astronaut", "camera", "chelsea", "coffee", "coins", "moon", "page", "rocket", "text", "brick", "grass",
               "gravel", "cell", "clock", "horse", "immunohistochemistry", "hubble_deep_field", "retina", "logo",
)  # fmt: skip


@dataclass(frozen=True)
class Sizes:
    """Set how many images are looked at for each question."""

    held_out: int = 200
    foreign: int = 100
    no_such_image: int = 100


QUICK = Sizes(held_out=2, foreign=2, no_such_image=2)


def known(task: str, sizes: Sizes) -> dict[str, Any]:
    """Ask for what the images may show, in the words of the task and in others."""
    seeds = SEEDS["presence held out"].first(sizes.held_out)
    groups = {
        "with": [case.image for case in target_cases(task, seeds)],
        "without": [simulate(task, seed, finding=FINDINGS[task][-1]).image for seed in seeds],
    }
    words: dict[str, str | None] = {"prompts of the task": None}
    words |= {text: text for kind in ("P0", "P1", "P2") for text in TASKS[task].prompts[kind][:1]}
    words |= {text: text for text in OTHER_WORDS[task]}
    return {
        name: {group: _answers(images, text, None if text else task) for group, images in groups.items()}
        for name, text in words.items()
    }


def foreign(task: str, sizes: Sizes) -> dict[str, Any]:
    """Ask images that show the target for what they cannot show."""
    images = [case.image for case in target_cases(task, SEEDS["presence held out"].first(sizes.foreign))]
    others = dict.fromkeys(other.target for other in TASKS.values() if other.target != TASKS[task].target)
    return {text: _answers(images, text, None) for text in (*others, *ORGANS)}


def no_such_image(task: str, sizes: Sizes) -> dict[str, Any]:
    """Ask images that are none of the kind."""
    groups = {"blank": blank, "gradients": gradients, "noise": noise, "photographs": photographs}
    text = TASKS[task].prompts["P0"][0]
    found = {name: _answers(make(sizes.no_such_image), text, task) for name, make in groups.items()}
    return found | {f"{name}, task found": _answers(make(sizes.no_such_image), text, None)
                    for name, make in groups.items()}  # fmt: skip


def blank(count: int) -> list[np.ndarray]:
    """Make images of one grey level each, from black to white."""
    return [np.full((256, 256, 3), level, np.uint8) for level in np.linspace(0, 255, count).round()]


def gradients(count: int) -> list[np.ndarray]:
    """Make ramps in all directions, of different contrast."""
    generator, (rows, columns) = np.random.default_rng(0), np.mgrid[:256, :256] / 255
    angles, contrasts = generator.uniform(0, 2 * np.pi, count), generator.uniform(0.2, 1, count)
    ramps = [np.cos(angle) * columns + np.sin(angle) * rows for angle in angles]
    return [
        _grey(contrast * (ramp - ramp.min()) / np.ptp(ramp)) for ramp, contrast in zip(ramps, contrasts, strict=True)
    ]


def noise(count: int) -> list[np.ndarray]:
    """Make noise, white and smoothed more and more."""
    generator = np.random.default_rng(1)
    found = []
    for number in range(count):
        field = gaussian_filter(generator.normal(size=(256, 256)), (0, 1, 2, 4, 8, 16)[number % 6])
        found.append(_grey((field - field.min()) / np.ptp(field)))
    return found


def photographs(count: int) -> list[np.ndarray]:
    """Cut squares out of the photographs that come with scikit-image, in colour and in grey."""
    generator, found = np.random.default_rng(2), []
    for number in range(count):
        image = np.asarray(getattr(skimage.data, PHOTOGRAPHS[number % len(PHOTOGRAPHS)])())
        image = image[..., None].repeat(3, axis=2) if image.ndim == 2 else image[..., :3]
        image = (255 * image).astype(np.uint8) if image.dtype != np.uint8 else image
        side = int(min(image.shape[:2]) * generator.uniform(0.5, 1))
        row, column = (int(generator.integers(0, length - side + 1)) for length in image.shape[:2])
        square = image[row : row + side, column : column + side]
        found.append(_grey(square.mean(axis=2) / 255) if number % 2 else np.ascontiguousarray(square))
    return found


PARTS = (known, foreign, no_such_image)


def check(sizes: Sizes, work: Path, results: Path | None = None, processes: int = 1) -> Path:
    """Measure all parts that are not done yet, and write the results."""
    found = measure(PARTS, sizes, work, processes)
    path = results or work / "presence.json"
    write_json(path, {"model": MODEL, "sizes": asdict(sizes), **machine(), **found})
    print(f"wrote {path}", flush=True)
    return path


def main(arguments: list[str] | None = None) -> None:
    options = options_of(arguments, __doc__, "presence")
    check(QUICK if options.quick else Sizes(), options.folder, options.results, options.processes)


def _grey(values: np.ndarray) -> np.ndarray:
    """Make an image uint8 [H, W, 3] of values from 0 to 1."""
    return np.round(255 * values).astype(np.uint8)[..., None].repeat(3, axis=2)


def _answers(images: Sequence[np.ndarray], text: str | None, task: str | None) -> dict[str, int]:
    """Count what is reported of so many images."""
    with warnings.catch_warnings():
        for category in (UnknownWordWarning, UnknownTargetWarning):
            warnings.simplefilter("ignore", category)
        questions = Questions(load_clip(MODEL)).ask(images, text, task)
    counts = Counter(question.presence.present for question in questions)
    return {"present": counts[True], "absent": counts[False], "unknown": counts[None]}


if __name__ == "__main__":
    main()
