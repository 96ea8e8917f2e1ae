"""Simulated frontal chest radiographs, and films of the abdomen and pelvis as images without lungs.

How the modality forms an image: a radiograph is a shadow, ``I = I0 exp(-sum mu l)`` along every ray. Here a body is put
together from solids with closed-form path lengths (see :mod:`.projection`): trunk, shoulders and breasts are soft
tissue; each lung is a stack of slices that takes soft tissue away; the diaphragm's domes, the heart, the aortic arch
and the pulmonary artery take lung away again; vessels branch from the hila and taper; ribs, clavicles, scapulae,
humeri and vertebrae are hollow bones. Findings change path lengths too: filled alveoli or pleural fluid in place of
air, or a larger heart. Detector and display follow: scatter, photon noise, logarithm, contrast equalisation and a
lookup table. Burned-in markers, text, black borders, electrodes and tubes lie on top.

The target mask is the two lung fields as a reader sees them: bounded by the chest wall, the mediastinum, the heart's
outline and the domes. Opacities are lung and included; the fluid of an effusion is excluded; so is the lung hidden
behind the heart and below the domes. Conventions differ between data sets: some annotators include the lung behind
the heart, or draw through the fluid.

Not simulated: the trabeculae of bone, fissures as lines, skin folds, lateral views, children, and how a disease
moves the organs around it (volume loss, mediastinal shift).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

from .fields import COLS, GRID, ROWS, Drawing, Streams, blur, smooth_noise
from .projection import (
    BONE,
    METAL,
    SOFT,
    TRABECULAR,
    Exposure,
    Frame,
    add_ellipsoid,
    add_tubes,
    ellipsoid_radius,
    heights,
    radiograph,
    slice_chord,
    thin_tubes,
)

#: What can be drawn and how often; the last one is the image without the target.
FINDINGS = {"clear": 0.30, "opacity": 0.20, "effusion": 0.15, "cardiomegaly": 0.13, "abdomen": 0.22}

RIGHT, LEFT = -1, 1  # the patient's sides, as the sign of x: the patient's left is on the right of the image
_SIDES = {"right": (RIGHT,), "left": (LEFT,), "both": (RIGHT, LEFT)}


def draw(finding: str, streams: Streams) -> Drawing:
    """Draw one radiograph.

    Args:
        finding: one of :data:`FINDINGS`. All but ``abdomen`` show the same chest; ``cardiomegaly`` differs from
            ``clear`` in the heart, ``opacity`` and ``effusion`` in what fills the lungs.
        streams: anatomy, lesion and acquisition.

    Returns:
        A drawing with the mask of both lung fields (two components; empty for ``abdomen``), structures ``"left lung"``,
        ``"right lung"`` (the patient's sides), ``"heart"``, ``"spine"``, ``"clavicles"``, ``"ribs"``, or ``"spine"``
        and ``"pelvis"``, and attributes ``view``, ``region``, ``heart``, ``side`` and ``zone`` where they apply.
    """
    chest_rng, abdomen_rng = (np.random.default_rng(seed) for seed in streams.anatomy.integers(0, 2**63, 2))
    shot = _draw_shot(streams.acquisition)
    attributes = {"view": "frontal"}
    if finding == "abdomen":
        frame = shot.frame(260.0, 300.0, 0.0)
        attenuation, structures = _abdomen(abdomen_rng, frame)
        reference, mask = attenuation, np.zeros((GRID, GRID), bool)
        attributes["region"] = "abdomen"
    else:
        chest = _draw_chest(chest_rng)
        frame = shot.frame(2.04 * chest.half_width, 1.22 * chest.height, 0.07 * chest.height)
        body, bones = _trunk_and_bones(chest, frame)
        markings = _vessels(chest, frame)
        lungs = _lungs(chest, frame, _heart(chest, chest.heart_ratio))
        reference = attenuation = body - _lung_deficit(chest, lungs, markings)
        attributes |= {"region": "chest", "heart": "normal"}
        if finding == "cardiomegaly":
            lungs = _lungs(chest, frame, _heart(chest, streams.lesion.uniform(0.58, 0.70)))
            attenuation = body - _lung_deficit(chest, lungs, markings)
            attributes["heart"] = "enlarged"
        elif finding == "opacity":
            filling, found = _opacity(streams.lesion, chest, lungs)
            attenuation = attenuation + SOFT * 0.75 * filling * (lungs[RIGHT].air + lungs[LEFT].air)
            attributes |= found
        elif finding == "effusion":
            lungs, fluid, found = _effusion(streams.lesion, chest, frame, lungs)
            attenuation = attenuation + SOFT * 0.75 * fluid
            attributes |= found
        structures = {"left lung": lungs[LEFT].field, "right lung": lungs[RIGHT].field, "heart": lungs[LEFT].heart}
        structures |= bones
    attenuation, reference = (total + shot.devices(frame) for total in (attenuation, reference))
    visible = shot.visible()
    grey = shot.burn_in(radiograph(attenuation, reference, shot.exposure, shot.noise)) * visible
    if finding != "abdomen":
        for name in ("left lung", "right lung"):
            structures[name] = _largest_component(structures[name] & visible)
        mask = structures["left lung"] | structures["right lung"]
    structures = {name: area & visible for name, area in structures.items()}
    return Drawing(grey, mask, structures, attributes, (frame.pixel_mm, frame.pixel_mm))


# ---------------------------------------------------------------------------------------------------- chest: shape


@dataclass(frozen=True)
class _Chest:
    """One patient's chest; lengths in mm. The origin lies on the midline, halfway from lung apex to dome."""

    half_width: float  # of the inside of the rib cage
    height: float  # from the lungs' apices to the right dome
    depth: float  # of a lung, front to back, relative to an average one
    fat: float  # thickness of the chest wall
    breast: float  # semi-axis front to back; 0 in men
    lung_density: float  # relative to soft tissue
    heart_ratio: float  # heart width over inner chest width
    heart_right: float  # share of the heart's width to the patient's right of the midline
    heart_angle: float
    dome: tuple[float, float]  # height of the domes' tops below the origin, right and left
    dome_bulge: float
    rib_drop: float
    rib_size: float
    bone: float
    clavicle_row: float
    scapula: float
    arm: float
    gas: tuple[float, float, float]  # gastric bubble: radius, flatness, depth
    curve: tuple[float, float]  # scoliosis: amplitude, phase
    detail: int  # seed of vessels and tissue texture


def _draw_chest(rng: np.random.Generator) -> _Chest:
    height, width = rng.uniform(175, 250), rng.uniform(130, 154)
    female, level = rng.random() < 0.45, rng.uniform(-2, 14)
    return _Chest(
        half_width=width,
        height=height,
        depth=rng.uniform(0.85, 1.1),
        fat=rng.uniform(16, 42),
        breast=rng.uniform(12, 46) * female,
        lung_density=rng.uniform(0.2, 0.36),
        heart_ratio=rng.uniform(0.40, 0.475),
        heart_right=rng.uniform(0.27, 0.36),
        heart_angle=rng.uniform(0.55, 0.95),
        dome=(height / 2, height / 2 + level),
        dome_bulge=rng.uniform(38, 78),
        rib_drop=rng.uniform(0.85, 1.2),
        rib_size=rng.uniform(0.85, 1.15),
        bone=rng.uniform(0.7, 1.25),
        clavicle_row=rng.uniform(0.02, 0.2),
        scapula=rng.uniform(0.66, 0.95),
        arm=rng.uniform(0, 1),
        gas=(rng.uniform(10, 28), rng.uniform(0.5, 0.9), rng.uniform(0, 45)),
        curve=(rng.normal(0, 4), rng.uniform(0, 2 * np.pi)),
        detail=int(rng.integers(0, 2**63)),
    )


def _cage(chest: _Chest) -> tuple[np.ndarray, np.ndarray]:
    """Inner and outer border of a lung by height (distance from the midline, mm), tables over ``heights()``.

    The apex is round: the width between the borders grows like a circle's over the first eighth of the height.
    """
    t = heights() / chest.height + 0.5
    outer = np.interp(t, [0, 0.1, 0.25, 0.45, 0.7, 0.9, 1.2, 1.5], [0.60, 0.68, 0.80, 0.90, 0.98, 1.0, 1.0, 0.97])
    inner = np.interp(t, [0, 0.1, 0.25, 0.6, 1.0, 1.3], [0.20, 0.19, 0.16, 0.14, 0.13, 0.16])
    outer, inner = (chest.half_width * ndimage.gaussian_filter1d(table, 30) for table in (outer, inner))
    roundness = np.sqrt(np.clip(1 - (1 - np.clip(t / 0.14, 0, 1)) ** 2, 0, 1))
    apex = inner + 0.46 * (outer - inner)
    return apex + (inner - apex) * roundness, apex + (outer - apex) * roundness


@dataclass(frozen=True)
class _Lung:
    """One lung as projected, float64 or bool [GRID, GRID] each."""

    air: np.ndarray  # path length through aerated lung, mm
    field: np.ndarray  # the visible lung field
    across: np.ndarray  # -1 at the inner, 1 at the outer border
    heart: np.ndarray  # the heart's shadow


def _heart(chest: _Chest, ratio: float) -> list[tuple]:
    """Ellipsoids (centre, semi-axes, angle) of the heart (two chambers' outlines first) and the great vessels.

    The left ventricle's ellipse and the right atrium's are placed so that together they are ``ratio`` times the
    inside of the chest wide.
    """
    width = ratio * 2 * chest.half_width
    long, short = 0.50 * width, 0.385 * width
    cos, sin = np.cos(chest.heart_angle), np.sin(chest.heart_angle)
    reach, drop = np.hypot(long * cos, short * sin), np.hypot(long * sin, short * cos)
    left, right = (1 - chest.heart_right) * width, -chest.heart_right * width
    bottom = max(chest.dome) + 9
    row = bottom - drop
    knob = -chest.height * 0.5 + 0.27 * chest.height
    return [
        ((left - reach, row), (long, short, 0.42 * width), chest.heart_angle),
        ((right + 0.26 * width, row + 2), (0.26 * width, 0.40 * width, 0.30 * width), -0.1),
        ((0.13 * chest.half_width, knob + 46), (22, 34, 26), 0.2),
        ((0.13 * chest.half_width, knob), (17, 19, 30), 0.0),
        ((-0.06 * chest.half_width, knob + 34), (18, 48, 24), -0.05),
    ]


def _lungs(chest: _Chest, frame: Frame, organs: list[tuple]) -> dict[int, _Lung]:
    """Both lungs: slices minus what the heart, the great vessels and the diaphragm's dome displace."""
    inner, outer = _cage(chest)
    t = heights() / chest.height + 0.5
    half_depth = chest.depth * np.interp(t, [0, 0.2, 0.5, 0.85, 1.3], [30.0, 55.0, 76.0, 84.0, 74.0])
    middle, half, half_depth = (frame.lookup(table) for table in ((inner + outer) / 2, (outer - inner) / 2, half_depth))
    half = np.maximum(half, 1e-3)
    nearest, displaced = np.full((GRID, GRID), np.inf), np.zeros((GRID, GRID))
    heart = np.zeros((GRID, GRID), bool)
    for k, (centre, semi_axes, angle) in enumerate(organs):
        radius = ellipsoid_radius(frame.x - 30 * frame.yaw, frame.y - 30 * frame.pitch, centre, semi_axes, angle)
        displaced = np.maximum(displaced, 2 * semi_axes[2] * np.sqrt(np.maximum(1 - radius, 0)))
        nearest = np.minimum(nearest, radius)
        if k == 1:
            heart = nearest < 1
    lungs = {}
    for side, top in zip((RIGHT, LEFT), chest.dome, strict=True):
        x = side * frame.x
        across = (x - middle) / half
        dome_row = top + chest.dome_bulge
        along = np.minimum(frame.y - dome_row, 0) / chest.dome_bulge
        dome = ((x - 0.45 * chest.half_width) / (0.56 * chest.half_width)) ** 2 + along**2
        air = slice_chord(across, half_depth) - displaced
        air -= 2.6 * half_depth * np.sqrt(np.maximum(1 - dome, 0))
        above = frame.y < dome_row
        air = np.maximum(air, 0) * above
        field = (np.abs(across) < 1) & (dome > 1) & above & (nearest > 1)
        heart &= (dome > 0.8) | (side * frame.x < 0)
        lungs[side] = _Lung(air, field, across, heart)
    return {side: _Lung(lung.air, lung.field, lung.across, heart) for side, lung in lungs.items()}


def _lung_deficit(chest: _Chest, lungs: dict[int, _Lung], markings: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """Attenuation that the lungs lack compared with soft tissue; vessels and interstitium give some of it back."""
    vessels, texture = markings
    air = lungs[RIGHT].air + lungs[LEFT].air
    share = np.clip(air / 60, 0, 1)
    return SOFT * ((1 - chest.lung_density) * air * (1 - texture) - 0.8 * share * vessels)


def _vessels(chest: _Chest, frame: Frame) -> tuple[np.ndarray, np.ndarray]:
    """Path length through the lungs' vessels in mm, and the relative unevenness of the lung tissue.

    From each hilum branches fan out; every generation is shorter, thinner and more numerous than its parent.
    """
    rng = np.random.default_rng(chest.detail)
    steps = np.linspace(0, 1, 14)
    scale = chest.height / 210
    all_points, all_radii, all_steps = [], [], []
    for side in (RIGHT, LEFT):
        hilum = np.array([side * 0.25 * chest.half_width, (-0.02 - 0.03 * side) * chest.height])
        count = 12
        start = hilum + rng.normal(0, 5, (count, 2))
        angle = np.linspace(-1.5, 1.55, count) + rng.normal(0, 0.12, count)
        length = scale * rng.uniform(42, 75, count)
        radius = rng.uniform(1.8, 3.4, count)
        for children in (30, 75, 150, 0):
            bend = rng.normal(0, 0.35, len(angle))
            heading = angle[:, None] + bend[:, None] * steps
            pace = length[:, None] / (len(steps) - 1)
            x = start[:, :1] + side * np.cumsum(np.cos(heading) * pace, axis=1)
            y = start[:, 1:] + np.cumsum(np.sin(heading) * pace, axis=1)
            taper = radius[:, None] * (1 - 0.45 * steps)
            all_points.append(np.stack([x, y, np.zeros_like(x)], axis=-1).reshape(-1, 3))
            all_radii.append(taper.ravel())
            all_steps.append(np.broadcast_to(pace, x.shape).ravel())
            if not children:
                break
            parent = np.arange(children) % len(angle)
            at = rng.integers(4, len(steps), children)
            start = np.stack([x[parent, at], y[parent, at]], axis=1)
            turn = rng.uniform(0.2, 0.75, children) * np.where(np.arange(children) // len(angle) % 2, 1, -1)
            angle = heading[parent, at] + turn
            length = length[parent] * rng.uniform(0.5, 0.85, children)
            radius = taper[parent, at] * rng.uniform(0.6, 0.9, children)
    vessels = thin_tubes(frame, np.concatenate(all_points), np.concatenate(all_radii), np.concatenate(all_steps))
    texture = 0.035 * smooth_noise(rng, 85) + 0.05 * smooth_noise(rng, 24) + 0.04 * smooth_noise(rng, 6)
    return vessels, texture


# ---------------------------------------------------------------------------------------------------- chest: walls


def _trunk_and_bones(chest: _Chest, frame: Frame) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Attenuation of the body as if it had no lungs, float64 [GRID, GRID], and the bones' shadows by name."""
    apex, dome, width = -chest.height / 2, chest.dome[0], chest.half_width
    wall = width + chest.fat
    rows = [apex - 85, apex - 55, apex - 35, apex - 15, apex + 10, apex + 60, apex + 110, dome, dome + 90]
    half = frame.profile(rows, [54, 58, 88, 150, 188, wall + 34, wall + 6, wall, wall + 4], 6)
    depth = frame.profile(rows, [58, 55, 52, 56, 66, 92 + chest.fat / 2, 106 + chest.fat / 2, 112, 122], 12)
    total = SOFT * slice_chord(frame.x / half, chest.depth * depth)
    for side in (RIGHT, LEFT):
        breast = (0.56 * width, 0.40 * chest.breast + 32, chest.breast)
        if chest.breast:
            centre = (side * 0.58 * width, 0.62 * dome, 90.0)
            add_ellipsoid(total, frame, centre, (breast[0], 58, chest.breast), SOFT * 0.9)
    _add_airway(total, frame, chest)
    before = total.copy()
    ribs = _ribs(chest)
    add_tubes(total, frame, ribs)
    rib_shadow = total - before > 0.045 * chest.bone
    before = total.copy()
    clavicles = _clavicles(chest)
    add_tubes(total, frame, clavicles, 1.6)
    clavicle_shadow = total - before > 0.06 * chest.bone
    _add_shoulders(total, frame, chest)
    amplitude, phase = chest.curve
    bend = amplitude * np.sin(heights() / 90 + phase)
    spine = _add_spine(total, frame, bend, (apex - 120, 22.0, 15.0), (dome + 120, 33.0, 23.0), 0.8 * chest.bone)
    return total, {"spine": spine, "clavicles": clavicle_shadow, "ribs": rib_shadow}


def _add_airway(total: np.ndarray, frame: Frame, chest: _Chest) -> None:
    """The trachea's air column down to the carina, the main bronchi, and the gastric bubble, with a fluid level."""
    carina = -0.14 * chest.height
    x = frame.x + 3 + 6 * np.clip((frame.y - carina + 60) / 60, -1, 1) * 0.3
    length = np.clip((carina - frame.y) / 6, 0, 1) * np.clip((frame.y + chest.height * 0.5 + 90) / 30, 0, 1)
    total -= SOFT * slice_chord(x / 8.5, 7.5) * length
    for side, steep in ((RIGHT, 0.9), (LEFT, 0.6)):
        centre = (side * 16 - 2, carina + 4 + 10 * steep, 0)
        add_ellipsoid(total, frame, centre, (19, 6.5, 6), -SOFT, side * steep)
    radius, flatness, depth = chest.gas
    centre = (0.42 * chest.half_width, chest.dome[1] + 12 + radius * flatness + depth * 0.4, 20)
    x, y = frame.x - centre[0], frame.y - centre[1]
    bubble = 1 - (x / (1.5 * radius)) ** 2 - (y / (radius * flatness)) ** 2
    total -= SOFT * 1.5 * radius * np.sqrt(np.maximum(bubble, 0)) * np.clip((0.5 * radius * flatness - y) / 2, 0, 1)


def _ribs(chest: _Chest) -> list[tuple]:
    """Eleven pairs of ribs as tubes along hoops around the chest that descend from the spine to the sternum.

    Seen from the front, the hoop's back half slopes down sideways and its front half slopes down towards the
    middle, where bone turns to cartilage and the shadow fades.
    """
    _, outer = _cage(chest)
    tubes = []
    for k in range(11):
        row = chest.height * (-0.5 - 0.005 + 0.093 * k)
        drop = chest.rib_drop * chest.height / 220 * np.interp(k, [0, 1, 3, 6, 10], [46, 74, 112, 138, 140])
        width = np.interp(row + 0.5 * drop, heights(), outer) + 4
        if k == 0:
            width *= 0.86
        depth = chest.depth * np.interp(k, [0, 3, 8], [45, 85, 105])
        for back in (True, False):
            angle = np.linspace(0.16, 0.5 * np.pi, 40) if back else np.linspace(0.5 * np.pi, 0.83 * np.pi, 40)
            x = width * np.sin(angle)
            y = row + drop * (1 - np.cos(angle)) / 2 - 5 * np.sin(2 * angle)
            z = -depth * np.cos(angle)
            fade = chest.bone * np.clip((0.83 * np.pi - angle) / 0.25, 0, 1) * (1.0 if back else 0.85)
            if not back and k > 6:
                continue
            height = chest.rib_size * (6.2 if back else 6.8)
            for side in (RIGHT, LEFT):
                points = np.stack([side * x, y, z], axis=1)
                tubes.append((points, height, chest.rib_size * 3.8, fade))
    return tubes


def _clavicles(chest: _Chest) -> list[tuple]:
    """Two S-shaped bones from the breastbone to the shoulders."""
    t = np.linspace(0, 1, 50)
    x = 20 + t * (1.18 * chest.half_width - 20)
    y = chest.height * (-0.5 + chest.clavicle_row) + 22 - 44 * t + 7 * np.sin(2 * np.pi * t)
    size = 6.0 + 2.5 * np.abs(2 * t - 1) ** 2
    return [
        (np.stack([side * x, y, np.full_like(t, 60.0)], axis=1), size, 5.0, np.full_like(t, 0.8 * chest.bone))
        for side in (RIGHT, LEFT)
    ]


def _add_shoulders(total: np.ndarray, frame: Frame, chest: _Chest) -> None:
    """Scapulae (thin plates with a thick outer border), heads of the humeri, and arms that hang or are held away."""
    apex, width = -0.5 * chest.height, chest.half_width
    bone = (BONE - SOFT) * chest.bone
    corners = [(chest.scapula - 0.06, 0.10), (1.22, 0.02), (chest.scapula + 0.14, 0.55)]
    corners = [(fx * width, apex + fy * chest.height) for fx, fy in corners]
    tip, socket = corners[2], corners[1]
    for side in (RIGHT, LEFT):
        x, y = side * frame.x, frame.y
        inside = np.full((GRID, GRID), np.inf)
        for (x0, y0), (x1, y1) in zip(corners, corners[1:] + corners[:1], strict=True):
            norm = np.hypot(x1 - x0, y1 - y0)
            inside = np.minimum(inside, ((x1 - x0) * (y - y0) - (y1 - y0) * (x - x0)) / norm)
        total += bone * 2.6 * np.clip(inside / 5 + 0.5, 0, 1)
        head = (side * 1.36 * width, apex + 0.10 * chest.height, 0.0)
        add_ellipsoid(total, frame, head, (24, 25, 22), bone * 0.9, 0.0, 2.2)
        t = np.linspace(0, 1, 30)
        border = np.stack([side * (tip[0] + t * (socket[0] - tip[0])), tip[1] + t * (socket[1] - tip[1])], axis=1)
        ridge_y = apex + chest.height * (0.10 - 0.13 * t)
        ridge = np.stack([side * width * (chest.scapula + t * (1.3 - chest.scapula)), ridge_y], axis=1)
        depth = np.zeros((30, 1))
        border, ridge = np.hstack([border, depth]), np.hstack([ridge, depth])
        add_tubes(total, frame, [(border, 3.5, 3.0, 0.9 * chest.bone), (ridge, 4.5, 3.0, 0.7 * chest.bone)], 1.4)
        away = width * (1.36 + 0.5 * chest.arm) + np.maximum(y - head[1], 0) * (0.1 + 0.5 * chest.arm)
        below = np.clip((y - head[1]) / 20, 0, 1)
        total += below * (SOFT * slice_chord((x - away - 8) / 46, 42) + bone * 0.5 * slice_chord((x - away) / 12, 9))


def _add_spine(total, frame: Frame, bend: np.ndarray, top: tuple, bottom: tuple, bone: float) -> np.ndarray:
    """Vertebral bodies with endplates and disc spaces, pedicles and spinous processes; returns the column's shadow.

    Args:
        total: accumulated mu times l, changed in place.
        frame: where the detector sees the body.
        bend: sideways shift of the column by height, mm.
        top, bottom: (height, vertebra plus disc, half-width) at the column's ends, mm; linear in between.
        bone: attenuation relative to an average bone.
    """
    y = heights()
    pitch = np.interp(y, (top[0], bottom[0]), (top[1], bottom[1]))
    half = np.interp(y, (top[0], bottom[0]), (top[2], bottom[2]))
    phase = np.cumsum(0.5 / pitch)
    position = np.abs((phase % 1) - 0.5)  # 0 amid a body, 0.5 amid a disc
    body = np.clip((0.40 - position) / 0.03, 0, 1)
    endplate = np.exp(-(((position - 0.385) / 0.025) ** 2))
    waist = half * (1.0 + 0.22 * (position / 0.5) ** 2 - 0.06)
    inside = (y >= top[0]) & (y <= bottom[0])
    x = np.abs(frame.x - frame.lookup(bend) + 60 * frame.yaw)
    half_field = frame.lookup(waist)
    chord = slice_chord(np.minimum(x / half_field, 1.0), 0.5)
    filling = (TRABECULAR - SOFT) * 30 * body + (BONE - SOFT) * 3.0 * endplate + (TRABECULAR - SOFT) * 8
    total += chord * frame.lookup(filling * inside * bone)
    near = np.clip((half_field - x) / 1.2 + 0.5, 0, 1) * np.clip((x - half_field + 2.5) / 1.2, 0, 1)
    total += near * frame.lookup((BONE - SOFT) * 2.2 * body * bone * inside)
    along = frame.lookup(((phase - 0.10) % 1 - 0.5) * pitch)
    pedicle = ((x - 0.62 * half_field) / 4.2) ** 2 + (along / 6.0) ** 2
    total += (BONE - SOFT) * 3.5 * bone * np.exp(-(((pedicle - 0.8) / 0.35) ** 2)) * frame.lookup(inside * 1.0)
    spinous = (x / 3.5) ** 2 + ((along - 7) / 7.5) ** 2
    total += (BONE - SOFT) * 4.0 * bone * np.clip(1.3 - spinous, 0, 1) * frame.lookup(inside * 1.0)
    return (x < half_field) & frame.lookup(inside)


# ------------------------------------------------------------------------------------------------------- findings


def _zone_row(chest: _Chest, zone: str) -> float:
    return chest.height * {"upper": -0.27, "middle": 0.05, "lower": 0.33}[zone]


def _opacity(rng: np.random.Generator, chest: _Chest, lungs: dict[int, _Lung]) -> tuple[np.ndarray, dict[str, str]]:
    raise NotImplementedError
