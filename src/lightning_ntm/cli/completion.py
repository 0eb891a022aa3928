"""Shell completion: a script that knows the options of all verbs, made by shtab."""

import inspect
from collections.abc import Callable, Iterator, Mapping
from types import ModuleType
from typing import Literal, cast, get_args, get_origin

from lightning_ntm.cli.words import OptionsAsked, Parser, UsageError
from lightning_ntm.recipes import presets

SHELLS = ("bash", "zsh", "tcsh")
_PLACES = {"RUN": "DIRECTORY", "FOLDER": "DIRECTORY", "FILE": "FILE", "PATH": "FILE"}


def completion(shell: str, verbs: Mapping[str, str], run: Callable[[str, list[str]], int]) -> str:
    """Return a script for a shell.

    Args:
        shell: One of `SHELLS`.
        verbs: What each verb does.
        run: Runs a verb with words.

    Raises:
        UsageError: The shell is not known, or shtab is not installed.
    """
    if shell not in SHELLS:
        raise UsageError(f"--print-completion (={shell!r}) must be one of {', '.join(SHELLS)}.")
    try:
        import shtab
    except ImportError:
        raise UsageError("--print-completion needs shtab: pip install shtab") from None
    root = Parser(prog="ntm")
    parsers = root.add_subparsers()
    for verb, what in verbs.items():
        parser = of_verb(verb, run)
        _complete_places(parser, shtab)
        parsers.add_parser(verb, help=what, parents=[parser], add_help=False)
    return str(shtab.complete(root, shell))


def of_verb(verb: str, run: Callable[[str, list[str]], int]) -> Parser:
    """Return a parser with the options of a verb; `run` runs a verb with words."""
    if verb == "train":
        return _of_train()
    try:
        run(verb, [Parser.OPTIONS])
    except OptionsAsked as asked:
        return cast(Parser, asked.args[0])
    raise AssertionError(f"{verb} has no parser.")


def _of_train() -> Parser:
    """Return a parser with the options of `ntm train`, and those of all networks, tasks, optimizers and schedulers."""
    parser = Parser()
    parser.add_argument("-c", "--config", choices=[name for name in presets() if name != "default"])
    parser.add_argument("--resume", metavar="FOLDER")
    parser.add_argument("--seeds")
    for word in ("--help-all", "--print_config"):
        parser.add_argument(word, action="store_true")
    for name, values in dict(_options()).items():
        parser.add_argument(f"--{name}", choices=values or None)
    return parser


def _options() -> Iterator[tuple[str, list[str]]]:
    """Yield each option with the values that it takes, if these are few."""
    import lightning as L

    from lightning_ntm.cli.classes import short_names
    from lightning_ntm.cli.parser import LINKED
    from lightning_ntm.cli.said import CLASSES
    from lightning_ntm.training.data import EpisodeData
    from lightning_ntm.training.learner import SequenceLearner
    from lightning_ntm.training.settings import Settings

    for group in CLASSES:
        yield group, [*short_names(group)]
        for made in short_names(group).values():
            yield from _arguments(f"{group}.", made, (*LINKED, "params", "optimizer"))
    for prefix, source in (("", Settings), ("", SequenceLearner), ("data.", EpisodeData), ("trainer.", L.Trainer)):
        yield from _arguments(prefix, source, ("model", "task", "answer", *CLASSES))


def _arguments(prefix: str, made: type, but: tuple[str, ...]) -> Iterator[tuple[str, list[str]]]:
    from lightning_ntm.cli.classes import types

    kinds = types(made)
    for name in inspect.signature(made).parameters:
        kind = kinds.get(name)
        values = get_args(kind) if get_origin(kind) is Literal else ("true", "false") if kind is bool else ()
        if name not in but:
            yield prefix + name, [str(value) for value in values]


def _complete_places(parser: Parser, shtab: ModuleType) -> None:
    """Let folders and files be completed where an option or argument takes one."""
    for action in parser.added:
        if place := _PLACES.get(str(action.metavar)):
            action.complete = getattr(shtab, place)  # type: ignore[attr-defined]
