"""Is one method better than another, and how sure is a mean? Tests and intervals over images.

The paper compares methods by a two-sided paired t-test over images at p < 0.05. Images differ in difficulty far more
than methods differ on one image, so that the test looks at the differences d_i of the pairs only:

    t = mean(d) / (std(d) / √n),  n - 1 degrees of freedom

A p-value says whether a difference can be told from none; its confidence interval says how large it may be. Scores
bounded by 0 and 1 are rarely normal: :func:`bootstrap_interval` (Efron 1979) does not assume it. Both take images for
independent of each other. Slices or frames of one patient are not: average over the patient first.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike


@dataclass(frozen=True)
class PairedTest:
    """Result of :func:`paired_test`.

    Attributes:
        mean_difference: mean of first - second; positive where the first is larger.
        low: lower end of the confidence interval of the mean difference.
        high: upper end.
        statistic: Student's t.
        p_value: two-sided, from 0 to 1.
        n: number of pairs.
    """

    mean_difference: float
    low: float
    high: float
    statistic: float
    p_value: float
    n: int

    @property
    def chance(self) -> str:
        """The p-value in words: ``"p = 0.034"``, and below a thousandth ``"p < 0.001"``."""
        return "p < 0.001" if self.p_value < 0.001 else f"p = {self.p_value:.2g}"

    def in_points(self, digits: int = 1) -> str:
        """Write difference and interval in percentage points: ``"+2.3 [+1.6, +3.0]"``."""
        mean, low, high = (f"{100 * value:+.{digits}f}" for value in (self.mean_difference, self.low, self.high))
        return f"{mean} [{low}, {high}]"


@dataclass(frozen=True)
class Interval:
    """An estimate and its confidence interval, ``low`` to ``high``."""

    estimate: float
    low: float
    high: float

    def in_percent(self, digits: int = 1) -> str:
        """Write estimate and interval in percent: ``"81.8 % [78.0, 85.3]"``."""
        estimate, low, high = (f"{100 * value:.{digits}f}" for value in (self.estimate, self.low, self.high))
        return f"{estimate} % [{low}, {high}]"

    def brief(self, digits: int = 0, scale: float = 100) -> str:
        """Write estimate and interval where a header names the unit, without scale in percent: ``"82 [78, 85]"``."""
        estimate, low, high = (f"{scale * value:.{digits}f}" for value in (self.estimate, self.low, self.high))
        return f"{estimate} [{low}, {high}]"


def paired_test(first: ArrayLike, second: ArrayLike, confidence: float = 0.95) -> PairedTest:
    """Run a two-sided paired t-test: do two methods score differently on the same images?

    Args:
        first: one score per image, [N], N of 2 or more.
        second: scores of the other method on the same images in the same order, [N].
        confidence: confidence of the interval of the mean difference, between 0 and 1.

    Returns:
        A :class:`PairedTest`. Where all differences are equal (up to rounding) their spread is 0 and t is undefined;
        the limit is returned: for no difference at all t = 0 and p = 1, otherwise t = ±∞ and p = 0, both with an
        interval without width. A p of 0 from a handful of images is a reason to look at them, not a finding.

    Raises:
        ValueError: scores that are not [N] of equal length, fewer than 2, or not finite.
    """
    first, second = _scores("first", first), _scores("second", second)
    if len(first) != len(second):
        raise ValueError(
            f"first has {len(first)} scores and second has {len(second)}: give one of each for every image, in the "
            "same order"
        )
    confidence = _confidence(confidence)
    difference = first - second
    mean = float(difference.mean())
    rounding = 8 * np.finfo(np.float64).eps * max(np.abs(first).max(), np.abs(second).max())
    if np.ptp(difference) <= rounding:
        if abs(mean) <= rounding:
            return PairedTest(0.0, 0.0, 0.0, 0.0, 1.0, len(first))
        return PairedTest(mean, mean, mean, math.copysign(math.inf, mean), 0.0, len(first))
    from scipy import stats  # takes half a second to import

    result = stats.ttest_rel(first, second)
    interval = result.confidence_interval(confidence)
    return PairedTest(
        mean, float(interval.low), float(interval.high), float(result.statistic), float(result.pvalue), len(first)
    )


def bootstrap_interval(
    values: ArrayLike,
    statistic: Callable[[np.ndarray], float] = np.mean,
    confidence: float = 0.95,
    n_resamples: int = 2000,
    seed: int = 0,
) -> Interval:
    """Estimate how the statistic would vary if other images had been drawn, by percentile bootstrap.

    Images are drawn anew with replacement, as many as there are, and the statistic is taken again; the interval holds
    the middle of what comes out. With fewer than about 20 images it is too narrow.

    Args:
        values: one score per image, [N], N of 2 or more.
        statistic: function from [N] to a number, for example ``np.mean`` or ``np.median``.
        confidence: fraction of the resampled statistics inside the interval, between 0 and 1.
        n_resamples: how often images are drawn.
        seed: the same seed gives the same interval.

    Returns:
        An :class:`Interval` around the statistic of ``values`` itself. It has no width where all values are equal.

    Raises:
        ValueError: values that are not [N], fewer than 2, or not finite; a statistic that is not a finite number; a
            setting out of range.
    """
    values = _scores("values", values)
    confidence = _confidence(confidence)
    if not isinstance(n_resamples, int | np.integer) or n_resamples < 1:
        raise ValueError(f"n_resamples is {n_resamples!r}: give a whole number, 1 or more; 2000 make a steady interval")
    generator = np.random.default_rng(seed)
    estimate = _number(statistic, values)
    draws = [_number(statistic, generator.choice(values, len(values))) for _ in range(n_resamples)]
    low, high = np.quantile(draws, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(estimate, float(low), float(high))


def _scores(name: str, values: ArrayLike) -> np.ndarray:
    """Return the values as float64 [N], if they are scores of 2 images or more."""
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 1:
        raise ValueError(f"{name} has shape {values.shape}: give one score per image, [N]")
    if len(values) < 2:
        raise ValueError(f"{name} has {len(values)} scores: a spread needs at least 2 images")
    finite = np.isfinite(values)
    if not finite.all():
        raise ValueError(
            f"{name} has {np.sum(~finite)} values that are NaN or infinite, first at {np.argmin(finite)}: leave these "
            "images out of both methods, or score them"
        )
    return values


def _confidence(confidence: float) -> float:
    if not 0 < confidence < 1:
        raise ValueError(f"confidence is {confidence!r}: give a number between 0 and 1, for example 0.95")
    return float(confidence)


def _number(statistic: Callable[[np.ndarray], float], values: np.ndarray) -> float:
    result = np.asarray(statistic(values))
    if result.ndim or not np.isfinite(result):
        raise ValueError(f"the statistic gave {result!r}: it must turn the scores [N] into one finite number")
    return float(result)
