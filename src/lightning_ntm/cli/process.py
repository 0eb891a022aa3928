"""The process of the command `ntm`: how it starts and imports."""

import atexit
import gc
import locale
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, NoReturn

from lightning_ntm.signals import end_signals

#: Whether the process does nothing but run the command.
_own = False


def start() -> None:
    """Set what has to be set before PyTorch is imported, in the process of the command."""
    global _own
    _own = True
    atexit.register(_collect_for_triton)
    _in_utf8()
    os.environ["PYTHONSAFEPATH"] = "1"  # the working folder comes last in all processes started from here, too
    _let_threads_sleep()


def _in_utf8() -> None:
    """Start again in Python's UTF-8 mode if the locale uses another encoding: files and names are UTF-8 everywhere.

    On Windows file names are Unicode, and `os.execv` would return to the shell at once.
    """
    encodings = (sys.getfilesystemencoding(), locale.getpreferredencoding(False).casefold())
    if os.name != "nt" and not set(encodings) <= {"utf-8", "utf8"}:
        os.environ["PYTHONUTF8"] = "1"
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def _let_threads_sleep() -> None:
    """Let threads that wait for others sleep soon, if the user has not said how they wait.

    By default GNU's OpenMP library, which PyTorch uses on Linux, waits in a loop for milliseconds. Where another
    process uses a core, two threads then take up to five times as long as one. The library reads the variable when
    PyTorch is imported. Threads that sleep at once are a tenth slower on idle cores.
    """
    if not {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"} & os.environ.keys():
        os.environ["GOMP_SPINCOUNT"] = "10000"


@contextmanager
def ending_on_signals() -> Iterator[None]:
    """Let SIGTERM and similar signals end the process as an exception, so that unfinished files are removed."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, _end) for number in end_signals()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _end(number: int, _: FrameType | None) -> NoReturn:
    signal.signal(number, signal.SIG_IGN)  # some send it twice
    raise SystemExit(128 + number)


class EndSignalError(KeyboardInterrupt):
    """A signal ended the sweep, as Ctrl-C does."""

    def __init__(self, number: int):
        super().__init__()
        self.number = number


@contextmanager
def interrupted_by_signals() -> Iterator[None]:
    """Treat the first signal that ends a process as Ctrl-C and ignore further ones: a closing terminal sends several.

    SIGINT is handled even if the shell started the process in the background, which ignores it.
    """
    received: list[int] = []

    def interrupt(number: int, _: object) -> None:
        received.append(number)
        if len(received) == 1:
            raise EndSignalError(number)

    handlers: dict[int, Any] = {**dict.fromkeys(end_signals(), interrupt), signal.SIGINT: signal.default_int_handler}
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def without_collection() -> Iterator[None]:
    """Import modules without searches for unreachable objects, which take a tenth of the time of PyTorch's import.

    In the process of the command no later search looks at what is imported, not even that at the end of the process.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if _own:
            gc.freeze()
        if enabled:
            gc.enable()


def _collect_for_triton() -> None:
    """Let Triton's objects be collected at the end of the process: it reports those that remain."""
    if "triton" in sys.modules:
        gc.unfreeze()
