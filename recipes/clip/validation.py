"""Look quickly at a small CLIP while it trains, on seeds that settings may be chosen on."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from open_clip import CustomTextCLIP
from torch.nn import functional as F

from medclipsam_utils import TASKS
from medclipsam_utils.metrics import auc_by_pair
from medclipsam_utils.models import Clip
from medclipsam_utils.models.tiny_clip import IMAGE_SIZE, MEAN, STD
from medclipsam_utils.models.words import WordTokenizer
from medclipsam_utils.saliency import mean_features

from .batches import ClipImages, normalise
from .patches import GRID, encode_patches, patch_features, window_cosines


def validate(
    clip: CustomTextCLIP, tokenizer: WordTokenizer, images: ClipImages, sides: int = 1
) -> dict[str, dict[str, float]]:
    """Measure for each task how well the target's presence is told, and where the patch most like the prompt lies.

    Args:
        clip: the model as it is.
        tokenizer: what it reads with.
        images: pairs with masks.
        sides: windows along a side of the image, where windows are compared with the prompt instead of patches.

    Returns:
        By task: ``presence_auc`` (area under the ROC curve of cosine to the prompts P2 minus cosine to the absent
        prompt) and ``patch_pointing`` (fraction of images whose patch most like P2, or the patch in the middle of the
        windows most like it, is mostly target).
    """
    clip.eval()
    texts = Clip("in training", clip, tokenizer, IMAGE_SIZE, MEAN, STD)
    results = {}
    for name, task in TASKS.items():
        present = images.pairs[name]
        prompt, absent = (mean_features(texts, sentences) for sentences in (task.prompts["P2"], task.absent_prompt))
        direction = (prompt - absent).numpy()
        with torch.inference_mode():
            features, patches = _encode(clip, images.pixels[np.concatenate([present, present + 1])])
        scores = features @ direction
        masks = torch.from_numpy(images.masks[present]).float()[:, None] / 255
        covered = F.adaptive_avg_pool2d(masks, GRID).flatten(1).numpy()
        maps = patches[: len(present)] @ direction
        if sides > 1:
            maps = _in_windows(clip, images.pixels[present], torch.from_numpy(direction), sides)
        best = maps.argmax(axis=1)
        results[name] = {
            "presence_auc": round(float(auc_by_pair(scores[: len(present)], scores[len(present) :]).mean()), 3),
            "patch_pointing": round(float((covered[np.arange(len(best)), best] > 0.3).mean()), 3),
        }
    return results


def _in_windows(clip: CustomTextCLIP, pixels: np.ndarray, direction: torch.Tensor, sides: int) -> np.ndarray:
    """Map the windows' likeness to a direction [D], for images uint8 [N, 128, 128]: [N, patches]."""
    with torch.inference_mode():
        return torch.cat([window_cosines(clip, chunk, direction, sides) for chunk in _chunks(pixels)]).numpy()


def _chunks(pixels: np.ndarray) -> Iterator[torch.Tensor]:
    for chunk in np.array_split(pixels, max(1, len(pixels) // 50)):
        yield normalise(torch.from_numpy(chunk).float()[:, None] / 255)


def _encode(clip: CustomTextCLIP, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Encode images uint8 [N, 128, 128]: image features [N, D] and patch features [N, patches, D]."""
    features, patches = [], []
    for chunk in _chunks(pixels):
        images, tokens = encode_patches(clip, chunk, kept=None)
        features.append(images)
        patches.append(patch_features(clip, tokens))
    return torch.cat(features).numpy(), torch.cat(patches).numpy()
