"""Choose the precision in which a training computes on this processor."""

from __future__ import annotations

from contextlib import AbstractContextManager

import torch


def computing() -> AbstractContextManager:
    """Compute in bfloat16 where the processor has instructions for it, which is faster; in float32 elsewhere."""
    fast = torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return torch.autocast("cpu", torch.bfloat16, enabled=fast)
