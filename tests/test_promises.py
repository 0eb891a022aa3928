"""Promises that hold for every network and task we ship, found by looking."""

import inspect

import numpy as np
import pytest
import torch

import lightning_ntm
from lightning_ntm import LSTM, NTM, Batch, Copy, FileTask, MemoryModel, Task, models, tasks, testing
from lightning_ntm.models import Controller, Memory
from lightning_ntm.states import flatten


def from_arrays():
    numbers = np.random.default_rng(0)
    train, validation = ({"inputs": numbers.normal(size=(20, 5, 2)), "targets": numbers.integers(2, size=(20, 5, 1))}
                         for _ in range(2))  # fmt: skip
    return FileTask.from_arrays(train, validation)


#: How those are made that need arguments.
MADE = {FileTask: from_arrays}


def concrete(room, base):
    classes = [c for _, c in inspect.getmembers(room, inspect.isclass)]
    return [c for c in classes if issubclass(c, base) and not inspect.isabstract(c)]


@pytest.mark.parametrize("task", concrete(tasks, Task))
def test_task(task):
    testing.check_task(MADE.get(task, task)())


@pytest.mark.parametrize("model", concrete(models, MemoryModel))
def test_model(model):
    testing.check_model(model(5, 4))


@pytest.mark.parametrize("model", concrete(models, MemoryModel))
def test_a_step_takes_any_leading_axes(model):
    network, x = model(5, 4), torch.randn(2, 3, 5)
    start = network.initial_state(2, 3)
    logits, state = network.step(x, start)
    flat, flat_state = network.step(x.flatten(0, 1), network.initial_state(6))
    alone, alone_state = network.step(x[1, 2], network.initial_state())
    torch.testing.assert_close(logits.flatten(0, 1), flat)
    torch.testing.assert_close(logits[1, 2], alone)
    for part, other, single in zip(*map(flatten, (state, flat_state, alone_state)), strict=True):
        torch.testing.assert_close(part.flatten(0, 1), other)
        torch.testing.assert_close(part[1, 2], single)


@pytest.mark.parametrize("model", concrete(models, MemoryModel))
def test_vmap_runs_networks_of_stacked_parameters(model):
    networks, inputs = [model(5, 4, backend="reference") for _ in range(3)], torch.randn(3, 2, 4, 5)
    stacked = torch.func.stack_module_state(networks)

    def loss(tensors, inputs):
        return torch.func.functional_call(networks[0], tensors, (inputs,))[0].square().sum()

    found = torch.func.vmap(torch.func.grad(loss))(stacked, inputs)[0]
    for i, network in enumerate(networks):
        network(inputs[i])[0].square().sum().backward()
        for name, parameter in network.named_parameters():
            torch.testing.assert_close(found[name][i], parameter.grad, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("controller", concrete(models, Controller))
def test_a_controller_takes_any_leading_axes(controller):
    part, x = controller(5, 4), torch.randn(2, 3, 5)
    outputs, state = part.step(x, part.initial_state(2, 3))
    flat, flat_state = part.step(x.flatten(0, 1), part.initial_state(6))
    assert outputs.shape == (2, 3, part.output_size)
    torch.testing.assert_close(outputs.flatten(0, 1), flat)
    for mine, other in zip(flatten(state), flatten(flat_state), strict=True):
        torch.testing.assert_close(mine.flatten(0, 1), other)


@pytest.mark.parametrize("memory", concrete(models, Memory))
def test_a_memory_takes_any_leading_axes_and_slots(memory):
    part = memory()
    interface = torch.randn(2, 3, part.interface_size)
    state = part.step(interface, part.initial_state(2, 3, slots=9))
    flat = part.step(interface.flatten(0, 1), part.initial_state(6, slots=9))
    assert part.slots_of(state) == 9
    assert part.reads(state).shape == (2, 3, part.read_size)
    for mine, other in zip(flatten(state), flatten(flat), strict=True):
        torch.testing.assert_close(mine.flatten(0, 1), other)


@pytest.mark.parametrize("shipped", [*concrete(tasks, Task), *concrete(models, MemoryModel)])
def test_what_we_ship_has_a_public_name(shipped):
    assert getattr(lightning_ntm, shipped.__name__) is shipped
    assert shipped.__name__ in dir(lightning_ntm)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'ANC'"):
        lightning_ntm.ANC  # noqa: B018


class Forgetful(LSTM):
    """Keeps its state on the module."""

    def step(self, x, state):
        state = getattr(self, "kept", state)
        logits, self.kept = super().step(x, state)
        return logits, self.kept


class Mixing(NTM):
    """Lets sequences of a batch see each other."""

    def step(self, x, state):
        logits, state = super().step(x, state)
        return logits + logits.mean(0), state


class Padded(LSTM):
    """Runs on into the padding."""

    def forward(self, inputs, state=None, lengths=None):
        return super().forward(inputs, state)


class Twice(Copy):
    """Evaluates a difficulty twice."""

    evaluations = ({"length": 3}, {"length": 3})


class Drifting(Copy):
    """Draws from the global generator."""

    def sample(self, generator, batch_size, **difficulty):
        inputs, targets, mask = super().sample(generator, batch_size, **difficulty)
        return Batch(inputs + torch.rand(()), targets, mask)


def test_a_broken_promise_is_noticed():
    with pytest.raises(AssertionError, match="Forgetful: the state"):
        testing.check_model(Forgetful(3, 2, hidden_size=4, backend="reference"))
    with pytest.raises(AssertionError, match="Mixing: sequences of one batch"):
        testing.check_model(Mixing(3, 2, hidden_size=4))
    with pytest.raises(AssertionError, match="Padded: padding changes the outputs"):
        testing.check_model(Padded(3, 2, hidden_size=4))
    with pytest.raises(AssertionError, match=r"Twice\.evaluations has a difficulty twice"):
        testing.check_task(Twice())
    with pytest.raises(AssertionError, match="Drifting is not a function of its generator"):
        testing.check_task(Drifting())
