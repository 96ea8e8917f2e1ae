"""Quick looks at a small CLIP while it trains, on seeds that settings may be chosen on."""

from __future__ import annotations

import numpy as np
import torch
from clip_batches import GRID, ClipImages
from clip_losses import patch_features
from evaluate_clip import wins
from open_clip import CustomTextCLIP
from torch import Tensor
from torch.nn import functional as F

from medclipsam_utils import TASKS
from medclipsam_utils.models.tiny_clip import MEAN, STD
from medclipsam_utils.models.words import WordTokenizer


def validate(clip: CustomTextCLIP, tokenizer: WordTokenizer, images: ClipImages) -> dict[str, dict[str, float]]:
    """For each task: how well the target's presence is told, and where the patch most like the prompt lies.

    Returns:
        By task: ``presence_auc`` (area under the ROC curve of cosine to the prompts P2 minus cosine to the absent
        prompt) and ``patch_pointing`` (share of images whose patch most like P2 is mostly target).
    """
    clip.eval()
    results = {}
    for name, task in TASKS.items():
        present = images.pairs[name]
        with torch.inference_mode():
            prompt = F.normalize(clip.encode_text(tokenizer(list(task.prompts["P2"])), normalize=True).mean(0), dim=0)
            absent = clip.encode_text(tokenizer(task.absent_prompt), normalize=True)[0]
            features, patches = _encode(clip, images.pixels[np.concatenate([present, present + 1])])
        scores = (features @ (prompt - absent)).numpy()
        masks = torch.from_numpy(images.masks[present]).float()[:, None] / 255
        share = F.adaptive_avg_pool2d(masks, GRID).flatten(1)
        best = (patches[: len(present)] @ (prompt - absent)).argmax(1)
        results[name] = {
            "presence_auc": round(float(wins(scores[: len(present)], scores[len(present) :]).mean()), 3),
            "patch_pointing": round(float((share.gather(1, best[:, None]) > 0.3).float().mean()), 3),
        }
    return results


def _encode(clip: CustomTextCLIP, pixels: np.ndarray) -> tuple[Tensor, Tensor]:
    features, patches = [], []
    for chunk in np.array_split(pixels, max(1, len(pixels) // 50)):
        batch = ((torch.from_numpy(chunk).float()[:, None] / 255 - MEAN[0]) / STD[0]).expand(-1, 3, -1, -1)
        tokens = clip.visual.trunk.forward_features(batch)
        features.append(F.normalize(clip.visual.head(clip.visual.trunk.forward_head(tokens)), dim=-1))
        patches.append(patch_features(clip, tokens))
    return torch.cat(features), torch.cat(patches)
