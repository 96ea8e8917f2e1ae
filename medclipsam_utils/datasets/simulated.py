"""Simulated images as a dataset: the same seed is the same item, in any order, process or worker."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence

from ..simulate import FINDINGS, Sample, simulate
from ..tasks import PROMPT_KINDS, Task, get_task
from .items import Item, ItemDataset, Transform, image_tensor, mask_tensor


class SimulatedDataset(ItemDataset):
    """Images, masks and captions from :func:`~medclipsam_utils.simulate.simulate`, drawn when asked for.

    Items are ordered by task, then finding, then seed. ``name`` is made of all three.
    """

    size: int  # never None: there is no file whose size could be kept

    def __init__(
        self,
        task: str | Task | Sequence[str | Task],
        seeds: Sequence[int],
        size: int = 256,
        findings: Sequence[str] | Mapping[str, Sequence[str]] | None = None,
        transform: Transform | None = None,
        caption_kind: str | None = None,
    ):
        """Choose what is simulated; nothing is drawn yet.

        Args:
            task: one task or several, by name or as :class:`~medclipsam_utils.tasks.Task`.
            seeds: non-negative integers, each once, for example ``range(1000)``. Keep the ranges for training and
                testing apart: the same seed is the same image.
            size: side of the images in pixels, 32 to 1024.
            findings: what the images show. None draws one finding per seed. Otherwise every seed is shown with every
                finding: the same anatomy each time. For several tasks whose findings differ, give them by task name;
                a task that is not named draws its own.
            transform: function from item to item, or None.
            caption_kind: how captions describe, ``"P0"`` to ``"P3"``; None mixes P1, P2 and P3.

        Raises:
            ValueError: unknown task, finding or kind of caption; no or repeated tasks, seeds or findings; a negative
                seed; a size out of range.
        """
        super().__init__(size, transform)
        if size is None or not 32 <= size <= 1024:
            raise ValueError(f"size is {size!r}: simulated images have 32 to 1024 pixels per side")
        tasks = [task] if isinstance(task, str | Task) else list(task)
        self.tasks = _distinct("task", [get_task(each).name for each in tasks])
        self.seeds = seeds if isinstance(seeds, range) else _distinct("seeds", [_seed(seed) for seed in seeds])
        if not self.seeds or min(self.seeds[0], self.seeds[-1]) < 0:
            raise ValueError(f"seeds is {seeds!r}: give at least one non-negative integer, for example range(100)")
        if isinstance(findings, Mapping) and not findings.keys() <= set(self.tasks):
            raise ValueError(f"findings names the tasks {', '.join(findings)}, but chosen are {', '.join(self.tasks)}")
        if caption_kind is not None and caption_kind not in PROMPT_KINDS:
            raise ValueError(f"caption_kind is {caption_kind!r}; choose from {', '.join(PROMPT_KINDS)}, or None")
        self.caption_kind = caption_kind
        self._shown = [(name, finding) for name in self.tasks for finding in _findings(name, findings)]

    def __len__(self) -> int:
        return len(self._shown) * len(self.seeds)

    def load(self, index: int) -> Item:
        task, finding = self._shown[index // len(self.seeds)]
        seed = self.seeds[index % len(self.seeds)]
        sample = simulate(task, seed, size=self.size, finding=finding, caption_kind=self.caption_kind)
        return {
            "image": image_tensor(sample.image, None),
            "mask": mask_tensor(sample.mask, None),
            "caption": sample.caption,
            "name": f"{task}_{seed:06d}_{sample.finding}",
            "group": self._group(sample),
            "task": task,
            "finding": sample.finding,
            "seed": seed,
        }

    def _group(self, sample: Sample) -> str:
        """Name the pairs whose captions are true of each other's images.

        Descriptions of the class in general (P2) are true of every image of the task that shows the target, or of
        every one that does not; but for "beside the heart" in CT, where a slice may lie above it. Bare names (P0) do
        not say the modality: "lungs" are in X-rays and in CT slices. Of the others only equal ones are known to be.
        """
        if self.caption_kind not in ("P0", "P2"):
            return sample.caption
        subject = sample.task if self.caption_kind == "P2" else get_task(sample.task).target
        return f"{subject}, {'present' if sample.mask.any() else 'absent'}"


def _findings(task: str, findings: Sequence[str] | Mapping[str, Sequence[str]] | None) -> tuple[str | None, ...]:
    """Return the findings with which each seed of the task is shown; (None,) draws one."""
    if isinstance(findings, Mapping):
        findings = findings.get(task)
    if findings is None:
        return (None,)
    if isinstance(findings, str):
        raise ValueError(f"findings is {findings!r}: give a sequence, [{findings!r}]")
    for finding in findings:
        if finding not in FINDINGS[task]:
            raise ValueError(f"{task} has no finding {finding!r}; choose from {', '.join(FINDINGS[task])}")
    return _distinct("findings", list(findings))


def _seed(seed: int) -> int:
    try:
        number = operator.index(seed)
    except TypeError:
        number = -1
    if number < 0:
        raise ValueError(f"seeds has {seed!r}: give non-negative integers, for example range(100)")
    return number


def _distinct(name: str, values: list) -> tuple:
    if not values:
        raise ValueError(f"{name} is empty: give at least one")
    repeated = [value for value in dict.fromkeys(values) if values.count(value) > 1]
    if repeated:
        raise ValueError(f"{name} has {repeated[0]!r} more than once: leave the repetitions out")
    return tuple(values)
