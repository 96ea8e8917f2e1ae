"""The four functions of chapter 4, put together, are the package's M2IB."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from torch.nn import functional

from medclipsam_utils.exercises import all_exercises, chapter04, check
from medclipsam_utils.exercises.chapter05 import share_inside, taken_first
from medclipsam_utils.models import load_clip
from medclipsam_utils.saliency import Bottleneck, coverage, grad_cam, information, m2ib, patch_information
from medclipsam_utils.saliency.faithfulness import deletion_insertion
from medclipsam_utils.saliency.towers import image_tower
from medclipsam_utils.simulate import simulate

NOTEBOOK = Path(__file__).parents[2] / "notebooks" / "04_m2ib_saliency.ipynb"
CASES = (
    ("breast_ultrasound", 3, "benign", "a breast ultrasound showing a dark tumour", 4, 0.1, 1.0),
    ("lung_xray", 102, "clear", "chest X-ray of the lungs", 5, 0.03, 4.0),
)


@pytest.fixture(scope="module")
def clip():
    return load_clip("tiny")


def behind(clip, image, prompt, layer):
    """Give the tokens behind a block, and the similarity of what noise makes of them."""
    tower = image_tower(clip)
    with torch.no_grad():
        (tokens,) = tower.run(tower.embed(clip.preprocess(image)), 0, layer + 1)
        text = clip.encode_text(prompt)
    return tower, tokens, lambda noisy: functional.cosine_similarity(tower.finish(tower.run(noisy, layer + 1)), text)


@pytest.mark.parametrize("task, seed, finding, prompt, layer, beta, variance", CASES)
def test_the_solutions_together_are_m2ib(clip, task, seed, finding, prompt, layer, beta, variance):
    image = simulate(task, seed, finding=finding).image
    tower, x, similarity = behind(clip, image, prompt, layer)
    noise = torch.randn((3, 4, *x.shape), generator=torch.Generator().manual_seed(0))
    alpha = chapter04.close_bottleneck(x, similarity, noise, beta, variance)
    nats = chapter04.nats_per_token(alpha, x, variance)
    built = chapter04.to_map(nats, tower.prefix, tower.grid, image.shape[:2]).numpy()
    settings = {"beta": beta, "variance": variance, "steps": 3, "samples": 4}
    (grid,) = patch_information(clip, image, prompt, layer, Bottleneck(**settings))
    np.testing.assert_allclose(nats.numpy(), grid.flatten().numpy(), rtol=1e-3, atol=1e-3)
    (expected,) = m2ib(clip, image, prompt, layer=layer, **settings)
    np.testing.assert_allclose(built, expected, atol=1e-4)
    assert all(parameter.grad is None for parameter in clip.model.parameters())


def test_a_wrong_step_makes_another_map(clip):
    """What the checks reject matters for the map, too, and is not a matter of taste."""
    task, seed, finding, prompt, layer, beta, variance = CASES[0]
    image = simulate(task, seed, finding=finding).image
    tower, x, similarity = behind(clip, image, prompt, layer)
    noise = torch.randn((10, 2, *x.shape), generator=torch.Generator().manual_seed(0))

    def drawn(close):
        nats = chapter04.nats_per_token(close(x, similarity, noise, beta, variance), x, variance)
        return chapter04.to_map(nats, tower.prefix, tower.grid, image.shape[:2])

    right = drawn(chapter04.close_bottleneck)
    wrong_sign = drawn(chapter04.spoilt_loop(loss=lambda beta, price, fit, x: beta * price + fit))
    assert (right - wrong_sign).abs().max() > 0.1


def test_the_price_of_the_exercise_is_that_of_the_package():
    generator = torch.Generator().manual_seed(0)
    alpha, x = (torch.randn((7, 5), generator=generator, dtype=torch.float64) for _ in range(2))
    expected = information(alpha.sigmoid(), x, 2.5).sum(-1)
    torch.testing.assert_close(chapter04.nats_per_token(alpha, x, 2.5), expected)


def test_the_best_share_is_the_lowest_point_of_the_objective():
    shares = torch.linspace(0, 0.999, 100_000, dtype=torch.float64)
    for x, beta in ((1.0, 0.5), (0.3, 0.2), (3.0, 1.5)):
        objective = beta * information(shares, torch.tensor(x, dtype=torch.float64)) - shares * x
        assert chapter04.best_share(x, beta) == pytest.approx(shares[objective.argmin()].item(), abs=1e-4)


def test_an_alpha_that_asks_for_a_gradient_is_not_taken():
    outcome = check("04.3", lambda *arguments: chapter04.close_bottleneck(*arguments).requires_grad_())
    assert not outcome.solved and "still asks for a gradient" in outcome.message


def test_gradcam_of_the_exercise_is_that_of_the_library(clip):
    """The library reads the last block's tokens as the norm behind it leaves them."""
    task, seed, finding, prompt, *_ = CASES[0]
    image = simulate(task, seed, finding=finding).image
    tower, kept = image_tower(clip), []
    hook = tower.norms[-1].register_forward_hook(lambda module, inputs, output: kept.append(output))
    try:
        features = clip.model.encode_image(clip.preprocess(image).requires_grad_(), normalize=True)
    finally:
        hook.remove()
    (gradient,) = torch.autograd.grad((features @ clip.encode_text(prompt)[0]).sum(), kept[0])
    both = [one[0].detach().T.unflatten(1, tower.grid) for one in (kept[0], gradient)]
    found = chapter04.grad_cam_of(*both)
    (expected,) = grad_cam(clip, [image], prompt)
    built = chapter04.to_map(found.flatten(), 0, tower.grid, image.shape[:2])
    np.testing.assert_allclose(built.numpy(), expected, atol=0.05)  # the library enlarges the map in another way


def test_the_film_shows_what_the_chapter_says(clip):
    """A tenth of everything passes in the end, half of the tumour's patches, and the similarity has risen."""
    task, seed, finding, prompt, layer, beta, _ = CASES[0]
    sample, steps = simulate(task, seed, finding=finding), []
    m2ib(clip, sample.image, prompt, layer=layer, beta=beta, watch=lambda passed, fit: steps.append((passed, fit)))
    share = steps[-1][0].mean(-1).reshape(16, 16).numpy()
    on_tumour = sample.mask.reshape(16, 16, 16, 16).mean((1, 3)) > 0.9
    assert share.mean() < 0.15 and share[on_tumour].min() > 0.3
    assert steps[-1][1] > steps[0][1] + 0.05


def test_the_chapter_goes_on_with_what_was_built():
    cells = ["".join(cell["source"]) for cell in json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]]
    text = "\n".join(cells)
    for number in ("04.1", "04.2", "04.3", "04.4"):
        name = all_exercises()[number].solution.__name__
        assert f'{name} = mine_or_ours("{number}", {name})' in text
        assert text.count(f"{name}(") >= 1 + (number != "04.1"), "mix is called by the loop alone"


def test_what_goes_first_is_what_deletion_takes_first(clip):
    """Exercise 05.3 in the package's deletion curve."""
    sample = simulate("brain_mri", 12, finding="meningioma")
    saliency = np.random.default_rng(0).integers(0, 5, sample.mask.shape) / 4
    text = clip.encode_text("a brain MRI")[0]
    curve = deletion_insertion(clip, [sample.image], text, [saliency], steps=4).deletion[0]
    blurred = gaussian_filter(sample.image.astype(np.float32), (25.6, 25.6, 0)).round().astype(np.uint8)
    seen = [np.where(taken_first(saliency, part / 4)[..., None], blurred, sample.image) for part in range(5)]
    np.testing.assert_allclose(curve, (clip.encode_image(seen) @ text).numpy(), atol=1e-5)
    assert share_inside(saliency, sample.mask) == pytest.approx(coverage(saliency, sample.mask))
