"""What surrounds the brain: skull, scalp, face and neck, painted around the template's hull.

The template has no skull. Around its hull (see :mod:`.template`) lie, by distance: a film of fluid, the inner
table of the skull, marrow (diploe), the outer table, muscle where there is one, fat and skin. Below the brain the face
and the neck are ellipsoids of fat, muscle, bone and air at their places in the atlas: crude, but in the right order and
brightness.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..fields import GRID, smooth_noise
from .signal import Canvas
from .slices import Bodies, Slice

#: Bodies that make up the outline of face and neck: centre and half-axes in atlas mm.
_OUTLINE = (
    ((0, 36, -50), (68, 50, 62)),  # face
    ((0, 0, -62), (72, 56, 52)),  # cheeks and angles of the jaw
    ((0, 84, -52), (13, 18, 20)),  # nose
    ((0, 46, -108), (46, 42, 34)),  # chin
    ((0, -36, -130), (62, 66, 95)),  # neck
)

#: (centre, half-axes, tissue), in the order of painting; those off the midline are painted on both sides.
_FACE = (
    ((38, 46, -62), (26, 22, 38), "fat"),  # cheek
    ((56, 14, -70), (9, 24, 30), "muscle"),  # masseter
    ((47, 2, -72), (4, 14, 30), "marrow"),  # ramus of the mandible
    ((30, 6, -60), (12, 20, 22), "muscle"),  # pterygoid muscles
    ((60, 10, -22), (8, 32, 34), "muscle"),  # temporalis
    ((56, -14, -70), (9, 13, 22), "fat"),  # parotid gland
    ((48, -40, -100), (10, 14, 45), "muscle"),  # sternocleidomastoid
    ((22, -64, -92), (20, 18, 40), "muscle"),  # back of the neck
    ((0, 6, -84), (18, 16, 30), "mucosa"),  # pharynx
    ((0, 36, -92), (24, 34, 20), "muscle"),  # tongue
    ((0, 40, -71), (22, 32, 4), "bone"),  # palate
    ((0, 70, -82), (24, 8, 9), "bone"),  # teeth
    ((0, 74, -112), (22, 8, 12), "marrow"),  # chin
    ((46, 30, -100), (6, 28, 10), "marrow"),  # body of the mandible
    ((0, -10, -46), (64, 36, 17), "bone"),  # skull base
    ((0, -12, -46), (15, 12, 17), "marrow"),  # clivus
    ((0, 18, -42), (24, 20, 12), "marrow"),  # body of the sphenoid bone
    ((26, 34, -44), (14, 8, 12), "marrow"),  # its wings
    ((36, -26, -42), (24, 7, 8), "marrow"),  # petrous bone
    ((32, 48, -34), (19, 32, 19), "fat"),  # orbit
    ((0, 50, -46), (18, 30, 26), "bone"),  # ethmoid bone and nose
    ((30, 50, -66), (18, 21, 20), "bone"),  # upper jaw
)

_EYE = (32, 61, -36)

#: Sinuses with one air space: centre, half-axes.
_SINUSES = (((5, 20, -40), (9, 14, 9)), ((30, 50, -66), (15, 18, 17)), ((10, 79, -14), (10, 5, 11)))

#: Bones with many air cells: ethmoid, mastoid, and the nasal cavity between its turbinates.
_CELLS = (((7, 48, -40), (6, 22, 13)), ((58, -44, -52), (9, 13, 16)), ((8, 54, -58), (7, 26, 12)))


@dataclass(frozen=True, eq=False)
class Head:
    """One person's skull, scalp and face; lengths in atlas mm."""

    gap: float  # fluid between the hull and the bone
    skull: float
    diploe: float  # share of the skull's thickness that is marrow
    scalp: float
    unevenness: np.ndarray  # [GRID, GRID], factor on the thickness of skull and scalp
    air: np.ndarray  # relative size of each sinus; 0 where it is filled
    mucosa: float  # thickness of the sinuses' lining
    eye: float  # radius
    gaze: float  # where the eyes look, sideways
    detail: np.ndarray  # [3, GRID, GRID], textures of unit variance from coarse to fine


def draw_head(rng: np.random.Generator) -> Head:
    return Head(
        gap=rng.uniform(0.8, 2.6),
        skull=rng.uniform(5.0, 9.0),
        diploe=rng.uniform(0.05, 0.6),
        scalp=rng.uniform(4.0, 9.5),
        unevenness=np.exp(0.2 * smooth_noise(rng, 5)),
        air=rng.uniform(0.75, 1.15, 3) * (rng.random(3) < 0.93),
        mucosa=rng.uniform(0.3, 1.0) + rng.uniform(0, 5) * (rng.random() < 0.25),
        eye=rng.uniform(11.5, 13.2),
        gaze=rng.normal(0, 0.25),
        detail=np.stack([smooth_noise(rng, cells) for cells in (16, 40, 96)]),
    )


def paint_head(
    canvas: Canvas, view: Slice, points: np.ndarray, hull: np.ndarray, head: Head, face: bool = True
) -> dict[str, np.ndarray]:
    """Paint everything outside the hull; what is inside is left as fluid.

    Args:
        canvas: painted on.
        view: the slice.
        points: atlas coordinates of its pixels, float64 [3, GRID, GRID], warped.
        hull: their distance from the hull in mm, negative inside.
        head: the person.
        face: whether what lies outside the skull is needed; a stripped image does without eyes, muscles and sinuses.

    Returns:
        Masks of ``"head"`` (all of it), ``"skull"``, ``"scalp"`` and ``"eyes"``, bool [GRID, GRID]; empty where not in
        view.
    """
    coarse, middle, fine = head.detail
    bodies = Bodies(canvas, view, points, 0.7 * middle)
    skull_end = head.gap + head.skull * head.unevenness
    scalp = head.scalp * (0.5 + 0.5 * head.unevenness)
    outside = hull - skull_end - scalp
    for centre, axes in _OUTLINE:
        where = bodies.window(centre, axes)
        if where:
            outside[where] = _smooth_minimum(outside[where], bodies.distance(centre, axes, where), 7.0)
    pixel = view.pixel_mm
    eyes = np.zeros((GRID, GRID), bool)
    box = bounds(outside < pixel)  # air lies around it, as it did before
    in_box = (hull, outside, skull_end, scalp, points[2], coarse, middle, fine)
    hull, outside, skull_end, scalp, height, coarse, middle, fine = (values[box] for values in in_box)
    within = np.clip(0.5 - outside / pixel, 0, 1)
    canvas.paint(within, "skin", box)
    below_skin = np.clip(0.5 - (outside + 1.8) / pixel, 0, 1)
    canvas.paint(below_skin, "fat", box, np.clip(1 + 0.1 * coarse + 0.12 * middle, 0.3, 1.5))
    deep = np.clip((-outside - scalp - 1) / 3, 0, 1) * np.clip((hull - skull_end) / 2, 0, 1)
    canvas.paint(deep * np.clip(0.85 + 0.4 * coarse + 0.45 * middle, 0, 1), "muscle", box)
    if face:
        _paint_face(bodies, head, eyes)

    bone = within * np.clip(0.5 + (hull - head.gap) / pixel, 0, 1) * np.clip(0.5 + (skull_end - hull) / pixel, 0, 1)
    # Below the skull, what lies around the cord are vertebrae: one every 19 mm, with soft tissue between them.
    vertebrae = np.clip(0.4 + 0.4 * np.sin(height * (2 * np.pi / 19)) + 0.25 * coarse, 0, 0.85)
    bone *= np.where(height < -70, vertebrae, 1)
    canvas.paint(bone, "bone", box)
    across = np.abs(hull - (head.gap + skull_end) / 2) / (skull_end - head.gap)
    marrow = np.clip((head.diploe / 2 - across) / 0.12 + 0.3, 0, 1) * np.clip(0.7 + 0.35 * coarse + 0.25 * middle, 0, 1)
    canvas.paint(bone * marrow, "marrow", box, np.clip(1 + 0.15 * fine, 0.3, 1.6))
    if face:
        _paint_sinuses(bodies, head)
    canvas.paint(np.clip(0.5 - (hull - head.gap) / pixel, 0, 1), "fluid", box)

    body = outside < 0
    masks = {
        "head": body,
        "skull": bone > 0.5,
        "scalp": body & (hull > skull_end) & (outside > -scalp - 1),
        "eyes": eyes[box] & (hull > head.gap),
    }
    return {name: _uncropped(mask, box) for name, mask in masks.items()}


def bounds(area: np.ndarray) -> tuple[slice, slice]:
    """Find the smallest window around an area, bool [GRID, GRID] with at least one True."""
    rows, cols = (np.nonzero(area.any(axis=axis))[0] for axis in (1, 0))
    return slice(rows[0], rows[-1] + 1), slice(cols[0], cols[-1] + 1)


def _uncropped(mask: np.ndarray, box: tuple[slice, slice]) -> np.ndarray:
    whole = np.zeros((GRID, GRID), bool)
    whole[box] = mask
    return whole


def _smooth_minimum(a: np.ndarray, b: np.ndarray, width: float) -> np.ndarray:
    """Return the smaller of two distances, rounded off where they are within ``width`` of each other."""
    share = np.clip(0.5 + (b - a) / (2 * width), 0, 1)
    return b + share * (a - b) - width * share * (1 - share)


def _paint_face(bodies: Bodies, head: Head, eyes: np.ndarray) -> None:
    """Paint soft tissue and bones, the orbits with muscles, nerve and eye, ears and spine; marks the ``eyes``."""
    _, middle, fine = head.detail
    texture = np.clip(1 + 0.18 * middle + 0.12 * fine, 0.3, 1.7)
    for centre, axes, tissue in _FACE:
        bodies.pair(centre, axes, tissue, 2.0, texture)
    for offset_x, offset_z in ((11, 0), (-11, 0), (0, 9), (0, -9)):
        bodies.pair((28 + offset_x, 40, -34 + offset_z), (2.6, 17, 3.4), "muscle")
    bodies.pair((24, 34, -33), (2.2, 20, 2.2), "white matter")  # optic nerve
    bodies.pair(_EYE, (head.eye + 1.2,) * 3, "muscle")  # sclera
    for where, share in bodies.pair(_EYE, (head.eye,) * 3, "vitreous"):
        eyes[where] |= share > 0.5
    bodies.pair((_EYE[0] + 2 * head.gaze, _EYE[1] + head.eye - 3, _EYE[2]), (5, 2.4, 5), "lens")
    for where, share in bodies.pair((82, -30, -38), (5, 14, 24), "skin"):  # ear
        bodies.canvas.paint(share * np.clip(0.5 + 1.5 * middle[where], 0, 0.9), "air", where)
    for level in range(4):  # vertebral bodies
        bodies.ellipsoid((0, -22 - 3 * level, -84 - 19 * level), (16, 10, 8), "marrow", 1.5, texture)


def _paint_sinuses(bodies: Bodies, head: Head) -> None:
    """Paint air with its lining; the walls between small cells come and go with a texture."""
    for (centre, axes), size in zip(_SINUSES, head.air, strict=True):
        if size:
            bodies.pair(centre, tuple(size * axis for axis in axes), "mucosa")
            bodies.pair(centre, tuple(max(size * axis - head.mucosa, 1) for axis in axes), "air")
    cells = np.clip(0.9 + head.detail[2] + 0.5 * head.detail[1], 0, 1)
    for centre, axes in _CELLS:
        for where, share in bodies.pair(centre, axes, "mucosa"):
            bodies.canvas.paint(share * cells[where], "air", where)
    bodies.ellipsoid((0, 14, -88), (10, 5, 30), "air", 2.0)  # airway
