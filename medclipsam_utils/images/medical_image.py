"""What :func:`~medclipsam_utils.images.read_image` returns: the pixels, and what the file says about them."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from .volume import VolumeSlice


@dataclass(frozen=True, eq=False)
class MedicalImage:
    """An image and what its file says about it. A notebook displays it.

    Attributes:
        pixels: uint8 [H, W, 3], rows from the top.
        path: the file it was read from.
        format: ``"PNG"``, ``"JPEG"``, ``"TIFF"``, ``"DICOM"`` or ``"NIfTI"``.
        spacing_mm: distance of neighbouring pixels in mm, (between rows, between columns), or None where the file does
            not say: the dots per inch of PNG, JPEG and TIFF are about paper. For radiographs it is usually the
            spacing at the detector, not in the patient.
        modality: DICOM code, for example ``"CT"``, ``"MR"``, ``"US"``, ``"DX"``; None where unknown.
        window: the (centre, width) through which values became grey levels, in the file's units; None if they were
            taken as they are, came through a look-up table, or are colours.
        frame: which of ``n_frames`` this is, counted from 0.
        n_frames: number of frames (DICOM) or pages (TIFF); 1 for NIfTI.
        volume: for NIfTI, where in the volume the slice lies; otherwise None.
        notes: what of the file's header could not be understood and does not change the pixels, in sentences.
    """

    pixels: np.ndarray
    path: Path
    format: str
    spacing_mm: tuple[float, float] | None = None
    modality: str | None = None
    window: tuple[float, float] | None = None
    frame: int = 0
    n_frames: int = 1
    volume: VolumeSlice | None = None
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        height, width = self.pixels.shape[:2]
        facts = [f"{self.format} {self.modality}" if self.modality else self.format, f"{height} × {width} pixels"]
        facts.append("spacing unknown" if self.spacing_mm is None else "{:.4g} × {:.4g} mm".format(*self.spacing_mm))
        if self.window is not None:
            facts.append("window {:.5g} / {:.5g}".format(*self.window))
        if self.n_frames > 1:
            facts.append(f"frame {self.frame} of {self.n_frames}")
        if self.volume is not None:
            facts.append(f"{self.volume.plane} slice {self.volume.slice_index} of {self.volume.n_slices}")
        return f"MedicalImage({self.path.name}: {', '.join((*facts, *self.notes))})"

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        Image.fromarray(self.pixels).save(buffer, "PNG")
        return buffer.getvalue()
