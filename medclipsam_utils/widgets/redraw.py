"""What every picture with sliders does."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO

import ipywidgets
from matplotlib.figure import Figure


def explorer(draw: Callable[[], Figure], *controls: ipywidgets.Widget) -> ipywidgets.VBox:
    """Controls above a picture that is drawn anew whenever one of them changes."""
    picture = ipywidgets.Image(format="png")

    def redraw(_: object = None) -> None:
        content = BytesIO()
        draw().savefig(content, format="png")
        picture.value = content.getvalue()

    for control in controls:
        control.observe(redraw, "value")
    redraw()
    return ipywidgets.VBox([*controls, picture])
