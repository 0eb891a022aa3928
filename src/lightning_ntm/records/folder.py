"""A run folder on disk: the names of its files, and how they are written and read.

Files are whole or absent: each is written to a temporary file, synced and renamed. `metrics.jsonl` and `about.jsonl`
are appended to line by line; a last line that a crash cut short is not read.
"""

import os
import shlex
import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from lightning_ntm.records import results, rows
from lightning_ntm.records.files import is_file, read_json, read_object, whole_lines
from lightning_ntm.records.locks import Claim, claim, is_claimed
from lightning_ntm.records.parsing import as_json, is_count, parse_json
from lightning_ntm.records.results import Kept
from lightning_ntm.records.writing import append_line, is_link, remove_all_unfinished, sync_file, write_whole


@dataclass(frozen=True)
class RunFolder:
    """The files of one run.

    Args:
        path: The folder, `runs/NAME` by default.
    """

    path: Path

    @property
    def place(self) -> Path:
        """The absolute path, whose last part is the name of the run: `.` and `..` have none."""
        return Path(os.path.abspath(self.path))

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
        """Return the step of the kept weights; `None` if none can be read."""
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
        """Versions, machine and command of each training, one JSON object each."""
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

    @property
    def weights(self) -> Path:
        """The folder of weights that were kept at steps of the training."""
        return self.path / "weights"

    def weights_at(self, step: int) -> Path:
        """Return the file of weights of a step."""
        return self.weights / f"step-{step}.safetensors"

    def weights_by_step(self) -> dict[int, Path]:
        """Return the files of weights that were kept at steps of the training, in the order of the steps."""
        found = self.weights.glob("step-*.safetensors") if not is_link(self.weights) else ()
        named = [(path.stem.removeprefix("step-"), path) for path in found]
        return dict(sorted((int(step), path) for step, path in named if step.isdecimal() and len(step) < 16))

    def create(self) -> None:
        """Make the folder, unless it exists with nothing in it, as after a training that was killed at once.

        Raises:
            ValueError: It exists with files; a run is never written over.
        """
        try:
            self.path.mkdir(parents=True)
        except FileExistsError:
            if self.path.is_dir() and all(file == self._lock or file.suffix == ".tmp" for file in self.path.iterdir()):
                return
            raise ValueError(f"{self._taken()}.") from None

    def _taken(self) -> str:
        """Return that the folder exists, and how to go on with what is in it."""
        place, taken = shlex.quote(str(self.path)), f"folder {self.path} exists; choose another --name"
        if is_file(self.config):
            return f"run {taken}, or continue it with --resume {place}"
        return f"sweep {taken}, or continue it with ntm sweep {place}" if is_file(self.path / "plan.yaml") else taken

    def require(self) -> None:
        """Check that this is a run folder.

        Raises:
            ValueError: It is not.
        """
        if self.path.is_file():
            above = (self.path.parent, self.path.parent.parent)
            hint = next((f"; give its folder, {folder}" for folder in above if is_file(folder / self.config.name)), "")
            raise ValueError(f"{self.path} is a file, not a run folder{hint}.")
        if not self.path.is_dir():
            raise ValueError(f"run folder {self.path} does not exist.")
        if not is_file(self.config):
            run = next((path for path in sorted(self.path.glob("*/config.yaml"))), None)
            hint = f"; give a run in it, as {run.parent}." if run else f": it has no {self.config.name}."
            kind = "is a sweep" if run and is_file(self.path / "plan.yaml") else "is not a run folder"
            raise ValueError(f"{self.path} {kind}{hint}")

    def began(self) -> bool:
        """Return whether the folder has files that a new training would not make: a checkpoint, or a user's files."""
        again = (
            self.config, self.measures, self.about, self.metrics, self.best, self.failed, self.nonfinite, self._lock
        )  # fmt: skip
        more = (self.nonfinite.with_suffix(".safetensors"), self.weights)
        names = {path.name for path in (*again, *more)} | {"lightning_logs"}
        found = self.path.iterdir() if self.path.exists() else ()
        return any(path.name not in names and path.suffix != ".tmp" for path in found)

    def forget(self) -> None:
        """Remove the files that a new training makes again."""
        for file in (self.metrics, self.best, self.nonfinite, self.nonfinite.with_suffix(".safetensors")):
            file.unlink(missing_ok=True)
        self.forget_weights_after(-1)

    def forget_weights_after(self, step: int) -> None:
        """Remove weights of steps after `step`: they will be trained again."""
        for kept, file in self.weights_by_step().items():
            if kept > step:
                file.unlink(missing_ok=True)

    def abandon(self) -> None:
        """Remove the folder of a run that never began: one without results of any kind.

        Windows keeps the lock file while it is open; `create` accepts a folder with nothing else in it.
        """
        mine = {self.config.name, self.measures.name, self.about.name, self._lock.name}
        if {file.name for file in self.path.iterdir()} <= mine:
            shutil.rmtree(self.path, ignore_errors=True)

    def sweep(self) -> None:
        """Remove temporary files whose writers were killed."""
        remove_all_unfinished(self.path)

    def append(self, row: dict[str, Any]) -> None:
        """Append a line to the metrics.

        Raises:
            OSError: It cannot be written; earlier lines stay whole.
        """
        append_line(self.metrics, as_json(row))

    def sync(self) -> None:
        """Flush the metrics to disk."""
        if self.metrics.exists():
            sync_file(self.metrics)

    def note(self, about: dict[str, Any]) -> None:
        """Append a line on who trains here now, and with what."""
        append_line(self.about, as_json(about))

    def notes(self) -> list[dict[str, Any]]:
        """Return the whole lines on who trained here, oldest first, without damaged ones."""
        with suppress(FileNotFoundError):
            found = [parse_json(line) for lines in whole_lines(self.about) for line in lines]
            return [note for note in found if isinstance(note, dict)]
        return []

    def results(self) -> Kept:
        """Return the evaluations of the kept weights, as `results.read` does."""
        return results.read(self.evaluation)

    def outcome(self, path: Path) -> int:
        """Return the step in the file `result` or `nonfinite`.

        Raises:
            OSError: It cannot be read.
            ValueError: It is damaged.
        """
        step = read_object(path).get("step")
        if not is_count(step):
            raise ValueError(f"{path.name} is damaged: it has no step.")
        return step

    def keep_evaluation(
        self, step: int, rows: list[dict[str, Any]], version: int, ranges: list[dict[str, Any]] | None = None
    ) -> None:
        """Add evaluations of the kept weights, as `results.add` does."""
        results.add(self.evaluation, step, rows, version, ranges)

    def done(self) -> bool:
        """Return whether the run ended and was not resumed since, without ending again."""
        end = read_json(self.result).get("step")
        return isinstance(end, int) and end >= max((row["step"] for row in self.latest()), default=0)

    def lock(self) -> Claim:
        """Keep other processes from training here until this one ends or calls the returned value.

        Raises:
            ValueError: Another process trains here.
        """
        return claim(self._lock, f"run folder {self.path}")

    def in_use(self) -> bool:
        """Return whether another process trains here."""
        return is_claimed(self._lock)

    @property
    def _lock(self) -> Path:
        return self.path / ".lock"

    def rows(self) -> list[dict[str, Any]]:
        """Return the rows of the metrics, oldest first.

        Raises:
            OSError: They cannot be read.
            ValueError: A line is not a JSON object with a step.
        """
        return [row for _, rows in self.parts() for row in rows]

    def parts(self) -> Iterator[tuple[list[str], list[dict[str, Any]]]]:
        """Yield the lines of the metrics and their rows, as `rows.read` does."""
        return rows.read(self.metrics)

    def latest(self, size: int = 4096) -> list[dict[str, Any]]:
        """Return the rows in the last `size` bytes of the metrics, oldest first, without damaged lines."""
        return rows.latest(self.metrics, size)

    def forget_after(self, step: int, sequences: int) -> None:
        """Drop the metrics of steps after `step`, and of more sequences than `sequences`: they will be trained again.

        While gradients are accumulated, several validations are of the same step.
        """
        kept = [
            f"{line}\n"
            for part in self.parts()
            for line, row in zip(*part, strict=True)
            if row["step"] <= step and not _is_more(row.get("sequences"), sequences)
        ]
        write_whole(self.metrics, "".join(kept))
        self.forget_weights_after(step)


def _is_more(value: Any, most: int) -> bool:
    return is_count(value) and value > most
