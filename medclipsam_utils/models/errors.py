"""One kind of error for everything that can be wrong with a model: its name, its file, what it is asked."""

from __future__ import annotations


class ModelError(ValueError):
    """A model cannot be loaded, saved or used; the message names what, the reason and a remedy."""


def model_error(what: object, reason: str, remedy: str) -> ModelError:
    """Make the error ``<what>: <reason>. <remedy>.``"""
    return ModelError(f"{what}: {reason}. {remedy}.")
