"""Tables and bars on a terminal. Escape sequences in names and messages from files are made harmless."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from lightning_ntm.cli.output import plain, say
from lightning_ntm.training.notebook import is_live

#: Seconds between two lines on the progress where there is no terminal.
_EVERY = 30.0


class Terminal(Console):
    """A console of rich that prints texts literally: no markup, no effect of control characters."""

    def __init__(self, **options: Any):
        super().__init__(highlight=False, markup=False, emoji=False, **options)

    def on_broken_pipe(self) -> None:
        """Raise the error that is handled: the reader has ended. Rich would end the process with exit code 1."""
        raise

    def render_str(self, text: str, **options: Any) -> Text:
        """Return a text with its style. All printed texts and cells of tables pass through here."""
        return super().render_str(plain(text), **options)


@contextmanager
def progress_of(what: str, unit: str) -> Iterator[Callable[[int, int], None]]:
    """Show a bar on a terminal. Elsewhere write a line from time to time, and none if it is quick.

    Yields:
        What is to be called with the number of units that are done, and that of all.
    """
    console = Console(stderr=True, highlight=False, markup=False)
    if not is_live(console):
        yield _Lines(what, unit)
        return
    columns = (TextColumn("{task.description}", markup=False), BarColumn(None), MofNCompleteColumn())
    with Progress(*columns, TextColumn(unit), TimeRemainingColumn(), console=console, transient=True) as bar:
        task = bar.add_task(plain(what), total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


class _Lines:
    """Writes how far something has come."""

    def __init__(self, what: str, unit: str):
        self.what, self.unit, self.last = what, unit, time.monotonic()

    def __call__(self, done: int, total: int) -> None:
        if time.monotonic() - self.last >= _EVERY:
            self.last = time.monotonic()
            say(f"ntm: {self.what}: {done} of {total} {self.unit}", sys.stderr)
