"""Run the paper's third stage through nnU-Net: pseudo-labels in, an ensemble's probabilities out.

nnU-Net plans the network, the patch and the augmentation from the data (Isensee et al. 2021). Section 3.4 of Koleilat
et al. 2025 trains its 2-D form on the masks of the zero-shot stage, with a learning rate that falls and starts again
(:mod:`medclipsam_utils.weak.schedule`), and keeps the last models of each cycle::

    export_dataset(folder, 1, "BREAST", images, labels)
    plan(folder, 1)
    train(folder, 1, NNUNetConfig(), device="cuda")
    members = predict(folder, 1, test_images, device="cuda")        # float32 [M, N, H, W]
    EnsemblePrediction(members)

:mod:`medclipsam_utils.weak.training` does the same with a small network, on a laptop in minutes. nnU-Net needs
``pip install 'medclipsam-utils[nnunet]'``. It runs in processes of its own, so that the environment variables by which
it finds its folders are set in no other place; all that it writes is in ``folder``, what it prints in ``folder/logs``.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from importlib.util import find_spec
from pathlib import Path
from zlib import error as ZlibError

import numpy as np

from ..images import Image, pixels_of
from ..runs.files import write_json
from .nnunet_dataset import RAW, export_dataset, find_dataset, prepared, write_png
from .uncertainty import one_size

__all__ = ["NNUNetConfig", "export_dataset", "plan", "predict", "train"]

PREPROCESSED, RESULTS, LOGS = "nnUNet_preprocessed", "nnUNet_results", "logs"
PLANNED, SETTINGS = "planned.json", "run.json"
FINAL, LATEST = "checkpoint_final.pth", "checkpoint_latest.pth"
_MODEL = "CyclicTrainer__nnUNetPlans__2d"
_ENVIRONMENT = "MEDCLIPSAM_"
_FOLDS = ("all", 0, 1, 2, 3, 4)
_DEVICES = ("cpu", "cuda", "mps")


@dataclass(frozen=True)
class NNUNetConfig:
    """Settings of :func:`train`; the defaults are the paper's 600 epochs in 3 cycles, and 30 models.

    Attributes:
        cycles: cycles of the learning rate.
        cycle_epochs: epochs in a cycle.
        keep: models kept of each cycle, one after each of its last epochs.
        iterations: steps of the optimizer in an epoch; 250 are nnU-Net's own.
        val_iterations: batches in an epoch on which nnU-Net watches itself; 50 are its own.

    Raises:
        ValueError: a number is below 1, or ``keep`` is more than a cycle has epochs.
    """

    cycles: int = 3
    cycle_epochs: int = 200
    keep: int = 10
    iterations: int = 250
    val_iterations: int = 50

    def __post_init__(self):
        for name, number in asdict(self).items():
            if number < 1:
                raise ValueError(f"{name} is {number}: give 1 or more")
        if self.keep > self.cycle_epochs:
            raise ValueError(f"keep is {self.keep}, but a cycle has {self.cycle_epochs} epochs: keep at most as many")

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> NNUNetConfig:
        """Read the settings from variables like ``MEDCLIPSAM_CYCLES``; one that is missing has its default."""
        names = {field.name: _ENVIRONMENT + field.name.upper() for field in fields(cls)}
        return cls(**{name: int(environment[key]) for name, key in names.items() if key in environment})

    @property
    def environment(self) -> dict[str, str]:
        """The variables that :meth:`from_environment` reads."""
        return {_ENVIRONMENT + name.upper(): str(number) for name, number in asdict(self).items()}

    def checkpoint_name(self, epoch: int) -> str:
        """Name the file of the model after an epoch, which counts from 0 over all cycles."""
        cycle, within = divmod(epoch, self.cycle_epochs)
        return f"checkpoint_c{cycle}_e{within}.pth"

    @property
    def checkpoint_names(self) -> list[str]:
        """Names of the files of the models that are kept, cycle by cycle and epoch by epoch."""
        ends = range(self.cycle_epochs, self.cycles * self.cycle_epochs + 1, self.cycle_epochs)
        return [self.checkpoint_name(epoch) for end in ends for epoch in range(end - self.keep, end)]


def plan(folder: str | os.PathLike, dataset_id: int, gpu_memory_gb: float = 8.0) -> None:
    """Have nnU-Net verify the data set, plan a 2-D network for it and preprocess the images.

    The command is ``nnUNetv2_plan_and_preprocess``. A second call does nothing.

    Args:
        folder: folder that :func:`export_dataset` was given.
        dataset_id: number that :func:`export_dataset` was given.
        gpu_memory_gb: memory for which the network, the patch and the batch are made; 8 is nnU-Net's own. A small one,
            like 0.1, makes a plan for a CPU, whose results are not nnU-Net's best.

    Raises:
        ImportError: nnU-Net is not installed.
        ValueError: there is no such data set, or it was planned for another memory.
        RuntimeError: nnU-Net failed; the message has the end of its output and the file with all of it.
    """
    folder = Path(folder).resolve()
    dataset = find_dataset(folder, dataset_id)
    if not gpu_memory_gb > 0:
        raise ValueError(f"gpu_memory_gb is {gpu_memory_gb}: give a number above 0")
    done, settings = folder / PREPROCESSED / dataset / PLANNED, {"gpu_memory_gb": gpu_memory_gb}
    if done.is_file():
        _same(done, settings)
        return
    arguments = f"-d {dataset_id} -c 2d -gpu_memory_target {gpu_memory_gb}".split()
    arguments += ["--verify_dataset_integrity", "--clean", "-np", "1", "-npfp", "1"]
    _run(folder, "plan", "nnunetv2.experiment_planning.plan_and_preprocess_entrypoints", arguments, {})
    write_json(done, settings)


def train(
    folder: str | os.PathLike,
    dataset_id: int,
    config: NNUNetConfig = NNUNetConfig(),
    *,
    fold: str | int = "all",
    device: str = "cpu",
) -> list[Path]:
    """Train in cycles. The same call goes on after an interruption, and does nothing when all is done.

    The trainer is ``CyclicTrainer`` in ``weak/nnunet_trainers/cyclic.py``. Two trainings give different weights,
    because nnU-Net's random numbers have no seed. On a CPU that other programs use too, ``OMP_NUM_THREADS=1`` is
    faster.

    Args:
        folder: folder that :func:`export_dataset` was given.
        dataset_id: number that :func:`export_dataset` was given.
        config: settings of the training.
        fold: ``"all"`` to train on all images, or 0 to 4 to leave out that fifth of them.
        device: ``"cpu"``, ``"cuda"`` or ``"mps"``. On a CPU the images are augmented in the same process.

    Returns:
        The files of the M kept models, in the order in which they were made.

    Raises:
        ImportError: nnU-Net is not installed.
        ValueError: there is no such data set, it is not planned, it has fewer than 5 images for a fold, the training
            was begun with other settings, or its checkpoint is damaged.
        RuntimeError: nnU-Net failed; the message has the end of its output and the file with all of it.
    """
    folder = Path(folder).resolve()
    dataset = find_dataset(folder, dataset_id)
    _check(fold, device)
    if not (folder / PREPROCESSED / dataset / PLANNED).is_file():
        raise ValueError(f"{dataset} is not planned: call plan(folder, {dataset_id}) first")
    count = json.loads((folder / RAW / dataset / "dataset.json").read_text(encoding="utf-8"))["numTraining"]
    if fold != "all" and count < 5:
        raise ValueError(f"{dataset} has {count} images, too few for five folds: use fold='all'")
    results = _results(folder, dataset, fold)
    settings = asdict(config)
    if any(results.glob("checkpoint_*.pth")):
        _same(results / SETTINGS, settings)
    else:
        results.mkdir(parents=True, exist_ok=True)
        write_json(results / SETTINGS, settings)
    if not (results / FINAL).is_file():
        if (results / LATEST).is_file():
            _check_whole(results / LATEST)
        augmentation = {"nnUNet_n_proc_DA": "0"} if device == "cpu" else {}
        arguments = ["train", str(folder / PREPROCESSED / dataset), str(fold), device]
        _run(folder, "train", f"{__package__}.nnunet_process", arguments, config.environment | augmentation)
    return [results / name for name in config.checkpoint_names]


def predict(
    folder: str | os.PathLike,
    dataset_id: int,
    images: Mapping[str, Image],
    *,
    fold: str | int = "all",
    device: str = "cpu",
) -> np.ndarray:
    """Compute the target's probability by every model that :func:`train` kept.

    Args:
        folder: folder that :func:`export_dataset` was given.
        dataset_id: number that :func:`export_dataset` was given.
        images: N images of one size by name, 1 or more, as :func:`export_dataset` takes them. Predict groups of equal
            size one after the other.
        fold: fold that :func:`train` was given.
        device: device to compute on, as for :func:`train`.

    Returns:
        float32 [M, N, H, W] from 0 to 1, models in the order of their training, images in the order of ``images``.
        The mean over the models is a probability too; :class:`~medclipsam_utils.weak.uncertainty.EnsemblePrediction`
        has it, and the uncertainty.

    Raises:
        ImportError: nnU-Net is not installed.
        ValueError: there are no images, they differ in size, or they have colour where the training's had none; there
            is no such training, it is not at its end, or one of its files is damaged or missing.
        RuntimeError: nnU-Net failed; the message has the end of its output and the file with all of it.
    """
    folder = Path(folder).resolve()
    dataset = find_dataset(folder, dataset_id)
    _check(fold, device)
    pixels = {name: pixels_of(image) for name, image in images.items()}
    one_size(pixels.values())
    results = _results(folder, dataset, fold)
    if not (results / FINAL).is_file():
        raise ValueError(f"{dataset}, fold {fold}, is not trained to its end: call train(folder, {dataset_id}) first")
    config = NNUNetConfig(**json.loads((results / SETTINGS).read_text(encoding="utf-8")))
    for name in config.checkpoint_names:
        _check_whole(results / name)
    channels = json.loads((folder / RAW / dataset / "dataset.json").read_text(encoding="utf-8"))["channel_names"]
    with tempfile.TemporaryDirectory(dir=folder, prefix=".predict-") as temporary:
        source, target = Path(temporary) / "images", Path(temporary) / "members.npy"
        source.mkdir()
        for number, (name, image) in enumerate(pixels.items()):
            write_png(source / f"{number:08}_0000.png", prepared(name, image, len(channels)))
        arguments = ["predict", str(results.parent), str(fold), device, str(source), str(target)]
        _run(folder, "predict", f"{__package__}.nnunet_process", [*arguments, *config.checkpoint_names], {})
        return np.load(target)


def _results(folder: Path, dataset: str, fold: str | int) -> Path:
    return folder / RESULTS / dataset / _MODEL / f"fold_{fold}"


def _check(fold: str | int, device: str) -> None:
    if fold not in _FOLDS or isinstance(fold, bool):
        raise ValueError(f"fold is {fold!r}: give 'all', or a number from 0 to 4")
    if device not in _DEVICES:
        raise ValueError(f"device is {device!r}: give 'cpu', 'cuda' or 'mps'; CUDA_VISIBLE_DEVICES chooses the GPU")


def _same(path: Path, settings: dict[str, float]) -> None:
    older = json.loads(path.read_text(encoding="utf-8"))
    others = ", ".join(f"{name} {older.get(name)}" for name in settings if older.get(name) != settings[name])
    if others:
        raise ValueError(f"{path.parent} was made with {others}: use these settings, delete it, or give another folder")


def _check_whole(path: Path) -> None:
    """Raise a ValueError unless a checkpoint is as it was written: torch's is a zip file, whose checksums tell."""
    try:
        with zipfile.ZipFile(path) as file:
            damaged = file.testzip() is not None
    except FileNotFoundError:
        raise ValueError(f"{path} is missing: delete {path.parent} and train again") from None
    except (zipfile.BadZipFile, ZlibError):
        damaged = True
    if damaged:
        raise ValueError(f"{path} is damaged: delete {path.parent} and train again")


def _run(folder: Path, task: str, module: str, arguments: list[str], environment: dict[str, str]) -> None:
    """Run a module as a program in which nnU-Net finds its folders."""
    if find_spec("nnunetv2") is None:
        raise ImportError("nnU-Net is not installed: pip install 'medclipsam-utils[nnunet]'")
    folders = {name: str(folder / name) for name in (RAW, PREPROCESSED, RESULTS)}
    for name in (*folders, LOGS):
        (folder / name).mkdir(exist_ok=True)
    log = folder / LOGS / f"{task}.txt"
    with log.open("w", encoding="utf-8") as file:
        code = subprocess.run(
            [sys.executable, "-m", module, *arguments],
            stdout=file,
            stderr=subprocess.STDOUT,
            env={**os.environ, **folders, **environment},
            cwd=folder,
            check=False,
        ).returncode
    if code:
        end = "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-8:])
        raise RuntimeError(f"nnU-Net's {task} ended with code {code}. All of its output is in {log}; its end:\n{end}")
