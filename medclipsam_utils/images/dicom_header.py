"""The few elements of a DICOM header that an image needs, and nothing that identifies a patient."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path

import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

WANTED = [
    *("Modality", "SamplesPerPixel", "PhotometricInterpretation", "PlanarConfiguration", "NumberOfFrames"),
    *("Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation"),
    *("PixelData", "FloatPixelData", "DoubleFloatPixelData", "ExtendedOffsetTable", "ExtendedOffsetTableLengths"),
    *("ModalityLUTSequence", "RescaleSlope", "RescaleIntercept"),
    *("VOILUTSequence", "WindowCenter", "WindowWidth", "VOILUTFunction"),
    *("PixelPaddingValue", "PixelPaddingRangeLimit"),
    *(f"{colour}PaletteColorLookupTableDescriptor" for colour in ("Red", "Green", "Blue")),
    *(f"{colour}PaletteColorLookupTableData" for colour in ("Red", "Green", "Blue")),
    *(f"Segmented{colour}PaletteColorLookupTableData" for colour in ("Red", "Green", "Blue")),
    *("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing", "SequenceOfUltrasoundRegions"),
    *("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"),
]
"""Every element that is read, by keyword; pydicom adds the character set and, before the data set, the file meta."""

_TWO_DIMENSIONAL = 1  # Region Spatial Format: not a time axis or a spectrum
_CENTIMETRES = 3  # Physical Units


def read_header(path: Path) -> Dataset:
    """Read the wanted elements of a file. Where it names no transfer syntax, as old files do, pydicom guesses one."""
    dataset = pydicom.dcmread(path, force=True, specific_tags=WANTED)
    if not hasattr(dataset, "file_meta"):
        dataset.file_meta = FileMetaDataset()
    if "TransferSyntaxUID" not in dataset.file_meta:
        implicit, little = dataset.original_encoding
        explicit = ExplicitVRLittleEndian if little else ExplicitVRBigEndian
        dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else explicit
    return dataset


def modality(dataset: Dataset) -> str | None:
    """Return the modality code, or None if there is none that looks like a code."""
    code = str(dataset.get("Modality") or "")
    return code if re.fullmatch(r"[A-Z]{2,16}", code) else None


def groups(dataset: Dataset, frame: int, sequence: str) -> list[Dataset]:
    """List where a value may be: this frame's functional group, the one of all frames, and the data set itself."""
    candidates = []
    for outer, index in (("PerFrameFunctionalGroupsSequence", frame), ("SharedFunctionalGroupsSequence", 0)):
        items = dataset.get(outer) or []
        inner = items[index].get(sequence) if index < len(items) else None
        candidates += [inner[0]] if inner else []
    return [*candidates, dataset]


def numbers(dataset: Dataset, keyword: str) -> list[float]:
    """Return the finite numbers of an element; an empty list if it is missing or says something else."""
    try:
        value = dataset.get(keyword)
        values = [] if value is None else value if isinstance(value, (list, pydicom.multival.MultiValue)) else [value]
        values = [float(number) for number in values]
    except (TypeError, ValueError):
        return []
    return values if all(map(math.isfinite, values)) else []


def spacing_mm(dataset: Dataset, frame: int) -> tuple[float, float] | None:
    """Find the spacing in mm, (between rows, between columns), or None where the file does not say.

    It is the one in the patient if known, else at the detector, else of the film, else of the ultrasound image.

    Ultrasound regions count if they are two-dimensional, are measured in centimetres, and agree.
    """
    measures = groups(dataset, frame, "PixelMeasuresSequence")
    candidates: list[Sequence[float]] = [numbers(group, "PixelSpacing") for group in measures]
    candidates += [numbers(dataset, keyword) for keyword in ("ImagerPixelSpacing", "NominalScannedPixelSpacing")]
    regions = {
        tuple(10 * abs(number) for axis in "YX" for number in numbers(region, f"PhysicalDelta{axis}"))
        for region in dataset.get("SequenceOfUltrasoundRegions") or []
        if region.get("RegionSpatialFormat") == _TWO_DIMENSIONAL
        and region.get("PhysicalUnitsXDirection") == region.get("PhysicalUnitsYDirection") == _CENTIMETRES
    }
    candidates += regions if len(regions) == 1 else []
    return next(((pair[0], pair[1]) for pair in candidates if len(pair) == 2 and min(pair) > 0), None)
