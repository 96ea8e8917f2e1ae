"""Exercises of chapter 1, the primer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .exercise import Exercise, Function, Mistake


def count_tokens(height, width, patch, class_token):
    patches = (height // patch) * (width // patch)
    return patches + 1 if class_token else patches


def cut_into_patches(image, patch):
    rows, columns = image.shape[0] // patch, image.shape[1] // patch
    grid = image.reshape(rows, patch, columns, patch).swapaxes(1, 2)
    return grid.reshape(rows * columns, patch * patch)


def softmax(scores, temperature):
    logits = np.asarray(scores) / temperature
    powers = np.exp(logits - logits.max())
    return powers / powers.sum()


def attend(query, keys, values):
    scores = keys @ query / np.sqrt(len(query))
    powers = np.exp(scores - scores.max())
    return powers / powers.sum() @ values


def cosines(images, texts):
    images = images / np.linalg.norm(images, axis=1, keepdims=True)
    texts = texts / np.linalg.norm(texts, axis=1, keepdims=True)
    return images @ texts.T


def zero_shot(images, texts, temperature):
    logits = cosines(images, texts) / temperature
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def sizes_of_images(generator: np.random.Generator) -> Sequence[tuple[Any, ...]]:
    """Give the two CLIPs of the chapter, an image that is not square, a single patch, and random ones."""
    by_hand = [(128, 128, 8, False), (224, 224, 16, True), (64, 96, 16, True), (32, 32, 32, False), (14, 28, 14, True)]
    random = [(*(patch * generator.integers(2, 20, 2)), patch, bool(patch % 2)) for patch in (5, 8, 14, 15)]
    return by_hand + [tuple(int(value) for value in case[:3]) + case[3:] for case in random]


def images_to_cut(generator: np.random.Generator) -> Sequence[tuple[Any, ...]]:
    """Give images whose pixels all differ, of many shapes: one has a single patch, one has patches of one pixel."""
    shapes = [(4, 6, 2), (6, 6, 3), (4, 4, 4), (2, 3, 1), (3, 12, 3), (12, 4, 4)]
    by_hand = [(np.arange(height * width).reshape(height, width), patch) for height, width, patch in shapes]
    return [*by_hand, (generator.random((8, 20)), 4), (generator.random((15, 10)), 5)]


def scores_of_sentences(generator: np.random.Generator) -> Sequence[tuple[Any, ...]]:
    """Give equal scores, a list, one score, scores that overflow, and random ones."""
    by_hand = [([0.0, 0.0], 1.0), ([np.log(3), 0.0], 1.0), ([1.0, 0.0], 0.5), ([2.0], 0.1), ([900.0, 901.0], 0.6)]
    return by_hand + [(generator.normal(size=5), tau) for tau in (0.1, 0.6, 3.0)]


def tokens_to_attend_to(generator: np.random.Generator) -> Sequence[tuple[Any, ...]]:
    """Give keys that say nothing, one that counts three times, a single token, a large one, and random ones."""
    keys, values = np.array([[2.0, 0, 0, 0], [0, 0, 0, 0]]), np.array([[1.0, 0], [0, 1]])
    by_hand = [(np.zeros(4), keys, values), (np.array([np.log(3), 0, 0, 0]), keys, values)]
    by_hand += [(np.ones(3), np.ones((1, 3)), np.array([[5.0, 6.0]])), (np.array([4000.0, 0, 0, 0]), keys, values)]
    shapes = [(5, 8, 3), (6, 2, 2), (4, 4, 4)]  # tokens, length of a key, length of a value
    return by_hand + [
        (generator.normal(size=d), generator.normal(size=(n, d)), generator.normal(size=(n, m))) for n, d, m in shapes
    ]


def features(generator: np.random.Generator) -> Sequence[tuple[Any, ...]]:
    """Give right angles and opposites of other lengths than 1, one of each, as many of both, and random ones."""
    axes = np.array([[3.0, 0], [0, 0.5]])
    by_hand = [(axes, np.array([[2.0, 0], [-1, 0], [1, 1]])), (axes[:1], axes[1:])]
    shapes = [(4, 3, 6), (3, 3, 3), (2, 5, 4)]  # images, texts, length of a feature
    return by_hand + [(generator.normal(size=(b, d)), generator.normal(size=(k, d))) for b, k, d in shapes]


def features_and_temperature(generator: np.random.Generator) -> Sequence[tuple[Any, ...]]:
    """Give features with usual temperatures, and such a low one that powers of e overflow in one row only."""
    opposite = np.array([[1.0, 0], [-1, 0]]), np.array([[1.0, 0], [1, 0.1]])
    usual = zip(features(generator), (0.6, 1.0, 0.1, 0.6, 2.0), strict=True)
    return [*((*case, tau) for case, tau in usual), (*opposite, 0.001)]


def without_overflow(function):
    """Keep NumPy quiet about a mistake that overflows."""

    def quiet(*arguments):
        with np.errstate(all="ignore"):
            return function(*arguments)

    return quiet


EXERCISES: tuple[Exercise, ...] = (
    Function(
        number="01.1",
        title="count the tokens",
        difficulty=1,
        minutes=5,
        purpose="the number of tokens decides what a transformer can see, and what it costs",
        hints=(
            "How many patches fit below each other? How many beside each other?",
            "The patches form a grid: multiply its rows by its columns.",
            "With a class token there is one more token than patches.",
        ),
        solution=count_tokens,
        cases=sizes_of_images,
        mistakes=(
            Mistake(
                "you count the patches and leave out the class token, where there is one.",
                lambda height, width, patch, class_token: (height // patch) * (width // patch),
            ),
            Mistake(
                "you add a class token also where there is none.",
                lambda height, width, patch, class_token: (height // patch) * (width // patch) + 1,
            ),
            Mistake(
                "that is the number of patches along one side; an image has rows and columns.",
                lambda height, width, patch, class_token: height // patch + class_token,
            ),
            Mistake(
                "the image need not be square: count along its height and along its width.",
                lambda height, width, patch, class_token: (height // patch) ** 2 + class_token,
            ),
            Mistake(
                "a patch has patch × patch pixels; you divide by one side of it only.",
                lambda height, width, patch, class_token: height * width // patch + class_token,
            ),
            Mistake(
                "your patches overlap, as the windows of a convolution do. Here they lie side by side.",
                lambda height, width, patch, class_token: (height - patch + 1) * (width - patch + 1) + class_token,
            ),
        ),
    ),
    Function(
        number="01.2",
        title="cut an image into patches",
        difficulty=2,
        minutes=15,
        purpose="reshape is where rows and columns get lost without an error",
        hints=(
            "Give the array four axes first: row of patches, row inside the patch, and the same two for columns.",
            "After image.reshape(rows, patch, columns, patch), which two axes say which patch it is? They must stand "
            "together.",
            "Swap the two axes in the middle, then reshape to (rows * columns, patch * patch).",
        ),
        solution=cut_into_patches,
        cases=images_to_cut,
        mistakes=(
            Mistake(
                "you reshape at once. Then each of your rows holds pixels that follow each other in a row of the "
                "*image*, not a square of it.",
                lambda image, patch: image.reshape(-1, patch * patch),
            ),
            Mistake(
                "the patches are right, and their order is not: you go down the columns of patches, where we read row "
                "by row.",
                lambda image, patch: (
                    image.reshape(image.shape[0] // patch, patch, -1, patch)
                    .transpose(2, 0, 1, 3)
                    .reshape(-1, patch * patch)
                ),
            ),
            Mistake(
                "rows and columns are exchanged inside each patch.",
                lambda image, patch: (
                    image.reshape(image.shape[0] // patch, patch, -1, patch)
                    .transpose(0, 2, 3, 1)
                    .reshape(-1, patch * patch)
                ),
            ),
            Mistake(
                "the patches are right; each of them should be one row of numbers, and all of them one list.",
                lambda image, patch: image.reshape(image.shape[0] // patch, patch, -1, patch).swapaxes(1, 2),
            ),
        ),
    ),
    Function(
        number="01.3",
        title="softmax with a temperature",
        difficulty=1,
        minutes=10,
        purpose="it turns scores into shares, in attention, in CLIP and in every loss of this book",
        hints=(
            "Three steps: divide, exponentiate, and make the sum 1.",
            "Divide the scores by the temperature before you take np.exp.",
            "np.exp of a large number is infinite. After dividing, subtract the largest score from all: it cancels in "
            "the fraction.",
        ),
        solution=softmax,
        cases=scores_of_sentences,
        mistakes=(
            Mistake(
                "right for small scores. For large ones np.exp gives infinity, and infinity / infinity is nan: what "
                "can you subtract from all scores without changing the shares?",
                without_overflow(
                    lambda scores, temperature: (
                        np.exp(np.asarray(scores) / temperature) / np.exp(np.asarray(scores) / temperature).sum()
                    )
                ),
            ),
            Mistake("you forgot the temperature.", lambda scores, temperature: softmax(scores, 1.0)),
            Mistake(
                "you multiply by the temperature: then a high one would decide and a low one hesitate.",
                lambda scores, temperature: softmax(scores, 1 / temperature),
            ),
            Mistake(
                "the temperature divides the scores, not the powers of e.",
                lambda scores, temperature: softmax(scores, 1.0) / temperature,
            ),
            Mistake(
                "these are logarithms of the shares.",
                without_overflow(lambda scores, temperature: np.log(softmax(scores, temperature))),
            ),
        ),
    ),
    Function(
        number="01.4",
        title="the attention of one query",
        difficulty=2,
        minutes=15,
        purpose="this is the whole of attention; the rest is doing it for all tokens at once",
        hints=(
            "First a score for each token, then shares, then a weighted mean of the values.",
            "keys @ query has one score for each token. What does the equation divide it by, and what follows?",
            "Take softmax of keys @ query / √d, where d is the length of the query; multiply these shares by values.",
        ),
        solution=attend,
        cases=tokens_to_attend_to,
        mistakes=(
            Mistake(
                "the scores have to be divided by √d, or long queries would make softmax decide too early.",
                lambda query, keys, values: softmax(keys @ query, 1.0) @ values,
            ),
            Mistake(
                "you divide by d, and the equation by its square root.",
                lambda query, keys, values: softmax(keys @ query, len(query)) @ values,
            ),
            Mistake(
                "d is the length of a query, not the number of tokens.",
                lambda query, keys, values: softmax(keys @ query, np.sqrt(len(keys))) @ values,
            ),
            Mistake(
                "these are the shares; the values have to be averaged with them.",
                lambda query, keys, values: softmax(keys @ query, np.sqrt(len(query))),
            ),
            Mistake(
                "you average the keys with the shares, where the values are asked for.",
                lambda query, keys, values: softmax(keys @ query, np.sqrt(len(query))) @ keys,
            ),
            Mistake(
                "that is the value of the best token alone; all of them count, each by its share.",
                lambda query, keys, values: values[np.argmax(keys @ query)],
            ),
            Mistake(
                "you take the scores as they are: softmax is missing.",
                lambda query, keys, values: keys @ query / np.sqrt(len(query)) @ values,
            ),
            Mistake(
                "right for small scores. Subtract the largest score before np.exp, or large ones become nan.",
                without_overflow(
                    lambda query, keys, values: (
                        np.exp(keys @ query / np.sqrt(len(query)))
                        / np.exp(keys @ query / np.sqrt(len(query))).sum()
                        @ values
                    )
                ),
            ),
        ),
    ),
    Function(
        number="01.5",
        title="cosines of images and texts",
        difficulty=1,
        minutes=10,
        purpose="CLIP's answer, for every image and every text at once",
        hints=(
            "A cosine is the product of two vectors of length 1. Which length do yours have?",
            "np.linalg.norm(images, axis=1, keepdims=True) gives the length of each row.",
            "Divide the rows of both by their lengths, then multiply the images by the transposed texts.",
        ),
        solution=cosines,
        cases=features,
        mistakes=(
            Mistake(
                "these are products, not cosines: the vectors still have their lengths.",
                lambda images, texts: images @ texts.T,
            ),
            Mistake(
                "only the images have length 1; the texts need it too.",
                lambda images, texts: images / np.linalg.norm(images, axis=1, keepdims=True) @ texts.T,
            ),
            Mistake(
                "only the texts have length 1; the images need it too.",
                lambda images, texts: images @ (texts / np.linalg.norm(texts, axis=1, keepdims=True)).T,
            ),
            Mistake(
                "you divide by the norm of the whole matrix; each row has a length of its own.",
                lambda images, texts: images @ texts.T / (np.linalg.norm(images) * np.linalg.norm(texts)),
            ),
            Mistake(
                "rows and columns are exchanged: a row for each image, a column for each text.",
                lambda images, texts: cosines(images, texts).T,
            ),
            Mistake(
                "you divide by the squared lengths: the square root is missing.",
                lambda images, texts: (
                    images @ texts.T / np.outer(np.square(images).sum(axis=1), np.square(texts).sum(axis=1))
                ),
            ),
        ),
    ),
    Function(
        number="01.6",
        title="classify without training",
        difficulty=2,
        minutes=15,
        purpose="zero-shot classification is nothing but cosines and softmax",
        hints=(
            "You have written both parts: cosines, and softmax with a temperature.",
            "Softmax runs over the sentences, for each image by itself: along which axis?",
            "Divide the cosines by the temperature, subtract the largest of each row, take np.exp, and divide each row "
            "by its own sum (axis=1, keepdims=True).",
        ),
        solution=zero_shot,
        cases=features_and_temperature,
        mistakes=(
            Mistake(
                "your *columns* add up to 1: images compete for a sentence. Let the sentences compete for an image.",
                lambda images, texts, temperature: zero_shot(texts, images, temperature).T,
            ),
            Mistake("you forgot the temperature.", lambda images, texts, temperature: zero_shot(images, texts, 1.0)),
            Mistake(
                "you multiply by the temperature, where you should divide.",
                lambda images, texts, temperature: zero_shot(images, texts, 1 / temperature),
            ),
            Mistake(
                "the features have to be brought to length 1 first: softmax needs cosines.",
                lambda images, texts, temperature: np.stack(
                    [softmax(scores, temperature) for scores in images @ texts.T]
                ),
            ),
            Mistake(
                "all your shares together add up to 1; those of each image should.",
                lambda images, texts, temperature: softmax(cosines(images, texts), temperature),
            ),
            Mistake(
                "these are cosines divided by the temperature; softmax is missing.",
                lambda images, texts, temperature: cosines(images, texts) / temperature,
            ),
            Mistake(
                "that is the sentence that wins; the shares of all sentences are asked for.",
                lambda images, texts, temperature: cosines(images, texts).argmax(axis=1),
            ),
            Mistake(
                "right but for a low temperature: subtract the largest of each row before np.exp, or it overflows.",
                without_overflow(
                    lambda images, texts, temperature: (
                        np.exp(cosines(images, texts) / temperature)
                        / np.exp(cosines(images, texts) / temperature).sum(axis=1, keepdims=True)
                    )
                ),
            ),
        ),
    ),
)
