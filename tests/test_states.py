"""States of any nesting are walked over in one order."""

from typing import NamedTuple

import pytest
import torch

from lightning_ntm.states import flatten, mapped, named, structure, unflatten


class Empty(NamedTuple):
    pass


class Inner(NamedTuple):
    first: object
    second: object


class Outer(NamedTuple):
    inner: object
    nothing: object
    last: object


STATE = Outer(Inner(torch.tensor(1.0), torch.tensor(2.0)), Empty(), torch.tensor(3.0))


def test_tensors_come_in_the_order_of_the_fields():
    assert [float(tensor) for tensor in flatten(STATE)] == [1, 2, 3]
    assert list(named(STATE)) == ["inner.first", "inner.second", "last"]
    assert flatten(Empty()) == []


def test_a_state_is_made_again_from_its_tensors():
    for like in (STATE, structure(STATE)):
        assert unflatten(like, flatten(STATE)) == STATE
        assert type(unflatten(like, flatten(STATE)).nothing) is Empty
    assert structure(STATE) == Outer(Inner(None, None), Empty(), None)


def test_a_function_is_applied_to_the_tensors_of_states():
    total = mapped(lambda one, other: one + 10 * other, STATE, STATE)
    assert total == Outer(Inner(11, 22), Empty(), 33)
    with pytest.raises(ValueError, match="shorter"):
        mapped(lambda one, other: one, STATE, STATE.inner)
