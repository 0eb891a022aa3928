"""Networks with a controller or a memory of a user's own."""

from typing import NamedTuple

import pytest
import torch
from torch import Tensor, nn

from lightning_ntm import NTM, Stack
from lightning_ntm.models import Controller, Memory, NTMMemory
from lightning_ntm.models.controllers import FeedForwardController
from lightning_ntm.states import flatten, named
from lightning_ntm.testing import check_model

SIZES = {"memory_slots": 7, "memory_width": 3}


class GRUState(NamedTuple):
    hidden: Tensor


class GRUController(Controller[GRUState]):
    """A recurrent controller with a start of its own."""

    def __init__(self, input_size, hidden_size):
        super().__init__()
        self.input_size, self.output_size = input_size, hidden_size
        self.gates = nn.Linear(input_size + hidden_size, 2 * hidden_size)
        self.candidate = nn.Linear(input_size + hidden_size, hidden_size)
        self.start = nn.Parameter(torch.randn(hidden_size))

    def initial_state(self, *batch):
        return GRUState(self.start.expand(*batch, -1))

    def step(self, x, state):
        reset, update = self.gates(torch.cat([x, state.hidden], -1)).sigmoid().chunk(2, -1)
        candidate = self.candidate(torch.cat([x, reset * state.hidden], -1)).tanh()
        hidden = torch.lerp(candidate, state.hidden, update)
        return hidden, GRUState(hidden)


class StackState(NamedTuple):
    cells: Tensor


class SoftStack(Memory[StackState]):
    """A stack that is pushed and popped by shares, and is read at its top."""

    def __init__(self, width, depth):
        super().__init__()
        self.width, self.depth = width, depth
        self.interface_size, self.read_size = width + 2, width
        self.register_buffer("like", torch.empty(0), persistent=False)

    def initial_state(self, *batch, slots=None):
        return StackState(self.like.new_zeros((*batch, slots or self.depth, self.width)))

    def slots_of(self, state):
        return state.cells.shape[-2]

    def reads(self, state):
        return state.cells[..., 0, :]

    def step(self, interface, state):
        push, pop = interface[..., self.width :].softmax(-1)[..., None, None].unbind(-3)
        top = interface[..., None, : self.width].tanh()
        pushed = torch.cat([top, state.cells[..., :-1, :]], -2)
        popped = torch.cat([state.cells[..., 1:, :], torch.zeros_like(top)], -2)
        return StackState(push * pushed + pop * popped)


NETWORKS = {
    "controller": lambda **options: NTM(4, 2, controller=GRUController(7, 5), **SIZES, **options),
    "stateless controller": lambda **options: NTM(4, 2, controller=FeedForwardController(7, 5), **SIZES, **options),
    "memory": lambda **options: NTM(4, 2, memory=SoftStack(3, 6), hidden_size=5, **options),
    "both": lambda **options: NTM(4, 2, controller=GRUController(7, 5), memory=SoftStack(3, 6), **options),
}
every_network = pytest.mark.parametrize("network", NETWORKS)


@every_network
def test_keeps_the_promises_of_a_network(network):
    check_model(NETWORKS[network]())


@every_network
def test_every_parameter_is_trained_and_saved(network):
    model = NETWORKS[network]()
    logits, state = model(torch.randn(2, 4, 4))
    (logits.square().sum() + sum(part.square().sum() for part in flatten(state))).backward()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in model.parameters())
    other, inputs = NETWORKS[network](), torch.randn(2, 4, 4)
    other.load_state_dict(model.state_dict())
    assert torch.equal(other(inputs)[0], model(inputs)[0])


def test_states_are_those_of_the_parts():
    state = NETWORKS["both"]()(torch.randn(2, 4, 4))[1]
    assert type(state.memory) is StackState
    assert type(state.controller) is GRUState
    assert list(named(state)) == ["memory.cells", "controller.hidden"]
    assert NETWORKS["memory"]().trace(torch.randn(2, 4, 4)).keys() == {"logits", "cells", "hidden", "cell"}


@every_network
def test_several_run_side_by_side(network):
    members, inputs = [NETWORKS[network](backend="reference") for _ in range(2)], torch.randn(2, 3, 5, 4)
    logits, _ = Stack(members, "reference")(inputs)
    for member, x, expected in zip(members, inputs, logits, strict=True):
        torch.testing.assert_close(member(x)[0], expected)


@pytest.mark.parametrize("network", ["memory", "both"])
def test_a_memory_of_one_s_own_may_have_another_number_of_slots(network):
    model, inputs = NETWORKS[network](), torch.randn(2, 5, 4)
    _, state = model(inputs, model.initial_state(2, slots=9))
    assert state.memory.cells.shape == (2, 9, 3)


@pytest.mark.parametrize(
    ("network", "part"),
    [
        ("controller", "controller is a GRUController, not a LSTMController or a FeedForwardController"),
        ("memory", "memory is a SoftStack, not a NTMMemory"),
    ],
)
@pytest.mark.parametrize("backend", ["cpu", "triton"])
def test_a_kernel_says_which_part_it_cannot_run(network, part, backend, monkeypatch):
    if backend == "triton":
        pytest.importorskip("triton")
        monkeypatch.setenv("TRITON_INTERPRET", "1")
    inputs = torch.zeros(1, 2, 4)
    assert NETWORKS[network]().backend_for(inputs) == "reference"
    with pytest.raises(ValueError, match=rf"backend \(='{backend}'\) cannot run this call: {part}\."):
        NETWORKS[network](backend=backend)(inputs)


def test_a_part_of_ours_may_be_passed_in_and_runs_in_the_kernel():
    model = NTM(4, 2, controller=FeedForwardController(7, 5), memory=NTMMemory(7, 3))
    assert model.backend_for(torch.zeros(1, 2, 4)) == "cpu"
    check_model(model)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"controller": GRUController(4, 5)}, r"controller.input_size \(=4\) must be 24"),
        (
            {"controller": GRUController(24, 5), "hidden_size": 6},
            r"hidden_size \(=6\) cannot be given with a controller",
        ),
        (
            {"memory": SoftStack(3, 6), "memory_slots": 6},
            r"memory_slots \(=6\) cannot be given with a memory of your own",
        ),
        ({"memory": SoftStack(3, 6), "head_init": "learned"}, r"head_init \(=learned\) cannot be given with a memory"),
    ],
)
def test_what_does_not_fit_a_part_is_told(options, message):
    with pytest.raises(ValueError, match=message):
        NTM(4, 2, **options)
