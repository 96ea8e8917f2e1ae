"""What several commands share: which models, which settings, which task."""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import replace

from ..tasks import TASKS

#: CLIP and SAM by profile.
PROFILES = {"tiny": ("tiny", "tiny"), "full": ("biomedclip", "vit_h")}
NOTICE = "the small models know simulated images only; what they say of a clinical image is a try-out, not a finding"


def add_segmenter_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--task", choices=TASKS, help="whose settings to use; found from text and image if not given")
    models = parser.add_argument_group("models and method")
    models.add_argument(
        "--profile",
        choices=PROFILES,
        default="tiny",
        help="tiny: the small models of this package. full: BiomedCLIP and SAM ViT-H, if their weights are on this "
        "machine (see: medclipsam models). %(default)s if not given",
    )
    models.add_argument("--clip", help="another CLIP, as load_clip takes it; it gets the settings of the profile's")
    models.add_argument("--sam", help="another SAM, as load_sam takes it")
    models.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1 …; %(default)s if not given")
    models.add_argument(
        "--method",
        choices=("v2", "v1"),
        default="v2",
        help="v2: M2IB, k-means, SAM. v1: the first version, gScoreCAM, CRF, SAM. %(default)s if not given",
    )
    models.add_argument(
        "--visual-prompt", choices=("box", "point", "both"), help="what SAM is asked with; the task's own if not given"
    )
    models.add_argument(
        "--empty-if-absent", action="store_true", help="an empty mask where the target is reported absent"
    )


def segmenter(options: argparse.Namespace):
    """The Segmenter of the options; says so where its models know simulated images only."""
    from .. import Segmenter, load_clip, load_sam
    from ..pipeline import CONFIGS, V1_CONFIGS

    clip_name, sam_name = PROFILES[options.profile]
    configs = (V1_CONFIGS if options.method == "v1" else CONFIGS)[clip_name]
    changes = {"visual_prompt": options.visual_prompt} if options.visual_prompt else {}
    configs = {
        name: replace(config, empty_if_absent=options.empty_if_absent, **changes) for name, config in configs.items()
    }
    place = device(options.device)
    clip = load_clip(options.clip or clip_name, device=place)
    sam = load_sam(options.sam or sam_name, device=place)
    if options.profile == "tiny":
        print(f"medclipsam: {NOTICE}", file=sys.stderr)
    return Segmenter(clip, sam, configs)


def device(name: str) -> str:
    """``cuda`` is the GPU of this process where ``torchrun`` has started several."""
    return f"cuda:{os.environ['LOCAL_RANK']}" if name == "cuda" and "LOCAL_RANK" in os.environ else name
