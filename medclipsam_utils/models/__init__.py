"""One door to every model: :func:`load_clip` and :func:`load_sam`.

Small models that come with the package and the real ones differ in weights and sizes, never in code: every CLIP is an
open_clip model inside a :class:`Clip`, every SAM a ``segment_anything`` model inside its ``SamPredictor``. Whatever is
wrong with a name, a file or an input is one :class:`ModelError`, which says what to do.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
