"""The word-level tokenizer of the small CLIP, which knows what it does not know.

A sub-word tokenizer maps any string to tokens that some image once had; a model that was trained on a few hundred words
then answers to nonsense without a hint. Here each word is one token, a word outside the vocabulary is ``[UNK]``, and
asking with one warns and names near words that are known. What is only another form of a known word (a plural, a
possessive, the American spelling, a hyphen more or less) is read as that word.
"""

from __future__ import annotations

import difflib
import re
import warnings
from collections.abc import Sequence

import torch

from .spellings import COMBINING, singulars, spelled

PADDING, UNKNOWN = 0, 1

#: Variants that no vocabulary has as words of their own; others are found by their form, see
#: :mod:`medclipsam_utils.models.spellings`.
SPELLINGS = {
    "tumor": "tumour", "edema": "oedema", "center": "centre", "xray": "x-ray", "hypo-echoic": "hypoechoic", "mr": "mri",
}  # fmt: skip

# Letters of every alphabet, so that a word in another language is an unknown word, not no word.
_WORD = re.compile(r"[^\W_]+(?:-[^\W_]+)*")
_POSSESSIVE = re.compile(r"(?<=[^\W_])['’]s(?![^\W_])")


class UnknownWordWarning(UserWarning):
    """A text has words that the model was never trained on; its answer may mean nothing."""


def split_words(text: str) -> list[str]:
    """Split a text into lower-case words, hyphenated ones in one piece, without punctuation and possessive 's.

    The variants of :data:`SPELLINGS` are unified; other forms are the tokenizer's to read, which knows the vocabulary.
    """
    return [SPELLINGS.get(word, word) for word in _WORD.findall(_POSSESSIVE.sub("", text.lower()))]


class WordTokenizer:
    """Turns texts into token ids, one per word, between a start and an end token.

    Ids: 0 padding, 1 unknown, then the vocabulary in order, then start and end of text (the highest id, where
    open_clip's text tower reads its answer).
    """

    def __init__(self, vocabulary: Sequence[str], context_length: int):
        """
        Args:
            vocabulary: the words, in the order of their ids.
            context_length: length of every row of ids; longer texts lose their end.

        Raises:
            ValueError: a word occurs twice, or is one that :func:`split_words` would change.
        """
        self.vocabulary = tuple(vocabulary)
        self.context_length = context_length
        for word in self.vocabulary:
            if split_words(word) != [word]:
                raise ValueError(f"{word!r} cannot be a word of the vocabulary: it is read as {split_words(word)}")
        if len(set(self.vocabulary)) < len(self.vocabulary):
            raise ValueError("the vocabulary has a word twice")
        self._ids = {word: UNKNOWN + 1 + position for position, word in enumerate(self.vocabulary)}
        self._start = UNKNOWN + 1 + len(self.vocabulary)
        self._longest = max([2, *(1 + word.count("-") for word in self.vocabulary)])
        self._spelled: dict[str, str] = {}
        self._singular: dict[str, str] = {}
        for word in self.vocabulary:
            self._spelled.setdefault(spelled(word), word)
            for one in singulars(spelled(word)):
                self._singular.setdefault(one, word)

    @property
    def vocabulary_size(self) -> int:
        """The number of token ids, the four special ones included."""
        return self._start + 2

    def read(self, text: str) -> list[str]:
        """Split a text into words of the vocabulary; what it has in no form stays as it is.

        A text whose words are all known is only split. Otherwise a word is read as the known one of which it is another
        form; words side by side, not all of them known, as a hyphenated word of the vocabulary ("x rays" as "x-ray"),
        or as any where the first is no word of its own ("hypo echoic"); and a hyphenated word whose parts are all known
        as its parts ("brain-tumour" as "brain tumour").
        """
        words = split_words(text)
        if all(word in self._ids for word in words):
            return words
        found: list[str] = []
        while words:
            count, known = self._compound(words)
            if known is None:
                parts = [self._known(part) for part in words[0].split("-")]
                found += [part for part in parts if part] if all(parts) else words[:1]
            else:
                found.append(known)
            words = words[count:]
        return found

    def _compound(self, words: Sequence[str]) -> tuple[int, str | None]:
        """Say how many of the first words are one word of the vocabulary, and which; (1, None) if there is none."""
        for count in range(min(self._longest, len(words)), 1, -1):
            if all(word in self._ids for word in words[:count]):
                continue
            known = self._known("-".join(words[:count]))
            if known is not None and (known.count("-") == count - 1 or words[0] in COMBINING):
                return count, known
        return 1, self._known(words[0])

    def _known(self, word: str) -> str | None:
        """Find the word of the vocabulary that this one is, or is a form of."""
        if word in self._ids:
            return word
        form = spelled(word)
        for index, key in (
            (self._spelled, form),
            *((self._spelled, one) for one in singulars(form)),
            (self._singular, form),
            *((self._singular, one) for one in singulars(form)),
        ):
            if key in index:
                return index[key]
        return None

    def unknown_words(self, text: str) -> dict[str, list[str]]:
        """Find the words of the text that the model does not know, each with up to three near words that it does."""
        unknown = [word for word in dict.fromkeys(self.read(text)) if word not in self._ids]
        return {word: difflib.get_close_matches(word, self.vocabulary, n=3, cutoff=0.6) for word in unknown}

    def __call__(self, texts: str | Sequence[str]) -> torch.Tensor:
        """Return the token ids int64 [B, context_length] of one text or several.

        Warns:
            UnknownWordWarning: once per call, if a text has words outside the vocabulary.
        """
        texts = [texts] if isinstance(texts, str) else list(texts)
        unknown: dict[str, list[str]] = {}
        ids = torch.full((len(texts), self.context_length), PADDING)
        for row, text in enumerate(texts):
            words = self.read(text)
            if any(word not in self._ids for word in words):
                unknown |= self.unknown_words(text)
            known = [self._ids.get(word, UNKNOWN) for word in words][: self.context_length - 2]
            tokens = [self._start, *known, self._start + 1]
            ids[row, : len(tokens)] = torch.tensor(tokens)
        if unknown:
            hints = [f"{word!r}" + (f" (near: {', '.join(near)})" if near else "") for word, near in unknown.items()]
            warnings.warn(f"the model was not trained on {'; '.join(hints)}", UnknownWordWarning, stacklevel=2)
        return ids
