"""Pictures with sliders, for notebooks that run; the book's pages show a picture of each in the same place."""

from __future__ import annotations

import textwrap
import warnings
from collections.abc import Callable, Mapping
from io import BytesIO

import ipywidgets
import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from .losses import ContrastiveLoss, log_hardness_weights
from .models import Clip, ModelError
from .plots import matrices, show_maps
from .saliency import m2ib
from .saliency.towers import image_tower

#: Where the sliders may go, and where they start: the paper's τ and β.
TEMPERATURES, BETAS, START = (0.02, 2.0), (0.0, 2.0), (0.6, 0.15)


def hardness(similarity: ArrayLike, temperature: float, beta: float, decoupled: bool = True) -> dict[str, np.ndarray]:
    """How much each negative counts for each image, and how hard it is pushed away.

    Args:
        similarity: cosines s of B images with B texts, [B, B].
        temperature: τ, above 0.
        beta: hardness β of the image-to-text half, 0 or above.
        decoupled: leave the positive pair out of the denominator.

    Returns:
        ``weight``: w_ij of equation 3 of the paper; ``gradient``: B times that of the image-to-text half with respect
        to s_ij/τ, so that a row adds up to 1 if the loss is decoupled. Both float [B, B], NaN for the positive pairs.
    """
    logits = torch.as_tensor(np.asarray(similarity), dtype=torch.float64).div(temperature).requires_grad_()
    loss = ContrastiveLoss(temperature, beta1=beta, decoupled=decoupled)
    (gradient,) = torch.autograd.grad(len(logits) * loss.half(logits, beta), logits)
    itself = torch.eye(len(logits), dtype=torch.bool)
    weight = log_hardness_weights(logits.detach().masked_fill(itself, -torch.inf), beta).exp()
    return {"weight": weight.masked_fill(itself, torch.nan).numpy(),
            "gradient": gradient.masked_fill(itself, torch.nan).numpy()}  # fmt: skip


def hardness_figure(similarity: ArrayLike, temperature: float, beta: float, decoupled: bool = True) -> Figure:
    """The two matrices of :func:`hardness` side by side; arguments as there."""
    return matrices(hardness(similarity, temperature, beta, decoupled), rows="image", columns="text")


def hardness_explorer(similarity: ArrayLike) -> ipywidgets.VBox:
    """:func:`hardness_figure` with sliders for β and τ and a box for the positive pair in the denominator.

    Args:
        similarity: cosines of B images with B texts, [B, B].
    """
    beta = ipywidgets.FloatSlider(START[1], min=BETAS[0], max=BETAS[1], step=0.05, description="hardness β")
    low, high = (float(np.log10(limit)) for limit in TEMPERATURES)
    temperature = ipywidgets.FloatLogSlider(
        START[0], min=low, max=high, step=0.02, description="τ", readout_format=".2f"
    )
    decoupled = ipywidgets.Checkbox(True, description="decoupled: the positive is not in the denominator")

    def draw() -> Figure:
        return hardness_figure(similarity, temperature.value, beta.value, decoupled.value)

    return _explorer(draw, beta, temperature, decoupled)


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
                saliency = m2ib(clip, shown, words.value, standardize=True, **settings)
            unknown = ", ".join(clip.unknown_words(words.value))
            title = f"unknown: {unknown}" if unknown else words.value
        except (ModelError, ValueError) as error:
            saliency, title = None, str(error)
        return show_maps([shown, shown], [None, saliency], [image.value, textwrap.fill(title, 32)], columns=2)

    return _explorer(draw, image, words, block, price, noise)


def _explorer(draw: Callable[[], Figure], *controls: ipywidgets.Widget) -> ipywidgets.VBox:
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
