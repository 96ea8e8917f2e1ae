"""``medclipsam evaluate``: compare a folder of masks with a folder of references."""

from __future__ import annotations

import argparse
from pathlib import Path

DESCRIPTION = (
    "DSC and NSD of every mask against the reference of the same name, with 95 % bootstrap intervals; with --versus, a "
    "paired t-test against other masks of the same images. A volume (NIfTI, pages of TIFF, frames of DICOM) is scored "
    "as a whole, in 3-D. Where a reference has no pixel size, a pixel counts as 1 mm. Exit status 3 if some files were "
    "left out."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("masks", type=Path, help="folder with the masks")
    parser.add_argument("references", type=Path, help="folder with the references, of the same names")
    parser.add_argument("--versus", type=Path, metavar="FOLDER", help="other masks of the same images to compare with")
    parser.add_argument("--tolerance", type=float, default=2.0, help="tolerance of the NSD in mm; %(default)s")
    parser.add_argument("--table", type=Path, metavar="FILE", help="also write the scores of every mask as CSV")


def run(options: argparse.Namespace) -> int:
    from ..metrics.folders import evaluate_masks

    scores = evaluate_masks(options.masks, options.references, tolerance_mm=options.tolerance)
    print(scores)
    if options.table:
        options.table.parent.mkdir(parents=True, exist_ok=True)
        scores.write(options.table)
        print(f"scores of every mask: {options.table}")
    if options.versus:
        others = evaluate_masks(options.versus, options.references, tolerance_mm=options.tolerance)
        for name, test in scores.compare(others).items():
            print(
                f"{name}, {options.masks} − {options.versus}: {test.mean_difference:+.3f}, 95 % interval "
                f"{test.low:+.3f} to {test.high:+.3f}, p = {test.p_value:.2g}"
            )
    return 3 if scores.left_out else 0
