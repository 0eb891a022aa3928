"""The state of a sweep on a terminal: a live table, a line for each change, or a table once."""

from collections import Counter
from pathlib import Path

from rich.console import Console, Group
from rich.live import Live
from rich.table import Column, Table
from rich.text import Text

from lightning_ntm.checks import counted
from lightning_ntm.cli.results import names_of_runs
from lightning_ntm.measures import brief
from lightning_ntm.sweep import Plan, State, Status, status_of


class View:
    """A sweep on a terminal: a live table, or a line whenever the state of a run changes."""

    def __init__(self, folder: Path, plan: Plan, console: Console, *, quiet: bool):
        self.folder, self.plan, self.console = folder, plan, console
        self.live = None if quiet else Live(console=console, auto_refresh=False, transient=True)
        self.states: dict[str, State] = {}
        self.done: dict[str, Status] = {}  # they change no more

    def __enter__(self) -> "View":
        self.states = {status.name: status.state for status in self._statuses()}
        done = sum(state == "done" for state in self.states.values())
        runs = counted(len(self.states), "run")
        self.console.print(f"{self.folder}: {runs}" + (f", {done} of them done" if done else ""))
        if self.live:
            self.live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.live:
            self.live.stop()

    def look(self) -> None:
        """Show the present state of the runs."""
        try:
            statuses = self._statuses()
        except OSError:
            return  # a file system that stumbles must not end the sweep
        for status in statuses:
            if self.states[status.name] != status.state:
                self.states[status.name] = status.state
                if status.state in ("running", "done"):
                    self.console.print(_line(status))
        if self.live:
            self.live.update(table(statuses, self.console.height - 4), refresh=True)

    def _statuses(self) -> list[Status]:
        statuses = [self.done.get(run.name) or status_of(self.folder, run) for run in self.plan.runs]
        self.done = {status.name: status for status in statuses if status.state == "done"}
        return statuses


def _line(status: Status) -> str:
    if status.state == "running":
        return f"{status.name}: running"
    cost = ""
    if status.measure is not None and status.value is not None:
        cost = f", {status.measure.phrase(status.value)} in the last validation"
    return f"{status.name}: {status.state} at step {status.step}{cost}"


def _cost(status: Status) -> str:
    """Return the last validation in few words, since a table has little room."""
    if status.measure is None or status.value is None:
        return ""
    return f"{brief(status.value)} {status.measure.title}"


_ORDER: tuple[State, ...] = ("running", "failed", "unreadable", "interrupted", "done", "waiting")


def table(statuses: list[Status], height: int | None = None) -> Group:
    """Return a table of all runs, or of those that fit, running ones first, and a line that counts them."""
    shown = sorted(statuses, key=lambda status: _ORDER.index(status.state)) if height else statuses
    names = [status.name for status in shown]
    run = Column("run", overflow="ellipsis", no_wrap=True) if height else names_of_runs(names)
    table = Table(run, "state", "step", "validation", "steps/s", "left", box=None, pad_edge=False)
    for status in shown[: height and max(3, height - 2)]:
        table.add_row(
            status.name,
            Text(status.state, _STYLES.get(status.state, "")),
            f"{status.step} / {status.steps}" if status.steps else str(status.step),
            _cost(status),
            f"{status.steps_per_second:.0f}" if status.steps_per_second and status.state == "running" else "",
            status.message or _duration(status.seconds_left),
        )
    counts = Counter(status.state for status in statuses)
    told = [f"{counts[state]} {state}" for state in _ORDER if counts[state]]
    return Group(table, Text(", ".join([*told, *all_left(statuses)])))


def all_left(statuses: list[Status]) -> list[str]:
    """Return in words how long all runs need at the present pace, once each that is running has a pace.

    As many are assumed to run until the end; a run that is not running is assumed to take as long as those that are.
    """
    running = [status for status in statuses if status.state == "running"]
    left = [status.seconds_left for status in running if status.seconds_left is not None]
    if not left or len(left) < len(running):
        return []
    usual = sum(status.steps / status.pace for status in running) / len(running)
    others = [1 - s.step / max(1, s.steps, s.step) for s in statuses if s.state in ("interrupted", "waiting")]
    return [f"about {_duration(max([*left, (sum(left) + usual * sum(others)) / len(running)]))} left"]


_STYLES = {"running": "bold", "failed": "bold red", "unreadable": "red", "done": "green", "waiting": "dim"}


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return ""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {seconds} s" if minutes else f"{seconds} s"
