"""Find a browser for the site tests, or get one: ``python tests/site/browser.py``.

Used, in this order: the one that MEDCLIPSAM_BROWSER names, an installed Chromium or Chrome, Playwright's own inside
the virtual environment, which is downloaded when nothing else is there. A continuous-integration machine that runs as
root may fall back on its system's packages.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "microsoft-edge")
# The site that `make book` builds, or another one, which MEDCLIPSAM_SITE names.
HTML = Path(__file__).parents[2] / os.environ.get("MEDCLIPSAM_SITE", "_build/html")
DOWNLOADS = Path(sys.prefix) / "browsers"


def find_browser() -> str | None:
    """Path of a Chromium-like browser, or None."""
    named = os.environ.get("MEDCLIPSAM_BROWSER")
    if named:
        return named
    installed = next((path for name in NAMES if (path := shutil.which(name))), None)
    downloaded = (p for name in ("chrome", "headless_shell", "Chromium") for p in DOWNLOADS.glob(f"*/*/{name}"))
    return installed or next((str(path) for path in downloaded), None)


def get_browser() -> None:
    """Download Playwright's Chromium; in continuous integration as root, else install the system's package."""
    print("== Getting a browser for the site tests (once) ==", flush=True)
    command = [sys.executable, "-m", "playwright", "install", "chromium"]
    environment = os.environ | {"PLAYWRIGHT_BROWSERS_PATH": str(DOWNLOADS)}
    downloaded = subprocess.run(command, env=environment, stderr=subprocess.DEVNULL, check=False).returncode == 0
    if not downloaded and os.environ.get("CI") and os.geteuid() == 0 and shutil.which("apt-get"):
        subprocess.run(["apt-get", "update", "-qq"], check=True)
        subprocess.run(["apt-get", "install", "-y", "-qq", "chromium"], check=True, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    if find_browser() is None:
        get_browser()
    print(f"Browser: {find_browser() or 'none found, the site tests say so'}")
