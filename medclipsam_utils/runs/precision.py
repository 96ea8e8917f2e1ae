"""In which precision a network computes while it is trained; its weights stay float32."""

from __future__ import annotations

import torch

PRECISIONS = ("float32", "bfloat16")


def computing_in(precision: str, device: str | torch.device) -> torch.autocast:
    """A context for the forward pass; what comes out may be bfloat16, and is to be made float32 for the loss.

    Args:
        precision: one of :data:`PRECISIONS`.
        device: where the network is.
    """
    return torch.autocast(torch.device(device).type, torch.bfloat16, enabled=precision == "bfloat16")
