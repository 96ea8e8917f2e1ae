"""Who calls, and from where, makes no difference: torch's modes, its defaults, other threads, other processes."""

from __future__ import annotations

import copy
import pickle
import threading
from contextlib import contextmanager
from functools import partial

import numpy as np
import pytest
import torch
from test_saliency_m2ib import biomedclip_like, open_clip_vit

from medclipsam_utils.models import ModelError, load_clip, load_sam
from medclipsam_utils.models.clip import Clip
from medclipsam_utils.models.context import own_context
from medclipsam_utils.models.tiny_clip import CONTEXT_LENGTH, IMAGE_SIZE, MEAN, STD, build_tiny_clip
from medclipsam_utils.models.words import WordTokenizer
from medclipsam_utils.pipeline import Segmenter
from medclipsam_utils.saliency import (
    Bottleneck,
    attention_rollout,
    calibrate_presence,
    deletion_insertion,
    grad_cam,
    gscore_cam,
    integrated_gradients,
    m2ib,
    m2ib_text,
    moved_views,
    patch_information,
    patch_text,
    randomisation,
)
from medclipsam_utils.saliency.towers import untouched
from medclipsam_utils.settings import M2IB, SETTINGS, Settings

pytestmark = pytest.mark.filterwarnings("ignore:.*is_autocast_cpu_enabled")

TEXT = "a brain tumour"
FEW = {"layer": 1, "beta": 0.1, "steps": 2, "samples": 2}
IMAGES = [np.random.default_rng(seed).integers(0, 256, (40, 50, 3), dtype=np.uint8) for seed in range(2)]
MAPS = {
    "m2ib": partial(m2ib, **FEW),
    "moved views": moved_views(partial(m2ib, **FEW)),
    "patch_text": patch_text,
    "neighbours": partial(patch_text, neighbourhood=2.0),
    "windows": partial(patch_text, windows=4),
    "integrated gradients": partial(integrated_gradients, layer=1, steps=2),
    "grad_cam": grad_cam,
    "gscore_cam": partial(gscore_cam, channels=4),
    "rollout": attention_rollout,
}
SAM = load_sam("tiny")


def segment(clip):
    settings = Settings(M2IB(layer=5, beta=0.1, samples=1))
    return Segmenter(clip, SAM, settings).segment(IMAGES[0], TEXT)


CALLS = {
    **{name: partial(lambda method, clip: method(clip, IMAGES[0], TEXT), method) for name, method in MAPS.items()},
    "m2ib of features": lambda clip: m2ib(clip, IMAGES[0], clip.encode_text(TEXT)[0] * torch.ones(1), **FEW),
    "patch_information": lambda clip: patch_information(clip, IMAGES, TEXT, 1, Bottleneck(0.1, steps=2, samples=2)),
    "m2ib_text": lambda clip: m2ib_text(clip, IMAGES[0], TEXT, **{**FEW, "layer": 0}).saliency,
    "m2ib_text of features": lambda clip: (
        m2ib_text(clip, clip.encode_image(IMAGES[0])[0] * torch.ones(1), TEXT, **{**FEW, "layer": 0}).saliency
    ),
    "randomisation": lambda clip: [*randomisation(MAPS["m2ib"], clip, IMAGES[:1], TEXT).values()],
    "deletion_insertion": lambda clip: deletion_insertion(clip, IMAGES[:1], TEXT, [np.eye(40, 50)], steps=2).deletion,
    "presence": lambda clip: calibrate_presence(clip, TEXT, "a brain", IMAGES).without,
    "segment": lambda clip: segment(clip).saliency,
    "mask": lambda clip: segment(clip).mask,
    "encode_image": lambda clip: clip.encode_image(IMAGES),
    "encode_text": lambda clip: clip.encode_text([TEXT, "brain"]),
    "similarity": lambda clip: clip.similarity(IMAGES, TEXT),
}


@contextmanager
def default_dtype(dtype):
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


CONTEXTS = {
    "no_grad": torch.no_grad,
    "inference_mode": torch.inference_mode,
    "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
    "float64": lambda: default_dtype(torch.float64),
    "float16": lambda: default_dtype(torch.float16),
    "device": lambda: torch.device("meta"),
}


def settings_of_torch():
    """What a caller may have switched on."""
    return (
        torch.is_grad_enabled(), torch.is_inference_mode_enabled(), torch.is_autocast_cpu_enabled(),
        torch.get_default_dtype(), torch.empty(0).device,
    )  # fmt: skip


@pytest.fixture(scope="module")
def tiny():
    return load_clip("tiny")


@pytest.fixture(scope="module")
def expected(tiny):
    return {name: as_array(call(tiny)) for name, call in CALLS.items()}


def as_array(found):
    return np.asarray(found)


# Torch's modes and defaults


# The caller's own features would be on the caller's default device, where no model is.
PAIRS = [(name, context) for name in CALLS for context in CONTEXTS if (context, name[-8:]) != ("device", "features")]


@pytest.mark.parametrize(("name", "context"), PAIRS)
def test_the_callers_context_changes_no_answer_and_is_afterwards_as_before(tiny, expected, name, context):
    with CONTEXTS[context]():
        before = settings_of_torch()
        found = CALLS[name](tiny)
        assert settings_of_torch() == before
    found = as_array(found)
    assert found.dtype == expected[name].dtype
    np.testing.assert_allclose(found, expected[name], rtol=0, atol=1e-5 if context == "device" else 0)


@pytest.mark.parametrize("make", [open_clip_vit, biomedclip_like])
def test_other_towers_are_as_free_of_the_context(make):
    clip = make()
    wanted = grad_cam(clip, IMAGES[0], TEXT), m2ib(clip, IMAGES[0], TEXT, **FEW)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        found = grad_cam(clip, IMAGES[0], TEXT), m2ib(clip, IMAGES[0], TEXT, **FEW)
    assert all(np.array_equal(*pair) for pair in zip(found, wanted, strict=True))


@pytest.mark.parametrize("context", CONTEXTS)
def test_models_that_are_loaded_inside_a_context_are_the_same(tiny, expected, context):
    with CONTEXTS[context]():
        clip, sam = load_clip("tiny"), load_sam("tiny")
    weights = [*clip.model.parameters(), *sam.model.parameters()]
    assert {(weight.dtype, weight.device.type) for weight in weights} == {(torch.float32, "cpu")}
    assert np.array_equal(CALLS["m2ib"](clip), expected["m2ib"])


def test_an_error_leaves_the_callers_context_too(tiny):
    with torch.inference_mode(), default_dtype(torch.float64):
        before = settings_of_torch()
        with pytest.raises(ModelError):
            m2ib(tiny, np.zeros((3, 3)), TEXT, **FEW)
        assert settings_of_torch() == before


def test_a_model_that_was_made_in_inference_mode_is_refused_with_a_remedy():
    with torch.inference_mode():
        tokenizer = WordTokenizer(("brain",), CONTEXT_LENGTH)
        clip = Clip("x", build_tiny_clip(tokenizer.vocabulary_size), tokenizer, IMAGE_SIZE, MEAN, STD)
    with pytest.raises(ModelError, match=r"made inside torch.inference_mode\(\).*load it with load_clip"):
        m2ib(clip, IMAGES[0], "brain", **FEW)


def test_features_with_a_graph_get_no_gradient(tiny):
    features = tiny.encode_text(TEXT)[0].requires_grad_()
    grad_cam(tiny, IMAGES[0], features)
    assert features.grad is None


def test_the_default_type_comes_back_when_the_last_thread_leaves():
    inside, leave = threading.Event(), threading.Event()

    def stay():
        with own_context():
            inside.set()
            leave.wait(10)

    with default_dtype(torch.float64):
        other = threading.Thread(target=stay)
        other.start()
        inside.wait(10)
        with own_context():
            assert torch.get_default_dtype() == torch.float32
        assert torch.get_default_dtype() == torch.float32
        leave.set()
        other.join()
        assert torch.get_default_dtype() == torch.float64


# Threads


def together(*works):
    """Run functions in threads of their own and raise what they raise."""
    errors = []

    def guarded(work):
        try:
            work()
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    if errors:
        raise errors[0]


@pytest.mark.parametrize("fails", [None, "first", "second"])
def test_a_model_that_two_threads_use_is_afterwards_as_it_was(fails):
    """The first begins, the second begins, the first ends or fails, the second does."""
    clip = open_clip_vit()
    clip.model.train()
    clip.model.visual.conv1.weight.requires_grad_(False)
    before = [(p.requires_grad, p.grad) for p in clip.model.parameters()]
    entered, joined, left = threading.Event(), threading.Event(), threading.Event()

    def first():
        try:
            with untouched(clip.model):
                entered.set()
                joined.wait(10)
                if fails == "first":
                    raise ValueError("first")
        finally:
            left.set()

    def second():
        entered.wait(10)
        with untouched(clip.model):
            joined.set()
            left.wait(10)
            assert not clip.model.training and not any(p.requires_grad for p in clip.model.parameters())
            if fails == "second":
                raise ValueError("second")

    if fails:
        with pytest.raises(ValueError, match=fails):
            together(first, second)
    else:
        together(first, second)
    assert [(p.requires_grad, p.grad) for p in clip.model.parameters()] == before
    assert all(module.training for module in clip.model.modules())


@pytest.mark.parametrize(
    ("name", "tower", "passes"),
    [("m2ib", "image", 1), ("grad_cam", "image", 1), ("gscore_cam", "image", 2), ("m2ib_text", "text", 2)],
)
def test_a_thread_amid_a_method_does_not_disturb_another(tiny, expected, name, tower, passes):
    """The first thread stops inside a forward pass, with all of its hooks in place, while the second computes."""
    stopped, go_on = threading.Event(), threading.Event()
    first_thread, passed = [], []

    def stop(*_):
        if threading.get_ident() in first_thread:
            passed.append(1)
            if len(passed) == passes:
                stopped.set()
                go_on.wait(30)

    blocks = {"image": tiny.image_tower.blocks, "text": tiny.model.text.transformer.resblocks}[tower]
    hook = blocks[-1].register_forward_hook(stop)
    found = {}

    def first():
        first_thread.append(threading.get_ident())
        found["first"] = CALLS[name](tiny)

    def second():
        stopped.wait(30)
        try:
            found.update({other: CALLS[other](tiny) for other in ("m2ib", "grad_cam", "m2ib_text", "encode_text")})
        finally:
            go_on.set()

    try:
        together(first, second)
    finally:
        hook.remove()
    assert len(passed) >= passes and np.array_equal(found.pop("first"), expected[name])
    for other, answer in found.items():  # embeddings may be rounded otherwise while the weights want no gradients
        np.testing.assert_allclose(answer, expected[other], rtol=0, atol=1e-6 if other == "encode_text" else 0)


# Processes


def test_a_clip_and_a_method_travel(tiny, expected):
    method = SETTINGS["tiny"]["brain_mri"].saliency.method
    for travel in (lambda thing: pickle.loads(pickle.dumps(thing)), copy.deepcopy):
        clip = travel(tiny)
        assert np.array_equal(CALLS["m2ib"](clip), expected["m2ib"]) and clip.unknown_words("brian tumors")
        travelled = travel(moved_views(partial(m2ib, **FEW)))
        assert np.array_equal(travelled(clip, IMAGES[0], TEXT), expected["moved views"])
        assert travel(method).args[0].keywords == method.args[0].keywords
