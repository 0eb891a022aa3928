"""Intervals of shares against other ways to the same numbers."""

import statistics

import numpy as np
import pytest
from hypothesis import given, strategies as st

from lightning_ntm.intervals import in_words, none_of, wilson

shares = st.integers(1, 500).flatmap(lambda tried: st.tuples(st.integers(0, tried), st.just(tried)))


@given(shares)
def test_wilson_bounds_are_the_shares_just_z_deviations_from_what_was_seen(share):
    solved, tried = share
    low, high = wilson(solved, tried)
    z = statistics.NormalDist().inv_cdf(0.975)
    # (seen - p)^2 = z^2 p (1 - p) / n as a polynomial in p
    seen = solved / tried
    roots = np.sort(np.roots([1 + z**2 / tried, -2 * seen - z**2 / tried, seen**2]).real)
    assert [low, high] == pytest.approx(roots.tolist(), abs=1e-6)  # roots near 0 are found to about 1e-8


@given(shares)
def test_wilson_holds_what_was_seen_and_mirrors(share):
    solved, tried = share
    low, high = wilson(solved, tried)
    assert 0 <= low <= solved / tried <= high <= 1
    mirrored = wilson(tried - solved, tried)
    assert [low, high] == pytest.approx([1 - mirrored[1], 1 - mirrored[0]])
    more = wilson(10 * solved, 10 * tried)
    assert more[1] - more[0] < high - low


def test_wilson_as_published():
    assert wilson(10, 10) == pytest.approx((0.7225, 1), abs=1e-4)
    assert wilson(9, 10) == pytest.approx((0.5958, 0.9821), abs=1e-4)
    assert wilson(0, 0) == (0, 1)
    with pytest.raises(ValueError, match="between 0 and tried"):
        wilson(3, 2)


@given(st.integers(1, 10**6))
def test_the_largest_share_of_which_none_may_be_seen_is_seen_one_time_in_twenty(tried):
    share = none_of(tried)
    assert (1 - share) ** tried == pytest.approx(0.05)
    assert share < 3 / tried  # the rule of three


def test_shares_of_which_none_was_seen_in_words():
    assert [in_words(none_of(tried)) for tried in (1, 10, 100, 1000)] == [
        f"at most {number} in 100" for number in ("95", "26", "3", "0.3")
    ]
