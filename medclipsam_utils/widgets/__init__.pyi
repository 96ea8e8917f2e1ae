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
