"""How good a segmentation or an embedding is, and how sure you can be of a difference.

================================  ====================================================================================
:func:`dice`                      overlap of two masks
:func:`nsd`                       agreement of their outlines within a tolerance, in millimetres
:func:`nsd_released`              the same as the paper's released code computes it: for comparison only
:func:`volume_dice`               overlap of two masks of a volume, in all its voxels
:func:`volume_nsd`                agreement of their surfaces within a tolerance, in millimetres
:func:`evaluate_masks`            DSC and NSD, for a folder of masks against a folder of references
:func:`retrieval_accuracy`        how often an image finds its caption, and a caption its image
:func:`zero_shot`                 which class an image belongs to, by the prompts of the classes
:func:`auc_by_pair`               how well a score tells two groups of images apart (its mean is the AUC)
:func:`negation_auc`              how well "no tumour" is told from "tumour"
:func:`paired_test`               whether two methods differ on the same images
:func:`bootstrap_interval`        how far a mean may be off
================================  ====================================================================================

Every score is a fraction from 0 to 1, where the paper prints percent. A score belongs to one image: average it over
the images of a task. The paper's column "all" is the mean of the four task means, whatever their number of images:
(77.76 + 76.52 + 75.79 + 80.38) / 4 = 77.61.
"""

from __future__ import annotations

from .classification import ZeroShot, auc_by_pair, negation_auc, zero_shot
from .folders import MaskScores, evaluate_masks
from .masks import dice, nsd, nsd_released, volume_dice, volume_nsd
from .retrieval import RetrievalAccuracy, retrieval_accuracy
from .statistics import Interval, PairedTest, bootstrap_interval, paired_test

__all__ = [
    "Interval",
    "MaskScores",
    "PairedTest",
    "RetrievalAccuracy",
    "ZeroShot",
    "auc_by_pair",
    "bootstrap_interval",
    "dice",
    "evaluate_masks",
    "negation_auc",
    "nsd",
    "nsd_released",
    "paired_test",
    "retrieval_accuracy",
    "volume_dice",
    "volume_nsd",
    "zero_shot",
]
