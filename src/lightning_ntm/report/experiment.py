"""The runs of a report, and the networks they are seeds of."""

import json
import math
from collections import defaultdict
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from lightning_ntm.checks import counted
from lightning_ntm.measures import BITS, UNCERTAIN_BITS, Measures
from lightning_ntm.records import RunFolder, Skipped, read
from lightning_ntm.records.defaults import filled_in
from lightning_ntm.records.labels import labels
from lightning_ntm.report.comparable import comparable
from lightning_ntm.report.run import Run, run_of


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
    def optimum(self) -> float:
        """Mean over runs of the best possible value in validation; NaN where it is not known."""
        known = [value for run in self.runs if not math.isnan(value := run.validation.optimum)]
        return float(np.mean(known)) if known else math.nan

    @property
    def solved(self) -> int:
        """How many of those tried are solved."""
        return sum(run.solved for run in self.tried)


@dataclass(frozen=True, eq=False)
class Experiment:
    """All networks of a report, the best ones first."""

    networks: list[Network]
    skipped: list[Skipped] = field(default_factory=list)
    left_out: str = ""  # the measure that some runs lack, so that it is not shown
    without_it: list[str] = field(default_factory=list)  # those runs
    old_evaluations: list[str] = field(default_factory=list)  # runs evaluated on an older version of the episodes

    @property
    def runs(self) -> list[Run]:
        """All runs that were read."""
        return sorted((run for network in self.networks for run in network.runs), key=lambda run: run.number)

    @property
    def task(self) -> str:
        """The task of all runs."""
        return self.runs[0].task

    @property
    def measures(self) -> Measures:
        """What all runs measure."""
        return self.runs[0].measures

    @cached_property
    def evaluated(self) -> Measures:
        """What evaluations measure: those of older runs, in bits, may know an optimum that validations did not."""
        rows = [row for run in self.runs for row in run.evaluation]
        known = any(set(UNCERTAIN_BITS.names) <= row.keys() for row in rows)
        return UNCERTAIN_BITS if self.measures == BITS and known else self.measures


def read_experiment(*folders: Path | str) -> Experiment:
    """Read the runs of one task in some folders.

    Raises:
        ValueError: As for `read_experiments`, or the runs are of different tasks.
    """
    experiments = read_experiments(*folders)
    if len(experiments) > 1:
        tasks = ", ".join(f"{experiment.task} ({experiment.runs[0].name})" for experiment in experiments)
        raise ValueError(f"the runs are of different tasks: {tasks}; report them one task at a time.")
    return experiments[0]


def read_experiments(*folders: Path | str) -> list[Experiment]:
    """Read the runs in some folders, and return an experiment for each task.

    Raises:
        ValueError: A folder does not exist or has no run in it, none of its runs can be read, or runs
            are of different versions of a task's data.
    """
    measured, skipped = read(*folders)
    tasks: dict[str, list[Run]] = {}
    for one in measured:
        try:
            runs = tasks.get(one.task, [])
            tasks[one.task] = [*runs, run_of(len(runs), one)]
        except (ValueError, OSError) as error:
            skipped.append(Skipped.of(one.name, one.folder, error))
    if not tasks:
        reasons = "; ".join(f"{run.folder.path}: {run.reason}" for run in skipped[:3])
        raise ValueError(f"none of {counted(len(skipped), 'run')} can be reported ({reasons})")
    return [_experiment(runs, skipped) for runs in tasks.values()]


def _experiment(runs: list[Run], skipped: list[Skipped]) -> Experiment:
    _check_one_version(runs)
    runs, old = _of_one_version(runs)
    configs = filled_in([run.config for run in runs])
    runs = [replace(run, config=config) for run, config in zip(runs, configs, strict=True)]
    alike, left_out, without_it = comparable(runs)
    alike, repeated = _independent(alike)
    return Experiment(_networks(alike), [*skipped, *repeated], left_out, without_it, old)


def _independent(runs: list[Run]) -> tuple[list[Run], list[Skipped]]:
    """Return one run for each configuration and seed, one that ended if there is one, and the others."""
    first: dict[tuple[str, int], Run] = {}
    for run in sorted(runs, key=lambda run: (not run.ended, run.number)):
        first.setdefault((_configuration(run), run.seed), run)
    repeated = [
        Skipped(run.name, RunFolder(run.folder), f"has the configuration and the seed of {kept.folder}", "repeated")
        for run in runs
        if (kept := first[_configuration(run), run.seed]) is not run
    ]
    return sorted(first.values(), key=lambda run: run.number), repeated


def _configuration(run: Run) -> str:
    return json.dumps(run.config, sort_keys=True, default=str)


def _of_one_version(runs: list[Run]) -> tuple[list[Run], list[str]]:
    """Return runs with evaluations on the latest version of the episodes alone, and the names of the others."""
    latest = max(run.evaluation_version for run in runs)
    old = [run.name for run in runs if 0 < run.evaluation_version < latest]
    return [replace(run, evaluation=[], ranges=[]) if run.name in old else run for run in runs], old


def _check_one_version(runs: list[Run]) -> None:
    """Refuse to average what cannot be compared."""
    example: dict[str, str] = {}
    for run in runs:
        for note in run.notes:
            if (version := note.get("task_version")) is not None:
                example.setdefault(str(version), run.name)
    if len(example) > 1:
        versions = ", ".join(f"{what} ({name})" for what, name in example.items())
        raise ValueError(f"the runs are of different versions of {runs[0].task}'s data: {versions}; report them apart.")


def _networks(runs: list[Run]) -> list[Network]:
    """Put together the runs with the same configuration apart from the seed."""
    groups: dict[str, list[Run]] = defaultdict(list)
    for run in runs:
        groups[_configuration(run)].append(run)
    named = labels([group[0].config for group in groups.values()])
    ordered = sorted(zip(named, groups.values(), strict=True), key=lambda pair: pair[0])
    networks = [
        Network(label, color, sorted(group, key=lambda run: run.seed)) for color, (label, group) in enumerate(ordered)
    ]
    return sorted(networks, key=_rank)


def _rank(network: Network) -> tuple[float, float]:
    """Sort by the share of seeds solved, then by the median of the last validations; the worst are not finite."""
    measure = network.runs[0].measures.ordered[0]
    last = [measure.rank(value) for run in network.tried if (value := run.final(measure.name)) is not None]
    return -network.solved / max(1, len(network.tried)), float(np.median(last)) if last else math.inf
