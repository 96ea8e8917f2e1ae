"""The same site by Sphinx alone: ``sphinx-build -c book/plain_sphinx . _build/plain_sphinx``.

Jupyter Book 1 is in maintenance and holds Sphinx at version 7. This file reads the same ``_config.yml`` (the keys that
it has, no others) and ``_toc.yml``, so that the book can go on without Jupyter Book on the day that it has to.
"""

import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
book = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
known = {"title", "author", "copyright", "logo", "only_build_toc_files", "exclude_patterns", "execute", "parse",
         "bibtex_bibfiles", "html", "latex", "sphinx"}  # fmt: skip
if unknown := book.keys() - known:
    raise ValueError(
        f"_config.yml has {', '.join(sorted(unknown))}: say in {Path(__file__).name} what Sphinx makes of it"
    )

project = html_title = book["title"]
author = book["author"]
copyright = book["copyright"]
html_logo = str(ROOT / book["logo"])
html_favicon = str(ROOT / book["html"]["favicon"])
html_theme = "sphinx_book_theme"
html_theme_options = {"home_page_in_toc": True, "search_bar_text": "Search this book..."}
html_sourcelink_suffix = ""
numfig = True

external_toc_path = str(ROOT / "_toc.yml")
external_toc_exclude_missing = book["only_build_toc_files"]
exclude_patterns = book["exclude_patterns"]
nb_execution_mode = book["execute"]["execute_notebooks"]
nb_output_stderr = book["execute"]["stderr_output"]
myst_enable_extensions = book["parse"]["myst_enable_extensions"]
bibtex_bibfiles = [str(ROOT / path) for path in book["bibtex_bibfiles"]]

local = book["sphinx"]["local_extensions"]
sys.path[:0] = {str(ROOT / folder) for folder in local.values()}
extensions = ["myst_nb", "sphinx_external_toc", "sphinx_book_theme", "sphinx_copybutton", "sphinx_togglebutton",
              "sphinx_design", "sphinxcontrib.bibtex", *book["sphinx"]["extra_extensions"], *local]  # fmt: skip
globals().update(book["sphinx"]["config"])
templates_path = [str(ROOT / folder) for folder in book["sphinx"]["config"]["templates_path"]]
html_static_path = [str(ROOT / folder) for folder in book["sphinx"]["config"]["html_static_path"]]
