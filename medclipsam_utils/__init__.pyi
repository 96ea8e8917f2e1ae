from . import simulate as _simulate
from .images import ImageError, MedicalImage, read_image, read_mask, write_mask
from .metrics import dice, nsd
from .models import Clip, load_clip, load_sam
from .pipeline import Segmentation, Segmenter, segment_folder, segment_volume
from .simulate import Sample
from .tasks import TASKS, Task

# The module of this name can be called like its function, and that is what a type checker has to know.
simulate = _simulate.simulate

__all__ = [
    "TASKS",
    "Clip",
    "ImageError",
    "MedicalImage",
    "Sample",
    "Segmentation",
    "Segmenter",
    "Task",
    "dice",
    "load_clip",
    "load_sam",
    "nsd",
    "read_image",
    "read_mask",
    "segment_folder",
    "segment_volume",
    "simulate",
    "write_mask",
]
