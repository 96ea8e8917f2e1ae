"""The four segmentation tasks of MedCLIP-SAMv2 and the sentences that ask for their targets.

The prompt kinds follow the paper's ablation (Koleilat et al. 2025): **P0** the bare class name, **P1** a short
phrase, **P2** a descriptive sentence for the class in general, **P3** descriptive sentences for one specific class
(benign or malignant; glioma, meningioma or pituitary; what the lungs show). The paper's best kind is P3 for breast
and brain, P0 for chest X-ray and P2 for chest CT. Every sentence here was written for this book.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from types import MappingProxyType
from typing import Any

PROMPT_KINDS = ("P0", "P1", "P2", "P3")


@dataclass(frozen=True)
class Task:
    """A segmentation task: what to look for, and the sentences that ask for it.

    The four of the paper are in :data:`TASKS`. One of your own needs a name, how its images are made, its target and a
    sentence or more::

        polyp = Task("polyp", "colonoscopy", "colon polyp", {"P0": "colon polyp", "P1": "colonoscopy of a polyp"})

    A task can be a key of a dictionary, be copied, and travel to another process.

    Attributes:
        name: a short name, for example ``"breast_ultrasound"``.
        modality: how the image was made, in words.
        target: what the mask covers, in words.
        prompts: sentences by kind, ``"P0"`` to ``"P3"`` in the paper's tasks; one sentence, or a tuple of several. The
            first one is the default and all of them together are the ensemble. In :data:`TASKS`, ``"P3"`` holds the
            sentences of every class in ``class_prompts``.
        n_structures: how many connected components the target has at most (1 tumour, 2 lungs).
        class_prompts: P3 sentences by class, for example ``"benign"``.
        absent_prompt: a sentence that is true of images of this modality *without* the target; empty if there is none.
        settings: what is set otherwise than by the model, by name, for example ``{"visual_prompt": "point"}``; see
            :class:`~medclipsam_utils.settings.Settings`.
        calibration: file of ``medclipsam calibrate``, by which the presence of the target is tested; None if there is
            none.

    Raises:
        ValueError: there is no name, no target or no sentence, or ``n_structures`` is below 1.
    """

    name: str
    modality: str
    target: str
    prompts: Mapping[str, tuple[str, ...]] = field(repr=False, hash=False)
    n_structures: int = 1
    class_prompts: Mapping[str, tuple[str, ...]] = field(default_factory=dict, repr=False, hash=False)
    absent_prompt: str = field(default="", repr=False)
    settings: Mapping[str, Any] = field(default_factory=dict, repr=False, hash=False)
    calibration: str | os.PathLike | None = field(default=None, repr=False)

    def __post_init__(self):
        for name in ("name", "target"):
            value = getattr(self, name)
            if not isinstance(value, str) or not value.strip():
                raise ValueError(f"the {name} of a task is {value!r}: give it in words, for example 'colon polyp'")
        for name in ("prompts", "class_prompts"):
            object.__setattr__(self, name, MappingProxyType(_sentences_by_kind(self.name, name, getattr(self, name))))
        if not self.prompts:
            raise ValueError(f"the task {self.name!r} has no prompts: give one, for example {{'P0': {self.target!r}}}")
        if isinstance(self.n_structures, bool) or not isinstance(self.n_structures, int) or self.n_structures < 1:
            raise ValueError(f"n_structures is {self.n_structures!r}: give a whole number, 1 or more")
        object.__setattr__(self, "settings", MappingProxyType(dict(self.settings)))

    def __reduce__(self):
        """Pickle and copy with dictionaries, because read-only mappings cannot be pickled."""
        values = (getattr(self, each.name) for each in fields(self))
        return Task, tuple(dict(value) if isinstance(value, Mapping) else value for value in values)


def _sentences_by_kind(task: str, field_name: str, prompts: Any) -> dict[str, tuple[str, ...]]:
    """Check sentences, given one by one or several together, and give each kind a tuple of them."""
    if not isinstance(prompts, Mapping):
        raise ValueError(f"the {field_name} of the task {task!r} are {prompts!r}: give them by kind, {{'P0': …}}")
    checked = {}
    for kind, sentences in prompts.items():
        checked[str(kind)] = (sentences,) if isinstance(sentences, str) else tuple(sentences)
        if not checked[str(kind)] or not all(isinstance(each, str) and each.strip() for each in checked[str(kind)]):
            raise ValueError(f"{kind} of the task {task!r} is {sentences!r}: give a sentence, or several")
    return checked


def _task(name, modality, target, p0, p1, p2, p3, n_structures, absent_prompt) -> Task:
    everything_specific = tuple(sentence for sentences in p3.values() for sentence in sentences)
    prompts = {"P0": (p0,), "P1": (p1,), "P2": p2, "P3": everything_specific}
    return Task(name, modality, target, prompts, n_structures, p3, absent_prompt)


_ALL = (
    _task(
        "breast_ultrasound", "breast ultrasound", "breast tumour",
        p0="breast tumour",
        p1="ultrasound of a breast tumour",
        p2=(
            "a breast ultrasound showing a dark tumour within the brighter glandular tissue",
            "an ultrasound image of the breast with a hypoechoic mass",
            "breast ultrasound with a focal lesion that is darker than its surroundings",
        ),
        p3={
            "benign": (
                "a breast ultrasound showing a benign oval tumour with a smooth margin",
                "a well-defined benign mass with posterior enhancement in the breast",
                "breast ultrasound with a dark oval benign lesion",
            ),
            "malignant": (
                "a breast ultrasound showing a malignant irregular tumour with posterior shadowing",
                "an ill-defined malignant mass with a spiculated margin in the breast",
                "breast ultrasound with an irregular dark malignant lesion",
            ),
        },
        n_structures=1,
        absent_prompt="a breast ultrasound of normal tissue without a tumour",
    ),
    _task(
        "brain_mri", "brain MRI", "brain tumour",
        p0="brain tumour",
        p1="MRI of a brain tumour",
        p2=(
            "a brain MRI showing a tumour with abnormal signal inside the skull",
            "a magnetic resonance image of the head with a brain mass",
            "brain MRI with a focal lesion that differs from the normal tissue around it",
        ),
        p3={
            "glioma": (
                "a brain MRI showing a glioma with an irregular margin and surrounding oedema",
                "an infiltrating glioma inside the brain",
                "brain MRI with a heterogeneous glioma",
            ),
            "meningioma": (
                "a brain MRI showing a bright meningioma attached to the dura",
                "a well-defined meningioma at the surface of the brain",
                "brain MRI with a homogeneous meningioma next to the skull",
            ),
            "pituitary": (
                "a brain MRI showing a pituitary tumour in the sella",
                "a pituitary adenoma in the midline below the brain",
                "brain MRI with a bright pituitary tumour",
            ),
        },
        n_structures=1,
        absent_prompt="a normal brain MRI without a tumour",
    ),
    _task(
        "lung_xray", "chest X-ray", "lungs",
        p0="lungs",
        p1="chest X-ray of the lungs",
        p2=(
            "a chest X-ray showing the two dark lungs beside the bright heart",
            "a frontal radiograph of the chest with both lungs",
            "chest X-ray with the left lung and the right lung above the diaphragm",
        ),
        p3={
            "clear": ("a chest X-ray showing clear lungs", "a frontal radiograph with normal lungs"),
            "opacity": (
                "a chest X-ray showing lungs with an opacity",
                "a frontal radiograph with a hazy consolidation in the lungs",
            ),
            "effusion": (
                "a chest X-ray showing lungs above a pleural effusion",
                "a frontal radiograph with fluid below the lung",
            ),
            "cardiomegaly": (
                "a chest X-ray showing lungs beside an enlarged heart",
                "a frontal radiograph with cardiomegaly between the lungs",
            ),
        },
        n_structures=2,
        absent_prompt="an abdominal X-ray without lungs",
    ),
    _task(
        "lung_ct", "chest CT", "lungs",
        p0="lungs",
        p1="chest CT of the lungs",
        p2=(
            "an axial chest CT showing the two dark lungs on both sides of the heart",
            "a computed tomography slice of the chest with both lungs",
            "chest CT with the left lung and the right lung inside the ribs",
        ),
        p3={
            "clear": ("an axial chest CT showing clear lungs", "a chest CT slice with normal lungs"),
            "nodule": ("an axial chest CT showing lungs with a nodule", "a chest CT slice with a round lung nodule"),
            "opacity": (
                "an axial chest CT showing lungs with an opacity",
                "a chest CT slice with a hazy ground-glass opacity in the lungs",
            ),
            "effusion": (
                "an axial chest CT showing lungs above a pleural effusion",
                "a chest CT slice with fluid behind the lung",
            ),
        },
        n_structures=2,
        absent_prompt="an axial abdominal CT without lungs",
    ),
)  # fmt: skip

#: The four tasks by name, in the order of the paper's tables. Read-only.
TASKS: Mapping[str, Task] = MappingProxyType({task.name: task for task in _ALL})


def get_task(task: str | Task) -> Task:
    """Find the :class:`Task` of a name; a :class:`Task` passes through.

    Raises:
        ValueError: the name is not one of :data:`TASKS`; the message lists them.
    """
    if isinstance(task, Task):
        return task
    if not isinstance(task, str) or task not in TASKS:
        raise ValueError(f"unknown task {task!r}; the tasks are {', '.join(TASKS)}")
    return TASKS[task]


def is_known(task: Task) -> bool:
    """Tell whether a task is one of :data:`TASKS`."""
    return TASKS.get(task.name) == task
