"""A run folder on disk: the names of its files, and how they are written and read.

Files are whole or absent: they are written beside their place, synced and renamed. The one that
grows, `metrics.jsonl`, is appended to line by line; a last line cut short by a crash is not read.
"""

import json
import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class RunFolder:
    """Where everything about one run stands.

    Args:
        path: The folder, `runs/NAME` by default.
    """

    path: Path

    @property
    def config(self) -> Path:
        """The resolved configuration."""
        return self.path / "config.yaml"

    @property
    def metrics(self) -> Path:
        """What was measured, one JSON object a line."""
        return self.path / "metrics.jsonl"

    @property
    def last(self) -> Path:
        """The whole state of training, to go on from."""
        return self.path / "last.ckpt"

    @property
    def best(self) -> Path:
        """The weights that did best in validation."""
        return self.path / "best.safetensors"

    @property
    def result(self) -> Path:
        """How the run ended."""
        return self.path / "result.json"

    @property
    def figures(self) -> Path:
        """The folder of pictures."""
        return self.path / "figures"

    def create(self) -> None:
        """Make the folder.

        Raises:
            ValueError: It exists; a run is never written over.
        """
        try:
            self.path.mkdir(parents=True)
        except FileExistsError:
            raise ValueError(
                f"run folder {self.path} exists; choose another --name, or continue it with --resume {self.path}."
            ) from None

    def require(self) -> None:
        """Check that a run was started here.

        Raises:
            ValueError: It was not.
        """
        if not self.path.is_dir():
            raise ValueError(f"run folder {self.path} does not exist.")
        if not self.config.is_file():
            raise ValueError(f"{self.path} is not a run folder: it has no {self.config.name}.")

    def abandon(self) -> None:
        """Remove the folder of a run that never began: one that holds its configuration and nothing else."""
        if [file.name for file in self.path.glob("*")] == [self.config.name]:
            self.config.unlink()
            self.path.rmdir()

    def append(self, row: dict[str, Any]) -> None:
        """Add a line to the metrics."""
        with self.metrics.open("a") as file:
            file.write(as_json(row) + "\n")

    def rows(self) -> list[dict[str, Any]]:
        """Return all whole lines of the metrics, oldest first.

        Raises:
            ValueError: A line is no JSON object with a step.
        """
        if not self.metrics.exists():
            return []
        lines = self.metrics.read_text().split("\n")[:-1]  # what follows the last line break is cut short
        return [self._row(number, line) for number, line in enumerate(lines, start=1)]

    def _row(self, number: int, line: str) -> dict[str, Any]:
        try:
            row = json.loads(line)
        except ValueError:
            row = None
        if not isinstance(row, dict) or not isinstance(row.get("step"), int):
            raise ValueError(f"{self.metrics}, line {number}, is damaged: it is no JSON object with a step.")
        return row

    def forget_after(self, step: int) -> None:
        """Drop the metrics of steps after `step`, which will be trained again."""
        kept = [row for row in self.rows() if row["step"] <= step]
        text = "".join(as_json(row) + "\n" for row in kept)
        write_whole(self.metrics, lambda beside: beside.write_text(text))


def as_json(value: Any, indent: int | None = None) -> str:
    """Return JSON; numbers that are not finite, which JSON does not have, become null."""
    return json.dumps(_finite(value), indent=indent, allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Have `write` fill a file beside `path`, sync it, and move it into place in one step."""
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        write(beside)
        with beside.open("rb") as file:
            os.fsync(file.fileno())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
