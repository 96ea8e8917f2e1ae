"""``medclipsam folder``: every image in a folder."""

from __future__ import annotations

import argparse
from pathlib import Path

from .options import add_segmenter_arguments, load_task, segmenter

DESCRIPTION = (
    "Write the mask of what a sentence names in every image of a folder and its subfolders, with a table of results "
    "and a table of the files that failed. The same command goes on after an interruption and does nothing twice. On "
    "several processes: torchrun --nproc-per-node N -m medclipsam_utils.cli folder …"
)
EPILOG = """\
writes:
  OUTPUT/masks/…         for each image one of the same name: .png, or .nii.gz of a whole NIfTI volume
  OUTPUT/overlays/…      with --overlay
  OUTPUT/results.csv     a row for each mask, with the frame or the slices that it is of
  OUTPUT/failures.csv    a row for each file without one, and why
  OUTPUT/ignored.csv     a row for each other file: text, documents, results of this program

exit status 3 if some files failed.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", type=Path, help="the folder with the images")
    parser.add_argument("output", type=Path, help="the folder to write to; it belongs to one question")
    parser.add_argument("text", nargs="?", help="what to look for; not needed with --task")
    parser.add_argument("--overlay", action="store_true", help="also write the images with the outlines in them")
    parser.add_argument("--batch-size", type=int, default=8, help="images seen together; %(default)s if not given")
    parser.add_argument("--plane", help="of NIfTI volumes: axial (if not given), coronal, sagittal")
    parser.add_argument("--slice", type=int, help="only this slice of NIfTI volumes, from 0; all if not given")
    parser.add_argument("--retry", action="store_true", help="try again what failed")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    add_segmenter_arguments(parser)


def run(options: argparse.Namespace) -> int:
    from ..pipeline import segment_folder

    finder, task = segmenter(options, load_task(options.task))
    result = segment_folder(
        finder, options.source, options.output, options.text, task=task, batch_size=options.batch_size,
        overlays=options.overlay, plane=options.plane, slice_index=options.slice, retry=options.retry,
        progress=not options.quiet,
    )  # fmt: skip
    print(f"masks: {result.masks}, see {result.results}")
    if result.failed:
        print(f"failed: {result.failed}, see {result.failures}")
    return 3 if result.failed else 0
