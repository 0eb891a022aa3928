"""Evaluations at every length of a range, against one length at a time."""

import pytest
import torch

from lightning_ntm import LSTM, NTM, AssociativeRecall, ModularArithmetic, ReverseString
from lightning_ntm.evaluation import evaluate_range
from lightning_ntm.evaluation.evaluate import evaluate
from lightning_ntm.evaluation.ranges import _joined, lengths_of
from lightning_ntm.tasks.randomness import batch_generator

TASK = ReverseString(max_length=4)
NETWORK = LSTM(TASK.input_size, TASK.output_size, hidden_size=5, num_layers=1).eval()


def test_a_length_of_a_range_has_the_episodes_and_values_of_that_length_alone():
    found = evaluate_range(NETWORK, TASK, range(5, 12, 3), sequences=230, seed=3)
    assert [row["length"] for row in found["results"]] == [5, 8, 11]
    for row in found["results"]:
        alone = evaluate(NETWORK, TASK, {"length": row["length"]}, sequences=230, seed=3)
        assert row == pytest.approx(alone, rel=1e-5, nan_ok=True)
    other = evaluate_range(NETWORK, TASK, range(5, 12, 3), sequences=230, seed=4)
    assert other["mean_accuracy"] != found["mean_accuracy"]


def test_each_length_beyond_training_counts_alike_in_the_mean():
    found = evaluate_range(NETWORK, TASK, range(2, 9), sequences=20, include_training=True)
    assert (found["range"], found["training_length"], found["skipped"], found["sequences"]) == ("2-8", 4, 0, 20)
    assert [row["length"] for row in found["results"]] == list(range(2, 9))
    unseen = [row["accuracy"] for row in found["results"] if row["length"] > 4]
    assert len(unseen) == 4
    assert found["mean_accuracy"] == pytest.approx(sum(unseen) / 4)
    assert {name for name in found if name.startswith("mean_")} == {
        "mean_accuracy", "mean_wrong_symbols", "mean_bits_per_sequence", "mean_perfect",
    }  # fmt: skip
    beyond = evaluate_range(NETWORK, TASK, range(5, 9), sequences=20)
    assert beyond["mean_accuracy"] == found["mean_accuracy"]


def test_another_number_of_memory_slots_is_that_of_every_length():
    network = NTM(TASK.input_size, TASK.output_size, hidden_size=5, memory_slots=6, memory_width=3).eval()
    found = evaluate_range(network, TASK, range(6, 8), sequences=3, memory_slots=20)
    assert found["memory_slots"] == 20
    for row in found["results"]:
        alone = evaluate(network, TASK, {"length": row["length"]}, sequences=3, memory_slots=20)
        assert row == pytest.approx({"memory_slots": 20, **alone}, rel=1e-5, nan_ok=True)


def test_lengths_that_a_task_does_not_have_are_left_out():
    network = LSTM(10, 5, hidden_size=3, num_layers=1).eval()
    found = evaluate_range(network, ModularArithmetic(max_length=3), range(5, 10), sequences=2)
    assert [row["length"] for row in found["results"]] == [5, 7, 9]
    assert found["skipped"] == 2
    assert lengths_of(ModularArithmetic(), range(41, 44))[1] == {42: "length (=42) must be odd."}


def test_progress_counts_the_lengths():
    told = []
    evaluate_range(NETWORK, TASK, range(5, 8), sequences=2, progress=lambda *numbers: told.append(numbers))
    assert told == [(1, 3), (2, 3), (3, 3)]


REFUSED = {
    "no length": (AssociativeRecall(), range(7, 9), "range: AssociativeRecall has no difficulty 'length'"),
    "empty": (TASK, range(9, 5), "must have at least one length, ascend"),
    "backwards": (TASK, range(9, 5, -1), "must have at least one length, ascend"),
    "zero": (TASK, range(9), "begin at 1 or above"),
    "training": (TASK, range(3, 9), r"range \(=3-8\) begins among the lengths of training, which end at 4; begin at 5"),
    "all training": (TASK, range(1, 5), r"range \(=1-4\) must end beyond 4"),
    "step that ends in training": (TASK, range(1, 6, 4), None),
    "step that ends before": (TASK, range(1, 5, 3), "must end beyond 4"),
    "too many": (TASK, range(5, 5005), r"5,000 lengths, more than 2,000; give a step, as 5-5004:3"),
    "none that it has": (ModularArithmetic(), range(42, 43), "beyond training: length .=42. must be odd"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_ranges_that_are_refused(case):
    task, lengths, message = REFUSED[case]
    if message is None:
        assert lengths_of(task, lengths, include_training=True)[0] == ({"length": 1}, {"length": 5})
        return
    with pytest.raises(ValueError, match=message):
        lengths_of(task, lengths, include_training=case == "step that ends before")


def test_the_step_that_is_proposed_for_too_many_lengths_is_enough():
    difficulties, _ = lengths_of(TASK, range(5, 5005, 3))
    assert len(difficulties) == 1667


def test_batches_are_joined_up_to_a_number_of_steps_and_for_one_shape():
    drawn = [TASK.sample(batch_generator(1, "evaluation", n), 100, length=length) for n, length in enumerate([3, 3, 4])]
    joined = list(_joined(iter(drawn)))
    assert [tuple(batch.inputs.shape) for batch in joined] == [(200, 6, 3), (100, 8, 3)]
    assert torch.equal(joined[0].targets, torch.cat([drawn[0].targets, drawn[1].targets]))
    long = [TASK.sample(batch_generator(1, "evaluation", n), 100, length=300) for n in range(3)]
    assert [len(batch.inputs) for batch in _joined(iter(long))] == [200, 100]
