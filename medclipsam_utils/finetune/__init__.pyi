from .config import FinetuneConfig
from .frozen_blocks import FrozenBlocks
from .loop import History, finetune

__all__ = ["FinetuneConfig", "FrozenBlocks", "History", "finetune"]
