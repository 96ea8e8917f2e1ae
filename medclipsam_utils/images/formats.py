"""What a file is, from its first bytes (PNG, JPEG and TIFF signatures; DICOM PS3.10 section 7.1; NIfTI-1 and -2)."""

from __future__ import annotations

import errno
import gzip
import struct
from pathlib import Path

from .errors import image_error

MARK = "A result of medclipsam_utils, no scan"
"""What this program writes into the head of its masks and overlays, so that it does not take them for scans."""
GZIP = b"\x1f\x8b"
_HEAD_BYTES, _NIFTI_BYTES = 1024, 352
_SIGNATURES = {
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"\xff\xd8\xff": "JPEG",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"II+\0": "TIFF",
    b"MM\0+": "TIFF",
}
_OTHER_IMAGES = {
    b"BM": "BMP",
    b"GIF8": "GIF",
    b"RIFF": "WebP",
    b"\0\0\0\x0cjP  ": "JPEG 2000",
    b"\xff\x4f\xff\x51": "JPEG 2000",
    b"NRRD": "NRRD",
    b"ObjectType": "MetaImage",
    b"NDims": "MetaImage",
    b"\x89HDF": "HDF5 (perhaps MINC)",
    b"CDF": "NetCDF (perhaps MINC)",
    b"\0\0\0\x01\0\0": "MGH",
    b"# === DATA DESCRIPTION FILE": "Philips PAR/REC",
    b"\x93NUMPY": "NumPy",
}
_NO_IMAGES = (b"%PDF", b"PK\3\4", b"SQLite format 3", b"\x7fELF", b"MZ", b"7z\xbc\xaf")
_LITTER = ("thumbs.db", "desktop.ini", "ehthumbs.db")


def sniff(path: Path) -> str:
    """Return ``"PNG"``, ``"JPEG"``, ``"TIFF"``, ``"DICOM"`` or ``"NIfTI"``.

    Raises:
        ImageError: the file is anything else, empty, or no regular file.
        OSError: it cannot be opened.
    """
    if path.is_dir():
        raise image_error(path, "this is a folder", "Give one of the files in it")
    if path.is_symlink():
        try:
            path.stat()
        except FileNotFoundError:
            raise image_error(path, "this is a link to a file that is not there", "Copy the file itself") from None
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise image_error(path, "this link leads back to itself", "Copy the file itself") from None
            raise
    if path.exists() and not path.is_file():
        raise image_error(path, "this is not a regular file", "Copy the image to a file first")
    head, zipped = _head(path)
    if not head and not zipped:
        raise image_error(path, "the file is empty", "Copy or download it again")
    kind = _kind(path, head)
    if kind is not None:
        return kind
    remedy = "Convert it to PNG, or to NIfTI if it is a volume (SimpleITK reads many formats)"
    if zipped:
        raise image_error(path, "a gzip file without a NIfTI volume in it", "Unpack it with gunzip first")
    for signature, name in _OTHER_IMAGES.items():
        if head.startswith(signature):
            raise image_error(path, f"the content is not PNG, JPEG, TIFF, DICOM or NIfTI: it looks like {name}", remedy)
    raise image_error(path, "the content is not PNG, JPEG, TIFF, DICOM or NIfTI", remedy)


def why_no_image(path: Path, named_so: bool, results: bool) -> str:
    """Say why a file of a folder of images is none of them; nothing if it is one, or may be meant as one.

    One that is ``named_so``, with the extension of an image, is always meant as one, unless this program wrote it and
    its ``results`` do not count.
    """
    try:
        if not path.is_file():
            return ""
        head, _ = _head(path)
    except (OSError, EOFError, ValueError):
        return ""  # whatever it is, reading it will say so
    if MARK.encode() in head and not results:
        return "a result of this program"
    if named_so or not (head or path.suffix):
        return ""
    if path.name.lower() in _LITTER or head.startswith(_NO_IMAGES):
        return "no image"
    if head.startswith(tuple(_OTHER_IMAGES)) or head[:4] in _NIFTI_SIZES or b"\0" in head:
        return ""
    try:
        head.decode("utf-8")
    except UnicodeDecodeError as error:
        return "" if error.start < len(head) - 4 else "text"  # cut in the middle of a letter
    return "text" if head else "empty"


def _head(path: Path) -> tuple[bytes, bool]:
    """Read the first bytes, unpacked if they are zipped, and tell whether they were."""
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    if not head.startswith(GZIP):
        return head, False
    with gzip.open(path) as unpacked:
        return unpacked.read(_NIFTI_BYTES), True


def _kind(path: Path, head: bytes) -> str | None:
    if head[128:132] == b"DICM":  # first, because the preamble before it may look like TIFF
        return "DICOM"
    for signature, kind in _SIGNATURES.items():
        if head.startswith(signature):
            return kind
    if _is_nifti(path, head):
        return "NIfTI"
    return "DICOM" if _starts_like_dicom(head) else None


_NIFTI_SIZES = {struct.pack(order + "i", size): size for order in "<>" for size in (348, 540)}


def _is_nifti(path: Path, head: bytes) -> bool:
    size = _NIFTI_SIZES.get(head[:4])
    if size is None:
        return False
    magic = head[4:8] if size == 540 else head[344:348]
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
