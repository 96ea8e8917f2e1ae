"""The word-level tokenizer of the small CLIP, which knows what it does not know.

A sub-word tokenizer maps any string to tokens that some image once had; a model that was trained on a few hundred words
then answers to nonsense without a hint. Here each word is one token, a word outside the vocabulary is ``[UNK]``, and
asking with one warns and names near words that are known.
"""

from __future__ import annotations

import difflib
import re
import warnings
from collections.abc import Sequence

import torch

PADDING, UNKNOWN = 0, 1

#: American spellings and common variants, read as the words of the vocabulary.
SPELLINGS = {
    "tumor": "tumour", "tumors": "tumours", "edema": "oedema", "center": "centre", "gray": "grey",
    "xray": "x-ray", "hypo-echoic": "hypoechoic", "mr": "mri",
}  # fmt: skip

# Letters of every alphabet, so that a word in another language is an unknown word, not no word.
_WORD = re.compile(r"[^\W_]+(?:-[^\W_]+)*")


class UnknownWordWarning(UserWarning):
    """A text has words that the model was never trained on; its answer may mean nothing."""


def split_words(text: str) -> list[str]:
    """Lower-case words of a text, hyphenated ones in one piece, punctuation left out, spellings unified."""
    return [SPELLINGS.get(word, word) for word in _WORD.findall(text.lower())]


class WordTokenizer:
    """From texts to token ids, one a word, between a start and an end token.

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

    @property
    def vocabulary_size(self) -> int:
        """Number of token ids, the four special ones included."""
        return self._start + 2

    def unknown_words(self, text: str) -> dict[str, list[str]]:
        """Words of the text that the model does not know, each with up to three near words that it does."""
        unknown = [word for word in dict.fromkeys(split_words(text)) if word not in self._ids]
        return {word: difflib.get_close_matches(word, self.vocabulary, n=3, cutoff=0.6) for word in unknown}

    def __call__(self, texts: str | Sequence[str]) -> torch.Tensor:
        """Token ids int64 [B, context_length] of one text or several.

        Warns:
            UnknownWordWarning: once a call, if a text has words outside the vocabulary.
        """
        texts = [texts] if isinstance(texts, str) else list(texts)
        unknown: dict[str, list[str]] = {}
        ids = torch.full((len(texts), self.context_length), PADDING)
        for row, text in enumerate(texts):
            words = split_words(text)
            if any(word not in self._ids for word in words):
                unknown |= self.unknown_words(text)
            known = [self._ids.get(word, UNKNOWN) for word in words][: self.context_length - 2]
            tokens = [self._start, *known, self._start + 1]
            ids[row, : len(tokens)] = torch.tensor(tokens)
        if unknown:
            hints = [f"{word!r}" + (f" (near: {', '.join(near)})" if near else "") for word, near in unknown.items()]
            warnings.warn(f"the model was not trained on {'; '.join(hints)}", UnknownWordWarning, stacklevel=2)
        return ids
