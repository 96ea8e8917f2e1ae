"""What holds for all unit tests: one thread, in this process and in those that a test starts.

Sums have one order then, small products do not wait for each other's threads, and as many tests as there are cores can
run side by side. It has to be said before torch is imported.
"""

import multiprocessing
import os

os.environ["OMP_NUM_THREADS"] = "1"

import pytest
from processes import SERVER

#: Files with something that takes long to make and serves several tests: models, simulated images, or a process from
#: which others start. They come first: of the first tests, each process gets hundreds in a row, and so one process
#: makes it, once; later ones are dealt out singly.
FIRST = {
    "test_finetune",
    "test_pipeline_folder",
    "test_pipeline_volume",
    "test_recipe_clip_training",
    "test_recipe_finetune_losses",
    "test_recipe_judge",
    "test_recipe_saliency_checks",
    "test_recipe_sam",
    "test_recipe_ways",
    "test_recipe_weak_supervision",
    "test_recipe_zero_shot",
    "test_simulate_brain_mri",
    "test_simulate_breast_ultrasound",
    "test_simulate_lung_ct",
    "test_weak_nnunet",
}


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: item.path.stem not in FIRST)


@pytest.fixture
def quick_processes(monkeypatch):
    """Let what starts processes anew start them from one that has imported everything already."""
    monkeypatch.setattr(multiprocessing, "get_context", lambda method: SERVER)
