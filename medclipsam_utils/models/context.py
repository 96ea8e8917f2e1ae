"""The arithmetic that the results of this package are defined in, whatever the caller has switched on around a call.

Inference code is written inside ``torch.no_grad()`` or ``torch.inference_mode()``, often under ``torch.autocast``, and
some programs set another default type or device. A saliency method needs gradients all the same, and a mask must not
depend on the caller's precision. :func:`own_context` puts these settings aside for the time of a call; where none of
them is set, it changes nothing.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch

# The kinds of device whose operations autocast may compute in half precision, each switched on by itself.
_AUTOCAST = ("cpu", "cuda", "mps", "xpu")


@contextmanager
def own_context() -> Iterator[None]:
    """Inside, gradients can be computed, in float32 without autocast, and new tensors are float32 on the processor.

    Use it as ``with own_context():`` or as the decorator ``@own_context()`` of a function that is no generator.
    Afterwards the caller's settings are as before. All of them belong to the calling thread but the default type,
    which torch keeps for the whole process: where it is not float32, other threads see float32 during the call.
    """
    with ExitStack() as stack:
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.enable_grad())
        for kind in _AUTOCAST:
            if _autocasts(kind):
                stack.enter_context(torch.autocast(kind, enabled=False))
        if torch.empty(0).device.type != "cpu":
            stack.enter_context(torch.device("cpu"))
        stack.enter_context(_float32)
        yield


def _autocasts(kind: str) -> bool:
    try:
        return torch.is_autocast_enabled(kind)
    except TypeError:  # torch before 2.4 asks for each kind in its own way
        return torch.is_autocast_cpu_enabled() if kind == "cpu" else kind == "cuda" and torch.is_autocast_enabled()


class _Float32:
    """Float32 is torch's default type while any thread is inside; the last one to leave brings the other one back."""

    def __init__(self):
        self._lock = threading.Lock()
        self._inside = 0
        self._before = torch.float32

    def __enter__(self) -> None:
        with self._lock:
            if self._inside == 0:
                self._before = torch.get_default_dtype()
            self._inside += 1
            if torch.get_default_dtype() != torch.float32:
                torch.set_default_dtype(torch.float32)

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0 and self._before != torch.float32:
                torch.set_default_dtype(self._before)


_float32 = _Float32()
