"""Simulated medical images with exact masks, captions and findings for the four tasks.

Each simulator imitates how its modality forms an image (speckle and shadowing for ultrasound, tissue contrast and
bias field for MRI, Beer–Lambert projection for X-ray, Hounsfield units and windows for CT), just far enough to teach
and test with. **They are not clinical data**: no number measured on them says how a method works on patients.

One call makes one sample, and the same seed makes the same sample on any machine::

    from medclipsam_utils import simulate

    sample = simulate("breast_ultrasound", seed=7)
    sample.image, sample.mask, sample.caption

What is imported here is this module, which can be called: that is the same as calling its function :func:`simulate`.
So both a function and a module of that name are where one looks for them, and neither hides the other.

The same seed with another ``finding`` keeps the anatomy and the acquisition and changes the finding alone.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from inspect import signature
from types import MappingProxyType, ModuleType

import numpy as np
from skimage.transform import resize

from ..tasks import TASKS, Task, get_task
from . import brain_mri, breast_ultrasound, lung_ct, lung_xray
from .captions import write_caption
from .fields import GRID, Streams

_SIMULATORS = {
    "breast_ultrasound": breast_ultrasound,
    "brain_mri": brain_mri,
    "lung_xray": lung_xray,
    "lung_ct": lung_ct,
}

#: What each task's simulator can show, by task name. The last one is the image without the target.
FINDINGS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {name: tuple(module.FINDINGS) for name, module in _SIMULATORS.items()}
)


@dataclass(frozen=True, eq=False)
class Sample:
    """One simulated image and everything that is known about it.

    Attributes:
        image: uint8 [H, W, 3], grey values repeated in the three channels.
        mask: bool [H, W], the task's target (tumour or lungs); all False where the target is absent.
        caption: one or two sentences that are true of the image.
        finding: one of ``FINDINGS[task]``.
        structures: other visible structures by name, bool [H, W] each (for example ``"heart"``).
        task: the task's name.
        seed: the seed that makes this sample again.
        spacing_mm: distance between neighbouring rows and columns, (row, col).
        attributes: what the caption was made from, by kind (``"side"``, ``"size"``, ...).
    """

    image: np.ndarray = field(repr=False)
    mask: np.ndarray = field(repr=False)
    caption: str
    finding: str
    structures: Mapping[str, np.ndarray] = field(repr=False)
    task: str
    seed: int
    spacing_mm: tuple[float, float]
    attributes: Mapping[str, str]


def simulate(
    task: str | Task, seed: int, size: int = 256, finding: str | None = None, caption_kind: str | None = None
) -> Sample:
    """Simulate one image of a task.

    Args:
        task: one of ``TASKS``, by name or as a :class:`~medclipsam_utils.tasks.Task`.
        seed: any non-negative integer. Seeds are independent of each other.
        size: side of the square image in pixels, 32 to 1024. Images are drawn at 256 and resampled, so that a seed
            shows the same body at every size; beyond 256 no detail is added.
        finding: one of ``FINDINGS[task]``; None draws one. The same seed with another finding is a counterfactual: the
            same anatomy and acquisition, another finding (a pituitary tumour may need another slice of the person).
        caption_kind: how the caption describes, ``"P0"`` to ``"P3"``; None draws P1, P2 or P3 (see
            :func:`~medclipsam_utils.simulate.captions.write_caption`). The image is the same with all of them.

    Returns:
        A :class:`Sample`. Samples without the target (``finding=FINDINGS[task][-1]``) have an empty mask.

    Raises:
        ValueError: unknown task, finding or kind of caption, negative seed, size out of range.
    """
    name = get_task(task).name
    if name not in _SIMULATORS:
        raise ValueError(f"there is no simulator for {name!r}; choose from {', '.join(_SIMULATORS)}")
    module = _SIMULATORS[name]
    if seed != int(seed) or seed < 0:
        raise ValueError(f"seed must be a non-negative integer, got {seed!r}")
    if size != int(size) or not 32 <= size <= 1024:
        raise ValueError(f"size must be an integer from 32 to 1024 pixels, got {size!r}")
    if finding is not None and finding not in FINDINGS[name]:
        raise ValueError(f"{name} has no finding {finding!r}; choose from {', '.join(FINDINGS[name])}")

    entropy = np.random.SeedSequence([list(TASKS).index(name), int(seed)])
    choice, anatomy, lesion, acquisition, words = (np.random.default_rng(child) for child in entropy.spawn(5))
    drawn = str(choice.choice(list(module.FINDINGS), p=list(module.FINDINGS.values())))
    finding = finding or drawn
    drawing = module.draw(finding, Streams(anatomy, lesion, acquisition))
    grey = np.clip(_resample(drawing.grey, size), 0, 1)
    return Sample(
        image=np.repeat(np.round(255 * grey).astype(np.uint8)[..., None], 3, axis=2),
        mask=_resample_mask(drawing.mask, size),
        caption=write_caption(name, finding, drawing.attributes, words, caption_kind),
        finding=finding,
        structures={key: _resample_mask(value, size) for key, value in drawing.structures.items()},
        task=name,
        seed=int(seed),
        spacing_mm=tuple(mm * GRID / size for mm in drawing.spacing_mm),
        attributes=dict(drawing.attributes),
    )


def _resample(image: np.ndarray, size: int) -> np.ndarray:
    return image if size == GRID else resize(image, (size, size), order=1, anti_aliasing=size < GRID)


def _resample_mask(mask: np.ndarray, size: int) -> np.ndarray:
    return mask if size == GRID else _resample(mask.astype(np.float64), size) >= 0.5


class _CallableModule(ModuleType):
    """This module, as something that can be called (see "Customizing module attribute access" in Python's manual)."""

    def __call__(self, *args, **kwargs):
        return simulate(*args, **kwargs)

    __call__.__doc__ = simulate.__doc__

    def __reduce__(self):
        """Tell pickle how the module travels to another process: by its name."""
        return import_module, (self.__name__,)


__signature__ = signature(simulate)
sys.modules[__name__].__class__ = _CallableModule
