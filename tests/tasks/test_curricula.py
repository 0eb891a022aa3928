"""Curricula choose the difficulty of training batches, as a function of the seed and the number of the batch."""

import math
from collections import Counter
from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given, strategies as st

from lightning_ntm import AssociativeRecall, Copy, FileTask, ModularArithmetic, PrioritySort, RepeatCopy, ReverseString
from lightning_ntm.tasks.curricula import Fixed, RegularIncrease, ReverseExponential, Uniform, training_batch
from lightning_ntm.tasks.randomness import batch_generator

TASK = ReverseString(max_length=12)
CURRICULA = [Uniform(), Fixed(), RegularIncrease(every=3), ReverseExponential(0.5)]


def lengths(curriculum, numbers, task=TASK, seed=3):
    batches = (curriculum.batch(task, seed, number, 2) for number in numbers)
    return [batch.inputs.shape[1] // 2 for batch in batches]


@pytest.mark.parametrize("curriculum", CURRICULA, ids=lambda value: type(value).__name__)
def test_a_batch_is_a_function_of_seed_and_number_within_the_values_of_training(curriculum):
    drawn = lengths(curriculum, range(60))
    assert drawn == lengths(curriculum, range(60))
    assert drawn[40] == lengths(curriculum, [40])[0]
    assert {*drawn} <= {*range(1, 13)}
    if curriculum != Fixed():
        assert drawn != lengths(curriculum, range(60), seed=4)


def test_each_rule_is_the_one_defined():
    counts = Counter(lengths(Uniform(), range(600)))
    assert len(counts) == 12
    assert max(counts.values()) < 85
    assert {*lengths(Fixed(5), range(9))} == {5}
    assert {*lengths(Fixed(), range(9))} == {12}
    exact = RegularIncrease(start=2, every=4, by=3, all_below=False)
    assert lengths(exact, range(20)) == [2] * 4 + [5] * 4 + [8] * 4 + [11] * 4 + [12] * 4
    below = replace(exact, all_below=True)
    assert {*lengths(below, range(4))} <= {1, 2}
    assert max(lengths(below, range(400, 600))) == 12
    assert {*lengths(below, range(400, 600))} == {*range(1, 13)}
    counts = Counter(lengths(ReverseExponential(0.5), range(600)))
    expected = 600 * 0.5 / (1 - 0.5**12)
    assert abs(counts[1] - expected) < 4 * math.sqrt(600 * 0.25)
    assert counts[1] > counts[2] > counts[3]
    counts = Counter(lengths(ReverseExponential(2), range(600)))
    assert counts[12] > counts[11] > counts[10]


@given(st.integers(1, 9), st.integers(1, 5), st.integers(0, 200))
def test_odd_lengths_stay_odd(every, by, number):
    curriculum = RegularIncrease(3, every, by, all_below=False, difficulty="length")
    length = curriculum.batch(ModularArithmetic(max_length=9), 1, number, 1).inputs.shape[1] - 1
    assert length == min(3 + 2 * by * (number // every), 9)


def test_one_difficulty_is_chosen_and_the_others_are_drawn():
    task, chosen = RepeatCopy(bits=2, max_length=4, max_repeats=3), Fixed(difficulty="repeats", value=2)
    batches = [chosen.batch(task, 1, number, 3) for number in range(20)]
    answers = {int(batch.mask[0].sum()) for batch in batches}  # length times repeats, and the end
    assert answers == {2 * length + 1 for length in range(1, 5)}
    assert {int(b.mask[0].sum()) for b in (Fixed(2).batch(task, 1, n, 3) for n in range(30))} == {3, 5, 7}


@dataclass(frozen=True)
class Broken(Uniform):
    given: object = None

    def choose(self, generator, number, values):
        return self.given


def test_a_rule_of_ones_own_may_choose_with_numpy():
    task = Copy(max_length=12)
    assert Broken(np.int64(5)).batch(task, 1, 2, 3).inputs.equal(Broken(5).batch(task, 1, 2, 3).inputs)


@pytest.mark.parametrize("given", [99, 0, 3.0, "3", None, True])
def test_a_rule_of_ones_own_keeps_to_the_values_of_training(given):
    with pytest.raises(ValueError, match=r"Broken.choose must return one of the values of length in training, 1 to 12"):
        Broken(given=given).batch(TASK, 1, 0, 2)


def test_without_a_curriculum_the_task_draws():
    expected = TASK.sample(batch_generator(3, "train", 5), 4)
    assert all(a.equal(b) for a, b in zip(training_batch(TASK, None, 3, 5, 4), expected, strict=True))


def test_what_does_not_fit_a_task_is_refused():
    sequences = {"inputs": np.ones((3, 2, 1)), "targets": np.zeros((3, 2, 1))}
    data = FileTask.from_arrays(sequences, sequences)
    for curriculum, task, says in (
        (Uniform(), PrioritySort(), r"PrioritySort has one value of items in training \(20\)"),
        (Uniform(), data, "FileTask draws no difficulty"),
        (
            Uniform(difficulty="repeats"),
            TASK,
            r"difficulty \(='repeats'\) must be one of those of ReverseString: length",
        ),
        (Fixed(13), replace(TASK), r"value \(=13\) must be a difficulty of training, 1 to 12"),
        (Fixed(4), ModularArithmetic(max_length=9), "1 to 9 in steps of 2"),
        (RegularIncrease(1), AssociativeRecall(), r"start \(=1\) must be a difficulty of training, 2 to 6"),
    ):
        with pytest.raises(ValueError, match=says):
            curriculum.check(task)
    RegularIncrease(2).check(AssociativeRecall())
    Uniform().check(Copy())
    for made in (lambda: Fixed(0), lambda: RegularIncrease(every=0), lambda: ReverseExponential(float("nan"))):
        with pytest.raises(ValueError, match="must be"):
            made()
