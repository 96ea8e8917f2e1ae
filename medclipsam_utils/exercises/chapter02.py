"""Exercises of chapter 2, images, words and masks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.ndimage import binary_dilation, binary_erosion, distance_transform_edt

from ..simulate import simulate
from .exercise import Exercise, Function, Mistake, Value


def radiograph(mu_per_cm, voxel_cm):
    path = mu_per_cm.sum(axis=0) * voxel_cm
    return np.exp(-path)


def apply_window(hounsfield, centre, width):
    low = centre - width / 2
    return np.clip((hounsfield - low) / width, 0, 1)


def dice(reference, mask):
    total = reference.sum() + mask.sum()
    if total == 0:
        return 1.0
    return 2 * (reference & mask).sum() / total


def outline(mask, spacing_mm):
    height, width = spacing_mm
    padded = np.pad(mask, 1)
    upper_left, upper_right = padded[:-1, :-1], padded[:-1, 1:]
    lower_left, lower_right = padded[1:, :-1], padded[1:, 1:]
    inside = upper_left.astype(int) + upper_right + lower_left + lower_right
    lengths = np.where(inside % 2 == 1, np.hypot(height, width) / 2, 0.0)
    lengths[(inside == 2) & (upper_left == upper_right)] = width
    lengths[(inside == 2) & (upper_left == lower_left)] = height
    lengths[(inside == 2) & (upper_left == lower_right)] = np.hypot(height, width)
    return lengths


def nsd(reference, mask, tolerance_mm, spacing_mm):
    if not reference.any() or not mask.any():
        return float(reference.any() == mask.any())
    first, second = outline(reference, spacing_mm), outline(mask, spacing_mm)
    to_first = distance_transform_edt(first == 0, sampling=spacing_mm)
    to_second = distance_transform_edt(second == 0, sampling=spacing_mm)
    near = first[to_second <= tolerance_mm].sum() + second[to_first <= tolerance_mm].sum()
    return near / (first.sum() + second.sum())


def jaccard_from_dice(dice):
    return dice / (2 - dice)


def smallest_growth() -> int:
    lungs = simulate("lung_xray", 3, finding="clear")
    grown = [binary_dilation(lungs.mask, iterations=pixels) for pixels in range(1, 9)]
    scores = np.array([nsd(lungs.mask, mask, 2, lungs.spacing_mm) for mask in grown])
    return 1 + int((scores < 0.5).argmax())


def volumes(generator: np.random.Generator) -> Sequence[tuple[Any, ...]]:
    """Give a beam through two tissues, air, a cube, and random boxes of voxels of different sizes."""
    two_tissues = np.array([0.2, 0.2, 0.05, 0.55]).reshape(4, 1, 1)
    sizes = [generator.integers(2, 7, 3) for _ in range(4)]
    random = [(generator.uniform(0, 0.6, size), float(generator.uniform(0.1, 2))) for size in sizes]
    return [(two_tissues, 0.5), (np.zeros((3, 2, 4)), 1.0), (generator.uniform(0, 0.6, (3, 3, 3)), 0.3), *random]


def windows(generator: np.random.Generator) -> Sequence[tuple[Any, ...]]:
    """Give windows of soft tissue, lung and bone, and random ones, with values on both sides of them."""
    known = [(np.array([-1000.0, -160, 40, 240, 900]), 40, 400), (np.array([-600.0, -1400, 0]), -600, 1500)]
    return known + [
        (
            generator.uniform(-1200, 1500, (3, 4)),
            float(generator.uniform(-700, 500)),
            float(generator.uniform(80, 2000)),
        )
        for _ in range(4)
    ]


def pairs_of_masks(generator: np.random.Generator) -> Sequence[tuple[Any, ...]]:
    """Give equal, disjoint, nested, tiny and empty masks, and random ones of any shape."""
    nothing, dot, square, wide = (np.zeros((6, 7), bool) for _ in range(4))
    dot[2, 3] = square[1:4, 1:4] = wide[1:5, 1:6] = True
    by_hand = [(square, np.roll(square, 1, axis=(0, 1))), (square, square), (square, wide), (wide, dot)]
    edge = [(nothing, nothing), (nothing, dot), (dot, nothing), (square, np.roll(square, 3, axis=1))]
    shapes = [generator.integers(3, 15, 2) for _ in range(5)]
    return [*by_hand, *edge, *((generator.random(s) < 0.6, generator.random(s) < 0.4) for s in shapes)]


def masks_with_spacing(generator: np.random.Generator) -> Sequence[tuple[Any, ...]]:
    """Give a pixel, a bar, two pixels that touch at a corner, masks at the edge, none and all, and random ones."""
    dot, bar, corner, edge = (np.zeros((5, 7), bool) for _ in range(4))
    dot[2, 3] = bar[1:3, 1:6] = corner[1, 2] = corner[2, 3] = edge[0:2, 4:] = True
    by_hand = [(dot, (1.0, 1.0)), (bar, (1.0, 1.0)), (bar, (0.5, 2.0)), (corner, (3.0, 4.0)), (edge, (1.0, 0.25))]
    whole = [(np.zeros((3, 4), bool), (1.0, 1.0)), (np.ones((3, 4), bool), (0.7, 0.9))]
    shapes = [generator.integers(3, 12, 2) for _ in range(4)]
    random = [(generator.random(shape) < 0.5, tuple(generator.uniform(0.3, 2, 2))) for shape in shapes]
    return [*by_hand, *whole, *random]


def outlines_to_compare(generator: np.random.Generator) -> Sequence[tuple[Any, ...]]:
    """Give shifted, grown and shrunken blots with several tolerances and spacings, and empty masks."""
    rows, columns = np.mgrid[:24, :26]
    disc = np.hypot(rows - 11, columns - 12) <= 7
    nothing = np.zeros_like(disc)
    large, moved = binary_dilation(disc, iterations=2), np.roll(disc, 3, axis=1)
    by_hand = [(disc, large, 2.0, (1.0, 1.0)), (disc, large, 1.0, (0.5, 0.5)), (disc, moved, 1.0, (1.0, 1.0)),
               (disc, disc, 0.0, (0.8, 0.8))]  # fmt: skip
    anisotropic = [(disc, moved, 1.5, (0.5, 2.0)), (disc, moved, 1.5, (2.0, 0.5)), (disc, large, 1.2, (0.4, 1.1))]
    empty = [(nothing, nothing, 2.0, (1.0, 1.0)), (disc, nothing, 2.0, (1.0, 1.0)), (nothing, disc, 2.0, (1.0, 1.0))]
    crumb = disc.copy()
    crumb[1:4, 2] = True  # far from everything in the other mask: the two outlines have different shares nearby
    random = []
    for _ in range(4):
        noisy = disc ^ (generator.random(disc.shape) < 0.03)
        random.append((disc, noisy, float(generator.uniform(0.5, 2.5)), tuple(generator.uniform(0.4, 1.6, 2))))
    return [*by_hand, *anisotropic, (disc, crumb, 2.0, (1.0, 1.0)), *empty, *random]


def nsd_with(how_near):
    """Give an NSD that takes its pieces of outline and their distances from ``how_near``, as wrong answers do."""

    def wrong(reference, mask, tolerance_mm, spacing_mm):
        if not reference.any() or not mask.any():
            return float(reference.any() == mask.any())
        return how_near(reference, mask, tolerance_mm, spacing_mm)

    return wrong


def share_near(first, second, tolerance_mm, sampling):
    """Share of both sets of pieces, weighted by their lengths, that lies within a tolerance of the other set."""
    to_first, to_second = (distance_transform_edt(pieces == 0, sampling=sampling) for pieces in (first, second))
    near = first[to_second <= tolerance_mm].sum() + second[to_first <= tolerance_mm].sum()
    return near / (first.sum() + second.sum())


def shares(reference, mask, tolerance_mm, spacing_mm):
    """Share of each outline by itself that lies near the other one."""
    first, second = outline(reference, spacing_mm), outline(mask, spacing_mm)
    to_first, to_second = (distance_transform_edt(pieces == 0, sampling=spacing_mm) for pieces in (first, second))
    one = first[to_second <= tolerance_mm].sum() / first.sum()
    return one, second[to_first <= tolerance_mm].sum() / second.sum()


def border_pixels(mask):
    return mask & ~binary_erosion(mask)


def strictly_near(reference, mask, tolerance_mm, spacing_mm):
    return nsd(reference, mask, np.nextafter(tolerance_mm, -1), spacing_mm)


def outline_without_padding(mask, spacing_mm):
    return outline(mask, spacing_mm)[1:-1, 1:-1]


def outline_open_at_the_edge(mask, spacing_mm):
    return outline(np.pad(mask, 1, mode="edge"), spacing_mm)[1:-1, 1:-1]


def every_corner_of_the_target(mask, spacing_mm):
    padded = np.pad(mask, 1)
    return padded[:-1, :-1] | padded[:-1, 1:] | padded[1:, :-1] | padded[1:, 1:]


def outline_with_whole_diagonals(mask, spacing_mm):
    lengths, diagonal = outline(mask, spacing_mm), np.hypot(*spacing_mm)
    padded = np.pad(mask, 1).astype(int)
    odd = (padded[:-1, :-1] + padded[:-1, 1:] + padded[1:, :-1] + padded[1:, 1:]) % 2 == 1
    return np.where(odd, diagonal, lengths)


def outline_without_touching_corners(mask, spacing_mm):
    padded = np.pad(mask, 1)
    touching = (padded[:-1, :-1] == padded[1:, 1:]) & (padded[:-1, 1:] == padded[1:, :-1])
    return np.where(touching, 0, outline(mask, spacing_mm))


def growth_of_pixels_of_a_millimetre():
    mask = simulate("lung_xray", 3, finding="clear").mask
    grown = (binary_dilation(mask, iterations=pixels) for pixels in range(1, 9))
    return next(pixels for pixels, other in enumerate(grown, start=1) if nsd(mask, other, 2, (1, 1)) < 0.5)


EXERCISES: tuple[Exercise, ...] = (
    Function(
        number="02.1",
        title="an X-ray of a block of voxels",
        difficulty=1,
        minutes=10,
        purpose="the Beer–Lambert law for every ray at once",
        hints=(
            "Take a single ray first. Which voxels does it cross, and how many centimetres does it spend in each?",
            "Attenuations along a ray add up in the exponent: first the sum over axis 0, then the exponential.",
            "Sum mu_per_cm over axis 0, multiply by the length of a voxel, and take the exponential of minus that.",
        ),
        solution=radiograph,
        cases=volumes,
        mistakes=(
            Mistake(
                "you take every voxel for one centimetre thick: where does voxel_cm come in?",
                lambda mu, voxel: np.exp(-mu.sum(0)),
            ),
            Mistake(
                "you add up what each voxel lets through; a photon has to get through one after the other.",
                lambda mu, voxel: np.exp(-mu * voxel).sum(0),
            ),
            Mistake(
                "that is the mean over the voxels of a ray, as if each ray crossed a single one.",
                lambda mu, voxel: np.exp(-mu.mean(0) * voxel),
            ),
            Mistake(
                "tissue would make light here: the sign of the exponent.", lambda mu, voxel: 1 / radiograph(mu, voxel)
            ),
            Mistake("that is what the body absorbs; what gets through is asked.", lambda mu, v: 1 - radiograph(mu, v)),
            Mistake(
                "that is the exponent, which a film shows as grey; the share is asked.", lambda mu, v: mu.sum(0) * v
            ),
            Mistake(
                "your beam runs along the last axis; the text says which one it takes.",
                lambda mu, voxel: np.exp(-mu.sum(axis=-1) * voxel),
            ),
        ),
    ),
    Function(
        number="02.2",
        title="the window of a CT",
        difficulty=1,
        minutes=10,
        purpose="thousands of Hounsfield units on a screen with 256 greys",
        hints=(
            "Which value becomes 0, and which becomes 1? Draw the line between the two.",
            "The window begins at centre - width / 2. How far above that is a value, in widths?",
            "Subtract the lower end, divide by the width, and let np.clip take care of both ends.",
        ),
        solution=apply_window,
        cases=windows,
        mistakes=(
            Mistake(
                "your window is twice as wide: it reaches half a width to each side of the centre.",
                lambda hu, centre, width: np.clip((hu - centre + width) / (2 * width), 0, 1),
            ),
            Mistake(
                "values outside of the window leave the range from 0 to 1.",
                lambda hu, centre, width: (hu - centre + width / 2) / width,
            ),
            Mistake("that is from 0 to 255; the range from 0 to 1 is asked.", lambda *a: 255 * apply_window(*a)),
            Mistake("your picture is inverted: high values should be white.", lambda *a: 1 - apply_window(*a)),
            Mistake(
                "you take the centre for the lower end of the window.",
                lambda hu, centre, width: np.clip((hu - centre) / width, 0, 1),
            ),
        ),
    ),
    Function(
        number="02.3",
        title="Dice, with its empty cases",
        difficulty=1,
        minutes=10,
        purpose="the score in nearly every table of this book",
        hints=(
            "For masks of True and False, & gives what both share, and .sum() counts pixels.",
            "What is 0 / 0? There is one case in which the denominator is 0: decide it before you divide.",
            "If both sums together are 0, return 1.0; otherwise divide twice the shared pixels by them.",
        ),
        solution=dice,
        cases=pairs_of_masks,
        mistakes=(
            Mistake(
                "that is the Jaccard index: it divides by the union, and Dice by the sum of both areas.",
                lambda g, s: (g & s).sum() / (g | s).sum() if (g | s).any() else 1.0,
            ),
            Mistake(
                "two empty masks agree completely, so they should not get 0.",
                lambda g, s: dice(g, s) if (g | s).any() else 0.0,
            ),
            Mistake("the 2 is missing.", lambda g, s: dice(g, s) / 2 if (g | s).any() else 1.0),
            Mistake(
                "that is the share of all pixels on which the two agree; a large background makes it look good.",
                lambda g, s: (g == s).mean(),
            ),
            Mistake(
                "that is the share of the reference that was found; a mask that covers everything would get 1.",
                lambda g, s: (g & s).sum() / g.sum() if g.any() else float(not s.any()),
            ),
            Mistake(
                "that is the share of the mask that is right; a single good pixel would get 1.",
                lambda g, s: (g & s).sum() / s.sum() if s.any() else float(not g.any()),
            ),
        ),
    ),
    Function(
        number="02.4",
        title="where the outline runs, and how long it is",
        difficulty=3,
        minutes=20,
        purpose="the first half of NSD: a mask becomes its outline",
        hints=(
            "Count how many of the four pixels around each corner belong to the target: 0 to 4.",
            "With 0 or 4 there is no outline; with 1 or 3, half a diagonal. With 2, ask whether the upper two are "
            "alike (a horizontal piece), the left two (a vertical one), or neither.",
            "Start from np.where(inside % 2 == 1, half the diagonal, 0.0) and fill in the three cases with inside == 2 "
            "by boolean indexing: horizontal pieces are as long as columns are apart, vertical ones as rows are.",
        ),
        solution=outline,
        cases=masks_with_spacing,
        mistakes=(
            Mistake(
                "your outline has inside corners, too: where all four pixels belong to the target there is none. This "
                "is the slip by which a one-voxel slab counts the whole inside as surface.",
                every_corner_of_the_target,
            ),
            Mistake(
                "rows and columns are exchanged in spacing_mm: a horizontal piece is as long as columns are apart.",
                lambda mask, spacing: outline(mask, spacing[::-1]),
            ),
            Mistake(
                "the places are right; now each piece needs its length in millimetres.",
                lambda mask, spacing: outline(mask, spacing) > 0,
            ),
            Mistake(
                "the outermost corners are missing, and with them the outline of what touches the edge: pad the mask.",
                outline_without_padding,
            ),
            Mistake(
                "the outline is open where the target touches the edge of the image: outside of it, nothing is target.",
                outline_open_at_the_edge,
            ),
            Mistake(
                "a corner with one or three pixels of the target is cut off at half the diagonal, not at all of it.",
                outline_with_whole_diagonals,
            ),
            Mistake(
                "two pixels that touch at a corner only have two pieces of outline there.",
                outline_without_touching_corners,
            ),
            Mistake(
                "every pixel counts as one millimetre: where does spacing_mm come in?",
                lambda mask, spacing: outline(mask, (1, 1)),
            ),
        ),
    ),
    Function(
        number="02.5",
        title="the normalised surface distance",
        difficulty=2,
        minutes=15,
        purpose="how much of an outline would have to be redrawn, in millimetres",
        hints=(
            "Take one outline at a time. How far is each of its pieces from the nearest piece of the other one?",
            "distance_transform_edt gives every True its distance to the nearest False: make the other outline False. "
            "Its argument sampling takes the spacing.",
            "Add the lengths of both outlines where the distance to the other one is at most the tolerance, and divide "
            "by the lengths of both outlines together. Decide the empty masks before all that.",
        ),
        solution=nsd,
        cases=outlines_to_compare,
        mistakes=(
            Mistake(
                "inside pixels count as surface here, as in the one-voxel slab: the score follows the area, and hardly "
                "knows where the outlines are.",
                nsd_with(share_near),
            ),
            Mistake(
                "your outline is made of the outermost pixels; it runs between pixels, and outline() has its lengths.",
                nsd_with(lambda g, s, t, mm: share_near(border_pixels(g), border_pixels(s), t, mm)),
            ),
            Mistake(
                "you count corners; pieces of the outline differ in length.",
                nsd_with(lambda g, s, t, mm: share_near(outline(g, mm) > 0, outline(s, mm) > 0, t, mm)),
            ),
            Mistake(
                "your distances are in pixels, the tolerance is in millimetres.",
                nsd_with(lambda g, s, t, mm: share_near(outline(g, mm), outline(s, mm), t, (1, 1))),
            ),
            Mistake(
                "rows and columns are exchanged in the spacing of the distances.",
                nsd_with(lambda g, s, t, mm: share_near(outline(g, mm), outline(s, mm), t, mm[::-1])),
            ),
            Mistake(
                "a piece exactly at the tolerance still counts as near.",
                nsd_with(strictly_near),
            ),
            Mistake(
                "you look from one side only; a mask with a piece too many is right from the other one.",
                nsd_with(lambda *arguments: shares(*arguments)[0]),
            ),
            Mistake(
                "you look from one side only; a mask that misses a piece is right from the other one.",
                nsd_with(lambda *arguments: shares(*arguments)[1]),
            ),
            Mistake(
                "you average two shares; add up both lengths first and divide once: a long outline counts more.",
                nsd_with(lambda *arguments: np.mean(shares(*arguments))),
            ),
            Mistake(
                "two empty masks agree completely, so they should not get 0.",
                lambda g, s, *others: nsd(g, s, *others) if (g | s).any() else 0.0,
            ),
        ),
    ),
    Function(
        number="02.6",
        title="from Dice to Jaccard",
        difficulty=1,
        minutes=5,
        purpose="papers report one or the other, and you want to compare them",
        hints=(
            "Write both with the number of shared pixels and the number of pixels in the union.",
            "The two areas together are the union plus the shared part once more.",
            "Dice is 2 i / (u + i). Solve this for i / u.",
        ),
        solution=jaccard_from_dice,
        cases=lambda generator: [(value,) for value in (1.0, 0.0, 0.8, 0.5, *generator.random(5))],
        mistakes=(
            Mistake("that is the other direction: from Jaccard to Dice.", lambda dice: 2 * dice / (1 + dice)),
            Mistake("half of Dice is too simple: at 1, both are 1.", lambda dice: dice / 2),
            Mistake(
                "the sign in the denominator: Jaccard is never 1/3 for equal masks.", lambda dice: dice / (2 + dice)
            ),
        ),
    ),
    Value(
        number="02.7",
        title="how far may the lungs grow?",
        difficulty=2,
        minutes=10,
        purpose="a tolerance in millimetres is a number of pixels that depends on the image",
        hints=(
            "Try one pixel, then two: binary_dilation takes iterations=1, 2, 3, …",
            "Each grown mask is compared with the sample's own one; its spacing_mm says how large a pixel is.",
            "Find the smallest number of iterations at which nsd with tolerance 2 and lungs.spacing_mm is below ½.",
        ),
        solution=smallest_growth,
        mistakes=(
            Mistake(
                "that would be right if a pixel were one millimetre: pass the sample's spacing_mm.",
                growth_of_pixels_of_a_millimetre,
            ),
            Mistake(
                "at that many pixels NSD is still above one half; the first one below it is asked.",
                lambda: smallest_growth() - 1,
            ),
        ),
    ),
)
