"""Pictures to play with, for notebooks that run; the book's pages show a picture of each in the same place.

================================  ====================================================================================
:func:`hardness_explorer`         which negatives a contrastive loss pushes, with sliders for β and τ
:func:`saliency_explorer`         M2IB with a field for the text, and sliders for its settings
:func:`segmenter_explorer`        the whole way: type a text, see map, mask and presence, correct SAM with the mouse
================================  ====================================================================================
"""

from __future__ import annotations

from .loss_explorer import hardness, hardness_explorer, hardness_figure
from .map_explorer import saliency_explorer
from .prompt_canvas import PromptCanvas
from .sam_explorer import SegmenterExplorer, segmenter_explorer

__all__ = [
    "PromptCanvas",
    "SegmenterExplorer",
    "hardness",
    "hardness_explorer",
    "hardness_figure",
    "saliency_explorer",
    "segmenter_explorer",
]
