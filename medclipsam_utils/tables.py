"""Tables for the chapters: a header above every column, the point highlighted, readable on a phone.

A notebook shows a table as HTML; a terminal, and whatever compares notebooks, sees the same as aligned text.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from html import escape
from numbers import Integral
from typing import Any, Literal

Best = Literal["largest", "smallest"]


class Table:
    """Rows of numbers and words under a header.

    Args:
        columns: names of all columns; the first one names the rows. Put the unit into the name: ``"DSC (%)"``.
        rows: one sequence for each row, as long as ``columns``. None shows as a dash.
        caption: one sentence above the table.
        form: how numbers are written, as ``"{:.1f}"``, for all columns or by the name of the column; integers and
            words are written as they are.
        best: which number of each column is highlighted; by the name of the column for some of them.
        note: one or two sentences below the table.

    Raises:
        ValueError: a row has another length than the header, or a column that is named does not exist.
    """

    def __init__(
        self,
        columns: Sequence[str],
        rows: Sequence[Sequence[Any]],
        caption: str = "",
        form: str | Mapping[str, str] = "{:.2f}",
        best: Best | Mapping[str, Best] | None = None,
        note: str = "",
    ) -> None:
        self.columns, self.rows = list(columns), [list(row) for row in rows]
        self.caption, self.note = caption, note
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(f"the row {row!r} has {len(row)} values; the header names {len(self.columns)} columns")
        named = {*(form if isinstance(form, Mapping) else ()), *(best if isinstance(best, Mapping) else ())}
        if named - set(self.columns):
            raise ValueError(f"there is no column {sorted(named - set(self.columns))}; there are {self.columns}")
        forms = {name: form.get(name, "{:.2f}") if isinstance(form, Mapping) else form for name in self.columns}
        self.cells = [
            [written(value, forms[name]) for name, value in zip(self.columns, row, strict=True)] for row in self.rows
        ]
        self.highlighted = {
            (line, place)
            for place, name in enumerate(self.columns)
            for line in self._best(place, best.get(name) if isinstance(best, Mapping) else best)
        }

    def _best(self, place: int, best: Best | None) -> list[int]:
        """Find the lines with the best value of a column; those that look alike are equally good."""
        values = {line: row[place] for line, row in enumerate(self.rows) if is_number(row[place])}
        if best is None or place == 0 or len(values) < 2:
            return []
        choose: Callable[..., int] = max if best == "largest" else min
        winner = choose(values, key=values.__getitem__)
        return [line for line in values if self.cells[line][place] == self.cells[winner][place]]

    def __repr__(self) -> str:
        marked = [
            [f"{cell}*" if (line, place) in self.highlighted else cell for place, cell in enumerate(row)]
            for line, row in enumerate(self.cells)
        ]
        table = [self.columns, *marked]
        widths = [max(len(row[place]) for row in table) for place in range(len(self.columns))]
        left = [place == 0 or not any(is_number(row[place]) for row in self.rows) for place in range(len(widths))]
        lines = [
            "  ".join(
                cell.ljust(width) if to_left else cell.rjust(width)
                for cell, width, to_left in zip(row, widths, left, strict=True)
            ).rstrip()
            for row in table
        ]
        lines.insert(1, "  ".join("-" * width for width in widths))
        return "\n".join(filter(None, (self.caption, *lines, self.note)))

    def _repr_html_(self) -> str:
        numbers = [place and any(is_number(row[place]) for row in self.rows) for place in range(len(self.columns))]
        align = ["right" if number else "left" for number in numbers]
        head = "".join(
            f'<th scope="col" style="text-align:{side}">{escape(name)}</th>'
            for name, side in zip(self.columns, align, strict=True)
        )
        body = ""
        for line, row in enumerate(self.cells):
            body += f'<tr><th scope="row" style="text-align:left;font-weight:normal">{escape(row[0])}</th>'
            for place, cell in enumerate(row[1:], start=1):
                text = f"<strong>{escape(cell)}</strong>" if (line, place) in self.highlighted else escape(cell)
                body += f'<td style="text-align:{align[place]}">{text}</td>'
            body += "</tr>"
        caption = f'<caption style="caption-side:top">{escape(self.caption)}</caption>' if self.caption else ""
        note = f"<p><small>{escape(self.note)}</small></p>" if self.note else ""
        return f'<table class="book-table">{caption}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{note}'


def is_number(value: Any) -> bool:
    """Whether a value is a finite number, and not True or False."""
    return hasattr(value, "__float__") and not isinstance(value, bool) and math.isfinite(float(value))


def written(value: Any, form: str) -> str:
    """Write one value of a table."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "–"
    if isinstance(value, (str, bool, Integral)) or not is_number(value):
        return str(value)
    text = form.format(float(value))
    return text[1:] if text.startswith("-") and not text.strip("-0.%") else text
