"""The scores of networks on tasks: means over a range of lengths beyond training, from `ntm evaluate --range`."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lightning_ntm.measures import Measure
from lightning_ntm.report.experiment import Experiment
from lightning_ntm.report.published import SCORES
from lightning_ntm.report.run import Run

#: Share from which Delétang et al. (2023, appendix B.1) count a task as solved.
SOLVED = 0.9


@dataclass(frozen=True, eq=False)
class Score:
    """The seeds of one network on one task, over one range.

    Args:
        label: The network, with the memory slots of its sequences if they are not those of the training.
        color: The place of the label among all.
        seeds: The runs, each with what `evaluate_range` returned.
    """

    label: str
    color: int
    seeds: tuple[tuple[Run, dict[str, Any]], ...]

    def values(self, measure: Measure) -> list[float]:
        """Return the mean over the lengths beyond training of each seed, without those that are not finite."""
        found = (_number(one.get(f"mean_{measure.name}")) for _, one in self.seeds)
        return [value for value in found if math.isfinite(value)]

    def curves(self, measure: Measure) -> list[tuple[np.ndarray, np.ndarray]]:
        """Return the lengths and the values of each seed."""
        return [
            (
                np.array([row["length"] for row in one["results"]], dtype=float),
                np.array([_number(row.get(measure.name)) for row in one["results"]]),
            )
            for _, one in self.seeds
        ]

    @property
    def network(self) -> str:
        """The name of its class."""
        return str(self.seeds[0][0].config.get("model")).rpartition(".")[2]

    @property
    def training_length(self) -> int:
        """The longest length of training."""
        return max(one["training_length"] for _, one in self.seeds)


@dataclass(frozen=True, eq=False)
class TaskScores:
    """All networks on one task.

    Args:
        experiment: The runs of the task.
        measure: What the score is a mean of.
        scores: A score for each network, and for each number of memory slots.
    """

    experiment: Experiment
    measure: Measure
    scores: tuple[Score, ...]

    @property
    def bound(self) -> float | None:
        """The score of which it is counted how many seeds reach it; `None` if that is not defined."""
        return SOLVED if self.measure.better == "higher" else self.measure.solved

    def reached(self, score: Score) -> int:
        """Return how many seeds have a score that is as good as the bound."""
        bound = self.bound
        return 0 if bound is None else sum(self.measure.reaches(value, bound) for value in score.values(self.measure))


def _number(value: Any) -> float:
    return math.nan if value is None else float(value)


def chosen_range(experiments: Sequence[Experiment]) -> str | None:
    """Return the range that most runs were evaluated on; of several the one with the most lengths."""
    counts, lengths = Counter[str](), dict[str, int]()
    for run in (run for experiment in experiments for run in experiment.runs):
        counts.update({one["range"] for one in run.ranges})
        for one in run.ranges:
            lengths[one["range"]] = max(lengths.get(one["range"], 0), len(one["results"]))
    return max(counts, key=lambda name: (counts[name], lengths[name], name), default=None)


def scores_of(experiments: Sequence[Experiment], chosen: str | None) -> list[TaskScores]:
    """Return the scores on each task over one range, in the order of the published table, then by name."""
    found = [(experiment, _seeds(experiment, chosen)) for experiment in experiments]
    labels = sorted({label for _, seeds in found for label in seeds})
    order = {task: place for place, task in enumerate(SCORES)}
    found.sort(key=lambda pair: (order.get(pair[0].task, len(order)), pair[0].task))
    return [
        TaskScores(
            experiment,
            _judging(experiment),
            tuple(Score(label, labels.index(label), tuple(seeds[label])) for label in labels if label in seeds),
        )
        for experiment, seeds in found
    ]


def _judging(experiment: Experiment) -> Measure:
    """Return what the score is a mean of: a share if there is one, else the first measure."""
    measures = experiment.measures.ordered
    return next((measure for measure in measures if measure.better == "higher"), measures[0])


def _seeds(experiment: Experiment, chosen: str | None) -> dict[str, list[tuple[Run, dict[str, Any]]]]:
    found: dict[str, list[tuple[Run, dict[str, Any]]]] = {}
    for network in experiment.networks:
        for run in network.runs:
            for one in run.ranges:
                if one["range"] == chosen:
                    slots = one.get("memory_slots")
                    label = network.label + (f", {slots} memory slots" if slots else "")
                    found.setdefault(label, []).append((run, one))
    return found
