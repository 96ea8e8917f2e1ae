"""Stage 2a: where in an image is what a sentence speaks of, and can you believe the answer?

::

    from medclipsam_utils import load_clip, simulate
    from medclipsam_utils.saliency import m2ib

    sample = simulate("breast_ultrasound", seed=3, finding="benign")
    (saliency,) = m2ib(load_clip("tiny"), [sample.image], "a breast tumour", layer=5, beta=0.1, standardize=True)

=============================  =======================================================================================
:func:`m2ib`                   the method: what of the image does the sentence need?
:func:`m2ib_text`              the same for words: what of the sentence does the image need?
:func:`patch_text`             other families under the same signature: the cosine of each patch and the sentence,
:func:`integrated_gradients`   what each patch adds to the cosine (NIB),
:func:`grad_cam`               class activation maps
:func:`gscore_cam`
:func:`attention_rollout`      a baseline that takes no text, and cannot listen
:func:`moved_views`            any of them, finer, from four views of the image
:func:`points_at`              pointing game; with :func:`coverage` and :func:`best_dice`: is the map on the target?
:func:`specificity`            does the map change when the words do?
:func:`randomisation`          does the map change when the model forgets?
:func:`deletion_insertion`     does the model need what the map shows?
:func:`calibrate_presence`     is the target there at all?
=============================  =======================================================================================
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
