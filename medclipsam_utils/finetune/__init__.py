"""Stage 1: fine-tune a CLIP on image–caption pairs with a contrastive loss.

::

    from medclipsam_utils import load_clip
    from medclipsam_utils.datasets import CaptionCSV
    from medclipsam_utils.finetune import FinetuneConfig, finetune
    from medclipsam_utils.losses import DHNNCELoss

    train, validation = CaptionCSV("captions.csv", "images").split()
    clip = load_clip("biomedclip", device="cuda")
    finetune(clip, train, DHNNCELoss(), FinetuneConfig(epochs=10), folder="runs/dhn_nce", validation=validation)

The same script runs on several GPUs as ``torchrun --nproc-per-node 4 script.py``.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
