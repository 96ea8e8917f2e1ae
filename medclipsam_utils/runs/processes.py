"""The processes that train one model together, under ``torchrun``; a plain call is one process."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import distributed

#: Seconds in which the threads of a process group finish what they hold.
MOMENT = 0.2


@dataclass(frozen=True)
class Processes:
    """The number of processes (``count``), and which of them this one is (``rank``, from 0)."""

    rank: int = 0
    count: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the process that writes files and shows progress."""
        return self.rank == 0

    def wait(self) -> None:
        """Wait until all processes are here."""
        if self.count > 1:
            distributed.barrier()

    def share(self, items: list) -> list:
        """Return this process's part of a list that ``count`` divides; the parts in the order of ranks are the list."""
        size = len(items) // self.count
        return items[self.rank * size : (self.rank + 1) * size]


@contextmanager
def joined(device: torch.device) -> Iterator[Processes]:
    """Yield the processes of this run; join them if ``torchrun`` started several and nobody has, and part again."""
    begun = distributed.is_available() and distributed.is_initialized()
    if not begun and int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield Processes()
        return
    if not begun:
        distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    here = Processes(distributed.get_rank(), distributed.get_world_size())
    try:
        yield here
        if not begun:
            here.wait()
    finally:
        if not begun:
            _part()


def _part() -> None:
    """Take the process group apart, when gloo's threads have let go of their last tensors.

    For that they need the lock of the interpreter, which torch before 2.8 holds while it waits for these threads:
    without the moment before, a run ends in a deadlock now and then (pull request 154976 of PyTorch).
    """
    time.sleep(MOMENT)
    distributed.destroy_process_group()
