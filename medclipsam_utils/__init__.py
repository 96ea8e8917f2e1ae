"""MedCLIP-SAMv2 as a book you can run: the package behind the notebooks."""

from .images import ImageError, MedicalImage, read_image, write_mask
from .metrics import dice, nsd
from .simulate import Sample, simulate
from .tasks import TASKS, Task

__all__ = [
    "TASKS",
    "ImageError",
    "MedicalImage",
    "Sample",
    "Task",
    "dice",
    "nsd",
    "read_image",
    "simulate",
    "write_mask",
]
