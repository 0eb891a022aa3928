"""Output to a terminal. Escape sequences in names and messages from files are made harmless."""

import sys
from typing import Any

from rich.console import Console
from rich.text import Text

from lightning_ntm.records import printable


def plain(text: str) -> str:
    """Return a text with its control characters, except line breaks, as escapes."""
    return "\n".join(map(printable, text.split("\n")))


def say(text: str, file: Any = None) -> None:
    """Print a text."""
    print(plain(text), file=file)


def warn(text: str) -> None:
    """Print a warning."""
    say(f"ntm: warning: {text}", sys.stderr)


class Terminal(Console):
    """A console of rich that prints texts literally: no markup, no effect of control characters."""

    def __init__(self, **options: Any):
        super().__init__(highlight=False, markup=False, emoji=False, **options)

    def render_str(self, text: str, **options: Any) -> Text:
        """Return a text with its style. All printed texts and cells of tables pass through here."""
        return super().render_str(plain(text), **options)
