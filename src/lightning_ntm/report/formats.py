"""How numbers are written in a report, alike everywhere."""

import math

from lightning_ntm.measures import LONG
from lightning_ntm.report.statistics import Spread


def number(value: float | None) -> str:
    """Return a measured number with two decimals, from 100 on with none, below 0.005 with one digit.

    A dash stands for NaN, `never` for infinity.
    """
    if value is None or math.isnan(value):
        return "&ndash;"
    if math.isinf(value):
        return "never"
    return _written(value, value)


def count(value: float | None) -> str:
    """Return a number of batches or seconds: whole, with a comma for thousands."""
    if value is None or not math.isfinite(value):
        return number(value)
    return f"{value:z,.0f}" if value >= 10 or value == round(value) else f"{value:z.1f}"


def mean_and_std(of: Spread, runs: int) -> str:
    """Return a mean and the standard deviation, with the decimals of the smaller one; of one run the number alone."""
    if runs < 2 or not math.isfinite(of.mean):
        return number(of.mean) if runs else "&ndash;"
    like = of.mean if of.std == 0 or abs(of.mean) < 100 else min(abs(of.mean), 10 * of.std)
    return f"{_written(of.mean, like)} ± {_written(of.std, like)}"


def of_seeds(finite: int, seeds: int) -> str:
    """Return of how many seeds numbers are, where others have no finite value; else nothing."""
    return f"{finite} of {seeds} seeds" if 0 < finite < seeds else ""


def _written(value: float, like: float) -> str:
    if abs(value) >= LONG:
        return f"{value:.3g}"
    if abs(like) >= 100:
        return f"{value:z,.0f}"
    return f"{value:z.2f}" if abs(like) >= 0.005 or abs(value) >= 0.005 or value == 0 else f"{value:z.1g}"


def chance_of_error(share: float) -> str:
    """Return a p-value."""
    return "&lt; 0.001" if share < 0.001 else f"{share:z.2g}" if share < 0.1 else f"{share:z.2f}"


def duration(seconds: float | None) -> str:
    """Return a time in hours, minutes, seconds or milliseconds."""
    if seconds is None or not math.isfinite(seconds):
        return number(seconds)
    for size, unit in ((3600, "h"), (60, "min"), (1, "s")):
        if seconds >= 2 * size:
            return f"{seconds / size:z.1f} {unit}"
    return f"{seconds * 1000:z.3g} ms" if seconds < 0.1 else f"{seconds:z.2g} s"
