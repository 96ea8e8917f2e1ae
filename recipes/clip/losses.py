"""Compare captions with images, with their patches, and with those inside a simulated region: the small CLIP's losses.

All but :func:`pair_loss` are the sigmoid loss of SigLIP (Zhai et al. 2023, eq. 1): every pair of image (or patch) and
caption is a yes-or-no question of its own, so that one caption may be true of many images.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from ..data.captions import FALSE, TRUE


def image_text_loss(logits: Tensor, verdict: Tensor, same_organ: Tensor) -> Tensor:
    """Take the mean over the true pairs plus that over the false ones: ¾ of it within the organ, ¼ across organs.

    Args:
        logits: float32 [images, captions].
        verdict: int [images, captions] of TRUE, FALSE, UNKNOWN; unknown pairs do not count.
        same_organ: bool [images, captions]. Within the organ the false pairs are hard ("no tumour" on a tumour).
    """
    true, false = verdict == TRUE, verdict == FALSE
    hard, easy = false & same_organ, false & ~same_organ
    no = F.softplus(logits)
    return _mean(F.softplus(-logits), true) + 0.75 * _mean(no, hard) + 0.25 * _mean(no, easy)


def any_window(logits: Tensor) -> Tensor:
    """Score image and caption by whether *any* window shows what the caption says: the noisy-or of the windows.

    Were the windows independent, the image would not show it with probability ∏ (1 − p) over them. So of an image of
    which the caption is false each window is told no, and of one of which it is true some window must say yes; which
    one is not said. This is multiple-instance learning: of a tumour we know that it is in the image, and not where.

    Args:
        logits: float32 [images, windows, captions].

    Returns:
        float32 [images, captions]: the logit of 1 − ∏ (1 − p).
    """
    none = F.softplus(logits).sum(dim=1)  # −log of the probability that no window shows it
    return none + torch.log(-torch.expm1(-none).clamp(max=-torch.finfo(none.dtype).tiny))


def pair_loss(logits: Tensor, verdict: Tensor, same_organ: Tensor) -> Tensor:
    """Ask that of two images that differ in the target alone, a caption fits the one that it is true of better.

    What both show cancels out of the difference, and out of its gradient, so that only the target can explain it.

    Args:
        logits: float32 [images, captions]; images 2 i and 2 i + 1 are a counterfactual pair.
        verdict: int [images, captions].
        same_organ: bool [images, captions]: captions of other organs say nothing about the target.
    """
    true, false = verdict == TRUE, verdict == FALSE
    first = true[0::2] & false[1::2] & same_organ[0::2]
    second = false[0::2] & true[1::2] & same_organ[0::2]
    lead = logits[0::2] - logits[1::2]
    return _mean(F.softplus(-lead), first) / 2 + _mean(F.softplus(lead), second) / 2


def region_text_loss(logits: Tensor, verdict: Tensor, inside: Tensor, outside: Tensor, names_target: Tensor) -> Tensor:
    """Ask that patches inside the target match the true captions that name it, and that all other patches do not.

    Args:
        logits: float32 [images, patches, captions].
        verdict: int [images, captions].
        inside, outside: bool [images, patches]; patches on the border are neither.
        names_target: bool [captions]: the caption says that the target is there, and its region is the target's mask.
            A caption that denies the target is false of every patch inside one.
    """
    true = (verdict == TRUE)[:, None] & names_target
    false = (verdict == FALSE)[:, None]
    positive = inside[..., None] & true
    beside = outside[..., None] & true
    wrong_target = inside[..., None] & false
    wrong_image = outside[..., None] & false & names_target
    no = F.softplus(logits)
    return (
        _mean(F.softplus(-logits), positive)
        + 0.5 * _mean(no, beside)
        + 0.35 * _mean(no, wrong_target)
        + 0.15 * _mean(no, wrong_image)
    )


def _mean(values: Tensor, where: Tensor) -> Tensor:
    return (values * where).sum() / where.sum().clamp(min=1)
