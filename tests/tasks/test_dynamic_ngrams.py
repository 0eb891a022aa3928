"""Dynamic n-grams: what is drawn, against its definition; the optimal estimator, against brute force."""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st

from lightning_ntm import DynamicNGrams
from lightning_ntm.tasks.answers import Bits


def bits_of(batch, episode=0):
    return batch.targets[episode, :, 0].int().tolist()


def optimal_by_hand(bits, n):
    """Eq. 10, counted anew for every bit: the chance of a 1, given all bits before."""
    chances = []
    for time in range(len(bits)):
        if time < n - 1:
            chances.append(0.5)
            continue
        context = bits[time - n + 1 : time]
        followed = [bits[t] for t in range(n - 1, time) if bits[t - n + 1 : t] == context]
        chances.append((followed.count(1) + 0.5) / (len(followed) + 1))
    return chances


@given(st.integers(1, 6), st.integers(0, 20), st.integers(0, 99))
def test_the_input_is_the_bit_before_and_every_bit_counts(n, more, seed):
    batch = DynamicNGrams(n, n + more).sample(np.random.default_rng(seed), 3)
    assert batch.inputs.shape == batch.targets.shape == (3, n + more, 1)
    for episode in range(3):
        bits = bits_of(batch, episode)
        assert set(bits) <= {0, 1}
        assert batch.inputs[episode, :, 0].int().tolist() == [0, *bits[:-1]]
    assert batch.mask.all()


class Scripted(np.random.Generator):
    """A generator that gives what a test wants."""

    def __init__(self, chances, contexts, uniform):
        super().__init__(np.random.Philox(0))
        self.chances, self.contexts, self.uniform = chances, contexts, uniform

    def beta(self, a, b, size):
        assert (a, b) == (0.5, 0.5)
        assert self.chances.shape == size
        return self.chances

    def integers(self, high, size):
        assert (high, size) == (self.chances.shape[1], len(self.contexts))
        return self.contexts

    def random(self, size):
        assert math.prod(size) == self.uniform.size
        return self.uniform.reshape(size)


@given(st.integers(1, 6), st.integers(1, 60), st.integers(0, 99))
def test_bits_follow_the_table_of_their_own_sequence(n, drawn, seed):
    generator = np.random.default_rng(seed)
    chances = generator.random((4, 2 ** (n - 1)))
    first, uniform = generator.integers(2 ** (n - 1), size=4), generator.random((drawn, 4))
    batch = DynamicNGrams(n, n - 1 + drawn).sample(Scripted(chances, first, uniform), 4)
    for episode in range(4):
        bits = [int(bit) for bit in f"{first[episode]:0{n - 1}b}"] if n > 1 else []
        for time in range(drawn):
            context = int("".join(map(str, bits[len(bits) - n + 1 :])) or "0", 2)
            bits.append(int(uniform[time, episode] < chances[episode, context]))
        assert bits_of(batch, episode) == bits


def test_a_batch_beyond_what_is_held_at_once_is_drawn_the_same():
    task = DynamicNGrams(n=11, length=300)  # 1,024 contexts for 40 sequences: a block of one step at a time
    batch = task.sample(np.random.default_rng(1), 40)
    generator = np.random.default_rng(1)
    chances = generator.beta(0.5, 0.5, size=(40, 1024))
    context, uniform = generator.integers(1024, size=40), generator.random((290, 40))
    for episode in (0, 39):
        expected, seen = [], context[episode]
        for time in range(290):
            expected.append(int(uniform[time, episode] < chances[episode, seen]))
            seen = (2 * seen + expected[-1]) % 1024
        assert bits_of(batch, episode)[10:] == expected


def test_each_sequence_has_a_table_of_its_own_from_beta_one_half():
    # Of n = 1 there is one context: the share of ones in a long sequence is the number in its table.
    batch = DynamicNGrams(n=1, length=1000).sample(np.random.default_rng(0), 2000)
    shares = batch.targets.mean((1, 2)).double().sort().values
    # The arcsine law, F(x) = 2 / pi asin(sqrt(x)): 2,000 draws keep within 0.05 of it but once in 10^4; a
    # share of 1,000 bits is within 0.05 of its chance.
    law = 2 / math.pi * shares.sqrt().asin()
    assert (law - (torch.arange(2000) + 0.5) / 2000).abs().max() < 0.05
    assert shares.var() == pytest.approx(1 / 8, abs=0.01)


def test_the_first_bits_are_fair_coins():
    bits = DynamicNGrams().sample(np.random.default_rng(0), 20_000).targets[:, :5, 0]
    # 20,000 fair bits: the mean is within 0.02 but once in 10^7.
    assert (bits.mean(0) - 0.5).abs().max() < 0.02
    patterns = (bits @ torch.tensor([16.0, 8, 4, 2, 1])).long().bincount(minlength=32) / 20_000
    assert (patterns - 1 / 32).abs().max() < 0.01


@given(st.integers(1, 6), st.integers(0, 40), st.integers(0, 99))
def test_the_optimal_estimator_counts_what_followed_the_same_context(n, more, seed):
    task = DynamicNGrams(n, n + more)
    batch = task.sample(np.random.default_rng(seed), 3)
    chances = task.optimal_logits(batch).sigmoid()[..., 0]
    for episode in range(3):
        assert chances[episode].tolist() == pytest.approx(optimal_by_hand(bits_of(batch, episode), n))


def test_the_optimal_estimator_is_bayes_rule_over_all_tables():
    """Sum over a fine grid of tables, weighted by the prior and by how well each explains the bits so far."""
    nodes = np.sin((np.arange(200) + 0.5) * math.pi / 400) ** 2  # equally likely under Beta(1/2, 1/2)
    task = DynamicNGrams(n=2, length=7)
    first, second = (grid.ravel() for grid in np.meshgrid(nodes, nodes))
    for bits in itertools.product((0, 1), repeat=7):
        batch = task.sample(np.random.default_rng(0), 1)
        batch = batch._replace(targets=torch.tensor(bits, dtype=torch.float32)[None, :, None])
        foretold = task.optimal_logits(batch).sigmoid()[0, :, 0].tolist()
        weight = np.ones_like(first)
        for before, bit, chance in zip(bits, bits[1:], foretold[1:], strict=False):
            one = second if before else first
            assert chance == pytest.approx((weight * one).sum() / weight.sum(), abs=1e-6)
            weight = weight * (one if bit else 1 - one)


def bits_per_sequence(logits, batch):
    return Bits(1).measure(logits, batch)["bits_per_sequence"]


def test_the_optimum_is_that_of_the_paper():
    task, costs = DynamicNGrams(), []
    for number in range(10):
        batch = task.sample(np.random.default_rng(number), 1000)
        costs.append(bits_per_sequence(task.optimal_logits(batch), batch))
    # 132.98 by a Monte Carlo of its own; sequences differ by 36 bits, so the mean of 10,000 by 0.36.
    assert torch.cat(costs).mean().item() == pytest.approx(132.98, abs=1.5)
    batch.mask[:, :5] = False
    without = bits_per_sequence(task.optimal_logits(batch), batch)
    assert (costs[-1] - without).tolist() == pytest.approx([5] * 1000)


def test_the_longer_a_sequence_the_more_is_known():
    task = DynamicNGrams(length=400)
    batch = task.sample(np.random.default_rng(0), 500)
    parts = []
    for start in (0, 100, 300):
        mask = torch.zeros_like(batch.mask)
        mask[:, start : start + 100] = True
        parts.append(bits_per_sequence(task.optimal_logits(batch), batch._replace(mask=mask)).mean())
    assert parts[0] > parts[1] + 5 > parts[2] + 6


def test_its_length_does_not_have_to_fit_into_a_memory():
    assert DynamicNGrams().kept == ()
    assert DynamicNGrams().answer.measures.each[0].name == "bits_per_sequence"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: DynamicNGrams(n=0), r"n \(=0\) must be at least 1\."),
        (lambda: DynamicNGrams(n=17), r"n \(=17\) must be at most 16\."),
        (lambda: DynamicNGrams(length=5), r"n \(=6\) must be at most length \(=5\)\."),
        (lambda: DynamicNGrams().sample(np.random.default_rng(0), 1, length=5), r"length \(=5\) must be at least 6\."),
        (lambda: DynamicNGrams().sample(np.random.default_rng(0), 1, items=5), "no difficulty 'items'"),
    ],
)
def test_what_is_out_of_range_is_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
