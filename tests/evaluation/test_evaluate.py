"""What an evaluation reports, against costs worked out by hand."""

import math

import pytest
import torch
from ramp import Constant, Ramp

from lightning_ntm import LSTM, Batch, Copy, DynamicNGrams
from lightning_ntm.evaluation.episodes import chunks
from lightning_ntm.evaluation.evaluate import evaluate, evaluate_pieces, margin
from lightning_ntm.intervals import wilson


def cost(ones, zeros, chance):
    return -ones * math.log2(chance) - zeros * math.log2(1 - chance)


def interval(values):
    mean = sum(values) / len(values)
    variance = sum((value - mean) ** 2 for value in values) / (len(values) - 1)
    return 1.96 * math.sqrt(variance / len(values))


def test_costs_and_their_intervals_are_those_worked_out_by_hand():
    row = evaluate(Constant(), Ramp(), {"length": 4}, sequences=10)
    ones = [0, 1, 2, 3, 4, 4, 4, 4, 4, 4]  # of 0000, 0001, 0011, 0111 and then 1111
    bits = [cost(one, 4 - one, 0.8) for one in ones]
    optimal = [cost(one, 4 - one, 0.25) for one in ones]
    regret = [mine - best for mine, best in zip(bits, optimal, strict=True)]
    assert row == pytest.approx(
        {
            "length": 4,
            "wrong_bits": 1,
            "bits_per_sequence": sum(bits) / 10,
            "perfect": 0.6,
            "perfect_low": wilson(6, 10)[0],
            "perfect_high": wilson(6, 10)[1],
            "sequences": 10,
            "optimal_bits": sum(optimal) / 10,
            "regret_bits": sum(regret) / 10,
            "wrong_bits_margin": interval([4 - one for one in ones]),
            "bits_per_sequence_margin": interval(bits),
            "regret_bits_margin": interval(regret),
        },
        rel=2e-5,
    )


def test_parts_of_an_answer_are_measured_one_by_one():
    whole, first, second = evaluate_pieces(Constant(), Ramp(), {"length": 4}, pieces=2, sequences=3)
    assert [row["answer"] for row in (whole, first, second)] == ["whole", "1-2", "3-4"]
    assert whole["bits_per_sequence"] == pytest.approx(first["bits_per_sequence"] + second["bits_per_sequence"])
    assert first["bits_per_sequence"] == pytest.approx(cost(0, 2, 0.8))
    assert math.isnan(first["bits_per_sequence_margin"]), "all cost the same"
    assert second["wrong_bits"] == pytest.approx(1)  # 00, 01, 11
    assert second["perfect"] == 1 / 3


def test_parts_that_cannot_be_equal_differ_by_a_step():
    rows = evaluate_pieces(Constant(), Ramp(), {"length": 4}, pieces=3, sequences=2)
    assert [row["answer"] for row in rows] == ["whole", "1-2", "3-3", "4-4"]
    assert [row["wrong_bits"] for row in rows] == [3.5, 2, 1, 0.5]


def test_without_a_known_optimum_there_is_no_regret():
    model = LSTM(9, 8, hidden_size=4, num_layers=1)
    row = evaluate(model, Copy(), {"length": 2}, sequences=4)
    assert list(row) == [
        "length", "wrong_bits", "bits_per_sequence", "perfect", "sequences", "perfect_low", "perfect_high",
        "wrong_bits_margin", "bits_per_sequence_margin",
    ]  # fmt: skip


def test_the_optimal_estimator_itself_has_no_regret(monkeypatch):
    task, known = DynamicNGrams(length=30), []
    monkeypatch.setattr(Constant, "forward", lambda self, inputs, state: (known.pop(), None))
    real = DynamicNGrams.sample

    def sample(self, generator, batch_size, **difficulty):
        batch = real(self, generator, batch_size, **difficulty)
        known.append(self.optimal_logits(batch))
        return batch

    monkeypatch.setattr(DynamicNGrams, "sample", sample)
    row = evaluate(Constant(), task, {"length": 30}, sequences=150)
    assert row["regret_bits"] == pytest.approx(0, abs=1e-9)
    assert math.isnan(row["regret_bits_margin"]) or row["regret_bits_margin"] < 1e-9


@pytest.mark.parametrize("task", [Copy(max_length=3), DynamicNGrams(length=10)], ids=lambda task: type(task).__name__)
def test_a_network_that_answers_nan_is_never_right(task):
    model = LSTM(task.input_size, task.output_size, hidden_size=4, num_layers=1)
    torch.nn.init.constant_(model.output.bias, math.nan)
    row = evaluate(model, task, task.difficulty, sequences=150)
    assert row["perfect"] == 0
    assert row["wrong_bits"] == next(chunks(task, 1, "evaluation", 1, task.difficulty)).mask.sum() * task.output_size
    assert math.isnan(row["bits_per_sequence"])


def test_a_network_without_an_error_is_not_proved_to_be_perfect(monkeypatch):
    monkeypatch.setattr(
        Ramp, "sample", lambda self, *_, length: Batch(*[torch.ones(100, 2, 1)] * 2, torch.ones(100, 2) > 0)
    )
    row = evaluate(Constant(), Ramp(), {"length": 4}, sequences=100)
    assert (row["wrong_bits"], row["perfect"], row["perfect_high"]) == (0, 1, 1)
    assert math.isnan(row["wrong_bits_margin"])
    assert row["perfect_low"] == pytest.approx(100 / (100 + 1.96**2), abs=1e-5)
    assert row["share_wrong_at_most"] == pytest.approx(0.03, abs=1e-3)


def test_few_episodes_have_no_interval_nor_have_many_that_are_all_the_same():
    assert math.isnan(margin(torch.tensor([3.0])))
    assert math.isnan(margin(torch.arange(9.0)))
    assert margin(torch.arange(10.0)) == pytest.approx(interval(range(10)))
    assert math.isnan(margin(torch.full((10,), 3.0)))


@pytest.mark.parametrize(
    ("pieces", "message"),
    [(0, r"pieces \(=0\) must be at least 1\."), (5, r"pieces \(=5\) must be at most 4, the steps of an answer\.")],
)
def test_what_is_out_of_range_is_named(pieces, message):
    with pytest.raises(ValueError, match=message):
        evaluate_pieces(Constant(), Ramp(), {"length": 4}, pieces=pieces)
