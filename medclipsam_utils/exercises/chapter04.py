"""Exercises of chapter 4, saliency: M2IB in four steps, GradCAM, and a bottleneck that is solved by hand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from .exercise import Exercise, Function, Mistake, Outcome, called


def mix(alpha, x, noise, variance):
    passed = torch.sigmoid(alpha)
    return passed * x + (1 - passed) * variance**0.5 * noise


def nats_per_token(alpha, x, variance):
    passed = torch.sigmoid(alpha)
    spread = (1 - passed) ** 2
    nats = 0.5 * ((passed * x) ** 2 / variance + spread - 1 - torch.log(spread))
    return nats.sum(-1)


def close_bottleneck(x, similarity, noise, beta, variance):
    alpha = torch.full_like(x, 5.0, requires_grad=True)
    adam = torch.optim.Adam([alpha], lr=1.0)
    for drawn in noise:
        fit = similarity(mix(alpha, x, drawn, variance)).mean()
        price = nats_per_token(alpha, x, variance).sum() / x.numel()
        (alpha.grad,) = torch.autograd.grad(beta * price - fit, alpha)
        adam.step()
    return alpha.detach()


def to_map(nats, prefix, grid, size):
    patches = nats[prefix:].reshape(1, 1, *grid)
    pixels = F.interpolate(patches, size=size, mode="bilinear")[0, 0]
    pixels = pixels - pixels.min()
    return pixels / pixels.max().clamp(min=1e-6)


def grad_cam_of(activations, gradients):
    weights = gradients.mean((1, 2))
    maps = weights[:, None, None] * activations
    return maps.sum(0).clamp(min=0)


def best_share(x, beta):
    a, b = beta * (x**2 + 1), x - beta * x**2
    closed = (-b + np.sqrt(b**2 + 4 * a * beta)) / (2 * a)
    return 1 - closed


class Toy:
    """Stand for the blocks behind a bottleneck and the text: from tokens [samples, N, D] to cosines [samples].

    Its weights would take a gradient, as those of a network do, and it is never copied: whether they got one can be
    seen afterwards.
    """

    def __init__(self, generator: np.random.Generator, channels: int) -> None:
        self.weights = tensor(generator.normal(size=(channels, 3))).requires_grad_(True)
        self.text = tensor(generator.normal(size=3))

    def __call__(self, tokens: torch.Tensor) -> torch.Tensor:
        return F.cosine_similarity(torch.tanh(tokens @ self.weights).mean(-2), self.text, dim=-1)

    def __deepcopy__(self, memo: dict) -> Toy:
        return self

    def __repr__(self) -> str:
        return "similarity"


@dataclass(frozen=True, kw_only=True)
class Loop(Function):
    """A function that optimises α; it must leave the weights behind the bottleneck alone, and return plain values."""

    untouched: str
    attached: str

    def judge(self, answer: Any) -> Outcome:
        outcome = super().judge(answer)
        if outcome.solved:
            arguments = self.cases(np.random.default_rng(0))[0]
            alpha = called(answer, arguments)
            if arguments[1].weights.grad is not None:
                return Outcome(False, self.untouched)
            if getattr(alpha, "requires_grad", False):
                return Outcome(False, self.attached)
        return outcome


def tensor(values: Any) -> torch.Tensor:
    return torch.as_tensor(values, dtype=torch.float64)


def tokens_with_noise(generator: np.random.Generator) -> Sequence[tuple[Any, ...]]:
    """Give α, tokens, noise and variance: one number at λ = ½, ends of the scale, and random ones."""
    one = tensor([[0.0]]), tensor([[2.0]]), tensor([[[1.0]], [[-3.0]]]), 4.0
    ends = tensor([[-30.0, 30.0]]), tensor([[1.0, 2.0]]), tensor([[[3.0, 4.0]]]), 1.0
    shapes = [(1, 4, 3), (3, 2, 5), (2, 6, 1)]
    random = [
        (tensor(generator.normal(0, 3, shape[1:])), tensor(generator.normal(size=shape[1:])),
         tensor(generator.normal(size=shape)), float(generator.uniform(0.2, 8)))
        for shape in shapes
    ]  # fmt: skip
    return [one, ends, *random]


def tokens_with_alpha(generator: np.random.Generator) -> Sequence[tuple[Any, ...]]:
    """Give α, tokens and variance: nothing passes, λ = ½, nearly all passes, and random ones."""
    none = tensor([[-30.0, -30.0]]), tensor([[1.0, -2.0]]), 1.0
    half = tensor([[0.0, 0.0], [0.0, 0.0]]), tensor([[2.0, 0.0], [0.0, 0.0]]), 1.0
    most = tensor([[7.0], [7.0], [7.0]]), tensor([[0.0], [1.0], [-4.0]]), 0.5
    random = [
        (tensor(generator.normal(0, 3, shape)), tensor(generator.normal(0, 2, shape)), float(generator.uniform(0.2, 8)))
        for shape in [(3, 3), (2, 5), (7, 2)]
    ]
    return [none, half, most, *random]


def towers(generator: np.random.Generator) -> Sequence[tuple[Any, ...]]:
    """Give tokens, a similarity, noise for each step, and prices: three steps, one step, no noise, no price."""
    cases = []
    for steps, samples, count, channels, beta in ((3, 2, 3, 2, 0.1), (1, 1, 2, 2, 1.0), (6, 3, 4, 3, 0.5)):
        x = tensor(generator.normal(size=(count, channels)))
        noise = tensor(generator.normal(size=(steps, samples, count, channels)))
        cases.append((x, Toy(generator, channels), noise, beta, float(generator.uniform(0.5, 4))))
    x, toy = tensor(generator.normal(size=(3, 2))), Toy(generator, 2)
    silent, loud = torch.zeros(4, 1, 3, 2, dtype=torch.float64), tensor(generator.normal(size=(8, 2, 3, 2)))
    return [*cases, (x, toy, silent, 0.1, 1.0), (x, toy, loud, 0.0, 2.0), (x, toy, loud, 0.02, 2.0)]


def grids(generator: np.random.Generator) -> Sequence[tuple[Any, ...]]:
    """Give nats, the number of class tokens, the grid and the size: a ramp, nothing at all, and random ones."""
    ramp = tensor([9.0, 1, 2, 3, 4, 5, 6]), 1, (2, 3), (4, 6)
    nothing = torch.zeros(4, dtype=torch.float64), 0, (2, 2), (4, 4)
    random = [
        (tensor(generator.uniform(0.5, 9, prefix + grid[0] * grid[1])), prefix, grid, size)
        for prefix, grid, size in (
            (0, (3, 3), (9, 9)),
            (1, (4, 2), (10, 7)),
            (2, (3, 5), (12, 20)),
            (1, (3, 3), (7, 7)),
        )
    ]
    return [ramp, nothing, *random]


def channels_of_patches(generator: np.random.Generator) -> Sequence[tuple[Any, ...]]:
    """Give activations and gradients: two channels, one against the text, nothing for it, and random ones."""
    two = tensor([[[1.0, 2.0]], [[3.0, 0.0]]]), tensor([[[1.0, 3.0]], [[-1.0, -1.0]]])
    against = tensor([[[1.0, 2.0], [0.0, 4.0]]]), tensor([[[-1.0, -1.0], [0.0, 0.0]]])
    random = [
        (tensor(generator.normal(size=shape)), tensor(generator.normal(size=shape)))
        for shape in [(3, 2, 4), (5, 3, 3), (4, 1, 6)]
    ]
    return [two, against, *random]


def values_and_prices(generator: np.random.Generator) -> Sequence[tuple[Any, ...]]:
    """Give x and β: the one of the chapter, others by hand, and random ones."""
    random = [(float(generator.uniform(0.2, 4)), float(generator.uniform(0.05, 3))) for _ in range(6)]
    return [(1.0, 0.5), (1.0, 1.0), (2.0, 0.5), (3.0, 0.2), *random]


def spoilt_nats(
    kl: Callable[[torch.Tensor, torch.Tensor, float], torch.Tensor], reduce: Callable[..., torch.Tensor] = torch.sum
) -> Callable[..., torch.Tensor]:
    """Give a wrong ``nats_per_token`` with another formula of λ, x and σ², or another reduction."""
    return lambda alpha, x, variance: reduce(kl(torch.sigmoid(alpha), x, variance), dim=-1)


def formula(passed, x, variance):
    spread = (1 - passed) ** 2
    return 0.5 * ((passed * x) ** 2 / variance + spread - 1 - torch.log(spread))


def the_other_way_round(passed, x, variance):
    spread = (1 - passed) ** 2
    return 0.5 * ((1 + (passed * x) ** 2 / variance) / spread - 1 + torch.log(spread))


def without_the_log(passed, x, variance):
    return 0.5 * ((passed * x) ** 2 / variance + (1 - passed) ** 2 - 1)


def without_the_square(passed, x, variance):
    return 0.5 * ((passed * x) ** 2 / variance + (1 - passed) - 1 - torch.log(1 - passed))


def without_the_share(passed, x, variance):
    spread = (1 - passed) ** 2
    return 0.5 * (x**2 / variance + spread - 1 - torch.log(spread))


def without_the_square_in_the_log(passed, x, variance):
    return 0.5 * ((passed * x) ** 2 / variance + (1 - passed) ** 2 - 1 - torch.log(1 - passed))


def without_the_brackets(passed, x, variance):
    spread = (1 - passed) ** 2
    return 0.5 * (passed * x) ** 2 / variance + spread - 1 - torch.log(spread)


def with_a_plain_share(passed, x, variance):
    spread = (1 - passed) ** 2
    return 0.5 * (passed * x**2 / variance + spread - 1 - torch.log(spread))


def with_the_whole_spread(passed, x, variance):
    spread = (1 - passed) ** 2 * variance
    return 0.5 * ((passed * x) ** 2 / variance + spread - 1 - torch.log(spread))


def in_bits_within(passed, x, variance):
    spread = (1 - passed) ** 2
    return 0.5 * ((passed * x) ** 2 / variance + spread - 1 - torch.log2(spread))


def spoilt_loop(
    *,
    start: float = 5.0,
    lr: float = 1.0,
    loss: Callable[..., torch.Tensor] = lambda beta, price, fit, x: beta * price - fit,
    same_noise: bool = False,
    keep_gradients: bool = False,
    weights_too: bool = False,
    optimiser: Callable[..., torch.optim.Optimizer] = torch.optim.Adam,
    answer: Callable[[torch.Tensor], torch.Tensor] = torch.Tensor.detach,
) -> Callable[..., torch.Tensor]:
    """Give a wrong ``close_bottleneck``."""

    def close(x, similarity, noise, beta, variance):
        alpha = torch.full_like(x, start, requires_grad=True)
        adam = optimiser([alpha], lr=lr)
        for drawn in noise:
            drawn = noise[0] if same_noise else drawn
            fit = similarity(mix(alpha, x, drawn, variance)).mean()
            value = loss(beta, nats_per_token(alpha, x, variance).sum() / x.numel(), fit, x)
            if not keep_gradients:
                adam.zero_grad()
            value.backward() if weights_too else value.backward(inputs=[alpha])
            adam.step()
        return answer(alpha.detach())

    return close


def never_moves(x, similarity, noise, beta, variance):
    return torch.full_like(x, 5.0)


def to_unit(values: torch.Tensor) -> torch.Tensor:
    return (values - values.min()) / (values.max() - values.min()).clamp(min=1e-6)


def spoilt_map(
    *,
    tokens: Callable[[torch.Tensor, int], torch.Tensor] = lambda nats, prefix: nats[prefix:],
    across: bool = False,
    turned: bool = False,
    first: Callable[[torch.Tensor], torch.Tensor] = lambda patches: patches,
    scale: Callable[[torch.Tensor], torch.Tensor] = to_unit,
    **drawing: Any,
) -> Callable[..., torch.Tensor]:
    """Give a wrong ``to_map``."""

    def draw(nats, prefix, grid, size):
        patches = tokens(nats, prefix)
        patches = patches.reshape(grid[1], grid[0]).T if across else patches.reshape(grid[::-1] if turned else grid)
        return scale(F.interpolate(first(patches)[None, None], size=size, **({"mode": "bilinear"} | drawing))[0, 0])

    return draw


WEIGHTS_TOO = (
    "the values are right, but the weights behind the bottleneck got a gradient as well, which nobody reads. "
    "loss.backward() asks for everything; ask for the gradient of α alone."
)

EXERCISES: tuple[Exercise, ...] = (
    Function(
        number="04.1",
        title="mix tokens with noise",
        difficulty=1,
        minutes=10,
        purpose="the bottleneck itself, first of four steps to M2IB",
        hints=(
            "Two lines are enough: first the share λ that passes, then the mixture of the equation above.",
            "torch.sigmoid(alpha) is λ. The noise that you get has variance 1: which factor makes it σ²?",
            "Add λ times the tokens to 1 − λ times the noise, and give the noise the deviation σ, a square root.",
        ),
        solution=mix,
        cases=tokens_with_noise,
        gradient=True,
        mistakes=(
            Mistake(
                "the noise is not scaled by 1 − λ: it comes on top of the token instead of taking its place.",
                lambda alpha, x, noise, variance: torch.sigmoid(alpha) * x + variance**0.5 * noise,
            ),
            Mistake(
                "λ and 1 − λ are exchanged: λ is the share of the token that passes.",
                lambda alpha, x, noise, variance: mix(-alpha, x, noise, variance),
            ),
            Mistake(
                "the variance is used as if it were the deviation: a number times c has c² times the variance.",
                lambda alpha, x, noise, variance: mix(alpha, x, noise, variance**2),
            ),
            Mistake(
                "the variance is not used: with a larger σ² the noise must be louder.",
                lambda alpha, x, noise, variance: mix(alpha, x, noise, 1.0),
            ),
            Mistake(
                "alpha itself is taken as the share; λ is its sigmoid.",
                lambda alpha, x, noise, variance: alpha * x + (1 - alpha) * variance**0.5 * noise,
            ),
            Mistake(
                "your λ are shares of one another (softmax); each entry has a λ of its own.",
                lambda alpha, x, noise, variance: (
                    alpha.softmax(-1) * x + (1 - alpha.softmax(-1)) * variance**0.5 * noise
                ),
            ),
            Mistake(
                "1 − λ has come under the root; only the variance belongs there.",
                lambda alpha, x, noise, variance: (
                    torch.sigmoid(alpha) * x + ((1 - torch.sigmoid(alpha)) * variance) ** 0.5 * noise
                ),
            ),
        ),
    ),
    Function(
        number="04.2",
        title="what passes, in nats",
        difficulty=2,
        minutes=15,
        purpose="the price that the bottleneck pays, and in the end the saliency; second of four steps",
        hints=(
            "Write the KL for all entries at once; tensors do the rest. Which axis holds the channels?",
            "Compute λ and (1 − λ)² first, each on a line of its own. Then the formula has four terms and a factor.",
            "The formula gives one number for each entry of x. Sum them over the channels, the last axis.",
        ),
        solution=nats_per_token,
        cases=tokens_with_alpha,
        gradient=True,
        mistakes=(
            Mistake(
                "that is the divergence the other way round, of the noise from the mixture. It is another number.",
                spoilt_nats(the_other_way_round),
            ),
            Mistake("the logarithm is missing.", spoilt_nats(without_the_log)),
            Mistake(
                "the logarithm is that of a variance, and a square is missing in yours.",
                spoilt_nats(without_the_square_in_the_log),
            ),
            Mistake(
                "the ½ stands before the whole bracket; yours halves the first term only.",
                spoilt_nats(without_the_brackets),
            ),
            Mistake(
                "x is squared and λ is not: the mean of the mixture is λx, and all of it is squared.",
                spoilt_nats(with_a_plain_share),
            ),
            Mistake(
                "σ² is in your variance of the mixture; in the formula it is divided out there.",
                spoilt_nats(with_the_whole_spread),
            ),
            Mistake("log2 counts in bits; nats want the natural logarithm.", spoilt_nats(in_bits_within)),
            Mistake("the ½ in front is missing.", spoilt_nats(lambda *of: 2 * formula(*of))),
            Mistake(
                "that is the mean over the channels; a token's information is the sum.",
                spoilt_nats(formula, torch.mean),
            ),
            Mistake(
                "you summed over the tokens; one number is asked for each token, over its channels.",
                lambda alpha, x, variance: formula(torch.sigmoid(alpha), x, variance).sum(0),
            ),
            Mistake(
                "one number for each token is asked for; yours is one for all of them.",
                lambda alpha, x, variance: nats_per_token(alpha, x, variance).sum(),
            ),
            Mistake("the mixture's variance has the square of 1 − λ.", spoilt_nats(without_the_square)),
            Mistake("the mean of the mixture is λx, not x.", spoilt_nats(without_the_share)),
            Mistake(
                "σ² is not used, or stands in the wrong place.",
                lambda alpha, x, variance: nats_per_token(alpha, x, 1.0),
            ),
            Mistake(
                "λx is divided by σ⁴: it is squared, and the variance is not.",
                lambda alpha, x, variance: nats_per_token(alpha, x, variance**2),
            ),
            Mistake(
                "you divide by the deviation σ, where the variance is asked for.",
                lambda alpha, x, variance: nats_per_token(alpha, x, variance**0.5),
            ),
        ),
    ),
    Loop(
        number="04.3",
        title="close the bottleneck",
        difficulty=3,
        minutes=30,
        purpose="the loop that searches for what the sentence needs; third of four steps",
        hints=(
            "It is an ordinary training loop in which α is the only thing that learns. What is its loss?",
            "For each drawn noise: similarity of the mixture (mean over the samples), price (mean over all entries of "
            "x), loss, gradient of α, one step of Adam. α starts at 5 everywhere, and the learning rate is 1.",
            "torch.autograd.grad(loss, alpha) gives a tuple with the gradient of α alone; put it into alpha.grad, then "
            "call adam.step(). After the last step return alpha.detach().",
        ),
        solution=close_bottleneck,
        cases=towers,
        tolerance=1e-4,
        seconds=60.0,  # the first optimiser of a session loads much of torch
        untouched=WEIGHTS_TOO,
        attached="the values are right, but your α still asks for a gradient: give back its values alone.",
        mistakes=(
            Mistake(WEIGHTS_TOO, spoilt_loop(weights_too=True)),
            Mistake(
                "the similarity has the wrong sign: your loss falls when the image fits the sentence *less*.",
                spoilt_loop(loss=lambda beta, price, fit, x: beta * price + fit),
            ),
            Mistake(
                "the price of information is ignored: where is β?",
                spoilt_loop(loss=lambda beta, price, fit, x: price - fit),
            ),
            Mistake(
                "β stands at the similarity; it is the price of the information.",
                spoilt_loop(loss=lambda beta, price, fit, x: price - beta * fit),
            ),
            Mistake(
                "the price is the sum over all entries; the mean is asked for. Information is far too dear for you.",
                spoilt_loop(loss=lambda beta, price, fit, x: beta * price * x.numel() - fit),
            ),
            Mistake(
                "the price is the mean over the tokens of what nats_per_token gives, which is a sum over channels: "
                "the mean over all entries is asked for.",
                spoilt_loop(loss=lambda beta, price, fit, x: beta * price * x.shape[-1] - fit),
            ),
            Mistake(
                "you climb: the loss is to be made small, and yours grows.",
                spoilt_loop(loss=lambda beta, price, fit, x: fit - beta * price),
            ),
            Mistake(
                "the gradients of the earlier steps are added to the new one: nothing sets them to zero.",
                spoilt_loop(keep_gradients=True),
            ),
            Mistake("every step meets the same noise, that of the first one.", spoilt_loop(same_noise=True)),
            Mistake("α starts at another value; at 5 nearly everything passes.", spoilt_loop(start=0.0)),
            Mistake("Adam has its usual learning rate, 0.001; here it is 1.", spoilt_loop(lr=0.001)),
            Mistake(
                "you take the steps of plain gradient descent; Adam is asked for.",
                spoilt_loop(optimiser=torch.optim.SGD),
            ),
            Mistake("α never moves: is there an optimiser, and does it step?", never_moves),
            Mistake("that is λ; α is asked for, before the sigmoid.", spoilt_loop(answer=torch.sigmoid)),
        ),
    ),
    Function(
        number="04.4",
        title="from nats to a map",
        difficulty=2,
        minutes=15,
        purpose="the last of four steps: a picture of the image's size",
        hints=(
            "Four things, one after the other: leave out what belongs to no patch, lay the rest out, enlarge, scale.",
            "torch's F.interpolate wants four axes, [batch, channels, rows, columns], and a size of (rows, columns); "
            "its mode is a word. The patches come row by row.",
            "nats[prefix:] are the patches. Reshape them to (1, 1, rows, columns), interpolate with mode “bilinear”, "
            "subtract the smallest value, and divide by the largest one that is left, if it is not 0.",
        ),
        solution=to_map,
        cases=grids,
        mistakes=(
            Mistake(
                "you left out the last tokens and kept the class token, which comes first and belongs to no patch.",
                spoilt_map(tokens=lambda nats, prefix: nats[: len(nats) - prefix]),
            ),
            Mistake(
                "the grid is transposed: patches come row by row.",
                spoilt_map(across=True),
            ),
            Mistake(
                "your grid has its columns first: there are `rows` rows of patches, and each has `columns` of them.",
                spoilt_map(turned=True),
            ),
            Mistake(
                "you scaled the patches and then enlarged them; between patches the extremes are lost, so the enlarged "
                "map no longer ends at 0 and 1.",
                spoilt_map(first=to_unit, scale=lambda pixels: pixels),
            ),
            Mistake("the map is not scaled to 0 … 1.", spoilt_map(scale=lambda pixels: pixels)),
            Mistake(
                "you divide by the largest value, and the smallest is not 0: subtract it first.",
                spoilt_map(scale=lambda pixels: pixels / pixels.max().clamp(min=1e-6)),
            ),
            Mistake(
                "you divide by the sum, so that the map adds up to 1; its largest value should be 1.",
                spoilt_map(
                    scale=lambda pixels: (pixels - pixels.min()) / (pixels - pixels.min()).sum().clamp(min=1e-6)
                ),
            ),
            Mistake(
                "a patch becomes one flat tile: interpolate between the patches (bilinear).", spoilt_map(mode="nearest")
            ),
            Mistake(
                "the corner patches are drawn on the corner pixels (align_corners=True); each patch belongs in the "
                "middle of its own pixels.",
                spoilt_map(align_corners=True),
            ),
        ),
    ),
    Function(
        number="04.5",
        title="GradCAM in three lines",
        difficulty=2,
        minutes=10,
        purpose="the baseline of every saliency paper is a weighted sum",
        hints=(
            "Every channel gets one weight. Which axes must go, so that one number for each channel is left?",
            "The weight of a channel is the mean of its gradient over rows and columns; then sum what is weighed.",
            "weights[:, None, None] * activations weighs every channel; sum over axis 0, and cut off what is below 0.",
        ),
        solution=grad_cam_of,
        cases=channels_of_patches,
        mistakes=(
            Mistake(
                "values below 0 are still there: what speaks against the sentence is cut off.",
                lambda activations, gradients: (gradients.mean((1, 2))[:, None, None] * activations).sum(0),
            ),
            Mistake(
                "every channel is cut off by itself; cut off the sum.",
                lambda activations, gradients: (
                    (gradients.mean((1, 2))[:, None, None] * activations).clamp(min=0).sum(0)
                ),
            ),
            Mistake(
                "you multiply gradient and activation patch by patch; a channel has one weight for all patches.",
                lambda activations, gradients: (gradients * activations).sum(0).clamp(min=0),
            ),
            Mistake(
                "the weight is summed over the patches where the mean is asked for.",
                lambda activations, gradients: (gradients.sum((1, 2))[:, None, None] * activations).sum(0).clamp(min=0),
            ),
            Mistake(
                "that is the mean over the channels; the sum is asked for.",
                lambda activations, gradients: (
                    (gradients.mean((1, 2))[:, None, None] * activations).mean(0).clamp(min=0)
                ),
            ),
            Mistake(
                "activations and gradients are exchanged: the gradient gives the weights.",
                lambda activations, gradients: grad_cam_of(gradients, activations),
            ),
            Mistake(
                "a sign has gone: that is the absolute value of the sum.",
                lambda activations, gradients: (gradients.mean((1, 2))[:, None, None] * activations).sum(0).abs(),
            ),
        ),
    ),
    Function(
        number="04.6",
        title="the best share, with pencil and paper",
        difficulty=2,
        minutes=15,
        purpose="know the answer before you trust a gradient descent",
        hints=(
            "Derive J by λ, as above, but keep x and β as letters. Where is the derivative 0?",
            "Put u = 1 − λ and multiply by u: a quadratic equation in u, of which one root lies between 0 and 1.",
            "It is β (x² + 1) u² + (x − β x²) u − β = 0. Take the positive root, and return 1 − u.",
        ),
        solution=best_share,
        cases=values_and_prices,
        tolerance=5e-4,
        mistakes=(
            Mistake(
                "that is 1 − λ, what is closed; the share that passes is asked for.", lambda *of: 1 - best_share(*of)
            ),
            Mistake("that is right for x = 1 only.", lambda x, beta: best_share(1.0, beta)),
            Mistake("β is not used.", lambda x, beta: best_share(x, 1.0)),
            Mistake("the other root of the quadratic equation is no share.", lambda x, beta: other_root(x, beta)),
            Mistake(
                "the ½ of the KL is missing: it cancels with the 2 of the squares. You pay twice for information.",
                lambda x, beta: best_share(x, 2 * beta),
            ),
        ),
    ),
)


def other_root(x, beta):
    a, b = beta * (x**2 + 1), x - beta * x**2
    return 1 - (-b - np.sqrt(b**2 + 4 * a * beta)) / (2 * a)
