"""One training of a sweep, in a process forked from one that has everything imported: that saves four seconds each."""

import ctypes
import multiprocessing
import os
import signal
import sys
import threading
from multiprocessing.process import BaseProcess
from pathlib import Path

# Imported here, not when used: this module is what is loaded before processes are forked.
import lightning_ntm.cli.train as _loaded  # noqa: F401
from lightning_ntm.cli import main
from lightning_ntm.training.processes import forget_launcher

_TOLD_AT_DEATH_OF_PARENT = 1  # PR_SET_PDEATHSIG, on Linux


def train(words: list[str], log: Path) -> None:
    """Run `ntm train`, saying all it says to a file; never returns.

    The process is beyond the reach of Ctrl-C in a terminal: the sweep tells it to end, as does the end of the
    process it was forked from.
    """
    os.setsid()
    forget_launcher()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    _end_with(multiprocessing.parent_process())
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666)
    for stream in (sys.stdout, sys.stderr):
        os.dup2(output, stream.fileno())
    sys.argv[1:] = ["train", *words]  # with which Lightning starts the other processes of a run that has several
    sys.exit(main(sys.argv[1:]))


def _end_with(sweep: BaseProcess | None) -> None:
    """Be told to end, as by SIGTERM, as soon as the sweep is gone, even if it was killed."""
    assert sweep is not None

    def watch() -> None:
        sweep.join()
        os.kill(os.getpid(), signal.SIGTERM)

    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_TOLD_AT_DEATH_OF_PARENT, signal.SIGTERM)
        if not sweep.is_alive():
            sys.exit(143)  # it was gone before
    else:
        threading.Thread(target=watch, daemon=True).start()
