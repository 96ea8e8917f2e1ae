"""Compare captions with whole images, and with the patches inside a simulated region: the losses of the small CLIP.

Both are the sigmoid loss of SigLIP (Zhai et al. 2023, eq. 1): every pair of image (or patch) and caption is a yes-or-no
question of its own, so that one caption may be true of many images.
"""

from __future__ import annotations

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
