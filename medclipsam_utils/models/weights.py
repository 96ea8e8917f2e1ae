"""The weights that come with the package, and the checksums that say whether they are whole.

``weights/SHA256SUMS`` lists them in the format of ``sha256sum``: in that folder, ``sha256sum --check SHA256SUMS``
checks them without Python. Each file is checked whenever it is loaded.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from .errors import model_error

FOLDER = Path(__file__).parent / "weights"


def shipped(name: str) -> Path:
    """Find the file ``name`` of the package, and compare its checksum.

    Args:
        name: name of a file in :data:`FOLDER`, for example ``"tiny_clip.safetensors"``.

    Raises:
        ModelError: the file is missing, not listed, or not the one that was listed.
    """
    path = FOLDER / name
    again = "Install the package again; in a clone, `git restore medclipsam_utils/models/weights` brings it back"
    expected = checksums().get(name)
    if expected is None:
        raise model_error(path, "SHA256SUMS does not list it", again)
    if not path.is_file():
        raise model_error(path, "this file of the package is missing", again)
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != expected:
        raise model_error(path, f"the file is damaged: its SHA-256 is {found}, not {expected}", again)
    return path


def checksums() -> dict[str, str]:
    """Read the SHA-256 of each shipped file by its name, as 64 hexadecimal digits; empty without a SHA256SUMS."""
    listing = FOLDER / "SHA256SUMS"
    if not listing.is_file():
        return {}
    lines = [line.split(maxsplit=1) for line in listing.read_text(encoding="utf-8").splitlines() if line.strip()]
    return {name.lstrip("*"): digest.lower() for digest, name in lines}
