"""The measurements of many runs as one table."""

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lightning_ntm.records.parsing import printable
from lightning_ntm.records.reading import MEASURES, REGRET, SPLITS, read

if TYPE_CHECKING:
    import pandas as pd

_NUMBERS = ("step", "sequences", "seconds", *MEASURES, REGRET)


class SkippedRunWarning(UserWarning):
    """A run is not in the table, because it cannot be read or has not measured anything yet."""


def load(*folders: Path | str) -> "pd.DataFrame":
    """Return every measurement of the runs in the folders given, at any depth; a run folder may be given too.

    Args:
        folders: As `"runs/ten-seeds"`.

    Returns:
        One row a measurement, with the columns `run` (the path of its folder below the folder given),
        `model`, `task`, `seed`, `split` (`train` or `validation`), `step`, `sequences` and `seconds` until
        then, `wrong_bits` and `bits_per_sequence` (means over sequences; NaN where they were not finite), and
        `regret_bits` above the best possible cost (NaN in training, and where a task does not know that cost).
        What was left out, and why, is told by a `SkippedRunWarning` for each run and is in
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
    lengths = [len(series.step) for _, _, series in parts]
    told = {"run": [run.name for run, _, _ in parts], "split": [split for _, split, _ in parts]}
    told |= {name: [getattr(run, name) for run, _, _ in parts] for name in ("model", "task", "seed")}
    columns = {name: pd.Series(told[name]).repeat(lengths).array for name in ("run", "model", "task", "seed", "split")}
    columns |= {name: np.concatenate([getattr(series, name) for _, _, series in parts] or [[]]) for name in _NUMBERS}
    frame = pd.DataFrame(columns)
    frame.attrs["skipped"] = reasons
    return frame
