"""Where the runs of a sweep are trained: forked from a server if the platform can fork, else in new interpreters."""

import os
import sys
import threading
from pathlib import Path
from typing import Protocol, runtime_checkable

from lightning_ntm.sweep.server import Server
from lightning_ntm.sweep.spawner import Spawner


@runtime_checkable
class Processes(Protocol):
    """Starts processes that run one function; they end, as by SIGTERM, when this process does."""

    def start(self, words: list[str], log: Path) -> int:
        """Start a process, and return its number."""

    def exit_code(self, process: int) -> int | None:
        """Return the exit code, or the negative number of the signal that ended it; `None` while it runs."""

    def end(self, process: int) -> None:
        """Make a process save and end, as by SIGTERM."""

    def kill(self, process: int) -> None:
        """Kill a process."""

    @property
    def gone(self) -> bool:
        """Whether no more processes can be started."""


#: macOS can fork, but its libraries may start threads when they are imported, and crash in a forked process.
_CAN_FORK = hasattr(os, "fork") and sys.platform != "darwin"

_started: dict[str, Processes] = {}
_guard = threading.Lock()


def processes_of(function: str) -> Processes:
    """Return the processes of a function: one object for all runs, a new one when that is gone."""
    with _guard:
        if function not in _started or _started[function].gone:
            _started[function] = Server(function) if _CAN_FORK else Spawner(function)
        return _started[function]
