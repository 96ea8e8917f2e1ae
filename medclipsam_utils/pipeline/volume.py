"""Every slice of a NIfTI volume: in batches, over interruptions; the answer is a mask of the whole volume."""

from __future__ import annotations

import base64
import json
import os
import shutil
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm.auto import tqdm

from ..images import MedicalImage
from ..images.names import some
from ..images.nifti import NiftiVolume
from ..runs.files import write_json
from ..runs.records import Record, Records
from ..tasks import Task
from .asked import what_is_asked
from .method import segment
from .question import Text
from .segmentation import outlined
from .segmenter import Segmenter


@dataclass(frozen=True, eq=False)
class VolumeSegmentation:
    """The answers about all slices of a volume.

    Attributes:
        mask: bool [S, H, W], from the inferior, posterior or left end; empty in slices where the target is reported
            absent.
        present: for each slice whether the target is reported present; None where that is not known.
        text: what was asked, in words.
        task: name of the task whose target the words name; None where they name none.
        largest: the slice with the largest mask, as an image.
    """

    mask: np.ndarray
    present: tuple[bool | None, ...]
    text: str
    task: str | None
    largest: MedicalImage

    @property
    def volume_ml(self) -> float:
        """Volume of the mask in millilitres; a file that does not say its unit counts as millimetres."""
        assert self.largest.volume is not None
        return float(self.mask.sum() * np.prod(self.largest.volume.spacing_mm) / 1000)

    @property
    def presence(self) -> str:
        """How many slices report the target present, absent, and neither.

        Tests of single slices are no test of the volume: of 100 slices without the target, some report it present.
        """
        counts = [sum(answer is each for answer in self.present) for each in (True, False, None)]
        return "reported present in {} slices, absent in {}, unknown in {}".format(*counts)

    def __repr__(self) -> str:
        n, target = len(self.mask), "no known target" if self.task is None else f"as {self.task}"
        assert self.largest.volume is not None
        what = f"all {n} {self.largest.volume.plane} slices, {self.volume_ml:.1f} ml"
        return f"VolumeSegmentation({self.text!r} {target}: {', '.join((what, self.presence, *self.largest.notes))})"

    def overlay(self) -> np.ndarray:
        """Draw the outline of the mask into the slice with the largest: uint8 [H, W, 3]."""
        assert self.largest.volume is not None
        return outlined(self.largest.pixels, self.mask[self.largest.volume.slice_index])


def segment_volume(
    segmenter: Segmenter,
    path: str | os.PathLike | NiftiVolume,
    text: Text | None = None,
    *,
    task: str | Task | None = None,
    plane: str | None = None,
    window: tuple[float, float] | None = None,
    batch_size: int = 8,
    parts: str | os.PathLike | None = None,
    asked: dict[str, Any] | None = None,
    progress: bool = True,
) -> VolumeSegmentation:
    """Draw the mask of what the text names in every slice of a NIfTI volume.

    Slice by slice, as :meth:`Segmenter.segment` does; a slice where the target is reported absent stays empty. Where
    the words leave the target open, as the lungs may be in an X-ray or in CT, the middle slice decides for all.

    Args:
        segmenter: answers the question.
        path: a NIfTI file, or one that is open already, in its plane.
        text, task: as in :meth:`Segmenter.segment`.
        plane, window: as in :func:`~medclipsam_utils.images.read_image`.
        batch_size: number of slices that are seen together.
        parts: a folder of its own, in which finished slices are kept, so that the same call goes on after an
            interruption; remove it when you have the mask. None keeps them in memory.
        asked: what :func:`~medclipsam_utils.pipeline.asked.what_is_asked` returns, where that is known already.
        progress: show a bar.

    Raises:
        ImageError: the file cannot be read.
        ValueError, ModelError: as in :meth:`Segmenter.segment`.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size is {batch_size}: give 1 or more")
    volume = path if isinstance(path, NiftiVolume) else NiftiVolume(Path(path), plane)
    n = volume.n_slices
    task = segmenter.questions.ask([volume.image(n // 2, window)], text, task)[0].task
    records = None
    if parts is not None:
        records = _records(Path(parts), volume, window, asked or what_is_asked(segmenter, text, task))
    done = {} if records is None else {int(name): record for name, record in records.read().items()}
    batches = [range(start, min(start + batch_size, n)) for start in range(0, n, batch_size)]
    # A batch is done again as a whole: other batches might differ in a last bit.
    todo = [batch for batch in batches if not all(index in done for index in batch)]
    with tqdm(total=n, initial=n - sum(map(len, todo)), disable=not progress, unit="slice") as bar:
        for batch in todo:
            for record in _answers(segmenter, volume, batch, text, task, window):
                done[int(record["file"])] = record
                if records is not None:
                    records.append(record)
            bar.update(len(batch))
    masks = np.stack([_unpacked(done[index]["mask"], volume.where(0).image_shape) for index in range(n)])
    largest = volume.image(int(masks.sum(axis=(1, 2)).argmax()), window)
    presences = tuple(done[index]["present"] for index in range(n))
    return VolumeSegmentation(masks, presences, done[0]["text"], task.name if task else None, largest)


def _answers(
    segmenter: Segmenter,
    volume: NiftiVolume,
    batch: Sequence[int],
    text: Text | None,
    task: Task | None,
    window: tuple[float, float] | None,
) -> list[Record]:
    """Answer about some slices; those with an absent target are not segmented at all."""
    images = [volume.image(index, window) for index in batch]
    questions = segmenter.questions.ask(images, text, task)
    asked = [number for number, question in enumerate(questions) if question.presence.present is not False]
    found = segment(
        segmenter.clip, segmenter.sam, [images[number] for number in asked], [questions[number] for number in asked]
    )
    masks = {number: answer.mask for number, answer in zip(asked, found, strict=True)}
    empty = np.zeros(images[0].pixels.shape[:2], bool)
    return [
        {
            "file": str(index),
            "mask": _packed(masks.get(number, empty)),
            "present": questions[number].presence.present,
            "text": questions[number].text,
        }
        for number, index in enumerate(batch)
    ]


def _records(folder: Path, volume: NiftiVolume, window: tuple[float, float] | None, asked: dict[str, Any]) -> Records:
    """Open the folder of finished slices; those of another question, or of a file that has changed, are removed."""
    stat = volume.path.stat()
    question: dict[str, Any] = {
        **asked,
        "image": [stat.st_size, stat.st_mtime_ns, volume.plane, window],
    }
    path = folder / "question.json"
    question = json.loads(json.dumps(question))
    if not (path.is_file() and json.loads(path.read_text(encoding="utf-8")) == question):
        others = [each.name for each in folder.glob("*") if each != path and each.suffix != ".jsonl"]
        if others:
            raise ValueError(f"{folder} holds {some(others)}: give the parts of a mask a folder of their own")
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        write_json(path, question)
    return Records(folder)


def _packed(mask: np.ndarray) -> str:
    return base64.b64encode(zlib.compress(np.packbits(mask).tobytes())).decode()


def _unpacked(packed: str, shape: tuple[int, int]) -> np.ndarray:
    bits = np.frombuffer(zlib.decompress(base64.b64decode(packed)), np.uint8)
    return np.unpackbits(bits, count=shape[0] * shape[1]).reshape(shape).astype(bool)
