"""Every task against a plain transcription of its definition, episode by episode and bit by bit."""

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st

from lightning_ntm import AssociativeRecall, Copy, DynamicNGrams, PrioritySort, RepeatCopy

NUMBERS = st.integers(1, 5)


def copy_by_hand(items, time):
    """Items, a delimiter, then as many empty steps in which the items are the answer."""
    bits, length = len(items[0]), len(items)
    inputs = [[*item, 0] for item in items] + [[0] * bits + [1]] + [[0] * (bits + 1)] * length
    targets = [[0] * bits] * (length + 1) + items
    mask = [False] * (length + 1) + [True] * length
    padding = time - len(inputs)
    return inputs + [[0] * (bits + 1)] * padding, targets + [[0] * bits] * padding, mask + [False] * padding


def repeat_copy_by_hand(items, repeats, number, time):
    """Items, a delimiter, the number in one step or several, then the items so many times and an end marker."""
    bits = len(items[0])
    answer = [[*item, 0] for item in items] * repeats + [[0] * bits + [1]]
    inputs = [[*item, 0, 0] for item in items] + [[0] * bits + [1, 0]] + [[0] * bits + [0, shown] for shown in number]
    targets = [[0] * (bits + 1)] * len(inputs) + answer
    mask = [False] * len(inputs) + [True] * len(answer)
    inputs += [[0] * (bits + 2)] * (time - len(inputs))
    padding = time - len(targets)
    return inputs, targets + [[0] * (bits + 1)] * padding, mask + [False] * padding


def shown(batch, episode, bits):
    """The items and their delimiter's place, read off the inputs."""
    delimiter = batch.inputs[episode, :, bits].argmax().item()
    return batch.inputs[episode, :delimiter, :bits].int().tolist()


def check(batch, episode, expected):
    for mine, hand in zip((batch.inputs, batch.targets), expected[:2], strict=True):
        torch.testing.assert_close(mine[episode], torch.tensor(hand, dtype=torch.float32))
    assert batch.mask[episode].tolist() == expected[2]


@given(NUMBERS, NUMBERS, NUMBERS, st.booleans(), st.integers(0, 99))
def test_copy_is_its_definition(bits, low, more, same_length, seed):
    task = Copy(bits, min_length=low, max_length=low + more, same_length=same_length)
    batch = task.sample(np.random.default_rng(seed), 4)
    for episode in range(4):
        items = shown(batch, episode, bits)
        assert low <= len(items) <= low + more
        check(batch, episode, copy_by_hand(items, batch.inputs.shape[1]))


@given(NUMBERS, NUMBERS, NUMBERS, NUMBERS, st.booleans(), st.sampled_from(["scalar", "unary"]), st.integers(0, 99))
def test_repeat_copy_is_its_definition(bits, low, more, most, same_length, number, seed):
    lengths, same = {"min_length": low, "max_length": low + more}, {"same_length": same_length}
    task = RepeatCopy(bits, max_repeats=most, number=number, **lengths, **same)
    batch = task.sample(np.random.default_rng(seed), 4)
    numbers = np.arange(1, most + 1)
    scales = (numbers - numbers.mean()) / (numbers.std() or 1)
    for episode in range(4):
        items = shown(batch, episode, bits)
        assert low <= len(items) <= low + more
        repeats = (batch.mask[episode].sum().item() - 1) // len(items)
        steps = [1] * repeats if number == "unary" else [scales[repeats - 1]]
        expected = repeat_copy_by_hand(items, repeats, steps, batch.inputs.shape[1])
        check(batch, episode, expected)


@pytest.mark.parametrize("number", ["scalar", "unary"])
def test_where_a_repeat_begins_and_where_the_end_is(number):
    task = RepeatCopy(bits=2, max_length=4, same_length=False, number=number)
    batch = task.sample(np.random.default_rng(3), 20)
    marks = task.landmarks(batch)
    for episode in range(20):
        length = batch.inputs[episode, :, 2].int().tolist().index(1)
        end = batch.targets[episode, :, 2].int().tolist().index(1)
        steps = batch.inputs[episode, :, 3].count_nonzero().item() if number == "unary" else 1
        begins = list(range(length + 1 + steps, end, length))
        assert marks["a repeat begins"][episode].nonzero().flatten().tolist() == begins
        assert marks["the end marker"][episode].nonzero().flatten().tolist() == [end]


def test_every_length_and_number_of_the_range_is_drawn():
    generator = np.random.default_rng(0)
    task = RepeatCopy(max_length=4, max_repeats=3, same_length=False)
    batch = task.sample(generator, 300)
    lengths = batch.inputs[:, :, 8].argmax(1)
    repeats = (batch.mask.sum(1) - 1) // lengths
    assert set(lengths.tolist()) == {1, 2, 3, 4}
    assert set(repeats.tolist()) == {1, 2, 3}


@pytest.mark.parametrize("longest", [1, 2, 3, 20])
def test_each_difficulty_is_evaluated_once(longest):
    tasks = Copy(max_length=longest), RepeatCopy(max_length=longest, max_repeats=longest)
    more = AssociativeRecall(max_items=longest + 1), PrioritySort(items=longest, highest=1), DynamicNGrams(1, longest)
    for task in (*tasks, *more):
        shown = [tuple(difficulty.values()) for difficulty in task.evaluations]
        assert len(set(shown)) == len(shown)
    assert Copy(max_length=20).evaluations == [{"length": n} for n in (10, 20, 40, 80, 120)]
    assert Copy(max_length=1).evaluations == [{"length": n} for n in (1, 2, 4, 6)]


def test_items_are_random_bits():
    batch = Copy().sample(np.random.default_rng(0), 500, length=20)
    # 80,000 fair bits: the mean is within 0.01 with a probability of 1 - 1e-8.
    assert abs(batch.inputs[:, :20, :8].mean() - 0.5) < 0.01
    assert len({tuple(row) for row in batch.inputs[:, :20, :8].flatten(1).int().tolist()}) == 500


def test_one_length_for_a_batch_or_one_for_each_episode():
    lengths = [Copy(same_length=same).sample(np.random.default_rng(1), 50).mask.sum(1) for same in (True, False)]
    assert lengths[0].unique().numel() == 1
    assert lengths[1].unique().numel() > 5


def test_a_harder_evaluation_does_not_encode_the_number_of_repeats_anew():
    task = RepeatCopy()
    for repeats in (1, 10, 20):
        batch = task.sample(np.random.default_rng(0), 1, repeats=repeats)
        # mean 5.5 and variance 99 / 12 of 1 to 10
        assert batch.inputs[0, :, 9].sum().item() == pytest.approx((repeats - 5.5) / 8.25**0.5)


def test_one_possible_number_of_repeats_is_no_division_by_zero():
    batch = RepeatCopy(min_repeats=3, max_repeats=3).sample(np.random.default_rng(0), 2)
    assert torch.isfinite(batch.inputs).all()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Copy(bits=0), r"bits \(=0\) must be at least 1"),
        (lambda: Copy(min_length=-1), r"min_length \(=-1\)"),
        (lambda: Copy(min_length=5, max_length=4), r"min_length \(=5\) must be at most max_length \(=4\)"),
        (lambda: RepeatCopy(min_repeats=0), r"min_repeats \(=0\)"),
        (lambda: RepeatCopy(min_repeats=11), r"min_repeats \(=11\) must be at most max_repeats \(=10\)"),
        (lambda: Copy().sample(np.random.default_rng(0), 1, length=0), r"length \(=0\) must be at least 1"),
        (lambda: Copy().sample(np.random.default_rng(0), 1, items=3), "Copy has no difficulty 'items'; it has length"),
    ],
)
def test_what_is_out_of_range_is_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
