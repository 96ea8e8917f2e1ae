"""Which of the known targets do some words name? Decided from the words alone, so that it holds for every CLIP.

A CLIP cannot be asked: it gives "ribs" nearly the direction of "lungs", because both stand in the same captions. So a
text is read as a radiologist's request would be, in three steps.

1. Phrases end at small words (*of*, *with*, *the* …). In each phrase the last word that means a thing is its head:
   "lung nodule" is a nodule, "nodule in the lung" begins with one, and "lungs beside the heart" begins with lungs.
2. The first head has to be the target: a tumour or a lung. Words for an imaging method, a part of the body or a
   quality ("a chest X-ray", "left", "bright") are no heads.
3. A tumour lies where the text says. In the breast or the brain it is a known target; without a place it may be either;
   elsewhere ("liver tumour", "tumour in the lung") it is none.

The sentences of a task itself always name its target, except the one that denies it. Of a text of several sentences
the last ones may be about something else ("… The image is of good quality."), unless they deny the target.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence, Set
from itertools import dropwhile, takewhile
from typing import NamedTuple

from ..tasks import TASKS, Task, is_known
from .lexicon import (
    ALL_METHODS,
    BRAIN,
    BREAST,
    CHEST,
    DENYING,
    ELSEWHERE,
    JOINING,
    LINKING,
    LOBES_OF_BRAIN,
    METHODS,
    OF_BRAIN,
    OF_BREAST,
    OF_LUNG,
    ONE_LOBE,
    OTHER_THINGS,
    PARTS_OF_LUNG,
    PLACING,
    PULMONARY,
    QUALITIES,
    SMALL,
    SOUND,
    TUMOROUS,
    TUMOUR,
)


def named_tasks(text: str | Sequence[str], own: Iterable[Task] = ()) -> list[Task]:
    """Find the tasks whose target some words name.

    Args:
        text: one sentence, or several, each of which has to name the target.
        own: tasks that are none of ``TASKS``. A text names such a task if it is one of its sentences, or has all the
            words of its target; such a task comes before the known ones.

    Returns:
        Tasks of your own, or of ``TASKS`` in their order: more than one where the words leave it open (the lungs may be
        in an X-ray or in a CT slice), none where the words name no known target or deny it.
    """
    sentences = [text] if isinstance(text, str) else list(text)
    others = [task for task in own if not is_known(task)]
    named = [task for task in others if sentences and all(_names_own(each, task) for each in sentences)]
    if named:
        return named
    by_sentence = [_named(sentence) for sentence in sentences]
    return [task for name, task in TASKS.items() if by_sentence and all(name in each for each in by_sentence)]


def _names_own(text: str, task: Task) -> bool:
    """Tell whether a text names a task of one's own, leaving out last sentences about other things."""
    target = set(_words(task.target)) - SMALL
    sentences = {tuple(_words(each)) for each in _sentences(task)}
    for beginning in _beginnings(text, target):
        words = _words(beginning)
        if tuple(words) in sentences or (target and target <= set(words) and not DENYING & set(words)):
            return True
    return False


def denies(text: str) -> bool:
    """Tell whether the first sentence of a text says that something is not there, or leaves something out."""
    return bool(DENYING & set(_words(_statements(text)[0])))


def _statements(text: str) -> list[str]:
    """Part a text into its sentences; a new line begins one, too."""
    return re.split(r"(?<=[.!?])\s+|\s*\n\s*", text.strip())


def _beginnings(text: str, target: Set[str]) -> Iterator[str]:
    """Shorten a text sentence by sentence from its end, down to one that denies something with a word of the target."""
    statements = _statements(text)
    for count in range(len(statements), 0, -1):
        yield " ".join(statements[:count])
        last = set(_words(statements[count - 1]))
        if DENYING & last and target & last:
            return


def _named(text: str) -> set[str]:
    """Find the targets that a text names, by their tasks' names, leaving out last sentences about other things."""
    found = (set(_named_together(beginning)) for beginning in _beginnings(text, {"lung"} | TUMOUR))
    return next(filter(None, found), set())


def _named_together(sentence: str) -> Iterable[str]:
    words = _words(sentence)
    exact = [task.name for task in TASKS.values() if tuple(words) in {tuple(_words(each)) for each in _sentences(task)}]
    if exact:
        return exact
    if DENYING & set(words):
        return ()
    kind = _kind(words)
    shown = [name for name, method in METHODS.items() if method & set(words)]
    if kind == "lung":
        candidates = {"lung_xray", "lung_ct"}
        return candidates & set(shown) if set(shown) & candidates else () if shown else candidates
    if kind is None:
        return ()
    candidates = {"breast": {"breast_ultrasound"}, "brain": {"brain_mri"}}.get(kind, {"breast_ultrasound", "brain_mri"})
    return candidates & set(shown) if shown and kind == "tumour" else candidates


def _kind(words: list[str]) -> str | None:
    """Tell what the first head of a text is: ``"lung"``, a tumour in the ``"breast"``, in the ``"brain"``, or none.

    ``"tumour"`` is one without a place.
    """
    phrases = list(dropwhile(lambda phrase: phrase.head is None, _phrases(words)))
    if not phrases:
        return None
    first, *rest = phrases
    joined = list(takewhile(lambda phrase: phrase.link in JOINING, rest))
    if first.head == "lung":
        return "lung" if all(phrase.head in ("lung", None) for phrase in joined) else None
    if first.head not in ("tumour", "breast tumour", "brain tumour"):
        return None
    if any(phrase.head == "thing" or len(_places({*first.words, *phrase.words})) > 1 for phrase in joined):
        return None
    placed = [phrase for phrase in rest[:1] if phrase.link in PLACING]
    near = {*first.words, *(word for phrase in placed for word in phrase.words)}
    beside = {word for phrase in phrases if phrase.link in LINKING - PLACING for word in phrase.words}
    if ELSEWHERE & near or (ELSEWHERE & set(words) - beside and not _places(near)):
        return None
    places = _places(near) or _places(set(words))
    places |= {first.head.split()[0]} if first.head != "tumour" else set()
    if places:
        return places.pop() if len(places) == 1 else None
    return "tumour" if set(words) <= TUMOUR | TUMOROUS | SMALL | QUALITIES | ALL_METHODS else None


def _places(words: set[str]) -> set[str]:
    """Tell in which of the two organs with a known tumour something is, by words near it."""
    places = {place for place, names in (("breast", BREAST), ("brain", BRAIN)) if names & words}
    return places | ({"brain"} if "lobe" in words and LOBES_OF_BRAIN & words else set())


class _Phrase(NamedTuple):
    """Words between two small words: their head (None without one), and the small word before."""

    head: str | None
    link: str
    words: list[str]


def _phrases(words: list[str]) -> Iterable[_Phrase]:
    phrase: list[str] = []
    link = before = ""
    for word in [*words, "of"]:
        if word in SMALL:
            if phrase:
                yield _Phrase(_head(phrase, after=word), link, phrase)
                phrase, before = [], ""
            before = word if word in JOINING | LINKING or not before else before
        else:
            link = link if phrase else before
            phrase.append(word)


def _head(phrase: list[str], after: str) -> str | None:
    """Tell the head of one phrase; ``after`` is the small word that ends it."""
    nouns = [word for word in phrase if not _is_quality(word)]
    tumours = [number for number, word in enumerate(nouns) if word in TUMOUR]
    if tumours and not set(nouns[tumours[-1] :]) & _LISTED - TUMOUR:
        nouns = nouns[: tumours[-1] + 1]  # "the tumour sits", "tumour pixels"
    while nouns and nouns[-1] in CHEST | BREAST | BRAIN - {"ventricle", "dura", "skull"}:
        nouns.pop()  # a part of the body that something is in, or that an image shows
    if not nouns:
        if SOUND & set(phrase) and (BREAST | BRAIN) & set(phrase):
            return "thing"  # the organ itself
        return "tumour" if TUMOROUS & set(phrase) else "lung" if set(phrase) >= PULMONARY else None
    last = nouns[-1]
    if last == "lung" or (last in PARTS_OF_LUNG and OF_LUNG & set(phrase) and not ONE_LOBE & set(phrase)):
        others = set(nouns[:-1]) - OF_LUNG - CHEST
        return "thing" if others & (ELSEWHERE | OTHER_THINGS | TUMOUR) else "lung"
    if last in OF_BREAST:
        return "breast tumour"
    if last in OF_BRAIN or (last == "adenoma" and "pituitary" in phrase):
        return "brain tumour"
    if last in TUMOUR:
        return "tumour"
    unknown = not set(nouns) & (ELSEWHERE | OTHER_THINGS)
    return None if unknown and after not in LINKING | JOINING else "thing"  # "kindly trace the …" is no thing


def _is_quality(word: str) -> bool:
    """Tell words that are no things: listed ones, methods, and what ends like an adverb or a participle."""
    if word in QUALITIES | ALL_METHODS | TUMOROUS:
        return True
    listed = word in ELSEWHERE | OTHER_THINGS | TUMOUR | BREAST | BRAIN | CHEST
    return not listed and len(word) > 5 and word.endswith(("ly", "ed", "ing"))


def _sentences(task: Task) -> Iterable[str]:
    yield task.target
    for sentences in (*task.prompts.values(), *task.class_prompts.values()):
        yield from sentences


_SPELLINGS = {"tumor": "tumour", "xray": "x-ray", "metastases": "metastasis", "masses": "mass", "lungs": "lung"}
_WORD = re.compile(r"[^\W_]+(?:-[^\W_]+)*|[,;:.!?()]")
_LISTED = frozenset().union(TUMOUR, BRAIN, CHEST, SMALL, QUALITIES, ALL_METHODS, ELSEWHERE, OTHER_THINGS)


def _words(text: str) -> list[str]:
    """Split a text into words in lower case and in the singular; whatever punctuates is a comma."""
    text = re.sub(r"\bx[ -]?ray", "x-ray", text.lower().replace("’", "'"))
    words: list[str] = []
    for word in _WORD.findall(re.sub(r"'s\b", "", text)):
        whole = _singular(word.removeprefix("intra-"))
        words += [whole] if whole in _LISTED or "-" not in whole else [_singular(part) for part in whole.split("-")]
    return words


def _singular(word: str) -> str:
    if not word[0].isalnum():
        return ","
    word = _SPELLINGS.get(word, word)
    if len(word) > 4 and word.endswith("ies"):
        return f"{word[:-3]}y"
    if len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is")):
        word = word[:-1]
    word = word.removeprefix("intra") if word not in ("intracranial",) else word
    return _SPELLINGS.get(word, word)
