"""``medclipsam calibrate``: learn what images without a target look like, so that its presence can be tested."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from .options import add_model_arguments, load_clip_of

if TYPE_CHECKING:
    from ..images import MedicalImage

DESCRIPTION = (
    "Learn from images without a target what a CLIP makes of them. With the file that this writes, segment and folder "
    "report whether the target is present, at 5 % of false alarms: name it in the task's TOML file as calibration. It "
    "holds for these weights and for images of this kind. Of a volume the middle slice is used."
)
EPILOG = """\
example:
  medclipsam calibrate normal_mucosa -o polyp.safetensors --profile full --also with_polyps

  polyp.toml:   target = "colon polyp"
                calibration = "polyp.safetensors"

  medclipsam segment frame.png --task polyp.toml --profile full
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("without", type=Path, help="folder with images that do not show the target, 19 or more")
    parser.add_argument("-o", "--output", type=Path, required=True, help="file to write, .safetensors")
    parser.add_argument(
        "--also",
        type=Path,
        metavar="FOLDER",
        help="more images of the same kind, with or without the target, by which other kinds are told apart",
    )
    add_model_arguments(parser)


def run(options: argparse.Namespace) -> int:
    if options.output.suffix != ".safetensors":
        raise ValueError(f"the extension of {options.output} is {options.output.suffix!r}: let it end in .safetensors")
    without = _images(options.without)
    others = _images(options.also) if options.also else []
    from ..pipeline import calibrate

    calibration = calibrate(load_clip_of(options), without, others)
    calibration.save(options.output, options.output.stem)
    print(f"{len(without)} images without the target, {len(others)} others: {options.output}")
    print(f'in the TOML file of the task: calibration = "{options.output.name}"')
    return 0


def _images(folder: Path) -> list[MedicalImage]:
    """Read the images of a folder, of each volume the middle slice; one that cannot be read is named and left out."""
    from tqdm import tqdm

    from ..images import ImageError, read_image
    from ..images.names import list_images

    images = []
    for name in tqdm(list_images(folder).images, "reading", unit="file"):
        try:
            images.append(read_image(folder / name))
        except ImageError as error:
            print(f"medclipsam: left out: {error}", file=sys.stderr)
    return images
