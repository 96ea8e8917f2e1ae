"""Options that several commands share: which models, which settings, which task."""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..tasks import TASKS, Task

if TYPE_CHECKING:
    from .. import Clip, Segmenter

#: CLIP and SAM by profile.
PROFILES = {"tiny": ("tiny", "tiny"), "full": ("biomedclip", "vit_h")}
NOTICE = "the small models know simulated images only; what they say of a clinical image is a try-out, not a finding"


def add_segmenter_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--task",
        metavar="TASK",
        help=f"whose target to look for: {', '.join(TASKS)}, or a TOML file with a task of your own; if not given, the "
        "one whose target the text names",
    )
    add_model_arguments(parser)
    models = parser.add_argument_group("method")
    models.add_argument("--sam", help="another SAM, as load_sam takes it")
    models.add_argument(
        "--method",
        choices=("best", "v2", "v1"),
        default="best",
        help="best: what was found best for these models. v2: the paper's way, M2IB, k-means, SAM. v1: its first "
        "version, gScoreCAM, CRF, SAM. %(default)s if not given",
    )
    models.add_argument(
        "--visual-prompt", choices=("box", "point", "both"), help="what SAM is asked with; the task's own if not given"
    )
    models.add_argument(
        "--empty-if-absent", action="store_true", help="an empty mask where the target is reported absent"
    )


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    models = parser.add_argument_group("models")
    models.add_argument(
        "--profile",
        choices=PROFILES,
        default="tiny",
        help="tiny: the small models of this package. full: BiomedCLIP and SAM ViT-H, if their weights are on this "
        "machine (see: medclipsam models). %(default)s if not given",
    )
    models.add_argument("--clip", help="another CLIP, as load_clip takes it; its settings follow from its architecture")
    models.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1 …; %(default)s if not given")


def load_task(name: str | None) -> Task | None:
    """Find the task of a name, or read the one in a TOML file."""
    if name is None or name in TASKS:
        return None if name is None else TASKS[name]
    if not name.endswith(".toml"):
        raise ValueError(f"unknown task {name!r}; the tasks are {', '.join(TASKS)}, or give a TOML file with your own")
    from ..settings import read_task

    return read_task(name)


def load_clip_of(options: argparse.Namespace) -> Clip:
    """Load the CLIP of the options, and say so where it knows simulated images only."""
    from .. import load_clip

    clip = load_clip(options.clip or PROFILES[options.profile][0], device=device(options.device))
    if options.profile == "tiny":
        print(f"medclipsam: {NOTICE}", file=sys.stderr)
    return clip


def segmenter(options: argparse.Namespace, task: Task | None) -> tuple[Segmenter, Task | None]:
    """Make the Segmenter of the options, and apply them to the settings of a task of one's own."""
    from .. import Segmenter, load_sam
    from ..settings import ANY, CHANNELS, PAPERS_WAY, SETTINGS, first_version, row_of, settings_for

    clip = load_clip_of(options)
    sam = load_sam(options.sam or PROFILES[options.profile][1], device=device(options.device))
    changes: dict[str, Any] = {"visual_prompt": options.visual_prompt} if options.visual_prompt else {}
    if options.empty_if_absent:
        changes["empty_if_absent"] = True
    table = SETTINGS if options.method == "best" else PAPERS_WAY
    settings = {each.name if each else ANY: settings_for(clip, each, table) for each in (*TASKS.values(), None)}
    if options.method == "v1":
        settings = {name: first_version(each, CHANNELS[row_of(clip)]) for name, each in settings.items()}
    if task is not None and task.settings:
        task = replace(task, settings={**task.settings, **changes})
    return Segmenter(clip, sam, {name: each.changed(changes) for name, each in settings.items()}), task


def device(name: str) -> str:
    """Return the device to use: ``cuda`` is the GPU of this process where ``torchrun`` has started several."""
    return f"cuda:{os.environ['LOCAL_RANK']}" if name == "cuda" and "LOCAL_RANK" in os.environ else name
