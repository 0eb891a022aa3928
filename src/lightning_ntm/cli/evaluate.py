"""`ntm evaluate`: measure trained networks."""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lightning_ntm.checks import at_least, at_most, message_of
from lightning_ntm.cli.inspecting import MOST, TOO_LARGE, difficulties, inspecting, opened, parsed, warn_of_memory
from lightning_ntm.cli.output import warn
from lightning_ntm.cli.ranges import add_range, check_alone, evaluate_lengths, range_table
from lightning_ntm.cli.results import Measured, table
from lightning_ntm.cli.terminal import Terminal
from lightning_ntm.cli.words import UsageError, explained, filled
from lightning_ntm.evaluation.build import TrainedRun
from lightning_ntm.evaluation.episodes import EVALUATION_VERSION
from lightning_ntm.records import RunFolder, as_json, find
from lightning_ntm.tasks.sequences import sha256_of
from lightning_ntm.zoo import is_shipped


def evaluate(argv: list[str]) -> int:
    """Measure the kept networks of runs."""
    arguments = _asked(argv)
    paths = list(_runs(arguments.runs))
    measured: list[Measured] = []
    left_out: dict[str, str] = {}
    warned: set[str] = set()
    for path in paths:
        try:
            measured.append(_evaluated(path, arguments, warned))
        except UsageError as error:
            left_out[path] = str(error)
    if not measured:
        more = "" if len(set(left_out.values())) == 1 else f" (and {len(left_out) - 1} more cannot be evaluated)"
        raise UsageError(f"{left_out[paths[0]]}{more}")
    _warn_of(left_out)
    alone = len(paths) == 1
    if arguments.json:
        printed = [{"run": one.run, **one.more, "results": one.results} for one in measured]
        print(as_json(printed[0] if alone else printed))
    else:
        shown = range_table if arguments.range else table
        title, drawn = shown(measured, arguments.memory_slots, alone=alone)
        terminal = Terminal()
        terminal.print(title, soft_wrap=True)  # a table would break the path of the run
        terminal.print(drawn)
    return 0


def _asked(argv: list[str]) -> argparse.Namespace:
    parser = inspecting("evaluate", "Measure the kept networks of one or more runs on new episodes.")
    parser.add_argument(
        "runs",
        nargs="+",
        type=filled,
        metavar="RUN",
        help="run folders, folders that contain them, or names of ntm zoo",
    )
    parser.add_argument("--sequences", type=int, help="episodes of each difficulty (100; by default all of a file)")
    parser.add_argument("--pieces", type=int, help="also measure this many equal parts of each answer separately")
    add_range(parser)
    parser.add_argument("--json", action="store_true", help="print only JSON: an object, or a list for several runs")
    arguments = parsed(parser, argv)
    with explained("--"):
        if arguments.sequences is not None:
            at_least(1, sequences=arguments.sequences)
            at_most(MOST, sequences=arguments.sequences)
        if arguments.pieces is not None:
            at_least(1, pieces=arguments.pieces)
    check_alone(arguments)
    return arguments


def _runs(given: list[str]) -> Iterator[str]:
    """Yield each run folder once."""
    seen: set[Path] = set()
    for path in given:
        alone = Path(path, "config.yaml").exists() or not Path(path).is_dir()
        with explained():
            found = [path] if alone else [str(folder.path) for folder in find(path).values()]
        for one in found:
            if (place := Path(one).resolve()) not in seen:
                seen.add(place)
                yield one


def _warn_of(left_out: dict[str, str]) -> None:
    """Warn of runs that are left out, once for each reason."""
    alike: dict[str, list[str]] = {}
    for path, reason in left_out.items():
        alike.setdefault(reason.replace(path, ""), []).append(path)
    for first, *others in alike.values():
        more = f" The same holds for {', '.join(others)}." if others else ""
        warn(f"{first} is left out: {left_out[first]}{more}")


def _evaluated(path: str, arguments: argparse.Namespace, warned: set[str]) -> Measured:
    run = opened(path, arguments)
    if arguments.range:
        return _evaluated_range(path, run, arguments, warned)
    asked: dict[str, Any] = {"memory_slots": run.memory_slots} if run.memory_slots else {}
    if arguments.on:
        asked |= {"on": Path(arguments.on).name, "sha256": sha256_of(arguments.on)}
    results = [{**asked, **result} for result in _results(run, arguments, warned)]
    _keep(path, run.step, results)
    return Measured(path, results, run.task.answer.measures)


def _evaluated_range(path: str, run: TrainedRun, arguments: argparse.Namespace, warned: set[str]) -> Measured:
    with explained("", *TOO_LARGE):
        found = evaluate_lengths(path, run, arguments, lambda longest: warn_of_memory(run, longest, warned))
    _keep(path, run.step, [], [found])
    more = {name: value for name, value in found.items() if name != "results"}
    return Measured(path, found["results"], run.task.answer.measures, more)


def _keep(path: str, step: int, results: list[dict[str, Any]], ranges: list[dict[str, Any]] | None = None) -> None:
    """Add the results to the run folder, for `ntm report`; warn if it is not writable."""
    if is_shipped(path):
        return
    try:
        RunFolder(Path(path)).keep_evaluation(step, results, EVALUATION_VERSION, ranges)
    except OSError as error:
        warn(f"not kept for ntm report: {message_of(error)}")


def _results(run: TrainedRun, arguments: argparse.Namespace, warned: set[str]) -> Iterator[dict[str, Any]]:
    from lightning_ntm.evaluation.evaluate import evaluate_pieces

    own_choice = not (arguments.lengths or arguments.vary)
    pieces = arguments.pieces if arguments.pieces is not None else run.task.pieces if own_choice else 1
    for difficulty in difficulties(arguments, run):
        warn_of_memory(run, difficulty, warned)
        with explained("", *TOO_LARGE):
            options = {"sequences": arguments.sequences, "memory_slots": run.memory_slots}
            yield from evaluate_pieces(run.model, run.task, difficulty, pieces=pieces, seed=run.seed, **options)
