"""Associative recall against a plain reader of episodes, step by step."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st

from lightning_ntm import AssociativeRecall

SIZES = st.integers(1, 4)


def read(batch, episode, bits, item_length):
    """Read an episode as one who knows the definition: items, the query, the answer, the steps left over."""
    inputs, targets = batch.inputs[episode].int().tolist(), batch.targets[episode].int().tolist()
    mask, time = batch.mask[episode].tolist(), 0

    def group():
        """One delimiter, then vectors; which delimiter it was, and the vectors."""
        nonlocal time
        delimiter = inputs[time]
        assert delimiter[:bits] == [0] * bits
        assert delimiter[bits:] in ([1, 0], [0, 1])
        vectors = inputs[time + 1 : time + 1 + item_length]
        assert all(vector[bits:] == [0, 0] for vector in vectors)
        time += 1 + item_length
        return delimiter[bits:], [vector[:bits] for vector in vectors]

    items = []
    while inputs[time][bits] == 1:
        items.append(group()[1])
    delimiter, query = group()
    assert delimiter == [0, 1]
    assert inputs[time] == [0] * bits + [0, 1]  # the query is bounded on both sides
    time += 1
    assert mask[:time] == [False] * time
    assert mask[time : time + item_length] == [True] * item_length
    answer = targets[time : time + item_length]
    assert not np.any(inputs[time:])  # nothing is shown while the answer is given
    time += item_length
    assert not np.any(mask[time:])
    assert not np.any([row for row, counts in zip(targets, mask, strict=True) if not counts])
    return items, query, answer


@given(SIZES, SIZES, st.integers(2, 5), SIZES, st.booleans(), st.integers(0, 99))
def test_an_episode_is_its_definition(bits, item_length, low, more, same_length, seed):
    task = AssociativeRecall(bits, item_length, min_items=low, max_items=low + more, same_length=same_length)
    batch = task.sample(np.random.default_rng(seed), 4)
    longest = 0
    for episode in range(4):
        items, query, answer = read(batch, episode, bits, item_length)
        assert low <= len(items) <= low + more
        assert any(a == query and b == answer for a, b in itertools.pairwise(items))
        longest = max(longest, (len(items) + 1) * (item_length + 1) + 1 + item_length)
    assert batch.inputs.shape == (4, longest, bits + 2)


@given(SIZES, SIZES, st.integers(2, 5), SIZES, st.integers(0, 99))
def test_what_is_pointed_out_holds_the_query_and_the_answer(bits, item_length, low, more, seed):
    task = AssociativeRecall(bits, item_length, min_items=low, max_items=low + more, same_length=False)
    batch = task.sample(np.random.default_rng(seed), 3)
    marks = task.landmarks(batch)
    for episode in range(3):
        _, query, answer = read(batch, episode, bits, item_length)
        seen = {name: batch.inputs[episode, steps[episode]].int().tolist() for name, steps in marks.items()}
        assert [vector[:bits] for vector in seen["the item asked for"][1:]] == query
        assert [vector[:bits] for vector in seen["the query"][1:]] == query
        assert seen["the query"][0] == [0] * bits + [0, 1]
        if len(seen["the item that follows"]) == item_length + 1:  # none, where the same item also stands last
            asked, following = (marks[name][episode].nonzero()[0].item() for name in list(marks)[:2])
            assert following == asked + item_length + 1
        if bits * item_length > 8:  # no two items are the same
            assert [vector[:bits] for vector in seen["the item that follows"][1:]] == answer


def test_the_paper_s_widths_and_one_episode_in_full():
    task = AssociativeRecall()
    assert (task.input_size, task.output_size) == (8, 6)
    batch = AssociativeRecall(bits=1, item_length=1).sample(np.random.default_rng(3), 1, items=3)
    (a, b, c), (query,), (answer,) = read(batch, 0, 1, 1)
    shown = [[0, 1, 0], [*a[0], 0, 0], [0, 1, 0], [*b[0], 0, 0], [0, 1, 0], [*c[0], 0, 0]]
    shown += [[0, 0, 1], [*query, 0, 0], [0, 0, 1], [0, 0, 0]]
    assert batch.inputs[0].int().tolist() == shown
    assert batch.targets[0].int().tolist() == [[0]] * 9 + [answer]
    assert batch.mask[0].tolist() == [False] * 9 + [True]


def test_every_number_of_items_and_every_place_but_the_last_is_asked_for():
    task = AssociativeRecall(bits=16, same_length=False)  # so wide that no two items are the same
    batch = task.sample(np.random.default_rng(0), 1000)
    places = {}
    for episode in range(1000):
        items, query, _ = read(batch, episode, 16, 3)
        places.setdefault(len(items), []).append(items.index(query))
    assert sorted(places) == [2, 3, 4, 5, 6]
    for count, asked in places.items():
        # About 200 draws of each number of items: none of its places is missed but once in 10^15, and none of five
        # has over 30 % of them but once in 3,000.
        assert set(asked) == set(range(count - 1))
        assert max(np.bincount(asked)) / len(asked) < 1.5 / (count - 1)


def test_items_are_fair_bits():
    batch = AssociativeRecall().sample(np.random.default_rng(0), 1000, items=6)
    items = batch.inputs[:, :24, :6].reshape(1000, 6, 4, 6)[:, :, 1:]
    # 108,000 fair bits: the mean is within 0.01 but once in 10^10.
    assert abs(items.mean() - 0.5) < 0.01


def test_one_number_of_items_for_a_batch_or_one_for_each_episode():
    for same, most in ((True, 1), (False, 5)):
        batch = AssociativeRecall(same_length=same).sample(np.random.default_rng(1), 50)
        assert batch.inputs[..., 6].sum(1).unique().numel() == most


def test_an_evaluation_goes_from_training_s_most_to_the_paper_s_twenty():
    assert AssociativeRecall().evaluations == [{"items": n} for n in (6, 8, 10, 12, 15, 20)]
    batch = AssociativeRecall().sample(np.random.default_rng(1), 3, items=20)
    assert [len(read(batch, episode, 6, 3)[0]) for episode in range(3)] == [20] * 3
    assert batch.inputs.dtype == torch.float32


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: AssociativeRecall(bits=0), r"bits \(=0\) must be at least 1\."),
        (lambda: AssociativeRecall(item_length=0), r"item_length \(=0\) must be at least 1\."),
        (lambda: AssociativeRecall(min_items=1), r"min_items \(=1\) must be at least 2\."),
        (lambda: AssociativeRecall(max_items=1), r"min_items \(=2\) must be at most max_items \(=1\)\."),
        (
            lambda: AssociativeRecall().sample(np.random.default_rng(0), 1, items=1),
            r"items \(=1\) must be at least 2\.",
        ),
        (lambda: AssociativeRecall().sample(np.random.default_rng(0), 1, length=3), "no difficulty 'length'"),
    ],
)
def test_what_is_out_of_range_is_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
