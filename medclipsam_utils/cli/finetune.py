"""``medclipsam finetune``: train a CLIP on image–caption pairs."""

from __future__ import annotations

import argparse
import sys
from dataclasses import fields
from pathlib import Path

from ..tasks import TASKS
from .options import device

LOSSES = {"infonce": "InfoNCELoss", "dcl": "DCLLoss", "hn-nce": "HNNCELoss", "dhn-nce": "DHNNCELoss"}
SIMULATED = "simulated"
VALIDATION_FRACTION = 0.15
FIRST_SEED = 2_000_000  # of simulated pairs: no chapter, no test and no training of the small models draws them


DESCRIPTION = (
    "Train a CLIP on pairs of image and caption. The same command goes on after an interruption, and runs on several "
    "processes as: torchrun --nproc-per-node N -m medclipsam_utils.cli finetune …"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("data", help=f"table with columns for image and caption (CSV or TSV), or the word {SIMULATED}")
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder for checkpoint, weights and settings")
    parser.add_argument(
        "--images", "--image-folder", type=Path, help="folder of the images; that of the table if not given"
    )
    parser.add_argument("--image-column", help="column of the table that names the image; found if not given")
    parser.add_argument("--caption-column", help="column of the table that holds the caption; found if not given")
    parser.add_argument("--separator", help="one character between the fields of the table, or tab; found if not given")
    parser.add_argument(
        "--min-caption-length", type=int, default=20, help="rows with shorter captions are left out; %(default)s"
    )
    parser.add_argument("--pairs", type=int, default=1000, help=f"how many, of {SIMULATED} data; %(default)s")
    parser.add_argument("--clip", default="tiny-base", help="model to start from, as load_clip takes it; %(default)s")
    parser.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1 …; %(default)s")
    parser.add_argument("--loss", choices=LOSSES, default="dhn-nce", help="%(default)s if not given")
    parser.add_argument("--temperature", type=float, default=0.6, help="τ of the loss; %(default)s")
    parser.add_argument("--learnable-temperature", action="store_true", help="train τ along")
    parser.add_argument("--beta1", type=float, default=0.15, help="hardness, image to text; %(default)s")
    parser.add_argument("--beta2", type=float, default=0.15, help="hardness, text to image; %(default)s")
    from ..finetune.config import FROZEN, FinetuneConfig
    from ..losses import FALSE_NEGATIVES
    from ..runs.precision import PRECISIONS

    parser.add_argument(
        "--false-negatives", choices=FALSE_NEGATIVES, default=FALSE_NEGATIVES[0],
        help="what becomes of other captions that are true of an image: pushed away as in the paper, masked, or soft "
        "positives; %(default)s",
    )  # fmt: skip
    choices = {"precision": PRECISIONS, "freeze": FROZEN}
    types = {"micro_batch_size": int, "patience": int, "max_gradient_norm": float}
    for setting in fields(FinetuneConfig):
        if setting.name in ("betas", "epsilon"):
            continue
        parser.add_argument(
            f"--{setting.name.replace('_', '-')}",
            type=types.get(setting.name, type(setting.default)),
            default=setting.default,
            choices=choices.get(setting.name),
            help="%(default)s if not given; see FinetuneConfig",
        )


def run(options: argparse.Namespace) -> int:
    from .. import losses
    from ..datasets import CaptionCSV, ItemDataset, SimulatedDataset
    from ..finetune import FinetuneConfig, finetune
    from ..models import load_clip

    names = {setting.name for setting in fields(FinetuneConfig)}
    config = FinetuneConfig(**{name: value for name, value in vars(options).items() if name in names})
    hardness = {"beta1": options.beta1, "beta2": options.beta2} if "hn" in options.loss else {}
    loss = getattr(losses, LOSSES[options.loss])(
        options.temperature,
        learnable_temperature=options.learnable_temperature,
        false_negatives=options.false_negatives,
        **hardness,
    )
    train: ItemDataset
    validation: ItemDataset
    if options.data == SIMULATED:
        seeds = range(FIRST_SEED, FIRST_SEED - (-options.pairs // len(TASKS)))
        held_out = max(1, round(VALIDATION_FRACTION * len(seeds)))
        train, validation = (SimulatedDataset(list(TASKS), part) for part in (seeds[held_out:], seeds[:held_out]))
    else:
        table = CaptionCSV(
            options.data,
            options.images,
            image_column=options.image_column,
            caption_column=options.caption_column,
            separator="\t" if options.separator in ("tab", r"\t") else options.separator,
            min_caption_length=options.min_caption_length,
        )
        if table.n_dropped:
            print(f"{table.n_dropped} rows left out: their captions are too short, or say nothing", file=sys.stderr)
        train, validation = table.split(VALIDATION_FRACTION)
    clip = load_clip(options.clip, device=device(options.device))
    history = finetune(clip, train, loss, config, folder=options.output, validation=validation)
    best = history.best
    assert best is not None, "every epoch ends with a validation"
    print(f"validation loss {best['loss']:.4f} after epoch {best['epoch'] + 1}; weights in {options.output}")
    return 0
