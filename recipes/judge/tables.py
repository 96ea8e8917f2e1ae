"""Turn numbers of many images into means with intervals, and these into Markdown tables."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from medclipsam_utils.metrics import bootstrap_interval, paired_test

Summary = dict[str, float]

RESAMPLES = 1000


def summarise(values: ArrayLike) -> Summary:
    """Average one number per image, with its 95 % bootstrap interval and the number of images."""
    interval = bootstrap_interval(values, n_resamples=RESAMPLES)
    return {"mean": interval.estimate, "low": interval.low, "high": interval.high, "n": len(values)}


def summarise_statistic(statistic: Callable[[np.ndarray], float], n: int) -> Summary:
    """Take a statistic that is no mean, with its 95 % bootstrap interval.

    Args:
        statistic: from the indices of the drawn units (int [n], some of them several times) to a number.
        n: how many units there are to draw from.
    """
    interval = bootstrap_interval(np.arange(n), lambda drawn: statistic(drawn.astype(int)), n_resamples=RESAMPLES)
    return {"mean": interval.estimate, "low": interval.low, "high": interval.high, "n": n}


def compare(first: ArrayLike, second: ArrayLike) -> Summary:
    """Compare two methods on the same images: mean of first − second, its 95 % interval and the paired t-test's p."""
    test = paired_test(first, second)
    return {"mean": test.mean_difference, "low": test.low, "high": test.high, "p": test.p_value, "n": test.n}


def column(rows: Sequence[dict[str, Any]], name: str) -> np.ndarray:
    """Pick one number of every image, float64 [N]."""
    return np.array([row[name] for row in rows], dtype=float)


def show(summary: Summary) -> str:
    """Write a mean and its interval: ``0.85 [0.83, 0.87]``."""
    return f"{summary['mean']:.2f} [{summary['low']:.2f}, {summary['high']:.2f}]"


def show_difference(summary: Summary) -> str:
    """Write a difference, its interval and p: ``+0.112 [+0.094, +0.130], p < 0.001``."""
    # Adding 0.0 makes +0.000 of −0.000.
    p = "p < 0.001" if summary["p"] < 0.001 else f"p = {summary['p']:.3f}"
    mean, low, high = (f"{round(summary[name], 3) + 0.0:+.3f}" for name in ("mean", "low", "high"))
    return f"{mean} [{low}, {high}], {p}"


def table(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Make a Markdown table; the first column is aligned to the left, the others to the right."""
    lines = [header, ["---", *["--:"] * (len(header) - 1)], *rows]
    return "\n".join(f"| {' | '.join(str(cell) for cell in line)} |" for line in lines)
