"""Time and memory of one step of DHN-NCE against open_clip's ClipLoss: ``python benchmarks/loss_cost.py``.

Forward and backward with D = 512 on one CPU thread. Every measurement is a process of its own, so that its peak memory
is its own; what a process needs before the step is subtracted.
"""

import os

os.environ["OMP_NUM_THREADS"] = "1"  # before numpy reads it

import json
import resource
import subprocess
import sys
import time

SIZES, DIMENSION = (64, 512, 4096), 512
LOSSES = ("ClipLoss", "InfoNCE", "DCL", "HN-NCE", "DHN-NCE")


def measure(name: str, size: int) -> dict[str, float]:
    """Seconds of the fastest of several steps, and MiB by which the peak grew."""
    import torch
    from open_clip.loss import ClipLoss
    from torch.nn import functional as F

    from medclipsam_utils import losses

    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    features = [F.normalize(torch.randn(size, DIMENSION, generator=generator), dim=1) for _ in range(2)]
    classes = {
        "InfoNCE": losses.InfoNCELoss,
        "DCL": losses.DCLLoss,
        "HN-NCE": losses.HNNCELoss,
        "DHN-NCE": losses.DHNNCELoss,
    }
    if name == "ClipLoss":
        clip_loss, scale = ClipLoss(), torch.tensor(1 / 0.6)
        loss = lambda images, texts: clip_loss(images, texts, scale)  # noqa: E731
    else:
        loss = classes[name](0.6)

    def step() -> float:
        leaves = [part.clone().requires_grad_() for part in features]
        began = time.perf_counter()
        loss(*leaves).backward()
        return time.perf_counter() - began

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    times = [step()]
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    times += [step() for _ in range(max(4, 20_000 // size))]
    return {"seconds": min(times), "mib": grown}


if __name__ == "__main__":
    if len(sys.argv) == 3:
        print(json.dumps(measure(sys.argv[1], int(sys.argv[2]))))
        sys.exit()
    print(f"{'B':>5s} {'loss':9s} {'ms':>8s} {'MiB':>7s} {'x time':>7s} {'x memory':>9s}   (x ClipLoss)")
    for size in SIZES:
        rows = {}
        for name in LOSSES:
            command = [sys.executable, __file__, name, str(size)]
            rows[name] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            row, base = rows[name], rows["ClipLoss"]
            print(
                f"{size:5d} {name:9s} {1000 * row['seconds']:8.2f} {row['mib']:7.1f} "
                f"{row['seconds'] / base['seconds']:7.2f} {row['mib'] / max(base['mib'], 0.1):9.2f}"
            )
