"""Which target do some words name? Decided by what a radiologist would have meant, before the words were tried."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from medclipsam_utils.pipeline.naming import named_tasks
from medclipsam_utils.simulate import FINDINGS, simulate
from medclipsam_utils.simulate.captions import write_caption
from medclipsam_utils.tasks import TASKS, Task

BREAST, BRAIN, XRAY, CT = TASKS


def names(text, own=()):
    return [task.name for task in named_tasks(text, own)]


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
def test_every_sentence_of_a_task_names_its_target(task):
    for sentences in task.prompts.values():
        assert all(task.name in names(sentence) for sentence in sentences)
        assert task.name in names(sentences)
    assert names(task.absent_prompt) == []


OTHER_WORDS = {
    (BREAST,): """
        Breast Tumors|a mass in the breast|fibroadenoma|invasive ductal carcinoma|a lump in the left breast
        please outline the tumor in this breast scan|breast ultrasound: focal lesion|mammary neoplasm
        the patient's breast cancer|an irregular dark mass within the breast tissue|ultrasound showing a lesion
        """,
    (BRAIN,): """
        brain tumor|intracranial mass|glioblastoma|a lesion of the left hemisphere|brain metastases|pituitary adenoma
        segment the tumour in this head MRI|a mass inside the skull|an enhancing brain mass|low-grade glioma
        T1-weighted MRI with a meningioma|MRI with a mass
        """,
    (XRAY, CT): """
        lungs|both lungs|lung fields|the patient's lungs|pulmonary parenchyma|left lung and right lung
        lungs beside the heart|lungs with pneumonia|outline of the lungs|kindly trace the lungs
        """,
    (XRAY,): "lungs in an X-ray|chest x ray of the lungs|the lungs on this chest radiograph|CXR lungs",
    (CT,): "lungs in a CT slice|computed tomography of both lungs",
    (BREAST, BRAIN): "tumour|a mass|the suspicious lesion|a large irregular tumor",
    (): """
        liver|kidneys|heart|ribs|skull|brain|breast|chest|spine|colon polyp|liver tumour|tumour in the abdomen
        lung nodule|tumour in the lung|nodule in the lung|mass in the lungs|pleural effusion|heart and lungs
        apex of the lung|ribs over the lungs|opacity in the lungs|renal mass|thyroid nodule|gastric tumour
        oedema around the brain tumour|normal brain|normal breast tissue|ventricles of the brain
        a photograph of a dog|brain tumour and liver|lungs and liver|xyzzy|Hirntumor|tumour of the duodenum
        """,
}
PAIRS = [
    (list(expected), text.strip())
    for expected, lines in OTHER_WORDS.items()
    for line in lines.strip().splitlines()
    for text in line.split("|")
]


@pytest.mark.parametrize(("expected", "text"), PAIRS)
def test_other_words(expected, text):
    assert names(text) == expected


class TestPhrases:
    """Phrases that were collected from people's manner of asking, without knowledge of the rules."""

    PHRASES = json.loads((Path(__file__).parent / "phrases.json").read_text(encoding="utf-8"))
    MISSED = (
        "organs of breathing", "intra-axial neoplasm", "pulmones in English: the lungs",
        "the organs we use to breathe, in chest film", "intra-axial mass lesion with mass effect",
        "the two dark, air-filled organs in the chest", "the organs we breathe with",
        "right and left pulmonary lobes together, i.e. the whole lungs",
    )  # fmt: skip

    @pytest.mark.parametrize("target", ["breast tumour", "brain tumour", "lungs"])
    def test_of_a_known_target(self, target):
        expected = {task.name for task in TASKS.values() if task.target == target}
        missed = [text for text in self.PHRASES[target] if not names(text) or not set(names(text)) <= expected]
        assert len(self.PHRASES[target]) > 130 and set(missed) <= set(self.MISSED)

    def test_of_anything_else(self):
        assert len(self.PHRASES["other"]) > 300
        assert [text for text in self.PHRASES["other"] if names(text)] == []


def test_what_is_denied_is_not_named():
    for text in ("no tumour", "brain without a tumour", "a chest X-ray without lungs", "absence of a breast mass"):
        assert names(text) == [], text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A tumour in the brain. The image is of good quality. No earlier examination is at hand.", ["brain_mri"]),
        ("An axial chest CT. It shows the lungs. There is no earlier one.", ["lung_ct"]),
        ("A brain tumour was suspected. There is no tumour.", []),
        ("brain tumour\nno earlier examination", ["brain_mri"]),
        ("Enlarged heart. The lungs are clear.", []),
        ("MRI of the brain. There is no tumour.", []),
        ("The lungs. No nodule in the lungs. An X-ray of the chest.", []),
    ],
)
def test_last_sentences_may_be_about_something_else(text, expected):
    assert [task.name for task in named_tasks(text)] == expected


@pytest.mark.parametrize("task", [BREAST, BRAIN])
def test_captions_of_a_tumour_name_it(task):
    """Whatever they say of its place, such as "near the skin"."""
    rng = np.random.default_rng(0)
    for seed in range(16):
        sample = simulate(task, seed, size=32, finding=FINDINGS[task][seed % (len(FINDINGS[task]) - 1)])
        text = write_caption(task, sample.finding, sample.attributes, rng, "P3")
        assert TASKS[task] in named_tasks(text), text


def test_they_may_be_so_for_a_target_of_your_own_too():
    polyp = Task("polyp", "colonoscopy", "polyp", {"P0": "a polyp"})
    for text, named in (
        ("A polyp in the bowel. No earlier examination.", True),
        ("A polyp was suspected. There is no polyp.", False),
        ("The bowel. No polyp.", False),
    ):
        assert (polyp in named_tasks(text, [polyp])) is named, text


def test_all_sentences_have_to_name_it():
    assert names(["brain tumour", "a brain MRI showing a glioma"]) == [BRAIN]
    assert names(["tumour", "breast mass"]) == [BREAST]
    assert names(["brain tumour", "lungs"]) == names([]) == []


def test_targets_of_your_own_come_first():
    polyp = Task("polyp", "colonoscopy", "colon polyp", {"P0": "colon polyp", "P1": "a raised lesion of the mucosa"})
    lobes = Task("lobes", "CT", "lobes of the lungs", {"P0": "lobes"})
    own = [polyp, lobes]
    assert names("a polyp in the colon", own) == names("Colon polyps", own) == ["polyp"]
    assert names("a raised lesion of the mucosa", own) == ["polyp"]
    assert names("lungs and their lobes", own) == names("lobes", own) == ["lobes"]
    assert names("no colon polyp", own) == names("polyp", own) == []
    assert names("lungs", own) == [XRAY, CT] and names("brain tumour", own) == [BRAIN]
    vague = Task("vague", "", "this one", {"P0": "this one"})  # a target of small words alone is in no other text
    assert names("lungs", [vague]) == [XRAY, CT] and names("this one", [vague]) == ["vague"]
