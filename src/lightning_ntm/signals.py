"""Signals that ask a process to end: from a user, a scheduler or a closed terminal."""

import os
import signal

_NAMES = ("SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGBREAK")  # each platform has some of them
_ALL: list[signal.Signals] = [getattr(signal, name) for name in _NAMES if hasattr(signal, name)]


def end_signals() -> list[signal.Signals]:
    """Return these signals without SIGINT and without those that the process ignores, for example under `nohup`."""
    return [number for number in _ALL if signal.getsignal(number) is not signal.SIG_IGN]


def end_this_process() -> None:
    """Send SIGTERM to this process, from any thread."""
    if hasattr(signal, "pthread_kill"):
        os.kill(os.getpid(), signal.SIGTERM)
    else:  # on Windows os.kill ends a process without calling its handlers
        signal.raise_signal(signal.SIGTERM)
