"""What the operator and the collection choose: sequence, timing, resolution, stripping and display of a brain MRI."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..fields import GRID
from .scanner import Scanner
from .signal import Sequence


@dataclass(frozen=True)
class Setup:
    """Everything that the scanner's operator and the collection choose."""

    sequence: Sequence
    scanner: Scanner
    pixel_mm: float
    thickness_mm: float
    stripped: bool
    strip_mm: float  # how far outside the hull it was cut
    upside_down: bool


#: (kind, stripped) and how often, in axial slices and in others.
_PROTOCOLS = (
    (("T1C", False), 0.42, 0.72),
    (("FLAIR", False), 0.22, 0.10),
    (("FLAIR", True), 0.20, 0.04),
    (("T1", False), 0.06, 0.06),
    (("T2", False), 0.06, 0.06),
    (("T1C", True), 0.04, 0.02),
)

#: Grey level of white matter, and size of a pixel when the skull is left on.
_BRIGHTNESS = {"T1C": (0.25, 0.72), "T1": (0.35, 0.65), "FLAIR": (0.15, 0.42), "T2": (0.2, 0.35)}
_PIXEL_MM = {"axial": (0.74, 0.95), "coronal": (0.82, 1.0), "sagittal": (0.86, 1.02)}


def draw_setup(rng: np.random.Generator, plane: str) -> Setup:
    """Draw a protocol as often as collections hold it, and the settings that go with it."""
    shares = np.cumsum([protocol[1 if plane == "axial" else 2] for protocol in _PROTOCOLS])
    kind, stripped = _PROTOCOLS[int(np.searchsorted(shares[:-1], rng.random()))][0]
    brightness = (0.2, 0.72) if stripped else _BRIGHTNESS[kind]
    cropped = (rng.random() < 0.7) * rng.integers(0, 140 if kind == "FLAIR" else 80, 2)
    flipped = rng.random() < 0.6
    return Setup(
        sequence=_draw_sequence(rng, kind),
        scanner=Scanner(
            matrix=(int(GRID - cropped[0]), int(GRID - cropped[1])),
            apodisation=rng.uniform(0.5 if kind == "FLAIR" else 0, 1),
            noise=rng.uniform(0.015, 0.06),
            shading=rng.uniform(0.02, 0.12),
            surface=rng.uniform(0, 1.1 if kind == "FLAIR" else 0.7),
            brightness=rng.uniform(*brightness),
            black=rng.uniform(0, 0.07) * (rng.random() < 0.25) * (not stripped),
            gamma=rng.uniform(0.85, 1.2),
        ),
        pixel_mm=rng.uniform(*((0.9, 0.98) if stripped else _PIXEL_MM[plane])),
        thickness_mm=rng.uniform(1, 6),
        stripped=stripped,
        strip_mm=rng.uniform(-1, 2.5),
        upside_down=bool(flipped and stripped and plane == "axial"),
    )


def _draw_sequence(rng: np.random.Generator, kind: str) -> Sequence:
    """Draw a timing as on clinical scanners; an inversion prepares a third of the T1-weighted ones: dark water."""
    repetition, echo, inversion, dose, fat, field = rng.random(6)
    prepared, suppressed = rng.random() < 0.35, rng.random() < 0.6
    if kind == "FLAIR":
        return Sequence("FLAIR", 9000, 95 + 30 * echo, 2450 + 150 * inversion, fat=0.6 + 0.4 * fat)
    if kind == "T2":
        return Sequence("T2-weighted", 4000 + 1500 * repetition, 85 + 25 * echo)
    timing = (420 + 250 * repetition, 10 + 6 * echo, 0.0)
    if prepared:
        timing = (1900 + 400 * repetition, 3 + 2 * echo, 850 + 150 * inversion)
    left = 0.25 + 0.6 * fat if suppressed else 1.0
    t1_scale = 0.9 + 0.35 * field
    if kind == "T1":
        return Sequence("T1-weighted", *timing, t1_scale=t1_scale)
    return Sequence("contrast-enhanced T1-weighted", *timing, dose=0.7 + 0.5 * dose, fat=left, t1_scale=t1_scale)
