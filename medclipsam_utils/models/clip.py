"""A contrastive vision-language model behind one small interface, whatever its size and its origin.

Images and texts become vectors of the same space, and their cosine says how well they fit (Radford et al. 2021,
*Learning transferable visual models from natural language supervision*).

Where this deviates from open_clip's own preprocessing: open_clip scales an image until its *shorter* side fits and
cuts off what sticks out, with bicubic interpolation. Here the whole image is squeezed into the square, bilinearly and
with antialiasing, because a saliency map must cover the whole image: a tumour at the edge must not be cut off. What is
resized is not rounded to whole grey levels in between.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from ..images import Image, MedicalImage, batch_of
from .context import own_context
from .errors import model_error
from .words import WordTokenizer

# Images are encoded so many at a time, so that a large folder does not need a large memory.
_BATCH = 64


class Clip:
    """An open_clip model with its tokenizer and its image size.

    For training call ``clip.model`` itself: what the methods here return has no gradients. They compute in float32,
    also where the caller is inside ``torch.autocast`` or ``torch.inference_mode``. Threads may share a Clip.

    Attributes:
        name: what it was loaded as, for messages and file names.
        model: the open_clip model; float32, in evaluation mode after loading.
        tokenizer: from a list of B texts to token ids int64 [B, L].
        image_size: side S of the square of pixels that the model sees.
        mean: mean of red, green and blue between 0 and 1, subtracted from the pixels.
        std: deviation of red, green and blue, by which the pixels are divided.
        config: what open_clip needs to build the model again (``model_cfg``, ``preprocess_cfg``); None for a small
            CLIP, which has no choices.
        windows: into how many windows along each side of the image its training divided what the blocks see at a time;
            None for the whole image, as usual. Maps of patches are made likewise: see
            :func:`~medclipsam_utils.saliency.patch_text`.
    """

    def __init__(
        self,
        name: str,
        model: nn.Module,
        tokenizer: Any,
        image_size: int,
        mean: Sequence[float],
        std: Sequence[float],
        config: dict[str, Any] | None = None,
        windows: int | None = None,
    ):
        self.name = name
        self.model: Any = model.eval()  # which towers it has, and of what class, is known to open_clip alone
        self.tokenizer = tokenizer
        self.image_size = image_size
        self.mean = tuple(mean)
        self.std = tuple(std)
        self.config = config
        self.windows = windows

    def __repr__(self) -> str:
        millions = sum(parameter.numel() for parameter in self.model.parameters()) / 1e6
        pixels = f"{self.image_size} × {self.image_size} pixels"
        return f"Clip({self.name}: {pixels}, {millions:.1f} M parameters, {self.device})"

    @property
    def device(self) -> torch.device:
        """The device of the model; inputs are sent there, and results stay there."""
        return next(self.model.parameters()).device

    @property
    def is_small(self) -> bool:
        """Whether this is a CLIP of the small architecture, whose tokenizer knows whole words and no others."""
        return isinstance(self.tokenizer, WordTokenizer)

    @property
    def image_tower(self) -> nn.Module:
        """The vision transformer: timm's, where the model has one inside open_clip's ``TimmModel``."""
        return getattr(self.model.visual, "trunk", self.model.visual)

    @property
    def grid_size(self) -> tuple[int, int]:
        """Rows and columns of the grid of patches.

        Raises:
            ModelError: the image tower has no patches, because it is not a transformer.
        """
        tower = self.image_tower
        grid = getattr(getattr(tower, "patch_embed", tower), "grid_size", None)
        if grid is None:
            reason = f"the image tower is a {type(tower).__name__}, which has no grid of patches"
            raise model_error(self.name, reason, "Choose a model with a vision transformer (ViT)")
        return tuple(grid)

    @own_context()
    def preprocess(self, images: Image | Sequence[Image]) -> torch.Tensor:
        """Resize images to the model's square, so that nothing is cut off, and normalise them.

        Args:
            images: uint8 [H, W, 3] array; :class:`~medclipsam_utils.images.MedicalImage`; uint8 tensor [3, H, W] or
                [B, 3, H, W]; or a sequence of these, of any sizes. Grey levels 0 to 255, red, green, blue.

        Returns:
            float32 [B, 3, S, S] on the model's device; an empty sequence gives [0, 3, S, S].

        Raises:
            ModelError: another kind, type or shape of image.
        """
        nothing = torch.empty(0, 3, self.image_size, self.image_size, device=self.device)
        pixels = torch.cat([nothing, *(self._resize(self._tensor(image)) for image in batch_of(images))])
        mean, std = (torch.tensor(values, device=self.device).reshape(3, 1, 1) for values in (self.mean, self.std))
        return (pixels / 255 - mean) / std

    @own_context()
    def tokenize(self, texts: str | Sequence[str]) -> torch.Tensor:
        """Turn one text or several into token ids int64 [B, L] on the model's device. What is too long loses its end.

        Raises:
            ModelError: a text has no letter and no digit, or is not a text.

        Warns:
            UnknownWordWarning: a text has words that the model was not trained on.
        """
        texts = [texts] if isinstance(texts, str) else list(texts)
        for text in texts:
            if not isinstance(text, str) or not re.search(r"[^\W_]", text):
                raise model_error(self.name, f"the text is {text!r}", "Give words, for example 'a tumour in the brain'")
        if not texts:
            return torch.empty(0, self.tokenizer.context_length, dtype=torch.int64, device=self.device)
        return self.tokenizer(texts).to(self.device)

    def unknown_words(self, text: str) -> dict[str, list[str]]:
        """Find the words that the model was not trained on, each with near words that it knows.

        Empty for models that read parts of words, such as BiomedCLIP: these take anything, and do not know what they
        do not know.
        """
        find = getattr(self.tokenizer, "unknown_words", None)
        return {} if find is None else find(text)

    @own_context()
    @torch.no_grad()
    def encode_image(self, images: Image | Sequence[Image]) -> torch.Tensor:
        """Embed images, which :meth:`preprocess` takes: float32 [B, D] of length 1, without gradients.

        An empty sequence gives [0, D].

        Raises:
            ModelError: an image does not fit, or an embedding is not finite.
        """
        return self._encode(self.model.encode_image, self.preprocess(images))

    @own_context()
    @torch.no_grad()
    def encode_text(self, texts: str | Sequence[str]) -> torch.Tensor:
        """Embed texts, which :meth:`tokenize` takes: float32 [B, D] of length 1, without gradients.

        An empty sequence gives [0, D].

        Raises:
            ModelError: a text is empty, or an embedding is not finite.

        Warns:
            UnknownWordWarning: a text has words that the model was not trained on.
        """
        return self._encode(self.model.encode_text, self.tokenize(texts))

    @own_context()
    def similarity(self, images: Image | Sequence[Image], texts: str | Sequence[str]) -> torch.Tensor:
        """Compare every image with every text: cosines float32 [number of images, number of texts], from -1 to 1."""
        return self.encode_image(images) @ self.encode_text(texts).T

    def _tensor(self, image: Image) -> torch.Tensor:
        """Make one image or a batch uint8 [B, 3, H, W]."""
        if isinstance(image, MedicalImage):
            image = image.pixels
        if isinstance(image, np.ndarray):
            expected, fits = "uint8 [H, W, 3]", image.ndim == 3 and image.shape[2] == 3
        elif isinstance(image, torch.Tensor):
            expected, fits = "uint8 [3, H, W] or [B, 3, H, W]", image.ndim in (3, 4) and image.shape[-3] == 3
        else:
            remedy = "Give an array [H, W, 3], a tensor [3, H, W], or what read_image returns"
            raise model_error(self.name, f"an image is a {type(image).__name__}", remedy)
        is_bytes = image.dtype in (np.uint8, torch.uint8)
        if not fits or not is_bytes or 0 in image.shape[-3:]:
            reason = f"an image is {image.dtype} {list(image.shape)}, not {expected}"
            raise model_error(self.name, reason, "Grey levels are whole numbers from 0 to 255, in three channels")
        if isinstance(image, np.ndarray):
            image = torch.tensor(np.ascontiguousarray(image)).permute(2, 0, 1)
        return image if image.ndim == 4 else image[None]

    def _resize(self, image: torch.Tensor) -> torch.Tensor:
        """Resize uint8 [B, 3, H, W] to float32 [B, 3, S, S], still from 0 to 255."""
        size = (self.image_size, self.image_size)
        if len(image) == 0:
            return torch.empty(0, 3, *size, device=self.device)  # an empty batch cannot be interpolated
        return functional.interpolate(image.to(self.device).float(), size, mode="bilinear", antialias=True)

    def _encode(self, encode: Callable[..., torch.Tensor], inputs: torch.Tensor) -> torch.Tensor:
        """Embed pixels or token ids, a part of the batch at a time: float32 [B, D]."""
        if len(inputs) == 0:  # not every tower takes an empty batch; one of zeros tells D
            return encode(inputs.new_zeros(1, *inputs.shape[1:]), normalize=True)[:0].float()
        features = torch.cat([encode(part, normalize=True) for part in inputs.split(_BATCH)])
        if not torch.isfinite(features).all():
            raise model_error(self.name, "an embedding is not finite", "The weights are damaged: load others")
        return features.float()
