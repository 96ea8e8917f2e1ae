"""Every page of the built book, opened in a real browser at desktop and phone width."""

from __future__ import annotations

from pathlib import Path

import pytest

HTML = Path(__file__).parents[2] / "_build" / "html"
PAGES = sorted(
    str(path.relative_to(HTML))
    for path in HTML.rglob("*.html")
    if not path.relative_to(HTML).parts[0].startswith("_") and path.name not in ("index.html", "genindex.html")
)
WIDTHS = {"desktop": (1280, 800), "phone": (390, 844)}


@pytest.fixture(scope="module", params=WIDTHS)
def opened(request, chromium, site):
    """Each page's state after loading at one width: problems, layout and pictures."""
    width, height = WIDTHS[request.param]
    context = chromium.new_context(viewport={"width": width, "height": height})
    results = {}
    for name in PAGES:
        page = context.new_page()
        problems = []
        page.on("console", lambda m, log=problems: log.append(f"console: {m.text}") if m.type == "error" else None)
        page.on("pageerror", lambda error, log=problems: log.append(f"script: {error}"))
        page.on("requestfailed", lambda r, log=problems: log.append(f"request: {r.url}"))
        page.on("response", lambda r, log=problems: log.append(f"{r.status}: {r.url}") if r.status >= 400 else None)
        page.goto(f"{site}/{name}", wait_until="load")
        page.wait_for_function("!window.MathJax?.startup?.promise || window.MathJax.startup.promise.then(() => true)")
        results[name] = {"problems": problems} | page.evaluate(
            """() => ({
                overflow: document.documentElement.scrollWidth - document.documentElement.clientWidth,
                pictures: [...document.querySelectorAll('article img')].map(i => [i.src, i.alt, i.naturalWidth]),
                equations: document.querySelectorAll('article .math').length,
                typeset: document.querySelectorAll('article mjx-container').length,
                errors: document.querySelectorAll('mjx-merror, .problematic').length,
                title: document.title,
            })"""
        )
        page.close()
    context.close()
    return results


def test_the_book_has_its_pages_and_opens_at_the_first(chromium, site):
    page = chromium.new_page()
    page.goto(f"{site}/index.html")
    page.wait_for_url(f"{site}/book/intro.html")
    page.close()
    assert {"book/intro.html", "notebooks/00_tour.html", "notebooks/01_data.html"} <= set(PAGES)


def test_pages_open_without_errors(opened):
    assert {name: state["problems"] for name, state in opened.items() if state["problems"]} == {}


def test_no_page_scrolls_sideways(opened):
    assert {name: state["overflow"] for name, state in opened.items() if state["overflow"] > 1} == {}


def test_every_picture_loads_and_has_alternative_text(opened):
    pictures = [(name, *picture) for name, state in opened.items() for picture in state["pictures"]]
    assert len(pictures) > 10
    assert [(name, source) for name, source, _, width in pictures if width == 0] == []
    bad = [(name, source.rsplit("/", 1)[-1]) for name, source, alt, _ in pictures if len(alt) < 15 or "_build" in alt]
    assert bad == []


def test_every_equation_is_typeset(opened):
    equations = {name: (s["equations"], s["typeset"], s["errors"]) for name, s in opened.items() if s["equations"]}
    assert equations
    assert {name: counts for name, counts in equations.items() if counts[1] < counts[0] or counts[2]} == {}


def test_links_inside_the_book_lead_somewhere(chromium, site):
    page = chromium.new_page()
    broken = []
    for name in PAGES:
        page.goto(f"{site}/{name}", wait_until="domcontentloaded")
        targets = page.evaluate("[...document.querySelectorAll('a[href]')].map(a => a.href)")
        for target in set(targets):
            address, _, anchor = target.partition("#")
            if not address.startswith(site):
                continue
            path = HTML / (address[len(site) + 1 :] or "index.html")
            if not path.is_file() or (anchor and f'id="{anchor}"' not in path.read_text(encoding="utf-8")):
                broken.append((name, target[len(site) :]))
    page.close()
    assert broken == []
