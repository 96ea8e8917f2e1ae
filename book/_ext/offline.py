"""Keep the built book free of the network.

MathJax comes from a Python package and is copied into the site. Thebe, which would fetch a kernel's scripts from
elsewhere and declares its settings twice on a page, is left out.
"""

import shutil
from importlib.resources import files
from pathlib import Path

ENTRY = "tex-mml-chtml.js"
FONTS = "output/chtml/fonts/woff-v2"


def use_local_mathjax(app, config):
    config.mathjax_path = f"mathjax/{ENTRY}"


def copy_mathjax(app, exception):
    if exception is not None or app.builder.format != "html":
        return
    source = Path(str(files("mathjax"))) / "static" / "mathjax" / "es5"
    target = Path(app.outdir) / "_static" / "mathjax"
    target.mkdir(parents=True, exist_ok=True)
    shutil.copy2(source / ENTRY, target / ENTRY)
    shutil.copytree(source / FONTS, target / FONTS, dirs_exist_ok=True)


def leave_thebe_out(app, pagename, templatename, context, doctree):
    scripts = context.get("script_files", [])
    scripts[:] = [script for script in scripts if "thebe" not in f"{script.filename}{script.attributes}".lower()]


def setup(app):
    app.connect("config-inited", use_local_mathjax)
    app.connect("html-page-context", leave_thebe_out, priority=900)
    app.connect("build-finished", copy_mathjax)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
