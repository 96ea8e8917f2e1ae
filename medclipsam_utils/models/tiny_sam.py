"""The architecture of the small SAM: the classes of ``segment_anything``, with other sizes.

Source: Kirillov et al. 2023, *Segment Anything*. It differs from ViT-B in sizes (256-pixel images and a 32 × 32 grid of
96 channels, instead of 1024 pixels and 64 × 64 of 256) and in the first layer, where ten small convolutions stand for
the one large patch convolution (Xiao et al. 2021, *Early convolutions help transformers see better*): a small
transformer that is trained for an hour needs their sharper view of edges.
"""

from __future__ import annotations

from functools import partial

import torch
from segment_anything.modeling import ImageEncoderViT, MaskDecoder, PromptEncoder, Sam, TwoWayTransformer
from torch import nn

IMAGE_SIZE = 256
PATCH_SIZE = 8
WIDTH = 128
DEPTH = 6
HEADS = 4
GLOBAL_BLOCKS = (3,)
WINDOW = 8
EMBED_DIM = 96
PIXEL_MEAN = (100.0, 100.0, 100.0)
PIXEL_STD = (75.0, 75.0, 75.0)


class Residual(nn.Module):
    """Two small convolutions whose result is added to their input."""

    def __init__(self, channels: int):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.GroupNorm(1, channels),
            nn.GELU(),
            nn.Conv2d(channels, channels, 3, padding=1),
        )

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return features + self.layers(features)


class ConvolutionalStem(nn.Module):
    """From pixels [B, 3, 256, 256] to patch embeddings [B, 32, 32, width], as SAM's own patch embedding gives them."""

    def __init__(self, width: int, channels: tuple[int, ...] = (24, 48, 96), residuals: tuple[int, ...] = (0, 1, 2)):
        super().__init__()
        layers: list[nn.Module] = []
        for before, after, count in zip((3, *channels[:-1]), channels, residuals, strict=True):
            layers += [nn.Conv2d(before, after, 3, stride=2, padding=1, bias=False), nn.GroupNorm(1, after), nn.GELU()]
            layers += [Residual(after) for _ in range(count)]
        self.layers = nn.Sequential(*layers, nn.Conv2d(channels[-1], width, 1))

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return self.layers(pixels).permute(0, 2, 3, 1)


def build_tiny_sam() -> Sam:
    """Build a :class:`segment_anything.modeling.Sam` of 2 million parameters with random weights."""
    grid = IMAGE_SIZE // PATCH_SIZE
    encoder = ImageEncoderViT(
        img_size=IMAGE_SIZE,
        patch_size=PATCH_SIZE,
        embed_dim=WIDTH,
        depth=DEPTH,
        num_heads=HEADS,
        out_chans=EMBED_DIM,
        norm_layer=partial(nn.LayerNorm, eps=1e-6),
        window_size=WINDOW,
        global_attn_indexes=GLOBAL_BLOCKS,
    )
    encoder.patch_embed = ConvolutionalStem(WIDTH)
    return Sam(
        image_encoder=encoder,
        prompt_encoder=PromptEncoder(
            embed_dim=EMBED_DIM,
            image_embedding_size=(grid, grid),
            input_image_size=(IMAGE_SIZE, IMAGE_SIZE),
            mask_in_chans=16,
        ),
        mask_decoder=MaskDecoder(
            num_multimask_outputs=3,
            transformer=TwoWayTransformer(depth=2, embedding_dim=EMBED_DIM, mlp_dim=384, num_heads=4),
            transformer_dim=EMBED_DIM,
            iou_head_depth=3,
            iou_head_hidden_dim=EMBED_DIM,
        ),
        pixel_mean=list(PIXEL_MEAN),
        pixel_std=list(PIXEL_STD),
    )
