"""The stages one after the other, for one image or many, one target or several."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby

import numpy as np
import torch
from segment_anything import SamPredictor
from torch import Tensor
from torch.nn import functional

from ..images import Image, pixels_of
from ..models import Clip
from ..models.errors import model_error
from ..models.words import split_words
from ..postprocess import coarse_mask, components
from ..results import load_results
from ..saliency import CamPreset, Presence, Preset, mean_features
from ..tasks import TASKS, Task, get_task
from ..visual_prompts import Points, boxes_from_mask, points_from_mask, predict_mask
from .config import CONFIGS, SegmenterConfig
from .folder import FolderResult, segment_folder
from .segmentation import Segmentation

#: One sentence, or several that name the same target: a prompt ensemble, whose mean is asked.
Text = str | Sequence[str]


@dataclass(frozen=True, eq=False)
class _Question:
    """What is looked for in one of some images: ``features`` of the words, and what CLIP has ``seen`` in the image."""

    image: int
    text: str
    task: Task
    config: SegmenterConfig
    features: Tensor
    seen: Tensor


class Segmenter:
    """A CLIP that reads the words and a SAM that draws the outline.

    Args:
        clip: of :func:`~medclipsam_utils.models.load_clip`; make a new Segmenter after training it, because prompts are
            encoded once.
        sam: of :func:`~medclipsam_utils.models.load_sam`.
        config: for every target, or one for each task by its name; None takes those of :data:`CONFIGS` for the model.

    Raises:
        ValueError: there are no settings for this model, or for some task.
    """

    def __init__(
        self, clip: Clip, sam: SamPredictor, config: SegmenterConfig | Mapping[str, SegmenterConfig] | None = None
    ):
        if config is None and clip.name not in CONFIGS:
            known = ", ".join(CONFIGS)
            raise ValueError(f"there are settings for {known}, not for {clip.name!r}: give a SegmenterConfig")
        config = CONFIGS[clip.name] if config is None else config
        configs = dict.fromkeys(TASKS, config) if isinstance(config, SegmenterConfig) else dict(config)
        if configs.keys() != TASKS.keys():
            raise ValueError(f"there are settings for {', '.join(configs)}: give some for each of {', '.join(TASKS)}")
        self.clip, self.sam, self.configs = clip, sam, configs
        self._prompts: dict[tuple[str, ...], Tensor] = {}
        self._embedded: tuple[np.ndarray | None, Tensor | None] = (None, None)

    def segment(self, image: Image, text: Text | None = None, *, task: str | Task | None = None) -> Segmentation:
        """The mask of what the text names.

        Args:
            image: uint8 [H, W, 3], :class:`~medclipsam_utils.images.MedicalImage`, or tensor [3, H, W].
            text: one sentence, or several whose mean is asked; None asks the task's own prompts.
            task: whose settings are used and whose target is looked for; None takes the task that text and image fit
                best.

        Returns:
            A :class:`Segmentation`. Its mask is empty where the map is constant. It is *not* empty where the target is
            reported absent, unless the settings say so: the map always has a peak, and whoever asks decides what to
            believe.

        Raises:
            ModelError: image or text do not fit the model, or it knows no word of the text.
            ValueError: neither text nor task is given, the task is unknown or has no settings, or ``alpha`` is too
                small for the calibration.
        """
        return self.segment_batch([image], text, task=task)[0]

    def segment_batch(
        self, images: Sequence[Image], text: Text | None = None, *, task: str | Task | None = None
    ) -> list[Segmentation]:
        """The same of several images, of any sizes: the CLIP sees them together. No images give an empty list."""
        return list(self.segment_each(images, text, task=task))

    def segment_each(
        self, images: Sequence[Image], text: Text | None = None, *, task: str | Task | None = None
    ) -> Iterator[Segmentation]:
        """As :meth:`segment_batch`, one answer after the other: until the next, SAM has the image embedded."""
        return self._segment(images, [(number, text, task) for number in range(len(images))])

    def segment_targets(self, image: Image, texts: Sequence[Text]) -> list[Segmentation]:
        """The same of several targets in one image, which CLIP and SAM embed once. No texts give an empty list.

        The masks may overlap: each text is answered for itself.
        """
        if isinstance(texts, str):
            raise ValueError(f"texts is {texts!r}: give a list with one text for each target")
        return list(self._segment([image], [(0, text, None) for text in texts]))

    def segment_folder(
        self,
        source: str | os.PathLike,
        target: str | os.PathLike,
        text: Text | None = None,
        *,
        task: str | Task | None = None,
        batch_size: int = 8,
        overlays: bool = False,
        retry: bool = False,
        progress: bool = True,
    ) -> FolderResult:
        """The mask of what the text names, of every picture in a folder and its subfolders.

        ::

            target/masks/…          for each picture one of the same name: .png, or .nii.gz of a NIfTI volume
            target/overlays/…       pictures with the outline drawn in, if asked for
            target/results.csv      a row for each mask: task, area, presence
            target/failures.csv     a row for each file that could not be read or segmented, and why

        A file that fails stops nothing. The same call goes on after an interruption, and does nothing twice: what was
        done, or failed, is done again only if the file has changed since, or its mask is gone. Under ``torchrun`` the
        processes share the files.

        Args:
            source: the folder; see :class:`~medclipsam_utils.datasets.MaskFolder` for what counts as a picture.
            target: the folder to write to, made if it is missing; it belongs to one question and its settings.
            text, task: as in :meth:`segment`.
            batch_size: pictures that are seen together.
            overlays: draw them.
            retry: try again what failed.
            progress: show a bar.

        Returns:
            A :class:`FolderResult`; a notebook shows it in words.

        Raises:
            ValueError: there is no such folder, no picture in it, ``target`` holds the answers to another question, or
                as in :meth:`segment`.
            ModelError: the text does not fit the model.
        """
        return segment_folder(
            self, source, target, text, task, batch_size=batch_size, overlays=overlays, retry=retry, progress=progress
        )

    def find_task(self, image: Image, text: Text) -> Task:
        """The task that text and image fit best.

        For each task, the cosine of the text with its bare class name (P0) is added to that of the image with its
        prompts (P2) or with its absent prompt, whichever is higher: the text says what is looked for, and the image,
        with the target or without it, how it was made. The text alone cannot tell lungs in a chest film from lungs in a
        CT slice.
        """
        return self._find_task(self.clip.encode_image(image)[0], self._said(_sentences(text)))

    def embed(self, image: Image) -> None:
        """Make SAM ready to be asked about an image; nothing is computed if it is the image it was last asked about."""
        pixels = pixels_of(image)
        kept, features = self._embedded
        if not (self.sam.is_image_set and self.sam.features is features and np.array_equal(pixels, kept)):
            self.sam.set_image(pixels)
            self._embedded = (pixels.copy(), self.sam.features)

    def features(self, text: Text | None, task: str | Task | None = None) -> Tensor:
        """What is asked, float32 [D] of length 1: the mean of the text's sentences, or without text the task's prompts.

        Raises:
            ModelError, ValueError: what :meth:`segment` raises because of text or task, whatever the image.
        """
        known = None if task is None else self._with_settings(get_task(task))
        if text is not None:
            return self._said(_sentences(text))
        if known is None:
            raise ValueError("give a text, for example 'brain tumour', or a task")
        return self.configs[known.name].saliency.text(self.clip, known)

    def _segment(
        self, images: Sequence[Image], asked: Sequence[tuple[int, Text | None, str | Task | None]]
    ) -> Iterator[Segmentation]:
        """Answers in the order of the questions (number of the image, text, task), these in the order of the images."""
        if not asked:
            return
        questions = self._questions(images, asked)
        maps = self._maps(images, questions)
        for number, mine in groupby(zip(questions, maps, strict=True), key=lambda pair: pair[0].image):
            yield from self._answers(pixels_of(images[number]), list(mine))

    def _questions(
        self, images: Sequence[Image], asked: Sequence[tuple[int, Text | None, str | Task | None]]
    ) -> list[_Question]:
        """What is looked for, with what settings; each text is encoded once."""
        said: dict[tuple[tuple[str, ...], str | Task | None], Tensor] = {}
        for _, text, task in asked:
            key = (_sentences(text), task)
            if key not in said:
                said[key] = self.features(text, task)
        seen = self.clip.encode_image(images)
        questions = []
        for number, text, task in asked:
            sentences = _sentences(text)
            features = said[sentences, task]
            known = self._find_task(seen[number], features) if task is None else get_task(task)
            words = " | ".join(sentences or known.prompts["P0"])
            questions.append(_Question(number, words, known, self.configs[known.name], features, seen[number]))
        return questions

    def _maps(self, images: Sequence[Image], questions: Sequence[_Question]) -> list[np.ndarray]:
        """The map of every question; those with the same settings are made together."""
        alike: dict[Preset | CamPreset, list[int]] = {}
        for order, question in enumerate(questions):
            alike.setdefault(question.config.saliency, []).append(order)
        maps: dict[int, np.ndarray] = {}
        for saliency, orders in alike.items():
            features = torch.stack([questions[order].features for order in orders])
            asked = [images[questions[order].image] for order in orders]
            maps |= zip(orders, saliency.method(self.clip, asked, features), strict=True)
        return [maps[order] for order in range(len(questions))]

    def _answers(self, pixels: np.ndarray, asked: Sequence[tuple[_Question, np.ndarray]]) -> Iterator[Segmentation]:
        """Of one image; SAM embeds it only if there is something to ask."""
        for question, saliency in asked:
            config = question.config
            coarse, boxes, points = self._coarse(saliency, pixels, config)
            p_value, present = self._presence(question.seen, question.task, config.alpha)
            mask = np.zeros(pixels.shape[:2], dtype=bool)
            if coarse.any() and not (config.empty_if_absent and present is False):
                self.embed(pixels)
                mask = predict_mask(self.sam, boxes, points or None, vote=config.vote)
            yield Segmentation(
                mask, saliency, coarse, np.zeros((0, 4), np.float32) if boxes is None else boxes, points,
                question.task.name, question.text, p_value, present, pixels,
            )  # fmt: skip

    @staticmethod
    def _coarse(
        saliency: np.ndarray, pixels: np.ndarray, config: SegmenterConfig
    ) -> tuple[np.ndarray, np.ndarray | None, tuple[Points, ...]]:
        """The coarse mask and what SAM is asked with."""
        coarse = coarse_mask(
            saliency, config.n_structures, least_share=config.least_share,
            method=config.binarize, clusters=config.clusters, image=pixels,
        )  # fmt: skip
        boxes, points = None, ()
        if config.visual_prompt != "point":
            boxes = boxes_from_mask(coarse, margin=config.margin)
        if config.visual_prompt != "box":
            points = tuple(points_from_mask(part, config.n_points) for part in components(coarse))
        return coarse, boxes, points

    def _said(self, sentences: tuple[str, ...]) -> Tensor:
        if not sentences:
            raise ValueError("the text is an empty list: give one sentence or more")
        features = self.clip.encode_text(sentences)  # says first if a text is no text
        for text in sentences:
            words = set(split_words(text))
            if words <= set(self.clip.unknown_words(text)):
                remedy = f"Ask with its words, for example {TASKS['brain_mri'].prompts['P0'][0]!r}"
                raise model_error(self.clip.name, f"it knows no word of {text!r}", remedy)
        return functional.normalize(features.mean(0), dim=0)

    def _with_settings(self, task: Task) -> Task:
        if task.name not in self.configs:
            raise ValueError(
                f"there are no settings for the task {task.name!r}, only for {', '.join(self.configs)}: "
                "give one of these, or a text without a task"
            )
        return task

    def _find_task(self, seen: Tensor, said: Tensor) -> Task:
        def fit(task: Task) -> float:
            shown = max(float(seen @ self._mean(texts)) for texts in (task.prompts["P2"], (task.absent_prompt,)))
            return float(said @ self._mean(task.prompts["P0"])) + shown

        return max(TASKS.values(), key=fit)

    def _presence(self, seen: Tensor, task: Task, alpha: float) -> tuple[float | None, bool | None]:
        scores = _calibration(self.clip.name, task.name)
        if scores is None:
            return None, None
        test = Presence(self._mean(task.prompts["P2"]) - self._mean((task.absent_prompt,)), np.array(scores))
        score = np.array([float(seen @ test.direction)])
        return float(test.p_value(score)[0]), bool(test.present(score, alpha)[0])

    def _mean(self, sentences: tuple[str, ...]) -> Tensor:
        """As :func:`~medclipsam_utils.saliency.mean_features`, each encoded once."""
        if sentences not in self._prompts:
            self._prompts[sentences] = mean_features(self.clip, sentences)
        return self._prompts[sentences]


@lru_cache
def _calibration(model: str, task: str) -> tuple[float, ...] | None:
    """Scores of simulated images without the target, sorted; None of a model that was not calibrated."""
    results = load_results("saliency_checks")
    return tuple(results["presence"][task]["calibration"]) if results["model"] == model else None


def _sentences(text: Text | None) -> tuple[str, ...]:
    return () if text is None else (text,) if isinstance(text, str) else tuple(text)
