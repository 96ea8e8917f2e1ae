"""k-means of one number per pixel, exactly: no random start, no iterations.

In one dimension the best clusters are intervals. With the values sorted, and W, S the number and the sum of the values
in an interval, k-means minimises what is left of the variance inside the intervals, that is, it maximises

    Σ S² / W    over the intervals.

For two clusters that is one pass over all borders. For more, the best border below each value is found from that of
its neighbours (it never moves down as the value moves up), k − 2 times. This is also what Otsu's threshold maximises,
on a histogram (Otsu 1979): with two clusters the two methods differ by the width of a bin.

The general form is that of Wang & Song 2011, *Ckmeans.1d.dp*, with the borders by divide and conquer.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np


def highest_cluster(values: np.ndarray, clusters: int = 2) -> np.ndarray:
    """Find the values that are in the highest of the best clusters.

    Args:
        values: float, any shape, finite.
        clusters: number of clusters, 2 or more.

    Returns:
        bool of the shape of ``values``. Where there are fewer different values than clusters, each is a cluster of its
        own; a constant has no highest cluster, and all is False.

    Raises:
        ValueError: fewer than two clusters, or a value that is not finite.
    """
    if clusters < 2:
        raise ValueError(f"clusters is {clusters}: give 2 or more")
    if not np.isfinite(values).all():
        raise ValueError("a value is NaN or infinite: k-means needs finite ones")
    different, counts = np.unique(np.asarray(values, dtype=np.float64), return_counts=True)
    if len(different) < 2:
        return np.zeros(values.shape, dtype=bool)
    weight = np.concatenate([[0], np.cumsum(counts)])
    total = np.concatenate([[0], np.cumsum(counts * (different - different[0]))])

    def gain(low: np.ndarray, high: np.ndarray) -> np.ndarray:
        """Return S² / W of the intervals from ``low`` to before ``high``."""
        return (total[high] - total[low]) ** 2 / (weight[high] - weight[low])

    n = len(different)
    clusters = min(clusters, n)
    ends = np.arange(1, n + 1)
    best = gain(np.zeros_like(ends), ends)  # best[j - 1]: all values below border j in one cluster
    for made in range(2, clusters):
        best = _one_more(best, gain, made)
    borders = np.arange(clusters - 1, n)  # where the highest cluster may start
    start = borders[np.argmax(best[borders - 1] + gain(borders, np.full_like(borders, n)))]
    return values >= different[start]


def _one_more(best: np.ndarray, gain: Callable[[np.ndarray, np.ndarray], np.ndarray], made: int) -> np.ndarray:
    """Return the gain of ``made`` clusters below each border, from that of one cluster fewer."""
    n = len(best)
    gains = np.full(n, -np.inf)
    # Border j is settled between the settled ones beside it, halving the gaps: all borders of a round at once.
    settled_at, settled = np.array([made - 1, n + 1]), np.array([made - 1, n])
    while True:
        gaps = np.flatnonzero(np.diff(settled_at) > 1)
        if not len(gaps):
            return gains
        middle = (settled_at[gaps] + settled_at[gaps + 1]) // 2
        low, high = settled[gaps], np.minimum(settled[gaps + 1], middle - 1)
        sizes = high - low + 1
        firsts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
        owner = np.repeat(np.arange(len(gaps)), sizes)
        candidate = np.arange(sizes.sum()) - firsts[owner] + low[owner]
        reached = best[candidate - 1] + gain(candidate, middle[owner])
        top = np.maximum.reduceat(reached, firsts)
        gains[middle - 1] = top
        winners = np.flatnonzero(reached == top[owner])
        chosen = np.empty(len(gaps), dtype=int)
        chosen[owner[winners][::-1]] = candidate[winners][::-1]  # of equal ones the lowest
        place = np.searchsorted(settled_at, middle)
        settled_at, settled = np.insert(settled_at, place, middle), np.insert(settled, place, chosen)
