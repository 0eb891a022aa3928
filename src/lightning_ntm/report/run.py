"""One run, as a report needs it: what it measured, its configuration, and whether it finished."""

import math
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from lightning_ntm.measures import BITS_PER_SEQUENCE, Measure, Measures
from lightning_ntm.records import Measured, RunFolder, Series
from lightning_ntm.records.configuration import config_of
from lightning_ntm.records.files import read_object
from lightning_ntm.records.labels import shorten
from lightning_ntm.report.statistics import first_beyond


@dataclass(frozen=True, eq=False)
class Run:
    """One seed: its measurements, its configuration by dotted name, and whether it finished.

    Args:
        measures: Declarations of what it measures.
        number: Its place among all runs of the report.
        status: `finished`, `failed` or `unfinished`, with `reason` in words for the last two.
        notes: Who trained it and with what, oldest first.
        evaluation: What its kept weights reach at chosen difficulties.
        outdated: Whether the weights that are kept now are not the ones that were evaluated.
        evaluation_version: Of the episodes of the evaluation; 0 without one.
        ranges: What its kept weights reach over ranges of lengths, as `evaluate_range` returns it.
        folder: Its folder.
    """

    measures: Measures
    number: int
    name: str
    seed: int
    task: str
    train: Series
    validation: Series
    config: dict[str, Any]
    status: str
    reason: str
    notes: list[dict[str, Any]]
    evaluation: list[dict[str, Any]]
    outdated: bool
    evaluation_version: int
    ranges: list[dict[str, Any]] = field(default_factory=list)
    folder: Path = Path()

    @property
    def ended(self) -> bool:
        """Whether it finished or failed."""
        return self.status != "unfinished"

    @cached_property
    def best(self) -> float | None:
        """The best value of the goal in a validation; `None` where there is none."""
        goal = self.measures.goal
        if goal is None or not np.isfinite(values := self.validation.values[goal.name]).any():
            return None
        return float(np.nanmin(values) if goal.better == "lower" else np.nanmax(values))

    @property
    def solved(self) -> bool:
        """Whether its best validation reaches the goal."""
        goal = self.measures.goal
        return goal is not None and self.best is not None and goal.reaches(self.best, goal.solved)

    def final(self, measure: str) -> float | None:
        """Return the last validation of a measure; `None` when there was no validation."""
        values = self.validation.values[measure]
        return float(values[-1]) if len(values) else None

    @cached_property
    def close(self) -> tuple[float, float]:
        """Batches and seconds until the first validation that is close to the goal; infinite when there is none."""
        goal = self.measures.goal
        place = first_beyond(self.validation.values[goal.name], goal.close, goal.better) if goal else None
        if place is None:
            return float("inf"), float("inf")
        return float(self.validation.step[place]), float(self.validation.seconds[place])

    def chance(self, measure: Measure) -> float:
        """Return what guessing reaches in validation; NaN where that is not known."""
        if measure.chance is None or measure.above:
            return math.nan
        if measure.better == "higher":
            return measure.chance
        noted = self.notes[-1] if self.notes else {}
        units = noted.get("units_per_sequence")
        if measure.name != BITS_PER_SEQUENCE.name:  # the cost is that of all units, other measures stop at the end
            units = noted.get("measured_units_per_sequence", units)
        return measure.chance * units if isinstance(units, int | float) and 0 < units < math.inf else math.nan

    @property
    def step_seconds(self) -> float | None:
        """Seconds of training per batch, without validation; `None` before the first measurement."""
        last = [series for series in (self.train, self.validation) if len(series.step)][:1]
        return float(last[0].seconds[-1] / last[0].step[-1]) if last else None


def run_of(number: int, one: Measured) -> Run:
    """Return what a report needs of a run.

    Raises:
        OSError: A file of it cannot be read.
        ValueError: A file of it is damaged.
    """
    config, notes = config_of(one.folder), one.folder.notes()
    measured = (one.name, one.seed, one.task, one.train, one.validation)
    evaluation, outdated, version, ranges = _evaluation(one.folder, one.measures)
    known = (*measured, config, *_ending(one), notes)
    return Run(one.measures, number, *known, evaluation, outdated, version, ranges, folder=one.folder.path)


def _ending(one: Measured) -> tuple[str, str]:
    """Return how a run ended; one that was resumed after its result has measurements beyond it."""
    folder = one.folder
    last = max((int(series.step[-1]) for series in (one.train, one.validation) if len(series.step)), default=0)
    if folder.result.exists() and folder.outcome(folder.result) >= last:
        return "finished", ""
    if folder.failed.exists():
        told = read_object(folder.failed)
        message = shorten(str(told.get("message", "no message")))
        return "failed", f"given up after {shorten(str(told.get('attempts', '?')))} attempts: {message}"
    if folder.nonfinite.exists() and (step := folder.outcome(folder.nonfinite)) > last:
        return "failed", f"loss or gradient was not finite in step {step}"
    return "unfinished", f"stands at step {last:,}" if last else "has not measured anything yet"


def _evaluation(folder: RunFolder, measures: Measures) -> tuple[list[dict[str, Any]], bool, int, list[dict[str, Any]]]:
    step, results, version, ranges = folder.results()
    needed = {*(measure.name for measure in measures.each if not measure.above), "perfect", "sequences"}
    if not all(_measured(row, needed) for row in (*results, *(row for one in ranges for row in one["results"]))):
        raise ValueError(f"{folder.evaluation.name} is damaged: its results lack a measure.")
    # JSON has no NaN, which is the cost of a network that answers NaN.
    rows = ({name: math.nan if value is None else value for name, value in row.items()} for row in results)
    whole = [row for row in rows if row.pop("answer", "whole") == "whole"]  # not parts of an answer
    outdated = bool(whole or ranges) and folder.kept_step() not in (None, step)
    return whole, outdated, version, ranges


def _measured(row: dict[str, Any], needed: set[str]) -> bool:
    if not all(isinstance(row.get(name, ""), int | float | None) for name in needed):
        return False
    return isinstance(row["sequences"], int) and row["sequences"] > 0 and 0 <= (row["perfect"] or 0) <= 1
