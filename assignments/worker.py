"""Run submitted code, one process for each step. ``sandbox.py`` starts this file and speaks with it over its pipes.

This process has seen no solution, no expected answer and no teacher's file, and it runs no submitted code: for each
request it forks a child, which gives up what it does not need and then runs the code. In the child hold, one behind the
other:

1. limits of the system for processor time, memory, size and number of files, and processes;
2. another user, *nobody*, if the grader runs as root;
3. Landlock, where the kernel has it (Linux from 5.13): reading is limited to Python itself and writing to the child's
   own folder; network and signals to other processes are closed where it is recent enough;
4. an import list: Python's own modules but a few, numpy and scipy;
5. an audit hook: what is neither harmless nor inside of the folder ends the child, and says why.

A request is one line of JSON, and so is the answer. Times are in seconds, sizes in bytes.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import importlib.abc
import json
import os
import resource
import selectors
import signal
import struct
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import checks  # type: ignore[import-not-found]  # it brings numpy

del sys.path[0]

#: What is loaded before the code comes, because its user may not be able to read where Python lies.
LOADED = (
    "bisect", "cmath", "collections.abc", "contextlib", "copy", "dataclasses", "datetime", "decimal", "enum",
    "fractions", "functools", "glob", "heapq", "itertools", "math", "numbers", "operator", "pathlib", "random", "re",
    "statistics", "string", "textwrap", "traceback", "types", "typing", "unicodedata", "warnings", "numpy.linalg",
    "numpy.random", "numpy.fft", "scipy.linalg", "scipy.ndimage", "scipy.optimize", "scipy.signal",
    "scipy.spatial.distance", "scipy.special", "scipy.stats",
)  # fmt: skip
for module in LOADED:
    importlib.import_module(module)

NOBODY = 65534

#: Modules that would lead around the limits: they cannot be imported, and those that are loaded are emptied.
CLOSED = frozenset({"_ctypes", "_posixsubprocess", "_socket", "ctypes", "multiprocessing", "socket", "subprocess"})

#: What submitted code may import.
ALLOWED = (frozenset(sys.stdlib_module_names) | {"numpy", "scipy"}) - CLOSED

#: Audited events that harm nobody.
HARMLESS = frozenset(
    {
        "array.__new__", "builtins.id", "builtins.input", "code.__new__", "compile", "exec", "function.__new__",
        "glob.glob", "glob.glob/2", "import", "marshal.loads", "object.__getattr__", "os.walk", "pathlib.Path.glob",
        "pathlib.Path.rglob", "sys._getframe", "sys._getframemodulename", "tempfile.mkdtemp", "tempfile.mkstemp",
        "time.sleep",
    }
)  # fmt: skip

#: Audited events that name a path first, and what they would do.
READING = {"open": "open", "os.listdir": "list", "os.scandir": "list"}
WRITING = {
    "os.chmod": "change", "os.mkdir": "make", "os.remove": "remove", "os.rename": "rename", "os.rmdir": "remove",
    "os.truncate": "truncate", "os.utime": "change", "shutil.rmtree": "remove",
}  # fmt: skip


def main() -> None:
    """Answer requests until there are no more."""
    requests, answers = os.fdopen(os.dup(0), "rb"), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1):
        os.dup2(nothing, descriptor)
    kernel = sys.platform == "linux" and "--hook-alone" not in sys.argv
    libc = ctypes.CDLL(None, use_errno=True) if kernel else None
    send(answers, {"ready": True, "landlock": landlock_version(libc), "nobody": os.geteuid() == 0})
    gc.freeze()
    for line in requests:
        send(answers, run(json.loads(line), libc))


def send(descriptor: int, message: dict[str, Any]) -> None:
    data = json.dumps(message).encode() + b"\n"
    while data:
        data = data[os.write(descriptor, data) :]


def run(request: dict[str, Any], libc: Any) -> dict[str, Any]:
    """Run the calls of a request in a child, and watch it until it is done or its time is over."""
    (out_read, out_write), (result_read, result_write) = os.pipe(), os.pipe()
    begin = time.monotonic()
    child = os.fork()
    if not child:
        with contextlib.suppress(BaseException):
            os.setsid()
            nothing = os.open(os.devnull, os.O_RDONLY)
            for new, old in enumerate((nothing, out_write, out_write, result_write)):
                os.dup2(old, new)
            os.closerange(4, 1 << 16)
            answer_all(request, libc)
        os._exit(0)
    os.close(out_write)
    os.close(result_write)
    limits = request["limits"]
    streams = {out_read: bytearray(), result_read: bytearray()}
    caps = {out_read: limits["shown"], result_read: limits["answer"]}
    lengths = dict.fromkeys(streams, 0)
    why = None
    with selectors.DefaultSelector() as selector:
        for descriptor in streams:
            selector.register(descriptor, selectors.EVENT_READ)
        while selector.get_map():
            left = begin + limits["seconds"] - time.monotonic()
            if left <= 0:
                why = "late"
                break
            for key, _ in selector.select(left):
                descriptor = key.fd
                data = os.read(descriptor, 1 << 16)
                if not data:
                    selector.unregister(descriptor)
                lengths[descriptor] += len(data)
                streams[descriptor] += data[: max(0, caps[descriptor] - len(streams[descriptor]))]
            if lengths[result_read] > caps[result_read]:
                why = "large"
                break
    if why is None:  # both pipes are closed; a process that closed them by itself may go on
        why = ended(child, begin + limits["seconds"])
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child, signal.SIGKILL)
    status = os.waitpid(child, 0)[1] if why in ("late", "large") else int(why)
    for descriptor in streams:
        os.close(descriptor)
    return {
        "why": why if why in ("late", "large") else "",
        "status": os.waitstatus_to_exitcode(status),
        "lines": streams[result_read].decode("utf-8", "replace").splitlines(),
        "printed": streams[out_read].decode("utf-8", "replace"),
        "printed_length": lengths[out_read],
        "seconds": round(time.monotonic() - begin, 3),
    }


def ended(child: int, deadline: float) -> str:
    """Wait for a child; returns its status as text, or "late"."""
    while time.monotonic() < deadline:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            return str(status)
        time.sleep(0.002)
    return "late"


def answer_all(request: dict[str, Any], libc: Any) -> None:
    """In the child: run the cells, then answer each call, a line for each."""
    folder, step, limits = request["folder"], request["step"], request["limits"]
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(HOME=folder, TMPDIR=folder, PATH="/usr/bin:/bin", OMP_NUM_THREADS="1", LC_ALL="C.UTF-8")
    namespace: dict[str, Any] = {"__name__": "__main__"}
    exec(checks.PREAMBLE, namespace)
    say = _speaker()
    readable = python_folders()
    sys.path[:] = [place for place in sys.path if place.startswith(readable)]
    sys.dont_write_bytecode = True
    if landlock_version(libc):
        landlock(libc, folder, readable)
    limit(limits)
    for name in CLOSED:
        if module := sys.modules.pop(name, None):
            with contextlib.suppress(AttributeError):
                module.__dict__.clear()
    sys.meta_path.insert(0, _Imports())
    sys.addaudithook(guard(folder, readable))
    failed: list[str] = []
    try:
        for name, code in request["cells"]:
            failed += [f"{name}, {words}" for words in checks.run_cell(code, namespace, name)]
        say({"failed": failed})
        function = namespace.get(step)
        if step and not callable(function):
            say({"stopped": f"the cell defines no function {step}"})
            return
        for call in request["calls"]:
            say(checks.answer_of(function, call, request["cells"][-1][1], request["cells"][-1][0]))
    except SyntaxError as error:
        say({"stopped": f"the cell is not Python: {error.msg} in line {error.lineno}"})
    except (SystemExit, KeyboardInterrupt):
        say({"stopped": "it tried to end Python itself"})
    except MemoryError:
        say({"stopped": "it needs more memory than there is for it"})
    except BaseException as error:
        say({"stopped": f"it stopped with {type(error).__name__}"})
    finally:
        with contextlib.suppress(BaseException):  # what was printed is kept, unless it cannot be
            sys.stdout.flush()


def _speaker() -> Callable[[dict[str, Any]], None]:
    write, dumps = os.write, json.dumps

    def say(message: dict[str, Any]) -> None:
        data = dumps(message).encode() + b"\n"
        while data:
            data = data[write(3, data) :]

    return say


def limit(limits: dict[str, Any]) -> None:
    """Set the limits of the system for this process and whatever it starts."""
    for name, value in (
        ("RLIMIT_AS", limits["memory"]),
        ("RLIMIT_FSIZE", limits["file"]),
        ("RLIMIT_NOFILE", 32),
        ("RLIMIT_CORE", 0),
        ("RLIMIT_MEMLOCK", 0),
        ("RLIMIT_MSGQUEUE", 0),
    ):
        if hasattr(resource, name):
            with contextlib.suppress(ValueError, OSError):  # where the system allows less already, or has no such limit
                resource.setrlimit(getattr(resource, name), (value, value))
    resource.setrlimit(resource.RLIMIT_CPU, (limits["processor_seconds"], limits["processor_seconds"] + 1))
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # an error in Python instead
    os.nice(5)
    if os.geteuid() == 0:
        with contextlib.suppress(PermissionError):  # root of a container that may not change users
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
    resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))


def python_folders() -> tuple[str, ...]:
    """The folders that Python reads while it computes."""
    numpy_folder = os.path.dirname(sys.modules["numpy"].__file__ or "")
    scipy_folder = os.path.dirname(sys.modules["scipy"].__file__ or "")
    beside = [f"{folder}.libs" for folder in (numpy_folder, scipy_folder)]
    folders = {os.path.dirname(os.__file__), numpy_folder, scipy_folder, *beside}
    folders |= {os.path.realpath(folder) for folder in folders}
    return tuple(sorted(folder for folder in folders if os.path.isdir(folder)))


class _Imports(importlib.abc.MetaPathFinder):
    """Refuse to import what grading does without."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> None:
        first = name.split(".")[0]
        if first not in ALLOWED:
            raise ImportError(f"graded cells use Python, numpy and scipy; {first} is not there")


def guard(folder: str, readable: Sequence[str]) -> Callable[..., None]:
    """Make an audit hook that ends the process when it tries what it must not.

    It holds everything that it needs and looks nothing up, so that nothing can be exchanged under it.
    """
    leave, write, ascii_, exact, text, number = os._exit, os.write, ascii, type, str, int
    harmless, closed, reading, writing = HARMLESS, CLOSED, tuple(READING.items()), tuple(WRITING.items())
    to_write = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
    # The files of this process stand in tracebacks and warnings, which quote them; nothing in them is secret.
    files = ("/dev/null", "/dev/urandom", "/dev/random", os.path.abspath(__file__), os.path.abspath(checks.__file__))
    modules = tuple(f"{place}/" for place in readable)
    own = f"{folder}/"
    left = 32  # files that may be opened for writing

    def whole(path: Any) -> str:
        """The path from the root, without .., by its letters alone."""
        if exact(path) is bytes:
            path = path.decode("utf-8", "replace")
        if path is None:
            path = "."
        if exact(path) is not text:
            return "/?"
        if not path.startswith("/"):
            path = own + path
        parts: list[str] = []
        for part in path.split("/"):
            if part == "..":
                parts = parts[:-1]
            elif part and part != ".":
                parts = [*parts, part]
        return "/" + "/".join(parts)

    def stop(what: str) -> None:
        words = ascii_(what[:200])[1:-1].replace("\\", "/").replace('"', "'")
        write(3, f'{{"stopped": "it tried to {words}, which is closed while work is graded"}}\n'.encode())
        leave(0)

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal left
        if event == "import" and arguments[1] is not None:  # a compiled module
            if arguments[0] in closed or not whole(arguments[1]).startswith(modules):
                stop(f"load {arguments[0]}, a compiled module")
            return
        if event in harmless or (event == "object.__setattr__" and arguments[1] != "__code__"):
            return
        for name, verb in reading:
            if event == name:
                if exact(arguments[0]) is number:  # what is open already
                    return
                path = whole(arguments[0])
                if name == "open" and exact(arguments[2]) is number and arguments[2] & to_write:
                    left -= 1
                    if (path + "/").startswith(own) and left >= 0:
                        return
                    stop(f"write {path}" if left >= 0 else "write more than 32 files")
                if path in files or (path + "/").startswith((own, *modules)):
                    return
                stop(f"{verb} {path}")
        for name, verb in writing:
            if event == name:
                paths = arguments[:2] if name == "os.rename" else arguments[:1]
                for given in paths:
                    if not (whole(given) + "/").startswith(own):
                        stop(f"{verb} {whole(given)}")
                return
        stop(f"do {event}")

    return hook


def landlock_version(libc: Any) -> int:
    """Version of Landlock in this kernel, 0 without."""
    return max(0, libc.syscall(444, None, 0, 1)) if libc is not None else 0


def landlock(libc: Any, folder: str, readable: Sequence[str]) -> None:
    """Let this process read nothing but Python, and write nothing but its folder; see landlock(7)."""
    version = landlock_version(libc)
    everything = (1 << (13 + (version >= 2) + (version >= 3) + (version >= 5))) - 1
    read = 1 << 2 | 1 << 3  # files and folders
    network, scope = 3 * (version >= 4), 3 * (version >= 6)
    rules = struct.pack("QQQ", everything, network, scope)[: 8 + 8 * (version >= 4) + 8 * (version >= 6)]
    ruleset = libc.syscall(444, rules, len(rules), 0)
    no_special = everything & ~(1 << 0 | 1 << 6 | 1 << 9 | 1 << 10 | 1 << 11 | 1 << 12)  # run; devices, sockets, links
    places = [(place, read) for place in readable] + [(folder, no_special)]
    for place, allowed in places:
        descriptor = os.open(place, os.O_RDONLY | os.O_CLOEXEC | getattr(os, "O_PATH", 0))
        libc.syscall(445, ruleset, 1, struct.pack("=Qi", allowed, descriptor), 0)
        os.close(descriptor)
    libc.prctl(38, 1, 0, 0, 0)
    libc.syscall(446, ruleset, 0)
    os.close(ruleset)


if __name__ == "__main__":
    main()
