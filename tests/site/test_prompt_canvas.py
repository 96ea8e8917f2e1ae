"""The canvas for SAM's prompts in a real browser: clicks, drags and what they tell Python."""

from __future__ import annotations

import base64
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import medclipsam_utils

SCRIPT = Path(medclipsam_utils.__file__).parent / "widgets" / "prompt_canvas.js"
WIDTHS = {"desktop": 1280, "phone": 390}
# What the notebook's own half of a widget's model does, as far as the script uses it.
PAGE = """
<div id="root"></div>
<script type="module">
  const module = await import(URL.createObjectURL(new Blob([SOURCE], { type: "text/javascript" })));
  const bytes = (text) => new DataView(Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer);
  const state = { picture: bytes(PICTURE), overlay: bytes(OVERLAY), points: [], boxes: [] };
  const listeners = {};
  window.model = {
    state,
    saved: 0,
    get: (name) => state[name],
    set(name, value) { state[name] = value; (listeners[`change:${name}`] || []).forEach((call) => call()); },
    save_changes() { this.saved += 1; },
    on(name, call) { (listeners[name] ||= []).push(call); },
  };
  module.default.render({ model: window.model, el: document.getElementById("root") });
  window.ready = true;
</script>
"""


def png(pixels: np.ndarray) -> str:
    content = BytesIO()
    Image.fromarray(pixels).save(content, "PNG")
    return base64.b64encode(content.getvalue()).decode()


@pytest.fixture(params=WIDTHS)
def page(request, chromium):
    """A page with an image of 120 × 240 pixels (rows × columns) in the canvas, its left half covered in red."""
    overlay = np.zeros((120, 240, 4), np.uint8)
    overlay[:, :120] = (255, 0, 0, 255)
    picture = np.full((120, 240, 3), 90, np.uint8)
    page = chromium.new_context(viewport={"width": WIDTHS[request.param], "height": 700}).new_page()
    problems = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    source = repr(SCRIPT.read_text(encoding="utf-8"))
    constants = f"<script>const SOURCE = {source}, PICTURE = {png(picture)!r}, OVERLAY = {png(overlay)!r};</script>"
    page.set_content(f"<!doctype html><meta charset='utf-8'>{constants}{PAGE}")
    page.wait_for_function("window.ready && document.querySelector('canvas').width > 300")
    yield page
    assert not problems
    page.context.close()


def at(page, x: float, y: float) -> tuple[float, float]:
    """Where a pixel of the image is on the page."""
    frame = page.locator("canvas").bounding_box()
    return frame["x"] + x * frame["width"] / 240, frame["y"] + y * frame["height"] / 120


def state(page, name: str):
    return page.evaluate(f"window.model.state.{name}")


def test_the_picture_is_drawn_with_its_overlay_and_fits_the_page(page):
    frame = page.locator("canvas").bounding_box()
    assert frame["width"] / frame["height"] == pytest.approx(2, abs=0.02)
    assert frame["x"] + frame["width"] <= page.viewport_size["width"]
    read = "document.querySelector('canvas').getContext('2d').getImageData({}, 100, 1, 1).data.slice(0, 3).join()"
    assert page.evaluate(read.format(100)) == "255,0,0" and page.evaluate(read.format(400)) == "90,90,90"


def test_clicks_add_points_and_remove_them(page):
    page.mouse.click(*at(page, 30.5, 60.5))
    page.get_by_role("button", name="beside it").click()
    page.mouse.click(*at(page, 200.5, 20.5))
    assert state(page, "points") == [[30, 60, 1], [200, 20, 0]] and page.evaluate("window.model.saved") == 2
    page.mouse.click(*at(page, 31, 61))
    assert state(page, "points") == [[200, 20, 0]]
    page.get_by_role("button", name="clear").click()
    assert state(page, "points") == []


def test_the_chosen_button_is_told_to_screen_readers(page):
    assert page.get_by_role("button", pressed=True).inner_text() == "+ on the target"
    page.get_by_role("button", name="box").click()
    assert page.get_by_role("button", pressed=True).inner_text() == "▭ box"


def test_a_drag_draws_a_box_and_its_corner_removes_it(page):
    page.get_by_role("button", name="box").click()
    page.mouse.move(*at(page, 150, 90))
    page.mouse.down()
    page.mouse.move(*at(page, 100, 50))
    page.mouse.move(*at(page, 50, 30))
    assert state(page, "boxes") == []
    page.mouse.up()
    ((x0, y0, x1, y1),) = state(page, "boxes")
    assert [x0, y0, x1, y1] == pytest.approx([50, 30, 150, 90], abs=1)
    page.mouse.click(*at(page, 200, 100))  # too small for a box
    assert len(state(page, "boxes")) == 1
    page.mouse.click(*at(page, x1, y0))
    assert state(page, "boxes") == []


def test_a_drag_beyond_the_edge_ends_at_the_edge(page):
    page.get_by_role("button", name="box").click()
    page.mouse.move(*at(page, 100, 60))
    page.mouse.down()
    page.mouse.move(*at(page, 300, 160))
    page.mouse.up()
    assert state(page, "boxes") == [pytest.approx([100, 60, 240, 120], abs=1)]


def test_what_python_sets_is_drawn(page):
    pixel = "document.querySelector('canvas').getContext('2d').getImageData(Math.round({}), Math.round({}), 1, 1).data"
    scale = page.evaluate("document.querySelector('canvas').width") / 240
    spot = pixel.format(180.5 * scale, 60.5 * scale)
    assert page.evaluate(f"{spot}.slice(0, 3).join()") == "90,90,90"
    page.evaluate("window.model.set('points', [[180, 60, 1]])")
    assert page.evaluate(f"{spot}.slice(0, 3).join()") == "255,255,255"
    page.evaluate("window.model.set('points', [])")
    assert page.evaluate(f"{spot}.slice(0, 3).join()") == "90,90,90"
