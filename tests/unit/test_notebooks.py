"""The rules that every chapter keeps, so that chapters read alike and work online, in Colab and on a phone."""

from __future__ import annotations

import re
from pathlib import Path

import nbformat
import numpy as np
import pytest

from medclipsam_utils.exercises import all_exercises
from medclipsam_utils.quiz import quiz

ROOT = Path(__file__).parents[2]
NOTEBOOKS = {path.name: nbformat.read(path, as_version=4) for path in sorted((ROOT / "notebooks").glob("*.ipynb"))}

pytestmark = pytest.mark.parametrize("name", NOTEBOOKS)


def code_cells(name):
    return [cell for cell in NOTEBOOKS[name].cells if cell.cell_type == "code"]


def prose(name):
    return "\n\n".join(cell.source for cell in NOTEBOOKS[name].cells if cell.cell_type == "markdown")


def test_code_cells_show_one_thought_each(name):
    lengths = [len(cell.source.splitlines()) for cell in code_cells(name)]
    assert np.median(lengths) <= 6
    assert np.quantile(lengths, 0.9) <= 15
    assert max(lengths) <= 40


def test_lines_fit_a_page(name):
    """Code and printed tables: a page shows 100 characters in a line. A printed sentence may wrap."""
    lines = [line for cell in code_cells(name) for line in cell.source.splitlines()]
    for cell in code_cells(name):
        for output in cell.outputs:
            if "remove-output" not in cell.metadata.get("tags", []) and output.output_type == "stream":
                lines += [line for line in output.text.splitlines() if len(re.findall(r"\d", line)) > 9]
    assert [line for line in lines if len(line) > 100] == []


def test_the_first_cell_states_the_number_of_threads(name):
    first, *others = code_cells(name)
    assert first.source.splitlines()[-1] == "set_up(threads=1)"
    assert not [cell for cell in others if "set_up(" in cell.source or "num_threads" in cell.source]


def test_the_head_of_a_chapter_adds_up_the_minutes_of_its_exercises(name):
    minutes = {"open": 0, "checked": 0}
    for title, count in re.findall(r"\*\*Exercise ([^*]+)\*\* · [●○]+ · (\d+) minutes", prose(name)):
        minutes["open" if "(open)" in title else "checked"] += int(count)
    said = re.search(
        r"\*\*Time\*\* \d+ minutes to read, (\d+) for the exercises and (\d+) for the open one,", prose(name)
    )
    assert said and [int(count) for count in said.groups()] == [minutes["checked"], minutes["open"]]


def test_nobody_simulated_is_a_patient(name):
    """The word stands only where somebody real is meant."""
    meant = (
        "about patients",
        "patient's* left",
        "date of a patient",
        "of the same patient",
        "several may be of one patient",
        "every patient with a mass",
    )
    meant += ("images of patients",)
    text = "\n".join(cell.source + str(cell.metadata.get("mystnb", "")) for cell in NOTEBOOKS[name].cells)
    for words in meant:
        text = text.replace(words, "")
    assert re.findall(r".{0,40}[Pp]atient.{0,20}", text) == []


def test_every_figure_has_a_caption_and_alternative_text(name):
    for cell in code_cells(name):
        pictures = [o for o in cell.outputs if {"image/png", "image/jpeg"} & set(o.get("data", {}))]
        settings = cell.metadata.get("mystnb", {})
        if pictures:
            assert len(pictures) == 1, cell.source
            assert len(settings.get("figure", {}).get("caption", "")) > 20, cell.source
            assert len(settings.get("image", {}).get("alt", "")) > 30, cell.source
        else:
            assert not settings, f"caption without a picture: {cell.source}"


def test_stored_outputs_are_of_one_run_from_top_to_bottom(name):
    counts = [cell.execution_count for cell in code_cells(name)]
    assert counts == list(range(1, len(counts) + 1))
    assert not [o for cell in code_cells(name) for o in cell.outputs if o.output_type == "error"]
    assert not [o for cell in code_cells(name) for o in cell.outputs if o.get("name") == "stderr"]


def test_chapters_have_the_same_parts(name):
    text = prose(name)
    assert len(re.findall(r"^# ", text, flags=re.M)) == 1
    for part in ("**What you will learn**", "**What you need**", "**Time**", "## Check yourself", "## Exercises",
                 "## Summary", "**Further reading**"):  # fmt: skip
        assert part in text, part
    assert "<details>" not in text, "questions stand in the quiz, solutions in the package"


def test_the_quiz_has_options_and_an_explanation_for_each(name):
    """A chapter has one quiz; it may begin with a self-test."""
    chapter = name[:2]
    cells = [cell for cell in code_cells(name) if cell.source.startswith("quiz(")]
    names = [cell.source.removeprefix('quiz("').removesuffix('")') for cell in cells]
    assert names in ([chapter], [f"{chapter}-self-test", chapter])
    assert all("remove-input" in cell.metadata.tags for cell in cells)
    questions = [question for each in names for question in quiz(each).questions]
    assert len(questions) >= 3
    for question in questions:
        assert len(question.options) >= 3
        assert sum(option.right for option in question.options) == 1
        assert len({option.text for option in question.options}) == len(question.options)
        assert all(len(option.why) > 20 for option in question.options)


def test_exercises_stand_as_they_are_described_and_give_nothing_away(name):
    here = {number: asked for number, asked in all_exercises().items() if number.startswith(name[:2])}
    assert len(here) >= 3
    text = prose(name)
    for asked in here.values():
        assert asked.heading in text, asked.heading
    assert re.search(rf"\*\*Exercise {name[:2]}\.\d+: [^*]+ \(open\)\*\* · [●○]{{3}} · \d+ minutes · \*", text)
    checks = {}
    for cell in code_cells(name):
        for number in re.findall(r'^check\("(\d\d\.\d+)", \w+\)$', cell.source, flags=re.M):
            checks[number] = cell
            assert "..." in cell.source
            (output,) = cell.outputs
            assert output.data["text/plain"].startswith("○ not yet:") and "so far." in output.data["text/plain"]
    assert checks.keys() == here.keys()
    code = "\n".join(cell.source for cell in code_cells(name))
    assert "hint(" not in code and "solution(" not in code
    for asked in here.values():
        assert asked.source.splitlines()[-1].strip() not in code, f"the solution of {asked.number} is in the notebook"


def test_simulated_images_are_called_simulated(name):
    assert "simulated" in NOTEBOOKS[name].cells[0].source.lower()


def test_files_stay_small_and_private(name):
    path = ROOT / "notebooks" / name
    assert path.stat().st_size <= 1_500_000
    assert not re.search(r"(?<![\w.:/])/(home|root|work|tmp|Users)/\w", path.read_text(encoding="utf-8"))
