import pytest

from lightning_ntm.checks import at_least, at_most, one_of, ordered


def test_a_word_that_is_not_allowed_is_told_with_those_that_are():
    one_of(("lstm", "feedforward"), controller="lstm")
    with pytest.raises(ValueError, match=r"controller \(='gru'\) must be one of lstm, feedforward"):
        one_of(("lstm", "feedforward"), controller="gru")


def test_numbers_out_of_range_or_order_are_told_by_name():
    at_least(1, bits=1)
    at_most(1, priority=1.0)
    ordered(min_length=2, max_length=2)
    with pytest.raises(ValueError, match=r"priority \(=1\.5\) must be at most 1\."):
        at_most(1, other=0, priority=1.5)
    for check in (at_least, at_most):
        with pytest.raises(ValueError, match=r"priority \(=nan\)"):
            check(0, priority=float("nan"))
    with pytest.raises(ValueError, match=r"bits \(=0\) must be at least 1"):
        at_least(1, length=2, bits=0)
    with pytest.raises(ValueError, match=r"min_length \(=3\) must be at most max_length \(=2\)"):
        ordered(min_length=3, max_length=2)
