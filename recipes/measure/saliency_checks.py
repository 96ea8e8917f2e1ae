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
from medclipsam_utils.saliency import (
    Method,
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
    randomisation,
    specificity,
)
from medclipsam_utils.settings import CHANNELS, M2IB, PAPERS_WAY, SETTINGS, Settings, settings_grid, tune
from medclipsam_utils.simulate import FINDINGS, simulate

from ..data.cases import Case, target_cases
from ..data.seeds import SEEDS
from ..judge.saliency import OTHER_TASK
from .parts import measure, options_of, short, write_results

MODEL = "tiny"
WITHOUT_REGIONS = "tiny-base"
NONSENSE = "above the left of the right and below with the"
PUBLISHED = Settings(
    M2IB(layer=4, beta=0.1), ("P2",)
)  # as the released code: unit noise, whatever the size of the tokens
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


SINGLE: dict[str, Method] = {
    "GradCAM": grad_cam,
    "gScoreCAM": partial(gscore_cam, channels=CHANNELS[MODEL]),
    "rollout": attention_rollout,
}


def ladder(task: str) -> dict[str, Settings]:
    """List the steps from M2IB as published to the settings of the small CLIP, one change at a time."""
    goal = PAPERS_WAY[MODEL][task]
    made = goal.saliency
    steps = [PUBLISHED]
    for change in (
        {"standardize": True},
        {"layer": made.layer, "beta": made.beta, "samples": made.samples},
        {"variance": made.variance},
        {"prompts": goal.prompts, "against_absent": goal.against_absent},
        {"views": made.views},
    ):
        steps.append(steps[-1].changed(change))
    return dict(zip(LADDER, steps, strict=True))


def on_views(method: Method, task: str) -> Method:
    """Take another method on moved views where the settings of the task use them."""
    return moved_views(method) if PAPERS_WAY[MODEL][task].saliency.views else method


def centre(clip: Clip, images: Sequence[np.ndarray], text: object) -> list[np.ndarray]:
    """Point at the middle, as a map does that knows nothing."""
    return [_hill(image.shape[:2]) for image in images]


def methods(task: str, sizes: Sizes) -> dict[str, Any]:
    clip = load_clip(MODEL)
    cases = held_out(task, sizes, sizes.held_out)
    goal, base, known = PAPERS_WAY[MODEL][task], load_clip(WITHOUT_REGIONS), TASKS[task]
    right, found = goal.text_features(clip, known), {}
    for name, step in ladder(task).items():
        few = cases if step.saliency.layer == goal.saliency.layer else cases[: sizes.slow]
        faithful = sizes.slow if name == LADDER[-1] else 0
        found[name] = _on_target(step.saliency.method, clip, step.text_features(clip, known), few, faithful)
    for name, method in (*SINGLE.items(), ("middle of the image", centre)):
        few = cases[: sizes.slow] if name == "gScoreCAM" else cases
        found[name] = _on_target(on_views(method, task), clip, right, few, faithful=sizes.slow)
    for name, method in (("M2IB", goal.saliency.method), ("GradCAM", on_views(grad_cam, task))):
        text = goal.text_features(base, known)
        found[f"{name}, captions only"] = _on_target(method, base, text, cases[: sizes.slow])
    default = SETTINGS[WITHOUT_REGIONS][task]
    found["patch–text, captions only"] = _on_target(
        default.saliency.method, base, default.text_features(base, known), cases[: sizes.slow]
    )
    return found


def prompts(task: str, sizes: Sizes) -> dict[str, Any]:
    clip = load_clip(MODEL)
    cases, settings = held_out(task, sizes, sizes.held_out), PAPERS_WAY[MODEL][task]
    asked = {
        "right": settings.text_features(clip, TASKS[task]),
        "other organ": settings.text_features(clip, TASKS[OTHER_TASK[task]]),
        "absent": mean_features(clip, TASKS[task].absent_prompt),
        "nonsense": mean_features(clip, NONSENSE),
    }
    found = {}
    for name, method, count in (
        ("M2IB", settings.saliency.method, None),
        ("GradCAM", on_views(grad_cam, task), sizes.slow),
    ):
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
    cases, settings = held_out(task, sizes, sizes.forgetting), PAPERS_WAY[MODEL][task]
    compared = {"M2IB": replace(settings.saliency, views=False).method, **SINGLE}
    del compared["gScoreCAM"]  # much slower
    images, text = [case.image for case in cases], settings.text_features(clip, TASKS[task])
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
    chosen = PAPERS_WAY[MODEL][task]
    grid = settings_grid(
        [chosen.prompts], sizes.layers, sizes.betas, sizes.variances, against_absent=chosen.against_absent,
        samples=chosen.saliency.samples, standardize=True,
    )  # fmt: skip
    few = target_cases(task, SEEDS["tuning"].first(sizes.tuning))
    images, masks = [case.image for case in few], [case.mask for case in few]
    trials = {
        "with masks": tune(clip, task, images, grid, masks, progress=False),
        "without": tune(clip, task, images, grid, progress=False),
    }
    cases = held_out(task, sizes, sizes.slow)
    return {
        name: {
            "trials": [{**_tried(trial.settings.saliency), "score": round(trial.score, 4)} for trial in tried],
            "held out": _on_target(
                tried[0].settings.saliency.method, clip, chosen.text_features(clip, TASKS[task]), cases
            ),
        }
        for name, tried in trials.items()
    }


PARTS = (methods, prompts, forgetting, presence, tuning)


def check(sizes: Sizes, work: Path, results: Path | None = None, processes: int = 1) -> Path:
    """Measure all parts that are not done yet, and write the results."""
    settings = {task: asdict(PAPERS_WAY[MODEL][task]) for task in TASKS}
    about = {"model": MODEL, "sizes": asdict(sizes), "nonsense": NONSENSE, "settings": settings}
    return write_results(results or work / "saliency_checks.json", about, measure(PARTS, sizes, work, processes))


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


def _tried(made: M2IB) -> dict[str, float]:
    return {name: getattr(made, name) for name in ("layer", "beta", "variance")}


def _hill(size: tuple[int, int]) -> np.ndarray:
    rows, columns = (np.linspace(-1, 1, side) for side in size)
    return np.exp(-2 * (rows[:, None] ** 2 + columns**2)).astype(np.float32)


if __name__ == "__main__":
    main()
