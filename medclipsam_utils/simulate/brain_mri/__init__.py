"""Simulated brain MRI: slices of the MNI152 template made into individual heads, with and without a tumour.

How the modality forms an image: the signal of a tissue follows from its proton density, its relaxation times and the
timing of the sequence (see :mod:`.signal`), so this module never chooses a grey value. A head is painted
tissue by tissue, with partial volume: the template's grey matter, white matter and fluid in a warped slice
(:mod:`.template`, :mod:`.slices`, :mod:`.matter`), skull, scalp and face around it
(:mod:`.head`), a tumour in it that pushes the brain aside (:mod:`.tumours`). Coil, k-space, noise
and display follow. Some images are skull-stripped, as public collections of brain tumours are.

**What the mask covers** follows the public collections: in FLAIR the whole abnormal region, tumour and oedema (BraTS,
LGG); in T1 and T2, with or without contrast agent, the tumour alone with its dead core and dural tail (BRISC). The
tumour is one connected region.

**Counterfactuals.** Every person has two slices, an ordinary one and one through the sella, and a coin that says which
is shown; a pituitary tumour needs the latter. So the same seed shows the same slice for glioma, meningioma and normal
always, and for a pituitary tumour where the coin says sella (two seeds in five); and a low slice does not give the
finding away.

Left and right are the patient's: in axial and coronal slices the patient's left is on the image's right. Sagittal
slices do not show a side, so that none is stated. Not simulated: children, other lesions than these three, more than
one tumour, bleeding and calcification, movement, and distortion by air and metal.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..fields import GRID, Drawing, Streams, largest_component, smooth_noise
from .head import Head, bounds, draw_head, paint_head
from .matter import Matter, Shares, draw_matter, paint_brain, paint_vessels, tissue_shares
from .scanner import acquire
from .setup import Setup, draw_setup
from .signal import Canvas
from .slices import NORMAL_AXIS, Bodies, Slice
from .template import sample_hull
from .tumours import SEATS, SELLA, Site, Tumour, draw_tumour

#: What can be drawn and how often; the last one is the image without the target.
FINDINGS = {"glioma": 0.27, "meningioma": 0.23, "pituitary": 0.2, "normal": 0.3}

#: How often a slice lies in each plane; then, in atlas mm, where an ordinary one lies and what it is centred on.
_PLANES = {"axial": 0.6, "coronal": 0.2, "sagittal": 0.2}
_POSITIONS_MM = {"axial": (-32, 63), "coronal": (-75, 45), "sagittal": (-45, 45)}
_CENTRES = {"axial": (0.0, -16.0, 0.0), "coronal": (0.0, 0.0, 0.0), "sagittal": (0.0, -8.0, -14.0)}
_SELLAR_SLICES = 0.4

#: Where a tumour may have its seat, bool [GRID, GRID].
_AWAY_FROM_BORDER = np.pad(np.ones((GRID - 28, GRID - 28), bool), 14)


def draw(finding: str, streams: Streams) -> Drawing:
    """Draw one slice.

    Args:
        finding: ``"glioma"``, ``"meningioma"``, ``"pituitary"`` or ``"normal"``.
        streams: anatomy (person and slice), lesion, and acquisition (sequence, scanner, display).

    Returns:
        A drawing with the mask of the tumour (empty for ``normal``), structures ``"head"``, ``"skull"``, ``"scalp"``,
        ``"eyes"`` (unless stripped), ``"brain"``, ``"white matter"``, ``"grey matter"``, ``"ventricles"``, and with a
        tumour ``"tumour"``, ``"oedema"`` and, with contrast agent, ``"enhancing"``. Attributes: ``plane``,
        ``sequence``, and with a tumour ``size`` (small | medium | large: below 0.8 %, below 2.5 %, above, of the
        image), ``side`` (left | right | midline, not in sagittal slices), ``place`` (frontal | parietal | temporal |
        occipital | cerebellar | sellar; none in the depth of the brain), ``signal`` against the brain (bright | dark |
        mixed, where it is one), ``oedema`` (present | absent) and ``attachment`` (skull | falx) of a meningioma.
    """
    person = _draw_person(streams.anatomy)
    setup = draw_setup(streams.acquisition, person.plane)
    view = person.slice_for(finding, setup)
    smooth = view.points + person.smooth_warp
    hull = sample_hull(smooth)
    depth = hull - person.head.gap
    canvas = Canvas(setup.sequence)
    structures = paint_head(canvas, view, smooth, hull, person.head, face=not setup.stripped)
    head = structures["head"]

    points, tumour, window = smooth + person.rough_warp, None, bounds(depth < 2)
    if finding == "normal":
        shares = tissue_shares(points, hull, person.matter, setup.thickness_mm, window)
    else:
        healthy = tissue_shares(points, hull, person.matter, setup.thickness_mm, SEATS)
        brain = healthy.whole(healthy.inside * (1 - healthy.fluid))
        site = Site(view, smooth, depth, brain * healthy.whole(healthy.white), brain, head & _AWAY_FROM_BORDER)
        share = np.zeros((GRID, GRID))
        while not (share > 0.5).any():  # once in thousands, a tumour ends up outside of where it may be
            tumour = draw_tumour(streams.lesion, finding, site)
            pushed = tumour.displaced(points, depth)
            shares = tissue_shares(pushed, hull, person.matter, setup.thickness_mm, window)
            share = tumour.share(_room(shares, depth, head)[tumour.within])
    paint_brain(canvas, shares, person.matter)
    paint_vessels(Bodies(canvas, view, smooth, 0.4 * person.head.detail[1]), shares, depth, person.matter)
    structures |= shares.masks()

    mask, attributes = np.zeros((GRID, GRID), bool), {"plane": person.plane, "sequence": setup.sequence.name}
    if tumour:
        structures |= _paint_tumour(canvas, tumour, share, shares, view.pixel_mm)
        mask = structures["tumour"]
        if setup.sequence.name == "FLAIR":
            mask = largest_component(mask | structures["oedema"])
    signal = canvas.signal / setup.sequence.signal("white matter")
    if setup.stripped:
        signal = signal * ((hull < setup.strip_mm + 1.5 * person.matter.folds[0]) | mask)
        for name in ("skull", "scalp", "eyes"):
            del structures[name]
    grey = acquire(signal, setup.scanner, streams.acquisition)
    if tumour:
        attributes |= _attributes(finding, mask, smooth, grey, structures, person.plane)
        attributes |= {"attachment": tumour.attachment} if tumour.attachment else {}
    return Drawing(grey, mask, structures, attributes, (view.pixel_mm, view.pixel_mm))


def _room(shares: Shares, depth: np.ndarray, head: np.ndarray) -> dict[str, np.ndarray]:
    """Return the share of every pixel that a tumour may fill, by what it stays within."""
    within_skull = np.clip(0.5 - depth, 0, 1)
    outside_ventricles = 1 - shares.whole(np.clip(3 * shares.ventricles, 0, 1))
    return {"brain": within_skull * outside_ventricles, "skull": within_skull, "head": head}


def _paint_tumour(
    canvas: Canvas, tumour: Tumour, share: np.ndarray, shares: Shares, pixel_mm: float
) -> dict[str, np.ndarray]:
    """Paint a tumour and its oedema; masks of ``"tumour"``, ``"oedema"`` and ``"enhancing"``."""
    brain = shares.whole(shares.inside * (1 - shares.fluid))
    oedema = tumour.oedema_share(shares.whole(shares.white), brain, pixel_mm)
    tumour.paint(canvas, share, oedema)
    masks = {"tumour": largest_component(share > 0.5), "oedema": (oedema > 0.5) & (share <= 0.5)}
    if canvas.sequence.dose and tumour.solid.uptake > 0.4:
        masks["enhancing"] = masks["tumour"] & (tumour.core < 0.5)
    return masks


# ----------------------------------------------------------------------------------------------------------- person


@dataclass(frozen=True, eq=False)
class _Person:
    """One person and how the slice lies in the head; lengths in atlas mm."""

    plane: str
    sellar: bool  # the coin: is the slice through the sella the one that is shown?
    ordinary_mm: float
    sellar_mm: float
    offset: np.ndarray  # of the head in the image
    turns: tuple[float, float, float]
    scale: np.ndarray
    smooth_warp: np.ndarray  # [3, GRID, GRID], of the whole head
    rough_warp: np.ndarray  # [3, GRID, GRID], of the folds
    head: Head
    matter: Matter

    def slice_for(self, finding: str, setup: Setup) -> Slice:
        """Return the ordinary slice or the one through the sella, as the coin and the finding ask."""
        axis = NORMAL_AXIS[self.plane]
        centre = np.array(_CENTRES[self.plane]) + self.offset
        centre[axis] = self.ordinary_mm
        view = Slice(self.plane, centre, self.turns, setup.pixel_mm, self.scale, setup.upside_down)
        if not self.sellar and finding != "pituitary":
            return view
        return view.through(SELLA + self.sellar_mm * np.eye(3)[axis])


def _draw_person(rng: np.random.Generator) -> _Person:
    plane = list(_PLANES)[int(np.searchsorted(np.cumsum(list(_PLANES.values()))[:-1], rng.random()))]
    return _Person(
        plane=plane,
        sellar=rng.random() < _SELLAR_SLICES,
        ordinary_mm=rng.uniform(*_POSITIONS_MM[plane]),
        sellar_mm=rng.uniform(-4, 5),
        offset=rng.normal(0, 4, 3),
        turns=tuple(rng.normal(0, (0.06, 0.09, 0.035))),
        scale=rng.normal(0.92, 0.035) * rng.normal(1, 0.03, 3),
        smooth_warp=np.stack([2.5 * smooth_noise(rng, 4) for _ in range(3)]),
        rough_warp=np.stack([2.2 * smooth_noise(rng, 7) + 1.1 * smooth_noise(rng, 17) for _ in range(3)]),
        head=draw_head(rng),
        matter=draw_matter(rng),
    )


# ------------------------------------------------------------------------------------------------------------ words


def _attributes(
    finding: str, mask: np.ndarray, points: np.ndarray, grey: np.ndarray, structures: dict, plane: str
) -> dict[str, str]:
    """Return what a caption may state about the tumour, measured on the image."""
    rows, cols = np.nonzero(mask)
    x, y, z = points[:, round(rows.mean()), round(cols.mean())]
    share = mask.mean()
    facts = {"size": "small" if share < 0.008 else "medium" if share < 0.025 else "large"}
    if finding == "pituitary":
        facts |= {"side": "midline", "place": "sellar"}
    else:
        facts["oedema"] = "present" if structures["oedema"].sum() > 0.15 * structures["tumour"].sum() else "absent"
        place = region(x, y, z)
        facts |= {"place": place} if place else {}
        if plane != "sagittal":
            facts["side"] = "midline" if abs(x) < 5 else "left" if x < 0 else "right"
    healthy = grey[structures["brain"] & ~structures["tumour"] & ~structures["oedema"]].mean()
    inside = grey[mask]
    if finding == "glioma" and inside.std() > 0.3 * inside.mean():
        facts["signal"] = "mixed"
    elif inside.mean() > 1.15 * healthy:
        facts["signal"] = "bright"
    elif inside.mean() < 0.87 * healthy:
        facts["signal"] = "dark"
    return facts


def region(x: float, y: float, z: float) -> str:
    """Name the lobe of a point of the atlas, by planes along the great fissures; empty in the depth of the brain.

    The central sulcus falls forwards from (y, z) = (-26, 70), the lateral fissure runs from (20, -17) up and back to
    (-40, 13), the parieto-occipital sulcus from (-62, 5) to (-82, 45); the cerebellum lies below the tentorium, which
    rises to the midline.
    """
    if y < -38 and z < -22 + 20 * np.exp(-((x / 20) ** 2)):
        return "cerebellar"
    if (abs(x) < 30 and -35 < y < 20 and -15 < z < 24) or (abs(x) < 16 and y < 6 and z < -8):
        return ""
    if abs(x) > 20 and -62 < y < 22 and z < -5 - 0.5 * (y + 5):
        return "temporal"
    if y > -5 - 0.35 * (z - 10):
        return "frontal"
    return "occipital" if y < -62 - 0.5 * max(z - 5, 0) else "parietal"
