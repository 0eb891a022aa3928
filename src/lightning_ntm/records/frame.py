"""The measurements of many runs as one table."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lightning_ntm.checks import message_of
from lightning_ntm.records.configuration import config_of
from lightning_ntm.records.defaults import filled_in
from lightning_ntm.records.labels import differences, names_of
from lightning_ntm.records.parsing import printable
from lightning_ntm.records.reading import SPLITS, Measured, read

if TYPE_CHECKING:
    import pandas as pd

_COUNTED = ("step", "sequences", "seconds")


class SkippedRunWarning(UserWarning):
    """A run is not in the table, because it cannot be read or has not measured anything yet."""


def load(*folders: Path | str, what: str = "measurements") -> "pd.DataFrame":
    """Return every measurement of the runs in the folders given, at any depth; a run folder may be given too.

    Args:
        folders: As `"runs/ten-seeds"`.
        what: `measurements` of trainings, or `evaluations` of kept weights by `ntm evaluate`.

    Returns:
        One row for each measurement. The columns `run` (path below the folder given), `network` (its name in the
        report: runs of one network and task differ in their seed alone), `model`, `task` and `seed`; one for each
        option in which runs differ, as `data.batch_size`, `None` where a run has no such option; of measurements
        `split`, `step`, `sequences` and `seconds` until then; of evaluations `step` of the kept weights, `range` (as
        `41-500`), the difficulty and `sequences`; and the measures that the runs declare, means over sequences, NaN
        where they were not finite or not measured. A `SkippedRunWarning` names each run left out, and why; so does
        `attrs["skipped"]`.

    Raises:
        ValueError: A folder does not exist, or has no run in it, or `what` is neither of the two.
    """
    import pandas as pd

    if what not in _COLLECTED:
        raise ValueError(f"what (={what!r}) must be one of {', '.join(_COLLECTED)}.")
    runs, skipped = read(*folders)
    reasons = {run.folder.path.as_posix(): run.reason for run in skipped}
    parts, configs = _collected(runs, what, reasons)
    for path, reason in reasons.items():
        warnings.warn(f"{printable(path)} is left out: {reason}", SkippedRunWarning, stacklevel=2)
    frame = pd.DataFrame({**_named(parts, configs), **_joined([rows for _, found in parts for rows in found])})
    frame.attrs["skipped"] = reasons
    return frame


def _collected(
    runs: list[Measured], what: str, reasons: dict[str, str]
) -> tuple[list[tuple[Measured, list["_Rows"]]], list[dict[str, Any]]]:
    """Return the rows of each run and its options; add to the reasons why runs have none."""
    parts, configs = [], []
    for run in runs:
        try:
            found, config = _COLLECTED[what](run), config_of(run.folder)
        except (OSError, ValueError) as error:
            reasons[run.folder.path.as_posix()] = message_of(error)
            continue
        if found:
            parts.append((run, found))
            configs.append(config)
        else:
            reasons[run.folder.path.as_posix()] = _MISSING[what]
    return parts, configs


#: Columns of one length each, by name.
_Rows = dict[str, Any]


def _measurements(run: Measured) -> list[_Rows]:
    """Return what a run measured in each split."""
    found = []
    for split in SPLITS:
        series = getattr(run, split)
        counted = {name: getattr(series, name) for name in _COUNTED}
        measured = {name: series.values[name] for name in run.measures.names if name in series.values}
        found.append({"split": [split] * len(series.step), **counted, **measured})
    return found if any(len(rows["step"]) for rows in found) else []


def _evaluations(run: Measured) -> list[_Rows]:
    """Return what was measured of the kept weights, single difficulties first."""
    kept = run.folder.results()
    rows: list[dict[str, Any]] = [{"step": kept.step, "range": None, **row} for row in kept.rows]
    rows += [{"step": kept.step, "range": one["range"], **row} for one in kept.ranges for row in one["results"]]
    return [{name: [value] for name, value in row.items()} for row in rows]


_COLLECTED: dict[str, Callable[[Measured], list[_Rows]]] = {"measurements": _measurements, "evaluations": _evaluations}
_MISSING = {"measurements": "it has not measured anything yet.", "evaluations": "it was not evaluated."}


def _named(parts: list[tuple[Measured, list[_Rows]]], configs: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the columns that say what a run is."""
    import pandas as pd

    lengths = [sum(_length(rows) for rows in found) for _, found in parts]
    runs, options = [run for run, _ in parts], filled_in(configs)
    told: dict[str, list[Any]] = {"run": [run.name for run in runs], "network": _networks(runs, options)}
    told |= {name: [getattr(run, name) for run in runs] for name in ("model", "task", "seed")}
    told |= {name: values for name, values in differences(options).items() if name not in told}
    return {name: pd.Series(values).repeat(lengths).array for name, values in told.items()}


def _networks(runs: list[Measured], configs: list[dict[str, Any]]) -> list[str]:
    """Return the names of networks; those of one task are told apart."""
    names = [""] * len(runs)
    for task in {run.task for run in runs}:
        places = [place for place, run in enumerate(runs) if run.task == task]
        for place, name in zip(places, names_of([configs[place] for place in places]), strict=True):
            names[place] = name
    return names


def _length(rows: _Rows) -> int:
    return len(rows["step"])


def _joined(parts: list[_Rows]) -> dict[str, Any]:
    """Return all parts below each other."""
    names = dict.fromkeys(name for rows in parts for name in rows)
    return {name: _column([_part(rows, name) for rows in parts]) for name in names}


def _part(rows: _Rows, name: str) -> Any:
    return rows[name] if name in rows else [None] * _length(rows)


def _column(parts: list[Any]) -> Any:
    """Return a column of numbers as an array, with NaN where there is none, and others as a list."""
    if all(isinstance(part, np.ndarray) for part in parts):
        return np.concatenate(parts)
    values = [value for part in parts for value in part]
    numbers = all(value is None or isinstance(value, int | float) for value in values)
    if not numbers or all(value is None for value in values):
        return values
    return np.array(values, dtype=float if any(not isinstance(value, int) for value in values) else int)
