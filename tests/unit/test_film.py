import io
import re
from base64 import b64decode

import numpy as np
import pytest
from PIL import Image

from medclipsam_utils.film import Film, closing_bottleneck, nearest


@pytest.fixture
def film():
    frames = [np.full((20, 40, 3), 60 * number, np.uint8) for number in range(4)]
    return Film("test", frames, ["step", "1", "2", "3", "<4>"], "What is seen.", "A grey picture gets brighter.")


def test_a_film_has_a_button_for_each_frame_and_one_that_plays(film):
    html = film._repr_html_()
    buttons = re.findall(r'<input type="radio"[^>]*id="([^"]+)"', html)
    assert buttons == ["test-0", "test-1", "test-2", "test-3", "test-play"]
    assert set(buttons) == set(re.findall(r'<label for="([^"]+)"', html)), "each button has a label"
    assert html.count(" checked>") == 1 and "&lt;4&gt;" in html and "<legend>step</legend>" in html


def test_a_film_plays_only_when_asked_and_once_and_minds_who_dislikes_motion(film):
    html = film._repr_html_()
    assert re.findall(r"[^}]*\{animation:test[^}]*\}", html) == [
        "#test .play:checked~.window img{animation:test 2.4s steps(3) 1 forwards}"
    ]
    assert "infinite" not in html and "<script" not in html
    assert "@media (prefers-reduced-motion:reduce){#test .play:checked~.window img{animation:none" in html
    assert "to{transform:translateX(-75%)}" in html, "it ends on the last frame"


def test_the_frames_of_a_film_lie_beside_each_other_in_one_picture_with_words(film):
    html = film._repr_html_()
    ((source, size, alt),) = re.findall(r'<img src="data:image/webp;base64,([^"]+)" (width.*?) alt="([^"]+)">', html)
    height, width = film.strip.shape[:2]
    assert size == f'width="{width}" height="{height}" loading="lazy"'
    strip = np.asarray(Image.open(io.BytesIO(b64decode(source))).convert("RGB"))
    assert strip.shape == film.strip.shape == (20, 160, 3)
    assert [round(part.mean() / 60) for part in np.split(strip, 4, axis=1)] == [0, 1, 2, 3]
    assert alt == "A grey picture gets brighter." and "<figcaption>What is seen.</figcaption>" in html
    assert repr(film) == "Film of 4 frames; a notebook shows it. What is seen."


def test_a_film_of_unequal_frames_or_labels_is_refused():
    small, large = np.zeros((2, 2, 3), np.uint8), np.zeros((3, 2, 3), np.uint8)
    for frames, labels in (([small], "ab"), ([small, large], "abc"), ([small, small], "ab")):
        with pytest.raises(ValueError, match=r"^\d frames"):
            Film("test", frames, list(labels), "", "")


def test_a_closed_patch_is_noise_and_an_open_one_is_the_image():
    image = np.zeros((32, 32, 3), np.uint8)
    image[:, 16:] = 255
    shares = [np.ones((2, 2)), np.array([[1.0, 0.0], [1.0, 0.0]])]
    mask = np.zeros((32, 32), bool)
    mask[10:20, 4:12] = True
    start, end = closing_bottleneck(image, shares, ["step 1", "step 2"], mask)
    assert start.dtype == np.uint8 and start.shape == end.shape and start.shape[2] == 3
    assert (closing_bottleneck(image, shares, ["step 1", "step 2"], mask)[1] == end).all()
    assert (closing_bottleneck(image, shares, ["step 1", "step 2"])[1] != end).any(), "the outline is drawn"
    changed = (start != end).any(axis=2)
    middle = start.shape[0] // 2 + 10
    assert not changed[middle, 30:80].any() and changed[middle, 150:220].mean() > 0.9


def test_tiles_cover_their_part_of_an_image():
    grid = np.arange(6).reshape(2, 3)
    assert (nearest(grid, (4, 6)) == np.kron(grid, np.ones((2, 2)))).all()
    assert nearest(grid, (5, 7)).shape == (5, 7)
