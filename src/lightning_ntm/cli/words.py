"""The words of the command line: short names, near misses, and errors in one line."""

import argparse
import difflib
import re
import shlex
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

from lightning_ntm.records.parsing import printable

_LONGEST = 2000


class UsageError(Exception):
    """Something the user typed; its message is the one line they read."""

    code = 2  # of the exit


class EndedError(UsageError):
    """Something that happened to a run, which may go on."""

    code = 1


class Prints(argparse.ArgumentParser):
    """Raises `OSError` where a help text cannot be written; argparse ignores that."""

    def _print_message(self, message: str, file: Any = None) -> None:
        (file or sys.stderr).write(message)


class Parser(Prints):
    """Says what is wrong in one line, as all of `ntm` does."""

    def error(self, message: str) -> NoReturn:
        """Raise `UsageError` instead of printing usage and error."""
        option = message.removeprefix("unrecognized arguments: ").split()[0]
        if message.startswith("unrecognized"):
            message = f"{option!r} is one word too many."
            if option.startswith("-"):
                message = f"unknown option {option}{near(option, self._option_string_actions)}"
        lacking = re.search(r"argument (\S+): expected one argument", message)
        raise UsageError(f"{lacking[1]} needs a value." if lacking else message)


def filled(text: str) -> str:
    """Return an argument that must not be empty; an unset shell variable is."""
    if not text:
        raise argparse.ArgumentTypeError("must not be empty.")
    return text


def whole_number(text: str, minimum: int = 0) -> int:
    """Return a whole number of at most 18 digits: Python raises an error of its own for thousands of digits."""
    if not re.fullmatch(r"[0-9]{1,18}", text) or int(text) < minimum:
        raise argparse.ArgumentTypeError(f"{text!r} must be a whole number of at least {minimum}.")
    return int(text)


def positive(text: str) -> int:
    """Return a whole number of at least 1."""
    return whole_number(text, 1)


def add_device(parser: Parser) -> None:
    """Add `--device`, whose value is for `evaluation.device.chosen_device`."""
    choices = "cpu, cuda or cuda:N (auto: a CUDA device if there is one, or cpu)"
    parser.add_argument("--device", type=filled, default="auto", help=choices)


@contextmanager
def explained(prefix: str = "", *more: type[Exception]) -> Iterator[None]:
    """Turn what a user can get wrong, raised inside, into a `UsageError`."""
    mistakes: tuple[type[Exception], ...] = (ValueError, OSError, *more)
    try:
        yield
    except BrokenPipeError:
        raise  # nobody's mistake: the reader, as `head`, has seen enough
    except mistakes as error:
        raise UsageError(prefix + one_line(error)) from error


def one_line(error: BaseException) -> str:
    """Return the message of an error without line breaks and effects on a terminal, cut where nobody reads any more."""
    shown = printable(" ".join(str(error).split())) or type(error).__name__
    return shown if len(shown) <= _LONGEST else f"{shown[:_LONGEST]} ..."


def command(*words: object) -> str:
    """Return a command as a shell takes it."""
    return shlex.join(map(str, words))


def near(word: str, known: Iterable[str]) -> str:
    """Return `"; did you mean ...?"` when a known word is near, else nothing."""
    folded = {name.casefold(): name for name in known}
    matches = difflib.get_close_matches(word.casefold(), folded, n=1)
    return f"; did you mean {folded[matches[0]]!r}?" if matches else ""
