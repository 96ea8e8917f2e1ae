"""Time of one M2IB map against the plain version and against the arithmetic: ``python -m benchmarks.m2ib_cost``.

BiomedCLIP's architecture with random weights: ViT-B/16 at 224 pixels and a BERT of 12 layers, 256 tokens. Bottleneck
after block 9 of 0 to 11, 10 steps of 10 samples, one CPU thread, one image. The plain version runs both towers in every
step and lets autograd compute the gradient of every weight, as the released code does.

The floor is the time that the needed multiplications take at the speed that this machine reaches in one large matrix
product: both towers once, and in each step the blocks after the bottleneck forward and backward for every sample,
without gradients of weights.
"""

import os

os.environ["OMP_NUM_THREADS"] = "1"  # before numpy reads it

import time

import numpy as np
import open_clip
import torch
from transformers import BertConfig, BertModel

from benchmarks.plain_m2ib import plain_m2ib
from medclipsam_utils.models import Clip
from medclipsam_utils.saliency import m2ib

LAYER, STEPS, SAMPLES = 9, 10, 10
WIDTH, BLOCKS, PATCH_TOKENS, TEXT_TOKENS, TEXT = 768, 12, 197, 256, "a tumour in the brain"


class BertTower(torch.nn.Module):
    """A text tower of BiomedCLIP's size."""

    def __init__(self):
        super().__init__()
        self.bert = BertModel(BertConfig(vocab_size=30522, max_position_embeddings=512), add_pooling_layer=False)
        self.proj = torch.nn.Linear(WIDTH, 512, bias=False)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.proj(self.bert(tokens, attention_mask=(tokens != 0).long()).last_hidden_state[:, 0])


def build() -> Clip:
    torch.manual_seed(0)
    vision = {"image_size": 224, "timm_model_name": "vit_base_patch16_224", "timm_pool": "", "timm_proj": "linear"}
    model = open_clip.CustomTextCLIP(512, vision, {"context_length": 8, "width": 64, "heads": 1, "layers": 1})
    model.text = BertTower()

    def tokenizer(texts: list[str]) -> torch.Tensor:
        tokens = torch.zeros(len(texts), TEXT_TOKENS, dtype=torch.int64)
        tokens[:, :8] = 1000 + torch.arange(8)
        return tokens

    return Clip("ViT-B/16, random weights", model, tokenizer, 224, (0.48, 0.46, 0.41), (0.27, 0.26, 0.28))


def block_operations(tokens: int) -> float:
    """Multiplications and additions of one block, forward: 12 C² a token in the projections, and the attention."""
    return 2 * (12 * tokens * WIDTH**2 + 2 * tokens**2 * WIDTH)


def floor_operations() -> float:
    once = (LAYER + 1) * block_operations(PATCH_TOKENS) + BLOCKS * block_operations(TEXT_TOKENS)
    again = (BLOCKS - LAYER - 1) * block_operations(PATCH_TOKENS) * 2  # forward, and backward to the tokens
    return once + STEPS * SAMPLES * again


def operations_a_second() -> float:
    """Of the matrix product of a block's largest layer, for all tokens of a step; the fastest of several."""
    left, right = torch.randn(SAMPLES * PATCH_TOKENS, WIDTH), torch.randn(WIDTH, 4 * WIDTH)
    times = []
    for _ in range(10):
        began = time.perf_counter()
        left @ right
        times.append(time.perf_counter() - began)
    return 2 * left.numel() * right.shape[1] / min(times)


def seconds(function, repeats: int) -> float:
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        function()
        times.append(time.perf_counter() - began)
    return min(times)


if __name__ == "__main__":
    torch.set_num_threads(1)
    clip, image = build(), np.random.default_rng(0).integers(0, 256, (224, 224, 3), dtype=np.uint8)
    settings = {"layer": LAYER, "beta": 0.1, "steps": STEPS, "samples": SAMPLES}
    speed = operations_a_second()
    ours = seconds(lambda: m2ib(clip, image, TEXT, **settings), 3)
    plain = seconds(lambda: plain_m2ib(clip, image, TEXT, **settings), 1)
    floor = floor_operations() / max(speed, operations_a_second())
    print(f"floor  {floor:6.1f} s   ({floor_operations() / 1e9:.0f} billion operations)")
    print(f"ours   {ours:6.1f} s   {ours / floor:.2f} × the floor")
    print(f"plain  {plain:6.1f} s   {plain / ours:.1f} × ours")
