"""`ntm` and scripts in processes forked from a server, which has imported everything: that takes three seconds.

For tests of what a process does and what is done to it. Tests of how an interpreter begins or ends need a new one.
"""

import atexit
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from functools import cache
from pathlib import Path
from unittest.mock import patch

from lightning.fabric.utilities import rank_zero
from tests.torture.watched import Watch

from lightning_ntm.cli import child
from lightning_ntm.sweep import processes
from lightning_ntm.sweep.environment import environment as server_environment
from lightning_ntm.sweep.server import Server, serve

_servers, _guard = {}, threading.Lock()


def _server(preloaded=None):
    """A server, with a library preloaded into it and so into all that it forks."""
    with _guard:
        if preloaded not in _servers:
            with patch.dict(os.environ, {"LD_PRELOAD": preloaded} if preloaded else {}):
                _servers[preloaded] = Server(f"{__name__}.run")
            atexit.register(_servers[preloaded].close)
        return _servers[preloaded]


@cache
def _scratch():
    folder = tempfile.mkdtemp()
    atexit.register(shutil.rmtree, folder)
    return folder


class Forked:
    """A started `ntm`, used like a `subprocess.Popen`.

    Args:
        words: Its arguments.
        folder: Its working folder.
        environment: Of the process; by default that of this one.
        streams: Paths of standard streams. By default output is collected for `communicate`.
        merged: Both outputs are collected as one.
        serving: It is a sweep, whose server is forked as well.
        script: Source code that runs instead of `ntm`.
    """

    def __init__(self, words, folder=".", environment=None, streams=None, merged=False, serving=False, script=None):
        said = tempfile.mkdtemp(dir=_scratch())
        self._outputs = [Path(said, "out"), Path(said, "out" if merged else "err")]
        told = {
            "words": [str(word) for word in words],
            "folder": os.path.abspath(folder),
            "environment": {**(os.environ if environment is None else environment)},
            "streams": [os.devnull, *map(str, self._outputs)] if streams is None else [*map(str, streams)],
            "serving": serving,
            "script": script,
        }
        self.words, self.returncode = words, None
        self._server = _server(told["environment"].get("LD_PRELOAD"))
        self.pid = self._server.start([json.dumps(told)], Path(os.devnull))

    def poll(self):
        self.returncode = self._server.exit_code(self.pid)
        return self.returncode

    def wait(self, timeout=300):
        """Wait for the end, for so many seconds of computing and as many of sleeping."""
        watch = Watch(lambda: [self.pid], computing=timeout, sleeping=timeout)
        while self.poll() is None:
            if watch.over():
                self.kill()
                raise subprocess.TimeoutExpired(self.words, timeout)
            time.sleep(0.01)
        return self.returncode

    def send_signal(self, number):
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self):
        self.send_signal(signal.SIGKILL)

    def communicate(self, timeout=300):
        """Wait for the end, and return the outputs as text."""
        self.wait(timeout)
        self.stdout, self.stderr = (path.read_text() if path.exists() else "" for path in self._outputs)
        return self.stdout, self.stderr


def finished(*arguments, **more):
    """Run `ntm` to its end, and return it with `returncode`, `stdout` and `stderr`."""
    process = Forked(*arguments, **more)
    process.communicate()
    return process


def scripted(script, *words, **environment):
    """Run Python's source code to its end, with more variables in its environment. It prints nothing of errors."""
    process = finished(words, environment={**os.environ, **environment}, script=script)
    assert process.returncode == 0, process.stdout + process.stderr
    return process


def run(words, log):
    """Run `ntm` or a script in this process."""
    told = json.loads(words[0])
    os.chdir(told["folder"])
    _begin(told["environment"], [_opened(number, path) for number, path in enumerate(told["streams"])])
    if told["serving"]:
        fork_servers()
    if told["script"]:
        child.main = lambda words: exec(told["script"], {"__name__": "__main__"}) or 0
    child.run(told["words"])


def fork_servers():
    """Let a sweep in this process fork its server, too."""
    processes._started[f"{child.__name__}.train"] = _ForkedServer(f"{child.__name__}.train")


def _opened(number, path):
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND if number else os.O_RDONLY)


def _begin(environment, streams):
    """Give this process an environment and standard streams, as a new interpreter has them."""
    os.environ.clear()
    os.environ.update(environment)
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
    rank_zero.rank_zero_only.rank = rank_zero._get_rank() or 0  # as when it is imported


class _ForkedServer(Server):
    """A server that is forked before the sweep begins, and has imported everything."""

    def _begin(self, connection, function):
        if process := os.fork():
            return _Process(process)
        os.setsid()
        null = os.open(os.devnull, os.O_RDWR)
        _begin(server_environment(), [null, null, self._said.fileno()])
        os.closerange(3, connection)
        os.closerange(connection + 1, 1000)
        sys.argv = ["-c", str(connection), function]
        serve()


class _Process:
    def __init__(self, number):
        self.number = number

    def kill(self):
        if self.number:
            os.kill(self.number, signal.SIGKILL)

    def wait(self):
        if self.number:
            os.waitpid(self.number, 0)
        self.number = 0
