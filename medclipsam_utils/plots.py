"""The figures of the book: images with outlined masks, contact sheets and distributions.

Masks are drawn as outlines with a dark rim, so that they stay visible on bright and dark tissue, in greyscale print
and to colour-blind readers: the reference is solid, a prediction is dashed, and the colours are from Wong's palette
(Nature Methods 2011). Figures are as wide as a page's text and lettered so that they can be read on a phone.

Every function returns a matplotlib figure and leaves the rest to the caller: as the last value of a notebook's cell it
is shown, ``figure.savefig(path)`` saves it. The figures are not pyplot's, so none is shown twice or kept in memory.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
import seaborn as sns
from IPython import get_ipython
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure

from .metrics import Interval
from .visual_prompts import Points

#: Colours that differ in hue and in lightness (Wong 2011).
ORANGE, SKY, GREEN, BLUE, VERMILION = "#E69F00", "#56B4E9", "#009E73", "#0072B2", "#D55E00"

#: Width of a figure in inches. On a phone, where it shrinks to about 360 pixels, 11-point letters stay readable.
WIDTH = 5.6

_LETTERS = 11
_LINE_STYLES = ("-", "--", ":", "-.")
_LINE_COLORS = (BLUE, VERMILION, GREEN, ORANGE)
_RIM: list[patheffects.AbstractPathEffect] = [patheffects.withStroke(linewidth=2.6, foreground="black", alpha=0.7)]


def use_book_style() -> None:
    """Draw every later figure of this notebook in the book's style: letter size, resolution, JPEG inside the notebook.

    Noisy images take a quarter of the space as JPEG, which keeps a notebook small enough to share. Outside of a
    notebook only the style is set.
    """
    matplotlib.rcParams.update({"font.size": _LETTERS, "axes.titlesize": _LETTERS, "figure.dpi": 130})
    if get_ipython() is not None:
        from matplotlib_inline.backend_inline import set_matplotlib_formats

        set_matplotlib_formats("jpeg", pil_kwargs={"quality": 88})


def _new_figure(width: float, height: float) -> Figure:
    return Figure(figsize=(width, height), layout="constrained")


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
) -> Figure | SubFigure:
    """Show one image with its mask (solid) and a prediction (dashed).

    Args:
        image: uint8 [H, W, 3] or [H, W].
        mask: bool [H, W] or None, the reference.
        prediction: bool [H, W] or None.
        title: printed above the image.
        axes: where to draw; None makes a figure.

    Returns:
        The figure that was drawn on, or the subfigure of ``axes``.
    """
    if axes is None:
        axes = _new_figure(4, 4).subplots()
    axes.imshow(image, cmap="gray", vmin=0, vmax=255)
    if mask is not None:
        outline(axes, mask)
    if prediction is not None:
        outline(axes, prediction, SKY, dashed=True)
    axes.set_title(title, fontsize=_LETTERS)
    axes.set_axis_off()
    return axes.figure


def show_views(
    images: Sequence[np.ndarray],
    titles: Sequence[str],
    masks: Sequence[np.ndarray | None] | None = None,
    predictions: Sequence[np.ndarray | None] | None = None,
    columns: int = 3,
) -> Figure:
    """Show several images side by side.

    Args:
        images: uint8 [H, W, 3] each, of any size.
        titles: one per image.
        masks: bool [H, W] or None for each image, the references, drawn as solid outlines.
        predictions: the same, drawn as dashed outlines.
        columns: images per row; more than 3 are hard to read on a phone.

    Raises:
        ValueError: no images, or another number of titles, masks or predictions.
    """
    if not len(images):
        raise ValueError("there are no images to show")
    masks = [None] * len(images) if masks is None else masks
    predictions = [None] * len(images) if predictions is None else predictions
    for name, values in (("titles", titles), ("masks", masks), ("predictions", predictions)):
        if len(values) != len(images):
            raise ValueError(f"{len(images)} images but {len(values)} {name}: give one for each image")
    rows, cell = -(-len(images) // columns), WIDTH / columns
    lines = 1 + max(title.count("\n") for title in titles)
    figure = _new_figure(WIDTH, rows * (cell + 0.22 * lines))
    axes = figure.subplots(rows, columns, squeeze=False)
    for axis in axes.flat:
        axis.set_axis_off()
    for axis, image, mask, prediction, title in zip(axes.flat, images, masks, predictions, titles, strict=False):
        show_image(image, mask, prediction, title, axis)
    return figure


def show_maps(
    images: Sequence[np.ndarray],
    maps: Sequence[np.ndarray | None],
    titles: Sequence[str],
    masks: Sequence[np.ndarray | None] | None = None,
    predictions: Sequence[np.ndarray | None] | None = None,
    columns: int = 3,
) -> Figure:
    """Show saliency maps over their images, side by side, with a cross at each peak.

    The image shows through where the map is low; the colours grow lighter with the map, so that it reads in greyscale
    as well.

    Args:
        images: uint8 [H, W, 3] each, of any size.
        maps: float [H, W] from 0 to 1; None shows the image alone. A map of zeros has no peak and no cross.
        titles: one per image.
        masks: bool [H, W] or None for each image, the references, drawn as outlines.
        predictions: the same, drawn as dashed outlines.
        columns: images per row; more than 3 are hard to read on a phone.

    Raises:
        ValueError: no images, or another number of maps, titles or masks.
    """
    if len(maps) != len(images):
        raise ValueError(f"{len(images)} images but {len(maps)} maps: give one for each image, or None")
    figure = show_views(images, titles, masks, predictions, columns)
    for axes, saliency in zip(figure.axes, maps, strict=False):
        if saliency is not None and saliency.any():
            axes.imshow(saliency, cmap="inferno", vmin=0, vmax=1, alpha=0.25 + 0.6 * np.clip(saliency, 0, 1))
            row, column = np.unravel_index(saliency.argmax(), saliency.shape)
            axes.plot(column, row, "+", color="white", markersize=11, markeredgewidth=2, path_effects=_RIM)
    return figure


def draw_prompts(axes: Axes, boxes: np.ndarray, points: Sequence[Points] = ()) -> None:
    """Draw what SAM is asked with: boxes, a plus for each point on the target, a minus for each beside it.

    Args:
        axes: axes of the image, for example from ``figure.axes``.
        boxes: float [K, 4] as (x0, y0, x1, y1), the last column and row plus 1.
        points: see :class:`~medclipsam_utils.visual_prompts.Points`.
    """
    for x0, y0, x1, y1 in boxes - 0.5:  # imshow draws pixel i from i − ½ to i + ½
        axes.plot([x0, x1, x1, x0, x0], [y0, y0, y1, y1, y0], color=SKY, linewidth=1.5, path_effects=_RIM)
    for drawn in points:
        for label, sign, color in ((1, "+", "white"), (0, "_", VERMILION)):
            marked = drawn.xy[drawn.labels == label]
            axes.plot(
                *marked.T, sign, color=color, linestyle="none", markersize=8, markeredgewidth=2, path_effects=_RIM
            )


def contact_sheet(
    samples: Sequence,
    columns: int = 3,
    titles: Sequence[str] | None = None,
    predictions: Sequence[np.ndarray] | None = None,
) -> Figure:
    """Show several samples side by side, each with its mask outlined.

    Args:
        samples: objects with ``image`` and ``mask`` (a :class:`~medclipsam_utils.simulate.Sample` for example).
        columns: images per row.
        titles: one per sample; None uses each sample's ``finding``.
        predictions: bool [H, W], one per sample, drawn as dashed outlines.

    Raises:
        ValueError: no samples, or another number of titles or predictions.
    """
    titles = [sample.finding for sample in samples] if titles is None else titles
    images, masks = [sample.image for sample in samples], [sample.mask for sample in samples]
    return show_views(images, titles, masks, predictions, columns)


def show_structures(
    image: np.ndarray, structures: Mapping[str, np.ndarray], title: str = "", columns: int = 3
) -> Figure:
    """Show an image, and then each of its structures in a picture of its own, outlined and brighter than the rest.

    Structures overlap, in an X-ray all the more; side by side they need no colours and no legend.

    Args:
        image: uint8 [H, W, 3].
        structures: masks by name, bool [H, W] each; empty ones are left out.
        title: printed above the image.
        columns: pictures per row; more than 3 are hard to read on a phone.
    """
    visible = {name: mask for name, mask in structures.items() if mask.any()}
    lit = [np.where(mask[..., None], image, image * 0.4).astype(np.uint8) for mask in visible.values()]
    return show_views([image, *lit], [title, *visible], [None, *visible.values()], columns=columns)


def show_counterfactual(without: np.ndarray, present: np.ndarray, mask: np.ndarray | None = None) -> Figure:
    """Show the same simulated body without and with a finding, and where the two images differ.

    Args:
        without, present: uint8 [H, W, 3] of equal size.
        mask: bool [H, W], the target, outlined in the second image.
    """
    change = np.abs(present[..., 0].astype(int) - without[..., 0])
    difference = np.clip(2 * change, 0, 255).astype(np.uint8)
    return show_views([without, present, difference], ["without", "with", "difference ×2"], [None, mask, None])


def histograms(groups: Mapping[str, np.ndarray], xlabel: str, bins: int = 48) -> Figure:
    """Draw distributions of several groups of values as lines of different style, over common bins.

    Args:
        groups: values by group name; arrays of any shape, NaN not allowed.
        xlabel: what is measured, with its unit.
        bins: number of bins between the smallest and the largest value of all groups.
    """
    values = {name: np.ravel(group) for name, group in groups.items()}
    edges = np.histogram_bin_edges(np.concatenate(list(values.values())), bins)
    fractions = {name: np.histogram(group, edges)[0] / group.size for name, group in values.items()}
    return curves((edges[1:] + edges[:-1]) / 2, fractions, xlabel, "share")


def curves(x: np.ndarray, lines: Mapping[str, np.ndarray], xlabel: str, ylabel: str) -> Figure:
    """Draw several lines over one axis, told apart by style and colour.

    Args:
        x: [N].
        lines: [N] values by the name that the legend shows; eight at most, so that all differ.
        xlabel, ylabel: what is shown, with units.

    Raises:
        ValueError: more than eight lines.
    """
    if len(lines) > 8:
        raise ValueError(f"{len(lines)} lines cannot be told apart; show 8 at most")
    figure = _new_figure(WIDTH, 3.2)
    axes = figure.subplots()
    for number, (name, y) in enumerate(lines.items()):
        style, color = _LINE_STYLES[number % 4], _LINE_COLORS[(number + number // 4) % 4]
        axes.plot(x, y, style, color=color, label=name)
    axes.set(xlabel=xlabel, ylabel=ylabel)
    axes.legend(frameon=False)
    sns.despine(figure)
    return figure


def bars(names: Sequence[str], values: Sequence[float], xlabel: str) -> Figure:
    """Draw values as bars, one per row, in their order from top to bottom.

    Args:
        names: what stands beside each bar; they may repeat.
        values: one per name.
        xlabel: what is shown, with its unit.
    """
    figure = _new_figure(WIDTH, 0.8 + 0.3 * len(names))
    axes = figure.subplots()
    axes.barh(range(len(names)), values, height=0.7, color=BLUE)
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.set_xlabel(xlabel)
    sns.despine(figure)
    return figure


def _with_named_rows(figure: Figure, names: Sequence[str], xlabel: str, reference: float | None) -> Figure:
    """Name the rows of a figure from top to bottom, and draw a dashed line where there is a reference."""
    (axes,) = figure.axes
    if reference is not None:
        axes.axvline(reference, color="0.5", linestyle="--", linewidth=1)
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_xlabel(xlabel)
    sns.despine(figure)
    return figure


def intervals(groups: Mapping[str, Interval], xlabel: str, reference: float | None = None) -> Figure:
    """Draw estimates with their intervals, one per row.

    Args:
        groups: results of :func:`~medclipsam_utils.metrics.bootstrap_interval` by name.
        xlabel: what is shown, with its unit.
        reference: draw a dashed line here, for example at 0 where groups are differences; None draws none.
    """
    figure = _new_figure(WIDTH, 0.8 + 0.36 * len(groups))
    axes = figure.subplots()
    for row, interval in enumerate(groups.values()):
        axes.plot([interval.low, interval.high], [row, row], color=BLUE, linewidth=2)
        axes.plot(interval.estimate, row, "o", color=BLUE)
    return _with_named_rows(figure, list(groups), xlabel, reference)


def dots(groups: Mapping[str, Sequence[float]], xlabel: str, reference: float | None = None) -> Figure:
    """Draw every single value as an open circle, one row per group: for few values, of which no interval is meant.

    Args:
        groups: values by name; groups may differ in size.
        xlabel: what is shown, with its unit.
        reference: draw a dashed line here, for example where something is that all are compared with; None draws none.
    """
    figure = _new_figure(WIDTH, 0.8 + 0.36 * len(groups))
    axes = figure.subplots()
    for row, values in enumerate(groups.values()):
        axes.plot(values, [row] * len(values), "o", color=BLUE, markerfacecolor="none", markeredgewidth=1.5)
    return _with_named_rows(figure, list(groups), xlabel, reference)


def matrices(
    panels: Mapping[str, np.ndarray],
    rows: str,
    columns: str,
    limits: tuple[float, float] | None = None,
    digits: int | None = None,
) -> Figure:
    """Draw matrices as tiles, two beside each other; dark is low, so that they read in greyscale as well.

    Args:
        panels: [N, M] by title; NaN leaves a tile white with a cross.
        rows: what the rows are, named at the side.
        columns: what the columns are, named below.
        limits: values of the darkest and the brightest tile of all panels; None takes each panel's own.
        digits: write the values into the tiles, with so many digits behind the point; None writes none. They fit a
            single panel of 8 columns or so.

    Raises:
        ValueError: there are no panels, or one has another number of axes than 2.
    """
    if not panels or any(np.ndim(values) != 2 for values in panels.values()):
        raise ValueError("give one matrix or more, each with two axes")
    across = min(len(panels), 2)
    down = -(-len(panels) // across)
    rows_per_column = max(np.shape(values)[0] / np.shape(values)[1] for values in panels.values())
    tile_height = (WIDTH / across - 1) * rows_per_column  # a colour bar takes an inch
    figure = _new_figure(WIDTH, down * (tile_height + 0.6))
    axes = figure.subplots(down, across, squeeze=False)
    for axis in axes.flat:
        axis.set_axis_off()
    for axis, (title, values) in zip(axes.flat, panels.items(), strict=False):
        low, high = limits or (np.nanmin(values), np.nanmax(values))
        axis.set_axis_on()
        tiles = axis.imshow(values, cmap="cividis", vmin=low, vmax=high)
        axis.set(title=title, xticks=[], yticks=[])
        for row, column in np.argwhere(np.isnan(values)):
            axis.plot(column, row, "x", color="0.5", markersize=9 if across == 1 else 5)
        if digits is not None:
            for (row, column), value in np.ndenumerate(values):
                color = "white" if value < (low + high) / 2 else "black"
                text = "" if np.isnan(value) else f"{value:.{digits}f}"
                axis.text(column, row, text, ha="center", va="center", color=color, fontsize=_LETTERS - 1)
        beyond = {(False, False): "neither", (True, False): "min", (False, True): "max", (True, True): "both"}
        extend = beyond[bool(np.nanmin(values) < low), bool(np.nanmax(values) > high)]
        ticks = [low, (low + high) / 2, high]
        figure.colorbar(tiles, ax=axis, shrink=0.85, ticks=ticks, format="%.2g", extend=extend)
    for axis in axes[:, 0]:
        axis.set_ylabel(rows)
    for axis in axes[-1]:
        axis.set_xlabel(columns)
    return figure
