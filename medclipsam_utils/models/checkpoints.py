"""The files of the small models: safetensors, with what is needed to use the weights in the header.

The header of a safetensors file may hold strings. Ours are ``format`` (which architecture, and which version of it),
``vocabulary`` (of a CLIP: JSON list of the words in the order of their ids), ``windows`` (of a CLIP whose blocks saw
windows of the image in training: JSON number of them along each side) and ``trained`` (JSON object: how the weights
came about). Reading such a file runs no code, unlike unpickling.
"""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from .errors import model_error
from .words import WordTokenizer

CLIP_FORMAT = "medclipsam-tiny-clip-1"
SAM_FORMAT = "medclipsam-tiny-sam-1"

_FIELDS = {CLIP_FORMAT: ("vocabulary", "trained"), SAM_FORMAT: ("trained",)}
_OPTIONAL = {CLIP_FORMAT: ("windows",), SAM_FORMAT: ()}


def save_tiny_clip(
    path: str | os.PathLike,
    model: nn.Module,
    vocabulary: Sequence[str],
    trained: Mapping[str, Any],
    windows: int | None = None,
) -> None:
    """Write a small CLIP to a file that :func:`~medclipsam_utils.models.load_clip` reads. All or nothing is written.

    Args:
        path: the file; its name ends in ``.safetensors``.
        model: a model of :func:`~medclipsam_utils.models.tiny_clip.build_tiny_clip`, on any device.
        vocabulary: the words of its tokenizer, in the order of their ids.
        trained: how the weights came about, in what JSON can hold: data, seeds, settings, results.
        windows: see :class:`~medclipsam_utils.models.Clip`.

    Raises:
        ModelError: the extension is another, a weight is not finite, the vocabulary is not the model's, or the file
            cannot be written.
    """
    tokens = WordTokenizer(vocabulary, context_length=2).vocabulary_size
    embedded: Any = getattr(model.text, "vocab_size", None)
    if embedded != tokens:
        reason = f"the model embeds {embedded} tokens, the vocabulary and the special tokens are {tokens}"
        raise model_error(path, reason, "Give the vocabulary that the model was built for")
    header = {"format": CLIP_FORMAT, "vocabulary": json.dumps(list(vocabulary))}
    if windows is not None:
        header["windows"] = json.dumps(windows)
    _save(path, model, header, trained)


def save_tiny_sam(path: str | os.PathLike, model: nn.Module, trained: Mapping[str, Any]) -> None:
    """Write a small SAM to a file that :func:`~medclipsam_utils.models.load_sam` reads. All or nothing is written.

    Args:
        path: the file; its name ends in ``.safetensors``.
        model: a model of :func:`~medclipsam_utils.models.tiny_sam.build_tiny_sam`, on any device.
        trained: how the weights came about, in what JSON can hold: data, seeds, settings, results.

    Raises:
        ModelError: the extension is another, a weight is not finite, or the file cannot be written.
    """
    _save(path, model, {"format": SAM_FORMAT}, trained)


def read_header(path: str | os.PathLike, expected_format: str) -> dict[str, Any]:
    """Read what a file says about its weights: ``trained``, and of a CLIP ``vocabulary`` and ``windows``.

    They are Python objects; ``windows`` is None where the file does not say it.

    Raises:
        ModelError: the file is missing, damaged or of another format.
    """
    path = Path(path)
    if not path.is_file():
        raise model_error(path, "there is no such file", "Check the spelling and the folder")
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
    except (SafetensorError, OSError) as error:
        reason = f"it is not a complete safetensors file ({error})"
        raise model_error(path, reason, "Save or download it again") from None
    found = header.get("format")
    if found != expected_format:
        raise model_error(path, f"its format is {found!r}, not {expected_format!r}", "Load a file of that kind")
    try:
        said = {field: json.loads(header[field]) for field in _FIELDS[expected_format]}
        return said | {field: json.loads(header.get(field, "null")) for field in _OPTIONAL[expected_format]}
    except (KeyError, json.JSONDecodeError) as error:
        raise model_error(path, f"its header is incomplete ({error!r})", "Save or download it again") from None


def load_weights(path: str | os.PathLike, model: nn.Module) -> None:
    """Copy the weights in a safetensors file into ``model``, each where it belongs.

    Raises:
        ModelError: a weight is missing, unknown or of another shape.
    """
    with safe_open(path, framework="pt") as file:
        weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    copy_weights(path, weights, model)


def copy_weights(path: str | os.PathLike, weights: Mapping[str, torch.Tensor], model: nn.Module) -> None:
    """Copy weights by name into ``model``; ``path`` is for the message of the :class:`ModelError`."""
    own = model.state_dict()
    shapes = {
        name: f"{name} is {tuple(weights[name].shape)} and should be {tuple(own[name].shape)}"
        for name in own.keys() & weights.keys()
        if own[name].shape != weights[name].shape
    }
    wrong = [
        f"{len(names)} weights {kind}: {', '.join(sorted(names)[:3])}{', …' if len(names) > 3 else ''}"
        for kind, names in (
            ("are missing", own.keys() - weights.keys()),
            ("are unknown", weights.keys() - own.keys()),
            ("have another shape", shapes.values()),
        )
        if names
    ]
    if wrong:
        raise model_error(path, "; ".join(wrong), "It was made for another architecture, or is incomplete")
    model.load_state_dict(weights)


def finite_weights(path: str | os.PathLike, model: nn.Module) -> dict[str, torch.Tensor]:
    """Copy the weights for a safetensors file; ``path`` is for the message of the :class:`ModelError`."""
    weights = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in model.state_dict().items()}
    for name, tensor in weights.items():
        if not torch.isfinite(tensor).all():
            raise model_error(path, f"the weight {name} is not finite", "The training diverged: lower its rate")
    return weights


def _save(path: str | os.PathLike, model: nn.Module, header: dict[str, str], trained: Mapping[str, Any]) -> None:
    path = Path(path)
    if path.suffix != ".safetensors":
        raise model_error(path, f"the extension is {path.suffix!r}", "Let the name end in .safetensors")
    weights = finite_weights(path, model)
    temporary = path.with_name(f".{uuid.uuid4().hex}.part")
    try:
        try:
            save_file(weights, temporary, {**header, "trained": json.dumps(dict(trained))})
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
    except (OSError, SafetensorError) as error:
        raise model_error(path, f"it cannot be written ({error})", "Choose a folder that exists and is yours") from None
