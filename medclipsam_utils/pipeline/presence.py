"""Is what the words name in the image at all? A test that belongs to the question.

A map always has a peak, so presence is tested apart (:mod:`medclipsam_utils.saliency.presence` has the idea and its
source): the image's similarity to the words, less that to a sentence that denies the target, is compared with what
images *without* the target give. Such a p-value says something only

- for the **words** that were asked: a calibration keeps the embeddings of its images, so that any words can be tested
  against them, and words that do not name its target are not;
- for the **weights** that it was made with, which it knows by their digest;
- for images of the **kind** that it was made from: a photograph is not exchangeable with chest X-rays.

Otherwise presence is unknown, and the answer says why.

Whether an image is of the kind is decided early in the image tower, where tokens still speak of texture and contrast
more than of what is named: the mean and the deviation of each channel over the tokens, after a third of the blocks. An
image is of the kind if its Mahalanobis distance from the images of the kind is no longer than that of 99 in 100 of
them, left out of the fit in turn.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file
from torch import Tensor

from ..images import Image, batch_of
from ..models import Clip
from ..models.context import own_context
from ..models.weights import shipped
from ..runs.checkpoints import weights_digest
from ..saliency import PresenceTest
from ..saliency.towers import image_tower, untouched
from ..tasks import Task, is_known

FORMAT = "medclipsam-presence-1"
SHIPPED = "presence.safetensors"

_ARRAYS = ("without", "mean", "whitening")

# Fraction of images of the kind that are taken for others.
_REFUSED = 0.01
_FOLDS = 10


@dataclass(frozen=True)
class Presence:
    """Whether a target is reported as present.

    Attributes:
        present: None where that is not known.
        p_value: how rare so high a similarity to the words is in images without the target, above 0; None where the
            presence is not known. The shipped calibrations are of *simulated* images: of a clinical image it is a hint
            at most.
        reason: why the presence is not known; empty where it is.
        simulated: whether it was compared with simulated images.
    """

    present: bool | None
    p_value: float | None = None
    reason: str = ""
    simulated: bool = False

    def __str__(self) -> str:
        if self.present is None:
            return f"presence unknown ({self.reason})"
        others = "simulated images" if self.simulated else "images without it"
        return f"{'present' if self.present else 'absent'} (p = {self.p_value:.3f} against {others})"


#: Presence of a target that was not tested.
UNTESTED = Presence(None, None, "it was not tested")


@dataclass(frozen=True, eq=False)
class Calibration:
    """Images without a target, and images of their kind, as a CLIP sees them.

    Attributes:
        weights: digest of the CLIP's weights.
        without: float32 [n, D], embeddings of images without the target.
        mean: float32 [F], mean fingerprint of images of the kind.
        whitening: float32 [F, F]; a fingerprint less the mean, times this, is as long as its Mahalanobis distance.
        reach: longest distance of an image of the kind.
        simulated: whether the images are simulated.
    """

    weights: str
    without: np.ndarray
    mean: np.ndarray
    whitening: np.ndarray
    reach: float
    simulated: bool = False

    def of_kind(self, fingerprints: np.ndarray) -> np.ndarray:
        """Tell which images are of the kind, by their fingerprints float32 [B, F]: bool [B]."""
        return np.linalg.norm((fingerprints - self.mean) @ self.whitening, axis=1) <= self.reach

    def test(self, direction: Tensor) -> PresenceTest:
        """Make the test for a direction, float32 [D]: the features of the words, less those of the absent prompt."""
        scores = torch.from_numpy(self.without).to(direction) @ direction
        return PresenceTest(direction, np.sort(scores.double().cpu().numpy()))

    def save(self, path: str | os.PathLike, name: str = "target") -> None:
        """Write a safetensors file that a :class:`~medclipsam_utils.tasks.Task` can name as its ``calibration``."""
        save_calibrations(path, {name: self})


@own_context()
def calibrate(
    clip: Clip, without: Sequence[Image], others: Sequence[Image] = (), *, simulated: bool = False
) -> Calibration:
    """Learn what images without a target look like to a CLIP.

    Args:
        clip: any CLIP with a vision transformer.
        without: images that do not show the target, of the kind on which presence will be tested: 19 or more, for 5 %
            of false alarms.
        others: more images of the same kind, with or without the target; the more the target changes an image, the
            more they are needed.
        simulated: whether the images are simulated.

    Raises:
        ModelError: an image does not fit, or the image tower is no vision transformer.
        ValueError: there are fewer than 19 images without the target.
    """
    if len(without) < 19:
        raise ValueError(f"there are {len(without)} images without the target: give 19 or more for 5 % of false alarms")
    from sklearn.covariance import LedoitWolf  # importing scikit-learn takes a second

    def fit(prints: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        found = LedoitWolf().fit(prints)
        return found.location_, np.linalg.cholesky(found.precision_)

    prints = fingerprints(clip, [*without, *others]).astype(np.float64)  # (n, F)
    order = np.random.default_rng(0).permutation(len(prints))
    distances = np.empty(len(prints))
    for left_out in np.array_split(order, _FOLDS):
        mean, whitening = fit(np.delete(prints, left_out, axis=0))
        distances[left_out] = np.linalg.norm((prints[left_out] - mean) @ whitening, axis=1)
    kept = math.ceil((len(distances) + 1) * (1 - _REFUSED))  # as a conformal prediction counts
    mean, whitening = fit(prints)
    return Calibration(
        weights_digest(clip.model), clip.encode_image(without).cpu().numpy(), mean.astype(np.float32),
        whitening.astype(np.float32), float(np.sort(distances)[min(kept, len(distances)) - 1]), simulated,
    )  # fmt: skip


@torch.no_grad()
def fingerprints(clip: Clip, images: Image | Sequence[Image]) -> np.ndarray:
    """Describe the look of images: mean and deviation of each channel over the tokens, after a third of the blocks.

    Returns:
        float32 [B, 2 C].
    """
    tower = image_tower(clip)
    early = max(1, len(tower.blocks) // 3)
    with untouched(clip.model):
        rows = []
        for image in batch_of(images):
            tokens = tower.run(tower.embed(clip.preprocess(image)), 0, early).float()  # (1, N, C)
            rows.append(torch.cat([tokens.mean(1), tokens.std(1)], dim=1))
    return torch.cat(rows).cpu().numpy() if rows else np.zeros((0, 2), np.float32)


def presence_of(
    clip: Clip, images: Sequence[Image], seen: Tensor, direction: Tensor, task: Task, alpha: float
) -> list[Presence]:
    """Test whether the target of a task is in some images.

    Args:
        clip: the CLIP.
        images: B of them.
        seen: their embeddings, float32 [B, D].
        direction: what is tested, float32 [D]: features of words that name the target, less those of its absent prompt.
        task: the target.
        alpha: largest fraction of false alarms.

    Raises:
        ValueError: ``alpha`` is too small for the number of calibration images, or the task's calibration cannot be
            read.
    """
    calibration = _calibration(clip, task, seen.shape[1])
    if isinstance(calibration, str):
        return [Presence(None, None, calibration)] * len(images)
    test = calibration.test(direction)
    scores = (seen @ direction).double().cpu().numpy()
    answers = []
    for of_kind, p_value, present in zip(
        calibration.of_kind(fingerprints(clip, images)), test.p_value(scores), test.present(scores, alpha), strict=True
    ):
        if of_kind:
            answers.append(Presence(bool(present), float(p_value), simulated=calibration.simulated))
        else:
            kind = f"{task.modality} images" if task.modality else "images"
            answers.append(Presence(None, None, f"the image is unlike the {kind} of its calibration"))
    return answers


def save_calibrations(path: str | os.PathLike, calibrations: Mapping[str, Calibration]) -> None:
    """Write calibrations by the names of their targets to a safetensors file, all of it or nothing."""
    path = Path(path)
    tensors: dict[str, np.ndarray] = {}
    about: dict[str, dict[str, Any]] = {}
    for name, one in calibrations.items():
        tensors |= {f"{name}.{part}": np.ascontiguousarray(getattr(one, part)) for part in _ARRAYS}
        about[name] = {part: getattr(one, part) for part in ("weights", "reach", "simulated")}
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.part")
    save_file(tensors, unfinished, {"format": FORMAT, "targets": json.dumps(about)})
    os.replace(unfinished, path)


def load_calibrations(path: str | os.PathLike) -> dict[str, Calibration]:
    """Read what :func:`save_calibrations` wrote.

    Raises:
        ValueError: there is no such file, or it holds no calibrations.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"there is no calibration {path}: make it with medclipsam calibrate, or correct the name")
    try:
        with safe_open(path, framework="numpy") as file:
            header = file.metadata() or {}
            if header.get("format") != FORMAT:
                raise ValueError(f"{path} is no calibration: make one with medclipsam calibrate")
            return {
                name: Calibration(**about, **{part: file.get_tensor(f"{name}.{part}") for part in _ARRAYS})
                for name, about in json.loads(header["targets"]).items()
            }
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{path} is damaged ({error}): make it again with medclipsam calibrate") from None


def _calibration(clip: Clip, task: Task, width: int) -> Calibration | str:
    """Find the calibration of a target for a CLIP with embeddings of this width; or say why there is none."""
    known: Calibration | None
    if task.calibration is not None:
        path = Path(task.calibration)
        several = _loaded(path, path.stat().st_mtime_ns if path.exists() else 0)
        if task.name not in several and len(several) != 1:
            raise ValueError(f"{path} has calibrations for {', '.join(several)}, and none for {task.name!r}")
        known = several[task.name] if task.name in several else next(iter(several.values()))
        lacking = f"{path.name} was made with other weights than those of {clip.name}: calibrate again"
    else:
        known = _loaded(shipped(SHIPPED), 0).get(task.name) if is_known(task) else None
        lacking = f"{clip.name} was not calibrated for it"
    if known is None or known.without.shape[1] != width or known.weights != weights_digest(clip.model):
        return lacking
    return known


@lru_cache(maxsize=16)
def _loaded(path: Path, changed: int) -> dict[str, Calibration]:
    """Keep what a file holds; ``changed`` is when it was written."""
    return load_calibrations(path)
