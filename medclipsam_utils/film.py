"""A film for the chapters: a few frames that a reader steps through, or plays once.

A film is plain HTML: radio buttons choose the frame, and one of them plays all frames from the first to the last, once.
A style sheet does the rest, so that it works in the built page, in Jupyter and in Colab, without a running Python, by
keyboard and with a screen reader. It never moves by itself; readers who ask their system for less motion get the last
frame in place of the play. Where the style sheet is not allowed, all frames stand beside each other.
"""

from __future__ import annotations

import io
from base64 import b64encode
from collections.abc import Sequence
from html import escape

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from .plots import outline

#: Seconds that a frame stays when the film is played.
SECONDS_A_FRAME = 0.8

_DOTS_PER_INCH = 100

#: Grey cells of the drawn noise along each side of an image.
NOISE_CELLS = 48

_QUALITY = 75


class Film:
    """Frames of equal size, which a notebook shows one at a time.

    Args:
        name: of letters and hyphens, unlike that of any other film on the page.
        frames: uint8 [H, W, 3] each, 2 or more.
        labels: what the button of each frame says, and what is stepped through comes first: ``("step", "1", "2", …)``.
        caption: one or two sentences below the film.
        alt: what is seen, for those who do not see it.

    Raises:
        ValueError: there are fewer than two frames, they differ in size, or there is another number of labels.
    """

    def __init__(self, name: str, frames: Sequence[np.ndarray], labels: Sequence[str], caption: str, alt: str) -> None:
        if len(frames) < 2 or len({frame.shape for frame in frames}) > 1:
            raise ValueError(
                f"{len(frames)} frames of {len({f.shape for f in frames})} sizes: give two or more, of one"
            )
        if len(labels) != len(frames) + 1:
            raise ValueError(
                f"{len(frames)} frames but {len(labels)} labels: name what is stepped through, and each frame"
            )
        self.name, self.frames, self.labels = name, list(frames), list(labels)
        self.caption, self.alt = caption, alt

    def __repr__(self) -> str:
        return f"Film of {len(self.frames)} frames; a notebook shows it. {self.caption}"

    @property
    def strip(self) -> np.ndarray:
        """All frames beside each other, uint8 [H, frames · W, 3]."""
        return np.concatenate(self.frames, axis=1)

    def _repr_html_(self) -> str:
        buttons = "".join(self._button(place, label) for place, label in enumerate(self.labels[1:]))
        play = f'<br><input type="radio" class="play" name="{self.name}" id="{self.name}-play">'
        play += f'<label for="{self.name}-play" class="play">▶ play once</label>'
        picture = io.BytesIO()
        Image.fromarray(self.strip).save(picture, "WEBP", quality=_QUALITY)
        source = b64encode(picture.getvalue()).decode("ascii")
        height, width = self.strip.shape[:2]
        given = f'width="{width}" height="{height}" loading="lazy" alt="{escape(self.alt)}"'
        window = f'<div class="window"><img src="data:image/webp;base64,{source}" {given}></div>'
        legend = f"<legend>{escape(self.labels[0])}</legend>"
        form = f'<form autocomplete="off"><fieldset>{legend}{buttons}{play}{window}</fieldset></form>'
        caption = f"<figcaption>{escape(self.caption)}</figcaption>"
        return f'<style>{self._style()}</style><figure class="film" id="{self.name}">{form}{caption}</figure>'

    def _button(self, place: int, label: str) -> str:
        name, checked = f"{self.name}-{place}", "" if place else " checked"
        button = f'<input type="radio" name="{self.name}" id="{name}" class="f{place}"{checked}>'
        return f'{button}<label for="{name}">{escape(label)}</label>'

    def _style(self) -> str:
        count = len(self.frames)
        height, width = self.frames[0].shape[:2]
        here, last = f"#{self.name}", f"translateX(-{100 * (count - 1) / count:g}%)"
        seconds = SECONDS_A_FRAME * (count - 1)
        places = "".join(
            f"{here} .f{place}:checked~.window img{{transform:translateX(-{100 * place / count:g}%)}}"
            for place in range(count)
        )
        return (
            f"{here}{{margin:0;max-width:{width}px}}"
            f"{here} fieldset{{border:0;margin:0;padding:0}}"
            f"{here} input{{margin:0 .2em 0 0}}"
            f"{here} label{{margin-right:.6em;cursor:pointer}}"
            f"{here} .window{{overflow:hidden;width:100%;aspect-ratio:{width}/{height};margin-top:.4em}}"
            f"{here} .window img{{display:block;width:{100 * count}%;max-width:none;height:auto;margin:0}}"
            f"{places}"
            f"@keyframes {self.name}{{from{{transform:translateX(0)}}to{{transform:{last}}}}}"
            f"{here} .play:checked~.window img{{animation:{self.name} {seconds:g}s steps({count - 1}) 1 forwards}}"
            "@media (prefers-reduced-motion:reduce){"
            f"{here} .play:checked~.window img{{animation:none;transform:{last}}}"
            f"{here} .play{{display:none}}"
            "}"
        )


def closing_bottleneck(
    image: np.ndarray,
    passed: Sequence[np.ndarray],
    titles: Sequence[str],
    mask: np.ndarray | None = None,
    seed: int = 0,
) -> list[np.ndarray]:
    """Draw the steps of a bottleneck: the image with noise where it is closed, beside the share that passes.

    The method mixes noise into tokens; here it is mixed into the pixels of each patch in the same share, for the eye.

    Args:
        image: uint8 [H, W, 3].
        passed: for each step the share λ that passes in each patch, float [rows, columns] from 0 to 1.
        titles: one for each step, in a line above both pictures.
        mask: bool [H, W], outlined; None draws no outline.
        seed: seed of the noise that is drawn.

    Returns:
        A frame for each step, uint8 [height, width, 3].
    """
    grey = image.mean(axis=2)
    height, width = grey.shape
    noise = nearest(np.random.default_rng(seed).normal(128, 40, (NOISE_CELLS, NOISE_CELLS)), grey.shape)
    frames = []
    for share, title in zip(passed, titles, strict=True):
        figure = Figure(figsize=(5.6, 2.9), dpi=_DOTS_PER_INCH, layout="constrained")
        picture, tiles = figure.subplots(1, 2)
        shown = nearest(share, grey.shape)
        picture.imshow(shown * grey + (1 - shown) * noise, cmap="gray", vmin=0, vmax=255)
        picture.set_title("image and noise", fontsize=11)
        found = tiles.imshow(share, cmap="cividis", vmin=0, vmax=1, extent=(-0.5, width - 0.5, height - 0.5, -0.5))
        tiles.set_title("λ, the share that passes", fontsize=11)
        for axes in (picture, tiles):
            axes.set_axis_off()
            if mask is not None:
                outline(axes, mask)
        figure.colorbar(found, ax=tiles, shrink=0.8, ticks=[0, 0.5, 1])
        figure.suptitle(title, fontsize=11)
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        frames.append(np.asarray(canvas.buffer_rgba())[..., :3].copy())
    return frames


def nearest(grid: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Draw each value of a grid [rows, columns] as a tile of an image of this size."""
    rows, columns = (np.arange(length) * count // length for length, count in zip(size, grid.shape, strict=True))
    return grid[np.ix_(rows, columns)]
