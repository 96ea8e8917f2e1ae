"""The whole pipeline in one call: an image and a sentence in, a mask out.

::

    from medclipsam_utils import Segmenter, load_clip, load_sam, read_image, segment_folder

    segmenter = Segmenter(load_clip("tiny"), load_sam("tiny"))
    answer = segmenter.segment(read_image("scan.dcm"), "brain tumour")
    answer.mask, answer.presence

    segment_folder(segmenter, "scans", "masks", "brain tumour")  # resumes where it was interrupted

Section 3 of Koleilat et al. 2025, stage 2, is one function on one page,
:func:`~medclipsam_utils.pipeline.method.segment`.
Around it: :mod:`~medclipsam_utils.pipeline.question` makes questions of words, with settings from
:mod:`medclipsam_utils.settings`; :mod:`~medclipsam_utils.pipeline.naming` tells which target the words name,
:mod:`~medclipsam_utils.pipeline.presence` whether it is there.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
