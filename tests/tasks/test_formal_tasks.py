"""What the tasks of Delétang et al. 2023 have in common, and from what their strings are drawn."""

import inspect
import re

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st

import lightning_ntm
from lightning_ntm import Task, tasks
from lightning_ntm.tasks import formal
from lightning_ntm.testing import check_task

TASKS = [task for _, task in inspect.getmembers(formal, inspect.isclass)]
each = pytest.mark.parametrize("task", TASKS)


def rng(seed=0):
    return np.random.default_rng(seed)


def strings(batch, length):
    return batch.inputs.argmax(2)[:, :length]


def test_there_are_fifteen_with_public_names():
    assert len(TASKS) == 15
    for task in TASKS:
        assert issubclass(task, Task)
        assert getattr(lightning_ntm, task.__name__) is getattr(tasks, task.__name__) is task


@each
def test_it_keeps_the_promises_of_a_task(task):
    check_task(task())
    check_task(task(min_length=task.shortest, max_length=task.shortest + 2))


@each
@given(seed=st.integers(0, 2**32), state=st.integers(0, 2**32 - 1))
def test_a_batch_is_a_function_of_the_generator(task, seed, state):
    np.random.seed(state)
    torch.manual_seed(state)
    batch = task().sample(rng(seed), 3)
    again = task().sample(rng(seed), 3)
    assert all(torch.equal(a, b) for a, b in zip(batch, again, strict=True))
    fixed = task().sample(rng(seed), 3, length=39), task().sample(rng(seed), 3, length=39)
    assert all(torch.equal(a, b) for a, b in zip(*fixed, strict=True))


@each
def test_every_length_of_training_is_drawn_and_no_other(task):
    generator, made = rng(), task(max_length=9)
    assert made.min_length == made.shortest
    lengths = {made.sample(generator, 1).inputs[0].argmax(1).tolist().index(made.symbols) for _ in range(300)}
    assert lengths == set(range(task.shortest, 10, 2 if task.odd else 1))
    assert task().max_length == (39 if task.odd else 40)


#: Symbols of an answer to a string of some length.
ANSWERS = {
    "StackManipulation": lambda length: length + 1,
    "DuplicateString": lambda length: 2 * length,
    "OddsFirst": lambda length: length,
    "BinaryAddition": lambda length: length + 1,
    "BinaryMultiplication": lambda length: length,
    "ComputeSqrt": lambda length: -(-length // 2),
    "BucketSort": lambda length: length,
    "ReverseString": lambda length: length,
}
SIZES = {
    "EvenPairs": (2, 2), "ParityCheck": (2, 2), "ModularArithmetic": (9, 5), "CycleNavigation": (3, 5),
    "StackManipulation": (5, 3), "ModularArithmeticBrackets": (11, 5), "SolveEquation": (11, 5),
    "DuplicateString": (2, 2), "MissingDuplicate": (4, 2), "OddsFirst": (2, 2), "BinaryAddition": (3, 3),
    "BinaryMultiplication": (3, 3), "ComputeSqrt": (2, 2), "BucketSort": (5, 5), "ReverseString": (2, 2),
}  # fmt: skip


@each
@pytest.mark.parametrize("length", [3, 7, 39, 41, 125])
def test_sizes_are_those_of_the_paper(task, length):
    made, expected = task(), ANSWERS.get(task.__name__, lambda length: 1)(length)
    assert (made.input_size - 1, made.output_size) == SIZES[task.__name__]
    batch = made.sample(rng(), 2, length=length)
    assert batch.inputs.shape == (2, length + expected, made.input_size)
    assert batch.mask.sum(1).tolist() == [expected] * 2


@each
def test_an_evaluation_goes_to_the_paper_s_500(task):
    lengths = [39, 77, 155, 311, 487] if task.odd else [40, 80, 160, 320, 500]
    assert task().evaluations == [{"length": length} for length in lengths]
    shortest = task(min_length=task.shortest, max_length=task.shortest)
    for difficulty in shortest.evaluations:
        assert shortest.sample(rng(), 1, **difficulty).mask.any()


ENDED = [formal.StackManipulation, formal.BinaryAddition, formal.BinaryMultiplication]


@each
def test_accuracy_counts_answers_up_to_their_end(task):
    made = task()
    batch = made.sample(rng(1), 20, length=21)
    wrong = 1 - torch.nn.functional.one_hot(batch.targets, made.output_size).float()  # never the target
    counted = []
    for targets, mask in zip(batch.targets.tolist(), batch.mask.tolist(), strict=True):
        answer = [target for target, counts in zip(targets, mask, strict=True) if counts]
        counted.append(answer.index(2) + 1 if task in ENDED else len(answer))
    measured = made.answer.measure(wrong, batch)
    assert measured["wrong_symbols"].tolist() == counted
    assert measured["accuracy"].tolist() == [0] * 20
    assert made.answer.units(batch).tolist() == [batch.mask[0].sum().item()] * 20
    padding = batch.mask & ~made.answer.measured_steps(batch)
    assert (batch.targets[padding] == 0).all()


def test_only_what_must_be_kept_as_a_whole_asks_for_a_slot_each():
    kept = {task for task in TASKS if task().kept}
    assert kept == {formal.DuplicateString, formal.OddsFirst, formal.ReverseString}


@pytest.mark.parametrize("task", [formal.BinaryAddition, formal.BinaryMultiplication])
def test_where_the_separator_is_and_which_numbers_there_are_is_uniform(task):
    shown = strings(task().sample(rng(), 40_000, length=5), 5)
    separators = (shown == 2).int().argmax(1)
    # Standard deviations are below 0.003 of 40,000; 13,000 numbers of two bits give 0.005.
    assert torch.bincount(separators, minlength=5).div(40_000).tolist() == pytest.approx(
        [0, 1 / 3, 1 / 3, 1 / 3, 0], abs=0.012
    )
    two = shown[separators == 2]
    for number in (two[:, :2], two[:, 3:]):
        values = number[:, 0] + 2 * number[:, 1]
        assert torch.bincount(values, minlength=4).div(len(two)).tolist() == pytest.approx(
            [0, 1 / 3, 1 / 3, 1 / 3], abs=0.02
        )


def test_roots_are_of_every_number_but_zero():
    shown = strings(formal.ComputeSqrt().sample(rng(), 40_000, length=2), 2)
    shares = torch.bincount(2 * shown[:, 0] + shown[:, 1], minlength=4).div(40_000)
    assert shares.tolist() == pytest.approx([0, 1 / 3, 1 / 3, 1 / 3], abs=0.012)


def test_stacks_have_any_size_that_leaves_an_action():
    shown = strings(formal.StackManipulation().sample(rng(), 40_000, length=5), 5)
    sizes = torch.bincount((shown < 2).sum(1), minlength=6).div(40_000)
    assert sizes.tolist() == pytest.approx([0, 0.25, 0.25, 0.25, 0.25, 0], abs=0.011)
    last = torch.bincount(shown[:, 4], minlength=5).div(40_000)
    assert last.tolist() == pytest.approx([0, 0, 1 / 3, 1 / 3, 1 / 3], abs=0.012)
    alone = strings(formal.StackManipulation().sample(rng(), 1000, length=1), 1)
    assert set(alone.flatten().tolist()) == {0, 1}


def written(rows, symbols):
    return ["".join(symbols[symbol] for symbol in row) for row in rows.tolist()]


def test_expressions_split_anywhere_with_any_operator():
    batch = formal.ModularArithmeticBrackets().sample(rng(), 30_000, length=6)
    found = written(strings(batch, 6), "01234+-*()")
    # One symbol and an operator and two, or the other way around; each splits with a probability of a half.
    shapes = [re.sub("[0-4]", "d", expression) for expression in found]
    expected = {f"(d{o}-d)" for o in "+-*"} | {f"(-d{o}d)" for o in "+-*"}
    assert set(shapes) == expected
    for shape in expected:
        assert shapes.count(shape) / 30_000 == pytest.approx(1 / 6, abs=0.011)  # five standard deviations
    assert set("".join(found)) == set("01234+-*()")


def test_equations_have_no_multiplication():
    shown = strings(formal.SolveEquation().sample(rng(), 2000, length=30), 30)
    found = written(shown, "01234+-()x=")
    assert all(re.fullmatch(r"[-+()x0-4]{28}=[0-4]", equation) for equation in found)
    assert all(equation.count("x") == 1 for equation in found)


def test_the_unknown_is_the_first_digit_from_a_random_place():
    shown = strings(formal.SolveEquation().sample(rng(), 30_000, length=8), 8)
    left = [equation[:6] for equation in written(shown, "01234+-()x=")]
    # In (d+-d) the place of the first digit is 1, that of the other 4: from 5, 0 and 1 the first is next.
    first = [expression.index("x") for expression in left if re.fullmatch(r"\([0-4x][-+]-[0-4x]\)", expression)]
    assert set(first) == {1, 4}
    assert first.count(1) / len(first) == pytest.approx(0.5, abs=0.02)
    other = [expression.index("x") for expression in left if re.fullmatch(r"\(-[0-4x][-+][0-4x]\)", expression)]
    assert other.count(2) / len(other) == pytest.approx(4 / 6, abs=0.02)  # from 5, 0, 1 and 2


def test_a_hole_may_be_anywhere_but_in_the_filler():
    shown = strings(formal.MissingDuplicate().sample(rng(), 4000, length=7), 7)
    assert set((shown == 2).int().argmax(1).tolist()) == set(range(6))
    assert (shown[:, 6] == 3).all()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: formal.ParityCheck(min_length=0), "min_length (=0) must be at least 1."),
        (lambda: formal.ParityCheck(max_length=0), "max_length (=0) must be at least 1."),
        (lambda: formal.ReverseString(8, 7), "min_length (=8) must be at most max_length (=7)."),
        (lambda: formal.ModularArithmetic(max_length=40), "max_length (=40) must be odd."),
        (lambda: formal.ModularArithmetic(min_length=2), "min_length (=2) must be odd."),
        (lambda: formal.ModularArithmetic().sample(rng(), 1, length=8), "length (=8) must be odd."),
        (lambda: formal.MissingDuplicate(min_length=1), "min_length (=1) must be at least 2."),
        (lambda: formal.MissingDuplicate().sample(rng(), 1, length=1), "length (=1) must be at least 2."),
        (lambda: formal.SolveEquation(min_length=2), "min_length (=2) must be at least 3."),
        (lambda: formal.SolveEquation(max_length=2), "max_length (=2) must be at least 3."),
        (lambda: formal.BinaryAddition(min_length=2), "min_length (=2) must be at least 3."),
        (lambda: formal.BinaryMultiplication().sample(rng(), 1, length=2), "length (=2) must be at least 3."),
        (lambda: formal.BucketSort().sample(rng(), 1, length=0), "length (=0) must be at least 1."),
        (lambda: formal.OddsFirst().sample(rng(), 1, items=3), "OddsFirst has no difficulty 'items'; it has length."),
    ],
)
def test_what_is_out_of_range_is_named(make, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        make()


@each
def test_symbols_have_names(task):
    made = task()
    assert len({*made.input_names}) == len(made.input_names) == made.input_size
    assert len({*made.answer_names}) == len(made.answer_names) == made.answer.size
    assert (made.input_names[-1], "end" in made.answer_names) == ("empty", made.answer.end is not None)


def test_an_expression_reads_as_it_is_written():
    for task in (formal.ModularArithmetic(), formal.ModularArithmeticBrackets()):
        batch = task.batch(1, "evaluation", 0, 1, length=9)
        *written, asks = (task.input_names[row] for row in batch.inputs[0].argmax(-1).tolist())
        assert asks == "empty"
        assert eval("".join(written)) % 5 == int(task.answer_names[batch.targets[0, -1]])
