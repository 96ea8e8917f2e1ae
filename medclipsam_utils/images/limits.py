"""What a file may cost before it is believed: small files that unpack to gigabytes are refused while they are small.

The number of pixels is checked in :func:`~medclipsam_utils.images.errors.check_size`, for all formats.
"""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np

from .errors import MAX_PIXELS, image_error

MAX_BYTES = 2**32
"""The largest zipped volume that is unpacked into memory, in bytes without its compression."""
MAX_COLOURS = 2**20
"""Entries that the segments of a palette may make, which has 65,536 at most."""


def check_unpacked(path: Path, n_bytes: int, limit: int = MAX_BYTES) -> None:
    """Refuse a file that is larger than ``limit`` without its compression."""
    if n_bytes > limit:
        raise image_error(path, f"unpacked it has more than {limit:,} bytes", "Unpack and crop it first")


def check_jpeg(path: Path, n_bytes: int, height: int, width: int) -> None:
    """Refuse a JPEG with less than one bit for each block of 8 × 8 pixels: decoders make them all the same."""
    if 8 * n_bytes < height * width / 64:
        reason = f"{n_bytes:,} bytes are too few for a JPEG of {height} × {width} pixels"
        raise image_error(path, reason, "The file is damaged or cut short: export it again")


def check_deflated(path: Path, start: int) -> None:
    """Refuse a file whose deflated part, from byte ``start`` on, is larger than the largest image."""
    inflater, size = zlib.decompressobj(-zlib.MAX_WBITS), 0
    with path.open("rb") as file:
        file.seek(start)
        while part := inflater.unconsumed_tail or file.read(2**16):
            size += len(inflater.decompress(part, 2**22))
            check_unpacked(path, size, MAX_PIXELS)


def segments_are_long(segments: np.ndarray) -> bool:
    """Tell whether the segments of a DICOM palette make more than :data:`MAX_COLOURS` (PS3.3 C.7.9.2).

    ``segments`` is uint8 or uint16 [N]. An indirect segment copies earlier ones, and counts as copies of the longest.
    """
    at = length = longest = 0
    while at + 1 < len(segments) and length <= MAX_COLOURS:
        kind, size = (int(number) for number in segments[at : at + 2])
        length += size * (longest if kind == 2 else 1)
        longest = max(longest, 0 if kind == 2 else size)
        at += {0: 2 + size, 1: 3, 2: 2 + 4 // segments.itemsize}.get(kind, len(segments))
    return length > MAX_COLOURS
