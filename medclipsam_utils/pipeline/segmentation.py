"""The answer to a question: it prints and plots itself."""

from __future__ import annotations

from dataclasses import dataclass, field
from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np

from ..visual_prompts import Points
from .presence import Presence

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, eq=False)
class Segmentation:
    """The answer to a question about an image; a notebook shows it as a figure.

    Attributes:
        mask: bool [H, W], the answer.
        saliency: float32 [H, W], from 0 to 1.
        coarse: bool [H, W], the mask that SAM's prompts were made of.
        boxes: float32 [K, 4] as (x0, y0, x1, y1), those that SAM was asked with; [0, 4] if it was asked with points.
        points: one :class:`~medclipsam_utils.visual_prompts.Points` per component; none if SAM was asked with boxes.
        text: what was asked, in words; the sentences of an ensemble are joined by ``" | "``.
        task: name of the task whose target the words name; None where they name none.
        presence: whether the target is reported as present, and if that is not known, why.
        image: uint8 [H, W, 3].
    """

    mask: np.ndarray
    saliency: np.ndarray
    coarse: np.ndarray
    boxes: np.ndarray
    points: tuple[Points, ...]
    text: str
    task: str | None
    presence: Presence
    image: np.ndarray = field(repr=False)

    @property
    def present(self) -> bool | None:
        """Whether the target is reported as present; None where that is not known."""
        return self.presence.present

    @property
    def p_value(self) -> float | None:
        """How rare so high a similarity is without the target; None where presence is not known."""
        return self.presence.p_value

    def __repr__(self) -> str:
        target = ", no known target" if self.task is None else f" as {self.task}"
        return f"Segmentation({self.text!r}{target}: {self.mask.mean():.1%} of the image, {self.presence})"

    def _repr_png_(self) -> bytes:
        """Draw the figure that a notebook shows."""
        content = BytesIO()
        self.show().savefig(content, format="png")
        return content.getvalue()

    def show(self, mask: np.ndarray | None = None) -> Figure:
        """Image, saliency with the outline of the coarse mask, SAM's prompts, and the mask (dashed).

        Args:
            mask: bool [H, W], the reference: a solid outline in the first picture and the last.
        """
        from ..plots import draw_prompts, show_maps  # a mask without a figure does not wait for matplotlib

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
        """Draw the outline of the mask into the image, in the image's own size: uint8 [H, W, 3]."""
        return outlined(self.image, self.mask)


def outlined(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Draw the outline of a mask, bool [H, W], into an image, uint8 [H, W, 3]."""
    from skimage.segmentation import mark_boundaries

    marked = mark_boundaries(image, mask, color=(1, 0.6, 0), mode="inner")
    return np.rint(255 * marked).astype(np.uint8)
