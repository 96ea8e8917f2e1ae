"""Train and predict for :mod:`medclipsam_utils.weak.nnunet` in a process of its own, where nnU-Net finds its folders.

::

    python -m medclipsam_utils.weak.nnunet_process train PREPROCESSED_FOLDER all cpu
    python -m medclipsam_utils.weak.nnunet_process predict MODEL_FOLDER all cpu IMAGES_FOLDER members.npy CHECKPOINT ...

It calls the same classes as ``nnUNetv2_train`` and ``nnUNetv2_predict``. Those commands find trainers outside of
nnU-Net's own folder from version 2.8 on only, judge the last model when the training is over, which costs time and says
nothing of the ensemble, and start a process for each checkpoint.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import torch
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from nnunetv2.run.run_training import maybe_load_checkpoint
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.utilities.label_handling.label_handling import determine_num_input_channels
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

from ..runs.checkpoints import load_checkpoint
from .nnunet_trainers.cyclic import CyclicTrainer

PLANS, CONFIGURATION = "nnUNetPlans.json", "2d"


def train(folder: Path, fold: str, device: str) -> None:
    """Train to the end, from the last checkpoint on if there is one, like ``--c`` of nnU-Net."""
    trainer = CyclicTrainer(
        plans={**_json(folder / PLANS), "continue_training": True},
        configuration=CONFIGURATION,
        fold=fold if fold == "all" else int(fold),
        dataset_json=_json(folder / "dataset.json"),
        device=torch.device(device),
    )
    maybe_load_checkpoint(trainer, continue_training=True, validation_only=False)
    trainer.run_training()


def predict(model: Path, fold: str, device: str, images: Path, target: Path, checkpoints: list[str]) -> None:
    """Write float32 [M, N, H, W]: each checkpoint's probabilities of the target, with images in alphabetical order."""
    plans, dataset = PlansManager(_json(model / "plans.json")), _json(model / "dataset.json")
    configuration = plans.get_configuration(CONFIGURATION)
    network = nnUNetTrainer.build_network_architecture(
        plans,
        configuration,
        determine_num_input_channels(plans, configuration, dataset),
        plans.get_label_manager(dataset).num_segmentation_heads,
        enable_deep_supervision=False,
    )
    predictor = nnUNetPredictor(device=torch.device(device), allow_tqdm=False)
    reader = plans.image_reader_writer_class()
    read = [reader.read_images([str(path)]) for path in sorted(images.iterdir())]
    members = np.empty((len(checkpoints), len(read), *read[0][0].shape[2:]), np.float32)
    for number, name in enumerate(checkpoints):
        kept = load_checkpoint(model / f"fold_{fold}" / name, "cpu")
        predictor.manual_initialization(
            network,
            plans,
            configuration,
            [kept["network_weights"]],
            dataset,
            kept["trainer_name"],
            kept["inference_allowed_mirroring_axes"],
        )
        for place, (pixels, properties) in enumerate(read):
            _, probabilities = predictor.predict_single_npy_array(
                pixels, properties, save_or_return_probabilities=True
            )  # [classes, 1, H, W]
            members[number, place] = np.clip(probabilities[1, 0], 0, 1)
        print(f"predicted with {name}", flush=True)
    np.save(target, members)


def _json(path: Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8"))


if __name__ == "__main__":
    task, *arguments = sys.argv[1:]
    if task == "train":
        folder, fold, device = arguments
        train(Path(folder), fold, device)
    else:
        model, fold, device, images, target, *checkpoints = arguments
        predict(Path(model), fold, device, Path(images), Path(target), checkpoints)
