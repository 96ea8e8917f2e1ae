"""Choose the precision in which a training computes on this processor."""

from __future__ import annotations

import torch

from medclipsam_utils.runs.precision import computing_in


def computing() -> torch.autocast:
    """Compute in bfloat16 where the processor has instructions for it, which is faster; in float32 elsewhere."""
    fast = torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return computing_in("bfloat16" if fast else "float32", "cpu")
