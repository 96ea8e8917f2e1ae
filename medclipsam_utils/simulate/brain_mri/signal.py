"""Magnetic resonance: how bright a tissue is in a sequence, and pixels that hold several tissues.

After a radio pulse, the magnetisation of a tissue comes back along the field with the time constant T1 and dephases
across it with T2. A sequence chooses when to excite again (repetition time TR) and when to listen (echo time TE):

* spin echo: ``S = PD (1 - exp(-TR / T1)) exp(-TE / T2)``; short TR and TE weight by T1, long ones by T2;
* with an inversion pulse TI before: ``S = PD |1 - 2 exp(-TI / T1) + exp(-TR / T1)| exp(-TE / T2)``; in FLAIR, TI is
  chosen so that free water passes through zero just then;
* a gadolinium agent speeds recovery up where it leaks or flows: ``1 / T1' = 1 / T1 + uptake``.

A pixel that holds several tissues shows their mean by volume (:class:`Canvas`). Not simulated: gradient echoes and
susceptibility, chemical shift, diffusion, magnetisation transfer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from ..fields import GRID


@dataclass(frozen=True)
class Tissue:
    """What decides a tissue's signal.

    Attributes:
        density: protons relative to water.
        t1_ms, t2_ms: relaxation times at 1.5 T.
        uptake: rise of the relaxation rate 1 / T1 with a usual dose of contrast agent, per second.
    """

    density: float
    t1_ms: float
    t2_ms: float
    uptake: float = 0.0


#: Relaxation at 1.5 T, rounded from the literature's range. Fat's T2 is the long apparent one of trains of echoes.
#: Blood that flows leaves the slice before its echo, so that its density is small; contrast agent makes up for that in
#: veins.
TISSUES: Mapping[str, Tissue] = MappingProxyType(
    {
        "white matter": Tissue(0.70, 600, 82, 0.03),
        "grey matter": Tissue(0.81, 930, 89, 0.06),
        "fluid": Tissue(1.0, 4200, 1200, 0.0),
        "fat": Tissue(0.95, 260, 120, 0.0),
        "marrow": Tissue(0.72, 380, 70, 0.1),
        "bone": Tissue(0.07, 500, 8, 0.0),
        "muscle": Tissue(0.78, 900, 48, 0.25),
        "skin": Tissue(0.6, 600, 40, 0.2),
        "mucosa": Tissue(0.85, 1000, 110, 1.0),
        "vitreous": Tissue(1.0, 3600, 700, 0.0),
        "lens": Tissue(0.6, 1100, 30, 0.0),
        "air": Tissue(0.0, 1000, 10, 0.0),
        "vein": Tissue(0.75, 1400, 45, 3.5),
        "artery": Tissue(0.35, 1400, 30, 5.0),
        "dura": Tissue(0.45, 900, 35, 2.0),
        "plexus": Tissue(0.9, 1300, 180, 1.9),
        "pituitary": Tissue(0.8, 800, 90, 1.3),
    }
)


@dataclass(frozen=True)
class Sequence:
    """A sequence and its settings in ms.

    Attributes:
        name: as a report would call it.
        repetition, echo: TR and TE.
        inversion: TI; 0 without an inversion pulse.
        dose: contrast agent relative to a usual dose; 0 without.
        fat: share of fat's signal that fat suppression leaves.
        t1_scale: factor on every T1, which is longer in stronger fields.
    """

    name: str
    repetition: float
    echo: float
    inversion: float = 0.0
    dose: float = 0.0
    fat: float = 1.0
    t1_scale: float = 1.0

    def signal(self, tissue: Tissue | str) -> float:
        """Compute the signal of a tissue by the equations above; water at rest with full recovery has 1."""
        name = tissue if isinstance(tissue, str) else ""
        tissue = TISSUES[tissue] if isinstance(tissue, str) else tissue
        t1 = 1 / (1 / (self.t1_scale * tissue.t1_ms) + self.dose * tissue.uptake / 1000)
        recovery = 1 - np.exp(-self.repetition / t1)
        if self.inversion:
            recovery = abs(1 - 2 * np.exp(-self.inversion / t1) + np.exp(-self.repetition / t1))
        left = {"fat": self.fat, "marrow": 0.4 + 0.6 * self.fat}.get(name, 1.0)
        return float(left * tissue.density * recovery * np.exp(-self.echo / tissue.t2_ms))


class Canvas:
    """Signal of a slice, painted tissue over tissue.

    Painting a tissue that covers a share of a pixel leaves the rest of the pixel as it was: partial volume.

    Attributes:
        signal: float64 [GRID, GRID].
        sequence: what decides the signal of every tissue.
    """

    def __init__(self, sequence: Sequence) -> None:
        self.sequence = sequence
        self.signal = np.zeros((GRID, GRID))

    def paint(self, share, tissue: Tissue | str, where=(slice(None), slice(None)), texture=1.0) -> None:
        """Cover a share (0 to 1) of every pixel of the window ``where`` by a tissue; ``texture`` scales its signal."""
        window = self.signal[where]
        window += share * (self.sequence.signal(tissue) * texture - window)
