from .config import TrainingConfig
from .ensemble import UNetEnsemble, load_ensemble
from .network import ClipUNet, build_unet
from .pseudo_labels import PseudoLabels, make_pseudo_labels
from .schedule import CyclicPolyLR, cyclic_poly, released_poly
from .training import train_segmenter
from .uncertainty import EnsemblePrediction, Reliability, RiskCoverage, entropy, reliability, risk_coverage, triage

__all__ = [
    "ClipUNet",
    "CyclicPolyLR",
    "EnsemblePrediction",
    "PseudoLabels",
    "Reliability",
    "RiskCoverage",
    "TrainingConfig",
    "UNetEnsemble",
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
