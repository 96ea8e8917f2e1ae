"""Look quickly at a small CLIP while it trains, on seeds that settings may be chosen on."""

from __future__ import annotations

import numpy as np
import torch
from open_clip import CustomTextCLIP
from torch.nn import functional as F

from medclipsam_utils import TASKS
from medclipsam_utils.metrics import auc_by_pair
from medclipsam_utils.models import Clip
from medclipsam_utils.models.tiny_clip import IMAGE_SIZE, MEAN, STD
from medclipsam_utils.models.words import WordTokenizer
from medclipsam_utils.saliency import mean_features, patch_cosines

from .batches import ClipImages, normalise
from .patches import GRID, encode_patches


def validate(
    clip: CustomTextCLIP, tokenizer: WordTokenizer, images: ClipImages, sides: int = 1
) -> dict[str, dict[str, float]]:
    """Measure for each task how well the target's presence is told, and where the patch most like the prompt lies.

    Args:
        clip: the model as it is.
        tokenizer: what it reads with.
        images: pairs with masks.
        sides: windows along each side of the image that the blocks see one at a time when patches are compared.

    Returns:
        By task: ``presence_auc`` (area under the ROC curve of cosine to the prompts P2 minus cosine to the absent
        prompt) and ``patch_pointing`` (fraction of images of which at least 0.3 of the patch most like P2, with windows
        the one in the middle of those most like it, is target).
    """
    clip.eval()
    texts = Clip("in training", clip, tokenizer, IMAGE_SIZE, MEAN, STD)
    results = {}
    for name, task in TASKS.items():
        present = images.pairs[name]
        prompt, absent = (mean_features(texts, sentences) for sentences in (task.prompts["P2"], task.absent_prompt))
        direction = (prompt - absent).numpy()
        with torch.inference_mode():
            features = _encode(clip, images.pixels[np.concatenate([present, present + 1])])
        scores = features @ direction
        masks = torch.from_numpy(images.masks[present]).float()[:, None] / 255
        covered = F.adaptive_avg_pool2d(masks, GRID).flatten(1).numpy()
        seen = list(images.pixels[present][..., None].repeat(3, axis=3))
        maps = patch_cosines(texts, seen, prompt - absent, windows=sides if sides > 1 else None).flatten(1).numpy()
        best = maps.argmax(axis=1)
        results[name] = {
            "presence_auc": round(float(auc_by_pair(scores[: len(present)], scores[len(present) :]).mean()), 3),
            "patch_pointing": round(float((covered[np.arange(len(best)), best] > 0.3).mean()), 3),
        }
    return results


def _encode(clip: CustomTextCLIP, pixels: np.ndarray) -> np.ndarray:
    """Encode images uint8 [N, 128, 128] to features [N, D]."""
    chunks = np.array_split(pixels, max(1, len(pixels) // 50))
    seen = (normalise(torch.from_numpy(chunk).float()[:, None] / 255) for chunk in chunks)
    return torch.cat([encode_patches(clip, chunk, kept=None)[0] for chunk in seen]).numpy()
