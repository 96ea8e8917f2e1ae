"""The way from Hounsfield units to a picture: how one CT slice is acquired, windowed and exported.

Field of view or crop, resolution, noise that the reconstruction kernel correlates, streaks where the shoulders absorb
most of the beam, and the window ``grey = (HU - low) / (high - low)``. Not simulated: beam hardening, motion, metal,
projections and back-projection.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from ..fields import COLS, GRID, ROWS, blur
from .plane import AIR, ANGLES, Frame


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
        """Make the picture of a slice, float [GRID, GRID] in [0, 1].

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
            grain = blur(grain, 0.55) / 0.561  # unit variance after the blur
        thickness = body.mean(axis=1)
        image += self.noise * (0.45 + 0.8 * thickness[:, None]) * grain
        if shoulders > 0:
            lines = ndimage.uniform_filter1d(grain, 31, axis=1) * np.sqrt(31)
            crossed = ndimage.uniform_filter1d(body.astype(np.float64), 41, axis=1)
            image += self.streaks * shoulders * thickness[:, None] ** 2 * crossed * lines
        image = self._circle(image)
        if self.layout == "coarse":
            image = _half_resolution(image)
        grey = window(image, self.low, self.high) ** self.gamma
        return grey[::-1] if self.flipped else grey

    def in_view(self) -> np.ndarray:
        """Mark the pixels that the scanner reconstructs, bool [GRID, GRID]."""
        if not self.circle:
            return np.ones((GRID, GRID), bool)
        return np.hypot(ROWS - (GRID - 1) / 2, COLS - (GRID - 1) / 2) < GRID / 2

    def oriented(self, mask: np.ndarray) -> np.ndarray:
        """Return a mask as it lies in the picture."""
        return mask[::-1] if self.flipped else mask

    def _circle(self, image: np.ndarray) -> np.ndarray:
        return np.where(self.in_view(), image, self.outside)


def window(hu: np.ndarray, low: float, high: float) -> np.ndarray:
    """Turn values into grey in [0, 1]: ``low`` and below is black, ``high`` and above is white, linear between."""
    return np.clip((hu - low) / (high - low), 0, 1)


def _half_resolution(image: np.ndarray) -> np.ndarray:
    """Average 2 x 2 pixels, and enlarge again with linear interpolation."""
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
    layout = ("cropped", "coarse", "native")[int(rng.choice(3, p=[0.51, 0.30, 0.19]))]
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
        tilt=rng.normal(0, 0.07),
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
    """Draw name, black level, white level and gamma: the usual windows, and those of exported data sets."""
    usual = {"cropped": 0.2, "coarse": 0.22, "native": 0.5}[layout]
    pick, part, shift, scale = rng.uniform(), rng.uniform(), rng.uniform(-1, 1), rng.uniform(0.9, 1.1)
    if pick < usual:
        level: float
        width: float
        name, level, width = (("lung", -600, 1500), ("soft tissue", 40, 400), ("wide", -200, 1800))[
            int(np.searchsorted([0.4, 0.7], part))
        ]
        level, width = level + 0.04 * width * shift, width * scale
        return name, level - width / 2, level + width / 2, 1.0
    if layout == "cropped":  # the lungs fall below the black level, bone fits in
        return "wide", -620 + 60 * shift, 1300 * scale, 0.75
    if layout == "coarse":
        return "wide", -1000 + 25 * shift, 480 * scale, 1.0
    return "wide", -3024 + 150 * shift, 1950 * scale, 1.0  # the whole range of the stored numbers
