"""Torch datasets of one common form, from simulators, caption tables and folders of masks.

An item is a dict that ``torch.utils.data.default_collate`` can stack. Which keys it has depends on the dataset; what
a key means does not:

===========  ===========================================================  =========  ==========  ==========
key          value                                                        simulated  CaptionCSV  MaskFolder
===========  ===========================================================  =========  ==========  ==========
``image``    uint8 tensor [3, H, W], 0 to 255                             yes        yes         yes
``mask``     bool tensor [H, W], True inside the target                   yes                    yes
``caption``  str                                                          yes        yes
``group``    str: equal where captions are true of each other's images      yes
``name``     str: which item this is, without folders                     yes        yes         yes
``path``     str: the file that the image was read from                              yes         yes
``task``     str: one of ``TASKS``                                        yes
``finding``  str: one of ``FINDINGS[task]``                               yes
``seed``     int: makes the sample again                                  yes
===========  ===========================================================  =========  ==========  ==========

Images stay uint8: what else a model needs (floats, its own mean and size) is the model's business. Files are opened
when an item is asked for, never earlier; names and tables are checked when a dataset is made, so that you hear what is
missing before training starts.

``size`` stretches every image and mask to size × size pixels, which a batch needs if images differ in shape. Images
are averaged over the pixels they replace (no aliasing); a mask is resampled alike and True where at least half of a
new pixel was. ``transform`` gets the finished item and returns the item to use: it may change the image and the mask
together, for example flip both.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
