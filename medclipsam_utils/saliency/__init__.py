"""Stage 2a: where in an image is what a sentence speaks of, and may one believe the answer?

::

    from medclipsam_utils import load_clip, simulate
    from medclipsam_utils.saliency import m2ib

    sample = simulate("breast_ultrasound", seed=3, finding="benign")
    saliency = m2ib(load_clip("tiny"), sample.image, "a breast tumour", layer=5, beta=0.1, standardize=True)

=============================  =======================================================================================
:func:`m2ib`                   the method: what of the image does the sentence need?
:func:`m2ib_text`              the same for words: what of the sentence does the image need?
:func:`grad_cam`               baselines under the same signature
:func:`gscore_cam`
:func:`attention_rollout`      a baseline that takes no text, and cannot listen
:func:`moved_views`            any of them, finer, from four views of the image
:func:`saliency_for`           the map of one of the four tasks, with settings that were chosen for the model
:func:`tune`                   choose such settings, with a few masks or without
:func:`points_at`              pointing game; with :func:`coverage` and :func:`best_dice`: is the map on the target?
:func:`specificity`            does the map change when the words do?
:func:`randomisation`          does the map change when the model forgets?
:func:`deletion_insertion`     does the model need what the map shows?
:func:`calibrate_presence`     is the target there at all?
=============================  =======================================================================================
"""

from __future__ import annotations

from typing import Any

from .faithfulness import Faithfulness, deletion_insertion
from .information_bottleneck import Bottleneck, information, m2ib, patch_information
from .inputs import Method
from .maps import best_dice, coverage, points_at
from .model_randomisation import map_correlation, randomisation
from .presence import Presence, calibrate_presence, mean_features
from .presets import PRESETS, CamPreset, Preset, saliency_for
from .prompt_specificity import Specificity, specificity
from .rollout import attention_rollout
from .tuning import Trial, preset_grid, tune
from .views import moved_views
from .words import WordSaliency, m2ib_text

__all__ = [
    "PRESETS",
    "Bottleneck",
    "CamPreset",
    "Faithfulness",
    "Method",
    "Presence",
    "Preset",
    "Specificity",
    "Trial",
    "WordSaliency",
    "attention_rollout",
    "best_dice",
    "calibrate_presence",
    "coverage",
    "deletion_insertion",
    "grad_cam",
    "gscore_cam",
    "information",
    "m2ib",
    "m2ib_text",
    "map_correlation",
    "mean_features",
    "moved_views",
    "patch_information",
    "points_at",
    "preset_grid",
    "randomisation",
    "saliency_for",
    "specificity",
    "tune",
]


def __getattr__(name: str) -> Any:
    """The class activation maps when they are first used (PEP 562): importing the grad-cam library takes seconds."""
    if name not in ("grad_cam", "gscore_cam"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from . import cam

    return getattr(cam, name)
