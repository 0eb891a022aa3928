"""The words of the command line: short names, near misses, and errors in one line."""

import argparse
import difflib
import os
import re
import shlex
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, NoReturn

from lightning_ntm.checks import message_of
from lightning_ntm.cli.hints import meant
from lightning_ntm.records.parsing import printable

_LONGEST = 2000


class UsageError(Exception):
    """Something the user typed; its message is the one line they read."""

    code = 2  # of the exit


class UnknownOptionError(UsageError):
    """An option that a verb does not have; `meant` says which it may be."""

    def __init__(self, option: str, meant: str = ""):
        super().__init__(f"unknown option {option}{meant}")
        self.option = None if meant else option


class EndedError(UsageError):
    """Something that happened to a run, which may go on."""

    code = 1


class Prints(argparse.ArgumentParser):
    """Raises `OSError` where a help text cannot be written; argparse ignores that."""

    def _print_message(self, message: str, file: Any = None) -> None:
        (file or sys.stderr).write(message)


#: Messages of argparse, and what is said instead.
_ARGPARSE = {
    r"^argument (\S+): expected .*argument.*": r"\1 needs a value.",
    r"^argument (\S+): ignored explicit argument .*": r"\1 takes no value.",
    r"^argument (\S+): invalid int value: '(.*)'": r"\1 (=\2) must be a whole number.",
    r"^argument (\S+): invalid float value: '(.*)'": r"\1 (=\2) must be a number.",
}


#: What argparse says of a value that is none of an option's; newer versions put no quotation marks around the others.
_CHOICE = r"^(argument \S+): invalid choice: '(.*)' \(choose from (.*)\)$"


def _no_choice(found: re.Match[str]) -> str:
    name, value, choices = found.groups()
    known = [choice.strip("' ") for choice in choices.split(",")]
    hint = near(value, known)
    listed = " or ".join([", ".join(known[:-1]), known[-1]])
    return f"{name}: unknown {value!r}{hint} It must be {listed}." if hint else f"{name} (={value}) must be {listed}."


class OptionsAsked(Exception):  # noqa: N818 - no error
    """Its argument is the parser of a verb that was run with the word `Parser.OPTIONS`."""


class Parser(Prints):
    """Says what is wrong in one line, as all of `ntm` does."""

    OPTIONS: ClassVar[str] = "--print-options"

    def __init__(self, *args: Any, **options: Any):
        self.added: list[argparse.Action] = []
        super().__init__(*args, **options)

    def add_argument(self, *names: Any, **options: Any) -> argparse.Action:
        """Add an argument, and keep it among those `added`."""
        self.added.append(super().add_argument(*names, **options))
        return self.added[-1]

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse words, where options may stand before, between and after the others."""
        self._answer(args)
        return self.parse_intermixed_args(args, namespace)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse words. For `OPTIONS` alone raise `OptionsAsked`."""
        self._answer(args)
        return super().parse_known_args(args, namespace)

    def _answer(self, args: Any) -> None:
        if args == [self.OPTIONS]:
            raise OptionsAsked(self)

    def options(self) -> list[str]:
        """Return the names of all options."""
        return [name for action in self.added for name in action.option_strings]

    def error(self, message: str) -> NoReturn:
        """Raise `UsageError` instead of printing usage and error."""
        if message.startswith("unrecognized"):
            option = message.removeprefix("unrecognized arguments: ").split()[0]
            if option.startswith("-"):
                raise UnknownOptionError(option, meant(option, self.options()))
            message = f"{option!r} is one word too many."
        for pattern, told in _ARGPARSE.items():
            message = re.sub(pattern, told, message)
        message = re.sub(_CHOICE, _no_choice, message)
        raise UsageError(message)


def filled(text: str) -> str:
    """Return an argument that must not be empty; an unset shell variable is."""
    if not text:
        raise argparse.ArgumentTypeError("must not be empty.")
    return text


def file_of(*endings: str) -> Callable[[str], str]:
    """Return what checks the name of a file to write: it must say what is written."""

    def checked(text: str) -> str:
        if Path(filled(text)).suffix.lower() not in endings:
            raise argparse.ArgumentTypeError(f"{text!r} must end in {' or '.join(endings)}.")
        return text

    return checked


def folder_name(text: str) -> str:
    """Return the name of a folder to write files into; one that ends as a picture or a page is none."""
    if Path(filled(text)).suffix.lower() in _OF_FILES and not Path(text).is_dir():
        raise argparse.ArgumentTypeError(
            f"{text!r} is the name of a file; give a folder, into which files are written."
        )
    return text


_OF_FILES = (".png", ".svg", ".pdf", ".jpg", ".jpeg", ".gif", ".mp4", ".npz", ".html", ".onnx", ".pt2", ".safetensors")


def kind_of_no_file(name: str) -> str:
    """Return what stands at a path and is no regular file, as a pipe of a shell; an empty text if nothing does."""
    if os.path.isdir(name):
        return "a folder"
    return "a pipe or a device, which is not read" if os.path.exists(name) and not os.path.isfile(name) else ""


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
    shown = printable(" ".join(message_of(error).split())) or type(error).__name__
    return shown if len(shown) <= _LONGEST else f"{shown[:_LONGEST]} ..."


def command(*words: object) -> str:
    """Return a command of `ntm` as a shell takes it here: as the user called it, if the shell does not find `ntm`."""
    called = Path(sys.argv[0])
    by_module = called.parts[-2:] == ("lightning_ntm", "__main__.py")
    program = ["python", "-m", "lightning_ntm"] if by_module else [str(called)] if called.stem == "ntm" else ["ntm"]
    return shlex.join([*(["ntm"] if shutil.which("ntm") else program), *map(str, words)])


def near(word: str, known: Iterable[str]) -> str:
    """Return `"; did you mean ...?"` when a known word is near, else nothing."""
    folded = {name.casefold(): name for name in known}
    matches = difflib.get_close_matches(word.casefold(), folded, n=1)
    return f"; did you mean {folded[matches[0]]!r}?" if matches else ""
