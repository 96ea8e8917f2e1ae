"""A network may compute in bfloat16 while it is trained; its weights stay float32."""

from __future__ import annotations

import torch

PRECISIONS = ("float32", "bfloat16")


def computing_in(precision: str, device: str | torch.device) -> torch.autocast:
    """Make a context for the forward pass. What comes out may be bfloat16; make it float32 for the loss.

    Args:
        precision: one of :data:`PRECISIONS`; ``"float32"`` changes nothing.
        device: where the network is.
    """
    return torch.autocast(torch.device(device).type, torch.bfloat16, enabled=precision == "bfloat16")
