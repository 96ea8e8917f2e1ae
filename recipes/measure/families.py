"""Compare families of saliency on equal terms: each has the same budget for its settings and for what comes after.

    python -m recipes.measure.families --work FOLDER --results medclipsam_utils/results/families.json

For each family and task, on the same validation images: up to eight settings of the map are tried (a family with fewer
knobs has fewer), and the one with the best DSC at its best threshold is kept; then every cut of the map, every margin
of the box and SAM's zoomed view, and what has the best DSC after SAM is kept. Both choices use masks. What was chosen
is then measured on held-out images that nobody else draws: pointing, best DSC, DSC and NSD after SAM, how much of the
map is on the target for the right prompt, for "not there" and for another organ's target, deletion and insertion, what
becomes of the map while the weights are destroyed. At the end the families take turns on one core, and each map is
timed.

The folder keeps a file for each family and task: the same command goes on where an interrupted one stopped. ``--quick``
proves in a minute that it runs.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from medclipsam_utils import TASKS
from medclipsam_utils.metrics import dice, nsd
from medclipsam_utils.models import Clip, load_clip, load_sam
from medclipsam_utils.pipeline import Question, Segmentation, segment
from medclipsam_utils.saliency import (
    Method,
    best_dice,
    coverage,
    deletion_insertion,
    mean_features,
    points_at,
    randomisation,
)
from medclipsam_utils.settings import M2IB, ClassActivation, IntegratedGradients, PatchText, Settings
from medclipsam_utils.settings.saliency import SaliencySettings

from ..data.cases import Case, target_cases
from ..data.seeds import SEEDS
from ..judge.saliency import OTHER_TASK
from .parts import measure, options_of, short, write_results
from .zero_shot import TOLERANCE

MODEL = "tiny"
#: Prompts that each family is tried with: the task's sentences of one kind, or the mean of three kinds.
PROMPTS = (("P1",), ("P0", "P1", "P2"))
#: Ways to cut a map that each family is tried with.
CUTS = (
    *({"binarize": "kmeans", "clusters": clusters} for clusters in (2, 3)),
    *({"binarize": "threshold", "threshold": cut} for cut in (0.4, 0.5, 0.6, 0.7, 0.8, 0.9)),
)
MARGINS = (-0.1, 0.0, 0.1)


@dataclass(frozen=True)
class Sizes:
    """Say how many seeds of each task are looked at."""

    first_held_out: int = SEEDS["families held out"].seeds.start
    held_out: int = 40
    wrong_prompts: int = 20
    faithful: int = 10
    forgetting: int = 4
    chosen_on: int = 10
    tries: int | None = None  # of the settings of the map, the first so many; None for all


QUICK = Sizes(held_out=2, wrong_prompts=1, faithful=1, forgetting=1, chosen_on=1, tries=1)


@dataclass(frozen=True, eq=False)
class Known:
    """Give a map that was made before, so that what comes after can be tried again and again."""

    saliency: np.ndarray

    @property
    def method(self) -> Method:
        return lambda clip, images, text: [self.saliency]


@dataclass(frozen=True)
class Family:
    """One family of saliency, with the settings of the map that are tried."""

    name: str
    tried: tuple[SaliencySettings, ...]

    @property
    def __name__(self) -> str:
        return self.name

    def settings(self, tries: int | None = None) -> list[Settings]:
        """List what is tried: each of the settings of the map with each of :data:`PROMPTS`."""
        return [Settings(made, kinds) for made, kinds in itertools.product(self.tried, PROMPTS)][:tries]

    def chosen(self, stored: Mapping[str, Any]) -> Settings:
        """Read back settings of this family that were stored."""
        made = type(self.tried[0])(**stored["saliency"])
        return Settings(**{**stored, "saliency": made, "prompts": tuple(stored["prompts"])})

    def __call__(self, task: str, sizes: Sizes) -> dict[str, Any]:
        clip, sam = load_clip(MODEL), load_sam(MODEL)
        few = cases_of(task, SEEDS["validation"].first(sizes.chosen_on))
        made, by_map = choose_map(clip, task, few, self.settings(sizes.tries))
        maps = maps_of(clip, made, task, few)
        settings, by_mask = choose_after(lambda tried: after_sam(clip, sam, task, few, maps, tried), few, made)
        seeds = range(sizes.first_held_out, sizes.first_held_out + sizes.held_out)
        cases = cases_of(task, seeds)
        return {
            "settings": asdict(settings),
            "tried": {"maps": by_map, "after": by_mask},
            **judge(clip, sam, task, cases, settings, sizes),
        }


#: Each with up to four settings of the map, and two of the prompts.
FAMILIES = (
    Family("M2IB", tuple(
        M2IB(layer=5, beta=beta, variance=variance, samples=5, standardize=True, views=True)
        for beta, variance in itertools.product((0.03, 0.1), (4.0, 16.0))
    )),
    Family("NIB", tuple(IntegratedGradients(layer, views=True) for layer in (1, 2, 3, 4))),
    Family("GradCAM", tuple(ClassActivation("grad_cam", layer=layer, views=True) for layer in (2, 3, 4, 5))),
    Family("gScoreCAM", tuple(ClassActivation(channels=channels, views=True) for channels in (4, 8, 13, 26))),
    Family("patch–text", (PatchText(), PatchText(views=True))),
    Family("NACLIP", tuple(PatchText(neighbourhood, views=True) for neighbourhood in (0.5, 1.0, 2.0, 5.0))),
)  # fmt: skip


@cache
def cases_of(task: str, seeds: range) -> list[Case]:
    """Simulate the cases of a task once in each process: every family looks at the same ones."""
    return target_cases(task, seeds)


def maps_of(clip: Clip, settings: Settings, task: str, cases: Sequence[Case]) -> list[np.ndarray]:
    """Make the maps of cases with the prompts of their task."""
    images = [case.image for case in cases]
    return settings.saliency.method(clip, images, settings.text_features(clip, TASKS[task]))


def choose_map(
    clip: Clip, task: str, cases: Sequence[Case], tried: Sequence[Settings]
) -> tuple[Settings, list[float | None]]:
    """Find the settings whose maps have the best mean DSC at the best threshold, and that mean for each of them."""
    means = []
    for settings in tried:
        maps = maps_of(clip, settings, task, cases)
        means.append(np.mean([best_dice(found, case.mask) for found, case in zip(maps, cases, strict=True)]))
    return tried[int(np.argmax(means))], short(means)


def choose_after(
    answers: Callable[[Sequence[Settings]], list[list[Any]]], cases: Sequence[Case], made: Settings
) -> tuple[Settings, list[float | None]]:
    """Find the cut, the margin and the view with the best mean DSC after SAM: the view with the best of the others.

    Args:
        answers: from settings to a list of answers for each of them, one per case.
        cases: images with masks.
        made: settings of the map.
    """

    def scores(tried: Sequence[Settings]) -> list[float]:
        return [
            float(np.mean([dice(answer.mask, case.mask) for answer, case in zip(found, cases, strict=True)]))
            for found in answers(tried)
        ]

    tried = [replace(made, margin=margin, **cut) for cut, margin in itertools.product(CUTS, MARGINS)]
    means = scores(tried)
    best = tried[int(np.argmax(means))]
    near = replace(best, zoom=True)
    means += scores([near])
    return near if means[-1] > max(means[:-1]) else best, short(means)


def after_sam(
    clip: Clip, sam: Any, task: str, cases: Sequence[Case], maps: Sequence[np.ndarray], tried: Sequence[Settings]
) -> list[list[Segmentation]]:
    """Answer cases with maps that are known already: for each of the settings a list. SAM embeds each image once."""
    asked = tried[0].text_features(clip, TASKS[task])
    by_case = []
    for case, saliency in zip(cases, maps, strict=True):
        known = [Question("", asked, replace(settings, saliency=Known(saliency)), TASKS[task]) for settings in tried]
        by_case.append(list(segment(clip, sam, [case.image] * len(tried), known)))
    return [list(answers) for answers in zip(*by_case, strict=True)]


def judge(
    clip: Clip, sam: Any, task: str, cases: Sequence[Case], settings: Settings, sizes: Sizes
) -> dict[str, list[float | None]]:
    """Take every measure, one number for each of the cases or of the first ones."""
    images, method = [case.image for case in cases], settings.saliency.method
    right = settings.text_features(clip, TASKS[task])
    maps = method(clip, images, right)
    (answers,) = after_sam(clip, sam, task, cases, maps, [settings])
    pairs = [(found, case.mask) for found, case in zip(maps, cases, strict=True)]
    wrong = {
        "absent": mean_features(clip, TASKS[task].absent_prompt),
        "other organ": settings.text_features(clip, TASKS[OTHER_TASK[task]]),
    }
    few, asked_wrongly = cases[: sizes.wrong_prompts], {}
    for name, text in wrong.items():
        found = zip(method(clip, [case.image for case in few], text), few, strict=True)
        asked_wrongly[f"coverage, {name}"] = short(coverage(saliency, case.mask) for saliency, case in found)
    curves = deletion_insertion(clip, images[: sizes.faithful], right, maps[: sizes.faithful], steps=8)
    alike = randomisation(method, clip, images[: sizes.forgetting], right)
    return {
        "pointing": [int(points_at(*pair)) for pair in pairs],
        "best DSC": short(best_dice(*pair) for pair in pairs),
        "DSC": short(dice(a.mask, case.mask) for a, case in zip(answers, cases, strict=True)),
        "NSD": short(nsd(a.mask, case.mask, TOLERANCE) for a, case in zip(answers, cases, strict=True)),
        "coverage, right": short(coverage(*pair) for pair in pairs),
        **asked_wrongly,
        "faithfulness": short(curves.score),
        "alike after the blocks": short(alike["block 0"]),
    }


def paces(found: Mapping[str, Mapping[str, Any]], images: int) -> dict[str, dict[str, list[float | None]]]:
    """Time a map of each family, in milliseconds on one core: image by image the families take turns.

    Args:
        found: answers of the families by name and task, with the settings that were chosen.
        images: held-out images of each task.

    Returns:
        By family and task a number for each image; the first image of a task is shown once before and not timed.
    """
    threads, clip = torch.get_num_threads(), load_clip(MODEL)
    taken: dict[str, dict[str, list[float]]] = {family.name: {} for family in FAMILIES}
    torch.set_num_threads(1)
    for task in TASKS:
        chosen = {family.name: family.chosen(found[family.name][task]["settings"]) for family in FAMILIES}
        asked = {name: settings.text_features(clip, TASKS[task]) for name, settings in chosen.items()}
        cases = cases_of(task, SEEDS["families held out"].first(images))
        for case in (cases[0], *cases):
            for name, settings in chosen.items():
                began = time.perf_counter()
                settings.saliency.method(clip, [case.image], asked[name])
                taken[name].setdefault(task, []).append(1000 * (time.perf_counter() - began))
    torch.set_num_threads(threads)
    return {name: {task: short(each[1:]) for task, each in by_task.items()} for name, by_task in taken.items()}


def evaluate(sizes: Sizes, work: Path, results: Path | None = None, processes: int = 1) -> Path:
    """Measure all families that are not done yet, and write the results."""
    tried = {family.name: [asdict(settings) for settings in family.settings()] for family in FAMILIES}
    about = {"model": MODEL, "sizes": asdict(sizes), "tolerance": TOLERANCE, "tried": tried}
    found = measure(FAMILIES, sizes, work, processes)
    pace = {"milliseconds": paces(found, sizes.faithful)}
    return write_results(results or work / "families.json", about, {"families": found, **pace})


def main(arguments: Sequence[str] | None = None) -> None:
    options = options_of(arguments, __doc__, "families")
    evaluate(QUICK if options.quick else Sizes(), options.folder, options.results, options.processes)


if __name__ == "__main__":
    main()
