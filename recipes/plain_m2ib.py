"""A minimal multi-modal information bottleneck (M2IB) for measuring the small CLIP, many images at once.

Wang, Rudner & Wilson, NeurIPS 2023. After block ``layer`` the tokens x are mixed with noise, z = λ x + (1 - λ) ε. The
mask λ = sigmoid(α) that keeps the image's similarity to the text with the fewest bits is found by gradient steps on

    β · mean KL( N(λx, (1 - λ)²) ‖ N(0, 1) ) - cos( f(z), t ).

The saliency of a patch is the sum of its channels' KL. Here the channels of x are standardised over the image's
patches, so that the noise is as large as the signal in every block and model, and all images meet the same noise, so
that a map does not depend on what else is in the batch.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from medclipsam_utils.models import Clip

START = 5.0  # of α: almost everything passes


def saliency(
    clip: Clip,
    images: list[np.ndarray],
    text_features: Tensor,
    *,
    layer: int,
    beta: float,
    steps: int = 10,
    samples: int = 5,
    learning_rate: float = 1.0,
    seed: int = 0,
) -> Tensor:
    """Saliency float32 [B, grid, grid] of images for one text each, in nats.

    Args:
        clip: a CLIP whose image tower is a timm vision transformer.
        images: B uint8 [H, W, 3] images.
        text_features: float32 [B, D] or [D], L2-normalised.
        layer: the block, from 0, after which the bottleneck sits.
        beta: price of information; larger keeps less.
        steps: Adam steps on α.
        samples: noise samples a step.
        learning_rate: of Adam.
        seed: of the noise.
    """
    trunk, head = clip.image_tower, clip.model.visual.head
    generator = torch.Generator().manual_seed(seed)
    prefix = trunk.num_prefix_tokens
    rest = trunk.blocks[layer + 1 :]
    with torch.no_grad():
        tokens = trunk.norm_pre(trunk.patch_drop(trunk._pos_embed(trunk.patch_embed(clip.preprocess(images)))))
        tokens = trunk.blocks[: layer + 1](tokens)  # (B, N, C)
        mean, spread = tokens.mean(1, keepdim=True), tokens.std(1, keepdim=True)
        signal = (tokens - mean) / spread
    text = text_features.expand(len(signal), -1)
    alpha = torch.full_like(signal, START, requires_grad=True)
    optimizer = torch.optim.Adam([alpha], lr=learning_rate)
    for _ in range(steps):
        passed = torch.sigmoid(alpha)
        noise = torch.randn((samples, 1, *signal.shape[1:]), generator=generator)
        mixed = (passed * signal + (1 - passed) * noise) * spread + mean  # (S, B, N, C)
        features = head(trunk.forward_head(trunk.norm(rest(mixed.flatten(0, 1)))))
        fit = F.cosine_similarity(features.unflatten(0, (samples, -1)), text, dim=-1).mean(0)  # (B,)
        price = _information(passed, signal).mean((1, 2))
        (alpha.grad,) = torch.autograd.grad((beta * price - fit).sum(), alpha)
        optimizer.step()
    with torch.no_grad():
        bits = _information(torch.sigmoid(alpha), signal).sum(-1)[:, prefix:]
    return bits.reshape(len(bits), *trunk.patch_embed.grid_size)


def _information(passed: Tensor, signal: Tensor) -> Tensor:
    """KL( N(λx, (1 - λ)²) ‖ N(0, 1) ) of every entry, in nats."""
    variance = (1 - passed) ** 2
    return 0.5 * ((passed * signal) ** 2 + variance - 1 - torch.log(variance + 1e-12))
