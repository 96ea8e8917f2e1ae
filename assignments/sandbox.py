"""Run submitted code where it can neither fool nor hurt; ``worker.py`` says what holds it.

What goes in: code, and the arguments of the calls. What comes out: values in JSON, never pickle, which are compared
here and not there. So the code has nothing to overwrite that would give it a point.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

#: The user *nobody*, as which submitted code runs if the grader is root.
NOBODY = 65534

#: What ended a process from outside, by signal.
SIGNALS = {
    signal.SIGXCPU: "it computed for {processor_seconds} s without coming back, perhaps in an endless loop",
    signal.SIGSEGV: "the process crashed (a segmentation fault)",
    signal.SIGABRT: "the process crashed (abort)",
    signal.SIGFPE: "the process crashed (an arithmetic error)",
    signal.SIGKILL: "the process was killed: too much processor time or memory",
    signal.SIGXFSZ: "it wrote a file that is too large",
}


@dataclass(frozen=True)
class Limits:
    """What one step may use.

    Attributes:
        processor_seconds: computing time, whole seconds.
        seconds: time by the clock.
        memory: bytes, with Python and numpy themselves (about 0.6 GB of addresses).
        file: bytes of the largest file it may write into its own folder.
        answer: bytes of all answers together.
        shown: characters of what it prints that are kept.
    """

    processor_seconds: int = 5
    seconds: float = 20.0
    memory: int = 2 << 30
    file: int = 1 << 20
    answer: int = 4 << 20
    shown: int = 1000


@dataclass(frozen=True)
class Run:
    """What came of running a step.

    Attributes:
        results: for each call {"value": encoded}, {"error": in words}, or {"stopped": why it was not reached}.
        failed: statements of the cells that raised something, a line for each.
        stopped: why it did not get to the end, or empty.
        printed: the beginning of what it printed.
        printed_length: how many characters it printed.
        seconds: by the clock.
    """

    results: list[dict[str, Any]]
    failed: list[str]
    stopped: str
    printed: str
    printed_length: int
    seconds: float


class Sandbox:
    """A context in which submitted code runs; it starts one Python, which forks a process for each step.

    Args:
        hook_alone: do without Landlock, as on systems that do not have it; to test what holds there.
    """

    def __init__(self, hook_alone: bool = False) -> None:
        self._more = ["--hook-alone"] if hook_alone else []

    def __enter__(self) -> Sandbox:
        self._home = tempfile.mkdtemp(prefix="grading-")
        self._start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()
        shutil.rmtree(self._home, ignore_errors=True)

    def _start(self) -> None:
        if os.name != "posix":
            raise OSError("grading needs Linux or macOS, because Windows cannot limit a process: use WSL there")
        environment = {
            "PATH": "/usr/bin:/bin", "HOME": self._home, "TMPDIR": self._home, "LC_ALL": "C.UTF-8",
            "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1",
        }  # fmt: skip
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-B", str(Path(__file__).with_name("worker.py")), *self._more],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=self._home, env=environment, start_new_session=True,
        )  # fmt: skip
        answer = self._read()
        if answer is None:
            raise RuntimeError("the process that runs submissions did not start; its own message is above")
        #: What holds on this machine, for the reports.
        self.landlock, self.nobody = int(answer["landlock"]), bool(answer["nobody"])

    def _stop(self) -> None:
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                with contextlib.suppress(BrokenPipeError):
                    stream.close()
        try:
            self._process.wait(2)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _read(self) -> dict[str, Any] | None:
        line = self._process.stdout.readline() if self._process.stdout is not None else b""
        return json.loads(line) if line else None

    def run(self, cells: Sequence[tuple[str, str]], step: str, calls: Sequence[Any], limits: Limits) -> Run:
        """Run cells in a process of their own and call one of their functions.

        Args:
            cells: name and code, the one of the step last.
            step: the function's name; empty to run the cells only.
            calls: encoded arguments.
            limits: what it may use.

        Returns:
            What came of it; a call that was not reached has {"stopped": why}.
        """
        folder = tempfile.mkdtemp(prefix="step-")
        try:
            if os.geteuid() == 0:
                os.chown(folder, NOBODY, NOBODY)
            request = {"folder": os.path.realpath(folder), "cells": cells, "step": step, "calls": calls}
            answer = self._ask(request | {"limits": asdict(limits)})
        finally:
            _remove(folder)
        if answer is None:
            self._stop()
            self._start()
            answer = {"why": "", "status": -9, "lines": [], "printed": "", "printed_length": 0, "seconds": 0.0}
        results, failed, stopped = _read_lines(answer["lines"], len(calls))
        if answer["why"] == "late":
            stopped = f"it did not come back within {limits.seconds:g} seconds"
        elif answer["why"] == "large":
            stopped = f"its answers are larger than {limits.answer >> 20} MB"
        elif not stopped and answer["status"] < 0:
            words = SIGNALS.get(signal.Signals(-answer["status"]), f"signal {-answer['status']} ended the process")
            stopped = words.format(**asdict(limits))
        elif not stopped and (len(results) < len(calls) or not answer["lines"]):
            stopped = "its process ended by itself in the middle, as by os._exit"
        results += [{"stopped": stopped}] * (len(calls) - len(results))
        return Run(results, failed, stopped, answer["printed"], answer["printed_length"], answer["seconds"])

    def _ask(self, request: dict[str, Any]) -> dict[str, Any] | None:
        try:
            assert self._process.stdin is not None
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()
            return self._read()
        except (BrokenPipeError, ValueError):
            return None


def _read_lines(lines: Sequence[str], count: int) -> tuple[list[dict[str, Any]], list[str], str]:
    """Read what a child wrote, which may be anything: answers, statements that failed, and why it stopped."""
    results: list[dict[str, Any]] = []
    failed: list[str] = []
    for line in lines:
        try:
            message = json.loads(line)
            if "stopped" in message:
                return results, failed, str(message["stopped"])[:400]
            if "failed" in message:
                failed += [str(words)[:300] for words in message["failed"]][:5]
            elif "error" in message:
                results.append({"error": str(message["error"])[:400]})
            else:
                results.append({"value": message["value"]})
        except (ValueError, TypeError, KeyError, RecursionError):
            return results[:count], failed, "its answer cannot be read"
    return results[:count], failed, ""


def _remove(folder: str) -> None:
    for place, folders, _ in os.walk(folder):
        for name in folders:
            with contextlib.suppress(OSError):
                os.chmod(os.path.join(place, name), 0o700)
    shutil.rmtree(folder, ignore_errors=True)
