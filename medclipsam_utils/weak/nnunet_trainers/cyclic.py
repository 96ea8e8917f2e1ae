"""nnU-Net's trainer with the paper's learning rate, and with models kept at the end of each cycle.

nnU-Net counts its steps in epochs, so the schedule of :mod:`medclipsam_utils.weak.schedule` does so here too. Network,
loss, augmentation and all else are nnU-Net's (Isensee et al. 2021).

This folder holds nothing but this module, so that nnU-Net from 2.8 on finds the trainer when the environment variable
``nnUNet_extTrainer`` is the folder's path::

    MEDCLIPSAM_CYCLES=3 MEDCLIPSAM_CYCLE_EPOCHS=200 nnUNetv2_train 1 2d all -tr CyclicTrainer
"""

from __future__ import annotations

import os
from pathlib import Path

from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from torch.optim import Optimizer

from medclipsam_utils.runs.checkpoints import save_checkpoint
from medclipsam_utils.weak.nnunet import NNUNetConfig
from medclipsam_utils.weak.schedule import cyclic_poly


class CyclicTrainer(nnUNetTrainer):
    """nnU-Net's trainer in cycles; it writes ``checkpoint_c{cycle}_e{epoch}.pth`` after each of the last epochs of one.

    Cycles, and epochs within a cycle, count from 0. The files hold the network's weights and what nnU-Net's predict
    commands ask for, no state of the optimizer. ``checkpoint_latest.pth``, from which ``--c`` goes on, is nnU-Net's
    own, written after every epoch and replaced as a whole.

    The settings are those of :class:`~medclipsam_utils.weak.nnunet.NNUNetConfig`, from the environment variables
    ``MEDCLIPSAM_CYCLES``, ``MEDCLIPSAM_CYCLE_EPOCHS``, ``MEDCLIPSAM_KEEP``, ``MEDCLIPSAM_ITERATIONS`` and
    ``MEDCLIPSAM_VAL_ITERATIONS``: nnU-Net's commands have no options for them.
    """

    def initialize(self) -> None:
        self.cycles = NNUNetConfig.from_environment(os.environ)
        self.num_epochs = self.cycles.cycles * self.cycles.cycle_epochs
        self.num_iterations_per_epoch = self.cycles.iterations
        self.num_val_iterations_per_epoch = self.cycles.val_iterations
        self.save_every = 1
        super().initialize()

    def configure_optimizers(self) -> tuple[Optimizer, EpochSchedule]:
        optimizer, _ = super().configure_optimizers()
        return optimizer, EpochSchedule(optimizer, self.initial_lr, self.cycles.cycle_epochs)

    def on_epoch_end(self) -> None:
        name = self.cycles.checkpoint_name(self.current_epoch)
        if name in self.cycles.checkpoint_names and self.local_rank == 0:
            save_checkpoint(Path(self.output_folder) / name, self._kept())
        super().on_epoch_end()  # after ours: what an interruption in between loses, the epoch's repetition makes again

    def save_checkpoint(self, filename: str) -> None:
        unfinished = f"{filename}.part"
        super().save_checkpoint(unfinished)
        if os.path.exists(unfinished):  # nnU-Net writes in one process only, and none if told so
            os.replace(unfinished, filename)

    def _kept(self) -> dict:
        network = self.network
        for wrapper in ("module", "_orig_mod"):  # of several GPUs, of torch.compile
            network = getattr(network, wrapper, network)
        return {
            "network_weights": network.state_dict(),
            "trainer_name": nnUNetTrainer.__name__,  # whose network it is, so that nnU-Net's commands need no other
            "init_args": {"configuration": self.configuration_name},
            "inference_allowed_mirroring_axes": self.inference_allowed_mirroring_axes,
        }


class EpochSchedule:
    """A schedule of the form that nnU-Net asks for: it sets the learning rate of an epoch.

    Args:
        optimizer: optimizer whose rates are set.
        peak: rate at the start of each cycle.
        cycle_epochs: epochs in a cycle.
    """

    def __init__(self, optimizer: Optimizer, peak: float, cycle_epochs: int):
        self.optimizer, self.peak, self.cycle_epochs = optimizer, peak, cycle_epochs

    def step(self, epoch: int) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = self.peak * cyclic_poly(epoch, self.cycle_epochs)
