"""Every image in a folder: in batches, by several processes, over interruptions, past broken files."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from PIL import Image
from tqdm.auto import tqdm

from ..images import MedicalImage, read_image, write_mask
from ..images.names import image_names, image_stem
from ..runs.checkpoints import weights_digest
from ..runs.files import write_json, write_table
from ..runs.processes import joined
from ..runs.records import Record, Records
from ..tasks import Task, get_task
from .naming import named_tasks
from .question import Text
from .segmentation import Segmentation
from .segmenter import Segmenter

MASKS, OVERLAYS, RECORDS, QUESTION = "masks", "overlays", "records", "question.json"
RESULTS, FAILURES = "results.csv", "failures.csv"
RESULT_COLUMNS = ("file", "mask", "task", "text", "share_of_image", "area_mm2", "p_value", "present", "reason")
FAILURE_COLUMNS = ("file", "error")


@dataclass(frozen=True)
class FolderResult:
    """What :func:`segment_folder` left in its folder.

    Attributes:
        masks: how many there are, of this call and of earlier ones.
        failed: how many files have none.
        new: how many files this call looked at, in this process.
        results: the table of masks.
        failures: the table of files without one.
    """

    masks: int
    failed: int
    new: int
    results: Path
    failures: Path

    def __repr__(self) -> str:
        failed = f", failed: {self.failed} (see {self.failures})" if self.failed else ""
        return f"FolderResult(masks: {self.masks} (see {self.results}){failed}, new: {self.new})"


def segment_folder(
    segmenter: Segmenter,
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
    """Draw the mask of what the text names in every image of a folder and its subfolders.

    ::

        target/masks/…          for each image one of the same name: .png, or .nii.gz of a NIfTI volume
        target/overlays/…       images with the outline drawn in, if asked for
        target/results.csv      a row for each mask: task, area, presence
        target/failures.csv     a row for each file that could not be read or segmented, and why

    A file that fails stops nothing. The same call goes on after an interruption, and does nothing twice: what was done,
    or failed, is done again only if the file has changed since, or its mask is gone. Under ``torchrun`` the processes
    share the files.

    Args:
        segmenter: answers the question.
        source: the folder; see :class:`~medclipsam_utils.datasets.MaskFolder` for what counts as an image.
        target: the folder to write to, made if it is missing; it belongs to one question and its settings.
        text, task: as in :meth:`Segmenter.segment`.
        batch_size: number of images that are seen together.
        overlays: draw them.
        retry: try again what failed.
        progress: show a bar.

    Returns:
        A :class:`FolderResult`; a notebook shows it in words.

    Raises:
        ValueError: there is no such folder, no image in it, ``target`` holds the answers to another question, or as in
            :meth:`Segmenter.segment`.
        ModelError: the text does not fit the model.
    """
    source, target = Path(source), Path(target)
    if batch_size < 1:
        raise ValueError(f"batch_size is {batch_size}: give 1 or more")
    segmenter.questions.ask([], text, task)  # raises, if they are wrong, before anything is written
    images = _images(source, target)
    with joined(segmenter.clip.device) as processes:
        if processes.first:
            _claim(target, _question(segmenter, text, task))
        processes.wait()
        records = Records(target / RECORDS, processes.rank)
        known = records.read()
        mine = list(images)[processes.rank :: processes.count]
        todo = [name for name in mine if not _settled(known.get(name), source / name, target, retry)]
        try:
            quiet = not (progress and processes.first)
            with tqdm(total=len(mine), initial=len(mine) - len(todo), disable=quiet, unit="file") as bar:
                for start in range(0, len(todo), batch_size):
                    batch = todo[start : start + batch_size]
                    alike = [name for name in batch if images[name]]
                    for name in alike:
                        records.append(_failure(name, _state(source / name), _shares_stem(images[name])))
                    names = [name for name in batch if name not in alike]
                    for record in _segment(segmenter, source, target, names, text, task, overlays):
                        records.append(record)
                    bar.update(len(batch))
            processes.wait()
        finally:
            known = records.read()
            looked_at = [known[name] for name in images if name in known]
            done, failed = ([record for record in looked_at if record[key]] for key in ("mask", "error"))
            if processes.first:
                for name, columns, rows in ((RESULTS, RESULT_COLUMNS, done), (FAILURES, FAILURE_COLUMNS, failed)):
                    write_table(target / name, columns, ([row[column] for column in columns] for row in rows))
    return FolderResult(len(done), len(failed), len(todo), target / RESULTS, target / FAILURES)


def _images(source: Path, target: Path) -> dict[str, str]:
    """List the images by their names relative to the folder, in alphabetical order; what is in ``target`` is none.

    The value is the name of an earlier image in the same folder with the same stem, whose mask would have the same
    name; empty if there is none.
    """
    first: dict[str, str] = {}
    images = {}
    for name in image_names(source, ignore=target):
        mask = _partner(name, MASKS, "")
        images[name] = first.get(mask, "")
        first.setdefault(mask, name)
    return images


def _question(segmenter: Segmenter, text: Text | None, task: str | Task | None) -> dict[str, Any]:
    """Collect all that the masks depend on, but for the images."""
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


def _claim(target: Path, question: dict[str, Any]) -> None:
    """Make the folder this question's, or see that it is.

    Raises:
        ValueError: it is another's.
    """
    path = target / QUESTION
    question = json.loads(json.dumps(question))
    if path.exists():
        older = json.loads(path.read_text(encoding="utf-8"))
        if older != question:
            others = ", ".join(name for name in question if older.get(name) != question[name])
            raise ValueError(f"{target} holds masks of another {others} (see {path}): give another folder")
        return
    for folder in (MASKS, RECORDS):
        (target / folder).mkdir(parents=True, exist_ok=True)
    write_json(path, question)


def _settled(record: Record | None, path: Path, target: Path, retry: bool) -> bool:
    if record is None or record["state"] != _state(path):
        return False
    return (target / record["mask"]).exists() if record["mask"] else not retry


def _state(path: Path) -> list[int]:
    """Collect what changes when a file does; nothing if it is gone."""
    try:
        stat = path.stat()
    except OSError:
        return []
    return [stat.st_size, stat.st_mtime_ns]


def _segment(
    segmenter: Segmenter,
    source: Path,
    target: Path,
    names: Sequence[str],
    text: Text | None,
    task: str | Task | None,
    overlays: bool,
) -> Iterator[Record]:
    """Read, segment and write a batch; a record of each file once its mask is there, or why it is not."""
    images: dict[str, MedicalImage] = {}
    states = {name: _state(source / name) for name in names}
    for name in names:
        try:
            images[name] = read_image(source / name)
        except ValueError as error:  # an ImageError is one
            yield _failure(name, states[name], error)
    found = _attempt(segmenter, list(images.values()), text, task)
    for (name, image), answer in zip(images.items(), found, strict=True):
        if isinstance(answer, Exception):
            yield _failure(name, states[name], answer)
            continue
        mask = _partner(name, MASKS, ".nii.gz" if image.volume is not None else ".png")
        (target / mask).parent.mkdir(parents=True, exist_ok=True)
        write_mask(target / mask, answer.mask, like=image)
        if overlays:
            path = target / _partner(name, OVERLAYS, ".png")
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(answer.overlay()).save(path)
        yield {"state": states[name], "error": "", **_row(name, mask, answer, image)}


def _attempt(
    segmenter: Segmenter, images: Sequence[MedicalImage], text: Text | None, task: str | Task | None
) -> list[Segmentation | Exception]:
    """Answers, or for each image why there is none: if they fail together, they are tried one by one."""
    try:
        return list(segmenter.segment_batch(images, text, task=task))
    except Exception as error:  # whatever it is, the other files must not suffer from it
        if len(images) == 1:
            return [error]
        return [answer for image in images for answer in _attempt(segmenter, [image], text, task)]


def _partner(name: str, folder: str, extension: str) -> str:
    path = Path(name)
    return (Path(folder) / path.parent / f"{image_stem(path.name)}{extension}").as_posix()


def _shares_stem(other: str) -> ValueError:
    return ValueError(f"its mask would have the name of that of {other}, which has the same stem: rename one")


def _failure(name: str, state: list[int], error: Exception) -> Record:
    return {"file": name, "state": state, "mask": "", "error": str(error) or type(error).__name__}


def _row(name: str, mask: str, found: Segmentation, image: MedicalImage) -> Record:
    spacing = image.spacing_mm
    return {
        "file": name,
        "mask": mask,
        "task": found.task or "",
        "text": found.text,
        "share_of_image": round(float(found.mask.mean()), 5),
        "area_mm2": "" if spacing is None else round(int(found.mask.sum()) * spacing[0] * spacing[1], 2),
        "p_value": "" if found.p_value is None else round(found.p_value, 4),
        "present": {True: "yes", False: "no", None: "unknown"}[found.present],
        "reason": found.presence.reason,
    }
