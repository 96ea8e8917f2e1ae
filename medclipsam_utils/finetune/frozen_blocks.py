"""Fine-tune the layers behind the transformer blocks of the image tower, on a processor, in minutes.

Nearly all the work of a step is in the blocks of the image tower. Where these are not trained, the tokens that they
make of an image never change: we compute them once and keep them, and a step trains the pooling and the projection of
the image tower and the whole text tower. Locking the lower part of a tower is common; Zhai et al. 2022, *LiT*, lock all
of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeGuard

import torch
from open_clip import CustomTextCLIP
from open_clip.timm_model import TimmModel
from torch import Tensor, nn
from torch.nn import functional

from ..images import Image
from ..models import Clip
from ..models.errors import model_error


class FrozenBlocks(Clip):
    """A CLIP that takes images which have been through the blocks of its image tower already::

        trainable = FrozenBlocks(clip)
        pairs = [{"image": trainable.tokens(item["image"]), "caption": item["caption"]} for item in dataset]
        finetune(trainable, pairs, DHNNCELoss(), config)

    Its weights are those of the CLIP that it was made from, which is therefore trained along; those of patch embedding,
    blocks and last norm have no gradient from then on. Wherever a :class:`~medclipsam_utils.models.Clip` takes images,
    this one also takes their tokens: float16 [N, C] each, with N tokens of C channels. An image itself goes through the
    blocks first, and its tokens have the same precision.

    Raises:
        ModelError: the image tower is not a timm model inside an open_clip model of two towers.
    """

    def __init__(self, clip: Clip):
        model = clip.model
        if not (isinstance(model, CustomTextCLIP) and isinstance(model.visual, TimmModel)):
            reason = f"its image tower, {type(clip.image_tower).__name__}, cannot be parted after its blocks"
            raise model_error(clip.name, reason, "Choose a model such as tiny or biomedclip, or fine-tune all of it")
        parts = clip.tokenizer, clip.image_size, clip.mean, clip.std, clip.config, clip.windows
        super().__init__(clip.name, _AfterBlocks(model), *parts)
        self._preprocess_pixels = clip.preprocess
        self._run_blocks: Callable[[Tensor], Tensor] = model.visual.trunk.forward_features
        for name, parameter in model.visual.trunk.named_parameters():
            if not name.startswith(("attn_pool", "fc_norm", "head")):
                parameter.requires_grad_(False)

    @torch.no_grad()
    def tokens(self, images: Image | Sequence[Image]) -> Tensor:
        """Run the blocks on one image: float16 [N, C]; on a batch [B, 3, H, W] or on several: [B, N, C]."""
        pixels = self._preprocess_pixels(images)  # (B, 3, S, S)
        tokens = self._run_blocks(pixels).half()  # (B, N, C)
        single = not isinstance(images, list | tuple) and getattr(images, "ndim", 3) == 3
        return tokens[0] if single else tokens

    def preprocess(self, images: Image | Sequence[Image]) -> Tensor:
        """Bring tokens, or images, to the form in which the rest of the image tower takes them.

        Args:
            images: tokens of one image, float [N, C]; of several, [B, N, C] or a list; or what
                :meth:`Clip.preprocess <medclipsam_utils.models.Clip.preprocess>` takes.

        Returns:
            float32 [B, N, C] on the model's device; an empty sequence gives [0, N, C].
        """
        if isinstance(images, list | tuple) and not images:  # a blank image tells N and C
            blank = torch.zeros(1, 3, self.image_size, self.image_size, dtype=torch.uint8)
            return self.tokens(blank)[:0].float()
        tokens = _stacked(images) if _are_tokens(images) else self.tokens(images)
        return (tokens if tokens.ndim == 3 else tokens[None]).to(self.device).float()


def _are_tokens(images: Image | Sequence[Image]) -> TypeGuard[Tensor | Sequence[Tensor]]:
    """Tell tokens, which are floating point, from images, which are uint8."""
    several = images if isinstance(images, list | tuple) else [images]
    return all(isinstance(image, Tensor) and image.is_floating_point() for image in several)


def _stacked(tokens: Tensor | Sequence[Tensor]) -> Tensor:
    return tokens if isinstance(tokens, Tensor) else torch.stack(list(tokens))


class _AfterBlocks(nn.Module):
    """A model that starts from tokens; its weights have the names that they have in the whole model."""

    def __init__(self, model: CustomTextCLIP):
        super().__init__()
        self.visual, self.text = model.visual, model.text
        for name in ("logit_scale", "logit_bias"):
            self.register_parameter(name, getattr(model, name, None))
        self._encode_text = [model.encode_text]  # in a list, so that the whole model is no part of this one

    def encode_image(self, tokens: Tensor, normalize: bool = False) -> Tensor:
        """Embed tokens [B, N, C]: [B, D]."""
        pooled = self.visual.trunk.forward_head(tokens)  # (B, N, C) to (B, C)
        features = self.visual.head(pooled)  # (B, D)
        return functional.normalize(features, dim=-1) if normalize else features

    def encode_text(self, tokens: Tensor, normalize: bool = False) -> Tensor:
        """Embed token ids [B, L]: [B, D]."""
        return self._encode_text[0](tokens, normalize=normalize)
