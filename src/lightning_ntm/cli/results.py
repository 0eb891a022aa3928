"""The table of `ntm evaluate`."""

import math
from collections.abc import Collection, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from rich.table import Column, Table

from lightning_ntm.checks import counted
from lightning_ntm.intervals import FEWEST, in_words
from lightning_ntm.measures import Measures
from lightning_ntm.records import RunFolder


class Measured(NamedTuple):
    """What was measured of one run: a row for each difficulty, and the declarations of the measures.

    `more` is what `evaluate_range` returns besides the rows.
    """

    run: str
    results: list[dict[str, Any]]
    measures: Measures
    more: Mapping[str, Any] = MappingProxyType({})

    @property
    def name(self) -> str:
        """The name of the run."""
        return RunFolder(Path(self.run)).place.name


#: Letters of the longest name of a run that is never broken in a table: the other columns need room, too.
_UNBROKEN = 30


def names_of_runs(names: Collection[str]) -> Column:
    """Return the column of a table for the names of runs: broken only where they are long."""
    return Column("run", overflow="fold", no_wrap=max(map(len, names), default=0) <= _UNBROKEN)


def table(measured: list[Measured], slots: int | None, *, alone: bool) -> tuple[str, Table]:
    """Return what has room on a terminal, and the line above it; `--json` prints everything.

    Args:
        measured: Runs, at least one.
        slots: Memory slots that the user asked for.
        alone: Whether the user named one run alone.
    """
    results = [{**({} if alone else {"run": one.name}), **row} for one in measured for row in one.results]
    declared = {measure.name: measure for one in measured for measure in one.measures.each}
    optima = {measure.optimum for measure in declared.values()}
    found = dict.fromkeys(name for result in results for name in result)
    columns = [name for name in found if _has_room(name, results, optima)]
    titles = {name: declared[name].label if name in declared else name.replace("_", " ") for name in columns}
    runs = names_of_runs([one.name for one in measured])
    headers = [runs if name == "run" else Column(titles[name], overflow="fold") for name in columns]
    drawn = Table(*headers, caption=_confidence(results))
    for result in results:
        drawn.add_row(*(_cell(result, name) for name in columns))
    return _title(measured, slots, alone), drawn


def _title(measured: list[Measured], slots: int | None, alone: bool) -> str:
    memory = f", {slots} memory slots" if slots else ""
    runs = f"{measured[0].run}," if alone else f"{counted(len(measured), 'run')}, each:"
    return f"{runs} {counted(measured[0].results[0]['sequences'], 'sequence')}{memory}"


def _confidence(results: list[dict[str, Any]]) -> str:
    """Return the notes below the table: what the intervals are, and what no error in so many sequences shows."""
    text = "±, and in brackets: two-sided intervals, 95 % confidence." + of_few(results)
    if clean := [result for result in results if "share_wrong_at_most" in result]:
        share = in_words(clean[0]["share_wrong_at_most"])
        where = "Not one error" if len(clean) == len(results) else "A row without an error"
        sequences = counted(clean[0]["sequences"], "sequence")
        text += f"\n{where} in {sequences} shows that {share} have one (one-sided, 95 %)."
    return text


def of_few(results: list[dict[str, Any]]) -> str:
    """Return the note that means of few sequences have no interval, if there are such means."""
    few = any(result["sequences"] < FEWEST for result in results)
    return f"\nMeans of fewer than {FEWEST} sequences have no interval." if few else ""


def _has_room(name: str, results: list[dict[str, Any]], optima: set[str]) -> bool:
    if name == "perfect" and any(optima & result.keys() for result in results):
        return False  # the best possible network makes errors, too
    shown_otherwise = (
        "sequences",
        "memory_slots",
        "share_wrong_at_most",
        "sha256",
    )  # in the title, and below the table
    return name not in shown_otherwise and not name.endswith(("_margin", "_low", "_high"))


def _cell(result: dict[str, Any], name: str) -> str:
    value, margin = result.get(name, ""), result.get(f"{name}_margin", math.nan)
    if not isinstance(value, float):
        return str(value)
    if f"{name}_low" in result:
        return f"{value:z.2f} ({result[f'{name}_low']:.2f} to {result[f'{name}_high']:.2f})"
    return with_margin(value, margin)


def with_margin(value: float, margin: float) -> str:
    """Return a mean with half the width of its interval, if that is known; both with as many decimals."""
    largest = max(abs(value), 0.0 if math.isnan(margin) else margin)
    digits = 1 - math.floor(math.log10(largest)) if 1e-9 < largest < 0.1 else 2
    shown = f"{value:.{digits}f}"
    return f"{shown} ± {margin:.{digits}f}" if margin >= 0.5 * 10**-digits else shown  # never ± 0.00
