"""``medclipsam models``: list what can be loaded by name."""

from __future__ import annotations

import argparse

DESCRIPTION = "List the models that have a name, and say which are on this machine. The network is not used."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add no arguments: the command has none."""


def run(options: argparse.Namespace) -> int:
    from ..models.listing import list_models

    for model in list_models():
        state = f"here: {model.where}" if model.where else f"not here; {model.remedy}"
        print(f"{model.kind:4}  {model.name:10}  {state}")
    return 0
