"""The words of the command line: short names, near misses, and errors in one line."""

import argparse
import difflib
import importlib
import inspect
import re
import shlex
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import NoReturn

from lightning_ntm.records.parsing import printable

#: Rooms whose public names are short names on the command line.
_ROOMS = {"model": "lightning_ntm.models", "task": "lightning_ntm.tasks"}
_BASES = {"model": "MemoryModel", "task": "Task"}
_ALIASES = {"files": "filetask"}


_LONGEST = 2000


class UsageError(Exception):
    """Something the user typed; its message is the one line they read."""

    code = 2  # of the exit


class EndedError(UsageError):
    """Something that happened to a run, which may go on."""

    code = 1


class Parser(argparse.ArgumentParser):
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
    """Return an argument that must not be empty, as a shell's unset variable makes it."""
    if not text:
        raise argparse.ArgumentTypeError("must not be empty.")
    return text


def add_device(parser: Parser) -> None:
    """Add `--device`, whose value is for `training.device.chosen_device`."""
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


def short_names(kind: str) -> dict[str, str]:
    """Return class paths of the networks or tasks we ship, by lower-case name without separators."""
    room, base = importlib.import_module(_ROOMS[kind]), _BASES[kind]
    promise = getattr(room, base)
    classes = [c for _, c in inspect.getmembers(room, inspect.isclass) if issubclass(c, promise) and c is not promise]
    return {c.__name__.casefold(): f"lightning_ntm.{c.__name__}" for c in classes}


def class_path(kind: str, name: str) -> str:
    """Return the import path that a `--model` or `--task` stands for."""
    if "." in name:
        return name
    known = short_names(kind)
    plain = re.sub(r"[-_ ]", "", name).casefold()
    path = known.get(_ALIASES.get(plain, plain))
    if path is None:
        shown = [path.rpartition(".")[2] for path in known.values()]
        hint = near(name, shown) or f"; known: {', '.join(shown)}, or the import path of your own."
        raise UsageError(f"unknown {kind} {name!r}{hint}")
    return path


def presets() -> dict[str, Path]:
    """Return the named configurations we ship; `default` is the recipe used without any."""
    folder = Path(str(files("lightning_ntm") / "presets"))
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def config_path(name: str) -> str:
    """Return the path that a `--config` stands for: a file, or the name of a preset."""
    with suppress(OSError, ValueError):  # a word that no file can be called
        if Path(name).is_file():
            return name
    known = [preset for preset in presets() if preset != "default"]
    if name in known:
        return str(presets()[name])
    meant = [preset for preset in known if set(name.split("-")) <= set(preset.split("-"))]
    if meant:
        hint = f"; did you mean {min(meant, key=len)!r}?"
    else:
        hint = near(name, known) or f"; presets: {', '.join(known)}."
    raise UsageError(f"--config {name}: there is no such file or preset{hint}")


def _of_torch(kind: str, module: str, name: str) -> str:
    """Return the name of a public class of PyTorch, in any case; what is no plain name is left alone."""
    known = {n.casefold(): n for n, _ in inspect.getmembers(importlib.import_module(module), inspect.isclass)}
    if not name.isidentifier() or name == "null":
        return name
    if name.casefold() not in known:
        hint = near(name, known.values()) or ", and no import path of your own."
        raise UsageError(f"--{kind} {name}: there is no such class in {module}{hint}")
    return known[name.casefold()]


def canonical(argv: list[str]) -> list[str]:
    """Return the arguments with short names and presets written out, in the order in which they count.

    Configurations come first, then the choices of classes, then their arguments: so an option given
    on the command line holds whatever its place in it.
    """
    resolve: dict[str, Callable[[str], str]] = {
        "--config": config_path,
        "-c": config_path,
        "--model": partial(class_path, "model"),
        "--task": partial(class_path, "task"),
        "--model.help": partial(class_path, "model"),
        "--task.help": partial(class_path, "task"),
        "--optimizer": partial(_of_torch, "optimizer", "torch.optim"),
        "--scheduler": partial(_of_torch, "scheduler", "torch.optim.lr_scheduler"),
    }
    _refuse_empty(argv)
    configs: list[str] = []
    classes: list[str] = []
    others: list[str] = []
    words = iter(argv)
    for word in words:
        option, equals, value = word.partition("=")
        if option not in resolve:
            others.append(word)
            continue
        if not equals:
            value = next(words, "")
        if not value or value.startswith("--"):
            raise UsageError(f"{option} needs a value.")
        bucket = configs if resolve[option] is config_path else classes
        bucket += [option, resolve[option](value)]
    return configs + classes + others


def _refuse_empty(argv: list[str]) -> None:
    """Raise `UsageError` for an option whose value is empty, as a shell's unset variable leaves it.

    Arguments of networks and tasks are left to their types: a text may be empty.
    """
    for before, word in zip(["", *argv], argv, strict=False):
        option, equals, value = word.partition("=")
        if not word:
            option, equals = before, "="
            if not before.startswith("-") or "=" in before:
                raise UsageError("a word is empty, as a shell's unset variable leaves it.")
        may_be = ("--model.", "--task.", "--print_config")
        if equals and not value and option.startswith("-") and not option.startswith(may_be):
            raise UsageError(f"{option} needs a value.")


def lacking(message: str, argv: list[str]) -> str | None:
    """Return what argparse means by an expected argument, which it asks for by the wrong name; else `None`."""
    if "expected one argument" not in message:
        return None
    for word, after in zip(argv, [*argv[1:], "--"], strict=True):
        given = not after.startswith("-") or re.fullmatch(r"-\d*\.?\d+", after)
        if given or not word.startswith("--") or "=" in word or word == "--print_config":
            continue
        return f"write {word}={after}." if re.match(r"-[\d.]", after) else f"{word} needs a value."
    return None


def shortened(message: str, known_options: Iterable[str]) -> str:
    """Return the heart of jsonargparse's report of an error, in one line."""
    if found := re.search(r"unrecognized arguments: (\S+)", message):
        option = found[1].partition("=")[0]
        return f"unknown option {option}{near(option, known_options)}"
    path = ".".join(re.findall(r'(?:Parser key|key) "([^"]+)":', message))
    if found := re.search(r"Option '([^']+)' is not accepted", message):
        owner = re.search(r"class_path[= ]'([^']+)'", message)
        option, hint = ".".join(filter(None, (path, found[1]))), near(found[1], _arguments(owner[1])) if owner else ""
        return f"unknown option --{option}{hint}"
    if found := re.search(r"Importing '([^']+)' is not allowed", message):
        return f"--{path} (={found[1]}) is Python's own: no option may name it."
    if problem := _problem(message):
        return f"--{path} {problem}."
    value = re.search(r"(?:Got|Given) value: (.+)", message)
    allowed = [kind for kind in map(_kind, re.findall(r"Expected an? (.+?)(?:\. Got value|\n|$)", message)) if kind]
    if allowed and value:
        given = re.sub(r"NestedArg\(key='[^']*', val='([^']*)'\)", r"\1", value[1].split(". Got value")[0])
        return f"--{path} (={given}) must be {' or '.join(dict.fromkeys(allowed))}."
    if found := re.search(r"Expected a dot import path string: (\S+)", message):
        return f"unknown {path} {found[1]!r}."
    bullets = _bullets(message)
    heart = bullets[0] if bullets and not bullets[0].endswith(":") else message
    heart = _AROUND.sub("", " ".join(heart.split())).partition(". Got value: ")[0]
    if found := re.fullmatch(r"the following arguments are required: (\w+)", heart):
        return f"--{path}.{found[1]} needs a value."
    return f"--{path}: {heart}"


#: What stands in jsonargparse's report around the heart of it, where a function is asked for.
_AROUND = re.compile(
    r'Parser key "[^"]*": |Type collections\.abc\.Callable\[.*?\] expects a function or a callable class: '
)


def invalid_value(message: str) -> str:
    """Return what a constructor said, with the option it is about, from jsonargparse's report."""
    if problem := _problem(message):
        return problem
    bullets = _bullets(message)
    if not bullets:
        return " ".join(message.split())
    for base, kind in (("MemoryModel", "model"), ("Task", "task")):
        if re.search(rf"Subtypes: \[<class '[\w.]*\.{base}'>", message):
            return with_option(bullets[0], kind)
    return bullets[0]


def with_option(message: str, group: str) -> str:
    """Return a message that starts with an argument's name, as `length (=0) ...`, naming the option."""
    return f"--{group}.{message}" if re.match(r"\w+ \(=", message) else message


def _problem(message: str) -> str | None:
    """Return why the innermost class that is at fault cannot be made, if that is what jsonargparse says."""
    for path, reason in reversed(re.findall(r"Problem with given class_path '([^']+)':((?:\n(?!\s*- ).+)+)", message)):
        if (said := " ".join(reason.split())) and not said.startswith("Parser key"):
            return f"{path}: {said.rstrip('.')}"
    return None


def _bullets(message: str) -> list[str]:
    lines = (line.strip().removeprefix("- ") for line in message.splitlines() if line.strip().startswith("- "))
    others = ("NoneType", "list", "collections.abc.Iterable")  # what an option may be besides a class
    idle = ("Does not validate", *(f"Expected a <class '{kind}'>" for kind in others))
    return [line for line in lines if not line.startswith(idle)]


def _arguments(path: str) -> list[str]:
    module, _, name = path.rpartition(".")
    try:
        return list(inspect.signature(getattr(importlib.import_module(module), name)).parameters)
    except (ImportError, AttributeError, ValueError, TypeError):
        return []  # it says nothing of its arguments, as what is written in C


def _kind(expected: str) -> str | None:
    """Return what a type means to a user; `None` for one that is named elsewhere in the report."""
    if literal := re.search(r"Literal\[(.*)\]", expected):
        return f"one of {literal[1]}"
    names = {"int": "a whole number", "float": "a number", "bool": "true or false", "str": "a text"}
    found = re.search(r"<class '(?:\w+\.)*(\w+)'>", expected)
    return names.get(found[1]) if found else None
