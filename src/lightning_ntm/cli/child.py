"""One training of a sweep, in a process that is forked from one with all imports done."""

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


def train(arguments: list[str], log: Path) -> NoReturn:
    """Run `ntm train` with its output in a file."""
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666)
    for stream in (sys.stdout, sys.stderr):
        os.dup2(output, stream.fileno())
    # Lightning starts the other processes of a distributed run with these.
    sys.argv[1:] = ["train", *arguments]
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
