"""A command in a forked process, with limits that a loaded machine does not reach."""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

#: Seconds after which a process that computes nothing hangs.
ASLEEP = 10.0
_TICKS = os.sysconf("SC_CLK_TCK")


class Met(NamedTuple):
    """How a command ended: exit code, its errors as text, CPU seconds, and the most KiB of memory that it had."""

    code: int
    said: str
    seconds: float
    kib: int


def met(run: Callable[[], int], said: Path, limit: float, begin: Callable[[], object] = lambda: None) -> Met:
    """Call a function in a forked process; it may compute for `limit` seconds, and sleep for `ASLEEP` seconds.

    Args:
        run: Returns the exit code.
        said: The file for what the process writes to the standard error; the standard output is thrown away.
        limit: CPU seconds, with those of the processes that it starts.
        begin: Called first, as for limits of its own.
    """
    child = os.fork()
    if child == 0:
        _run(run, said, begin)
    try:
        return _wait(child, said, limit)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)


def _run(run: Callable[[], int], said: Path, begin: Callable[[], object]) -> None:
    code = 99
    try:
        os.setpgid(0, 0)
        begin()
        for stream, path in ((1, os.devnull), (2, said)):
            os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), stream)
        sys.stdout, sys.stderr = (os.fdopen(stream, "w", buffering=1) for stream in (1, 2))
        code = run()
    except BaseException as error:
        print(f"raised {type(error).__name__}: {error}", file=sys.stderr)
    finally:
        sys.stderr.flush()
        os._exit(code)


def _wait(child: int, said: Path, limit: float) -> Met:
    watch = Watch(lambda: _family(child), limit, ASLEEP)
    while True:
        ended, status, used = os.wait4(child, os.WNOHANG)
        if ended:
            seconds = used.ru_utime + used.ru_stime
            return Met(os.waitstatus_to_exitcode(status), said.read_text(errors="replace"), seconds, used.ru_maxrss)
        if over := watch.over():
            os.killpg(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return Met(98, f"{over}: {said.read_text(errors='replace') if said.exists() else ''}", watch.computed, 0)
        time.sleep(0.002)


class Watch:
    """Limits of processes, which a machine that gives them no time does not reach.

    Args:
        processes: Returns the numbers of the processes.
        computing: CPU seconds of all of them together, from now on.
        sleeping: Seconds during which none of them computes or could.
    """

    def __init__(self, processes: Callable[[], Iterable[int]], computing: float, sleeping: float):
        self.computed, self._processes, self._limits = 0.0, processes, (computing, sleeping)
        self._seen: dict[int, int] = {}
        self._looked = self._awake = time.monotonic()
        self._look()

    def over(self) -> str:
        """Return which limit has been reached in words, looked at a few times a second."""
        if time.monotonic() - self._looked < 0.2:
            return ""
        computed, slept = self._look()
        computing, sleeping = self._limits
        if computed > computing:
            return f"computed for more than {computing:.0f} s"
        return f"slept for more than {sleeping:.0f} s" if slept > sleeping else ""

    def _look(self) -> tuple[float, float]:
        self._looked = time.monotonic()
        now = {process: found for process in self._processes() if (found := _stat(process))}
        # A process that was not seen before has computed since then, or was seen as part of its parent.
        more = sum(max(0, ticks - self._seen.get(process, ticks)) for process, (_, _, ticks) in now.items())
        if more or any(state != "S" for _, state, _ in now.values()):
            self._awake = self._looked
        self._seen |= {process: ticks for process, (_, _, ticks) in now.items()}
        self.computed += more / _TICKS
        return self.computed, self._looked - self._awake


def computed(process: int) -> float:
    """CPU seconds of a process and its ended children."""
    found = _stat(process)
    assert found
    return found[2] / _TICKS


def _stat(process: int) -> tuple[int, str, int] | None:
    """The parent of a process, its state, and the clock ticks that it and its ended children have computed."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        return int(fields[1]), fields[0], sum(map(int, fields[11:15]))
    except (OSError, IndexError, ValueError):
        return None


def _numbers() -> list[int]:
    return [int(path.name) for path in Path("/proc").glob("[0-9]*")]


def _family(process: int) -> list[int]:
    """A process and its descendants."""
    children: dict[int, list[int]] = {}
    for number in _numbers():
        if found := _stat(number):
            children.setdefault(found[0], []).append(number)
    members = [process]
    for member in members:
        members += children.get(member, [])
    return members


def working_in(folder: Path) -> list[int]:
    """The processes that work in a folder."""
    found = []
    for process in _numbers():
        with suppress(OSError):
            if Path(f"/proc/{process}/cwd").resolve() == folder.resolve():
                found.append(process)
    return found
