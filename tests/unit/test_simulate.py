"""What all simulators promise; each one's physics has a test file of its own."""

from __future__ import annotations

import hashlib
import importlib
import os
import re
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from medclipsam_utils.simulate import _SIMULATORS, FINDINGS, simulate
from medclipsam_utils.simulate.captions import write_caption
from medclipsam_utils.simulate.fields import Streams
from medclipsam_utils.tasks import TASKS

EVERY = [(task, finding) for task, findings in FINDINGS.items() for finding in findings]


def digest(sample) -> str:
    return hashlib.sha256(sample.image.tobytes() + sample.mask.tobytes() + sample.caption.encode()).hexdigest()


@pytest.mark.parametrize("task", TASKS)
def test_shapes_and_types(task):
    for seed in range(3):
        sample = simulate(task, seed)
        assert sample.image.shape == (256, 256, 3) and sample.image.dtype == np.uint8
        assert (sample.image == sample.image[..., :1]).all()
        assert sample.mask.shape == (256, 256) and sample.mask.dtype == bool
        assert sample.structures and all(m.shape == (256, 256) and m.dtype == bool for m in sample.structures.values())
        assert sample.finding in FINDINGS[task] and sample.task == task and sample.seed == seed
        assert all(0.05 < mm < 3 for mm in sample.spacing_mm)
        assert sample.image.std() > 10


@pytest.mark.parametrize(("task", "finding"), EVERY)
def test_the_mask_is_there_exactly_when_the_target_is(task, finding):
    absent = finding == FINDINGS[task][-1]
    for seed in range(20, 25):
        mask = simulate(task, seed, finding=finding).mask
        assert mask.any() != absent
        assert ndimage.label(mask)[1] <= TASKS[task].n_structures


@pytest.mark.parametrize("task", TASKS)
def test_same_seed_same_sample_and_other_seed_other_sample(task):
    assert digest(simulate(task, 5)) == digest(simulate(task, 5))
    assert len({digest(simulate(task, seed)) for seed in range(6)}) == 6


def test_a_task_is_as_good_as_its_name():
    assert digest(simulate(TASKS["lung_ct"], 11)) == digest(simulate("lung_ct", 11))
    with pytest.raises(ValueError, match="no simulator for 'polyp'; choose from breast_ultrasound"):
        simulate(replace(TASKS["lung_ct"], name="polyp"), 11)


@pytest.mark.parametrize("task", TASKS)
def test_naming_the_drawn_finding_changes_nothing(task):
    sample = simulate(task, 11)
    assert digest(simulate(task, 11, finding=sample.finding)) == digest(sample)


def test_same_sample_on_a_processor_with_fewer_instructions():
    """Another processor is imitated: numpy without its vector extensions, another BLAS kernel, one thread."""
    program = (
        "import numpy as np, sys, pickle\n"
        "from medclipsam_utils.simulate import simulate, FINDINGS\n"
        "out = [(s.image[..., 0], s.mask, s.caption) for t in FINDINGS for s in (simulate(t, i) for i in range(4))]\n"
        "sys.stdout.buffer.write(pickle.dumps(out))\n"
    )
    removable = np.show_config(mode="dicts")["SIMD Extensions"]["found"]
    plain = {"NPY_DISABLE_CPU_FEATURES": " ".join(removable), "OPENBLAS_CORETYPE": "Nehalem", "OMP_NUM_THREADS": "1"}
    import pickle

    outputs = [
        pickle.loads(
            subprocess.run(
                [sys.executable, "-c", program], env=os.environ | extra, stdout=subprocess.PIPE, check=True
            ).stdout
        )
        for extra in ({}, plain)
    ]
    for (image, mask, caption), (other_image, other_mask, other_caption) in zip(*outputs, strict=True):
        assert caption == other_caption
        assert (mask == other_mask).all()
        assert np.abs(image.astype(int) - other_image.astype(int)).max() <= 1


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("size", [112, 512])
def test_other_sizes_show_the_same_body(task, size):
    finding = FINDINGS[task][0]
    sample, other = simulate(task, 3, finding=finding), simulate(task, 3, size=size, finding=finding)
    assert other.image.shape == (size, size, 3) and other.mask.shape == (size, size)
    assert other.caption == sample.caption
    assert other.spacing_mm == pytest.approx([mm * 256 / size for mm in sample.spacing_mm])
    area, other_area = sample.mask.mean(), other.mask.mean()
    assert other_area == pytest.approx(area, rel=0.05)
    centre, other_centre = (np.argwhere(m).mean(axis=0) / len(m) for m in (sample.mask, other.mask))
    assert np.abs(centre - other_centre).max() < 0.01


@pytest.mark.parametrize("task", TASKS)
def test_findings_come_with_their_probabilities(task, monkeypatch):
    """Each is drawn as an image only once. Four standard errors of 400 draws are at most 0.1."""
    simulator = _SIMULATORS[task]
    drawings = {
        finding: simulator.draw(finding, Streams(*map(np.random.default_rng, range(3)))) for finding in FINDINGS[task]
    }
    monkeypatch.setattr(simulator, "draw", lambda finding, streams: drawings[finding])
    drawn = Counter(simulate(task, seed).finding for seed in range(400))
    assert {finding: count / 400 for finding, count in drawn.items()} == pytest.approx(simulator.FINDINGS, abs=0.1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"task": "liver", "seed": 0}, "unknown task 'liver'"),
        ({"task": "lung_ct", "seed": -1}, "non-negative integer, got -1"),
        ({"task": "lung_ct", "seed": 0.5}, "non-negative integer, got 0.5"),
        ({"task": "lung_ct", "seed": 0, "size": 8}, "32 to 1024 pixels, got 8"),
        ({"task": "lung_ct", "seed": 0, "finding": "glioma"}, "lung_ct has no finding 'glioma'; choose from clear"),
    ],
)
def test_bad_arguments_say_what_is_wrong(arguments, message):
    with pytest.raises(ValueError, match=message):
        simulate(**arguments)


@pytest.mark.parametrize(("task", "finding"), EVERY)
def test_captions_read_like_sentences_and_keep_to_the_facts(task, finding):
    rng = np.random.default_rng(0)
    attributes = simulate(task, 1, finding=finding).attributes
    absent = finding == FINDINGS[task][-1]
    for _ in range(60):
        caption = write_caption(task, finding, attributes, rng)
        assert len(caption) >= 20
        assert not re.search(r"None|  |\{|\}| ,|\.\.|\ba [aeio]|\ban [bcdfghjklmnpqrstvw]", caption), caption
        if absent and task in ("breast_ultrasound", "brain_mri"):
            assert re.search(r"\b(normal|without)\b", caption)
        if absent and task in ("lung_xray", "lung_ct"):
            assert "chest" not in caption and re.search("abdom", caption)
        for side in {"left", "right"} - {attributes.get("side")} if attributes.get("side") in ("left", "right") else ():
            assert side not in caption.replace("the left lung and the right lung", "")


def test_captions_teach_every_word_that_the_prompts_use():
    def words(text):
        return set(re.findall(r"[\w-]+", text.lower()))

    for task in TASKS.values():
        rng, known, seed = np.random.default_rng(1), set(), 0
        asked = words(" ".join(s for sentences in task.prompts.values() for s in sentences) + " " + task.absent_prompt)
        while asked - known and seed < 80:
            sample = simulate(task, seed, size=32)
            for kind in ("P0", "P1", "P2", "P3", "P3", "P3", "P3"):
                known |= words(write_caption(task.name, sample.finding, sample.attributes, rng, kind=kind))
            seed += 1
        assert asked - known == set(), task.name


def test_an_unknown_prompt_kind_is_refused():
    with pytest.raises(ValueError, match="unknown prompt kind 'P9'"):
        write_caption("lung_ct", "clear", {}, np.random.default_rng(0), kind="P9")


def test_the_data_card_states_how_often_each_finding_is_drawn():
    card = (Path(__file__).parents[2] / "book" / "data_card.md").read_text(encoding="utf-8")
    for task in TASKS:
        (row,) = re.findall(rf"^\| `{task}` \| ([^|]+) \|", card, flags=re.M)
        shares = importlib.import_module(f"medclipsam_utils.simulate.{task}").FINDINGS
        assert row == ", ".join(f"{finding} {100 * share:.0f} %" for finding, share in shares.items())
