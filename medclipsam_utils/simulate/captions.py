"""A small grammar that says in words what a simulated image shows.

A caption is made of the facts of one image (its finding and attributes) at the four levels of description that the
paper's prompts have: **P0** the bare name, **P1** a short phrase, **P2** a descriptive sentence that holds for the
class in general, **P3** a descriptive sentence with everything specific: kind, size, side, place. Wording varies
(synonyms, order, sentence form); facts never do: whatever a caption states is true of its image. "Left" and "right" are
the patient's, as in a radiology report, except in ultrasound, where they are the sides of the image.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..tasks import PROMPT_KINDS

_MODALITY = {
    "breast_ultrasound": ("breast ultrasound", "ultrasound image of the breast", "sonogram of the breast"),
    "brain_mri": ("brain MRI", "magnetic resonance image of the head", "MRI of the brain"),
    "lung_xray": ("chest X-ray", "frontal radiograph of the chest", "frontal radiograph"),
    "lung_ct": ("axial chest CT", "computed tomography slice of the chest", "chest CT slice"),
}
_ABDOMEN_MODALITY = {
    "lung_xray": ("abdominal X-ray", "radiograph of the abdomen"),
    "lung_ct": ("axial abdominal CT", "computed tomography slice of the abdomen"),
}
_SIZES = {"small": "small", "medium": "medium-sized", "large": "large"}


def write_caption(
    task: str, finding: str, attributes: Mapping[str, str], rng: np.random.Generator, kind: str | None = None
) -> str:
    """Write one caption that is true of an image.

    Args:
        task: a task's name.
        finding: one of ``FINDINGS[task]``.
        attributes: the facts of the image, as in ``Sample.attributes``; a missing one is not mentioned.
        rng: chooses the wording.
        kind: ``"P0"`` to ``"P3"``; None draws P1, P2 or P3, mostly P3.

    Returns:
        The caption, lower case except for abbreviations, at least 20 characters long from P1 upwards (the paper drops
        captions shorter than that).

    Raises:
        ValueError: unknown kind.
    """
    if kind is None:
        kind = str(rng.choice(["P1", "P2", "P3"], p=[0.15, 0.25, 0.6]))
    if kind not in PROMPT_KINDS:
        raise ValueError(f"unknown prompt kind {kind!r}; the kinds are {', '.join(PROMPT_KINDS)}")
    return _WRITERS[task](finding, attributes, rng, kind)


def _pick(rng: np.random.Generator, *options: str) -> str:
    return options[int(rng.integers(len(options)))]


def _a(phrase: str) -> str:
    first = phrase.split()[0]
    return f"an {phrase}" if first[0].lower() in "aeiou" or first == "MRI" else f"a {phrase}"


def _join(*parts: str) -> str:
    return " ".join(part for part in parts if part)


def _sentence(rng: np.random.Generator, modality: str, content: str, place: str = "") -> str:
    """Join modality and content in one of several sentence forms."""
    forms = (
        f"{_a(modality)} showing {_join(content, place)}",
        f"{modality} with {_join(content, place)}",
        f"{_join(content, place)} on {_a(modality)}",
        f"{_a(modality)}. It shows {_join(content, place)}",
    )
    return _pick(rng, *forms)


def _breast(finding: str, facts: Mapping[str, str], rng: np.random.Generator, kind: str) -> str:
    modality = _pick(rng, *_MODALITY["breast_ultrasound"])
    noun = _pick(rng, "tumour", "mass", "lesion")
    if finding == "normal":
        if kind == "P0":
            return "normal breast"
        if kind == "P1":
            return f"ultrasound of {_pick(rng, 'normal breast tissue', 'a breast without a tumour')}"
        content = _pick(rng, "normal tissue", "normal glandular tissue", "normal layers of fat, gland and muscle")
        return _sentence(rng, modality, content, _pick(rng, f"without a {noun}", f"and no {noun}"))
    if kind == "P0":
        return f"breast {noun}"
    if kind == "P1":
        return f"ultrasound of {_pick(rng, f'a breast {noun}', f'a {finding} breast {noun}')}"
    if kind == "P2":
        content = _pick(
            rng,
            f"a dark {noun} within the brighter glandular tissue",
            f"a hypoechoic {noun}",
            f"a focal {noun} that is darker than its surroundings",
        )
        return _sentence(rng, modality, content)
    shape = facts.get("shape", "")
    content = _a(_join(_SIZES.get(facts.get("size", ""), ""), _pick(rng, "", "dark"), f"{finding}", shape, noun))
    posterior = facts.get("posterior")
    margin = {"smooth": ("a smooth margin", "a well-defined smooth margin"),
              "irregular": ("an irregular margin", "an ill-defined margin"),
              "spiculated": ("a spiculated margin", "an ill-defined spiculated margin")}  # fmt: skip
    features = [_pick(rng, *margin[facts["margin"]])] if "margin" in facts else []
    features += [f"posterior {posterior}"] if posterior else []
    if features and rng.random() < 0.6:
        content = _join(content, "with", " and ".join(features))
    side = facts.get("side")
    where = {"centre": "in the centre of the image"}.get(side, f"on the {side} of the image") if side else ""
    depth = {"superficial": "near the skin", "deep": "in the deep tissue"}.get(facts.get("depth", ""), "")
    return _sentence(rng, modality, content, _join(depth if rng.random() < 0.5 else "", where))


def _brain(finding: str, facts: Mapping[str, str], rng: np.random.Generator, kind: str) -> str:
    modality = _pick(rng, *_MODALITY["brain_mri"])
    if kind == "P3":
        modality = _pick(rng, _join(facts.get("plane", ""), modality), _join(facts.get("sequence", ""), "brain MRI"))
    noun = _pick(rng, "tumour", "mass", "lesion")
    if finding == "normal":
        if kind == "P0":
            return "normal brain"
        if kind == "P1":
            return f"MRI of {_pick(rng, 'a normal brain', 'a brain without a tumour')}"
        content = _pick(rng, "normal brain tissue", "normal white matter", "a normal brain and ventricles")
        return _sentence(rng, modality, content, _pick(rng, f"without a {noun}", f"and no {noun}"))
    if kind == "P0":
        return f"brain {noun}"
    name = {"pituitary": _pick(rng, "pituitary tumour", "pituitary adenoma")}.get(finding, finding)
    if kind == "P1":
        verb = "showing" if noun == "mass" else "of"  # at least 20 characters
        return _pick(rng, f"MRI {verb} a brain {noun}", f"MRI of a {name} of the brain")
    if kind == "P2":
        content = _pick(
            rng,
            f"a {noun} with abnormal signal inside the skull",
            f"a focal {noun} that differs from the normal tissue around it",
            f"a brain {noun}",
        )
        return _sentence(rng, modality, content)
    signal = {"bright": "bright", "dark": "dark", "mixed": "heterogeneous"}.get(facts.get("signal", ""), "")
    character = {
        "glioma": ("infiltrating", "irregular", ""),
        "meningioma": ("homogeneous", "well-defined", ""),
        "pituitary": ("well-defined", "", ""),
    }[finding]
    content = _a(_join(_SIZES.get(facts.get("size", ""), ""), _pick(rng, signal, *character), name))
    seat: tuple[str, ...] = {
        "glioma": ("with surrounding oedema", "inside the brain", "with an irregular margin"),
        "meningioma": ("attached to the dura", "at the surface of the brain", "next to the skull"),
        "pituitary": ("in the sella", "in the midline below the brain", "in the midline"),
    }[finding]
    untrue: dict[str | None, str] = {"absent": "with surrounding oedema", "falx": "next to the skull"}
    seat = tuple(words for words in seat if words not in {untrue.get(facts.get(k)) for k in ("oedema", "attachment")})
    seat = ("", *seat) if finding != "glioma" or facts.get("place") != "cerebellar" else ("",)
    side = facts.get("side")
    where = {"midline": "in the midline"}.get(side, f"on the {side} side of the head") if side else ""
    region = {"cerebellar": "in the cerebellum", "sellar": ""}.get(
        facts.get("place", ""), f"in the {facts.get('place')} region" if "place" in facts else ""
    )
    if finding == "pituitary":
        return _sentence(rng, modality, content, _pick(rng, *seat))
    return _sentence(rng, modality, content, _pick(rng, *seat, where, region, _join(region, where)))


def _without_lungs(task: str, rng: np.random.Generator, kind: str) -> str:
    if kind == "P0":
        return "abdomen"
    modality = _pick(rng, *_ABDOMEN_MODALITY[task])
    if kind == "P1":
        return _pick(rng, f"{modality} without lungs", f"{_a(modality)}, no lungs")
    if task == "lung_xray":
        content = _pick(rng, "the pelvis and the lumbar spine", "bowel gas", "the abdomen and the pelvis")
    else:
        content = _pick(rng, "the liver", "the bowel and the kidneys", "the abdomen below the lungs")
    return _sentence(rng, modality, content, _pick(rng, "", "and no lungs", "without lungs"))


def _lungs(task: str, finding: str, facts: Mapping[str, str], rng: np.random.Generator, kind: str) -> str:
    if finding == "abdomen":
        return _without_lungs(task, rng, kind)
    modality = _pick(rng, *_MODALITY[task])
    if kind == "P0":
        return "lungs"
    if kind == "P1":
        return f"{modality} of the lungs" if "chest" not in modality.split()[-1] else f"{modality}: lungs"
    if kind == "P2":
        beside_heart = "on both sides of the heart" if facts.get("level") in ("heart", "base") else "inside the chest"
        content = {
            "lung_xray": (
                "the two dark lungs beside the bright heart",
                "both lungs",
                "the left lung and the right lung above the diaphragm",
            ),
            "lung_ct": (
                f"the two dark lungs {beside_heart}",
                "both lungs",
                "the left lung and the right lung inside the ribs",
            ),
        }[task]  # fmt: skip
        return f"{_a(modality)} {_pick(rng, 'showing', 'with')} {_pick(rng, *content)}"
    return _sentence(rng, modality, _lung_finding(task, finding, facts, rng))


def _lung_finding(task: str, finding: str, facts: Mapping[str, str], rng: np.random.Generator) -> str:
    side, zone = facts.get("side"), facts.get("zone")
    lung = {"both": "both lungs", None: "the lungs"}.get(side, f"the {side} lung")
    if finding == "clear":
        return _pick(rng, "clear lungs", "normal lungs", "clear lungs on both sides")
    if finding == "cardiomegaly":
        return _pick(rng, "an enlarged heart between the lungs", "lungs beside an enlarged heart",
                     "cardiomegaly and clear lungs")  # fmt: skip
    if finding == "nodule":
        size = _SIZES.get(facts.get("size", ""), "")
        return _pick(rng, f"{_a(_join(size, 'round lung nodule'))} in {lung}", f"{_a(_join(size, 'nodule'))} in {lung}")
    if finding == "effusion":
        sided = {"both": "bilateral", None: ""}.get(side, side or "")
        level = "below the lung" if task == "lung_xray" else "behind the lung"
        return _pick(rng, f"{_a(_join(sided, 'pleural effusion'))}", f"fluid {level} on {_sides(side)}",
                     f"lungs above {_a(_join(sided, 'pleural effusion'))}")  # fmt: skip
    specific = {
        "lung_xray": ("hazy consolidation", "opacity"),
        "lung_ct": ("ground-glass opacity", "hazy ground-glass opacity"),
    }[task]
    name = _pick(rng, "opacity", "hazy opacity", *specific)
    where = f"in the {zone} zone of {lung}" if zone and rng.random() < 0.6 else f"in {lung}"
    return _pick(rng, f"{_a(name)} {where}", f"lungs with {_a(name)} {where}")


def _sides(side: str | None) -> str:
    return {"both": "both sides", None: "one side"}.get(side, f"the {side} side")


_WRITERS = {
    "breast_ultrasound": _breast,
    "brain_mri": _brain,
    "lung_xray": lambda *args: _lungs("lung_xray", *args),
    "lung_ct": lambda *args: _lungs("lung_ct", *args),
}
