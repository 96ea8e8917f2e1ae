"""What every saliency method takes: a CLIP, an image or several, and a text."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from torch import Tensor

from ..images import Image
from ..models import Clip

#: One sentence for all images, or one an image; or features float [D] or [B, D].
Text = str | Sequence[str] | Tensor

#: What every saliency method is once its settings are given: from a CLIP, B images and a text to B maps, float32 [H, W]
#: from 0 to 1. ``partial(m2ib, layer=5, beta=0.1)`` is one.
Method = Callable[[Clip, Sequence[Image], Text], list[np.ndarray]]


def for_each(method: Callable[[list[Image]], list[np.ndarray]], image: Image | Sequence[Image]):
    """The map of one image, or the list of maps of several, by a method that takes several."""
    if isinstance(image, list | tuple):
        return method(list(image))
    return method([image])[0]


def text_features(clip: Clip, text: Text, count: int) -> Tensor:
    """float32 [count, D] of one text for all of ``count`` images, or of one an image.

    Raises:
        ModelError: a text is empty.
        ValueError: there is another number of texts than of images.
    """
    if isinstance(text, Tensor):
        features = text.to(clip.device).float()
        if features.ndim == 1:
            features = features.expand(count, -1)
    else:
        features = clip.encode_text([text] * count if isinstance(text, str) else list(text))
    if len(features) != count:
        raise ValueError(f"there are {len(features)} texts for {count} images: give one for all, or one an image")
    return features
