"""The whole way in one call: an image and a sentence in, a mask out.

::

    from medclipsam_utils import load_clip, load_sam, read_image
    from medclipsam_utils.pipeline import Segmenter

    segmenter = Segmenter(load_clip("tiny"), load_sam("tiny"))
    found = segmenter.segment(read_image("scan.dcm"), "brain tumour")
    found.mask, found.present

Section 3 of Koleilat et al. 2025, stage 2: saliency of the text (M2IB), the highest cluster of its values, the
connected components that fit the target, a box or points around or on each, SAM. The settings follow from the task, and
the task from the text and the image where it is not given.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from io import BytesIO
from types import MappingProxyType

import numpy as np
from matplotlib.figure import Figure
from segment_anything import SamPredictor
from torch import Tensor

from .models import Clip
from .models.clip import Image
from .models.errors import model_error
from .models.words import split_words
from .plots import show_maps
from .postprocess import coarse_mask, components
from .results import load_results
from .saliency import PRESETS, Presence, Preset, mean_features
from .saliency.inputs import pixels_of
from .tasks import TASKS, Task, get_task
from .visual_prompts import Points, boxes_from_mask, points_from_mask, predict_mask

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
    """

    saliency: Preset
    n_structures: int = 1
    binarize: str = "kmeans"
    clusters: int = 2
    least_share: float = 0.1
    visual_prompt: str = "box"
    margin: float = 0.0
    n_points: int = 10
    vote: str = "single"
    alpha: float = 0.05

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


@dataclass(frozen=True, eq=False)
class Segmentation:
    """What :meth:`Segmenter.segment` found; a notebook shows it as a figure.

    Attributes:
        mask: bool [H, W], the answer.
        saliency: float32 [H, W], from 0 to 1.
        coarse: bool [H, W], the mask that SAM's prompts were made of.
        boxes: float32 [K, 4] as (x0, y0, x1, y1), those that SAM was asked with.
        points: one :class:`~medclipsam_utils.visual_prompts.Points` a component; none if SAM was asked with boxes.
        task: whose settings were used.
        text: what was asked, in words.
        p_value: how rare so high a similarity to the target is in *simulated* images without it, on which the small
            CLIP was calibrated; of a clinical image it is a hint at most. None where the model was not calibrated.
        present: whether the target is reported as present; None where that is not known.
        image: uint8 [H, W, 3].
    """

    mask: np.ndarray
    saliency: np.ndarray
    coarse: np.ndarray
    boxes: np.ndarray
    points: tuple[Points, ...]
    task: str
    text: str
    p_value: float | None
    present: bool | None
    image: np.ndarray = field(repr=False)

    def __repr__(self) -> str:
        known = "presence unknown" if self.present is None else f"{'present' if self.present else 'absent'}"
        chance = "" if self.p_value is None else f" (p = {self.p_value:.3f} against simulated images)"
        return f"Segmentation({self.text!r} as {self.task}: {self.mask.mean():.1%} of the image, {known}{chance})"

    def _repr_png_(self) -> bytes:
        """What a notebook shows."""
        content = BytesIO()
        self.show().savefig(content, format="png")
        return content.getvalue()

    def show(self, mask: np.ndarray | None = None) -> Figure:
        """Image, saliency with the coarse mask, and the mask (dashed); a reference as a solid outline in all three."""
        outlines = [mask, self.coarse if mask is None else mask, mask]
        return show_maps(
            [self.image] * 3,
            [None, self.saliency, None],
            [self.text, "saliency", "mask"],
            outlines,
            predictions=[None, None, self.mask],
        )


class Segmenter:
    """A CLIP that reads the words and a SAM that draws the outline.

    Args:
        clip: of :func:`~medclipsam_utils.models.load_clip`; make a new Segmenter after training it, because prompts are
            encoded once.
        sam: of :func:`~medclipsam_utils.models.load_sam`.
        config: for every target; None takes those of :data:`CONFIGS` for the model and the task.
    """

    def __init__(self, clip: Clip, sam: SamPredictor, config: SegmenterConfig | None = None):
        if config is None and clip.name not in CONFIGS:
            known = ", ".join(CONFIGS)
            raise ValueError(f"there are settings for {known}, not for {clip.name!r}: give a SegmenterConfig")
        self.clip, self.sam, self.config = clip, sam, config
        self._prompts: dict[tuple[str, ...], Tensor] = {}

    def segment(self, image: Image, text: str | None = None, *, task: str | Task | None = None) -> Segmentation:
        """The mask of what the text names.

        Args:
            image: uint8 [H, W, 3], :class:`~medclipsam_utils.images.MedicalImage`, or tensor [3, H, W].
            text: one sentence; None asks the task's own prompts.
            task: whose settings are used and whose target is looked for; None takes the task that text and image fit
                best.

        Returns:
            A :class:`Segmentation`. Its mask is empty where the map is constant. It is *not* empty where the target is
            reported absent: the map always has a peak, and whoever asks decides what to believe.

        Raises:
            ModelError: image or text do not fit the model, or it knows no word of the text.
            ValueError: neither text nor task is given, the task is unknown, or ``alpha`` too small for the calibration.
        """
        if text is None and task is None:
            raise ValueError("give a text, for example 'brain tumour', or a task")
        seen = self.clip.encode_image(image)[0]
        said = None if text is None else self._said(text)
        known = self._find_task(seen, said) if task is None else get_task(task)
        config = self.config or CONFIGS[self.clip.name][known.name]
        pixels = pixels_of(image)
        asked = config.saliency.text(self.clip, known) if said is None else said
        saliency = config.saliency.method(self.clip, image, asked)
        coarse = coarse_mask(
            saliency, config.n_structures, least_share=config.least_share,
            method=config.binarize, clusters=config.clusters, image=pixels,
        )  # fmt: skip
        boxes, points = _visual_prompts(coarse, config)
        self.sam.set_image(pixels)
        mask = predict_mask(self.sam, boxes, points or None, vote=config.vote)
        p_value, present = self._presence(seen, known, config.alpha)
        return Segmentation(
            mask, saliency, coarse, np.zeros((0, 4), np.float32) if boxes is None else boxes, points, known.name,
            known.prompts["P0"][0] if text is None else text, p_value, present, pixels,
        )  # fmt: skip

    def find_task(self, image: Image, text: str) -> Task:
        """The task that text and image fit best.

        For each task, the cosine of the text with its bare class name (P0) is added to that of the image with its
        prompts (P2) or with its absent prompt, whichever is higher: the text says what is looked for, and the image,
        with the target or without it, how it was made. The text alone cannot tell lungs in a chest film from lungs in a
        CT slice.
        """
        return self._find_task(self.clip.encode_image(image)[0], self._said(text))

    def _said(self, text: str) -> Tensor:
        features = self.clip.encode_text(text)[0]  # says first if the text is no text
        words = set(split_words(text))
        if words <= set(self.clip.unknown_words(text)):
            remedy = f"Ask with its words, for example {TASKS['brain_mri'].prompts['P0'][0]!r}"
            raise model_error(self.clip.name, f"it knows no word of {text!r}", remedy)
        return features

    def _find_task(self, seen: Tensor, said: Tensor) -> Task:
        def fit(task: Task) -> float:
            shown = max(float(seen @ self._mean(texts)) for texts in (task.prompts["P2"], (task.absent_prompt,)))
            return float(said @ self._mean(task.prompts["P0"])) + shown

        return max(TASKS.values(), key=fit)

    def _presence(self, seen: Tensor, task: Task, alpha: float) -> tuple[float | None, bool | None]:
        scores = _calibration(self.clip.name, task.name)
        if scores is None:
            return None, None
        test = Presence(self._mean(task.prompts["P2"]) - self._mean((task.absent_prompt,)), np.array(scores))
        score = np.array([float(seen @ test.direction)])
        return float(test.p_value(score)[0]), bool(test.present(score, alpha)[0])

    def _mean(self, sentences: tuple[str, ...]) -> Tensor:
        """As :func:`~medclipsam_utils.saliency.mean_features`, each encoded once."""
        if sentences not in self._prompts:
            self._prompts[sentences] = mean_features(self.clip, sentences)
        return self._prompts[sentences]


@lru_cache
def _calibration(model: str, task: str) -> tuple[float, ...] | None:
    """Scores of simulated images without the target, sorted; None of a model that was not calibrated."""
    results = load_results("saliency_checks")
    return tuple(results["presence"][task]["calibration"]) if results["model"] == model else None


def _visual_prompts(coarse: np.ndarray, config: SegmenterConfig) -> tuple[np.ndarray | None, tuple[Points, ...]]:
    boxes, points = None, ()
    if config.visual_prompt != "point":
        boxes = boxes_from_mask(coarse, margin=config.margin)
    if config.visual_prompt != "box":
        points = tuple(points_from_mask(part, config.n_points) for part in components(coarse))
    return boxes, points
