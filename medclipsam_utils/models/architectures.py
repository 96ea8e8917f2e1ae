"""Models by the names of open_clip: an architecture, and after a slash which weights."""

from __future__ import annotations

import open_clip
import torch

from .clip import Clip
from .devices import move
from .errors import model_error
from .open_clip_folder import clip_of

#: The tag that asks for random weights, for tests and for training from scratch.
RANDOM = "random"


def split_architecture(name: str) -> tuple[str, str] | None:
    """Split ``"ViT-B-32/openai"`` into architecture and tag; "" for a missing tag, None if it is no architecture."""
    known = open_clip.list_models()
    architecture, _, tag = name.rpartition("/")
    if name.replace("/", "-") in known:  # ViT-B/32 is how the paper of CLIP writes it
        return name.replace("/", "-"), ""
    if architecture.replace("/", "-") in known:
        return architecture.replace("/", "-"), tag
    return None


def load_architecture(architecture: str, tag: str, device: torch.device) -> Clip:
    """Load an architecture with the weights of a tag, from open_clip's cache or the network.

    Raises:
        ModelError: the tag is missing or unknown, or the weights cannot be had.
    """
    name = f"{architecture}/{tag}"
    tags = open_clip.list_pretrained_tags_by_model(architecture)
    choices = ", ".join(f"{architecture}/{known}" for known in (*tags, RANDOM))
    if not tag:
        raise model_error(architecture, "this is an architecture without weights", f"Say which weights: {choices}")
    if tag not in (*tags, RANDOM):
        raise model_error(name, f"open_clip has no weights {tag!r} for {architecture}", f"Choose {choices}")
    try:
        if tag == RANDOM:
            model = open_clip.create_model(architecture, pretrained_text=False)
        else:
            model = open_clip.create_model(architecture, tag, require_pretrained=True, weights_only=True)
        tokenizer = open_clip.get_tokenizer(architecture)
    except Exception as error:  # raised by the hub's client, its network library, the system or the unpickler
        source = open_clip.get_pretrained_cfg(architecture, tag)
        where = source.get("hf_hub") or source.get("url") or "the hub"
        reason = f"its weights or its tokenizer cannot be had ({type(error).__name__})"
        remedy = f"They come from {where}: call again where there is a network, or give a folder in open_clip's format"
        raise model_error(name, reason, remedy) from None
    config = {"model_cfg": open_clip.get_model_config(architecture), "preprocess_cfg": model.visual.preprocess_cfg}
    return clip_of(move(model, device, name), tokenizer, name, config)
