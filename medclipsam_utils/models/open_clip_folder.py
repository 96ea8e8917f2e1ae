"""A folder in open_clip's hub format: everything that one model needs, loaded without a network.

::

    open_clip_config.json           sizes, and how pixels are normalised
    open_clip_model.safetensors     the weights; or open_clip_pytorch_model.bin
    tokenizer.json                  only if the text tower is from transformers; or vocab.txt
    tokenizer_config.json           likewise: which kind of tokenizer that is
    config.json                     likewise: sizes of the text tower; not needed for BERT base, as in BiomedCLIP

The repository of BiomedCLIP has the first four. Its ``open_clip_config.json`` names a second repository for the text
tower, from which open_clip would fetch sizes and tokenizer; here both come from the folder. Weights are unpickled with
``weights_only=True``, so that a file cannot run code.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import open_clip
import torch
from safetensors import SafetensorError
from torch import nn
from transformers import BertConfig

from .clip import Clip
from .errors import model_error

CONFIG = "open_clip_config.json"
WEIGHTS = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")
TOKENIZER = ("tokenizer.json", "vocab.txt")
TOKENIZER_CONFIG = "tokenizer_config.json"
TEXT_CONFIG = "config.json"
# Text towers with exactly the sizes of BERT base (Gu et al. 2021), under the older and the newer name of one model.
BERT_BASE = (
    "microsoft/BiomedNLP-PubMedBERT-base-uncased-abstract",
    "microsoft/BiomedNLP-BiomedBERT-base-uncased-abstract",
)

# What damaged or mismatched files raise, in open_clip, transformers, safetensors and the unpickler.
_FAILURES = (OSError, EOFError, KeyError, TypeError, ValueError, RuntimeError, UnpicklingError, SafetensorError)


def load_folder(folder: Path, name: str, device: str | torch.device) -> Clip:
    """The model in a folder of the layout above.

    Raises:
        ModelError: a file is missing, damaged, or of another model.
    """
    lacking = missing_files(folder)
    if lacking:
        reason = f"this folder lacks {', '.join(lacking)}"
        raise model_error(folder, reason, "Copy them there from the model's repository on the Hugging Face hub")
    try:
        with tempfile.TemporaryDirectory() as temporary:
            changes = _offline_text_tower(folder, Path(temporary))
            model = open_clip.create_model(
                f"local-dir:{folder}", pretrained_text=False, require_pretrained=True, weights_only=True, **changes
            )
        tokenizer = open_clip.get_tokenizer(f"local-dir:{folder}")
    except _FAILURES as error:
        reason = f"the model cannot be made from this folder ({type(error).__name__}: {_start(error)})"
        raise model_error(folder, reason, "Copy its files again, all from one repository") from None
    _check_tokenizer(folder, tokenizer)
    config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    return clip_of(model.to(device), tokenizer, name, config)


def missing_files(folder: Path) -> list[str]:
    """What the folder lacks of the layout above; a choice reads "a or b"."""
    needed = [(CONFIG,), WEIGHTS]
    text = _text_config(folder) if (folder / CONFIG).is_file() else {}
    if text.get("hf_tokenizer_name"):
        needed += [TOKENIZER, (TOKENIZER_CONFIG, TEXT_CONFIG)]
    lacking = [" or ".join(choice) for choice in needed if not any((folder / file).is_file() for file in choice)]
    tower = text.get("hf_model_name")
    if tower and tower not in BERT_BASE and not (folder / TEXT_CONFIG).is_file():
        lacking.append(f"{TEXT_CONFIG} (of the repository {tower})")
    return lacking


def clip_of(model: nn.Module, tokenizer: Any, name: str, config: dict[str, Any]) -> Clip:
    """An open_clip model with the size and normalisation of pixels that its configuration asks for."""
    size = model.visual.image_size  # a number in some image towers, a pair in others
    height, width = (size, size) if isinstance(size, int) else size
    if height != width:
        raise model_error(name, f"it sees {height} × {width} pixels", "Choose a model with square images")
    settings = model.visual.preprocess_cfg
    return Clip(name, model, tokenizer, height, settings["mean"], settings["std"], config)


def _text_config(folder: Path) -> dict[str, Any]:
    try:
        return dict(json.loads((folder / CONFIG).read_text(encoding="utf-8"))["model_cfg"]["text_cfg"])
    except (KeyError, TypeError, ValueError) as error:
        reason = f"it has no model_cfg with a text_cfg in JSON ({type(error).__name__})"
        raise model_error(folder / CONFIG, reason, "Copy the file again") from None


def _offline_text_tower(folder: Path, temporary: Path) -> dict[str, Any]:
    """The changes by which open_clip takes the sizes of a text tower from a folder, instead of the network."""
    text = _text_config(folder)
    if not text.get("hf_model_name"):
        return {}
    source = folder
    if not (folder / TEXT_CONFIG).is_file():
        source = temporary
        BertConfig().save_pretrained(temporary)  # its defaults are BERT base
    return {"text_cfg": {**text, "hf_model_name": str(source), "hf_model_pretrained": False}}


def _check_tokenizer(folder: Path, tokenizer: Any) -> None:
    """A BERT tokenizer that lost its vocabulary does not complain: it reads every word as unknown."""
    inner = getattr(tokenizer, "tokenizer", None)
    unknown = getattr(inner, "unk_token_id", None)
    if unknown is None:
        return
    words = inner(["the brain and a tumor"], add_special_tokens=False)["input_ids"][0]
    if all(token == unknown for token in words):
        raise model_error(folder, "its tokenizer knows no English word", "Copy the tokenizer's files again")


def _start(error: Exception) -> str:
    """The first line of a message that may be long."""
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else "no message"
