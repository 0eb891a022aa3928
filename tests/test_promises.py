"""Promises that hold for every network and task we ship, found by looking."""

import inspect

import numpy as np
import pytest
import torch

import lightning_ntm
from lightning_ntm import LSTM, NTM, Batch, Copy, FileTask, MemoryModel, Task, models, tasks, testing


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


@pytest.mark.parametrize("shipped", [*concrete(tasks, Task), *concrete(models, MemoryModel)])
def test_what_we_ship_has_a_public_name(shipped):
    assert getattr(lightning_ntm, shipped.__name__) is shipped
    assert shipped.__name__ in dir(lightning_ntm)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'DNC'"):
        lightning_ntm.DNC  # noqa: B018


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
