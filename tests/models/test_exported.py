"""Networks as programs of `torch.export` and of ONNX."""

import importlib.util
import io
from typing import NamedTuple

import pytest
import torch
from tests.forked import scripted
from torch import Tensor

from lightning_ntm import LSTM, MemoryModel, detach
from lightning_ntm.models import exportable
from lightning_ntm.states import flatten

#: Exports with a batch of any size, whose number is no `int` meanwhile: not checked against annotations.
EXPORTS = """
import io, sys

import torch

from lightning_ntm import DNC, LSTM, NTM, StackRNN, TapeRNN, Transformer
from lightning_ntm.states import flatten


def compare(network, program, found_by):
    for batch in (1, 5):
        inputs = torch.rand(batch, 2, 3)
        logits, state = network(inputs)
        for one, other in zip(found_by(program(inputs), state), [logits, *flatten(state)], strict=True):
            torch.testing.assert_close(one, other.detach(), rtol=1e-4, atol=1e-5)


def of_torch(found, state):
    assert type(found[1]) is type(state)
    return [found[0], *flatten(found[1])]


sizes = {"hidden_size": 4, "memory_slots": 5, "memory_width": 3, "backend": "reference"}
small = {"hidden_size": 4, "num_layers": 1, "num_heads": 1, "feedforward_size": 3}
networks = [NTM(3, 2, **sizes), DNC(3, 2, **sizes), LSTM(3, 2, hidden_size=4), StackRNN(3, 2, **sizes)]
networks += [TapeRNN(3, 2, length_oracle=True, **sizes), Transformer(3, 2, positions="relative", **small)]
networks += [Transformer(3, 2, positions="relative", causal=False, **small)]
for network in networks:
    network.eval()
    any_batch, written = {"inputs": {0: torch.export.Dim("batch")}}, io.BytesIO()
    example = (torch.rand(2, 2, 3),)
    torch.export.save(torch.export.export(network, example, dynamic_shapes=any_batch), written)
    written.seek(0)
    compare(network, torch.export.load(written).module(), of_torch)
    print("torch", type(network).__name__)
    if sys.argv[1:] == ["onnx"] and isinstance(network, NTM | DNC | LSTM):
        options = {"dynamic_shapes": any_batch, "dynamo": True, "optimize": False, "verbose": False}
        program = torch.onnx.export(network, example, **options)
        compare(network, program, lambda found, state: found)
        print("onnx", type(network).__name__)
"""


@pytest.fixture(scope="module")
def exported():
    """What was exported, and into what."""
    with_onnx = all(importlib.util.find_spec(name) for name in ("onnxscript", "onnxruntime"))
    return [line.split() for line in scripted(EXPORTS, *["onnx"] * with_onnx).stdout.splitlines()]


@pytest.mark.parametrize("into", ["torch", "onnx"])
def test_exported_networks_are_saved_and_take_any_batch(exported, into):
    if into == "onnx":
        pytest.importorskip("onnxscript", reason="onnxscript is not installed")
        pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    more = ["StackRNN", "TapeRNN", "Transformer", "Transformer"] if into == "torch" else []
    assert [line[1] for line in exported if line[0] == into] == ["NTM", "DNC", "LSTM", *more]


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
