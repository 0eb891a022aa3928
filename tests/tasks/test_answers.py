"""Costs, measures and faults of each kind of answer, by hand."""

import math
import re
import warnings
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from lightning_ntm import Batch, Copy, DynamicNGrams, Task
from lightning_ntm.measures import BITS, UNCERTAIN_BITS, Measures
from lightning_ntm.tasks.answers import Answer, Bits, Numbers, Symbols
from lightning_ntm.testing import check_task

NAN = math.nan
INPUTS = torch.zeros(2, 3, 1)
#: The last step of the second sequence is not answered.
MASK = torch.tensor([[True, True, True], [True, True, False]])

TWO_BITS = Batch(INPUTS, torch.tensor([[[1.0, 0], [1, 1], [0, 0]], [[1, 1], [0, 0], [1, 1]]]), MASK)
BIT_LOGITS = torch.tensor([[[2.0, -1], [-3, 1], [0.5, -2]], [[1, -1], [-1, -1], [-50, NAN]]])

THREE_SYMBOLS = Batch(INPUTS, torch.tensor([[2, 0, 1], [1, 1, -7]]), MASK)
SYMBOL_LOGITS = torch.tensor([[[0.0, 1, 2], [0, 1, 0], [0, 3, -1]], [[1, 0, 0], [0, 0, 2], [NAN, 0, 0]]])

TWO_NUMBERS = Batch(INPUTS, torch.tensor([[[1.0, 2], [0, 0], [0.5, 1]], [[1, 1], [2, 2], [NAN, NAN]]]), MASK)
NUMBER_LOGITS = torch.tensor([[[1.5, 2], [0, 0.04], [0.5, 1]], [[1, -1], [2, 2], [NAN, 9]]])

EACH = {
    "bits": (Bits(2), BIT_LOGITS, TWO_BITS),
    "symbols": (Symbols(3), SYMBOL_LOGITS, THREE_SYMBOLS),
    "numbers": (Numbers(2, tolerance=0.05), NUMBER_LOGITS, TWO_NUMBERS),
}
each = pytest.mark.parametrize(("answer", "logits", "batch"), EACH.values(), ids=EACH)


def bits_of(logit, target):
    probability = 1 / (1 + math.exp(-logit))
    return -math.log2(probability if target else 1 - probability)


def test_bits_are_counted_and_cost_their_cross_entropy():
    expected = [
        sum(bits_of(x, y) for x, y in [(2, 1), (-1, 0), (-3, 1), (1, 1), (0.5, 0), (-2, 0)]),
        sum(bits_of(x, y) for x, y in [(1, 1), (-1, 1), (-1, 0), (-1, 0)]),
    ]
    measured = Bits(2).measure(BIT_LOGITS, TWO_BITS)
    assert measured["wrong_bits"].tolist() == [2, 1]
    assert measured["bits_per_sequence"].tolist() == pytest.approx(expected)
    assert Bits(2).cost(BIT_LOGITS, TWO_BITS).tolist() == pytest.approx([e * math.log(2) for e in expected])
    assert Bits(2).units(TWO_BITS).tolist() == [6, 4]


def test_symbols_are_counted_and_cost_their_cross_entropy():
    def nats(logits, target):
        return math.log(sum(map(math.exp, logits))) - logits[target]

    expected = [nats([0, 1, 2], 2) + nats([0, 1, 0], 0) + nats([0, 3, -1], 1), nats([1, 0, 0], 1) + nats([0, 0, 2], 1)]
    measured = Symbols(3).measure(SYMBOL_LOGITS, THREE_SYMBOLS)
    assert measured["wrong_symbols"].tolist() == [1, 2]
    assert measured["accuracy"].tolist() == pytest.approx([2 / 3, 0])
    assert measured["bits_per_sequence"].tolist() == pytest.approx([e / math.log(2) for e in expected])
    assert Symbols(3).cost(SYMBOL_LOGITS, THREE_SYMBOLS).tolist() == pytest.approx(expected)
    assert Symbols(3).units(THREE_SYMBOLS).tolist() == [3, 2]


#: The first answer is 0 2 and one more step, the second has no end.
ENDED = Batch(INPUTS, torch.tensor([[0, 2, 1], [1, 1, -7]]), MASK)


def test_the_steps_after_an_end_cost_but_are_not_counted():
    answer, plain = Symbols(3, end=2), Symbols(3)
    later = ENDED._replace(targets=torch.tensor([[2, 2, 0], [0, 2, -7]]))  # the second end is not counted either
    measured = answer.measure(SYMBOL_LOGITS, later)
    assert plain.measure(SYMBOL_LOGITS, later)["wrong_symbols"].tolist() == [2, 0]
    assert measured["wrong_symbols"].tolist() == [0, 0]
    assert measured["accuracy"].tolist() == [1, 1]
    assert answer.measure(-SYMBOL_LOGITS, later)["accuracy"].tolist() == [0, 0]
    assert answer.step_errors(-SYMBOL_LOGITS, later).tolist() == [[1, 0, 0], [1, 1, 0]]
    assert torch.equal(answer.cost(SYMBOL_LOGITS, later), plain.cost(SYMBOL_LOGITS, later))
    assert answer.units(later).tolist() == plain.units(later).tolist() == [3, 2]


def test_the_parts_of_an_answer_with_an_end_add_up():
    answer, first = Symbols(3, end=2), torch.tensor([True, False, False])
    parts = [ENDED._replace(mask=MASK & part) for part in (first, ~first)]
    each = [answer.errors(-SYMBOL_LOGITS, part) for part in parts]
    assert sum(each).tolist() == answer.errors(-SYMBOL_LOGITS, ENDED).tolist()


def test_an_end_is_one_of_the_symbols_and_only_in_answers():
    with pytest.raises(ValueError, match=r"end \(=3\) must be between 0 and 2\."):
        Symbols(3, end=3)
    outside = ENDED._replace(targets=torch.tensor([[0, 2, 1], [1, 1, 2]]))
    assert Symbols(3, end=2).fault(ENDED) is None
    assert Symbols(3, end=2).fault(outside) == "targets must not be the end symbol 2 where the mask is false"


def test_numbers_cost_their_squared_error():
    answer = Numbers(2, tolerance=0.05)
    measured = answer.measure(NUMBER_LOGITS, TWO_NUMBERS)
    assert answer.cost(NUMBER_LOGITS, TWO_NUMBERS).tolist() == pytest.approx([0.5**2 + 0.04**2, 2**2])
    assert answer.units(TWO_NUMBERS).tolist() == [6, 4]
    assert measured["squared_error"].tolist() == pytest.approx([(0.5**2 + 0.04**2) / 6, 2**2 / 4])
    assert measured["wrong_numbers"].tolist() == [1, 1]  # 0.04 is within the tolerance


def test_chance_is_what_guessing_reaches():
    assert Bits(2).measure(torch.zeros(2, 3, 2), TWO_BITS)["bits_per_sequence"].tolist() == pytest.approx([6, 4])
    guessed = Symbols(3).measure(torch.zeros(2, 3, 3), THREE_SYMBOLS)["bits_per_sequence"]
    assert guessed.tolist() == pytest.approx([3 * math.log2(3), 2 * math.log2(3)])
    chances = {measure.name: measure.chance for measure in Symbols(4).measures.each}
    assert chances == {"wrong_symbols": 0.75, "bits_per_sequence": 2, "accuracy": 0.25}


@each
def test_measures_are_those_that_are_declared(answer, logits, batch):
    assert list(answer.measure(logits, batch)) == list(answer.measures.names)
    assert Measures.from_object(answer.measures.as_object()) == answer.measures
    assert answer.size == logits.shape[-1]
    right = torch.where(batch.mask, answer.errors(logits, batch).unsqueeze(1) == 0, True)
    assert not right.all(), "every episode above has an error"


@each
def test_errors_of_steps_add_up_to_those_of_the_answer(answer, logits, batch):
    steps = answer.step_errors(logits, batch)
    assert steps.sum(1).tolist() == answer.errors(logits, batch).tolist()
    assert (steps[~batch.mask] == 0).all()


@each
def test_a_masked_step_has_no_gradient(answer, logits, batch):
    logits = logits.nan_to_num().requires_grad_()
    answer.cost(logits, batch).sum().backward()
    assert (logits.grad[1, 2] == 0).all()
    assert (logits.grad[0] != 0).any()


@each
def test_a_logit_that_is_nan_is_wrong_whatever_the_target(answer, logits, batch):
    nan = torch.full_like(logits, NAN)
    assert answer.errors(nan, batch).tolist() == answer.units(batch).tolist()
    assert answer.cost(nan, batch).isnan().all()


@each
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("bad", [NAN, math.inf, -math.inf])
def test_whatever_stands_in_a_masked_step_changes_neither_cost_nor_gradient(answer, logits, batch, bad, dtype):
    masked = ~batch.mask.unsqueeze(-1)
    results = []
    for value in (0.0, bad):
        leaf = logits.nan_to_num().masked_fill(masked, value).to(dtype).requires_grad_()
        if batch.targets.is_floating_point():
            batch = batch._replace(targets=batch.targets.masked_fill(masked, value))
        costs = answer.cost(leaf, batch)
        costs.sum().backward()
        results.append((costs.detach(), *answer.measure(leaf.detach(), batch).values(), leaf.grad))
    for clean, spoilt in zip(*results, strict=True):
        assert torch.isfinite(clean).all()
        assert torch.equal(clean, spoilt)


@each
def test_an_answer_that_nothing_is_asked_of_has_no_error(answer, logits, batch):
    nothing = batch._replace(mask=torch.zeros_like(batch.mask))
    assert answer.cost(logits, nothing).tolist() == [0, 0]
    measured = {name: values.tolist() for name, values in answer.measure(logits, nothing).items()}
    assert measured == {name: [1, 1] if name == "accuracy" else [0, 0] for name in answer.measures.names}


@each
def test_a_perfect_answer_is_pictured_as_its_targets(answer, logits, batch):
    shown = answer.pictured(batch.targets)
    assert shown.shape == (2, 3, answer.size) == answer.shown(logits).shape
    certain = {"Bits": 200 * shown - 100, "Symbols": 200 * shown - 100, "Numbers": shown}[type(answer).__name__]
    assert torch.equal(answer.shown(certain)[MASK], shown[MASK])
    assert answer.errors(certain, batch).tolist() == [0, 0]


def test_the_distance_to_an_optimum_is_measured_where_it_is_declared():
    optimal = torch.zeros(2, 3, 2)
    measured = Bits(2).measure(BIT_LOGITS, TWO_BITS)
    assert Bits(2).compare(measured, optimal, TWO_BITS) == {}
    compared = Bits(2, uncertain=True).compare(measured, optimal, TWO_BITS)
    assert compared["optimal_bits"].tolist() == pytest.approx([6, 4])
    assert compared["regret_bits"].tolist() == pytest.approx(
        (measured["bits_per_sequence"] - torch.tensor([6, 4])).tolist()
    )
    assert (Bits(2).measures, Bits(2, uncertain=True).measures) == (BITS, UNCERTAIN_BITS)
    assert Symbols(3, uncertain=True).measures.each[0].name == "bits_per_sequence"


@pytest.mark.parametrize(
    ("answer", "targets", "fault"),
    [
        (Bits(2), torch.zeros(2, 3, 1), r"targets must have shape \(batch, time, 2\), got \(2, 3, 1\)"),
        (Bits(1), torch.full((2, 3, 1), 0.5), "targets must be 0 or 1 where the mask is true"),
        (Bits(1), torch.full((2, 3, 1), NAN), "targets must be 0 or 1"),
        (Symbols(3), torch.zeros(2, 3), r"targets must be int64 of shape \(batch, time\), got torch.float32 \(2, 3\)"),
        (Symbols(3), torch.zeros(2, 3, 1, dtype=torch.int64), r"got torch.int64 \(2, 3, 1\)"),
        (Symbols(3), torch.full((2, 3), 3), "targets must be symbols from 0 to 2 where the mask is true"),
        (Symbols(3), torch.full((2, 3), -1), "targets must be symbols from 0 to 2"),
        (Numbers(1), torch.zeros(2, 3, 2), r"targets must have shape \(batch, time, 1\), got \(2, 3, 2\)"),
        (Numbers(1), torch.full((2, 3, 1), math.inf), "targets must be finite where the mask is true"),
        (Numbers(1), torch.zeros(2, 3, 1, dtype=torch.complex64), "targets must be real numbers, got torch.complex64"),
        (Numbers(1), torch.zeros(2, 3, 1, dtype=torch.bool), "targets must be real numbers, got torch.bool"),
    ],
)  # fmt: skip
def test_targets_that_are_not_what_is_asked_for_are_named(answer, targets, fault):
    batch = Batch(INPUTS, targets, MASK)
    assert re.search(fault, answer.fault(batch))
    if not re.search("shape|int64|real", fault):  # what is not answered may be anything
        targets[MASK] = 1
        assert answer.fault(batch) is None


def test_targets_of_another_shape_are_not_repeated():
    for answer, shape in ((Numbers(3), (2, 3, 1)), (Numbers(3), (2, 3)), (Bits(3), (2, 3, 1))):
        with pytest.raises(ValueError, match=r"must (have the shape|be the same)"):
            answer.cost(torch.zeros(2, 3, 3), Batch(INPUTS, torch.ones(shape), MASK))


@pytest.mark.parametrize("make", [lambda: Bits(0), lambda: Symbols(1), lambda: Numbers(0), lambda: Numbers(1, 0.0)])
def test_sizes_and_tolerances_out_of_range_are_named(make):
    with pytest.raises(ValueError, match=r"(size|tolerance) \(=\d(\.0)?\) must be"):
        make()


def test_a_task_is_checked_for_what_it_asks_for():
    check_task(Fixed(Bits(2), TWO_BITS))
    with pytest.raises(AssertionError, match="Fixed: targets must be symbols from 0 to 1 where the mask is true"):
        check_task(Fixed(Symbols(2), THREE_SYMBOLS))
    with pytest.raises(AssertionError, match=r"Fixed must have optimal_logits, as its answer is Bits\(size=2, uncer"):
        check_task(Fixed(Bits(2, uncertain=True), TWO_BITS))
    with pytest.raises(AssertionError, match="an episode with nothing to answer"):
        check_task(Fixed(Bits(2), TWO_BITS._replace(mask=MASK & False)))


def test_a_network_of_another_size_is_refused_with_both_sizes():
    with pytest.raises(ValueError, match=r"output_size \(=4\) of the network must be 5, .* Symbols\(size=5"):
        Symbols(5).check_size(4)
    Symbols(5).check_size(5)


@dataclass(frozen=True)
class Fixed(Task):
    """Gives the sequences of one batch again and again."""

    asked: Answer
    batch: Batch

    input_size = 1

    @property
    def answer(self):
        return self.asked

    @property
    def difficulty(self):
        return {}

    def sample(self, generator, batch_size, **difficulty):
        again = torch.arange(batch_size) % len(self.batch.mask)
        inputs = torch.from_numpy(generator.random((batch_size, *self.batch.inputs.shape[1:]), np.float32))
        return Batch(inputs, self.batch.targets[again], self.batch.mask[again])


def test_a_task_that_only_says_its_output_size_answers_in_bits_and_is_warned_once():
    with pytest.warns(DeprecationWarning, match=r"Older .* define answer = Bits\(output_size\)") as warned:

        class Older(Copy):
            output_size = 5

    assert len(warned) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")

        class Oldest(Older):
            pass

    assert Older().answer == Oldest().answer == Bits(5)


def test_a_task_that_was_judged_by_cross_entropy_still_is():
    with pytest.warns(DeprecationWarning, match=r"define answer = Bits\(output_size, uncertain=True\)"):

        class Uncertain(Task):
            judged_by = "bits_per_sequence"
            output_size = input_size = 2
            difficulty = Fixed.difficulty
            sample = Fixed.sample

    assert Uncertain().answer == Bits(2, uncertain=True)


def test_the_output_size_is_that_of_the_answer():
    assert (Copy(bits=5).output_size, DynamicNGrams().output_size) == (5, 1)
    assert Fixed(Symbols(7), TWO_BITS).output_size == 7
