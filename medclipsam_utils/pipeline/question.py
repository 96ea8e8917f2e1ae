"""What is asked about an image: words as a direction, the target they name, settings, and whether it is there."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ..images import Image
from ..models import Clip
from ..models.context import own_context
from ..models.errors import model_error
from ..models.words import UnknownWordWarning, split_words
from ..saliency import mean_features
from ..settings import ANY, SaliencySettings, Settings, settings_for
from ..tasks import TASKS, Task, get_task, is_known
from .naming import denies, named_tasks
from .presence import UNTESTED, Presence, presence_of

#: One sentence, or several that name the same target: a prompt ensemble, whose mean is asked.
Text = str | Sequence[str]


class UnknownTargetWarning(UserWarning):
    """The words name none of the targets that the small CLIP was trained on; its answer means nothing."""


@dataclass(frozen=True, eq=False)
class Question:
    """One question about one image.

    Attributes:
        text: what is asked, in words; the sentences of an ensemble are joined by ``" | "``.
        features: what is asked, float32 [D] of length 1.
        settings: how it is answered.
        task: the target, if it is a known one or one of your own; None for any other text.
        presence: whether the target is reported as present in the image.
    """

    text: str
    features: Tensor
    settings: Settings
    task: Task | None = None
    presence: Presence = UNTESTED

    @property
    def task_name(self) -> str | None:
        """Name of the task; None for a text without one."""
        return None if self.task is None else self.task.name

    @property
    def n_structures(self) -> int:
        """How many components the target has at most: what the settings say, else the task, else 1."""
        return self.settings.n_structures or (self.task.n_structures if self.task else 1)


def saliency_maps(clip: Clip, images: Sequence[Image], questions: Sequence[Question]) -> list[np.ndarray]:
    """Make the map of each question about its image, those with the same settings together.

    Returns:
        B maps float32 [H, W], each of the size of its image, from 0 to 1.
    """
    alike: dict[SaliencySettings, list[int]] = {}
    for number, question in enumerate(questions):
        alike.setdefault(question.settings.saliency, []).append(number)
    maps: dict[int, np.ndarray] = {}
    for saliency, numbers in alike.items():
        features = torch.stack([questions[number].features for number in numbers])  # (B, D)
        made = saliency.method(clip, [images[number] for number in numbers], features)
        maps |= zip(numbers, made, strict=True)
    return [maps[number] for number in range(len(questions))]


class Questions:
    """Makes questions of words, for one CLIP. Each sentence is encoded once.

    Args:
        clip: the CLIP that reads the words.
        settings: for every target, or for some by the names of their tasks, and under :data:`ANY` for targets that are
            none of ``TASKS``; the table has those of all others.
        tasks: tasks of your own that a text may name.
    """

    def __init__(
        self, clip: Clip, settings: Settings | Mapping[str, Settings] | None = None, tasks: Iterable[Task] = ()
    ):
        self.clip, self.own = clip, tuple(tasks)
        self._for_all = settings if isinstance(settings, Settings) else None
        self._by_name = dict(settings) if isinstance(settings, Mapping) else {}
        self._encoded: dict[tuple[str, ...], Tensor] = {}
        self._prompts: dict[Task, Tensor] = {}

    def settings_of(self, task: Task | None) -> Settings:
        """Look up how a target is segmented; None is a text without a task."""
        given = self._for_all or self._by_name.get(task.name if task else ANY)
        if given is None and (task is None or not is_known(task)):
            given = self._by_name.get(ANY)
        if given is None:
            return settings_for(self.clip, task)
        return given if task is None else given.changed(task.settings)

    def features(self, text: Text | None, task: Task | None) -> Tensor:
        """Encode what is asked: the mean of the text's sentences, or without a text the task's prompts.

        Returns:
            float32 [D] of length 1.

        Raises:
            ModelError: a text is empty, or the CLIP knows no word of it.
            ValueError: there is neither text nor task, or the text is an empty list.
        """
        if text is not None:
            return self._mean(_sentences(text))
        if task is None:
            raise ValueError("give a text, for example 'brain tumour', or a task")
        self._mean(_descriptive(task))  # raises, if the CLIP knows no word of a sentence
        return self._prompts_of(task)

    def find_task(self, text: Text, seen: Tensor) -> Task | None:
        """Find the task whose target the text names.

        Args:
            text: what is asked.
            seen: embedding of the image, float32 [D]. It decides where the words leave the task open, as the lungs may
                be in an X-ray or in a CT slice: whose prompts (P2), or whose absent prompt, is the image nearest to?

        Returns:
            A task of your own, or one of ``TASKS``; None where the words name no known target.
        """
        named = named_tasks(text, self.own)

        def fit(task: Task) -> float:
            sentences = (_descriptive(task), (task.absent_prompt,))
            return max(float(seen @ self._mean(each)) for each in sentences if any(each))

        return max(named, key=fit) if len(named) > 1 else next(iter(named), None)

    @own_context()
    def ask(
        self, images: Sequence[Image], text: Text | None, task: str | Task | None = None, seen: Tensor | None = None
    ) -> list[Question]:
        """Make one question for each image of the same words.

        Args:
            images: B of them.
            text: one sentence, or several whose mean is asked; None asks the task's own prompts.
            task: whose target is looked for; None takes the task whose target the text names, if there is one.
            seen: embeddings of the images, float32 [B, D], where they are known already.

        Warns:
            UnknownTargetWarning: the CLIP is a small one, and the words name none of the targets that it knows.

        Raises:
            ModelError: an image or the text does not fit the model, or it knows no word of the text.
            ValueError: neither text nor task is given, or the task is unknown.
        """
        given = None if task is None else get_task(task)
        features = self.features(None if text is None else self._in_known_words(text), given)  # (D,)
        seen = self.clip.encode_image(images) if seen is None else seen  # (B, D)
        tasks = [given or self.find_task(text or "", each) for each in seen]
        questions: dict[int, Question] = {}
        for task in dict.fromkeys(tasks):
            numbers = [number for number, found in enumerate(tasks) if found == task]
            settings, presences = self._how(text, features, task, [images[n] for n in numbers], seen[numbers])
            words = " | ".join(_sentences(text) if text is not None else _default(task))
            asked = features if text is None else self._beside_prompts(features, text, task, given)
            for number, presence in zip(numbers, presences, strict=True):
                questions[number] = Question(words, asked, settings, task, presence)
        return [questions[number] for number in range(len(images))]

    def _how(
        self, text: Text | None, features: Tensor, task: Task | None, images: Sequence[Image], seen: Tensor
    ) -> tuple[Settings, list[Presence]]:
        """Find the settings for a target, and whether it is in some images."""
        settings = self.settings_of(task)
        if task is not None and (text is None or task in named_tasks(text, [task])):
            if self.clip.is_small and not (is_known(task) or named_tasks(text or _descriptive(task))):
                self._warn(task.target)
            # Without a text, the descriptive sentences are tested rather than those that suit the map best.
            direction = features if text is not None else self._mean(_descriptive(task))
            if task.absent_prompt:
                direction = direction - self._mean((task.absent_prompt,))
            return settings, presence_of(self.clip, images, seen, direction, task, settings.alpha)
        if self.clip.is_small:
            self._warn(" | ".join(_sentences(text or "")))
        reason = f"the words do not name {task.target}" if task else "the words name no known target"
        return settings, [Presence(None, None, reason)] * len(images)

    def _beside_prompts(self, features: Tensor, text: Text, task: Task | None, given: Task | None) -> Tensor:
        """Lean a text's features towards the prompts of the task whose target it names, or that was given with it.

        A text that denies the target, or names another one, stays as it is.
        """
        weight = self.settings_of(task).text_weight
        if task is None or weight == 1:
            return features
        named = named_tasks(text, [task])
        described = given is not None and not named and not any(map(denies, _sentences(text)))
        if task not in named and not described:
            return features
        return functional.normalize(weight * features + (1 - weight) * self._prompts_of(task), dim=0)

    def _prompts_of(self, task: Task) -> Tensor:
        """Encode the prompts of a task that its settings ask with, once."""
        if task not in self._prompts:
            self._prompts[task] = self.settings_of(task).text_features(self.clip, task)
        return self._prompts[task]

    def _in_known_words(self, text: Text) -> tuple[str, ...]:
        """Replace sentences that name a known target in words that the CLIP does not know by the target's own."""
        sentences = list(_sentences(text))
        for number, sentence in enumerate(sentences):
            targets = {task.target for task in named_tasks(sentence)} if self._knows_no_word(sentence) else set()
            if len(targets) == 1:
                (sentences[number],) = targets
                warnings.warn(
                    f"{self.clip.name} knows no word of {sentence!r}, and is asked for {sentences[number]!r} instead",
                    UnknownWordWarning,
                    stacklevel=5,
                )
        return tuple(sentences)

    def _knows_no_word(self, sentence: str) -> bool:
        words = set(split_words(sentence))
        return bool(words) and words <= set(self.clip.unknown_words(sentence))

    def _warn(self, words: str) -> None:
        targets = ", ".join(dict.fromkeys(f"{task.target} ({task.modality})" for task in TASKS.values()))
        warnings.warn(
            f"{words!r} is no target that the small CLIP was trained to find ({targets}): whatever its mask shows, it "
            "means nothing",
            UnknownTargetWarning,
            stacklevel=6,
        )

    def _mean(self, sentences: tuple[str, ...]) -> Tensor:
        """Average sentences as :func:`~medclipsam_utils.saliency.mean_features` does, each encoded once."""
        if not sentences:
            raise ValueError("the text is an empty list: give one sentence or more")
        if sentences not in self._encoded:
            features = mean_features(self.clip, sentences)  # says first if a text is no text
            for sentence in sentences:
                if self._knows_no_word(sentence):
                    remedy = f"Ask with its words, for example {_default(TASKS['brain_mri'])[0]!r}"
                    raise model_error(self.clip.name, f"it knows no word of {sentence!r}", remedy)
            self._encoded[sentences] = features
        return self._encoded[sentences]


def _sentences(text: Text) -> tuple[str, ...]:
    return (text,) if isinstance(text, str) else tuple(text)


def _default(task: Task | None) -> tuple[str, ...]:
    """Take the first kind of a task's prompts, which is P0 of the known tasks."""
    return next(iter(task.prompts.values())) if task else ()


def _descriptive(task: Task) -> tuple[str, ...]:
    """Take the prompts that describe the target in general, P2; all prompts of a task without these."""
    return task.prompts.get("P2") or tuple(chain.from_iterable(task.prompts.values()))
