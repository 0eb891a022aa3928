"""A bar in a notebook: one output of a cell, which is written over. It needs no widgets."""

import os
import sys
import time
from html import escape
from typing import Any

#: Seconds between two changes of what is shown.
_PAUSE = 0.25


def in_kernel() -> bool:
    """Return whether this process is the kernel of a notebook."""
    ipython: Any = sys.modules.get("IPython")
    return ipython is not None and hasattr(ipython.get_ipython(), "kernel")


def is_live(console: Any) -> bool:
    """Return whether a console of rich can write over what it has shown.

    The output of `!ntm train` in a notebook is taken for a terminal, but keeps each line.
    """
    return console.is_terminal and "JPY_PARENT_PID" not in os.environ


class NotebookBar:
    """How far a training is, and below that what the validations measured.

    Args:
        name: What is trained.
        total: Steps of the training, if there is an end.
    """

    def __init__(self, name: str, total: float | None):
        from IPython.display import display

        self.name, self.total, self.step, self.phrase = name, total, 0, ""
        self.curve, self.line, self.due = "", "", 0.0
        self.handle = display(self, display_id=True)

    def move(self, step: int) -> None:
        """Show that so many steps are done, at most four times a second."""
        self.step = step
        if time.monotonic() >= self.due:
            self._show()

    def describe(self, phrase: str) -> None:
        """Show what training measures, with the next change."""
        self.phrase = phrase

    def validated(self, curve: str, line: str) -> None:
        """Show what a validation measured."""
        self.curve, self.line = curve, line
        self._show()

    def stop(self) -> None:
        """Show the end, which stays."""
        self._show()

    def _show(self) -> None:
        self.handle.update(self)
        self.due = time.monotonic() + _PAUSE

    def __repr__(self) -> str:
        return "\n".join([self._done(), *self._below()])

    def _repr_html_(self) -> str:
        share = f'value="{self.step}" max="{self.total:.0f}" ' if self.total else ""
        bar = f'<progress {share}style="vertical-align: middle"></progress> {escape(self._done())}'
        return f"<div>{bar}</div>" + "".join(f"<pre>{escape(text)}</pre>" for text in self._below())

    def _done(self) -> str:
        of = f" of {self.total:,.0f}" if self.total else ""
        return f"{self.name}: {self.step:,}{of} steps" + (f", {self.phrase} in training" if self.phrase else "")

    def _below(self) -> list[str]:
        return [text for text in (self.curve, self.line) if text]
