"""Simulated breast ultrasound (B-mode): layered tissue, benign and malignant masses, and images without a mass.

How the modality forms an image: a probe on the skin sends short pulses along beams and shows the strength of what comes
back, depth by depth, on a logarithmic scale (see :mod:`.sonography` for beams, speckle and display). What this module
adds is what sends the echoes back:

* the layers of the breast with their mirror-like sheets (see :mod:`.breast_tissue`);
* a mass. **Benign** (cyst, fibroadenoma): oval or round, smooth thin margin, dark to nearly black, with posterior
  enhancement and edge shadows. **Malignant**: irregular or spiculated, often without a clear edge, uneven inside,
  with an echogenic halo, posterior shadowing and sometimes calcifications or a height above the width;
* what may be taken for a mass: fat lobules, shadows, dark muscle, parts of the probe without contact.

The target mask is the mass with its edge and without halo and fine spicules. Ultrasound shows no side of the body: left
and right are those of the image. Not simulated: vessels and Doppler, the nipple, implants, lymph nodes, more than one
mass, and how a mass displaces the tissue around it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from .breast_tissue import Tissue, bell, draw_tissue, texture
from .fields import COLS, GRID, ROWS, Drawing, Streams, smooth_curve, smooth_noise, wavy_outline
from .sonography import Probe, Scanner, burn_caliper, burn_text, compress, envelope, two_way_loss

#: What can be drawn and how often; the last one is the image without the target.
FINDINGS = {"benign": 0.38, "malignant": 0.37, "normal": 0.25}

_ANGLES = np.linspace(-np.pi, np.pi, 512, endpoint=False)  # the bins of every outline
_LABELS = ("RT BREAST", "LT BREAST", "RT 10H", "LT 2H", "UOQ", "LT 3", "RT UIQ", "B 12", "BREAST", "LIQ 5CM FN")


def draw(finding: str, streams: Streams) -> Drawing:
    """Draw one sonogram.

    Args:
        finding: ``"benign"``, ``"malignant"`` or ``"normal"``; the tissue and the scanner are the same for all three.
        streams: anatomy, lesion and acquisition.

    Returns:
        A drawing with the mask of the mass (empty for ``normal``), structures ``"skin"``, ``"fat"``, ``"gland"`` and
        ``"muscle"`` as far as they are in view, and attributes ``probe`` (linear | curved) and, with a mass, ``size``
        (small | medium | large: below 2.5 %, below 8 %, above, of the image), ``side`` (left | centre | right third
        of the image), ``depth`` (superficial | middle | deep third of the field of view), ``shape``
        (oval | round | irregular), ``margin`` (smooth | irregular | spiculated) and, where it shows,
        ``posterior`` (enhancement | shadowing).
    """
    setup = _draw_setup(streams.acquisition)
    tissue = draw_tissue(streams.anatomy)
    probe, scanner = setup.probe, setup.scanner
    visible = probe.visible()
    echo, specular, loss = tissue.echo_db, tissue.specular, tissue.loss_db
    mask, attributes = np.zeros((GRID, GRID), bool), {"probe": "curved" if probe.kind == "sector" else "linear"}
    lesion = None
    if finding != "normal":
        lesion = _draw_lesion(streams.lesion, finding, tissue, probe)
        brightness = echo + setup.gain_db - two_way_loss(loss)
        mask = _visible_part(lesion, visible)
        attributes |= _attributes(lesion, mask, probe, 1 + brightness / scanner.dynamic_range_db)
        echo, specular, loss = _insert(lesion, streams.lesion, probe, echo, specular, loss)

    gain = _linear(setup.gain_db - two_way_loss(loss))
    noise = 10 ** ((scanner.noise_db - 8 * (1 - ROWS[:, :1] / GRID)) / 20)  # compensation lifts it with depth
    amplitude = np.hypot(gain * _linear(echo), noise)
    received = envelope(amplitude, gain * specular, scanner, streams.acquisition, probe)
    grey = np.where(visible, probe.scan_convert(compress(received, scanner)), setup.padding).astype(np.float64)
    _burn_in(grey, setup, lesion)
    return Drawing(grey, mask, _structures(tissue, probe, visible), attributes, (setup.spacing_mm, setup.spacing_mm))


def _linear(level_db: np.ndarray) -> np.ndarray:
    """Amplitude of a level in dB, float32."""
    return np.exp(np.float32(np.log(10) / 20) * level_db.astype(np.float32))


# ------------------------------------------------------------------------------------------------ acquisition


@dataclass(frozen=True)
class _Setup:
    """Everything the sonographer and the data set choose; ``gain_db`` [GRID, GRID] lies in the beam grid."""

    probe: Probe
    scanner: Scanner
    gain_db: np.ndarray
    spacing_mm: float
    padding: float
    marks: np.ndarray  # uniform numbers that decide what is burned in, and where


def _draw_setup(rng: np.random.Generator) -> _Setup:
    probe = _draw_probe(rng)
    reduced = rng.random() < 0.65  # newer scanners average more looks and smooth the speckle
    scanner = Scanner(
        axial=rng.uniform(0.6, 1.0),
        lateral=rng.uniform(1.3, 2.4),
        focus=rng.uniform(0.25, 0.6),
        defocus=rng.uniform(0.4, 1.6),
        looks=int(rng.integers(2, 4)) if reduced else int(rng.integers(1, 4)),
        noise_db=rng.uniform(-68, -46),
        dynamic_range_db=rng.uniform(52, 72),
        smoothing=rng.uniform(0.2, 0.8) * reduced,
        gamma=rng.uniform(0.9, 1.5),
        pedestal=rng.uniform(0.0, 0.12),
    )
    return _Setup(
        probe=probe,
        scanner=scanner,
        gain_db=_draw_gain(rng),
        spacing_mm=float(rng.uniform(0.12, 0.2)),
        padding=float(rng.uniform(0.35, 0.65)) * (rng.random() < 0.08) * (probe.kind == "rectangle"),
        marks=rng.random(16),
    )


def _draw_probe(rng: np.random.Generator) -> Probe:
    """A rectangle that fills the picture or leaves bars at the sides or above and below; a trapezoid; or a sector."""
    kind = ("rectangle", "trapezoid", "sector")[int(np.searchsorted([0.87, 0.92], rng.random()))]
    framing = ("full", "side bars", "letterbox")[int(np.searchsorted([0.25, 0.65], rng.random()))]
    share, shift, apex, spread = rng.uniform(0.74, 0.98), rng.uniform(0.3, 0.7), rng.random(), rng.random()
    height = GRID * (share if framing == "letterbox" else 1.0)
    width = GRID * (share if framing == "side bars" else 1.0)
    if kind == "rectangle":
        return Probe(kind, shift * (GRID - height), shift * (GRID - width), height, width, np.inf, width / 2)
    if kind == "trapezoid":
        half_face, distance = width * (0.24 + 0.12 * spread), GRID * (0.8 + 1.2 * apex)
        return Probe(kind, shift * (GRID - height), shift * (GRID - width), height, width, distance, half_face)
    half_angle, face = 0.42 + 0.23 * spread, 0.28 + 0.22 * apex
    reach = min(0.97 * GRID / (1 - face * np.cos(half_angle)), 0.99 * GRID / (2 * np.sin(half_angle)))
    height, width = reach * (1 - face * np.cos(half_angle)), 2 * reach * np.sin(half_angle)
    top, left = shift * (GRID - height), (GRID - width) / 2
    return Probe(kind, top, left, height, width, face * reach, half_angle)


def _draw_gain(rng: np.random.Generator) -> np.ndarray:
    """Gain after time-gain compensation, in dB: too little or uneven with depth, and lost where contact is poor."""
    depth = ROWS / GRID
    gain = rng.uniform(-22, -12) - rng.uniform(-2, 11) * depth + rng.uniform(0, 1.5) * smooth_curve(rng, 4)[:, None]
    weak, reach, start = rng.random() < 0.4, rng.uniform(6, 18), rng.uniform(0.3, 0.6)
    gain -= weak * reach * np.clip((depth - start) / 0.35, 0, 1)
    lifted, edge, width, side = rng.random() < 0.14, rng.uniform(4, 16), rng.uniform(0.05, 0.3), rng.integers(2)
    from_edge = np.abs(side - (COLS + 0.5) / GRID)
    gain -= lifted * edge * np.clip((width - from_edge) / 0.12 + 0.5, 0, 1) * np.clip(depth / 0.05, 0, 1)
    focus, bump = rng.uniform(0.2, 0.6), rng.uniform(0, 3)
    return gain + bump * np.exp(-0.5 * ((depth - focus) / 0.15) ** 2)


def _structures(tissue: Tissue, probe: Probe, visible: np.ndarray) -> dict[str, np.ndarray]:
    """Layers on the screen; a layer with fewer than 60 pixels in view is left out."""
    depth, beam = probe.to_beam(ROWS, COLS)
    row = np.clip(GRID * depth, 0, GRID - 1).astype(np.intp)
    col = np.clip(GRID * (beam + 1) / 2, 0, GRID - 1).astype(np.intp)
    layer = sum((tissue.depth > end).astype(np.int8) for end in tissue.ends)[row, col]
    masks = {name: (layer == k) & visible for k, name in enumerate(("skin", "fat", "gland", "muscle"))}
    return {name: mask for name, mask in masks.items() if np.count_nonzero(mask) >= 60}


# ----------------------------------------------------------------------------------------------------- lesion


@dataclass(frozen=True)
class _Lesion:
    """A mass on the screen; lengths in pixels, levels in dB.

    ``posterior_db`` is what the mass attenuates more than its surroundings over its whole height: negative for
    enhancement. ``spicules`` float64 [bins] is their strength by angle, ``capsule`` the echo of the smooth wall.
    """

    finding: str
    row: float
    col: float
    row_radius: float
    col_radius: float
    angle: float
    outline: np.ndarray
    level_db: float
    texture_db: float
    haze_db: float
    edge: float
    halo_db: float
    capsule: float
    posterior_db: float
    spicules: np.ndarray
    calcifications: int

    @property
    def half_height(self) -> float:
        return float(np.hypot(self.row_radius * np.cos(self.angle), self.col_radius * np.sin(self.angle)))

    def radius(self, row: np.ndarray, col: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Normalised radius (1 on the outline), distance from it in pixels (positive outside), and bin of the angle."""
        cos, sin, bins = np.cos(self.angle), np.sin(self.angle), len(self.outline)
        dx, dy = col - self.col, row - self.row
        u, v = (cos * dx + sin * dy) / self.col_radius, (cos * dy - sin * dx) / self.row_radius
        index = ((np.arctan2(v, u) + np.pi) * (bins / (2 * np.pi))).astype(np.intp) % bins
        radius = np.hypot(u, v) / self.outline[index]
        return radius, np.hypot(dx, dy) * (1 - 1 / np.maximum(radius, 1e-3)), index

    def ends(self, across: bool) -> tuple[tuple[float, float], tuple[float, float]]:
        """Screen positions (row, col) where the mass's width or (``across``) height, before tilt, meets its outline."""
        points = []
        for turn in (np.pi, 0.0) if not across else (-np.pi / 2, np.pi / 2):
            reach = self.outline[int((turn + np.pi) / (2 * np.pi) * len(self.outline)) % len(self.outline)]
            u, v = reach * self.col_radius * np.cos(turn), reach * self.row_radius * np.sin(turn)
            cos, sin = np.cos(self.angle), np.sin(self.angle)
            points.append((self.row + sin * u + cos * v, self.col + cos * u - sin * v))
        return points[0], points[1]


def _draw_lesion(rng: np.random.Generator, finding: str, tissue: Tissue, probe: Probe) -> _Lesion:
    """Size, place and kind; the place is drawn as a share of fat and gland and kept inside the field of view."""
    size = rng.random()
    radius = np.interp(size, (0, 0.3, 0.7, 1), (10.0, 22.0, 42.0, 75.0))
    down, across = rng.uniform(0.15, 1.0), rng.uniform(-0.4, 0.4, 2).sum()
    stretch, upright, tilt = rng.random(), rng.random(), rng.normal(0, 0.16)
    surrounding = float(min(tissue.levels_db[1], tissue.levels_db[2]))
    if finding == "benign":
        cyst = rng.random() < 0.35
        aspect = 1.0 + 0.12 * stretch if upright < 0.22 else 1.3 + 0.9 * stretch
        outline = wavy_outline(rng, rng.uniform(0.01, 0.07), lobes=5)
        kind = {
            "level_db": surrounding - (rng.uniform(12, 24) if cyst else rng.uniform(4, 12)),
            "texture_db": 1.5 if cyst else rng.uniform(1.5, 4),
            "haze_db": 9.0 if cyst else 0.0,
            "edge": rng.uniform(1.0, 4.0),
            "halo_db": rng.uniform(0, 2),
            "capsule": rng.uniform(0.05, 0.5),
            "posterior_db": -(rng.uniform(4, 9) if cyst else rng.uniform(0, 6)),
            "spicules": np.zeros(len(_ANGLES)),
            "calcifications": 0,
        }
    else:
        aspect = 0.72 + 0.2 * stretch if upright < 0.35 else 1.0 + 0.8 * stretch
        outline = wavy_outline(rng, rng.uniform(0.10, 0.17), 4, int(rng.integers(3, 9)), rng.uniform(0.1, 0.35))
        outline *= wavy_outline(rng, rng.uniform(0.02, 0.05), 16)
        spiculated, calcified = rng.random() < 0.5, rng.random() < 0.35
        kind = {
            "level_db": surrounding - rng.uniform(5, 14),
            "texture_db": rng.uniform(3, 6.5),
            "haze_db": 0.0,
            "edge": rng.uniform(2.5, 6.0),
            "halo_db": rng.uniform(0, 7),
            "capsule": 0.0,
            "posterior_db": rng.uniform(-1, 15),
            "spicules": _draw_spicules(rng) * spiculated,
            "calcifications": int(rng.integers(4, 13)) * calcified,
        }
    outline /= np.sqrt(np.mean(outline**2))
    high, wide = radius / np.sqrt(aspect), radius * np.sqrt(aspect)
    reach = (outline * np.hypot(wide * np.cos(_ANGLES), high * np.sin(_ANGLES))).max()
    row, col, shrink = _place(tissue, probe, down, across, reach, min(1.0, 1.25 * high / reach))
    return _Lesion(finding, row, col, high * shrink, wide * shrink, tilt, outline, **kind)


def _draw_spicules(rng: np.random.Generator) -> np.ndarray:
    """Strength by angle of fine lines that run outwards from the margin."""
    strength = np.zeros(len(_ANGLES))
    for _ in range(int(rng.integers(9, 18))):
        centre, width = rng.uniform(-np.pi, np.pi), rng.uniform(0.02, 0.045)
        distance = np.angle(np.exp(1j * (_ANGLES - centre)))
        strength += rng.uniform(0.5, 1) * np.exp(-0.5 * (distance / width) ** 2)
    return strength


def _place(
    tissue: Tissue, probe: Probe, down: float, across: float, reach: float, flatness: float
) -> tuple[float, float, float]:
    """Row and column on the screen and the factor by which the mass must shrink to stay in the field of view."""
    top, bottom = float(tissue.ends[0].mean()) + 0.01, 0.88
    needed = reach * flatness / probe.depth
    shrink = min(1.0, 0.46 * (bottom - top) / needed)
    low, high = top + needed * shrink, bottom - needed * shrink
    target = float(np.interp(down, (0, 1), (top, min(float(tissue.ends[2].mean()), bottom))))
    depth = float(np.clip(target, low, high))
    row, col = probe.to_screen(depth, across)
    # Half of the width in view at the mass's shallow end, where beams of a curved probe are closest together.
    _, left = probe.to_screen(depth - needed * shrink, -1.0)
    _, right = probe.to_screen(depth - needed * shrink, 1.0)
    left, right = max(left, probe.left), min(right, probe.left + probe.width - 1)
    shrink = min(shrink, 0.46 * (right - left) / reach)
    col = np.clip(col, left + reach * shrink + 1, right - reach * shrink - 1)
    return float(row), float(col), float(shrink)


def _insert(lesion: _Lesion, rng: np.random.Generator, probe: Probe, echo, specular, loss) -> tuple[np.ndarray, ...]:
    """Echo, mirror-like echo and attenuation of the tissue with the mass in it."""
    row, col = probe.to_screen((ROWS + 0.5) / GRID, 2 * (COLS + 0.5) / GRID - 1)
    _, distance, index = lesion.radius(row, col)
    outside = np.clip(distance, 0, None)
    uneven = texture(rng, 36, 24)
    # The bright surroundings spread into the dark mass, so its echo must end outside of where its edge is seen.
    seen = distance - 0.8 - 0.25 * lesion.edge
    inside = np.clip(0.5 - seen / lesion.edge + 0.3 * uneven * (lesion.edge > 2), 0, 1)
    size = np.sqrt(lesion.row_radius * lesion.col_radius)

    halo = lesion.halo_db * bell(outside / (0.28 * size + 2)) * np.clip(1 + 0.4 * uneven, 0, 2)
    spicules = lesion.spicules[index] * np.exp(-np.minimum(outside / (0.35 * size), 30)) * (distance > 0)
    content = lesion.level_db + lesion.texture_db * (0.5 * uneven + 0.9 * smooth_noise(rng, 7))
    # Echoes bouncing between the probe and the front wall haze the near part of a mass without echoes of its own.
    near = np.clip((lesion.row - row) / lesion.half_height, 0, 1)
    content = content + lesion.haze_db * np.exp(np.clip(distance / 5, -30, 0)) * near
    changed = (1 - inside) * (echo + halo + 6 * spicules) + inside * content

    # The wall of a smooth mass reflects like a mirror: bright where it lies across the beam, front and back.
    upright = (row - lesion.row) ** 2 / lesion.row_radius**4
    across_beam = upright / (upright + (col - lesion.col) ** 2 / lesion.col_radius**4 + 1e-9)
    wall = lesion.capsule * bell((distance - 1.5) / 1.3) * across_beam**2 * np.clip(0.7 + 0.5 * uneven, 0, 2)
    mirrors = (1 - 0.9 * inside) * specular + wall + 0.25 * spicules
    for _ in range(lesion.calcifications):
        turn, out = rng.uniform(0, 2 * np.pi), 0.8 * rng.random()
        dy = row - (lesion.row + out * lesion.row_radius * np.sin(turn))
        dx = col - (lesion.col + out * lesion.col_radius * np.cos(turn))
        mirrors += rng.uniform(0.4, 1.2) * bell(dy / 0.95) * bell(dx / 0.95)

    samples = 2 * lesion.half_height * GRID / probe.depth
    changed_loss = loss * (1 - inside) + inside * lesion.posterior_db / samples
    # Sound that grazes a smooth curved wall is bent away: thin shadows below both sides.
    if lesion.capsule:
        grazing = bell(distance / 1.5) * ((1 - across_beam) ** 2) ** 2
        changed_loss += 0.5 * grazing
    return changed.astype(np.float32), mirrors.astype(np.float32), changed_loss.astype(np.float32)


def _visible_part(lesion: _Lesion, visible: np.ndarray) -> np.ndarray:
    """The mask: all pixels inside the outline that are in view and hang together with the centre."""
    labels, _ = ndimage.label((lesion.radius(ROWS, COLS)[0] < 1) & visible)
    return labels == labels[round(lesion.row), round(lesion.col)]


def _attributes(lesion: _Lesion, mask: np.ndarray, probe: Probe, expected: np.ndarray) -> dict[str, str]:
    """What the caption may say, measured on the mask; ``expected`` is the grey value without the mass, beam grid."""
    rows, cols = np.nonzero(mask)
    row, col, share = rows.mean(), cols.mean(), mask.mean()
    depth, beam = probe.to_beam(row, col)
    moments = np.linalg.eigvalsh(np.cov(rows, cols))
    facts = {
        "size": "small" if share < 0.025 else "medium" if share < 0.08 else "large",
        "side": "left" if col < GRID / 3 else "right" if col > 2 * GRID / 3 else "centre",
        "depth": "superficial" if depth < 1 / 3 else "middle" if depth < 2 / 3 else "deep",
    }
    if lesion.finding == "benign":
        facts |= {"shape": "round" if moments[1] < 1.22**2 * moments[0] else "oval", "margin": "smooth"}
    else:
        facts |= {"shape": "irregular", "margin": "spiculated" if lesion.spicules.any() else "irregular"}
    start = (depth + 1.15 * lesion.half_height / probe.depth) * GRID
    stop, column = min(start + 0.15 * GRID, GRID), GRID * (beam + 1) / 2
    if start < 0.9 * GRID:
        half = 0.5 * lesion.col_radius / probe.lateral_scale
        below = expected[round(start) : round(stop), round(max(column - half, 0)) : round(column + half) + 1].mean()
        if lesion.posterior_db <= -3.5 and 0.15 < below < 0.9:
            facts["posterior"] = "enhancement"
        if lesion.posterior_db >= 7 and below > 0.25:
            facts["posterior"] = "shadowing"
    return facts


# -------------------------------------------------------------------------------------------------- burned in


def _burn_in(grey: np.ndarray, setup: _Setup, lesion: _Lesion | None) -> None:
    """Labels, depth scale, grey bar and, with a mass, calipers, in place; ``setup.marks`` decides which and where."""
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
    if lesion is not None and marks[10] < 0.38:
        kind, arm, dotted = "x" if marks[11] < 0.25 else "+", 2 + int(2 * marks[12]), marks[13] < 0.4
        for number, across in enumerate((False, True)[: 1 + (marks[14] < 0.75)]):
            start, end = lesion.ends(across)
            burn_caliper(grey, start, end, brightness, arm, kind, dotted)
            burn_text(grey, end[0] + 1, end[1] + 3, str(number + 1), brightness)
        if marks[15] < 0.35:
            start, end = lesion.ends(False)
            length = np.hypot(end[0] - start[0], end[1] - start[1]) * setup.spacing_mm
            burn_text(grey, bottom - 13, probe.left + 0.1 * probe.width, f"D {length:.1f}mm", brightness)
