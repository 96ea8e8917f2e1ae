"""What was found: it prints and plots itself."""

from __future__ import annotations

from dataclasses import dataclass, field
from io import BytesIO

import numpy as np
from matplotlib.figure import Figure
from skimage.segmentation import mark_boundaries

from ..plots import draw_prompts, show_maps
from ..visual_prompts import Points


@dataclass(frozen=True, eq=False)
class Segmentation:
    """What :meth:`Segmenter.segment` found; a notebook shows it as a figure.

    Attributes:
        mask: bool [H, W], the answer.
        saliency: float32 [H, W], from 0 to 1.
        coarse: bool [H, W], the mask that SAM's prompts were made of.
        boxes: float32 [K, 4] as (x0, y0, x1, y1), those that SAM was asked with.
        points: one :class:`~medclipsam_utils.visual_prompts.Points` a component; none if SAM was asked with boxes.
        task: whose settings were used.
        text: what was asked, in words; the sentences of an ensemble are joined by ``" | "``.
        p_value: how rare so high a similarity to the target is in *simulated* images without it, on which the small
            CLIP was calibrated; of a clinical image it is a hint at most. None where the model was not calibrated.
        present: whether the target is reported as present; None where that is not known.
        image: uint8 [H, W, 3].
    """

    mask: np.ndarray
    saliency: np.ndarray
    coarse: np.ndarray
    boxes: np.ndarray
    points: tuple[Points, ...]
    task: str
    text: str
    p_value: float | None
    present: bool | None
    image: np.ndarray = field(repr=False)

    def __repr__(self) -> str:
        known = "presence unknown" if self.present is None else f"{'present' if self.present else 'absent'}"
        chance = "" if self.p_value is None else f" (p = {self.p_value:.3f} against simulated images)"
        return f"Segmentation({self.text!r} as {self.task}: {self.mask.mean():.1%} of the image, {known}{chance})"

    def _repr_png_(self) -> bytes:
        """What a notebook shows."""
        content = BytesIO()
        self.show().savefig(content, format="png")
        return content.getvalue()

    def show(self, mask: np.ndarray | None = None) -> Figure:
        """Image, saliency with the outline of the coarse mask, SAM's prompts, and the mask (dashed).

        Args:
            mask: bool [H, W], the reference: a solid outline in the first picture and the last.
        """
        figure = show_maps(
            [self.image] * 4,
            [None, self.saliency, None, None],
            [self.text.split(" | ")[0], "saliency, coarse mask", "what SAM is asked", "mask"],
            [mask, self.coarse, None, mask],
            predictions=[None, None, None, self.mask],
            columns=2,
        )
        draw_prompts(figure.axes[2], self.boxes, self.points)
        return figure

    def overlay(self) -> np.ndarray:
        """uint8 [H, W, 3]: the image with the outline of the mask in it, in the image's own size."""
        marked = mark_boundaries(self.image, self.mask, color=(1, 0.6, 0), mode="inner")
        return np.rint(255 * marked).astype(np.uint8)
