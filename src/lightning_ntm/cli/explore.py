"""`ntm explore`: a page on which a trained network runs."""

import os
import shutil
import signal
import sys
import tempfile
import webbrowser
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from lightning_ntm.cli.words import Parser, explained, file_of, filled

if TYPE_CHECKING:
    from lightning_ntm.explorer import Explorer


def explore(argv: list[str]) -> int:
    """Write the page of a run, and open it in a browser."""
    parser = Parser(
        prog="ntm explore",
        description="Make a page on which a trained network runs step by step, on inputs that you draw. The page is "
        "one file that needs no other file. It opens in the browser, unless --html writes it to a file. On a terminal "
        "the command then waits, and removes the file at its end.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "run", type=filled, metavar="RUN", help="a run folder, a folder of save_pretrained, or a name of ntm zoo"
    )
    parser.add_argument(
        "beside", nargs="?", type=filled, metavar="RUN2", help="a second network on the same task, to show beside it"
    )
    parser.add_argument(
        "--html", type=file_of(".html", ".htm"), metavar="FILE", help="write the page to this file, and open no browser"
    )
    parser.add_argument("--no-browser", action="store_true", help="only print where the page is")
    arguments = parser.parse_args(argv)
    from lightning_ntm.cli.output import say
    from lightning_ntm.explorer import explore

    with explained("", MemoryError, OverflowError, RuntimeError):
        page = explore(arguments.run, beside=arguments.beside)
    if arguments.html:
        with explained():
            page.save(arguments.html)
        say(arguments.html)
    else:
        _show(page, browser=not arguments.no_browser)
    return 0


def _show(page: "Explorer", *, browser: bool) -> None:
    """Write the page into a temporary folder. On a terminal it is removed when the user ends the command.

    Elsewhere nobody could end it; the page then stays for whoever reads its path.
    """
    from lightning_ntm.cli.output import say

    folder, stays = Path(tempfile.mkdtemp(prefix="ntm-explore-")), False
    try:
        place = folder / "explore.html"
        with explained():
            page.save(place)
        say(str(place))
        if browser and not webbrowser.open(place.as_uri()):
            say("No browser was found; open this file in one.")
        if _on_terminal():
            say("Enter or Ctrl-C removes this file and ends; --html FILE keeps the page.")
            _wait()
        else:
            sys.stdout.flush()
            stays = True
    finally:
        if not stays:
            shutil.rmtree(folder, ignore_errors=True)


def _wait() -> None:
    """Wait for Enter, Ctrl-C or Ctrl-Backslash, which ends a process without removing files."""
    number = getattr(signal, "SIGQUIT", signal.SIGINT)
    before = signal.signal(number, signal.default_int_handler)
    try:
        with suppress(KeyboardInterrupt, EOFError):
            input()
    finally:
        signal.signal(number, before)


def _on_terminal() -> bool:
    """Whether the user can end the command: not in the background, where a process that reads is stopped."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        return False
    return sys.platform == "win32" or os.tcgetpgrp(sys.stdin.fileno()) == os.getpgrp()
