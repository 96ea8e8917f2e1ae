"""Stage 3: train a segmenter on masks that nobody drew, and ask it how sure it is.

::

    from medclipsam_utils.weak import make_pseudo_labels, train_segmenter

    labels = make_pseudo_labels(segmenter, images, "breast tumour")
    chosen = labels.trusted()
    ensemble = train_segmenter(
        [images[n] for n in chosen], [labels.masks[n] for n in chosen], clip=load_clip("tiny"), folder="runs/weak"
    )
    prediction = ensemble.predict(new_images)
    prediction.masks, prediction.entropy, prediction.case_uncertainty

================================  ====================================================================================
:func:`make_pseudo_labels`        segments a training set with the zero-shot method, and says which masks to trust
:func:`train_segmenter`           trains a 2-D U-Net in cycles, alone or around the image tower of a CLIP; it can resume
:class:`CyclicPolyLR`             the learning rate that falls and starts again
:class:`EnsemblePrediction`       the mean of several models, its entropy, and their disagreement
:func:`reliability`               are the probabilities right? with the expected calibration error
:func:`risk_coverage`             is the uncertainty worth anything? with :func:`triage`, the cases to look at
================================  ====================================================================================

The same through nnU-Net v2, an optional extra, is in :mod:`medclipsam_utils.weak.nnunet`.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
