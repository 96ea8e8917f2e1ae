"""A local server for the built book and a browser to open it with."""

from __future__ import annotations

import os
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest
from browser import HTML, find_browser


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *args):
        """Keep the test's output readable."""


@pytest.fixture(scope="session")
def site() -> str:
    """Address of the built book, served on the loopback interface."""
    if not (HTML / "index.html").is_file():
        pytest.fail(f"the book is not built: {HTML / 'index.html'} is missing; run `make book` first")
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(QuietHandler, directory=str(HTML)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()


@pytest.fixture(scope="session")
def chromium():
    """A running headless browser; without one the test is skipped by name, except in CI, where it fails."""
    from playwright.sync_api import sync_playwright

    path = find_browser()
    if path is None:
        reason = "no Chromium or Chrome on this machine; install one or set MEDCLIPSAM_BROWSER to its path"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)
    with sync_playwright() as playwright:
        options = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
        browser = playwright.chromium.launch(executable_path=path, args=options)
        yield browser
        browser.close()
