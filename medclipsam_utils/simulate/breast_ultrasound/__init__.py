"""Simulated breast ultrasound (B-mode): layered tissue, benign and malignant masses, and images without a mass.

How the modality forms an image: a probe on the skin sends short pulses along beams and shows the strength of what comes
back, depth by depth, on a logarithmic scale: beams are in :mod:`.probe`, speckle and display in
:mod:`.scanner`. What sends the echoes back:

* the layers of the breast with their mirror-like sheets (see :mod:`.tissue`);
* a mass (see :mod:`.lesion`). **Benign** (cyst, fibroadenoma): oval or round, smooth thin margin,
  dark to nearly black, with posterior enhancement and edge shadows. **Malignant**: irregular or spiculated, often
  without a clear edge, uneven inside, with an echogenic halo, posterior shadowing and sometimes calcifications or a
  height above the width;
* what may be taken for a mass: fat lobules, shadows, dark muscle, parts of the probe without contact.

The target mask is the mass with its edge and without halo and fine spicules. Ultrasound shows no side of the body: left
and right are those of the image. Not simulated: vessels and Doppler, the nipple, implants, lymph nodes, more than one
mass, and how a mass displaces the tissue around it.
"""

from __future__ import annotations

import numpy as np

from ..fields import GRID, ROWS, Drawing, Streams
from .annotations import burn_in
from .lesion import describe_lesion, draw_lesion, insert_lesion, lesion_mask
from .probe import COL, ROW, Probe
from .scanner import compress, envelope, two_way_loss
from .setup import draw_setup
from .tissue import Tissue, draw_tissue

#: What can be drawn and how often; the last one is the image without the target.
FINDINGS = {"benign": 0.38, "malignant": 0.37, "normal": 0.25}


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
    setup = draw_setup(streams.acquisition)
    tissue = draw_tissue(streams.anatomy)
    probe, scanner = setup.probe, setup.scanner
    visible = probe.visible()
    echo, specular, loss = tissue.echo_db, tissue.specular, tissue.loss_db
    mask, attributes = np.zeros((GRID, GRID), bool), {"probe": "curved" if probe.kind == "sector" else "linear"}
    lesion = None
    if finding != "normal":
        lesion = draw_lesion(streams.lesion, finding, tissue, probe)
        brightness = echo + setup.gain_db - two_way_loss(loss)
        mask = lesion_mask(lesion, visible)
        attributes |= describe_lesion(lesion, mask, probe, 1 + brightness / scanner.dynamic_range_db)
        echo, specular, loss = insert_lesion(lesion, streams.lesion, probe, echo, specular, loss)

    gain = _linear(setup.gain_db - two_way_loss(loss))
    noise = 10 ** ((scanner.noise_db - 8 * (1 - ROWS[:, :1] / GRID)) / 20)  # compensation lifts it with depth
    amplitude = np.hypot(gain * _linear(echo), noise)
    received = envelope(amplitude, gain * specular, scanner, streams.acquisition, probe)
    grey = np.where(visible, probe.scan_convert(compress(received, scanner)), setup.padding).astype(np.float64)
    burn_in(grey, setup, lesion)
    return Drawing(grey, mask, _structures(tissue, probe, visible), attributes, (setup.spacing_mm, setup.spacing_mm))


def _linear(level_db: np.ndarray) -> np.ndarray:
    """Return the amplitude of a level in dB, float32."""
    return np.exp(np.float32(np.log(10) / 20) * level_db.astype(np.float32))


def _structures(tissue: Tissue, probe: Probe, visible: np.ndarray) -> dict[str, np.ndarray]:
    """Carry the layers to the screen; a layer with fewer than 60 pixels in view is left out."""
    depth, beam = probe.to_beam(ROW, COL)
    row = np.clip(GRID * depth, 0, GRID - 1).astype(np.intp)
    col = np.clip(GRID * (beam + 1) / 2, 0, GRID - 1).astype(np.intp)
    layer = sum((tissue.depth > end).astype(np.int8) for end in tissue.ends)[row, col]
    masks = {name: (layer == k) & visible for k, name in enumerate(("skin", "fat", "gland", "muscle"))}
    return {name: mask for name, mask in masks.items() if np.count_nonzero(mask) >= 60}
