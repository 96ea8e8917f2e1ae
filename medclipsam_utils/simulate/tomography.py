"""A computed tomography slice: shapes in millimetres painted in Hounsfield units, and the scanner that shows them.

A CT image is a map of attenuation mu relative to water, ``HU = 1000 (mu - mu_water) / mu_water``: air -1000, fat about
-100, water 0, muscle about 50, cortical bone beyond 500. A :class:`Plane` holds one slice. Its coordinates are the
patient's: x towards the patient's left (the right of the image), y backwards (down), the origin near the middle of the
trunk. A shape is a depth, the distance in mm below its surface; a pixel that a surface cuts mixes both sides (partial
volume). Layers of the trunk wall are closed curves around the origin, tables of radius over angle.

A :class:`Scan` is the rest of the way to the picture: field of view or crop, resolution, noise that the reconstruction
kernel correlates, streaks where the shoulders absorb most of the beam, and the window
``grey = (HU - low) / (high - low)``. Not simulated: beam hardening, motion, metal, projections and back-projection.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy import ndimage

from .fields import COLS, GRID, ROWS, blur

AIR, FAT, WATER, MUSCLE = -1000.0, -102.0, 5.0, 54.0

#: Angles of the tables that describe closed curves: 0 is the patient's left, pi / 2 the back.
ANGLES = (np.arange(2048) + 0.5) * (2 * np.pi / 2048) - np.pi
ANGLES.setflags(write=False)

WHOLE = (slice(None), slice(None))


def closed_curve(half_width: float, front: float, back: float, power: tuple[float, float]) -> np.ndarray:
    """Radius over :data:`ANGLES` of a superellipse whose front and back half differ, mm."""
    cos, sin = np.abs(np.cos(ANGLES)), np.sin(ANGLES)
    halves = []
    for half_depth, exponent in zip((front, back), power, strict=True):
        total = (cos / half_width) ** exponent + (np.abs(sin) / half_depth) ** exponent
        halves.append(total ** (-1 / exponent))
    return np.where(sin < 0, *halves)


def bump(degrees: float, width: float) -> np.ndarray:
    """Table that is 1 at an angle and falls off with the given standard deviation, both in degrees."""
    distance = (ANGLES - np.deg2rad(degrees) + np.pi) % (2 * np.pi) - np.pi
    return np.exp(-0.5 * (distance / np.deg2rad(width)) ** 2)


def both_bumps(degrees: float, width: float) -> np.ndarray:
    """:func:`bump` on the patient's left and its mirror image on the right."""
    return bump(degrees, width) + bump(180 - degrees, width)


def smooth_min(first: np.ndarray, second: np.ndarray, rounding: float) -> np.ndarray:
    """Intersection of two depths whose edge is rounded over ``rounding`` mm."""
    share = np.clip(0.5 + 0.5 * (second - first) / rounding, 0, 1)
    return second + (first - second) * share - rounding * share * (1 - share)


class Patch(NamedTuple):
    """The depth of a small shape within a window of the plane."""

    window: tuple[slice, slice]
    depth: np.ndarray


@dataclass(frozen=True)
class Frame:
    """Where the plane's pixels lie: mm per row and column, pixel of the patient's origin, tilt of the patient."""

    mm_row: float
    mm_col: float
    row: float
    col: float
    tilt: float


class Plane:
    """One slice in Hounsfield units.

    Attributes:
        x, y: patient coordinates of the pixel centres in mm, float64 [GRID, GRID].
        radius: distance from the patient's origin in mm.
        hu: Hounsfield units, float64 [GRID, GRID]; air at first.
    """

    def __init__(self, frame: Frame) -> None:
        self.frame = frame
        self._cos, self._sin = np.cos(frame.tilt), np.sin(frame.tilt)
        right, down = (COLS - frame.col) * frame.mm_col, (ROWS - frame.row) * frame.mm_row
        self.x = self._cos * right + self._sin * down
        self.y = self._cos * down - self._sin * right
        self.radius = np.hypot(self.x, self.y)
        turns = (np.arctan2(self.y, self.x) + np.pi) / (2 * np.pi)
        self._bin = (turns * len(ANGLES)).astype(np.intp) % len(ANGLES)
        self._pixel = max(frame.mm_row, frame.mm_col)
        self.hu = np.full((GRID, GRID), AIR)

    def around(self, table: np.ndarray) -> np.ndarray:
        """A table over :data:`ANGLES` as an image."""
        return table[self._bin]

    def within(self, table: np.ndarray) -> np.ndarray:
        """Depth below a closed curve, measured towards the origin."""
        return self.around(table) - self.radius

    def pixel_of(self, x: np.ndarray | float, y: np.ndarray | float) -> tuple[np.ndarray, np.ndarray]:
        """Row and column of a point in mm."""
        right, down = self._cos * x - self._sin * y, self._sin * x + self._cos * y
        return self.frame.row + down / self.frame.mm_row, self.frame.col + right / self.frame.mm_col

    def ellipse(self, x: float, y: float, x_radius: float, y_radius: float, angle: float = 0.0) -> Patch:
        """An ellipse; the angle turns its first half-axis from the patient's left towards the back."""
        window = self._window(x, y, max(x_radius, y_radius))
        dx, dy = self.x[window] - x, self.y[window] - y
        cos, sin = np.cos(angle), np.sin(angle)
        norm = np.hypot((cos * dx + sin * dy) / x_radius, (cos * dy - sin * dx) / y_radius)
        return Patch(window, (1 - norm) * min(x_radius, y_radius))

    def ellipse_depth(self, x: float, y: float, x_radius: float, y_radius: float, angle: float = 0.0) -> np.ndarray:
        """The depth of :meth:`ellipse` in every pixel, negative outside."""
        cos, sin = np.cos(angle), np.sin(angle)
        dx, dy = self.x - x, self.y - y
        norm = np.hypot((cos * dx + sin * dy) / x_radius, (cos * dy - sin * dx) / y_radius)
        return (1 - norm) * min(x_radius, y_radius)

    def rod(self, start: tuple[float, float], end: tuple[float, float], radius: float, taper: float = 1.0) -> Patch:
        """A thick line with round ends; its radius at the end is ``taper`` times that at the start."""
        (x0, y0), (x1, y1) = start, end
        along = np.array([x1 - x0, y1 - y0])
        length = max(float(np.hypot(*along)), 1e-6)
        window = self._window((x0 + x1) / 2, (y0 + y1) / 2, length / 2 + radius * max(1.0, taper))
        dx, dy = self.x[window] - x0, self.y[window] - y0
        share = np.clip((dx * along[0] + dy * along[1]) / length**2, 0, 1)
        distance = np.hypot(dx - share * along[0], dy - share * along[1])
        return Patch(window, radius * (1 + (taper - 1) * share) - distance)

    def tubes(self, lines: np.ndarray) -> np.ndarray:
        """Share of each pixel that many thin tapering tubes cover, [GRID, GRID] in [0, 1].

        Args:
            lines: [N, 6], start x and y, end x and y, radius at the start and at the end, in mm.
        """
        covered = np.zeros(GRID * GRID)
        steps = np.ceil(np.hypot(lines[:, 2] - lines[:, 0], lines[:, 3] - lines[:, 1]) / (0.9 * self._pixel)) + 1
        index = np.repeat(np.arange(len(lines)), steps.astype(int))
        position = np.arange(len(index)) - np.searchsorted(index, index)
        share = position / np.maximum(steps[index] - 1, 1)
        line = lines[index]
        row, col = self.pixel_of(*(line[:, k] + share * (line[:, k + 2] - line[:, k]) for k in (0, 1)))
        radius = line[:, 4] + share * (line[:, 5] - line[:, 4])
        finest = min(self.frame.mm_row, self.frame.mm_col)
        for reach, these in ((2, radius <= 1.6 * finest), (6, radius > 1.6 * finest)):
            offset = np.arange(-reach, reach + 1)
            rows = np.round(row[these]).astype(int)[:, None, None] + offset[:, None]
            cols = np.round(col[these]).astype(int)[:, None, None] + offset
            distance = np.hypot(
                (rows - row[these, None, None]) * self.frame.mm_row, (cols - col[these, None, None]) * self.frame.mm_col
            )
            cover = np.clip((radius[these, None, None] - distance) / self._pixel + 0.5, 0, 1)
            inside = (rows >= 0) & (rows < GRID) & (cols >= 0) & (cols < GRID) & (cover > 0)
            flat = np.broadcast_to(rows * GRID + cols, inside.shape)[inside]
            np.maximum.at(covered, flat, cover[inside])
        return covered.reshape(GRID, GRID)

    def cover(self, depth: np.ndarray) -> np.ndarray:
        """Share of each pixel inside a shape: 0 outside, 1 inside, between where the surface cuts it."""
        return np.clip(depth / self._pixel + 0.5, 0, 1)

    def paint(self, shape: Patch | np.ndarray, value: float | np.ndarray) -> None:
        """Fill a shape with Hounsfield units, a number or an image."""
        window, depth = shape if isinstance(shape, Patch) else (WHOLE, shape)
        target = self.hu[window]
        target += self.cover(depth) * ((value[window] if isinstance(value, np.ndarray) else value) - target)

    def paint_bone(self, shape: Patch, cortex_mm: float, cortex: float, marrow: float) -> None:
        """A shell of compact bone filled with marrow."""
        self.paint(shape, cortex)
        self.paint(Patch(shape.window, shape.depth - cortex_mm), marrow)

    def inside(self, shape: Patch) -> np.ndarray:
        """A patch as bool [GRID, GRID]."""
        mask = np.zeros((GRID, GRID), bool)
        mask[shape.window] = shape.depth > 0
        return mask

    def _window(self, x: float, y: float, reach: float) -> tuple[slice, slice]:
        spans = zip(self.pixel_of(x, y), (self.frame.mm_row, self.frame.mm_col), strict=True)
        return tuple(
            slice(*(int(np.clip(centre + sign * (reach / mm + 2) + (sign > 0), 0, GRID)) for sign in (-1, 1)))
            for centre, mm in spans
        )


@dataclass(frozen=True)
class Scan:
    """How one slice is acquired and shown."""

    layout: str  # "cropped" to the body and stretched, "coarse" at half resolution, or "native"
    window: str  # "lung", "soft tissue" or "wide"
    low: float  # HU shown black
    high: float  # HU shown white
    gamma: float  # of the display; 1 is linear
    field: float  # of view, relative to the width of the body
    shift: tuple[float, float]  # of the patient, mm backwards and to the left
    margins: tuple[
        float, float, float, float
    ]  # of a crop, mm at the front, back, right and left; may cut into the body
    tilt: float  # of the patient, radians
    softness: float  # standard deviation of the point spread, pixels
    sharpening: float  # of the reconstruction kernel
    noise: float  # standard deviation, HU
    streaks: float  # of the streaks through shoulders, HU
    outside: float  # HU outside the scanner's circle
    circle: bool
    table: float  # distance of the table from the back, mm; below 0 there is none
    table_curve: float  # rise of the table's edges, 1 / mm
    clothes: float  # distance of the clothes from the skin, mm; below 0 there are none
    flipped: bool  # upside down
    seed: int  # of the noise

    def frame(self, outline: np.ndarray) -> Frame:
        """Place the body, given its outline as a table of radius over :data:`ANGLES` in mm."""
        cos, sin = np.cos(self.tilt), np.sin(self.tilt)
        x, y = outline * np.cos(ANGLES), outline * np.sin(ANGLES)
        right, down = cos * x - sin * y, sin * x + cos * y
        if self.layout == "cropped":
            front, back, patient_right, patient_left = self.margins
            top, bottom = down.min() - front, down.max() + back
            start, end = right.min() - patient_right, right.max() + patient_left
        else:
            field = np.clip(self.field * (right.max() - right.min()), 310, 440)
            middle = np.array([down.max() + down.min(), right.max() + right.min()]) / 2 + self.shift
            (top, start), (bottom, end) = middle - field / 2, middle + field / 2
        mm_row, mm_col = (bottom - top) / GRID, (end - start) / GRID
        return Frame(mm_row, mm_col, -top / mm_row - 0.5, -start / mm_col - 0.5, self.tilt)

    def show(self, hu: np.ndarray, body: np.ndarray, shoulders: float) -> np.ndarray:
        """Picture of a slice, float [GRID, GRID] in [0, 1].

        Args:
            hu: Hounsfield units, [GRID, GRID].
            body: bool [GRID, GRID]; rows with much body absorb the beam and are streaky.
            shoulders: 0 to 1, how strong the streaks are.
        """
        rng = np.random.default_rng(self.seed)
        image = blur(hu, self.softness)
        if self.sharpening > 0:
            image += self.sharpening * (image - blur(image, 1.0))
        grain = rng.standard_normal((GRID, GRID), dtype=np.float32).astype(np.float64)
        if self.layout == "coarse":
            grain = np.repeat(np.repeat(grain[::2, ::2], 2, axis=0), 2, axis=1)
        else:
            grain = blur(grain, 0.55) / 0.52
        thickness = body.mean(axis=1)
        image += self.noise * (0.45 + 0.8 * thickness[:, None]) * grain
        if shoulders > 0:
            lines = ndimage.uniform_filter1d(grain, 31, axis=1) * np.sqrt(31)
            image += self.streaks * shoulders * thickness[:, None] ** 2 * lines
        image = self._circle(image)
        if self.layout == "coarse":
            image = _half_resolution(image)
        grey = window(image, self.low, self.high) ** self.gamma
        return grey[::-1] if self.flipped else grey

    def in_view(self) -> np.ndarray:
        """Which pixels the scanner reconstructs, bool [GRID, GRID]."""
        if not self.circle:
            return np.ones((GRID, GRID), bool)
        return np.hypot(ROWS - (GRID - 1) / 2, COLS - (GRID - 1) / 2) < GRID / 2

    def oriented(self, mask: np.ndarray) -> np.ndarray:
        """A mask as it lies in the picture."""
        return mask[::-1] if self.flipped else mask

    def _circle(self, image: np.ndarray) -> np.ndarray:
        return np.where(self.in_view(), image, self.outside)


def window(hu: np.ndarray, low: float, high: float) -> np.ndarray:
    """Grey values in [0, 1]: ``low`` and below is black, ``high`` and above is white, linear between."""
    return np.clip((hu - low) / (high - low), 0, 1)


def _half_resolution(image: np.ndarray) -> np.ndarray:
    """Mean of 2 x 2 pixels, enlarged again with linear interpolation."""
    for axis in (0, 1):
        pairs = np.moveaxis(image, axis, 0)
        coarse = (pairs[::2] + pairs[1::2]) / 2
        padded = np.concatenate([coarse[:1], coarse, coarse[-1:]])
        fine = np.empty_like(pairs)
        fine[::2] = 0.75 * coarse + 0.25 * padded[:-2]
        fine[1::2] = 0.75 * coarse + 0.25 * padded[2:]
        image = np.moveaxis(fine, 0, axis)
    return image


def draw_scan(rng: np.random.Generator) -> Scan:
    """Draw an acquisition; the count of random numbers is always the same."""
    layout = ("cropped", "coarse", "native")[int(rng.choice(3, p=[0.42, 0.26, 0.32]))]
    kind, low, high, gamma = _draw_window(rng, layout)
    quality = rng.uniform(size=8)
    margins = rng.normal(2, 3, 2), rng.normal(-6, 14) + rng.normal(0, 4, 2)
    dose = {"cropped": 0.35, "coarse": 1.5, "native": 1.0}[layout]
    table, clothes = rng.uniform(2, 14), rng.uniform(3, 18)
    return Scan(
        layout=layout,
        window=kind,
        low=low,
        high=high,
        gamma=gamma,
        field=rng.uniform(1.0, 1.25),
        shift=tuple(rng.normal(0, 1, 2) * (14, 7)),
        margins=(*margins[0], *margins[1]),
        tilt=rng.normal(0, 0.05),
        softness=(0.45 + 0.5 * quality[0]) * (1.1 if layout == "cropped" else 1.0),
        sharpening=1.6 * max(quality[1] - 0.5, 0) if layout == "native" else 0.0,
        noise=dose * (8 + 40 * quality[2] ** 2),
        streaks=dose * (10 + 60 * quality[3] ** 2),
        outside=-3024.0 if low < -2000 or quality[4] < 0.3 else AIR,
        circle=layout != "cropped" and quality[5] < 0.75,
        table=-1.0 if (layout == "cropped" and low > -900) or quality[6] < 0.08 else table,
        table_curve=rng.uniform(0.0003, 0.0011),
        clothes=clothes if quality[7] < 0.4 else -1.0,
        flipped=bool(rng.uniform() < 0.06),
        seed=int(rng.integers(2**63)),
    )


def _draw_window(rng: np.random.Generator, layout: str) -> tuple[str, float, float, float]:
    """Name, black level, white level and gamma: the usual windows, and those of exported data sets."""
    usual = {"cropped": 0.3, "coarse": 0.4, "native": 0.65}[layout]
    pick, part, shift, scale = rng.uniform(), rng.uniform(), rng.uniform(-1, 1), rng.uniform(0.9, 1.1)
    if pick < usual:
        name, level, width = (("lung", -600, 1500), ("soft tissue", 40, 400), ("wide", -200, 1800))[
            int(np.searchsorted([0.5, 0.75], part))
        ]
        level, width = level + 0.04 * width * shift, width * scale
        return name, level - width / 2, level + width / 2, 1.0
    if layout == "cropped":  # the lungs fall below the black level, bone fits in
        return "wide", -620 + 60 * shift, 1300 * scale, 0.75
    if layout == "coarse":
        return "wide", -1000 + 25 * shift, 480 * scale, 1.0
    return "wide", -3024 + 150 * shift, 1950 * scale, 1.0  # the whole range of the stored numbers
