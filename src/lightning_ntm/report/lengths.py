"""What the kept weights reach at difficulties beyond training, from the evaluations kept in run folders."""

import json
from dataclasses import dataclass
from typing import Any

import numpy as np

from lightning_ntm.records import difficulty_of
from lightning_ntm.report.experiment import Experiment
from lightning_ntm.report.run import Run


@dataclass(frozen=True)
class Lengths:
    """The difficulties that were evaluated, as an axis.

    Args:
        name: What varies, as `length`; several are named together.
        places: Where each stands on the axis, by what is written there: at its own number when one
            thing varies, else one after the other.
        names: What varies, as it is named in rows.
        ambiguous: Names that several files have: they are written with the beginning of the SHA-256.
    """

    name: str
    places: dict[str, float]
    names: tuple[str, ...]
    ambiguous: frozenset[str] = frozenset()

    def rows(self, run: Run) -> dict[str, dict[str, Any]]:
        """Return what was measured of a run, by what is written on the axis."""
        found = {self._written(row): row for row in run.evaluation}
        return {written: found[written] for written in self.places if written in found}

    def values(self, run: Run, measure: str) -> tuple[np.ndarray, np.ndarray]:
        """Return places and values of one measure; NaN where it was not measured."""
        rows = self.rows(run)
        places = np.array([self.places[written] for written in rows])
        return places, np.array([row.get(measure) for row in rows.values()], dtype=float)

    def _written(self, row: dict[str, Any]) -> str:
        asked = _asked(row, self.ambiguous)
        return " x ".join(str(asked.get(name, "-")) for name in self.names)


def _asked(row: dict[str, Any], ambiguous: frozenset[str]) -> dict[str, int | str]:
    """Return the difficulty in a row, in which different files have different names."""
    asked = difficulty_of(row)
    if (name := asked.get("on")) in ambiguous:
        asked["on"] = f"{name} (SHA-256 {str(row.get('sha256', 'unknown'))[:8]})"
    return asked


def _ambiguous(rows: list[dict[str, Any]]) -> frozenset[str]:
    """Return the names under which several files were evaluated."""
    files = {(str(row["on"]), row.get("sha256")) for row in rows if "on" in row}
    names = [name for name, _ in files]
    return frozenset(name for name in names if names.count(name) > 1)


def lengths_of(experiment: Experiment) -> Lengths:
    """Return the axis on which all evaluations of an experiment stand."""
    rows = [row for run in experiment.runs for row in run.evaluation]
    ambiguous = _ambiguous(rows)
    asked = [_asked(row, ambiguous) for row in rows]
    difficulties = list({json.dumps(difficulty, sort_keys=True): difficulty for difficulty in asked}.values())
    names = dict.fromkeys(name for difficulty in difficulties for name in difficulty)
    varied = tuple(name for name in names if len({str(difficulty.get(name)) for difficulty in difficulties}) > 1)
    shown = varied or tuple(names)
    ordered = sorted(difficulties, key=lambda difficulty: [_order(difficulty.get(name, 0)) for name in shown])
    axis = Lengths(" x ".join(name.replace("_", " ") for name in shown), {}, shown, ambiguous)
    for number, difficulty in enumerate(ordered):
        alone = difficulty.get(shown[0]) if len(shown) == 1 else None
        axis.places[axis._written(difficulty)] = float(alone) if isinstance(alone, int) else float(number)
    return axis


def _order(value: int | str) -> tuple[float, str]:
    """Return what sorts numbers by size, and then names of files."""
    return (float(value), "") if isinstance(value, int) else (np.inf, value)
