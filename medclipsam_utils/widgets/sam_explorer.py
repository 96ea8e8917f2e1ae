"""The whole pipeline by hand: type a text, see map, mask and presence, correct what SAM is asked."""

from __future__ import annotations

import html
import warnings
from collections.abc import Mapping, Sequence
from io import BytesIO

import ipywidgets
import numpy as np
from matplotlib import colormaps
from PIL import Image
from skimage.segmentation import find_boundaries

from ..models import ModelError, embed
from ..pipeline import Segmentation, Segmenter
from ..visual_prompts import Points, predict_mask
from .prompt_canvas import PromptCanvas

_FILL, _LINE = (86, 180, 233, 60), (230, 159, 0, 255)


class SegmenterExplorer(ipywidgets.VBox):
    """The widget that :func:`segmenter_explorer` makes.

    Attributes:
        mask: bool [H, W], SAM's mask as it is shown now, with all corrections.
        found: what the text alone gave; None where the text could not be read.
    """

    def __init__(self, segmenter: Segmenter, images: Mapping[str, np.ndarray], text: str):
        self.segmenter, self.images = segmenter, images
        self.found: Segmentation | None = None
        self.choice = ipywidgets.Dropdown(options=list(images), description="image")
        self.text = ipywidgets.Text(text, description="text", continuous_update=False)
        self.show_map = ipywidgets.Checkbox(False, description="show the saliency map", indent=False)
        self.canvas = PromptCanvas()
        self.status = ipywidgets.HTML()
        self._asking = False
        super().__init__([self.choice, self.text, self.show_map, self.canvas, self.status])
        for control in (self.choice, self.text):
            control.observe(self._ask, "value")
        self.show_map.observe(self._draw, "value")
        self.canvas.observe(self._correct, ["points", "boxes"])
        self._ask()

    def _ask(self, _: object = None) -> None:
        """Answer the text anew; corrections are gone."""
        image = self.images[self.choice.value]
        self.mask, self.found = np.zeros(image.shape[:2], dtype=bool), None
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of unknown words: the status says so
                self.found = self.segmenter.segment(image, self.text.value)
            self.mask, said = self.found.mask, _status(self.found)
            unknown = ", ".join(self.segmenter.clip.unknown_words(self.text.value))
            self.status.value = said + (f" Unknown words: {html.escape(unknown)}." if unknown else "")
        except (ModelError, ValueError) as error:
            self.status.value = html.escape(str(error))
        self._asking = True
        with self.canvas.hold_sync():
            self.canvas.boxes = [] if self.found is None else self.found.boxes.tolist()
            self.canvas.points = [] if self.found is None else _listed(self.found.points)
        self._asking = False
        self._draw()

    def _correct(self, _: object = None) -> None:
        """Ask SAM with what is drawn now; the image stays embedded."""
        if self._asking:
            return
        boxes, points = distribute(self.canvas.boxes, self.canvas.points)
        embed(self.segmenter.sam, self.images[self.choice.value])
        self.mask = predict_mask(self.segmenter.sam, boxes, points)
        self.status.value = f"Corrected by hand: {self.mask.mean():.1%} of the image."
        self._draw()

    def _draw(self, _: object = None) -> None:
        image = self.images[self.choice.value]
        if self.show_map.value and self.found is not None:
            level = self.found.saliency[..., None]
            colours = 255 * colormaps["inferno"](self.found.saliency)[..., :3]
            image = (image + (0.25 + 0.6 * level) * (colours - image)).astype(np.uint8)
        overlay = np.zeros((*self.mask.shape, 4), dtype=np.uint8)
        overlay[self.mask] = (0, 0, 0, 0) if self.show_map.value else _FILL
        overlay[find_boundaries(self.mask, mode="inner")] = _LINE
        with self.canvas.hold_sync():
            self.canvas.picture, self.canvas.overlay = _png(image), _png(overlay)


def segmenter_explorer(segmenter: Segmenter, images: Mapping[str, np.ndarray], text: str) -> SegmenterExplorer:
    """Type a text, see map, mask and presence; add and remove points, drag boxes, and see SAM's answer at once.

    The image is embedded once, so that an answer to a click takes milliseconds. It works where anywidget does: in
    Jupyter, Colab and VS Code.

    Args:
        segmenter: with any models.
        images: uint8 [H, W, 3] by the name to choose it by.
        text: what it starts with.
    """
    return SegmenterExplorer(segmenter, images, text)


def distribute(
    boxes: Sequence[Sequence[float]], points: Sequence[Sequence[float]]
) -> tuple[np.ndarray | None, list[Points] | Points | None]:
    """Turn what is drawn into what :func:`~medclipsam_utils.visual_prompts.predict_mask` takes.

    Without boxes all points are one question. With boxes each is one, and gets the points inside it; a point outside of
    all boxes goes to the one whose middle is nearest.

    Args:
        boxes: K of ``[x0, y0, x1, y1]``.
        points: P of ``[x, y, label]``.
    """
    drawn = np.array(points, dtype=np.float32).reshape(-1, 3)
    if not len(boxes):
        return None, _points(drawn) if len(drawn) else None
    edges = np.array(boxes, dtype=np.float32)
    middle = (edges[:, :2] + edges[:, 2:]) / 2
    xy = drawn[:, None, :2]
    inside = np.all((xy >= edges[:, :2]) & (xy < edges[:, 2:]), axis=2)  # (P, K)
    nearest = np.linalg.norm(xy - middle, axis=2).argmin(axis=1)  # (P,)
    outside = ~inside.any(axis=1)
    inside[outside, nearest[outside]] = True
    return edges, [_points(drawn[chosen]) for chosen in inside.T]


def _points(drawn: np.ndarray) -> Points:
    return Points(drawn[:, :2], drawn[:, 2].astype(np.int64))


def _listed(points: Sequence[Points]) -> list[list[float]]:
    return [
        [float(x), float(y), int(label)] for part in points for (x, y), label in zip(part.xy, part.labels, strict=True)
    ]


def _status(answer: Segmentation) -> str:
    target = "no known target" if answer.task is None else f"as {answer.task}"
    presence = html.escape(str(answer.presence))
    if answer.present is not None:
        word, _, rest = presence.partition(" ")
        presence = f"<b>{word}</b> {rest}"
    return f"{html.escape(answer.text)}, {target}: {presence}; {answer.mask.mean():.1%} of the image."


def _png(pixels: np.ndarray) -> bytes:
    content = BytesIO()
    Image.fromarray(pixels).save(content, "PNG")
    return content.getvalue()
