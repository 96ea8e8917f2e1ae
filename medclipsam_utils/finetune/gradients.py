"""The gradient of a contrastive loss for a batch that does not fit into memory at once.

Accumulating the gradients of small batches is *not* training with a large one: each pair would meet the negatives of
its small batch only. Gradient caching (Gao et al. 2021) does it right: encode all parts without keeping what
backward needs; compute the loss of the whole batch and its gradient with respect to the features; then encode each part
again and send the features' gradient back through it. The result is the gradient of the whole batch, for twice the
encoding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

Encode = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


def backward(
    encode: nn.Module,
    loss: nn.Module,
    images: Tensor,
    tokens: Tensor,
    micro_batch_size: int | None,
    seed: list[int],
    groups: Sequence[Tensor] = (),
) -> Tensor:
    """Add the gradient of a batch to the parameters' ``grad`` and return the loss, without gradient.

    Args:
        encode: from images [B, 3, S, S] and token ids [B, L] to both features [B, D]; a module, or one inside
            ``DistributedDataParallel``, whose processes then exchange gradients once.
        loss: loss of both features.
        images: pixels, float32 [B, 3, S, S].
        tokens: token ids, int64 [B, L].
        micro_batch_size: how many pairs are encoded at once; None for all.
        seed: seed of everything random in the towers, such as dropout: the second encoding must repeat the first.
        groups: the groups of the pairs, int64 [B], as a sequence of one, where the loss needs them; empty otherwise.
    """
    if micro_batch_size is None or micro_batch_size >= len(images):
        with seeded([*seed, 0], images.device):
            features = encode(images, tokens)
        value = loss(*features, *groups)
        value.backward()
        return value.detach()

    parts = list(zip(images.split(micro_batch_size), tokens.split(micro_batch_size), strict=True))
    with torch.no_grad():
        encoded = [_encode(encode, part, [*seed, number]) for number, part in enumerate(parts)]
    features = [torch.cat(side).requires_grad_() for side in zip(*encoded, strict=True)]  # images and texts, (B, D)
    value = loss(*features, *groups)
    value.backward()
    gradients = zip(*(side.grad.split(micro_batch_size) for side in features), strict=True)
    for number, (part, gradient) in enumerate(zip(parts, gradients, strict=True)):
        is_last = number == len(parts) - 1
        with encode.no_sync() if isinstance(encode, DistributedDataParallel) and not is_last else nullcontext():
            again = _encode(encode, part, [*seed, number])
            sides = [(side, grad) for side, grad in zip(again, gradient, strict=True) if side.requires_grad]
            outputs, grads = zip(*sides, strict=True)
            torch.autograd.backward(outputs, grads)
    return value.detach()


def _encode(encode: nn.Module, part: tuple[Tensor, Tensor], seed: list[int]) -> tuple[Tensor, Tensor]:
    with seeded(seed, part[0].device):
        return encode(*part)


@contextmanager
def seeded(seed: list[int], device: torch.device) -> Iterator[None]:
    """Seed torch's default generators inside, so that dropout repeats itself; afterwards they are as before."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(int(np.random.SeedSequence(seed).generate_state(1, np.uint64)[0]) >> 1)
        yield
