"""Integrated gradients of a layer: which tokens carry the cosine up from nothing?

After block ℓ of the image tower the tokens x [N, C] are scaled from 0 to what they are. Along the way the gradient of
the cosine says how much each entry adds to it (Sundararajan, Taly & Yan, ICML 2017):

    a = x ⊙ ∫₀¹ ∂cos( f(αx), t ) / ∂x  dα,    saliency_p = max( Σ_c a_pc, 0 ),

where f are the blocks after ℓ. All entries of a together are the cosine of x less that of the same tokens scaled to
nearly nothing (*completeness*). Behind the last block a normalisation undoes any scaling, and a adds up to nothing in
every patch: there is no map to be had there.

This is what the code released with the *Narrowing Information Bottleneck* computes (Zhu et al., ICLR 2025, NIB): their
theory narrows M2IB's bottleneck until the noise is gone and λ runs from 0 to 1, and what is left is this integral with
a baseline of zeros. There is nothing to draw, and one setting less to choose than in M2IB: no β and no σ².
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ..images import Image, batch_of, image_size
from ..models import Clip
from .information_bottleneck import check_block
from .inputs import Text, text_features
from .maps import upsample
from .towers import image_tower, untouched

# Images that are computed together.
_TOGETHER = 32


def integrated_gradients(
    clip: Clip, images: Image | Sequence[Image], text: Text, *, layer: int, steps: int = 10
) -> list[np.ndarray]:
    """Make maps of what each patch adds to the cosine of image and text (NIB).

    Args:
        clip: any CLIP whose image tower is a vision transformer of timm or open_clip; afterwards as it was.
        images, text: as :func:`~medclipsam_utils.saliency.m2ib` takes them.
        layer: ℓ, the block whose tokens are scaled, from 0; negative ones count from the last, -1, which is refused.
        steps: at how many places, each in the middle of its part, the integral from 0 to 1 is summed, 1 or more.

    Returns:
        B maps float32 [H, W], each of the size of its image, from 0 to 1 (min-max). A map of zeros where no patch
        speaks for the text.

    Raises:
        ModelError: the image tower has no blocks, or an image or a text does not fit.
        ValueError: there is no such layer, ``steps`` is below 1, or there is another number of texts than of images.
    """
    batch = batch_of(images)
    added = patch_contributions(clip, batch, text, layer, steps).clamp(min=0).cpu().numpy()  # (B, rows, columns)
    return [upsample(grid, image_size(image)) for grid, image in zip(added, batch, strict=True)]


def patch_contributions(clip: Clip, images: Image | Sequence[Image], text: Text, layer: int, steps: int = 10) -> Tensor:
    """Compute what each patch adds to the cosine, float32 [B, rows, columns]; below 0 what speaks against the text.

    Arguments and errors are those of :func:`integrated_gradients`.
    """
    if steps != int(steps) or steps < 1:
        raise ValueError(f"steps is {steps}: give a whole number, 1 or more")
    images = batch_of(images)
    tower = image_tower(clip)
    layer = check_block(layer, len(tower.blocks), "image tower", tower.reads_patches)
    if layer == len(tower.blocks) - 1:
        reason = "after the last block the tokens are normalised, and scaling them changes nothing"
        raise ValueError(f"layer is {layer}: {reason}; give {layer - 1} or less")
    found = [torch.empty(0, *tower.grid, dtype=torch.float32, device=clip.device)]
    with untouched(clip.model):
        texts = text_features(clip, text, len(images))  # (B, D)
        for start in range(0, len(images), _TOGETHER):
            part = slice(start, start + _TOGETHER)
            with torch.no_grad():
                tokens = tower.run(tower.embed(clip.preprocess(images[part])), 0, layer + 1)  # (B, N, C)
            gradient = torch.zeros_like(tokens)
            for step in range(steps):
                scaled = (tokens * ((step + 0.5) / steps)).requires_grad_()
                features = tower.finish(tower.run(scaled, layer + 1))
                cosines = functional.cosine_similarity(features, texts[part], dim=-1)
                gradient += torch.autograd.grad(cosines.sum(), scaled)[0] / steps
            added = (tokens * gradient).sum(-1)[:, tower.prefix :]  # (B, patches)
            found.append(added.unflatten(1, tower.grid))
    return torch.cat(found)
