"""Processes forked from one that has everything imported: that saves each of them four seconds.

The sweep asks this server over a socket. Two descriptors that one process alone holds keep the three together, however
one of them ends: the server ends when the sweep's end of the socket is closed, and what the server forked is told to
end, as by SIGTERM, when the server's end of a pipe is.
"""

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

#: By these a launcher tells a process that it is one of several. A run of a sweep is not, whatever the sweep is.
_RANKS = (
    *("RANK", "LOCAL_RANK", "GROUP_RANK", "NODE_RANK", "ROLE_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE"),
    *("SLURM_NTASKS", "SLURM_NPROCS", "SLURM_PROCID", "SLURM_LOCALID", "SLURM_NODEID", "SLURM_NNODES"),
    *("SLURM_NTASKS_PER_NODE", "SLURM_STEP_NUM_TASKS"),
)
_RANKED = ("TORCHELASTIC_", "JSM_NAMESPACE_", "OMPI_COMM_WORLD_", "PMI_", "PMIX_", "MV2_COMM_WORLD_")


def without_ranks(environment: dict[str, str]) -> dict[str, str]:
    """Return an environment without what says that a process is one of several."""
    return {name: value for name, value in environment.items() if name not in _RANKS and not name.startswith(_RANKED)}


class ServerError(Exception):
    """The server is gone."""


class Server:
    """Forks processes that run one function.

    Args:
        function: Its import path. It is called with words and the path of a file, in a process that ends as it does.
    """

    def __init__(self, function: str):
        self._guard, self._said = threading.Lock(), tempfile.TemporaryFile()  # noqa: SIM115
        ours, theirs = socket.socketpair()
        with theirs, ours:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _SERVE, str(theirs.fileno()), function, *sys.path],
                env=_environment(),
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=self._said,
                start_new_session=True,  # beyond the reach of Ctrl-C, and of the end of a terminal
            )
            self._questions = ours.makefile("rw")

    @property
    def gone(self) -> bool:
        """Whether it answers no more."""
        return self._questions.closed

    def start(self, words: list[str], log: Path) -> int:
        """Start a process, and return its number."""
        return int(self._ask(words, str(log)))

    def exit_code(self, process: int, send: int = 0) -> int | None:
        """Return the exit code of a process or the negative number of the signal that ended it, `None` while it runs.

        Args:
            process: Its number.
            send: A signal for it, if it runs.
        """
        code: int | None = self._ask(process, send)
        return code

    def _ask(self, *question: Any) -> Any:
        """Return the answer to a question.

        Raises:
            ServerError: There is none.
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
        """End the server, with what it started, and return how it ended in words."""
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


def _environment() -> dict[str, str]:
    """Return an environment in which a process has one thread, and the standard library goes before working folders."""
    return {**without_ranks(dict(os.environ)), "OMP_NUM_THREADS": "1", "PYTHONSAFEPATH": "1"}


_servers: dict[str, Server] = {}
_guard = threading.Lock()


def server_of(function: str) -> Server:
    """Return the server of a function: one for all runs, another when that is gone."""
    with _guard:
        if function not in _servers or _servers[function].gone:
            _servers[function] = Server(function)
        return _servers[function]


_SERVE = "from lightning_ntm.sweep.server import serve; serve()"


def serve() -> None:
    """Answer the questions of a `Server`, in a process of its own, until there are no more."""
    connection, path, *folders = sys.argv[1:]
    sys.path += [folder for folder in folders if folder not in sys.path]
    module, _, name = path.rpartition(".")
    function = getattr(import_module(module), name)
    ends, held = os.pipe()  # `held` is open in this process alone
    codes: dict[int, int] = {}
    with open(int(connection)) as questions:
        for first, second in map(json.loads, questions):
            if isinstance(first, int):
                answer = _exit_code(codes, first, second)
            elif answer := os.fork():
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
    """Return how a process ended, and remember it: the system tells that once."""
    if process not in codes:
        ended, status = os.waitpid(process, os.WNOHANG)
        if ended:
            codes[process] = os.waitstatus_to_exitcode(status)
        elif send:
            os.kill(process, send)
    return codes.get(process)


def _end_with_server(ends: int) -> None:
    os.read(ends, 1)
    os.kill(os.getpid(), signal.SIGTERM)
