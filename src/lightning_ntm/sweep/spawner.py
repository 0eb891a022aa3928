"""Starts each run in a new interpreter: for platforms that cannot fork.

A process reads its instructions from a pipe, which then stays open. When the pipe is closed, by the sweep or because
the sweep was killed, the process ends as by SIGTERM: after a whole step, with everything saved.
"""

import json
import os
import subprocess
import sys
import threading
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import BinaryIO

from lightning_ntm.records.writing import open_to_write
from lightning_ntm.signals import end_this_process
from lightning_ntm.sweep.environment import environment

#: On Windows: no console, whose Ctrl-C and end would reach the process.
_NO_CONSOLE = getattr(subprocess, "CREATE_NO_WINDOW", 0)
_RUN = "from lightning_ntm.sweep.spawner import run; run()"


class Spawner:
    """Starts processes that run one function.

    Args:
        function: Its import path. It is called with words and the path of a log file, and ends its process.
    """

    gone = False

    def __init__(self, function: str):
        self._function, self._started = function, dict[int, subprocess.Popen[bytes]]()

    def start(self, words: list[str], log: Path) -> int:
        """Start a process, and return its number.

        Raises:
            OSError: It cannot be started, or the log cannot be written.
        """
        output = open_to_write(log, os.O_WRONLY | os.O_APPEND)
        try:
            process = subprocess.Popen(
                [sys.executable, "-c", _RUN],
                env=environment(),
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                start_new_session=True,  # on POSIX: out of reach of Ctrl-C, and of the end of a terminal
                creationflags=_NO_CONSOLE,
            )
        finally:
            os.close(output)
        self._started[process.pid] = process
        with suppress(OSError):  # it ended at once; its exit code and log tell why
            instructions = {"function": self._function, "words": words, "log": str(log), "path": sys.path}
            self._pipe_to(process.pid).write(f"{json.dumps(instructions)}\n".encode())
            self._pipe_to(process.pid).flush()
        return process.pid

    def exit_code(self, process: int) -> int | None:
        """Return the exit code, or the negative number of the signal that ended it; `None` while it runs."""
        code = self._started[process].poll()
        if code is not None:
            self.end(process)
        return code

    def end(self, process: int) -> None:
        """Make a process save and end, as by SIGTERM."""
        with suppress(OSError):  # of instructions that were not read
            self._pipe_to(process).close()

    def kill(self, process: int) -> None:
        """Kill a process."""
        self._started[process].kill()

    def _pipe_to(self, process: int) -> BinaryIO:
        pipe = self._started[process].stdin
        assert pipe is not None
        return pipe  # type: ignore[return-value]


def run() -> None:
    """Run the function of a `Spawner` in this process, until the pipe from it is closed."""
    pipe = os.fdopen(os.dup(0), "rb", buffering=0)
    # A child of this process would wait for the pipe on Windows if it were the standard input.
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    if not (line := pipe.readline()):
        return
    instructions = json.loads(line)
    threading.Thread(target=_end_with, args=(pipe,), daemon=True).start()
    sys.path += [folder for folder in instructions["path"] if folder not in sys.path]
    module, _, name = instructions["function"].rpartition(".")
    function = getattr(import_module(module), name)
    function(instructions["words"], Path(instructions["log"]))


def _end_with(pipe: BinaryIO) -> None:
    pipe.read(1)
    end_this_process()
