"""Every page of the built book, opened in a real browser at desktop, tablet and phone width."""

from __future__ import annotations

import html
import json
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from browser import HTML
from PIL import Image

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    str(path.relative_to(HTML))
    for path in HTML.rglob("*.html")
    if not path.relative_to(HTML).parts[0].startswith("_") and path.name != "index.html"
)
WIDTHS = {"desktop": (1280, 800), "tablet": (768, 1024), "phone": (390, 844)}
CHAPTER = "notebooks/04_m2ib_saliency.html"
# Blocks of code and printed results of which a part is out of sight: scrolled away, or beyond the edge of the page.
CUT = """() => [...document.querySelectorAll('article pre')].filter(block => {
    const outer = document.querySelector('article').getBoundingClientRect();
    const hidden = [block, block.parentElement, block.parentElement.parentElement];
    return hidden.some(e => e.scrollWidth > e.clientWidth + 1 && getComputedStyle(e).display !== 'inline')
        || block.getBoundingClientRect().right > outer.right + 1;
}).map(block => block.textContent.slice(0, 60))"""


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
        scripts = []
        page.on("request", lambda r, log=scripts: log.append(r.url) if r.resource_type == "script" else None)
        page.goto(f"{site}/{name}", wait_until="load")
        page.wait_for_function("!window.MathJax?.startup?.promise || window.MathJax.startup.promise.then(() => true)")
        cut = page.evaluate(CUT)
        # A picture that is loaded when a reader comes near it is asked for now.
        page.evaluate("""() => Promise.all([...document.querySelectorAll('article img')].map(image => {
            image.loading = 'eager';
            return image.complete || new Promise(done => { image.onload = image.onerror = done; });
        }))""")
        results[name] = {"problems": problems, "scripts": scripts, "cut": cut} | page.evaluate(
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
    assert {"book/intro.html", "notebooks/00_tour.html", "notebooks/02_data.html"} <= set(PAGES)


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


def test_no_code_and_no_result_is_cut(opened):
    assert {name: state["cut"] for name, state in opened.items() if state["cut"]} == {}


def test_a_page_loads_the_scripts_that_it_needs(opened):
    for name, state in opened.items():
        loaded = " ".join(state["scripts"])
        assert "fontawesome" not in loaded and "thebe" not in loaded, name
        assert ("mathjax" in loaded) == bool(state["equations"]), name


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


@pytest.fixture
def reader(chromium, site):
    """A function that opens a page of the book as a reader with this screen, theme and medium does."""
    contexts = []

    def open_page(name, width="desktop", theme="light", medium="screen"):
        size = dict(zip(("width", "height"), WIDTHS[width], strict=True))
        context = chromium.new_context(viewport=size, has_touch=width != "desktop")
        contexts.append(context)
        page = context.new_page()
        page.add_init_script(f"for (const key of ['mode', 'theme']) localStorage.setItem(key, {theme!r})")
        page.emulate_media(media=medium)
        page.goto(f"{site}/{name}", wait_until="load")
        return page

    yield open_page
    for context in contexts:
        context.close()


@pytest.mark.parametrize("width", ["phone", "tablet"])
@pytest.mark.parametrize("button, sidebar", [("primary", "A tour in pictures"), ("secondary", "The question")])
def test_a_tap_opens_the_menus(reader, width, button, sidebar):
    page = reader(CHAPTER, width)
    dialog = page.locator(f"#pst-{button}-sidebar-modal")
    assert not dialog.is_visible()
    page.locator(f"button.{button}-toggle:visible").tap()
    assert dialog.is_visible() and dialog.get_by_role("link", name=sidebar).first.is_visible()
    page.keyboard.press("Escape")
    assert not dialog.is_visible()
    page.locator(f"button.{button}-toggle:visible").tap()  # and once more
    link = dialog.get_by_role("link", name=sidebar).first
    target = link.get_attribute("href")
    link.tap()
    page.wait_for_url(f"**{target.removeprefix('..')}")


def test_the_menu_collapses_on_a_desktop_and_comes_back(reader):
    page = reader(CHAPTER)
    sidebar, article = page.locator("#pst-primary-sidebar"), page.locator(".bd-main")
    began = article.bounding_box()
    assert sidebar.is_visible()
    page.locator("button.primary-toggle:visible").click()
    page.wait_for_function("!document.querySelector('#pst-primary-sidebar').checkVisibility()")
    assert article.bounding_box()["width"] > began["width"] + 150
    page.locator("button.primary-toggle:visible").click()
    page.wait_for_function("document.querySelector('#pst-primary-sidebar').checkVisibility()")
    assert article.bounding_box() == began


def test_lines_of_a_hundred_characters_fit_on_a_desktop(reader):
    """A line is as high as a line: measured with letters of the width that common monospaced fonts have at most."""
    page = reader(CHAPTER)
    page.set_viewport_size({"width": 1280 - 16, "height": 800})  # the page's scrollbar takes the rest
    lines = page.evaluate("""() => {
        const block = document.querySelector('article .cell_input pre');
        block.style.fontFamily = 'monospace';
        const height = () => block.getBoundingClientRect().height;
        block.textContent = '0';
        const one = height();
        block.textContent = '0'.repeat(100);
        const hundred = height();
        block.textContent = '0'.repeat(300);
        return [one, hundred, height()];
    }""")
    assert lines[0] == lines[1] < lines[2]


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_pictures_have_no_filter(reader, theme):
    page = reader(CHAPTER, theme=theme)
    assert page.evaluate("document.documentElement.dataset.theme") == theme
    filters = page.evaluate("[...document.querySelectorAll('article img')].map(i => getComputedStyle(i).filter)")
    assert len(filters) > 10 and set(filters) == {"none"}


def test_a_picture_looks_the_same_in_both_themes(reader):
    """Grey value by grey value: an ultrasound image and a map, whose dark parts a filter would turn black."""
    shown = []
    for theme in ("light", "dark"):
        page = reader(CHAPTER, theme=theme)
        picture = page.locator("article figure img").first
        picture.evaluate("image => { image.style.borderRadius = 0; return image.decode(); }")
        shown.append(np.asarray(Image.open(BytesIO(picture.screenshot())).convert("RGB")).astype(int))
    middle = np.s_[40:-40, 40:-40]
    assert shown[0].shape == shown[1].shape and shown[0][middle].std() > 20
    assert np.abs(shown[0][middle] - shown[1][middle]).max() <= 2


def test_pictures_have_their_size_and_wait_until_they_are_needed(reader):
    page = reader(CHAPTER, "phone")
    pictures = page.evaluate("""() => [...document.querySelectorAll('article img')].map(
        i => [i.getAttribute('width'), i.getAttribute('height'), i.getAttribute('loading'), i.complete])""")
    assert all(width and height for width, height, _, _ in pictures)
    assert [loading for _, _, loading, _ in pictures] == [None] + ["lazy"] * (len(pictures) - 1)
    assert not pictures[-1][3]
    shape = page.locator("article img").last.bounding_box()
    assert shape["width"] / shape["height"] == pytest.approx(int(pictures[-1][0]) / int(pictures[-1][1]), rel=0.02)


@pytest.mark.parametrize("width", ["desktop", "phone"])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_focus_can_be_seen(reader, width, theme):
    page = reader("notebooks/00_tour.html", width, theme)
    unseen = []
    for _ in range(60):
        page.keyboard.press("Tab")
        seen = page.evaluate("""() => {
            const e = document.activeElement, style = getComputedStyle(e);
            const outlined = style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2;
            return [outlined, e.outerHTML.slice(0, 90)];
        }""")
        if not seen[0]:
            unseen.append(seen[1])
    assert unseen == []


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_what_is_printed_is_whole_and_dark_on_white(reader, theme):
    page = reader(CHAPTER, theme=theme, medium="print")
    page.set_viewport_size({"width": 718, "height": 1000})  # A4 without its margins
    assert page.evaluate(CUT) == []
    light = page.evaluate("""() => {
        const bright = (colour) => {
            const [r, g, b, a = 1] = colour.match(/[\\d.]+/g).map(Number);
            return a === 0 ? null : 0.2126 * r + 0.7152 * g + 0.0722 * b;
        };
        const texts = [...document.querySelectorAll('article *')].filter(e => e.checkVisibility()
            && [...e.childNodes].some(n => n.nodeType === Node.TEXT_NODE && n.textContent.trim()));
        const pale = texts.filter(e => bright(getComputedStyle(e).color) > 150).map(e => e.outerHTML.slice(0, 80));
        const grounds = [...document.querySelectorAll('html, body, .bd-main, article, article pre')]
            .map(e => bright(getComputedStyle(e).backgroundColor)).filter(value => value !== null && value < 225);
        return [pale, grounds];
    }""")
    assert light == [[], []]
    assert page.evaluate("getComputedStyle(document.documentElement).colorScheme") == "light"
    hidden = page.evaluate("""() => [...document.querySelectorAll('article details > :not(summary)')]
        .filter(e => !e.checkVisibility({contentVisibilityAuto: true})).length""")
    assert hidden == 0
    assert not page.locator(".bd-sidebar-primary").is_visible()


@pytest.mark.parametrize("chapter", sorted((ROOT / "notebooks").glob("*.ipynb")), ids=lambda path: path.stem)
def test_a_page_shows_what_its_notebook_stores(chapter):
    """Word by word what is printed, byte by byte the pictures; and no state of widgets, which nothing can use."""
    text = (HTML / "notebooks" / f"{chapter.stem}.html").read_text(encoding="utf-8")
    assert "widget-state" not in text and "widget-view" not in text
    shown = " ".join(html.unescape(text).split())
    printed, pictures = 0, 0
    for cell in json.loads(chapter.read_text(encoding="utf-8"))["cells"]:
        if "remove-output" in cell["metadata"].get("tags", []):
            continue
        for output in cell.get("outputs", []):
            if output["output_type"] == "stream":
                assert " ".join("".join(output["text"]).split()) in shown
                printed += 1
            pictures += "image/jpeg" in output.get("data", {})
    assert printed > 3
    assert text.count("<img ") - text.count("logo__image") >= pictures > 3
