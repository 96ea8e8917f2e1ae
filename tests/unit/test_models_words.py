"""The word-level tokenizer: one token a word, and a warning for every word that the model does not know."""

from __future__ import annotations

import re
import warnings

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from medclipsam_utils.models import UnknownWordWarning
from medclipsam_utils.models.words import WordTokenizer, split_words

VOCABULARY = ("a", "brain", "in", "mri", "oedema", "the", "tumour", "x-ray")


@pytest.fixture
def tokenizer():
    return WordTokenizer(VOCABULARY, context_length=8)


def test_ids_by_hand(tokenizer):
    """0 padding, 1 unknown, 2 to 9 the words in order, 10 start, 11 end."""
    ids = tokenizer(["a tumour in the brain", "x-ray"])
    assert ids.dtype == torch.int64
    assert ids.tolist() == [[10, 2, 8, 4, 7, 3, 11, 0], [10, 9, 11, 0, 0, 0, 0, 0]]
    assert tokenizer.vocabulary_size == 12


def test_one_text_is_a_batch_of_one_and_none_is_an_empty_batch(tokenizer):
    assert tokenizer("brain").tolist() == [[10, 3, 11, 0, 0, 0, 0, 0]]
    assert tokenizer([]).shape == (0, 8) and tokenizer([]).dtype == torch.int64


def test_case_punctuation_and_spelling_do_not_matter(tokenizer):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert torch.equal(tokenizer("The BRAIN: tumor, edema (MR)!"), tokenizer("the brain tumour oedema mri"))
        assert torch.equal(tokenizer("xray"), tokenizer("X-ray"))


def test_what_is_too_long_loses_its_end_but_not_the_end_token(tokenizer):
    assert tokenizer("a a a a a a brain brain").tolist() == [[10, 2, 2, 2, 2, 2, 2, 11]]


def test_unknown_words_name_near_ones(tokenizer):
    assert tokenizer.unknown_words("a brian tumours in the liver") == {
        "brian": ["brain"],
        "tumours": ["tumour"],
        "liver": [],
    }
    assert tokenizer.unknown_words("a brain tumor") == {}
    assert tokenizer.unknown_words("liver liver") == {"liver": []}


def test_unknown_words_become_one_token_and_one_warning(tokenizer):
    expected = r"the model was not trained on 'brian' \(near: brain\); 'liver'$"
    with pytest.warns(UnknownWordWarning, match=expected) as caught:
        ids = tokenizer(["a brian", "the liver", "brain"])
    assert len(caught) == 1 and caught[0].filename == __file__
    assert ids[:, :4].tolist() == [[10, 2, 1, 11], [10, 7, 1, 11], [10, 3, 11, 0]]


def test_words_of_other_alphabets_are_unknown_words_not_no_words(tokenizer):
    assert list(tokenizer.unknown_words("опухоль brain 脑瘤 œdème")) == ["опухоль", "脑瘤", "œdème"]


def test_a_text_without_words_is_only_start_and_end(tokenizer):
    assert tokenizer("?!").tolist() == [[10, 11, 0, 0, 0, 0, 0, 0]]


@pytest.mark.parametrize(
    ("vocabulary", "message"),
    [
        (["a", "brain", "a"], "the vocabulary has a word twice"),
        (["Brain"], r"'Brain' cannot be a word of the vocabulary: it is read as \['brain'\]"),
        (["tumor"], r"'tumor' cannot be .* read as \['tumour'\]"),
        (["brain tumour"], r"'brain tumour' cannot be .* read as \['brain', 'tumour'\]"),
        ([""], r"'' cannot be .* read as \[\]"),
    ],
)
def test_bad_vocabularies(vocabulary, message):
    with pytest.raises(ValueError, match=message):
        WordTokenizer(vocabulary, 8)


@given(st.text())
def test_any_text_has_a_row_that_starts_ends_and_is_padded(text):
    tokenizer = WordTokenizer(VOCABULARY, context_length=8)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnknownWordWarning)
        row = tokenizer(text)[0].tolist()
    n_words = min(len(split_words(text)), 6)
    assert row[0] == 10 and row[n_words + 1] == 11 and row[n_words + 2 :] == [0] * (6 - n_words)
    assert all(1 <= token <= 9 for token in row[1 : n_words + 1])
    assert row[1 : n_words + 1].count(1) <= sum(word not in VOCABULARY for word in split_words(text))


@given(st.lists(st.sampled_from(VOCABULARY), max_size=6))
def test_known_words_can_be_read_back(words):
    row = WordTokenizer(VOCABULARY, context_length=8)(" ".join(words))[0].tolist()
    assert [VOCABULARY[token - 2] for token in row[1 : len(words) + 1]] == words
    assert split_words(re.sub(" ", ", ", " ".join(words)).upper()) == words
