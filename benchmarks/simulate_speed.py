"""Images per second and core of every simulator at 256 px: ``python benchmarks/simulate_speed.py [TASK ...]``.

CPU time of one thread, so that other work on the machine counts little. The floor that it is held against is what any
simulator must do: drawing one field of random numbers and blurring it twice.
"""

import os

os.environ["OMP_NUM_THREADS"] = "1"  # before numpy reads it

import sys
import time

import numpy as np

from medclipsam_utils.simulate import simulate
from medclipsam_utils.simulate.fields import blur
from medclipsam_utils.tasks import TASKS

IMAGES = 60


def seconds(function) -> float:
    """CPU seconds for one call, the mean over IMAGES calls with different seeds, after three to warm up."""
    for seed in range(3):
        function(seed)
    start = time.process_time()
    for seed in range(IMAGES):
        function(1_000 + seed)
    return (time.process_time() - start) / IMAGES


def floor(seed: int) -> np.ndarray:
    return blur(blur(np.random.default_rng(seed).standard_normal((256, 256)), 1), 1)


if __name__ == "__main__":
    least = seconds(floor)
    print(f"{'task':18s} {'images/s':>9s} {'ms':>7s} {'x floor':>8s}")
    for task in sys.argv[1:] or TASKS:
        each = seconds(lambda seed, task=task: simulate(task, seed))
        print(f"{task:18s} {1 / each:9.0f} {1000 * each:7.1f} {each / least:8.1f}")
