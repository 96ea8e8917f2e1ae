"""Image-caption pairs from a table: the layout of MedPix, ROCO and everything that open_clip is trained with.

The paper fine-tunes on MedPix: captions of less than 20 characters are dropped, and 15 % of the images are kept for
validation. An image may have several captions, so that pairs are divided by image: otherwise the validation would
show images that were trained on.
"""

from __future__ import annotations

import copy
import csv
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..images import read_image
from ..images.names import some
from .items import Item, ItemDataset, Transform, image_tensor

#: Names under which the file of an image is looked for, most specific first. Case, blanks and hyphens do not matter.
IMAGE_COLUMNS = (
    "filepath", "file_path", "image_path", "filename", "file_name", "image_name", "image_file", "image", "path", "file",
    "name", "image_id", "id",
)  # fmt: skip
#: The same for its caption.
CAPTION_COLUMNS = ("caption", "captions", "title", "text", "description", "report")
_SEPARATORS = ("\t", ",", ";")
# How spreadsheets and pandas write that there is nothing, once only letters and digits are left of it.
_NOTHING = ("", "na", "nan", "none", "null")


@dataclass(frozen=True)
class CaptionRow:
    """One pair: the image's file and its caption."""

    path: Path
    caption: str


class CaptionCSV(ItemDataset):
    """Pairs of image and caption from a table with one pair per row.

    The table is UTF-8 text with a header line; fields that hold the separator, quotes or line breaks are quoted (the
    way spreadsheets and pandas write them). A name in the table is looked up in ``image_folder``; one without its
    extension (ROCO has such) stands for the one file of that name. Blanks and line breaks within a caption become
    single blanks.

    Attributes:
        rows: the pairs as :class:`CaptionRow`, in the table's order. They can be read without opening an image.
        n_dropped: how many rows of the table were left out because their caption was too short, or had no letter and no
            digit or nothing but a word such as ``nan``.
    """

    def __init__(
        self,
        csv_path: str | os.PathLike,
        image_folder: str | os.PathLike | None = None,
        *,
        image_column: str | None = None,
        caption_column: str | None = None,
        separator: str | None = None,
        min_caption_length: int = 20,
        size: int | None = None,
        transform: Transform | None = None,
    ):
        """Read the table and check that every image file is there; no image is opened yet.

        Args:
            csv_path: the table.
            image_folder: where the images are; None means the folder of the table.
            image_column: which column names the image; None looks for one of :data:`IMAGE_COLUMNS`.
            caption_column: which column holds the caption; None looks for one of :data:`CAPTION_COLUMNS`.
            separator: character between fields; None takes the one of tab, comma and semicolon that divides the header
                most.
            min_caption_length: captions with fewer characters are dropped, and those that say nothing always, such as
                empty ones, dashes and ``nan``; the paper takes 20.
            size: side to which images are stretched, or None.
            transform: function from item to item, or None.

        Raises:
            ValueError: the table is missing, not UTF-8, damaged, without the columns, or without any caption of that
                length that says something; rows with another number of fields than the header; images that do not
                exist; a separator that is not one character.
        """
        super().__init__(size, transform)
        self.csv_path = Path(csv_path)
        folder = self.csv_path.parent if image_folder is None else Path(image_folder)
        header, records = _read_table(self.csv_path, separator)
        image_at = _column(self.csv_path, header, image_column, IMAGE_COLUMNS, "image_column")
        caption_at = _column(self.csv_path, header, caption_column, CAPTION_COLUMNS, "caption_column")
        pairs = [(fields[image_at].strip(), " ".join(fields[caption_at].split())) for fields in records]
        telling = [(name, caption) for name, caption in pairs if not _says_nothing(caption)]
        kept = [(name, caption) for name, caption in telling if len(caption) >= min_caption_length]
        if not kept:
            raise ValueError(
                f"{self.csv_path}: none of the {len(pairs)} captions in column {header[caption_at]!r} has "
                f"{min_caption_length} characters or more and says something ({len(pairs) - len(telling)} are empty, "
                "without letters, or a word such as nan): check the column, or lower min_caption_length"
            )
        self.n_dropped = len(pairs) - len(kept)
        paths = _find_files(self.csv_path, folder, [name for name, _ in kept])
        self.rows = tuple(CaptionRow(paths[name], caption) for name, caption in kept)

    def __len__(self) -> int:
        return len(self.rows)

    def load(self, index: int) -> Item:
        row = self.rows[index]
        image = image_tensor(read_image(row.path).pixels, self.size)
        return {"image": image, "caption": row.caption, "name": row.path.name, "path": str(row.path)}

    def split(self, validation: float = 0.15, seed: int = 0) -> tuple[CaptionCSV, CaptionCSV]:
        """Divide into training and validation so that no image file is in both.

        Args:
            validation: fraction of the image files, between 0 and 1; the paper's is 0.15. At least one file is left on
                either side.
            seed: the same seed gives the same division.

        Returns:
            Training and validation set, each with its rows in the table's order. Give one of them another
            ``transform`` by setting the attribute.

        Raises:
            ValueError: a fraction that is not between 0 and 1, or fewer than two image files.
        """
        if not 0 < validation < 1:
            raise ValueError(f"validation is {validation!r}: give the fraction of images between 0 and 1, as 0.15")
        files = [os.path.realpath(row.path) for row in self.rows]
        distinct = list(dict.fromkeys(files))
        if len(distinct) < 2:
            raise ValueError("all captions belong to one image file: a split needs at least two")
        n_validation = min(max(round(validation * len(distinct)), 1), len(distinct) - 1)
        chosen = np.random.default_rng(seed).permutation(len(distinct))[:n_validation]
        held_out = {distinct[index] for index in chosen}
        parts = []
        for inside in (False, True):
            part = copy.copy(self)
            part.rows = tuple(row for row, file in zip(self.rows, files, strict=True) if (file in held_out) == inside)
            parts.append(part)
        return parts[0], parts[1]


def _says_nothing(caption: str) -> bool:
    return "".join(filter(str.isalnum, caption.casefold())) in _NOTHING


def _read_table(path: Path, separator: str | None) -> tuple[list[str], list[list[str]]]:
    """Return the header and the rows of the table; blank lines are skipped."""
    if separator is not None and len(separator) != 1:
        raise ValueError(f"separator is {separator!r}: give one character, for example ';'")
    if not path.is_file():
        raise ValueError(f"{path}: there is no such file: check the spelling and the folder")
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            if separator is None:
                header = next((line for line in file if line.strip()), "")
                separator = max(_SEPARATORS, key=header.count)
                file.seek(0)
            records = list(_records(path, csv.reader(file, delimiter=separator, strict=True)))
    except UnicodeDecodeError as error:
        reason = f"byte 0x{error.object[error.start]:02x} is not UTF-8"
        raise ValueError(f"{path}: {reason}: save the table as UTF-8 ('CSV UTF-8' in spreadsheets)") from None
    if not records:
        raise ValueError(f"{path}: the table is empty: it needs a header line and one row per caption")
    return records[0], records[1:]


def _records(path: Path, reader) -> Iterator[list[str]]:
    header: Sequence[str] | None = None
    try:
        for fields in reader:
            if not any(field.strip() for field in fields):
                continue
            header = fields if header is None else header
            if len(fields) != len(header):
                raise ValueError(
                    f"{path}: the row that ends on line {reader.line_num} has {len(fields)} fields, the header has "
                    f"{len(header)}: quote captions that hold the separator {reader.dialect.delimiter!r}, or name "
                    "another one with separator="
                )
            yield fields
    except csv.Error as error:
        remedy = "a quote that opens a field must also close it, and quotes inside are doubled"
        raise ValueError(f"{path}: line {reader.line_num} cannot be read ({error}): {remedy}") from None


def _column(path: Path, header: list[str], wanted: str | None, usual: Sequence[str], argument: str) -> int:
    """Find the wanted column in the header, or else the first of the usual names."""
    names = [name.strip() for name in header]
    there = f"{path} has the columns {', '.join(repr(name) for name in names)}"
    if wanted is not None:
        if wanted not in names:
            raise ValueError(f"{there}, but {argument} is {wanted!r}: give one of them, or another separator=")
        return names.index(wanted)
    plain = [name.casefold().replace(" ", "_").replace("-", "_") for name in names]
    for name in usual:
        if name in plain:
            return plain.index(name)
    raise ValueError(f"{there}, none of which is known: say which it is with {argument}= (or give separator=)")


def _find_files(table: Path, folder: Path, names: list[str]) -> dict[str, Path]:
    """Find the file of every name; one error lists all that are missing."""
    files: dict[str, Path] = {}
    missing = []
    by_stem: dict[Path, dict[str, list[Path]]] = {}
    for name in dict.fromkeys(names):
        path = folder / name
        if name and path.is_file():
            files[name] = path
            continue
        if path.parent not in by_stem:
            by_stem[path.parent] = _files_by_stem(path.parent)
        candidates = by_stem[path.parent].get(path.name, []) if name else []
        if len(candidates) > 1:
            raise ValueError(
                f"{table}: {name!r} may be any of {some(each.name for each in candidates)}: name the image with its "
                "extension in the table"
            )
        if candidates:
            files[name] = candidates[0]
        else:
            missing.append(name or "(an empty name)")
    if missing:
        raise ValueError(
            f"{table}: {len(missing)} of {len(missing) + len(files)} images are not in {folder}: {some(missing)}. Say "
            "where they are with image_folder=, or which column names them with image_column="
        )
    return files


def _files_by_stem(folder: Path) -> dict[str, list[Path]]:
    files: dict[str, list[Path]] = {}
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if path.is_file() and path.suffix:
            files.setdefault(path.stem, []).append(path)
    return files
