"""Devices: a name that torch does not know and a device that is not there are a ModelError that says what to use."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from medclipsam_utils.models import ModelError, load_clip, load_sam
from medclipsam_utils.models.devices import find_device, move

WRONG = [
    "gpu",
    "",
    "CUDA",
    "cuda:x",
    "cuda:-1",
    "cuda:99",
    "vulkan",
    "xla",
    "meta",
    None,
    1.5,
    torch.device("cuda", 99),
]


@pytest.mark.parametrize("load", [load_clip, load_sam])
@pytest.mark.parametrize("device", WRONG)
def test_a_device_that_is_not_there_is_named_with_what_to_use(load, device):
    name = str(device) if isinstance(device, torch.device) else device
    with pytest.raises(ModelError) as caught:
        load("tiny", device=device)
    message = str(caught.value)
    assert message.startswith(f"device {name!r}: ") and "Use 'cpu'" in message and "\n" not in message


@pytest.mark.parametrize("device", ["cuda", "cuda:0", torch.device("cuda"), "mps"])
def test_a_machine_without_the_device_says_so(monkeypatch, device):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    if "mps" in str(device):
        monkeypatch.setattr(torch, "empty", lambda *_, **__: (_ for _ in ()).throw(NotImplementedError("no MPS")))
    with pytest.raises(ModelError, match=r"torch finds (no GPU|none) on this machine. Use 'cpu'\.$"):
        find_device(device)


def test_a_gpu_beyond_the_last_one_names_those_that_there_are(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(ModelError, match=r"'cuda:2': there are 2 GPUs, counted from 0. Use 'cpu', 'cuda:0', 'cuda:1'"):
        find_device("cuda:2")


@pytest.mark.parametrize("device", ["cpu", torch.device("cpu")])
def test_the_processor_is_always_there(device):
    assert find_device(device) == torch.device("cpu")
    assert load_clip("tiny", device=device).device == load_sam("tiny", device=device).device == torch.device("cpu")


def test_the_device_is_seen_to_before_a_model_is_looked_for():
    for load in (load_clip, load_sam):
        with pytest.raises(ModelError, match="device 'gpu'"):
            load("no such model", device="gpu")


def test_a_device_that_is_full_says_so():
    class Full(nn.Module):
        def to(self, device):
            raise RuntimeError("out of memory.\nTried to allocate 2 GiB")

    with pytest.raises(ModelError, match=r"vit_h: the model cannot be moved to the device 'cpu' \(out of memory\)"):
        move(Full(), torch.device("cpu"), "vit_h")
