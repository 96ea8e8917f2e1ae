"""Stage 3: train a segmenter on masks that nobody drew, and ask it how sure it is.

::

    from medclipsam_utils.weak import make_pseudo_labels, train_segmenter

    labels = make_pseudo_labels(segmenter, images, "breast tumour")
    chosen = labels.trusted()
    ensemble = train_segmenter(
        [images[n] for n in chosen], [labels.masks[n] for n in chosen], clip=load_clip("tiny"), folder="runs/weak"
    )
    found = ensemble.predict(new_images)
    found.masks, found.entropy, found.case_uncertainty

================================  ====================================================================================
:func:`make_pseudo_labels`        the zero-shot method's masks of a training set, and which of them may be trusted
:func:`train_segmenter`           a 2-D U-Net, alone or with a CLIP's eyes, trained in cycles; interrupted, it goes on
:class:`CyclicPolyLR`             the learning rate that falls and starts again
:class:`EnsemblePrediction`       the mean of several models, its entropy, and their disagreement
:func:`reliability`               are the probabilities right? with the expected calibration error
:func:`risk_coverage`             is the uncertainty worth anything? with :func:`triage`, the cases to look at
================================  ====================================================================================

The same through nnU-Net v2, an optional extra, is in :mod:`medclipsam_utils.weak.nnunet`.
"""

from __future__ import annotations

from .network import ClipUNet, build_unet
from .pseudo_labels import PseudoLabels, make_pseudo_labels
from .schedule import CyclicPolyLR, cyclic_poly, released_poly
from .training import SegmenterEnsemble, TrainingConfig, load_ensemble, train_segmenter
from .uncertainty import (
    EnsemblePrediction,
    Reliability,
    RiskCoverage,
    entropy,
    reliability,
    risk_coverage,
    triage,
)

__all__ = [
    "ClipUNet",
    "CyclicPolyLR",
    "EnsemblePrediction",
    "PseudoLabels",
    "Reliability",
    "RiskCoverage",
    "SegmenterEnsemble",
    "TrainingConfig",
    "build_unet",
    "cyclic_poly",
    "entropy",
    "load_ensemble",
    "make_pseudo_labels",
    "released_poly",
    "reliability",
    "risk_coverage",
    "train_segmenter",
    "triage",
]
