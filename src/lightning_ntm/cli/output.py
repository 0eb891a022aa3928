"""Lines of output. Escape sequences in names and messages from files are made harmless."""

import sys
from typing import Any

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
