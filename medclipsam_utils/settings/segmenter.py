"""Settings of all stages, from the words to the mask."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from ..models import Clip
from ..postprocess import METHODS
from ..saliency import mean_features
from ..tasks import Task
from ..visual_prompts import VOTES
from .saliency import SaliencySettings

VISUAL_PROMPTS = ("box", "point", "both")


@dataclass(frozen=True)
class Settings:
    """How a target is segmented.

    Attributes:
        saliency: how the map is made: :class:`M2IB`, :class:`ClassActivation`, or your own object with a ``method``.
        prompts: kinds of the task's prompts whose mean is asked where no text is given, such as ``("P0", "P2")``; a
            kind with more sentences does not count more. Empty takes all kinds that the task has.
        against_absent: ask for the direction from the absent prompt to the prompts, instead of for the prompts alone.
        n_structures: how many components the target has at most: 1 keeps the one that holds the map's peak, more keep
            that many of the largest. None takes the number of the task, and 1 for a text without a task.
        binarize: method of :func:`~medclipsam_utils.postprocess.binarize`.
        clusters: number of k-means clusters.
        threshold: value at which ``binarize="threshold"`` cuts, above 0, at most 1; the map's peak is 1.
        min_component_fraction: components smaller than this fraction of the largest are left out as specks.
        visual_prompt: what SAM is asked with for each component: ``"box"``, ``"point"`` or ``"both"``.
        margin: fraction of a box by which each side is moved outward.
        n_points: number of points on each component.
        zoom: ask SAM about each component on a view of its own, see
            :func:`~medclipsam_utils.visual_prompts.predict_zoomed`.
        vote: how SAM's masks become one, see :func:`~medclipsam_utils.visual_prompts.predict_mask`.
        alpha: largest fraction of false alarms at which the target is reported present.
        empty_if_absent: whether the mask of a target that is reported absent is empty.
        text_weight: how much a text of one's own counts beside the prompts of the task whose target it names, above 0,
            at most 1; 1 asks with the text alone.

    Raises:
        ValueError: a value is none of the choices, or out of range.
    """

    saliency: SaliencySettings
    prompts: tuple[str, ...] = ()
    against_absent: bool = False
    n_structures: int | None = None
    binarize: str = "kmeans"
    clusters: int = 2
    threshold: float = 0.5
    min_component_fraction: float = 0.1
    visual_prompt: str = "box"
    margin: float = 0.0
    n_points: int = 10
    zoom: bool = False
    vote: str = "single"
    alpha: float = 0.05
    empty_if_absent: bool = False
    text_weight: float = 1.0

    def __post_init__(self):
        for name, choices in (("visual_prompt", VISUAL_PROMPTS), ("binarize", METHODS), ("vote", VOTES)):
            if getattr(self, name) not in choices:
                raise ValueError(f"{name} is {getattr(self, name)!r}: choose from {', '.join(choices)}")
        for name, least in (("n_structures", 1), ("clusters", 2), ("n_points", 1)):
            value = getattr(self, name)
            if value is not None and (value != int(value) or value < least):
                raise ValueError(f"{name} is {value}: give a whole number, {least} or more")
        for name in ("threshold", "text_weight"):
            if not 0 < getattr(self, name) <= 1:
                raise ValueError(f"{name} is {getattr(self, name)}: give a number above 0, at most 1")
        object.__setattr__(self, "prompts", tuple(self.prompts))

    def text_features(self, clip: Clip, task: Task) -> Tensor:
        """Encode what is asked for the target of a task: float32 [D] of length 1.

        Raises:
            ValueError: the task lacks a kind of prompt, or the absent prompt that ``against_absent`` needs.
        """
        lacking = [kind for kind in self.prompts if kind not in task.prompts]
        if lacking:
            raise ValueError(
                f"the task {task.name!r} has no prompts {', '.join(lacking)}, only {', '.join(task.prompts)}: add "
                "them, or name others in the settings"
            )
        kinds = self.prompts or tuple(task.prompts)
        prompt = functional.normalize(
            torch.stack([mean_features(clip, task.prompts[kind]) for kind in kinds]).mean(0), dim=0
        )
        if not self.against_absent:
            return prompt
        if not task.absent_prompt:
            raise ValueError(f"the task {task.name!r} has no absent_prompt, which against_absent needs: give one")
        return functional.normalize(prompt - mean_features(clip, task.absent_prompt), dim=0)

    def changed(self, changes: Mapping[str, Any]) -> Settings:
        """Copy these settings with some of them changed.

        Args:
            changes: new values by the names of these settings, or of those of ``saliency``, such as ``"layer"``. A
                ``saliency`` that is no dataclass is kept as it is.

        Raises:
            ValueError: a name is unknown, or a value does not fit; the message has the name and the choices.
        """
        own = {each.name for each in fields(self)} - {"saliency"}
        inner: set[str] = {each.name for each in fields(self.saliency)} - own if is_dataclass(self.saliency) else set()
        for name in changes:
            if name not in own | inner:
                raise ValueError(f"there is no setting {name!r}: choose from {', '.join(sorted(own | inner))}")
        for name, value in changes.items():
            _check_kind(name, getattr(self if name in own else self.saliency, name), value)
        saliency: Any = self.saliency
        if any(name in inner for name in changes):
            saliency = replace(saliency, **{name: value for name, value in changes.items() if name in inner})
        return replace(self, saliency=saliency, **{name: value for name, value in changes.items() if name in own})


def _check_kind(name: str, present: Any, value: Any) -> None:
    """Refuse a text where a number belongs, and the like, as it may stand in a file."""
    number = isinstance(present, int | float) and not isinstance(present, bool)
    fits = {
        bool: isinstance(value, bool),
        str: isinstance(value, str),
        tuple: isinstance(value, list | tuple),
    }.get(type(present), not number or (isinstance(value, int | float) and not isinstance(value, bool)))
    if not fits:
        raise ValueError(f"the setting {name} is {value!r}: give a value like {present!r}")
