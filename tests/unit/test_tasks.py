import copy
import pickle
from dataclasses import replace

import pytest

from medclipsam_utils.tasks import PROMPT_KINDS, TASKS, Task, get_task, is_known


def test_the_papers_four_tasks_in_its_order():
    assert list(TASKS) == ["breast_ultrasound", "brain_mri", "lung_xray", "lung_ct"]
    assert [task.n_structures for task in TASKS.values()] == [1, 1, 2, 2]


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


def test_a_task_of_your_own_needs_little():
    polyp = Task("polyp", "colonoscopy", "colon polyp", {"P0": "colon polyp", "P2": ["a polyp", "a raised polyp"]})
    assert polyp.prompts == {"P0": ("colon polyp",), "P2": ("a polyp", "a raised polyp")}
    assert (polyp.n_structures, polyp.absent_prompt, polyp.calibration) == (1, "", None)
    assert pickle.loads(pickle.dumps(polyp)) == copy.deepcopy(polyp) == polyp and {polyp: 1}[replace(polyp)] == 1
    assert get_task(polyp) is polyp and not is_known(polyp) and is_known(TASKS["lung_ct"])
    assert not is_known(replace(TASKS["lung_ct"], target="lobes"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": ""}, "the name of a task is ''"),
        ({"target": None}, "the target of a task is None"),
        ({"prompts": {}}, "the task 'polyp' has no prompts"),
        ({"prompts": "colon polyp"}, "the prompts of the task 'polyp' are 'colon polyp': give them by kind"),
        ({"prompts": {"P0": " "}}, "P0 of the task 'polyp' is ' '"),
        ({"prompts": {"P0": ()}}, r"P0 of the task 'polyp' is \(\)"),
        ({"prompts": {"P0": ["a polyp", 3]}}, "P0 of the task 'polyp' is "),
        ({"n_structures": 0}, "n_structures is 0: give a whole number, 1 or more"),
        ({"n_structures": 1.5}, "n_structures is 1.5"),
        ({"n_structures": True}, "n_structures is True"),
    ],
)
def test_what_is_wrong_with_a_task_is_said(change, message):
    with pytest.raises(ValueError, match=message):
        Task(**{"name": "polyp", "modality": "colonoscopy", "target": "polyp", "prompts": {"P0": "polyp"}, **change})
