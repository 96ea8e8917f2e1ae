"""The fine-tuning loop: batches, steps, validation, and going on after an interruption."""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, Dataset
from tqdm.auto import tqdm

from ..images.names import some
from ..models import Clip, save_clip
from ..runs.checkpoints import Checkpoints
from ..runs.files import write_json
from ..runs.precision import computing_in
from ..runs.processes import Processes, joined
from .config import FinetuneConfig
from .gradients import backward

CHECKPOINT, SETTINGS, WEIGHTS = "checkpoint.pt", "run.json", "clip"
#: Settings that may change between the parts of a run: when it ends, and how its steps are computed and kept.
MAY_DIFFER = ("epochs", "patience", "micro_batch_size", "workers", "checkpoint_steps")


@dataclass
class History:
    """The course of a run.

    Attributes:
        steps: one dict per step: ``epoch``, ``loss``, ``learning_rate``, ``temperature`` (None if the loss has none).
        validations: one dict per epoch, if there is a validation set: ``epoch``, ``loss``.
        stopped_early: the validation loss had not fallen for ``patience`` epochs.
    """

    steps: list[dict[str, Any]] = field(default_factory=list)
    validations: list[dict[str, Any]] = field(default_factory=list)
    stopped_early: bool = False

    @property
    def best(self) -> dict[str, Any] | None:
        """The validation with the lowest loss; None if there was none."""
        return min(self.validations, key=lambda row: row["loss"], default=None)


def finetune(
    clip: Clip,
    dataset: Dataset | Sequence[dict],
    loss: nn.Module,
    config: FinetuneConfig = FinetuneConfig(),  # noqa: B008 (it is frozen)
    *,
    folder: str | os.PathLike | None = None,
    validation: Dataset | Sequence[dict] | None = None,
    progress: bool = True,
) -> History:
    """Train a CLIP, in place, on pairs of image and caption.

    When several processes of ``torchrun`` call it, they train one model together: the batch is divided among them, so
    that the result does not depend on their number, but for rounding. Each then needs the clip on its own device.

    With a folder the run can be interrupted at any time: the same call goes on from the last checkpoint and ends with
    the same weights, on the same machine bit for bit. In a notebook it may be the same cell with the same ``clip`` and
    ``loss``: both are what the checkpoint says, and what they were before if there is none yet. A call with more epochs
    goes on as well, and so does one with another ``patience``, ``micro_batch_size``, ``workers`` or
    ``checkpoint_steps``; all other settings must be as they were. A call with fewer epochs than the folder has seen
    trains nothing and warns.

    At its end the folder holds ``run.json`` with settings and history, and the weights for
    :func:`~medclipsam_utils.models.load_clip`: ``clip.safetensors`` of a small CLIP, the folder ``clip`` of any other.

    Args:
        clip: CLIP to train. Weights whose ``requires_grad`` is False stay as they are, so that you can freeze any part
            beforehand. Afterwards it has the weights of the epoch with the lowest validation loss, or of the last one.
        dataset: items are dicts with ``image`` (uint8 tensor [3, H, W], of any size) and ``caption`` (str). A list of
            items will do as well, for example where reading them is slow and they fit into memory. A loss that spares
            false negatives also reads ``group``: pairs of the same group have captions that are true of each other's
            images. Without it, pairs with the same caption are a group.
        loss: loss of the features [B, D] of both towers, such as :class:`~medclipsam_utils.losses.DHNNCELoss`; its own
            parameters, such as a temperature, are trained along. A resumed run tells losses apart by their ``repr``.
        config: settings of the run.
        folder: folder for checkpoint, weights and settings; None keeps nothing.
        validation: pairs like those of ``dataset``; their loss is computed after every epoch, in batches of the same
            size.
        progress: show a bar.

    Raises:
        ValueError: fewer pairs than a batch, a batch that the processes cannot share, or a checkpoint of a run that has
            other settings or other frozen weights; the message names what differs.

    Warns:
        UserWarning: the run in the folder is past the last epoch already.
    """
    with joined(clip.device) as processes:
        run = _Run(clip, loss, config, processes, Path(folder) if folder is not None else None)
        return run.train(dataset, validation, progress)


class _Towers(nn.Module):
    """Both towers in one call, because ``DistributedDataParallel`` wraps one module."""

    def __init__(self, model: Any, precision: str):  # an open_clip model, whose package has no types
        super().__init__()
        self.model, self.precision = model, precision

    def forward(self, images: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        with computing_in(self.precision, images.device):
            image_features = self.model.encode_image(images, normalize=True)  # (B, 3, S, S) to (B, D)
            text_features = self.model.encode_text(tokens, normalize=True)  # (B, L) to (B, D)
        return image_features.float(), text_features.float()


class _Run:
    """A fine-tuning run: what its steps change, and the steps."""

    def __init__(self, clip: Clip, loss: nn.Module, config: FinetuneConfig, processes: Processes, folder: Path | None):
        if config.batch_size % processes.count:
            raise ValueError(f"a batch of {config.batch_size} cannot be shared by {processes.count} processes")
        self.clip, self.config, self.processes, self.folder = clip, config, processes, folder
        self.loss = loss.to(clip.device)
        self.step, self.history = 0, History()
        self.best_weights: dict[str, Tensor] | None = None
        self.settings: dict[str, Any] = {"config": asdict(config), "loss": repr(loss), "model": clip.name}

    def train(self, dataset: Any, validation: Any, progress: bool) -> History:
        config = self.config
        per_epoch = _steps(dataset, config.batch_size, "dataset")
        if validation is not None:
            _steps(validation, config.batch_size, "validation")
        self.settings["pairs"] = len(dataset)
        self.settings["validation_pairs"] = None if validation is None else len(validation)
        with _trainable(self.clip.model, config.freeze), self._as_before_unless_saved():
            towers = _Towers(self.clip.model, config.precision)
            self.optimizer = _optimizer(towers, self.loss, config)
            self._restore(per_epoch)
            wrapped = DistributedDataParallel(towers) if self.processes.count > 1 else towers
            total = config.epochs * per_epoch
            bar = tqdm(total=total, initial=self.step, disable=not (progress and self.processes.first), unit="step")
            with bar:
                while self.step < total and not self.history.stopped_early:
                    epoch, done = divmod(self.step, per_epoch)
                    for items in self._batches(dataset, epoch, done):
                        self._advance(wrapped, items, epoch, per_epoch)
                        bar.update()
                        bar.set_postfix(epoch=epoch + 1, loss=f"{self.history.steps[-1]['loss']:.4f}")
                        if self.step % config.checkpoint_steps == 0 and self.step % per_epoch:
                            self._save()
                    if validation is not None:
                        self._validate(towers, validation, epoch)
                    self._save()
        if self.best_weights is not None:
            self.clip.model.load_state_dict(self.best_weights)
        self._write_results()
        return self.history

    def _advance(self, towers: nn.Module, items: list[dict], epoch: int, per_epoch: int) -> None:
        config, rate = self.config, self.config.rate(self.step, per_epoch)
        images, tokens, *groups = self._inputs(items)
        seed = [config.seed, self.step, self.processes.rank]
        value = backward(towers, self.loss, images, tokens, config.micro_batch_size, seed, groups)
        if not torch.isfinite(value):
            raise ValueError(f"the loss is {value.item()} at step {self.step}: lower the learning rate of {rate:.3g}")
        if config.max_gradient_norm is not None:
            parameters = (parameter for group in self.optimizer.param_groups for parameter in group["params"])
            nn.utils.clip_grad_norm_(parameters, config.max_gradient_norm)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.step()
        self.optimizer.zero_grad()
        temperature = getattr(self.loss, "temperature", None)
        row = {"epoch": epoch, "loss": value.item(), "learning_rate": rate, "temperature": temperature}
        self.history.steps.append(row)
        self.step += 1

    def _batches(self, dataset: Any, epoch: int, done: int) -> Iterator[list[dict]]:
        """Load this process's part of each batch of an epoch, after the first ``done`` ones."""
        size = self.config.batch_size
        order = np.random.default_rng([self.config.seed, epoch]).permutation(len(dataset)).tolist()
        batches = [order[start : start + size] for start in range(0, len(order) - size + 1, size)]
        return self._load(dataset, batches[done:])

    def _load(self, dataset: Any, batches: list[list[int]]) -> Iterator[list[dict]]:
        parts = [self.processes.share(batch) for batch in batches]
        own = torch.Generator()  # seeds the workers in place of the caller's generator
        workers = self.config.workers
        return iter(DataLoader(dataset, batch_sampler=parts, collate_fn=list, num_workers=workers, generator=own))

    def _inputs(self, items: Iterable[dict]) -> tuple[Tensor, ...]:
        """Pixels, token ids and, where the loss needs them, the numbers of the pairs' groups."""
        images = self.clip.preprocess([item["image"] for item in items])
        tokens = self.clip.tokenize([item["caption"] for item in items])
        if not getattr(self.loss, "needs_groups", False):
            return images, tokens
        return images, tokens, torch.tensor([_number(item) for item in items], device=tokens.device)

    def _validate(self, towers: nn.Module, validation: Any, epoch: int) -> None:
        row = {"epoch": epoch, "loss": self._validation_loss(towers, validation)}
        self.history.validations.append(row)
        if self.history.best is row:
            self.best_weights = _copy(self.clip.model)
        self._stop_early()

    def _stop_early(self) -> None:
        patience, best = self.config.patience, self.history.best
        if best is not None:
            since_best = self.history.validations[-1]["epoch"] - best["epoch"]
            self.history.stopped_early = patience is not None and since_best >= patience

    @torch.no_grad()
    def _validation_loss(self, towers: nn.Module, validation: Any) -> float:
        size, order = self.config.batch_size, list(range(len(validation)))
        batches = [order[start : start + size] for start in range(0, len(order) - size + 1, size)]
        self.clip.model.eval()
        losses = []
        for items in self._load(validation, batches):
            images, tokens, *groups = self._inputs(items)
            losses.append(self.loss(*towers(images, tokens), *groups).item())
        _training_mode(self.clip.model, self.config.freeze)
        return float(np.mean(losses))

    def _checkpoints(self, folder: Path) -> Checkpoints:
        return Checkpoints(folder / CHECKPOINT, self.settings, MAY_DIFFER)

    @contextmanager
    def _as_before_unless_saved(self) -> Iterator[None]:
        """Restore clip and loss if the run ends before its first checkpoint, so that it can start again."""
        parts = [] if self.folder is None else [self.clip.model, self.loss]
        self.before = [_copy(part) for part in parts]
        try:
            yield
        finally:
            for part, state in zip(parts, self.before, strict=False):
                part.load_state_dict(state)

    def _trained(self) -> list[str]:
        parts = {"clip": self.clip.model, "loss": self.loss}
        return [f"{p}.{n}" for p, part in parts.items() for n, w in part.named_parameters() if w.requires_grad]

    def _save(self) -> None:
        if self.folder is not None and self.processes.first:
            self._checkpoints(self.folder).save({
                "step": self.step, "history": asdict(self.history), "trained": self._trained(),
                "model": self.clip.model.state_dict(), "loss": self.loss.state_dict(),
                "optimizer": self.optimizer.state_dict(), "best_weights": self.best_weights,
            })  # fmt: skip
        self.processes.wait()
        self.before = []

    def _restore(self, per_epoch: int) -> None:
        if self.folder is None:
            return
        state = self._checkpoints(self.folder).load(self.clip.device)
        if state is None:
            return
        path, epochs = self.folder / CHECKPOINT, -(-state["step"] // per_epoch)
        if epochs > self.config.epochs:
            reason = f"{path} is of epoch {epochs} already and epochs is {self.config.epochs}: nothing is trained"
            warnings.warn(f"{reason}. For fewer epochs give another folder", stacklevel=4)
            self.settings["config"]["epochs"] = epochs
        older, now = set(state.get("trained", self._trained())), set(self._trained())
        for change, names in (("trained and are frozen", older - now), ("frozen and are trained", now - older)):
            if names:
                raise ValueError(
                    f"{path} is of a run in which {len(names)} weights were {change} now: {some(sorted(names))}. Set "
                    "freeze or requires_grad as it was, or give another folder"
                )
        self.clip.model.load_state_dict(state["model"])
        self.loss.load_state_dict(state["loss"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step, self.best_weights, self.before = state["step"], state["best_weights"], []
        self.history = History(**state["history"])
        self._stop_early()

    def _write_results(self) -> None:
        if self.folder is not None and self.processes.first:
            weights = save_clip(self.folder / WEIGHTS, self.clip, self.settings)
            results = {"weights": weights.name, **self.settings, "history": asdict(self.history)}
            write_json(self.folder / SETTINGS, results)
        self.processes.wait()


def _number(item: dict) -> int:
    """Number the group of a pair, the same in every process; without one, pairs with equal captions are a group."""
    words = str(item.get("group", item["caption"]))
    return int.from_bytes(hashlib.sha256(words.encode()).digest()[:8], "big") >> 1


def _copy(part: nn.Module) -> dict[str, Tensor]:
    return {name: weight.detach().cpu().clone() for name, weight in part.state_dict().items()}


@contextmanager
def _trainable(model: nn.Module, freeze: str) -> Iterator[None]:
    """Give gradients and training mode only to the parts that are trained; afterwards all is as before.

    A weight that had no gradient before gets none: somebody froze it on purpose.
    """
    before = {name: parameter.requires_grad for name, parameter in model.named_parameters()}
    for name, parameter in model.named_parameters():
        tower = "image" if name.startswith("visual.") else "text"
        unused = name in ("logit_scale", "logit_bias")  # the loss has a temperature of its own
        parameter.requires_grad_(before[name] and not unused and tower != freeze)
    _training_mode(model, freeze)
    try:
        yield
    finally:
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(before[name])
        model.zero_grad()
        model.eval()


def _training_mode(model: nn.Module, freeze: str) -> None:
    for name, part in model.named_children():
        part.train(freeze != ("image" if name == "visual" else "text"))


def _optimizer(towers: nn.Module, loss: nn.Module, config: FinetuneConfig) -> torch.optim.AdamW:
    parameters = [p for p in [*towers.parameters(), *loss.parameters()] if p.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": config.weight_decay},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=config.learning_rate, betas=config.betas, eps=config.epsilon)


def _steps(dataset: Any, batch_size: int, name: str) -> int:
    if len(dataset) < batch_size:
        raise ValueError(f"{name} has {len(dataset)} pairs, fewer than a batch of {batch_size}: lower batch_size")
    return len(dataset) // batch_size
