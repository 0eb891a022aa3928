"""The process of the command `ntm`: how it starts, imports and ends."""

import atexit
import gc
import locale
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

#: With which the process is to end at once.
_codes: list[int] = []


def start() -> None:
    """Set what has to be set before PyTorch is imported."""
    atexit.register(_end)  # before all others, so that it is called after them
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


def end_at_once(code: int) -> None:
    """Let the process end with an exit code, without freeing what PyTorch holds, which takes a quarter of its import.

    Whatever else is registered for the end of the process is done before.
    """
    _codes.append(code)


def _end() -> None:
    if not _codes:  # an error or a signal ends the process
        return
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(_codes[-1])


@contextmanager
def imported_at_once() -> Iterator[None]:
    """Import modules without searches for unreachable objects, which take a fifth of the time of PyTorch's import.

    What is imported lasts as long as the process. No later search looks at it.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
