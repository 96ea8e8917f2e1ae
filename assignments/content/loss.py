"""Losses: who is a positive, soft and debiased targets, and a rank that is fair to ties."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.special import log_softmax, softmax

from medclipsam_utils.exercises import Mistake

from ..steps import Arguments, Numbers, Part, Solution, Step

SENTENCES = (
    "a benign tumour of the breast",
    "a malignant tumour of the breast",
    "a glioma",
    "a meningioma",
    "clear lungs",
    "lungs with a nodule",
)


# --- caption_targets


def plain_captions(generator: np.random.Generator) -> list[Arguments]:
    by_hand = [["a", "b", "a"], ["a"], ["b", "b", "b", "a"]]
    drawn = [[str(word) for word in generator.choice(SENTENCES, size)] for size in (5, 8)]
    return [(captions,) for captions in (*by_hand, *drawn)]


def untidy_captions(generator: np.random.Generator) -> list[Arguments]:
    cases: list[Arguments] = [(["x ray", "xray", "X ray "],)]
    for size in (4, 7):
        captions = [str(word) for word in generator.choice(SENTENCES[:3], size)]
        captions[0], captions[1] = f" {captions[2].upper()}", f"{captions[2]}  "
        cases.append((captions,))
    return cases


def same_captions(captions: Sequence[str]) -> np.ndarray:
    words = np.array([caption.strip().casefold() for caption in captions])
    return (words[:, None] == words).astype(float)


def caption_mistakes(solution: Solution, numbers: Numbers) -> Sequence[Mistake]:
    def to_the_letter(captions: list[str]) -> np.ndarray:
        equal = (np.array(captions)[:, None] == np.array(captions)).astype(float)
        return equal / equal.sum(1, keepdims=True)

    return (
        Mistake(
            "each pair has only itself as its positive; pairs with the same caption share.", lambda c: np.eye(len(c))
        ),
        Mistake("the positives are right, but each row has to sum to 1.", same_captions),
        Mistake("the whole matrix sums to 1; each row has to.", lambda c: same_captions(c) / same_captions(c).sum()),
        Mistake("captions that differ only in capitals, or in spaces around them, are the same.", to_the_letter),
        Mistake(
            "spaces inside a caption count: “x ray” and “xray” are two captions.",
            lambda c: solution(["".join(caption.split()) for caption in c]),
        ),
    )


# --- soft_loss and its gradient


def batch(generator: np.random.Generator, size: int) -> tuple[np.ndarray, np.ndarray]:
    similarity = generator.uniform(-1, 1, (size, size)).round(3)
    return similarity, generator.dirichlet(np.full(size, 0.5), size) * 0.9 + 0.1 * np.eye(size)


def soft_batches(generator: np.random.Generator) -> list[Arguments]:
    by_hand = [(np.array([[0.9, 0.1], [0.3, 0.5]]), np.eye(2), 1.0)]
    return by_hand + [(*batch(generator, size), tau) for size, tau in ((3, 0.6), (5, 0.1), (8, 0.25))]


def cold_batches(generator: np.random.Generator) -> list[Arguments]:
    return [(*batch(generator, size), tau) for size, tau in ((4, 0.001), (6, 0.0005))]


def half(similarity: np.ndarray, targets: np.ndarray, temperature: float) -> float:
    return float(-(targets * log_softmax(similarity / temperature, axis=1)).sum(1).mean())


def turned(targets: np.ndarray) -> np.ndarray:
    return targets.T / targets.T.sum(1, keepdims=True)


def soft_mistakes(solution: Solution, numbers: Numbers) -> Sequence[Mistake]:
    def overflowing(s: np.ndarray, t: np.ndarray, tau: float) -> float:
        with np.errstate(all="ignore"):
            e = np.exp(s / tau)
            rows, columns = e / e.sum(1, keepdims=True), e.T / e.T.sum(1, keepdims=True)
            return float(-((t * np.log(rows)).sum(1).mean() + (turned(t) * np.log(columns)).sum(1).mean()) / 2)

    def padded(s: np.ndarray, t: np.ndarray, tau: float) -> float:
        rows, columns = softmax(s / tau, axis=1), softmax(s.T / tau, axis=1)
        halves = [(t * np.log(rows + 1e-12)).sum(1).mean(), (turned(t) * np.log(columns + 1e-12)).sum(1).mean()]
        return float(-np.mean(halves))

    return (
        Mistake("the temperature is missing: divide the similarities by it.", lambda s, t, tau: solution(s, t, 1.0)),
        Mistake("you multiply by the temperature; divide by it.", lambda s, t, tau: solution(s, t, 1 / tau)),
        Mistake("that is the half from images to texts; the other half is missing.", half),
        Mistake(
            "that is the sum of the two halves; their mean is asked for.",
            lambda s, t, tau: 2 * solution(s, t, tau),
        ),
        Mistake(
            "that sums over the batch; each half is a mean over it.", lambda s, t, tau: len(s) * solution(s, t, tau)
        ),
        Mistake(
            "from texts to images, the targets of a text have to sum to 1 as well: the columns do not yet.",
            lambda s, t, tau: (half(s, t, tau) + half(s.T, t.T, tau)) / 2,
        ),
        Mistake(
            "from texts to images, the targets have to be transposed as the similarities are.",
            lambda s, t, tau: (half(s, t, tau) + half(s.T, t, tau)) / 2,
        ),
        Mistake("the exponentials overflow: subtract the largest of a row before np.exp.", overflowing),
        Mistake(
            "a small number inside the logarithm bends it: where p underflows to 0, write log p without p, as the "
            "logit minus the logarithm of the sum.",
            padded,
        ),
    )


def gradient_mistakes(solution: Solution, numbers: Numbers) -> Sequence[Mistake]:
    return (
        Mistake("the sign is the other way round: raising s_ij raises p_ij.", lambda s, t, tau: -solution(s, t, tau)),
        Mistake("a factor 1/τ is missing: s is divided by τ first.", lambda s, t, tau: tau * solution(s, t, tau)),
        Mistake("a factor 1/B is missing: the loss is a mean.", lambda s, t, tau: len(s) * solution(s, t, tau)),
        Mistake(
            "that is what the softmax gives; what the targets ask for has to be subtracted.",
            lambda s, t, tau: softmax(s / tau, axis=1) / (len(s) * tau),
        ),
        Mistake(
            "the softmax is over the columns; from images to texts it is over a row.",
            lambda s, t, tau: (softmax(s / tau, axis=0) - t) / (len(s) * tau),
        ),
    )


# --- debiased_loss


def debiased_batches(generator: np.random.Generator) -> list[Arguments]:
    """Positives that are no larger than their negatives, so that the estimate stays far above its floor."""
    cases = []
    for size, tau, prior in ((3, 1.0, 0.1), (5, 0.6, 0.2), (8, 0.5, 0.05)):
        similarity = generator.uniform(0.2, 0.9, (size, size)).round(3)
        np.fill_diagonal(similarity, generator.uniform(-0.4, 0.2, size).round(3))
        cases.append((similarity, tau, prior))
    return cases


def floored_batches(generator: np.random.Generator) -> list[Arguments]:
    cases = []
    for size, tau, prior in ((4, 0.3, 0.3), (6, 0.2, 0.1)):
        similarity = generator.uniform(-0.9, -0.2, (size, size)).round(3)
        np.fill_diagonal(similarity, generator.uniform(0.6, 1, size).round(3))
        cases.append((similarity, tau, prior))
    return cases


def debiased(
    s: np.ndarray,
    tau: float,
    prior: float,
    *,
    floor: str = "cosine",
    own: bool = False,
    share: bool = True,
    count: int | None = -1,
) -> np.ndarray:
    """The loss with its slips: another floor, the positive among the negatives, not divided by 1 - prior.

    ``count`` is added to the number of texts for the number of negatives; None takes a single one.
    """
    e, size = np.exp(s / tau), len(s)
    positive = np.diag(e)
    mean = e.mean(1) if own else (e.sum(1) - positive) / (size - 1)
    estimate = (mean - prior * positive) / ((1 - prior) if share else 1)
    least = {"none": -np.inf, "zero": 0.0, "cosine": np.exp(-1 / tau)}[floor]
    with np.errstate(all="ignore"):
        negatives = (1 if count is None else size + count) * np.maximum(estimate, least)
        return -np.log(positive / (positive + negatives))


def debiased_mistakes(solution: Solution, numbers: Numbers) -> Sequence[Mistake]:
    return (
        Mistake(
            "the estimate of the true negatives has a floor, exp(-1/τ), which is missing.",
            lambda s, tau, prior: debiased(s, tau, prior, floor="none"),
        ),
        Mistake(
            "the floor is exp(-1/τ), the least that e can be, and not 0.",
            lambda s, tau, prior: debiased(s, tau, prior, floor="zero"),
        ),
        Mistake(
            "the negatives of an image are the other texts of its row; yours are those of its column.",
            lambda s, tau, prior: solution(s.T, tau, prior),
        ),
        Mistake(
            "there are B - 1 negatives, and their mean stands for one of them: a factor B - 1 is missing.",
            lambda s, tau, prior: debiased(s, tau, prior, count=None),
        ),
        Mistake(
            "the mean over the negatives leaves the pair itself out.",
            lambda s, tau, prior: debiased(s, tau, prior, own=True),
        ),
        Mistake(
            "after subtracting the false negatives, divide by the share of the true ones, 1 - prior.",
            lambda s, tau, prior: debiased(s, tau, prior, share=False),
        ),
        Mistake("there are B - 1 negatives, not B.", lambda s, tau, prior: debiased(s, tau, prior, count=0)),
        Mistake(
            "that is the loss without the correction: prior is not used.", lambda s, tau, prior: debiased(s, tau, 0.0)
        ),
        Mistake("one number for each image is asked for, not their mean.", lambda *a: solution(*a).mean()),
    )


# --- recall_with_ties


def ranks(generator: np.random.Generator) -> list[Arguments]:
    by_hand = [(np.array([[0.9, 0.1], [0.8, 0.2]]), 1), (np.array([[0.9, 0.1], [0.8, 0.2]]), 2)]
    return by_hand + [(generator.normal(size=(size, size)), k) for size, k in ((6, 1), (9, 2), (12, 5))]


def tied_ranks(generator: np.random.Generator) -> list[Arguments]:
    behind_one = np.eye(4)
    behind_one[0] = (1, 2, 1, 1)
    by_hand = [(np.zeros((4, 4)), 1), (np.zeros((4, 4)), 9), (behind_one, 2)]
    return by_hand + [
        (generator.integers(0, 4, (size, size)).astype(float), k) for size, k in ((6, 1), (9, 2), (12, 3))
    ]


def recall_mistakes(solution: Solution, numbers: Numbers) -> Sequence[Mistake]:
    def own(s: np.ndarray) -> np.ndarray:
        return np.diag(s)[:, None]

    def by_order(s: np.ndarray, k: int) -> float:
        order = np.argsort(-s, axis=1, kind="stable")[:, :k]
        return float((order == np.arange(len(s))[:, None]).any(1).mean())

    return (
        Mistake("that is in percent; a fraction is asked for.", lambda s, k: 100 * solution(s, k)),
        Mistake(
            "ties are always decided for the right text; they should be decided by chance.",
            lambda s, k: ((s > own(s)).sum(1) < k).mean(),
        ),
        Mistake(
            "ties are always decided against the right text; they should be decided by chance.",
            lambda s, k: ((s >= own(s)).sum(1) <= k).mean(),
        ),
        Mistake(
            "an image whose own text is surely among the first k counts 1, one that surely is not counts 0; between "
            "them it is (k - m)/n, not k/n.",
            lambda s, k: (((s > own(s)).sum(1) < k) * np.minimum(k / (s == own(s)).sum(1), 1)).mean(),
        ),
        Mistake("ties are decided by the order of the texts, so that a shuffled batch gets another score.", by_order),
        Mistake(
            "that searches images for a text; for each image, the texts are ranked.", lambda s, k: solution(s.T, k)
        ),
    )


STEPS: tuple[Step, ...] = (
    Step(
        "caption_targets",
        (Part("captions as they are", 2, plain_captions), Part("untidy captions", 1, untidy_captions)),
        caption_mistakes,
    ),
    Step(
        "soft_loss",
        (Part("random batches", 3, soft_batches), Part("a very small temperature", 2, cold_batches)),
        soft_mistakes,
    ),
    Step("soft_gradient", (Part("random batches", 3, soft_batches),), gradient_mistakes),
    Step(
        "debiased_loss",
        (Part("above the floor", 3, debiased_batches), Part("at the floor", 2, floored_batches)),
        debiased_mistakes,
    ),
    Step(
        "recall_with_ties",
        (Part("without ties", 1, ranks), Part("with ties", 3, tied_ranks)),
        recall_mistakes,
    ),
)
