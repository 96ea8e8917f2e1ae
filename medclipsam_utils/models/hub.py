"""Models of the Hugging Face hub: from this machine if they are here, from the network if they are not.

Source of BiomedCLIP: Zhang et al. 2023, *BiomedCLIP: a multimodal biomedical foundation model pretrained from fifteen
million scientific image-text pairs*.
"""

from __future__ import annotations

from pathlib import Path

import torch
from huggingface_hub import file_exists, snapshot_download
from huggingface_hub.errors import LocalEntryNotFoundError

from .clip import Clip
from .errors import ModelError, model_error
from .local import models_folder
from .open_clip_folder import (
    CONFIG,
    OTHER_WEIGHTS,
    TEXT_CONFIG,
    TOKENIZER,
    TOKENIZER_CONFIG,
    WEIGHTS,
    load_folder,
    missing_files,
)

BIOMEDCLIP = "microsoft/BiomedCLIP-PubMedBERT_256-vit_base_patch16_224"
PREFIX = "hf-hub:"


def load_hub(repository: str, name: str, device: torch.device) -> Clip:
    """Load the model of a repository ``ORG/NAME`` in open_clip's format, looked for in this order:

    1. the models folder (``$MEDCLIPSAM_MODELS`` or ``~/.cache/medclipsam``), under ``name``, or for another model than
       BiomedCLIP under the part of the repository after the slash;
    2. the cache of the Hugging Face hub;
    3. the hub itself, from which it is kept in that cache.

    Raises:
        ModelError: it is in none of them; the message says which files to put where.
    """
    own = models_folder() / name.removeprefix(PREFIX).rpartition("/")[2]
    if own.is_dir():
        return load_folder(own, name, device)
    folder = cached(repository) or _downloaded(repository, name, own)
    return load_folder(folder, name, device)


def cached(repository: str) -> Path | None:
    """Find the folder of the hub's cache, if all that is needed is there."""
    try:
        folder = Path(snapshot_download(repository, local_files_only=True))
        return None if missing_files(folder) else folder
    except (LocalEntryNotFoundError, ModelError):
        return None
    except ValueError as error:
        raise model_error(repository, f"this is no name of a repository ({error})", "Give hf-hub:ORG/NAME") from None


def _downloaded(repository: str, name: str, own: Path) -> Path:
    try:
        # Of two formats of the same weights, one is enough.
        weights = next((file for file in (*WEIGHTS, *OTHER_WEIGHTS) if file_exists(repository, file)), WEIGHTS[0])
        files = [CONFIG, weights, *TOKENIZER, TOKENIZER_CONFIG, "special_tokens_map.json", TEXT_CONFIG]
        return Path(snapshot_download(repository, allow_patterns=files))
    except Exception as error:  # the hub's client raises errors of its own, of its network library and of the system
        reason = (
            f"it is not in {own}, not in the cache of the Hugging Face hub, and the hub does not give it "
            f"({type(error).__name__})"
        )
        remedy = (
            f"With a network, `hf download {repository} --local-dir {own}` fetches it. Or put {CONFIG}, {WEIGHTS[1]} "
            f"(or {WEIGHTS[0]}), {TOKENIZER[0]} and {TOKENIZER_CONFIG} from https://huggingface.co/{repository} into "
            "that folder; MEDCLIPSAM_MODELS names another parent folder"
        )
        raise model_error(name, reason, remedy) from None
