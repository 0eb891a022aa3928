"""The measurements in run folders, read without PyTorch. Each run that cannot be read is named, with the reason."""

from collections import defaultdict
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np

from lightning_ntm.checks import message_of
from lightning_ntm.measures import BITS, LARGEST_MEASURE, UNCERTAIN_BITS, Measures
from lightning_ntm.records.configuration import flat_config
from lightning_ntm.records.declared import declared
from lightning_ntm.records.files import CONFIG_BYTES, is_file, read_json, read_text
from lightning_ntm.records.finding import find
from lightning_ntm.records.folder import RunFolder
from lightning_ntm.records.parsing import LARGEST, as_json, parse_yaml, printable

SPLITS = ("train", "validation")
_LONGEST = 500  # letters of a reason
_COUNTED = ("step", "sequences", "seconds")


@dataclass(frozen=True, eq=False)
class Series:
    """The measurements of one run in training or in validation, one entry each, in their order.

    Args:
        step: Training steps until then.
        sequences: Sequences seen until then.
        seconds: Time spent in training until then.
        values: The values of each measure, by name. NaN where they were not finite, or not measured in this split.
        optimum: The best possible value of the measure that has an optimum, on the validation sequences, which are
            the same throughout a run; NaN in training, and where it is not known.
    """

    step: np.ndarray
    sequences: np.ndarray
    seconds: np.ndarray
    values: dict[str, np.ndarray]
    optimum: float


@dataclass(frozen=True, eq=False)
class Measured:
    """One run and what it measured, which may be nothing yet.

    Args:
        name: The path of its folder below the folder that was read.
        model: The name of the network's class.
        task: The name of the task's class.
        measures: Declarations of what it measures.
    """

    name: str
    folder: RunFolder
    model: str
    task: str
    seed: int
    train: Series
    validation: Series
    measures: Measures


@dataclass(frozen=True)
class Skipped:
    """A run folder that is left out, and why: it cannot be read, or is a copy or a repetition of one that counts."""

    name: str
    folder: RunFolder
    reason: str
    state: Literal["not readable", "copy", "repeated"] = "not readable"

    @classmethod
    def of(cls, name: str, folder: RunFolder, error: Exception) -> "Skipped":
        """Return the run that an error kept from being read."""
        told = f"cannot be read: {message_of(error)}" if isinstance(error, OSError) else str(error)
        return cls(name, folder, printable(" ".join(told.split()))[:_LONGEST])


def read(*folders: Path | str) -> tuple[list[Measured], list[Skipped]]:
    """Read every run in the folders given, at any depth; a run folder may be given too.

    Of a run and its copies, whatever they are called, the one that got furthest counts.

    Returns:
        The runs, and what was left out.

    Raises:
        ValueError: A folder does not exist, or has no run in it.
    """
    measured, skipped = [], []
    for name, folder in find(*folders).items():
        try:
            measured.append(_read(printable(name), folder))
        except (ValueError, OSError) as error:
            skipped.append(Skipped.of(printable(name), folder, error))
    alone, copies = _without_copies(measured)
    return alone, skipped + copies


def _without_copies(runs: list[Measured]) -> tuple[list[Measured], list[Skipped]]:
    """Return each run once, and the copies of runs: they began with the same training, with the same options."""
    same: dict[object, list[Measured]] = defaultdict(list)
    for run in runs:
        same[_origin(run)].append(run)
    copies: dict[int, Skipped] = {}
    for group in same.values():
        counted: dict[str, Measured] = {}
        for run in sorted(group, key=lambda run: (-_furthest(run), len(run.name))) if len(group) > 1 else ():
            first = counted.setdefault(_options(run), run)
            if first is not run:
                copies[id(run)] = Skipped(run.name, run.folder, f"it is a copy of {first.name}, which counts.", "copy")
    return [run for run in runs if id(run) not in copies], list(copies.values())


def _origin(run: Measured) -> object:
    """Return what only copies of a run share: who began it and when, or without that the times of its measurements."""
    try:
        note = next(iter(run.folder.notes()), {})
    except (OSError, ValueError):  # who reads more of it says so
        note = {}
    if isinstance(note.get("id"), str):
        return note["id"]
    if "started" in note:
        return as_json(note)
    measured = [array.tobytes() for series in (run.train, run.validation) for array in (series.step, series.seconds)]
    return (run.seed, *measured) if any(measured) else object()


def _furthest(run: Measured) -> int:
    return max((int(series.step[-1]) for series in (run.train, run.validation) if len(series.step)), default=0)


def _options(run: Measured) -> str:
    try:
        return as_json(flat_config(read_text(run.folder.config, CONFIG_BYTES)))
    except (OSError, ValueError):
        return ""


def _read(name: str, folder: RunFolder) -> Measured:
    if not is_file(folder.config):
        told = read_json(folder.failed).get("message")
        raise ValueError(f"it never began: {told}" if told else f"it has no {folder.config.name}.")
    identity, told = _identity(read_text(folder.config, CONFIG_BYTES)), declared(folder)
    columns = [_Columns(split, told or UNCERTAIN_BITS) for split in SPLITS]
    try:
        for _, rows in folder.parts():
            for column in columns:
                column.add(rows)
    except KeyError as error:
        raise ValueError(f"{folder.metrics.name} is damaged: a measurement lacks {error}.") from error
    train, validation = (column.series() for column in columns)
    older = BITS if np.isnan(validation.optimum) else UNCERTAIN_BITS
    return Measured(name, folder, *identity, train, validation, told or older)


def _identity(text: str) -> tuple[str, str, int]:
    """Return the network, the task and the seed of a configuration.

    Only these parts of it are parsed, and the first two once for all seeds: YAML is slow.
    """
    wanted, seed = [], None
    for block in ("\n" + text).split("\n"):
        if not block.startswith((" ", "-")):
            taken = block.startswith(("model:", "task:"))
            seed = block if block.startswith("seed:") else seed
        if taken:
            wanted.append(block)
    try:
        model, task = _classes("\n".join(wanted))
        number = int((seed or "").partition(":")[2])
        if not 0 <= number < 2**64:
            raise ValueError("no generator takes such a seed")
        return printable(model), printable(task), number
    except (ValueError, TypeError, KeyError, AttributeError):
        raise ValueError("config.yaml is damaged: it does not name a model, a task and a seed.") from None


@lru_cache
def _classes(text: str) -> tuple[str, str]:
    config = parse_yaml(text)
    model, task = (config[part]["class_path"].rpartition(".")[2] for part in ("model", "task"))
    return model, task


class _Columns:
    """Collects the measurements of one split from rows."""

    def __init__(self, split: str, measures: Measures):
        known = measures.with_optimum
        self.measures, self.optimum = measures, f"{split}_{known.optimum}" if known else ""
        self.columns = {name: f"{split}_{name}" for name in measures.names}
        self.counted: dict[str, list[np.ndarray]] = {name: [] for name in _COUNTED}
        self.values: dict[str, list[np.ndarray]] = {measure.name: [] for measure in measures.each if not measure.above}
        self.optimal = np.nan

    def add(self, rows: list[dict[str, Any]]) -> None:
        """Add the rows that have measurements of this split.

        Raises:
            KeyError: A number is missing.
            ValueError: Something else stands where a number belongs.
        """
        columns = frozenset(self.columns[name] for name in self.values)
        mine = [row for row in rows if not columns.isdisjoint(row)]
        for name, parts in self.counted.items():
            kind = np.float64 if name == "seconds" else np.int64
            parts.append(_numbers([row[name] for row in mine], name, kind))
        for name, parts in self.values.items():
            column = self.columns[name]
            parts.append(_numbers([row.get(column) for row in mine], column, np.float64))
        if np.isnan(self.optimal) and self.optimum:
            known = (value for row in mine if (value := row.get(self.optimum)) is not None)
            self.optimal = float(_numbers([next(known, None)], self.optimum, np.float64)[0])

    def series(self) -> Series:
        """Return all that was added."""
        counted = {name: np.concatenate(parts or [np.array([])]) for name, parts in self.counted.items()}
        counted |= {name: counted[name].astype(np.int64) for name in ("step", "sequences")}
        values = {name: np.concatenate(parts or [np.array([])]) for name, parts in self.values.items()}
        for measure in self.measures.each:
            if measure.above:
                values[measure.name] = values[measure.above] - self.optimal
        return Series(**counted, values=values, optimum=self.optimal)


def _numbers(values: list[Any], name: str, kind: type) -> np.ndarray:
    """Return numbers as an array; null, for one that was not finite, is NaN."""
    whole = kind is np.int64
    try:
        if set(map(type, values)) <= ({int} if whole else {int, float, type(None)}):
            array: np.ndarray = np.array(values, dtype=kind)
            if not (np.abs(array) > (LARGEST if name in _COUNTED else LARGEST_MEASURE)).any():
                return array
    except OverflowError:
        pass
    raise ValueError(f"metrics.jsonl is damaged: a measurement lacks {name!r}, or it is no number of a usual size.")
