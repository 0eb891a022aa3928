"""Members of a `Stack` differ in the numbers in their parameters and buffers alone."""

import copy
import functools
import re
from dataclasses import dataclass
from typing import NamedTuple

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from lightning_ntm import DNC, LSTM, NTM, RNN, SAM, MemoryModel, Stack, StackRNN, TapeRNN, Transformer
from lightning_ntm.models.alike import check_alike


class OwnState(NamedTuple):
    hidden: Tensor


@dataclass
class Fade:
    """Settings of a user's network; without `eq=False` two of the same values are equal, but a tensor is not."""

    rates: Tensor
    limits: tuple[float, ...] = (0.9, 0.5)


class Plain:
    """Settings without `==`."""

    def __init__(self, rate):
        self.rate = rate


class Own(MemoryModel[OwnState]):
    """A network of a user, which may hold anything."""

    def __init__(self, held=None):
        super().__init__(5, 4)
        self.held = held
        self.inner, self.outer = nn.Linear(5, 8), nn.Linear(8, 4)

    def initial_state(self, *batch):
        return OwnState(self.inner.weight.new_zeros(*batch, 8))

    def step(self, x, state):
        hidden = 0.5 * state.hidden + self.inner(x)
        return self.outer(hidden), OwnState(hidden)


def closure(factor):
    return lambda x: factor * x


class Holding(Own):
    """One whose attribute refers to itself."""

    def __init__(self):
        super().__init__()
        self.held = [self.inner, self.rounded, self]

    def rounded(self, x):
        return x.round()


def small():
    return NTM(5, 4, hidden_size=6, memory_slots=7, memory_width=3)


def changed(change, model=None):
    model = model or small()
    change(model)
    return model


def tenfold(module, inputs, output):
    return 10 * output


DIFFERENT = {
    "tuple": ((0.9, 0.5), (0.1, 0.5)),
    "nested": ({"a": [1, {"b": 2}]}, {"a": [1, {"b": 3}]}),
    "order": ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
    "length": ([1, 2], [1]),
    "function": (torch.tanh, torch.relu),
    "closure": (closure(1), closure(2)),
    "default": (lambda x, y=1: x + y, lambda x, y=2: x + y),
    "partial": (functools.partial(torch.clamp, min=0), functools.partial(torch.clamp, min=1)),
    "tensor": (torch.tensor([1.0, 2.0]), torch.tensor([1.0, 3.0])),
    "dtype": (torch.tensor([1.0]), torch.tensor([1.0], dtype=torch.float64)),
    "dataclass": (Fade(torch.ones(2)), Fade(torch.zeros(2))),
    "object": (Plain(1), Plain(2)),
    "class": (Plain, Fade),
    "missing": (None, 3),
    "truth": (1, True),
    "parameters": (nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(2))),
    "module": ([nn.Linear(2, 2)], [nn.Linear(2, 2)]),
    "unknown": ((x for x in ()), (x for x in ())),
}


@pytest.mark.parametrize("name", DIFFERENT)
def test_what_members_hold_must_be_the_same(name):
    first, second = DIFFERENT[name]
    with pytest.raises(
        ValueError, match=r"^member 1 (differs from member 0 in held\.|has held \(=.*\), member 0 has )"
    ):
        Stack([Own([first]), Own([second])])


def test_a_short_value_is_in_the_message():
    with pytest.raises(ValueError, match=r"^member 1 has held \(=\(0.1, 0.5\)\), member 0 has \(0.9, 0.5\)\.$"):
        Stack([Own((0.9, 0.5)), Own((0.1, 0.5))])


RECURSIVE = [1]
RECURSIVE.append(RECURSIVE)
SAME = {
    "tuple": lambda: (0.9, float("nan"), "a", b"a", 1j, {1}),
    "int and float": iter([0, 0.0]).__next__,
    "dict": lambda: {"a": [1, {"b": 2}]},
    "closure": lambda: closure(2),
    "partial": lambda: functools.partial(torch.clamp, min=0),
    "tensor": lambda: torch.tensor([1.0, float("nan")]),
    "dataclass": lambda: Fade(torch.ones(2)),
    "object": lambda: Plain([Plain(1)]),
    "itself": lambda: Plain(copy.deepcopy(RECURSIVE)),
}


@pytest.mark.parametrize("name", SAME)
def test_equal_copies_are_the_same(name):
    Stack([Own(SAME[name]()), Own(SAME[name]())])


def test_an_attribute_may_refer_to_parts_and_methods_of_the_network():
    check_alike([Holding(), Holding()])


def test_a_function_that_refers_to_the_network_is_not_copied_with_it():
    def members():
        for model in (Own(), Own()):
            model.held = lambda x, model=model: model.inner(x)
            yield model

    with pytest.raises(ValueError, match="member 1 differs from member 0 in held"):
        Stack([*members()])


def test_a_parameter_in_a_list_is_not_that_of_each_member():
    first = Own()
    first.held = [first.inner.bias]
    with pytest.raises(ValueError, match="member 1 differs from member 0 in held"):
        Stack([first, copy.deepcopy(first)])


@pytest.mark.parametrize("hooked", [0, 1])
def test_hooks_of_parts_must_be_the_same(hooked):
    members = [small(), small()]
    members[hooked].output.register_forward_hook(tenfold)
    with pytest.raises(ValueError, match=r"^member 1 differs from member 0 in the hooks of output\.$"):
        Stack(members)
    members[1 - hooked].output.register_forward_hook(tenfold)
    stack, inputs = Stack(members), torch.randn(2, 3, 4, 5)
    for member, logits, x in zip(members, stack(inputs)[0], inputs, strict=True):
        torch.testing.assert_close(logits, member(x)[0])


def test_a_part_with_a_forward_of_its_own_differs():
    other = changed(lambda model: setattr(model.output, "forward", torch.tanh))
    with pytest.raises(ValueError, match=re.escape("member 1 differs from member 0 in output.forward.")):
        Stack([small(), other])


class Doubled(NTM):
    def forward(self, inputs, state=None, lengths=None):
        logits, state = super().forward(inputs, state, lengths)
        return 2 * logits, state


@pytest.mark.parametrize(
    "make",
    [
        lambda: Doubled(5, 4),
        lambda: changed(lambda model: setattr(model, "forward", print)),
        lambda: changed(lambda model: model.register_forward_hook(tenfold)),
        lambda: changed(lambda model: model.register_forward_pre_hook(print)),
    ],
)
def test_what_only_a_call_of_the_member_runs_is_refused(make):
    for members in ([make()], [small(), make()][isinstance(make(), Doubled) :]):
        with pytest.raises(ValueError, match=rf"^member {len(members) - 1} has a forward or hooks of its own, which"):
            Stack(members)


@pytest.mark.parametrize("name", ["register_hook", "register_post_accumulate_grad_hook"])
def test_hooks_on_gradients_are_refused(name):
    other = changed(lambda model: getattr(model.heads.bias, name)(print))
    with pytest.raises(ValueError, match=r"^member 1 has a hook on the gradient of heads.bias, which copies of it"):
        Stack([small(), other])


class Halved(nn.Module):
    def forward(self, weight):
        return weight / 2


def test_members_with_parametrizations_are_alike():
    def halve(model):
        parametrize.register_parametrization(model.output, "weight", Halved())

    stack, inputs = Stack([changed(halve), changed(halve)]), torch.randn(2, 3, 4, 5)
    for member, logits, x in zip(stack.members(), stack(inputs)[0], inputs, strict=True):
        torch.testing.assert_close(logits, member(x)[0])
    with pytest.raises(ValueError, match=r"member 1 has output.parametrizations \(=None\)"):
        Stack([changed(halve), small()])


@pytest.mark.parametrize("kind", [NTM, DNC, SAM, StackRNN, TapeRNN, LSTM, RNN, Transformer])
def test_a_network_that_ran_is_still_alike(kind):
    ran, new = kind(5, 4), kind(5, 4)
    ran(torch.randn(2, 3, 5))[0].sum().backward()
    check_alike([ran, new])


def test_inputs_must_be_a_tensor():
    with pytest.raises(TypeError, match=r"^inputs must be a tensor of shape \(2, batch, time, 5\), not list\.$"):
        Stack([small(), small()])._checked([1], None)
