"""What changed in the stored outputs, cell by cell: ``python book/drift.py [REVISION]``.

After an upgrade, ``make notebooks`` stores new outputs. This compares them with those of a revision (the last commit,
if none is named) and writes a page with numbers and pictures side by side, for the maintainer who accepts or refuses
them.
"""

from __future__ import annotations

import base64
import difflib
import html
import math
import re
import subprocess
import sys
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path

import nbformat
import numpy as np
from PIL import Image

ROOT = Path(__file__).parents[1]
NOTEBOOKS = ROOT / "notebooks"
REPORT = ROOT / "_build" / "drift" / "index.html"
NUMBER = re.compile(r"(?<![\w.])[-+−]?(?:\d+(?:\.\d*)?|\.\d+)(?:e[-+]?\d+)?", flags=re.I)
PICTURES = ("image/png", "image/jpeg")
SEEN = 16  # of 255 levels: a pixel that differs by less looks the same
FEW = 0.001  # of a picture's pixels: where fewer look different, the pictures are folded away

Cell = nbformat.NotebookNode


@dataclass(frozen=True)
class Change:
    """How the outputs of one cell differ. Empty text and pictures: they do not."""

    cell: Cell
    what: str = ""  # why the cell has nothing to be compared with: it is new, gone, or has other code
    text: tuple[str, str] | None = None  # before, after
    numbers: list[tuple[str, str]] = field(default_factory=list)  # that differ, if only numbers do
    pictures: list[tuple[bytes | None, bytes | None]] = field(default_factory=list)

    @property
    def largest(self) -> float:
        """The largest change among the numbers, as a fraction of the number before; 0 where only words differ."""
        return max((relative_change(*pair) for pair in self.numbers), default=0.0)


def value(number: str) -> float:
    return float(number.replace("−", "-"))


def relative_change(before: str, after: str) -> float:
    old, new = value(before), value(after)
    return abs(new - old) / abs(old) if old else math.inf


def text_of(cell: Cell) -> str:
    """What a cell printed and returned, without addresses in memory."""
    parts = [output.get("text") or output.get("data", {}).get("text/plain", "") for output in cell.get("outputs", [])]
    return re.sub(r"0x[0-9a-fA-F]+", "0x…", "\n".join(parts))


def pictures_of(cell: Cell) -> list[bytes]:
    found = (output.get("data", {}).get(kind) for output in cell.get("outputs", []) for kind in PICTURES)
    return [base64.b64decode(data) for data in found if data]


def pixels(picture: bytes) -> np.ndarray:
    """uint8[H, W, 3]"""
    with Image.open(BytesIO(picture)) as opened:
        return np.asarray(opened.convert("RGB"))


def difference(before: bytes | None, after: bytes | None) -> tuple[float, Image.Image | None]:
    """The fraction of pixels that look different, and a picture of where; (1, None) without two of the same size."""
    if before is None or after is None:
        return 1.0, None
    old, new = pixels(before).astype(int), pixels(after).astype(int)
    if old.shape != new.shape:
        return 1.0, None
    apart = np.abs(old - new).max(axis=-1)  # (H, W)
    return float((apart > SEEN).mean()), Image.fromarray((255 - apart).astype(np.uint8))


def compare(before: Cell | None, after: Cell | None) -> Change | None:
    """The change from one stored cell to another, or None if there is none to be seen."""
    if before is None or after is None:
        return Change(after or before, what="a new cell" if before is None else "this cell is gone")
    old, new = text_of(before), text_of(after)
    text = (old, new) if old != new else None
    numbers = []
    if text and NUMBER.sub("#", old) == NUMBER.sub("#", new):
        numbers = [pair for pair in zip(NUMBER.findall(old), NUMBER.findall(new), strict=True) if len(set(pair)) == 2]
    olds, news = pictures_of(before), pictures_of(after)
    length = max(len(olds), len(news))
    pairs = zip(olds + [None] * (length - len(olds)), news + [None] * (length - len(news)), strict=True)
    pictures = [(a, b) for a, b in pairs if a is None or b is None or not np.array_equal(pixels(a), pixels(b))]
    what = "the code differs as well" if before.source != after.source else ""
    return Change(after, what, text, numbers, pictures) if text or pictures else None


def changes(before: nbformat.NotebookNode, after: nbformat.NotebookNode) -> list[Change]:
    """The changed code cells of a notebook, in its order; those that are gone come last."""
    old, new = ({cell.id: cell for cell in notebook.cells if cell.cell_type == "code"} for notebook in (before, after))
    pairs = [(old.get(key), cell) for key, cell in new.items()] + [(old[key], None) for key in old if key not in new]
    return [change for pair in pairs if (change := compare(*pair)) is not None]


def stored(path: Path, revision: str) -> nbformat.NotebookNode | None:
    """A notebook as it was in a revision, or None if it was not there."""
    name = f"{revision}:./{path.name}"
    shown = subprocess.run(["git", "show", name], cwd=path.parent, capture_output=True, text=True, check=False)
    return nbformat.reads(shown.stdout, as_version=4) if shown.returncode == 0 else None


# ---------------------------------------------------------------------------------------------------------------------
# The page
# ---------------------------------------------------------------------------------------------------------------------
PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>What changed in the outputs</title>
<style>
:root {{ color-scheme: light dark; --line: #8886; --old: #d9534f33; --new: #5cb85c33; }}
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 1400px; margin: 1rem auto; padding: 0 1rem; }}
h2 {{ border-top: 1px solid var(--line); padding-top: 1rem; margin-top: 3rem; }}
pre {{ white-space: pre-wrap; overflow-wrap: anywhere; background: #8881; padding: .5rem; margin: 0; }}
.pair {{ display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 22rem), 1fr)); gap: 1rem; }}
.pair {{ margin: .5rem 0; }}
figure {{ margin: 0; }} img {{ max-width: 100%; background: white; }}
del {{ background: var(--old); text-decoration: none; }} ins {{ background: var(--new); text-decoration: none; }}
td, th {{ padding: 0 1rem 0 0; text-align: right; font-variant-numeric: tabular-nums; }}
section {{ margin: 2rem 0; }}
</style>
<h1>What changed in the outputs since {revision}</h1>
<p>{summary}</p>
{body}
</html>
"""


def page(found: dict[str, list[Change]], revision: str) -> str:
    """All changes as one HTML page that needs no other file."""
    body = [f'<h2 id="{name}">{name}</h2>' + "".join(map(section, each)) for name, each in found.items() if each]
    lines = {name: html.escape(summarise(name, each)) for name, each in found.items()}
    summary = "<br>".join(f'<a href="#{name}">{line}</a>' if found[name] else line for name, line in lines.items())
    return PAGE.format(revision=html.escape(revision), summary=summary, body="\n".join(body) or "<p>Nothing.</p>")


def section(change: Change) -> str:
    ignored = [tag for tag in change.cell.metadata.get("tags", []) if tag.lower().startswith("nbval")]
    notes = [change.what, f"the tests treat this cell specially: {', '.join(ignored)}" if ignored else ""]
    parts = [f"<p><code>{change.cell.id}</code> {html.escape('; '.join(filter(None, notes)))}</p>"]
    parts.append(f"<details><summary>the code</summary><pre>{html.escape(change.cell.source)}</pre></details>")
    if change.numbers:
        rows = "".join(map(row, change.numbers))
        parts.append(f"<table><tr><th>before<th>after<th>difference<th>relative</tr>{rows}</table>")
    if change.text:
        before, after = marked(*change.text)
        parts.append(f'<div class="pair"><pre>{before}</pre><pre>{after}</pre></div>')
    parts += [picture_row(*pair) for pair in change.pictures]
    return f"<section>{''.join(parts)}</section>"


def row(pair: tuple[str, str]) -> str:
    relative = relative_change(*pair)
    shown = f"{relative:.2%}" if math.isfinite(relative) else "from 0"
    return f"<tr><td>{pair[0]}<td>{pair[1]}<td>{value(pair[1]) - value(pair[0]):+.4g}<td>{shown}</tr>"


def marked(before: str, after: str) -> tuple[str, str]:
    """Both texts as HTML, with the words that differ marked."""
    old, new = (re.split(r"(\s+)", text) for text in (before, after))
    sides = [], []
    for kind, a, b, c, d in difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        for side, words, mark in ((sides[0], old[a:b], "del"), (sides[1], new[c:d], "ins")):
            text = html.escape("".join(words))
            side.append(text if kind == "equal" or not text else f"<{mark}>{text}</{mark}>")
    return "".join(sides[0]), "".join(sides[1])


def picture_row(before: bytes | None, after: bytes | None) -> str:
    fraction, where = difference(before, after)
    shown = {"before": before, "after": after}
    if where is not None:
        buffer = BytesIO()
        where.save(buffer, "PNG")
        shown["where they differ"] = buffer.getvalue()
    figures = [f"<figure><figcaption>{words}</figcaption>{drawn(image)}</figure>" for words, image in shown.items()]
    opened = "open" if fraction > FEW else ""
    seen = f"a picture: {fraction:.2%} of its pixels look different"
    if where is None:
        seen = f"a picture {'of another size' if before and after else 'that is new' if after else 'that is gone'}"
    return f'<details {opened}><summary>{seen}</summary><div class="pair">{"".join(figures)}</div></details>'


def drawn(picture: bytes | None) -> str:
    if picture is None:
        return "<p>none</p>"
    kind = "jpeg" if picture.startswith(b"\xff\xd8") else "png"
    return f'<img alt="" src="data:image/{kind};base64,{base64.b64encode(picture).decode()}">'


# ---------------------------------------------------------------------------------------------------------------------
# The command
# ---------------------------------------------------------------------------------------------------------------------
def summarise(name: str, found: list[Change]) -> str:
    if not found:
        return f"{name}: the same outputs"
    texts = sum(bool(change.text) for change in found)
    pictures = [difference(*pair)[0] > FEW for change in found for pair in change.pictures]
    parts = [f"text in {texts}"] if texts else []
    if pictures:
        parts.append(f"{sum(pictures)} of {len(pictures)} pictures visibly")
    largest = max(change.largest for change in found)
    if largest:
        parts.append("a number from 0" if math.isinf(largest) else f"numbers by up to {largest:.1%}")
    return f"{name}: {len(found)} cell{'s' * (len(found) > 1)} changed ({', '.join(parts) or found[0].what})"


def main(arguments: list[str]) -> int:
    revision = arguments[0] if arguments else "HEAD"
    known = subprocess.run(["git", "rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}"], cwd=NOTEBOOKS,
                           capture_output=True, check=False)  # fmt: skip
    if known.returncode:
        print(f"There is no revision {revision} in this repository.", file=sys.stderr)
        return 2
    REPORT.unlink(missing_ok=True)  # of an earlier comparison
    found = {}
    for path in sorted(NOTEBOOKS.glob("*.ipynb")):
        before = stored(path, revision)
        if before is None:
            print(f"{path.stem}: a new chapter, nothing to compare it with")
            continue
        found[path.stem] = changes(before, nbformat.read(path, as_version=4))
        print(summarise(path.stem, found[path.stem]))
    if any(found.values()):
        REPORT.parent.mkdir(parents=True, exist_ok=True)
        REPORT.write_text(page(found, revision), encoding="utf-8")
        print(f"Look at {REPORT}.")
        print("To keep the new outputs, commit them. To refuse them: git checkout notebooks book/measured")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
