"""Pictures of stacks and tapes: what they show against what was put in."""

import re

import numpy as np
import pytest
import torch

from lightning_ntm import NTM, ReverseString, StackRNN, TapeRNN
from lightning_ntm.evaluation.trace import trace_episode
from lightning_ntm.models import StackMemory
from lightning_ntm.report.cells import around, stack_cells, tape_cells
from lightning_ntm.report.memory import draw_memory

VECTORS = np.array([[3.0, 4.0], [-3.0, -4.0]])  # along one direction, of length 5


def test_a_stack_is_shown_down_to_the_deepest_slot_that_is_used():
    stack = np.zeros((3, 9, 2))
    stack[0, 0], stack[1, :2], stack[2, 0] = VECTORS[0], VECTORS, VECTORS[1]
    shades, slots, heads = stack_cells(stack)
    np.testing.assert_allclose(shades, [[5, 0, 0, 0], [5, -5, 0, 0], [-5, 0, 0, 0]], atol=1e-12)
    assert slots.tolist() == [0, 1, 2, 3]
    assert heads is None
    assert stack_cells(stack[:, :2]).slots.tolist() == [0, 1]
    assert not stack_cells(np.zeros((2, 9, 2))).shades.any()


def test_cells_of_a_tape_stay_where_they_were_written():
    """Writes 1, 2, 3 from cell 0 to the left, then jumps back by 3 and stays."""
    actions = np.eye(5)[[1, 1, 1, 4, 0]]
    moves = np.tile([0, -1, 1, -3, 3], (5, 1))
    fixed, head, tapes = np.zeros((12, 2)), 0, []
    for step, move in enumerate((actions * moves).sum(axis=1).astype(int)):
        if step < 3:
            fixed[head] = (step + 1) * VECTORS[0]
        head = (head + move) % 12
        tapes.append(np.roll(fixed, -head, axis=0))
    shades, slots, heads = tape_cells(np.array(tapes), actions, moves)
    assert slots.tolist() == [7, 8, 9, 10, 11, 0, 1, 2]
    assert [slots[int(row)] for row in heads] == [11, 10, 9, 0, 0]
    of = dict(zip(slots.tolist(), shades.T, strict=True))
    np.testing.assert_allclose(of[0], 5, atol=1e-12)
    np.testing.assert_allclose(of[11], [0, 10, 10, 10, 10], atol=1e-12)
    np.testing.assert_allclose(of[10], [0, 0, 15, 15, 15], atol=1e-12)
    assert not of[9].any()


def test_slots_are_a_run_around_the_circle():
    assert around(np.isin(np.arange(20), [0, 1, 18])).tolist() == [16, 17, 18, 19, 0, 1, 2, 3]
    assert around(np.zeros(5, bool)).tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("network", "titles", "rows"),
    [
        (
            StackRNN(3, 2, num_stacks=2, memory_slots=50),
            [r"Stack, stack 1 \(slots 0 to ", r"Stack, stack 2 \(slots 0 to ", "Stack actions, stack 1"],
            ["push", "pop", "no-op"],
        ),
        (
            TapeRNN(3, 2, memory_slots=50, length_oracle=True),
            ["Tape", "Tape actions"],
            ["stay", "left", "right", "jump left", "jump right"],
        ),
        (
            NTM(3, 2, memory=StackMemory(6, 3)),
            [r"Stack( \(slots 0 to . of 6\))?: top in slot 0", "Stack actions"],
            ["push", "pop", "no-op"],
        ),
    ],
    ids=["stacks", "tape", "NTM with a stack"],
)
def test_a_trace_is_drawn(network, titles, rows):
    task = ReverseString()
    trace = trace_episode(network, task, {"length": 4})
    figure = draw_memory(trace, "a run", task.answer.unit)
    axes = [axis for axis in figure.axes if axis.get_title(loc="left")]
    named = {axis.get_title(loc="left"): axis for axis in axes}
    for title in titles:
        assert any(re.match(title, name) for name in named), title
    last = next(axis for name, axis in named.items() if re.match(titles[-1], name))
    assert [last.yaxis.get_major_formatter()(row, 0) for row in range(len(rows))] == rows


def test_the_head_is_drawn_over_its_tape():
    torch.manual_seed(0)
    task = ReverseString()
    trace = trace_episode(TapeRNN(3, 2), task, {"length": 4})
    figure = draw_memory(trace, "a run", task.answer.unit)
    (tape,) = [axis for axis in figure.axes if axis.get_title(loc="left").startswith("Tape (")]
    (dots,) = tape.lines
    expected = tape_cells(trace["tapes"][:, 0], trace["tape_actions"][:, 0], trace["moves"])
    np.testing.assert_array_equal(dots.get_ydata(), expected.heads)
