"""Key-value retrieval against a plain reader of episodes, step by step."""

import numpy as np
import pytest
from hypothesis import given, strategies as st

from lightning_ntm import KeyValue

SIZES = st.integers(1, 4)


def read(batch, episode, key_bits):
    """Read an episode as one who knows the definition: pairs in their order, then what is asked with its answer."""
    inputs, targets = batch.inputs[episode].int().tolist(), batch.targets[episode].int().tolist()
    mask = batch.mask[episode].tolist()
    pairs, asked, time = [], [], 0
    while inputs[time][-1] == 0:
        pairs.append((tuple(inputs[time][:key_bits]), tuple(inputs[time][key_bits:-1])))
        time += 1
    assert inputs[time] == [0] * (len(inputs[0]) - 1) + [1]
    assert mask[: time + 1] == [False] * (time + 1)
    for step in range(time + 1, time + 1 + len(pairs)):
        assert mask[step]
        assert not any(inputs[step][key_bits:])
        asked.append((tuple(inputs[step][:key_bits]), tuple(targets[step])))
    rest = time + 1 + len(pairs)
    assert not np.any(mask[rest:])
    assert not np.any(inputs[rest:])
    assert not np.any([row for row, counts in zip(targets, mask, strict=True) if not counts])
    return pairs, asked


@given(SIZES, SIZES, SIZES, st.integers(0, 9), st.booleans(), st.integers(0, 99))
def test_an_episode_is_its_definition(key_bits, value_bits, low, more, same_length, seed):
    low = min(low, 2**key_bits)
    high = min(low + more, 2**key_bits)
    task = KeyValue(key_bits, value_bits, min_pairs=low, max_pairs=high, same_length=same_length)
    batch = task.sample(np.random.default_rng(seed), 4)
    counts = []
    for episode in range(4):
        pairs, asked = read(batch, episode, key_bits)
        assert low <= len(pairs) <= high
        assert len({key for key, _ in pairs}) == len(pairs)
        assert sorted(asked) == sorted(pairs)
        counts.append(len(pairs))
    assert len(set(counts)) == 1 or not same_length
    assert batch.inputs.shape == (4, 2 * max(counts) + 1, key_bits + value_bits + 1)
    assert (task.landmarks(batch)["the delimiter"].sum(1) == 1).all()


def test_keys_values_and_orders_are_random():
    batch = KeyValue().sample(np.random.default_rng(0), 500, pairs=16)
    # 48,000 fair bits each: the mean is within 0.015 with a probability of 1 - 1e-10.
    for bits in (batch.inputs[:, :16, :6], batch.inputs[:, :16, 6:12]):
        assert abs(bits.mean() - 0.5) < 0.015
    episodes = [read(batch, episode, 6) for episode in range(500)]
    first = np.bincount([[key for key, _ in pairs].index(asked[0][0]) for pairs, asked in episodes], minlength=16)
    # Each of 16 places with a share of 1 in 16: 31 of 500, within 8 to 70 but once in 10^5.
    assert first.min() > 8
    assert first.max() < 70
    assert len({tuple(key for key, _ in pairs) for pairs, _ in episodes}) == 500


def test_the_widths_of_the_authors_and_the_evaluations():
    task = KeyValue()
    assert (task.input_size, task.output_size, task.difficulty) == (13, 6, {"pairs": 16})
    assert task.evaluations == [{"pairs": 16}, {"pairs": 32}]
    assert KeyValue(key_bits=4).evaluations == [{"pairs": 16}]
    assert len(read(task.sample(np.random.default_rng(1), 2, pairs=64), 1, 6)[0]) == 64


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: KeyValue(key_bits=0), r"key_bits \(=0\) must be between 1 and 16\."),
        (lambda: KeyValue(key_bits=17), r"key_bits \(=17\) must be between 1 and 16\."),
        (lambda: KeyValue(value_bits=0), r"value_bits \(=0\) must be at least 1\."),
        (lambda: KeyValue(min_pairs=17), r"min_pairs \(=17\) must be at most max_pairs \(=16\)\."),
        (lambda: KeyValue(key_bits=3), r"max_pairs \(=16\) must be at most 8, the keys of key_bits \(=3\) bits\."),
        (
            lambda: KeyValue().sample(np.random.default_rng(0), 1, pairs=65),
            r"pairs \(=65\) must be at most 64, the keys of key_bits \(=6\) bits\.",
        ),
    ],
)
def test_what_is_out_of_range_is_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
