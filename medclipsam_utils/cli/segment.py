"""``medclipsam segment``: one image and one sentence or several."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from .options import add_segmenter_arguments, load_task, segmenter

DESCRIPTION = (
    "Write the mask of what a sentence names in an image: PNG, JPEG, TIFF, DICOM or NIfTI. Without a sentence, --task "
    "says what is looked for."
)
EPILOG = """\
examples:
  medclipsam segment scan.dcm "brain tumour"                  writes scan_brain_tumour.png
  medclipsam segment scan.png "breast tumour" -o mask.png --overlay overlay.png --figure steps.png
  medclipsam segment head.nii.gz "brain tumour" --slice 80    writes a volume with the input's affine
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
    reading.add_argument("--slice", type=int, help="of a NIfTI volume, from 0; the middle if not given")
    add_segmenter_arguments(parser)


def run(options: argparse.Namespace) -> int:
    from .. import read_image, write_mask

    if not options.text and options.task is None:
        raise ValueError("give a sentence, for example 'brain tumour', or --task")
    if len(options.text) > 1 and (options.overlay or options.figure or options.task):
        raise ValueError("--overlay, --figure and --task are for one sentence: run the command once for each")
    task = load_task(options.task)
    picture = read_image(
        options.image, frame=options.frame, window=options.window, plane=options.plane, slice_index=options.slice
    )
    print(picture)
    paths = _outputs(options, picture.volume is not None)
    for path in filter(None, (options.overlay, options.figure)):
        path.parent.mkdir(parents=True, exist_ok=True)
    finder, task = segmenter(options, task)
    if len(options.text) > 1:
        answers = finder.segment_targets(picture, options.text)
    else:
        answers = [finder.segment(picture, *options.text, task=task)]
    for path, answer in zip(paths, answers, strict=True):
        write_mask(path, answer.mask, like=picture)
        print(f"{answer}\nmask: {path}")
        if answer.present is False:
            print("The target is reported absent: the mask shows where it would most likely be.")
    if options.overlay:
        from PIL import Image

        Image.fromarray(answers[0].overlay()).save(options.overlay)
        print(f"overlay: {options.overlay}")
    if options.figure:
        answers[0].show().savefig(options.figure, dpi=150)
        print(f"figure: {options.figure}")
    return 0


def _outputs(options: argparse.Namespace, volume: bool) -> list[Path]:
    """Choose a path for each mask, in folders that exist."""
    from ..images.names import image_stem

    if options.output and len(options.text) < 2:
        options.output.parent.mkdir(parents=True, exist_ok=True)
        return [options.output]
    folder = options.output or Path()
    folder.mkdir(parents=True, exist_ok=True)
    stem = image_stem(options.image.name) or options.image.stem
    words = [re.sub(r"\W+", "_", text).strip("_") for text in options.text or [Path(options.task).stem]]
    names = [f"{stem}_{word}" for word in words]
    if len(set(names)) < len(names):
        raise ValueError("two sentences give the same file name: run the command once for each, with -o")
    return [folder / (name + (".nii.gz" if volume else ".png")) for name in names]
