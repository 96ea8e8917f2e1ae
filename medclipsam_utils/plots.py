"""The figures of the book: images with outlined masks, contact sheets and distributions.

Masks are drawn as outlines with a dark rim, so that they stay visible on bright and dark tissue, in greyscale print
and to colour-blind readers: the reference is solid, a prediction is dashed, and the colours are from Wong's palette
(Nature Methods 2011). Every function returns the matplotlib figure and leaves showing or saving to the caller.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.figure import Figure

#: Colours that differ in hue and in lightness (Wong 2011).
ORANGE, SKY, GREEN, BLUE, VERMILION = "#E69F00", "#56B4E9", "#009E73", "#0072B2", "#D55E00"

_RIM = [patheffects.withStroke(linewidth=2.6, foreground="black", alpha=0.7)]


def outline(axes: Axes, mask: np.ndarray, color: str = ORANGE, dashed: bool = False) -> None:
    """Draw the outline of a mask.

    Args:
        axes: where to draw.
        mask: bool [H, W]; an empty mask draws nothing.
        color: line colour.
        dashed: dashes, by this book's convention for a prediction.
    """
    if np.any(mask):
        padded = np.pad(np.asarray(mask, dtype=float), 1)
        height, width = padded.shape
        lines = axes.contour(
            np.arange(width) - 1,
            np.arange(height) - 1,
            padded,
            levels=[0.5],
            colors=color,
            linewidths=1.3,
            linestyles="dashed" if dashed else "solid",
        )
        lines.set_path_effects(_RIM)


def show_image(
    image: np.ndarray,
    mask: np.ndarray | None = None,
    prediction: np.ndarray | None = None,
    title: str = "",
    axes: Axes | None = None,
) -> Figure:
    """One image with its mask (solid) and a prediction (dashed).

    Args:
        image: uint8 [H, W, 3] or [H, W].
        mask: bool [H, W] or None, the reference.
        prediction: bool [H, W] or None.
        title: printed above the image.
        axes: where to draw; None makes a figure.

    Returns:
        The figure that was drawn on.
    """
    if axes is None:
        _, axes = plt.subplots(figsize=(4, 4), layout="constrained")
    axes.imshow(image, cmap="gray", vmin=0, vmax=255)
    if mask is not None:
        outline(axes, mask)
    if prediction is not None:
        outline(axes, prediction, SKY, dashed=True)
    axes.set_title(title, fontsize=10)
    axes.set_axis_off()
    return axes.figure


def contact_sheet(samples: Sequence, columns: int = 4, titles: Sequence[str] | None = None, outlines=True) -> Figure:
    """Several samples side by side, each with its mask outlined.

    Args:
        samples: objects with ``image`` and ``mask`` (a :class:`~medclipsam_utils.simulate.Sample` for example).
        columns: pictures in a row; 4 stay readable on a phone.
        titles: one a sample; None uses each sample's ``finding``.
        outlines: whether the masks are drawn.

    Raises:
        ValueError: no samples, or another number of titles.
    """
    if not len(samples):
        raise ValueError("a contact sheet needs at least one sample")
    titles = [sample.finding for sample in samples] if titles is None else titles
    if len(titles) != len(samples):
        raise ValueError(f"{len(samples)} samples but {len(titles)} titles")
    rows = -(-len(samples) // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(2.2 * columns, 2.4 * rows), squeeze=False, layout="constrained")
    for cell in axes.flat:
        cell.set_axis_off()
    for cell, sample, title in zip(axes.flat, samples, titles, strict=False):
        show_image(sample.image, sample.mask if outlines else None, title=title, axes=cell)
    return figure


def show_structures(image: np.ndarray, structures: Mapping[str, np.ndarray], title: str = "") -> Figure:
    """An image beside the same image with every structure in its own colour and a legend.

    Args:
        image: uint8 [H, W, 3].
        structures: masks by name, bool [H, W] each; empty ones are left out.
        title: printed above the left picture.
    """
    figure, (plain, coloured) = plt.subplots(1, 2, figsize=(8, 4), layout="constrained")
    show_image(image, title=title, axes=plain)
    show_image(image, title="what is where", axes=coloured)
    visible = {name: mask for name, mask in structures.items() if mask.any()}
    for (name, mask), color in zip(visible.items(), sns.color_palette("colorblind", len(visible)), strict=True):
        layer = np.zeros((*mask.shape, 4))
        layer[mask] = (*color, 0.45)
        coloured.imshow(layer)
        coloured.plot([], [], "s", color=color, label=name)
    coloured.legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False, fontsize=9)
    return figure


def histograms(groups: Mapping[str, np.ndarray], xlabel: str) -> Figure:
    """Distributions of several groups of values as lines of different style.

    Args:
        groups: values by group name; arrays of any shape, NaN not allowed.
        xlabel: what is measured, with its unit.
    """
    figure, axes = plt.subplots(figsize=(6, 3.2), layout="constrained")
    styles = ["-", "--", ":", "-."]
    for (name, values), style, color in zip(
        groups.items(), styles * 4, [BLUE, VERMILION, GREEN, ORANGE] * 4, strict=False
    ):
        counts, edges = np.histogram(np.ravel(values), bins=64)
        axes.plot((edges[1:] + edges[:-1]) / 2, counts / counts.sum(), style, color=color, label=name)
    axes.set_xlabel(xlabel)
    axes.set_ylabel("share of pixels")
    axes.legend(frameon=False)
    sns.despine(figure)
    return figure
