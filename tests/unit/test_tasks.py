import copy
import pickle
from dataclasses import replace

import pytest

from medclipsam_utils.tasks import PROMPT_KINDS, TASKS, get_task


def test_the_papers_four_tasks_in_its_order():
    assert list(TASKS) == ["breast_ultrasound", "brain_mri", "lung_xray", "lung_ct"]
    assert [task.n_structures for task in TASKS.values()] == [1, 1, 2, 2]
    assert [task.visual_prompt for task in TASKS.values()] == ["box", "box", "point", "box"]
    assert [task.best_prompt for task in TASKS.values()] == ["P3", "P3", "P0", "P2"]


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
def test_prompts_grow_more_descriptive(task):
    assert tuple(task.prompts) == PROMPT_KINDS
    words = [min(len(sentence.split()) for sentence in task.prompts[kind]) for kind in ("P0", "P1", "P2")]
    assert words == sorted(words) and words[0] < words[2]
    everything = [sentence for kind in PROMPT_KINDS for sentence in task.prompts[kind]]
    assert len(set(everything)) == len(everything)


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
def test_class_specific_prompts_name_their_class(task):
    assert sorted(s for sentences in task.class_prompts.values() for s in sentences) == sorted(task.prompts["P3"])
    for name, sentences in task.class_prompts.items():
        if task.n_structures == 1:
            assert all(name in sentence for sentence in sentences)


def test_tasks_cannot_be_changed_by_accident():
    with pytest.raises(TypeError):
        TASKS["fifth"] = TASKS["lung_ct"]
    with pytest.raises(TypeError):
        TASKS["lung_ct"].prompts["P0"] = ("heart",)


def test_get_task_by_name_and_by_itself():
    assert get_task("lung_ct") is TASKS["lung_ct"]
    assert get_task(TASKS["lung_ct"]) is TASKS["lung_ct"]
    with pytest.raises(ValueError, match=r"unknown task 'liver'.*breast_ultrasound, brain_mri, lung_xray, lung_ct"):
        get_task("liver")


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
def test_a_task_is_copied_pickled_and_a_key(task):
    for other in (copy.copy(task), copy.deepcopy(task), pickle.loads(pickle.dumps(task)), replace(task)):
        assert other == task and hash(other) == hash(task) and {task: 1}[other] == 1
        with pytest.raises(TypeError):
            other.prompts["P0"] = ("heart",)
    assert len({*TASKS.values(), replace(task, name="polyp")}) == 5


def test_a_task_keeps_prompts_of_its_own():
    prompts = dict.fromkeys(PROMPT_KINDS, ("polyp",))
    task = replace(TASKS["lung_ct"], name="polyp", prompts=prompts)
    prompts["P0"] = ("heart",)
    assert task.prompts["P0"] == ("polyp",)
