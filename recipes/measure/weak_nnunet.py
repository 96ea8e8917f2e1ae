"""Run the real nnU-Net v2, small, on pseudo-labels: the chapter on weak supervision shows it.

    python -m recipes.measure.weak_nnunet --work FOLDER --results medclipsam_utils/results/weak_nnunet.json

Simulated chest films of 128 × 128 pixels, labelled by the zero-shot method; plan, training in cycles, and prediction by
every kept model are nnU-Net's own. It takes some minutes on two processor cores; how good nnU-Net is with days on a GPU
is another question. The same command goes on where an interrupted one stopped.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from medclipsam_utils import Segmenter, dice, simulate
from medclipsam_utils.models import load_clip, load_sam
from medclipsam_utils.runs.files import write_json
from medclipsam_utils.settings import PAPERS_WAY
from medclipsam_utils.simulate import FINDINGS
from medclipsam_utils.weak import EnsemblePrediction, make_pseudo_labels
from medclipsam_utils.weak.nnunet import NNUNetConfig, export_dataset, plan, predict, train

from ..data.seeds import SEEDS
from ..machine import machine

TASK, SIZE, DATASET = "lung_xray", 128, 1
TRAINING, HELD_OUT = SEEDS["nnU-Net training"].seeds, SEEDS["nnU-Net held out"].seeds
CONFIG = NNUNetConfig(cycles=2, cycle_epochs=4, keep=2, iterations=25, val_iterations=2)


def run(
    work: Path, training: range = TRAINING, held_out: range = HELD_OUT, config: NNUNetConfig = CONFIG
) -> dict[str, Any]:
    """Label, export, plan, train, predict, judge."""
    segmenter, seconds = Segmenter(load_clip("tiny"), load_sam("tiny"), PAPERS_WAY["tiny"]), {}
    samples, test = ([_case(seed) for seed in seeds] for seeds in (training, held_out))
    labels = make_pseudo_labels(segmenter, [s.image for s in samples], task=TASK, progress=False)
    chosen = labels.trusted()
    if not (work / "nnUNet_raw").is_dir():
        images = {str(samples[n].seed): samples[n].image for n in chosen}
        export_dataset(work, DATASET, "LUNGS", images, {str(samples[n].seed): labels.masks[n] for n in chosen})
    for name, action in (
        ("plan", lambda: plan(work, DATASET, gpu_memory_gb=0.1)),
        ("train", lambda: train(work, DATASET, config)),
    ):
        began = time.perf_counter()
        action()
        seconds[name] = round(time.perf_counter() - began)
    began = time.perf_counter()
    prediction = EnsemblePrediction(predict(work, DATASET, {str(s.seed): s.image for s in test}))
    seconds["predict"] = round(time.perf_counter() - began)
    truth = [sample.mask for sample in test]
    answers = segmenter.segment_batch([sample.image for sample in test], task=TASK)
    return {
        "task": TASK, "size": SIZE, "images": len(chosen), "config": asdict(config), "seconds": seconds,
        "nnunetv2": version("nnunetv2"), **machine(),
        "labels": _scores([labels.masks[n] for n in chosen], [samples[n].mask for n in chosen]),
        "zero-shot": _scores([answer.mask for answer in answers], truth),
        "members": [_scores(member > 0.5, truth) for member in prediction.members],
        "ensemble": _scores(prediction.masks, truth),
        "uncertainty": [round(float(value), 4) for value in prediction.case_uncertainty],
    }  # fmt: skip


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path(".cache/weak_nnunet"), metavar="FOLDER",
                        help="for all that nnU-Net writes; %(default)s if not given")  # fmt: skip
    parser.add_argument("--results", type=Path, help="file to write; weak_nnunet.json in the folder if not given")
    options = parser.parse_args(arguments)
    options.work.mkdir(parents=True, exist_ok=True)
    path = options.results or options.work / "weak_nnunet.json"
    write_json(path, run(options.work))
    print(f"wrote {path}")


def _case(seed: int):
    findings = FINDINGS[TASK][:-1]
    return simulate(TASK, seed, size=SIZE, finding=findings[seed % len(findings)])


def _scores(masks, truth) -> list[float]:
    return [round(dice(mask, exact), 4) for mask, exact in zip(masks, truth, strict=True)]


if __name__ == "__main__":
    main()
