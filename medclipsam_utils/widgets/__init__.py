"""Pictures to play with, for notebooks that run; the book's pages show a picture of each in the same place.

================================  ====================================================================================
:func:`hardness_explorer`         which negatives a contrastive loss pushes, with sliders for β and τ
:func:`saliency_explorer`         M2IB with a field for the text, and sliders for its settings
:func:`segmenter_explorer`        the whole pipeline: type a text, see map, mask and presence, correct SAM by mouse
================================  ====================================================================================
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
