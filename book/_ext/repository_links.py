"""Launch and source buttons for wherever the book lives: the GitHub repository that it is built from.

The address comes from GITHUB_REPOSITORY (set by GitHub Actions) or from the git remote "origin". A book built from
anywhere else has no such buttons, rather than dead ones.
"""

import os
import re
import subprocess


def github_repository() -> str | None:
    """owner/name, or None when the book is not built from a GitHub repository."""
    if "GITHUB_REPOSITORY" in os.environ:
        return os.environ["GITHUB_REPOSITORY"]
    remote = subprocess.run(["git", "remote", "get-url", "origin"], capture_output=True, text=True, check=False).stdout
    match = re.search(r"github\.com[:/]([\w.-]+/[\w.-]+?)(?:\.git)?/?$", remote.strip())
    return match.group(1) if match else None


def add_buttons(app, config):
    repository = github_repository()
    if repository is None:
        return
    config.html_theme_options |= {
        "repository_url": f"https://github.com/{repository}",
        "repository_branch": "main",
        "use_repository_button": True,
        "use_issues_button": True,
        "launch_buttons": {"colab_url": "https://colab.research.google.com"},
    }


def setup(app):
    app.connect("config-inited", add_buttons)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
