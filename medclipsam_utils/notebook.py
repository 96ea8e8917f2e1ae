"""Every chapter begins by setting the look of its figures, and how many threads its kernel uses.

NumPy's linear algebra and torch each start one thread per core, and threads that have nothing to do wait busily for
those that have. Beside another program that uses the cores too, they wait for each other most of the time: a chapter of
two minutes took nine. With one thread it takes a third longer alone, and not more beside others; and what a sum comes
to, down to the last digit, no longer depends on the number of cores.
"""

from __future__ import annotations

import os

import torch
from threadpoolctl import threadpool_limits

from .plots import use_book_style

#: What the libraries read when they are loaded, for those that are loaded later and for processes that are started.
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")


def set_up(threads: int = 1) -> None:
    """Prepare this notebook's kernel.

    Only this call does any of it: importing the package changes neither threads nor figures.

    Args:
        threads: how many threads torch and the linear algebra of NumPy and SciPy use from now on, 1 or more.

    Raises:
        ValueError: threads is below 1 or no integer.
    """
    if not isinstance(threads, int) or isinstance(threads, bool) or threads < 1:
        raise ValueError(f"threads is {threads!r}: give an integer, 1 or more")
    os.environ.update(dict.fromkeys(THREAD_VARIABLES, str(threads)))
    threadpool_limits(limits=threads)
    torch.set_num_threads(threads)
    use_book_style()
