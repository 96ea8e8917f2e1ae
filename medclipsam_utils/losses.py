"""The family of contrastive losses that stage 1 fine-tunes with, from InfoNCE to DHN-NCE.

All of them pull the two members of a pair together and push the others of the batch away. With cosine similarities
s_ij of image i and text j, temperature τ and B pairs, the image-to-text half is

    mean over i of   −s_ii/τ + log( [exp(s_ii/τ)] + Σ_{j≠i} w_ij exp(s_ij/τ) ),
    w_ij = (B − 1) exp(β s_ij/τ) / Σ_{k≠i} exp(β s_ik/τ),

and the text-to-image half is the same on the transposed similarities. The four losses differ in two switches:

===============  ==============================  ====================
loss             positive in the denominator     hardness β
===============  ==============================  ====================
InfoNCE          yes                             0, so that w = 1
DCL              no ("decoupled")                0, so that w = 1
HN-NCE           yes                             above 0
DHN-NCE          no                              above 0
===============  ==============================  ====================

With p_ij the fraction of the weighted sum that negative j makes up, and q_ij ∝ exp(β s_ij/τ) over j ≠ i, the gradient
of the image-to-text half of the decoupled losses, as the equation stands, is

    ∂/∂s_ij = ((1 + β) p_ij − β q_ij) / (τ B)        for a negative,  −1 / (τ B) for the pair itself,

because w depends on the similarities as well. With w held constant (``differentiate_weights=False``) it is
p_ij / (τ B), which is positive for every negative. The two differ little where β is small; at low τ the first one pulls
easy negatives closer.

**False negatives.** Where several captions of a batch are true of an image ("chest X-ray of the lungs", again and
again), all but its own are pushed away, and β pushes them hardest, because they are the most similar. With P_i for the
captions that are true of image i, its own among them, one switch decides what becomes of the others:

=============  ==================================================================================================
``"pushed"``   they are negatives like all others, as in the paper
``"masked"``   they are left out of the sum and of the weights: neither pushed nor pulled
``"soft"``     they are left out of the sum, and pulled: −s_ii/τ becomes the mean over P_i of −s_ij/τ
=============  ==================================================================================================

The weights of a row then add up to the number of its negatives. A row without any says nothing, and does not count; a
batch of such rows has the loss 0 and no gradient.

A τ that is learned needs a lower bound. A decoupled loss of pairs that fit is close to −2/τ, which falls without end as
τ goes to 0. CLIP therefore keeps its τ at 0.01 or above by clipping it between the steps, and so does this module.

Sources: van den Oord et al. 2018 and Radford et al. 2021 (InfoNCE), Yeh et al. 2022 (DCL), Radenovic et al. 2023
(HN-NCE), Koleilat et al. 2025 (DHN-NCE); Khosla et al. 2020 (several positives: their L_out).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.distributed import get_world_size, is_available, is_initialized
from torch.distributed.nn.functional import all_gather

#: Learned temperatures stay at this or above: CLIP's bound, a logit scale of 100 (Radford et al. 2021, section 2.5).
LOWEST_TEMPERATURE = 0.01

#: What becomes of other captions that are true of an image, see above.
FALSE_NEGATIVES = ("pushed", "masked", "soft")


class ContrastiveLoss(nn.Module):
    """Compute any loss of the family; the classes below name its members.

    Args:
        temperature: τ, above 0; where a learnable τ starts, at :data:`LOWEST_TEMPERATURE` or above.
        beta1: hardness β of the image-to-text half, 0 or above.
        beta2: hardness β of the text-to-image half, 0 or above.
        decoupled: leave the positive pair out of the denominator.
        learnable_temperature: train log τ along as a parameter, kept above its bound.
        differentiate_weights: let the gradient flow through the weights w, as the equation stands (the default).
            False holds w constant (a stop-gradient): the value is the same, the gradient is not, see above.
        false_negatives: what becomes of other captions that are true of an image, one of :data:`FALSE_NEGATIVES`.

    Attributes:
        log_temperature: log τ, a parameter float32 []; None if τ is fixed. The next call of the loss brings it back to
            the bound if an optimizer has moved it below.

    Raises:
        ValueError: a number is out of range.
    """

    def __init__(
        self,
        temperature: float,
        *,
        beta1: float = 0.0,
        beta2: float = 0.0,
        decoupled: bool = False,
        learnable_temperature: bool = False,
        differentiate_weights: bool = True,
        false_negatives: str = "pushed",
    ):
        super().__init__()
        check_temperature(temperature)
        if false_negatives not in FALSE_NEGATIVES:
            raise ValueError(f"false_negatives is {false_negatives!r}: choose {', '.join(FALSE_NEGATIVES)}")
        if learnable_temperature and temperature < LOWEST_TEMPERATURE:
            raise ValueError(
                f"the temperature is {temperature}, and a learnable one stays at {LOWEST_TEMPERATURE} or above: start "
                "it there, or keep it fixed with learnable_temperature=False"
            )
        for name, beta in (("beta1", beta1), ("beta2", beta2)):
            if not (beta >= 0 and math.isfinite(beta)):
                raise ValueError(f"{name} must be 0 or above, not {beta}: below 0, easy negatives would count more")
        self.beta1, self.beta2, self.decoupled = beta1, beta2, decoupled
        self.differentiate_weights, self.false_negatives = differentiate_weights, false_negatives
        self._given_temperature = temperature
        self.log_temperature = nn.Parameter(torch.tensor(math.log(temperature))) if learnable_temperature else None

    @property
    def temperature(self) -> float:
        """The current τ."""
        if self.log_temperature is None:
            return self._given_temperature
        return max(self.log_temperature.exp().item(), LOWEST_TEMPERATURE)

    @property
    def needs_groups(self) -> bool:
        """Whether the loss must be told which captions are true of each other's images."""
        return self.false_negatives != "pushed"

    def forward(self, image_features: Tensor, text_features: Tensor, groups: Tensor | None = None) -> Tensor:
        """Compute the loss of B pairs.

        Under ``torch.distributed`` the features of all ranks are one batch, and every rank returns the loss of all of
        it. Gradients flow to all ranks; averaged over them, as ``DistributedDataParallel`` does, they are those of a
        single process with the whole batch.

        Args:
            image_features: [B, D], L2-normalised.
            text_features: [B, D], L2-normalised; row i belongs to image i.
            groups: int64 [B], the same number for pairs whose captions are true of each other's images. Not needed,
                and not looked at, where such captions are pushed.

        Returns:
            float32 [] (float64 if the features are), also under autocast.

        Raises:
            ValueError: the shapes differ or are not [B, D], there are fewer than 2 pairs, a feature is not finite,
                or groups are needed and missing or not [B].
        """
        temperature: float | Tensor = self._given_temperature
        if self.log_temperature is not None:
            with torch.no_grad():
                self.log_temperature.clamp_(min=math.log(LOWEST_TEMPERATURE))
            temperature = self.log_temperature.exp()
        logits = pairwise_logits(image_features, text_features, temperature)  # (B, B)
        true = same_group(groups, len(image_features)).to(logits.device) if self.needs_groups else None
        return self.half_loss(logits, self.beta1, true) + self.half_loss(logits.T, self.beta2, true)

    def half_loss(self, logits: Tensor, beta: float, true: Tensor | None = None) -> Tensor:
        """Compute one direction: each row looks for its partner among the columns.

        Args:
            logits: s/τ [B, B].
            beta: hardness of this direction.
            true: bool [B, B], the captions that are true of each image, its own among them; None if only that is.
        """
        positives = logits.diagonal()  # (B,)
        if not beta and not self.decoupled and true is None:
            return (logits.logsumexp(dim=1) - positives).mean()
        itself = torch.eye(len(logits), dtype=torch.bool, device=logits.device)
        true = itself if true is None else true  # (B, B)
        told = ~true.all(dim=1)  # rows with a negative, (B,)
        if not told.any():
            return 0.0 * positives.sum()
        logits, true, itself, positives = logits[told], true[told], itself[told], positives[told]
        negatives = logits.masked_fill(true, -torch.inf)  # (B, B)
        if beta:
            with torch.set_grad_enabled(self.differentiate_weights and torch.is_grad_enabled()):
                log_weights = log_hardness_weights(negatives, beta)
            negatives = negatives + log_weights
        denominator = negatives.logsumexp(dim=1)  # (B,)
        if self.false_negatives != "soft":
            if not self.decoupled:
                denominator = torch.logaddexp(denominator, positives)
            return (denominator - positives).mean()
        terms = denominator[:, None] if self.decoupled else torch.logaddexp(denominator[:, None], logits)
        pulled = torch.where(true, terms - logits, 0.0).sum(dim=1) / true.sum(dim=1)  # (B,)
        return pulled.mean()

    def extra_repr(self) -> str:
        """Say how the loss was made, which training does not change: a learnable τ is shown where it started."""
        return (
            f"temperature={self._given_temperature:.10g}, beta1={self.beta1}, beta2={self.beta2}, "
            f"decoupled={self.decoupled}, learnable_temperature={self.log_temperature is not None}"
            + ("" if self.differentiate_weights else ", differentiate_weights=False")
            + (f", false_negatives={self.false_negatives!r}" if self.needs_groups else "")
        )


class InfoNCELoss(ContrastiveLoss):
    """The loss of CLIP: cross-entropy of finding the partner among all B candidates (Radford et al. 2021, figure 3)."""

    def __init__(
        self, temperature: float = 0.6, *, learnable_temperature: bool = False, false_negatives: str = "pushed"
    ):
        super().__init__(temperature, learnable_temperature=learnable_temperature, false_negatives=false_negatives)


class DCLLoss(ContrastiveLoss):
    """Decoupled contrastive learning (Yeh et al. 2022, equation 6): the positive pair leaves the denominator.

    A pair that already fits then no longer weakens the gradient of its negatives. Each half is at least
    −2/τ + log(B − 1), which is below 0 at low temperatures.
    """

    def __init__(
        self, temperature: float = 0.6, *, learnable_temperature: bool = False, false_negatives: str = "pushed"
    ):
        super().__init__(
            temperature,
            decoupled=True,
            learnable_temperature=learnable_temperature,
            false_negatives=false_negatives,
        )


class HNNCELoss(ContrastiveLoss):
    """Hard-negative noise contrastive estimation (Radenovic et al. 2023, equation 3): similar negatives count more.

    Its arguments are those of :class:`ContrastiveLoss`.
    """

    def __init__(
        self,
        temperature: float = 0.6,
        beta1: float = 0.15,
        beta2: float = 0.15,
        *,
        learnable_temperature: bool = False,
        differentiate_weights: bool = True,
        false_negatives: str = "pushed",
    ):
        super().__init__(
            temperature,
            beta1=beta1,
            beta2=beta2,
            learnable_temperature=learnable_temperature,
            differentiate_weights=differentiate_weights,
            false_negatives=false_negatives,
        )


class DHNNCELoss(ContrastiveLoss):
    """Decoupled hard-negative NCE (Koleilat et al. 2025, equations 1 to 4), with the paper's τ and β.

    Its arguments are those of :class:`ContrastiveLoss`.
    """

    def __init__(
        self,
        temperature: float = 0.6,
        beta1: float = 0.15,
        beta2: float = 0.15,
        *,
        learnable_temperature: bool = False,
        differentiate_weights: bool = True,
        false_negatives: str = "pushed",
    ):
        super().__init__(
            temperature,
            beta1=beta1,
            beta2=beta2,
            decoupled=True,
            learnable_temperature=learnable_temperature,
            differentiate_weights=differentiate_weights,
            false_negatives=false_negatives,
        )


class ReleasedHNLoss(nn.Module):
    """The released code of MedCLIP-SAMv2 computes this in place of DHN-NCE. Compare with it, but do not train with it.

    Three things are not the paper's. The logarithm is taken of every negative term and then averaged, where the paper
    takes it of their sum; the weights are normalised without β; and masked entries still count, as exp(0) = 1. With
    n_i = 1 + Σ_{k≠i} exp(s_ik/τ), each half is therefore

        mean over all i, j of   −δ_ij s_ij/τ + log(B − 1) + (1 − δ_ij) (1 + β) s_ij/τ − log n_i.

    Its gradient with respect to a negative, (1 + β) − B exp(s_ij/τ) / n_i but for a factor, *falls* with similarity:
    hard negatives are pushed less than easy ones, or pulled. It also sees only the batch of its own rank.

    Args:
        temperature: τ, above 0.
        beta1: β of the image-to-text half.
        beta2: β of the text-to-image half.
    """

    def __init__(self, temperature: float = 0.6, beta1: float = 0.15, beta2: float = 0.15):
        super().__init__()
        check_temperature(temperature)
        self.temperature, self.beta1, self.beta2 = temperature, beta1, beta2

    def forward(self, image_features: Tensor, text_features: Tensor) -> Tensor:
        """Compute the loss of B pairs, with the arguments and errors of :meth:`ContrastiveLoss.forward`."""
        check_pairs(image_features, text_features)
        check_count(image_features)
        image_features, text_features = at_least_float32(image_features, text_features)
        with torch.autocast(image_features.device.type, enabled=False):
            logits = image_features @ text_features.T / self.temperature  # (B, B)
        return self.half_loss(logits, self.beta1) + self.half_loss(logits.T, self.beta2)

    def half_loss(self, logits: Tensor, beta: float) -> Tensor:
        """Compute one direction from s/τ [B, B], as the released code does."""
        count = len(logits)
        negatives = logits * (1 - torch.eye(count, dtype=logits.dtype, device=logits.device))
        terms = math.log(count - 1) + (1 + beta) * negatives - negatives.logsumexp(dim=1, keepdim=True)  # (B, B)
        return terms.mean() - logits.diagonal().sum() / count**2

    def extra_repr(self) -> str:
        return f"temperature={self.temperature:.10g}, beta1={self.beta1}, beta2={self.beta2}"


def log_hardness_weights(negatives: Tensor, beta: float) -> Tensor:
    """Compute log w_ij, how much negative j counts in row i; the weights of a row add up to how many negatives it has.

    Args:
        negatives: s/τ [B, B], −∞ where a pair is not a negative.
        beta: 0 or above; 0 gives weights of 1.

    Returns:
        [B, B], −∞ where ``negatives`` is.
    """
    left_out = negatives.isneginf()
    hardness = beta * negatives if beta else torch.zeros_like(negatives).masked_fill(left_out, -torch.inf)
    count = (~left_out).sum(dim=1, keepdim=True).to(hardness.dtype)  # (B, 1)
    return hardness - hardness.logsumexp(dim=1, keepdim=True) + count.log()  # (B, B)


def pairwise_logits(image_features: Tensor, text_features: Tensor, temperature: Tensor | float) -> Tensor:
    """Compute s/τ of all images with all texts of all ranks: [B, B], float32 or more.

    Arguments and errors are those of :meth:`ContrastiveLoss.forward`.
    """
    check_pairs(image_features, text_features)
    image_features, text_features = at_least_float32(image_features, text_features)
    if is_available() and is_initialized() and get_world_size() > 1:
        # From (B, D) of each rank to (ranks · B, D).
        image_features, text_features = (torch.cat(all_gather(part)) for part in (image_features, text_features))
    check_count(image_features)
    with torch.autocast(image_features.device.type, enabled=False):
        # The features are divided, not the similarities: B · D numbers instead of B · B.
        return (image_features / temperature) @ text_features.T  # (B, B)


def same_group(groups: Tensor | None, count: int) -> Tensor:
    """Compare the groups of all pairs of all ranks: bool [B, B].

    Raises:
        ValueError: there are no groups, or not one per pair.
    """
    if groups is None or groups.shape != (count,):
        given = "none" if groups is None else f"a tensor {tuple(groups.shape)}"
        raise ValueError(f"this loss needs the groups of its pairs, int64 [{count}], and was given {given}")
    if is_available() and is_initialized() and get_world_size() > 1:
        parts = [torch.empty_like(groups) for _ in range(get_world_size())]
        torch.distributed.all_gather(parts, groups)
        groups = torch.cat(parts)
    return groups[:, None] == groups


def check_temperature(temperature: float) -> None:
    """Raise a ValueError unless the temperature is a number above 0."""
    if not (temperature > 0 and math.isfinite(temperature)):
        raise ValueError(f"the temperature must be a number above 0, not {temperature}")


def check_pairs(image_features: Tensor, text_features: Tensor) -> None:
    """Raise a ValueError unless the features of both towers are finite and [B, D]."""
    shapes = tuple(image_features.shape), tuple(text_features.shape)
    if shapes[0] != shapes[1] or image_features.ndim != 2:
        raise ValueError(f"features must be two tensors [B, D], row i of both a pair, not {shapes[0]} and {shapes[1]}")
    for name, features in (("image", image_features), ("text", text_features)):
        if not torch.isfinite(features).all():
            raise ValueError(f"{name}_features hold NaN or infinite values: the learning rate may be too high")


def check_count(features: Tensor) -> None:
    """Raise a ValueError if there is no negative in the batch."""
    if len(features) < 2:
        raise ValueError(f"a contrastive loss needs 2 pairs or more, not {len(features)}: there is no negative")


def at_least_float32(*features: Tensor) -> list[Tensor]:
    """Bring half precision to float32: it has too few digits for a sum of B exponentials."""
    return [part.float() if part.dtype in (torch.float16, torch.bfloat16) else part for part in features]
