"""Saving a CLIP of any size so that :func:`~medclipsam_utils.models.load_clip` reads it again."""

from __future__ import annotations

import json
import os
import shutil
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import save_file

from .checkpoints import finite_weights, save_tiny_clip
from .clip import Clip
from .errors import model_error
from .open_clip_folder import CONFIG, WEIGHTS
from .words import WordTokenizer

#: How the weights came about, beside the weights.
TRAINED = "trained.json"


def save_clip(path: str | os.PathLike, clip: Clip, trained: Mapping[str, Any]) -> Path:
    """Write a model: a small CLIP to a file, any other to a folder in open_clip's hub format; all of it or nothing.

    Args:
        path: where the folder will be; the file of a small CLIP gets the ending ``.safetensors``. What is there is
            replaced.
        clip: the model, on any device.
        trained: how the weights came about, in what JSON can hold.

    Returns:
        What to give to :func:`~medclipsam_utils.models.load_clip`: the file or the folder.

    Raises:
        ModelError: a weight is not finite, the path is that of a folder of something else, or it cannot be written.
    """
    path = Path(path)
    if isinstance(clip.tokenizer, WordTokenizer):
        path = path if path.suffix == ".safetensors" else path.with_name(f"{path.name}.safetensors")
        save_tiny_clip(path, clip.model, clip.tokenizer.vocabulary, trained, clip.windows)
        return path
    if path.exists() and not (path / CONFIG).is_file():
        raise model_error(path, "there is something else under this name", "Choose another name")
    unfinished = path.with_name(f".{uuid.uuid4().hex}.part")
    try:
        unfinished.mkdir()
        try:
            _write_folder(unfinished, clip, trained)
            if path.exists():
                shutil.rmtree(path)
            os.replace(unfinished, path)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
    except OSError as error:
        raise model_error(path, f"it cannot be written ({error})", "Choose a folder that exists and is yours") from None
    return path


def _write_folder(folder: Path, clip: Clip, trained: Mapping[str, Any]) -> None:
    save_file(finite_weights(folder, clip.model), folder / WEIGHTS[0])
    (folder / CONFIG).write_text(json.dumps(clip.config, indent=1) + "\n", encoding="utf-8")
    (folder / TRAINED).write_text(json.dumps(dict(trained), indent=1) + "\n", encoding="utf-8")
    words = getattr(clip.tokenizer, "tokenizer", None)
    if words is not None:  # of transformers: its vocabulary and the sizes of its tower are files of their own
        words.save_pretrained(folder)
        clip.model.text.config.save_pretrained(folder)
