"""Patch–text cosines: how much does each patch, by itself, look like the words?

A CLIP compares a sentence with the whole image, which its image tower pools from patches. Zhou, Loy & Dai (MaskCLIP,
ECCV 2022) leave the pooling out: each patch is sent through the rest of the tower as if it were the only one,

    saliency_p = cos( f(x_p), t ),

where x_p are the tokens before attention pools them and f is what remains. Attention to a single token returns the
value of that token, so this is MaskCLIP's "value path". Tokens have met each other in the blocks before: a patch knows
its surroundings. One forward pass makes the map, no gradient, and any number of sentences share it.

**Where attention pools** depends on the tower. In CLIP and BiomedCLIP a class token collects the image in the last
block, so x are the tokens before that block. A tower with an attention pool behind its blocks, such as the small CLIP,
has x after them.

**Neighbourhood** (Hajimiri, Ben Ayed & Dolz, NACLIP, WACV 2025): in the last block patches look at patches that are
near and have similar keys k,

    softmax_q( k_p · k_q / √d + exp( −|p − q|² / 2σ² ) ),

and the block's skip connection and MLP are left out. Where an attention pool follows, they stay: it was trained on
them.

**Windows** are ours. In its blocks a patch may take up what any other patch shows, and then the map is bright where
the words are *known* to be true, not where they are. Here the tower sees one window of the image at a time and pools
it, as if it were an image; a patch gets the mean of the windows that hold it. That suits a CLIP that was trained so,
such as ``tiny-base``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from ..images import Image, batch_of, image_size
from ..models import Clip
from .inputs import Text, text_features
from .maps import upsample
from .towers import Tower, image_tower, untouched

# Images that are encoded together.
_TOGETHER = 32


def patch_text(
    clip: Clip,
    images: Image | Sequence[Image],
    text: Text,
    *,
    neighbourhood: float | None = None,
    windows: int | None = None,
) -> list[np.ndarray]:
    """Make maps of the cosine between each patch and the text.

    Args:
        clip: any CLIP whose image tower is a vision transformer of timm or open_clip; afterwards as it was.
        images, text: as :func:`~medclipsam_utils.saliency.m2ib` takes them.
        neighbourhood: σ of NACLIP's window in patches, above 0 (its authors take 5); None leaves the last block as it
            was trained.
        windows: how many windows along each side of the image the tower sees one at a time, a divisor of the rows and
            columns of patches; the map is the mean over all places of the windows. None is the whole image at once.

    Returns:
        B maps float32 [H, W], each of the size of its image, from 0 to 1 (min-max). A map without contrast is all 0.

    Raises:
        ModelError: the image tower has no blocks, or an image or a text does not fit.
        ValueError: ``neighbourhood`` is not above 0, the patches cannot be divided into so many ``windows``, both are
            given, or there is another number of texts than of images.
    """
    batch = batch_of(images)
    cosines = patch_cosines(clip, batch, text, neighbourhood, windows).cpu().numpy()  # (B, rows, columns)
    return [upsample(grid, image_size(image)) for grid, image in zip(cosines, batch, strict=True)]


def patch_cosines(
    clip: Clip,
    images: Image | Sequence[Image],
    text: Text,
    neighbourhood: float | None = None,
    windows: int | None = None,
) -> Tensor:
    """Compute the cosines of patches and text, float32 [B, rows, columns] from −1 to 1: :func:`patch_text`'s maps.

    Arguments and errors are those of :func:`patch_text`.
    """
    images = batch_of(images)
    with untouched(clip.model):
        texts = functional.normalize(text_features(clip, text, len(images)), dim=-1)  # (B, D)
        return torch.einsum("brcd,bd->brc", patch_features(clip, images, neighbourhood, windows), texts)


def patch_features(
    clip: Clip, images: Image | Sequence[Image], neighbourhood: float | None = None, windows: int | None = None
) -> Tensor:
    """Encode each patch as if the tower attended to it alone, or to the windows that hold it.

    Arguments and errors are those of :func:`patch_text`.

    Returns:
        float32 [B, rows, columns, D], L2-normalised; with windows the mean of those that are.
    """
    if neighbourhood is not None and not (neighbourhood > 0 and math.isfinite(neighbourhood)):
        raise ValueError(f"neighbourhood is {neighbourhood}: give a number of patches above 0, or None")
    if neighbourhood is not None and windows is not None:
        raise ValueError("neighbourhood and windows are given: choose one of them")
    images = batch_of(images)
    tower = image_tower(clip)
    seen = images or [np.zeros((1, 1, 3), dtype=np.uint8)]  # without images, this one tells what D is
    found = []
    with untouched(clip.model), torch.no_grad():
        places = [] if windows is None else _moved_windows(tower.grid, windows)
        for start in range(0, len(seen), _TOGETHER):
            tokens = tower.embed(clip.preprocess(seen[start : start + _TOGETHER]))  # (B, N, C)
            each = [_features_of_windows(tower, tokens, place) for place in places]
            features = torch.stack(each).mean(dim=0) if each else _features(tower, tokens, neighbourhood)
            found.append(features.unflatten(1, tower.grid))
    return torch.cat(found)[: len(images)]


def divide(grid: tuple[int, int], sides: int, moved: tuple[int, int] = (0, 0)) -> Tensor:
    """Divide a grid of patches into sides × sides windows.

    Args:
        grid: rows and columns of patches.
        sides: number of windows along each side.
        moved: by how many rows and columns the windows are moved; one may go on at the opposite edge.

    Returns:
        int64 [sides², patches of a window]: indices of patches, row by row. Each patch is in one window.

    Raises:
        ValueError: the grid cannot be divided into so many.
    """
    choices = [count for count in range(1, min(grid) + 1) if not any(side % count for side in grid)]
    if sides not in choices:
        grid_choices = f"of {grid[0]} × {grid[1]} patches, {', '.join(map(str, choices))}"
        raise ValueError(f"windows is {sides!r}: give a divisor of the grid {grid_choices}, or None")
    sides = int(sides)
    rows, columns = (side // sides for side in grid)
    places = torch.arange(grid[0] * grid[1]).reshape(grid).roll((-moved[0], -moved[1]), dims=(0, 1))
    return places.reshape(sides, rows, sides, columns).transpose(1, 2).reshape(sides**2, rows * columns)


def _moved_windows(grid: tuple[int, int], sides: int) -> list[Tensor]:
    """Place windows in all ways, moved by every number of rows and columns that makes other windows."""
    whole = divide(grid, sides)
    if len(whole) == 1:
        return [whole]
    rows, columns = (range(side // int(sides)) for side in grid)
    return [divide(grid, sides, (row, column)) for row in rows for column in columns]


def _features_of_windows(tower: Tower, tokens: Tensor, windows: Tensor) -> Tensor:
    """Pool each of the windows of tokens [B, N, C] by itself, and give what it is to its patches: [B, patches, D]."""
    count, each = windows.shape
    prefix, patches = tokens[:, : tower.prefix], tokens[:, tower.prefix :]
    parts = patches[:, windows].flatten(0, 1)  # (B · windows, patches of a window, C)
    parts = tower.run(torch.cat([prefix.repeat_interleave(count, dim=0), parts], dim=1), 0)
    features = functional.normalize(tower.finish(parts), dim=-1).unflatten(0, (-1, count))  # (B, windows, D)
    return features.repeat_interleave(each, dim=1)[:, windows.flatten().argsort()]


def _features(tower: Tower, tokens: Tensor, neighbourhood: float | None) -> Tensor:
    """Encode each patch of tokens [B, N, C] alone: [B, patches, D]."""
    alone = _before_pooling(tower, tokens, neighbourhood).flatten(0, 1)[:, None]  # (B · patches, 1, C)
    # A tower with a class token finds the patch in its place too.
    features = tower.finish(_rest(tower, alone.expand(-1, tower.prefix + 1, -1), neighbourhood))
    return functional.normalize(features, dim=-1).unflatten(0, (len(tokens), -1))


def _before_pooling(tower: Tower, tokens: Tensor, neighbourhood: float | None) -> Tensor:
    """Run the blocks up to where attention pools the patches: tokens of the patches [B, patches, C]."""
    if neighbourhood is None:
        return tower.run(tokens, 0, None if tower.reads_patches else -1)[:, tower.prefix :]
    tokens, last = tower.run(tokens, 0, -1)[:, tower.prefix :], tower.blocks[-1]
    near = _attend_nearby(last, tokens, tower.grid, neighbourhood)
    if not tower.reads_patches:
        return near
    scale, norm, mlp_scale = _residual_parts(last)
    tokens = tokens + scale(near)
    return tokens + mlp_scale(last.mlp(norm(tokens)))


def _rest(tower: Tower, alone: Tensor, neighbourhood: float | None) -> Tensor:
    """Run what remains of the blocks on patches that are alone."""
    return alone if tower.reads_patches or neighbourhood is not None else tower.run(alone, -1)


def _attend_nearby(block: Any, tokens: Tensor, grid: tuple[int, int], sigma: float) -> Tensor:
    """Attend to near patches with similar keys: the attention of a block of timm or open_clip, [B, patches, C]."""
    attention = block.attn
    if isinstance(attention, nn.MultiheadAttention):  # open_clip
        weight, bias, project = attention.in_proj_weight, attention.in_proj_bias, attention.out_proj
        tokens = block.ln_1(tokens)
    else:  # timm
        weight, bias, project = attention.qkv.weight, attention.qkv.bias, attention.proj
        tokens = block.norm1(tokens)
    _, keys, values = (
        part.unflatten(2, (attention.num_heads, -1)).transpose(1, 2)  # (B, heads, patches, d)
        for part in functional.linear(tokens, weight, bias).chunk(3, dim=2)
    )
    likeness = keys @ keys.transpose(2, 3) / keys.shape[-1] ** 0.5 + _nearness(grid, sigma).to(keys)
    return project((likeness.softmax(-1) @ values).transpose(1, 2).flatten(2))


def _nearness(grid: tuple[int, int], sigma: float) -> Tensor:
    """Compute exp(−|p − q|² / 2σ²) of all pairs of patches: float32 [patches, patches]."""
    rows, columns = torch.meshgrid(*(torch.arange(side, dtype=torch.float32) for side in grid), indexing="ij")
    places = torch.stack([rows.flatten(), columns.flatten()], dim=1)
    return torch.exp(-torch.cdist(places, places).square() / (2 * sigma**2))


def _residual_parts(block: Any) -> tuple[nn.Module, nn.Module, nn.Module]:
    """Find a block's layer scale, the norm of its MLP, and the MLP's layer scale."""
    if isinstance(block.attn, nn.MultiheadAttention):  # open_clip
        return block.ls_1, block.ln_2, block.ls_2
    return block.ls1, block.norm2, block.ls2
