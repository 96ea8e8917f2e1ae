"""The whole way in one call: an image and a sentence in, a mask out.

::

    from medclipsam_utils import load_clip, load_sam, read_image
    from medclipsam_utils.pipeline import Segmenter

    segmenter = Segmenter(load_clip("tiny"), load_sam("tiny"))
    found = segmenter.segment(read_image("scan.dcm"), "brain tumour")
    found.mask, found.present

    segmenter.segment_folder("scans", "masks", "brain tumour")  # goes on where it was interrupted

Section 3 of Koleilat et al. 2025, stage 2: saliency of the text (M2IB), the highest cluster of its values, the
connected components that fit the target, a box or points around or on each, SAM. The settings follow from the task, and
the task from the text and the image where it is not given.
"""

from __future__ import annotations

from .config import CONFIGS, V1_CONFIGS, SegmenterConfig
from .folder import FolderResult
from .segmentation import Segmentation
from .segmenter import Segmenter

__all__ = ["CONFIGS", "V1_CONFIGS", "FolderResult", "Segmentation", "Segmenter", "SegmenterConfig"]
