"""What a sonographer burns into the picture: labels, a depth scale, a grey bar, and calipers."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ..fields import GRID
from .lesion import Lesion
from .setup import Setup

_LABELS = ("RT BREAST", "LT BREAST", "RT 10H", "LT 2H", "UOQ", "LT 3", "RT UIQ", "B 12", "BREAST", "LIQ 5CM FN")


def burn_in(grey: np.ndarray, setup: Setup, lesion: Lesion | None) -> None:
    """Burn in labels, depth scale, grey bar and calipers, in place; ``setup.marks`` decides which and where.

    Calipers measure the mass; without one they stand, just as often, at a spot of normal tissue, so that neither they
    nor any text give a mass away.
    """
    probe, marks = setup.probe, setup.marks
    bottom, right = probe.top + probe.height, probe.left + probe.width
    brightness = 0.65 + 0.35 * marks[0]
    if marks[1] < 0.25:
        label = _LABELS[int(marks[2] * len(_LABELS))]
        row = probe.top + 4 if marks[3] < 0.3 else bottom - 14 - 14 * marks[3]
        burn_text(grey, row, probe.left + (0.05 + 0.6 * marks[4]) * probe.width, label, brightness)
    if marks[5] < 0.25:
        col = right - 5 if marks[6] < 0.6 else probe.left + 3
        step = 5 / setup.spacing_mm
        for tick in range(1, int(probe.height / step) + 1):
            length = 3 if tick % 2 else 5
            row = probe.top + tick * step
            burn_caliper(grey, (row, col), (row, col), brightness, 1 if tick % 2 else 2, "+", False)
            if tick % 2 == 0 and marks[7] < 0.6:
                burn_text(grey, row - 5, col - 9 if marks[6] < 0.6 else col + length, str(tick // 2), brightness)
    if marks[8] < 0.12:
        top, left = round(probe.top + 12), round(probe.left + 2 if marks[6] < 0.6 else right - 8)
        grey[top : top + 70, left : left + 5] = np.linspace(1, 0, 70)[:, None]
    if marks[9] < 0.25:
        burn_text(grey, probe.top - 1, probe.left - 1, "Q", brightness)
    if marks[10] < 0.38:
        kind, arm, dotted = "x" if marks[11] < 0.25 else "+", 2 + int(2 * marks[12]), marks[13] < 0.4
        for number, across in enumerate((False, True)[: 1 + (marks[14] < 0.75)]):
            start, end = lesion.ends(across) if lesion else _ends_anywhere(setup, across)
            burn_caliper(grey, start, end, brightness, arm, kind, dotted)
            burn_text(grey, end[0] + 1, end[1] + 3, str(number + 1), brightness)
        if marks[15] < 0.35:
            start, end = lesion.ends(False) if lesion else _ends_anywhere(setup, False)
            length = np.hypot(end[0] - start[0], end[1] - start[1]) * setup.spacing_mm
            burn_text(grey, bottom - 13, probe.left + 0.1 * probe.width, f"D {length:.1f}mm", brightness)


def _ends_anywhere(setup: Setup, across: bool) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return the screen positions (row, col) of both ends of the width or (``across``) height of a spot in view."""
    down, aside, size, stretch = setup.marks[16:]
    row, col = setup.probe.to_screen(0.2 + 0.5 * down, 1.2 * (aside - 0.5))
    half_width = 8 + 35 * size**2
    half_height = half_width * (0.5 + 0.6 * stretch)
    if across:
        return (row - half_height, col), (row + half_height, col)
    return (row, col - half_width), (row, col + half_width)


def burn_text(grey: np.ndarray, row: float, col: float, text: str, brightness: float) -> None:
    """Write a line of text into a picture, in place; ``row`` and ``col`` are its upper left corner."""
    font = ImageFont.load_default_imagefont()
    left, top, right, bottom = font.getbbox(text)
    strip = Image.new("L", (int(right - left), int(bottom - top)))
    ImageDraw.Draw(strip).text((-left, -top), text, fill=255, font=font)
    letters = np.asarray(strip) > 127
    row, col = round(row), round(col)
    letters = letters[max(-row, 0) : max(GRID - row, 0), max(-col, 0) : max(GRID - col, 0)]
    row, col = max(row, 0), max(col, 0)
    grey[row : row + letters.shape[0], col : col + letters.shape[1]][letters] = brightness


def burn_caliper(
    grey: np.ndarray, start: tuple[float, float], end: tuple[float, float], brightness: float, arm: int, kind: str,
    dotted: bool,
) -> None:  # fmt: skip
    """Mark a measured distance, in place: ``kind`` (``"+"`` or ``"x"``) at both ends, and dots between them."""
    slant = 1 if kind == "x" else 0
    for row, col in (start, end):
        for step in range(-arm, arm + 1):
            _dot(grey, row + step, col + slant * step, brightness)
            _dot(grey, row - slant * step, col + step, brightness)
    if dotted:
        count = int(np.hypot(end[0] - start[0], end[1] - start[1]) // 3)
        for share in np.linspace(0, 1, max(count, 2)):
            row, col = start[0] + share * (end[0] - start[0]), start[1] + share * (end[1] - start[1])
            _dot(grey, row, col, 0.7 * brightness)


def _dot(grey: np.ndarray, row: float, col: float, brightness: float) -> None:
    row, col = round(row), round(col)
    if 0 <= row < GRID and 0 <= col < GRID:
        grey[row, col] = max(grey[row, col], brightness)
