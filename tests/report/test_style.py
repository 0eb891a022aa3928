import re

import numpy as np
import pytest

from lightning_ntm.measures import brief
from lightning_ntm.report import formats
from lightning_ntm.report.style import floor_of, new_figure, peaks, scale_axis


def test_a_slot_that_is_looked_at_shows_where_there_are_more_than_points():
    weights = np.eye(1024)[np.arange(2003) % 1024].T
    drawn = peaks(weights, rows=100, columns=500)
    assert drawn.shape == (100, 500)
    assert (drawn.max(axis=0) == 1).all()  # in each step a slot
    assert (drawn.max(axis=1) == 1).all()  # and each slot in some step
    few = np.where(weights[:7, :9] > 0, 1, np.nan)
    np.testing.assert_array_equal(peaks(few), few)


@pytest.mark.parametrize(("scale", "top"), [("linear", 200), ("log", 1200)])
def test_an_axis_ends_above_what_is_drawn(scale, top):
    _, (axis,) = new_figure()
    costs = np.array([180.0, 133.0])
    axis.plot(costs)
    scale_axis(axis, scale, floor_of(costs))
    assert 180 < axis.get_ylim()[1] < top


def shown(axis):
    axis.figure.draw_without_rendering()
    return [label.get_text() for label in axis.get_xticklabels() if label.get_text()]


def test_an_axis_has_each_step_once_and_without_measurements_none():
    _, [measured, empty] = new_figure(2)
    measured.plot([1], [0.5])
    empty.axhline(12)  # chance, at any step
    for axis in (measured, empty):
        scale_axis(axis, "linear", 0.1)
    assert shown(measured) == ["1"]
    assert (shown(empty), [text.get_text() for text in empty.texts]) == ([], ["nothing was measured"])


@pytest.mark.parametrize("value", [-0.0, -1e-9, -0.004, -0.04, -0.4])
def test_no_number_is_minus_zero(value):
    written = [
        formats._written(value, 150.0), formats._written(value, 1.0), formats.count(value), formats.number(value),
        formats.duration(value), brief(value),
    ]  # fmt: skip
    for text in " ".join(written).split():
        assert not re.fullmatch(r"-0(\.0*)?", text), written
