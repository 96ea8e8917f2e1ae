from .folder import FolderResult, segment_folder
from .method import segment
from .presence import Calibration, Presence, calibrate
from .question import Question, Questions, UnknownTargetWarning, saliency_maps
from .segmentation import Segmentation
from .segmenter import Segmenter
from .volume import VolumeSegmentation, segment_volume

__all__ = [
    "Calibration",
    "FolderResult",
    "Presence",
    "Question",
    "Questions",
    "Segmentation",
    "Segmenter",
    "UnknownTargetWarning",
    "VolumeSegmentation",
    "calibrate",
    "saliency_maps",
    "segment",
    "segment_folder",
    "segment_volume",
]
