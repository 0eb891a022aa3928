"""The state of the runs of a sweep, read from their folders alone: from any shell, for any engine."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from lightning_ntm.measures import UNCERTAIN_BITS, Measure, Measures
from lightning_ntm.records import RunFolder, declared, read_json
from lightning_ntm.records.files import CONFIG_BYTES, read_text
from lightning_ntm.records.parsing import is_count, is_measure, parse_yaml
from lightning_ntm.sweep.plan import PlannedRun

State = Literal["waiting", "running", "interrupted", "done", "failed", "unreadable"]


@dataclass(frozen=True)
class Status:
    """The state of one run.

    Args:
        name: Of the run.
        state: A `waiting` run was never begun, an `interrupted` one can be resumed, an `unreadable` one is damaged.
        step: Training steps done.
        steps: Training steps in all; 0 when that is not known.
        measure: The goal of the run, or another measure where the last validation has no number for the goal.
        value: Of that measure, in the last validation.
        steps_per_second: The latest.
        message: Why it failed, or cannot be read.
    """

    name: str
    state: State
    step: int = 0
    steps: int = 0
    measure: Measure | None = None
    value: float | None = None
    steps_per_second: float | None = None
    message: str = ""

    @property
    def pace(self) -> float:
        """Steps per second now: 0 unless it is running."""
        return (self.steps_per_second or 0.0) if self.state == "running" else 0.0

    @property
    def seconds_left(self) -> float | None:
        """Seconds until a running training ends, at its present pace."""
        return max(0, self.steps - self.step) / self.pace if self.steps and self.pace else None


def status_of(folder: Path, run: PlannedRun) -> Status:
    """Return the state of a run of the sweep in `folder`."""
    try:
        return _status_of(RunFolder(folder / run.name), run)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        return Status(run.name, "unreadable", message=reason or type(error).__name__)


def _status_of(run_folder: RunFolder, run: PlannedRun) -> Status:
    failed = read_json(run_folder.failed)
    state: State
    if run_folder.done():
        state = "done"
    elif failed:
        state = "failed"
    elif not run_folder.config.exists():
        return Status(run.name, "waiting")
    else:
        state = "running" if run_folder.in_use() else "interrupted"
    rows, result = run_folder.latest(), read_json(run_folder.result)
    steps = [step for row in (*rows, result) if is_count(step := row.get("step"))]
    return Status(
        run.name,
        state,
        max(steps, default=0),
        _steps(run_folder.config, run_folder.config.exists()),
        *_last_validation(rows, _declared(run_folder, run_folder.measures.exists())),
        next((pace for row in reversed(rows) if (pace := _number(row, "steps_per_second")) is not None), None),
        str(failed.get("message", "")) if failed else "",
    )


def _last_validation(rows: list[dict[str, Any]], measures: Measures) -> tuple[Measure | None, float | None]:
    """Return the goal and its value in the last validation, or the first measure that is a number there."""
    columns = {f"validation_{measure.name}": measure for measure in measures.ordered}
    last: dict[str, Any] = next((row for row in reversed(rows) if any(map(row.__contains__, columns))), {})
    found = ((measure, value) for name, measure in columns.items() if (value := _number(last, name)) is not None)
    return next(found, (None, None))


@lru_cache(10_000)
def _declared(run_folder: RunFolder, exists: bool) -> Measures:
    """Return what a run measures. An older run may have any measure of answers in bits."""
    return (declared(run_folder) if exists else None) or UNCERTAIN_BITS


def _number(row: dict[str, Any], name: str) -> float | None:
    return value if is_measure(value := row.get(name)) else None


@lru_cache(10_000)
def _steps(config: Path, exists: bool) -> int:
    """Return the training steps of a configuration; 0 if it does not tell them."""
    try:
        said = parse_yaml(read_text(config, CONFIG_BYTES)) if exists else {}
        trainer, data = said.get("trainer") or {}, said.get("data") or {}
        if (steps := trainer.get("max_steps") or -1) > 0:
            return int(steps)
        return int((trainer.get("max_epochs") or 0) * (data.get("batches_per_epoch") or 0))
    except (OSError, ValueError, TypeError, AttributeError, OverflowError):
        return 0
