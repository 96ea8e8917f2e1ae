"""From a name to a :class:`segment_anything.SamPredictor` (Kirillov et al. 2023, *Segment Anything*)."""

from __future__ import annotations

import os
import pickle
from dataclasses import dataclass
from pathlib import Path
from weakref import WeakKeyDictionary

import numpy as np
import torch
from segment_anything import SamPredictor, sam_model_registry
from segment_anything.modeling import Sam

from .checkpoints import SAM_FORMAT, copy_weights, load_weights, read_header
from .errors import model_error
from .local import models_folder
from .tiny_sam import build_tiny_sam
from .weights import shipped

TINY = "tiny_sam.safetensors"
# What each predictor was last asked about, and its embedding.
_EMBEDDED: WeakKeyDictionary[SamPredictor, tuple[np.ndarray, torch.Tensor]] = WeakKeyDictionary()

URL = "https://dl.fbaipublicfiles.com/segment_anything/"


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


def load_sam(name: str | os.PathLike = "tiny", device: str | torch.device = "cpu") -> SamPredictor:
    """Load a Segment Anything Model, of any size, by name or from a file. The network is never used.

    ==========================================  =======================================================================
    ``"tiny"``                                  the small SAM of this package, trained from simulated images
    ``"vit_b"``, ``"vit_l"``, ``"vit_h"``       the official checkpoint, in the models folder:
                                                ``$MEDCLIPSAM_MODELS``, or ``~/.cache/medclipsam``
    a path that ends in ``.safetensors``        a file of :func:`~medclipsam_utils.models.checkpoints.save_tiny_sam`
    another path                                weights in the official format, such as MedSAM's; the size follows from
                                                their shapes
    ==========================================  =======================================================================

    Args:
        name: one of the above.
        device: where the model runs, for example ``"cuda"``.

    Returns:
        The predictor. ``set_image`` takes uint8 [H, W, 3] of any size, ``predict`` takes points [N, 2] and a box [4] in
        pixels of that image, x before y, and returns masks bool [C, H, W], their estimated quality [C], and coarse
        logits [C, h, w] that another call takes as ``mask_input``. The model is ``predictor.model``, in evaluation
        mode.

    Raises:
        ModelError: the name is unknown, or the file is missing (the message says where to get it), damaged, or of
            another model.
    """
    name = os.fspath(name)
    if name == "tiny":
        return _predictor(_load_tiny(shipped(TINY)), device)
    if name in SIZES:
        path = models_folder() / SIZES[name].file
        if not path.is_file():
            remedy = f"Download {URL}{path.name} into the folder {path.parent}, or set MEDCLIPSAM_MODELS to its folder"
            raise model_error(name, f"there is no {path}", remedy)
        return _predictor(_load_official(path, name), device)
    path = Path(name)
    if not path.is_file():
        remedy = f"Choose tiny, {', '.join(SIZES)}, or give the path of a .safetensors or .pth file"
        raise model_error(name, "there is no model and no file of this name", remedy)
    return _predictor(_load_tiny(path) if path.suffix == ".safetensors" else _load_official(path), device)


def embed(predictor: SamPredictor, pixels: np.ndarray) -> None:
    """Make SAM ready to be asked about an image; nothing is computed if it is the image it was last asked about.

    Args:
        predictor: keeps the embedding, and a copy of the pixels by which the image is known again.
        pixels: uint8 [H, W, 3].
    """
    kept, features = _EMBEDDED.get(predictor, (None, None))
    if not (predictor.is_image_set and predictor.features is features and np.array_equal(pixels, kept)):
        predictor.set_image(pixels)
        _EMBEDDED[predictor] = pixels.copy(), predictor.features


def _predictor(model: Sam, device: str | torch.device) -> SamPredictor:
    return SamPredictor(model.to(device).eval())


def _load_tiny(path: Path) -> Sam:
    read_header(path, SAM_FORMAT)
    model = build_tiny_sam()
    load_weights(path, model)
    return model


def _load_official(path: Path, expected: str | None = None) -> Sam:
    """The model in a file of the official format, which must be of the size ``expected``, if given.

    segment_anything's own builders unpickle files without ``weights_only``: a file could run code. So they build, and
    the weights are read here.
    """
    try:
        weights = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, EOFError, RuntimeError, pickle.UnpicklingError) as error:
        reason = f"the file is damaged or holds more than weights ({type(error).__name__})"
        raise model_error(path, reason, f"Download it again; official checkpoints are at {URL}") from None
    size = _size(weights)
    if size is None or expected not in (None, size):
        reason = f"it has the weights of {size or 'another model'}, not of {expected or 'SAM'}"
        raise model_error(path, reason, f"Use a checkpoint in the official format, from {URL} or fine-tuned from one")
    model = sam_model_registry[size]()
    copy_weights(path, weights, model)
    return model


def _size(weights: object) -> str | None:
    """Which of :data:`SIZES` the weights have, by the width of the position embedding [1, 64, 64, width]."""
    embedding = weights.get("image_encoder.pos_embed") if isinstance(weights, dict) else None
    width = embedding.shape[-1] if isinstance(embedding, torch.Tensor) and embedding.ndim else None
    return next((name for name, size in SIZES.items() if size.width == width), None)
