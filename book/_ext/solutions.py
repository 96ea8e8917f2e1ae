"""Fold the solution of an exercise below the cell that checks it.

The notebooks hold no solution: whoever works in one asks for it with ``solution("02.3")``. A reader of the site has
no Python to ask, and finds it folded under the name of the exercise.
"""

import re
from html import escape

from docutils import nodes

from medclipsam_utils.exercises import all_exercises

CHECK = re.compile(r'^check\("(\d\d\.\d+)"', re.M)


def fold_solutions(app, doctree):
    known = all_exercises()
    for cell in list(doctree.findall(lambda node: isinstance(node, nodes.container) and "cell" in node["classes"])):
        source = next(cell.findall(nodes.literal_block), None)
        asked = CHECK.search(source.astext()) if source is not None else None
        if asked is None:
            continue
        exercise = known[asked[1]]
        code = nodes.literal_block(exercise.source, exercise.source, language="python", classes=["solution-code"])
        title = f"Solution of exercise {exercise.number}: {escape(exercise.title)}"
        opened = nodes.raw("", f'<details class="solution"><summary>{title}</summary>', format="html")
        place = cell.parent.index(cell) + 1
        cell.parent[place:place] = [opened, code, nodes.raw("", "</details>", format="html")]


def setup(app):
    app.connect("doctree-read", fold_solutions)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
