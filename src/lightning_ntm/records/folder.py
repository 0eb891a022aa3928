"""A run folder on disk: the names of its files, and how they are written and read.

Files are whole or absent: they are written beside their place, synced and renamed. The one that
grows, `metrics.jsonl`, is appended to line by line; a last line cut short by a crash is not read.
"""

import json
import os
import shlex
import shutil
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from lightning_ntm.records import files
from lightning_ntm.records.files import Claim, read_json, read_object, whole_lines, write_whole
from lightning_ntm.records.parsing import as_json, is_count, is_measure, parse_json


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
    def measures(self) -> Path:
        """What the run measures of the answers: names, labels and thresholds."""
        return self.path / "measures.json"

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

    def kept_step(self) -> int | None:
        """Return the step of the weights that are kept; `None` where there are none that can be read."""
        try:
            if self.best.is_file():
                with safe_open(self.best, "np") as weights:
                    return int(weights.metadata()["step"])
        except (OSError, SafetensorError, LookupError, TypeError, ValueError):
            pass
        return None

    @property
    def result(self) -> Path:
        """How the run ended."""
        return self.path / "result.json"

    @property
    def about(self) -> Path:
        """Who trained here and with what, one JSON object for each time."""
        return self.path / "about.jsonl"

    @property
    def failed(self) -> Path:
        """Why a run of a sweep was given up, after how many attempts."""
        return self.path / "failed.json"

    @property
    def evaluation(self) -> Path:
        """What the kept weights reach at chosen difficulties."""
        return self.path / "evaluation.json"

    @property
    def nonfinite(self) -> Path:
        """The step that ended the run because it was not finite; its weights have the same name."""
        return self.path / "nonfinite.json"

    @property
    def figures(self) -> Path:
        """The folder of pictures."""
        return self.path / "figures"

    def create(self) -> None:
        """Make the folder, unless it is there with nothing in it, as of a training that was killed at once.

        Raises:
            ValueError: It exists; a run is never written over.
        """
        try:
            self.path.mkdir(parents=True)
        except FileExistsError:
            if self.path.is_dir() and all(file == self._lock or file.suffix == ".tmp" for file in self.path.iterdir()):
                return
            raise ValueError(
                f"run folder {self.path} exists; choose another --name, or continue it with "
                f"--resume {shlex.quote(str(self.path))}."
            ) from None

    def require(self) -> None:
        """Check that a run was started here.

        Raises:
            ValueError: It was not.
        """
        if self.path.is_file():
            raise ValueError(f"{self.path} is a file, not a run folder.")
        if not self.path.is_dir():
            raise ValueError(f"run folder {self.path} does not exist.")
        if not self.config.is_file():
            raise ValueError(f"{self.path} is not a run folder: it has no {self.config.name}.")

    def began(self) -> bool:
        """Whether something is here that training, begun anew, would not make again: a checkpoint, or a user's file."""
        again = (
            self.config, self.measures, self.about, self.metrics, self.best, self.failed, self.nonfinite, self._lock
        )  # fmt: skip
        names = {path.name for path in (*again, self.nonfinite.with_suffix(".safetensors"))} | {"lightning_logs"}
        found = self.path.iterdir() if self.path.exists() else ()
        return any(path.name not in names and path.suffix != ".tmp" for path in found)

    def forget(self) -> None:
        """Remove what training, begun anew, makes again."""
        for file in (self.metrics, self.best, self.nonfinite, self.nonfinite.with_suffix(".safetensors")):
            file.unlink(missing_ok=True)

    def abandon(self) -> None:
        """Remove the folder of a run that never began: one without results of any kind."""
        mine = {self.config.name, self.measures.name, self.about.name, self._lock.name}
        if {file.name for file in self.path.iterdir()} <= mine:
            shutil.rmtree(self.path)

    def sweep(self) -> None:
        """Remove what writing left behind when the process was killed in the middle of it."""
        files.sweep(self.path)

    def append(self, row: dict[str, Any]) -> None:
        """Add a line to the metrics.

        Raises:
            OSError: It cannot be written; the lines before it stay whole.
        """
        files.append_line(self.metrics, as_json(row))

    def sync(self) -> None:
        """Have the metrics survive a loss of power."""
        if self.metrics.exists():
            with files.open_regular(self.metrics, sys.maxsize) as file:
                files.sync(file.fileno())

    def note(self, about: dict[str, Any]) -> None:
        """Add a line on who trains here now, and with what."""
        files.append_line(self.about, as_json(about))

    def notes(self) -> list[dict[str, Any]]:
        """Return all whole lines on who trained here, oldest first; what is none is left out."""
        with suppress(FileNotFoundError):
            found = [parse_json(line) for lines in whole_lines(self.about) for line in lines]
            return [note for note in found if isinstance(note, dict)]
        return []

    def results(self) -> tuple[int | None, list[dict[str, Any]], int]:
        """Return what the kept weights reached in evaluations.

        Returns:
            Their step, a row for each difficulty, and the version of the episodes, 0 where there are none.

        Raises:
            OSError: It cannot be read.
            ValueError: It is damaged.
        """
        if not self.evaluation.exists():
            return None, [], 0
        told = read_object(self.evaluation)
        results = told.get("results")
        if not isinstance(results, list) or not all(map(_is_result, results)):
            raise ValueError(f"{self.evaluation.name} is damaged: it has no list of results.")
        if len(results) > _RESULTS:
            raise ValueError(f"{self.evaluation.name} is damaged: it has more than {_RESULTS:,} results.")
        version = told.get("version", 1)  # the first one was not written down
        if not is_count(version):
            raise ValueError(f"{self.evaluation.name} is damaged: its version (={version!r}) is no number.")
        return told.get("step"), results, version

    def outcome(self, path: Path) -> int:
        """Return the step that `result` or `nonfinite` is about.

        Raises:
            OSError: It cannot be read.
            ValueError: It is damaged.
        """
        step = read_object(path).get("step")
        if not is_count(step):
            raise ValueError(f"{path.name} is damaged: it has no step.")
        return step

    def keep_evaluation(self, step: int, results: list[dict[str, Any]], version: int) -> None:
        """Keep what the weights of a step reach, beside what they reached at other difficulties.

        Args:
            step: Of the weights; results of others are dropped.
            results: A row for each difficulty.
            version: Of the episodes that were drawn; results of another version are dropped.

        Raises:
            OSError: It cannot be written.
        """
        try:
            of, before, drawn = self.results()
        except ValueError:
            of, before, drawn = None, [], None
        kept: dict[str, dict[str, Any]] = {}
        for row in [*(before if (of, drawn) == (step, version) else []), *results]:
            asked = {name: value for name, value in difficulty_of(row).items() if value != "whole"}
            kept.pop(as_json(asked), None)  # the latest comes last
            kept[as_json(asked)] = row
        whole = {"step": step, "version": version, "results": list(kept.values())[-_RESULTS:]}
        write_whole(self.evaluation, as_json(whole, indent=2) + "\n")

    def done(self) -> bool:
        """Whether the run ended, and was not resumed after that without ending again."""
        end = read_json(self.result).get("step")
        return isinstance(end, int) and end >= max((row["step"] for row in self.latest()), default=0)

    def lock(self) -> Claim:
        """Keep other processes from training here until this one ends, or calls what is returned.

        Raises:
            ValueError: Another process does.
        """
        return files.claim(self._lock, f"run folder {self.path}")

    def in_use(self) -> bool:
        """Whether another process trains here."""
        return files.is_claimed(self._lock)

    @property
    def _lock(self) -> Path:
        return self.path / ".lock"

    def rows(self) -> list[dict[str, Any]]:
        """Return all whole lines of the metrics, oldest first.

        Raises:
            OSError: They cannot be read.
            ValueError: A line is no JSON object with a step.
        """
        return [row for _, rows in self.parts() for row in rows]

    def parts(self) -> Iterator[tuple[list[str], list[dict[str, Any]]]]:
        """Yield the whole lines of the metrics and what they say, oldest first, some thousands at a time.

        Raises:
            OSError: They cannot be read.
            ValueError: A line is no JSON object with a step.
        """
        if not self.metrics.exists():
            return
        number = 1
        for lines in whole_lines(self.metrics):
            rows = _rows(f"[{','.join(lines)}]")
            if rows is None or len(rows) != len(lines):
                self._refuse(lines, number)
            yield lines, rows or []
            number += len(lines)

    def _refuse(self, lines: list[str], number: int) -> None:
        """Say which of some lines is damaged: they are parsed together, which is quicker."""
        wrong = next((place for place, line in enumerate(lines) if not _rows(f"[{line}]")), 0)
        raise ValueError(f"{self.metrics}, line {number + wrong}, is damaged: it is no JSON object with a step.")

    def latest(self, size: int = 4096) -> list[dict[str, Any]]:
        """Return the whole lines in the last `size` bytes of the metrics, oldest first, without damaged ones."""
        if not self.metrics.exists():
            return []
        with files.open_regular(self.metrics, sys.maxsize) as file:
            end = file.seek(0, os.SEEK_END)
            file.seek(max(0, end - size))
            lines = file.read(size).decode(errors="replace").split("\n")
        return [row for line in lines[:-1] for row in _rows(f"[{line}]") or []]

    def forget_after(self, step: int) -> None:
        """Drop the metrics of steps after `step`, which will be trained again."""
        kept = [f"{line}\n" for part in self.parts() for line, row in zip(*part, strict=True) if row["step"] <= step]
        write_whole(self.metrics, "".join(kept))


#: What is a text in a row of an evaluation: a part of the answer, and of a user's file the name and the SHA-256.
_TEXTS = ("answer", "on", "sha256")
_RESULTS = 2000  # of evaluations; a figure has a place for each


def _rows(text: str) -> list[dict[str, Any]] | None:
    """Return the rows in a list of JSON; `None` where it is none, or of other things."""
    try:
        rows = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return rows if all(isinstance(row, dict) and is_count(row.get("step")) for row in rows) else None


def _is_result(row: Any) -> bool:
    """Whether a row of an evaluation has only numbers, but for the part of the answer and the file it is about."""
    return (
        isinstance(row, dict)
        and all(is_measure(value) for name, value in row.items() if name not in _TEXTS)
        and all(isinstance(row.get(name, ""), str) for name in _TEXTS)
    )


def difficulty_of(row: dict[str, Any]) -> dict[str, int | str]:
    """Return what was asked for in a row of an evaluation: measures are no whole numbers, but for `sequences`."""
    aside = ("sequences", "sha256")
    return {name: value for name, value in row.items() if isinstance(value, int | str) and name not in aside}
