"""The students of the third stage: a U-Net that starts from nothing, and one that starts from a CLIP.

Alone, the U-Net has the form of nnU-Net's (Isensee et al. 2021) and is MONAI's, as in section 3.4 of Koleilat et al.
2025; it needs long trainings. With a CLIP, the image tower takes the place of the U-Net's deepest levels and is trained
along, so that the student starts from what the tower has learned; to give the tokens of a vision transformer to a
convolutional decoder is the idea of UNETR (Hatamizadeh et al. 2022). Neither sees a text.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence

import torch
from monai.networks.blocks.dynunet_block import UnetBasicBlock, UnetOutBlock, UnetUpBlock
from monai.networks.nets import DynUNet
from torch import Tensor, nn
from torch.nn import functional

from ..models import Clip
from ..saliency.towers import image_tower
from .config import TrainingConfig

_NORM = ("instance", {"affine": True})


def build_network(config: TrainingConfig, clip: Clip | None = None) -> nn.Module:
    """Build the network of a training, from grey images [B, 1, S, S] to scores [B, 2, S, S]."""
    return build_unet(config.channels) if clip is None else ClipUNet(clip, config.channels, config.size)


def build_unet(channels: Sequence[int]) -> DynUNet:
    """Build MONAI's U-Net in the form of nnU-Net, with two classes, for grey images [B, 1, S, S].

    Args:
        channels: channels of the levels, from the full size down; each level halves the size.
    """
    levels = len(channels)
    return DynUNet(
        spatial_dims=2,
        in_channels=1,
        out_channels=2,
        kernel_size=[3] * levels,
        strides=[1] + [2] * (levels - 1),
        upsample_kernel_size=[2] * (levels - 1),
        filters=channels,
        norm_name=_NORM,
    )


class ClipUNet(nn.Module):
    """A U-Net of MONAI's blocks around the image tower of a CLIP, for grey images [B, 1, S, S].

    The image goes down through the upper levels of the U-Net and, beside them, through the tower, which takes the place
    of the levels that are as coarse as its patches, or coarser. The way up starts from the tokens of the patches.

    Args:
        clip: CLIP whose image tower is copied; the model itself is not changed.
        channels: channels of the U-Net's levels, from the full size down, as in :func:`build_unet`; the tower replaces
            at least the last one.
        size: side S of the images; 2 to the power of one less than the number of levels divides it.

    Raises:
        ModelError: the image tower is no vision transformer.
    """

    def __init__(self, clip: Clip, channels: Sequence[int], size: int):
        super().__init__()
        own = copy.deepcopy(clip)
        self.visual = own.model.get_submodule("visual").requires_grad_(True)
        self._tower, self._size = image_tower(own), clip.image_size
        finer = round(math.log2(size / max(self._tower.grid)))
        channels = channels[: min(max(finer, 1), len(channels) - 1)]
        width = self._tower.embed(torch.zeros(1, 3, self._size, self._size, device=clip.device)).shape[2]
        down = zip((1, *channels[:-1]), channels, [1] + [2] * (len(channels) - 1), strict=True)
        up = zip((width, *channels[:0:-1]), channels[::-1], strict=True)
        self.down = nn.ModuleList(
            UnetBasicBlock(2, before, after, kernel_size=3, stride=stride, norm_name=_NORM)
            for before, after, stride in down
        )
        self.up = nn.ModuleList(
            UnetUpBlock(2, before, after, kernel_size=3, stride=1, upsample_kernel_size=2, norm_name=_NORM)
            for before, after in up
        )
        self.head = UnetOutBlock(2, channels[0], 2)

    def forward(self, images: Tensor) -> Tensor:
        """Compute the scores of background and target, [B, 2, S, S]."""
        level, levels = images, []
        for block in self.down:
            level = block(level)  # (B, channels, side, side); from the second block on, half the side
            levels.append(level)
        half = [side // 2 for side in level.shape[2:]]
        level = functional.interpolate(self._patches(images), half, mode="bilinear")  # (B, width, side / 2, side / 2)
        for block in self.up:
            level = block(level, levels.pop())  # (B, channels, side, side), twice the side
        return self.head(level)

    def _patches(self, images: Tensor) -> Tensor:
        """Run the tower and put the tokens of its patches on their grid, [B, width, rows, columns]."""
        tower, square = self._tower, (self._size, self._size)
        grey = functional.interpolate(images, square, mode="bilinear", antialias=True)
        tokens = tower.embed(grey.expand(-1, 3, -1, -1))  # (B, prefix + rows · columns, width)
        tokens = tower.norms[-1](tower.run(tokens, 0))[:, tower.prefix :]  # (B, rows · columns, width)
        return tokens.transpose(1, 2).unflatten(2, tower.grid)
