"""What is sent to a terminal: names and messages from files without the escape sequences that may be in them."""

import sys
from typing import Any

from rich.console import Console
from rich.text import Text

from lightning_ntm.records import printable


def plain(text: str) -> str:
    """Return a text whose control characters, but for line breaks, are written as escapes."""
    return "\n".join(map(printable, text.split("\n")))


def say(text: str, file: Any = None) -> None:
    """Print a text."""
    print(plain(text), file=file)


def warn(text: str) -> None:
    """Print a warning."""
    say(f"ntm: warning: {text}", sys.stderr)


class Terminal(Console):
    """A console of rich that takes every text as it is: brackets are no markup, control characters have no effect."""

    def __init__(self, **options: Any):
        super().__init__(highlight=False, markup=False, emoji=False, **options)

    def render_str(self, text: str, **options: Any) -> Text:
        """Return a text with the style it was given, as what is printed and the cells of tables pass through here."""
        return super().render_str(plain(text), **options)
