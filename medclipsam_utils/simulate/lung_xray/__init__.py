"""Simulated frontal chest radiographs, and films of the abdomen and pelvis as images without lungs.

How the modality forms an image: a radiograph is a shadow, ``I = I0 exp(-sum mu l)`` along every ray. Here a body is put
together from solids with closed-form path lengths (:mod:`.projection`): trunk, shoulders and breasts are soft
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

import numpy as np

from ..fields import GRID, Drawing, Streams, largest_component
from .abdomen import project_abdomen
from .chest import draw_chest
from .detector import radiograph
from .film import draw_shot
from .findings import add_effusion, add_opacity
from .lungs import heart_ellipsoids, lung_deficit, project_lungs
from .projection import LEFT, RIGHT, SOFT
from .trunk import project_trunk
from .vessels import project_vessels

#: What can be drawn and how often; the last one is the image without the target.
FINDINGS = {"clear": 0.30, "opacity": 0.20, "effusion": 0.15, "cardiomegaly": 0.13, "abdomen": 0.22}


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
    shot = draw_shot(streams.acquisition)
    attributes = {"view": "frontal"}
    if finding == "abdomen":
        frame = shot.frame(260.0, 300.0, 0.0)
        attenuation, structures = project_abdomen(abdomen_rng, frame)
        reference, mask = attenuation, np.zeros((GRID, GRID), bool)
        attributes["region"] = "abdomen"
    else:
        chest = draw_chest(chest_rng)
        frame = shot.frame(2.04 * chest.half_width, 1.12 * chest.height, 0.07 * chest.height)
        body, bones = project_trunk(chest, frame)
        markings = project_vessels(chest, frame)
        lungs, heart = project_lungs(chest, frame, heart_ellipsoids(chest, chest.heart_ratio))
        reference = attenuation = body - lung_deficit(chest, lungs, markings)
        attributes |= {"region": "chest", "heart": "normal"}
        if finding == "cardiomegaly":
            lungs, heart = project_lungs(chest, frame, heart_ellipsoids(chest, streams.lesion.uniform(0.58, 0.70)))
            attenuation = body - lung_deficit(chest, lungs, markings)
            attributes["heart"] = "enlarged"
        elif finding == "opacity":
            fluid, found = add_opacity(streams.lesion, chest, lungs)
            attenuation = attenuation + SOFT * 0.75 * fluid
            attributes |= found
        elif finding == "effusion":
            lungs, fluid, found = add_effusion(streams.lesion, chest, lungs)
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
            structures[name] = largest_component(structures[name] & visible)
        mask = structures["left lung"] | structures["right lung"]
    structures = {name: area & visible for name, area in structures.items()}
    return Drawing(grey, mask, structures, attributes, (frame.pixel_mm, frame.pixel_mm))
