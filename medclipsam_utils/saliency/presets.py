"""Settings that were chosen for a model and a task, and the map that they make.

Those of the small CLIP were chosen by ``recipes/judge/choose_saliency.py`` on simulated validation images with masks.
For BiomedCLIP, layer and β are those that were released with the paper for breast and brain; it gives none for the
lungs, and those of the breast stand in. They were chosen with masks as well, of three images.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ..images import Image
from ..models import Clip
from ..tasks import Task, get_task
from .information_bottleneck import m2ib
from .inputs import Method, Text
from .presence import mean_features
from .views import moved_views


@dataclass(frozen=True)
class Preset:
    """How the saliency of a target is made with M2IB.

    Attributes:
        prompts: kinds of the task's prompts whose mean is asked, such as ``("P0", "P2")``; a kind with more sentences
            does not count more.
        layer, beta, variance, samples, standardize: see :func:`~medclipsam_utils.saliency.m2ib`.
        views: average over four views moved by half a patch, see :func:`~medclipsam_utils.saliency.moved_views`.
        against_absent: ask for the direction from the absent prompt to the prompt, instead of for the prompt alone.
    """

    prompts: tuple[str, ...]
    layer: int
    beta: float
    variance: float = 1.0
    samples: int = 10
    standardize: bool = False
    views: bool = False
    against_absent: bool = False

    @property
    def method(self) -> Method:
        """The saliency method with these settings."""
        plain = partial(
            m2ib, layer=self.layer, beta=self.beta, variance=self.variance, samples=self.samples,
            standardize=self.standardize,
        )  # fmt: skip
        return moved_views(plain) if self.views else plain

    def text(self, clip: Clip, task: str | Task) -> Tensor:
        """What is asked for the target of a task, float32 [D] of length 1."""
        prompt = _mean_prompt(clip, get_task(task), self.prompts)
        if not self.against_absent:
            return prompt
        return functional.normalize(prompt - mean_features(clip, get_task(task).absent_prompt), dim=0)


@dataclass(frozen=True)
class CamPreset:
    """How the saliency of a target is made with gScoreCAM, as in the first version of the method.

    Attributes:
        prompts: as of :class:`Preset`.
        channels: see :func:`~medclipsam_utils.saliency.gscore_cam`.
    """

    prompts: tuple[str, ...]
    channels: int = 300

    @property
    def method(self) -> Method:
        """The saliency method with these settings."""
        from .cam import gscore_cam  # imported here, because the grad-cam library takes seconds

        return partial(gscore_cam, channels=self.channels)

    def text(self, clip: Clip, task: str | Task) -> Tensor:
        """What is asked for the target of a task, float32 [D] of length 1."""
        return _mean_prompt(clip, get_task(task), self.prompts)


def _mean_prompt(clip: Clip, task: Task, kinds: tuple[str, ...]) -> Tensor:
    features = torch.stack([mean_features(clip, task.prompts[kind]) for kind in kinds])
    return functional.normalize(features.mean(0), dim=0)


_tiny = partial(Preset, layer=5, samples=5, standardize=True)

#: By model and by task. Read-only.
#:
#: :meta hide-value:
PRESETS: Mapping[str, Mapping[str, Preset]] = MappingProxyType(
    {
        "tiny": MappingProxyType(
            {
                "breast_ultrasound": _tiny(("P1",), beta=0.03, variance=4.0, views=True),
                "brain_mri": _tiny(("P2",), beta=0.1, variance=4.0, views=True, against_absent=True),
                "lung_xray": _tiny(("P0", "P1", "P2"), beta=0.03, variance=4.0),
                "lung_ct": _tiny(("P1",), beta=0.03, variance=32.0, views=True),
            }
        ),
        "biomedclip": MappingProxyType(
            {
                "breast_ultrasound": Preset(("P3",), layer=9, beta=1.0),
                "brain_mri": Preset(("P3",), layer=9, beta=2.0),
                "lung_xray": Preset(("P0",), layer=9, beta=1.0),
                "lung_ct": Preset(("P2",), layer=9, beta=1.0),
            }
        ),
    }
)


def saliency_for(
    clip: Clip, image: Image | Sequence[Image], task: str | Task, text: Text | None = None
) -> np.ndarray | list[np.ndarray]:
    """Where in an image is the target of a task? M2IB with the settings of :data:`PRESETS`.

    Args:
        clip: ``"tiny"`` or ``"biomedclip"``, or a model made from one of them under its name.
        image: one image as :meth:`~medclipsam_utils.models.Clip.preprocess` takes it, or a sequence of B.
        task: one of ``TASKS``.
        text: what to ask instead of the task's own prompts, as :func:`~medclipsam_utils.saliency.m2ib` takes it.

    Returns:
        float32 [H, W] of the image, from 0 to 1; of a sequence, a list.

    Raises:
        ValueError: no settings were chosen for this model, or for this task.
    """
    presets, name = PRESETS.get(clip.name, {}), get_task(task).name
    for wanted, known in ((clip.name, PRESETS), (name, presets)):
        if wanted not in known:
            raise ValueError(
                f"no settings were chosen for {wanted!r}, only for {', '.join(known)}: choose some with tune"
            )
    preset = presets[name]
    return preset.method(clip, image, preset.text(clip, task) if text is None else text)
