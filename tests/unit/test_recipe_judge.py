"""The evaluation of the small models: measures against values worked out by hand, then a small run from end to end."""

from __future__ import annotations

import itertools
import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from medclipsam_utils import TASKS
from medclipsam_utils.models import load_clip, load_sam
from medclipsam_utils.models.checkpoints import save_tiny_clip, save_tiny_sam
from medclipsam_utils.models.tiny_clip import build_tiny_clip
from medclipsam_utils.models.tiny_sam import build_tiny_sam
from medclipsam_utils.models.words import split_words
from medclipsam_utils.postprocess import coarse_mask
from medclipsam_utils.saliency import mean_features
from medclipsam_utils.saliency.maps import upsample
from medclipsam_utils.settings import M2IB, SETTINGS, Settings
from medclipsam_utils.simulate import FINDINGS
from medclipsam_utils.tasks import PROMPT_KINDS
from recipes.data.cases import Case, real_cases, rotated, simulated_cases, target_cases, with_target
from recipes.data.seeds import SEEDS
from recipes.judge import choose_saliency, report, tables
from recipes.judge import saliency as judged_saliency
from recipes.judge.clip import classify_findings, classify_tasks, presence, retrieval
from recipes.judge.saliency import CLUSTERS, MARGINS, OTHER_TASK, score_map
from recipes.judge.sam import (
    COLUMNS,
    TRUE_BOX,
    fill_boxes,
    move_sides,
    score_sam,
    segment_points,
)
from recipes.judge.tables import compare, show, show_difference, summarise, summarise_statistic, table
from recipes.judge.wordless_rule import largest_dark_spots

ROWS, COLUMNS_OF_PIXELS = np.mgrid[:64, :64]
UNKNOWN_WORDS = "ignore::medclipsam_utils.models.UnknownWordWarning"


def rectangle(top: int, left: int, bottom: int, right: int, shape: tuple[int, int] = (64, 64)) -> np.ndarray:
    mask = np.zeros(shape, dtype=bool)
    mask[top:bottom, left:right] = True
    return mask


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Paths of a small CLIP and a small SAM with random weights."""
    folder = tmp_path_factory.mktemp("models")
    sentences = [
        text for task in TASKS.values() for kind in task.prompts.values() for text in (*kind, task.absent_prompt)
    ]
    vocabulary = sorted({word for sentence in sentences for word in split_words(sentence)})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        save_tiny_clip(folder / "clip.safetensors", build_tiny_clip(len(vocabulary) + 4), vocabulary, {})
        save_tiny_sam(folder / "sam.safetensors", build_tiny_sam(), {})
    return str(folder / "clip.safetensors"), str(folder / "sam.safetensors")


class Dictionary:
    """Stands for a CLIP: every sentence that is asked for gets a direction of its own."""

    def __init__(self):
        self.directions: dict[str, int] = {}

    def encode_text(self, sentences):
        sentences = [sentences] if isinstance(sentences, str) else sentences
        rows = [self.directions.setdefault(sentence, len(self.directions)) for sentence in sentences]
        return torch.eye(200)[rows]


class TestCases:
    @pytest.mark.parametrize("task", ["brain_mri", "lung_ct"])
    def test_every_seed_with_every_finding(self, task):
        cases = simulated_cases(task, range(7, 9))
        assert list(cases) == list(FINDINGS[task])
        assert [case.name for case in cases[FINDINGS[task][0]]] == ["7", "8"]
        for finding, same in cases.items():
            for case in same:
                assert case.finding == finding and case.caption
                np.testing.assert_array_equal(np.any(case.parts, axis=0), case.mask)
                assert case.mask.any() == (finding != FINDINGS[task][-1])

    def test_each_lung_is_a_part(self):
        (case,) = simulated_cases("lung_xray", [3])["clear"]
        assert len(case.parts) == 2 and not (case.parts[0] & case.parts[1]).any()

    def test_those_with_the_target_are_drawn_alone(self):
        several, alone = with_target("lung_ct", simulated_cases("lung_ct", [5, 6])), target_cases("lung_ct", [5, 6])
        for one, other in zip(several, alone, strict=True):
            assert one.finding == other.finding and np.array_equal(one.image, other.image)

    def test_findings_take_turns(self):
        cases = {finding: [f"{finding}{seed}" for seed in range(5)] for finding in ("benign", "malignant", "normal")}
        assert with_target("breast_ultrasound", cases) == ["benign0", "malignant1", "benign2", "malignant3", "benign4"]
        assert rotated(cases, list(cases)) == ["benign0", "malignant1", "normal2", "benign3", "malignant4"]


class TestRealCases:
    def save(self, folder, name, image, mask):
        for kind, pixels in (("images", image), ("masks", mask)):
            (folder / "lung_ct" / kind).mkdir(parents=True, exist_ok=True)
            if pixels is not None:
                Image.fromarray(pixels).save(folder / "lung_ct" / kind / f"{name}.png")

    def test_pairs_by_stem_and_splits_the_lungs(self, tmp_path):
        lungs = [rectangle(10, 5, 50, 25), rectangle(10, 35, 50, 60)]
        white = (255 * (lungs[0] | lungs[1])).astype(np.uint8)
        self.save(tmp_path, "b", np.full((64, 64), 7, np.uint8), white)
        self.save(tmp_path, "a", np.full((64, 64, 3), 9, np.uint8), white)
        (tmp_path / "lung_ct" / "images" / ".hidden").write_text("")
        first, second = real_cases(tmp_path, "lung_ct")
        assert (first.name, second.name) == ("a", "b")
        assert first.image.shape == (64, 64, 3) and first.image[0, 0, 0] == 9
        np.testing.assert_array_equal(second.parts, lungs[::-1])
        assert real_cases(tmp_path, "brain_mri") == []

    @pytest.mark.parametrize(
        ("mask", "message"),
        [(None, "no mask"), (np.full((8, 8), 255, np.uint8), "same size"), (np.zeros((64, 64), np.uint8), "empty")],
    )
    def test_what_does_not_fit_is_named(self, tmp_path, mask, message):
        self.save(tmp_path, "scan", np.zeros((64, 64), np.uint8), mask)
        with pytest.raises(ValueError, match=f"scan.*{message}"):
            real_cases(tmp_path, "lung_ct")


class TestBoxes:
    def test_a_filled_box_ends_before_its_second_corner(self):
        filled = fill_boxes([np.array([2.0, 3.0, 5.0, 7.0]), np.array([9.6, 0.4, 11.4, 1.6])], (10, 12))
        expected = np.zeros((10, 12), bool)
        expected[3:7, 2:5] = True
        expected[0:2, 10:11] = True
        np.testing.assert_array_equal(filled, expected)

    def test_no_box_fills_nothing(self):
        assert not fill_boxes([], (4, 4)).any()

    def test_sides_move_by_shares_of_width_and_height(self):
        box = np.array([20.0, 10.0, 40.0, 50.0])  # 20 wide, 40 high
        np.testing.assert_allclose(move_sides(box, np.array([0.1, 0.1, -0.1, 0.3]), (100, 100)), [18, 6, 38, 62])
        np.testing.assert_allclose(move_sides(box, 0.5, (60, 45)), [10, 0, 45, 60])

    def test_drawn_sides_stay_within_their_bounds(self, models):
        answers = []
        predictor = SimpleNamespace(
            set_image=lambda image: None,
            is_image_set=True,
            original_size=(64, 64),
            predict=lambda *points, box=None, **_: (
                answers.append(box) or np.zeros((3, 64, 64), bool), np.array([0.1, 0.9, 0.2]), None
            ),
        )  # fmt: skip
        case = Case("0", np.zeros((64, 64, 3), np.uint8), rectangle(20, 10, 40, 50), (rectangle(20, 10, 40, 50),))
        list(score_sam(predictor, [case] * 200))
        boxes = np.array([box for box in answers if box is not None]).reshape(200, 4, 4)  # the last one is zoomed
        outward = (boxes[:, :3] - [10, 20, 50, 40]) / [-40, -20, 40, 20]
        np.testing.assert_allclose(outward[:, 0], 0)
        assert -0.1 <= outward[:, 1].min() < -0.09 and 0.09 < outward[:, 1].max() <= 0.1001
        assert 0 <= outward[:, 2].min() < 0.01 and 0.29 < outward[:, 2].max() <= 0.3001


class TestSam:
    def test_one_point_takes_the_mask_of_best_quality(self):
        masks = np.stack([rectangle(0, 0, 2, 2), rectangle(0, 0, 4, 4), rectangle(0, 0, 6, 6)])
        asked = []

        def predict(points, labels, multimask_output):
            asked.append((len(points), labels.tolist(), multimask_output))
            return (masks, np.array([0.2, 0.9, 0.5]), None) if multimask_output else (masks[:1], np.array([0.1]), None)

        predictor = SimpleNamespace(predict=predict)
        np.testing.assert_array_equal(segment_points(predictor, [np.zeros((1, 2))]), masks[1])
        np.testing.assert_array_equal(segment_points(predictor, [np.zeros((2, 2))]), masks[0])
        assert asked == [(1, [1], True), (2, [1, 1], False)]

    def test_scores_are_the_same_each_time(self, models):
        predictor, cases = load_sam(models[1]), simulated_cases("lung_xray", [0])["clear"]
        (first,), (second,) = list(score_sam(predictor, cases)), list(score_sam(predictor, cases))
        assert first == second
        assert set(COLUMNS) == set(first) - {"name", "finding"}


class TestClip:
    def test_presence(self):
        clip, task = Dictionary(), TASKS["breast_ultrasound"]
        shows = mean_features(clip, task.prompts["P2"]).numpy()
        absent = mean_features(clip, task.absent_prompt).numpy()
        features = {
            "benign": np.stack([shows, shows]), "malignant": np.stack([shows, absent]), "normal": np.stack([absent] * 2)
        }  # fmt: skip
        auc = presence(clip, task.name, features)["P2"]["auc"]
        assert auc["benign"]["mean"] == 1 and auc["malignant"]["mean"] == 0.75 and auc["all"]["mean"] == 0.875
        assert (auc["all"]["positives"], auc["all"]["n"]) == (4, 2)

    def test_findings(self):
        clip, task = Dictionary(), TASKS["breast_ultrasound"]
        benign, malignant = (mean_features(clip, task.class_prompts[name]).numpy() for name in ("benign", "malignant"))
        absent = mean_features(clip, task.absent_prompt).numpy()
        features = {
            "benign": np.stack([benign, malignant]),
            "malignant": np.stack([malignant, malignant]),
            "normal": np.stack([absent, absent]),
        }
        result = classify_findings(clip, task.name, features)
        assert result["classes"] == ["benign", "malignant", "normal"]
        assert result["confusion"] == [[1, 1, 0], [0, 2, 0], [0, 0, 2]]
        assert result["accuracy"]["mean"] == pytest.approx(5 / 6) and result["majority"] == pytest.approx(1 / 3)
        assert result["answers"]["benign"] == ["benign", "malignant"]

    def test_tasks(self):
        clip = Dictionary()
        prompts = {task: mean_features(clip, TASKS[task].prompts["P2"]).numpy() for task in TASKS}
        features = {task: dict.fromkeys(FINDINGS[task], np.stack([prompts[task]] * 3)) for task in TASKS}
        features["lung_ct"] = dict.fromkeys(FINDINGS["lung_ct"], np.stack([prompts["lung_xray"]] * 3))
        result = classify_tasks(clip, features)
        assert result["confusion"] == [[3, 0, 0, 0], [0, 3, 0, 0], [0, 0, 3, 0], [0, 0, 3, 0]]
        assert result["accuracy"]["mean"] == 0.75

    def test_retrieval_of_different_captions(self):
        clip, captions = Dictionary(), ["a", "b", "c", "d"]
        perfect = retrieval(clip, [(clip.encode_text(captions).numpy(), captions)])
        assert perfect["batch_size"] == 2 and perfect["chance"] == {"@1": 0.5, "@2": 1.0}
        assert {cell["mean"] for cell in perfect["clip"].values()} == {1.0}
        shuffled = retrieval(clip, [(clip.encode_text(captions[::-1]).numpy(), captions)])
        assert shuffled["clip"]["image → text @1"]["mean"] < 1

    def test_no_model_tells_equal_captions_apart(self):
        clip, captions = Dictionary(), ["the same"] * 100
        result = retrieval(clip, [(clip.encode_text(captions).numpy(), captions)])
        assert result["word for word"]["text → image @1"]["mean"] == pytest.approx(1 / 50)
        assert result["clip"]["image → text @2"]["mean"] == pytest.approx(2 / 50)


class TestSaliencyMap:
    @pytest.mark.parametrize("value", [0.0, 0.3, -2.0])
    @pytest.mark.parametrize("n_structures", [1, 2])
    def test_a_constant_map_finds_nothing(self, value, n_structures):
        rounding = np.random.default_rng(0).uniform(0, 1e-7, (16, 16)) * value
        found = upsample((value + rounding).astype(np.float32), (64, 64))
        case = Case("0", np.zeros((64, 64, 3), np.uint8), np.ones((64, 64), bool), (np.ones((64, 64), bool),))
        empty = coarse_mask(found, n_structures, clusters=3)
        assert score_map(found, empty, case) == {"pointing": 0, "coverage": 0, "coarse DSC": 0}
        assert not coarse_mask(found, n_structures, clusters=2).any()

    def test_directions_from_the_absent_prompt(self):
        clip = Dictionary()
        plain, against = (
            judged_saliency.text_features(clip, "lung_ct", Settings(M2IB(5, 0.1), ("P0",), against_absent=value))
            for value in (False, True)
        )
        assert list(plain) == list(against) == ["right", "absent", "other organ"]
        expected = (plain["right"] - plain["absent"]) / 2**0.5  # of two directions that are orthogonal
        torch.testing.assert_close(against["right"], expected)
        torch.testing.assert_close(against["absent"], -expected)
        for direction in (*plain.values(), *against.values()):
            assert direction.norm().item() == pytest.approx(1)


class TestCoarseMask:
    BROAD, PEAK, FAR = rectangle(0, 0, 40, 40), rectangle(10, 10, 15, 15), rectangle(50, 50, 62, 62)
    # Fairly bright everywhere in BROAD, bright in a small PEAK within, and nearly as bright in a larger FAR.
    MAP = 0.6 * BROAD + 0.4 * PEAK + 0.9 * FAR

    def test_two_clusters_drown_a_small_peak(self):
        np.testing.assert_array_equal(coarse_mask(self.MAP - 0.9 * self.FAR, 1, clusters=2), self.BROAD)
        np.testing.assert_array_equal(coarse_mask(self.MAP - 0.9 * self.FAR, 1, clusters=3), self.PEAK)

    def test_one_structure_is_where_the_peak_is(self):
        np.testing.assert_array_equal(coarse_mask(self.MAP, 1, clusters=3), self.PEAK)

    def test_two_structures_are_the_largest(self):
        np.testing.assert_array_equal(coarse_mask(self.MAP, 2, clusters=3), self.PEAK | self.FAR)
        np.testing.assert_array_equal(
            coarse_mask(self.MAP + 1.0 * rectangle(45, 0, 47, 2), 2, clusters=3), self.PEAK | self.FAR
        )


class TestRule:
    def test_the_largest_dark_spots_off_the_border(self):
        spots = [rectangle(10, 8, 40, 26), rectangle(10, 34, 30, 50)]
        image = np.full((64, 64, 3), 200, np.uint8)
        image[spots[0] | spots[1] | rectangle(50, 0, 64, 64)] = 20
        for count in (1, 2):
            found, expected = largest_dark_spots(image, count), np.any(spots[:count], axis=0)
            assert (found & expected).sum() / (found | expected).sum() > 0.85

    def test_a_constant_image_has_none(self):
        assert not largest_dark_spots(np.full((32, 32, 3), 7, np.uint8), 1).any()


class TestTables:
    def test_means_and_differences(self):
        summary = summarise([0.25, 0.75] * 10)
        assert summary["mean"] == 0.5 and summary["n"] == 20 and summary["low"] < 0.5 < summary["high"]
        assert show(summarise([0.5, 0.5])) == "0.50 [0.50, 0.50]"
        assert show_difference(compare([0.5, 0.6], [0.4, 0.5])) == "+0.100 [+0.100, +0.100], p < 0.001"
        assert (
            show_difference({"mean": -1e-9, "low": -0.2, "high": 0.2, "p": 0.5}) == "+0.000 [-0.200, +0.200], p = 0.500"
        )

    def test_a_statistic_of_drawn_units(self):
        values = np.array([1.0, 2.0, 9.0])
        summary = summarise_statistic(lambda drawn: np.median(values[drawn]), 3)
        assert summary["mean"] == 2 and (summary["low"], summary["high"]) == (1, 9)

    def test_markdown(self):
        assert table(["a", "b"], [["x", 1]]) == "| a | b |\n| --- | --: |\n| x | 1 |"


class TestSettings:
    def test_every_task_has_a_valid_one(self):
        assert list(TASKS) == list(OTHER_TASK)
        for task in TASKS:
            settings = SETTINGS["tiny"][task]
            assert set(settings.prompts) <= set(PROMPT_KINDS)
            assert settings.clusters in CLUSTERS and settings.margin in MARGINS

    def test_the_wrong_organ_is_another_one(self):
        for task, other in OTHER_TASK.items():
            assert TASKS[task].target != TASKS[other].target


@pytest.mark.filterwarnings(UNKNOWN_WORDS)
class TestRun:
    # The last block is the cheapest: nothing but the pooling is run again in each step.
    CHEAP = Settings(M2IB(5, 0.1, samples=1), ("P0",), clusters=3, margin=0.1)

    @pytest.fixture(autouse=True)
    def few_resamples(self, monkeypatch):
        monkeypatch.setattr(tables, "RESAMPLES", 20)

    def test_end_to_end(self, models, tmp_path, monkeypatch, capsys):
        monkeypatch.setattr(report, "settings_for", lambda clip, task, table: self.CHEAP)
        (case, other) = simulated_cases("brain_mri", [1, 2])["glioma"]
        for kind in ("images", "masks"):
            (tmp_path / "brain_mri" / kind).mkdir(parents=True)
        for name, item in (("p", case), ("q", other)):
            Image.fromarray(item.image[:, 20:]).save(tmp_path / "brain_mri" / "images" / f"{name}.png")
            Image.fromarray(item.mask[:, 20:]).save(tmp_path / "brain_mri" / "masks" / f"{name}.png")
        output = tmp_path / "results.json"
        report.main(
            ["--clip", models[0], "--sam", models[1], "--images", "2", "--first-seed", "3", "--output", str(output),
             "--real", str(tmp_path)]
        )  # fmt: skip

        printed = capsys.readouterr().out
        assert "Simulated images: these numbers say nothing about patients" in printed
        assert "## 2 real images, for orientation: not a clinical result" in printed
        results = json.loads(output.read_text(), parse_constant=pytest.fail)  # no NaN, no infinity
        assert results["seeds"] == {"first": 3, "count": 2}
        assert set(results["simulated"]) == {"sam", "clip", "saliency"}
        for part in ("sam", "saliency"):
            by_task = results["simulated"][part]
            assert list(by_task["images"]) == list(by_task["summary"]) == list(TASKS)
            assert [row["name"] for row in by_task["images"]["lung_ct"]] == ["3", "4"]
        rows = results["simulated"]["sam"]["images"]["lung_ct"]
        summary = results["simulated"]["sam"]["summary"]["lung_ct"][TRUE_BOX]
        assert summary["mean"] == pytest.approx(np.mean([row[TRUE_BOX] for row in rows])) and summary["n"] == 2
        assert show(summary) in printed
        pipeline = results["simulated"]["saliency"]["summary"]["brain_mri"]
        assert pipeline["pipeline"] == pipeline["SAM, box +10%"]
        assert [row["name"] for row in results["real"]["saliency"]["images"]["brain_mri"]] == ["p", "q"]

    @pytest.mark.parametrize("options", [["--images", "1"], ["--first-seed", "499999"], ["--quick", "--images", "5"]])
    def test_seeds_that_were_learned_from_are_refused(self, options, capsys):
        with pytest.raises(SystemExit):
            report.main(options)
        assert "error" in capsys.readouterr().err

    def test_a_folder_without_images_is_refused(self, models, tmp_path):
        with pytest.raises(ValueError, match="no task with two images"):
            report.evaluate_real(load_clip(models[0]), load_sam(models[1]), tmp_path)

    def test_choosing_uses_validation_seeds(self, models, monkeypatch, capsys):
        seeds = []

        def recorded(task, given):
            seeds.extend(given)
            return target_cases(task, given)

        monkeypatch.setattr(choose_saliency, "target_cases", recorded)
        monkeypatch.setattr(
            choose_saliency, "M2IB", lambda *choice, **options: M2IB(*choice, **options | {"samples": 1})
        )
        choose_saliency.main(
            ["--clip", models[0], "--sam", models[1], "--images", "2", "--tasks", "breast_ultrasound", "--kinds", "P0",
             "--layers", "5", "--betas", "0.1", "--variances", "4", "--top", "4"]
        )  # fmt: skip
        printed = capsys.readouterr().out
        assert seeds == list(SEEDS["validation"].first(2))
        rows = [line.split("|") for line in printed.splitlines() if line.startswith("| Settings(")]
        ranks = [float(row[2]) + float(row[4]) for row in rows]  # DSC after SAM, and pointing
        assert len(rows) == 4 and all(better >= worse - 0.002 for better, worse in itertools.pairwise(ranks))
