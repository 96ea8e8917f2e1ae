"""The word-level tokenizer: one token per word, other forms of known words, and a warning for every unknown one."""

from __future__ import annotations

import re
import warnings

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from medclipsam_utils.models import UnknownWordWarning, load_clip
from medclipsam_utils.models.spellings import singulars, spelled
from medclipsam_utils.models.words import SPELLINGS, WordTokenizer, split_words
from medclipsam_utils.simulate import simulate
from medclipsam_utils.tasks import TASKS

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
    assert tokenizer.unknown_words("a brian tumuor in the liver") == {
        "brian": ["brain"],
        "tumuor": ["tumour"],
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
    n_words = min(len(tokenizer.read(text)), 6)
    assert row[0] == 10 and row[n_words + 1] == 11 and row[n_words + 2 :] == [0] * (6 - n_words)
    assert all(1 <= token <= 9 for token in row[1 : n_words + 1])
    assert row[1 : n_words + 1].count(1) <= sum(word not in VOCABULARY for word in split_words(text))


@given(st.lists(st.sampled_from(VOCABULARY), max_size=6))
def test_known_words_can_be_read_back(words):
    row = WordTokenizer(VOCABULARY, context_length=8)(" ".join(words))[0].tolist()
    assert [VOCABULARY[token - 2] for token in row[1 : len(words) + 1]] == words
    assert split_words(re.sub(" ", ", ", " ".join(words)).upper()) == words


# Other forms of known words


@pytest.fixture(scope="module")
def shipped():
    return load_clip("tiny").tokenizer


def test_every_variant_leads_to_a_word_of_the_shipped_vocabulary(shipped):
    assert set(SPELLINGS.values()) <= set(shipped.vocabulary)


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("tumors tumours TUMORS", "tumour tumour tumour"),
        ("the tumour's tumor’s tumors’ margins", "the tumour tumour tumour margin"),
        ("lesions masses gliomas opacities gases", "lesion mass glioma opacity gas"),
        ("lung lungs lung's", "lung lungs lung"),
        ("a rib and a kidney", "a ribs and a kidneys"),
        ("gliomata pelves", "glioma pelvis"),
        ("x-rays X-Rays x rays X ray xrays XRAY x–ray x‑rays X-ray's", " ".join(["x-ray"] * 9)),
        ("MR MRI MRIs CTs", "mri mri mri ct"),
        ("edema œdema oedemas centers", "oedema oedema oedema centre"),
        ("well defined, ill defined ground glass", "well-defined ill-defined ground-glass"),
        ("T1 weighted, T2weighted", "t1-weighted t2-weighted"),
        ("hypo-echoic hypo echoic in-homogeneous", "hypoechoic hypoechoic in homogeneous"),
        ("a brain-tumour beside the heart-muscle", "a brain tumour beside the heart muscle"),
    ],
)
def test_forms_of_known_words_reach_the_shipped_vocabulary(shipped, text, read):
    assert " ".join(shipped.read(text)) == read
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert torch.equal(shipped(text), shipped(read))
    assert shipped.unknown_words(text) == {}


@pytest.mark.parametrize(
    ("text", "unknown"),
    [
        ("a typical lung", ["typical"]),
        ("an atypical lung", ["atypical"]),
        ("in formation", ["formation"]),
        ("news besides the axis", ["news", "besides", "axis"]),
        ("a tumour-free lung", ["tumour-free"]),
        ("a glas or las mas", ["glas", "or", "las", "mas"]),
        ("an icy isle", ["icy", "isle"]),
        ("an as to us", ["as", "us"]),
        ("a non-smooth margin", ["non-smooth"]),
        ("haemorrhage gray bronchi lobes", ["haemorrhage", "gray", "bronchi", "lobes"]),
    ],
)
def test_unknown_words_are_not_read_as_known_ones(shipped, text, unknown):
    assert list(shipped.unknown_words(text)) == unknown


@pytest.mark.parametrize(
    ("vocabulary", "asked"),
    [
        (("haemorrhage",), "hemorrhage hemorrhages haemorrhages hæmorrhage hemorrhage's"),
        (("hemorrhage",), "haemorrhage hemorrhages haemorrhages"),
        (("colour",), "color colors colours colour’s"),
        (("color",), "colour colors"),
        (("gray",), "grey grays"),
        (("grey",), "gray grey"),
        (("fibre",), "fiber fibers fibres"),
        (("tumours",), "tumours tumors tumour tumor"),
        (("oesophagus",), "esophagus"),
        (("ischemic",), "ischaemic"),
        (("localised",), "localized"),
        (("visualization",), "visualisation visualisations"),
        (("labelled",), "labeled"),
        (("artifact",), "artefacts artefact artifacts"),
        (("bronchus",), "bronchi bronchus's"),
        (("metastases",), "metastasis"),
        (("vertebra",), "vertebrae vertebras"),
        (("disc",), "disk discs"),
        (("end-to-end",), "end to end, end-to-end"),
        (("hyperintense",), "hyper-intense hyper intense"),
    ],
)
def test_any_vocabulary_is_reached_from_either_side(vocabulary, asked):
    tokenizer = WordTokenizer(("a", *vocabulary), context_length=12)
    assert set(tokenizer.read(asked)) == {*vocabulary}


@pytest.mark.parametrize(
    ("vocabulary", "word"),
    [
        (("four", "for"), "for"),
        (("lung", "lungs"), "lung"),
        (("lung", "lungs"), "lungs"),
        (("disc", "disk"), "disk"),
        (("tumour", "tumours"), "tumours"),
        (("ground", "glass", "ground-glass"), "ground"),
    ],
)
def test_a_known_word_is_itself_though_another_has_its_form(vocabulary, word):
    assert WordTokenizer(vocabulary, context_length=4).read(f"{word} qwertz {word}") == [word, "qwertz", word]


@pytest.mark.parametrize(
    ("vocabulary", "word"),
    [(("four",), "for"), (("len",), "lens"), (("new",), "news"), (("filed",), "filled"), (("colon",), "cola")],
)
def test_words_that_only_look_alike_are_kept_apart(vocabulary, word):
    assert WordTokenizer(vocabulary, context_length=4).unknown_words(word).keys() == {word}


def test_words_side_by_side_that_are_known_are_not_joined():
    tokenizer = WordTokenizer(("ground", "glass", "ground-glass"), context_length=8)
    assert tokenizer.read("qwertz ground glass") == ["qwertz", "ground", "glass"]


def test_the_plural_is_preferred_where_both_are_known():
    assert WordTokenizer(("tumour", "tumours"), context_length=4).read("tumors tumor") == ["tumours", "tumour"]


def word_by_word(tokenizer, text):
    """Ids of the words as they stand, by the tokenizer's definition; None if one is not in the vocabulary."""
    words = [SPELLINGS.get(word, word) for word in re.findall(r"[^\W_]+(?:-[^\W_]+)*", text.lower())]
    if not set(words) <= set(tokenizer.vocabulary):
        return None
    ids = [2 + tokenizer.vocabulary.index(word) for word in words]
    start = 2 + len(tokenizer.vocabulary)
    return [start, *ids, start + 1] + [0] * (tokenizer.context_length - 2 - len(ids))


def test_prompts_and_captions_keep_the_ids_that_the_model_was_trained_with(shipped):
    prompts = [
        text for task in TASKS.values() for kind in task.prompts.values() for text in (*kind, task.absent_prompt)
    ]
    captions = [simulate(task, seed, size=32).caption for task in TASKS for seed in range(4)]
    for text in prompts + captions:
        expected = word_by_word(shipped, text)
        assert expected is not None, text
        assert shipped(text)[0].tolist() == expected


VARIED = (
    "a",
    "x-ray",
    "mass",
    "masses",
    "side",
    "sides",
    "in",
    "inside",
    "ground",
    "glass",
    "ground-glass",
    "gray",
    "is",
)


@given(st.lists(st.tuples(st.sampled_from(VARIED), st.sampled_from([" ", ", ", " – ", "\n", ": ", " '"])), max_size=9))
def test_texts_of_known_words_keep_their_ids(pieces):
    tokenizer = WordTokenizer(VARIED, context_length=12)
    text = "".join(word + separator for word, separator in pieces)
    assert tokenizer(text)[0].tolist() == word_by_word(tokenizer, text)


@given(st.text())
def test_forms_never_fail(word):
    for one in singulars(spelled(word.lower())):
        assert len(one) > 2
