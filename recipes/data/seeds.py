"""Write down which seeds, and with them which simulated images, belong to whom: the ledger.

The same seed of a task is the same image on every machine, so what a model has learned from and what it is judged on
stay apart if their seeds do. Every range that anything in this repository draws from is written down here once, and
recipes take their seeds from here. A seed of one task has nothing to do with that seed of another; we are stricter than
that and keep the numbers apart for all tasks at once. Where two ranges meet on purpose, each names the other.

A new measurement takes a range of its own that is still free, and nobody draws from it before the settings are final.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True)
class Seeds:
    """Hold one entry of the ledger.

    Attributes:
        name: what recipes look it up by.
        seeds: the range itself.
        what: who draws from it, and what for.
        shared_with: names of the ranges that it meets on purpose.
    """

    name: str
    seeds: range
    what: str
    shared_with: tuple[str, ...] = ()

    def first(self, count: int) -> range:
        """Return the first ``count`` seeds.

        Raises:
            ValueError: fewer are kept; the message says how many.
        """
        if not 0 <= count <= len(self.seeds):
            raise ValueError(f"{count} seeds are asked of {self.name!r}: take 0 to {len(self.seeds)}")
        return self.seeds[:count]


_LEDGER = (
    # Small seeds are for looking at. Chapters, tests and benchmarks show, time and check; what a chapter trains or
    # chooses ends with the chapter. They meet the seeds of the model cards, which no training and no choice behind the
    # shipped models has drawn.
    Seeds(
        "judge", range(0, 100), "judge/report.py and judge/draw_examples.py: the numbers and the picture of the cards",
        shared_with=("chapters", "tests", "benchmarks"),
    ),
    Seeds(
        "chapters", range(0, 10_000), "notebooks, pages, docstrings and the demo: examples and small experiments",
        shared_with=("judge", "tests", "benchmarks"),
    ),
    Seeds(
        "tests", range(0, 10_000), "tests of the package, of the simulators above all",
        shared_with=("judge", "chapters", "benchmarks"),
    ),
    Seeds(
        "benchmarks", range(0, 10_000), "benchmarks/: speed and realism",
        shared_with=("judge", "chapters", "tests"),
    ),
    # What the chapters report of the shipped models is measured on these.
    Seeds("losses held out", range(400_000, 400_250), "measure/finetune_losses.py: retrieval after each training"),
    Seeds("saliency held out", range(410_000, 410_120), "measure/saliency_checks.py: maps, prompts and presence"),
    Seeds("tried out", range(420_000, 421_031), "spent: looked at while the pipeline was built; nothing reports them"),
    Seeds("pipeline held out", range(430_000, 430_100), "measure/zero_shot.py: from a sentence to a mask"),
    Seeds("weak held out", range(444_000, 444_200), "measure/weak_supervision.py: students beside their teacher"),
    Seeds("nnU-Net held out", range(445_000, 445_024), "measure/weak_nnunet.py: the small run of nnU-Net"),
    Seeds("weak validation", range(447_000, 447_200), "measure/weak_supervision.py: which single model one would keep"),
    # Settings are chosen on these, so nothing is reported of them as a result.
    Seeds(
        "validation", range(500_000, 501_000),
        "clip/train.py and sam/train.py while they train, judge/choose_saliency.py and measure/families.py for the "
        "settings of the maps and of what follows, measure/finetune_losses.py for the learning rate; each from the "
        "first seed on",
    ),
    Seeds(
        "presence calibration", range(501_000, 501_100),
        "measure/saliency_checks.py and judge/calibrate_presence.py: images without the target",
    ),
    Seeds("tuning", range(502_000, 502_006), "measure/saliency_checks.py: settings from a handful of images"),
    Seeds("presence kinds", range(610_000, 615_000), "judge/calibrate_presence.py: how images of each kind look"),
    Seeds("presence tried out", range(620_000, 620_150), "spent: looked at while the test of presence was designed"),
    Seeds("presence held out", range(621_000, 625_000), "measure/presence.py: is the target there, and could it be?"),
    Seeds("ways before", range(640_000, 640_200), "spent: what measure/ways.py found here led to text_weight"),
    Seeds("ways held out", range(643_000, 643_200), "measure/ways.py: the default beside the paper's way"),
    Seeds("families held out", range(641_000, 641_040), "measure/families.py: families of saliency on equal terms"),
    Seeds("chain held out", range(642_000, 642_150), "measure/chain.py: what fine-tuning does to maps and masks"),
    # Models learn from these.
    Seeds("training", range(1_000_000, 1_004_000), "clip/train.py and sam/train.py: the shipped models"),
    Seeds(
        "finetune command", range(2_000_000, 2_600_000),
        "medclipsam finetune simulated: as many as the user asks for, training and validation",
    ),
    Seeds("weak training", range(2_600_000, 2_602_000), "measure/weak_supervision.py: pseudo-labels, and noise"),
    Seeds("nnU-Net training", range(2_700_000, 2_700_060), "measure/weak_nnunet.py: pseudo-labels"),
    Seeds("losses training", range(3_000_000, 3_001_000), "measure/finetune_losses.py and measure/chain.py: pairs"),
)  # fmt: skip

#: The ledger by name: ``SEEDS["training"].first(10)``.
SEEDS: Mapping[str, Seeds] = MappingProxyType({entry.name: entry for entry in _LEDGER})
