"""The published form of the notebooks: badge, install cell, and the branch that holds them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import types
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

ROOT = Path(__file__).parents[2]
REVISION = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def publishing(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "book"))
    import publish_notebooks

    return publish_notebooks


@pytest.fixture
def published(publishing, tmp_path):
    written = publishing.publish(tmp_path / "branch", "someone/somebook", REVISION)
    return {path.name: nbformat.read(path, as_version=4) for path in written}


def test_every_chapter_has_badge_and_install_cell_and_is_otherwise_as_it_was(published):
    chapters = sorted((ROOT / "notebooks").glob("*.ipynb"))
    assert list(published) == [path.name for path in chapters]
    for path in chapters:
        badge, install, *rest = published[path.name].cells
        colab = f"https://colab.research.google.com/github/someone/somebook/blob/colab/notebooks/{path.name}"
        assert badge.cell_type == "markdown" and f"]({colab})" in badge.source and REVISION[:7] in badge.source
        assert "Restart session" in badge.source
        assert install.cell_type == "code" and not install.outputs
        assert f"medclipsam-utils @ https://github.com/someone/somebook/archive/{REVISION}.zip" in install.source
        assert len(install.source.splitlines()) <= 40 and max(map(len, install.source.splitlines())) <= 130
        before = nbformat.read(path, as_version=4).cells
        assert [cell for cell in rest if cell.cell_type == "code"] == [c for c in before if c.cell_type == "code"]
        assert [cell.id for cell in rest] == [cell.id for cell in before]
        nbformat.validate(published[path.name])


def test_published_text_needs_no_site(published):
    """No role or directive of MyST is left, and every link names where it leads."""
    for name, notebook in published.items():
        text = "\n\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
        assert not re.findall(r"\{[a-z:]+\}`|^```\{|^:::", text, flags=re.M), name
        targets = re.findall(r"\]\(([^)]*)\)", text)
        assert targets and not [target for target in targets if not re.match(r"https://|#", target)], name
        for target in targets:
            here = target.removeprefix(f"https://github.com/someone/somebook/blob/{REVISION}/")
            here = here.removeprefix(f"https://github.com/someone/somebook/raw/{REVISION}/")
            if here != target:
                assert (ROOT / here.split("#")[0]).is_file(), target
            if "/blob/colab/notebooks/" in target:
                assert target.rpartition("/")[2] in published, target


def test_what_the_site_alone_can_show_becomes_plain_markdown(publishing):
    references = publishing.parse_file(str(publishing.REFERENCES))
    text = publishing.readable(
        "SAM {cite}`kirillov2023sam, wang2023m2ib`, [a tour](00_tour.ipynb), [page](../book/status.md#checked),"
        " [here](#top), [there](https://a.b/c)\n\n"
        "```{figure} ../book/_static/a.jpg\n:alt: a box\n:width: 3px\n\nDrawn by hand.\n```\n\n"
        "```{image} ../book/_static/b.svg\n:alt: b\n```\n\n```python\nx[0](1)\n```",
        references, "o/r", "c0ffee",
    )  # fmt: skip
    assert text == (
        "SAM [Kirillov et al., 2023](https://arxiv.org/abs/2304.02643); Wang et al., 2023,"
        " [a tour](https://colab.research.google.com/github/o/r/blob/colab/notebooks/00_tour.ipynb),"
        " [page](https://github.com/o/r/blob/c0ffee/book/status.md#checked), [here](#top), [there](https://a.b/c)\n\n"
        "![a box](https://github.com/o/r/raw/c0ffee/book/_static/a.jpg)\n\n*Drawn by hand.*\n\n"
        "![b](https://github.com/o/r/raw/c0ffee/book/_static/b.svg)\n\n```python\nx[0](1)\n```"
    )


def test_no_notebook_of_the_repository_has_an_address(publishing):
    for path in (ROOT / "notebooks").glob("*.ipynb"):
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"colab\.research|%pip|github\.com/\S+/archive", text)


def test_the_badge_opens_what_the_buttons_of_the_site_open(publishing, monkeypatch):
    """The site's theme makes the address of its button from the repository, the branch and the page's name."""
    import repository_links

    config = types.SimpleNamespace(html_theme_options={}, book_address="")
    app = types.SimpleNamespace(tags=set())
    monkeypatch.setenv("GITHUB_REPOSITORY", "someone/somebook")
    repository_links.add_buttons(app, config)
    options = config.html_theme_options
    page = "notebooks/00_tour.ipynb"
    owner = options["repository_url"].removeprefix("https://github.com/")
    button = f"{options['launch_buttons']['colab_url']}/github/{owner}/blob/{options['repository_branch']}/{page}"
    assert button == repository_links.colab_address("someone/somebook", "00_tour.ipynb")
    assert "on_github" in app.tags


@pytest.mark.parametrize(
    ("remote", "variable", "expected"),
    [
        ("https://github.com/a/some.book.git", None, "a/some.book"),
        ("git@github.com:a/book.git", None, "a/book"),
        ("https://github.com/a/book/", "b/fork", "b/fork"),
        ("https://github.com/a/book", "", "a/book"),
        ("https://example.org/a/book", None, None),
        ("", "", None),
    ],
)
def test_the_repository_is_that_of_the_workflow_or_of_the_clone(publishing, monkeypatch, remote, variable, expected):
    import repository_links

    monkeypatch.setattr(repository_links, "git", lambda *_: remote)
    monkeypatch.delenv("GITHUB_REPOSITORY", raising=False)
    if variable is not None:
        monkeypatch.setenv("GITHUB_REPOSITORY", variable)
    assert repository_links.github_repository() == expected


# ---------------------------------------------------------------------------------------------------------------------
# The install cell, with a pip that does as the test says
# ---------------------------------------------------------------------------------------------------------------------
class Pip:
    """Stands for pip: notes how it is called, and changes what is installed."""

    def __init__(self, installed: dict[str, str], fails: int = 0, changes: dict[str, str] | None = None):
        self.installed, self.fails, self.changes, self.calls = dict(installed), fails, changes or {}, []

    def run(self, command, **_):
        self.calls.append(command[4:])
        if len(self.calls) <= self.fails:
            return types.SimpleNamespace(returncode=1, stderr="ERROR: no such version of numpy")
        self.installed |= {"medclipsam-utils": "0.1.0"} | self.changes
        return types.SimpleNamespace(returncode=0, stderr="")

    def distributions(self):
        return [types.SimpleNamespace(name=name, version=version) for name, version in self.installed.items()]


@pytest.fixture
def install(published, tmp_path, monkeypatch, capsys):
    """Runs the install cell of a published notebook; returns what it prints."""

    def run(pip: Pip, in_colab: bool = True) -> str:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr("subprocess.run", pip.run)
        monkeypatch.setattr("importlib.metadata.distributions", pip.distributions)
        if in_colab:
            monkeypatch.setitem(sys.modules, "google.colab", types.ModuleType("google.colab"))
        exec(published["00_tour.ipynb"].cells[1].source, {})
        return capsys.readouterr().out

    return run


COLAB = {"numpy": "2.1.3", "torch": "2.11.0+cu128", "ipywidgets": "7.7.1"}


def test_in_colab_the_package_is_installed_and_nothing_else_changes(install, tmp_path):
    pip = Pip(COLAB, changes={"pydicom": "3.0.2"})
    assert "Nothing that Colab brought along was changed" in install(pip)
    (call,) = pip.calls
    assert call[-2] == "--constraint" and "--upgrade" not in call
    kept = (tmp_path / call[-1]).read_text().splitlines()
    assert sorted(kept) == sorted(f"{name}=={version}" for name, version in COLAB.items())


def test_outside_colab_and_the_second_time_nothing_happens(install):
    pip = Pip(COLAB)
    assert install(pip, in_colab=False) == "" and pip.calls == []
    pip = Pip(COLAB | {"medclipsam-utils": "0.1.0"})
    assert install(pip) == "" and pip.calls == []


def test_a_package_that_had_to_be_replaced_asks_for_a_restart(install):
    pip = Pip(COLAB, fails=1, changes={"numpy": "2.3.0"})
    printed = install(pip)
    assert "numpy had to be replaced" in printed and "Restart session" in printed and "Run all" in printed
    assert "--constraint" in pip.calls[0] and "--constraint" not in pip.calls[1]


def test_a_package_that_cannot_be_installed_says_why(install):
    with pytest.raises(RuntimeError, match=r"(?s)could not be installed.*no such version of numpy"):
        install(Pip(COLAB, fails=2))


def test_of_two_installed_versions_the_one_that_is_imported_counts(install, tmp_path):
    pip = Pip(COLAB)
    twice = [types.SimpleNamespace(name="numpy", version="1.0")]
    pip.distributions = lambda: Pip.distributions(pip) + twice  # further down the path: Debian's own numpy
    install(pip)
    assert "numpy==2.1.3" in (tmp_path / "colab-versions.txt").read_text()


# ---------------------------------------------------------------------------------------------------------------------
# The branch
# ---------------------------------------------------------------------------------------------------------------------
def git(folder: Path, *arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=True).stdout.strip()


@pytest.mark.skipif(shutil.which("bash") is None, reason="the script is one of bash")
def test_publishing_makes_a_branch_and_leaves_the_clone_as_it_is(tmp_path):
    clone, remote = tmp_path / "clone", tmp_path / "remote.git"
    for name in ("publish_notebooks.py", "repository_links.py"):
        (clone / "book").mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / "book" / name, clone / "book")
    (clone / ".ci").mkdir()
    shutil.copy(ROOT / ".ci" / "push-notebooks", clone / ".ci")
    (clone / "notebooks").mkdir()
    (clone / ".gitignore").write_text("_build/\n")
    cells = [new_markdown_cell("# One"), new_code_cell("1 + 1")]
    nbformat.write(new_notebook(cells=cells), clone / "notebooks" / "00_one.ipynb")
    (clone / "book" / "references.bib").touch()
    git(tmp_path, "init", "--quiet", "--bare", str(remote))
    git(clone, "init", "--quiet", "--initial-branch", "main")
    git(clone, "remote", "add", "origin", str(remote))
    git(clone, "add", ".")
    git(clone, "-c", "user.name=a", "-c", "user.email=a@b", "commit", "--quiet", "--message", "one")
    environment = os.environ | {"GITHUB_REPOSITORY": "someone/somebook", "PYTHON": sys.executable}
    for _ in range(2):  # the second time the branch is there
        command = ["bash", str(clone / ".ci" / "push-notebooks")]
        subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, check=True)
    assert git(remote, "ls-tree", "-r", "--name-only", "colab").split() == ["README.md", "notebooks/00_one.ipynb"]
    assert git(remote, "rev-list", "--count", "colab") == "1"
    stored = nbformat.reads(git(remote, "show", "colab:notebooks/00_one.ipynb"), as_version=4)
    revision = git(clone, "rev-parse", "HEAD")
    assert f"someone/somebook/archive/{revision}.zip" in stored.cells[1].source
    assert git(clone, "status", "--porcelain") == "" and git(clone, "branch", "--show-current") == "main"


def test_without_a_repository_the_command_asks_for_one(tmp_path):
    environment = {name: text for name, text in os.environ.items() if name != "GITHUB_REPOSITORY"}
    (tmp_path / "book").mkdir()
    for name in ("publish_notebooks.py", "repository_links.py"):
        shutil.copy(ROOT / "book" / name, tmp_path / "book")
    command = [sys.executable, "book/publish_notebooks.py", "out"]
    result = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 2 and "--repository OWNER/NAME" in result.stderr
    assert not (tmp_path / "out").exists()
