"""A run folder on disk: the names of its files, and how they are written and read.

Files are whole or absent: they are written beside their place, synced and renamed. The one that
grows, `metrics.jsonl`, is appended to line by line; a last line cut short by a crash is not read.
"""

import errno
import fcntl
import json
import math
import os
import shlex
import shutil
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open


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

    def kept_step(self) -> int | None:
        """Return the step of the weights that are kept; `None` where there are none that can be read."""
        try:
            with safe_open(self.best, "np") as weights:
                return int(weights.metadata()["step"])
        except (OSError, SafetensorError, LookupError, TypeError, ValueError):
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
        again = (self.config, self.about, self.metrics, self.best, self.failed, self.nonfinite, self._lock)
        names = {path.name for path in (*again, self.nonfinite.with_suffix(".safetensors"))} | {"lightning_logs"}
        found = self.path.iterdir() if self.path.exists() else ()
        return any(path.name not in names and path.suffix != ".tmp" for path in found)

    def forget(self) -> None:
        """Remove what training, begun anew, makes again."""
        for file in (self.metrics, self.best, self.nonfinite, self.nonfinite.with_suffix(".safetensors")):
            file.unlink(missing_ok=True)

    def abandon(self) -> None:
        """Remove the folder of a run that never began: one without results of any kind."""
        mine = {self.config.name, self.about.name, self._lock.name}
        if {file.name for file in self.path.iterdir()} <= mine:
            shutil.rmtree(self.path)

    def sweep(self) -> None:
        """Remove what writing left behind when the process was killed in the middle of it."""
        for beside in self.path.glob(".*.tmp"):
            beside.unlink(missing_ok=True)

    def append(self, row: dict[str, Any]) -> None:
        """Add a line to the metrics.

        Raises:
            OSError: It cannot be written; the lines before it stay whole.
        """
        _append(self.metrics, as_json(row))

    def sync(self) -> None:
        """Have the metrics survive a loss of power."""
        if self.metrics.exists():
            with _named(self.metrics), self.metrics.open("rb") as file:
                os.fsync(file.fileno())

    def note(self, about: dict[str, Any]) -> None:
        """Add a line on who trains here now, and with what."""
        _append(self.about, as_json(about))

    def notes(self) -> list[dict[str, Any]]:
        """Return all whole lines on who trained here, oldest first; what is none is left out."""
        if not self.about.exists():
            return []
        lines = self.about.read_text(errors="replace").splitlines()
        found = [_parsed(line) for line in lines]
        return [note for note in found if isinstance(note, dict)]

    def keep_evaluation(self, step: int, results: list[dict[str, Any]]) -> None:
        """Keep what the weights of a step reach, beside what they reached at other difficulties.

        Raises:
            OSError: It cannot be written.
        """
        told = _parsed(self.evaluation.read_text(errors="replace")) if self.evaluation.exists() else None
        told = told if isinstance(told, dict) and told.get("step") == step else {}
        before = told["results"] if isinstance(told.get("results"), list) else []
        kept: dict[str, dict[str, Any]] = {}
        for row in [*before, *results]:
            if isinstance(row, dict):
                asked = {name: value for name, value in difficulty_of(row).items() if value != "whole"}
                kept.pop(as_json(asked), None)  # the latest comes last
                kept[as_json(asked)] = row
        write_whole(self.evaluation, as_json({"step": step, "results": list(kept.values())}, indent=2) + "\n")

    def lock(self) -> Callable[[], None]:
        """Keep other processes from training here until this one ends, or calls what is returned.

        Raises:
            ValueError: Another process does.
        """
        return claim(self._lock, f"run folder {self.path}")

    def in_use(self) -> bool:
        """Whether another process trains here."""
        try:
            file = self._lock.open("rb")
        except (FileNotFoundError, PermissionError):
            return False
        with file:
            try:
                os.lockf(file.fileno(), os.F_TEST, 0)
            except OSError as error:
                if error.errno not in (errno.EACCES, errno.EAGAIN):
                    raise
                return True
        return False

    @property
    def _lock(self) -> Path:
        return self.path / ".lock"

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
        row = _parsed(line)
        if not isinstance(row, dict) or not isinstance(row.get("step"), int):
            raise ValueError(f"{self.metrics}, line {number}, is damaged: it is no JSON object with a step.")
        return row

    def latest(self, size: int = 4096) -> list[dict[str, Any]]:
        """Return the whole lines in the last `size` bytes of the metrics, oldest first, without damaged ones."""
        try:
            with self.metrics.open("rb") as file:
                end = file.seek(0, os.SEEK_END)
                file.seek(max(0, end - size))
                lines = file.read().decode(errors="replace").split("\n")
        except FileNotFoundError:
            return []
        found = [_parsed(line) for line in lines[:-1]]
        return [row for row in found if isinstance(row, dict) and isinstance(row.get("step"), int)]

    def forget_after(self, step: int) -> None:
        """Drop the metrics of steps after `step`, which will be trained again."""
        kept = [row for row in self.rows() if row["step"] <= step]
        text = "".join(as_json(row) + "\n" for row in kept)
        write_whole(self.metrics, text)


def difficulty_of(row: dict[str, Any]) -> dict[str, int | str]:
    """Return what was asked for in a row of an evaluation: measures are no whole numbers, but for `sequences`."""
    return {name: value for name, value in row.items() if isinstance(value, int | str) and name != "sequences"}


def claim(path: Path, what: str) -> Callable[[], None]:
    """Keep a file locked until this process ends, or calls what is returned.

    Args:
        path: The file; it is made, and names its holder.
        what: It stands for, in an error.

    Raises:
        ValueError: Another process holds it.
    """
    held = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        fcntl.lockf(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        holder = os.pread(held, 1000, 0).decode(errors="replace") or "another process"
        os.close(held)
        if error.errno not in (errno.EACCES, errno.EAGAIN):
            raise
        raise ValueError(f"{what} is in use by {holder}.") from None
    os.truncate(held, 0)
    os.pwrite(held, f"process {os.getpid()} on {socket.gethostname()}".encode(), 0)
    return partial(os.close, held)


def read_json(path: Path) -> dict[str, Any]:
    """Return the object in a file; an empty one where there is none."""
    try:
        found = _parsed(path.read_text(errors="replace"))
    except OSError:
        return {}
    return found if isinstance(found, dict) else {}


def _append(path: Path, line: str) -> None:
    with _named(path), path.open("ab", buffering=0) as file:
        end = file.seek(0, os.SEEK_END)
        data = f"{line}\n".encode()
        try:
            if file.write(data) != len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError:
            with suppress(OSError):
                file.truncate(end)
            raise


def _parsed(line: str) -> Any:
    """Return what a line of JSON says, `None` if it is none."""
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None


def as_json(value: Any, indent: int | None = None) -> str:
    """Return JSON; numbers that are not finite, which JSON does not have, become null."""
    return json.dumps(_finite(value), indent=indent, allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def write_whole(path: Path, data: bytes | memoryview | str) -> None:
    """Write a file beside `path`, sync it, and move it into place in one step.

    Raises:
        OSError: It cannot be written; what was there before still is.
    """
    beside = path.with_name(f".{path.name}.{socket.gethostname()}.{os.getpid()}.tmp")
    try:
        with _named(path):
            with beside.open("wb") as file:
                file.write(data.encode() if isinstance(data, str) else data)
                file.flush()
                os.fsync(file.fileno())
            beside.replace(path)
            _sync_names(path.parent)
    finally:
        with suppress(OSError):
            beside.unlink(missing_ok=True)


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Let a failure name the file that its user knows."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, f"cannot write: {error.strerror}", str(path)) from error


def _sync_names(folder: Path) -> None:
    """Have the names in a folder survive a loss of power."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
