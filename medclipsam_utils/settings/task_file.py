"""A task of your own, in a small TOML file.

::

    name = "polyp"
    target = "colon polyp"
    modality = "colonoscopy"
    n_structures = 1                       # 1 if not given
    absent_prompt = "colonoscopy of normal mucosa"
    calibration = "polyp.safetensors"      # of: medclipsam calibrate; beside this file

    [prompts]
    P0 = "colon polyp"
    P2 = ["a colonoscopy showing a polyp", "a raised polyp on the mucosa"]

    [settings]                             # what is set otherwise than by the model
    beta = 0.5
    visual_prompt = "point"

Only ``target`` is needed: the name is that of the file if it is not given, and the prompt is the target.
"""

from __future__ import annotations

import os
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

from ..tasks import TASKS, Task
from .chosen import ANY, SETTINGS

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


def read_task(path: str | os.PathLike) -> Task:
    """Read a task of your own.

    Args:
        path: TOML file of the form above. A calibration that it names lies beside it, if it is no absolute path.

    Raises:
        ValueError: there is no such file, it is no TOML, or something in it is unknown or does not fit; the message
            names the file.
    """
    path = Path(path)
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"{path} cannot be read ({error.strerror}): give a TOML file with a target") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is no TOML file ({error}): see medclipsam_utils.settings.task_file") from None
    try:
        return _task(path, content)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from None


def _task(path: Path, content: dict[str, Any]) -> Task:
    known = {each.name for each in fields(Task)}
    unknown = sorted(content.keys() - known)
    if unknown:
        raise ValueError(f"there is no {', '.join(unknown)} in a task: choose from {', '.join(sorted(known))}")
    if "target" not in content:
        raise ValueError('it has no target: say what to look for, for example target = "colon polyp"')
    content = {"name": path.stem, "modality": "", "prompts": {"P0": content["target"]}, **content}
    if content["name"] in TASKS:
        raise ValueError(f"{content['name']!r} is the name of one of the book's tasks: give another one")
    for name in ("prompts", "class_prompts", "settings"):
        if not isinstance(content.get(name, {}), dict):
            raise ValueError(f"{name} is {content[name]!r}: make it a table, [{name}]")
    if "calibration" in content:
        content["calibration"] = str(path.parent / content["calibration"])
    task = Task(**content)
    SETTINGS["biomedclip"][ANY].changed(task.settings)
    return task
