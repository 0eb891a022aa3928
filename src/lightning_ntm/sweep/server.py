"""Forks processes from a server that has everything imported, which saves each of them four seconds.

The sweep sends its questions to the server over a socket. The server ends when the sweep closes the socket or is
killed. The forked processes end, as by SIGTERM, when the server's end of a pipe is closed.
"""

import gc
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

from lightning_ntm.signals import end_this_process
from lightning_ntm.sweep.environment import environment


class ServerError(Exception):
    """The server is gone."""


class Server:
    """Forks processes that run one function.

    Args:
        function: Its import path. It is called with words and the path of a log file, and ends its process.
    """

    def __init__(self, function: str):
        self._guard, self._said = threading.Lock(), tempfile.TemporaryFile()  # noqa: SIM115
        ours, theirs = socket.socketpair()
        with theirs, ours:
            self._process = self._begin(theirs.fileno(), function)
            self._questions = ours.makefile("rw", encoding="utf-8")

    def _begin(self, connection: int, function: str) -> subprocess.Popen[bytes]:
        """Start the server with its end of the socket."""
        return subprocess.Popen(
            [sys.executable, "-c", _SERVE, str(connection), function, *sys.path],
            env=environment(),
            pass_fds=[connection],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=self._said,
            start_new_session=True,  # out of reach of Ctrl-C, and of the end of a terminal
        )

    @property
    def gone(self) -> bool:
        """Whether the server has ended."""
        return self._questions.closed

    def start(self, words: list[str], log: Path) -> int:
        """Start a process, and return its number."""
        return int(self._ask(words, str(log)))

    def exit_code(self, process: int) -> int | None:
        """Return the exit code, or the negative number of the signal that ended it; `None` while it runs."""
        return self._exit_code(process, 0)

    def end(self, process: int) -> None:
        """Make a process save and end, by SIGTERM."""
        self._exit_code(process, signal.SIGTERM)

    def kill(self, process: int) -> None:
        """Kill a process."""
        self._exit_code(process, signal.SIGKILL)  # type: ignore[attr-defined,unused-ignore] # not on Windows

    def _exit_code(self, process: int, send: int) -> int | None:
        """Send a signal to a process, if it runs and the signal is not 0, and return its exit code."""
        code: int | None = self._ask(process, send)
        return code

    def _ask(self, *question: Any) -> Any:
        """Return the server's answer to a question.

        Raises:
            ServerError: The server has ended.
        """
        with self._guard:
            try:
                print(json.dumps(question), file=self._questions, flush=True)
                return json.loads(self._questions.readline())
            except (OSError, ValueError):
                raise ServerError(self.close()) from None
            except BaseException:
                self.close()  # between question and answer: the next answer would be that to this one
                raise

    def close(self) -> str:
        """End the server and its processes, and return how it ended in words."""
        with suppress(OSError):  # of what it buffered, which cannot be sent; it is closed nevertheless
            self._questions.close()
        self._process.kill()
        self._process.wait()
        told = ["the process that starts trainings ended"]
        if not self._said.closed:
            with self._said:
                self._said.seek(0)
                told += self._said.read().decode(errors="replace").strip().splitlines()[-1:]
        return ": ".join(told)


_SERVE = "from lightning_ntm.sweep.server import serve; serve()"


def serve() -> None:
    """Answer the questions of a `Server` in a process of its own until the socket is closed."""
    connection, path, *folders = sys.argv[1:]
    sys.path += [folder for folder in folders if folder not in sys.path]
    module, _, name = path.rpartition(".")
    gc.disable()
    function = getattr(import_module(module), name)
    gc.freeze()  # no process searches what is imported for unreachable objects, nor copies it for that
    gc.enable()
    ends, held = os.pipe()  # `held` is open in this process alone
    codes: dict[int, int] = {}
    with open(int(connection), encoding="utf-8") as questions:
        for first, second in map(json.loads, questions):
            if isinstance(first, int):
                answer = _exit_code(codes, first, second)
            elif answer := os.fork():  # type: ignore[attr-defined,unused-ignore] # not on Windows
                codes.pop(answer, None)  # of an earlier process with this number
            else:
                break
            os.write(questions.fileno(), f"{json.dumps(answer)}\n".encode())
        else:
            os._exit(0)
    os.close(held)
    threading.Thread(target=_end_with_server, args=(ends,), daemon=True).start()
    function(first, Path(second))


def _exit_code(codes: dict[int, int], process: int, send: int) -> int | None:
    """Return how a process ended, and keep it: the system tells that once."""
    if process not in codes:
        ended, status = os.waitpid(process, os.WNOHANG)  # type: ignore[attr-defined,unused-ignore] # not on Windows
        if ended:
            codes[process] = os.waitstatus_to_exitcode(status)
        elif send:
            os.kill(process, send)
    return codes.get(process)


def _end_with_server(ends: int) -> None:
    os.read(ends, 1)
    end_this_process()
