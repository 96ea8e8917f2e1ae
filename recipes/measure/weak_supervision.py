"""Measure the third stage on held-out simulated images: does a segmenter that learned from masks beat these masks?

    python -m recipes.measure.weak_supervision --work FOLDER --results medclipsam_utils/results/weak_supervision.json

For each task: **pseudo_labels** segments a training set without labels, and says how good the masks are and whether
their agreement tells it. **training** trains a U-Net around the image tower of the CLIP on the trusted masks and, as
the upper bound, on exact masks of as many images, and a U-Net alone on the trusted masks; it compares all with the
zero-shot method on held-out images, in DSC and NSD of every model and of the ensemble, with calibration and
uncertainty; validation images, which nothing else is reported of, say which single model one would choose.
**captions_alone** asks a CLIP that saw no mask, with settings that were chosen without masks, and no SAM: what its map
marks is what a U-Net learns from, several times. **noise** spoils exact masks on purpose, in ways that average out and
in ways that do not.

Training and held-out seeds are nobody else's (``data/seeds.py``). The folder keeps masks, checkpoints and a file for
each part of each task: the same command goes on where an interrupted one stopped. It takes about two and a half hours
on two processor cores; ``--quick`` proves in a minute that it runs.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy.ndimage import binary_dilation, binary_erosion, shift

from medclipsam_utils import TASKS, Segmenter, dice, nsd
from medclipsam_utils.models import load_clip, load_sam
from medclipsam_utils.postprocess import coarse_mask
from medclipsam_utils.runs.files import write_json
from medclipsam_utils.settings import PAPERS_WAY, SETTINGS, saliency_for
from medclipsam_utils.weak import (
    EnsemblePrediction,
    TrainingConfig,
    UNetEnsemble,
    make_pseudo_labels,
    reliability,
    train_segmenter,
)

from ..data.cases import Case, target_cases
from ..data.seeds import SEEDS
from ..machine import machine
from .parts import measure, options_of, short

MODEL, CAPTIONS_ONLY = "tiny", "tiny-base"
TOLERANCE = 2.0  # of NSD, in pixels
NEAR = 0.01  # calibration looks at pixels that are target with more than this
SHIFT, GROWTH = 8, 4  # pixels
NOISE_TASK = "lung_ct"
LONG = TrainingConfig(size=128, warm_up=2200, cycles=4, cycle_steps=300, keep=1, average=True, precision="bfloat16")
ONE_CYCLE = TrainingConfig(cycles=1, cycle_steps=350, keep=1)


@dataclass(frozen=True)
class Sizes:
    """Say how many seeds of each task are trained on and looked at, and for how long."""

    first_training: int = SEEDS["weak training"].seeds.start
    training: int = 2000
    first_held_out: int = SEEDS["weak held out"].seeds.start
    held_out: int = 200
    first_validation: int = SEEDS["weak validation"].seeds.start
    validation: int = 200
    noise_training: int = 120
    lane_training: int = 200
    lane_held_out: int = 60
    repeats: int = 3
    config: TrainingConfig = LONG
    noise_config: TrainingConfig = ONE_CYCLE
    lane_config: TrainingConfig = ONE_CYCLE
    folder: str = ""


def quick(folder: Path) -> Sizes:
    brief = TrainingConfig(size=32, channels=(4, 8, 8), cycles=2, cycle_steps=5, keep=1, batch_size=2)
    few = {"training": 6, "held_out": 3, "validation": 3, "noise_training": 4}
    few |= {"lane_training": 4, "lane_held_out": 2, "repeats": 2}
    return Sizes(**few, config=brief, noise_config=brief, lane_config=brief, folder=str(folder))


def pseudo_labels(task: str, sizes: Sizes) -> dict[str, Any]:
    """Measure how good the masks of the training set are, and whether agreement and presence tell it."""
    images, exact = _training_set(task, sizes.first_training, sizes.training)
    labels = make_pseudo_labels(_segmenter(), images, task=task, progress=False)
    path = _file(sizes, f"pseudo_{task}.npz")
    np.savez_compressed(path.with_suffix(".part.npz"), masks=np.stack(labels.masks))
    os.replace(path.with_suffix(".part.npz"), path)
    return {
        "DSC": short(dice(mask, truth) for mask, truth in zip(labels.masks, exact, strict=True)),
        "agreement": short(labels.agreement),
        "present": labels.present.astype(int).tolist(),
        "trusted": labels.trusted().tolist(),
    }


def training(task: str, sizes: Sizes) -> dict[str, Any]:
    """Train a U-Net alone and one around a CLIP, on trusted masks and on others; compare with the zero-shot method."""
    images, exact = _training_set(task, sizes.first_training, sizes.training)
    chosen = pseudo_labels_of(task, sizes)["trusted"]
    masks = list(np.load(_file(sizes, f"pseudo_{task}.npz"))["masks"])
    cases = target_cases(task, range(sizes.first_held_out, sizes.first_held_out + sizes.held_out))
    validation = target_cases(task, range(sizes.first_validation, sizes.first_validation + sizes.validation))
    truth = [case.mask for case in cases]
    answers = _segmenter().segment_batch([case.image for case in cases], task=task)
    found: dict[str, Any] = {"zero-shot": _scores([answer.mask for answer in answers], truth)}
    clip = load_clip(MODEL)
    for name, numbers, labels, tower in (
        ("trusted masks", chosen, masks, clip),
        ("exact masks", range(len(chosen)), exact, clip),
        ("U-Net alone", chosen, masks, None),
    ):
        ensemble = train_segmenter(
            [images[n] for n in numbers], [labels[n] for n in numbers], sizes.config, clip=tower, progress=False,
            folder=_file(sizes, f"{task} {name}"),
        )  # fmt: skip
        prediction = ensemble.predict([case.image for case in cases])
        found[name] = _judged(prediction, truth)
        found[name]["validation NSD"] = _validated(ensemble, validation)
    found["finding"] = [case.finding for case in cases]
    return found


def captions_alone(task: str, sizes: Sizes) -> dict[str, Any]:
    """Train U-Nets on what the map of a CLIP marks that learned from captions alone; no SAM, and no exact mask."""
    images, exact = _training_set(task, sizes.first_training, sizes.lane_training)
    cases = target_cases(task, range(sizes.first_held_out, sizes.first_held_out + sizes.lane_held_out))
    labels, truth = marked(task, images), [case.mask for case in cases]
    pupils = []
    for seed in range(sizes.repeats):
        config = replace(sizes.lane_config, seed=seed)
        folder = _file(sizes, f"{task} captions alone {seed}")
        ensemble = train_segmenter(images, labels, config, progress=False, folder=folder)
        pupils.append(_scores(ensemble.predict([case.image for case in cases]).masks, truth))
    return {
        "labels": short(dice(label, mask) for label, mask in zip(labels, exact, strict=True)),
        "teacher": _scores(marked(task, [case.image for case in cases]), truth),
        "pupils": pupils,
    }


def marked(task: str, images: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Cut the maps of the CLIP that learned from captions alone: bool [H, W] each."""
    settings = SETTINGS[CAPTIONS_ONLY][task]
    maps = saliency_for(load_clip(CAPTIONS_ONLY), images, task)
    cut = {"method": settings.binarize, "clusters": settings.clusters, "threshold": settings.threshold}
    cut["min_fraction"] = settings.min_component_fraction
    return [coarse_mask(saliency, TASKS[task].n_structures, **cut) for saliency in maps]


def noise(task: str, sizes: Sizes) -> dict[str, Any]:
    """Spoil the exact masks of one task on purpose, and see what a network makes of them; other tasks give nothing."""
    if task != NOISE_TASK:
        return {}
    images, exact = _training_set(task, sizes.first_training, sizes.noise_training)
    cases = target_cases(task, range(sizes.first_held_out, sizes.first_held_out + sizes.held_out))
    found: dict[str, Any] = {}
    for name, spoil in SPOILT.items():
        labels = [spoil(mask, np.random.default_rng([7, number])) for number, mask in enumerate(exact)]
        ensemble = train_segmenter(
            images, labels, sizes.noise_config, progress=False, folder=_file(sizes, f"noise {name}")
        )
        masks = ensemble.predict([case.image for case in cases]).masks
        found[name] = {
            "labels": short(dice(label, mask) for label, mask in zip(labels, exact, strict=True)),
            **_scores(masks, [case.mask for case in cases]),
        }
    return found


def exact_label(mask: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    return mask


def ragged(mask: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Make each mask too large or too small, by a random number of pixels."""
    return grown(mask, int(generator.integers(-GROWTH, GROWTH + 1)))


def shaken(mask: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Move each mask into another direction."""
    return moved(mask, generator.uniform(-SHIFT, SHIFT, 2))


def too_large(mask: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Make all masks too large by the same number of pixels."""
    return grown(mask, GROWTH)


def pushed(mask: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Move all masks to the same side."""
    return moved(mask, np.array([0.0, SHIFT / 2]))


def half_missing(mask: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Leave out the left half of the image in half of the masks."""
    kept = mask.copy()
    if generator.random() < 0.5:
        kept[:, : mask.shape[1] // 2] = False
    return kept


SPOILT: dict[str, Callable[[np.ndarray, np.random.Generator], np.ndarray]] = {
    "exact": exact_label,
    "each too large or too small": ragged,
    "each moved elsewhere": shaken,
    "all too large": too_large,
    "all moved to one side": pushed,
    "half of them lack a side": half_missing,
}


def grown(mask: np.ndarray, pixels: int) -> np.ndarray:
    """Dilate a mask by a number of pixels, or erode it if that is negative."""
    if not pixels:
        return mask
    return (binary_dilation if pixels > 0 else binary_erosion)(mask, iterations=abs(pixels))


def moved(mask: np.ndarray, pixels: np.ndarray) -> np.ndarray:
    """Move a mask by rows and columns; what comes in is background."""
    return shift(mask.astype(np.float32), pixels, order=1) > 0.5


PARTS = (pseudo_labels, training, captions_alone, noise)


def evaluate(sizes: Sizes, work: Path, results: Path | None = None, processes: int = 1) -> Path:
    """Measure all parts that are not done yet, and write the results."""
    work.mkdir(parents=True, exist_ok=True)
    found = measure(PARTS[:1], sizes, work, processes) | measure(PARTS[1:], sizes, work, processes)
    found["noise"] = found["noise"][NOISE_TASK]
    about = {name: value for name, value in asdict(sizes).items() if name != "folder"}
    path = results or work / "weak_supervision.json"
    write_json(path, {"model": MODEL, "sizes": about, "tolerance": TOLERANCE, "near": NEAR,
                      "noise task": NOISE_TASK, **machine(), **found}, indent=None)  # fmt: skip
    print(f"wrote {path}", flush=True)
    return path


def main(arguments: list[str] | None = None) -> None:
    options = options_of(arguments, __doc__, "weak_supervision")
    sizes = quick(options.folder) if options.quick else Sizes(folder=str(options.folder))
    evaluate(sizes, options.folder, options.results, options.processes)


def pseudo_labels_of(task: str, sizes: Sizes) -> dict[str, Any]:
    """Read what :func:`pseudo_labels` has written."""
    return json.loads(_file(sizes, f"pseudo_labels_{task}.json").read_text(encoding="utf-8"))


def _training_set(task: str, first: int, count: int) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Draw images that show the target, and their exact masks."""
    cases = target_cases(task, range(first, first + count))
    return [case.image for case in cases], [case.mask for case in cases]


def _segmenter() -> Segmenter:
    return Segmenter(load_clip(MODEL), load_sam(MODEL), PAPERS_WAY[MODEL])


def _file(sizes: Sizes, name: str) -> Path:
    return Path(sizes.folder) / name


def _scores(masks: Sequence[np.ndarray], truth: Sequence[np.ndarray]) -> dict[str, list[float]]:
    pairs = list(zip(masks, truth, strict=True))
    return {"DSC": short(dice(*pair) for pair in pairs), "NSD": short(nsd(*pair, TOLERANCE) for pair in pairs)}


def _validated(ensemble: UNetEnsemble, cases: Sequence[Case]) -> list[float]:
    """Measure the mean NSD of every member on images that only serve to choose one, by their exact masks."""
    members = ensemble.predict([case.image for case in cases]).members > 0.5
    truth = [case.mask for case in cases]
    return short(np.mean(_scores(masks, truth)["NSD"]) for masks in members)


def _judged(prediction: EnsemblePrediction, truth: Sequence[np.ndarray]) -> dict[str, Any]:
    """Score the ensemble and every member, with calibration near the target and the uncertainty of every image."""
    outlines = np.stack(truth)
    found: dict[str, Any] = {"ensemble": _scores(prediction.masks, truth)}
    found["members"] = [_scores(member > 0.5, truth) for member in prediction.members]
    for name, probability in (("ensemble", prediction.probability), ("last member", prediction.members[-1])):
        near = prediction.probability > NEAR
        curve = reliability(probability[near], outlines[near])
        found[f"reliability, {name}"] = {
            "predicted": short(curve.predicted), "observed": short(curve.observed), "share": short(curve.fraction),
            "ECE": round(curve.ece, 4),
        }  # fmt: skip
    found["uncertainty"] = short(prediction.case_uncertainty)
    found["variation"] = short(
        prediction.variation.mean(axis=(1, 2)) / prediction.probability.mean(axis=(1, 2)).clip(1e-6)
    )
    return found


if __name__ == "__main__":
    main()
