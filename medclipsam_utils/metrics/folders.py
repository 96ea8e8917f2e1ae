"""Compare a folder of masks with a folder of references.

::

    from medclipsam_utils.metrics import evaluate_masks

    scores = evaluate_masks("out/masks", "data/test_masks")
    print(scores)
    scores.write("scores.csv")
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ..images import read_mask_stack
from ..images.names import image_stem, list_images, some
from ..runs.files import write_table
from .masks import dice, nsd, volume_dice, volume_nsd
from .statistics import PairedTest, bootstrap_interval, paired_test

_SHOWN = 10  # reasons in a message; the table has all


@dataclass(frozen=True, eq=False)
class MaskScores:
    """Scores of all masks of a folder.

    Attributes:
        names: names of the masks, without extension, in alphabetical order.
        dsc: Dice similarity coefficient of each, float64 [N], from 0 to 1; of a volume that of all its voxels.
        nsd: normalised surface Dice of each, float64 [N], from 0 to 1.
        n_slices: number of slices, frames or pages of each; 1 is a single image.
        tolerance_mm: tolerance of the NSD; in pixels where a reference does not know its spacing.
        left_out: why other files of the two folders have no scores, by name.
    """

    names: tuple[str, ...]
    dsc: np.ndarray
    nsd: np.ndarray
    n_slices: tuple[int, ...]
    tolerance_mm: float
    left_out: dict[str, str] = field(default_factory=dict)

    def __repr__(self) -> str:
        n_volumes = sum(n > 1 for n in self.n_slices)
        masks = "1 mask" if len(self.names) == 1 else f"{len(self.names)} masks"
        lines = [masks + (f", volumes, scored in 3-D: {n_volumes}" if n_volumes else "")]
        for name, values in (("DSC", self.dsc), (f"NSD at {self.tolerance_mm:g} mm", self.nsd)):
            interval = bootstrap_interval(values) if len(values) > 1 else None
            spread = "" if interval is None else f", 95 % interval {interval.low:.3f} to {interval.high:.3f}"
            lines.append(f"{name}: mean {values.mean():.3f}{spread}, median {np.median(values):.3f}")
        worst = sorted(zip(self.dsc, self.names, strict=True))[:3]
        lines.append("lowest DSC: " + ", ".join(f"{name} {value:.3f}" for value, name in worst))
        if self.left_out:
            lines.append(f"left out: {len(self.left_out)}")
            lines += [f"  {name}: {reason}" for name, reason in list(self.left_out.items())[:_SHOWN]]
            lines += [f"  and {len(self.left_out) - _SHOWN} more"] if len(self.left_out) > _SHOWN else []
        return "\n".join(lines)

    def write(self, path: str | os.PathLike) -> None:
        """Write a CSV file with one row per mask: its name, DSC, NSD and number of slices, or why it was left out."""
        rows: list[tuple] = [
            (name, dsc, nsd, n, "")
            for name, dsc, nsd, n in zip(self.names, self.dsc.round(5), self.nsd.round(5), self.n_slices, strict=True)
        ]
        rows += [(name, "", "", "", reason) for name, reason in self.left_out.items()]
        write_table(Path(path), ["name", "DSC", "NSD", "slices", "left_out"], rows)

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

    A volume is scored as a whole, in three dimensions: a NIfTI file, the pages of a TIFF file, the frames of a DICOM
    file. What cannot be scored is left out, and the result says why: a mask without a reference, a reference without a
    mask, a file that cannot be read, and two files whose pixels do not lie at the same places.

    Args:
        masks: folder with masks, and with subfolders as in ``references``; :mod:`medclipsam_utils.images.labels` says
            which pixels count.
        references: folder with one for each mask, of the same size.
        tolerance_mm: tolerance of the NSD. Where a reference does not know its spacing, a pixel counts as 1 mm: the
            paper measures so, at 2.

    Raises:
        ValueError: a folder is missing or empty, or no mask can be scored.
    """
    (predicted, left_out), (expected, others) = (_by_stem(Path(folder)) for folder in (masks, references))
    left_out |= others
    for name in sorted((predicted.keys() ^ expected.keys()) - left_out.keys()):
        lacking, folder = ("reference", references) if name in predicted else ("mask", masks)
        left_out[name] = f"{folder} has no {lacking} for it: names must be the same in both folders"
    scores: dict[str, tuple[float, float, int]] = {}
    for name in sorted(predicted.keys() & expected.keys()):
        try:
            scores[name] = _scores(predicted[name], expected[name], tolerance_mm)
        except ValueError as error:  # an ImageError is one
            left_out[name] = str(error)
    if not scores:
        reasons = some((f"{name}: {reason}" for name, reason in left_out.items()), limit=3)
        raise ValueError(f"no mask of {masks} can be scored. {reasons}")
    dsc, surface, n_slices = zip(*scores.values(), strict=True)
    return MaskScores(tuple(scores), np.array(dsc), np.array(surface), n_slices, tolerance_mm, left_out)


def _scores(mask_path: Path, true_path: Path, tolerance_mm: float) -> tuple[float, float, int]:
    """Score one pair: DSC, NSD, and the number of slices."""
    predicted, true = read_mask_stack(mask_path), read_mask_stack(true_path)
    if predicted.mask.shape != true.mask.shape:
        sizes = [" × ".join(map(str, each.mask.shape[each.mask.shape[0] == 1 :])) for each in (predicted, true)]
        raise ValueError(
            f"{mask_path} is {sizes[0]} pixels (slices, if several, × rows × columns), its reference {true_path} is "
            f"{sizes[1]}: export both at the same size and orientation"
        )
    if len(true.mask) > 1 and type(predicted.place.where) is not type(true.place.where):
        raise ValueError(
            f"{mask_path} and its reference {true_path} do not say alike where their slices lie: give both as NIfTI"
        )
    difference = predicted.place.difference(true.place)
    if difference:
        raise ValueError(f"{mask_path} and its reference {true_path}: {difference}. Bring both to the same grid")
    if true.place.note:
        raise ValueError(f"{true_path}: {true.place.note}. Correct its header, or export it as PNG to count pixels")
    spacing = true.place.spacing_mm or (1.0,) * (2 + (len(true.mask) > 1))
    if len(true.mask) > 1:
        both = predicted.mask, true.mask
        return volume_dice(*both), volume_nsd(*both, tolerance_mm, spacing), len(true.mask)
    both = predicted.mask[0], true.mask[0]
    return dice(*both), nsd(*both, tolerance_mm, spacing[-2:]), 1


def _by_stem(folder: Path) -> tuple[dict[str, Path], dict[str, str]]:
    """List the images of a folder by name without extension, subfolders included, and what is left out."""
    listing = list_images(folder, results=True)
    stems: dict[str, Path] = {}
    left_out = {str(folder / name): reason for name, reason in listing.unread.items()}
    clashes = set()
    for name in listing.images:
        stem = (Path(name).parent / image_stem(Path(name).name)).as_posix()
        if stem in stems:
            clashes.add(stem)
            left_out[stem] = f"{folder} has {stems[stem].name} and {Path(name).name} of one stem: remove or rename one"
        stems.setdefault(stem, folder / name)
    return {stem: path for stem, path in stems.items() if stem not in clashes}, left_out
