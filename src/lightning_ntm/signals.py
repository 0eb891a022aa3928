"""Signals that ask a process to end: from a user, a scheduler or a closed terminal."""

import signal

_ALL = (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)


def end_signals() -> list[signal.Signals]:
    """Return these signals without SIGINT and without those that the process ignores, for example under `nohup`."""
    return [number for number in _ALL if signal.getsignal(number) is not signal.SIG_IGN]
