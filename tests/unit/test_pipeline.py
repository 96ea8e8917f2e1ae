"""Image and sentence in, mask out: that the stages are put together as the settings say, and what bad input gives."""

from __future__ import annotations

import dataclasses
import inspect
import warnings

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from segment_anything import SamPredictor
from segment_anything.build_sam import _build_sam

from medclipsam_utils.metrics import dice
from medclipsam_utils.models import ModelError, UnknownWordWarning, load_clip, load_sam, save_clip
from medclipsam_utils.pipeline import Segmenter, UnknownTargetWarning, segment
from medclipsam_utils.pipeline.question import Questions
from medclipsam_utils.postprocess import binarize, component_at, dense_crf, largest_components
from medclipsam_utils.saliency import gscore_cam, mean_features
from medclipsam_utils.settings import ANY, CHANNELS, M2IB, PAPERS_WAY, SETTINGS, Settings, first_version, saliency_for
from medclipsam_utils.simulate import FINDINGS, simulate
from medclipsam_utils.tasks import TASKS, Task
from medclipsam_utils.visual_prompts import boxes_from_mask, predict_mask, predict_zoomed

CHEAP = Settings(M2IB(layer=5, beta=0.1, samples=1, standardize=True), ("P0",))


@pytest.fixture(scope="module")
def segmenter():
    return Segmenter(load_clip("tiny"), load_sam("tiny"))


@pytest.fixture(scope="module")
def by_paper(segmenter):
    return Segmenter(segmenter.clip, segmenter.sam, PAPERS_WAY["tiny"])


@pytest.fixture(scope="module")
def sample():
    return simulate("brain_mri", 31, finding="meningioma")


def test_is_the_stages_one_after_the_other(segmenter, sample):
    found = segmenter.segment(sample.image, task="brain_mri")
    config = SETTINGS["tiny"]["brain_mri"]
    (saliency,) = saliency_for(segmenter.clip, sample.image, "brain_mri")
    high = saliency >= config.threshold
    coarse = component_at(high, *np.unravel_index(saliency.argmax(), high.shape))
    boxes = boxes_from_mask(coarse)
    mask = predict_zoomed(segmenter.sam, sample.image, boxes)
    for one, other in ((found.saliency, saliency), (found.coarse, coarse), (found.boxes, boxes), (found.mask, mask)):
        assert np.array_equal(one, other)
    assert found.task == "brain_mri" and found.text == "brain tumour" and found.points == ()
    assert dice(found.mask, sample.mask) > 0.5


def test_the_papers_way_is_m2ib_kmeans_and_sam(by_paper, sample):
    found = by_paper.segment(sample.image, task="brain_mri")
    config = PAPERS_WAY["tiny"]["brain_mri"]
    (saliency,) = saliency_for(by_paper.clip, sample.image, "brain_mri", table=PAPERS_WAY)
    high = binarize(saliency, clusters=config.clusters)
    coarse = component_at(high, *np.unravel_index(saliency.argmax(), high.shape))
    by_paper.sam.set_image(sample.image)
    mask = predict_mask(by_paper.sam, boxes_from_mask(coarse, margin=config.margin))
    assert isinstance(config.saliency, M2IB)
    for one, other in ((found.saliency, saliency), (found.coarse, coarse), (found.mask, mask)):
        assert np.array_equal(one, other)


@pytest.mark.parametrize("text", [None, "lungs", ("lungs", "chest CT of the lungs")])
def test_a_task_is_as_good_as_its_name(segmenter, text):
    images, task = [simulate("lung_ct", seed, size=96).image for seed in (1, 2)], TASKS["lung_ct"]
    by_name = segmenter.segment_batch(images, text, task="lung_ct")
    ways = {
        "batch": segmenter.segment_batch(images, text, task=task),
        "each": list(segmenter.segment_each(images, text, task=task)),
        "one": [segmenter.segment(image, text, task=task) for image in images],
    }
    for way, answers in ways.items():
        for one, other in zip(answers, by_name, strict=True):
            assert np.array_equal(one.mask, other.mask) and one.task == other.task == "lung_ct", way
            assert one.p_value == other.p_value and one.text == other.text, way


MASS = Task(
    "mass", "brain MRI", "mass in the brain", {"P0": "a mass in the brain"}, settings={"visual_prompt": "point"}
)


def test_a_target_of_your_own(segmenter, sample):
    """It has the settings of no other target, and its own on top; a text can name it; presence is unknown."""
    answer = segmenter.segment(sample.image, task=MASS)
    assert (answer.task, answer.text, answer.present) == ("mass", "a mass in the brain", None)
    assert "was not calibrated" in answer.presence.reason and "as mass" in repr(answer)
    assert len(answer.points) == 1 and len(answer.boxes) == 0
    (saliency,) = SETTINGS["tiny"][ANY].saliency.method(segmenter.clip, [sample.image], "a mass in the brain")
    assert np.allclose(answer.saliency, saliency, atol=1e-4) and dice(answer.mask, sample.mask) > 0.3
    own = Segmenter(segmenter.clip, segmenter.sam, {"mass": CHEAP, ANY: CHEAP}, tasks=[MASS])
    assert own.segment(sample.image, "the mass in this brain").task == "mass"
    assert own.segment(sample.image, "brain tumour").task == "brain_mri"
    cheap = own.segment(sample.image, task=MASS)
    assert len(cheap.points) == 1 and not np.array_equal(cheap.saliency, answer.saliency)
    with pytest.raises(
        ValueError, match="settings of the task 'mass': there is no setting 'layers': choose from against_absent, alpha"
    ):
        segmenter.segment(sample.image, task=dataclasses.replace(MASS, settings={"layers": 3}))


def test_a_text_that_names_no_known_target_says_so(segmenter):
    image = simulate("lung_ct", 7).image
    for text in ("liver", "heart", "kidneys", "lung nodule", "no tumour"):
        with pytest.warns(UnknownTargetWarning, match=f"'{text}' is no target that the small CLIP was trained to find"):
            answer = segmenter.segment(image, text)
        assert answer.task is None and answer.present is None and answer.p_value is None
        assert repr(answer).startswith(f"Segmentation('{text}', no known target: ")
        assert "the words name no known target" in repr(answer)
    (saliency,) = SETTINGS["tiny"][ANY].saliency.method(segmenter.clip, [image], "heart")
    with pytest.warns(UnknownTargetWarning):
        assert np.array_equal(segmenter.segment(image, "heart").saliency, saliency)
        answer = segmenter.segment(image, "heart", task="lung_ct")  # the lungs' settings, but not their presence
    assert answer.task == "lung_ct" and answer.presence.reason == "the words do not name lungs"


@pytest.mark.parametrize("task", TASKS)
def test_the_task_follows_from_text_and_image(segmenter, task):
    for finding in (FINDINGS[task][0], FINDINGS[task][-1]):
        image = simulate(task, 33, finding=finding).image
        found = segmenter.segment(image, TASKS[task].prompts["P0"][0])
        assert found.task == task == segmenter.segment(image, TASKS[task].prompts["P1"][0]).task
        assert found.present == (found.p_value <= 0.05)
        assert found.mask.shape == image.shape[:2] and found.mask.dtype == bool


def test_a_target_in_words_that_the_model_does_not_know(segmenter, sample):
    expected = segmenter.segment(sample.image, "brain tumour")
    with pytest.warns(
        UnknownWordWarning, match="tiny knows no word of 'glioblastoma', and is asked for 'brain tumour'"
    ):
        answer = segmenter.segment(sample.image, "glioblastoma")
    assert np.array_equal(answer.mask, expected.mask) and answer.text == "glioblastoma" and answer.present


def test_two_lungs_are_the_largest_components_and_have_a_box_each(segmenter):
    sample = simulate("lung_ct", 35, finding="clear")
    found = segmenter.segment(sample.image, "lungs")
    high = found.saliency >= SETTINGS["tiny"]["lung_ct"].threshold
    assert np.array_equal(found.coarse, largest_components(high, 2, 0.1))
    assert 1 <= len(found.boxes) <= 2 and dice(found.mask, sample.mask) > 0.8


def test_every_setting_acts(sample):
    clip, sam = load_clip("tiny"), load_sam("tiny")

    def segment(**changes):
        return Segmenter(clip, sam, dataclasses.replace(CHEAP, **changes)).segment(sample.image, task="brain_mri")

    plain = segment()
    changes = {
        "saliency": M2IB(layer=5, beta=0.1, samples=1), "prompts": ("P2",), "against_absent": True, "n_structures": 2,
        "binarize": "otsu", "clusters": 4,
        "visual_prompt": "point", "margin": 0.3, "vote": "average", "zoom": True,
    }  # fmt: skip
    for name, value in changes.items():
        other = segment(**{name: value})
        keys = ("saliency", "coarse", "boxes", "mask")
        same = [np.array_equal(getattr(plain, key), getattr(other, key)) for key in keys]
        assert not all(same), name
    assert len(segment(visual_prompt="both").points) == len(segment(visual_prompt="both").boxes) == 1
    by_points = segment(visual_prompt="point", n_points=3)
    assert len(by_points.boxes) == 0 and len(by_points.points[0].xy) == 3
    with pytest.raises(ValueError, match=r"alpha is 0\.001 with 100 images without the target"):
        segment(alpha=0.001)
    cut = [segment(binarize="threshold", threshold=value).coarse.sum() for value in (0.3, 0.9)]
    assert cut[0] > cut[1] > 0
    many = segment(n_structures=9, min_component_fraction=0.0)
    assert many.coarse.sum() >= segment(n_structures=9, min_component_fraction=0.9).coarse.sum()
    untested = {field.name for field in dataclasses.fields(Settings)} - set(changes)
    assert untested == {"threshold", "min_component_fraction", "n_points", "alpha", "empty_if_absent", "text_weight"}


class TestTextBesidePrompts:
    """What is asked when a text and the prompts of its task are asked together."""

    @pytest.fixture(scope="class")
    def clip(self):
        return load_clip("tiny")

    def asked(self, clip, text, task=None, weight=0.35):
        settings = dataclasses.replace(SETTINGS["tiny"]["brain_mri"], text_weight=weight)
        image = simulate("brain_mri", 31, finding="glioma").image
        (question,) = Questions(clip, settings).ask([image], text, task)
        return question.features

    @pytest.mark.parametrize(
        ("text", "task"),
        [
            ("a large bright glioma in the left frontal lobe of the brain", None),
            ("MRI of the brain. It shows a tumour. The image is of good quality. No earlier examination.", None),
            ("a bright round thing", "brain_mri"),  # it does not name the target, but the task does
        ],
    )
    @pytest.mark.filterwarnings("ignore::medclipsam_utils.models.UnknownWordWarning")
    def test_it_lies_between_the_two(self, clip, text, task):
        own, prompts = self.asked(clip, text, task, weight=1.0), self.asked(clip, None, "brain_mri")
        found = self.asked(clip, text, task)
        expected = 0.35 * own + 0.65 * prompts
        assert torch.allclose(found, expected / expected.norm(), atol=1e-6)
        assert own @ prompts < found @ prompts < 1

    @pytest.mark.parametrize(
        ("text", "task"), [("a brain without a tumour", "brain_mri"), ("lungs", "brain_mri"), ("the skull", None)]
    )
    @pytest.mark.filterwarnings("ignore")
    def test_a_text_that_denies_the_target_or_is_about_another_is_asked_alone(self, clip, text, task):
        assert torch.equal(self.asked(clip, text, task), self.asked(clip, text, task, weight=1.0))

    def test_a_weight_out_of_range_is_refused(self):
        for weight in (0, 1.1, float("nan")):
            with pytest.raises(ValueError, match=f"text_weight is {weight}: give a number above 0, at most 1"):
                dataclasses.replace(CHEAP, text_weight=weight)


def test_alpha_is_the_border_of_what_is_reported():
    clip, sam, image = load_clip("tiny"), load_sam("tiny"), simulate("brain_mri", 31, finding="normal").image
    p_value = Segmenter(clip, sam, CHEAP).segment(image, task="brain_mri").p_value
    assert p_value > 0.02
    for alpha, present in ((p_value, True), (p_value - 0.005, False)):
        found = Segmenter(clip, sam, dataclasses.replace(CHEAP, alpha=alpha)).segment(image, task="brain_mri")
        assert found.present is present


def test_prompts_are_encoded_once(segmenter, sample, monkeypatch):
    segmenter.segment(sample.image, "brain tumour")
    asked = []
    encode = segmenter.clip.encode_text
    monkeypatch.setattr(segmenter.clip, "encode_text", lambda texts: asked.append(texts) or encode(texts))
    segmenter.segment(sample.image, "brain tumour")
    assert asked == []


def test_several_images_are_answered_as_each_alone(segmenter):
    images = [simulate(task, 37).image for task in TASKS] + [simulate("brain_mri", 38, size=160).image]
    together = segmenter.segment_batch(images, "tumour")
    assert segmenter.segment_batch([], "tumour") == []
    for image, found in zip(images, together, strict=True):
        alone = segmenter.segment(image, "tumour")
        assert found.task == alone.task and found.p_value == alone.p_value
        assert np.allclose(found.saliency, alone.saliency, atol=1e-3)
        assert dice(found.mask, alone.mask) > 0.99
    assert len({found.task for found in together}) > 1


def test_several_targets_share_one_embedding_of_the_image(by_paper, sample, monkeypatch):
    segmenter = by_paper
    texts = ["brain tumour", "lung", ["brain tumour", "a brain MRI showing a glioma"]]
    expected = [segmenter.segment(sample.image, text) for text in texts]
    embedded = []
    for part, method in ((segmenter.sam, "set_image"), (segmenter.clip, "encode_image")):
        own = getattr(part, method)
        monkeypatch.setattr(part, method, lambda images, own=own, method=method: embedded.append(method) or own(images))
    segmenter.sam.reset_image()
    found = segmenter.segment_targets(sample.image, texts)
    assert sorted(embedded) == ["encode_image", "set_image"]
    for one, other in zip(found, expected, strict=True):
        assert (one.text, one.task) == (other.text, other.task) and dice(one.mask, other.mask) > 0.99
    assert segmenter.segment_targets(sample.image, []) == []
    with pytest.raises(ValueError, match="texts is 'lungs': give a list"):
        segmenter.segment_targets(sample.image, "lungs")


def test_an_image_stays_embedded_until_sam_sees_another(by_paper, sample, monkeypatch):
    segmenter = by_paper
    expected = segmenter.segment(sample.image, "brain tumour").mask
    own, embedded = segmenter.sam.set_image, []
    monkeypatch.setattr(segmenter.sam, "set_image", lambda image: embedded.append(1) or own(image))
    segmenter.segment(sample.image, "a brain tumour")
    assert not embedded
    own(np.zeros_like(sample.image))  # as somebody else may do who has the same predictor
    assert np.array_equal(segmenter.segment(sample.image, "brain tumour").mask, expected) and embedded == [1]
    changed = sample.image.copy()
    changed[:9] = 0
    segmenter.segment(changed, "brain tumour")
    assert embedded == [1, 1]


def test_the_sentences_of_an_ensemble_are_averaged(segmenter, sample):
    sentences = list(TASKS["brain_mri"].prompts["P3"])
    found = segmenter.segment(sample.image, sentences, task="brain_mri")
    settings, clip = SETTINGS["tiny"]["brain_mri"], segmenter.clip
    prompts = settings.text_features(clip, TASKS["brain_mri"])
    asked = settings.text_weight * mean_features(clip, sentences) + (1 - settings.text_weight) * prompts
    expected = settings.saliency.method(clip, [sample.image], asked)[0]
    assert np.allclose(found.saliency, expected, atol=1e-4) and found.text == " | ".join(sentences)
    with pytest.raises(ValueError, match="the text is an empty list"):
        segmenter.segment(sample.image, [])
    with pytest.warns(UnknownWordWarning), pytest.raises(ModelError, match="it knows no word of 'les poumons'"):
        segmenter.segment(sample.image, ["lungs", "les poumons"])


def test_the_first_version_is_a_preset(segmenter, sample):
    settings = first_version(SETTINGS["tiny"]["brain_mri"], channels=13)
    found = Segmenter(segmenter.clip, segmenter.sam, settings).segment(sample.image, task="brain_mri")
    asked = settings.text_features(segmenter.clip, TASKS["brain_mri"])
    (saliency,) = gscore_cam(segmenter.clip, [sample.image], asked, channels=13)
    assert np.allclose(found.saliency, saliency)
    high = dense_crf(saliency, sample.image) > 0.5
    assert np.array_equal(found.coarse, component_at(high, *np.unravel_index(saliency.argmax(), high.shape)))
    assert dice(found.mask, sample.mask) > 0.3
    assert CHANNELS == {"tiny": 13, "tiny-base": 13, "biomedclip": 300}


def test_the_settings_of_the_paper():
    """Box for breast, brain and CT, ten points for X-ray; P3 for the tumours, P0 and P2 for the lungs; layer 9."""
    rows = [SETTINGS["biomedclip"][task] for task in TASKS]
    assert [row.visual_prompt for row in rows] == ["box", "box", "point", "box"]
    assert [row.prompts for row in rows] == [("P3",), ("P3",), ("P0",), ("P2",)]
    assert [task.n_structures for task in TASKS.values()] == [1, 1, 2, 2]
    assert {(r.saliency.layer, r.n_points, r.clusters, r.binarize) for r in rows} == {(9, 10, 2, "kmeans")}
    assert all(set(table) == {*TASKS, ANY} for table in SETTINGS.values())


def test_an_absent_target_may_give_an_empty_mask(segmenter, sample):
    careful = {task: dataclasses.replace(config, empty_if_absent=True) for task, config in SETTINGS["tiny"].items()}
    strict = Segmenter(segmenter.clip, segmenter.sam, careful)
    normal = simulate("brain_mri", 31, finding="normal").image
    assert segmenter.segment(normal, "brain tumour").mask.any()
    found = strict.segment(normal, "brain tumour")
    assert found.present is False and not found.mask.any() and found.coarse.any()
    assert strict.segment(sample.image, "brain tumour").mask.any()


def test_a_constant_map_gives_an_empty_mask_and_no_prompt(segmenter, sample, monkeypatch):
    """The released code crashes on an empty coarse mask."""
    monkeypatch.setattr(M2IB, "method", property(lambda self: lambda clip, images, text: [np.zeros((256, 256), "f4")]))
    for visual_prompt in ("box", "point", "both"):
        config = dataclasses.replace(CHEAP, visual_prompt=visual_prompt)
        found = Segmenter(segmenter.clip, segmenter.sam, config).segment(sample.image, "brain tumour")
        assert not found.mask.any() and not found.coarse.any() and len(found.boxes) == 0 and found.points == ()
        assert isinstance(found.show(), Figure) and np.array_equal(found.overlay(), sample.image)


def test_the_overlay_is_the_image_with_an_outline(segmenter, sample):
    found = segmenter.segment(sample.image, "brain tumour")
    changed = (found.overlay() != sample.image).any(axis=2)
    assert found.overlay().dtype == np.uint8 and found.overlay().shape == sample.image.shape
    assert changed.any() and not (changed & ~found.mask).any()


def test_an_image_of_any_kind(segmenter, sample):
    expected = segmenter.segment(sample.image, "brain tumour")
    tensor = torch.from_numpy(sample.image).permute(2, 0, 1)
    assert np.array_equal(segmenter.segment(tensor, "brain tumour").mask, expected.mask)
    wide = segmenter.segment(sample.image[40:200], "brain tumour")
    assert wide.mask.shape == (160, 256)


@pytest.mark.parametrize("level", [0, 255])
def test_a_constant_image_is_answered(segmenter, level):
    found = segmenter.segment(np.full((64, 48, 3), level, np.uint8), "brain tumour")
    assert found.mask.shape == (64, 48) and np.isfinite(found.saliency).all()


def test_what_is_wrong_is_said(segmenter, sample):
    with pytest.raises(ValueError, match="give a text, for example 'brain tumour', or a task"):
        segmenter.segment(sample.image)
    with pytest.raises(ValueError, match="unknown task 'knee'"):
        segmenter.segment(sample.image, task="knee")
    with pytest.raises(ModelError, match="the text is ''"):
        segmenter.segment(sample.image, "")
    with pytest.warns(UnknownWordWarning), pytest.raises(ModelError, match="it knows no word of 'les poumons'"):
        segmenter.segment(sample.image, "les poumons")
    with pytest.raises(ValueError, match="visual_prompt is 'star': choose from box, point, both"):
        dataclasses.replace(CHEAP, visual_prompt="star")
    base = load_clip("tiny-base")
    answer = Segmenter(base, segmenter.sam, CHEAP).segment(sample.image, "brain tumour", task="brain_mri")
    assert answer.present is None and answer.p_value is None
    assert "presence unknown (tiny-base was not calibrated for it)" in repr(answer)


def test_says_and_shows_what_it_found(segmenter, sample):
    found = segmenter.segment(sample.image, "brain tumour")
    assert repr(found).startswith("Segmentation('brain tumour' as brain_mri: ") and repr(found).endswith(
        " against simulated images))"
    )
    figure = found.show(sample.mask)
    assert isinstance(figure, Figure) and [axes.get_title() for axes in figure.axes] == [
        "brain tumour", "saliency, coarse mask", "what SAM is asked", "mask"
    ]  # fmt: skip
    assert found._repr_png_().startswith(b"\x89PNG")


def test_real_architectures_go_the_same_way(sample):
    """A ViT-B/16 CLIP and the official SAM, thinner, with random weights, through the paper's settings."""
    clip, sam = load_clip("ViT-B-16/random"), SamPredictor(_build_sam(96, 2, 2, (1,)))
    few = {
        name: dataclasses.replace(row, saliency=dataclasses.replace(row.saliency, samples=1))
        for name, row in SETTINGS["biomedclip"].items()
    }
    segmenter = Segmenter(clip, sam, few)
    image = sample.image[:, 20:]
    found = segmenter.segment(image, "brain tumour")
    assert found.mask.shape == found.saliency.shape == (256, 236) and len(found.boxes) == 1
    assert found.present is None and 0 < found.coarse.mean() < 1 and found.task == "brain_mri"
    film = segmenter.segment(image, task="lung_xray")
    assert len(film.boxes) == 0 and 1 <= len(film.points) <= 2 and len(film.points[0].xy) == 10
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # such a CLIP may know any organ
        polyp = segmenter.segment(image, "colon polyp")
        own = segmenter.segment(image, task=Task("polyp", "colonoscopy", "colon polyp", {"P0": "colon polyp"}))
    assert polyp.task is None and own.task == "polyp" and np.array_equal(polyp.mask, own.mask)
    assert polyp.present is own.present is None and polyp.mask.shape == (256, 236)


def test_a_fine_tuned_clip_has_the_settings_of_its_architecture(tmp_path, sample):
    """Whatever the name of its file; but not the calibration, which holds for the weights that it was made with."""
    clip = load_clip("tiny")
    renamed = load_clip(save_clip(tmp_path / "mine", clip, {}))
    answer = Segmenter(renamed, load_sam("tiny")).segment(sample.image, "brain tumour")
    assert answer.present is True and dice(answer.mask, sample.mask) > 0.5
    with torch.no_grad():
        for parameter in clip.model.parameters():
            parameter.mul_(1 + 0.01 * torch.randn_like(parameter))
    answer = Segmenter(clip, load_sam("tiny")).segment(sample.image, "brain tumour")
    assert answer.present is None and answer.presence.reason == "tiny was not calibrated for it"


def test_the_method_is_one_page():
    """Read top to bottom on one screen, it goes through four steps in order, and nothing imports what stands on it."""
    lines = inspect.getsource(segment).splitlines()
    assert len(lines) <= 60
    steps = [line.strip()[2:4] for line in lines if line.strip().startswith(("# 1.", "# 2.", "# 3.", "# 4."))]
    assert steps == ["1.", "2.", "3.", "4."]
