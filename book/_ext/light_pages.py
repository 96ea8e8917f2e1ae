"""A page loads what it needs, and no more: scripts, and pictures that are not on the screen yet.

MathJax goes to pages with formulas only, and the script for tabs to pages with tabs. Every picture has its width and
height, so that the text does not jump when it arrives, and all but the first of a page are loaded when a reader comes
near them.
"""

import re
import xml.etree.ElementTree as ET
from functools import cache
from pathlib import Path, PurePosixPath

from docutils import nodes
from PIL import Image

IMAGE = re.compile(r"<img\b[^>]*>")


def leave_scripts_out(app, pagename, templatename, context, doctree):
    unwanted = [] if "sd-tab-set" in context.get("body", "") else ["design-tabs"]
    if doctree is None or not any(doctree.findall(lambda node: isinstance(node, (nodes.math, nodes.math_block)))):
        unwanted.append("mathjax")
    scripts = context.get("script_files", [])
    scripts[:] = [script for script in scripts if not any(word in described(script) for word in unwanted)]


def described(script) -> str:
    return f"{script.filename}{script.attributes}".lower()


def describe_pictures(app, pagename, templatename, context, doctree):
    """Add size and time of loading to the pictures of a page's text."""
    if "body" not in context:
        return
    sources = {name: Path(app.srcdir) / path for path, name in app.builder.images.items()}
    seen = 0

    def described_picture(match: re.Match) -> str:
        nonlocal seen
        seen += 1
        tag, source = match[0], re.search(r'src="([^"]+)"', match[0])
        path = sources.get(PurePosixPath(source[1]).name) if source else None
        new = ""
        if path is not None and "width=" not in tag and "height=" not in tag:
            width, height = size_of(path)
            new += f' width="{width}" height="{height}"'
        if seen > 1 and "loading=" not in tag:
            new += ' loading="lazy"'
        return tag.replace("<img", f"<img{new}", 1)

    context["body"] = IMAGE.sub(described_picture, context["body"])


@cache
def size_of(path: Path) -> tuple[int, int]:
    """Width and height in pixels."""
    if path.suffix == ".svg":
        box = ET.parse(path).getroot().attrib["viewBox"].split()
        return round(float(box[2])), round(float(box[3]))
    with Image.open(path) as picture:
        return picture.size


def setup(app):
    app.connect("html-page-context", leave_scripts_out, priority=900)
    app.connect("html-page-context", describe_pictures, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
