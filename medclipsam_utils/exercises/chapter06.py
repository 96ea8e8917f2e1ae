"""Exercises of chapter 6, asking SAM."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.ndimage import center_of_mass, distance_transform_edt
from skimage.measure import label

from .exercise import Exercise, Function, Mistake


def widen(box, share, width, height):
    x0, y0, x1, y1 = box
    across, down = share * (x1 - x0), share * (y1 - y0)
    return max(x0 - across, 0), max(y0 - down, 0), min(x1 + across, width), min(y1 + down, height)


def majority(masks):
    return masks.mean(axis=0) > 0.5


def two_means(values):
    g = np.sort(values.ravel())
    count = np.arange(1, len(g))
    lower = np.cumsum(g)[:-1]
    upper = g.sum() - lower
    within = (g**2).sum() - lower**2 / count - upper**2 / (len(g) - count)
    return g[within.argmin()]


def boxes_around(mask, min_fraction, share):
    parts = label(mask)
    sizes = np.bincount(parts.ravel())[1:]
    found = []
    for part in np.argsort(-sizes, kind="stable"):
        if sizes[part] >= min_fraction * sizes.max():
            rows, columns = np.nonzero(parts == part + 1)
            box = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
            found.append(widen(box, share, mask.shape[1], mask.shape[0]))
    return np.array(found).reshape(-1, 4)


def spread_points(mask, n):
    depth = distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
    core = np.argwhere(mask & (depth >= depth.max() / 2))
    if len(core) == 0:
        return np.zeros((0, 2))
    points = [core[depth[tuple(core.T)].argmax()]]
    while len(points) < min(n, len(core)):
        squared = [((core - point) ** 2).sum(axis=1) for point in points]
        points.append(core[np.min(squared, axis=0).argmax()])
    return np.array(points)[:, ::-1]


def boxes_to_widen(generator: np.random.Generator) -> Sequence[tuple[Any, ...]]:
    """Give a box that reaches two edges when it grows, one that shrinks, one at the other edges, and random ones."""
    by_hand = [((10, 20, 30, 60), 0.5, 100, 70), ((10, 20, 30, 60), -0.25, 100, 70), ((80, 1, 98, 11), 0.4, 100, 70)]
    random = []
    for _ in range(5):
        width, height = (int(side) for side in generator.integers(60, 200, 2))
        x0, y0 = generator.uniform(0, width / 2), generator.uniform(0, height / 2)
        box = x0, y0, x0 + generator.uniform(5, width / 2), y0 + generator.uniform(5, height / 2)
        random.append((box, float(generator.uniform(-0.3, 0.6)), width, height))
    return by_hand + random


def votes(generator: np.random.Generator) -> Sequence[tuple[Any, ...]]:
    """Give three masks by hand, two of them (a tie), one, and random ones, an even and an odd number."""
    three = np.array([[[True, False, True]], [[True, True, False]], [[False, False, True]]])
    sizes = [(3, 4, 5), (2, 3, 3), (4, 2, 6), (5, 5, 2)]
    return [(three,), (three[:2],), (three[:1],), *((generator.random(size) < 0.5,) for size in sizes)]


def maps_to_cut(generator: np.random.Generator) -> Sequence[tuple[Any, ...]]:
    """Give values by hand, two far outliers, values that repeat, and random maps, lopsided as saliency is."""
    by_hand = [(np.array([0.6, 0.0, 1.0, 0.1, 0.2]),), (np.array([0.0, 0, 0, 0.1, 0.3, 5.0]),)]
    by_hand += [(np.array([[0.2, 0.9], [0.2, 0.8], [0.7, 0.1]]),), (np.array([3.0, 1.0]),)]
    many = [
        generator.random((5, 6)) ** 3,
        generator.random((8, 4)),
        generator.normal(2, 1, (6, 7)),
        generator.random(40) ** 6,
    ]
    return by_hand + [(values,) for values in many]


def coarse_masks(generator: np.random.Generator) -> Sequence[tuple[Any, ...]]:
    """Give two lungs and a speck, pixels that touch at a corner, a piece of just the right size, none, and blots."""
    lungs, corner = np.zeros((20, 30), bool), np.zeros((12, 9), bool)
    lungs[4:14, 3:10] = lungs[5:17, 16:26] = lungs[1, 28] = True
    corner[2:4, 1:4] = corner[4:8, 4:6] = corner[10, 7:9] = True
    just = np.zeros((10, 16), bool)
    just[2:4, 1:5] = just[6:8, 8:10] = just[8, 14] = True
    by_hand = [
        (lungs, 0.1, 0.0),
        (lungs, 0.0, 0.2),
        (corner, 0.2, -0.1),
        (just, 0.5, 0.25),
        (np.zeros((6, 8), bool), 0.1, 0.1),
    ]
    random = []
    for _ in range(4):
        mask = np.zeros(generator.integers(18, 30, 2), bool)
        for _ in range(4):
            top, left = (generator.integers(0, side - 6) for side in mask.shape)
            height, width = generator.integers(1, 7, 2)
            mask[top : top + height, left : left + width] = True
        random.append((mask, float(generator.uniform(0.05, 0.6)), float(generator.uniform(-0.2, 0.4))))
    return by_hand + random


def masks_for_points(generator: np.random.Generator) -> Sequence[tuple[Any, ...]]:
    """Give an ellipse, a bar at the edge, a speck with fewer pixels than points, none, and random blots."""
    rows, columns = np.mgrid[:21, :31]
    ellipse = ((rows - 9) / 7) ** 2 + ((columns - 17) / 12) ** 2 <= 1
    edge, speck = np.zeros((12, 16), bool), np.zeros((9, 9), bool)
    edge[0:5, 3:15] = speck[4, 2:5] = True
    by_hand = [(ellipse, 1), (ellipse, 4), (ellipse, 9), (edge, 5), (speck, 10), (np.zeros((5, 7), bool), 3)]
    random = []
    for _ in range(4):
        mask = np.zeros(generator.integers(14, 26, 2), bool)
        for _ in range(3):
            top, left = (generator.integers(0, side - 9) for side in mask.shape)
            height, width = generator.integers(3, 10, 2)
            mask[top : top + height, left : left + width] = True
        random.append((mask, int(generator.integers(2, 8))))
    return by_hand + random


def widened_beyond_the_image(box, share, width, height):
    x0, y0, x1, y1 = box
    across, down = share * (x1 - x0), share * (y1 - y0)
    return x0 - across, y0 - down, x1 + across, y1 + down


def widened_crosswise(box, share, width, height):
    x0, y0, x1, y1 = box
    across, down = share * (y1 - y0), share * (x1 - x0)
    return max(x0 - across, 0), max(y0 - down, 0), min(x1 + across, width), min(y1 + down, height)


def lowest_of_upper(values):
    return values[values > two_means(values)].min()


def between_the_means(values):
    cut = two_means(values)
    return (values[values <= cut].mean() + values[values > cut].mean()) / 2


def best_by(spread):
    """Give a function that takes the cut with the smallest sum of a spread of both sides."""

    def wrong(values):
        g = np.sort(values.ravel())
        return g[np.argmin([spread(g[:n]) + spread(g[n:]) for n in range(1, len(g))])]

    return wrong


def cut_of_unsorted(values):
    g = values.ravel()
    count, lower = np.arange(1, len(g)), np.cumsum(g)[:-1]
    between = lower**2 / count + (g.sum() - lower) ** 2 / (len(g) - count)
    return g[between.argmax()]


def boxes_otherwise(*, connectivity=2, after=1, order=-1, of_image=False, clip=True, exchanged=False, pixels=False):
    """Give a function that draws boxes with one thing done otherwise."""

    def wrong(mask, min_fraction, share):
        parts = label(mask, connectivity=connectivity)
        sizes = np.bincount(parts.ravel())[1:]
        found = []
        for part in np.argsort(order * sizes, kind="stable"):
            if sizes[part] >= min_fraction * (mask.size if of_image else sizes.max()):
                rows, columns = np.nonzero(parts == part + 1)
                x0, y0, x1, y1 = columns.min(), rows.min(), columns.max() + after, rows.max() + after
                if pixels:
                    box = x0 - share, y0 - share, x1 + share, y1 + share
                else:
                    box = widen((x0, y0, x1, y1), share, *(mask.shape[::-1] if clip else (np.inf, np.inf)))
                if not clip:
                    across, down = share * (x1 - x0), share * (y1 - y0)
                    box = x0 - across, y0 - down, x1 + across, y1 + down
                found.append(np.array(box)[[1, 0, 3, 2]] if exchanged else box)
        return np.array(found).reshape(-1, 4)

    return wrong


def one_box(mask, min_fraction, share):
    if not mask.any():
        return np.zeros((0, 4))
    rows, columns = np.nonzero(mask)
    box = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
    return np.array([widen(box, share, mask.shape[1], mask.shape[0])])


def points_otherwise(*, padded=True, share=0.5, start="deepest", deepest=False, remembered=None):
    """Give a function that draws points with one thing done otherwise."""

    def wrong(mask, n):
        depth = distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1] if padded else distance_transform_edt(mask)
        core = np.argwhere(mask & (depth >= depth.max() * share))
        if len(core) == 0:
            return np.zeros((0, 2))
        if deepest:
            return core[np.argsort(-depth[tuple(core.T)], kind="stable")[:n]][:, ::-1]
        points = [core[depth[tuple(core.T)].argmax()]]
        if start == "first":
            points = [core[0]]
        elif start == "middle":
            points = [core[((core - np.array(center_of_mass(mask))) ** 2).sum(axis=1).argmin()]]
        while len(points) < min(n, len(core)):
            squared = [((core - point) ** 2).sum(axis=1) for point in points[-(remembered or n) :]]
            points.append(core[np.min(squared, axis=0).argmax()])
        return np.array(points)[:, ::-1]

    return wrong


EXERCISES: tuple[Exercise, ...] = (
    Function(
        number="06.1",
        title="widen a box",
        difficulty=1,
        minutes=10,
        purpose="a box from a map is never exact, and which side to err on is your choice",
        hints=(
            "How wide and how high is the box? Each side moves by a share of that.",
            "The left side moves as far as the right one, in the other direction. Then look at the edges.",
            "Subtract share times the width from x0 and add it to x1, the same with the height; then max with 0, and "
            "min with the size of the image.",
        ),
        solution=widen,
        cases=boxes_to_widen,
        mistakes=(
            Mistake(
                "your box can leave the image: stop at its edges.",
                widened_beyond_the_image,
            ),
            Mistake(
                "each side moves by the share; yours move by half of it.",
                lambda b, s, w, h: widen(b, s / 2, w, h),
            ),
            Mistake("your box shrinks where it should grow.", lambda b, s, w, h: widen(b, -s, w, h)),
            Mistake(
                "width and height are exchanged: x moves with the width of the box, y with its height.",
                widened_crosswise,
            ),
            Mistake(
                "the image has width columns, and the right side may be width itself; you stop a pixel too early.",
                lambda b, s, w, h: widen(b, s, w - 1, h - 1),
            ),
            Mistake(
                "width and height of the image are exchanged.",
                lambda b, s, w, h: widen(b, s, h, w),
            ),
            Mistake(
                "share is a part of the box, not a number of pixels.",
                lambda b, s, w, h: (max(b[0] - s, 0), max(b[1] - s, 0), min(b[2] + s, w), min(b[3] + s, h)),
            ),
        ),
    ),
    Function(
        number="06.2",
        title="the majority of several masks",
        difficulty=1,
        minutes=5,
        purpose="the simplest vote, and what a tie means",
        hints=(
            "At one pixel there are M answers. When does the pixel belong to the target?",
            "The mean of True and False over the first axis is the share of masks that say yes.",
            "Take the mean over axis 0, and compare it with one half: a tie is not a majority.",
        ),
        solution=majority,
        cases=votes,
        mistakes=(
            Mistake("a tie is not a majority: more than half is asked.", lambda masks: masks.mean(axis=0) >= 0.5),
            Mistake("that is the union: one mask is enough.", lambda masks: masks.any(axis=0)),
            Mistake("that is the intersection: all masks have to agree.", lambda masks: masks.all(axis=0)),
            Mistake("that is the share that says yes; the decision is missing.", lambda masks: masks.mean(axis=0)),
            Mistake(
                "you vote over columns: the masks lie along the first axis.", lambda masks: masks.mean(axis=-1) > 0.5
            ),
        ),
    ),
    Function(
        number="06.3",
        title="the best cut in two",
        difficulty=2,
        minutes=20,
        purpose="k-means with two clusters, without a random start and exact",
        hints=(
            "Sort the values. A cut is then a place between two neighbours; n values have n − 1 of them.",
            "The sum of squares around a mean is the sum of the squares minus the squared sum divided by the count.",
            "With np.cumsum you have the sums of all lower sides at once; those of the upper sides are the total minus "
            "that. Take the place where the criterion is smallest, and return the value below it.",
        ),
        solution=two_means,
        cases=maps_to_cut,
        mistakes=(
            Mistake(
                "that is the smallest value of the upper side; the largest of the lower one is asked.", lowest_of_upper
            ),
            Mistake(
                "that is the border halfway between both means; the largest value below it is asked.", between_the_means
            ),
            Mistake(
                "you add up variances, as if both sides were equally large: sums of squares count every value.",
                best_by(np.var),
            ),
            Mistake("you add up standard deviations; squares are asked.", best_by(np.std)),
            Mistake(
                "you add up distances to the mean; squares are asked.",
                best_by(lambda side: np.abs(side - side.mean()).sum()),
            ),
            Mistake("the values have to be sorted first.", cut_of_unsorted),
            Mistake("that is the mean of all values, not the best cut.", lambda values: values.mean()),
            Mistake("that is halfway between smallest and largest.", lambda values: (values.min() + values.max()) / 2),
        ),
    ),
    Function(
        number="06.4",
        title="from a coarse mask to boxes",
        difficulty=2,
        minutes=20,
        purpose="the question that SAM is asked with, one for each piece",
        hints=(
            "label(mask) numbers the pieces; np.bincount counts how many pixels carry each number, the background too.",
            "Sort the pieces by size, the largest first, and leave out those below min_fraction of the largest. "
            "np.nonzero(parts == number) gives rows and columns of one piece.",
            "A box is (smallest column, smallest row, largest column + 1, largest row + 1); hand it to widen with the "
            "width and the height of the mask, collect the results, and return np.array(found).reshape(-1, 4).",
        ),
        solution=boxes_around,
        cases=coarse_masks,
        mistakes=(
            Mistake(
                "(x, y) and (row, column) are exchanged: x is the column, and comes first.",
                boxes_otherwise(exchanged=True),
            ),
            Mistake(
                "your boxes end one pixel too early: x1 and y1 are the first column and row after the piece.",
                boxes_otherwise(after=0),
            ),
            Mistake("the largest piece should come first.", boxes_otherwise(order=1)),
            Mistake("pixels that touch at a corner belong together.", boxes_otherwise(connectivity=1)),
            Mistake("min_fraction is a part of the largest piece, not of the image.", boxes_otherwise(of_image=True)),
            Mistake(
                "you keep every speck: where does min_fraction come in?",
                lambda mask, min_fraction, share: boxes_around(mask, 0, share),
            ),
            Mistake("a box can leave the image: widen stops at its edges.", boxes_otherwise(clip=False)),
            Mistake("share is a part of each box, not a number of pixels.", boxes_otherwise(pixels=True)),
            Mistake(
                "the boxes are right, but not widened.",
                lambda mask, min_fraction, share: boxes_around(mask, min_fraction, 0),
            ),
            Mistake("that is one box around everything; each piece needs its own.", one_box),
        ),
    ),
    Function(
        number="06.5",
        title="points that keep their distance",
        difficulty=3,
        minutes=25,
        purpose="a rule for points that a seed cannot spoil",
        hints=(
            "Begin with the core: pad the mask, take the distance transform, cut the padding off again, and keep the "
            "pixels that are at least half as deep as the deepest.",
            "For each pixel of the core, compute the distance to every point that you have, and keep the smallest: "
            "that is how far it is from the points. The next point is where this is largest.",
            "core = np.argwhere(…) gives rows and columns in the order of reading; start at the deepest, append "
            "core[smallest.argmax()] until you have n or the core is used up, and turn (row, column) into (x, y).",
        ),
        solution=spread_points,
        cases=masks_for_points,
        mistakes=(
            Mistake(
                "(x, y) and (row, column) are exchanged: SAM wants the column first.",
                lambda mask, n: spread_points(mask, n)[:, ::-1],
            ),
            Mistake(
                "your points come from anywhere in the mask; its outer part may lie beside the target.",
                points_otherwise(share=0),
            ),
            Mistake(
                "where the mask touches the edge of the image, its border is not seen as one: pad the mask first.",
                points_otherwise(padded=False),
            ),
            Mistake(
                "these are the deepest pixels, all in one place: each next point should be far from those before.",
                points_otherwise(deepest=True),
            ),
            Mistake(
                "each point is far from the last one only, so the points jump back and forth between two ends.",
                points_otherwise(remembered=1),
            ),
            Mistake("the first point should be the deepest pixel.", points_otherwise(start="first")),
            Mistake(
                "the centre of mass may lie beside the target, in a crescent for one: start with the deepest pixel.",
                points_otherwise(start="middle"),
            ),
        ),
    ),
)
