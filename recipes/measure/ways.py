"""Measure what is used by default beside the paper's way, on simulated images that nobody saw, and with free sentences.

    python -m recipes.measure.ways --work FOLDER --results medclipsam_utils/results/ways.json

Two parts for each task, in DSC and NSD of every image. **ways**: the default settings of the small models and the
paper's way (M2IB, k-means, SAM), each asked with its own prompts and with the caption of each image. **sentences**: the
default asked in other words: as one usually asks, with a caption that contradicts the image, without the place, with
too much said and with too little.

Held-out seeds are nobody else's (``data/seeds.py``). The folder keeps a file for each part of each task: the same
command goes on where an interrupted one stopped. ``--quick`` proves in a minute that it runs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from medclipsam_utils import TASKS, Segmenter
from medclipsam_utils.models import load_clip, load_sam
from medclipsam_utils.saliency import points_at
from medclipsam_utils.settings import PAPERS_WAY, SETTINGS
from medclipsam_utils.simulate import FINDINGS, Sample
from medclipsam_utils.simulate.captions import write_caption

from ..data.cases import target_samples
from ..data.seeds import SEEDS
from .parts import measure, options_of, write_results
from .zero_shot import TOLERANCE, Scores

MODEL = "tiny"
WAYS = {"default": SETTINGS[MODEL], "paper's way": PAPERS_WAY[MODEL]}
PLACES = ("side", "place", "depth", "zone", "level")
OPPOSITES = {"left": "right", "right": "left", "small": "large", "large": "small"}
PADDING = "The image is of good quality. No earlier examination is at hand for comparison."


@dataclass(frozen=True)
class Sizes:
    """Say how many seeds of each task are looked at."""

    first_held_out: int = SEEDS["ways held out"].seeds.start
    held_out: int = 200
    sentences: int = 100


QUICK = Sizes(held_out=2, sentences=1)


def held_out(task: str, sizes: Sizes, count: int) -> list[Sample]:
    """Draw images that show the target, each finding in turn."""
    return target_samples(task, range(sizes.first_held_out, sizes.first_held_out + count))


def ways(task: str, sizes: Sizes) -> dict[str, Any]:
    """Ask both ways with the prompts of the task, and with the caption of each image."""
    samples, scores, pointing = held_out(task, sizes, sizes.held_out), Scores(), {}
    for name, settings in WAYS.items():
        segmenter = Segmenter(load_clip(MODEL), load_sam(MODEL), settings)
        for asked, texts in {"prompts": [None] * len(samples), "own caption": [s.caption for s in samples]}.items():
            key = f"{name}, {asked}"
            pointing[key] = []
            for sample, text in zip(samples, texts, strict=True):
                answer = segmenter.segment(sample.image, text, task=task)
                scores.add(key, answer.mask, sample.mask)
                pointing[key].append(int(points_at(answer.saliency, sample.mask)))
    findings = [sample.finding for sample in samples]
    areas = [round(float(sample.mask.mean()), 5) for sample in samples]
    return {"finding": findings, "area": areas, "pointing": pointing, "scores": scores.by_name}


def sentences(task: str, sizes: Sizes) -> dict[str, Any]:
    """Ask the default in other words."""
    samples, scores = held_out(task, sizes, sizes.sentences), Scores()
    segmenter = Segmenter(load_clip(MODEL), load_sam(MODEL), SETTINGS[MODEL])
    examples: dict[str, str] = {}
    for sample in samples:
        scores.add("prompts", segmenter.segment(sample.image, task=task).mask, sample.mask)
        for name, text in wordings(sample).items():
            examples.setdefault(name, text)
            scores.add(name, segmenter.segment(sample.image, text, task=task).mask, sample.mask)
    return {"examples": examples, "scores": scores.by_name}


def wordings(sample: Sample) -> dict[str, str]:
    """Write sentences about an image that name its target, by what is usual or unusual in them."""
    rng = np.random.default_rng([sample.seed, 5])

    def written(finding: str, facts: Mapping[str, str], kind: str = "P3") -> str:
        return write_caption(sample.task, finding, facts, rng, kind)

    facts, task = sample.attributes, TASKS[sample.task]
    placeless = {name: value for name, value in facts.items() if name not in PLACES}
    others = [finding for finding in FINDINGS[sample.task][:-1] if finding != sample.finding]
    wrong = placeless | {name: OPPOSITES[facts[name]] for name in facts if facts[name] in OPPOSITES}
    return {
        "as usual": task.prompts["P1"][0],
        "own caption": sample.caption,
        "contradictory": written(str(rng.choice(others)), wrong),
        "without the place": written(sample.finding, placeless),
        "too much said": f"{sample.caption}. {written(sample.finding, facts, 'P2')}. {PADDING}",
        "too little said": task.prompts["P0"][0].split()[-1],
    }


PARTS = (ways, sentences)


def evaluate(sizes: Sizes, work: Path, results: Path | None = None, processes: int = 1) -> Path:
    """Measure all parts that are not done yet, and write the results."""
    about = {"model": MODEL, "sizes": asdict(sizes), "tolerance": TOLERANCE}
    return write_results(results or work / "ways.json", about, measure(PARTS, sizes, work, processes))


def main(arguments: Sequence[str] | None = None) -> None:
    options = options_of(arguments, __doc__, "ways")
    evaluate(QUICK if options.quick else Sizes(), options.folder, options.results, options.processes)


if __name__ == "__main__":
    main()
