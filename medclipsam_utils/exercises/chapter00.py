"""Exercises of chapter 0, the tour."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..simulate import simulate
from .exercise import Exercise, Function, Mistake, Value


def covered() -> float:
    lungs = simulate("lung_xray", 5, finding="clear")
    return 100 * lungs.mask.mean()


def box_around(mask):
    rows, columns = np.nonzero(mask)
    return columns.min(), rows.min(), columns.max(), rows.max()


def dice_of_the_box() -> float:
    disc, box = np.pi, 4.0  # areas of a disc of radius 1 and of the box around it
    return 2 * disc / (disc + box)


def masks_with_one_target(generator: np.random.Generator) -> Sequence[tuple[Any, ...]]:
    """Give a rectangle, a single pixel, one that reaches three edges, and random blots of any shape."""
    rectangle, dot, edge = (np.zeros(shape, bool) for shape in ((9, 9), (9, 9), (5, 12)))
    rectangle[2:5, 3:8] = dot[6, 1] = edge[:, 7:] = True
    blots = []
    for _ in range(5):
        blot = np.zeros(generator.integers(8, 30, 2), bool)
        top, left = (generator.integers(0, side - 4) for side in blot.shape)
        blot[top : top + 4, left : left + 3] = generator.random((4, 3)) < 0.6
        blot[top + 1, left + 2] = True
        blots.append(blot)
    return [(mask,) for mask in (rectangle, dot, edge, *blots)]


EXERCISES: tuple[Exercise, ...] = (
    Value(
        number="00.1",
        title="how much is lung?",
        difficulty=1,
        minutes=5,
        purpose="a mask is an array, and its mean is a share",
        hints=(
            "A mask is True inside the target and False outside. What is the mean of True and False?",
            'Draw the image anew: simulate("lung_xray", 5, finding=...) gives a sample with image and mask.',
            "Take the mean of the sample's mask, and mind that percent are asked for.",
        ),
        solution=covered,
        mistakes=(
            Mistake("that is the share as a fraction; the question asks for percent.", lambda: covered() / 100),
            Mistake("that is what the lungs leave free.", lambda: 100 - covered()),
            Mistake("that is the number of pixels.", lambda: simulate("lung_xray", 5, finding="clear").mask.sum()),
        ),
        tolerance=1e-3,
    ),
    Function(
        number="00.2",
        title="a box around a mask",
        difficulty=1,
        minutes=10,
        purpose="SAM is asked with boxes, and columns come first in them",
        hints=(
            "Which rows have a True pixel, and which columns? The box ends at the outermost ones.",
            "np.nonzero(mask) gives two arrays: the rows and the columns of all True pixels.",
            "Return the smallest column, the smallest row, the largest column and the largest row.",
        ),
        solution=box_around,
        cases=masks_with_one_target,
        mistakes=(
            Mistake(
                "rows and columns are exchanged: left and right are columns, top and bottom are rows.",
                lambda mask: tuple(np.array(box_around(mask))[[1, 0, 3, 2]]),
            ),
            Mistake(
                "your box ends one pixel too late: the last column and the last row are pixels of the target itself, "
                "not the first ones after it.",
                lambda mask: tuple(np.add(box_around(mask), (0, 0, 1, 1))),
            ),
            Mistake(
                "that is (left, top, width, height); the right and the bottom side are asked for.",
                lambda mask: (*box_around(mask)[:2], *(np.ptp(np.nonzero(mask), axis=1)[::-1] + 1)),
            ),
            Mistake(
                "the order is (left, top, right, bottom); yours is (left, right, top, bottom).",
                lambda mask: tuple(np.array(box_around(mask))[[0, 2, 1, 3]]),
            ),
        ),
    ),
    Value(
        number="00.3",
        title="how good is a filled box?",
        difficulty=1,
        minutes=5,
        purpose="the bar that you have to clear if you ask SAM with a box",
        hints=(
            "Dice is twice the common area, divided by the sum of both areas. Which area do a disc and its box share?",
            "The disc lies inside the box, so what they share is the disc.",
            "For radius 1 the disc has the area π and the box 4. Put them into the formula.",
        ),
        solution=dice_of_the_box,
        mistakes=(
            Mistake("that is the Jaccard index, or the share of the box that the disc fills.", lambda: np.pi / 4),
            Mistake("the 2 is missing in the formula of Dice.", lambda: np.pi / (np.pi + 4)),
            Mistake("that is in percent; Dice is between 0 and 1.", lambda: 100 * dice_of_the_box()),
        ),
        tolerance=6e-4,
    ),
)
