"""Ask what a CLIP knows without a mask: is the target there, which finding is it, which modality, and which caption.

Every score is a cosine between the embedding of an image and that of a prompt, or of the mean of several prompts. Each
seed is drawn with every finding and without the target, so that the images of a seed share their anatomy; intervals
draw seeds anew, not images.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from medclipsam_utils import TASKS
from medclipsam_utils.metrics import auc_by_pair, retrieval_accuracy, zero_shot
from medclipsam_utils.models import Clip
from medclipsam_utils.saliency import mean_features
from medclipsam_utils.simulate import FINDINGS

from ..data.cases import Case, rotated
from .tables import show, summarise, summarise_statistic, table

Features = dict[str, np.ndarray]  # by finding, float32 [n seeds, D], rows of length 1

PRESENCE_PROMPTS = ("P2", "P0")
RETRIEVAL_BATCH = 50


def encode_cases(clip: Clip, cases: dict[str, list[Case]]) -> Features:
    """Encode every case, by finding."""
    return {finding: clip.encode_image([case.image for case in same]).cpu().numpy() for finding, same in cases.items()}


def presence(clip: Clip, task: str, features: Features) -> dict[str, Any]:
    """Measure the AUC of "shows the target" by prompt kind, for all findings together (``"all"``) and for each.

    An image's score is its cosine to the mean prompt of that kind, minus its cosine to the absent prompt.
    """
    *findings, without = FINDINGS[task]
    absent = mean_features(clip, TASKS[task].absent_prompt).cpu().numpy()
    results = {}
    for kind in PRESENCE_PROMPTS:
        direction = mean_features(clip, TASKS[task].prompts[kind]).cpu().numpy() - absent
        scores = {finding: features[finding] @ direction for finding in FINDINGS[task]}
        groups = {"all": findings, **{finding: [finding] for finding in findings}}
        results[kind] = {
            "auc": {name: _auc([scores[f] for f in group], scores[without]) for name, group in groups.items()},
            "scores": {finding: values.tolist() for finding, values in scores.items()},
        }
    return results


def classify_findings(clip: Clip, task: str, features: Features) -> dict[str, Any]:
    """Tell which finding each image shows: the nearest of the mean P3 prompts of each and the absent prompt."""
    known = TASKS[task]
    sentences = {finding: known.class_prompts.get(finding, (known.absent_prompt,)) for finding in FINDINGS[task]}
    prompts = {finding: clip.encode_text(texts) for finding, texts in sentences.items()}
    return _classify(prompts, {finding: features[finding] for finding in FINDINGS[task]})


def classify_tasks(clip: Clip, features: dict[str, Features]) -> dict[str, Any]:
    """Tell of which task each image with its target is: the nearest of the tasks' mean P2 prompts."""
    prompts = {task: clip.encode_text(TASKS[task].prompts["P2"]) for task in features}
    # A seed counts once: its findings in turn, as in the other parts.
    images = {task: _in_turn([known[finding] for finding in FINDINGS[task][:-1]]) for task, known in features.items()}
    return _classify(prompts, images)


def caption_pairs(cases: dict[str, list[Case]], features: Features) -> tuple[np.ndarray, list[str]]:
    """Take one image per seed, all findings and the absent target in turn: its embedding [n, D] and its caption."""
    findings = list(cases)
    captions = [case.caption for case in rotated(cases, findings)]
    return _in_turn([features[finding] for finding in findings]), captions


def retrieval(clip: Clip, pairs: Sequence[tuple[np.ndarray, list[str]]]) -> dict[str, Any]:
    """Measure by direction and k whether an image finds its own caption among 50, and a caption its image.

    Args:
        clip: encodes the captions.
        pairs: for each task, embeddings [n, D] of images and their n captions; the tasks are mixed.

    Pairs are shuffled once into batches of 50 (of half of the pairs, if there are fewer than 100), and the batch is the
    unit of the interval. Simulated captions repeat and are true of several images: ``"word for word"`` is what a model
    would reach that told captions apart by their words and by nothing else.
    """
    images = np.concatenate([features for features, _ in pairs])
    captions = [caption for _, captions in pairs for caption in captions]
    size = min(RETRIEVAL_BATCH, len(captions) // 2)
    words = np.array([[caption == other for other in dict.fromkeys(captions)] for caption in captions], dtype=float)
    texts = clip.encode_text(captions).cpu().numpy()
    order = np.random.default_rng(0).permutation(len(captions))
    batches = [order[start : start + size] for start in range(0, len(order) - size + 1, size)]
    return {
        "batch_size": size,
        "chance": {f"@{k}": k / size for k in (1, 2)},
        "clip": _retrieval([(images[batch], texts[batch]) for batch in batches]),
        "word for word": _retrieval([(words[batch], words[batch]) for batch in batches]),
    }


def presence_table(results: dict[str, dict[str, Any]]) -> str:
    """Show the AUC of each prompt kind as Markdown: one row per task, and one per finding of it."""
    rows = []
    for task, by_kind in results.items():
        for name in by_kind["P2"]["auc"]:
            cells = [by_kind[kind]["auc"][name] for kind in PRESENCE_PROMPTS]
            n_images = f"{cells[0]['positives']} / {cells[0]['n']}"
            rows.append([f"**{task}**" if name == "all" else name, *(show(cell) for cell in cells), n_images])
    return table(["images with", *(f"AUC, {kind}" for kind in PRESENCE_PROMPTS), "with / without"], rows)


def classification_table(results: dict[str, dict[str, Any]]) -> str:
    """Show accuracy and the majority baseline by question, as Markdown."""
    header = ["question", "classes", "accuracy", "majority", "images"]
    return table(header, [
        [name, len(r["classes"]), show(r["accuracy"]), f"{r['majority']:.2f}", np.sum(r["confusion"])]
        for name, r in results.items()
    ])  # fmt: skip


def confusion_table(result: dict[str, Any]) -> str:
    """Show numbers of images as Markdown, true classes in rows and answers in columns."""
    classes = result["classes"]
    rows = [[name, *counts] for name, counts in zip(classes, result["confusion"], strict=True)]
    return table(["true \\ answer", *classes], rows)


def retrieval_table(result: dict[str, Any]) -> str:
    """Show both directions and k in columns, as Markdown."""
    names = list(result["clip"])
    rows = [[who, *(show(result[who][name]) for name in names)] for who in ("clip", "word for word")]
    rows.append(["chance", *(f"{result['chance'][name[-2:]]:.2f}" for name in names)])
    return table([f"among {result['batch_size']}", *names], rows)


def _auc(positive: list[np.ndarray], negative: np.ndarray) -> dict[str, float]:
    """Measure the AUC of scores [n] with each finding against those [n] without the target, all of the same n seeds."""
    by_seed = auc_by_pair(np.stack(positive), negative).mean(axis=0)  # (n seeds with a finding, n seeds without)
    summary = summarise_statistic(lambda seeds: by_seed[np.ix_(seeds, seeds)].mean(), len(negative))
    return {**summary, "positives": len(positive) * len(negative)}


def _in_turn(features: list[np.ndarray]) -> np.ndarray:
    """Take rows in turn: row i of the result is row i of ``features[i % len(features)]``; all are [n, D]."""
    return np.stack([features[number % len(features)][number] for number in range(len(features[0]))])


def _classify(prompts: Mapping[str, Tensor], images: Features) -> dict[str, Any]:
    """Find the nearest prompt of every image; ``images`` are [n, D] by true class, the same n for all."""
    classes = list(prompts)
    answers = np.stack([zero_shot(images[name], prompts).similarity.argmax(axis=1) for name in classes])  # (classes, n)
    correct = answers == np.arange(len(classes))[:, None]
    confusion = [np.bincount(row, minlength=len(classes)).tolist() for row in answers]
    return {
        "classes": classes,
        "accuracy": summarise(correct.mean(axis=0)),
        "majority": 1 / len(classes),
        "confusion": confusion,
        "answers": {name: [classes[answer] for answer in row] for name, row in zip(classes, answers, strict=True)},
    }


def _retrieval(batches: list[tuple[np.ndarray, np.ndarray]]) -> dict[str, dict[str, float]]:
    results = [retrieval_accuracy(images, texts, batch_size=len(images), runs=1) for images, texts in batches]
    scores = {
        f"{direction} @{k}": [getattr(result, name)[k] for result in results]
        for direction, name in (("image → text", "image_to_text"), ("text → image", "text_to_image"))
        for k in (1, 2)
    }
    return {name: summarise(values) for name, values in scores.items()}
