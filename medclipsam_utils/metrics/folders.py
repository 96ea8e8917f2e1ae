"""Compare a folder of masks with a folder of references.

::

    from medclipsam_utils.metrics import evaluate_masks

    scores = evaluate_masks("out/masks", "data/test_masks")
    print(scores)
    scores.write("scores.csv")
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..images import read_image, read_mask
from ..images.names import image_names, image_stem, some
from ..runs.files import write_table
from .masks import dice, nsd
from .statistics import PairedTest, bootstrap_interval, paired_test


@dataclass(frozen=True, eq=False)
class MaskScores:
    """Scores of all masks of a folder.

    Attributes:
        names: names of the masks, without extension, in alphabetical order.
        dsc: Dice similarity coefficient of each, float64 [N], from 0 to 1.
        nsd: normalised surface Dice of each, float64 [N], from 0 to 1.
        tolerance_mm: tolerance of the NSD; in pixels where a reference does not know its spacing.
    """

    names: tuple[str, ...]
    dsc: np.ndarray
    nsd: np.ndarray
    tolerance_mm: float

    def __repr__(self) -> str:
        lines = [f"{len(self.names)} masks"]
        for name, values in (("DSC", self.dsc), (f"NSD at {self.tolerance_mm:g} mm", self.nsd)):
            interval = bootstrap_interval(values) if len(values) > 1 else None
            spread = "" if interval is None else f", 95 % interval {interval.low:.3f} to {interval.high:.3f}"
            lines.append(f"{name}: mean {values.mean():.3f}{spread}, median {np.median(values):.3f}")
        worst = sorted(zip(self.dsc, self.names, strict=True))[:3]
        lines.append("lowest DSC: " + ", ".join(f"{name} {value:.3f}" for value, name in worst))
        return "\n".join(lines)

    def write(self, path: str | os.PathLike) -> None:
        """Write a CSV file with one row per mask: its name, DSC and NSD."""
        rows = zip(self.names, self.dsc.round(5), self.nsd.round(5), strict=True)
        write_table(Path(path), ["name", "DSC", "NSD"], rows)

    def compare(self, other: MaskScores) -> dict[str, PairedTest]:
        """Test these scores against others of the same names, in pairs: ``"DSC"`` and ``"NSD"``.

        Raises:
            ValueError: the names differ, or there are fewer than 2.
        """
        if self.names != other.names:
            differing = sorted(set(self.names) ^ set(other.names))
            raise ValueError(f"the two have other masks: only one of them has {some(differing)}")
        return {"DSC": paired_test(self.dsc, other.dsc), "NSD": paired_test(self.nsd, other.nsd)}


def evaluate_masks(masks: str | os.PathLike, references: str | os.PathLike, *, tolerance_mm: float = 2.0) -> MaskScores:
    """Compute DSC and NSD of each mask against the reference of the same name, whatever the two extensions.

    Args:
        masks: folder with masks, and with subfolders as in ``references``;
            :class:`~medclipsam_utils.datasets.MaskFolder` says which pixels count.
        references: folder with one for each mask, of the same size.
        tolerance_mm: tolerance of the NSD. Where a reference does not know its spacing, a pixel counts as 1 mm: the
            paper measures so, at 2.

    Raises:
        ImageError: a file cannot be read.
        ValueError: a folder is missing or empty, a mask has no reference or a reference no mask, or sizes differ.
    """
    predicted, expected = (_by_stem(Path(folder)) for folder in (masks, references))
    without_reference, without_mask = predicted.keys() - expected.keys(), expected.keys() - predicted.keys()
    for lacking, kind in ((without_reference, "reference"), (without_mask, "mask")):
        if lacking:
            folder = references if kind == "reference" else masks
            raise ValueError(
                f"{folder} has no {kind} for {some(sorted(lacking))}: names must be the same in both folders"
            )
    dsc, surface = [], []
    for name, path in predicted.items():
        mask, truth = read_mask(path), read_mask(expected[name])
        if mask.shape != truth.shape:
            raise ValueError(
                f"{path} is {mask.shape[0]} × {mask.shape[1]} pixels (rows × columns), its reference {expected[name]} "
                f"is {truth.shape[0]} × {truth.shape[1]}: export both at the same size and orientation"
            )
        spacing = read_image(expected[name]).spacing_mm or (1.0, 1.0)
        dsc.append(dice(mask, truth))
        surface.append(nsd(mask, truth, tolerance_mm, spacing))
    return MaskScores(tuple(predicted), np.array(dsc), np.array(surface), tolerance_mm)


def _by_stem(folder: Path) -> dict[str, Path]:
    """List the images of a folder by name without extension, subfolders included."""
    stems: dict[str, Path] = {}
    for name in image_names(folder):
        stem = (Path(name).parent / str(image_stem(Path(name).name))).as_posix()
        if stem in stems:
            raise ValueError(f"{folder} has {stems[stem].name} and {Path(name).name} of one stem: remove or rename one")
        stems[stem] = folder / name
    return stems
