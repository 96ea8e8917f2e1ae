"""An image that takes points and boxes from the mouse or a finger."""

from __future__ import annotations

from pathlib import Path

import anywidget
import traitlets


class PromptCanvas(anywidget.AnyWidget):
    """The browser's half of :func:`segmenter_explorer`. What you draw in the browser arrives here, and vice versa.

    Attributes:
        picture: PNG of the image.
        overlay: PNG with transparency, of the same size, drawn over it.
        points: a list of ``[x, y, label]`` in pixels of the image, label 1 on the target and 0 beside it.
        boxes: a list of ``[x0, y0, x1, y1]``; x1 and y1 are the last column and row plus 1.
    """

    _esm = Path(__file__).with_suffix(".js")
    picture = traitlets.Bytes().tag(sync=True)
    overlay = traitlets.Bytes().tag(sync=True)
    points: traitlets.List[list[float]] = traitlets.List().tag(sync=True)
    boxes: traitlets.List[list[float]] = traitlets.List().tag(sync=True)
