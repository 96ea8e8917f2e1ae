"""A folder in open_clip's hub format: everything that one model needs, loaded without a network.

::

    open_clip_config.json           sizes, and how pixels are normalised
    open_clip_model.safetensors     the weights; or open_clip_pytorch_model.bin, or another name of OTHER_WEIGHTS
    tokenizer.json                  only if the text tower is from transformers; or vocab.txt
    tokenizer_config.json           likewise: which kind of tokenizer that is
    config.json                     likewise: sizes of the text tower; not needed for BERT base, as in BiomedCLIP

The repository of BiomedCLIP has the first four. Its ``open_clip_config.json`` names a second repository for the text
tower, from which open_clip would fetch sizes and tokenizer; here both come from the folder. Weights are unpickled with
``weights_only=True``, so that a file cannot run code. They may lie inside the checkpoint of a training loop, such as
open_clip's own ``epoch_32.pt``: put the other files beside it and give the path of the checkpoint.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import open_clip
import torch
from transformers import BertConfig

from .clip import Clip
from .devices import move
from .errors import ModelError, model_error
from .layouts import HUGGING_FACE, UNREADABLE, describe_layout, find_weights, read_checkpoint

CONFIG = "open_clip_config.json"
WEIGHTS = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")
#: Other names under which open_clip and training loops leave weights in such a folder, looked for after those above.
OTHER_WEIGHTS = ("open_clip_pytorch_model.safetensors", "model.safetensors", "pytorch_model.bin")
TOKENIZER = ("tokenizer.json", "vocab.txt")
TOKENIZER_CONFIG = "tokenizer_config.json"
TEXT_CONFIG = "config.json"
# Text towers with exactly the sizes of BERT base (Gu et al. 2021), under the older and the newer name of one model.
BERT_BASE = (
    "microsoft/BiomedNLP-PubMedBERT-base-uncased-abstract",
    "microsoft/BiomedNLP-BiomedBERT-base-uncased-abstract",
)

# The weight that every CLIP of open_clip has.
_MARK = "logit_scale"
_CHECKPOINTS = (".safetensors", ".bin", ".pt", ".pth", ".ckpt")


def load_folder(folder: Path, name: str, device: torch.device, weights: Path | None = None) -> Clip:
    """Load the model in a folder of the layout above, with the weights in the file ``weights`` if one is given.

    Raises:
        ModelError: a file is missing, damaged, or of another model or layout.
    """
    lacking = missing_files(folder, weights)
    if lacking:
        raise model_error(folder, f"this folder lacks {', '.join(lacking)}", _remedy(folder, lacking))
    if weights is None:
        weights = next(folder / file for file in (*WEIGHTS, *OTHER_WEIGHTS) if (folder / file).is_file())
    try:
        with tempfile.TemporaryDirectory() as temporary:
            copy = Path(temporary)
            shutil.copyfile(folder / CONFIG, copy / CONFIG)
            _put_weights(weights, copy)
            changes = _offline_text_tower(folder, copy)
            model = open_clip.create_model(
                f"local-dir:{copy}", pretrained_text=False, require_pretrained=True, weights_only=True, **changes
            )
        tokenizer = open_clip.get_tokenizer(f"local-dir:{folder}")
    except ModelError:
        raise
    except UNREADABLE as error:
        reason = f"the model cannot be made from this folder ({type(error).__name__}: {_start(error)})"
        raise model_error(folder, reason, "Copy its files again, all from one repository") from None
    _check_tokenizer(folder, tokenizer)
    config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    return clip_of(move(model, device, name), tokenizer, name, config)


def missing_files(folder: Path, weights: Path | None = None) -> list[str]:
    """List what the folder lacks of the layout above; a choice reads "a or b". Given ``weights`` need not be there."""
    needed: list[tuple[str, ...]] = [(CONFIG,)]
    if weights is None and not any((folder / file).is_file() for file in OTHER_WEIGHTS):
        needed.append(WEIGHTS)
    text = _text_config(folder) if (folder / CONFIG).is_file() else {}
    if text.get("hf_tokenizer_name"):
        needed += [TOKENIZER, (TOKENIZER_CONFIG, TEXT_CONFIG)]
    lacking = [" or ".join(choice) for choice in needed if not any((folder / file).is_file() for file in choice)]
    tower = text.get("hf_model_name")
    if tower and tower not in BERT_BASE and not (folder / TEXT_CONFIG).is_file():
        lacking.append(f"{TEXT_CONFIG} (of the repository {tower})")
    return lacking


def clip_of(model: Any, tokenizer: Any, name: str, config: dict[str, Any]) -> Clip:
    """Wrap an open_clip model with the size and normalisation of pixels that its configuration asks for."""
    size = model.visual.image_size  # a number in some image towers, a pair in others
    height, width = (size, size) if isinstance(size, int) else size
    if height != width:
        raise model_error(name, f"it sees {height} × {width} pixels", "Choose a model with square images")
    settings = model.visual.preprocess_cfg
    return Clip(name, model, tokenizer, height, settings["mean"], settings["std"], config)


def load_checkpoint(path: Path, device: torch.device) -> Clip:
    """Load a checkpoint file of open_clip, whose folder says what model it is of.

    Raises:
        ModelError: the folder does not say it, or as :func:`load_folder`.
    """
    if (path.parent / CONFIG).is_file():
        return load_folder(path.parent, path.stem, device, weights=path)
    try:
        layout = describe_layout(read_checkpoint(path))
    except UNREADABLE as error:
        layout = f"contents that cannot be read without running code from them, or are damaged ({type(error).__name__})"
    reason = f"this file has {layout or 'no weights'}, and its folder has no {CONFIG} that says what model it is of"
    remedy = (
        f"A model needs a folder in open_clip's format: put {CONFIG} beside the file, and where the text tower is from "
        f"transformers its tokenizer ({' or '.join(TOKENIZER)}, {TOKENIZER_CONFIG}) and {TEXT_CONFIG}, all from the "
        "repository of the model that the training started from"
    )
    raise model_error(path, reason, remedy)


def _put_weights(source: Path, folder: Path) -> None:
    """Put weights into a folder where open_clip finds them, out of what a training loop wrapped them in.

    Raises:
        ModelError: they have the names of another library.
        One of UNREADABLE: they cannot be read.
    """
    content = read_checkpoint(source)
    layout = describe_layout(content)
    if HUGGING_FACE in layout:
        remedy = "Rename them as open_clip does, or take the model from a repository in open_clip's format"
        raise model_error(source, f"its weights have {layout}, not that of open_clip (visual.…, text.…)", remedy)
    weights = find_weights(source, content, _MARK)
    if weights is None or content.keys() == weights.keys():  # open_clip itself says, or converts, what is not its own
        target = folder / (WEIGHTS[0] if source.suffix == ".safetensors" else WEIGHTS[1])
        try:
            os.symlink(source.resolve(), target)
        except OSError:  # not every system lets every user make links
            shutil.copyfile(source, target)
    else:
        torch.save(weights, folder / WEIGHTS[1])


def _remedy(folder: Path, lacking: list[str]) -> str:
    """Say what to do about a folder that lacks some files."""
    files = [path.name for path in sorted(folder.iterdir()) if path.suffix in _CHECKPOINTS and path.is_file()]
    if CONFIG in lacking and (folder / TEXT_CONFIG).is_file() and not set(files) & set(WEIGHTS):
        return (
            "It may be in the layout of Hugging Face's transformers, which has a config.json of its own: give the "
            f"model's repository in open_clip's format, with {CONFIG} and weights under open_clip's names"
        )
    if lacking == [" or ".join(WEIGHTS)] and files:
        return f"If the weights are in {' or '.join(files)}, give the path of that file"
    return "Copy them there from the model's repository on the Hugging Face hub"


def _text_config(folder: Path) -> dict[str, Any]:
    try:
        return dict(json.loads((folder / CONFIG).read_text(encoding="utf-8"))["model_cfg"]["text_cfg"])
    except (KeyError, TypeError, ValueError) as error:
        reason = f"it has no model_cfg with a text_cfg in JSON ({type(error).__name__})"
        raise model_error(folder / CONFIG, reason, "Copy the file again") from None


def _offline_text_tower(folder: Path, temporary: Path) -> dict[str, Any]:
    """Return the changes by which open_clip takes the sizes of a text tower from a folder, instead of the network."""
    text = _text_config(folder)
    if not text.get("hf_model_name"):
        return {}
    source = folder
    if not (folder / TEXT_CONFIG).is_file():
        source = temporary
        BertConfig().save_pretrained(temporary)  # its defaults are BERT base
    return {"text_cfg": {**text, "hf_model_name": str(source), "hf_model_pretrained": False}}


def _check_tokenizer(folder: Path, tokenizer: Any) -> None:
    """Refuse a BERT tokenizer that lost its vocabulary. It does not complain, but reads every word as unknown."""
    inner = getattr(tokenizer, "tokenizer", None)
    unknown = getattr(inner, "unk_token_id", None)
    if inner is None or unknown is None:
        return
    words = inner(["the brain and a tumor"], add_special_tokens=False)["input_ids"][0]
    if all(token == unknown for token in words):
        raise model_error(folder, "its tokenizer knows no English word", "Copy the tokenizer's files again")


def _start(error: Exception) -> str:
    """Cut a message that may be long after its first line."""
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else "no message"
