"""Optimize the small models: the optimizers, their learning rates, and the average of the weights that is kept.

Muon (Jordan et al. 2024) makes every step of a matrix a multiple of an orthogonal one, so that directions in which the
gradient is small are learned as fast as the large ones. From random weights it needed half of AdamW's steps here.
That of torch computes in bfloat16, in which a processor without instructions for it is ten times slower than in
float32; :class:`Muon` does the same in float32.
Embeddings, convolutions, norms and biases are no such matrices; AdamW (Loshchilov & Hutter 2019) takes them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn, optim
from torch.optim.swa_utils import AveragedModel

SCALE_FACTOR = 5.0  # logit scales and biases are single numbers far from where they end: they may move faster


class Optimizers:
    """Let several optimizers step together. Every group of parameters has a ``largest_rate`` of its own."""

    def __init__(self, *optimizers: optim.Optimizer):
        self.optimizers = optimizers

    def step(self, fraction: float) -> None:
        """Move the weights at a fraction of the largest rates, and forget the gradients."""
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = group["largest_rate"] * fraction
            optimizer.step()
            optimizer.zero_grad()

    def state_dict(self) -> dict[str, Any]:
        return {type(optimizer).__name__: optimizer.state_dict() for optimizer in self.optimizers}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for optimizer in self.optimizers:
            optimizer.load_state_dict(state[type(optimizer).__name__])


class Muon(optim.Optimizer):
    """Move each matrix along its momentum, made nearly orthogonal by Newton–Schulz steps, in float32.

    Settings and scaling are those of ``torch.optim.Muon``: Nesterov momentum, steps scaled by √(rows / columns) where a
    matrix has more rows.

    Args:
        matrices: groups of parameters with two dimensions.
        weight_decay: fraction of a weight, times the rate, by which it shrinks in each step.
        momentum: how much of the earlier gradients is kept.
    """

    COEFFICIENTS, STEPS = (3.4445, -4.775, 2.0315), 5

    def __init__(self, matrices: Iterable[Any], weight_decay: float, momentum: float = 0.95):
        super().__init__(matrices, {"lr": 1e-3, "weight_decay": weight_decay, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        for group in self.param_groups:
            for matrix in group["params"]:
                if matrix.grad is None:
                    continue
                state = self.state[matrix]
                kept = state.setdefault("momentum_buffer", torch.zeros_like(matrix))
                kept.lerp_(matrix.grad, 1 - group["momentum"])
                update = self.orthogonal(matrix.grad.lerp(kept, group["momentum"]))
                rate = group["lr"] * max(1.0, matrix.shape[0] / matrix.shape[1]) ** 0.5
                matrix.mul_(1 - group["lr"] * group["weight_decay"]).add_(update, alpha=-rate)

    @classmethod
    def orthogonal(cls, matrix: Tensor) -> Tensor:
        """Bring the singular values of a matrix [R, C] near to 1."""
        a, b, c = cls.COEFFICIENTS
        wide = matrix.T if matrix.shape[0] > matrix.shape[1] else matrix
        wide = wide / wide.norm().clamp(min=1e-7)
        for _ in range(cls.STEPS):
            gram = wide @ wide.T
            wide = a * wide + (b * gram + c * gram @ gram) @ wide
        return wide.T if matrix.shape[0] > matrix.shape[1] else wide


def adamw(model: nn.Module, rate: float, decay: float, betas: tuple[float, float], scales: Sequence[nn.Parameter] = ()):
    """Give AdamW everything. Weight decay is for two dimensions or more; ``scales`` have :data:`SCALE_FACTOR`."""
    others = _without(model.parameters(), scales)
    groups = [
        {"params": [p for p in others if p.ndim >= 2], "weight_decay": decay, "largest_rate": rate},
        {"params": [p for p in others if p.ndim < 2], "weight_decay": 0.0, "largest_rate": rate},
        {"params": list(scales), "weight_decay": 0.0, "largest_rate": SCALE_FACTOR * rate},
    ]
    return Optimizers(optim.AdamW([group for group in groups if group["params"]], betas=betas))


def muon_and_adamw(
    model: nn.Module, matrix_rate: float, other_rate: float, matrix_decay: float, scales: Sequence[nn.Parameter] = ()
) -> Optimizers:
    """Give Muon the matrices that map features to features, and AdamW everything else.

    Args:
        model: every ``nn.Linear`` weight goes to Muon, the other parameters to AdamW.
        matrix_rate: the largest learning rate of Muon.
        other_rate: the largest learning rate of AdamW.
        matrix_decay: Muon's weight decay; AdamW has none.
        scales: parameters with :data:`SCALE_FACTOR` times ``other_rate``; they need not be the model's.
    """
    matrices = [layer.weight for layer in model.modules() if isinstance(layer, nn.Linear)]
    others = _without(model.parameters(), [*matrices, *scales])
    groups = [{"params": others, "largest_rate": other_rate}]
    if scales:
        groups.append({"params": list(scales), "largest_rate": SCALE_FACTOR * other_rate})
    return Optimizers(
        Muon([{"params": matrices, "largest_rate": matrix_rate}], weight_decay=matrix_decay),
        optim.AdamW(groups, betas=(0.9, 0.99), weight_decay=0.0),
    )


def rate_fraction(step: int, steps: int, warm_up_steps: int, last: float) -> float:
    """Compute the fraction of the largest rate: a straight line up, times half a cosine from 1 down to ``last``."""
    warm_up = min(1.0, (step + 1) / warm_up_steps)
    cosine = 0.5 * (1 + math.cos(math.pi * step / steps))
    return warm_up * (last + (1 - last) * cosine)


def moving_average(model: nn.Module, decay: float) -> AveragedModel:
    """Average the weights with exponential decay: the average is steadier than any of them, and it is what we keep.

    Its memory grows to its full length of about 1 / (1 − decay) steps, so that the first weights are soon forgotten.
    """

    def average(averaged: Tensor, current: Tensor, count: Tensor) -> Tensor:
        keep = min(decay, (1 + float(count)) / (10 + float(count)))
        return averaged + (1 - keep) * (current - averaged)

    return AveragedModel(model, avg_fn=average)


def start_from(model: nn.Module, average: AveragedModel, state: dict[str, Any]) -> None:
    """Let a model and its average begin with the averaged weights of another run."""
    average.load_state_dict(state)
    average.n_averaged.zero_()
    model.load_state_dict(average.module.state_dict())


def _without(parameters: Iterable[nn.Parameter], taken: Sequence[nn.Parameter]) -> list[nn.Parameter]:
    known = {id(parameter) for parameter in taken}
    return [parameter for parameter in parameters if parameter.requires_grad and id(parameter) not in known]
