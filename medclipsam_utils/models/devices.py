"""Where a model computes: the device by its name, after it was seen that it is there."""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import nn

from .errors import ModelError, model_error

_Model = TypeVar("_Model", bound=nn.Module)


def find_device(device: str | torch.device) -> torch.device:
    """Find the device of that name, and see that this machine has it.

    Args:
        device: a name such as ``"cpu"``, ``"cuda"`` or ``"cuda:1"``, or a :class:`torch.device`.

    Raises:
        ModelError: torch knows no such name, or this machine has no such device; the message says which there are.
    """
    try:
        found = torch.device(device)
    except (RuntimeError, TypeError, ValueError, OverflowError):
        raise _unusable(device, "torch knows no device of this name") from None
    if found.type == "meta":
        raise _unusable(device, "this device keeps shapes and no numbers")
    if found.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if not count:
            raise _unusable(device, "torch finds no GPU on this machine")
        if found.index is not None and found.index >= count:
            raise _unusable(device, f"there are {count} GPUs, counted from 0")
    try:
        torch.empty(1, device=found)
    except Exception:  # each kind of device has errors of its own
        raise _unusable(device, "torch finds none on this machine") from None
    return found


def move(model: _Model, device: torch.device, name: object) -> _Model:
    """Move a model to the device; ``name`` is for the message of the :class:`ModelError` where that fails."""
    try:
        return model.to(device)
    except RuntimeError as error:  # the device is full, or busy
        reason = f"the model cannot be moved to the device {str(device)!r} ({_first_line(error)})"
        raise model_error(name, reason, "Free the device, or use 'cpu'") from None


def _unusable(device: object, reason: str) -> ModelError:
    name = str(device) if isinstance(device, torch.device) else device
    return model_error(f"device {name!r}", reason, f"Use {', '.join(_present())}")


def _present() -> list[str]:
    """List the devices that are there and that a user most likely wants."""
    cuda = [f"'cuda:{number}'" for number in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
    mps = ["'mps'"] if torch.backends.mps.is_available() else []
    return ["'cpu'", *cuda[:8], *mps]


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:200].rstrip(".") if lines else type(error).__name__
