"""Which words of a sentence does an image need? The bottleneck of M2IB in the text tower."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from threading import get_ident

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from ..images import Image
from ..models import Clip
from ..models.errors import model_error
from ..models.words import WordTokenizer
from .information_bottleneck import Bottleneck, check_block
from .inputs import given_features
from .towers import untouched


@dataclass(frozen=True, eq=False)
class WordSaliency:
    """What :func:`m2ib_text` found.

    Attributes:
        words: the words of the sentence as the model reads them, in order, without those that the context cut off.
        saliency: float32 [number of words], from 0 to 1: the information of each, of that of the most important one.
    """

    words: tuple[str, ...]
    saliency: np.ndarray


def m2ib_text(
    clip: Clip,
    image: Image | Tensor,
    text: str,
    *,
    layer: int,
    beta: float,
    variance: float = 1.0,
    steps: int = 10,
    samples: int = 10,
    lr: float = 1.0,
    seed: int = 0,
    standardize: bool = False,
) -> WordSaliency:
    """Find which words of the sentence the image needs: :func:`~medclipsam_utils.saliency.m2ib`, towers swapped.

    A word's information is the sum over its pieces. The tokens that are no word (start, end) pass through a bottleneck
    like the others, but belong to no word; padding is left alone.

    Args:
        clip: any CLIP whose text tower open_clip built, or BERT as in BiomedCLIP; afterwards as it was.
        image: one image as :meth:`~medclipsam_utils.models.Clip.preprocess` takes it, or features float [D].
        text: one sentence.
        layer: the block of the text tower after which the bottleneck sits, from 0; negative ones count from the last.
            Not the last one: after it only the one token counts that the tower reads.
        beta, variance, steps, samples, lr, seed, standardize: see :class:`~medclipsam_utils.saliency.Bottleneck`.

    Raises:
        ModelError: the text tower has no blocks that are known, or the image or the text does not fit.
        ValueError: a setting is out of range.
    """
    bottleneck = Bottleneck(beta, variance, steps, samples, lr, seed, standardize)
    blocks = _text_blocks(clip)
    layer = check_block(layer, len(blocks), "text tower", reads_all=False)
    tokens = clip.tokenize(text)
    words, positions = _words(clip, text, tokens[0])
    with untouched(clip.model):
        if isinstance(image, Tensor) and image.is_floating_point():
            wanted = given_features(clip, image)  # (D,)
        else:
            wanted = clip.encode_image(image)[0]  # (D,)
        length = 1 + int(tokens[0].nonzero().max())  # padding is 0 in all of these tokenizers
        with torch.no_grad():
            hidden = _run(clip, blocks[layer], tokens, None)[1][:, :length]  # (1, L, C)

        def similarity(mixed: Tensor) -> Tensor:
            features, _ = _run(clip, blocks[layer], tokens.expand(len(mixed), -1), mixed)
            return functional.cosine_similarity(features, wanted[None], dim=-1)

        nats = bottleneck.information(hidden, similarity)[0].cpu().numpy()
    saliency = np.array([nats[place].sum() for place in positions], dtype=np.float32)
    return WordSaliency(words, saliency / np.float32(max(float(saliency.max()), float(np.finfo(np.float32).tiny))))


def _text_blocks(clip: Clip) -> nn.ModuleList:
    tower = getattr(clip.model, "text", clip.model)  # a CLIP of open_clip's plain class has its text tower in itself
    transformer = getattr(tower, "transformer", None)
    blocks = getattr(transformer, "resblocks", None)
    if blocks is None:
        blocks = getattr(getattr(transformer, "encoder", None), "layer", None)
    if blocks is None:
        reason = f"the saliency of words needs the blocks of a text tower, and this is a {type(tower).__name__}"
        raise model_error(clip.name, reason, "Choose a model with a text tower of open_clip or BERT")
    return blocks


def _run(clip: Clip, block: nn.Module, tokens: Tensor, inserted: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return the features [B, D] of token ids, and what the block said [B, L, C].

    Its first tokens are replaced by ``inserted``, in this thread alone: others may run the same block meanwhile.
    """
    kept: list[Tensor] = []
    own = get_ident()

    def replace(module: nn.Module, inputs: tuple, output: Tensor | tuple) -> Tensor | tuple:
        if get_ident() != own:
            return output
        hidden = output[0] if isinstance(output, tuple) else output
        if inserted is not None:
            hidden = torch.cat([inserted, hidden[:, inserted.shape[1] :]], dim=1)
        kept.append(hidden)
        return (hidden, *output[1:]) if isinstance(output, tuple) else hidden

    hook = block.register_forward_hook(replace)
    try:
        return clip.model.encode_text(tokens), kept[0]
    finally:
        hook.remove()


def _words(clip: Clip, text: str, tokens: Tensor) -> tuple[tuple[str, ...], list[list[int]]]:
    """List the words of a sentence, and for each the positions of its pieces among the tokens [L]."""
    if isinstance(clip.tokenizer, WordTokenizer):
        read = clip.tokenizer.read(text)[: len(tokens) - 2]
        return tuple(read), [[1 + number] for number in range(len(read))]
    pieces = _pieces(clip, tokens.tolist())
    words: list[str] = []
    positions: list[list[int]] = []
    for place, (piece, starts) in pieces.items():
        if starts or not words:
            words.append(piece)
            positions.append([place])
        else:
            words[-1] += piece
            positions[-1].append(place)
    return tuple(words), positions


def _pieces(clip: Clip, ids: Sequence[int]) -> dict[int, tuple[str, bool]]:
    """List by position the piece of text of a token, and whether a word starts with it. Special tokens are left out."""
    found, starts = {}, True
    tokenizer = getattr(clip.tokenizer, "tokenizer", None)  # of transformers, as BiomedCLIP has one
    if tokenizer is not None:
        for place, piece in enumerate(tokenizer.convert_ids_to_tokens(ids)):
            if ids[place] not in tokenizer.all_special_ids:
                found[place] = (piece.removeprefix("##"), not piece.startswith("##"))
        return found
    last = max(place for place, number in enumerate(ids) if number)  # end of text
    for place, number in enumerate(ids[:last]):
        if number not in clip.tokenizer.all_special_ids:
            piece = clip.tokenizer.decoder[number]
            found[place] = (piece.removesuffix("</w>"), starts)
            starts = piece.endswith("</w>")
    return found
