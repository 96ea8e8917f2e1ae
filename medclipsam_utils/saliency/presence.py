"""Is the target there at all? A saliency map cannot say so: it always has a peak somewhere.

The score of an image is how much more similar it is to the prompt than to one that denies the target,

    s = cos(v, t) − cos(v, t_absent).

How high is high is learned from images *without* the target. With n of them, the p-value of an image is

    p = (1 + number of them whose score is at least s) / (n + 1),

and the target is reported present where p ≤ α. If the image is exchangeable with them (from the same device, the same
patients), it is reported present in at most a share α of the images that do not show the target: this is a conformal
p-value (Vovk et al. 2005; Bates et al. 2023). How often a target that is there is missed depends on the model, and has
to be measured on images with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor
from torch.nn import functional

from ..images import Image
from ..models import Clip
from ..models.context import own_context


@dataclass(frozen=True, eq=False)
class PresenceTest:
    """A calibrated test for the target.

    Attributes:
        direction: float32 [D], the prompt's features minus the absent prompt's.
        without: float [n], sorted scores of images without the target.
    """

    direction: Tensor
    without: np.ndarray

    def score(self, clip: Clip, images: Sequence[Image]) -> np.ndarray:
        """Score images: float [B]; an empty sequence gives [0]."""
        return _scores(clip, self.direction, images)

    def p_value(self, scores: np.ndarray) -> np.ndarray:
        """Tell how rare so high a score is without the target: float [B], above 0."""
        at_least = len(self.without) - np.searchsorted(self.without, scores, side="left")
        return (1 + at_least) / (len(self.without) + 1)

    def present(self, scores: np.ndarray, alpha: float = 0.05) -> np.ndarray:
        """Tell whether the target is reported, at a fraction of false alarms of at most ``alpha``: bool [B].

        Raises:
            ValueError: there are too few images without the target for so small an ``alpha``.
        """
        if not 1 / (len(self.without) + 1) <= alpha < 1:
            needed = f"give {int(np.ceil(1 / alpha)) - 1} or more" if 0 < alpha < 1 else "give a fraction from 0 to 1"
            raise ValueError(f"alpha is {alpha} with {len(self.without)} images without the target: {needed}")
        return self.p_value(scores) <= alpha


def calibrate_presence(
    clip: Clip, text: str | Sequence[str], absent: str | Sequence[str], without: Sequence[Image]
) -> PresenceTest:
    """Learn from images without the target what a high score is.

    Args:
        clip: any CLIP.
        text: the prompt, or several, whose mean is taken.
        absent: a sentence, or several, true of such images without the target.
        without: n images that do not show the target, of the kind on which the test will be used; 1 or more, and 19 for
            a fraction of false alarms of 5 %.

    Raises:
        ModelError: a text or an image does not fit.
        ValueError: there are no images.
    """
    if not len(without):
        raise ValueError("there are no images without the target: give 19 or more for 5 % of false alarms")
    direction = mean_features(clip, text) - mean_features(clip, absent)
    return PresenceTest(direction, np.sort(_scores(clip, direction, without)))


@own_context()
def mean_features(clip: Clip, text: str | Sequence[str]) -> Tensor:
    """Average the features of some sentences, a prompt ensemble: float32 [D] of length 1."""
    return functional.normalize(clip.encode_text(text).mean(0), dim=0)


@own_context()
def _scores(clip: Clip, direction: Tensor, images: Sequence[Image]) -> np.ndarray:
    return (clip.encode_image(images) @ direction).double().cpu().numpy()
