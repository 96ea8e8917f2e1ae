"""Prepare the text side of the small CLIP: its words, its features, and what its tower first learns alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from open_clip import CustomTextCLIP
from torch import Tensor, nn
from torch.nn import functional as F

from medclipsam_utils import TASKS
from medclipsam_utils.models.words import PADDING, UNKNOWN, WordTokenizer, split_words

from ..data.captions import FACTS, SILENT, Caption, draw_caption, image_facts
from ..training.precision import computing


def vocabulary(facts: Sequence[Mapping]) -> list[str]:
    """Collect the words of the captions of images with these facts and of the tasks' prompts, in alphabetical order."""
    rng = np.random.default_rng(0)
    texts = [draw_caption(fact, rng).text for fact in facts[:8000] for _ in range(4)]
    for task in TASKS.values():
        texts += [task.absent_prompt, *(prompt for kind in task.prompts.values() for prompt in kind)]
    return sorted({word for text in texts for word in split_words(text)})


def encode_captions(clip: CustomTextCLIP, tokens: Tensor) -> Tensor:
    """Encode captions: [C, D], L2-normalised. The tower is causal, so leaving out the padding only saves time."""
    length = int((tokens != PADDING).sum(1).max())
    with _shorter_text(clip, length):
        return clip.encode_text(tokens[:, :length], normalize=True)


@contextmanager
def _shorter_text(clip: CustomTextCLIP, length: int) -> Iterator[None]:
    mask = clip.text.attn_mask
    clip.text.attn_mask = mask[:length, :length]
    try:
        yield
    finally:
        clip.text.attn_mask = mask


def hide_words(tokens: Tensor, fraction: float, rng: np.random.Generator) -> Tensor:
    """Replace a fraction of the words in token ids int64 [C, L] by the unknown word. Start and end stay."""
    hidden = torch.from_numpy(rng.random(tuple(tokens.shape)) < fraction)
    words = (tokens > UNKNOWN) & (tokens < tokens.max() - 1)  # the two highest ids are start and end
    return torch.where(hidden & words, UNKNOWN, tokens)


def pretrain_text(
    clip: CustomTextCLIP,
    tokenizer: WordTokenizer,
    facts: Sequence[Mapping],
    steps: int,
    learning_rate: float,
    rng: np.random.Generator,
) -> None:
    """Teach the text tower to tell what each caption states, so that "tumour" and "no tumour" start far apart."""

    def draw(count: int) -> list[Caption]:
        return [draw_caption(facts[index], rng) for index in rng.integers(len(facts), size=count)]

    known = [image_facts(fact) for fact in facts]
    values = {name: sorted({fact[name] for fact in known if name in fact}) for name in FACTS}
    heads = nn.ModuleDict({name: nn.Linear(clip.text.output_dim, 1 + len(values[name])) for name in FACTS})
    optimizer = torch.optim.AdamW([*clip.text.parameters(), *heads.parameters()], learning_rate)
    for step in range(steps):
        captions = draw(192)
        with computing():
            features = encode_captions(clip, tokenizer([caption.text for caption in captions]))
        loss = sum(
            F.cross_entropy(heads[name](12 * features.float()), _stated(captions, name, values[name])) for name in FACTS
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if (step + 1) % 50 == 0 or step + 1 == steps:
            print(f"text tower alone: step {step + 1}/{steps}  loss {loss.item():.3f}", flush=True)


def _stated(captions: list[Caption], name: str, values: list[str]) -> Tensor:
    """Give for each caption 0 if it does not state the fact, else 1 + the index of the value."""
    return torch.tensor([SILENT + 1 if name not in c.stated else 1 + values.index(c.stated[name]) for c in captions])
