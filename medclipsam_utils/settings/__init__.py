"""How a target is segmented: the settings of all stages, in one table.

::

    from medclipsam_utils.settings import M2IB, SETTINGS, Settings

    SETTINGS["tiny"]["brain_mri"]  # as chosen for the small CLIP
    Settings(M2IB(layer=9, beta=0.5), visual_prompt="point")  # your own

=====================================  =================================================================================
:data:`SETTINGS`                       the table, by model and by task
:data:`PAPERS_WAY`                     the same for the way that the paper goes and the book teaches: M2IB, k-means, SAM
:func:`settings_for`                   the row of a CLIP and a task, known or your own
:func:`saliency_for`                   the map of a CLIP and a task, with these settings
:class:`Settings`                      settings of all stages; the map's are :class:`M2IB`, :class:`PatchText`,
                                       :class:`IntegratedGradients` or :class:`ClassActivation`
:func:`first_version`                  the first version of the method, as a function of the second
:func:`read_task`                      a task of your own from a TOML file
:func:`tune`                           choose settings, with a few masks or without
=====================================  =================================================================================
"""

from __future__ import annotations

from .chosen import ANY, CHANNELS, PAPERS_WAY, SETTINGS, first_version, row_of, saliency_for, settings_for
from .saliency import M2IB, ClassActivation, IntegratedGradients, PatchText, SaliencySettings
from .segmenter import Settings
from .task_file import read_task
from .tuning import Trial, settings_grid, tune

__all__ = [
    "ANY",
    "CHANNELS",
    "M2IB",
    "PAPERS_WAY",
    "SETTINGS",
    "ClassActivation",
    "IntegratedGradients",
    "PatchText",
    "SaliencySettings",
    "Settings",
    "Trial",
    "first_version",
    "read_task",
    "row_of",
    "saliency_for",
    "settings_for",
    "settings_grid",
    "tune",
]
