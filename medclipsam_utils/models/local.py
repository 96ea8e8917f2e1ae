"""Where the weights that do not come with the package are looked for on this machine."""

from __future__ import annotations

import os
from pathlib import Path


def models_folder() -> Path:
    """Name the models folder, which need not exist: ``$MEDCLIPSAM_MODELS``, or ``~/.cache/medclipsam`` without it.

    ::

        sam_vit_b_01ec64.pth    the official checkpoints of SAM, by their own names
        biomedclip/             BiomedCLIP in open_clip's format, see medclipsam_utils.models.open_clip_folder
    """
    return Path(os.environ.get("MEDCLIPSAM_MODELS") or Path.home() / ".cache" / "medclipsam").expanduser()
