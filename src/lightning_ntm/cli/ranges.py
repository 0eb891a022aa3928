"""`ntm evaluate --range`: a run at every length of a range."""

import argparse
import math
import re
from collections.abc import Callable, Iterator
from typing import Any

from rich.table import Column, Table

from lightning_ntm.checks import counted
from lightning_ntm.cli.output import warn
from lightning_ntm.cli.results import Measured, names_of_runs, of_few
from lightning_ntm.cli.terminal import progress_of
from lightning_ntm.cli.words import Parser, UsageError
from lightning_ntm.evaluation.build import TrainedRun
from lightning_ntm.evaluation.episodes import EVALUATION_VERSION, sequences_of
from lightning_ntm.records import RunFolder
from lightning_ntm.zoo import located

_CAPTION = "Mean over lengths, each of which counts alike.\n±: two-sided intervals over the sequences, 95 % confidence."
#: Parts of a range that the table of a single run shows.
_PARTS = 10


def add_range(parser: Parser) -> None:
    """Add the options for a range of lengths."""
    add = parser.add_argument
    add("--range", type=_range, metavar="A-B[:STEP]", help="every length from A to B, and the mean over them")
    add("--include_training", action="store_true", help="let --range include training lengths; the mean excludes them")
    add("--missing", action="store_true", help="with --range, skip runs whose folder already has this evaluation")


def _range(text: str) -> range:
    match = re.fullmatch(r"([0-9]{1,9})-([0-9]{1,9})(?::([0-9]{1,9}))?", text)
    first, last, step = (int(part or 1) for part in match.groups()) if match else (0, 0, 0)
    if not 1 <= first <= last or not step:
        raise argparse.ArgumentTypeError(f"{text!r} must be A-B or A-B:STEP with 1 <= A <= B, as 41-500 or 41-500:20.")
    return range(first, last + 1, step)


def check_alone(arguments: argparse.Namespace) -> None:
    """Raise `UsageError` for options that a range cannot have, or that only a range can have."""
    others = {f"--{name}": getattr(arguments, name) for name in ("lengths", "vary", "pieces", "on")}
    for option, value in others.items() if arguments.range else ():
        if value:
            raise UsageError(f"{option} cannot be combined with --range.")
    for option in ("include_training", "missing"):
        if getattr(arguments, option) and not arguments.range:
            raise UsageError(f"--{option} is for --range.")


def evaluate_lengths(
    path: str, run: TrainedRun, arguments: argparse.Namespace, check: Callable[[dict[str, int]], None]
) -> dict[str, Any]:
    """Measure a run at every length of the range, and show the progress.

    Args:
        path: Of the run.
        run: The run.
        arguments: Of the command.
        check: Is called with the most difficult episodes before any is measured.
    """
    from lightning_ntm.evaluation.ranges import evaluate_range, lengths_of

    try:
        difficulties, skipped = lengths_of(run.task, arguments.range, include_training=arguments.include_training)
    except ValueError as error:
        raise UsageError(f"--{error}".replace("include_training", "--include_training")) from None
    if arguments.missing and (kept := _kept(path, run, arguments)):
        return kept
    check(difficulties[-1])
    if skipped:
        first = next(iter(skipped))
        warn(f"{len(skipped)} of {len(arguments.range)} lengths are left out, the first is {first}: {skipped[first]}")
    options: dict[str, Any] = {"sequences": arguments.sequences, "seed": run.seed, "memory_slots": run.memory_slots}
    options["include_training"] = arguments.include_training
    with progress_of(path, "lengths") as progress:
        return evaluate_range(run.model, run.task, arguments.range, progress=progress, **options)


def _kept(path: str, run: TrainedRun, arguments: argparse.Namespace) -> dict[str, Any] | None:
    """Return what was measured before of the same weights on the same episodes."""
    from lightning_ntm.evaluation.ranges import named

    try:
        kept = RunFolder(located(path)).results()
    except (OSError, ValueError):
        return None
    if (kept.step, kept.version) != (run.step, EVALUATION_VERSION):
        return None
    sequences = sequences_of(run.task, "evaluation", sequences=arguments.sequences)
    asked = (named(arguments.range), run.memory_slots, sequences)
    same = (one for one in kept.ranges if (one["range"], one.get("memory_slots"), one["sequences"]) == asked)
    return next(same, None)


def range_table(measured: list[Measured], slots: int | None, *, alone: bool) -> tuple[str, Table]:
    """Return the means over the lengths of a range, of a single run also over parts of it, and the line above them."""
    measures = {measure.name: measure for one in measured for measure in one.measures.each}
    names = [*measures, "perfect"]
    titles = ["lengths", *(measures[name].label if name in measures else name for name in names)]
    headers: list[Column | str] = [
        *([] if alone else [names_of_runs([one.name for one in measured])]),
        *(Column(title, overflow="fold") for title in titles),
    ]
    memory = f", {slots} memory slots" if slots else ""
    runs = f"{measured[0].run}:" if alone else f"{counted(len(measured), 'run')}, each:"
    title = f"{runs} {counted(measured[0].more['sequences'], 'sequence')} of each length{memory}"
    drawn = Table(*headers, caption=_CAPTION + of_few([dict(one.more) for one in measured]))
    for one in measured:
        if alone:
            for part in _parts(one.results):
                drawn.add_row(_span(part), *(_shown(_mean(part, name), part, name) for name in names))
            drawn.add_section()
        unseen = _unseen(one)
        means = [_shown(one.more.get(f"mean_{name}"), unseen, name) for name in names]
        drawn.add_row(*([] if alone else [one.name]), _span(unseen), *means)
    return title, drawn


def _unseen(one: Measured) -> list[dict[str, Any]]:
    return [row for row in one.results if row["length"] > one.more["training_length"]]


def _parts(rows: list[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """Yield parts of a range with about the same number of lengths."""
    count = min(_PARTS, len(rows))
    for part in range(count):
        yield rows[len(rows) * part // count : len(rows) * (part + 1) // count]


def _span(rows: list[dict[str, Any]]) -> str:
    first, last = rows[0]["length"], rows[-1]["length"]
    return f"{first}" if first == last else f"{first}-{last}"


def _mean(rows: list[dict[str, Any]], name: str) -> float:
    return float(sum(row[name] for row in rows) / len(rows))


def _shown(value: float | None, rows: list[dict[str, Any]], name: str) -> str:
    """Return a mean over lengths with its confidence interval: the sequences of each length are drawn independently."""
    if value is None:
        return ""
    margins = [margin for row in rows if (margin := row.get(f"{name}_margin")) and math.isfinite(margin)]
    return f"{value:z.4g}" + (f" ± {math.hypot(*margins) / len(rows):.2g}" if margins else "")
