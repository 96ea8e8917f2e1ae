"""The weights inside a checkpoint, whatever they were wrapped in.

A file of weights rarely holds weights alone. Training loops save them beside the optimizer, as ``{"model": …}`` or
``{"state_dict": …}``; ``DataParallel`` puts ``module.`` before every name, ``torch.compile`` ``_orig_mod.``, Lightning
the name of an attribute. One weight that every model of a kind has, its *mark*, tells where its weights are and what
stands before their names.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from .errors import model_error

#: What torch and safetensors raise of a file that is damaged, or that would have to run code.
UNREADABLE = (OSError, EOFError, RuntimeError, ValueError, KeyError, TypeError, AttributeError, UnpicklingError,
              SafetensorError)  # fmt: skip

# Names under which training loops keep the weights, the likeliest first.
_LIKELY = ("state_dict", "model_state_dict", "model", "network", "net", "module", "weights")
_DEPTH = 4

#: The part of a layout's description by which weights of that library are told.
HUGGING_FACE = "the layout of Hugging Face's transformers"

# Layouts that people have, by how a name of theirs starts.
_LAYOUTS = {
    "vision_encoder.": f"{HUGGING_FACE} (vision_encoder.…)",
    "vision_model.": f"{HUGGING_FACE} (vision_model.…, text_model.…)",
    "text_model.": f"{HUGGING_FACE} (vision_model.…, text_model.…)",
    "image_encoder.trunk.": "the layout of SAM 2 (image_encoder.trunk.…)",
    "image_encoder.": "the layout of SAM (image_encoder.…)",
    "visual.": "the layout of open_clip (visual.…)",
}


def read_checkpoint(path: str | os.PathLike) -> Any:
    """Read what a file of weights holds, without running code from it; large tensors stay on the disk until used.

    Raises:
        One of :data:`UNREADABLE`: the file is damaged, or holds more than weights, numbers and texts.
    """
    if Path(path).suffix == ".safetensors":
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    try:
        return torch.load(os.fspath(path), map_location="cpu", weights_only=True, mmap=True)  # a text, for torch 2.2
    except RuntimeError:  # a file in torch's older format cannot be mapped into memory
        return torch.load(path, map_location="cpu", weights_only=True)


def find_weights(path: str | os.PathLike, content: Any, mark: str) -> dict[str, torch.Tensor] | None:
    """Find the weights of one model in a checkpoint, by their own names; None if no weight is called ``mark``.

    Args:
        path: the file, for the message of the error.
        content: what :func:`read_checkpoint` returned.
        mark: name of a weight that every model of this kind has.

    Raises:
        ModelError: beside the model's weights there are others, which would be lost.
    """
    for tensors in _state_dicts(content):
        found = min((name for name in tensors if f".{name}".endswith(f".{mark}")), key=len, default=None)
        if found is None:
            continue
        prefix = found.removesuffix(mark)
        others = [name for name in tensors if not name.startswith(prefix)]
        if others:
            reason = f"beside the weights that start with {prefix!r} it has {len(others)} others: {_some(others)}"
            raise model_error(path, reason, "If they do not matter, save the weights of the model alone")
        return {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
    return None


def describe_layout(content: Any) -> str:
    """Say in words whose names the weights in a checkpoint have; "" where there are no weights."""
    found = list(_state_dicts(content))
    for start, layout in _LAYOUTS.items():
        if any(f".{start}" in f".{name}" for tensors in found for name in tensors):
            return layout
    return f"names that are not known here ({_some(max(found, key=len))})" if found else ""


def _state_dicts(content: Any, depth: int = 0) -> Iterator[dict[str, torch.Tensor]]:
    """Yield the dictionaries with tensors in them, from the outside in; of nested ones the likeliest first."""
    if not isinstance(content, Mapping) or depth > _DEPTH:
        return
    tensors = {name: value for name, value in content.items() if isinstance(value, torch.Tensor)}
    if tensors and all(isinstance(name, str) for name in tensors):
        yield tensors
    likely = [content[name] for name in _LIKELY if name in content]
    others = [value for name, value in content.items() if name not in _LIKELY]
    for value in (*likely, *others):
        yield from _state_dicts(value, depth + 1)


def _some(names: Collection[str]) -> str:
    first = sorted(names)[:3]
    return ", ".join(first) + (", …" if len(names) > len(first) else "")
