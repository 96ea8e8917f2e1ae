"""Tables of the chapters: how numbers are written, what is highlighted, and that text and HTML say the same."""

from __future__ import annotations

import numpy as np
import pytest

from medclipsam_utils.tables import Table


def test_numbers_are_written_in_their_form_and_integers_as_they_are():
    table = Table(["way", "n", "DSC (%)"], [["a", np.int64(3), 81.234], ["b", 12, None]], form="{:.1f}")
    assert table.cells == [["a", "3", "81.2"], ["b", "12", "–"]]
    assert str(table).splitlines() == ["way   n  DSC (%)", "---  --  -------", "a     3     81.2", "b    12        –"]


def test_the_best_of_each_column_is_highlighted():
    rows = [["a", 1.0, 2.0], ["b", 3.0, 1.0]]
    assert Table(["", "x", "y"], rows, best="largest").highlighted == {(1, 1), (0, 2)}
    assert Table(["", "x", "y"], rows, best={"y": "smallest"}).highlighted == {(1, 2)}
    assert Table(["", "x"], [["a", 0.501], ["b", 0.499]], form="{:.1f}", best="largest").highlighted == {(0, 1), (1, 1)}


def test_html_has_a_header_for_each_column_and_row_and_no_markup_of_the_words():
    html = Table(["a", "b"], [["<x>", 1.5]], caption="c", note="n & m")._repr_html_()
    assert html.count('scope="col"') == 2 and html.count('scope="row"') == 1
    assert "&lt;x&gt;" in html and "n &amp; m" in html and "<caption" in html


def test_a_row_of_another_length_and_an_unknown_column_are_said():
    with pytest.raises(ValueError, match="has 1 values; the header names 2 columns"):
        Table(["a", "b"], [["x"]])
    with pytest.raises(ValueError, match=r"there is no column \['c'\]"):
        Table(["a", "b"], [["x", 1]], form={"c": "{:.1f}"})
