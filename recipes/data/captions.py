"""Decide what a caption states, and of which images that is true.

Contrastive training on captions meets the same sentence again and again ("chest X-ray of the lungs"), and it is true of
half the batch. So every pair of image and caption is judged: *true*, *false*, or *unknown* (nothing contradicts it,
but the caption says more than is compared here), and the loss counts the first two only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from medclipsam_utils import TASKS
from medclipsam_utils.models.words import split_words
from medclipsam_utils.simulate import FINDINGS
from medclipsam_utils.simulate.captions import write_caption

TRUE, FALSE, UNKNOWN = 1, 0, -1
SILENT = -1

#: The facts that are compared; an image has all of them, a caption states some.
FACTS = ("organ", "task", "present", "finding", "size", "side", "margin", "sequence", "plane", "signal", "place")

_ORGAN = {"breast_ultrasound": "breast", "brain_mri": "brain", "lung_xray": "lungs", "lung_ct": "lungs"}
_FINDING_WORDS = {
    "benign": {"benign"}, "malignant": {"malignant"}, "glioma": {"glioma"}, "meningioma": {"meningioma"},
    "pituitary": {"pituitary"}, "cardiomegaly": {"cardiomegaly", "enlarged"}, "effusion": {"effusion", "fluid"},
    "nodule": {"nodule"}, "opacity": {"opacity", "consolidation"}, "clear": {"clear", "normal"},
}  # fmt: skip
_ATTRIBUTE_WORDS = {
    "size": {"small": "small", "medium-sized": "medium", "large": "large"},
    "side": {"left": "left", "right": "right", "midline": "midline", "centre": "centre", "bilateral": "both"},
    "sequence": {word.lower(): word for word in ("T1-weighted", "T2-weighted", "FLAIR", "contrast-enhanced")},
    "plane": {"axial": "axial", "coronal": "coronal", "sagittal": "sagittal"},
    "signal": {"bright": "bright", "dark": "dark", "heterogeneous": "mixed"},
    "place": {word: word for word in ("frontal", "parietal", "temporal", "occipital")} | {"cerebellum": "cerebellar"},
}
_TASKS_OF_ATTRIBUTE = {
    "size": ("breast_ultrasound", "brain_mri", "lung_ct"),
    "side": tuple(TASKS),
    "sequence": ("brain_mri",), "plane": ("brain_mri",), "signal": ("brain_mri",), "place": ("brain_mri",),
}  # fmt: skip


@dataclass(frozen=True)
class Caption:
    """Hold a text, the facts that it states (by name), and whether it states nothing else."""

    text: str
    stated: Mapping[str, str]
    complete: bool


def image_facts(fact: Mapping) -> dict[str, str]:
    """List the facts of an image, by name."""
    attributes = {name: value for name, value in fact["attributes"].items() if name in FACTS}
    return {"organ": _ORGAN[fact["task"]], "task": fact["task"], "present": str(fact["present"]),
            "finding": fact["finding"], **attributes}  # fmt: skip


def draw_caption(fact: Mapping, rng: np.random.Generator) -> Caption:
    """Draw a caption of an image, of any of the four prompt kinds."""
    kind = str(rng.choice(["P0", "P1", "P2", "P3"], p=[0.1, 0.2, 0.25, 0.45]))
    text = write_caption(fact["task"], fact["finding"], fact["attributes"], rng, kind)
    stated = {"organ": _ORGAN[fact["task"]], "task": fact["task"], "present": str(fact["present"])}
    words = set(split_words(text))
    if kind == "P0" and stated["organ"] == "lungs":
        del stated["task"]  # "lungs" are on X-rays and on CT slices
    if kind != "P2" and fact["present"]:
        stated |= _finding(fact["task"], words)
        stated |= _attributes(fact["task"], text, words)
    return Caption(text, stated, complete=kind != "P3" or not fact["present"])


def _finding(task: str, words: set[str]) -> dict[str, str]:
    for finding, markers in _FINDING_WORDS.items():
        if finding in FINDINGS[task] and markers & words:
            return {"finding": finding}
    return {}


def _attributes(task: str, text: str, words: set[str]) -> dict[str, str]:
    stated = {}
    for name, values in _ATTRIBUTE_WORDS.items():
        said = [value for word, value in values.items() if word in words and task in _TASKS_OF_ATTRIBUTE[name]]
        if len(said) == 1:
            stated[name] = said[0]
    margins = [margin for margin in ("smooth", "irregular", "spiculated") if f"{margin} margin" in text]
    if task == "breast_ultrasound" and margins:
        stated["margin"] = margins[-1]
    return stated


def judge(images: list[Mapping[str, str]], captions: list[Caption], own: np.ndarray) -> np.ndarray:
    """Judge every caption for every image: int8 [images, captions] of TRUE, FALSE and UNKNOWN.

    Args:
        images: the facts of each image (:func:`image_facts`).
        captions: the captions.
        own: for each caption, the index of the image that it was written for.
    """
    codes: dict[str, int] = {}
    known = np.array([_encode(facts, codes) for facts in images])  # (images, facts)
    said = np.array([_encode(caption.stated, codes) for caption in captions])  # (captions, facts)
    contradicts = ((said != SILENT) & (known[:, None] != said)).any(axis=2)
    complete = np.array([caption.complete for caption in captions])
    verdict = np.where(contradicts, FALSE, np.where(complete, TRUE, UNKNOWN)).astype(np.int8)
    verdict[own, np.arange(len(captions))] = TRUE
    return verdict


def _encode(facts: Mapping[str, str], codes: dict[str, int]) -> list[int]:
    """Give each of FACTS a number; a value that is not among the codes gets the next one."""
    return [codes.setdefault(facts[name], len(codes)) if name in facts else SILENT for name in FACTS]
