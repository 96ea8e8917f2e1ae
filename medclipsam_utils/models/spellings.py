"""The forms of a word: British and American, hyphenated or in one piece, one or several.

A vocabulary has each word in one form or two, and people write others. :func:`spelled` brings the spellings of a word
to one form, and :func:`singulars` names what a plural may be the plural of. Both work from lists of word parts and not
from rules alone: a rule that turns *or* into *our* would read "for" as "four". What they return need not be a word; it
serves to find the word of a vocabulary that has the same form.
"""

from __future__ import annotations

import re
import unicodedata

# British parts of words and the American ones, wherever in a word they stand.
_PARTS = {
    "œ": "oe", "æ": "ae", "aem": "em", "oedem": "edem", "oesoph": "esoph", "oestr": "estr", "foet": "fet",
    "pnoea": "pnea", "rrhoea": "rrhea", "coeli": "celi", "amoeb": "ameb", "caec": "cec", "faec": "fec", "paed": "ped",
    "gynaec": "gynec", "anaesth": "anesth", "aetiol": "etiol", "caesar": "cesar", "praevia": "previa",
    "leuco": "leuko", "sulph": "sulf", "aneurism": "aneurysm", "artefact": "artifact", "grey": "gray",
    "neurone": "neuron", "manoeuv": "maneuv", "defence": "defense", "mould": "mold",
    "centred": "centered", "centring": "centering", "analogue": "analog", "catalogue": "catalog",
} | {
    f"{start}our": f"{start}or"
    for start in ("tum", "col", "behavi", "neighb", "od", "vap", "lab", "fav", "flav", "hum", "rum", "vig", "hon")
} | {
    f"{start}re": f"{start}er" for start in ("cent", "fib", "met", "lit", "calib", "tit", "goit", "spect", "lust")
}  # fmt: skip

# The same for endings and whole words.
_ENDINGS = (
    (re.compile(r"(?<=[a-z]{3})is(e|ed|es|er|ing|ation|ations)$"), r"iz\1"),
    (re.compile(r"(?<=[a-z]{2})ys(e|ed|er|ing)$"), r"yz\1"),
    (re.compile(r"^(label|signal|channel|tunnel|model|travel|level|funnel)l(ed|ing|er)$"), r"\1\2"),
    (re.compile(r"gramme(s?)$"), r"gram\1"),
    (re.compile(r"^disc(s?)$"), r"disk\1"),
    (re.compile(r"^ageing$"), "aging"),
)

# Plurals of Latin, Greek and old English, and of abbreviations, in American spelling.
_IRREGULAR = {
    "cts": "ct", "mris": "mri", "women": "woman", "men": "man", "children": "child", "feet": "foot", "teeth": "tooth",
    "halves": "half", "diagnoses": "diagnosis", "stenoses": "stenosis", "metastases": "metastasis",
    "necroses": "necrosis", "thromboses": "thrombosis", "fibroses": "fibrosis", "anastomoses": "anastomosis",
    "prostheses": "prosthesis", "analyses": "analysis", "diaphyses": "diaphysis", "epiphyses": "epiphysis",
    "metaphyses": "metaphysis", "axes": "axis", "pelves": "pelvis", "testes": "testis", "apices": "apex",
    "cortices": "cortex", "vertices": "vertex", "matrices": "matrix", "indices": "index", "appendices": "appendix",
    "thoraces": "thorax", "calyces": "calyx", "phalanges": "phalanx", "nuclei": "nucleus", "bronchi": "bronchus",
    "thrombi": "thrombus", "emboli": "embolus", "foci": "focus", "calculi": "calculus", "sulci": "sulcus",
    "gyri": "gyrus", "rami": "ramus", "humeri": "humerus", "fundi": "fundus", "alveoli": "alveolus", "villi": "villus",
    "septa": "septum", "hila": "hilum", "atria": "atrium", "sterna": "sternum", "sacra": "sacrum", "ilea": "ileum",
    "diverticula": "diverticulum", "bacteria": "bacterium", "ganglia": "ganglion", "criteria": "criterion",
}  # fmt: skip

# Words that look like a plural of another word, and are none.
_NO_PLURALS = {
    "always", "besides", "does", "glasses", "goods", "hers", "lens", "means", "news", "ours", "series", "sometimes",
    "species", "theirs", "yours",
}  # fmt: skip

#: Beginnings of words that are no words of their own, so that "hypo echoic" can only be one word.
COMBINING = {
    "anti", "hyper", "hypo", "infra", "inter", "intra", "iso", "micro", "multi", "non", "peri", "post", "pre", "retro",
    "sub", "supra",
}  # fmt: skip


def spelled(word: str) -> str:
    """Bring a word in lower-case letters to its American form, without hyphens."""
    word = unicodedata.normalize("NFKC", word).replace("-", "")
    for british, american in _PARTS.items():
        word = word.replace(british, american)
    for ending, american in _ENDINGS:
        word = ending.sub(american, word)
    return word


def singulars(word: str) -> list[str]:
    """List what a word in the form of :func:`spelled` may be the plural of, the likeliest first; [] if it is none."""
    if word in _IRREGULAR:
        return [_IRREGULAR[word]]
    if word in _NO_PLURALS or word.endswith(("ss", "us", "is")):
        return []
    endings = {"omata": "oma", "ae": "a", "ies": "y", "s": ""}
    found = [word.removesuffix(end) + one for end, one in endings.items() if word.endswith(end)]
    if word.endswith(("ses", "xes", "zes", "ches", "shes", "oes")):
        found.append(word.removesuffix("es"))
    return [one for one in found if len(one) > 2]
