"""Start processes of the package from one that has imported it, because importing it takes longer than most tests."""

from __future__ import annotations

import multiprocessing
import os
import socket
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from typing import Any

SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(
    ["medclipsam_utils.pipeline.folder", "recipes.measure.chain", "recipes.measure.zero_shot"]
)


def start(target: Callable[..., object], *arguments: Any) -> BaseProcess:
    """Call a function of a test's module in a process of its own."""
    process = SERVER.Process(target=target, args=arguments, daemon=True)
    process.start()
    return process


def run_together(count: int, target: Callable[..., object], *arguments: Any) -> None:
    """Call a function in several processes, which find in their environment what ``torchrun`` puts there."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    processes = [start(_as_one_of, rank, count, port, target, arguments) for rank in range(count)]
    try:
        for process in processes:
            process.join(300)
        assert [process.exitcode for process in processes] == [0] * count
    finally:
        for process in processes:
            process.kill()


def _as_one_of(rank: int, count: int, port: int, target: Callable[..., object], arguments: tuple) -> None:
    os.environ |= {
        "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(count),
        "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port),
    }  # fmt: skip
    target(*arguments)
