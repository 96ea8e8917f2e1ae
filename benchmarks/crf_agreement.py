"""How well the exact dense CRF agrees with pydensecrf2's filter: ``pip install pydensecrf2`` (it needs a C++ compiler),
then ``python -m benchmarks.crf_agreement``.

The released code of the first version works on all pixels with the approximate filter of pydensecrf; this package sums
over all pairs exactly, on a grid of at most 64 × 64. Both get the same maps, gScoreCAM of simulated images, the same
settings and the same evidence; compared are the two masks, and how well each agrees with the exact mask of the target.
"""

from __future__ import annotations

import time

import numpy as np
from pydensecrf.densecrf import DenseCRF2D

from medclipsam_utils import TASKS, dice, load_clip, simulate
from medclipsam_utils.postprocess import CrfSettings, dense_crf
from medclipsam_utils.settings import CHANNELS, PAPERS_WAY, first_version
from medclipsam_utils.simulate import FINDINGS

IMAGES = 10


def by_filter(saliency: np.ndarray, image: np.ndarray, settings: CrfSettings) -> np.ndarray:
    """Mask bool [H, W] as the released code finds it, with pydensecrf."""
    height, width = saliency.shape
    field = DenseCRF2D(width, height, 2)
    probability = np.stack([1 - saliency, saliency]).reshape(2, -1).astype(np.float32)
    certainty = settings.tau / (1 + np.exp(-probability))
    field.setUnaryEnergy(np.ascontiguousarray(-np.log(probability + settings.epsilon) / certainty, dtype=np.float32))
    field.addPairwiseGaussian(sxy=settings.smooth_px, compat=settings.smooth_weight)
    field.addPairwiseBilateral(
        sxy=settings.bilateral_px, srgb=settings.bilateral_grey, rgbim=np.ascontiguousarray(image),
        compat=settings.bilateral_weight,
    )  # fmt: skip
    return np.array(field.inference(settings.steps)).argmax(0).reshape(height, width) == 1


def main() -> None:
    clip, settings = load_clip("tiny"), CrfSettings()
    for task, known in TASKS.items():
        chosen = first_version(PAPERS_WAY["tiny"][task], CHANNELS["tiny"])
        text = chosen.text_features(clip, known)
        scores, times = [], []
        for seed in range(IMAGES):
            sample = simulate(task, seed + 20, finding=FINDINGS[task][0])
            (saliency,) = chosen.saliency.method(clip, [sample.image], text)
            began = time.perf_counter()
            exact = dense_crf(saliency, sample.image, settings) > 0.5
            middle = time.perf_counter()
            filtered = by_filter(saliency, sample.image, settings)
            times.append((middle - began, time.perf_counter() - middle))
            scores.append((dice(exact, filtered), dice(exact, sample.mask), dice(filtered, sample.mask)))
        (between, ours, theirs), (exact_s, filter_s) = np.mean(scores, axis=0), np.mean(times, axis=0)
        print(f"{task:18s} DSC between the two {between:.3f}; with the target: exact {ours:.3f}, filter {theirs:.3f}; "
              f"seconds {exact_s:.2f}, {filter_s:.2f}")  # fmt: skip


if __name__ == "__main__":
    main()
