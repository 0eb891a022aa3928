"""The signals by which a process is told to end: by a user, a scheduler, a terminal that is closed."""

import signal

_ALL = (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)


def end_signals() -> list[signal.Signals]:
    """Return those, besides Ctrl-C, that this process was not started to ignore, as by `nohup`."""
    return [number for number in _ALL if signal.getsignal(number) is not signal.SIG_IGN]
