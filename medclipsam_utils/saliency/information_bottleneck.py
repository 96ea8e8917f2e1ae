"""Multi-modal information bottleneck: what of an image does a sentence need?

Wang, Rudner & Wilson, NeurIPS 2023; section 3.2 of Koleilat et al. 2025. After block ℓ of the image tower the tokens x
[N, C] are mixed with noise,

    z = λ x + (1 − λ) ε,    ε ~ N(0, σ²),    λ = sigmoid(α),

entry by entry. A λ of 1 lets an entry pass, a λ of 0 replaces it by noise. The mask is found by Adam steps on α that
keep the similarity to the text t and pay for information:

    minimise  β · mean KL( N(λx, (1 − λ)² σ²) ‖ N(0, σ²) ) − cos( f(z), t ),

where f are the blocks after ℓ. What is left of the information, KL in nats summed over the channels, is the saliency of
a patch. In closed form, with μ = λx,

    KL = ½ ( μ²/σ² + (1 − λ)² − 1 − log (1 − λ)² ).

What does not change from step to step is computed once: the tokens x and the text. A step runs the blocks after ℓ only,
and computes no gradient of any weight.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ..images import Image, batch_of, image_size
from ..models import Clip
from ..models.context import own_context
from .inputs import Text, text_features
from .maps import upsample
from .towers import image_tower, untouched

#: Where α starts: λ = 0.993, nearly everything passes.
START = 5.0

# (1 − λ)² is at least this: sigmoid of a large α is 1 in single precision, and log 0 is not finite.
_LEAST_VARIANCE = 1e-12

# Channels that are equal on all patches have no scale of their own.
_LEAST_SCALE = 1e-6

# Noisy copies of images that are computed together: more need more memory and are no faster on a processor.
_TOGETHER = 40


def information(passed: Tensor, signal: Tensor, variance: float = 1.0) -> Tensor:
    """KL( N(λx, (1 − λ)² σ²) ‖ N(0, σ²) ) in nats, of the shape of λ and x.

    Args:
        passed: λ, from 0 to 1.
        signal: x.
        variance: σ², above 0.
    """
    spread = (1 - passed).square()
    return 0.5 * ((passed * signal).square() / variance + spread - 1 - torch.log(spread.clamp(min=_LEAST_VARIANCE)))


@dataclass(frozen=True)
class Bottleneck:
    """Settings by which a mask is found.

    Attributes:
        beta: price of information, 0 or above; larger keeps less.
        variance: σ² of the noise, above 0.
        steps: number of Adam steps, 1 or more.
        samples: noise samples per step, 1 or more.
        lr: learning rate of Adam, above 0.
        seed: seed of the noise generator.
        standardize: shift and scale the channels of x to mean 0 and deviation 1 over the tokens of an image or a text,
            as far as the noise is concerned. The method as published mixes noise of one size into whatever size a
            block's tokens have; with this, β and σ² mean the same in every block of every model.

    Raises:
        ValueError: a setting is out of range.
    """

    beta: float
    variance: float = 1.0
    steps: int = 10
    samples: int = 10
    lr: float = 1.0
    seed: int = 0
    standardize: bool = False

    def __post_init__(self):
        if not (self.beta >= 0 and math.isfinite(self.beta)):
            raise ValueError(f"beta is {self.beta}: give 0 or above")
        for name in ("variance", "lr"):
            value = getattr(self, name)
            if not (value > 0 and math.isfinite(value)):
                raise ValueError(f"{name} is {value}: give a number above 0")
        for name in ("steps", "samples"):
            value = getattr(self, name)
            if value != int(value) or value < 1:
                raise ValueError(f"{name} is {value}: give a whole number, 1 or more")

    @own_context()
    def information(
        self,
        tokens: Tensor,
        similarity: Callable[[Tensor], Tensor],
        watch: Callable[[Tensor, Tensor], None] | None = None,
    ) -> Tensor:
        """Compute what is left of each token in nats, [B, N]: the KL of the last step's mask, summed over the channels.

        Args:
            tokens: [B, N, C], without gradient.
            similarity: from noisy tokens [S · B, N, C] to their cosines [S · B]; sample after sample, each of all B.
                All B meet the same noise.
            watch: called in every step with λ [B, N, C] and the mean cosine [B], for a look inside.
        """
        mean, scale = tokens.new_zeros(()), tokens.new_ones(())
        if self.standardize:
            mean, scale = tokens.mean(1, keepdim=True), tokens.std(1, keepdim=True).clamp(min=_LEAST_SCALE)
        signal = (tokens - mean) / scale
        generator = torch.Generator().manual_seed(self.seed)
        alpha = torch.full_like(signal, START, requires_grad=True)
        adam = torch.optim.Adam([alpha], lr=self.lr)
        for _ in range(self.steps):
            shape = (self.samples, 1, *signal.shape[1:])
            noise = torch.randn(shape, generator=generator).to(signal) * self.variance**0.5
            passed = alpha.sigmoid()
            mixed = (passed * signal + (1 - passed) * noise) * scale + mean  # (S, B, N, C)
            fit = similarity(mixed.flatten(0, 1)).unflatten(0, (self.samples, -1)).mean(0)
            price = information(passed, signal, self.variance).mean((1, 2))
            (alpha.grad,) = torch.autograd.grad((self.beta * price - fit).sum(), alpha)
            adam.step()
            if watch is not None:
                watch(passed.detach(), fit.detach())
        return information(alpha.detach().sigmoid(), signal, self.variance).sum(-1)


def m2ib(
    clip: Clip,
    images: Image | Sequence[Image],
    text: Text,
    *,
    layer: int,
    beta: float,
    variance: float = 1.0,
    steps: int = 10,
    samples: int = 10,
    lr: float = 1.0,
    seed: int = 0,
    standardize: bool = False,
    watch: Callable[[Tensor, Tensor], None] | None = None,
) -> list[np.ndarray]:
    """Find where in an image is what the sentence needs.

    Args:
        clip: any CLIP whose image tower is a vision transformer of timm or open_clip; afterwards as it was.
        images: B of them as :meth:`~medclipsam_utils.models.Clip.preprocess` takes them; one image is a batch of one.
        text: one sentence for all images, or one per image; or features float [D] or [B, D], for the mean of several
            sentences or a difference of two.
        layer: ℓ, the block after which the bottleneck sits, from 0; negative ones count from the last, -1. Not the last
            one where the tower reads its class token alone, as those of CLIP and BiomedCLIP do.
        beta, variance, steps, samples, lr, seed, standardize: see :class:`Bottleneck`. All images meet the same noise,
            so that a map does not depend on what else is in the call.
        watch: called in every step with λ [B, N, C] and the similarity [B] of the images that are computed together.

    Returns:
        B maps float32 [H, W], each of the size of its image, from 0 to 1 (min-max). A map without contrast is all 0.

    Raises:
        ModelError: the image tower has no blocks, or an image or a text does not fit.
        ValueError: a setting is out of range, or there is another number of texts than of images.
    """
    bottleneck = Bottleneck(beta, variance, steps, samples, lr, seed, standardize)
    batch = batch_of(images)
    nats = patch_information(clip, batch, text, layer, bottleneck, watch).cpu().numpy()  # (B, rows, columns)
    return [upsample(grid, image_size(image)) for grid, image in zip(nats, batch, strict=True)]


def patch_information(
    clip: Clip,
    images: Image | Sequence[Image],
    text: Text,
    layer: int,
    bottleneck: Bottleneck,
    watch: Callable[[Tensor, Tensor], None] | None = None,
) -> Tensor:
    """Measure the information of each patch in nats, float32 [B, rows, columns], of which :func:`m2ib` makes its maps.

    Arguments and errors are those of :func:`m2ib`.
    """
    images = batch_of(images)
    tower = image_tower(clip)
    layer = check_block(layer, len(tower.blocks), "image tower", tower.reads_patches)
    together = max(1, _TOGETHER // bottleneck.samples)
    found = [torch.empty(0, *tower.grid, dtype=torch.float32, device=clip.device)]
    with untouched(clip.model):
        wanted = text_features(clip, text, len(images))
        for start in range(0, len(images), together):
            part = slice(start, start + together)
            with torch.no_grad():
                tokens = tower.run(tower.embed(clip.preprocess(images[part])), 0, layer + 1)

            def similarity(mixed: Tensor, text: Tensor = wanted[part]) -> Tensor:
                features = tower.finish(tower.run(mixed, layer + 1))
                return functional.cosine_similarity(features.unflatten(0, (-1, len(text))), text, dim=-1).flatten()

            nats = bottleneck.information(tokens, similarity, watch)
            found.append(nats[:, tower.prefix :].unflatten(1, tower.grid))
    return torch.cat(found)


def check_block(layer: int, count: int, tower: str, reads_all: bool) -> int:
    """Count a block from 0; ValueError if the tower has no such block, or a bottleneck would not act there."""
    if not -count <= layer < count:
        raise ValueError(f"layer is {layer}: the {tower} has {count} blocks, give 0 to {count - 1}, or -{count} to -1")
    if layer % count == count - 1 and not reads_all:
        reason = f"after the last block the {tower} reads one token alone, and the others do not matter"
        raise ValueError(f"layer is {layer}: {reason}; give {count - 2} or less")
    return layer % count
