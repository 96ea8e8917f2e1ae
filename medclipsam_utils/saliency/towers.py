"""A transformer in three parts (embedding, blocks, head), so that what follows a block can be run alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock
from typing import Any

import timm.models.vision_transformer
from open_clip.transformer import VisionTransformer
from torch import Tensor, nn

from ..models import Clip
from ..models.context import own_context
from ..models.errors import model_error


@dataclass(frozen=True, eq=False)
class Tower:
    """The image tower of a CLIP.

    Attributes:
        embed: from pixels [B, 3, S, S] to tokens [B, N, C].
        blocks: from tokens to tokens, one after the other.
        finish: from the last block's tokens to features [B, D], not normalised.
        norms: for each block, the module that normalises its tokens for what reads them next; the block itself where
            nothing does.
        prefix: how many tokens, at the front, are of no patch (the class token).
        reads_patches: whether ``finish`` makes the features of the patches, and not of the class token alone.
        grid: rows and columns of patches; N is prefix + rows · columns.
    """

    embed: Callable[[Tensor], Tensor]
    blocks: Sequence[Any]  # modules, from tokens to tokens; what is in them depends on their class
    finish: Callable[[Tensor], Tensor]
    norms: Sequence[nn.Module]
    prefix: int
    reads_patches: bool
    grid: tuple[int, int]

    def run(self, tokens: Tensor, start: int, stop: int | None = None) -> Tensor:
        """Tokens after the blocks ``start`` to ``stop`` - 1 (to the last one if None)."""
        for block in self.blocks[start:stop]:
            tokens = block(tokens)
        return tokens


def image_tower(clip: Clip) -> Tower:
    """Take a CLIP's image tower apart: a timm vision transformer, as in BiomedCLIP, or open_clip's own, as in CLIP.

    Raises:
        ModelError: it is neither.
    """
    visual: Any = clip.model.visual
    trunk: Any = clip.image_tower
    blocks: list[Any]
    if isinstance(trunk, timm.models.vision_transformer.VisionTransformer):
        blocks = list(trunk.blocks)
        return Tower(
            embed=lambda pixels: trunk.norm_pre(trunk.patch_drop(trunk._pos_embed(trunk.patch_embed(pixels)))),
            blocks=blocks,
            finish=lambda tokens: visual.head(trunk.forward_head(trunk.norm(tokens))),
            norms=[*(block.norm1 for block in blocks[1:]), trunk.norm],
            prefix=trunk.num_prefix_tokens,
            reads_patches=trunk.attn_pool is not None or trunk.global_pool != "token",
            grid=clip.grid_size,
        )
    if isinstance(trunk, VisionTransformer) and trunk.transformer.batch_first:
        blocks = list(trunk.transformer.resblocks)
        after_pool = trunk.attn_pool is not None or trunk.final_ln_after_pool
        return Tower(
            embed=trunk._embeds,
            blocks=blocks,
            finish=lambda tokens: _project(trunk._pool(tokens)[0], trunk.proj),
            norms=[*(block.ln_1 for block in blocks[1:]), blocks[-1] if after_pool else trunk.ln_post],
            prefix=1,
            reads_patches=trunk.attn_pool is not None or trunk.pool_type != "tok",
            grid=clip.grid_size,
        )
    reason = f"saliency needs the blocks of a vision transformer, and the image tower is a {type(trunk).__name__}"
    raise model_error(clip.name, reason, "Choose a model with a ViT of timm or open_clip, such as tiny or biomedclip")


def _project(features: Tensor, weight: Tensor | None) -> Tensor:
    return features if weight is None else features @ weight


@contextmanager
def untouched(model: nn.Module) -> Iterator[None]:
    """Put a model into evaluation mode without gradients of its weights; afterwards all of it is as it was.

    Gradients of other tensors can be computed inside, whatever the caller's context is: see
    :func:`~medclipsam_utils.models.context.own_context`. Several threads may be inside with one model, each in calls of
    its own; the last one to leave, also by an error, gives it back as the first one found it. To train a model while
    another thread is inside is not possible.

    Raises:
        ModelError: the model was made or moved inside ``torch.inference_mode()``, where weights lose their gradients.
    """
    if any(parameter.is_inference() for parameter in model.parameters()):
        reason = "its weights were made inside torch.inference_mode(), and no gradient can pass them"
        raise model_error(type(model).__name__, reason, "Make the model outside of it, or load it with load_clip")
    with own_context():
        with _LOCK:
            state = _STATES.get(model)
            if state is None:
                state = _STATES[model] = _State(model)
                model.eval().requires_grad_(False)
            state.users += 1
        try:
            yield
        finally:
            with _LOCK:
                state.users -= 1
                if not state.users:
                    del _STATES[model]
                    state.restore()


class _State:
    """What a model was like before the first of its ``users`` came."""

    def __init__(self, model: nn.Module):
        self.users = 0
        self.modes = {module: module.training for module in model.modules()}
        self.wanted = {parameter: (parameter.requires_grad, parameter.grad) for parameter in model.parameters()}

    def restore(self) -> None:
        for module, mode in self.modes.items():
            module.training = mode
        for parameter, (value, gradient) in self.wanted.items():
            parameter.requires_grad_(value)
            parameter.grad = gradient


# The models that are in use, for all threads; a model is an entry for as long as somebody is inside.
_LOCK = Lock()
_STATES: dict[nn.Module, _State] = {}
