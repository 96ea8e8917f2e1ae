from .captions import CaptionCSV, CaptionRow
from .folders import MaskFolder
from .items import ItemDataset
from .simulated import SimulatedDataset

__all__ = ["CaptionCSV", "CaptionRow", "ItemDataset", "MaskFolder", "SimulatedDataset"]
