"""Simulated beside real: a contact sheet and a few statistics for one task.

    python benchmarks/realism.py breast_ultrasound --real FOLDER --sheet sheet.png

FOLDER holds images/ and masks/ with equal stems; real images are not part of this repository. The sheet alternates rows
of real and of simulated images. Printed per statistic: mean and standard deviation over the images that show the
target, simulated and real; for the grey-value histogram, the first Wasserstein distance in grey levels between the
pooled distributions. Texture is described by the share of spectral power in three bands of spatial frequency and by the
lag-1 autocorrelation along rows and columns.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from PIL import Image
from scipy.stats import wasserstein_distance
from skimage.transform import resize

from medclipsam_utils.simulate import simulate
from medclipsam_utils.tasks import TASKS

SIZE = 256  # pixels a side
IMAGES = 400  # simulated ones; with 60 the histogram distance varies by several grey levels from seed to seed
COLUMNS, ROW_PAIRS = 7, 4  # of the contact sheet


def load_real(folder: Path) -> list[tuple[np.ndarray, np.ndarray]]:
    """Grey image [SIZE, SIZE] in [0, 255] and mask of every case, aspect ratio kept by padding with black.

    Raises:
        FileNotFoundError: there are no images, or an image has no mask of the same stem.
    """
    masks = {path.stem: path for path in (folder / "masks").glob("*")}
    images = sorted(path for path in (folder / "images").glob("*") if path.is_file())
    missing = [path.name for path in images if path.stem not in masks]
    if missing or not images:
        raise FileNotFoundError(
            f"{folder}: no mask for {missing[0]}" if missing else f"{folder}/images holds no images"
        )
    pairs = []
    for path in images:
        grey = np.asarray(Image.open(path).convert("L"), dtype=float)
        mask = np.asarray(Image.open(masks[path.stem]).convert("L"), dtype=float) > 127
        height, width = grey.shape
        scale = SIZE / max(height, width)
        shape = (round(height * scale), round(width * scale))
        canvas, canvas_mask = np.zeros((SIZE, SIZE)), np.zeros((SIZE, SIZE), bool)
        top, left = (SIZE - shape[0]) // 2, (SIZE - shape[1]) // 2
        where = (slice(top, top + shape[0]), slice(left, left + shape[1]))
        canvas[where] = resize(grey, shape, anti_aliasing=True)
        canvas_mask[where] = resize(mask.astype(float), shape, order=1) > 0.5
        pairs.append((np.clip(canvas, 0, 255), canvas_mask))
    return pairs


def statistics(grey: np.ndarray, mask: np.ndarray) -> dict[str, float]:
    """Descriptive numbers of one 256 x 256 image in grey levels 0-255."""
    rows, cols = np.nonzero(grey > 5)  # black borders would pass for smooth texture
    crop = grey[rows.min() : rows.max() + 1, cols.min() : cols.max() + 1] if len(rows) else grey
    centred = crop - crop.mean()
    power = np.abs(np.fft.fft2(centred)) ** 2
    frequency = np.hypot(np.fft.fftfreq(crop.shape[0])[:, None], np.fft.fftfreq(crop.shape[1]))
    total = power.sum() + 1e-9
    result = {
        "mean": grey.mean(),
        "black share": float((grey < 6).mean()),
        "std (crop)": crop.std(),
        "power f<1/32": power[frequency < 1 / 32].sum() / total,
        "power 1/32-1/8": power[(frequency >= 1 / 32) & (frequency < 1 / 8)].sum() / total,
        "power f>1/8": power[frequency >= 1 / 8].sum() / total,
        "lag-1 rows": float(np.corrcoef(crop[1:].ravel(), crop[:-1].ravel())[0, 1]),
        "lag-1 columns": float(np.corrcoef(crop[:, 1:].ravel(), crop[:, :-1].ravel())[0, 1]),
    }
    if mask.any():
        result["mask share"] = mask.mean()
        result["mask mean - rest mean"] = grey[mask].mean() - crop.mean()
    return result


def contact_sheet(real: list[tuple], simulated: list[tuple], path: Path) -> None:
    """Rows of real and simulated images in turn, each a (title, grey, mask), with the mask's outline."""
    rows = [side[COLUMNS * k : COLUMNS * (k + 1)] for k in range(ROW_PAIRS) for side in (real, simulated)]
    rows = [row for row in rows if row]
    figure, axes = plt.subplots(len(rows), COLUMNS, figsize=(2 * COLUMNS, 2.1 * len(rows)))
    for axis in axes.flat:
        axis.axis("off")
    for axis_row, row in zip(axes, rows, strict=True):
        for axis, (title, grey, mask) in zip(axis_row, row, strict=False):
            axis.imshow(grey, cmap="gray", vmin=0, vmax=255)
            axis.set_title(title, fontsize=8)
            if mask.any():
                axis.contour(mask, [0.5], colors="r", linewidths=0.6)
    figure.tight_layout(pad=0.3)
    figure.savefig(path, dpi=75)


def print_table(simulated: list[tuple], real: list[tuple]) -> None:
    """Mean and standard deviation of every statistic, and the distance between the grey-level histograms."""
    described = [[statistics(*pair) for pair in pairs] for pairs in (simulated, real)]
    print(f"{'statistic':24s} {'simulated':>20s} {'real':>20s}")
    for key in described[1][0]:
        cells = [np.array([each[key] for each in side if key in each]) for side in described]
        print(f"{key:24s} " + " ".join(f"{values.mean():11.3f} ±{values.std():7.3f}" for values in cells))
    pooled = [np.concatenate([grey.ravel()[::7] for grey, _ in pairs]) for pairs in (simulated, real)]
    print(f"grey-level histogram, Wasserstein-1: {wasserstein_distance(*pooled):.1f} grey levels")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", choices=list(TASKS))
    parser.add_argument("--real", type=Path, required=True, help="folder with images/ and masks/")
    parser.add_argument("--sheet", type=Path, required=True, help="PNG to write")
    parser.add_argument("--seed", type=int, default=1_000, help="first seed")
    arguments = parser.parse_args()

    real = load_real(arguments.real)
    samples = [simulate(arguments.task, arguments.seed + k) for k in range(IMAGES)]
    simulated = [(sample.finding, sample.image[..., 0].astype(float), sample.mask) for sample in samples]
    contact_sheet([("real", *pair) for pair in real], simulated, arguments.sheet)
    print_table([(grey, mask) for _, grey, mask in simulated if mask.any()], real)


if __name__ == "__main__":
    main()
