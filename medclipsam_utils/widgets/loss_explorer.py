"""Show how hard a loss pushes each negative, with sliders for its settings."""

from __future__ import annotations

import ipywidgets
import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from ..losses import ContrastiveLoss, log_hardness_weights
from ..plots import matrices
from .redraw import explorer

#: Ranges of the sliders, and where they start: at the paper's τ and β.
TEMPERATURES, BETAS, START = (0.02, 2.0), (0.0, 2.0), (0.6, 0.15)


def hardness(similarity: ArrayLike, temperature: float, beta: float, decoupled: bool = True) -> dict[str, np.ndarray]:
    """Compute how much each negative counts for each image, and how hard the loss pushes it away.

    Args:
        similarity: cosines s of B images with B texts, [B, B].
        temperature: τ, above 0.
        beta: hardness β of the image-to-text half, 0 or above.
        decoupled: leave the positive pair out of the denominator.

    Returns:
        ``weight``: w_ij of equation 3 of the paper; ``gradient``: B times that of the image-to-text half with respect
        to s_ij/τ, through the weights, so that a row adds up to 1 if the loss is decoupled; a negative whose value is
        below 0 is pulled closer. Both float [B, B], NaN for the positive pairs.
    """
    logits = torch.as_tensor(np.asarray(similarity), dtype=torch.float64).div(temperature).requires_grad_()  # (B, B)
    loss = ContrastiveLoss(temperature, beta1=beta, decoupled=decoupled)
    (gradient,) = torch.autograd.grad(len(logits) * loss.half_loss(logits, beta), logits)
    itself = torch.eye(len(logits), dtype=torch.bool)
    weight = log_hardness_weights(logits.detach().masked_fill(itself, -torch.inf), beta).exp()
    return {"weight": weight.masked_fill(itself, torch.nan).numpy(),
            "gradient": gradient.masked_fill(itself, torch.nan).numpy()}  # fmt: skip


def hardness_figure(similarity: ArrayLike, temperature: float, beta: float, decoupled: bool = True) -> Figure:
    """Draw the two matrices of :func:`hardness` side by side; the arguments are the same."""
    return matrices(hardness(similarity, temperature, beta, decoupled), rows="image", columns="text")


def hardness_explorer(similarity: ArrayLike) -> ipywidgets.VBox:
    """Show :func:`hardness_figure` with sliders for β and τ, and a box for the positive pair in the denominator.

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

    return explorer(draw, beta, temperature, decoupled)
