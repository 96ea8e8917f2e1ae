"""Simulated axial CT slices of the chest, and of the abdomen as images without lungs.

How the modality forms an image: every pixel is the mean attenuation of a small volume on the Hounsfield scale (see
:mod:`.tomography`). Here a slice is put together from outside to inside. The trunk wall is a set of closed curves:
skin, fat, muscle with fat planes, ribs cut obliquely, scapulae, sternum and vertebra. The mediastinum is a list of
organs for the level of the slice, from apex to base; its outline towards each lung follows from the widest organ in
every row, and a lung is what is left of the rib cage beside it, less the domes of liver and stomach. Lungs hold vessels
that branch from the hilum and taper, bronchi, fissures, and density that rises towards the back. Contrast medium
brightens vessels and heart. Findings change what fills the lung: a nodule, ground glass or consolidation, or fluid
that collects behind it (the patient lies on the back).

The target mask is the two lung fields as annotators draw them: vessels, nodules and opacities inside them are part of
it; trachea, main bronchi, the hilar vessels and pleural fluid are not. Slivers of lung apart from the larger part of
their side are not drawn.

Not simulated: disease that moves organs (collapse, shift), airways of the tree beyond the hilum except a few, calcium,
devices, breathing, and three-dimensional consistency from slice to slice.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from .fields import GRID, Drawing, Streams, smooth_noise
from .tomography import (
    AIR,
    ANGLES,
    FAT,
    MUSCLE,
    WATER,
    WHOLE,
    Patch,
    Plane,
    Scan,
    both_bumps,
    bump,
    closed_curve,
    draw_scan,
    smooth_min,
)

#: What can be drawn and how often; the last one is the image without the target.
FINDINGS = {"clear": 0.32, "nodule": 0.17, "opacity": 0.17, "effusion": 0.12, "abdomen": 0.22}

RIGHT, LEFT = -1, 1  # the patient's sides, as the sign of x: the patient's left is on the right of the image
_NAMES = {RIGHT: "right", LEFT: "left"}
_LEVELS = {"apex": (0.02, 0.2), "arch": (0.2, 0.36), "carina": (0.36, 0.54), "heart": (0.54, 0.8), "base": (0.8, 1.0)}
_HEIGHTS = np.arange(-250.0, 250.0, 0.5)  # y of the tables that give the mediastinum's width in every row, mm


def draw(finding: str, streams: Streams) -> Drawing:
    """Draw one slice.

    Args:
        finding: one of :data:`FINDINGS`. All but ``abdomen`` show the same chest.
        streams: anatomy, lesion and acquisition.

    Returns:
        A drawing with the mask of both lung fields (two components; empty for ``abdomen``); structures ``"body"``,
        ``"vertebra"``, ``"aorta"``, ``"ribs"``, in the chest ``"left lung"``, ``"right lung"`` (the patient's sides)
        and, where the slice cuts them, ``"heart"`` and ``"trachea"`` (lumen, with the main bronchi), in the abdomen
        ``"liver"``, ``"spleen"`` and ``"kidneys"`` where cut; attributes ``region``, ``window``, ``level``, and ``side``
        and ``size`` where they apply.
    """
    scan = draw_scan(streams.acquisition)
    plane, structures, attributes, shoulders = _hounsfield(finding, streams, scan)
    view = scan.in_view()
    grey = scan.show(plane.hu, structures["body"], shoulders)
    for name in ("left lung", "right lung"):
        if name in structures:
            structures[name] = _largest_component(structures[name] & view)
    structures = {name: scan.oriented(area & view) for name, area in structures.items() if (area & view).any()}
    mask = np.zeros((GRID, GRID), bool)
    if finding != "abdomen":
        mask = structures["left lung"] | structures["right lung"]
    attributes = attributes | {"window": scan.window}
    return Drawing(grey, mask, structures, attributes, (plane.frame.mm_row, plane.frame.mm_col))


def _hounsfield(
    finding: str, streams: Streams, scan: Scan
) -> tuple[Plane, dict[str, np.ndarray], dict[str, str], float]:
    """The slice before the scanner blurs it: plane, structures, attributes and how much the shoulders absorb."""
    chest_rng, abdomen_rng = (np.random.default_rng(seed) for seed in streams.anatomy.integers(0, 2**63, 2))
    if finding == "abdomen":
        trunk, down = _draw_abdomen_trunk(abdomen_rng)
        plane = Plane(scan.frame(trunk.skin))
        structures = _paint_surroundings(plane, trunk, scan) | _paint_trunk(plane, trunk, abdomen_rng)
        structures |= _paint_abdomen(plane, trunk, down, abdomen_rng)
        return plane, structures, {"region": "abdomen"}, 0.0
    chest = _draw_chest(chest_rng)
    plane = Plane(scan.frame(chest.trunk.skin))
    structures = _paint_surroundings(plane, chest.trunk, scan) | _paint_trunk(plane, chest.trunk, chest_rng)
    structures |= _paint_shoulders(plane, chest, chest_rng)
    organs = _mediastinum(chest, chest_rng)
    structures |= _paint_mediastinum(plane, chest, organs)
    lungs = _lung_depths(plane, chest, organs)
    structures |= _paint_domes(plane, chest, chest_rng)
    parenchyma, vessels = _lung_tissue(plane, chest, lungs, chest_rng)
    attributes = {"region": "chest", "level": chest.level}
    if finding == "effusion":
        lungs, found = _add_effusion(plane, chest, lungs, streams.lesion)
    elif finding == "opacity":
        parenchyma, found = _add_opacity(plane, lungs, parenchyma, streams.lesion)
    else:
        found = {}
    tissue = parenchyma + vessels * (chest.vessel_hu - parenchyma)
    if finding == "nodule":
        tissue, found = _add_nodule(plane, lungs, tissue, streams.lesion)
    for side, depth in lungs.items():
        plane.paint(depth, tissue)
        structures[f"{_NAMES[side]} lung"] = depth > 0
    lung = structures["left lung"] | structures["right lung"]
    for name in ("heart", "aorta", "trachea", "vertebra"):
        structures[name] &= ~lung
    return plane, structures, attributes | found, float(np.interp(chest.down, [0.0, 0.25, 0.45], [1.0, 0.8, 0.0]))


# ----------------------------------------------------------------------------------------------------- trunk wall


@dataclass(frozen=True)
class _Trunk:
    """The wall of chest or abdomen: tables of radius over ANGLES, mm, from inside to outside."""

    inner: np.ndarray  # of the cavity
    muscle: np.ndarray  # outside of the muscles
    skin: np.ndarray
    spine_y: float  # centre of the vertebral body
    spine_radius: float
    ribs: tuple[tuple[float, float, float, float], ...]  # angle, half length, half thickness in mm, slope
    breast: float  # thickness of the breasts, mm; 0 where there are none
    layers: float  # distance between fat planes of the wall's muscles, mm
    bone_hu: float


def _paint_surroundings(plane: Plane, trunk: _Trunk, scan: Scan) -> dict[str, np.ndarray]:
    """Table with a bright shell, clothes as faint lines, and the body as skin over fat."""
    outside = -plane.within(trunk.skin)
    if scan.table > 0:
        back = float((trunk.skin * np.sin(ANGLES)).max())
        below = plane.y - back - scan.table + scan.table_curve * plane.x**2
        half_width = 0.9 * float(trunk.skin.max())
        shell = np.minimum(np.abs(below - 12) - 10.5, half_width - np.abs(plane.x))
        plane.paint(np.minimum(12.0 - np.abs(below - 12), half_width - np.abs(plane.x)), -930.0)
        plane.paint(np.minimum(shell, 12.5 - np.abs(below - 12)), 60.0)
        plane.paint(np.minimum(1.6 - np.abs(below - 40), 0.45 * half_width - np.abs(plane.x)), 300.0)
    if scan.clothes > 0:
        folds = scan.clothes * (1 + 0.5 * bump(-120, 14) + 0.8 * bump(-60, 18)) + 3 * np.sin(5 * ANGLES)
        plane.paint(0.8 - np.abs(outside - plane.around(folds)), -820.0)
    plane.paint(-outside, 10.0)
    plane.paint(-outside - 1.8, FAT)
    return {"body": outside < 0}


def _paint_trunk(plane: Plane, trunk: _Trunk, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Fat septa, breast tissue, muscles with fat planes between them, ribs, cavity fat and the vertebra."""
    web = smooth_noise(rng, 40)
    below_skin = plane.within(trunk.skin)
    plane.hu += 9 * web * (below_skin > 2)
    if trunk.breast > 0:
        gland = (web + 1.2 * smooth_noise(rng, 16) - 0.6) * 6
        plane.paint(np.minimum(gland, plane.cover(below_skin - 8) * 8 - 4) - 60 * (plane.y > 0), 30.0)
    outer, inner = plane.within(trunk.muscle), -plane.within(trunk.inner)
    waves = smooth_noise(rng, 12)
    plane.paint(outer, MUSCLE + 5 * web)
    planes = np.abs(np.sin(np.pi * (inner - 13) / trunk.layers + 1.6 * waves))
    plane.paint(np.minimum(np.minimum(0.5 - 5 * planes, inner - 12), outer - 1.5), -80.0)
    ribs = _paint_ribs(plane, trunk)
    plane.paint(-inner, FAT + 6 * web)
    return {"ribs": ribs, "vertebra": _paint_vertebra(plane, trunk, rng)}


def _paint_ribs(plane: Plane, trunk: _Trunk) -> np.ndarray:
    """Arcs of the rib cage: a shell of compact bone around marrow. Ribs run obliquely, so a slice cuts them long."""
    thickness = np.full(ANGLES.shape, -4.0)
    middle = trunk.inner + 7.0
    for angle, half_length, half_thickness, slope in trunk.ribs:
        along = ((ANGLES - angle + np.pi) % (2 * np.pi) - np.pi) * trunk.inner / half_length
        arc = half_thickness * np.sqrt(np.clip(1 - np.abs(along) ** 2.6, 0, 1)) - 4 * (np.abs(along) > 1)
        middle = np.where(arc > thickness, trunk.inner + 7.0 + slope * np.clip(along, -1, 1), middle)
        thickness = np.maximum(thickness, arc)
    depth = plane.around(thickness) - np.abs(plane.radius - plane.around(middle))
    plane.paint(depth, trunk.bone_hu)
    plane.paint(depth - 1.7, 0.35 * trunk.bone_hu)
    return depth > 0


def _paint_vertebra(plane: Plane, trunk: _Trunk, rng: np.random.Generator) -> np.ndarray:
    """Body, pedicles, laminae, transverse and spinous processes around the canal."""
    y, radius, bone = trunk.spine_y, trunk.spine_radius, trunk.bone_hu
    canal = y + 0.72 * radius + 8
    marrow = 0.32 * bone + 25 * smooth_noise(rng, 56)
    jitter = rng.normal(0, 1, 6)
    shapes = [
        (plane.ellipse(0, y, 1.12 * radius, 0.86 * radius), 1.4),
        (plane.rod((-12, canal - 8), (-13.5, canal + 3), 4.2), 1.5),
        (plane.rod((12, canal - 8), (13.5, canal + 3), 4.2), 1.5),
        (plane.rod((-13, canal + 4), (0, canal + 15), 3.8), 1.6),
        (plane.rod((13, canal + 4), (0, canal + 15), 3.8), 1.6),
        (plane.rod((-13, canal + 2), (-33 + jitter[0], canal + 11 + 2 * jitter[1]), 4.6, 0.9), 1.6),
        (plane.rod((13, canal + 2), (33 + jitter[2], canal + 11 + 2 * jitter[3]), 4.6, 0.9), 1.6),
        (plane.rod((0, canal + 14), (1.5 * jitter[4], canal + 33 + 5 * jitter[5]), 3.6, 0.8), 1.7),
    ]
    for shape, _ in shapes:
        plane.paint(shape, bone)
    for shape, cortex in shapes:
        plane.paint(Patch(shape.window, shape.depth - cortex), marrow)
    plane.paint(plane.ellipse(0, canal, 10.5, 8.8), 0.8 * bone)
    plane.paint(plane.ellipse(0, canal, 9.2, 7.6), -20.0)
    plane.paint(plane.ellipse(0, canal, 6.2, 4.8), 38.0)
    return np.logical_or.reduce([plane.inside(shape) for shape, _ in shapes])


def _draw_ribs(rng: np.random.Generator, inner: np.ndarray, front: float) -> tuple[tuple[float, ...], ...]:
    """Five to seven arcs a side, nearly alike on both; ``front`` is the angle before which there are none, degrees."""
    ribs = []
    count, start = int(rng.integers(5, 8)), rng.uniform(0, 1)
    for k in range(count):
        degrees = front + (62 - front) * (k + start) / count
        half_length, half_thickness = rng.uniform(9, 27), rng.uniform(3.0, 4.4)
        for side in (RIGHT, LEFT):
            angle = np.deg2rad(degrees + rng.normal(0, 2.5))
            angle = angle if side == LEFT else np.pi - angle
            length = half_length * rng.uniform(0.8, 1.2)
            ribs.append((angle, length, half_thickness, -side * rng.uniform(-1.5, 2.5)))
    return tuple(ribs)


# ---------------------------------------------------------------------------------------------------------- chest


@dataclass(frozen=True)
class _Chest:
    """One chest at one level; lengths in mm."""

    level: str
    down: float  # 0 at the apex of the lungs, 1 at their base
    half_width: float  # of the rib cage at this level
    half_depth: float
    size: float  # of the organs, relative to an average adult
    trunk: _Trunk
    heart: float  # size relative to the chest
    heart_shift: float  # to the left, mm
    heart_turn: float  # of its long axis, radians
    contrast: dict[str, float]  # HU of the blood in arteries, veins and pulmonary vessels
    vessel_hu: float  # of the vessels in the lung
    density: float  # HU of the lung halfway from front to back
    gravity: float  # rise of the lung's density towards the back, HU per mm
    core: float  # half the width of the mediastinum where no organ is, mm


def _draw_chest(rng: np.random.Generator) -> _Chest:
    level = str(rng.choice(list(_LEVELS), p=[0.16, 0.2, 0.22, 0.28, 0.14]))
    down = float(rng.uniform(*_LEVELS[level]))
    size = rng.uniform(0.88, 1.1)
    full_width, full_depth = 132 * size, 132 * size * rng.uniform(0.66, 0.82)
    half_width = full_width * np.interp(down, [0, 0.12, 0.25, 0.45, 0.75], [0.52, 0.68, 0.85, 0.96, 1.0])
    half_depth = full_depth * np.interp(down, [0, 0.12, 0.25, 0.45, 0.75], [0.52, 0.66, 0.82, 0.94, 1.0])
    powers = rng.uniform(1.85, 2.25), rng.uniform(2.2, 2.8)
    inner = closed_curve(half_width, half_depth, 0.98 * half_depth, powers)
    contrast = _draw_contrast(rng)
    trunk = _draw_chest_trunk(rng, inner, down, full_width, full_depth, half_depth)
    return _Chest(
        level=level,
        down=down,
        half_width=half_width,
        half_depth=half_depth,
        size=size,
        trunk=trunk,
        heart=rng.uniform(0.86, 1.14),
        heart_shift=rng.normal(0, 5),
        heart_turn=rng.uniform(-0.75, -0.2),
        contrast=contrast,
        vessel_hu=0.85 * contrast["pulmonary"] + rng.uniform(-40, 10),
        density=rng.uniform(-880, -805),
        gravity=rng.uniform(0.1, 0.6),
        core=rng.uniform(3.0, 7.0),
    )


def _draw_contrast(rng: np.random.Generator) -> dict[str, float]:
    """None, or medium that is just passing the veins, the lungs or the arteries."""
    phase, dose = int(rng.choice(4, p=[0.4, 0.15, 0.25, 0.2])), rng.uniform(0.75, 1.25)
    arteries, veins, pulmonary = ((44, 42, 43), (150, 420, 330), (300, 260, 210), (150, 145, 148))[phase]
    scale = dose if phase else 1.0
    return {"artery": arteries * scale, "vein": veins * scale, "pulmonary": pulmonary * scale}


def _draw_chest_trunk(
    rng: np.random.Generator,
    inner: np.ndarray,
    down: float,
    full_width: float,
    full_depth: float,
    half_depth: float,
) -> _Trunk:
    """Chest wall: wide at the shoulders; pectoral, latissimus and paraspinal muscles; more fat at the sides."""
    fat = float(np.exp(rng.normal(np.log(9), 0.5)))
    strength = rng.uniform(0.6, 1.3)
    wide = np.interp(down, [0, 0.15, 0.3, 0.45], [1.3, 1.22, 1.07, 1.0])
    deep = np.interp(down, [0, 0.2, 0.4], [0.86, 0.92, 1.0])
    muscle = closed_curve(full_width * wide + 11, full_depth * deep + 11, full_depth * deep + 11, (2.4, 2.3))
    shoulders = np.interp(down, [0, 0.2, 0.4, 0.65], [36, 30, 14, 0]) * rng.uniform(0.6, 1.3)
    pectorals = np.interp(down, [0, 0.12, 0.3, 0.5, 0.65], [12, 18, 20, 9, 0]) * strength
    muscle += shoulders * both_bumps(22, 20) + pectorals * both_bumps(-48, 15)
    muscle += strength * (7 * both_bumps(28, 15) + 12 * both_bumps(75, 9)) - 5 * bump(90, 5)
    muscle = np.maximum(muscle, inner + 13)
    woman, breast = rng.uniform() < 0.4, rng.uniform(14, 50) * np.interp(down, [0.3, 0.5, 0.75, 0.95], [0, 1, 1, 0.3])
    breast = float(breast) if woman else 0.0
    skin = muscle + fat * (0.75 + 0.5 * both_bumps(15, 35) + 0.25 * bump(90, 25)) + 2.5
    skin += breast * (both_bumps(-52, 13) + 0.5 * both_bumps(-34, 14))
    skin += sum(rng.normal(0, 1.6) * np.cos(k * ANGLES + rng.uniform(0, 6.3)) for k in range(2, 6))
    skin = np.maximum(skin, muscle + 3)
    spine_radius = 16.5 * full_width / 132 * rng.uniform(0.92, 1.1)
    return _Trunk(
        inner=inner,
        muscle=muscle,
        skin=skin,
        spine_y=0.5 * half_depth + 3,
        spine_radius=spine_radius,
        ribs=_draw_ribs(rng, inner, -62 if down > 0.2 else -40),
        breast=breast,
        layers=rng.uniform(13, 19),
        bone_hu=rng.uniform(480, 720),
    )


def _paint_shoulders(plane: Plane, chest: _Chest, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Sternum or clavicles in front; in upper slices the fat of the armpit, scapulae and humeral heads."""
    bone, front = chest.trunk.bone_hu, -chest.half_depth - 9
    jitter = rng.normal(0, 1, 12)
    if chest.down > 0.1:
        width = np.interp(chest.down, [0.1, 0.3, 0.4], [30, 27, 17]) * chest.size
        sternum = plane.ellipse(jitter[0], front, width, 6.5, 0.03 * jitter[1])
        plane.paint_bone(sternum, 1.6, 0.75 * bone, 0.25 * bone)
    if chest.down > 0.3:  # costal cartilage beside the sternum
        for side in (RIGHT, LEFT):
            cartilage = plane.rod((side * 24, front + 1), (side * (52 + 4 * jitter[2]), front + 11), 4.5)
            plane.paint(cartilage, 115.0)
    if chest.down < 0.2:
        for side, wobble in ((RIGHT, jitter[3]), (LEFT, jitter[4])):
            start = (side * 22, front - 9 + wobble)
            end = (side * (78 + 12 * jitter[5]), front - 2 + 4 * wobble)
            plane.paint_bone(plane.rod(start, end, 7.5, 0.75), 2.0, bone, 0.35 * bone)
    if chest.down < 0.52:
        _paint_scapulae(plane, chest, jitter[6:], bone)
    return {}


def _paint_scapulae(plane: Plane, chest: _Chest, jitter: np.ndarray, bone: float) -> None:
    """A thin blade behind the ribs with a thick outer border; higher up its spine and the head of the humerus."""
    wall = np.interp(np.deg2rad([0, 10, 30, 50, 60]), ANGLES, chest.trunk.inner)
    room = float(np.interp(np.deg2rad(14), ANGLES, chest.trunk.muscle)) - wall[1]

    def behind_ribs(side: int, degrees: float, radius: float) -> tuple[float, float]:
        return side * radius * np.cos(np.deg2rad(degrees)), radius * np.sin(np.deg2rad(degrees))

    for side, wobble, turn in ((RIGHT, jitter[0], jitter[1]), (LEFT, jitter[2], jitter[3])):
        plane.paint(plane.ellipse(side * (wall[0] + 24), -10 + 3 * wobble, 11, 20, -side * 0.3), -95.0)
        medial = behind_ribs(side, 54 + 4 * turn, wall[3] + 19 + wobble)
        middle = behind_ribs(side, 33 + 4 * turn, wall[2] + 20 + wobble)
        tip = behind_ribs(side, 13 + 4 * turn, wall[1] + float(np.clip(0.55 * room, 20, 48)))
        for blade in (plane.rod(medial, middle, 2.9, 0.7), plane.rod(middle, tip, 2.0, 2.3)):
            plane.paint_bone(blade, 1.3, bone, 0.45 * bone)
        if chest.down < 0.25:
            spine = behind_ribs(side, 32 + 3 * turn, wall[2] + 46)
            plane.paint_bone(plane.rod(middle, spine, 2.4, 1.5), 1.4, bone, 0.4 * bone)
        if chest.down < 0.14 and room > 62:
            head = plane.ellipse(tip[0] + side * 25, tip[1] - 8, 20, 22)
            plane.paint_bone(head, 2.2, 0.9 * bone, 0.33 * bone)


# ---------------------------------------------------------------------------------------------------- mediastinum


@dataclass(frozen=True)
class _Organ:
    """One ellipse of the mediastinum; mm, the angle turns x_radius from the patient's left towards the back."""

    kind: str  # "artery", "vein", "pulmonary", "airway", "gullet", "heart", "chamber", "tissue" or "spine"
    x: float
    y: float
    x_radius: float
    y_radius: float
    angle: float = 0.0
    chamber: str = ""


def _mediastinum(chest: _Chest, rng: np.random.Generator) -> list[_Organ]:
    """The organs that a slice at this level cuts, in the order in which they are painted."""
    down = chest.down
    if down < 0.2:
        organs = _at_the_apex(down)
    elif down < 0.36:
        organs = _at_the_arch(down)
    elif down < 0.54:
        organs = _at_the_carina(down)
    else:
        organs = _at_the_heart(chest)
    placed = []
    for organ in organs:
        (x, y), scale = rng.normal(0, 1.8, 2), rng.uniform(0.9, 1.1)
        x, y = (0.0, 0.0) if organ.kind in ("chamber", "heart", "fat") else (x, y)
        scale = 1.0 if organ.kind in ("chamber", "heart", "fat") else scale
        size = chest.size * scale
        placed.append(
            _Organ(
                organ.kind,
                chest.size * organ.x + x,
                chest.half_depth * organ.y / 95 + y,
                size * organ.x_radius,
                size * organ.y_radius,
                organ.angle,
                organ.chamber,
            )
        )
    return placed


def _at_the_apex(down: float) -> list[_Organ]:
    """Trachea and oesophagus among the great arteries and veins of head and arms."""
    spread = 1 + 1.2 * down
    return [
        _Organ("tissue", 0, -30, 33, 32),
        _Organ("tissue", 0, 6, 27, 34),
        _Organ("vein", -22 * spread, -46, 8, 6.5),
        _Organ("vein", 20 * spread, -50, 9, 5.5, 0.4),
        _Organ("artery", -14, -32, 6, 6),
        _Organ("artery", 14, -22, 4.5, 4.5),
        _Organ("artery", 24, -4, 5, 6.5),
        _Organ("gullet", 7, 16, 7, 5),
        _Organ("airway", -2, -4, 9.5, 9),
    ]


def _at_the_arch(down: float) -> list[_Organ]:
    """The arch of the aorta, running from front right to back left beside the trachea."""
    return [
        _Organ("tissue", 2, -42, 17, 26),
        _Organ("vein", -25, -28, 8.5, 8),
        _Organ("artery", 14, -6, 36, 12.5, 1.08),
        _Organ("artery", 23, 20, 12, 13),
        _Organ("gullet", 5, 22, 7, 5),
        _Organ("airway", -7 - 4 * down, -1, 9.5, 9.5),
    ]


def _at_the_carina(down: float) -> list[_Organ]:
    """Ascending and descending aorta, pulmonary arteries, and the trachea's division."""
    apart = np.interp(down, [0.36, 0.41, 0.54], [0, 10, 27])
    organs = [
        _Organ("tissue", 4, -52, 15, 26),
        _Organ("tissue", 0, 6, 30, 20),
        _Organ("tissue", -34, 8, 10, 15),
        _Organ("tissue", 36, 10, 10, 14),
        _Organ("pulmonary", -22, -8, 27, 8.5, -0.15),
        _Organ("pulmonary", 24, -26, 13, 16, 0.5),
        _Organ("pulmonary", 34, -3, 11, 20, -0.45),
        _Organ("pulmonary", -42, 6, 8, 11),
        _Organ("artery", -10, -30, 15.5, 15.5),
        _Organ("vein", -34, -22, 8.5, 9),
        _Organ("artery", 24, 39, 12, 12),
        _Organ("gullet", 6, 26, 7, 5),
    ]
    if apart < 1:
        return [*organs, _Organ("airway", -3, 4, 12, 9)]
    return [
        *organs,
        _Organ("airway", -3 - apart, 8, 6 + 0.25 * apart, 7.5, -0.25),
        _Organ("airway", -1 + apart, 10, 5 + 0.25 * apart, 6.5, 0.3),
    ]


def _at_the_heart(chest: _Chest) -> list[_Organ]:
    """Heart with its chambers, descending aorta, oesophagus, roots of the lungs; lower down the inferior vena cava."""
    down, size = chest.down, chest.heart
    long = size * np.interp(down, [0.54, 0.62, 0.72, 0.82, 0.92, 1.0], [48, 57, 63, 60, 50, 40])
    short = size * np.interp(down, [0.54, 0.62, 0.72, 0.82, 0.92, 1.0], [40, 45, 48, 43, 30, 20])
    x = np.interp(down, [0.54, 0.75, 1.0], [13, 25, 26]) + chest.heart_shift
    y = np.interp(down, [0.54, 0.75, 1.0], [-24, -26, -56])
    turn = chest.heart_turn
    organs = [
        _Organ("artery", 23, 42, 11.5, 11.5),
        _Organ("gullet", 6, 28, 7.5, 5.5),
        _Organ("tissue", 4, -62, 14, 24),
    ]
    if down < 0.7:
        organs += [_Organ("tissue", -38, 10, 12, 16), _Organ("tissue", 42, 12, 10, 14)]
        organs += [_Organ("pulmonary", -42, 14, 8, 9), _Organ("pulmonary", 46, 14, 7, 8)]
    if down > 0.78:
        organs.append(_Organ("vein", -27, -2, 12, 10))
    organs.append(_Organ("heart", x, y, long, short, turn))
    organs.append(_Organ("fat", x + 0.62 * long, y - 0.35 * long, 0.4 * long, 0.2 * long, turn + 0.9))
    if down < 0.82:  # the right atrium bulges to the right
        organs.append(_Organ("heart", x - 0.6 * long, y + 4, 0.34 * long, 0.62 * short, 0.1))
    if down < 0.9:
        cos, sin = np.cos(turn), np.sin(turn)
        chambers = [("artery", 0.30, 0.28, 0.44, 0.36), ("vein", 0.18, -0.45, 0.58, 0.34)]  # ventricles, left and right
        if down < 0.8:
            chambers += [("artery", -0.36, 0.46, 0.42, 0.33), ("vein", -0.62, -0.12, 0.28, 0.44)]  # atria
        if down < 0.66:
            chambers.append(("artery", -0.15, -0.03, 0.24, 0.28))  # root of the aorta
        for blood, along, across, first, second in chambers:
            cx, cy = along * long, across * short
            organs.append(
                _Organ("chamber", x + cos * cx - sin * cy, y + (sin * cx + cos * cy) * 95 / chest.half_depth * chest.size,
                       first * long, second * short, turn, blood)
            )  # fmt: skip
    return organs


def _paint_mediastinum(plane: Plane, chest: _Chest, organs: list[_Organ]) -> dict[str, np.ndarray]:
    structures = {name: np.zeros((GRID, GRID), bool) for name in ("heart", "aorta", "trachea")}
    blood = chest.contrast
    muscle = MUSCLE + 0.25 * (blood["artery"] - 44)
    for organ in organs:
        shape = plane.ellipse(organ.x, organ.y, organ.x_radius, organ.y_radius, organ.angle)
        if organ.kind in blood:
            plane.paint(shape, blood[organ.kind])
            if organ.kind == "artery" and organ.x_radius > 10:
                structures["aorta"] |= plane.inside(shape)
        elif organ.kind == "heart":
            plane.paint(shape, muscle)
            structures["heart"] |= plane.inside(shape)
        elif organ.kind == "chamber":
            plane.paint(shape, blood[organ.chamber])
        elif organ.kind == "airway":
            plane.paint(Patch(shape.window, shape.depth + 1.8), 35.0)
            plane.paint(shape, AIR)
            structures["trachea"] |= plane.inside(shape)
        elif organ.kind == "gullet":
            plane.paint(shape, 42.0)
        elif organ.kind == "fat":
            plane.paint(shape, FAT)
        else:
            plane.paint(shape, -55.0)
    return structures


def _reach(organ: _Organ, side: int) -> np.ndarray:
    """How far an organ reaches towards one side in every row of ``_HEIGHTS``, mm from the midline; -inf off it."""
    cos, sin = np.cos(organ.angle), np.sin(organ.angle)
    inverse, other = 1 / organ.x_radius**2, 1 / organ.y_radius**2
    xx = cos**2 * inverse + sin**2 * other
    xy = cos * sin * (inverse - other)
    dy = _HEIGHTS - organ.y
    within = xx - dy**2 * inverse * other
    edge = side * organ.x + (-side * xy * dy + np.sqrt(np.maximum(within, 0))) / xx
    return np.where(within > 0, edge, -np.inf)


def _lung_depths(plane: Plane, chest: _Chest, organs: list[_Organ]) -> dict[int, np.ndarray]:
    """Depth below the surface of each lung, mm: inside the ribs, beside the mediastinum, above the domes."""
    y, radius = chest.trunk.spine_y, chest.trunk.spine_radius
    canal = y + 0.72 * radius + 8
    spine = [_Organ("spine", 0, y, 1.15 * radius, 0.92 * radius), _Organ("spine", 0, canal + 14, 38, 18)]
    spine.append(_Organ("spine", 0, canal, 23, 18))
    ribs = plane.within(chest.trunk.inner) - 1.0
    rows = np.clip((plane.y - _HEIGHTS[0]) * 2, 0, len(_HEIGHTS) - 1).astype(np.intp)
    lungs = {}
    for side in (RIGHT, LEFT):
        margins = {"airway": 3.2, "tissue": 0.5, "spine": 1.5}
        solid = [organ for organ in organs if organ.kind != "chamber"] + spine
        reaches = [_reach(organ, side) + margins.get(organ.kind, 2.2) for organ in solid]
        reach = ndimage.gaussian_filter1d(np.maximum(np.max(reaches, axis=0), chest.core), 5.0)
        depth = smooth_min(ribs, side * plane.x - reach[rows], 9.0)
        for dome in _domes(chest, side):
            depth = smooth_min(depth, -plane.ellipse_depth(*dome) - 1.0, 5.0)
        lungs[side] = _without_slivers(depth)
    return lungs


def _domes(chest: _Chest, side: int) -> list[tuple[float, float, float, float, float]]:
    """Liver and right half of the diaphragm, or the left half: ellipses that grow towards the base."""
    width, depth = chest.half_width, chest.half_depth
    risen = np.sqrt(np.clip((chest.down - (0.75 if side == RIGHT else 0.81)) / 0.25, 0, 1))
    if risen == 0:
        return []
    if side == RIGHT:
        return [(-0.5 * width, -0.2 * depth, (0.06 + 0.5 * risen) * width, (0.05 + 0.82 * risen) * depth, 0.0)]
    return [(0.5 * width, -0.15 * depth, (0.06 + 0.5 * risen) * width, (0.05 + 0.78 * risen) * depth, 0.0)]


def _paint_domes(plane: Plane, chest: _Chest, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """What the diaphragm covers: liver on the right; fat, stomach with its gas bubble and spleen on the left."""
    cavity = plane.within(chest.trunk.inner) - 1.0
    liver, spleen = 58 + 0.3 * (chest.contrast["vein"] - 42), 52 + 0.35 * (chest.contrast["artery"] - 44)
    share, gas = rng.uniform(0.25, 0.55), rng.uniform(-0.2, 0.7)
    for dome in _domes(chest, RIGHT):
        plane.paint(np.minimum(plane.ellipse_depth(*dome) + 2, cavity), min(liver, 125.0))
    for x, y, x_radius, y_radius, _ in _domes(chest, LEFT):
        inside = np.minimum(plane.ellipse_depth(x, y, x_radius, y_radius) + 2, cavity)
        plane.paint(inside, MUSCLE)
        plane.paint(inside - 3, FAT)
        plane.paint(
            np.minimum(inside - 2, plane.ellipse_depth(x + 0.35 * x_radius, y + 0.6 * y_radius, 0.6 * x_radius,
                                                       0.5 * y_radius, -0.6)), min(spleen, 140.0))  # fmt: skip
        stomach = plane.ellipse_depth(x - 0.1 * x_radius, y - 0.25 * y_radius, 0.7 * x_radius, share * 1.3 * y_radius)
        stomach = np.minimum(stomach, inside - 3)
        plane.paint(stomach, 45.0)
        plane.paint(stomach - 3, 20.0)
        level = y - 0.25 * y_radius - gas * share * y_radius
        plane.paint(np.minimum(stomach - 3, level - plane.y), -985.0)
    return {}


def _without_slivers(depth: np.ndarray) -> np.ndarray:
    """Keep the largest connected part of a lung; the rest becomes the tissue around it."""
    largest = _largest_component(depth > 0)
    return np.where((depth > 0) & ~largest, -50.0, depth)


def _largest_component(mask: np.ndarray) -> np.ndarray:
    labels, count = ndimage.label(mask)
    if count < 2:
        return mask
    return labels == 1 + int(np.argmax(np.bincount(labels.ravel())[1:]))


# ---------------------------------------------------------------------------------------------------------- lungs


def _lung_tissue(
    plane: Plane, chest: _Chest, lungs: dict[int, np.ndarray], rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """HU of the lung without its vessels, and the share of each pixel that vessels and bronchial walls cover."""
    tissue = chest.density + chest.gravity * plane.y + 14 * smooth_noise(rng, 9) + 18 * smooth_noise(rng, 52)
    lines, bronchi = [], []
    for side in (RIGHT, LEFT):
        hilum = np.array([side * 44.0 * chest.size, 0.1 * chest.half_depth])
        tree, airways = _vessel_tree(chest, hilum, side, rng)
        lines += [tree, _crossing_vessels(chest, hilum, side, rng)]
        bronchi += airways
        offset, slope, bend = rng.uniform(0.1, 0.5), rng.uniform(-0.5, 0.5), rng.normal(0, 0.002)
        across = side * plane.x - 40
        fissure = plane.y - offset * chest.half_depth - slope * across - bend * across**2
        strength = rng.uniform(0, 130) * np.interp(chest.down, [0.2, 0.4, 0.8], [0, 1, 1])
        tissue += strength * np.clip(1.1 - np.abs(fissure) / 1.6, 0, 1) * (side * plane.x > 0)
    covered = plane.tubes(np.concatenate(lines))
    for x, y, radius in bronchi:
        window, depth = plane.ellipse(x, y, radius, radius)
        wall, lumen = plane.cover(depth), plane.cover(depth - 1.5)
        covered[window] = np.maximum(covered[window], 0.8 * wall) * (1 - lumen)
        tissue[window] += lumen * (-960 - tissue[window])
    return tissue, covered


def _vessel_tree(
    chest: _Chest, hilum: np.ndarray, side: int, rng: np.random.Generator
) -> tuple[np.ndarray, list[tuple[float, float, float]]]:
    """Vessels that branch and taper in the plane, with gaps where they leave it; a bronchus beside some of the first.

    Returns lines as :meth:`Plane.tubes` takes them and bronchi as x, y and outer radius.
    """
    roots = int(np.round(np.interp(chest.down, [0, 0.2, 0.45, 0.7, 1], [1, 3, 6, 5, 3])))
    angle = np.linspace(-1.25, 1.25, roots) + rng.normal(0, 0.16, roots)
    start = np.repeat(hilum[None], roots, axis=0)
    radius = rng.uniform(2.0, 3.9, roots) * np.interp(chest.down, [0, 0.3, 0.5, 1], [0.5, 0.75, 1, 0.8])
    lines, bronchi = [], []
    for generation in range(5):
        length = rng.uniform(9, 22, len(angle)) * (0.9**generation) * chest.size
        end = start + length[:, None] * np.stack([side * np.cos(angle), np.sin(angle)], axis=1)
        thinner = radius * rng.uniform(0.72, 0.9, len(angle))
        shown = rng.uniform(size=len(angle)) < (0.75, 0.55, 0.42, 0.34, 0.28)[generation]
        lines.append(np.column_stack([start, end, radius, thinner])[shown])
        if generation == 1:
            for k in np.flatnonzero(rng.uniform(size=len(angle)) < 0.35)[:5]:
                away = np.array([-np.sin(angle[k]) * side, np.cos(angle[k])]) * (1.7 * radius[k] + 1.8)
                bronchi.append((*(start[k] + away), 1.0 * radius[k] + 1.6))
        start, angle, radius = (np.repeat(value, 2, axis=0) for value in (end, angle, thinner))
        turn = rng.uniform(0.15, 0.55, len(angle))
        angle = angle + np.where(np.arange(len(angle)) % 2, turn, -turn)
        radius = np.maximum(radius * rng.uniform(0.62, 0.9, len(angle)), 0.45)
    return np.concatenate(lines), bronchi


def _crossing_vessels(chest: _Chest, hilum: np.ndarray, side: int, rng: np.random.Generator) -> np.ndarray:
    """Vessels that cross the plane: dots, stretched away from the hilum, smaller towards the pleura."""
    count = int(110 * rng.uniform(0.7, 1.2))
    angle = rng.uniform(-np.pi, np.pi, count)
    distance = 120 * chest.size * np.sqrt(rng.uniform(0, 1, count))
    middle = hilum + distance[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    outward = angle + rng.normal(0, 0.5, count)
    half = np.minimum(rng.exponential(2.2, count), 8)[:, None] * np.stack([np.cos(outward), np.sin(outward)], axis=1)
    radius = (0.45 + 2.3 * np.clip(1 - distance / 85, 0, 1) ** 1.4) * rng.uniform(0.5, 1.45, count)
    return np.column_stack([middle - half, middle + half, radius, 0.85 * radius])


# ------------------------------------------------------------------------------------------------------- findings


def _sides(rng: np.random.Generator, both: float) -> tuple[tuple[int, ...], str]:
    """The sides of a finding and their name."""
    pick = rng.uniform()
    if pick < both:
        return (RIGHT, LEFT), "both"
    side = RIGHT if pick < (1 + both) / 2 else LEFT
    return (side,), _NAMES[side]


def _add_nodule(
    plane: Plane, lungs: dict[int, np.ndarray], tissue: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, dict[str, str]]:
    """One round lump of soft tissue, 6 to 30 mm across, some with a halo of ground glass."""
    (side, *_), name = _sides(rng, both=0.0)
    radius = rng.uniform(*((3.0, 5.0), (5.2, 9.5), (10.5, 15.0))[int(rng.integers(3))])
    wish, density, halo = smooth_noise(rng, 9), rng.uniform(15, 60), rng.uniform()
    depth = lungs[side]
    # The largest value of a continuous random field, so that rounding cannot move the nodule to another place.
    at = np.unravel_index(np.argmax(wish - 2 * np.maximum(radius + 3 - depth, 0) - 1e3 * (depth <= 0)), depth.shape)
    radius = float(np.clip(0.9 * depth[at], 3.0, radius))
    stretch, turn, lobes = rng.uniform(0.82, 1.0), rng.uniform(0, np.pi), rng.uniform(0, 6.3, 3)
    dx, dy = plane.x - plane.x[at], plane.y - plane.y[at]
    cos, sin = np.cos(turn), np.sin(turn)
    angle = np.arctan2(dy, dx)
    wave = 1 + 0.05 * (np.cos(2 * angle + lobes[0]) + np.cos(3 * angle + lobes[1]) + np.cos(5 * angle + lobes[2]))
    distance = np.hypot(cos * dx + sin * dy, (cos * dy - sin * dx) / stretch) / wave
    if halo < 0.3:
        tissue = tissue + plane.cover(radius - distance) * np.maximum(-560 - tissue, 0)
        tissue = tissue + plane.cover(0.55 * radius - distance) * np.maximum(density - tissue, 0)
    else:
        tissue = tissue + plane.cover(radius - distance) * np.maximum(density - tissue, 0)
    size = "small" if radius < 5.1 else "medium" if radius < 10 else "large"
    return tissue, {"side": name, "size": size}


def _add_opacity(
    plane: Plane, lungs: dict[int, np.ndarray], tissue: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, dict[str, str]]:
    """Patches, mostly below the pleura and at the back, where fluid replaces part of the air (ground glass) or all."""
    sides, name = _sides(rng, both=0.45)
    patches = smooth_noise(rng, 7) + 0.5 * smooth_noise(rng, 22) + rng.uniform(0, 0.012) * plane.y
    solid = smooth_noise(rng, 12) + rng.choice([-4.0, -0.5, 0.5])
    rim, glass = rng.uniform(0, 2.5), rng.uniform(-620, -420)
    for side in sides:
        depth = lungs[side]
        score = patches + rim * np.exp(-np.maximum(depth, 0) / 14)
        edge = np.quantile(score[depth > 0], 1 - rng.uniform(0.12, 0.4))
        weight = np.clip((score - edge) / 0.7, 0, 1) * (side * plane.x > 0)
        filled = np.where(solid > 0, np.minimum(solid / 0.5, 1), 0)
        dense = glass + filled * (20 - glass)
        tissue = tissue + weight * np.maximum(dense - tissue, 0)
    return tissue, {"side": name}


def _add_effusion(
    plane: Plane, chest: _Chest, lungs: dict[int, np.ndarray], rng: np.random.Generator
) -> tuple[dict[int, np.ndarray], dict[str, str]]:
    """Fluid between lung and ribs: it runs to the back of a patient who lies, as a crescent, and the lung floats up."""
    sides, name = _sides(rng, both=0.35)
    lungs = dict(lungs)
    top, fluid = rng.uniform(-0.25, 0.3), WATER + rng.uniform(-3, 14)
    for side in sides:
        depth, share = lungs[side], rng.uniform(0.12, 0.4)
        inside = depth > 0
        lowest, highest = np.quantile(plane.y[inside], [0.02, 0.98])
        rise = np.clip((plane.y - lowest) / (highest - lowest) - 0.35 - 0.5 * top, 0.02, 1)
        wall = plane.within(chest.trunk.inner)
        # The crescent's thickness at the back that covers the wanted share of the lung.
        thickness = np.quantile((wall / rise)[inside], share)
        plane.paint(np.where(side * plane.x > 0, depth, -50.0), fluid)
        lungs[side] = _without_slivers(smooth_min(depth, wall - thickness * rise, 4.0))
    return lungs, {"side": name}


# -------------------------------------------------------------------------------------------------------- abdomen


def _draw_abdomen_trunk(rng: np.random.Generator) -> tuple[_Trunk, float]:
    """The wall of the belly, and the level: 0 below the diaphragm, 1 below the kidneys."""
    down, size = float(rng.uniform()), rng.uniform(0.88, 1.12)
    half_width, front, back = 132 * size, 100 * size * rng.uniform(0.8, 1.15), 88 * size
    inner = closed_curve(half_width, front, back, (rng.uniform(2.1, 2.5), 2.4))
    strength, fat = rng.uniform(0.6, 1.2), float(np.exp(rng.normal(np.log(17), 0.5)))
    muscle = inner + 11 + strength * (5 * both_bumps(-78, 7) + 4 * both_bumps(-5, 25) + 16 * both_bumps(73, 10))
    skin = muscle + fat * (0.8 + 0.35 * both_bumps(20, 30) + 0.4 * bump(-90, 40)) + 2.5
    skin += sum(rng.normal(0, 1.8) * np.cos(k * ANGLES + rng.uniform(0, 6.3)) for k in range(2, 6))
    ribs = tuple(rib for rib in _draw_ribs(rng, inner, -40) if rng.uniform() < 0.95 - 1.1 * down)
    trunk = _Trunk(inner, muscle, np.maximum(skin, muscle + 4), 0.42 * back, 19 * size, ribs, 0.0, rng.uniform(7, 11),
                   rng.uniform(420, 650))  # fmt: skip
    return trunk, down


def _paint_abdomen(plane: Plane, trunk: _Trunk, down: float, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Organs from back to front in the fat of the cavity; bowel with gas and stomach with a fluid level are dark too."""
    blood = _draw_contrast(rng)
    width, depth = float(trunk.inner.max()) * 0.94, float(trunk.inner[len(ANGLES) // 4])
    scale, back = width / 125, trunk.spine_y
    cavity = plane.within(trunk.inner) - 2.0
    texture = 5 * smooth_noise(rng, 60)
    structures = {name: np.zeros((GRID, GRID), bool) for name in ("liver", "spleen", "kidneys", "aorta")}
    jitter = rng.normal(0, 1, 24)

    def organ(x: float, y: float, x_radius: float, y_radius: float, angle: float, wobble: float) -> np.ndarray:
        """Depth below a slightly wavy ellipse within the cavity; x and y relative to its half width and depth."""
        shape = plane.ellipse_depth(x * width, y * depth, x_radius * scale, y_radius * scale, angle)
        return smooth_min(shape + wobble * waves, cavity, 5.0)

    waves = smooth_noise(rng, 7)
    for side in (RIGHT, LEFT):  # psoas and the crura
        plane.paint(plane.ellipse(side * (26 + 6 * down) * scale, back - 2, (8 + 10 * down) * scale, 15 * scale),
                    MUSCLE)  # fmt: skip
    _paint_bowel(plane, cavity, width, depth, down, rng)
    liver_size = np.interp(down, [0, 0.35, 0.8, 1], [1.05, 1.0, 0.62, 0.3])
    if down < 0.85:
        lobe = organ(-0.52, -0.1, 66 * liver_size, 80 * liver_size, 0.15 * jitter[0], 4.0)
        if down < 0.4:
            left_lobe = organ(-0.05, -0.52, 58 * (1 - down), 30, 0.15 + 0.1 * jitter[1], 3.0)
            lobe = -smooth_min(-lobe, -left_lobe, 14.0)
        liver = min(60 + 7 * jitter[2] + 0.38 * (blood["vein"] - 42), 130.0)
        plane.paint(lobe, liver + texture)
        vessels = plane.tubes(_liver_vessels(width, depth, rng))
        plane.hu += vessels * plane.cover(lobe - 6) * (min(blood["vein"], 190.0) - liver - 10)
        structures["liver"] |= lobe > 0
        if down > 0.3 and jitter[3] > -0.3:
            plane.paint(organ(-0.36, -0.5, 13, 19, 0.3, 1.0), 8.0)
    if down < 0.6:
        spleen = organ(0.72, 0.25 + 0.05 * jitter[4], 24, 48 * (1 - 0.7 * down), -0.45, 3.0)
        plane.paint(spleen, min(50 + 0.42 * (blood["artery"] - 44), 150.0) + texture)
        structures["spleen"] |= spleen > 0
    if down < 0.55:
        stomach = organ(0.36, -0.35 + 0.04 * jitter[5], 44, 31 + 6 * jitter[6], 0.35, 5.0)
        plane.paint(stomach, 55.0 + 0.2 * (blood["artery"] - 44))
        plane.paint(stomach - 3.5, 22 + 12 * waves + 60 * (jitter[7] > 1))
        level = (-0.35 - 0.12 + 0.1 * jitter[8]) * depth
        plane.paint(np.minimum(stomach - 3.5, level - plane.y), -990.0)
    for side, name in ((RIGHT, 9), (LEFT, 12)):
        if (0.2 if side == LEFT else 0.28) < down < 0.93:
            _paint_kidney(plane, (side * (0.47 + 0.02 * jitter[name]) * width, back - 4 + 4 * jitter[name + 1]),
                          (22 * scale, 28 * scale), -side * 0.5, blood["artery"], structures)  # fmt: skip
    if 0.12 < down < 0.75:
        pancreas = plane.rod(
            (-30 * scale, back - 46 * scale), (52 * scale, back - 62 * scale + 5 * jitter[15]), 10, 0.7
        )
        plane.paint(Patch(pancreas.window, pancreas.depth + 2.5 * waves[pancreas.window]), 42 + 0.2 * blood["artery"])
    for x, y, radius, kind in (
        (9, -33, 10, "artery"),
        (-20, -32, 11, "vein"),
        (0, -52, 4.5, "vein"),
        (12, -50, 3.5, "artery"),
    ):
        vessel = plane.ellipse(x * scale + jitter[16], back + y * scale, radius, radius * (0.8 if x < 0 else 1.0))
        plane.paint(vessel, blood[kind])
        if (x, kind) == (9, "artery"):
            structures["aorta"] |= plane.inside(vessel)
    return {name: area for name, area in structures.items()}


def _paint_kidney(
    plane: Plane,
    centre: tuple[float, float],
    radii: tuple[float, float],
    angle: float,
    blood: float,
    structures: dict[str, np.ndarray],
) -> None:
    """Capsule of fat, bright cortex, darker medulla, and the fat of the sinus that opens towards the spine."""
    inward = -np.sign(centre[0])
    plane.paint(plane.ellipse(*centre, radii[0] + 7, radii[1] + 7, angle), FAT)
    kidney = plane.ellipse(*centre, *radii, angle)
    plane.paint(kidney, 32 + 0.7 * (blood - 44) + 8)
    plane.paint(plane.ellipse(*centre, radii[0] - 7, radii[1] - 7, angle), 34 + 0.35 * (blood - 44))
    sinus = plane.ellipse(centre[0] + 0.45 * inward * radii[0], centre[1] - 2, 0.6 * radii[0], 0.33 * radii[1], angle)
    plane.paint(sinus, -70.0)
    structures["kidneys"] |= plane.inside(kidney)


def _liver_vessels(width: float, depth: float, rng: np.random.Generator) -> np.ndarray:
    """Portal and hepatic veins as lines for :meth:`Plane.tubes`."""
    count = 16
    start = np.stack([rng.uniform(-0.85, -0.1, count) * width, rng.uniform(-0.55, 0.35, count) * depth], axis=1)
    angle, length = rng.uniform(0, np.pi, count), rng.uniform(0, 22, count)
    end = start + length[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    radius = rng.uniform(1.0, 3.6, count)
    return np.column_stack([start, end, radius, 0.6 * radius])


def _paint_bowel(
    plane: Plane, cavity: np.ndarray, width: float, depth: float, down: float, rng: np.random.Generator
) -> None:
    """Loops of small bowel, then the colon at the flanks and in front: wall, contents, and gas that rises."""
    loops = int(np.round(np.interp(down, [0, 0.4, 1], [3, 13, 22])))
    for k in range(loops + 5):
        colon = k >= loops
        if colon:
            place = ((-0.72, 0.15), (0.74, 0.1), (-0.35, -0.68), (0.1, -0.72), (0.5, -0.58))[k - loops]
            x, y = place + rng.normal(0, 0.05, 2)
            radii = rng.uniform(12, 24, 2)
        else:
            x, y = rng.uniform(-0.65, 0.72), rng.uniform(-0.75, 0.12)
            radii = rng.uniform(8, 15, 2) * (rng.uniform(1.0, 1.9), 1.0)
        angle, content, gas, folds = rng.uniform(-1.2, 1.2), rng.uniform(5, 60), rng.uniform(), rng.uniform(0, 6.3)
        shape = plane.ellipse(x * width, y * depth, *radii, angle)
        turn = np.arctan2(plane.y[shape.window] - y * depth, plane.x[shape.window] - x * width)
        loop = np.minimum(shape.depth + 1.2 * np.cos((5 if colon else 3) * turn + folds), cavity[shape.window])
        plane.paint(Patch(shape.window, loop), 50.0)
        plane.paint(Patch(shape.window, loop - 2.2), content)
        if gas < (0.7 if colon else 0.2):
            level = y * depth + (0.9 - 2.2 * rng.uniform()) * 0.6 * radii.min()
            plane.paint(Patch(shape.window, np.minimum(loop - 2.2, level - plane.y[shape.window])), -985.0)
