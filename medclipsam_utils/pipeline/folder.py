"""Every image in a folder: in batches, by several processes, over interruptions, past broken files."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm

from ..images import MedicalImage, read_image, write_mask
from ..images.formats import sniff
from ..images.masks import write_picture
from ..images.names import image_stem, list_images
from ..images.nifti import NiftiVolume
from ..images.volume import check_plane
from ..runs.files import write_json, write_table
from ..runs.processes import joined
from ..runs.records import Record, Records
from ..tasks import Task
from .asked import what_is_asked
from .question import Text
from .segmentation import Segmentation
from .segmenter import Segmenter
from .volume import VolumeSegmentation, segment_volume

MASKS, OVERLAYS, RECORDS, SLICES, QUESTION = "masks", "overlays", "records", "slices", "question.json"
RESULTS, FAILURES, IGNORED = "results.csv", "failures.csv", "ignored.csv"
RESULT_COLUMNS = (
    *("file", "frame", "slice", "mask", "task", "text", "share_of_image", "area_mm2", "volume_ml"),
    *("p_value", "present", "reason", "note"),
)
FAILURE_COLUMNS, IGNORED_COLUMNS = ("file", "error"), ("file", "reason")


@dataclass(frozen=True)
class FolderResult:
    """What :func:`segment_folder` left in its folder.

    Attributes:
        masks: how many there are, of this call and of earlier ones.
        failed: how many files have none.
        new: how many files this call looked at, in this process.
        results: the table of masks.
        failures: the table of files without one.
        ignored: the table of other files in the folder: those that are no images, and what this program wrote.
    """

    masks: int
    failed: int
    new: int
    results: Path
    failures: Path
    ignored: Path

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
    plane: str | None = None,
    slice_index: int | None = None,
    retry: bool = False,
    progress: bool = True,
) -> FolderResult:
    """Draw the mask of what the text names in every image of a folder and its subfolders.

    ::

        target/masks/…          for each image one of the same name: .png, or .nii.gz of a whole NIfTI volume
        target/overlays/…       images with the outline drawn in, if asked for; of a volume the slice with most of it
        target/results.csv      a row for each mask: which frame or slices of the file, task, area, presence
        target/failures.csv     a row for each file that could not be read or segmented, and why
        target/ignored.csv      a row for each other file: text, documents, and results of this program

    Of a DICOM or TIFF file with several frames the middle frame or the first page is segmented, and the table says so.
    In the tables a text that a spreadsheet would take for a formula begins with an apostrophe.

    A file that fails stops nothing. The same call goes on after an interruption, and does nothing twice: what was done,
    or failed, is done again only if the file has changed since, or its mask (or the overlay asked for) is gone. Under
    ``torchrun`` the processes share the files.

    Args:
        segmenter: answers the question.
        source: the folder; see :func:`~medclipsam_utils.images.names.list_images` for what counts as an image.
        target: the folder to write to, made if it is missing; it belongs to one question and its settings.
        text, task: as in :meth:`Segmenter.segment`.
        batch_size: number of images that are seen together.
        overlays: draw them.
        plane, slice_index: of NIfTI volumes, as in :func:`~medclipsam_utils.images.read_image`; without a slice all are
            segmented.
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
    check_plane(source, plane)
    segmenter.questions.ask([], text, task)  # raises, if they are wrong, before anything is written
    listing = list_images(source, leave_out=target)
    images = _first_of_stem(listing.images)
    asked = what_is_asked(segmenter, text, task)
    what = _What(segmenter, source, target, text, task, overlays, plane, slice_index, asked)
    with joined(segmenter.clip.device) as processes:
        if processes.first:
            reading = {} if plane is None and slice_index is None else {"plane": plane, "slice": slice_index}
            _claim(target, asked | reading)
        processes.wait()
        records = Records(target / RECORDS, processes.rank)
        known = records.read()
        mine = list(images)[processes.rank :: processes.count]
        todo = [name for name in mine if not _settled(known.get(name), what, name, retry)]
        try:
            quiet = not (progress and processes.first)
            with tqdm(total=len(mine), initial=len(mine) - len(todo), disable=quiet, unit="file") as bar:
                for start in range(0, len(todo), batch_size):
                    batch = todo[start : start + batch_size]
                    alike = [name for name in batch if images[name]]
                    for name in alike:
                        records.append(_failure(name, _state(source / name), _shares_stem(images[name])))
                    for record in _segment(what, [name for name in batch if name not in alike], not quiet):
                        records.append(record)
                        bar.update()
                    bar.update(len(alike))
            processes.wait()
        finally:
            known = records.read()
            looked_at = [known[name] for name in images if name in known]
            done, failed = ([record for record in looked_at if record[key]] for key in ("mask", "error"))
            failed += [{"file": name, "error": reason} for name, reason in listing.unread.items()]
            if processes.first:
                for name, columns, rows in ((RESULTS, RESULT_COLUMNS, done), (FAILURES, FAILURE_COLUMNS, failed)):
                    write_table(target / name, columns, ([row.get(column, "") for column in columns] for row in rows))
                write_table(target / IGNORED, IGNORED_COLUMNS, sorted(listing.ignored.items()))
    return FolderResult(len(done), len(failed), len(todo), *(target / name for name in (RESULTS, FAILURES, IGNORED)))


@dataclass(frozen=True)
class _What:
    """The arguments of :func:`segment_folder` on which an answer depends."""

    segmenter: Segmenter
    source: Path
    target: Path
    text: Text | None
    task: str | Task | None
    overlays: bool
    plane: str | None
    slice_index: int | None
    asked: dict[str, Any]


def _first_of_stem(names: Sequence[str]) -> dict[str, str]:
    """Map each image to an earlier one in its folder whose mask would have the same name; empty if there is none."""
    first: dict[str, str] = {}
    images = {}
    for name in names:
        mask = _partner(name, MASKS, "")
        images[name] = first.get(mask, "")
        first.setdefault(mask, name)
    return images


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
            others = ", ".join(name for name in older | question if older.get(name) != question.get(name))
            raise ValueError(f"{target} holds masks of another {others} (see {path}): give another folder")
        return
    for folder in (MASKS, RECORDS):
        (target / folder).mkdir(parents=True, exist_ok=True)
    write_json(path, question)


def _settled(record: Record | None, what: _What, name: str, retry: bool) -> bool:
    if record is None or record["state"] != _state(what.source / name):
        return False
    if not record["mask"]:
        return not retry
    drawn = not what.overlays or (what.target / _partner(name, OVERLAYS, ".png")).exists()
    return drawn and (what.target / record["mask"]).exists()


def _state(path: Path) -> list[int]:
    """Collect what changes when a file does; nothing if it is gone."""
    try:
        stat = path.stat()
    except OSError:
        return []
    return [stat.st_size, stat.st_mtime_ns]


def _segment(what: _What, names: Sequence[str], progress: bool) -> Iterator[Record]:
    """Read, segment and write a batch; a record of each file once its mask is there, or why it is not."""
    images: dict[str, MedicalImage] = {}
    states = {name: _state(what.source / name) for name in names}
    for name in names:
        try:
            path = what.source / name
            if sniff(path) != "NIfTI":
                images[name] = read_image(path)
            elif what.slice_index is not None or (volume := NiftiVolume(path, what.plane)).n_slices == 1:
                images[name] = read_image(path, plane=what.plane, slice_index=what.slice_index)
            else:
                yield {"state": states[name], "error": "", **_volume(what, name, volume, progress)}
        except Exception as error:  # whatever it is, the other files must not suffer from it
            yield _failure(name, states[name], error)
    found = _attempt(what.segmenter, list(images.values()), what.text, what.task)
    for (name, image), answer in zip(images.items(), found, strict=True):
        try:
            if isinstance(answer, Exception):
                raise answer
            mask = _written(what, name, answer, image)
            yield {"state": states[name], "error": "", **_row(name, mask, answer, image)}
        except Exception as error:
            yield _failure(name, states[name], error)


def _volume(what: _What, name: str, volume: NiftiVolume, progress: bool) -> Record:
    """Segment a whole volume, and return its row."""
    parts = what.target / _partner(name, SLICES, ".parts")
    found = segment_volume(
        what.segmenter, volume, what.text, task=what.task, parts=parts, asked=what.asked, progress=progress
    )
    mask = _written(what, name, found, found.largest)
    shutil.rmtree(parts)
    where = found.largest.volume
    assert where is not None
    reported = set(found.present)
    return {
        "file": name,
        "frame": "",
        "slice": f"all {where.n_slices} {where.plane}",
        "mask": mask,
        "task": found.task or "",
        "text": found.text,
        "share_of_image": round(float(found.mask.mean()), 5),
        "area_mm2": "",
        "volume_ml": round(found.volume_ml, 3),
        "p_value": "",
        "present": "no" if reported == {False} else "unknown",
        "reason": found.presence,
        "note": "; ".join(found.largest.notes),
    }


def _written(what: _What, name: str, answer: Segmentation | VolumeSegmentation, image: MedicalImage) -> str:
    """Write the mask of an answer, and the overlay if asked for, and return the name of the mask."""
    mask = _partner(name, MASKS, ".nii.gz" if image.volume is not None else ".png")
    (what.target / mask).parent.mkdir(parents=True, exist_ok=True)
    write_mask(what.target / mask, answer.mask, like=image)
    if what.overlays:
        path = what.target / _partner(name, OVERLAYS, ".png")
        path.parent.mkdir(parents=True, exist_ok=True)
        write_picture(path, answer.overlay())
    return mask


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
    spacing, where = image.spacing_mm, image.volume
    several = where is not None and where.n_slices > 1
    return {
        "file": name,
        "frame": f"{image.frame} of {image.n_frames}" if image.n_frames > 1 else "",
        "slice": f"{where.slice_index} of {where.n_slices} {where.plane}" if where is not None and several else "",
        "mask": mask,
        "task": found.task or "",
        "text": found.text,
        "share_of_image": round(float(found.mask.mean()), 5),
        "area_mm2": "" if spacing is None else round(int(found.mask.sum()) * spacing[0] * spacing[1], 2),
        "volume_ml": "",
        "p_value": "" if found.p_value is None else round(found.p_value, 4),
        "present": {True: "yes", False: "no", None: "unknown"}[found.present],
        "reason": found.presence.reason,
        "note": "; ".join(image.notes),
    }
