"""A straightforward M2IB for parity and for the clock: the whole model in every step, as the released code does it."""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional as F

from medclipsam_utils.models import Clip


def plain_m2ib(
    clip: Clip, image: np.ndarray, text: str, *, layer: int, beta: float, variance: float = 1.0, steps: int = 10,
    samples: int = 10, lr: float = 1.0, seed: int = 0,
) -> torch.Tensor:  # fmt: skip
    """Saliency in nats on the grid of patches [rows, columns] of one image and one sentence.

    Every step encodes the text and the image anew, from the pixels, with a hook that puts the bottleneck after block
    ``layer`` of the image tower, and lets autograd compute the gradient of every weight.
    """
    trunk = clip.image_tower
    blocks = trunk.blocks if hasattr(trunk, "blocks") else trunk.transformer.resblocks
    pixels, tokens = clip.preprocess(image), clip.tokenize(text)
    kept: list[torch.Tensor] = []
    hook = blocks[layer].register_forward_hook(lambda module, inputs, output: kept.append(output.detach()))
    clip.model.encode_image(pixels)
    hook.remove()
    x = kept[0][0]
    alpha = torch.full_like(x, 5.0, requires_grad=True)
    optimizer = torch.optim.Adam([alpha], lr=lr)
    generator = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        noise = torch.randn((samples, 1, *x.shape), generator=generator)[:, 0] * variance**0.5
        passed = torch.sigmoid(alpha)

        def mix(module, inputs, output, passed=passed, noise=noise):
            return passed * output + (1 - passed) * noise

        hook = blocks[layer].register_forward_hook(mix)
        image_features = clip.model.encode_image(pixels.repeat(samples, 1, 1, 1))
        hook.remove()
        text_features = clip.model.encode_text(tokens)
        fit = F.cosine_similarity(image_features, text_features).mean()
        loss = beta * kl(passed, x, variance).mean() - fit
        optimizer.zero_grad()
        clip.model.zero_grad()
        loss.backward()
        optimizer.step()
    clip.model.zero_grad()
    prefix = len(x) - clip.grid_size[0] * clip.grid_size[1]
    return kl(torch.sigmoid(alpha.detach()), x, variance).sum(1)[prefix:].reshape(clip.grid_size)


def kl(passed: torch.Tensor, x: torch.Tensor, variance: float) -> torch.Tensor:
    """Between two normal distributions, by torch."""
    inside = torch.distributions.Normal(passed * x, (1 - passed).clamp(min=1e-6) * variance**0.5)
    return torch.distributions.kl_divergence(inside, torch.distributions.Normal(torch.zeros_like(x), variance**0.5))
