"""Simulated beside real: a contact sheet and a few statistics for one task.

    python benchmarks/realism.py breast_ultrasound --real FOLDER --sheet sheet.png

FOLDER holds images/ and masks/ with equal stems (real images are not part of this repository). Printed per statistic:
mean and standard deviation over images, simulated and real, and for the grey-value histogram the first Wasserstein
distance in grey levels between the pooled distributions. Texture is described by the share of spectral power in three
bands of spatial frequency and by the lag-1 autocorrelation along rows and columns.
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

SIZE = 256


def load_real(folder: Path) -> list[tuple[np.ndarray, np.ndarray]]:
    """Grey image and mask at 256 x 256, aspect ratio kept by padding with black."""
    pairs = []
    for path in sorted((folder / "images").glob("*.png")):
        grey = np.asarray(Image.open(path).convert("L"), dtype=float)
        mask = np.asarray(Image.open(folder / "masks" / path.name).convert("L"), dtype=float) > 127
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
    rows, cols = np.nonzero(grey > 5)
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task")
    parser.add_argument("--real", type=Path, required=True, help="folder with images/ and masks/")
    parser.add_argument("--sheet", type=Path, required=True, help="PNG to write")
    parser.add_argument("--seed", type=int, default=1_000, help="first seed")
    arguments = parser.parse_args()

    real = load_real(arguments.real)
    samples = [simulate(arguments.task, arguments.seed + i) for i in range(60)]
    simulated = [(s.image[..., 0].astype(float), s.mask) for s in samples]
    with_target = [pair for pair in simulated if pair[1].any()]

    shown = [("real", pair) for pair in real[:28]], [(s.finding, p) for s, p in zip(samples, simulated, strict=True)]
    rows = [side[7 * k : 7 * k + 7] for k in range(4) for side in shown]
    cells = [row for row in rows if row]
    figure, axes = plt.subplots(len(cells), 7, figsize=(14, 2.1 * len(cells)))
    for axis_row, cell_row in zip(axes, cells, strict=True):
        for axis in axis_row:
            axis.axis("off")
        for axis, (title, (grey, mask)) in zip(axis_row, cell_row, strict=False):
            axis.imshow(grey, cmap="gray", vmin=0, vmax=255)
            if mask.any():
                axis.contour(mask, [0.5], colors="r", linewidths=0.6)
            axis.set_title(title, fontsize=8)
    figure.tight_layout(pad=0.3)
    figure.savefig(arguments.sheet, dpi=75)

    described = {"simulated": [statistics(*pair) for pair in with_target], "real": [statistics(*pair) for pair in real]}
    print(f"{'statistic':24s} {'simulated':>20s} {'real':>20s}")
    for key in described["real"][0]:
        cells = [np.array([d[key] for d in described[side] if key in d]) for side in ("simulated", "real")]
        print(f"{key:24s} " + " ".join(f"{v.mean():11.3f} ±{v.std():7.3f}" for v in cells))
    pooled = [np.concatenate([g.ravel()[::7] for g, _ in pairs]) for pairs in (with_target, real)]
    print(f"grey-level histogram, Wasserstein-1: {wasserstein_distance(*pooled):.1f} grey levels")


if __name__ == "__main__":
    main()
