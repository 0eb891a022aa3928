"""A command in a forked process, with limits that a loaded machine does not reach."""

import os
import signal
import sys
import time
from collections.abc import Callable
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
    before, awake = 0.0, time.monotonic()
    looked = awake
    while True:
        ended, status, used = os.wait4(child, os.WNOHANG)
        if ended:
            seconds = used.ru_utime + used.ru_stime
            return Met(os.waitstatus_to_exitcode(status), said.read_text(errors="replace"), seconds, used.ru_maxrss)
        if (now := time.monotonic()) - looked > 0.25:
            looked = now
            seconds, sleeps = _family(child)
            if seconds > before or not sleeps:
                before, awake = seconds, now
            if seconds > limit or now - awake > ASLEEP:
                os.killpg(child, signal.SIGKILL)
                os.waitpid(child, 0)
                how = f"computed for more than {limit:.0f} s" if seconds > limit else f"slept for {ASLEEP:.0f} s"
                return Met(98, f"{how}: {said.read_text(errors='replace') if said.exists() else ''}", seconds, 0)
        time.sleep(0.002)


def _family(process: int) -> tuple[float, bool]:
    """CPU seconds of a process and its descendants, ended ones too, and whether all of them sleep."""
    found: dict[int, list[tuple[int, str, int]]] = {}
    for path in Path("/proc").glob("[0-9]*"):
        with suppress(OSError, IndexError, ValueError):
            fields = path.joinpath("stat").read_text().rpartition(")")[2].split()
            found.setdefault(int(fields[1]), []).append((int(path.name), fields[0], sum(map(int, fields[11:15]))))
    members = [member for members in found.values() for member in members if member[0] == process]
    for number, _, _ in members:
        members += found.get(number, [])
    return sum(ticks for _, _, ticks in members) / _TICKS, all(state == "S" for _, state, _ in members)
