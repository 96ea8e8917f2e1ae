"""Draw the picture of the README and the film of the book's first page: ``python book/make_pictures.py``."""

from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from medclipsam_utils import TASKS, Segmenter, load_clip, load_sam, simulate
from medclipsam_utils.film import Film
from medclipsam_utils.plots import contact_sheet, draw_prompts, outline

STATIC = Path(__file__).parent / "_static"
EXAMPLES = {
    "breast_ultrasound": (11, "malignant"),
    "brain_mri": (10, "glioma"),
    "lung_xray": (8, "clear"),
    "lung_ct": (2, "clear"),
}
SENTENCE = "breast tumour"
TITLES = (
    "An image, and a sentence:",
    "CLIP says where the words are:",
    "The peak of the map becomes a box:",
    "SAM draws the outline in the box:",
)


def tasks_picture() -> Figure:
    """Draw an image of each task with its target and the sentence that asks for it."""
    samples = [simulate(task, seed, finding=finding) for task, (seed, finding) in EXAMPLES.items()]
    titles = [f"{TASKS[task].modality}\n“{TASKS[task].prompts['P0'][0]}”" for task in EXAMPLES]
    return contact_sheet(samples, columns=4, titles=titles)


def first_page_film() -> Film:
    """Show in four frames how a sentence becomes an outline, on one simulated image."""
    sample = simulate("breast_ultrasound", 12, finding="malignant")
    found = Segmenter(load_clip("tiny"), load_sam("tiny")).segment(sample.image, SENTENCE)
    frames = []
    for number, title in enumerate(TITLES):
        figure = Figure(figsize=(4.2, 4.7), dpi=100, layout="constrained")
        axes = figure.subplots()
        axes.imshow(sample.image)
        if number == 1:
            axes.imshow(found.saliency, cmap="inferno", alpha=0.6)
        elif number == 2:
            outline(axes, found.coarse)
            draw_prompts(axes, found.boxes, found.points)
        elif number == 3:
            outline(axes, found.mask)
        axes.set_title(f"{title}\n“{SENTENCE}”", fontsize=12)
        axes.set_axis_off()
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        frames.append(np.asarray(canvas.buffer_rgba())[..., :3].copy())
    labels = ("What happens, step by step", "1 image", "2 map", "3 box", "4 mask")
    caption = "A simulated breast ultrasound, and what the book's small models make of the sentence."
    alt = (
        "Four pictures of one simulated ultrasound image: the image alone; a saliency map that is bright over a dark "
        "tumour; the outline of the map's peak with a box around it; and the outline of the tumour that SAM draws."
    )
    return Film("first-page", frames, labels, caption, alt)


if __name__ == "__main__":
    tasks_picture().savefig(STATIC / "tasks.png", dpi=180, facecolor="white")
    (STATIC / "film.html").write_text(f"{first_page_film()._repr_html_()}\n", encoding="utf-8")
