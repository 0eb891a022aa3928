"""Runs can be compared if they measure the same things in the same way."""

import math
from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from lightning_ntm.measures import Measure, Measures
from lightning_ntm.records import Series
from lightning_ntm.report.run import Run


def comparable(runs: list[Run]) -> tuple[list[Run], str, list[str]]:
    """Return runs that all have the same measures.

    Some runs may have been measured without the optimum, by an earlier version. Then it is left out for all.

    Returns:
        The runs, the label of the measure that is left out, and the names of the runs for which it is; an empty label
        and no names where nothing is left out.

    Raises:
        ValueError: Runs measure different things.
    """
    validated = [run for run in runs if len(run.validation.step)] or runs
    without = [run for run in validated if not run.measures.with_optimum]
    _check(runs, {_meaning(run.measures, whole=False) for run in runs})
    _check(without or validated, {_meaning(run.measures) for run in without or validated})
    measures = (without or validated)[0].measures
    if not without or len(without) == len(validated):
        return [_measured_by(measures, run) for run in runs], "", []
    told = next((one.title for run in validated for one in run.measures.each if one.above), "the optimum")
    alike = [_measured_by(measures, run, math.nan) for run in runs]
    return alike, told, [run.name for run in without]


def _measured_by(measures: Measures, run: Run, optimum: float | None = None) -> Run:
    """Return a run with other declarations, and with another optimum if one is given."""
    known = run.validation.optimum if optimum is None else optimum
    train = replace(run.train, values=_filled(run.train, measures))
    validation = replace(run.validation, values=_filled(run.validation, measures), optimum=known)
    return replace(run, measures=measures, train=train, validation=validation)


def _filled(series: Series, measures: Measures) -> dict[str, np.ndarray]:
    return {name: np.full(len(series.step), np.nan) for name in measures.names} | series.values


def _meaning(measures: Measures, *, whole: bool = True) -> tuple[object, ...]:
    """Return what must agree: texts may differ between versions. In part, only what any version measures."""
    if not whole:
        return tuple(sorted((measure.name, measure.better) for measure in measures.each if not measure.above))
    return tuple((one.name, one.better, one.solved, one.near, one.optimum, one.above) for one in measures.each)


def _check(runs: Iterable[Run], meanings: set[tuple[object, ...]]) -> None:
    if len(meanings) < 2:
        return
    example: dict[str, str] = {}
    for run in runs:
        example.setdefault(", ".join(map(_told, run.measures.each)), run.name)
    told = "; ".join(f"{measures} ({name})" for measures, name in example.items())
    raise ValueError(f"the runs have different measures: {told}; report them apart.")


def _told(measure: Measure) -> str:
    return measure.label if measure.solved is None else f"{measure.label}, solved at {measure.solved:g}"
