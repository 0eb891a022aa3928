"""Several copies in one episode against a plain transcription of their definition."""

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st

from lightning_ntm import CopySeries

NUMBERS = st.integers(1, 4)


def by_hand(lists, bits, time):
    """For each list: its vectors and a delimiter, then as many empty steps that ask for them and an end marker."""
    nothing, delimiter = [0] * (bits + 1), [0] * bits + [1]
    inputs, targets, mask = [], [], []
    for items in lists:
        block = [[*item, 0] for item in items] + [delimiter]
        inputs += block + [nothing] * len(block)
        targets += [nothing] * len(block) + block
        mask += [False] * len(block) + [True] * len(block)
    padding = [nothing] * (time - len(inputs))
    return inputs + padding, targets + padding, mask + [False] * len(padding)


def shown(batch, episode, bits):
    """The lists of an episode, read off the inputs by their delimiters."""
    inputs, lists, time = batch.inputs[episode].int().tolist(), [], 0
    while any(row[bits] for row in inputs[time:]):
        end = next(step for step in range(time, len(inputs)) if inputs[step][bits])
        lists.append([row[:bits] for row in inputs[time:end]])
        time = end + 1 + len(lists[-1]) + 1
    return lists


@given(NUMBERS, NUMBERS, NUMBERS, NUMBERS, NUMBERS, st.booleans(), st.integers(0, 99))
def test_an_episode_is_its_definition(bits, low, more, fewest, others, same_length, seed):
    task = CopySeries(bits, low, low + more, fewest, fewest + others, same_length)
    batch = task.sample(np.random.default_rng(seed), 3)
    shapes = set()
    for episode in range(3):
        lists = shown(batch, episode, bits)
        assert fewest <= len(lists) <= fewest + others
        assert all(low <= len(items) <= low + more for items in lists)
        inputs, targets, mask = by_hand(lists, bits, batch.inputs.shape[1])
        assert batch.inputs[episode].int().tolist() == inputs
        assert batch.targets[episode].int().tolist() == targets
        assert batch.mask[episode].tolist() == mask
        shapes.add(tuple(map(len, lists)))
        marks = {name: steps[episode].sum() for name, steps in task.landmarks(batch).items()}
        assert marks == {"a delimiter": len(lists), "an end marker": len(lists)}
    assert len(shapes) == 1 or not same_length


def test_lengths_differ_within_an_episode_and_all_are_drawn():
    batch = CopySeries(bits=1, max_length=4, max_lists=3, same_length=False).sample(np.random.default_rng(0), 300)
    lengths = [tuple(len(items) for items in shown(batch, episode, 1)) for episode in range(300)]
    assert {len(episode) for episode in lengths} == {1, 2, 3}
    assert {length for episode in lengths for length in episode} == {2, 3, 4}
    assert any(len(set(episode)) > 1 for episode in lengths)


def test_a_difficulty_fixes_what_it_names():
    batch = CopySeries().sample(np.random.default_rng(0), 2, length=28, lists=3)
    assert [len(items) for items in shown(batch, 1, 8)] == [28] * 3
    assert batch.inputs.dtype == batch.targets.dtype == torch.float32
    assert CopySeries().evaluations == [
        {"length": 14, "lists": 8}, {"length": 28, "lists": 8}, {"length": 14, "lists": 32}
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"bits": 0}, r"bits \(=0\) must be at least 1\."),
        ({"min_lists": 9}, r"min_lists \(=9\) must be at most max_lists \(=8\)\."),
        ({"min_length": 15}, r"min_length \(=15\) must be at most max_length \(=14\)\."),
    ],
)
def test_what_is_out_of_range_is_named(options, message):
    with pytest.raises(ValueError, match=message):
        CopySeries(**options)
