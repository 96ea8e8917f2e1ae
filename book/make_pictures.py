"""Draw the picture of the README and the book's first page: ``python book/make_pictures.py``."""

from pathlib import Path

from medclipsam_utils import TASKS, simulate
from medclipsam_utils.plots import contact_sheet

EXAMPLES = {
    "breast_ultrasound": (11, "malignant"),
    "brain_mri": (10, "glioma"),
    "lung_xray": (8, "clear"),
    "lung_ct": (2, "clear"),
}

if __name__ == "__main__":
    samples = [simulate(task, seed, finding=finding) for task, (seed, finding) in EXAMPLES.items()]
    titles = [f"{TASKS[task].modality}\n“{TASKS[task].prompts['P0'][0]}”" for task in EXAMPLES]
    figure = contact_sheet(samples, columns=4, titles=titles)
    figure.savefig(Path(__file__).parent / "_static" / "tasks.png", dpi=180, facecolor="white")
