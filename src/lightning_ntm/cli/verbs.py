"""The verbs of `ntm`: words to calls. Rooms are imported when a verb needs them, so that help is quick."""

import io
import os
import sys
import warnings
from contextlib import nullcontext, suppress
from importlib import import_module
from importlib.metadata import version

from lightning_ntm.cli.hints import owners
from lightning_ntm.cli.process import ending_on_signals, start, without_collection
from lightning_ntm.cli.streams import loss, name_output, open_closed
from lightning_ntm.cli.words import UnknownOptionError, UsageError, near, one_line

_VERBS = {
    "train": "Train a network on a task into a run folder, or resume a run.",
    "sweep": "Train many runs: networks, tasks, seeds, grids of options.",
    "evaluate": "Measure the kept networks of runs at chosen lengths.",
    "figure": "Draw the memory of a trained network at work in one episode.",
    "explore": "Make a page on which a trained network runs, on inputs that you draw.",
    "zoo": "List the trained networks that come with the package.",
    "export": "Write a trained network as ONNX, for torch.export, or as safetensors.",
    "import": "Make a run folder from a checkpoint of another NTM implementation.",
    "report": "Write one page on many runs: curves, success, cost by length.",
    "bench": "Time a training step on this machine, with the kernel and without.",
}

#: Module and function of a verb, where they do not have its name.
_PLACES = {"import": ("imported", "import_run")}

_HELP = """usage: ntm VERB [OPTIONS]

Neural Turing Machines that train reliably.

verbs:
{verbs}

  ntm VERB --help       the options of a verb
  ntm --version         the version
  ntm --print-completion SHELL   a script with which bash, zsh or tcsh completes options

A trained network of the package, in the browser:
  ntm explore copy

A first run:
  ntm train --model NTM --task Copy --seed 1
  ntm evaluate runs/ntm-copy-seed1
  ntm figure runs/ntm-copy-seed1

Ten seeds of two networks, and a page on them:
  ntm sweep --models NTM,LSTM --tasks Copy --seeds 1-10 --name copy
  ntm report runs/copy
"""


def run(argv: list[str] | None = None) -> int:
    """Run one verb and return the exit code."""
    open_closed()
    name_output()
    if argv is None:
        start()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal may have no such letters
    words = sys.argv[1:] if argv is None else argv
    try:
        try:
            code = _said(words)
        finally:
            sys.stdout.flush()
        lost = loss()
        return code if lost is None else code or _error(lost)
    except UnknownOptionError as error:
        return _error(UsageError(f"{error}{owners(error.option, words[0])}"))
    except UsageError as error:
        return _error(error)
    except BrokenPipeError:
        _drop_output()  # the reader, as `head`, has seen enough
        sys.stderr.close()
        return 0
    except (OSError, UnicodeError) as error:
        return _error(error)


def _error(error: Exception) -> int:
    with suppress(OSError):
        print(f"ntm: error: {one_line(error)}", file=sys.stderr)
    _drop_output()
    return error.code if isinstance(error, UsageError) else 2


def _drop_output() -> None:
    """Drop output that cannot be written: it would be another error at the very end."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _said(argv: list[str]) -> int:
    verb, *rest = [_readable(word) for word in argv] or ["--help"]
    if verb in ("-h", "--help", "help"):
        print(_HELP.format(verbs="\n".join(f"  {name:<10} {what}" for name, what in _VERBS.items())))
        return 0
    if verb == "--version":
        print(f"lightning-ntm {version('lightning-ntm')}")
        return 0
    if verb == "--print-completion":
        from lightning_ntm.cli.completion import completion

        print(completion(rest[0] if rest else "", _VERBS, _run))
        return 0
    try:
        sys.path.append(os.getcwd())  # a user's own task or network stands where they work
    except FileNotFoundError:
        raise UsageError("the folder you work in does not exist any more.") from None
    with warnings.catch_warnings():
        warnings.showwarning = _warn
        return _run(verb, rest)


def _readable(word: str) -> str:
    """Return a word with `~` written out, which shells leave alone after an equals sign."""
    try:
        word.encode()
    except UnicodeEncodeError:
        raise UsageError(f"{word!r} is not UTF-8.") from None
    option, equals, value = word.partition("=") if word.startswith("-") else ("", "", word)
    return option + equals + os.path.expanduser(value) if value == "~" or value.startswith("~/") else word


def _warn(message: Warning | str, *_: object, **__: object) -> None:
    """Show a warning without the place in a library that it comes from."""
    said = one_line(message if isinstance(message, Warning) else Warning(message))
    print(f"ntm: warning: {said}", file=sys.stderr)


def _run(verb: str, argv: list[str]) -> int:
    if verb not in _VERBS:
        raise UsageError(f"unknown verb {verb!r}{near(verb, _VERBS) or '; known: ' + ', '.join(_VERBS) + '.'}")
    if verb == "train" and {"-h", "--help"} & {*argv}:
        from lightning_ntm.cli.help import train_help

        print(train_help(), end="")
        return 0
    place, name = _PLACES.get(verb, (verb, verb))
    with without_collection():
        module = import_module(f"lightning_ntm.cli.{place}")
    # A training and a sweep handle these signals themselves.
    with nullcontext() if verb in ("train", "sweep") else ending_on_signals():
        code: int = getattr(module, name)(argv)
    return code
