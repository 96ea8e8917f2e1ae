"""What an answer depends on, but for the image: so that answers to two questions never mix in one folder."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from ..runs.checkpoints import weights_digest
from ..tasks import Task, get_task
from .naming import named_tasks
from .question import Text
from .segmenter import Segmenter


def what_is_asked(segmenter: Segmenter, text: Text | None, task: str | Task | None) -> dict[str, Any]:
    """Collect the words, the settings of the targets that they may mean, and digests of both models."""
    tasks = named_tasks(text or "", segmenter.questions.own) if task is None else [get_task(task)]
    settings = {known.name: segmenter.questions.settings_of(known) for known in tasks}
    settings = settings or {"": segmenter.questions.settings_of(None)}
    return {
        "text": text,
        "task": None if task is None else get_task(task).name,
        "prompts": {known.name: dict(known.prompts) for known in tasks if text is None},
        "clip": f"{segmenter.clip.name} {weights_digest(segmenter.clip.model)}",
        "sam": weights_digest(segmenter.sam.model),
        "settings": {name: asdict(each) for name, each in settings.items()},
    }
