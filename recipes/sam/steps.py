"""Go from examples to a loss: the forward pass with prompts, and what SAM is trained to make small.

SAM gives four masks per prompt. The first is meant for prompts that leave no doubt, the other three for those that do,
such as a single point. As in Kirillov et al. 2023 (appendix A), of the three only the best is trained, and a head
learns the IoU that each mask reaches, with a squared error. Three things differ:

* The loss of a mask is cross-entropy + dice. SAM's 20 × focal + dice hardly asks for more than a probability of ⅔, and
  the small model stayed there: after as many steps its masks were clearly worse.
* Every prompt trains both the first mask and the best of three, so that either can be asked for.
* Masks are compared at the decoder's 128 × 128 pixels. There the truth is the *fraction* of each pixel that the mask
  covers, a number from 0 to 1: a contour is then known to a fraction of a pixel, which a small lesion needs, at a
  quarter of the cost of comparing 256 × 256.
"""

from __future__ import annotations

import numpy as np
import torch
from segment_anything.modeling import Sam
from torch.nn import functional as F

from ..data.prompts import ONE_POINT, Prompts
from ..training.precision import computing
from .examples import Example

WEIGHT_OF_THREE = 0.4  # beside the first mask, for prompts that leave no doubt; 1 for a single point


def embed(sam: Sam, pixels: torch.Tensor) -> torch.Tensor:
    """Do what ``sam.image_encoder`` does, for images of any size that is a multiple of 64.

    Args:
        sam: the model.
        pixels: [B, S, S], grey, 0 … 255. At S = 256 the result is the encoder's own; for smaller images the position
            embedding is shrunk with them.

    Returns:
        Image embeddings [B, C, S/8, S/8].
    """
    encoder = sam.image_encoder
    normalised = (pixels[:, None] - sam.pixel_mean) / sam.pixel_std  # [B, 3, S, S]
    patches = encoder.patch_embed(normalised)  # [B, S/8, S/8, width]
    positions = encoder.pos_embed  # [1, 32, 32, width]
    if positions.shape[1:3] != patches.shape[1:3]:
        positions = F.adaptive_avg_pool2d(positions.permute(0, 3, 1, 2), patches.shape[1:3]).permute(0, 2, 3, 1)
    patches = patches + positions
    for block in encoder.blocks:
        patches = block(patches)
    return encoder.neck(patches.permute(0, 3, 1, 2))


def decode(sam: Sam, embedding: torch.Tensor, prompts: Prompts) -> tuple[torch.Tensor, torch.Tensor]:
    """Predict all four masks for K prompts on one image.

    Args:
        sam: the model.
        embedding: [1, C, h, w], of :func:`embed`.
        prompts: K prompts, in pixels of the image at 256 × 256, whatever the size that was embedded.

    Returns:
        Logits [K, 4, 4h, 4w], and what the model thinks their IoU is, [K, 4].
    """
    grid = embedding.shape[-2:]
    with torch.autocast("cpu", enabled=False):  # bfloat16 would round coordinates by up to a pixel
        sparse = _sparse(sam, prompts)  # [K, tokens, C]
        no_mask = sam.prompt_encoder.no_mask_embed.weight[:, :, None, None]  # [1, C, 1, 1]
        positions = sam.prompt_encoder.pe_layer(grid)[None]  # [1, C, h, w]
    return sam.mask_decoder.predict_masks(
        image_embeddings=embedding,
        image_pe=positions,
        sparse_prompt_embeddings=sparse,
        dense_prompt_embeddings=no_mask.expand(len(sparse), -1, *grid),
    )


def _sparse(sam: Sam, prompts: Prompts) -> torch.Tensor:
    points = boxes = None
    if prompts.points is not None:
        points = torch.from_numpy(prompts.points), torch.from_numpy(prompts.labels)
    if prompts.boxes is not None:
        boxes = torch.from_numpy(prompts.boxes)
    return sam.prompt_encoder(points=points, boxes=boxes, masks=None)[0]


def batch_loss(sam: Sam, examples: list[Example], shrink: int = 1) -> tuple[torch.Tensor, float]:
    """Compute the loss of a step, and the mean dice loss of its first masks, which is easier to read.

    With ``shrink`` 2 the model sees the images at 128 × 128 pixels, and all it does costs a quarter.
    """
    pixels = F.avg_pool2d(torch.from_numpy(np.stack([e.pixels for e in examples])), shrink)  # [B, S, S]
    with computing():
        embeddings = embed(sam, pixels)
        decoded = [decode(sam, embeddings[i : i + 1], e.prompts) for i, e in enumerate(examples)]
    logits = torch.cat([masks for masks, _ in decoded]).float()  # [N, 4, S/2, S/2], N = B · K
    qualities = torch.cat([quality for _, quality in decoded]).float()  # [N, 4]
    masks = torch.cat([torch.from_numpy(e.masks) for e in examples])[:, None].float()  # [N, 1, 256, 256]
    covered = F.avg_pool2d(masks, masks.shape[-1] // logits.shape[-1])  # [N, 1, S/2, S/2]
    one_point = torch.tensor([e.kind == ONE_POINT for e in examples for _ in e.masks])
    with torch.no_grad():
        best = 1 + dice_loss(logits[:, 1:], covered).argmin(dim=1)  # [N]
        reached = iou(logits > 0, covered >= 0.5)  # [N, 4]
    both = torch.stack([logits[:, 0], logits[torch.arange(len(best)), best]], dim=1)  # [N, 2, S/2, S/2]
    dice = dice_loss(both, covered)
    per_mask = cross_entropy(both, covered) + dice  # [N, 2]
    weight_of_three = torch.where(one_point, 1.0, WEIGHT_OF_THREE)
    loss = (per_mask[:, 0] + weight_of_three * per_mask[:, 1]).mean() + F.mse_loss(qualities, reached)
    return loss, float(dice[:, 0].detach().mean())


def cross_entropy(logits: torch.Tensor, covered: torch.Tensor) -> torch.Tensor:
    """Average −c log p − (1 − c) log(1 − p) over pixels: [N, M] of [N, M, H, W] and [N, 1, H, W]."""
    return F.binary_cross_entropy_with_logits(logits, covered.expand_as(logits), reduction="none").mean(dim=(2, 3))


def dice_loss(logits: torch.Tensor, covered: torch.Tensor) -> torch.Tensor:
    """Compute 1 − 2 Σ p·c / (Σ p + Σ c), each sum plus 1 so that an empty mask has a loss: [N, M] of [N, M, H, W]."""
    probabilities = logits.sigmoid()
    overlap = (probabilities * covered).sum(dim=(2, 3))
    return 1 - (2 * overlap + 1) / (probabilities.sum(dim=(2, 3)) + covered.sum(dim=(2, 3)) + 1)


def iou(predicted: torch.Tensor, masks: torch.Tensor) -> torch.Tensor:
    """Divide intersection by union of bool masks, 0 if both are empty: [N, M] of [N, M, H, W]."""
    both, either = (predicted & masks).sum(dim=(2, 3)), (predicted | masks).sum(dim=(2, 3))
    return both / either.clamp(min=1)
