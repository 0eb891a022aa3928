"""The arithmetic of the report: summaries of several runs."""

import math
from typing import Literal, NamedTuple

import numpy as np

#: No grid of steps is finer than this: a figure has fewer points across.
_GRID = 500


class Spread(NamedTuple):
    """A summary of the numbers of several runs; the standard deviation is that of these numbers (divided by n)."""

    mean: float
    std: float
    median: float
    worst: float


class Aligned(NamedTuple):
    """Curves of several runs brought to the same steps, and at each step their mean, deviation, median and lowest.

    All have the shape `(steps,)`.
    """

    step: np.ndarray
    mean: np.ndarray
    std: np.ndarray
    median: np.ndarray
    least: np.ndarray


class Compared(NamedTuple):
    """A comparison of two samples.

    Args:
        superiority: Share of pairs in which the first is lower, where equal ones count half.
        p: Two-sided p-value.
        least: The lowest p-value that samples of these sizes can have.
    """

    superiority: float
    p: float
    least: float


def mann_whitney(first: list[float], second: list[float]) -> Compared:
    """Compare two samples by the Mann-Whitney U test.

    The p-value is exact, with ties: of all ways to divide the values into samples of these sizes, the share of those
    whose rank sum is at least as far from its mean as the one observed.

    Args:
        first: At least one number; infinite ones are larger than all others.
        second: At least one number.
    """
    values = np.array([*first, *second])
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks = (2 * np.cumsum(counts) - counts + 1)[places]  # twice the mean rank of equal values, so that it is whole
    few, many = len(first), len(second)
    observed = int(ranks[:few].sum())
    sums = np.zeros((few + 1, int(ranks.sum()) + 1))  # number of ways by size of the sample and sum
    sums[0, 0] = 1
    for rank in ranks:
        sums[1:, rank:] += sums[:-1, : sums.shape[1] - rank].copy()
    ways, middle = sums[few] / sums[few].sum(), few * (few + many + 1)
    far = np.abs(np.arange(len(ways)) - middle)
    u = (observed - few * (few + 1)) / 2
    p = float(ways[far >= abs(observed - middle)].sum())
    return Compared(1 - u / (few * many), min(1.0, p), float(ways[far == far[ways > 0].max()].sum()))


def spread(values: list[float], better: Literal["lower", "higher"] = "lower") -> Spread:
    """Return mean, standard deviation, median and worst of some numbers; NaN of none."""
    if not values:
        return Spread(*[math.nan] * 4)
    found = np.asarray(values)
    worst = found.max() if better == "lower" else found.min()
    return Spread(float(found.mean()), float(found.std()), float(np.median(found)), float(worst))


def reached(values: list[float]) -> tuple[float, float]:
    """Return the median and the largest step at which runs reached something; infinite where a run never did."""
    if not values:
        return math.nan, math.nan
    ordered = sorted(values)
    middle = ordered[(len(ordered) - 1) // 2 : len(ordered) // 2 + 1]
    return sum(middle) / len(middle), ordered[-1]


def first_beyond(values: np.ndarray, threshold: float, better: Literal["lower", "higher"] = "lower") -> int | None:
    """Return the place of the first number that is better than a threshold, if there is any."""
    found = np.flatnonzero(values < threshold if better == "lower" else values > threshold)
    return int(found[0]) if found.size else None


def align(curves: list[tuple[np.ndarray, np.ndarray]], ended: list[bool]) -> Aligned:
    """Bring curves to common steps, and summarise them there.

    The steps are all at which any run measured (500 of them, evenly spread, when there are more).
    Between two of its measurements a run counts with the straight line between them. After its last,
    one that has ended keeps that value, so that runs which stop early, solved or failed, are not
    lost from the mean; one that still trains counts as far as it has come. Before its first
    measurement a run does not count. Where no run counts, there is no step.

    Args:
        curves: Steps, rising, and the values measured at them; values that are not finite do not count.
        ended: For each curve, whether its run will not go on.
    """
    finite, steps = _finite(curves)
    if len(steps) > _GRID:
        steps = np.unique(steps[np.linspace(0, len(steps) - 1, _GRID).round().astype(int)])
    table = np.full((max(1, len(curves)), len(steps)), np.nan)
    for row, (step, value), over in zip(table, finite, ended, strict=False):
        if step.size:
            row[:] = np.interp(steps, step, value, left=np.nan, right=value[-1] if over else np.nan)
    return _summary(steps, table)


def gather(curves: list[tuple[np.ndarray, np.ndarray]]) -> Aligned:
    """Summarise curves at each of their places over those that were measured there, and over no others.

    Args:
        curves: Places, each once, and the values measured at them; values that are not finite do not count.
    """
    return _summary(*_table(curves))


def envelope(
    curves: list[tuple[np.ndarray, np.ndarray]],
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return places, and at each the lowest, the middle and the highest of the curves that were measured there."""
    places, table = _table(curves)
    if not places.size:
        return places, places, places, places
    return places, np.nanmin(table, axis=0), np.nanmedian(table, axis=0), np.nanmax(table, axis=0)


def _table(curves: list[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    """Return all places, and a row for each curve with NaN where it was not measured."""
    finite, places = _finite(curves)
    table = np.full((max(1, len(curves)), len(places)), np.nan)
    for row, (place, value) in zip(table, finite, strict=False):
        row[np.searchsorted(places, place)] = value
    return places, table


def _finite(curves: list[tuple[np.ndarray, np.ndarray]]) -> tuple[list[tuple[np.ndarray, np.ndarray]], np.ndarray]:
    finite = [(step[np.isfinite(value)], value[np.isfinite(value)]) for step, value in curves]
    return finite, np.unique(np.concatenate([step for step, _ in finite] or [np.empty(0)])).astype(float)


def _summary(steps: np.ndarray, table: np.ndarray) -> Aligned:
    if not steps.size:
        return Aligned(*[steps] * len(Aligned._fields))
    summaries = (np.nanmean, np.nanstd, np.nanmedian, np.nanmin)
    return Aligned(steps, *(summary(table, axis=0) for summary in summaries))
