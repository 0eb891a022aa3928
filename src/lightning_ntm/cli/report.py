"""`ntm report`: a comparison of many runs on one page."""

import argparse
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from lightning_ntm.checks import counted
from lightning_ntm.cli.output import say
from lightning_ntm.cli.process import without_collection
from lightning_ntm.cli.words import Parser, UsageError, explained, filled, folder_name, positive


def report(argv: list[str]) -> int:
    """Write the report on the runs in the given folders."""
    parser = Parser(
        prog="ntm report",
        description="Write one page with figures on all runs of one task: learning curves, solved seeds, cost by "
        "length. For runs of several tasks: one table of their scores by ntm evaluate --range, and a figure for each.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "folders", nargs="+", type=filled, metavar="FOLDER", help="run folders, or folders that contain run folders"
    )
    where = "output folder, or file name of the page (FOLDER; for several, the folder report in the working folder)"
    parser.add_argument("--output", type=_place, help=where)
    parser.add_argument("--task", type=filled, help="report only on this task, if the runs have several")
    every = "write the page again every N seconds (30) until all runs have ended; a browser that shows it reloads it"
    parser.add_argument("--watch", type=positive, nargs="?", const=30, metavar="N", help=every)
    arguments = parser.parse_args(list(_with_interval(argv)))
    if arguments.watch:
        return _watch(arguments)
    _write(arguments)
    return 0


def _with_interval(argv: list[str]) -> Iterator[str]:
    """Yield the words; a `--watch` that a folder follows has the default."""
    for word, after in zip(argv, [*argv[1:], ""], strict=False):
        alone = word == "--watch" and not after.isdecimal() and Path(after).is_dir()
        yield "--watch=30" if alone else word


def _place(text: str) -> str:
    return text if Path(text).suffix in (".html", ".htm") else folder_name(text)


def _write(arguments: argparse.Namespace, refresh: int = 0) -> None:
    with without_collection():
        from lightning_ntm.report import write_report

    with explained():
        page, *figures = write_report(arguments.folders, arguments.output, arguments.task, refresh)
    say(f"{page}\n{figures[0].parent}: {counted(len(figures), 'figure')}")


def _watch(arguments: argparse.Namespace) -> int:
    """Write the page again and again until all runs have ended, or the user stops it."""
    try:
        while _trains(arguments.folders):
            try:
                _write(arguments, arguments.watch)
            except UsageError as error:  # as before the first measurement of a sweep
                say(f"no report yet: {error}")
            time.sleep(arguments.watch)
    except KeyboardInterrupt:
        say("stopped; the page no longer changes.")
    _write(arguments)
    return 0


def _trains(folders: list[str]) -> bool:
    """Return whether a run in these folders, or in the plan of a sweep, has not ended."""
    from lightning_ntm.records import find
    from lightning_ntm.sweep import Plan, status_of

    for folder in map(Path, folders):
        if not folder.exists():
            raise UsageError(f"folder {folder} does not exist.")
        if (folder / "plan.yaml").is_file():
            with explained():
                plan = Plan.load(folder)
            if any(status_of(folder, run).state not in ("done", "failed", "unreadable") for run in plan.runs):
                return True
        with suppress(ValueError):  # there is no run yet
            if any(not (run.result.exists() or run.failed.exists()) for run in find(folder).values()):
                return True
    return False
