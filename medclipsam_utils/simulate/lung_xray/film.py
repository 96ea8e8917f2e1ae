"""How a film is taken and shown: position, borders, exposure, electrodes and wires, markers and text."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from ..fields import GRID, blur
from .detector import Exposure
from .projection import METAL, Frame, add_ellipsoid, thin_tubes

TEXTS = ("PORTABLE", "AP ERECT", "SUPINE", "MOBILE", "SEMI ERECT", "BEDSIDE", "PA", "SITTING")
#: Seven rows of five dots a letter, two hexadecimal digits a row: the same text on any machine, without a font.
_GLYPHS = {
    " ": "00000000000000",
    "A": "0E11111F111111",
    "B": "1E11111E11111E",
    "C": "0E11101010110E",
    "D": "1E11111111111E",
    "E": "1F10101E10101F",
    "G": "0E11101711110F",
    "I": "0E04040404040E",
    "L": "1010101010101F",
    "M": "111B1515111111",
    "N": "11191513111111",
    "O": "0E11111111110E",
    "P": "1E11111E101010",
    "R": "1E11111E141211",
    "S": "0F10100E01011E",
    "T": "1F040404040404",
    "U": "1111111111110E",
}


@dataclass(frozen=True, eq=False)
class Shot:
    """How the film was taken and shown; the same whatever the finding."""

    rows: tuple[int, int]  # the part of the picture that is not black border
    cols: tuple[int, int]
    fill: tuple[float, float]  # share of that part that the organs take, across and down
    aim: tuple[float, float]  # where in it their centre lies, down and across
    turn: tuple[float, float, float]  # roll, yaw, pitch
    exposure: Exposure
    noise: np.ndarray
    wires: np.ndarray  # [n, points, 2], in units of the fitted width
    wire_radius: np.ndarray  # [n] in mm; 0 where there is none
    texts: tuple[tuple[str, float, float, float], ...]  # text, row and column (shares), height in pixels
    text_grey: float

    def frame(self, width_mm: float, height_mm: float, above_mm: float) -> Frame:
        """Make a frame in which organs of this size fill the film as set, centred ``above_mm`` below the origin."""
        tall, wide = self.rows[1] - self.rows[0], self.cols[1] - self.cols[0]
        pixel_mm = max(width_mm / (self.fill[0] * wide), height_mm / (self.fill[1] * tall))
        pixel_mm = float(np.clip(pixel_mm, 1.15, 1.75))
        row, col = self.rows[0] + self.aim[0] * tall, self.cols[0] + self.aim[1] * wide
        return Frame(row - above_mm / pixel_mm, col, pixel_mm, *self.turn)

    def visible(self) -> np.ndarray:
        """Mark the pixels inside the black borders, bool [GRID, GRID]."""
        inside = np.zeros((GRID, GRID), bool)
        inside[slice(*self.rows), slice(*self.cols)] = True
        return inside

    def devices(self, frame: Frame) -> np.ndarray:
        """Project the attenuation of electrodes, their wires and catheters, float64 [GRID, GRID]."""
        points, radii, steps = [], [], []
        total = np.zeros((GRID, GRID))
        for wire, radius in zip(self.wires, self.wire_radius, strict=True):
            if radius == 0:
                continue
            line = 300 * wire
            points.append(np.column_stack([line, np.zeros(len(line))]))
            radii.append(np.full(len(line), radius))
            steps.append(np.hypot(*np.gradient(line, axis=0).T))
            add_ellipsoid(total, frame, (*line[-1], 0.0), (4.5, 4.5, 0.7), METAL)
        if points:
            total += METAL * thin_tubes(frame, np.concatenate(points), np.concatenate(radii), np.concatenate(steps))
        return total

    def burn_in(self, grey: np.ndarray) -> np.ndarray:
        """Write markers and text onto the film."""
        grey = grey.copy()
        for text, row, col, height in self.texts:
            stamp = _stamp(text, height)
            top = int(self.rows[0] + row * (self.rows[1] - self.rows[0]))
            left = int(self.cols[0] + col * (self.cols[1] - self.cols[0] - stamp.shape[1]))
            where = slice(top, top + stamp.shape[0]), slice(left, left + stamp.shape[1])
            stamp = stamp[: grey[where].shape[0], : grey[where].shape[1]]
            grey[where] += stamp * (self.text_grey - grey[where])
        return grey


def _stamp(text: str, height: float) -> np.ndarray:
    """Draw text as float64 [rows, columns] in [0, 1]."""
    rows = np.array([[int(_GLYPHS[letter][k : k + 2], 16) for letter in text] for k in range(0, 14, 2)])
    bits = (rows[..., None] >> np.arange(5, -1, -1)) & 1  # the highest of six columns is the gap between letters
    picture = np.pad(bits.reshape(7, -1).astype(np.float64), 1)
    return ndimage.zoom(picture, height / picture.shape[0], order=1, mode="grid-constant", grid_mode=True)


def draw_shot(rng: np.random.Generator) -> Shot:
    portable = rng.random() < 0.5
    layout = rng.choice(3, p=[0.35, 0.4, 0.25])
    trims = rng.uniform(0, 1, 4)
    tall = int([256, 256 * rng.uniform(0.78, 0.97), 256][layout])
    wide = int([256, 256, 256 * rng.uniform(0.80, 0.96)][layout])
    top, left = (GRID - tall) // 2, (GRID - wide) // 2
    shutter = (6 * np.maximum(trims - 0.8, 0) * 5).astype(int)
    turn = rng.normal(0, [0.03, 0.08, 0.06]) * (1.3 if portable else 0.7)
    exposure = Exposure(
        scatter=rng.uniform(0.8, 2.2) if portable else rng.uniform(0.2, 0.9),
        scatter_px=rng.uniform(18, 40),
        noise=rng.uniform(0.004, 0.022),
        sharpness_px=rng.uniform(0.2, 0.8),
        local_contrast=rng.uniform(0.1, 0.6),
        detail=rng.uniform(0.3, 1.3),
        low=rng.uniform(0.005, 0.06),
        high=rng.uniform(0.90, 0.995),
        gamma=rng.uniform(0.65, 1.15),
        curve=rng.uniform(0, 0.8),
        black=rng.uniform(0.12, 0.4) if portable else rng.uniform(0.04, 0.3),
        white=rng.uniform(0.72, 0.94),
    )
    start, end = rng.uniform(-0.6, 0.6, (5, 2)), rng.uniform(-0.4, 0.4, (5, 2))
    bow, t = rng.normal(0, 0.35, (5, 2)), np.linspace(0, 1, 500)[None, :, None]
    start[:, 1] = np.where(np.arange(5) % 2, 0.7, -0.6)
    wires = (1 - t) ** 2 * start[:, None] + 2 * t * (1 - t) * (bow + (start + end) / 2)[:, None] + t**2 * end[:, None]
    count = int(rng.integers(1, 6)) * (rng.random() < (0.6 if portable else 0.08))
    radius = rng.uniform(0.25, 0.55, 5) * (np.arange(5) < count)
    marker, corner, captioned, wording = (
        rng.random(),
        rng.uniform(0, 1, 2),
        rng.random(),
        int(rng.integers(len(TEXTS))),
    )
    texts = []
    if marker < 0.6:
        text, col = ("L", 0.9 + 0.09 * corner[0]) if marker < 0.35 else ("R", 0.01 + 0.1 * corner[0])
        texts.append((text, 0.03 + 0.12 * corner[1], col, rng.uniform(9, 17)))
    if captioned < 0.35:
        texts.append((TEXTS[wording], 0.03 + 0.03 * corner[0], 0.7 + 0.25 * corner[1], 9.0))
    return Shot(
        rows=(top + shutter[0], top + tall - shutter[1]),
        cols=(left + shutter[2], left + wide - shutter[3]),
        fill=(rng.uniform(0.80, 1.0), rng.uniform(0.82, 1.12)),
        aim=(rng.uniform(0.44, 0.53), rng.uniform(0.47, 0.53)),
        turn=tuple(turn),
        exposure=exposure,
        noise=1.56 * blur(rng.standard_normal((GRID, GRID), dtype=np.float32), 0.5),  # unit variance after the blur
        wires=wires,
        wire_radius=radius,
        texts=tuple(texts),
        text_grey=rng.uniform(0.8, 1.0),
    )
