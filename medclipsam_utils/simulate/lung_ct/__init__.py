"""Simulated axial CT slices of the chest, and of the abdomen as images without lungs.

How the modality forms an image: every pixel is the mean attenuation of a small volume on the Hounsfield scale (see
:mod:`.plane`). Here a slice is put together from outside to inside. The trunk wall is a set of closed curves:
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

import numpy as np

from ..fields import GRID, Drawing, Streams, largest_component
from .abdomen import draw_abdomen_trunk, paint_abdomen
from .chest import Chest, draw_chest, paint_shoulders
from .findings import add_effusion, add_nodule, add_opacity
from .lungs import lung_depths, paint_domes
from .mediastinum import draw_mediastinum, paint_mediastinum
from .plane import SIDE_NAMES, Plane
from .scanner import Scan, draw_scan
from .trunk import paint_surroundings, paint_trunk
from .vessels import lung_tissue

#: What can be drawn and how often; the last one is the image without the target.
FINDINGS = {"clear": 0.32, "nodule": 0.17, "opacity": 0.17, "effusion": 0.12, "abdomen": 0.22}


def draw(finding: str, streams: Streams) -> Drawing:
    """Draw one slice.

    Args:
        finding: one of :data:`FINDINGS`. All but ``abdomen`` show the same chest.
        streams: anatomy, lesion and acquisition.

    Returns:
        A drawing with the mask of both lung fields (two components; empty for ``abdomen``); structures ``"body"``,
        ``"vertebra"``, ``"aorta"``, ``"ribs"``, in the chest ``"left lung"``, ``"right lung"`` (the patient's sides)
        and, where the slice cuts them, ``"heart"`` and ``"trachea"`` (lumen, with the main bronchi), in the abdomen
        ``"liver"``, ``"spleen"`` and ``"kidneys"`` where cut; attributes ``region``, ``window``, ``level``, and
        ``side`` and ``size`` where they apply.
    """
    scan = draw_scan(streams.acquisition)
    chest_rng, abdomen_rng = (np.random.default_rng(seed) for seed in streams.anatomy.integers(0, 2**63, 2))
    if finding == "abdomen":
        plane, structures, shoulders = *_abdomen_slice(abdomen_rng, scan), 0.0
        attributes = {"region": "abdomen"}
    else:
        chest = draw_chest(chest_rng)
        plane, structures, found = _chest_slice(chest, chest_rng, finding, streams.lesion, scan)
        shoulders, attributes = chest.shoulders, {"region": "chest", "level": chest.level} | found
    grey = scan.show(plane.hu, structures["body"], shoulders)

    view = scan.in_view()
    mask = np.zeros((GRID, GRID), bool)
    for name in structures:
        structures[name] = structures[name] & view
        if name in ("left lung", "right lung"):
            structures[name] = largest_component(structures[name])
        structures[name] = scan.oriented(structures[name])
    if finding != "abdomen":
        mask = structures["left lung"] | structures["right lung"]
    structures = {name: area for name, area in structures.items() if area.any()}
    attributes |= {"window": scan.window}
    return Drawing(grey, mask, structures, attributes, (plane.frame.mm_row, plane.frame.mm_col))


def _abdomen_slice(rng: np.random.Generator, scan: Scan) -> tuple[Plane, dict[str, np.ndarray]]:
    """Paint the belly in Hounsfield units, from outside to inside; return its structures."""
    trunk, down = draw_abdomen_trunk(rng)
    plane = Plane(scan.frame(trunk.skin))
    structures = paint_surroundings(plane, trunk, scan)
    structures |= paint_trunk(plane, trunk, rng)
    structures |= paint_abdomen(plane, trunk, down, rng)
    return plane, structures


def _chest_slice(
    chest: Chest, rng: np.random.Generator, finding: str, lesion_rng: np.random.Generator, scan: Scan
) -> tuple[Plane, dict[str, np.ndarray], dict[str, str]]:
    """Paint the chest in Hounsfield units, from outside to inside; return its structures and the finding's facts."""
    plane = Plane(scan.frame(chest.trunk.skin))
    structures = paint_surroundings(plane, chest.trunk, scan)
    structures |= paint_trunk(plane, chest.trunk, rng)
    paint_shoulders(plane, chest, rng)
    organs = draw_mediastinum(chest, rng)
    structures |= paint_mediastinum(plane, chest, organs)
    lungs = lung_depths(plane, chest, organs)
    paint_domes(plane, chest, rng)

    parenchyma, vessels = lung_tissue(plane, chest, rng)
    found: dict[str, str] = {}
    if finding == "effusion":
        lungs, found = add_effusion(plane, chest, lungs, lesion_rng)
    if finding == "opacity":
        parenchyma, found = add_opacity(plane, lungs, parenchyma, lesion_rng)
    tissue = parenchyma + vessels * (chest.vessel_hu - parenchyma)
    if finding == "nodule":
        tissue, found = add_nodule(plane, lungs, tissue, lesion_rng)
    for side, depth in lungs.items():
        plane.paint(depth, tissue)
        structures[f"{SIDE_NAMES[side]} lung"] = depth > 0

    lung = structures["left lung"] | structures["right lung"]
    for name in ("heart", "aorta", "trachea", "vertebra"):
        structures[name] &= ~lung
    return plane, structures, found
