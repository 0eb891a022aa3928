"""The two measures, by hand."""

import math

import pytest
import torch

from lightning_ntm import Batch
from lightning_ntm.tasks import metrics

#: Two sequences of three steps and two bits; the last step of the second is not answered.
BATCH = Batch(
    inputs=torch.zeros(2, 3, 1),
    targets=torch.tensor([[[1.0, 0], [1, 1], [0, 0]], [[1, 1], [0, 0], [1, 1]]]),
    mask=torch.tensor([[True, True, True], [True, True, False]]),
)
LOGITS = torch.tensor([[[2.0, -1], [-3, 1], [0.5, -2]], [[1, -1], [-1, -1], [-50, float("nan")]]])


def bits_of(logit, target):
    probability = 1 / (1 + math.exp(-logit))
    return -math.log2(probability if target else 1 - probability)


def test_wrong_bits_are_counted_where_an_answer_is_asked_for():
    assert metrics.wrong_bits(LOGITS, BATCH).tolist() == [2, 1]


def test_bits_per_sequence_are_summed_cross_entropy():
    expected = [
        sum(bits_of(x, y) for x, y in [(2, 1), (-1, 0), (-3, 1), (1, 1), (0.5, 0), (-2, 0)]),
        sum(bits_of(x, y) for x, y in [(1, 1), (-1, 1), (-1, 0), (-1, 0)]),
    ]
    assert metrics.bits_per_sequence(LOGITS, BATCH).tolist() == pytest.approx(expected)
    assert metrics.nats_per_sequence(LOGITS, BATCH).tolist() == pytest.approx([e * math.log(2) for e in expected])


def test_chance_is_every_bit_of_the_answer():
    chance = metrics.bits_per_sequence(torch.zeros(2, 3, 2), BATCH)
    assert chance.tolist() == pytest.approx(metrics.answer_bits(BATCH).tolist())
    assert metrics.answer_bits(BATCH).tolist() == [6, 4]


def test_a_masked_step_has_no_gradient():
    logits = LOGITS.nan_to_num().requires_grad_()
    metrics.nats_per_sequence(logits, BATCH).sum().backward()
    assert (logits.grad[1, 2] == 0).all()
    assert (logits.grad[BATCH.mask] != 0).all()
