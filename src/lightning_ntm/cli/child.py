"""One training of a sweep, in a process of its own."""

import atexit
import os
import sys
import traceback
from importlib.util import find_spec
from pathlib import Path
from typing import NoReturn

# Imported at the top: this module is loaded before processes are forked.
import lightning_ntm.cli.train as _loaded  # noqa: F401
from lightning_ntm.cli import main
from lightning_ntm.records.writing import open_to_write


def train(arguments: list[str], log: Path) -> NoReturn:
    """Run `ntm train` with its output in a file."""
    output = open_to_write(log, os.O_WRONLY | os.O_APPEND)
    for stream in (sys.stdout, sys.stderr):
        os.dup2(output, stream.fileno())
    run(["train", *arguments])


def run(arguments: list[str]) -> NoReturn:
    """Run `ntm` and end this process."""
    # Lightning starts the other processes of a distributed run with these.
    sys.argv[1:] = arguments
    sys.modules["__main__"].__spec__ = find_spec("lightning_ntm.cli.__main__")
    code = 1
    try:
        code = main(sys.argv[1:])
    except BaseException:
        traceback.print_exc()
    finally:
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)  # the interpreter would take seconds to release all imports
