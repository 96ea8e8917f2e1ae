"""The GitHub repository that the book lives in: buttons of the site, addresses in its text, links into Colab.

The repository's name comes from GITHUB_REPOSITORY (set by GitHub Actions) or from the git remote "origin". A book built
from anywhere else has no such buttons and names no address, rather than dead ones. Colab opens the published form of a
notebook, which ``publish_notebooks.py`` writes for a branch of its own.
"""

import os
import re
import subprocess

BRANCH = "colab"  # holds the published notebooks, and nothing else
COLAB = "https://colab.research.google.com"


def github_repository() -> str | None:
    """owner/name, or None when the book is not built from a GitHub repository."""
    match = re.search(r"github\.com[:/]([\w.-]+/[\w.-]+?)(?:\.git)?/?$", git("remote", "get-url", "origin"))
    return os.environ.get("GITHUB_REPOSITORY") or (match[1] if match else None)


def commit() -> str:
    """The commit that is checked out."""
    return git("rev-parse", "HEAD")


def git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], capture_output=True, text=True, check=False).stdout.strip()


def package_address(repository: str, revision: str) -> str:
    """What pip installs the package of one commit from. An archive, because cloning takes longer."""
    return f"https://github.com/{repository}/archive/{revision}.zip"


def colab_address(repository: str, notebook: str) -> str:
    """What opens a published notebook, e.g. "00_tour.ipynb", in Colab."""
    return f"{COLAB}/github/{repository}/blob/{BRANCH}/notebooks/{notebook}"


def add_buttons(app, config):
    repository = github_repository()
    config.book_address = f"{repository}@{commit()}" if repository else ""
    if repository is None:
        return
    app.tags.add("on_github")
    config.html_theme_options |= {
        "repository_url": f"https://github.com/{repository}",
        "repository_branch": BRANCH,  # the launch button alone opens a file of a branch
        "use_repository_button": True,
        "use_issues_button": True,
        "launch_buttons": {"colab_url": COLAB},
    }


def name_addresses(app, page, source):
    """Replace the placeholders in a page's text by the addresses that are known."""
    repository, _, revision = app.config.book_address.partition("@")
    if repository:
        source[0] = source[0].replace("OWNER/REPOSITORY", repository).replace("COMMIT.zip", f"{revision}.zip")


def setup(app):
    app.add_config_value("book_address", "", rebuild="env")  # pages are read again when it changes
    app.connect("config-inited", add_buttons)
    app.connect("source-read", name_addresses)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
