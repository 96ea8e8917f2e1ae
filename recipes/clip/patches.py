"""Let the small CLIP look at some patches of an image only, and ask what it says of each."""

from __future__ import annotations

import torch
from open_clip import CustomTextCLIP
from torch import Tensor
from torch.nn import functional as F


def encode_patches(clip: CustomTextCLIP, pixels: Tensor, kept: Tensor | None) -> tuple[Tensor, Tensor]:
    """Encode kept patches: image features [B, D], L2-normalised, and the last block's normalised tokens [B, N, C].

    Args:
        pixels: float32 [B, 3, 128, 128], normalised.
        kept: int64 [B, N]; or [B, P, N / P]: then the blocks see the patches of one part at a time, so that what a
            patch knows comes from its own part, and the pooling sees those of all parts.
    """
    trunk = clip.visual.trunk
    tokens = trunk.patch_embed(pixels.contiguous(memory_format=torch.channels_last)) + trunk.pos_embed
    parts = 1
    if kept is not None:
        parts = kept.shape[1] if kept.ndim == 3 else 1
        tokens = tokens.gather(1, kept.flatten(1)[..., None].expand(-1, -1, tokens.shape[-1]))
    tokens = trunk.norm(trunk.blocks(tokens.unflatten(1, (parts, -1)).flatten(0, 1)))  # (B · P, N / P, C)
    tokens = tokens.unflatten(0, (-1, parts)).flatten(1, 2)  # (B, N, C)
    return F.normalize(clip.visual.head(trunk.forward_head(tokens)), dim=-1), tokens


def patch_features(clip: CustomTextCLIP, tokens: Tensor) -> Tensor:
    """Give what the image tower would answer if it attended to one patch alone: float [B, N, D], L2-normalised.

    Args:
        tokens: float [B, N, C], the normalised output of the last block.
    """
    pool = clip.visual.trunk.attn_pool
    values = F.linear(tokens, *(part.chunk(2)[1] for part in (pool.kv.weight, pool.kv.bias)))
    pooled = pool.proj(values)
    pooled = pooled + pool.mlp(pool.norm(pooled))
    return F.normalize(clip.visual.head(pooled), dim=-1)
