"""Prompting: a box that ignores stray heat, points that say not here, and a call of SAM."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import ndimage

from medclipsam_utils.exercises import Mistake

from ..checks import StandInPredictor
from ..steps import Arguments, Numbers, Part, Solution, Step


def blot(generator: np.random.Generator, height: int, width: int, level: float = 0.6) -> np.ndarray:
    """Give a random mask of a few smooth blots."""
    field = ndimage.gaussian_filter(generator.normal(size=(height, width)), 2, mode="nearest")
    return field > np.quantile(field, level)


# --- box_of_share


def heat_maps(generator: np.random.Generator) -> list[Arguments]:
    by_hand = np.zeros((9, 12))
    by_hand[2:5, 4:10] = 1
    even = np.ones((40, 20))  # a whole number of lines has exactly what may be cut off
    corner = np.zeros((46, 46))  # a hot pixel whose column and row are both cut off
    corner[3:43, 3:43], corner[0, 0] = 1, 64
    spots = [generator.random(shape) ** 6 for shape in ((8, 8), (15, 9), (20, 31))]
    return [(heat,) for heat in (by_hand, even, corner, *spots)]


def cold_maps(generator: np.random.Generator) -> list[Arguments]:
    return [(np.zeros(generator.integers(3, 40, 2)),) for _ in range(3)]


def box_with(heat: np.ndarray, tail: float, last: int = 1) -> tuple[int, int, int, int]:
    if not heat.sum():
        return 0, 0, heat.shape[1], heat.shape[0]
    x0, x1 = ends(heat.sum(0), tail, last)
    y0, y1 = ends(heat.sum(1), tail, last)
    return x0, y0, x1, y1


def ends(line: np.ndarray, tail: float, last: int = 1) -> tuple[int, int]:
    shares = line / line.sum()
    first = np.flatnonzero(shares.cumsum() > tail)[0]
    end = np.flatnonzero(shares[::-1].cumsum()[::-1] > tail)[-1] + last
    return int(first), int(end)


def box_mistakes(solution: Solution, numbers: Numbers) -> Sequence[Mistake]:
    tail, rounding = (1 - numbers["share"]) / 2, 1e-9

    def columns_first(heat: np.ndarray) -> tuple[int, int, int, int]:
        x0, _, x1, _ = solution(heat)
        if not heat.sum():
            return x0, 0, x1, len(heat)
        y0, y1 = ends(heat[:, x0:x1].sum(1), tail + rounding)
        return x0, y0, x1, y1

    return (
        Mistake(
            "rows and columns are exchanged: x runs over columns.", lambda h: tuple(np.array(solution(h))[[1, 0, 3, 2]])
        ),
        Mistake(
            "x1 and y1 are one after the last column and row, so that heat[y0:y1, x0:x1] is the box.",
            lambda h: box_with(h, tail + rounding, 0),
        ),
        Mistake(
            "what is cut away is shared by the two sides: half of it on each.",
            lambda h: box_with(h, 2 * tail + rounding),
        ),
        Mistake(
            "the order is (x0, y0, x1, y1); yours is (x0, x1, y0, y1).",
            lambda h: tuple(np.array(solution(h))[[0, 2, 1, 3]]),
        ),
        Mistake("the rows are summed over the whole map, not over the columns that were kept.", columns_first),
        Mistake(
            "what is cut off may have exactly that share: at most, up to 1e-9.", lambda h: box_with(h, tail - rounding)
        ),
        Mistake("that is the box around all heat; a share of it is to be cut away.", lambda h: box_with(h, 0)),
    )


# --- negative_points


def warm_scenes(generator: np.random.Generator) -> list[Arguments]:
    neighbours, corner = np.zeros((16, 18)), np.zeros((16, 18), bool)
    neighbours[8, 8], neighbours[10, 10], neighbours[8, 14], corner[:3, :3] = 3, 2, 1, True
    cases: list[Arguments] = [(neighbours, corner, 3, 2)]
    for height, width, gap, count in ((14, 17, 2, 3), (20, 26, 3, 5), (25, 18, 1, 6)):
        mask = np.zeros((height, width), bool)
        top, left = generator.integers(2, 7, 2)
        mask[top : top + 6, left : left + 8] = True
        heat = ndimage.gaussian_filter(generator.random((height, width)), 1) + 0.5 * ndimage.gaussian_filter(
            1.0 * mask, 2
        )
        cases.append((heat, mask, gap, count))
    return cases


def little_room(generator: np.random.Generator) -> list[Arguments]:
    mask = np.ones((9, 12), bool)
    mask[:, 8:] = False
    cold = np.zeros((9, 12))
    cold[4, 10] = 1
    return [
        (cold, mask, 2, 20),
        (generator.random((9, 12)), mask, 2, 20),
        (generator.random((9, 12)), np.ones((9, 12), bool), 1, 2),
    ]


def no_target(generator: np.random.Generator) -> list[Arguments]:
    heat = generator.random((8, 9))
    heat[0, 0] = heat[0, -1] = heat[-1, 0] = 1 + generator.random()
    even = np.zeros((6, 8))
    return [(heat, np.zeros((8, 9), bool), 2, 4), (even, np.zeros((6, 8), bool), 2, 5)]


def negatives(
    heat: np.ndarray,
    mask: np.ndarray,
    gap: float,
    count: int,
    *,
    away: bool = True,
    apart: bool = True,
    sign: int = 1,
    guard: bool = True,
    far: Solution = np.hypot,
    strict: bool = False,
    cold: bool = True,
    last: bool = False,
) -> np.ndarray:
    """The points as (row, column), with slips: near the target, near each other, the coldest ones.

    ``far`` makes a distance of steps along rows and columns; ``strict`` leaves pixels open that are exactly at the gap;
    without ``cold`` it ends where the map is 0; ``last`` takes the last of equally hot pixels.
    """
    distance = ndimage.distance_transform_edt(~mask) if mask.any() or not guard else np.full(mask.shape, np.inf)
    free = (distance > gap) if away else ~mask
    rows, columns = np.indices(mask.shape)
    found: list[tuple[Any, Any]] = []
    while len(found) < count and free.any() and (cold or heat[free].max() > 0):
        hottest = np.flatnonzero(free & (sign * heat == (sign * heat)[free].max()))
        row, column = np.unravel_index(hottest[-1 if last else 0], mask.shape)
        found.append((row, column))
        away_by = far(abs(rows - row), abs(columns - column))
        near = away_by < gap if strict else away_by <= (gap if apart else 0)
        free = free & ~near & (away_by > 0)
    return np.array(found, int).reshape(-1, 2)


def point_mistakes(solution: Solution, numbers: Numbers) -> Sequence[Mistake]:
    def forced(heat: np.ndarray, mask: np.ndarray, gap: float, count: int) -> np.ndarray:
        points = solution(heat, mask, gap, count)
        return np.concatenate([points, np.repeat(points[-1:], count - len(points), 0)])

    def slip(**made: Any) -> Solution:
        return lambda *scene: negatives(*scene, **made)[:, ::-1]

    return (
        Mistake("these are (row, column); SAM takes (x, y).", lambda *a: solution(*a)[:, ::-1]),
        Mistake(
            "a point nearer than the gap to the mask may well lie on the target, whose mask is only coarse.",
            slip(away=False),
        ),
        Mistake(
            "your points sit side by side on the same hot spot: after each choice, its neighbourhood is closed.",
            slip(apart=False),
        ),
        Mistake(
            "those are the coldest pixels, where nobody would look for the target; take the hottest ones.",
            slip(sign=-1),
        ),
        Mistake(
            "those lie on the mask; negative points lie beside it.", lambda h, m, g, n: negatives(h, ~m, 0, n)[:, ::-1]
        ),
        Mistake(
            "distances are straight lines: yours closes a square around each point.",
            slip(far=np.maximum),
        ),
        Mistake(
            "distances are straight lines: yours counts the steps along rows and columns.",
            slip(far=np.add),
        ),
        Mistake(
            "a pixel whose distance to a point is exactly the gap is closed as well.",
            slip(strict=True),
        ),
        Mistake(
            "a pixel of heat 0 can be a point too, as long as hotter ones are closed.",
            slip(cold=False),
        ),
        Mistake(
            "of equally hot pixels, the first in reading order is taken; yours takes the last.",
            slip(last=True),
        ),
        Mistake("where no pixel is left, there are fewer points than asked for.", forced),
        Mistake(
            "without any pixel in the mask, every pixel is far from it; scipy's distance is of no use then.",
            slip(guard=False),
        ),
    )


# --- ask_boxes


def predictor(generator: np.random.Generator, height: int, width: int) -> StandInPredictor:
    return StandInPredictor(
        generator.random((height, width)).round(4), generator.permutation([0.55, 0.72, 0.91]) + 0.01
    )


def boxes(generator: np.random.Generator) -> list[Arguments]:
    """Give boxes side by side, for which each of the three masks in turn is the best one."""
    cases = []
    for count in (3, 1, 4):
        height, width = int(generator.integers(14, 20)), 12 * count + 3
        left = 12 * np.arange(count) + generator.integers(0, 3, count)
        top = (np.arange(count) - left) % 3
        corners = np.stack(
            [left, top, left + generator.integers(6, 10, count), top + generator.integers(6, 11, count)], 1
        )
        image = generator.integers(0, 255, (height, width, 3)).astype(np.uint8)
        cases.append((predictor(generator, height, width), image, corners.astype(float)))
    return cases


def no_boxes(generator: np.random.Generator) -> list[Arguments]:
    height, width = (int(side) for side in generator.integers(9, 30, 2))
    return [(predictor(generator, height, width), np.zeros((height, width, 3), np.uint8), np.zeros((0, 4)))]


def box_answers(
    predictor: StandInPredictor, image: np.ndarray, boxes: np.ndarray
) -> list[tuple[np.ndarray, np.ndarray]]:
    predictor.set_image(image)
    return [predictor.predict(box=box, multimask_output=True)[:2] for box in boxes]


def ask_mistakes(solution: Solution, numbers: Numbers) -> Sequence[Mistake]:
    def by(pick: Solution, join: Solution = np.any) -> Solution:
        return lambda p, i, b: join([masks[pick(masks, scores)] for masks, scores in box_answers(p, i, b)], axis=0)

    def best(masks: np.ndarray, scores: np.ndarray) -> int:
        return int(scores.argmax())

    return (
        Mistake("you take the first of the three masks; take the one with the highest score.", by(lambda m, s: 0)),
        Mistake(
            "you take the last of the three masks, which is the largest; take the one with the highest score.",
            by(lambda m, s: 2),
        ),
        Mistake("you take the mask with the lowest score.", by(lambda m, s: int(s.argmin()))),
        Mistake("the masks of several boxes are joined: a pixel counts if any of them has it.", by(best, np.all)),
        Mistake(
            "only the last box counts in yours; join the masks of all boxes.", lambda p, i, b: solution(p, i, b[-1:])
        ),
        Mistake(
            "only the first box counts in yours; join the masks of all boxes.", lambda p, i, b: solution(p, i, b[:1])
        ),
    )


STEPS: tuple[Step, ...] = (
    Step("box_of_share", (Part("maps with heat", 3, heat_maps), Part("maps without", 1, cold_maps)), box_mistakes),
    Step(
        "negative_points",
        (
            Part("room for all points", 3, warm_scenes),
            Part("room for fewer", 1, little_room),
            Part("an empty mask", 1, no_target),
        ),
        point_mistakes,
    ),
    Step("ask_boxes", (Part("one and several boxes", 3, boxes), Part("no box", 1, no_boxes)), ask_mistakes),
)
