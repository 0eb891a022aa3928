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


def test_a_logit_that_is_nan_is_wrong_whatever_the_target():
    nan = torch.full_like(LOGITS, math.nan)
    assert metrics.wrong_bits(nan, BATCH).tolist() == metrics.answer_bits(BATCH).tolist() == [6, 4]
    infinite = torch.where(BATCH.targets > 0.5, math.inf, -math.inf)
    assert metrics.wrong_bits(infinite, BATCH).tolist() == [0, 0]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_whatever_stands_in_a_masked_step_changes_neither_cost_nor_gradient(bad, dtype):
    masked = ~BATCH.mask.unsqueeze(-1)
    results = []
    for value in (0.0, bad):
        logits = LOGITS.nan_to_num().masked_fill(masked, value).to(dtype).requires_grad_()
        batch = BATCH._replace(targets=BATCH.targets.masked_fill(masked, value))
        nats = metrics.nats_per_sequence(logits, batch)
        nats.sum().backward()
        results.append((nats.detach(), metrics.wrong_bits(logits, batch), logits.grad))
    for clean, spoilt in zip(*results, strict=True):
        assert torch.isfinite(clean).all()
        assert torch.equal(clean, spoilt)
