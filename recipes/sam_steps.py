"""From examples to a loss: the forward pass with prompts, and what SAM is trained to make small.

SAM gives four masks per prompt. The first is meant for prompts that leave no doubt, the other three for those that do,
such as a single point. Following Kirillov et al. 2023 (appendix A), the best of the three is trained and the others
are left alone, the loss of a mask is 20 × focal + dice, and a fourth head learns the IoU that each mask reaches, with a
squared error. It deviates in this: every prompt trains both the first mask and the best of three, so that either can be
asked for, and masks are compared at the 128 × 128 pixels that the decoder gives. There the truth is the *share* of each
pixel that the mask covers, a number from 0 to 1: a contour is then known to a fraction of a pixel, which a small lesion
needs, at a quarter of the cost of comparing 256 × 256.
"""

from __future__ import annotations

import numpy as np
import torch
from sam_examples import Example
from sam_prompts import ONE_POINT, Prompts
from segment_anything.modeling import Sam
from torch.nn import functional as F

FOCAL_WEIGHT = 20.0
FOCUS = 2  # the exponent gamma of the focal loss
WEIGHT_OF_THREE = 0.4  # beside the first mask, for prompts that leave no doubt; 1 for a single point


def embed(sam: Sam, pixels: torch.Tensor) -> torch.Tensor:
    """Image embeddings [B, C, 32, 32] of grey images [B, 256, 256] in 0 … 255."""
    normalised = (pixels[:, None] - sam.pixel_mean) / sam.pixel_std  # [B, 3, 256, 256]
    return sam.image_encoder(normalised)


def decode(sam: Sam, embedding: torch.Tensor, prompts: Prompts) -> tuple[torch.Tensor, torch.Tensor]:
    """All four masks for K prompts on one image.

    Args:
        sam: the model.
        embedding: [1, C, 32, 32], of :func:`embed`.
        prompts: K prompts.

    Returns:
        Logits [K, 4, 128, 128], and what the model thinks their IoU is, [K, 4].
    """
    points = boxes = None
    if prompts.points is not None:
        points = torch.from_numpy(prompts.points), torch.from_numpy(prompts.labels)
    if prompts.boxes is not None:
        boxes = torch.from_numpy(prompts.boxes)
    sparse, dense = sam.prompt_encoder(points=points, boxes=boxes, masks=None)
    return sam.mask_decoder.predict_masks(
        image_embeddings=embedding,
        image_pe=sam.prompt_encoder.get_dense_pe(),
        sparse_prompt_embeddings=sparse,
        dense_prompt_embeddings=dense,
    )


def batch_loss(sam: Sam, examples: list[Example]) -> tuple[torch.Tensor, float]:
    """The loss of a step, and the mean dice loss of its first masks, which is easier to read."""
    with torch.autocast("cpu", torch.bfloat16):
        embeddings = embed(sam, torch.from_numpy(np.stack([e.pixels for e in examples])))
        decoded = [decode(sam, embeddings[i : i + 1], e.prompts) for i, e in enumerate(examples)]
    logits = torch.cat([masks for masks, _ in decoded]).float()  # [N, 4, 128, 128], N = B · K
    qualities = torch.cat([quality for _, quality in decoded]).float()  # [N, 4]
    masks = torch.cat([torch.from_numpy(e.masks) for e in examples])[:, None].float()  # [N, 1, 256, 256]
    covered = F.avg_pool2d(masks, masks.shape[-1] // logits.shape[-1])  # [N, 1, 128, 128]
    one_point = torch.tensor([e.kind == ONE_POINT for e in examples for _ in e.masks])
    with torch.no_grad():
        best = 1 + dice_loss(logits[:, 1:], covered).argmin(dim=1)  # [N]
        reached = iou(logits > 0, covered >= 0.5)  # [N, 4]
    both = torch.stack([logits[:, 0], logits[torch.arange(len(best)), best]], dim=1)  # [N, 2, 128, 128]
    dice = dice_loss(both, covered)
    per_mask = FOCAL_WEIGHT * focal_loss(both, covered) + dice  # [N, 2]
    weight_of_three = torch.where(one_point, 1.0, WEIGHT_OF_THREE)
    loss = (per_mask[:, 0] + weight_of_three * per_mask[:, 1]).mean() + F.mse_loss(qualities, reached)
    return loss, float(dice[:, 0].detach().mean())


def focal_loss(logits: torch.Tensor, covered: torch.Tensor) -> torch.Tensor:
    """|p − c|^γ times the cross-entropy of p and c, averaged over pixels: [N, M] of [N, M, H, W] and [N, 1, H, W].

    Where the coverage c is 0 or 1 this is the focal loss −(1 − q)^γ log q, with q the probability given to the truth.
    """
    cross_entropy = F.binary_cross_entropy_with_logits(logits, covered.expand_as(logits), reduction="none")
    return ((logits.sigmoid() - covered) ** FOCUS * cross_entropy).mean(dim=(2, 3))


def dice_loss(logits: torch.Tensor, covered: torch.Tensor) -> torch.Tensor:
    """1 − 2 Σ p·c / (Σ p + Σ c), each sum plus 1 so that an empty mask has a loss: [N, M] of [N, M, H, W]."""
    probabilities = logits.sigmoid()
    overlap = (probabilities * covered).sum(dim=(2, 3))
    return 1 - (2 * overlap + 1) / (probabilities.sum(dim=(2, 3)) + covered.sum(dim=(2, 3)) + 1)


def iou(predicted: torch.Tensor, masks: torch.Tensor) -> torch.Tensor:
    """Intersection over union of bool masks, 0 if both are empty: [N, M] of [N, M, H, W]."""
    both, either = (predicted & masks).sum(dim=(2, 3)), (predicted | masks).sum(dim=(2, 3))
    return both / either.clamp(min=1)
