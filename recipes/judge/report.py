"""Judge the small models on simulated images that no training and no choice of settings has seen.

    python -m recipes.judge.report --output results.json

It prints Markdown tables to stdout and progress to stderr; the JSON file holds every number of every image besides. Its
seeds are the judge's in ``data/seeds.py``. ``--real FOLDER`` adds real images: those in ``FOLDER/TASK/images`` with
masks of the same stem in ``FOLDER/TASK/masks``.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from itertools import repeat
from pathlib import Path
from typing import Any

import torch
from segment_anything import SamPredictor

from medclipsam_utils import TASKS
from medclipsam_utils.models import Clip, load_clip, load_sam
from medclipsam_utils.runs.files import write_json
from medclipsam_utils.settings import PAPERS_WAY, Settings, settings_for

from ..data.cases import Case, real_cases, simulated_cases, with_target
from ..data.seeds import SEEDS
from ..machine import machine
from . import clip as clip_part
from .saliency import mask_table, score_saliency, settings_table, summarise_saliency, words_table
from .sam import sam_table, score_sam, summarise_sam

QUICK_IMAGES = 4
OWN, VALIDATION = SEEDS["judge"].seeds, SEEDS["validation"].seeds
TITLES = {
    "sam": "SAM, told where the target is (DSC)",
    "presence": "CLIP: is the target there?",
    "classification": "CLIP: which one is it?",
    "confusion": "CLIP: what is taken for what",
    "retrieval": "CLIP: retrieval of captions",
    "presets": "Saliency: how it is made",
    "words": "Saliency: does it follow the words?",
    "masks": "From words to a mask (DSC)",
}


Measured = tuple[list[dict[str, Any]], dict[str, Any]]


@dataclass
class Part:
    """Hold what one part of the evaluation found, by task: a dict of numbers per image, and their summary."""

    images: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    summary: dict[str, dict[str, Any]] = field(default_factory=dict)


def evaluate_simulated(
    clip: Clip, predictor: SamPredictor, seeds: Sequence[int], run: Callable[..., Iterable] = map
) -> dict[str, Any]:
    """Measure all parts on simulated images: ``"sam"``, ``"clip"`` and ``"saliency"``.

    ``run`` is ``map``, or that of an executor, which measures several tasks at once.
    """
    tasks = list(TASKS)
    measured = run(_evaluate_task, repeat(clip), repeat(predictor), tasks, repeat(seeds))
    found = dict(zip(tasks, measured, strict=True))
    return {
        "sam": asdict(Part(*({task: found[task]["sam"][part] for task in tasks} for part in range(2)))),
        "clip": {
            "by_task": {task: found[task]["clip"] for task in tasks},
            "tasks": clip_part.classify_tasks(clip, {task: found[task]["features"] for task in tasks}),
            "retrieval": clip_part.retrieval(clip, [found[task]["pairs"] for task in tasks]),
        },
        "saliency": asdict(Part(*({task: found[task]["saliency"][part] for task in tasks} for part in range(2)))),
    }


def _evaluate_task(clip: Clip, predictor: SamPredictor, task: str, seeds: Sequence[int]) -> dict[str, Any]:
    """Measure one task; ``"sam"`` and ``"saliency"`` have rows and their summary."""
    say(f"{task}: simulated")
    cases = simulated_cases(task, seeds)
    features = clip_part.encode_cases(clip, cases)
    sam, saliency = _measure_masks(clip, predictor, task, with_target(task, cases))
    return {
        "features": features,
        "clip": {
            "presence": clip_part.presence(clip, task, features),
            "findings": clip_part.classify_findings(clip, task, features),
        },
        "pairs": clip_part.caption_pairs(cases, features),
        "sam": sam,
        "saliency": saliency,
    }


def evaluate_real(clip: Clip, predictor: SamPredictor, folder: Path) -> dict[str, Any]:
    """Measure what needs masks only, ``"sam"`` and ``"saliency"``, on the tasks that have two real images or more.

    Raises:
        ValueError: no task has; or images and masks do not fit together.
    """
    sam, saliency = Part(), Part()
    for task in TASKS:
        cases = real_cases(folder, task)
        if len(cases) > 1:
            for part, (rows, summary) in zip(
                (sam, saliency), _measure_masks(clip, predictor, task, cases), strict=True
            ):
                part.images[task], part.summary[task] = rows, summary
    if not sam.images:
        raise ValueError(f"{folder} has no task with two images: put them in TASK/images, with masks in TASK/masks")
    return {"sam": asdict(sam), "saliency": asdict(saliency)}


def simulated_tables(results: Mapping[str, Any], settings: Mapping[str, Settings]) -> dict[str, str]:
    """Make Markdown tables of what :func:`evaluate_simulated` returns, by name."""
    clip, by_task = results["clip"], results["clip"]["by_task"]
    questions = {f"finding, {task}": by_task[task]["findings"] for task in by_task} | {"task": clip["tasks"]}
    confusions = [f"{name} (images)\n\n{clip_part.confusion_table(result)}" for name, result in questions.items()]
    return {
        "sam": sam_table(results["sam"]["summary"]),
        "presence": clip_part.presence_table({task: parts["presence"] for task, parts in by_task.items()}),
        "classification": clip_part.classification_table(questions),
        "confusion": "\n\n".join(confusions),
        "retrieval": clip_part.retrieval_table(clip["retrieval"]),
        **saliency_tables(results["saliency"]["summary"], settings),
    }


def real_tables(results: Mapping[str, Any], settings: Mapping[str, Settings]) -> dict[str, str]:
    """Make Markdown tables of what :func:`evaluate_real` returns, by name."""
    return {"sam": sam_table(results["sam"]["summary"]), **saliency_tables(results["saliency"]["summary"], settings)}


def saliency_tables(summary: Mapping[str, Any], settings: Mapping[str, Settings]) -> dict[str, str]:
    """Make Markdown tables of the part on saliency, by name."""
    return {
        "presets": settings_table({task: settings[task] for task in summary}),
        "words": words_table(summary),
        "masks": mask_table(summary),
    }


def report(tables: Mapping[str, str]) -> str:
    """Put the tables under their titles."""
    return "\n\n".join(f"### {TITLES[name]}\n\n{content}" for name, content in tables.items())


def simulated_report(results: Mapping[str, Any], settings: Mapping[str, Settings], n_seeds: int) -> str:
    """Write what :func:`evaluate_simulated` returns as Markdown."""
    introduction = (
        f"{n_seeds} seeds per task that no training and no choice of settings has seen. Simulated images: these "
        "numbers say nothing about patients. In brackets: 95 % bootstrap intervals; of differences, 95 % intervals of "
        "the paired t-test."
    )
    return f"## Simulated images\n\n{introduction}\n\n{report(simulated_tables(results, settings))}"


def real_report(results: Mapping[str, Any], settings: Mapping[str, Settings]) -> str:
    """Write what :func:`evaluate_real` returns as Markdown."""
    counts = {task: len(rows) for task, rows in results["sam"]["images"].items()}
    listed = ", ".join(f"{count} {TASKS[task].modality}" for task, count in counts.items())
    introduction = (
        f"{listed}. Few images of unknown selection; images of one patient count as independent, so that intervals are "
        "too narrow. Settings were chosen on simulated images."
    )
    heading = f"## {sum(counts.values())} real images, for orientation: not a clinical result"
    return f"{heading}\n\n{introduction}\n\n{report(real_tables(results, settings))}"


def say(text: str) -> None:
    """Report progress where it does not get into the tables."""
    print(f"{time.strftime('%H:%M:%S')}  {text}", file=sys.stderr, flush=True)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clip", default="tiny", help="name or path, as load_clip takes it")
    parser.add_argument("--sam", default="tiny", help="name or path, as load_sam takes it")
    parser.add_argument("--first-seed", type=int, default=OWN.start, help="below the validation seeds; %(default)s")
    parser.add_argument("--output", type=Path, help="JSON file for every number")
    parser.add_argument("--tables", type=Path, metavar="FOLDER", help="also write each table to a file, for the book")
    parser.add_argument("--only", nargs="+", choices=TITLES, default=TITLES, metavar="TABLE",
                        help=f"which tables to write; all if not given: {', '.join(TITLES)}")  # fmt: skip
    parser.add_argument("--real", type=Path, metavar="FOLDER", help="also measure the real images in this folder")
    parser.add_argument("--processes", type=int, default=1, help="tasks that are measured at once; 1 if not given")
    amount = parser.add_mutually_exclusive_group()
    amount.add_argument("--images", type=int, default=len(OWN), help="seeds per task, 2 or more")
    amount.add_argument("--quick", action="store_true", help=f"{QUICK_IMAGES} seeds per task, to see it run")
    options = parser.parse_args(arguments)
    n_seeds = QUICK_IMAGES if options.quick else options.images
    end = options.first_seed + n_seeds
    if n_seeds < 2 or options.first_seed < 0 or end > VALIDATION.start:
        parser.error(f"choose 2 seeds or more, from 0 to {VALIDATION.start - 1}: later ones were learned from")

    started = time.monotonic()
    clip, predictor = load_clip(options.clip), load_sam(options.sam)
    with _mapping(options.processes) as run:
        simulated = evaluate_simulated(clip, predictor, range(options.first_seed, end), run)
    settings = {task: settings_for(clip, TASKS[task], PAPERS_WAY) for task in TASKS}
    results = {
        "models": {"clip": options.clip, "sam": options.sam},
        "data": "simulated images of medclipsam_utils.simulate",
        "seeds": {"first": options.first_seed, "count": n_seeds},
        "settings": {task: asdict(each) for task, each in settings.items()},
        "machine": machine(),
        "simulated": simulated,
    }
    print(f"# CLIP {options.clip}, SAM {options.sam}\n\n{simulated_report(results['simulated'], settings, n_seeds)}")
    if options.tables:
        options.tables.mkdir(parents=True, exist_ok=True)
        tables = simulated_tables(results["simulated"], settings)
        for name in options.only:
            (options.tables / f"{name}.md").write_text(tables[name] + "\n", encoding="utf-8")
    if options.real:
        results["real"] = evaluate_real(clip, predictor, options.real)
        print(f"\n{real_report(results['real'], settings)}")
    results["minutes"] = round((time.monotonic() - started) / 60, 2)
    if options.output:
        write_json(options.output, results)
    say(f"done in {results['minutes']} minutes")


@contextmanager
def _mapping(processes: int) -> Iterator[Callable[..., Iterable]]:
    """Give ``map``, or one that works in several processes, each on one thread, or they would wait for one another."""
    if processes == 1:
        yield map
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, context, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        yield pool.map


def _measure_masks(clip: Clip, predictor: SamPredictor, task: str, cases: Sequence[Case]) -> tuple[Measured, Measured]:
    """Measure SAM and saliency on cases of one task: for each the rows, one per case, and their summary."""
    settings = settings_for(clip, TASKS[task], PAPERS_WAY)
    sam = _counted(score_sam(predictor, cases), f"{task}: SAM", len(cases))
    maps = _counted(score_saliency(clip, predictor, task, cases, settings), f"{task}: saliency", len(cases))
    return (sam, summarise_sam(sam)), (maps, summarise_saliency(maps, settings))


def _counted(rows: Iterable[dict[str, Any]], name: str, total: int) -> list[dict[str, Any]]:
    """Collect the rows in a list, and report progress every 25."""
    collected = []
    for row in rows:
        collected.append(row)
        if len(collected) % 25 == 0 or len(collected) == total:
            say(f"{name} {len(collected)} of {total}")
    return collected


if __name__ == "__main__":
    main()
