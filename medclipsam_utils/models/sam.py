"""Loading a SAM by its name or from a file (Kirillov et al. 2023, *Segment Anything*), and asking it safely."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Lock, RLock
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from segment_anything import SamPredictor, sam_model_registry
from segment_anything.modeling import Sam
from segment_anything.utils.transforms import ResizeLongestSide
from torch import Tensor

from .checkpoints import SAM_FORMAT, copy_weights, load_weights, read_header
from .context import own_context
from .devices import find_device, move
from .errors import model_error
from .layouts import UNREADABLE, describe_layout, find_weights, read_checkpoint
from .local import models_folder
from .tiny_sam import build_tiny_sam
from .weights import shipped

TINY = "tiny_sam.safetensors"
# What each predictor was last asked about, and its embedding.
_EMBEDDED: WeakKeyDictionary[SamPredictor, tuple[np.ndarray, torch.Tensor]] = WeakKeyDictionary()

URL = "https://dl.fbaipublicfiles.com/segment_anything/"

# The weight by which SAM's are found in a checkpoint, and told apart by size.
_MARK = "image_encoder.pos_embed"


@dataclass(frozen=True)
class Size:
    """One of SAM's three sizes.

    Attributes:
        file: name of the official checkpoint.
        width: channels of the image encoder's blocks, by which the weights in a file are told apart.
    """

    file: str
    width: int


SIZES = {
    "vit_b": Size("sam_vit_b_01ec64.pth", 768),
    "vit_l": Size("sam_vit_l_0b3195.pth", 1024),
    "vit_h": Size("sam_vit_h_4b8939.pth", 1280),
}


@own_context()
def load_sam(name: str | os.PathLike = "tiny", device: str | torch.device = "cpu") -> SamPredictor:
    """Load a Segment Anything Model, of any size, by name or from a file. The network is never used.

    ==========================================  =======================================================================
    ``"tiny"``                                  the small SAM of this package, trained from simulated images
    ``"vit_b"``, ``"vit_l"``, ``"vit_h"``       the official checkpoint, in the models folder:
                                                ``$MEDCLIPSAM_MODELS``, or ``~/.cache/medclipsam``
    a path that ends in ``.safetensors``        a file of :func:`~medclipsam_utils.models.checkpoints.save_tiny_sam`
    another path                                weights with the official names, such as MedSAM's, alone or inside the
                                                checkpoint of a training loop; the size follows from their shapes
    ==========================================  =======================================================================

    Args:
        name: one of the above.
        device: where the model runs, for example ``"cuda"``.

    Returns:
        A :class:`~medclipsam_utils.models.sam.Predictor`. ``set_image`` takes uint8 [H, W, 3] of any size, ``predict``
        takes points [N, 2] and a box [4] in pixels of that image, x before y, and returns masks bool [C, H, W], their
        estimated quality [C], and coarse logits [C, h, w] that another call takes as ``mask_input``. The model is
        ``predictor.model``, in evaluation mode.

    Raises:
        ModelError: the name is unknown, or the file is missing (the message says where to get it), damaged, or of
            another model; or this machine has no such device.
    """
    name, device = os.fspath(name), find_device(device)
    if name == "tiny":
        return _predictor(_load_file(shipped(TINY)), device, name)
    if name in SIZES:
        path = models_folder() / SIZES[name].file
        if not path.is_file():
            remedy = f"Download {URL}{path.name} into the folder {path.parent}, or set MEDCLIPSAM_MODELS to its folder"
            raise model_error(name, f"there is no {path}", remedy)
        return _predictor(_load_file(path, name), device, name)
    path = Path(name)
    if not path.is_file():
        remedy = f"Choose tiny, {', '.join(SIZES)}, or give the path of a .safetensors or .pth file"
        raise model_error(name, "there is no model and no file of this name", remedy)
    return _predictor(_load_file(path), device, path)


def embed(predictor: SamPredictor, pixels: np.ndarray) -> None:
    """Make SAM ready to be asked about an image; nothing is computed if it is the image it was last asked about.

    Args:
        predictor: keeps the embedding, and a copy of the pixels by which the image is known again.
        pixels: uint8 [H, W, 3].
    """
    kept = _EMBEDDED.get(predictor)
    same = kept is not None and predictor.features is kept[1] and np.array_equal(pixels, kept[0])
    if not (predictor.is_image_set and same):
        predictor.set_image(pixels)
        _EMBEDDED[predictor] = pixels.copy(), predictor.features


class Predictor(SamPredictor):
    """A ``SamPredictor`` for images of any shape, whatever the caller's context.

    It differs from its parent in three ways. An image whose short side would be resized to no pixel keeps one; an image
    that SAM cannot take is a ModelError; and embedding and masks are computed in float32, also inside
    ``torch.autocast``. It still remembers one image: threads that share a predictor take turns, see
    :func:`~medclipsam_utils.models.sam.asking`.
    """

    def __init__(self, model: Sam):
        super().__init__(model)
        self.transform = _Resize(model.image_encoder.img_size)

    @own_context()
    def set_image(self, image: np.ndarray, image_format: str = "RGB") -> None:
        """Embed an image, uint8 [H, W, 3], about which :meth:`predict` is asked from then on.

        Raises:
            ModelError: it is no such array, or has no pixels.
        """
        shape: tuple[int, ...] = getattr(image, "shape", ())
        kind = getattr(image, "dtype", type(image).__name__)
        if not isinstance(image, np.ndarray) or kind != np.uint8 or len(shape) != 3 or shape[2] != 3 or 0 in shape:
            reason = f"the image is {kind} {list(shape)}, not uint8 [H, W, 3] with a pixel or more"
            raise model_error("SAM", reason, "Give grey levels from 0 to 255 in three channels, as read_image does")
        with asking(self):
            super().set_image(image, image_format)

    @own_context()
    def set_torch_image(self, transformed_image: Tensor, original_image_size: tuple[int, ...]) -> None:
        super().set_torch_image(transformed_image, original_image_size)

    @own_context()
    def predict_torch(self, *arguments: Any, **options: Any) -> tuple[Tensor, Tensor, Tensor]:
        with asking(self):
            return super().predict_torch(*arguments, **options)


@contextmanager
def asking(predictor: SamPredictor) -> Iterator[None]:
    """Let one thread at a time ask a predictor, so that no other sets an image between ``set_image`` and ``predict``.

    A thread that is inside may enter again.

    ::

        with asking(predictor):
            predictor.set_image(image)
            masks, quality, logits = predictor.predict(box=box)
    """
    with _LOCK:
        turns = _TURNS.setdefault(predictor, RLock())
    with turns:
        yield


# Locks of the predictors, not kept in them: a lock can be neither copied nor sent to another process.
_LOCK = Lock()
_TURNS: WeakKeyDictionary[SamPredictor, Any] = WeakKeyDictionary()


class _Resize(ResizeLongestSide):
    """Bring an image's long side to SAM's and leave its short side a pixel, however thin the image is."""

    @staticmethod
    def get_preprocess_shape(oldh: int, oldw: int, long_side_length: int) -> tuple[int, int]:
        height, width = ResizeLongestSide.get_preprocess_shape(oldh, oldw, long_side_length)
        return max(height, 1), max(width, 1)


def _predictor(model: Sam, device: torch.device, name: object) -> Predictor:
    return Predictor(move(model, device, name).eval())


def _load_file(path: Path, expected: str | None = None) -> Sam:
    """Load a file of ours or with the official names; it must be of the size ``expected``, if one is given.

    segment_anything's own builders unpickle files without ``weights_only``: a file could run code. So they build, and
    the weights are read here.
    """
    if path.suffix == ".safetensors":
        try:
            with safe_open(path, framework="pt") as file:
                ours = (file.metadata() or {}).get("format", "pt").startswith("medclipsam")
        except (SafetensorError, OSError):
            ours = True
        if ours:  # or damaged, which the reader of our files says
            read_header(path, SAM_FORMAT)
            model = build_tiny_sam()
            load_weights(path, model)
            return model
    try:
        content = read_checkpoint(path)
    except UNREADABLE as error:
        reason = f"the file is damaged or holds more than weights ({type(error).__name__})"
        remedy = f"Download it again; official checkpoints are at {URL}. Of a checkpoint of your own, save the weights"
        raise model_error(path, reason, f"{remedy} alone, with torch.save(model.state_dict(), path)") from None
    weights = find_weights(path, content, _MARK)
    size = _size(weights)
    if weights is None or size is None or expected not in (None, size):
        layout = describe_layout(content)
        reason = f"it has the weights of {size or 'another model'}, not of {expected or 'SAM'}"
        if size is None and layout:
            reason += f": {layout}"
        raise model_error(path, reason, f"Use a checkpoint in the official format, from {URL} or fine-tuned from one")
    model = sam_model_registry[size]()
    copy_weights(path, weights, model)
    return model


def _size(weights: object) -> str | None:
    """Tell which of :data:`SIZES` the weights have, by the width of the position embedding [1, 64, 64, width]."""
    embedding = weights.get(_MARK) if isinstance(weights, dict) else None
    width = embedding.shape[-1] if isinstance(embedding, torch.Tensor) and embedding.ndim else None
    return next((name for name, size in SIZES.items() if size.width == width), None)
