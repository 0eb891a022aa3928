"""Networks as programs of `torch.export` and of ONNX."""

import io
import subprocess
import sys
from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from lightning_ntm import LSTM, MemoryModel, detach
from lightning_ntm.models import exportable
from lightning_ntm.states import flatten

#: Exports with a batch of any size, whose number is no `int` meanwhile: not checked against annotations.
EXPORTS = """
import io
import subprocess
import sys
import sys

import torch

from lightning_ntm import DNC, LSTM, NTM
from lightning_ntm.states import flatten

sizes = {"hidden_size": 4, "memory_slots": 5, "memory_width": 3, "backend": "reference"}
onnx = sys.argv[1:] == ["onnx"]
for network in (NTM(3, 2, **sizes), DNC(3, 2, **sizes), LSTM(3, 2, hidden_size=4)):
    network.eval()
    any_batch = {"inputs": {0: torch.export.Dim("batch")}}
    if onnx:
        options = {"dynamo": True, "optimize": False, "verbose": False}
        program = torch.onnx.export(network, (torch.rand(2, 2, 3),), dynamic_shapes=any_batch, **options)
    else:
        written = io.BytesIO()
        torch.export.save(torch.export.export(network, (torch.rand(2, 2, 3),), dynamic_shapes=any_batch), written)
        written.seek(0)
        program = torch.export.load(written).module()
    for batch in (1, 5):
        inputs = torch.rand(batch, 2, 3)
        (logits, state), found = network(inputs), program(inputs)
        if not onnx:
            assert type(found[1]) is type(state)
        tensors = found if onnx else [found[0], *flatten(found[1])]
        for one, other in zip(tensors, [logits, *flatten(state)], strict=True):
            torch.testing.assert_close(one, other.detach(), rtol=1e-4, atol=1e-5)
    print(type(network).__name__, "exported")
"""
DONE = ["NTM exported", "DNC exported", "LSTM exported"]


def exported(*words):
    done = subprocess.run([sys.executable, "-c", EXPORTS, *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return [line for line in done.stdout.splitlines() if line.endswith(" exported")]


def test_exported_networks_are_saved_and_take_any_batch():
    assert exported() == DONE


def test_networks_become_onnx():
    pytest.importorskip("onnxscript", reason="onnxscript is not installed")
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    assert exported("onnx") == DONE


def test_a_state_passed_in_is_exported():
    network = LSTM(3, 2, hidden_size=4).eval()
    inputs, start = torch.rand(2, 3, 3), detach(network(torch.rand(2, 3, 3))[1])
    program = torch.export.export(network, (inputs, start))
    found, expected = program.module()(inputs, start), network(inputs, start)
    for one, other in zip(flatten(found), flatten(expected), strict=True):
        torch.testing.assert_close(one, other)


@exportable
class SumState(NamedTuple):
    """The sum of what was seen."""

    total: Tensor


class Sum(MemoryModel[SumState]):
    """Adds its inputs."""

    def __init__(self):
        super().__init__(1, 1)

    def initial_state(self, *batch):
        return SumState(torch.zeros(*batch, 1))

    def step(self, x, state):
        total = state.total + x
        return total, SumState(total)


def test_the_state_of_a_network_of_one_s_own_can_be_saved_too():
    written = io.BytesIO()
    torch.export.save(torch.export.export(Sum(), (torch.ones(1, 2, 1),)), written)
    written.seek(0)
    _, state = torch.export.load(written).module()(torch.ones(1, 2, 1))
    assert type(state) is SumState
    assert state.total.item() == 2
    assert exportable(SumState) is SumState, "once more does nothing"
