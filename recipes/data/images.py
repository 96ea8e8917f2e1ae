"""Draw the simulated images that the recipes learn from, once, and keep them on disk in shards.

Every seed is drawn twice: with a finding, and without the target (for the tumours that is the same anatomy, so that the
finding is all that differs between the two images). A shard is one ``.npz`` of 250 seeds; shards are drawn in parallel,
written atomically, and a call that finds them all there reads them only.

Which seeds belong to whom stands in ``seeds.py``.
"""

from __future__ import annotations

import json
import multiprocessing
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from medclipsam_utils import TASKS, simulate
from medclipsam_utils.simulate import FINDINGS

SEEDS_PER_SHARD = 250
SIZE = 256


@dataclass(frozen=True, eq=False)
class Images:
    """Hold images and what is known about them, in memory.

    Attributes:
        pixels: uint8 [N, 256, 256].
        masks: bool masks of the targets, as bits: uint8 [N, 8192].
        structures: for each image, its structures by name, as bits: uint8 [8192].
        facts: for each image: ``task``, ``finding``, ``seed``, ``attributes``, ``present``.
    """

    pixels: np.ndarray
    masks: np.ndarray
    structures: list[dict[str, np.ndarray]]
    facts: list[dict]

    def __len__(self) -> int:
        return len(self.pixels)

    def mask(self, index: int) -> np.ndarray:
        return unpack(self.masks[index])


def unpack(bits: np.ndarray) -> np.ndarray:
    """Unpack bits [..., 8192] to bool [..., 256, 256]."""
    return np.unpackbits(bits, axis=-1).reshape(*bits.shape[:-1], SIZE, SIZE).astype(bool)


def load_images(folder: Path, first_seed: int, seeds_per_task: int, structures: bool = False) -> Images:
    """Load images of ``seeds_per_task`` seeds of each task; those that are not in ``folder`` yet are drawn first."""
    if seeds_per_task % SEEDS_PER_SHARD and seeds_per_task > SEEDS_PER_SHARD:
        raise ValueError(f"seeds_per_task is {seeds_per_task}: give a multiple of {SEEDS_PER_SHARD}, or fewer")
    folder.mkdir(parents=True, exist_ok=True)
    count = min(SEEDS_PER_SHARD, seeds_per_task)
    firsts = range(first_seed, first_seed + seeds_per_task, count)
    shards = [(folder, task, first, count) for first in firsts for task in TASKS]
    missing = [shard for shard in shards if not _path(*shard).exists()]
    if missing:
        workers = min(os.cpu_count() or 1, len(missing))
        with _one_thread(), multiprocessing.get_context("spawn").Pool(workers) as pool:
            for done, _ in enumerate(pool.imap_unordered(_draw_shard, missing), start=1):
                print(f"simulated {done} of {len(missing)} shards", flush=True)
    return _read([_path(*shard) for shard in shards], structures)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Let processes that start meanwhile compute with one thread each.

    They must find it in their environment: by the time that they run a line of ours, numpy has its threads already,
    which wait for each other and make the drawing six times slower.
    """
    before = os.environ.get("OMP_NUM_THREADS")
    os.environ["OMP_NUM_THREADS"] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ["OMP_NUM_THREADS"]
        else:
            os.environ["OMP_NUM_THREADS"] = before


def _path(folder: Path, task: str, first: int, count: int) -> Path:
    return folder / f"{task}_{first}_{count}.npz"


def _draw_shard(shard: tuple[Path, str, int, int]) -> None:
    _, task, first, count = shard
    *present, absent = FINDINGS[task]
    pixels, masks, structures, facts = [], [], [], []
    for seed in range(first, first + count):
        choice = np.random.default_rng([seed, list(TASKS).index(task)])
        for finding in (str(choice.choice(present)), absent):
            sample = simulate(task, seed, finding=finding)
            pixels.append(sample.image[..., 0])
            masks.append(np.packbits(sample.mask))
            names = [name for name, mask in sample.structures.items() if mask.any()]
            structures += [np.packbits(sample.structures[name]) for name in names]
            facts.append(
                {"task": task, "finding": finding, "seed": seed, "attributes": dict(sample.attributes),
                 "present": finding != absent, "structures": names}
            )  # fmt: skip
    path = _path(*shard)
    unfinished = path.with_suffix(f".{os.getpid()}.part")
    with open(unfinished, "wb") as file:
        np.savez(file, pixels=np.stack(pixels), masks=np.stack(masks), structures=np.stack(structures),
                 facts=np.array(json.dumps(facts)))  # fmt: skip
    os.replace(unfinished, path)


def _read(paths: list[Path], with_structures: bool) -> Images:
    pixels, masks, structures, facts = [], [], [], []
    for path in paths:
        with np.load(path) as shard:
            pixels.append(shard["pixels"])
            masks.append(shard["masks"])
            known = json.loads(str(shard["facts"]))
            facts += known
            if with_structures:
                bits = iter(shard["structures"])
                structures += [{name: next(bits) for name in fact["structures"]} for fact in known]
    return Images(np.concatenate(pixels), np.concatenate(masks), structures, facts)
