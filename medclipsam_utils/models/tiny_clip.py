"""The architecture of the small CLIP: an open_clip model like BiomedCLIP, with other sizes.

Both have an image tower that is a timm vision transformer inside open_clip's ``TimmModel`` and a text tower that
open_clip builds, so that whatever works on the blocks of one (hooks, gradients, bottlenecks) works on the blocks of the
other. The small one sees 128-pixel images as a 16 × 16 grid of patches, embedded by four small convolutions (Xiao et
al. 2021, *Early convolutions help transformers see better*), and pools the patches by attention instead of with a class
token.
"""

from __future__ import annotations

import math
from typing import Any

import open_clip
import torch
from timm.models import build_model_with_cfg, register_model
from timm.models.vision_transformer import VisionTransformer
from torch import nn

IMAGE_SIZE = 128
PATCH_SIZE = 8
WIDTH = 128
DEPTH = 6
HEADS = 4
EMBED_DIM = 128
TEXT_WIDTH = 128
TEXT_DEPTH = 3
CONTEXT_LENGTH = 40
MEAN = (0.4, 0.4, 0.4)
STD = (0.3, 0.3, 0.3)

# timm looks here for where a registered model's weights are, and warns if it finds nothing: nowhere.
default_cfgs = {"medclipsam_tiny_vit": {"input_size": (3, IMAGE_SIZE, IMAGE_SIZE), "num_classes": 0}}


class ConvolutionalEmbedding(nn.Module):
    """From pixels [B, 3, S, S] to patch embeddings [B, (S / 8)², width], in the order of timm's ``PatchEmbed``."""

    def __init__(
        self, img_size: int, patch_size: int, in_chans: int, embed_dim: int, bias: bool = True, **unused: object
    ):
        super().__init__()
        if patch_size != 8:
            raise ValueError(f"three strided convolutions make patches of 8 pixels, not {patch_size}")
        self.grid_size = (img_size // patch_size, img_size // patch_size)
        self.num_patches = self.grid_size[0] * self.grid_size[1]
        layers: list[nn.Module] = []
        for before, after in ((in_chans, 32), (32, 64), (64, 128)):
            layers += [nn.Conv2d(before, after, 3, stride=2, padding=1, bias=False), nn.GroupNorm(8, after), nn.GELU()]
        self.layers = nn.Sequential(*layers, nn.Conv2d(128, embed_dim, 1, bias=bias))

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return self.layers(pixels).flatten(2).transpose(1, 2)


@register_model
def medclipsam_tiny_vit(pretrained: bool = False, **kwargs: Any) -> VisionTransformer:
    """Build the image tower, known to timm (and so to open_clip) by this name."""
    return build_model_with_cfg(
        VisionTransformer,
        "medclipsam_tiny_vit",
        pretrained,
        img_size=IMAGE_SIZE,
        patch_size=PATCH_SIZE,
        embed_dim=WIDTH,
        depth=DEPTH,
        num_heads=HEADS,
        class_token=False,
        global_pool="map",
        num_classes=0,
        embed_layer=ConvolutionalEmbedding,
        **kwargs,
    )


def build_tiny_clip(vocabulary_size: int) -> open_clip.CustomTextCLIP:
    """Build the small CLIP with random weights.

    Token ids run from 0 (padding) to ``vocabulary_size - 1`` (end of text).
    """
    return open_clip.CustomTextCLIP(
        embed_dim=EMBED_DIM,
        vision_cfg={
            "image_size": IMAGE_SIZE,
            "timm_model_name": "medclipsam_tiny_vit",
            "timm_pool": "",
            "timm_proj": "linear",
        },
        text_cfg={
            "context_length": CONTEXT_LENGTH,
            "vocab_size": vocabulary_size,
            "width": TEXT_WIDTH,
            "heads": 4,
            "layers": TEXT_DEPTH,
        },
        init_logit_scale=math.log(10),
        init_logit_bias=-5.0,
    )
