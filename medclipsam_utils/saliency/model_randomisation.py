"""Model randomisation: does the map change when the model forgets what it learned?

Adebayo et al. 2018, *Sanity checks for saliency maps*. The weights of the image tower are destroyed from the top down,
part by part. A map that stays as it was shows the image (its edges, its bright spots), not what the model knows.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import numpy as np
import torch
from scipy.stats import rankdata
from torch import nn

from ..images import Image
from ..models import Clip
from ..models.context import own_context
from .inputs import Method, Text, text_features
from .towers import image_tower

# What comes before the blocks, by the names of timm and open_clip.
_OF_TIMM = {"patch_embed", "pos_embed", "cls_token", "reg_token", "norm_pre"}
_OF_OPEN_CLIP = {"conv1", "positional_embedding", "class_embedding", "ln_pre"}
_EMBEDDING = _OF_TIMM | _OF_OPEN_CLIP


@own_context()
def randomisation(
    method: Method, clip: Clip, images: Sequence[Image], text: Text, *, seed: int = 0
) -> dict[str, np.ndarray]:
    """Measure how alike the maps of the model and of its more and more destroyed copies are.

    Args:
        method: makes the maps, for example ``partial(m2ib, layer=5, beta=0.1)``.
        clip: any CLIP that ``method`` takes; afterwards as it was.
        images: B of them.
        text: one for all, or one per image. Its features are those of the intact model throughout.
        seed: seed of the generator that shuffles the entries of each weight tensor.

    Returns:
        Spearman's rank correlation float [B] with the map of the intact model, by what was destroyed last: ``"head"``
        (all that follows the blocks), ``"block 5"``, ``"block 4"``, … ``"block 0"``, ``"embedding"``, each on top of
        those before it.
    """
    features = text_features(clip, text, len(images))
    intact = method(clip, images, features)
    victim = copy.deepcopy(clip)
    generator = torch.Generator().manual_seed(seed)
    found = {}
    for name, parameters in _parts(victim).items():
        _shuffle(parameters, generator)
        found[name] = np.array(
            [map_correlation(*pair) for pair in zip(intact, method(victim, images, features), strict=True)]
        )
    return found


def map_correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Spearman's rank correlation of two maps [H, W], from -1 to 1; 0 if one of them is constant."""
    ranks = [rankdata(values, axis=None) for values in (first, second)]
    if min(np.ptp(values) for values in ranks) == 0:
        return 0.0
    return float(np.corrcoef(*ranks)[0, 1])


def _parts(clip: Clip) -> dict[str, list[nn.Parameter]]:
    """List the weights of the image tower by part, from the top down."""
    blocks = image_tower(clip).blocks
    in_blocks = {parameter for block in blocks for parameter in block.parameters()}
    head: list[nn.Parameter] = []
    embedding: list[nn.Parameter] = []
    for name, parameter in clip.model.visual.named_parameters():
        if parameter not in in_blocks:
            is_first = name.removeprefix("trunk.").split(".")[0] in _EMBEDDING
            (embedding if is_first else head).append(parameter)
    named = {f"block {number}": list(block.parameters()) for number, block in enumerate(blocks)}
    return {"head": head, **dict(reversed(named.items())), "embedding": embedding}


@torch.no_grad()
def _shuffle(parameters: Sequence[nn.Parameter], generator: torch.Generator) -> None:
    for parameter in parameters:
        order = torch.randperm(parameter.numel(), generator=generator).to(parameter.device)
        parameter.copy_(parameter.flatten()[order].view_as(parameter))
