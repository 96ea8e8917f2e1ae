"""The few elements of a DICOM header that an image needs, and nothing that identifies a patient.

An element that is there and cannot be understood is an error that names it: what the other elements say means
something else without it, as a window in Hounsfield units does without the rescale slope.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pydicom
from pydicom.datadict import dictionary_description, dictionary_VM, dictionary_VR, tag_for_keyword
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filereader import _read_file_meta_info, read_preamble
from pydicom.tag import Tag
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from .errors import ImageError, image_error
from .limits import check_deflated

_COLOURS = [f"{colour}PaletteColorLookupTable" for colour in ("Red", "Green", "Blue")]
SEGMENTED = [f"Segmented{table}Data" for table in _COLOURS]
WANTED = [
    *("SOPClassUID", "Modality", "SamplesPerPixel", "PhotometricInterpretation", "PlanarConfiguration"),
    *("NumberOfFrames", "Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation"),
    *("PixelData", "FloatPixelData", "DoubleFloatPixelData", "ExtendedOffsetTable", "ExtendedOffsetTableLengths"),
    *("ModalityLUTSequence", "RescaleSlope", "RescaleIntercept", "PresentationLUTShape"),
    *("VOILUTSequence", "WindowCenter", "WindowWidth", "VOILUTFunction"),
    *("PixelPaddingValue", "PixelPaddingRangeLimit", "FloatPixelPaddingValue", "FloatPixelPaddingRangeLimit"),
    *("DoubleFloatPixelPaddingValue", "DoubleFloatPixelPaddingRangeLimit"),
    *(f"{table}{part}" for table in _COLOURS for part in ("Descriptor", "Data")),
    *SEGMENTED,
    *("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing", "SequenceOfUltrasoundRegions"),
    *("SpacingBetweenSlices", "ImagePositionPatient", "ImageOrientationPatient"),
    *("TotalPixelMatrixRows", "TotalPixelMatrixColumns", "LossyImageCompression"),
    *("SegmentationType", "MaximumFractionalValue"),
    *("SegmentSequence", "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"),
]
"""Every element that is read, by keyword; pydicom adds the character set and, before the data set, the file meta."""

_GROUPS = (
    *("PixelMeasuresSequence", "PixelValueTransformationSequence", "FrameVOILUTSequence"),
    *("PlanePositionSequence", "PlaneOrientationSequence"),
)
_SPACINGS = ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing")
_DELTAS = ("PhysicalDeltaY", "PhysicalDeltaX")
_TWO_DIMENSIONAL = 1  # Region Spatial Format: not a time axis or a spectrum
_CENTIMETRES = 3  # Physical Units

_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")
_DECIMAL_COMMA = re.compile(r"[+-]?(0*|\d{4,}),\d+|[+-]?\d+,(\d{1,2}|\d{4,})")  # 1,024 may be a thousand


def read_header(path: Path) -> Dataset:
    """Read the wanted elements of a file. Where it names no transfer syntax, as old files do, pydicom guesses one."""
    with path.open("rb") as file:
        read_preamble(file, force=True)
        if _read_file_meta_info(file).get("TransferSyntaxUID") == DeflatedExplicitVRLittleEndian:
            check_deflated(path, file.tell())  # pydicom unpacks it as a whole
    dataset = pydicom.dcmread(path, force=True, specific_tags=WANTED)
    if not hasattr(dataset, "file_meta"):
        dataset.file_meta = FileMetaDataset()
    if "TransferSyntaxUID" not in dataset.file_meta:
        implicit, little = dataset.original_encoding
        explicit = ExplicitVRLittleEndian if little else ExplicitVRBigEndian
        dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else explicit
    return dataset


def of_frame(path: Path, dataset: Dataset, frame: int) -> Dataset:
    """Return the header of one frame: what its functional groups say, or those of all frames, or the data set."""
    header = Dataset()
    header.file_meta = dataset.file_meta
    header.update(dataset)
    for outer, index in (("SharedFunctionalGroupsSequence", 0), ("PerFrameFunctionalGroupsSequence", frame)):
        items = dataset.get(outer) or []
        if items and index >= len(items):
            raise unclear(path, outer, f"has {len(items)} items, none for frame {frame}")
        for inner in _GROUPS if items else ():
            for item in (items[index].get(inner) or [])[:1]:
                header.update(item)
    return header


def modality(dataset: Dataset) -> str | None:
    """Return the modality code, or None if there is none that looks like a code."""
    code = str(dataset.get("Modality") or "")
    return code if re.fullmatch(r"[A-Z]{2,16}", code) else None


def numbers(path: Path, dataset: Dataset, keyword: str) -> list[float]:
    """Return the numbers of an element; an empty list if it is missing or empty.

    Text is read here and not by pydicom, which refuses what many scanners write: a comma for the decimal point, or
    between two numbers; a type of text that is not meant for numbers.

    Raises:
        ImageError: there is something else, which may be meant as a number.
    """
    element = dataset.get_item(keyword)
    if element is None or element.value is None or element.VR in ("OB", "OW"):
        return []
    value = element.value
    if dictionary_VR(keyword) not in ("DS", "IS") or element.VR in ("US", "SS", "UL", "SL", "FL", "FD"):
        value = dataset[keyword].value
    if isinstance(value, (bytes, str)):
        text = value.decode("latin-1") if isinstance(value, bytes) else value
        parts = [part.strip(" \0\t\r\n") for part in text.split("\\")]
        if parts == [""]:
            return []
        if len(parts) == 1 and "." in text and "," in text:
            parts = [part.strip(" \0") for part in text.split(",")]
        value = [part.replace(",", ".") if _DECIMAL_COMMA.fullmatch(part) else part for part in parts]
    elif not isinstance(value, (list, pydicom.multival.MultiValue)):
        value = [value]
    try:
        found = [float(part) for part in value if not isinstance(part, str) or _NUMBER.fullmatch(part)]
    except (TypeError, ValueError):
        found = []
    only = int(count) if (count := dictionary_VM(keyword)).isdigit() else len(found)
    if not len(found) == len(value) == only or not np.isfinite(found).all():
        raise unclear(path, keyword, "cannot be understood as a number" + "s" * (only > 1))
    return found


def unclear(path: Path, keyword: str, what: str) -> ImageError:
    """Make the error that names an element, and not its value, which may be anything."""
    reason = f"this DICOM header cannot be read: {named(keyword)} {what}"
    return image_error(path, reason, "Correct the header, or export the image as PNG")


def named(keyword: str) -> str:
    """Name an element by its keyword, tag and description."""
    tag = Tag(tag_for_keyword(keyword) or 0)
    return f"{keyword} {tag}, {dictionary_description(tag)},"


def spacing_mm(path: Path, header: Dataset) -> tuple[tuple[float, float] | None, str]:
    """Find the spacing of a frame in mm, (between rows, between columns), or None where the file does not say.

    It is the one in the patient if the file has it, else at the detector, else of the film, else of the ultrasound
    image, whose regions count if they are two-dimensional, are measured in centimetres, and agree.

    Returns:
        The spacing, and why there is none although the file says something; otherwise an empty text.
    """
    regions = [
        region
        for region in header.get("SequenceOfUltrasoundRegions") or []
        if region.get("RegionSpatialFormat") == _TWO_DIMENSIONAL
        and region.get("PhysicalUnitsXDirection") == region.get("PhysicalUnitsYDirection") == _CENTIMETRES
    ]
    places = [*((header, (keyword,)) for keyword in _SPACINGS), *((region, _DELTAS) for region in regions)]
    found = []
    for place, keywords in places:
        try:
            pair = [number for keyword in keywords for number in numbers(path, place, keyword)]
        except ImageError:
            pair = [0.0]  # no spacing either
        if pair and (len(pair) != 2 or 0 in pair or (place is header and min(pair) < 0)):
            return None, f"spacing unknown: {named(keywords[0])} is not two positive numbers"
        if pair and place is header:
            return (pair[0], pair[1]), ""
        found += [(10 * abs(pair[0]), 10 * abs(pair[1]))] if pair else []
    if len(set(found)) > 1:
        return None, "spacing unknown: the regions of the ultrasound image have several"
    return (found[0] if found else None), ""
