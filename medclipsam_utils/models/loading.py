"""Loading a CLIP by its name or from a file, as a :class:`~medclipsam_utils.models.Clip`."""

from __future__ import annotations

import os
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from .architectures import load_architecture, split_architecture
from .checkpoints import CLIP_FORMAT, load_weights, read_header
from .clip import Clip
from .context import own_context
from .devices import find_device, move
from .errors import model_error
from .hub import BIOMEDCLIP, PREFIX, load_hub
from .layouts import describe_layout, read_checkpoint
from .open_clip_folder import load_checkpoint, load_folder
from .tiny_clip import CONTEXT_LENGTH, IMAGE_SIZE, MEAN, STD, build_tiny_clip
from .weights import shipped
from .words import WordTokenizer

SHIPPED = {"tiny": "tiny_clip.safetensors", "tiny-base": "tiny_clip_base.safetensors"}


@own_context()
def load_clip(name: str | os.PathLike = "tiny", device: str | torch.device = "cpu") -> Clip:
    """Load a contrastive vision-language model of any size, by name or from a file.

    ==========================================  =======================================================================
    ``"tiny"``                                  the small CLIP of this package, trained from simulated images
    ``"tiny-base"``                             a like one that learned from captions alone
    ``"biomedclip"``                            BiomedCLIP, from the models folder, the hub's cache or the hub: see
                                                :func:`~medclipsam_utils.models.hub.load_hub`
    ``"hf-hub:ORG/NAME"``                       another model in open_clip's format, likewise
    ``"ARCHITECTURE/TAG"``                      what ``open_clip.list_pretrained()`` lists, for example
                                                ``"ViT-B-32/laion2b_s34b_b79k"``. The tag ``random`` gives random
                                                weights; without a tag there is no model, because none would say so
    a path that ends in ``.safetensors``        a file of :func:`~medclipsam_utils.models.checkpoints.save_tiny_clip`
    a path of another file                      a checkpoint of open_clip, such as ``epoch_32.pt``, in a folder that has
                                                the other files of that format
    a path of a folder                          a model in open_clip's hub format, such as a copy of BiomedCLIP: see
                                                :mod:`medclipsam_utils.models.open_clip_folder`
    ==========================================  =======================================================================

    The network is used for models of the hub and of open_clip that are not on this machine yet, and for nothing else.

    Args:
        name: one of the above.
        device: where the model runs, for example ``"cuda"``.

    Returns:
        The model with its tokenizer, see :class:`~medclipsam_utils.models.Clip`; in evaluation mode.

    Raises:
        ModelError: the name is unknown, or the model is missing (the message says where to get it), damaged, or of
            another kind; or this machine has no such device.
    """
    name, device = os.fspath(name), find_device(device)
    if name in SHIPPED:
        return _load_file(shipped(SHIPPED[name]), name, device)
    if name == "biomedclip":
        return load_hub(BIOMEDCLIP, name, device)
    if name.startswith(PREFIX):
        return load_hub(name.removeprefix(PREFIX), name, device)
    path = Path(name)
    if path.is_dir():
        return load_folder(path, path.name, device)
    if path.is_file():
        return _load_file(path, path.stem, device)
    named = split_architecture(name)
    if named is None:
        remedy = f"Choose {', '.join(SHIPPED)}, biomedclip, hf-hub:ORG/NAME, ARCHITECTURE/TAG of open_clip, or a path"
        raise model_error(name, "there is no model, no file and no folder of this name", remedy)
    return load_architecture(*named, device)


def _load_file(path: Path, name: str, device: torch.device) -> Clip:
    """Load a file: a small CLIP of ours, or a checkpoint of open_clip."""
    if not _is_ours(path):
        return load_checkpoint(path, device)
    header = read_header(path, CLIP_FORMAT)
    tokenizer = WordTokenizer(header["vocabulary"], CONTEXT_LENGTH)
    model = build_tiny_clip(tokenizer.vocabulary_size)
    load_weights(path, model)
    return Clip(name, move(model, device, name), tokenizer, IMAGE_SIZE, MEAN, STD, windows=header["windows"])


def _is_ours(path: Path) -> bool:
    """Tell a file of this package, whole or damaged, from a checkpoint of open_clip."""
    if path.suffix != ".safetensors":
        return False
    try:
        with safe_open(path, framework="pt") as file:
            if (file.metadata() or {}).get("format", "").startswith("medclipsam"):
                return True
        return not describe_layout(read_checkpoint(path)).startswith("the layout")
    except (SafetensorError, OSError):
        return True
