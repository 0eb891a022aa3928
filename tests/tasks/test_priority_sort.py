"""Priority sort against a plain reader of episodes."""

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st

from lightning_ntm import PrioritySort


@given(st.integers(1, 8), st.integers(1, 6), st.integers(0, 6), st.integers(0, 6), st.integers(0, 99))
def test_an_episode_is_its_definition(bits, highest, left, further, seed):
    task = PrioritySort(bits, items=highest + left, highest=highest)
    items = highest + left + further
    batch = task.sample(np.random.default_rng(seed), 3, items=items)
    assert batch.inputs.shape == (3, items + highest, bits + 1)
    for episode in range(3):
        rows = batch.inputs[episode].tolist()
        pairs = [(row[bits], row[:bits]) for row in rows[:items]]
        assert all(-1 <= priority <= 1 and set(vector) <= {0, 1} for priority, vector in pairs)
        assert rows[items:] == [[0] * (bits + 1)] * highest
        # Sorted by priority alone, the earlier first among equals.
        best = sorted(range(items), key=lambda i: (-pairs[i][0], i))[:highest]
        assert batch.targets[episode].tolist() == [[0] * bits] * items + [pairs[i][1] for i in best]
        assert batch.mask[episode].tolist() == [False] * items + [True] * highest


def test_equal_priorities_keep_their_order():
    class Same(np.random.Generator):
        """A generator without fantasy."""

        def uniform(self, low, high, size):
            return np.full(size, 0.25)

    batch = PrioritySort(items=6, highest=4).sample(Same(np.random.Philox(0)), 2)
    assert batch.targets[:, 6:].tolist() == batch.inputs[:, :4, :8].tolist()


def test_what_is_shown_is_placed_by_its_priority():
    batch = PrioritySort(items=5, highest=3).sample(np.random.default_rng(1), 2)
    placed_by = PrioritySort(items=5, highest=3).placed_by(batch)
    assert torch.equal(placed_by[:, :5], batch.inputs[:, :5, -1])
    assert placed_by[:, 5:].isnan().all()


def test_the_paper_s_sizes_by_default():
    task = PrioritySort()
    batch = task.sample(np.random.default_rng(0), 2)
    assert (task.input_size, task.output_size, batch.mask.sum(1).tolist()) == (9, 8, [16, 16])
    assert task.evaluations == [{"items": 20}, {"items": 30}, {"items": 40}]


def test_priorities_are_uniform_and_bits_are_fair():
    batch = PrioritySort(min_priority=-0.5).sample(np.random.default_rng(0), 2000)
    priorities, bits = batch.inputs[:, :20, 8], batch.inputs[:, :20, :8]
    # 40,000 draws of a uniform number in [-0.5, 1], and 320,000 fair bits: each bound fails once in 10^5 or less.
    assert priorities.min() >= -0.5
    assert priorities.max() <= 1
    assert abs(priorities.mean() - 0.25) < 0.01
    assert abs(priorities.var() - 1.5**2 / 12) < 0.005
    assert abs(bits.mean() - 0.5) < 0.005


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: PrioritySort(bits=0), r"bits \(=0\) must be at least 1\."),
        (lambda: PrioritySort(highest=0), r"highest \(=0\) must be at least 1\."),
        (lambda: PrioritySort(items=15), r"highest \(=16\) must be at most items \(=15\)\."),
        (lambda: PrioritySort(min_priority=-1.5), r"min_priority \(=-1\.5\) must be at least -1\."),
        (lambda: PrioritySort(max_priority=3), r"max_priority \(=3\) must be at most 1\."),
        (lambda: PrioritySort(max_priority=float("nan")), r"max_priority \(=nan\) must be at least -1\."),
        (
            lambda: PrioritySort(min_priority=0.5, max_priority=0.5),
            r"min_priority \(=0\.5\) must be below max_priority \(=0\.5\)\.",
        ),
        (lambda: PrioritySort().sample(np.random.default_rng(0), 1, items=15), r"items \(=15\) must be at least 16\."),
    ],
)
def test_what_is_out_of_range_is_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
