"""Call what a reader wrote so that nothing of it reaches the notebook: no error, no endless loop, no exit.

The call runs in a thread of its own. What it prints is shown, up to a page of it; what it raises comes back as a value;
when its time is over it is asked to stop, and the notebook goes on in any case.
"""

from __future__ import annotations

import builtins
import contextlib
import ctypes
import io
import os
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

#: How many printed characters are shown.
PAGE = 1000


class Escape(Exception):
    """A call did not come to an answer; the message says why, in words for its author."""


class _Page(io.TextIOBase):
    """Keep the beginning of what is printed, and count the rest."""

    def __init__(self) -> None:
        super().__init__()
        self.kept, self.length = "", 0

    def writable(self) -> bool:
        return True

    def write(self, text: str, /) -> int:
        self.kept += text[: max(0, PAGE - self.length)]
        self.length += len(text)
        return len(text)


def call(function: Callable[[], Any], seconds: float) -> Any:
    """Return what ``function`` returns.

    Args:
        function: code that may do anything.
        seconds: how long it may take.

    Raises:
        Escape: it took too long, left Python, or raised an error.
    """
    found: dict[str, Any] = {}

    def work() -> None:
        try:
            found["answer"] = function()
        except BaseException as error:
            found["error"] = error

    page, thread = _Page(), threading.Thread(target=work, daemon=True)
    with contextlib.redirect_stdout(page), contextlib.redirect_stderr(page), _no_way_out() as left:
        thread.start()
        thread.join(seconds)
        late = thread.is_alive()
        if late:
            _stop(thread)
    if page.kept:
        print(page.kept.rstrip("\n"))
    if page.length > PAGE:
        print(f"… and {page.length - PAGE:,} characters more, which are not shown.")
    if late:
        raise Escape(f"it did not return within {seconds:g} seconds: is there a loop without an end?")
    if left or isinstance(found.get("error"), (SystemExit, KeyboardInterrupt)):
        raise Escape("it tried to end Python itself: return the answer instead")
    if "error" in found:
        error = found["error"]
        raise error if isinstance(error, Escape) else Escape(_words(error)) from error
    return found["answer"]


def _words(error: BaseException) -> str:
    try:
        text = str(error)
    except BaseException:
        text = "an error that cannot say what it is"
    return f"it raised {type(error).__name__}: {text[:300]}"


def _stop(thread: threading.Thread) -> None:
    """Ask a thread to end at its next line of Python; one that never gets there is left alone."""
    for _ in range(3):  # a loop that catches the first one may let the next one pass
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident or 0), ctypes.py_object(SystemExit))
        thread.join(0.2)


@contextlib.contextmanager
def _no_way_out() -> Iterator[list[str]]:
    """Close what ends the process or asks a person; yields the names of what was tried."""
    tried: list[str] = []

    def refuse(*arguments: Any) -> None:
        tried.append("exit")
        raise SystemExit

    def ask(*arguments: Any) -> str:
        raise EOFError("nobody can answer input() while an exercise is checked")

    with contextlib.ExitStack() as closed:
        closed.enter_context(mock.patch.multiple(os, _exit=refuse, abort=refuse))
        closed.enter_context(mock.patch.object(builtins, "input", ask))
        if (shell := _shell()) is not None:  # exit() in a notebook raises nothing: it asks the shell to end the kernel
            closed.enter_context(mock.patch.object(shell, "ask_exit", refuse))
        yield tried


def _shell() -> Any:
    """Give the notebook's shell, if there is one."""
    ipython = sys.modules.get("IPython")
    return ipython.get_ipython() if ipython is not None else None
