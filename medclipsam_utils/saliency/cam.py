"""Class activation maps: the baselines that M2IB is compared with.

After block ℓ of the image tower, channel c draws a map A_c on the grid of patches. A class activation map is a weighted
sum of these maps, cut off at 0:

    saliency = max( Σ_c w_c A_c, 0 ).

The methods differ in the weights.

- **GradCAM** (Selvaraju et al. 2017): w_c is the gradient of the cosine with respect to A_c, averaged over the patches.
- **gScoreCAM** (Chen et al. 2022; what MedCLIP-SAM, v1 of the method, used): of the channels with the largest such
  gradients, w_c is what the cosine is when the image is seen through A_c alone, through a softmax.

GradCAM is that of the grad-cam library, which also keeps activations and gradients for gScoreCAM. Both read the tokens
as the next block's first normalisation leaves them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from threading import get_ident
from typing import Any

import numpy as np
import torch
from pytorch_grad_cam import GradCAM
from pytorch_grad_cam.activations_and_gradients import ActivationsAndGradients
from pytorch_grad_cam.base_cam import BaseCAM
from torch import Tensor, nn

from ..images import Image, batch_of, image_size
from ..models import Clip
from .information_bottleneck import check_block
from .inputs import Text, text_features
from .maps import upsample
from .towers import Tower, image_tower, untouched

# Masked images that are encoded together.
_BATCH = 64


def grad_cam(clip: Clip, images: Image | Sequence[Image], text: Text, *, layer: int | None = None) -> list[np.ndarray]:
    """Make maps with GradCAM of the cosine between image and text.

    Args:
        clip: any CLIP whose image tower is a vision transformer of timm or open_clip; afterwards as it was.
        images, text: as :func:`~medclipsam_utils.saliency.m2ib` takes them.
        layer: the block whose tokens are weighted, from 0; negative ones count from the last, -1. None takes the last
            one whose patches still matter: -1, or -2 where the tower reads its class token alone.

    Returns:
        B maps float32 [H, W], each of the size of its image, from 0 to 1 (min-max). A map of zeros where no patch
        speaks for the text.

    Raises:
        ModelError: the image tower has no blocks, or an image or a text does not fit.
        ValueError: there is no such layer, or another number of texts than of images.
    """
    return _maps(GradCAM, clip, batch_of(images), text, layer)


def gscore_cam(
    clip: Clip, images: Image | Sequence[Image], text: Text, *, layer: int | None = None, channels: int = 300
) -> list[np.ndarray]:
    """Make maps with gScoreCAM of the cosine between image and text, which encodes an image once per channel.

    Args:
        clip, images, text, layer: as in :func:`grad_cam`.
        channels: number of channels, those with the largest mean gradients; all if there are fewer. The paper takes
            300.

    Returns, raises:
        As :func:`grad_cam`; ValueError also if ``channels`` is below 1.
    """
    if channels < 1:
        raise ValueError(f"channels is {channels}: give 1 or more")

    return _maps(partial(_GScoreCAM, channels=channels), clip, batch_of(images), text, layer)


class _Cosine(nn.Module):
    """From pixels [B, 3, S, S] to the cosine of each with one text, [B, 1]."""

    def __init__(self, model: Any, text: Tensor):
        super().__init__()
        self.model: Any = model
        self.text = text / text.norm()

    def forward(self, pixels: Tensor) -> Tensor:
        return (self.model.encode_image(pixels, normalize=True) @ self.text)[:, None]


class _GScoreCAM(BaseCAM):
    """gScoreCAM in the grad-cam library's frame, which hands activations and gradients [1, C, rows, columns] over."""

    def __init__(self, model: nn.Module, target_layers: list[nn.Module], reshape_transform: Callable, channels: int):
        super().__init__(model, target_layers, reshape_transform)
        self.channels = channels

    @torch.no_grad()
    def get_cam_weights(self, input_tensor, target_layers, targets, activations, grads) -> np.ndarray:
        strength = grads[0].mean((1, 2))
        best = np.argsort(-strength, kind="stable")[: self.channels]
        seen = torch.as_tensor(activations[0, best])[:, None]  # (channels, 1, rows, columns)
        low, high = seen.amin((2, 3), keepdim=True), seen.amax((2, 3), keepdim=True)
        seen = (seen - low) / (high - low).clamp(min=torch.finfo(seen.dtype).tiny)
        masks = nn.functional.interpolate(seen, input_tensor.shape[-2:], mode="bilinear").to(self.device)
        scores = torch.cat([self.model(input_tensor * part)[:, 0] for part in masks.split(_BATCH)])
        weights = np.zeros((1, len(strength)), dtype=np.float32)
        weights[0, best] = scores.softmax(0).cpu().numpy()
        return weights


class _OwnThread(ActivationsAndGradients):
    """The library's record of a layer, kept for this thread alone: others may run the same layer meanwhile."""

    def __init__(self, model: nn.Module, target_layers: list[nn.Module], reshape_transform: Callable):
        self.thread = get_ident()
        super().__init__(model, target_layers, reshape_transform)

    def __deepcopy__(self, memo: dict) -> _OwnThread:
        return self  # a model that is copied meanwhile, with its hooks, has no record of its own

    def save_activation(self, module: nn.Module, inputs: tuple, output: Tensor) -> None:
        if get_ident() == self.thread:
            super().save_activation(module, inputs, output)

    def save_gradient(self, module: nn.Module, inputs: tuple, output: Tensor) -> None:
        if get_ident() == self.thread:
            super().save_gradient(module, inputs, output)


def _maps(
    method: Callable[..., BaseCAM], clip: Clip, images: list[Image], text: Text, layer: int | None
) -> list[np.ndarray]:
    tower = image_tower(clip)
    if layer is None:
        layer = -1 if tower.reads_patches else -2
    layer = check_block(layer, len(tower.blocks), "image tower", tower.reads_patches)
    with untouched(clip.model):
        texts = text_features(clip, text, len(images))
        return [_map(method, clip, tower, image, text, layer) for image, text in zip(images, texts, strict=True)]


def _map(
    method: Callable[..., BaseCAM], clip: Clip, tower: Tower, image: Image, text: Tensor, layer: int
) -> np.ndarray:
    def on_grid(tokens: Tensor) -> Tensor:
        """Tokens [1, N, C] of the patches as [1, C, rows, columns]."""
        return tokens[:, tower.prefix :].transpose(1, 2).unflatten(2, tower.grid)

    cam = method(_Cosine(clip.model, text), [], on_grid)
    cam.target_layers = [tower.norms[layer]]
    cam.activations_and_grads = _OwnThread(cam.model, cam.target_layers, on_grid)
    try:
        (found,) = cam(clip.preprocess(image).requires_grad_(), targets=[lambda cosine: cosine[0]])
    finally:
        cam.activations_and_grads.release()
    return upsample(found, image_size(image))
