"""Let the small CLIP look at some patches of an image only, and ask what it says of each."""

from __future__ import annotations

import torch
from open_clip import CustomTextCLIP
from torch import Tensor
from torch.nn import functional as F

from medclipsam_utils.models.tiny_clip import IMAGE_SIZE, PATCH_SIZE

GRID = IMAGE_SIZE // PATCH_SIZE


def encode_patches(clip: CustomTextCLIP, pixels: Tensor, kept: Tensor | None) -> tuple[Tensor, Tensor]:
    """Encode kept patches: image features [B, D], L2-normalised, and the last block's normalised tokens [B, N, C].

    Args:
        pixels: float32 [B, 3, 128, 128], normalised.
        kept: int64 [B, N]; or [B, W, N / W]: then the blocks see the patches of one window at a time, so that what a
            patch knows comes from its own window, and the pooling sees those of all windows; None for all patches.
    """
    tokens = _run_blocks(clip, pixels, kept).flatten(1, 2)
    return _pool(clip, tokens), tokens


def encode_windows(clip: CustomTextCLIP, pixels: Tensor, kept: Tensor | None) -> tuple[Tensor, Tensor]:
    """Encode windows one by one: image features [B, D], pooled from all of them, and their own [B, W, D].

    Args:
        pixels: float32 [B, 3, 128, 128], normalised.
        kept: int64 [B, W, patches of a window]; None for one window, the whole image.

    Returns:
        Both L2-normalised.
    """
    tokens = _run_blocks(clip, pixels, kept)
    return _pool(clip, tokens.flatten(1, 2)), _pool(clip, tokens.flatten(0, 1)).unflatten(0, tokens.shape[:2])


def _run_blocks(clip: CustomTextCLIP, pixels: Tensor, kept: Tensor | None) -> Tensor:
    """Run the blocks on each window by itself: normalised tokens [B, W, patches, C]; W is 1 without windows."""
    trunk = clip.visual.trunk
    tokens = trunk.patch_embed(pixels.contiguous(memory_format=torch.channels_last)) + trunk.pos_embed
    parts = kept.shape[1] if kept is not None and kept.ndim == 3 else 1
    if kept is not None:
        tokens = tokens.gather(1, kept.flatten(1)[..., None].expand(-1, -1, tokens.shape[-1]))
    tokens = tokens.unflatten(1, (parts, -1))
    return trunk.norm(trunk.blocks(tokens.flatten(0, 1))).unflatten(0, tokens.shape[:2])


def _pool(clip: CustomTextCLIP, tokens: Tensor) -> Tensor:
    return F.normalize(clip.visual.head(clip.visual.trunk.forward_head(tokens)), dim=-1)


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
