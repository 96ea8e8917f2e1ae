"""Time of one mask, and of what is done once instead of again: ``python -m benchmarks.segment_speed``.

The small models, images of 256 × 256 pixels, as many threads as there are cores. **Whole way**: from the pixels to the
mask, for each task. **Several questions**: twenty boxes about one image, embedded once, against an embedding for each.
**k-means**: the exact border between two clusters of a map, against scikit-learn's iteration with ten starts.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import torch
from sklearn.cluster import KMeans

from medclipsam_utils import TASKS, Segmenter, load_clip, load_sam, simulate
from medclipsam_utils.postprocess import highest_cluster
from medclipsam_utils.visual_prompts import boxes_from_mask, predict_mask

QUESTIONS, REPEATS = 20, 7


def seconds(action: Callable[[], object], repeats: int = REPEATS) -> float:
    """The median of several."""
    action()
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        action()
        times.append(time.perf_counter() - began)
    return float(np.median(times))


def main() -> None:
    segmenter = Segmenter(load_clip("tiny"), load_sam("tiny"))
    sam = segmenter.sam
    print(f"{torch.get_num_threads()} threads")
    for task, known in TASKS.items():
        image = simulate(task, 11).image

        def whole_way(image=image, text=known.prompts["P0"][0]) -> None:
            sam.reset_image()  # or it would still be embedded
            segmenter.segment(image, text)

        print(f"{task:18s} from pixels to mask {seconds(whole_way):.3f} s")
    sample = simulate("lung_ct", 35, finding="clear")
    box = boxes_from_mask(sample.mask)[0]

    def once() -> None:
        sam.set_image(sample.image)
        for _ in range(QUESTIONS):
            predict_mask(sam, box)

    def again() -> None:
        for _ in range(QUESTIONS):
            sam.set_image(sample.image)
            predict_mask(sam, box)

    print(
        f"{QUESTIONS} questions: an embedding for each takes {seconds(again) / seconds(once):.1f} times as long as one"
    )
    saliency = segmenter.segment(sample.image, "lungs").saliency
    values = saliency.reshape(-1, 1)
    exact = seconds(lambda: highest_cluster(saliency, 2))
    iterated = seconds(lambda: KMeans(2, n_init=10, random_state=0).fit(values))
    print(
        f"k-means: exact {1000 * exact:.1f} ms, iterated {1000 * iterated:.1f} ms, {iterated / exact:.0f} times as long"
    )


if __name__ == "__main__":
    main()
