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

from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage

from .fields import GRID, Drawing, Streams, blur, smooth_noise
from .projection import (
    BONE,
    METAL,
    SOFT,
    TRABECULAR,
    Exposure,
    Frame,
    add_ellipsoid,
    ellipsoid_chord,
    ellipsoid_radius,
    heights,
    hollow_tubes,
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
        frame = shot.frame(2.04 * chest.half_width, 1.12 * chest.height, 0.07 * chest.height)
        body, bones = _trunk_and_bones(chest, frame)
        markings = _vessels(chest, frame)
        lungs, heart = _lungs(chest, frame, _heart(chest, chest.heart_ratio))
        reference = attenuation = body - _lung_deficit(chest, lungs, markings)
        attributes |= {"region": "chest", "heart": "normal"}
        if finding == "cardiomegaly":
            lungs, heart = _lungs(chest, frame, _heart(chest, streams.lesion.uniform(0.58, 0.70)))
            attenuation = body - _lung_deficit(chest, lungs, markings)
            attributes["heart"] = "enlarged"
        elif finding == "opacity":
            fluid, found = _opacity(streams.lesion, chest, lungs)
            attenuation = attenuation + SOFT * 0.75 * fluid
            attributes |= found
        elif finding == "effusion":
            lungs, fluid, found = _effusion(streams.lesion, chest, lungs)
            attenuation = attenuation + SOFT * 0.75 * fluid
            attributes |= found
        structures = {
            "left lung": lungs[LEFT].whole(lungs[LEFT].field),
            "right lung": lungs[RIGHT].whole(lungs[RIGHT].field),
            "heart": heart,
            **bones,
        }
    devices = shot.devices(frame)
    attenuation = attenuation + devices
    visible = shot.visible()
    grey = shot.burn_in(radiograph(attenuation, reference + devices, shot.exposure, shot.noise)) * visible
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
    rib_unevenness: float
    rib_size: float
    bone: float
    clavicle_row: float
    scapula: float
    arm: float
    gas: np.ndarray  # [3, 5] in [0, 1): place, size and shape of the gas below the left dome
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
        breast=rng.uniform(5, 20) * female,
        lung_density=rng.uniform(0.2, 0.36),
        heart_ratio=rng.uniform(0.40, 0.475),
        heart_right=rng.uniform(0.27, 0.36),
        heart_angle=rng.uniform(0.6, 0.95),
        dome=(height / 2, height / 2 + level),
        dome_bulge=rng.uniform(38, 78),
        rib_drop=rng.uniform(0.85, 1.2),
        rib_unevenness=rng.uniform(-0.006, 0.006),
        rib_size=rng.uniform(0.85, 1.15),
        bone=rng.uniform(0.75, 1.65),
        clavicle_row=rng.uniform(0.02, 0.2),
        scapula=rng.uniform(0.66, 0.95),
        arm=rng.uniform(0, 1),
        gas=rng.random((3, 5)),
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
    """One lung as projected; every field covers the window ``where``, float64 or bool."""

    where: tuple[slice, slice]
    air: np.ndarray  # path length through aerated lung, mm
    field: np.ndarray  # the visible lung field
    across: np.ndarray  # -1 at the inner, 1 at the outer border
    y: np.ndarray  # height in the body, mm

    def whole(self, values: np.ndarray) -> np.ndarray:
        """Values of the window on the whole grid."""
        grid = np.zeros((GRID, GRID), values.dtype)
        grid[self.where] = values
        return grid


def _heart(chest: _Chest, ratio: float) -> list[tuple]:
    """Ellipsoids (centre, semi-axes, angle) of the heart (two chambers' outlines first) and the great vessels.

    The left ventricle's ellipse and the right atrium's are placed so that together they are ``ratio`` times the
    inside of the chest wide.
    """
    width = ratio * 2 * chest.half_width
    long, short = 0.53 * width, 0.33 * width
    cos, sin = np.cos(chest.heart_angle), np.sin(chest.heart_angle)
    reach, drop = np.hypot(long * cos, short * sin), np.hypot(long * sin, short * cos)
    left, right = (1 - chest.heart_right) * width, -chest.heart_right * width
    bottom = max(chest.dome) + 9
    row = bottom - drop
    knob = -chest.height * 0.5 + 0.27 * chest.height
    return [
        ((left - reach, row), (long, short, 0.32 * width), chest.heart_angle),
        ((right + 0.27 * width, row + 0.06 * width), (0.27 * width, 0.37 * width, 0.25 * width), -0.12),
        ((0.10 * chest.half_width, knob + 48), (25, 50, 26), -0.15),
        ((0.12 * chest.half_width, knob), (18, 19, 30), 0.0),
        ((-0.06 * chest.half_width, knob + 34), (18, 48, 24), -0.05),
    ]


def _lungs(chest: _Chest, frame: Frame, organs: list[tuple]) -> tuple[dict[int, _Lung], np.ndarray]:
    """Both lungs, slices minus what heart, great vessels and the diaphragm's domes displace; and the heart's shadow."""
    inner, outer = _cage(chest)
    t = heights() / chest.height + 0.5
    half_depth = chest.depth * np.interp(t, [0, 0.2, 0.5, 0.85, 1.3], [16.0, 46.0, 72.0, 80.0, 72.0])
    middle, half = (inner + outer) / 2, np.maximum((outer - inner) / 2, 1e-3)
    nearest, displaced = np.full((GRID, GRID), 9.0), np.zeros((GRID, GRID))
    for k, (centre, semi_axes, angle) in enumerate(organs):
        centre = centre[0] + 30 * frame.yaw, centre[1] + 30 * frame.pitch
        where = frame.window(*centre, max(semi_axes[:2]))
        radius = ellipsoid_radius(frame.x[where], frame.y[where], centre, semi_axes, angle)
        nearest[where] = np.minimum(nearest[where], radius)
        chord = 2 * semi_axes[2] * np.sqrt(np.maximum(1 - radius, 0))
        displaced[where] = np.maximum(displaced[where], chord)
        if k == 1:
            heart = nearest < 1
    lungs = {}
    for side, top in zip((RIGHT, LEFT), chest.dome, strict=True):
        edges = sorted((0, side * 1.05 * chest.half_width))
        where = frame.strip(*edges)
        x, y = side * frame.x[where], frame.y[where]
        across = (x - frame.lookup(middle, where)) / frame.lookup(half, where)
        dome_row = top + chest.dome_bulge
        dome = ((x - 0.45 * chest.half_width) / (0.56 * chest.half_width)) ** 2
        dome += (np.minimum(y - dome_row, 0) / chest.dome_bulge) ** 2
        above = y < dome_row
        depth = frame.lookup(half_depth, where)
        air = slice_chord(across, depth) - displaced[where]
        air -= 2.6 * depth * np.sqrt(np.maximum(1 - dome, 0))
        air = np.maximum(air, 0) * above
        field = (np.abs(across) < 1) & (dome > 1) & above & (nearest[where] > 1)
        heart[where] &= (dome > 0.8) | (x < 0)
        lungs[side] = _Lung(where, air, field, across, y)
    return lungs, heart


def _lung_deficit(chest: _Chest, lungs: dict[int, _Lung], markings: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """Attenuation that the lungs lack compared with soft tissue; vessels and interstitium give some of it back."""
    vessels, texture = markings
    deficit = np.zeros((GRID, GRID))
    for lung in lungs.values():
        share = np.minimum(lung.air / 60, 1) * vessels[lung.where]
        tissue = (1 - chest.lung_density) * lung.air * (1 - texture[lung.where])
        deficit[lung.where] += SOFT * (tissue - 1.9 * share)
    return deficit


def _vessels(chest: _Chest, frame: Frame) -> tuple[np.ndarray, np.ndarray]:
    """Path length through the lungs' vessels in mm, and the relative unevenness of the lung tissue.

    From each hilum branches fan out; every generation is shorter, thinner and more numerous than its parent.
    """
    rng = np.random.default_rng(chest.detail)
    steps = np.linspace(0, 1, 26)
    scale = chest.height / 210
    all_points, all_radii, all_steps, hila = [], [], [], []
    for side in (RIGHT, LEFT):
        hilum = np.array([side * 0.25 * chest.half_width, (-0.02 - 0.03 * side) * chest.height])
        hila.append(hilum)
        count = 14
        start = hilum + rng.normal(0, [6, 11], (count, 2))
        angle = np.linspace(-1.6, 1.7, count) + rng.normal(0, 0.2, count)
        length = scale * rng.uniform(28, 75, count)
        radius = rng.uniform(1.1, 2.5, count)
        for children in (34, 95, 230, 0):
            bend = rng.normal(0, 0.7, len(angle))
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
            at = rng.integers(6, len(steps), children)
            start = np.stack([x[parent, at], y[parent, at]], axis=1)
            turn = rng.uniform(0.2, 0.75, children) * np.where(np.arange(children) // len(angle) % 2, 1, -1)
            angle = heading[parent, at] + turn
            length = length[parent] * rng.uniform(0.5, 0.85, children)
            radius = taper[parent, at] * rng.uniform(0.6, 0.9, children)
    vessels = thin_tubes(frame, np.concatenate(all_points), np.concatenate(all_radii), np.concatenate(all_steps))
    for hilum in hila:
        add_ellipsoid(vessels, frame, (*hilum, 0.0), (13, 26, 5), 0.9, 0.25 * np.sign(hilum[0]))
    texture = 0.035 * smooth_noise(rng, 85) + 0.02 * smooth_noise(rng, 30) + 0.03 * smooth_noise(rng, 5)
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
        centre = (side * 0.60 * width, 0.66 * dome, 90.0)
        add_ellipsoid(total, frame, centre, (0.52 * width, 1.6 * chest.breast + 36, chest.breast), SOFT)
    _add_airway(total, frame, chest)
    ribs, clavicles = hollow_tubes(frame, _ribs(chest)), hollow_tubes(frame, _clavicles(chest), 1.6)
    total += ribs
    total += clavicles
    _add_shoulders(total, frame, chest)
    amplitude, phase = chest.curve
    bend = amplitude * np.sin(heights() / 90 + phase)
    spine = _add_spine(total, frame, bend, (apex - 120, 22.0, 15.0), (dome + 120, 33.0, 23.0), 0.5 * chest.bone)
    return total, {"spine": spine, "clavicles": clavicles > 0.06 * chest.bone, "ribs": ribs > 0.045 * chest.bone}


def _add_airway(total: np.ndarray, frame: Frame, chest: _Chest) -> None:
    """The trachea's air column down to the carina, the main bronchi, and the gastric bubble, with a fluid level."""
    carina = -0.14 * chest.height
    where = frame.strip(-20, 20)
    x, y = frame.x[where] + 3, frame.y[where]
    x += 2 * np.clip((y - carina + 60) / 60, -1, 1)
    length = np.clip((carina - y) / 6, 0, 1) * np.clip((y + chest.height * 0.5 + 90) / 30, 0, 1)
    total[where] -= SOFT * slice_chord(x / 9.0, 11.0) * length
    for side, steep in ((RIGHT, 0.9), (LEFT, 0.6)):
        centre = (side * 16 - 2, carina + 4 + 10 * steep, 0)
        add_ellipsoid(total, frame, centre, (19, 6.5, 6), -SOFT, side * steep)
    for k, (across, down, size, flatness, tilt) in enumerate(chest.gas):
        wide, tall = 10 + 22 * size, (10 + 22 * size) * (0.45 + 0.4 * flatness)
        centre = ((0.3 + 0.4 * across) * chest.half_width, chest.dome[1] + 10 + tall + 45 * down * (k + 1) / 2, 20.0)
        if k == 0:  # the stomach: the fluid in it has a level surface
            _add_level_gas(total, frame, centre, (wide, tall, wide))
        elif size > 0.3:
            add_ellipsoid(total, frame, centre, (0.8 * wide, 0.7 * tall, 0.8 * wide), -SOFT, 2 * tilt - 1)


def _add_level_gas(total: np.ndarray, frame: Frame, centre: tuple, semi_axes: tuple) -> None:
    where = frame.window(*centre[:2], max(semi_axes[:2]))
    x, y = frame.x[where], frame.y[where]
    gas = ellipsoid_chord(x, y, centre[:2], semi_axes)
    total[where] -= SOFT * gas * np.clip((centre[1] + 0.5 * semi_axes[1] - y) / 2, 0, 1)


def _ribs(chest: _Chest) -> list[tuple]:
    """Eleven pairs of ribs as tubes along hoops around the chest that descend from the spine to the sternum.

    Seen from the front, the hoop's back half slopes down sideways and its front half slopes down towards the
    middle, where bone turns to cartilage and the shadow fades.
    """
    _, outer = _cage(chest)
    tubes = []
    for k in range(11):
        row = chest.height * (-0.505 + 0.093 * k + chest.rib_unevenness * (k - 5) * np.sin(k))
        drop = chest.rib_drop * chest.height / 220 * np.interp(k, [0, 1, 3, 6, 10], [40, 66, 96, 116, 118])
        width = np.interp(row + 0.5 * drop, heights(), outer) + 4
        if k == 0:
            width *= 0.86
        depth = chest.depth * np.interp(k, [0, 3, 8], [45, 85, 105])
        for back in (True, False):
            angle = np.linspace(0.16, 0.5 * np.pi, 40) if back else np.linspace(0.5 * np.pi, 0.8 * np.pi, 40)
            x = width * np.sin(angle)
            y = row + drop * (1 - np.cos(angle)) / 2 - 5 * np.sin(2 * angle)
            z = -depth * np.cos(angle)
            fade = chest.bone * np.clip((0.8 * np.pi - angle) / 0.5, 0, 1) * (1.0 if back else 0.8)
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
        (np.stack([side * x, y, np.full_like(t, 60.0)], axis=1), size, 5.0, np.full_like(t, 1.3 * chest.bone))
        for side in (RIGHT, LEFT)
    ]


def _add_shoulders(total: np.ndarray, frame: Frame, chest: _Chest) -> None:
    """Scapulae (thin plates with a thick outer border), heads of the humeri, and arms that hang or are held away."""
    apex, width = -0.5 * chest.height, chest.half_width
    bone = (BONE - SOFT) * chest.bone
    corners = [(chest.scapula - 0.06, 0.10), (1.22, 0.02), (chest.scapula + 0.14, 0.55)]
    corners = [(fx * width, apex + fy * chest.height) for fx, fy in corners]
    tip, socket = corners[2], corners[1]
    t, flat = np.linspace(0, 1, 30), np.zeros(30)
    tubes = []
    for side in (RIGHT, LEFT):
        edges = sorted((side * 0.5 * width, side * 2.5 * width))
        where = frame.strip(*edges)
        x, y = side * frame.x[where], frame.y[where]
        inside = np.full(x.shape, np.inf)
        for (x0, y0), (x1, y1) in zip(corners, corners[1:] + corners[:1], strict=True):
            norm = np.hypot(x1 - x0, y1 - y0)
            np.minimum(
                inside, x * ((y0 - y1) / norm) + (y * ((x1 - x0) / norm) + (x0 * y1 - x1 * y0) / norm), out=inside
            )
        total[where] += bone * 2.6 * np.clip(inside / 5 + 0.5, 0, 1)
        head = (side * 1.36 * width, apex + 0.10 * chest.height, 0.0)
        add_ellipsoid(total, frame, head, (24, 25, 22), bone * 0.9, 0.0, 2.2)
        border = np.stack([side * (tip[0] + t * (socket[0] - tip[0])), tip[1] + t * (socket[1] - tip[1]), flat], axis=1)
        ridge_y = apex + chest.height * (0.10 - 0.13 * t)
        ridge = np.stack([side * width * (chest.scapula + t * (1.3 - chest.scapula)), ridge_y, flat], axis=1)
        tubes += [(border, 3.5, 3.0, 0.9 * chest.bone), (ridge, 4.5, 3.0, 0.7 * chest.bone * np.minimum(4 * t, 1))]
        away = width * (1.36 + 0.5 * chest.arm) + np.maximum(y - head[1], 0) * (0.1 + 0.5 * chest.arm)
        arm = SOFT * slice_chord((x - away - 8) / 46, 42) + bone * 0.5 * slice_chord((x - away) / 12, 9)
        total[where] += np.clip((y - head[1]) / 20, 0, 1) * arm
    total += hollow_tubes(frame, tubes, 1.4)


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
    where = frame.strip(
        *(np.array([-1.4, 1.4]) * bottom[2] + 60 * frame.yaw * np.array([-1, 1]) + [bend.min(), bend.max()])
    )
    x = np.abs(frame.x[where] - frame.lookup(bend, where) + 60 * frame.yaw)
    half_field, present = frame.lookup(waist, where), frame.lookup(inside * bone, where)
    filling = (TRABECULAR - SOFT) * (30 * body + 8) + (BONE - SOFT) * 3.0 * endplate
    column = slice_chord(x / half_field, 0.5) * frame.lookup(filling, where)
    near = np.clip((half_field - x) / 1.2 + 0.5, 0, 1) * np.clip((x - half_field + 2.5) / 1.2, 0, 1)
    column += near * frame.lookup((BONE - SOFT) * 2.2 * body, where)
    along = frame.lookup(((phase - 0.10) % 1 - 0.5) * pitch, where)
    pedicle = ((x - 0.62 * half_field) / 4.2) ** 2 + (along / 6.0) ** 2
    column += (BONE - SOFT) * 3.5 * np.exp(-(((pedicle - 0.8) / 0.35) ** 2))
    spinous = (x / 3.5) ** 2 + ((along - 7) / 7.5) ** 2
    column += (BONE - SOFT) * 4.0 * np.clip(1.3 - spinous, 0, 1)
    total[where] += present * column
    shadow = np.zeros((GRID, GRID), bool)
    shadow[where] = (x < half_field) & (present > 0)
    return shadow


# ------------------------------------------------------------------------------------------------------- findings


def _opacity(rng: np.random.Generator, chest: _Chest, lungs: dict[int, _Lung]) -> tuple[np.ndarray, dict[str, str]]:
    """Path length through filled in place of aerated lung, mm, float64 [GRID, GRID], with side and zone.

    Four patterns: patches, consolidation along the chest wall, a lobe with a straight border, and ground glass, which
    is faint and wide and mostly bilateral.
    """
    pattern = str(rng.choice(["patchy", "peripheral", "lobar", "ground glass"], p=[0.3, 0.25, 0.15, 0.3]))
    bilateral = {"patchy": 0.5, "peripheral": 0.75, "lobar": 0.0, "ground glass": 0.85}[pattern]
    one_side = str(rng.choice(["left", "right"]))
    side = "both" if rng.random() < bilateral else one_side
    zone = str(rng.choice(["upper", "middle", "lower"], p=[0.25, 0.3, 0.45]))
    row = chest.height * ({"upper": -0.29, "middle": 0.02, "lower": 0.36}[zone] + rng.uniform(-0.02, 0.02))
    spread = chest.height * rng.uniform(0.12, 0.18)
    centre, radius = rng.uniform(-0.4, 0.6, 2), rng.uniform(0.45, 0.85, 2)
    level = rng.uniform(0.35, 0.6) if pattern == "ground glass" else rng.uniform(0.6, 0.95)
    fissure = 1 if zone == "upper" else -1  # the straight border is the lower one of an upper lobe
    clouds, grain = 0.8 * smooth_noise(rng, 9) + 0.6 * smooth_noise(rng, 17), smooth_noise(rng, 30)
    strength, shift = rng.uniform(0.65, 1.0, 2), rng.normal(0, 0.04 * chest.height, 2)
    fluid = np.zeros((GRID, GRID))
    for sign in _SIDES[side]:
        lung, k = lungs[sign], int(sign == LEFT)
        y = (lung.y - row - shift[k]) / spread
        cloud = clouds[lung.where]
        if pattern == "lobar":
            straight = np.clip((1.0 - fissure * (y + 0.25 * lung.across)) / 0.12, 0, 1)
            weight = straight * np.clip(2.0 + fissure * y + 0.4 * cloud, 0, 1)
        elif pattern == "ground glass":
            weight = np.exp(-0.5 * y * y) * np.clip(0.85 + 0.3 * cloud, 0, 1.2)
        else:
            outwards = lung.across - centre[k] if pattern == "patchy" else np.minimum(lung.across - 0.95, 0)
            near = np.exp(-0.5 * (y * y + (outwards / radius[k]) ** 2))
            patches = np.clip(1.9 * near + 0.95 * cloud * np.sqrt(near) - 0.6, 0, 1)
            weight = np.maximum(patches, 0.45 * near)
        fluid[lung.where] += np.clip(strength[k] * level * weight * (1 + 0.13 * grain[lung.where]), 0, 0.97) * lung.air
    return fluid, {"side": side, "zone": zone}


def _effusion(
    rng: np.random.Generator, chest: _Chest, lungs: dict[int, _Lung]
) -> tuple[dict[int, _Lung], np.ndarray, dict[str, str]]:
    """Pleural fluid: it lies lowest, climbs the chest wall as a meniscus and fills the angle between wall and dome.

    Returns:
        The lungs above the fluid, the path length through fluid in mm, and the side.
    """
    side = str(rng.choice(["left", "right", "both"], p=[0.35, 0.35, 0.3]))
    amounts, rises, edge = rng.uniform(0.0, 1.0, 2), rng.uniform(16, 42, 2), rng.uniform(7, 16)
    fluid, above = np.zeros((GRID, GRID)), dict(lungs)
    for sign, top, amount, rise in zip((RIGHT, LEFT), chest.dome, amounts, rises, strict=True):
        if sign not in _SIDES[side]:
            continue
        lung = lungs[sign]
        level = top - 2 - chest.height * 0.42 * amount**1.5
        surface = level - rise * np.clip(0.35 + 0.65 * lung.across, 0, 1) ** 2
        share = np.clip((lung.y - surface) / edge + 0.5, 0, 1)
        fluid[lung.where] += share * lung.air
        above[sign] = replace(lung, air=lung.air * (1 - share), field=lung.field & (lung.y < surface))
    return above, fluid, {"side": side}


# -------------------------------------------------------------------------------------------------------- abdomen


def _abdomen(rng: np.random.Generator, frame: Frame) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Attenuation of an abdomen and pelvis, float64 [GRID, GRID], and its structures; the origin is at the navel."""
    width, shift, bone = rng.uniform(150, 185), rng.uniform(-90, 70), rng.uniform(1.3, 2.4)
    depth, crest, tilt = rng.uniform(95, 130), rng.uniform(18, 30), rng.uniform(0.45, 0.75)
    y = frame.y + shift
    local = replace(frame, row=frame.row - shift * np.cos(frame.roll) / frame.pixel_mm)
    half = local.profile([-150, -60, 0, 110, 200], [width, 0.96 * width, width, 1.07 * width, 1.05 * width], 25)
    thickness = local.profile([-150, 0, 110, 200], [depth, 1.04 * depth, depth, 0.85 * depth], 20)
    total = SOFT * slice_chord(local.x / half, thickness)
    _add_viscera(total, local, rng, width)
    bend = rng.normal(0, 5) * np.sin(heights() / 110 + rng.uniform(0, 6))
    spine = _add_spine(total, local, bend, (-260, 30.0, 20.0), (crest + 45, 38.0, 26.0), 1.25 * bone)
    before = total.copy()
    _add_pelvis(total, local, bone, crest, tilt)
    pelvis = total - before > 0.12 * bone
    ribs = []
    for k, row in enumerate((-215, -185, -150)):
        t = np.linspace(0, 1, 40)
        x = 22 + t * (0.86 - 0.2 * (k == 2)) * width
        points = np.stack([x, row + 75 * t**1.6, -80 + 60 * t], axis=1)
        ribs += [(points * [side, 1, 1], 6.0, 3.6, bone * np.clip((1 - t) / 0.1, 0, 1)) for side in (RIGHT, LEFT)]
    total += hollow_tubes(local, ribs)
    return total, {"spine": spine & (y < crest + 45), "pelvis": pelvis}


def _add_viscera(total: np.ndarray, frame: Frame, rng: np.random.Generator, width: float) -> None:
    """Organs outlined by fat (liver, spleen, kidneys, psoas, bladder), and gas in the bowel."""
    outlined = [
        ((-0.5 * width, -135, 20), (0.48 * width, 78, 16), 0.35),
        ((0.62 * width, -150, -20), (30, 48, 12), -0.3),
        ((-62, -62, -40), (28, 54, 9), -0.2),
        ((62, -74, -40), (28, 54, 9), 0.2),
        ((-42, 5, -30), (20, 105, 9), 0.22),
        ((42, 5, -30), (20, 105, 9), -0.22),
        ((0, 165, 20), (42, 30, 16), 0.0),
    ]
    for centre, axes, angle in outlined:
        centre = tuple(c + rng.normal(0, 5) for c in centre)
        add_ellipsoid(total, frame, centre, axes, SOFT * rng.uniform(0.4, 1.0), angle)
    t = rng.uniform(0, 1, 34)
    path = np.array([0, 0.22, 0.3, 0.5, 0.7, 0.78, 0.93, 1.0])
    colon_x = np.interp(t, path, np.array([-0.62, -0.66, -0.55, 0.0, 0.58, 0.68, 0.6, 0.05]) * width)
    colon_y = np.interp(t, path, [95, -30, -55, -25, -85, -30, 85, 130])
    small = np.arange(34) % 3 == 0
    x = np.where(small, rng.normal(0, 0.33 * width, 34), colon_x) + rng.normal(0, 6, 34)
    y = np.where(small, rng.normal(25, 45, 34), colon_y) + rng.normal(0, 6, 34)
    size = np.where(small, rng.uniform(6, 12, 34), rng.uniform(9, 20, 34))
    gassy = rng.random(34) < rng.uniform(0.25, 0.95)
    stretch, angle = rng.uniform(1.0, 1.7, 34), rng.uniform(-1.5, 1.5, 34)
    gas = np.zeros((GRID, GRID))
    for k in np.nonzero(gassy)[0]:
        axes = (size[k] * stretch[k], size[k], 0.8 * size[k])
        add_ellipsoid(gas, frame, (x[k], y[k], 20.0), axes, 1.0, angle[k])
    total -= SOFT * 45 * np.tanh(gas / 45) * (1 + 0.12 * smooth_noise(rng, 40))
    total *= 1 + 0.012 * smooth_noise(rng, 7) + 0.008 * smooth_noise(rng, 26)


def _add_pelvis(total: np.ndarray, frame: Frame, bone: float, crest: float, tilt: float) -> None:
    """Sacrum, iliac wings, hip joints with femoral heads and shafts, and the pubic and ischial rami."""
    extra = (BONE - SOFT) * bone
    sacrum = np.clip(1 - np.abs(frame.y - crest - 92) / 50, 0, 1)
    span = 12 + 38 * np.clip((crest + 142 - frame.y) / 100, 0, 1)
    ripple = 1 + 0.25 * np.cos((frame.y - crest) / 3.6)
    total += extra * 9 * np.clip((span - np.abs(frame.x)) / 9, 0, 1) * np.clip(2.5 * sacrum, 0, 1) * ripple
    for side in (RIGHT, LEFT):
        wing = ((side * 88, crest + 62, -10), (62, 46, 5), side * -tilt)
        add_ellipsoid(total, frame, *wing[:2], extra, wing[2])
        radius = ellipsoid_radius(frame.x, frame.y, wing[0], wing[1], wing[2])
        total += extra * 4.5 * np.exp(-(((radius - 0.95) / 0.055) ** 2)) * (frame.y < crest + 92)
        add_ellipsoid(total, frame, (side * 92, crest + 128, 0), (27, 25, 8), extra, 0.0)
        add_ellipsoid(total, frame, (side * 96, crest + 138, 0), (24, 24, 22), extra * 0.8, 0.0, 3.0)
        add_ellipsoid(total, frame, (side * 126, crest + 156, 0), (34, 16, 14), extra * 0.7, side * 0.6, 3.0)
        add_ellipsoid(total, frame, (side * 150, crest + 160, 0), (15, 22, 12), extra * 0.7, side * -0.5, 2.5)
        add_ellipsoid(total, frame, (side * 146, crest + 245, 0), (16, 95, 14), extra, side * -0.06, 5.0)
        # The pubic and ischial rami run round the obturator foramen.
        where = frame.window(side * 46, crest + 186, 62)
        ring = ellipsoid_radius(frame.x[where], frame.y[where], (side * 46, crest + 186), (31, 27), side * -0.5)
        total[where] += extra * 9 * np.exp(-(((np.sqrt(ring) - 1) / 0.27) ** 2))


# ---------------------------------------------------------------------------------------------------- acquisition

_TEXTS = ("PORTABLE", "AP ERECT", "SUPINE", "MOBILE", "SEMI ERECT", "BEDSIDE", "PA", "SITTING")

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
class _Shot:
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
        """A frame in which organs of this size fill the film as set, their centre ``above_mm`` below the origin."""
        tall, wide = self.rows[1] - self.rows[0], self.cols[1] - self.cols[0]
        pixel_mm = max(width_mm / (self.fill[0] * wide), height_mm / (self.fill[1] * tall))
        pixel_mm = float(np.clip(pixel_mm, 1.15, 1.75))
        row, col = self.rows[0] + self.aim[0] * tall, self.cols[0] + self.aim[1] * wide
        return Frame(row - above_mm / pixel_mm, col, pixel_mm, *self.turn)

    def visible(self) -> np.ndarray:
        """The pixels inside the black borders, bool [GRID, GRID]."""
        inside = np.zeros((GRID, GRID), bool)
        inside[slice(*self.rows), slice(*self.cols)] = True
        return inside

    def devices(self, frame: Frame) -> np.ndarray:
        """Attenuation of electrodes, their wires and catheters, float64 [GRID, GRID]."""
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
    """Text as float64 [rows, columns] in [0, 1]."""
    rows = np.array([[int(_GLYPHS[letter][k : k + 2], 16) for letter in text] for k in range(0, 14, 2)])
    bits = (rows[..., None] >> np.arange(5, -1, -1)) & 1  # the highest of six columns is the gap between letters
    picture = np.pad(bits.reshape(7, -1).astype(np.float64), 1)
    return ndimage.zoom(picture, height / picture.shape[0], order=1, mode="grid-constant", grid_mode=True)


def _draw_shot(rng: np.random.Generator) -> _Shot:
    portable = rng.random() < 0.5
    layout = rng.choice(3, p=[0.35, 0.4, 0.25])
    trims = rng.uniform(0, 1, 4)
    tall = int([256, 256 * rng.uniform(0.78, 0.97), 256][layout])
    wide = int([256, 256, 256 * rng.uniform(0.80, 0.96)][layout])
    top, left = (GRID - tall) // 2, (GRID - wide) // 2
    shutter = (6 * np.maximum(trims - 0.8, 0) * 5).astype(int)
    turn = rng.normal(0, [0.025, 0.05, 0.05]) * (1.3 if portable else 0.7)
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
        int(rng.integers(len(_TEXTS))),
    )
    texts = []
    if marker < 0.6:
        text, col = ("L", 0.9 + 0.09 * corner[0]) if marker < 0.35 else ("R", 0.01 + 0.1 * corner[0])
        texts.append((text, 0.03 + 0.12 * corner[1], col, rng.uniform(9, 17)))
    if captioned < 0.35:
        texts.append((_TEXTS[wording], 0.03 + 0.03 * corner[0], 0.7 + 0.25 * corner[1], 9.0))
    return _Shot(
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


def _largest_component(area: np.ndarray) -> np.ndarray:
    labels, count = ndimage.label(area)
    if count < 2:
        return area
    return labels == 1 + np.argmax(np.bincount(labels.ravel())[1:])
