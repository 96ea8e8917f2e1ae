"""Long work: what survives an interruption, several processes, records of what is done, and precision.

===============  ======================================================================================================
``checkpoints``  checkpoints that are written whole or not at all, and digests of weights
``files``        results and tables, likewise
``records``      what became of each item of a long list, one line per item, appended as it happens
``processes``    the processes that work together under ``torchrun``
``precision``    in which precision a network computes while it is trained
===============  ======================================================================================================
"""
