"""One page of each kind, read by axe-core in both themes: nothing that keeps a person out."""

from __future__ import annotations

from pathlib import Path

import axe_playwright_python
import pytest

AXE = (Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text(encoding="utf-8")
PAGES = ("book/intro", "notebooks/00_tour", "book/teaching/plans", "book/glossary", "search")
#: What axe calls serious keeps some people out, critical all of a group.
GRAVE = ("serious", "critical")


def findings(page) -> dict[str, list[str]]:
    """Give each grave finding with the places where it is."""
    page.evaluate(AXE)
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")["violations"]
    return {f["id"]: [node["html"][:120] for node in f["nodes"]] for f in found if f["impact"] in GRAVE}


def opened(chromium, theme):
    context = chromium.new_context(viewport={"width": 1280, "height": 800})
    context.add_init_script(f"localStorage.setItem('mode', '{theme}'); localStorage.setItem('theme', '{theme}')")
    return context


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("name", PAGES)
def test_nothing_keeps_a_person_out(chromium, site, name, theme):
    context = opened(chromium, theme)
    page = context.new_page()
    page.goto(f"{site}/{name}.html", wait_until="load")
    assert page.evaluate("document.documentElement.dataset.theme") == theme
    assert findings(page) == {}
    context.close()


def test_a_picture_without_words_is_noticed(chromium, site):
    context = opened(chromium, "light")
    page = context.new_page()
    page.goto(f"{site}/book/glossary.html", wait_until="load")
    page.evaluate("document.querySelector('article').insertAdjacentHTML('beforeend', '<img src=\"x.png\">')")
    assert "image-alt" in findings(page)
    context.close()


def test_a_quiz_is_answered_by_keyboard(chromium, site):
    """Tab goes to a question, the arrows choose an answer, and why it is right or wrong appears in a live region."""
    context = opened(chromium, "light")
    page = context.new_page()
    page.goto(f"{site}/notebooks/00_tour.html", wait_until="load")
    page.locator("#quiz-00-1-0").focus()
    assert not page.locator("#quiz-00-1-0 ~ .why").is_visible()
    page.keyboard.press("Space")
    explanation = page.locator("#quiz-00-1-0 ~ .why")
    assert explanation.is_visible() and explanation.get_attribute("role") == "status"
    page.keyboard.press("ArrowDown")
    assert not explanation.is_visible() and page.locator("#quiz-00-1-1 ~ .why").is_visible()
    score = page.locator("form.quiz .score")
    content = score.evaluate("e => getComputedStyle(e, '::after').content")
    assert "counter(right)" in content and "counter(answered)" in content
    page.get_by_role("button", name="Start again").click()
    assert page.locator("form.quiz input:checked").count() == 0
    context.close()


def test_solutions_are_folded_below_their_exercise(chromium, site):
    page = chromium.new_page()
    page.goto(f"{site}/notebooks/00_tour.html", wait_until="load")
    solution = page.locator("details.solution", has_text="Solution of exercise 00.2")
    assert not solution.locator("pre").is_visible()
    solution.locator("summary").click()
    assert "np.nonzero(mask)" in solution.locator("pre").inner_text()
    page.close()
