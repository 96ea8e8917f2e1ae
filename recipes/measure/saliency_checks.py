"""Measure saliency on held-out simulated images: methods beside each other, and every sanity check.

    python -m recipes.measure.saliency_checks --work FOLDER --results medclipsam_utils/results/saliency_checks.json

Five parts for each task. **methods**: does the peak lie on the target, for M2IB as published, for each change that the
settings of the small CLIP make to it, and for the baselines? **prompts**: the right words against others.
**forgetting**: the maps of a model whose weights are destroyed. **presence**: an absent target reported as absent.
**tuning**: settings chosen on a few images, with masks and without, then judged on the held-out ones.

Held-out seeds are nobody else's (``data/seeds.py``); settings and calibration use others. The folder keeps a file for
each part of each task: the same command goes on where an interrupted one stopped. ``--quick`` proves in a minute that
it runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from medclipsam_utils import TASKS
from medclipsam_utils.models import Clip, load_clip
from medclipsam_utils.runs.files import write_json
from medclipsam_utils.saliency import (
    PRESETS,
    Method,
    Preset,
    attention_rollout,
    best_dice,
    calibrate_presence,
    coverage,
    deletion_insertion,
    grad_cam,
    gscore_cam,
    mean_features,
    moved_views,
    points_at,
    preset_grid,
    randomisation,
    specificity,
    tune,
)
from medclipsam_utils.simulate import FINDINGS, simulate

from ..data.cases import Case, target_cases
from ..data.seeds import SEEDS
from ..judge.saliency import OTHER_TASK
from ..machine import machine
from .parts import measure, options_of, short

MODEL = "tiny"
WITHOUT_REGIONS = "tiny-base"
NONSENSE = "above the left of the right and below with the"
PUBLISHED = Preset(("P2",), layer=4, beta=0.1)  # as the released code: unit noise, whatever the size of the tokens
LADDER = ("as published", "tokens standardised", "layer and β", "variance", "prompts", "M2IB")
ALPHA = 0.05


@dataclass(frozen=True)
class Sizes:
    """Say how many seeds of each task a part looks at."""

    first_held_out: int = SEEDS["saliency held out"].seeds.start
    held_out: int = 120
    slow: int = 40  # for what encodes an image often, or runs many blocks
    forgetting: int = 20
    calibration: int = 100
    tuning: int = 6
    layers: tuple[int, ...] = (3, 4, 5)
    betas: tuple[float, ...] = (0.01, 0.1, 1.0)
    variances: tuple[float, ...] = (1.0, 4.0, 16.0)


QUICK = Sizes(
    held_out=2, slow=2, forgetting=1, calibration=19, tuning=1, layers=(5,), betas=(0.1,), variances=(1.0, 4.0)
)


def held_out(task: str, sizes: Sizes, count: int) -> list[Case]:
    """Draw images that show the target."""
    return target_cases(task, range(sizes.first_held_out, sizes.first_held_out + count))


def rollout(clip: Clip, images: Sequence[np.ndarray], text: object) -> list[np.ndarray]:
    return attention_rollout(clip, images)


# A tenth of the small CLIP's channels, as the authors of gScoreCAM recommend.
SINGLE: dict[str, Method] = {"GradCAM": grad_cam, "gScoreCAM": partial(gscore_cam, channels=13), "rollout": rollout}


def ladder(task: str) -> dict[str, Preset]:
    """Climb from M2IB as published to the preset of the small CLIP, one change at a time."""
    goal = PRESETS[MODEL][task]
    steps = [PUBLISHED]
    for change in (
        {"standardize": True},
        {"layer": goal.layer, "beta": goal.beta, "samples": goal.samples},
        {"variance": goal.variance},
        {"prompts": goal.prompts, "against_absent": goal.against_absent},
        {"views": goal.views},
    ):
        steps.append(replace(steps[-1], **change))
    return dict(zip(LADDER, steps, strict=True))


def as_preset(method: Method, task: str) -> Method:
    """Apply another method on moved views where the preset uses them."""
    return moved_views(method) if PRESETS[MODEL][task].views else method


def centre(clip: Clip, images: Sequence[np.ndarray], text: object) -> list[np.ndarray]:
    """Point at the middle, as a map does that knows nothing."""
    return [_hill(image.shape[:2]) for image in images]


def methods(task: str, sizes: Sizes) -> dict[str, Any]:
    clip = load_clip(MODEL)
    cases = held_out(task, sizes, sizes.held_out)
    goal, base, found = PRESETS[MODEL][task], load_clip(WITHOUT_REGIONS), {}
    for name, preset in ladder(task).items():
        few = cases if preset.layer == goal.layer else cases[: sizes.slow]
        faithful = sizes.slow if name == LADDER[-1] else 0
        found[name] = _on_target(preset.method, clip, preset.text(clip, task), few, faithful)
    for name, method in (*SINGLE.items(), ("middle of the image", centre)):
        few = cases[: sizes.slow] if name == "gScoreCAM" else cases
        found[name] = _on_target(as_preset(method, task), clip, goal.text(clip, task), few, faithful=sizes.slow)
    for name, method in (("M2IB", goal.method), ("GradCAM", as_preset(grad_cam, task))):
        found[f"{name}, captions only"] = _on_target(method, base, goal.text(base, task), cases[: sizes.slow])
    return found


def prompts(task: str, sizes: Sizes) -> dict[str, Any]:
    clip = load_clip(MODEL)
    cases, preset = held_out(task, sizes, sizes.held_out), PRESETS[MODEL][task]
    asked = {
        "right": preset.text(clip, task),
        "other organ": preset.text(clip, OTHER_TASK[task]),
        "absent": mean_features(clip, TASKS[task].absent_prompt),
        "nonsense": mean_features(clip, NONSENSE),
    }
    found = {}
    for name, method, count in (("M2IB", preset.method, None), ("GradCAM", as_preset(grad_cam, task), sizes.slow)):
        images, masks = [case.image for case in cases[:count]], [case.mask for case in cases[:count]]
        checked = specificity(method, clip, images, asked, masks)
        found[name] = {
            prompt: {
                "coverage": short(checked.coverage[prompt]),
                "pointing": checked.pointing[prompt].astype(int).tolist(),
                "correlation": short(checked.correlation[prompt]),
            }
            for prompt in asked
        }
    return found


def forgetting(task: str, sizes: Sizes) -> dict[str, Any]:
    clip = load_clip(MODEL)
    cases, preset = held_out(task, sizes, sizes.forgetting), PRESETS[MODEL][task]
    compared = {"M2IB": replace(preset, views=False).method, **SINGLE}
    del compared["gScoreCAM"]  # much slower
    images, text = [case.image for case in cases], preset.text(clip, task)
    return {
        name: {part: short(values) for part, values in randomisation(method, clip, images, text).items()}
        for name, method in compared.items()
    }


def presence(task: str, sizes: Sizes) -> dict[str, Any]:
    """Score held-out images with and without the target, by a test calibrated on validation images."""
    clip = load_clip(MODEL)
    without, known = FINDINGS[task][-1], TASKS[task]
    seeds = SEEDS["presence calibration"].first(sizes.calibration)
    calibration = [simulate(task, seed, finding=without).image for seed in seeds]
    test = calibrate_presence(clip, known.prompts["P2"], known.absent_prompt, calibration)
    images = [case.image for case in held_out(task, sizes, sizes.held_out)]
    seeds = range(sizes.first_held_out, sizes.first_held_out + sizes.held_out)
    groups = {"with": images, "without": [simulate(task, seed, finding=without).image for seed in seeds]}
    found = {name: test.score(clip, group) for name, group in groups.items()}
    return {
        "calibration": short(test.without),
        "alpha": ALPHA,
        **{name: short(scores) for name, scores in found.items()},
        **{f"reported {name}": test.present(scores, ALPHA).astype(int).tolist() for name, scores in found.items()},
    }


def tuning(task: str, sizes: Sizes) -> dict[str, Any]:
    clip = load_clip(MODEL)
    preset = PRESETS[MODEL][task]
    others = {"samples": preset.samples, "standardize": True, "against_absent": preset.against_absent}
    grid = preset_grid([preset.prompts], sizes.layers, sizes.betas, sizes.variances, **others)
    few = target_cases(task, SEEDS["tuning"].first(sizes.tuning))
    images, masks = [case.image for case in few], [case.mask for case in few]
    trials = {
        "with masks": tune(clip, task, images, grid, masks, progress=False),
        "without": tune(clip, task, images, grid, progress=False),
    }
    cases = held_out(task, sizes, sizes.slow)
    return {
        name: {
            "trials": [{**_settings(trial.preset), "score": round(trial.score, 4)} for trial in tried],
            "held out": _on_target(tried[0].preset.method, clip, preset.text(clip, task), cases),
        }
        for name, tried in trials.items()
    }


PARTS = (methods, prompts, forgetting, presence, tuning)


def check(sizes: Sizes, work: Path, results: Path | None = None, processes: int = 1) -> Path:
    """Measure all parts that are not done yet, and write the results."""
    found = measure(PARTS, sizes, work, processes)
    about = {"model": MODEL, "sizes": asdict(sizes), "nonsense": NONSENSE, **machine()}
    presets = {task: asdict(preset) for task, preset in PRESETS[MODEL].items()}
    path = results or work / "saliency_checks.json"
    write_json(path, {**about, "presets": presets, **found}, indent=None)
    print(f"wrote {path}", flush=True)
    return path


def main(arguments: list[str] | None = None) -> None:
    options = options_of(arguments, __doc__, "saliency_checks")
    check(QUICK if options.quick else Sizes(), options.folder, options.results, options.processes)


def _on_target(
    method: Method, clip: Clip, text: object, cases: Sequence[Case], faithful: int = 0
) -> dict[str, list[float]]:
    """Measure pointing, coverage and best DSC of the maps, one number per image; of the first ones faithfulness too."""
    images = [case.image for case in cases]
    maps = method(clip, images, text)
    pairs = [(found, case.mask) for found, case in zip(maps, cases, strict=True)]
    scores = {
        "pointing": [int(points_at(*pair)) for pair in pairs],
        "coverage": short([coverage(*pair) for pair in pairs]),
        "best DSC": short([best_dice(*pair) for pair in pairs]),
    }
    if faithful:
        curves = deletion_insertion(clip, images[:faithful], text, maps[:faithful], steps=8)
        scores["faithfulness"] = short(curves.score)
    return scores


def _settings(preset: Preset) -> dict[str, float]:
    return {name: getattr(preset, name) for name in ("layer", "beta", "variance")}


def _hill(size: tuple[int, int]) -> np.ndarray:
    rows, columns = (np.linspace(-1, 1, side) for side in size)
    return np.exp(-2 * (rows[:, None] ** 2 + columns**2)).astype(np.float32)


if __name__ == "__main__":
    main()
