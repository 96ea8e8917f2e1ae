"""Write the notebooks in the form that Colab opens: ``python book/publish_notebooks.py FOLDER``.

In the repository no notebook holds an address. Its published form begins with a badge and with a cell that installs the
package of the very commit that the notebook comes from. The cell does nothing outside Colab; there, it keeps every
package that Colab brings along as it is. What only the site can show, such as citations, becomes plain Markdown, and
links lead to where their target is published. Stored outputs stay.
"""

from __future__ import annotations

import argparse
import re
import shutil
import sys
from pathlib import Path

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell
from pybtex.database import BibliographyData, Entry, parse_file
from repository_links import BRANCH, colab_address, commit, github_repository, package_address

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"
REFERENCES = Path(__file__).parent / "references.bib"

BADGE = """\
[![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)]({address})

This notebook is a chapter of [a book that you can run](https://github.com/{repository}), as it was at commit `{short}`.
The next cell installs the book's package; it takes less than a minute and does nothing outside Colab. If it asks you to
restart, choose *Runtime → Restart session*, then *Runtime → Run all*."""

# Everything that Colab has is pinned while pip works. Only if that cannot be done may pip replace something, and then
# what is already imported is an old version of it: hence the request to restart.
INSTALL = """\
# @title In Colab: install the book's package
import subprocess
import sys
from importlib.metadata import distributions


def installed():
    found = reversed(list(distributions()))  # of two of one name, the first is imported
    return {{each.name: each.version for each in found if each.name}}


def pip_install(*arguments):
    command = [sys.executable, "-m", "pip", "install", "--quiet", *arguments]
    return subprocess.run(command, capture_output=True, text=True)


if "google.colab" in sys.modules and "medclipsam-utils" not in installed():
    package = "medclipsam-utils @ {package}"
    print("Installing the package ...")
    before = installed()
    with open("colab-versions.txt", "w") as versions:
        versions.writelines(f"{{name}}=={{version}}\\n" for name, version in before.items())
    if pip_install(package, "--constraint", versions.name).returncode:
        result = pip_install(package)
        if result.returncode:
            raise RuntimeError(f"The package could not be installed.\\n{{result.stderr[-2000:]}}")
    after = installed()
    replaced = [name for name, version in before.items() if after.get(name) != version]
    if replaced:
        print(f"Colab's {{', '.join(replaced)}} had to be replaced. Please restart:")
        print("choose Runtime → Restart session, then Runtime → Run all.")
    else:
        print("Installed. Nothing that Colab brought along was changed.")"""

README = """\
The chapters of [{repository}](https://github.com/{repository}), as they were at commit `{revision}`,
to be opened in Colab. Do not edit them here: the next publication replaces them.

{rows}
"""


CITATION = re.compile(r"\{cite(?::\w)?\}`([^`]+)`")
LINK = re.compile(r"(?<=\]\()([\w./-]+\.(?:ipynb|md|png|jpg|svg)(?:#[\w-]+)?)(?=\))")  # to a file of the repository
IMAGE = re.compile(r"^```\{(?:image|figure)\} (\S+)\n(.*?)^```$", flags=re.S | re.M)


def readable(text: str, references: BibliographyData, repository: str, revision: str) -> str:
    """A chapter's Markdown without what MyST adds to it, and with links that lead somewhere from anywhere."""

    def cited(match: re.Match) -> str:
        return "; ".join(citation(references.entries[key.strip()]) for key in match[1].split(","))

    def image(match: re.Match) -> str:
        options, _, caption = match[2].partition("\n\n")
        alternative = re.search(r"^:alt: (.*)$", options, flags=re.M)
        return f"![{alternative[1] if alternative else ''}]({match[1]})\n\n*{caption.strip()}*".removesuffix("\n\n**")

    def target(match: re.Match) -> str:
        path, _, section = match[1].partition("#")
        if path.endswith(".ipynb"):
            return colab_address(repository, Path(path).name)
        path = path.removeprefix("../")
        shown = "raw" if Path(path).suffix in (".png", ".jpg", ".svg") else "blob"
        return f"https://github.com/{repository}/{shown}/{revision}/{path}" + (f"#{section}" if section else "")

    return LINK.sub(target, IMAGE.sub(image, CITATION.sub(cited, text)))


def citation(entry: Entry) -> str:
    """For example "Koleilat et al., 2025", linked where the entry says which number it has in the arXiv."""
    names = [" ".join(person.last_names) or str(person) for person in entry.persons["author"]]
    who = names[0] if len(names) == 1 else f"{names[0]} and {names[1]}" if len(names) == 2 else f"{names[0]} et al."
    words = f"{who}, {entry.fields['year']}".replace("and others,", "et al.,")
    number = re.search(r"arXiv (\d+\.\d+)", entry.fields.get("note", ""))
    return f"[{words}](https://arxiv.org/abs/{number[1]})" if number else words


def published(notebook: nbformat.NotebookNode, name: str, repository: str, revision: str, package: str):
    """A copy of a notebook with badge and install cell in front; `package` is the address that pip installs from."""
    badge = BADGE.format(address=colab_address(repository, name), repository=repository, short=revision[:7])
    copy, references = nbformat.from_dict(notebook), parse_file(str(REFERENCES))
    for cell in copy.cells:
        if cell.cell_type == "markdown":
            cell.source = readable(cell.source, references, repository, revision)
    copy.cells = [
        new_markdown_cell(badge, id="colab-badge"),
        new_code_cell(INSTALL.format(package=package), id="colab-install", metadata={"cellView": "form"}),
        *copy.cells,
    ]
    return copy


def publish(folder: Path, repository: str, revision: str, package: str | None = None) -> list[Path]:
    """Write all notebooks to ``folder/notebooks``, and a README beside it; what the folder held is deleted.

    Args:
        repository: owner/name on GitHub, for the badge.
        revision: the commit that the notebooks come from.
        package: what pip installs instead of that commit's archive on GitHub.

    Returns:
        The files that were written, in reading order.
    """
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "notebooks").mkdir(parents=True)
    written, rows = [], []
    for path in sorted(NOTEBOOKS.glob("*.ipynb")):
        notebook = nbformat.read(path, as_version=4)
        copy = published(notebook, path.name, repository, revision, package or package_address(repository, revision))
        nbformat.write(copy, folder / "notebooks" / path.name)
        written.append(folder / "notebooks" / path.name)
        rows.append(f"- [{path.stem}]({colab_address(repository, path.name)})")
    readme = README.format(repository=repository, revision=revision, rows="\n".join(rows))
    (folder / "README.md").write_text(readme, encoding="utf-8")
    return written


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help=f"where to write them; becomes the branch {BRANCH}")
    parser.add_argument("--repository", default=github_repository(), help="owner/name on GitHub (default: this one's)")
    arguments = parser.parse_args()
    if not arguments.repository:
        parser.error("this clone has no GitHub repository as its origin: name one with --repository OWNER/NAME")
    written = publish(arguments.folder, arguments.repository, commit())
    print(f"{len(written)} notebooks are in {arguments.folder}, for the branch {BRANCH} of {arguments.repository}.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
