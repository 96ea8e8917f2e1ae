"""Redraw a picture whenever one of its sliders moves."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO

import ipywidgets
from matplotlib.figure import Figure


def explorer(draw: Callable[[], Figure], *controls: ipywidgets.Widget) -> ipywidgets.VBox:
    """Put controls above a picture, and draw it anew whenever one of them changes."""
    picture = ipywidgets.Image(format="png")

    def redraw(_: object = None) -> None:
        content = BytesIO()
        draw().savefig(content, format="png")
        picture.value = content.getvalue()

    for control in controls:
        control.observe(redraw, "value")
    redraw()
    return ipywidgets.VBox([*controls, picture])
