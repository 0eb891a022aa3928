"""What run folders say of their measurements, without PyTorch; what cannot be read is told, run by run."""

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from lightning_ntm.records.finding import find
from lightning_ntm.records.folder import RunFolder, read_json

MEASURES = ("wrong_bits", "bits_per_sequence")
#: Bits per sequence above the best possible cost: measured in validation alone, of tasks that know it.
REGRET = "regret_bits"
SPLITS = ("train", "validation")
_COUNTED = ("step", "sequences", "seconds")


@dataclass(frozen=True, eq=False)
class Series:
    """The measurements of one run in training or in validation, one entry each, in their order.

    What was not finite is NaN. `optimal_bits` is the best possible cost, of validation sequences, which are the same
    throughout a run; NaN in training, and where the task does not know it.
    """

    step: np.ndarray
    sequences: np.ndarray
    seconds: np.ndarray
    wrong_bits: np.ndarray
    bits_per_sequence: np.ndarray
    optimal_bits: float

    @property
    def regret_bits(self) -> np.ndarray:
        """Bits per sequence above the best possible cost."""
        return self.bits_per_sequence - self.optimal_bits


@dataclass(frozen=True, eq=False)
class Measured:
    """One run and what it measured, which may be nothing yet.

    Args:
        name: The path of its folder below the folder that was read.
        model: The name of the network's class.
        task: The name of the task's class.
    """

    name: str
    folder: RunFolder
    model: str
    task: str
    seed: int
    train: Series
    validation: Series


@dataclass(frozen=True)
class Skipped:
    """A run folder that could not be read, and why."""

    name: str
    folder: RunFolder
    reason: str


def read(*folders: Path | str) -> tuple[list[Measured], list[Skipped]]:
    """Read every run in the folders given, at any depth; a run folder may be given too.

    Returns:
        The runs, and what was left out.

    Raises:
        ValueError: A folder does not exist, or has no run in it.
    """
    measured, skipped = [], []
    for name, folder in find(*folders).items():
        try:
            measured.append(_read(name, folder))
        except (ValueError, OSError) as error:
            skipped.append(Skipped(name, folder, " ".join(str(error).split())))
    return measured, skipped


def read_yaml(text: str) -> Any:
    """Return what a text of YAML says, with the quick parser where PyYAML has it.

    Raises:
        ValueError: It is none.
    """
    try:
        return yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except (yaml.YAMLError, RecursionError) as error:
        raise ValueError(f"not YAML: {error}") from error


def _read(name: str, folder: RunFolder) -> Measured:
    if not folder.config.is_file():
        told = read_json(folder.failed).get("message")
        raise ValueError(f"it never began: {told}" if told else f"it has no {folder.config.name}.")
    model, task, seed = _identity(folder.config.read_text())
    rows = _rows(folder)
    try:
        train, validation = (_series(rows, split) for split in SPLITS)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"{folder.metrics.name} is damaged: a measurement lacks {error}.") from error
    return Measured(name, folder, model, task, seed, train, validation)


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
        return model, task, int((seed or "").partition(":")[2])
    except (ValueError, TypeError, KeyError, AttributeError):
        raise ValueError("config.yaml is damaged: it does not name a model, a task and a seed.") from None


@lru_cache
def _classes(text: str) -> tuple[str, str]:
    config = read_yaml(text)
    model, task = (config[part]["class_path"].rpartition(".")[2] for part in ("model", "task"))
    return model, task


def _rows(folder: RunFolder) -> list[dict[str, Any]]:
    """Return the whole lines of the metrics; quicker than one by one, which says what is wrong."""
    if not folder.metrics.exists():
        return []
    lines = folder.metrics.read_text().split("\n")[:-1]  # what follows the last line break is cut short
    try:
        rows = json.loads(f"[{','.join(lines)}]")
    except (ValueError, RecursionError):
        return folder.rows()
    whole = len(rows) == len(lines) and all(isinstance(row, dict) and "step" in row for row in rows)
    return rows if whole else folder.rows()


def _series(rows: list[dict[str, Any]], split: str) -> Series:
    """Return the columns of one split."""
    first, *_ = measures = [f"{split}_{measure}" for measure in MEASURES]
    mine = [row for row in rows if first in row]
    columns = [[row[name] for row in mine] for name in (*_COUNTED, *measures)]
    kinds = (np.int64, np.int64, np.float64, np.float64, np.float64)
    step, sequences, seconds, wrong, bits = (
        np.array(column, dtype=kind) for column, kind in zip(columns, kinds, strict=True)
    )
    optimal = (value for row in mine if (value := row.get(f"{split}_optimal_bits")) is not None)
    return Series(step, sequences, seconds, wrong, bits, float(next(optimal, np.nan)))
