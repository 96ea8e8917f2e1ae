"""The learning rate that falls and starts again, so that one training gives several models.

A cycle begins at the peak and falls along a polynomial that stops after a fraction γ of the cycle. With t steps since
the cycle began, and T of them in a cycle,

    factor = (1 − min(t, γ T) / T)^0.9 .

The first step of a cycle keeps the peak (t = 0). The last, flat part of a cycle visits different models of one valley;
the next peak leaves it for another one (Zhao et al. 2022; section 3.4 of Koleilat et al. 2025).
"""

from __future__ import annotations

from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

GAMMA, EXPONENT = 0.8, 0.9


def cyclic_poly(step: int, cycle_length: int, gamma: float = GAMMA, exponent: float = EXPONENT) -> float:
    """Compute the factor of the peak learning rate, from 0 to 1.

    Args:
        step: number of the step, from 0, over all cycles.
        cycle_length: T, steps in a cycle, 1 or more.
        gamma: fraction of the cycle after which the factor stops falling, from 0 to 1.
        exponent: exponent of the polynomial.

    Raises:
        ValueError: a number is out of range.
    """
    _check(step, cycle_length, gamma)
    return (1 - min(step % cycle_length, gamma * cycle_length) / cycle_length) ** exponent


def released_poly(
    step: int, cycle_length: int, n_cycles: int, gamma: float = GAMMA, exponent: float = EXPONENT
) -> float:
    """Compute the factor as the released code does, for comparison: it divides by the length of the *whole* training.

    A cycle of a training of three then falls to about three quarters of its peak, and hardly cycles.

    Args:
        n_cycles: number of cycles in the training.
        step, cycle_length, gamma, exponent: as in :func:`cyclic_poly`.
    """
    _check(step, cycle_length, gamma)
    return (1 - min(step % cycle_length, gamma * cycle_length) / (n_cycles * cycle_length)) ** exponent


class CyclicPolyLR(LRScheduler):
    """:func:`cyclic_poly` as a scheduler of torch: call ``step()`` after each step of the optimizer.

    Args:
        optimizer: optimizer whose learning rates are the peaks.
        cycle_length, gamma, exponent: as in :func:`cyclic_poly`.
        warm_up: steps at the peak before the first cycle begins, 0 or more.

    Raises:
        ValueError: a number is out of range.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        cycle_length: int,
        gamma: float = GAMMA,
        exponent: float = EXPONENT,
        warm_up: int = 0,
    ):
        _check(0, cycle_length, gamma)
        if warm_up < 0:
            raise ValueError(f"warm_up is {warm_up}: give 0 or more")
        self.cycle_length, self.gamma, self.exponent, self.warm_up = cycle_length, gamma, exponent, warm_up
        super().__init__(optimizer)

    def get_lr(self) -> list[float | Tensor]:
        """Return the learning rate of each group of parameters."""
        step = max(0, self.last_epoch - self.warm_up)
        factor = cyclic_poly(step, self.cycle_length, self.gamma, self.exponent)
        return [peak * factor for peak in self.base_lrs]


def _check(step: int, cycle_length: int, gamma: float) -> None:
    if step < 0 or cycle_length < 1:
        raise ValueError(f"step is {step} and cycle_length is {cycle_length}: give 0 or more, and 1 or more")
    if not 0 <= gamma <= 1:
        raise ValueError(f"gamma is {gamma}: give a fraction from 0 to 1")
