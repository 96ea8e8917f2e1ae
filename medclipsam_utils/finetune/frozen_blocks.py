"""Fine-tune the layers behind the transformer blocks of the image tower, on a processor, in minutes.

Nearly all the work of a step is in the blocks of the image tower. Where these are not trained, their answer to an image
never changes: we compute it once and keep it, and a step trains the pooling and the projection of the image tower
and the whole text tower. Locking the lower part of a tower is common; Zhai et al. 2022, *LiT*, lock all of it.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..images import Image
from ..models import Clip
from ..models.errors import model_error


class FrozenBlocks(Clip):
    """A CLIP whose images have been through the blocks of its image tower already::

        trainable = FrozenBlocks(clip)
        pairs = [{"image": trainable.tokens(item["image"]), "caption": item["caption"]} for item in dataset]
        finetune(trainable, pairs, DHNNCELoss(), config)

    Its weights are those of the CLIP that it was made from, which is therefore trained along; those of patch embedding,
    blocks and last norm have no gradient from then on. Images, wherever a :class:`~medclipsam_utils.models.Clip` takes
    some, are the tokens of images: float16 [N, C] each, with N tokens of C channels.

    Raises:
        ModelError: the image tower is not a timm model inside an open_clip model of two towers.
    """

    def __init__(self, clip: Clip):
        trunk = clip.image_tower
        if not (hasattr(trunk, "forward_head") and hasattr(clip.model.visual, "head") and hasattr(clip.model, "text")):
            reason = f"its image tower, {type(trunk).__name__}, cannot be parted after its blocks"
            raise model_error(clip.name, reason, "Choose a model such as tiny or biomedclip, or fine-tune all of it")
        model = _AfterBlocks(clip.model)
        super().__init__(clip.name, model, clip.tokenizer, clip.image_size, clip.mean, clip.std, clip.config)
        self._preprocess_pixels = clip.preprocess
        for name, parameter in trunk.named_parameters():
            if not name.startswith(("attn_pool", "fc_norm", "head")):
                parameter.requires_grad_(False)

    @torch.no_grad()
    def tokens(self, images: Image) -> Tensor:
        """Run the blocks on one image: float16 [N, C]; on a batch [B, 3, H, W] or on several: [B, N, C]."""
        found = self.image_tower.forward_features(self._preprocess_pixels(images)).half()
        single = not isinstance(images, list | tuple) and getattr(images, "ndim", 3) == 3
        return found[0] if single else found

    def preprocess(self, images: Tensor | Iterable[Tensor]) -> Tensor:
        """Stack a batch of tokens or several: float32 [B, N, C] on the model's device; none gives [0, N, C]."""
        tower, tokens = self.image_tower, list(images)
        if not tokens:
            count = tower.patch_embed.num_patches + tower.num_prefix_tokens
            return torch.empty(0, count, tower.embed_dim, device=self.device)
        return torch.stack(tokens).to(self.device).float()


class _AfterBlocks(nn.Module):
    """A model that starts from tokens; its weights have the names that they have in the whole model."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.visual, self.text = model.visual, model.text
        for name in ("logit_scale", "logit_bias"):
            self.register_parameter(name, getattr(model, name, None))
        self._encode_text = [model.encode_text]  # in a list: the model is not a part of this one

    def encode_image(self, tokens: Tensor, normalize: bool = False) -> Tensor:
        """Embed tokens [B, N, C]: [B, D]."""
        features = self.visual.head(self.visual.trunk.forward_head(tokens))
        return functional.normalize(features, dim=-1) if normalize else features

    def encode_text(self, tokens: Tensor, normalize: bool = False) -> Tensor:
        """Embed token ids [B, L]: [B, D]."""
        return self._encode_text[0](tokens, normalize=normalize)
