"""A trace of an episode has the episode, whatever the network calls what it has."""

from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from lightning_ntm import NTM, Copy, MemoryModel, explore, figure
from lightning_ntm.evaluation import trace_episode
from lightning_ntm.evaluation.trace import trace_own
from lightning_ntm.report.quantities import observed
from lightning_ntm.testing import check_model

TASK = Copy(bits=2, max_length=3)
OF_EPISODE = ("inputs", "targets", "mask", "outputs", "errors", "measured", "optimal", "placed_by")


class Taken(NamedTuple):
    """Names that a trace has itself."""

    inputs: Tensor
    targets: Tensor
    mask: Tensor
    outputs: Tensor
    errors: Tensor
    measured: Tensor
    optimal: Tensor
    placed_by: Tensor
    logits: Tensor
    trace: Tensor


class Free(NamedTuple):
    """The same, under other names."""

    one: Tensor
    two: Tensor
    three: Tensor
    four: Tensor
    five: Tensor
    six: Tensor
    seven: Tensor
    eight: Tensor
    nine: Tensor
    trace: Tensor


class Summing(MemoryModel):
    def __init__(self, kind):
        super().__init__(TASK.input_size, TASK.output_size)
        self.kind = kind
        self.output = nn.Linear(TASK.input_size, TASK.output_size)

    def initial_state(self, *batch):
        sums = self.output.weight.new_zeros(*batch, self.input_size)
        return self.kind(*(sums + number for number in range(10)))

    def step(self, x, state):
        return self.output(state.trace), self.kind(*(0.9 * part + x for part in state))


@pytest.fixture
def networks():
    torch.manual_seed(0)
    taken, free = Summing(Taken), Summing(Free)
    free.load_state_dict(taken.state_dict())
    return taken, free


def test_the_episode_is_that_of_the_task_and_the_network_s_own_is_beside_it(networks):
    taken, free = (trace_episode(network, TASK, {"length": 3}) for network in networks)
    batch = TASK.batch(1, "evaluation", 0, 1, length=3)
    for name in ("inputs", "targets", "mask"):
        np.testing.assert_array_equal(taken[name], getattr(batch, name)[0])
    for name in taken:
        if "network." not in name:
            np.testing.assert_array_equal(taken[name], free[name])
    for mine, other in zip(Taken._fields, Free._fields, strict=True):
        np.testing.assert_array_equal(taken[mine if mine == "trace" else f"network.{mine}"], free[other])
    assert {f"network.{name}" for name in (*OF_EPISODE, "logits")} < {*observed(taken)}


def test_logits_of_a_trace_are_those_of_the_network(networks):
    taken, free = networks
    check_model(taken)
    inputs = torch.randn(2, 5, TASK.input_size)
    assert torch.equal(taken.trace(inputs)["logits"], free.trace(inputs)["logits"])


def test_an_episode_of_one_s_own_and_pictures(networks):
    taken, _ = networks
    batch = TASK.batch(1, "evaluation", 0, 1, length=2)
    mine, other = (trace_own(network, TASK.answer, batch, known=False) for network in networks)
    assert "targets" not in mine
    np.testing.assert_array_equal(mine["mask"], other["mask"])
    titles = [axis.get_title(loc="left") for axis in figure(taken, TASK, show="network.mask").axes]
    assert any("network.mask" in title.lower() for title in titles), titles
    for drawn in (figure(taken), figure(taken, show="all")):
        assert drawn.axes
    explore(taken, TASK)
    explore(taken)


def test_without_a_task_the_inputs_are_those_that_were_drawn(networks):
    from lightning_ntm.explorer.episodes import samples

    (_, taken), (_, free) = (next(samples(network, None, 1, recorded=True)) for network in networks)
    for name in ("inputs", "outputs", "logits"):
        np.testing.assert_array_equal(taken[name], free[name])


class Doubled(NTM):
    """Its answers are not those of its steps."""

    def forward(self, inputs, state=None, lengths=None):
        logits, state = super().forward(inputs, state, lengths)
        return 2 * logits, state


def hooked():
    model = NTM(9, 8, hidden_size=4, memory_slots=8, memory_width=3)
    model.register_forward_hook(lambda *arguments: None)
    return model


@pytest.mark.parametrize("make", [lambda: Doubled(9, 8, hidden_size=4, memory_slots=8, memory_width=3), hooked])
def test_a_trace_tells_that_a_network_does_more_than_its_steps(make):
    with pytest.warns(UserWarning, match="has a forward or hooks of its own, which a trace does not run"):
        trace_episode(make(), Copy(), {"length": 3})
