"""MedCLIP-SAMv2 as a book you can run: the package behind the notebooks."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
