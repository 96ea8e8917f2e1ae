"""The package as a whole: what its names mean, and what importing it does to a program."""

from __future__ import annotations

import importlib
import inspect
import json
import os
import pickle
import pkgutil
import subprocess
import sys
from types import ModuleType

import numpy as np
import pytest

import medclipsam_utils
from medclipsam_utils.notebook import set_up
from medclipsam_utils.simulate import FINDINGS, Sample

# Trainers that nnU-Net looks for: importing them imports nnU-Net, which is an optional extra.
MODULES = [
    module.name
    for module in pkgutil.walk_packages(medclipsam_utils.__path__, "medclipsam_utils.")
    if "nnunet" not in module.name and not module.name.endswith("__main__")
]


def python(program: str) -> str:
    """What a program prints in a Python of its own, which starts with two threads."""
    command, environment = [sys.executable, "-c", program], os.environ | {"OMP_NUM_THREADS": "2"}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.strip()


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


# What must not change behind a program's back. (Libraries such as MONAI and OpenCV set variables of their own.)
STATE = """
import os, logging
import matplotlib, numpy, torch, scipy.linalg
from threadpoolctl import threadpool_info

def state():
    pools = {pool["filepath"]: pool["num_threads"] for pool in threadpool_info()}
    return {
        "threads": (torch.get_num_threads(), torch.get_num_interop_threads()),
        "pools": pools,
        "environment": {name: value for name, value in os.environ.items() if "THREADS" in name or "SEED" in name},
        "random": (numpy.random.get_state()[1].tolist(), torch.get_rng_state().tolist()),
        "torch": (str(torch.get_default_dtype()), torch.are_deterministic_algorithms_enabled(),
                  torch.is_grad_enabled(), torch.get_float32_matmul_precision()),
        "numpy": (numpy.geterr(), numpy.get_printoptions()),
        "figures": dict(matplotlib.rcParams),
        "log": (logging.root.level, len(logging.root.handlers)),
        "folder": os.getcwd(),
    }
"""


def test_importing_the_package_changes_nothing_in_a_program():
    program = f"""{STATE}
before = state()
import importlib
for name in {MODULES!r}:
    importlib.import_module(name)
after = state()
for pool in before["pools"]:  # libraries that were loaded since have pools of their own
    assert after["pools"][pool] == before["pools"][pool], pool
print([key for key in before if key != "pools" and repr(before[key]) != repr(after[key])])
"""
    assert python(program) == "[]"


def test_a_notebook_uses_the_number_of_threads_that_it_states():
    """Of torch, of a BLAS that was loaded before, and of one that is loaded later."""
    program = """
import json, os
import numpy
from medclipsam_utils.notebook import set_up
set_up(threads=1)
import scipy.linalg, torch
from threadpoolctl import threadpool_info
found = {pool["num_threads"] for pool in threadpool_info()} | {torch.get_num_threads()}
print(json.dumps([sorted(found), os.environ["OMP_NUM_THREADS"]]))
"""
    assert json.loads(python(program)) == [[1], "1"]


@pytest.mark.parametrize("threads", [0, -1, 1.0, True, "1"])
def test_a_number_of_threads_that_is_none_is_refused(threads):
    with pytest.raises(ValueError, match="give an integer, 1 or more"):
        set_up(threads=threads)
