"""The map of a text that is typed, with sliders for M2IB."""

from __future__ import annotations

import textwrap
import warnings
from collections.abc import Mapping

import ipywidgets
import numpy as np
from matplotlib.figure import Figure

from ..models import Clip, ModelError
from ..plots import show_maps
from ..saliency import m2ib
from ..saliency.towers import image_tower
from .redraw import explorer


def saliency_explorer(
    clip: Clip, images: Mapping[str, np.ndarray], text: str, *, layer: int, beta: float, variance: float = 1.0
) -> ipywidgets.VBox:
    """M2IB with a choice of image, a field for the text, and sliders for layer, β and σ².

    Args:
        clip: any CLIP that :func:`~medclipsam_utils.saliency.m2ib` takes.
        images: uint8 [H, W, 3] by the name to choose it by.
        text, layer, beta, variance: what it starts with; the tokens are standardised.
    """
    image = ipywidgets.Dropdown(options=list(images), description="image")
    # Not continuous_update: a map is made for a finished text or a slider that was let go, not on the way.
    words = ipywidgets.Text(text, description="text", continuous_update=False)
    block = ipywidgets.IntSlider(
        layer, min=0, max=len(image_tower(clip).blocks) - 1, description="layer ℓ", continuous_update=False
    )
    price, noise = (
        ipywidgets.FloatLogSlider(
            start, min=low, max=high, step=0.5, description=name, readout_format=".2g", continuous_update=False
        )
        for start, low, high, name in ((beta, -3, 1, "β"), (variance, -1, 2, "σ²"))
    )

    def draw() -> Figure:
        settings = {"layer": block.value, "beta": price.value, "variance": noise.value}
        shown = images[image.value]
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of unknown words: the title says so
                (saliency,) = m2ib(clip, [shown], words.value, standardize=True, **settings)
            unknown = ", ".join(clip.unknown_words(words.value))
            title = f"unknown: {unknown}" if unknown else words.value
        except (ModelError, ValueError) as error:
            saliency, title = None, str(error)
        return show_maps([shown, shown], [None, saliency], [image.value, textwrap.fill(title, 32)], columns=2)

    return explorer(draw, image, words, block, price, noise)
