"""Stage 2a: where in an image is what a sentence speaks of?

::

    from medclipsam_utils import load_clip, simulate
    from medclipsam_utils.saliency import m2ib

    sample = simulate("breast_ultrasound", seed=3, finding="benign")
    saliency = m2ib(load_clip("tiny"), sample.image, "a breast tumour", layer=5, beta=0.1, standardize=True)
"""

from __future__ import annotations

from .information_bottleneck import Bottleneck, information, m2ib, patch_information
from .words import WordSaliency, m2ib_text

__all__ = ["Bottleneck", "WordSaliency", "information", "m2ib", "m2ib_text", "patch_information"]
