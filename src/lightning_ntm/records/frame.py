"""The measurements of many runs as one table."""

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lightning_ntm.records.parsing import printable
from lightning_ntm.records.reading import SPLITS, Measured, Series, read

if TYPE_CHECKING:
    import pandas as pd

_COUNTED = ("step", "sequences", "seconds")


class SkippedRunWarning(UserWarning):
    """A run is not in the table, because it cannot be read or has not measured anything yet."""


def load(*folders: Path | str) -> "pd.DataFrame":
    """Return every measurement of the runs in the folders given, at any depth; a run folder may be given too.

    Args:
        folders: As `"runs/ten-seeds"`.

    Returns:
        One row for each measurement. The columns are `run` (the path of its folder below the folder given), `model`,
        `task`, `seed`, `split` (`train` or `validation`), `step`, `sequences` and `seconds` until then, and the
        measures that the runs declare (means over sequences; NaN where they were not finite, or
        not measured in a run or split). A `SkippedRunWarning` names each run that is left out, and why; so does
        `attrs["skipped"]`.

    Raises:
        ValueError: A folder does not exist, or has no run in it.
    """
    import pandas as pd

    runs, skipped = read(*folders)
    reasons = {run.folder.path.as_posix(): run.reason for run in skipped}
    for run in runs:
        if not len(run.train.step) + len(run.validation.step):
            reasons[run.folder.path.as_posix()] = "it has not measured anything yet."
    for path, reason in reasons.items():
        warnings.warn(f"{printable(path)} is left out: {reason}", SkippedRunWarning, stacklevel=2)
    parts = [(run, split, getattr(run, split)) for run in runs for split in SPLITS]
    frame = pd.DataFrame({**_named(parts), **_numbers(parts)})
    frame.attrs["skipped"] = reasons
    return frame


def _named(parts: list[tuple[Measured, str, Series]]) -> dict[str, Any]:
    import pandas as pd

    lengths = [len(series.step) for _, _, series in parts]
    told = {"run": [run.name for run, _, _ in parts]}
    told |= {name: [getattr(run, name) for run, _, _ in parts] for name in ("model", "task", "seed")}
    told["split"] = [split for _, split, _ in parts]
    return {name: pd.Series(values).repeat(lengths).array for name, values in told.items()}


def _numbers(parts: list[tuple[Measured, str, Series]]) -> dict[str, np.ndarray]:
    names = dict.fromkeys(name for run, _, _ in parts for name in run.measures.names)
    columns = {name: [getattr(series, name) for _, _, series in parts] for name in _COUNTED}
    columns |= {name: [_values(series, name) for _, _, series in parts] for name in names}
    return {name: np.concatenate(values or [[]]) for name, values in columns.items()}


def _values(series: Series, name: str) -> np.ndarray:
    return series.values[name] if name in series.values else np.full(len(series.step), np.nan)
