"""Compare an answer with the expected one, and say how it differs without saying what is expected.

In the manner of the "backprop ninja" notebook of nn-zero-to-hero: shapes, how many values agree, the largest
difference; and before that what many slips have in common (another sign, percent for a fraction, rows for columns).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch

from .guard import Escape

#: Factors that have a name of their own.
FACTORS = {
    -1.0: "the sign is the other way round",
    100.0: "it is 100 times too large: percent, where a fraction is asked for?",
    0.01: "it is 100 times too small: a fraction, where percent are asked for?",
}


def as_array(answer: Any) -> np.ndarray:
    """Read numbers, tensors and lists of them.

    Args:
        answer: number, bool, array, tensor (it may require a gradient), or nested lists and tuples of these.

    Returns:
        An array of bool or of numbers.

    Raises:
        Escape: there are no numbers in it, or the lengths of its rows differ.
    """
    if isinstance(answer, torch.Tensor):
        answer = answer.detach().cpu()
        return (answer.float() if answer.dtype == torch.bfloat16 else answer).numpy()
    if isinstance(answer, (str, bytes)):
        raise Escape(f"it is text, {shown(answer)}, where numbers are asked for")
    if isinstance(answer, Iterator):
        raise Escape(f"it is a {type(answer).__name__}, which gives its values only once: put list(...) around it")
    if isinstance(answer, (Mapping, set, frozenset)):
        raise Escape(f"it is a {type(answer).__name__}, where numbers or an array are asked for")
    if isinstance(answer, (list, tuple)):
        if any(part is None or part is ... for part in answer):
            raise Escape("a part of it is still missing")
        rows = [as_array(part) for part in answer]
        if len({row.shape for row in rows}) > 1:
            raise Escape("its rows have different lengths, so that it is no array")
        return np.stack(rows) if rows else np.empty(0)
    array = np.asarray(answer)
    if array.dtype.kind not in "biufc":
        raise Escape(f"it is of type {type(answer).__name__}, where numbers are asked for")
    return array


def difference(got: Any, want: Any, tolerance: float) -> str | None:
    """Say how an answer differs from the expected one.

    Args:
        got: the answer.
        want: text, bool, number, array or tensor, or a tuple of these.
        tolerance: numbers may differ by this, and by this share of the expected one.

    Returns:
        None if they agree, or what is different, in words that do not give the expected value.

    Raises:
        Escape: the answer cannot be read.
    """
    if isinstance(want, str):
        if not isinstance(got, str):
            return f"it is of type {type(got).__name__}, where text is asked for"
        return None if got.strip().casefold() == want.casefold() else f"it is not {shown(got)}"
    if isinstance(want, (tuple, list)) and len({np.shape(part) for part in want}) > 1:
        return _difference_of_parts(got, want, tolerance)
    expected, given = as_array(want), as_array(got)
    truths = expected.dtype.kind == "b"
    if given.shape != expected.shape:
        return _difference_of_shapes(given, expected)
    if truths:
        if given.dtype.kind != "b" and not np.isin(given, (0, 1)).all():
            return "it holds numbers, where True or False is asked for"
    elif given.dtype.kind == "b":
        return "it is True or False, where numbers are asked for"
    if given.dtype.kind == "c":
        return "it is a complex number"
    given, expected = given.astype(float), expected.astype(float)
    if np.isnan(given).any() and not np.isnan(expected).any():
        return "it contains nan: a 0 / 0, infinity times 0 or by infinity, or the logarithm of a negative number?"
    near = close(given, expected, tolerance)
    if near.all():
        return None
    return slip(given, expected, tolerance) or _statistics(given, expected, near, truths)


def close(given: np.ndarray, expected: np.ndarray, tolerance: float) -> np.ndarray:
    """Say for each value whether it agrees."""
    with np.errstate(invalid="ignore"):
        near = np.isfinite(expected) & (np.abs(given - expected) <= tolerance * (1 + np.abs(expected)))
    return near | (given == expected) | (np.isnan(given) & np.isnan(expected))


def slip(given: np.ndarray, expected: np.ndarray, tolerance: float) -> str | None:
    """Name a slip that explains all values, if there is one.

    One number is any other number times something; so a common factor or term without a name counts from three on.
    """

    def same(other: np.ndarray) -> bool:
        return other.shape == given.shape and bool(close(given, other, tolerance).all())

    for factor, words in FACTORS.items():
        if expected.any() and same(factor * expected):
            return words
    if expected.ndim == 2 and same(expected.T):
        return "rows and columns are exchanged"
    if expected.ndim and expected.size > 1 and same(np.flip(expected, axis=-1)):
        return "the order is the other way round"
    if expected.size < 3 or np.ptp(expected) == 0:
        return None
    if close(np.sort(given, axis=None), np.sort(expected, axis=None), tolerance).all():
        return "these are the right values in another order"
    if np.ptp(given - expected) <= 10 * tolerance * (1 + np.abs(expected).max()):
        return "every value is off by the same amount: is a term missing, or one too many?"
    kept = np.abs(expected) > 1e-9
    ratios = given[kept] / expected[kept]
    if (
        close(given[~kept], expected[~kept], tolerance).all()
        and kept.sum() > 2
        and ratios.any()
        and np.ptp(ratios) <= 10 * tolerance * (1 + np.abs(ratios).max())
    ):
        return "every value is off by the same factor: a sum where the mean is asked for, or a factor left out?"
    return None


def shown(answer: Any, length: int = 70) -> str:
    """Show an answer in one short line."""
    try:
        if isinstance(answer, (np.ndarray, torch.Tensor)) and as_array(answer).size > 8:
            return f"{type(answer).__name__} of shape {tuple(answer.shape)}"
        text = " ".join(repr(as_array(answer).tolist() if isinstance(answer, torch.Tensor) else answer).split())
    except Exception:
        return f"an object of type {type(answer).__name__}"
    return text if len(text) <= length else f"{text[:length]}…"


def _difference_of_parts(got: Any, want: tuple[Any, ...] | list[Any], tolerance: float) -> str | None:
    if not isinstance(got, (tuple, list)) or len(got) != len(want):
        count = f" with {len(got)}" if isinstance(got, (tuple, list)) else ""
        return f"{len(want)} values are asked for, as return a, b; yours is a {type(got).__name__}{count}"
    for number, (mine, right) in enumerate(zip(got, want, strict=True), start=1):
        words = difference(mine, right, tolerance)
        if words is not None:
            return f"of the {len(want)} values, number {number}: {words}"
    return None


def _difference_of_shapes(given: np.ndarray, expected: np.ndarray) -> str:
    hint = ""
    if given.ndim == expected.ndim and given.shape == expected.shape[::-1]:
        hint = ": rows and columns are exchanged"
    elif expected.ndim == 0 and given.ndim:
        hint = ": a mean or a sum over it is still missing"
    elif given.ndim == 0:
        hint = ": a mean or a sum took away what should stay"
    elif given.size == expected.size:
        hint = ": as many values, arranged in another way"
    return f"the shape should be {expected.shape} and is {given.shape}{hint}"


def _statistics(given: np.ndarray, expected: np.ndarray, near: np.ndarray, truths: bool) -> str:
    if not expected.ndim:
        return "the value is not right"
    if truths:
        return (
            f"the shape {expected.shape} is right; of {near.size} values {int((given > expected).sum())} should be "
            f"False and are True, and {int((given < expected).sum())} should be True and are False"
        )
    largest = np.nanmax(np.abs(given - expected))
    return (
        f"the shape {expected.shape} is right; {int(near.sum())} of {near.size} values agree, and the largest "
        f"difference is {largest:.2g}"
    )
