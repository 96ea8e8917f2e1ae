"""Muon for the matrices that map features to features, AdamW for everything else.

Muon (Jordan et al. 2024) makes every step of a matrix a multiple of an orthogonal one, so that directions in which the
gradient is small are learned as fast as the large ones. From random weights it needed half of AdamW's steps here.
Embeddings, convolutions, norms and biases are no such matrices; AdamW (Loshchilov & Hutter 2019) takes them.
"""

from __future__ import annotations

import math

import torch
from torch import nn


class MuonAndAdamW:
    """Two optimizers that step together.

    Args:
        model: every ``nn.Linear`` weight goes to Muon, the other parameters to AdamW.
        matrix_rate: the largest learning rate of Muon.
        other_rate: the largest learning rate of AdamW.
        matrix_decay: Muon's weight decay.
    """

    def __init__(self, model: nn.Module, matrix_rate: float, other_rate: float, matrix_decay: float):
        if not hasattr(torch.optim, "Muon"):
            raise RuntimeError(f"torch {torch.__version__} has no torch.optim.Muon: install torch 2.9 or later")
        matrices = [layer.weight for layer in model.modules() if isinstance(layer, nn.Linear)]
        in_muon = {id(weight) for weight in matrices}
        others = [weight for weight in model.parameters() if weight.requires_grad and id(weight) not in in_muon]
        self.muon = torch.optim.Muon(matrices, lr=matrix_rate, weight_decay=matrix_decay)
        self.adamw = torch.optim.AdamW(others, lr=other_rate, betas=(0.9, 0.99), weight_decay=0.0)
        self.rates = matrix_rate, other_rate

    def step(self, share: float) -> None:
        """Move the weights at ``share`` of the largest learning rates, and forget the gradients."""
        for optimizer, rate in zip((self.muon, self.adamw), self.rates, strict=True):
            for group in optimizer.param_groups:
                group["lr"] = rate * share
            optimizer.step()
            optimizer.zero_grad()

    def state_dict(self) -> dict:
        return {"muon": self.muon.state_dict(), "adamw": self.adamw.state_dict()}

    def load_state_dict(self, state: dict) -> None:
        self.muon.load_state_dict(state["muon"])
        self.adamw.load_state_dict(state["adamw"])


def rate_share(step: int, steps: int, warm_up_steps: int, last: float) -> float:
    """Share of the largest rate: a straight line up, times half a cosine from 1 down to ``last``."""
    warm_up = min(1.0, (step + 1) / warm_up_steps)
    cosine = 0.5 * (1 + math.cos(math.pi * step / steps))
    return warm_up * (last + (1 - last) * cosine)
