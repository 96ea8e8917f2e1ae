"""How each target is segmented: the settings of all stages, by model and by task."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from ..saliency import PRESETS, CamPreset, Preset
from ..tasks import TASKS

VISUAL_PROMPTS = ("box", "point", "both")


@dataclass(frozen=True)
class SegmenterConfig:
    """How a target is segmented.

    Attributes:
        saliency: how the map is made; its ``prompts`` are asked where no text is given.
        n_structures: how many components the target has at most: 1 keeps the one that holds the map's peak, more keep
            that many of the largest.
        binarize: method of :func:`~medclipsam_utils.postprocess.binarize`.
        clusters: of k-means.
        least_share: components smaller than this share of the largest are specks, and left out.
        visual_prompt: what SAM is asked with, one for each component: ``"box"``, ``"point"`` or ``"both"``.
        margin: share of a box by which each side is moved outward.
        n_points: on each component.
        vote: over SAM's masks, see :func:`~medclipsam_utils.visual_prompts.predict_mask`.
        alpha: the target is reported present up to this share of false alarms.
        empty_if_absent: the mask of a target that is reported absent is empty.
    """

    saliency: Preset | CamPreset
    n_structures: int = 1
    binarize: str = "kmeans"
    clusters: int = 2
    least_share: float = 0.1
    visual_prompt: str = "box"
    margin: float = 0.0
    n_points: int = 10
    vote: str = "single"
    alpha: float = 0.05
    empty_if_absent: bool = False

    def __post_init__(self):
        if self.visual_prompt not in VISUAL_PROMPTS:
            raise ValueError(f"visual_prompt is {self.visual_prompt!r}: choose from {', '.join(VISUAL_PROMPTS)}")


#: By model and by task, chosen on simulated validation images for the small CLIP; for BiomedCLIP those of the paper.
#:
#: :meta hide-value:
CONFIGS: Mapping[str, Mapping[str, SegmenterConfig]] = MappingProxyType(
    {
        "tiny": MappingProxyType(
            {
                name: SegmenterConfig(PRESETS["tiny"][name], TASKS[name].n_structures, clusters=clusters, margin=margin)
                for name, clusters, margin in (
                    ("breast_ultrasound", 2, -0.1),
                    ("brain_mri", 3, 0.0),
                    ("lung_xray", 2, 0.1),
                    ("lung_ct", 3, 0.0),
                )
            }
        ),
        "biomedclip": MappingProxyType(
            {
                name: SegmenterConfig(PRESETS["biomedclip"][name], task.n_structures, visual_prompt=task.visual_prompt)
                for name, task in TASKS.items()
            }
        ),
    }
)

#: The first version of the method, MedCLIP-SAM: gScoreCAM, a dense CRF, a box for SAM. By model and by task. Of the
#: small CLIP's channels a tenth are looked at, as the authors of gScoreCAM recommend.
#:
#: :meta hide-value:
V1_CONFIGS: Mapping[str, Mapping[str, SegmenterConfig]] = MappingProxyType(
    {
        model: MappingProxyType(
            {
                name: SegmenterConfig(
                    CamPreset(PRESETS[model][name].prompts, channels), task.n_structures, binarize="crf"
                )
                for name, task in TASKS.items()
            }
        )
        for model, channels in (("tiny", 13), ("biomedclip", 300))
    }
)
