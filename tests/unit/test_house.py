"""The plan of the house: modules import each other in one direction, and only to the left of what uses them."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = "medclipsam_utils"
# As data flow through them. What is not named here stands beside the line.
ORDER = ("tasks", "images", "masks", "simulate", "datasets", "models", "losses", "finetune", "saliency", "postprocess",
         "visual_prompts", "settings", "pipeline", "weak", "widgets", "cli")  # fmt: skip

FILES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in (ROOT / PACKAGE).rglob("*.py")
    if path.parent.name != "nnunet_trainers"  # loaded by nnU-Net, from outside
}


def imports(module: str) -> Iterator[tuple[str, str]]:
    """Module and name of everything that a module imports from the package, at its top, in a function or in a stub."""
    path = FILES[module]
    here = module.split(".") if path.name == "__init__.py" else module.split(".")[:-1]
    for source in filter(Path.exists, (path, path.with_suffix(".pyi"))):
        for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom):
                above = here[: len(here) - node.level + 1] if node.level else []
                origin = ".".join([*above, *([node.module] if node.module else [])])
                if origin.split(".")[0] == PACKAGE:
                    yield from ((origin, alias.name) for alias in node.names)


FRONT_DOORS = {module: list(imports(module)) for module, path in FILES.items() if path.name == "__init__.py"}


def home(module: str, name: str) -> str:
    """The module that defines a name, past the front doors of packages."""
    for origin, exported in FRONT_DOORS.get(module, ()):
        if exported == name and origin != module:
            return home(origin, name)
    return f"{module}.{name}" if f"{module}.{name}" in FILES else module


GRAPH = {
    module: {home(*imported) for imported in imports(module)} - {module}
    for module, path in FILES.items()
    if path.name != "__init__.py"
}


def test_there_is_no_circle():
    assert len(list(TopologicalSorter(GRAPH).static_order())) >= len(GRAPH) > 100
    graph = GRAPH | {"medclipsam_utils.tasks": {"medclipsam_utils.pipeline.folder"}}
    try:
        list(TopologicalSorter(graph).static_order())
    except ValueError:
        return  # a circle is noticed
    raise AssertionError


def test_imports_point_to_the_left():
    def room(module: str) -> int:
        name = module.split(".")[1] if "." in module else ""
        return ORDER.index(name) if name in ORDER else -1

    wrong = [(module, used) for module, several in GRAPH.items() for used in several if 0 <= room(module) < room(used)]
    assert not wrong
