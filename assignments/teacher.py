"""The teacher's file: the term's secret seed and what goes with it. It lies outside of the repository.

From the seed follow the numbers in the tasks and the arguments of all calls, visible and hidden, so that a new seed is
a new term. ``teacher.example.toml`` says what can stand in the file; ``python -m assignments new-term FILE`` writes
one.
"""

from __future__ import annotations

import hashlib
import importlib.util
import secrets
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np

from .sandbox import Limits
from .steps import Arguments, Assignment

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

REPOSITORY = Path(__file__).resolve().parents[1]
EXAMPLE = Path(__file__).with_name("teacher.example.toml")

#: Gives further calls for a step, from the names of assignment and step and a generator.
Extra = Callable[[str, str, np.random.Generator], Sequence[Arguments]]


def no_extra(assignment: str, step: str, generator: np.random.Generator) -> Sequence[Arguments]:
    return ()


@dataclass(frozen=True)
class Teacher:
    """What only the teacher knows.

    Attributes:
        term: as it stands on the reports.
        seed: secret text.
        limits: what a step may use while it is graded.
        extra: further hidden calls.
    """

    term: str
    seed: str
    limits: Limits = field(default_factory=Limits)
    extra: Extra = no_extra

    def generator(self, *labels: str) -> np.random.Generator:
        """Make the generator of some purpose; the seed cannot be found from what it gives."""
        digest = hashlib.sha256("\n".join((self.seed, *labels)).encode()).digest()
        return np.random.default_rng(int.from_bytes(digest[:16], "big"))

    def numbers(self, assignment: Assignment) -> dict[str, Any]:
        """Draw the numbers that stand in the tasks."""
        generator = self.generator("numbers", assignment.name)
        return {name: choices[int(generator.integers(len(choices)))] for name, choices in assignment.choices.items()}


def read_teacher(file: str | Path) -> Teacher:
    """Read a teacher's file.

    Raises:
        ValueError: something in it is missing, unknown, or no secret; the message says what.
        FileNotFoundError: there is none.
    """
    file = Path(file).resolve()
    if not file.exists():
        raise FileNotFoundError(f"there is no {file}: python -m assignments new-term {file} writes one")
    if file.is_relative_to(REPOSITORY) and file != EXAMPLE:
        raise ValueError(f"{file.name} lies inside of the repository, where it can become public: move it elsewhere")
    try:
        content = tomllib.loads(file.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{file.name} is not TOML: {error}") from error
    known = {"term", "seed", "extra_calls", "limits"}
    if unknown := set(content) - known:
        raise ValueError(f"{file.name} has {', '.join(sorted(unknown))}: known are {', '.join(sorted(known))}")
    seed = content.get("seed", "")
    if not isinstance(seed, str) or len(seed) < 16 or "replace" in seed:
        raise ValueError(f"seed in {file.name} is no secret: python -m assignments new-term FILE writes one")
    extra: Extra = no_extra
    if "extra_calls" in content:
        extra = _read_extra(file.parent / str(content["extra_calls"]))
    return Teacher(str(content.get("term", "")), seed, _read_limits(content.get("limits", {}), file.name), extra)


def new_term(file: str | Path, term: str = "") -> Path:
    """Write a teacher's file with a seed of its own.

    Raises:
        FileExistsError: there is one already, whose seed would be lost.
    """
    file = Path(file)
    if file.exists():
        raise FileExistsError(f"{file} exists: its seed made the released tasks. Give another name for another term")
    text = EXAMPLE.read_text(encoding="utf-8").replace("replace this by a secret of your own", secrets.token_hex(16))
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text.replace("Example term", term or "This term"), encoding="utf-8")
    file.chmod(0o600)
    return file


def _read_limits(content: Mapping[str, Any], name: str) -> Limits:
    known = {"processor_seconds": int, "seconds": float, "memory_mb": int}
    for key, value in content.items():
        if key not in known or isinstance(value, bool) or not isinstance(value, (int, float)) or value <= 0:
            raise ValueError(f"[limits] in {name}: {key} = {value!r}; known are {', '.join(known)}, all above 0")
    changes = {key: known[key](value) for key, value in content.items()}
    if "memory_mb" in changes:
        changes["memory"] = changes.pop("memory_mb") << 20
    assert set(changes) <= {entry.name for entry in fields(Limits)}
    return Limits(**changes)


def _read_extra(file: Path) -> Extra:
    if not file.exists():
        raise ValueError(f"extra_calls names {file.name}, which does not lie beside the teacher's file")
    specification = importlib.util.spec_from_file_location("extra_calls", file)
    assert specification is not None and specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    if not callable(getattr(module, "extra_calls", None)):
        raise ValueError(f"{file.name} needs a function extra_calls(assignment, step, generator)")
    found: Extra = module.extra_calls
    return found
