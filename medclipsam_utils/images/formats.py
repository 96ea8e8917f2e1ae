"""What a file is, from its first bytes (PNG, JPEG and TIFF signatures; DICOM PS3.10 section 7.1; NIfTI-1 and -2)."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

from .errors import image_error

_SIGNATURES = {
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"\xff\xd8\xff": "JPEG",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"II+\0": "TIFF",
    b"MM\0+": "TIFF",
}
_HEAD_BYTES = 352
GZIP = b"\x1f\x8b"


def sniff(path: Path) -> str:
    """Return ``"PNG"``, ``"JPEG"``, ``"TIFF"``, ``"DICOM"`` or ``"NIfTI"``.

    Raises:
        ImageError: the file is anything else, empty, or no regular file.
        OSError: it cannot be opened.
    """
    if path.is_dir():
        raise image_error(path, "this is a folder", "Give one of the files in it")
    if path.exists() and not path.is_file():
        raise image_error(path, "this is not a regular file", "Copy the image to a file first")
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    if not head:
        raise image_error(path, "the file is empty", "Copy or download it again")
    if head[128:132] == b"DICM":  # first, because the preamble before it may look like TIFF
        return "DICOM"
    for signature, kind in _SIGNATURES.items():
        if head.startswith(signature):
            return kind
    zipped = head.startswith(GZIP)
    if zipped:
        with gzip.open(path) as file:
            head = file.read(_HEAD_BYTES)
    if _is_nifti(path, head):
        return "NIfTI"
    if zipped:
        raise image_error(path, "a gzip file without a NIfTI volume in it", "Unpack it with gunzip first")
    if _starts_like_dicom(head):
        return "DICOM"
    remedy = "Convert it to PNG, or to NIfTI if it is a volume (SimpleITK reads many formats)"
    raise image_error(path, "the content is not PNG, JPEG, TIFF, DICOM or NIfTI", remedy)


def _is_nifti(path: Path, head: bytes) -> bool:
    if head[:4] in (struct.pack("<i", 540), struct.pack(">i", 540)):
        magic = head[4:8]
    elif head[:4] in (struct.pack("<i", 348), struct.pack(">i", 348)):
        magic = head[344:348]
    else:
        return False
    if magic in (b"ni1\0", b"ni2\0"):
        remedy = "Join the pair .hdr and .img: nibabel.save(nibabel.load(path), 'volume.nii.gz')"
        raise image_error(path, "a NIfTI header whose voxels are in another file", remedy)
    return magic in (b"n+1\0", b"n+2\0")


def _starts_like_dicom(head: bytes) -> bool:
    """Recognise old DICOM files, which lack the preamble: they start with an element of group 2 or 8, not too long."""
    if len(head) < 8:
        return False
    for order in "<>":
        group, element = struct.unpack(order + "HH", head[:4])
        if group in (0x0002, 0x0008) and element < 0x0100:
            explicit = head[4:6].isalpha() and head[4:6].isupper()
            return explicit or struct.unpack(order + "I", head[4:8])[0] < 256
    return False
