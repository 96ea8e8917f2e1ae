"""The package as a whole: what its names mean, and what importing it does to a program."""

from __future__ import annotations

import importlib
import inspect
import pickle
import pkgutil
import subprocess
import sys
from types import ModuleType

import numpy as np
import pytest

import medclipsam_utils
from medclipsam_utils.simulate import FINDINGS, Sample

# Trainers that nnU-Net looks for: importing them imports nnU-Net, which is an optional extra.
MODULES = [
    module.name
    for module in pkgutil.walk_packages(medclipsam_utils.__path__, "medclipsam_utils.")
    if "nnunet" not in module.name and not module.name.endswith("__main__")
]


def python(program: str) -> str:
    """What a program prints in a Python of its own."""
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.strip()


def test_no_function_hides_a_module():
    for name in MODULES:
        importlib.import_module(name)
    hidden = []
    for name in MODULES:
        package, _, last = name.rpartition(".")
        if getattr(sys.modules[package], last) is not sys.modules[name]:
            hidden.append(name)
    assert hidden == []


@pytest.mark.parametrize(
    "first",
    [
        "import medclipsam_utils.simulate as s",
        "import medclipsam_utils; s = medclipsam_utils.simulate",
        "from medclipsam_utils import simulate as s",
        "import medclipsam_utils.simulate.captions, medclipsam_utils.simulate as s",
    ],
)
def test_simulate_is_a_module_however_it_is_imported(first):
    shown = python(f"{first}; print(s.FINDINGS['lung_ct'][-1], s.Sample.__name__, s('lung_ct', 3, size=32).seed)")
    assert shown == "abdomen Sample 3"


def test_simulate_can_be_called_like_its_function():
    simulate = medclipsam_utils.simulate
    assert isinstance(simulate, ModuleType) and simulate.FINDINGS is FINDINGS
    assert inspect.signature(simulate) == inspect.signature(simulate.simulate)
    sample = simulate("lung_ct", seed=3, size=64, finding="clear")
    assert isinstance(sample, Sample)
    assert np.array_equal(sample.image, simulate.simulate("lung_ct", 3, 64, "clear").image)
    assert pickle.loads(pickle.dumps(simulate)) is simulate  # as for the workers of a pool
    assert "seed: any non-negative integer" in simulate.__call__.__doc__
