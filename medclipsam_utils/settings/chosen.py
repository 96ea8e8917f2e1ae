"""How each target is segmented by each model: one table, and beside it the paper's way for each of them.

The paper's way, :data:`PAPERS_WAY`, is M2IB, k-means, SAM. For BiomedCLIP the prompts and visual prompts are those that
the paper found best; layer and β are those released with it for breast and brain. It gives none for the lungs, and
those of the breast stand in. They were chosen with masks, of three images. For the small CLIP the settings of the
paper's way were chosen on simulated validation images with their masks.

:data:`SETTINGS` has what is used where nothing else is asked for. For BiomedCLIP that is the paper's way. For the small
CLIP it is the cosines of patches and text, cut at a fraction of their peak: ``recipes/measure/ways.py`` found better
masks in three of the four tasks, and no worse ones in the brain. Its patches were trained to match sentences one by
one; those of BiomedCLIP were not. The small CLIP that learned from captions alone, ``"tiny-base"``, looks at windows,
as it did in training. Its words and its cuts were chosen without masks (``recipes/judge/choose_without_masks.py``);
the view from near and the weight of a text are those of ``"tiny"``. A sentence that somebody types is asked together
with the task's own prompts, of which it is the smaller part: a free sentence says much that is not the target, and the
map would go looking for it.

A target that is none of the four gets the settings under :data:`ANY`, which are no other target's: they ask with the
words alone, look for one structure and hand SAM a box.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from types import MappingProxyType

import numpy as np

from ..images import Image, batch_of
from ..models import Clip
from ..saliency import Text
from ..saliency.towers import image_tower
from ..tasks import Task, get_task
from .saliency import M2IB, ClassActivation, PatchText
from .segmenter import Settings

#: Row of a target that is none of the four.
ANY = "any"

# Blocks that follow the one whose tokens are mixed with noise, in BiomedCLIP's twelve.
_BLOCKS_AFTER = 3

_tiny = partial(M2IB, layer=5, samples=5, standardize=True)
_paper = partial(M2IB, layer=9)
_patches = partial(Settings, PatchText(views=True), ("P0", "P1", "P2"), binarize="threshold", text_weight=0.35)
_windows = partial(Settings, PatchText(windows=4), ("P0", "P1", "P2"), binarize="threshold", text_weight=0.35)

_papers_way_of_tiny = MappingProxyType(
    {
        "breast_ultrasound": Settings(_tiny(beta=0.03, variance=4.0, views=True), ("P1",), margin=-0.1),
        "brain_mri": Settings(_tiny(beta=0.1, variance=4.0, views=True), ("P2",), against_absent=True, clusters=3),
        "lung_xray": Settings(_tiny(beta=0.03, variance=4.0), ("P0", "P1", "P2"), margin=0.1),
        "lung_ct": Settings(_tiny(beta=0.03, variance=32.0, views=True), ("P1",), clusters=3),
        ANY: Settings(_tiny(beta=0.03, variance=4.0, views=True)),
    }
)

#: The paper's way by model and by task: M2IB, k-means, SAM. Read-only. ``"tiny"`` is every CLIP of the small
#: architecture, ``"tiny-base"`` those of them whose blocks saw windows in training, ``"biomedclip"`` every CLIP of
#: BiomedCLIP's architecture; fine-tuned or not.
#:
#: :meta hide-value:
PAPERS_WAY: Mapping[str, Mapping[str, Settings]] = MappingProxyType(
    {
        "tiny": _papers_way_of_tiny,
        "tiny-base": _papers_way_of_tiny,
        "biomedclip": MappingProxyType(
            {
                "breast_ultrasound": Settings(_paper(beta=1.0), ("P3",)),
                "brain_mri": Settings(_paper(beta=2.0), ("P3",)),
                "lung_xray": Settings(_paper(beta=1.0), ("P0",), visual_prompt="point"),
                "lung_ct": Settings(_paper(beta=1.0), ("P2",)),
                ANY: Settings(_paper(beta=1.0)),
            }
        ),
    }
)

#: Settings by model and by task, where nothing else is asked for. Read-only.
#:
#: :meta hide-value:
SETTINGS: Mapping[str, Mapping[str, Settings]] = MappingProxyType(
    {
        "tiny": MappingProxyType(
            {
                "breast_ultrasound": _patches(threshold=0.8, zoom=True),
                "brain_mri": _patches(threshold=0.8, zoom=True),
                "lung_xray": _patches(threshold=0.7),
                "lung_ct": _patches(threshold=0.8),
                ANY: Settings(PatchText(views=True), binarize="threshold", threshold=0.8),
            }
        ),
        "tiny-base": MappingProxyType(
            {
                "breast_ultrasound": _windows(against_absent=True, threshold=0.6, zoom=True),
                "brain_mri": _windows(against_absent=True, threshold=0.7, zoom=True),
                "lung_xray": _windows(threshold=0.5),
                "lung_ct": _windows(against_absent=True, threshold=0.7),
                ANY: Settings(PatchText(windows=4), binarize="threshold", threshold=0.7),
            }
        ),
        "biomedclip": PAPERS_WAY["biomedclip"],
    }
)

#: Number of channels that gScoreCAM looks at, by model: the paper's, and of the small CLIP's channels a tenth, as the
#: authors of gScoreCAM recommend.
CHANNELS: Mapping[str, int] = MappingProxyType({"tiny": 13, "tiny-base": 13, "biomedclip": 300})


def row_of(clip: Clip) -> str:
    """Tell whose settings a CLIP takes: of the small architecture those of ``"tiny"``, or of ``"tiny-base"`` if its
    blocks saw windows in training; any other CLIP those of ``"biomedclip"``, whose transformer is as large as most.
    """
    if not clip.is_small:
        return "biomedclip"
    return "tiny" if clip.windows is None else "tiny-base"


def settings_for(
    clip: Clip, task: Task | None = None, table: Mapping[str, Mapping[str, Settings]] = SETTINGS
) -> Settings:
    """Look up how a target is segmented with a CLIP.

    Args:
        clip: any CLIP. Of an architecture that is neither the small one nor BiomedCLIP's, three blocks follow the one
            whose tokens are mixed with noise, as in BiomedCLIP, however many there are.
        task: one of ``TASKS``, or one of your own, whose ``settings`` are applied; None is a text without a task.
        table: :data:`SETTINGS`, or :data:`PAPERS_WAY`.

    Raises:
        ModelError: the image tower is no vision transformer.
        ValueError: the task's settings have an unknown name, or a value that does not fit.
    """
    row = table[row_of(clip)]
    chosen = row.get(task.name, row[ANY]) if task is not None else row[ANY]
    if isinstance(chosen.saliency, M2IB) and not clip.is_small:
        layer = max(0, len(image_tower(clip).blocks) - _BLOCKS_AFTER)
        chosen = replace(chosen, saliency=replace(chosen.saliency, layer=layer))
    if task is None:
        return chosen
    try:
        return chosen.changed(task.settings)
    except ValueError as error:
        raise ValueError(f"settings of the task {task.name!r}: {error}") from None


def first_version(settings: Settings, channels: int) -> Settings:
    """Turn settings into those of MedCLIP-SAM, the first version of the method: gScoreCAM, a dense CRF, a box for SAM.

    Args:
        settings: those of the second version, whose prompts are kept.
        channels: number of channels that gScoreCAM looks at, see :data:`CHANNELS`.
    """
    return Settings(
        ClassActivation(channels=channels), settings.prompts, n_structures=settings.n_structures, binarize="crf"
    )


def saliency_for(
    clip: Clip,
    images: Image | Sequence[Image],
    task: str | Task,
    text: Text | None = None,
    table: Mapping[str, Mapping[str, Settings]] = SETTINGS,
) -> list[np.ndarray]:
    """Make maps of the target of a task, with the settings of a table.

    Args:
        clip: any CLIP with a vision transformer.
        images: B of them as :meth:`~medclipsam_utils.models.Clip.preprocess` takes them; one image is a batch of one.
        task: one of ``TASKS``, or one of your own.
        text: what to ask instead of the task's own prompts, as :func:`~medclipsam_utils.saliency.m2ib` takes it.
        table: :data:`SETTINGS`, or :data:`PAPERS_WAY` for M2IB.

    Returns:
        B maps float32 [H, W], from 0 to 1.
    """
    task = get_task(task)
    settings = settings_for(clip, task, table)
    asked = settings.text_features(clip, task) if text is None else text
    return settings.saliency.method(clip, batch_of(images), asked)
