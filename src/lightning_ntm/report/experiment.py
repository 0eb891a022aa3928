"""What stands in run folders, as a report needs it: runs, and the networks they are seeds of."""

import json
import math
from collections import defaultdict
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from lightning_ntm.records import Measured, RunFolder, Series, Skipped, read
from lightning_ntm.records.configuration import flat_config
from lightning_ntm.records.files import CONFIG_BYTES, read_object, read_text
from lightning_ntm.records.reading import MEASURES, REGRET
from lightning_ntm.report.configuration import labels, shorten
from lightning_ntm.report.defaults import filled_in
from lightning_ntm.report.statistics import first_below


class Goal(NamedTuple):
    """When a run counts as having learned its task.

    Args:
        measure: What tells.
        near: Below this much of it a run is close.
        solved: The best validation of a solved run has at most this much.
        unit: Of the measure, in words.
        close: What it is below when it is close, in words.
        means: What is true of a solved run, as a sentence.
    """

    measure: str
    near: float
    solved: float
    unit: str
    close: str
    means: str


#: Of a task whose answers follow from what was shown.
CLEAN = Goal("wrong_bits", 0.1, 0.0, "wrong bits", "0.1 wrong bits", "In its best validation no bit was wrong.")
#: Of a task that nobody can answer without a wrong bit, but whose best possible cost is known.
OPTIMAL = Goal(REGRET, 1.0, 1.0, "bits of regret", "1 bit of regret",
               "Its best validation cost at most one bit more than the optimum.")  # fmt: skip


@dataclass(frozen=True, eq=False)
class Run:
    """One seed: its measurements, its configuration by dotted name, and how it ended.

    Args:
        number: Its place among all runs of the report.
        status: `finished`, `failed` or `unfinished`, with `reason` in words for the last two.
        notes: Who trained it and with what, oldest first.
        evaluation: What its kept weights reach at chosen difficulties.
        outdated: Whether other weights are kept by now than were evaluated.
        evaluation_version: Of the episodes of the evaluation; 0 without one.
    """

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

    @property
    def ended(self) -> bool:
        """Whether it will not go on by itself."""
        return self.status != "unfinished"

    @cached_property
    def goal(self) -> Goal:
        """What it means that this run has learned its task."""
        return CLEAN if math.isnan(self.validation.optimal_bits) else OPTIMAL

    @cached_property
    def best(self) -> float | None:
        """The least of the goal's measure in a validation."""
        values = getattr(self.validation, self.goal.measure)
        return float(np.nanmin(values)) if np.isfinite(values).any() else None

    @property
    def solved(self) -> bool:
        """Whether its best validation reaches the goal."""
        return self.best is not None and self.best <= self.goal.solved

    def final(self, measure: str) -> float | None:
        """Return the last validation of a measure; none when there was no validation."""
        values = getattr(self.validation, measure)
        return float(values[-1]) if len(values) else None

    @cached_property
    def close(self) -> tuple[float, float]:
        """Batches and seconds until the first validation that is close to the goal; infinite when there is none."""
        place = first_below(getattr(self.validation, self.goal.measure), self.goal.near)
        if place is None:
            return float("inf"), float("inf")
        return float(self.validation.step[place]), float(self.validation.seconds[place])

    @property
    def step_seconds(self) -> float | None:
        """Seconds of training a batch, validation left out; none before the first measurement."""
        last = [series for series in (self.train, self.validation) if len(series.step)][:1]
        return float(last[0].seconds[-1] / last[0].step[-1]) if last else None


@dataclass(frozen=True, eq=False)
class Network:
    """The runs that differ in nothing but their seed.

    Args:
        label: The class of the network, and what tells it from others of its class.
        color: Its place among the colours.
    """

    label: str
    color: int
    runs: list[Run]

    @property
    def tried(self) -> list[Run]:
        """Runs that ended, by finishing or by failing."""
        return [run for run in self.runs if run.ended]

    @property
    def optimal_bits(self) -> float:
        """Mean over runs of what the best possible network would cost in validation; NaN where no task knows it."""
        known = [bits for run in self.runs if not math.isnan(bits := run.validation.optimal_bits)]
        return float(np.mean(known)) if known else math.nan

    @property
    def solved(self) -> int:
        """How many of those tried are solved."""
        return sum(run.solved for run in self.tried)


@dataclass(frozen=True, eq=False)
class Experiment:
    """All that a report is about; those networks come first that do best."""

    networks: list[Network]
    skipped: list[Skipped] = field(default_factory=list)
    without_optimum: list[str] = field(default_factory=list)  # the runs for whose sake no regret is told
    old_evaluations: list[str] = field(default_factory=list)  # the runs whose evaluations others cannot be compared to

    @property
    def runs(self) -> list[Run]:
        """All runs that were read."""
        return sorted((run for network in self.networks for run in network.runs), key=lambda run: run.number)

    @property
    def task(self) -> str:
        """The task of all runs."""
        return self.runs[0].task

    @property
    def goal(self) -> Goal:
        """What it means that a run has learned the task."""
        return _goal_of(self.runs)

    @property
    def measures(self) -> tuple[str, ...]:
        """The measures there are, the goal's first."""
        return tuple(dict.fromkeys((self.goal.measure, *MEASURES)))


def read_experiment(*folders: Path | str) -> Experiment:
    """Read the runs of one task in some folders.

    Raises:
        ValueError: A folder does not exist or has no run in it, none of its runs can be read, they
            are of different tasks, or of different versions of the task's data.
    """
    measured, skipped = read(*folders)
    runs: list[Run] = []
    for one in measured:
        try:
            runs.append(_run(len(runs), one))
        except (ValueError, OSError) as error:
            skipped.append(Skipped.of(one.name, one.folder, error))
    if not runs:
        reasons = "; ".join(f"{run.folder.path}: {run.reason}" for run in skipped[:3])
        raise ValueError(f"none of {len(skipped)} runs can be reported ({reasons})")
    _check_one_task(runs)
    runs, old = _of_one_version(runs)
    configs = filled_in([run.config for run in runs])
    runs = [replace(run, config=config) for run, config in zip(runs, configs, strict=True)]
    compared = _comparable(runs)
    without = [] if compared is runs else [run.name for run in runs if run.goal is CLEAN and len(run.validation.step)]
    return Experiment(_networks(compared), skipped, without, old)


def _of_one_version(runs: list[Run]) -> tuple[list[Run], list[str]]:
    """Return runs with evaluations on the latest version of the episodes alone, and the names of the others."""
    latest = max(run.evaluation_version for run in runs)
    old = [run.name for run in runs if 0 < run.evaluation_version < latest]
    return [replace(run, evaluation=[]) if run.name in old else run for run in runs], old


def _goal_of(runs: list[Run]) -> Goal:
    return OPTIMAL if any(run.goal is OPTIMAL for run in runs) else CLEAN


def _comparable(runs: list[Run]) -> list[Run]:
    """Return runs without their optimum, if there are others that were measured without it."""
    if len({run.goal for run in runs if len(run.validation.step)}) < 2:
        return runs
    return [replace(run, validation=replace(run.validation, optimal_bits=math.nan)) for run in runs]


def _run(number: int, one: Measured) -> Run:
    config, notes = flat_config(read_text(one.folder.config, CONFIG_BYTES)), one.folder.notes()
    measured = (one.name, one.seed, one.task, one.train, one.validation)
    evaluation, outdated, version = _evaluation(one.folder)
    return Run(number, *measured, config, *_ending(one), notes, evaluation, outdated, version)


def _ending(one: Measured) -> tuple[str, str]:
    """Return how a run ended; one that was resumed after its result has measurements beyond it."""
    folder, last = (
        one.folder,
        max((int(series.step[-1]) for series in (one.train, one.validation) if len(series.step)), default=0),
    )
    if folder.result.exists() and folder.outcome(folder.result) >= last:
        return "finished", ""
    if folder.failed.exists():
        told = read_object(folder.failed)
        message = shorten(str(told.get("message", "no message")))
        return "failed", f"given up after {shorten(str(told.get('attempts', '?')))} attempts: {message}"
    if folder.nonfinite.exists() and (step := folder.outcome(folder.nonfinite)) > last:
        return "failed", f"loss or gradient was not finite in step {step}"
    return "unfinished", f"stands at step {last:,}" if last else "has not measured anything yet"


def _evaluation(folder: RunFolder) -> tuple[list[dict[str, Any]], bool, int]:
    step, results, version = folder.results()
    needed = {*MEASURES, "perfect", "sequences"}
    if not all(_measured(row, needed) for row in results):
        raise ValueError(f"{folder.evaluation.name} is damaged: its results lack a measure.")
    # JSON has no NaN, which a network that answers NaN costs.
    rows = ({name: math.nan if value is None else value for name, value in row.items()} for row in results)
    whole = [row for row in rows if row.pop("answer", "whole") == "whole"]  # not parts of an answer
    return whole, bool(whole) and folder.kept_step() not in (None, step), version


def _measured(row: dict[str, Any], needed: set[str]) -> bool:
    if not all(isinstance(row.get(name, ""), int | float | None) for name in needed):
        return False
    return isinstance(row["sequences"], int) and row["sequences"] > 0 and 0 <= (row["perfect"] or 0) <= 1


def _check_one_task(runs: list[Run]) -> None:
    """Refuse to average what cannot be compared."""
    example: dict[str, dict[str, str]] = {"task": {}, "version": {}}
    for run in runs:
        example["task"].setdefault(run.task, run.name)
        for note in run.notes:
            if (version := note.get("task_version")) is not None:
                example["version"].setdefault(str(version), run.name)
    tasks, versions = (", ".join(f"{what} ({name})" for what, name in found.items()) for found in example.values())
    if len(example["task"]) > 1:
        raise ValueError(f"the runs are of different tasks: {tasks}; report them one task at a time.")
    if len(example["version"]) > 1:
        raise ValueError(f"the runs are of different versions of {runs[0].task}'s data: {versions}; report them apart.")


def _networks(runs: list[Run]) -> list[Network]:
    """Put together the runs with the same configuration apart from the seed."""
    groups: dict[str, list[Run]] = defaultdict(list)
    for run in runs:
        groups[json.dumps(run.config, sort_keys=True, default=str)].append(run)
    named = labels([group[0].config for group in groups.values()])
    ordered = sorted(zip(named, groups.values(), strict=True), key=lambda pair: pair[0])
    networks = [
        Network(label, color, sorted(group, key=lambda run: run.seed)) for color, (label, group) in enumerate(ordered)
    ]
    measure = _goal_of(runs).measure
    return sorted(networks, key=lambda network: _rank(network, measure))


def _rank(network: Network, measure: str) -> tuple[float, float]:
    """Sort by the share of seeds solved, then by the median of what is wrong at the end."""
    last = [value for run in network.tried if (value := run.final(measure)) is not None and np.isfinite(value)]
    return -network.solved / max(1, len(network.tried)), float(np.median(last)) if last else np.inf
