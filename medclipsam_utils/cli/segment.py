"""``medclipsam segment``: one image and one sentence or several."""

from __future__ import annotations

import argparse
import os
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from .options import add_segmenter_arguments, load_task, segmenter

if TYPE_CHECKING:
    from ..images.nifti import NiftiVolume
    from ..pipeline import Segmentation, VolumeSegmentation
    from ..tasks import Task

DESCRIPTION = (
    "Write the mask of what a sentence names in an image: PNG, JPEG, TIFF, DICOM or NIfTI. Of a NIfTI volume every "
    "slice is segmented; the same command goes on after an interruption. Without a sentence, --task says what is "
    "looked for."
)
EPILOG = """\
examples:
  medclipsam segment scan.dcm "brain tumour"                  writes scan_brain_tumour.png
  medclipsam segment scan.png "breast tumour" -o mask.png --overlay overlay.png --figure steps.png
  medclipsam segment head.nii.gz "brain tumour"               writes a mask of the whole volume
  medclipsam segment head.nii.gz "brain tumour" --slice 80    the mask of one slice, in a volume of zeros
  medclipsam segment chest.dcm --task lung_xray
  medclipsam segment frame.png --task polyp.toml --profile full     a target of your own
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("image", type=Path, help="the file")
    parser.add_argument("text", nargs="*", help="what to look for; of several sentences each gets a mask of its own")
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        help="file for the mask (.png, .tif, or for NIfTI .nii and .nii.gz); for several sentences a folder. "
        "IMAGE_TEXT.png, or .nii.gz, in the current folder if not given",
    )
    parser.add_argument("--overlay", type=Path, metavar="FILE", help="also write the image with the outline in it")
    parser.add_argument("--figure", type=Path, metavar="FILE", help="also draw saliency, coarse mask and prompts")
    reading = parser.add_argument_group("reading")
    reading.add_argument("--frame", type=int, help="of a DICOM or TIFF file with several, from 0")
    reading.add_argument(
        "--window", type=float, nargs=2, metavar=("CENTRE", "WIDTH"), help="grey levels, e.g. -600 1500"
    )
    reading.add_argument("--plane", help="of a NIfTI volume: axial, coronal, sagittal")
    reading.add_argument("--slice", type=int, help="only this slice of a NIfTI volume, from 0; all if not given")
    add_segmenter_arguments(parser)


def run(options: argparse.Namespace) -> int:
    if not options.text and options.task is None:
        raise ValueError("give a sentence, for example 'brain tumour', or --task")
    if len(options.text) > 1 and (options.overlay or options.figure or options.task):
        raise ValueError("--overlay, --figure and --task are for one sentence: run the command once for each")
    task = load_task(options.task)
    from ..images.formats import sniff

    if options.slice is None and options.frame is None and options.image.is_file() and sniff(options.image) == "NIfTI":
        from ..images.nifti import NiftiVolume

        volume = NiftiVolume(options.image, options.plane)
        if volume.n_slices > 1:
            return _segment_volume(options, task, volume)
    return _segment_image(options, task)


def _segment_image(options: argparse.Namespace, task: Task | None) -> int:
    from .. import read_image, write_mask

    picture = read_image(
        options.image, frame=options.frame, window=options.window, plane=options.plane, slice_index=options.slice
    )
    print(picture)
    paths = _outputs(options, picture.volume is not None)
    finder, task = segmenter(options, task)
    if len(options.text) > 1:
        answers = finder.segment_targets(picture, options.text)
    else:
        answers = [finder.segment(picture, *options.text, task=task)]
    where = picture.volume
    for path, answer in zip(paths, answers, strict=True):
        write_mask(path, answer.mask, like=picture)
        print(f"{answer}\nmask: {path}")
        if where is not None and where.n_slices > 1 and path.name.lower().endswith((".nii", ".nii.gz")):
            print(f"The mask is of {where.plane} slice {where.slice_index} of {where.n_slices} only.")
        if answer.present is False:
            print("The target is reported absent: the mask shows where it would most likely be.")
    _draw(options, answers[0], answers[0])
    return 0


def _segment_volume(options: argparse.Namespace, task: Task | None, volume: NiftiVolume) -> int:
    from .. import segment_volume, write_mask

    print(f"{options.image.name}: {volume.n_slices} {volume.plane} slices")
    paths = _outputs(options, True)
    for path in paths:
        if not path.name.lower().endswith((".nii", ".nii.gz")):
            raise ValueError(f"{path}: the mask is of a volume: use the extension .nii.gz, or choose one --slice")
    finder, task = segmenter(options, task)
    for path, text in zip(paths, options.text or [None], strict=True):
        parts = path.with_name(f"{path.name}.parts")
        answer = segment_volume(finder, volume, text, task=task, window=options.window, parts=parts)
        write_mask(path, answer.mask, like=answer.largest)
        shutil.rmtree(parts)
        print(f"{answer}\nmask: {path}")
    if options.figure:
        _draw(options, answer, finder.segment(answer.largest, *options.text, task=task))
    else:
        _draw(options, answer, None)
    return 0


def _draw(options: argparse.Namespace, overlaid: Segmentation | VolumeSegmentation, drawn: Segmentation | None) -> None:
    from ..images.formats import MARK
    from ..images.masks import write_picture

    if options.overlay:
        write_picture(options.overlay, overlaid.overlay())
        print(f"overlay: {options.overlay}")
    if options.figure and drawn is not None:
        described = {"Software": MARK} if options.figure.suffix.lower() == ".png" else None
        drawn.show().savefig(options.figure, dpi=150, metadata=described)
        print(f"figure: {options.figure}")


def _outputs(options: argparse.Namespace, volume: bool) -> list[Path]:
    """Choose a path for each mask, in folders that exist."""
    from ..images.masks import check_picture
    from ..images.names import image_stem

    if options.overlay:
        check_picture(options.overlay)
    for path in filter(None, (options.overlay, options.figure)):
        path.parent.mkdir(parents=True, exist_ok=True)
    if options.output and len(options.text) < 2:
        options.output.parent.mkdir(parents=True, exist_ok=True)
        return [options.output]
    folder = options.output or Path()
    folder.mkdir(parents=True, exist_ok=True)
    stem = _cut(image_stem(options.image.name))
    words = [_cut(re.sub(r"\W+", "_", text).strip("_")) for text in options.text or [Path(options.task).stem]]
    names = [f"{stem}_{word}" for word in words]
    if len(set(names)) < len(names):
        raise ValueError("two sentences give the same file name: run the command once for each, with -o")
    return [folder / (name + (".nii.gz" if volume else ".png")) for name in names]


def _cut(text: str) -> str:
    """Shorten a text to 110 bytes, so that two and an extension are a file name of at most 255."""
    return os.fsencode(text)[:110].decode(errors="ignore")
