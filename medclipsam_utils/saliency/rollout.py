"""Attention rollout: where does the image tower look, whatever was asked?

Abnar & Zuidema 2020, *Quantifying attention flow in transformers*. Block ℓ mixes the tokens by its attention A_ℓ
[N, N], averaged over the heads, and keeps half of each by its skip connection. What reaches the end from each patch is

    R = Π_ℓ ½ (A_ℓ + I),

read in the row of the class token, or by the weights of the attention pooling. No text enters: this is the map of a
method that cannot listen, to compare others with.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import timm.layers
import timm.models.vision_transformer
import torch
from torch import Tensor, nn

from ..images import Image, batch_of, image_size
from ..models import Clip
from ..models.errors import model_error
from .inputs import Text
from .maps import upsample
from .towers import Tower, image_tower, untouched


@torch.no_grad()
def attention_rollout(clip: Clip, images: Image | Sequence[Image], text: Text | None = None) -> list[np.ndarray]:
    """Show where the image tower looks.

    Args:
        clip: any CLIP whose image tower is a vision transformer of timm or open_clip with plain attention, and a class
            token, mean or timm's attention pooling at its end; afterwards as it was.
        images: B of them as :meth:`~medclipsam_utils.models.Clip.preprocess` takes them; one image is a batch of one.
        text: taken as by every method, and ignored: the map is the same for all words.

    Returns:
        B maps float32 [H, W], each of the size of its image, from 0 to 1 (min-max).

    Raises:
        ModelError: the image tower has another kind of attention, or an image does not fit.
    """
    tower = image_tower(clip)
    with untouched(clip.model):
        return [_map(clip, tower, image) for image in batch_of(images)]


def _map(clip: Clip, tower: Tower, image: Image) -> np.ndarray:
    tokens = tower.embed(clip.preprocess(image))
    reached = torch.eye(tokens.shape[1], device=tokens.device)
    for block in tower.blocks:
        norm = block.norm1 if hasattr(block, "norm1") else block.ln_1
        reached = (_attention(clip, block.attn, norm(tokens)) + torch.eye(len(reached)).to(reached)) / 2 @ reached
        tokens = block(tokens)
    patches = (_reading(clip, tower, tower.norms[-1](tokens)) @ reached)[tower.prefix :]
    return upsample(patches.unflatten(0, tower.grid).cpu().numpy(), image_size(image))


def _attention(clip: Clip, attention: Any, tokens: Tensor) -> Tensor:
    """Compute the weights [N, N] with which each token of [1, N, C] takes from each, averaged over the heads."""
    if isinstance(attention, nn.MultiheadAttention):
        return attention(tokens, tokens, tokens, need_weights=True)[1][0]
    if isinstance(attention, timm.models.vision_transformer.Attention):
        query, key, _ = attention.qkv(tokens).unflatten(2, (3, attention.num_heads, -1)).unbind(2)
        return _softmax(attention, query, key).mean(0)
    reason = f"attention rollout needs plain attention, and a block has {type(attention).__name__}"
    raise model_error(clip.name, reason, "Choose another saliency method, such as m2ib")


def _reading(clip: Clip, tower: Tower, tokens: Tensor) -> Tensor:
    """Compute the weights [N] with which the head reads the tokens [1, N, C]."""
    pool = getattr(clip.image_tower, "attn_pool", None)
    if isinstance(pool, timm.layers.AttentionPoolLatent):
        query = pool.q(pool.latent).unflatten(2, (pool.num_heads, -1))
        key = pool.kv(tokens).unflatten(2, (2, pool.num_heads, -1))[:, :, 0]
        return _softmax(pool, query, key).mean((0, 1))
    if pool is not None:
        reason = f"attention rollout does not know the pooling {type(pool).__name__}"
        raise model_error(clip.name, reason, "Choose another saliency method, such as m2ib")
    read = torch.zeros(tokens.shape[1], device=tokens.device)
    read[slice(tower.prefix, None) if tower.reads_patches else 0] = 1
    return read / read.sum()


def _softmax(attention: Any, query: Tensor, key: Tensor) -> Tensor:
    """Compute weights [heads, queries, keys] of query and key [1, N, heads, C / heads]."""
    query, key = attention.q_norm(query)[0].transpose(0, 1), attention.k_norm(key)[0].transpose(0, 1)
    return (attention.scale * query @ key.transpose(1, 2)).softmax(-1)
