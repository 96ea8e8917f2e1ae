"""What every saliency method takes and returns: a CLIP, B images and a text in, B maps out."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from ..images import Image
from ..models import Clip

#: One sentence for all images, or one per image; or features float [D] or [B, D].
Text = str | Sequence[str] | Tensor

#: A saliency method whose settings are given: from a CLIP, B images and a text to B maps, float32 [H, W] from 0 to 1.
#: ``partial(m2ib, layer=5, beta=0.1)`` is one.
Method = Callable[[Clip, Sequence[Image], Text], list[np.ndarray]]


def given_features(clip: Clip, features: Tensor) -> Tensor:
    """Copy features that the caller made to the model's device, float32 and without their graph.

    A tensor that was made inside ``torch.inference_mode()`` can be no part of a gradient, but its copy can.
    """
    return features.detach().to(clip.device, torch.float32).clone()


def text_features(clip: Clip, text: Text, count: int) -> Tensor:
    """Encode one text for all of ``count`` images, or one per image: float32 [count, D].

    Raises:
        ModelError: a text is empty.
        ValueError: there is another number of texts than of images.
    """
    if isinstance(text, Tensor):
        features = given_features(clip, text)
        if features.ndim == 1:
            features = features.expand(count, -1)
    else:
        features = clip.encode_text([text] * count if isinstance(text, str) else list(text))
    if len(features) != count:
        raise ValueError(f"there are {len(features)} texts for {count} images: give one for all, or one per image")
    return features
