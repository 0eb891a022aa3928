"""The arithmetic of the report against other ways to the same numbers."""

import math
import statistics

import numpy as np
import pytest
from hypothesis import given, strategies as st

from lightning_ntm.report.statistics import align, first_beyond, gather, reached, spread


@given(st.lists(st.floats(0, 1e6), min_size=1))
def test_spread_is_that_of_the_standard_library(values):
    told = spread(values)
    assert told.mean == pytest.approx(statistics.fmean(values))
    assert told.std == pytest.approx(statistics.pstdev(values), abs=1e-6 * (1 + max(values)))
    assert told.median == pytest.approx(statistics.median(values))
    assert told.worst == max(values)


def test_the_spread_of_nothing_is_no_number():
    assert all(math.isnan(value) for value in spread([]))


def test_a_run_that_never_got_there_counts_as_infinity():
    never = math.inf
    assert reached([100, 300, 200]) == (200, 300)
    assert reached([100, 200, never]) == (200, never)
    assert reached([100, 200, never, never]) == (never, never)
    assert all(math.isnan(value) for value in reached([]))


def test_the_place_of_the_first_value_that_is_better_than_a_threshold():
    assert first_beyond(np.array([3.0, 0.1, 0.09, 5.0, 0.0]), 0.1) == 2
    assert first_beyond(np.array([np.nan, 1.0]), 0.1) is None
    assert first_beyond(np.array([0.5, np.nan, 0.9, 0.91]), 0.9, "higher") == 3
    assert first_beyond(np.array([0.5, 0.9]), 0.9, "higher") is None


def test_the_worst_share_is_the_smallest():
    assert spread([0.5, 1.0, 0.75], "higher").worst == 0.5
    assert spread([0.5, 1.0, 0.75]).worst == 1.0


def test_curves_are_aligned_by_straight_lines_and_ended_ones_keep_their_last_value():
    curves = [
        (np.array([10, 20, 30]), np.array([8.0, 4.0, 0.0])),
        (np.array([10, 30]), np.array([6.0, 2.0])),  # 4 at step 20
        (np.array([20]), np.array([1.0])),  # ended: 1 at step 30, nothing at step 10
    ]
    aligned = align(curves, [True, True, True])
    assert aligned.step.tolist() == [10, 20, 30]
    assert aligned.mean.tolist() == [7, 3, 1]
    assert aligned.median.tolist() == [7, 4, 1]
    assert aligned.std.tolist() == pytest.approx([1, math.sqrt(2), math.sqrt(2 / 3)])
    unfinished = align(curves, [True, True, False])
    assert unfinished.mean.tolist() == [7, 3, 1]
    assert unfinished.std.tolist() == pytest.approx([1, math.sqrt(2), 1])


def test_what_was_not_measured_at_a_place_does_not_count_there():
    curves = [(np.array([0.0, 2.0]), np.array([8.0, 0.0])), (np.array([0.0, 1.0]), np.array([4.0, np.nan]))]
    gathered = gather(curves)
    assert gathered.step.tolist() == [0, 2]
    assert gathered.mean.tolist() == gathered.median.tolist() == [6, 0]
    assert gathered.std.tolist() == [2, 0]
    assert gather([]).step.size == 0


def test_values_that_are_not_finite_do_not_count():
    aligned = align([(np.array([1, 2, 3]), np.array([4.0, np.nan, 2.0]))], [True])
    assert aligned.step.tolist() == [1, 3]
    assert aligned.mean.tolist() == [4, 2]
    assert align([], []).step.size == 0
    assert align([(np.array([1]), np.array([np.nan]))], [True]).step.size == 0


@given(st.lists(st.lists(st.floats(0, 100), min_size=1, max_size=40), min_size=1, max_size=5))
def test_the_mean_of_curves_stays_between_them(values):
    curves = [(np.arange(1, len(value) + 1), np.array(value)) for value in values]
    aligned = align(curves, [True] * len(curves))
    assert aligned.step.size == max(map(len, values))
    largest = max(map(max, values))
    assert (aligned.mean >= 0).all()
    assert (aligned.mean <= largest + 1e-9).all()


def test_very_many_steps_are_thinned_with_both_ends_kept():
    aligned = align([(np.arange(5000), np.arange(5000.0))], [True])
    assert aligned.step.size == 500
    assert (aligned.step[0], aligned.step[-1]) == (0, 4999)
    assert (aligned.mean == aligned.step).all()
